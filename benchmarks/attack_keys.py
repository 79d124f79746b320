"""Is the key anywhere but in the requests to its API? Asked of every hostile server.

    python benchmarks/attack_keys.py [WORDS]      the cases whose names hold WORDS; else all

Types `curate fetch pixabay` with a canary in PIXABAY_API_KEY against each server of
`tests/hostile.py`, and against servers that say the key again in some spellings wherever a server
can say something; each is hostile as the API, as the images' host, and as that host's robots.txt.
Then looks for the key, in every spelling, in stdout, stderr (with all that any library logs, and
the whole of the exception that ended the command), each file of the dataset folder, names
included, and the command lines of all processes while a request was under way. Prints a line a
server; exits with 1 if there is a leak, or a traceback.
"""

import functools
import json
import os
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from hostile import CASES, Case, run_hostile
from killed_fetches import start, wait_for
from servers import KEY, Answer, Pixabay, Server
from test_net_secrets import SPELLINGS, echoes, leaks, told

PLACES = {"API": "/api/", "images": "/get/", "robots.txt": "/robots.txt"}
SAID = ("capitals", "JSON", "percent", "base64 at 1")
ALL = [*CASES, *(Case(f"says the key: {place}, {name}", serve, "") for name in SAID
                 for place, serve in echoes(SPELLINGS[name]).items())]  # fmt: skip


def fetch(root: Path, url: str, case: Case) -> None:
    """The command line, at once where it would wait; what it says goes to two files."""
    import logging

    import curate.cli
    from curate.net import connection

    for stream, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(root / name, os.O_WRONLY | os.O_CREAT), stream)
    logging.basicConfig(level=logging.DEBUG, force=True)
    connection.Budget = functools.partial(connection.Budget, sleep=lambda seconds: None)
    connection.NetOptions = functools.partial(connection.NetOptions, limits=case.limits)
    data = ["--data", str(root)]
    with suppress(SystemExit):
        curate.cli.main(["sources", "accept", "pixabay", "--basis", "mine", *data])
    try:
        curate.cli.main(["fetch", "pixabay", "--query=snow", "--limit=2", "--endpoint", url, *data])
    except SystemExit as ended:
        print(told(ended).replace("Traceback", "As it ended"), file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()


def launch() -> None:
    """Fork a fetch for each line of stdin, in a process without threads."""
    import pyarrow.parquet  # noqa: F401
    import urllib3  # noqa: F401

    import curate.cli
    import curate.fetch.run  # noqa: F401
    from curate.net.guard import Guard
    from curate.net.pools import Watchdog, make_pools

    make_pools(Guard(), Watchdog(), None)  # reads the certificates once for all
    for line in sys.stdin:
        root, url, number = json.loads(line)
        wait_for(start(lambda: fetch(Path(root), url, ALL[number])))  # noqa: B023 waited for
        print(flush=True)


def serve(connection: socket.socket, path: str, url: str) -> None:
    """A Pixabay with two images."""
    pixabay = Pixabay(Server(url=url), count=2)
    name, _, query = path.partition("?")
    asked = dict(pair.split("=", 1) for pair in query.split("&") if "=" in pair)
    route = pixabay.server.routes.get(name, lambda asked: Answer(b"", 404))
    answer = route(asked)
    head = b"HTTP/1.1 %d So\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
    connection.sendall(head % (answer.status, len(answer.body)) + answer.body)


def command_lines() -> Iterator[str]:
    """Those of all processes."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            yield path.read_bytes().decode("latin-1")


def main(words: str) -> int:
    """Print the table; 1 if a line of it is wrong."""
    asked = wrong = searched = 0
    environment = {**os.environ, "PIXABAY_API_KEY": KEY}
    print(f"{'server':58}" + "".join(f"{place:>14}" for place in PLACES))
    with (
        subprocess.Popen(
            [sys.executable, __file__, "--launch"], env=environment, text=True, bufsize=1,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        ) as launcher,
        run_hostile() as server,
    ):  # fmt: skip
        assert launcher.stdin and launcher.stdout
        url = server.url.removesuffix("/a.png")
        for number, case in enumerate(ALL):
            if words not in case.name:
                continue
            line = ""
            for place in PLACES.values():
                seen: list[str] = []

                def answer(
                    connection: socket.socket, path: str, place=place, case=case, seen=seen
                ) -> None:
                    seen.extend(command_lines())
                    if path.startswith(place) or not path:
                        case.serve(connection, path)
                    else:
                        serve(connection, path, url)

                server.serve, server.reads = answer, case.reads
                with tempfile.TemporaryDirectory() as folder:
                    launcher.stdin.write(json.dumps([folder, url, number]) + "\n")
                    launcher.stdout.readline()
                    files = [p for p in Path(folder).rglob("*") if p.is_file()]
                    texts = [f"{p}\n{p.read_bytes().decode('latin-1')}" for p in files]
                    said = (Path(folder) / "stderr").read_text(errors="replace")
                found = leaks("\n".join([*texts, *seen]))
                fine = not found and "Traceback" not in said and "As it ended" in said
                asked, wrong, searched = asked + 1, wrong + (not fine), searched + len(texts)
                line += f"{'no key' if fine else (found[:1] or ['TRACEBACK'])[0]:>14}"
            print(f"{case.name[:57]:58}{line}", flush=True)
    print(f"{asked} fetches, {searched:,} files searched, {wrong} wrong")
    return int(wrong > 0)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--launch"]:
        launch()
    else:
        sys.exit(main(" ".join(sys.argv[1:])))
