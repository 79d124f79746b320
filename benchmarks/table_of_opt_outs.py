"""What is asked of a host, and what is decided, for every opt-out signal in every state?

    python benchmarks/table_of_opt_outs.py

Each case of `tests/opt_out_cases.py` is a host of its own on 127.0.0.1 with one image that its
author gave away under CC0. The commands `curate fetch openverse` and `curate check` are typed on
all of them; printed are, for each, what the host sent, whether the image was asked for and whether
its body was kept, what `check` read, and its verdict for training by the policy "personal". The
exit code is 1 if one of them is not what the case wants.
"""

import sys
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

from curate import Dataset
from curate.cli import main as curate
from curate.dataset.sample import Sample

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from opt_out_cases import IMAGE, Case, all_cases
from opt_out_hosts import Hosts, faults, named, serve

COLUMNS = ("signal", "state", "sent", "image asked for", "kept", "signals", "train")


def run(root: Path, cases: list[Case]) -> tuple[dict[str, Sample], Hosts]:
    """The rows by host after fetch and check, and what was asked."""
    data = ["--data", str(root)]
    with serve(named(cases)) as hosts:
        where = ["--endpoint", hosts.url, "--limit", str(len(cases))]
        _type("fetch", "openverse", "--query", "snow", *where, *data)
        _type("check", *data)
    rows = Dataset(root).read().samples
    return {urlsplit(row.image_url or "").netloc: row for row in rows}, hosts


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
