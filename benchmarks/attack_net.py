"""What comes of servers that do what no server should: outcome, seconds, memory, and after.

    python benchmarks/attack_net.py [WORDS]      the cases whose names hold WORDS; else all

Asks each server of `tests/hostile.py` for a picture, in a process of its own, and prints what the
row would say, the seconds it took, the memory it took beyond a healthy answer, and what the same
process gets from the same address once the server is well. Servers that play for time are asked
under limits of a second, the others under those of a fetch (60 seconds, 30 MB). Exits with 1 if
any of it is not what the list says.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from hostile import CASES, Case, HostileServer, N, run_hostile  # noqa: E402

from curate.net.api import Service  # noqa: E402
from curate.net.connection import NetOptions, connect  # noqa: E402
from curate.net.guard import Endpoint  # noqa: E402
from curate.net.media import Got, Want  # noqa: E402
from curate.net.tries import Limits  # noqa: E402

SERVICE = Service(name="attack", seconds_between=0.0)


def ask(number: int, port: int) -> None:
    """The client: a healthy answer, the hostile one, a healthy one, as they are told to come."""
    case = CASES[number]
    limits = case.limits if case.slow else Limits(tries=2, backoff_s=0.01)
    options = NetOptions(Endpoint("127.0.0.1", port), limits)

    def once() -> str:
        with (
            tempfile.TemporaryDirectory() as folder,
            connect(SERVICE, Path(folder), options=options) as net,
        ):
            got = net.media.get(Want(f"http://127.0.0.1:{port}/a.png"))
        return f"got:{len(got.body)}" if isinstance(got, Got) else got.dropped

    def wait_for_turn() -> None:
        sys.stdin.readline()

    once()  # libraries are loaded by now
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(flush=True)
    wait_for_turn()
    started = time.monotonic()
    outcome = once()
    passed = time.monotonic() - started
    peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(json.dumps([outcome, passed, peak]), flush=True)
    wait_for_turn()
    print(once(), flush=True)


def attack(server: HostileServer, number: int, case: Case) -> tuple[str, float, float, str]:
    """Outcome, seconds, megabytes, and what comes of asking again."""
    server.serve = None
    command = [sys.executable, __file__, "--ask", str(number), str(server.port)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as client:
        assert client.stdin and client.stdout
        client.stdout.readline()
        server.serve, server.reads = case.serve, case.reads
        client.stdin.write("\n")
        outcome, passed, peak = json.loads(client.stdout.readline())
        server.serve = None
        client.stdin.write("\n")
        return outcome, passed, peak, client.stdout.readline().strip()


def main(words: str) -> int:
    """Print the table; 1 if a line of it is wrong."""
    wrong = asked = 0
    print(f"{'server':42}{'seconds':>8}{'MB':>6}  {'row':64}then")
    with run_hostile() as server:
        for number, case in enumerate(CASES):
            if words not in case.name:
                continue
            outcome, passed, peak, after = attack(server, number, case)
            expected = case.outcome.replace("over 1000000 bytes", "over 30000000 bytes")
            right = outcome.startswith(expected) and passed < case.seconds
            right &= after == f"got:{N}"
            asked, wrong = asked + 1, wrong + (not right)
            mark = "" if right else "   WRONG"
            print(f"{case.name:42}{passed:8.2f}{peak:6.0f}  {outcome[:62]:64}{after}{mark}")
    print(f"{asked} servers, {wrong} wrong")
    return int(wrong > 0)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--ask"]:
        ask(int(sys.argv[2]), int(sys.argv[3]))
    else:
        sys.exit(main(" ".join(sys.argv[1:])))
