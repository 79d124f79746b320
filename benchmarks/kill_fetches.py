"""A fetch that is killed at random moments: is anything lost, and is anything asked for twice?

    python benchmarks/kill_fetches.py [KILLS] [SEED]      30 kills with SIGKILL, unless said

A server stands in for Pixabay: 60 images, of which every tenth is a dead link. A line a kill: when
it struck, how much was done by then, how many requests the killed fetch and the one that completed
it made beyond those of a fetch that was left alone, and whether its manifest has the same bytes.
Exits with 1 if a byte differs, an image is lost, or more than one request a kill was repeated.
"""

import itertools
import json
import os
import random
import signal
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from killed_fetches import fetch_of, start, wait_for
from servers import KEY, Answer, Pixabay, run_server

COUNT = 60


def serve(place: Path) -> None:
    """Serve until killed; the address goes to a file, and `/asked` says what was asked for."""
    with run_server() as server:
        Pixabay(server, count=COUNT, delay=0.01)
        for number in range(0, COUNT, 10):
            server.routes[f"/get/{number}_1280.png"] = lambda query: Answer(b"gone", 404)
        server.routes["/asked"] = lambda query: Answer(json.dumps(server.paths()).encode())
        place.with_suffix(".part").write_text(server.url)
        place.with_suffix(".part").replace(place)
        signal.pause()


def main(kills: int, seed: int) -> int:
    """Print the table; 1 if a line of it is wrong."""
    import pyarrow.parquet
    import urllib3  # noqa: F401
    from PIL import Image

    Image.init()  # before the forks, so that they are quick
    pyarrow.array(["pyarrow looks for pandas now"])
    os.environ |= {"SOURCE_DATE_EPOCH": "1700000000", "PIXABAY_API_KEY": KEY}
    moments, wrong, struck = random.Random(seed), 0, 0
    with tempfile.TemporaryDirectory() as folder:
        work, place = Path(folder), Path(folder) / "address"
        server = start(lambda: serve(place))
        while not place.exists():
            time.sleep(0.01)
        url = place.read_text()

        def asked() -> list[str]:
            with urllib.request.urlopen(f"{url}/asked") as answer:
                return [path for path in json.load(answer) if path != "/asked"]

        before, started = len(asked()), time.monotonic()
        assert wait_for(start(fetch_of(work / "whole", url))) == 0
        length, once = time.monotonic() - started, len(asked()) - before
        expected = (work / "whole" / "manifest.parquet").read_bytes()
        print(f"left alone: {once} requests in {length:.2f} s\n")
        print(f"{'kill':>4}{'after':>9}{'images':>8}{'requests':>10}{'repeated':>10}  manifest")
        for number in itertools.count(1):
            root, before = work / f"killed-{number}", len(asked())
            child, moment = start(fetch_of(root, url)), length * moments.uniform(0.02, 0.98)
            time.sleep(moment)
            os.kill(child, signal.SIGKILL)
            if wait_for(child) != -signal.SIGKILL:
                continue  # it had ended before
            struck += 1
            stored, then = len(list(root.glob("store/??/*"))), len(asked()) - before
            ended = wait_for(start(fetch_of(root, url)))
            repeated = len(asked()) - before - once
            same = ended == 0 and (root / "manifest.parquet").read_bytes() == expected
            left = [*root.rglob("*.part"), *root.glob("journal.jsonl")]
            right = same and repeated <= 1 and not left
            wrong += not right
            said = ("the same" if same else "DIFFERS") + ("" if right else "   WRONG")
            print(f"{struck:4}{moment:7.2f} s{stored:8}{then:10}{repeated:10}  {said}")
            if struck == kills:
                break
        os.kill(server, signal.SIGKILL)
    print(f"\n{kills} kills, {wrong} wrong")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main(*(int(word) for word in [*sys.argv[1:], *("30", "7")[len(sys.argv) - 1 :]])))
