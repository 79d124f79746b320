"""What is asked of a host, and what is decided, for every opt-out signal in every state?

    python benchmarks/table_of_opt_outs.py

Each case of `tests/opt_out_cases.py` is a host of its own on 127.0.0.1 with one image that its
author gave away under CC0. The commands `curate fetch openverse` and `curate check` are typed on
all of them; printed are, for each, what the host sent, whether the image was asked for and whether
its body was kept, what `check` read, and its verdict for training by the policy "personal". The
exit code is 1 if one of them is not what the case wants.
"""

import json
import sys
import tempfile
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from curate import Dataset
from curate.cli import main as curate
from curate.dataset.sample import Sample

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from opt_out_cases import IMAGE, ROBOTS, Case, all_cases

COLUMNS = ("signal", "state", "sent", "image asked for", "kept", "signals", "train")


@dataclass
class Hosts:
    """Hosts by name behind one port, and the paths that each was asked for."""

    cases: Mapping[str, Case]
    url: str = ""
    asked: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def answer(self, host: str, path: str) -> tuple[int, list[tuple[str, str]], bytes]:
        """Status, headers and body."""
        case = self.cases.get(host)
        if case and path == IMAGE:
            return 200, [("Content-Type", "image/jpeg"), *case.headers], case.image
        if case and path in case.documents:
            return 200, [("Content-Type", "text/plain")], case.documents[path].encode()
        if not case and path == "/v1/images/":
            return 200, [("Content-Type", "application/json")], json.dumps(self._page()).encode()
        return 404, [], b"not here"

    def _page(self) -> dict[str, object]:
        """The hosts' images as a page of Openverse's results."""
        results = [
            {
                "id": f"4bc43a04-ef46-4544-a0c1-{number:012}",
                "title": f"{case.signal}, {case.state}",
                "foreign_landing_url": f"https://{host}/page",
                "url": f"https://{host}{IMAGE}",
                "creator": "Ida",
                "license": "cc0",
                "license_version": "1.0",
                "license_url": "https://creativecommons.org/publicdomain/zero/1.0/",
                "provider": "museum",
                "source": "museum",
                "tags": [{"accuracy": None, "name": "snow"}],
                "mature": False,
            }
            for number, (host, case) in enumerate(self.cases.items())
        ]
        size = len(results)
        page = {"result_count": size, "page_count": 1, "page_size": size, "page": 1}
        return {**page, "results": results}


@contextmanager
def serve(cases: Mapping[str, Case]) -> Iterator[Hosts]:
    """Run the hosts until the block ends."""
    hosts = Hosts(cases)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            host, path = self.headers["Host"].partition(":")[0], urlsplit(self.path).path
            hosts.asked[host].append(path)
            status, headers, body = hosts.answer(host, path)
            self.send_response(status)
            for name, value in [*headers, ("Content-Length", str(len(body)))]:
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hosts.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.01))
    thread.start()
    try:
        yield hosts
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def run(root: Path, cases: list[Case]) -> tuple[dict[str, Sample], Hosts]:
    """The rows by host after fetch and check, and what was asked."""
    named = {f"case-{number:03}.example": case for number, case in enumerate(cases)}
    data = ["--data", str(root)]
    with serve(named) as hosts:
        where = ["--endpoint", hosts.url, "--limit", str(len(cases))]
        _type("fetch", "openverse", "--query", "snow", *where, *data)
        _type("check", *data)
    rows = Dataset(root).read().samples
    return {urlsplit(row.image_url or "").netloc: row for row in rows}, hosts


def faults(case: Case, row: Sample, asked: list[str]) -> list[str]:
    """What of a case is not as it should be."""
    says = {signal.name: signal.allows for signal in row.signals}
    found = {
        "signals": (says, case.says),
        "train": (row.train and row.train.decision, case.train),
        "asked": (IMAGE in asked, case.asked),
        "kept": (row.sha256 is not None, case.kept),
        "robots.txt first": (asked[:1], [ROBOTS]),
    }
    return [f"{k}: {got}, not {wanted}" for k, (got, wanted) in found.items() if got != wanted]


def describe(case: Case, row: Sample, asked: list[str]) -> list[str]:
    """One line of the table, by `COLUMNS`."""
    words = {True: "allows", False: "refuses", None: "cannot be read"}
    said = "; ".join(f"{s.name} ({s.scope}) {words[s.allows]}" for s in row.signals)
    verdict = f"{row.train.decision}: {', '.join(row.train.reasons)}" if row.train else "–"
    request = "yes" if IMAGE in asked else "**not sent**"
    kept = "yes" if row.sha256 else f"no: {row.dropped}"
    cells = [case.signal, case.state, f"`{case.sent}`", request, kept, said or "–", verdict]
    return [cell.replace("|", "\\|") for cell in cells]


def _type(*arguments: str) -> None:
    print(f"$ curate {' '.join(arguments)}", file=sys.stderr)
    try:
        curate(list(arguments))
    except SystemExit as done:
        if done.code:
            raise


def main() -> None:
    cases = all_cases()
    with tempfile.TemporaryDirectory() as folder:
        rows, hosts = run(Path(folder) / "data", cases)
    wrong = []
    for line in (COLUMNS, ["---"] * len(COLUMNS)):
        print(f"| {' | '.join(line)} |")
    for host, case in hosts.cases.items():
        asked = hosts.asked[host]
        print(f"| {' | '.join(describe(case, rows[host], asked))} |")
        wrong += [
            f"{case.signal}, {case.state}: {fault}" for fault in faults(case, rows[host], asked)
        ]
    not_sent = sum(IMAGE not in hosts.asked[host] for host in hosts.cases)
    print(f"\n{len(cases)} cases, {not_sent} requests for an image not sent, {len(wrong)} faults")
    print("\n".join(wrong))
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
