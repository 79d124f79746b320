"""Hosts on 127.0.0.1, one for each case of `opt_out_cases`, and the paths they are asked for."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from urllib.parse import urlsplit

from opt_out_cases import IMAGE, ROBOTS, Case
from servers import listening
from speaking_images import image as plain_image

from curate.dataset.sample import Sample

PLAIN = plain_image()


def named(cases: Sequence[Case]) -> dict[str, Case]:
    """The cases by the names of their hosts."""
    return {f"case-{number:03}.example": case for number, case in enumerate(cases)}


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
            kind = ("Content-Type", "image/jpeg")
            return 200, [kind, *case.headers], self._image_of(host)
        if case and path in case.documents:
            return 200, [("Content-Type", "text/plain")], case.documents[path].encode()
        if not case and path == "/v1/images/":
            return 200, [("Content-Type", "application/json")], json.dumps(self._page()).encode()
        return 404, [], b"not here"

    def _image_of(self, host: str) -> bytes:
        """Its own: of copies of one image the strictest would decide. What is signed stays so."""
        image = self.cases[host].image
        return image + host.encode() if image == PLAIN else image

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
        disable_nagle_algorithm = True

        def handle(self) -> None:
            with suppress(OSError):  # the client hangs up where it does not want the body
                super().handle()

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

    with listening(Handler) as hosts.url:
        yield hosts


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
