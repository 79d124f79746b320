"""Is the same data the same, however it lies? Counted, fetched and trained on in every layout.

    python benchmarks/table_of_layouts.py [--images 64]

The forty captioned images of `tests/layouts.py` are written in each layout, with the libraries of
others where these write it. Then it is typed: `curate vocab-gaps`, `curate fetch`, `train finetune`
(the tiny model, 16 px). Printed are images and captions counted, rows fetched, and the loss at the
end: it is one number for all layouts, since what is trained on, and in which order, follows from
bytes and captions alone. The exit code is 1 where a layout differs from the first.
"""

import argparse
import contextlib
import io
import json
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))  # the layouts are those of the tests
sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import curate.cli
import train.cli
from tests.layouts import LAYOUTS, Layout, forty_pictures


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", default="64", help="images that each run is shown")
    options = parser.parse_args()
    rows = []
    print("layout\timages\tcaptions\tfetched\tloss\tseconds")
    for layout in LAYOUTS:
        with tempfile.TemporaryDirectory() as folder:
            begun = time.process_time()
            rows.append(measure(layout, Path(folder), options.images))
            print(
                layout.name, *rows[-1], f"{time.process_time() - begun:.1f}", sep="\t", flush=True
            )
    return int(len(set(rows)) > 1)


def measure(layout: Layout, folder: Path, images: str) -> tuple[int, int, int, float]:
    """Images and captions counted, rows fetched, loss at the end."""
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    data = folder / "some"
    data.mkdir()
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        layout.write(data, forty_pictures(several=False))
        (folder / "prompts.txt").write_text("a red dragon\n")
        report = folder / "gaps.json"
        shown = ["vocab-gaps", str(folder / "prompts.txt"), "--data", str(data), "--json"]
        run(curate.cli.main, [*shown, str(report), "--fail-on", "never"])
        counted = json.loads(report.read_text())["data"]
    fetch = ["fetch", layout.source, str(data), "--license", "CC0-1.0", "--json"]
    fetched = json.loads(run(curate.cli.main, [*fetch, "--data", str(folder / "data")]))
    settings = ["--model-size", "tiny", "--stages", "16", "--images", images, "--json"]
    trained = ["finetune", "--shards", str(data), "--out", str(folder / "run"), *settings]
    losses = json.loads(run(train.cli.main, trained))
    return counted["images"], counted["captions"], fetched["new"], losses["loss"]["16 px"]


def run(program, words: list[str]) -> str:  # type: ignore[no-untyped-def]
    """What a command prints."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()) as said:
        try:
            program(words)
        except SystemExit as stopped:
            if stopped.code:
                raise RuntimeError(f"{words}: {said.getvalue()}") from None
    return out.getvalue()


if __name__ == "__main__":
    raise SystemExit(main())
