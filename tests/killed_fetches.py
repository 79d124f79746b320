"""Program: kill a fetch with SIGKILL at random moments, let it finish, compare the manifests.

Run as `killed_fetches.py WORK SEED KILLS FOLDER` or `… URL`. A process of its own without threads,
so that it may fork; prints a JSON list of the images stored when each kill struck.
"""

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from curate.dataset.folder import Dataset
from curate.fetch.run import FetchOptions, fetch_images
from curate.net.connection import NetOptions
from curate.net.guard import Endpoint
from curate.net.tries import Limits
from curate.sources import folder, pixabay, terms


def start(work: Callable[[], object]) -> int:
    """Start `work` in a process of its own; its id."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return child


def wait_for(child: int) -> int:
    """Wait for a process; its exit code, or minus the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def fetch_of(root: Path, what: str) -> Callable[[], object]:
    """The fetch of a folder, or of a server that answers as Pixabay does."""
    data = Dataset(root)
    if not what.startswith("http"):
        return lambda: fetch_images(data, folder.SOURCE, what, options={"license": "CC0-1.0"})
    source = replace(pixabay.SOURCE, requests_per_minute=1_000_000, seconds_between=0.0)
    limits = Limits(backoff_s=0.01)
    chosen = FetchOptions(net=NetOptions(Endpoint.parse(what), limits))
    terms.accept_terms(root, source, "a permission")
    return lambda: fetch_images(data, source, "blizzard", fetch_options=chosen)


def count_stored(root: Path) -> int:
    """How many images lie in the store of a dataset folder."""
    return len(list((root / "store").glob("??/*")))


def wait_until_stored(root: Path, count: int, seconds: float) -> None:
    """Wait for so many images, `seconds` at most."""
    end = time.monotonic() + seconds
    while count_stored(root) < count and time.monotonic() < end:
        time.sleep(0.001)


def main(work: Path, seed: int, kills: int, what: str) -> None:
    """Kill, resume, compare; an assertion fails if a byte differs."""
    import pyarrow
    import pyarrow.parquet  # before the forks, so that they are quick
    import urllib3  # noqa: F401
    from PIL import Image

    Image.init()
    pyarrow.array(["pyarrow looks for pandas now"])
    moments = random.Random(seed)
    started = time.monotonic()
    assert wait_for(start(fetch_of(work / "whole", what))) == 0
    length = time.monotonic() - started
    expected = (work / "whole" / "manifest.parquet").read_bytes()
    images, stored = count_stored(work / "whole"), []
    for number in range(kills):
        root = work / f"killed-{number}"
        child = start(fetch_of(root, what))
        if number % 2:  # whatever it is at work on, on a machine of any speed
            wait_until_stored(root, moments.randrange(1, images), length * 10)
        else:
            time.sleep(length * moments.uniform(0.05, 0.95))
        os.kill(child, signal.SIGKILL)
        assert wait_for(child) in (-signal.SIGKILL, 0)
        stored.append(count_stored(root))
        assert wait_for(start(fetch_of(root, what))) == 0
        assert (root / "manifest.parquet").read_bytes() == expected, f"kill {number} differs"
        assert not (root / "journal.jsonl").exists()
        left_over = [p.name for p in root.rglob(".*.part")]
        assert not left_over, left_over
    print(json.dumps(stored))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
