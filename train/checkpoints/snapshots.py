"""Models of a run as they were on the way: `RUN/snapshots/STAGE-IMAGES.safetensors`.

Each is a model's file like any other, whole or absent. It holds the stage at work, averaged as the
finished model's stages are, with the stages before it as they were finished. In a fine-tuning it
holds the later stages, too, as they stand in the checkpoint that the run started from; a run from
nothing has none yet, so that a snapshot of its base draws the base's small images.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from curate.system.files import remove_leftovers
from train.size import Size

SNAPSHOTS_FOLDER = "snapshots"  # within a run's


@dataclass(frozen=True)
class Snapshot:
    """One of them."""

    path: Path
    stage: Size  # of the images that the stage then at work makes
    images: int  # that this stage had seen in this run


def list_snapshots(run: Path) -> list[Snapshot]:
    """The snapshots in a run's folder, in the order in which they were taken."""
    found = []
    for path in (run / SNAPSHOTS_FOLDER).glob("*.safetensors"):
        if match := re.fullmatch(r"(\d+|\d+x\d+)-(\d+)", path.stem):
            found.append(Snapshot(path, Size.of(match[1]), int(match[2])))
    return sorted(found, key=lambda one: (one.stage.side, one.images))


def snapshot_file(run: Path, stage: Size, images: int) -> Path:
    """Where the one after so many images of a stage belongs."""
    return run / SNAPSHOTS_FOLDER / f"{stage}-{images}.safetensors"


def remove_snapshots_after(run: Path, stages: Sequence[Size], number: int, seen: int) -> None:
    """Delete those of images that are to be trained on again: after `seen` of stage `number`."""
    remove_leftovers(run / SNAPSHOTS_FOLDER)
    for one in list_snapshots(run):
        if one.stage not in stages or (stages.index(one.stage), one.images) > (number, seen):
            one.path.unlink(missing_ok=True)
