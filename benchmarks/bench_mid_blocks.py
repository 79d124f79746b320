"""What transformer blocks in the middle buy on combinations never shown, at equal CPU time.

    python benchmarks/bench_mid_blocks.py --tiles tiles-cc0.tar.gz --out mid-blocks
        [--blocks 0,1,2,4] [--minutes 2] [--samples 240]

Trains the stacked figures (see `stacked_figures.py`) once for each number of blocks, all else as
the settings say, each for as many CPU-seconds of one thread (more blocks see fewer images), and
measures as `bench_quality.py` does. Without blocks the words reach the network only as their mean.
"""

import argparse
import json
from pathlib import Path

import bench_quality
import torch

from curate.system.files import write_bytes


def main() -> None:
    given = options()
    torch.set_num_threads(1)
    given.out.mkdir(parents=True, exist_ok=True)
    task = bench_quality.figures(given)
    found = {}
    print(f"{given.minutes:g} CPU-minutes each, {task.size} px")
    for blocks in map(int, given.blocks.split(",")):
        run = given.out / f"blocks-{blocks}-{given.minutes:g}"
        found[blocks] = bench_quality.once(
            run, lambda b=blocks, run=run: measure(task, run, b, given)
        )
        bench_quality.show(f"{blocks} blocks", found[blocks])
        write_bytes(given.out / "mid-blocks.json", json.dumps(found, indent=1).encode())


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tiles", type=Path, required=True, help="archive of the CC0 tiles")
    parser.add_argument("--out", type=Path, required=True, help="folder for runs and results")
    parser.add_argument("--pixels", type=int, default=16)
    parser.add_argument("--config", type=Path, help="TOML file with settings")
    parser.add_argument("--blocks", default="0,1,2,4", help="numbers of blocks to compare")
    parser.add_argument("--minutes", type=float, default=2, help="CPU-minutes of training each")
    parser.add_argument("--samples", type=int, default=240, help="of each kind")
    return parser.parse_args()


def measure(
    task: bench_quality.Task, folder: Path, blocks: int, given: argparse.Namespace
) -> dict[str, object]:
    changes = {"mid_blocks": blocks}
    return bench_quality.ours(task, folder, 60 * given.minutes, given, changes)


if __name__ == "__main__":
    main()
