"""Metadata files of image folders: one file that says what many images show.

Read are imagefolder's `metadata.csv|jsonl|parquet` (a row an image: `file_name` and `text`), the
same as JSON, `captions.jsonl`, `captions.txt` with a line `NAME<tab>caption` an image, COCO's
captions, and the `meta*.json` of kohya's sd-scripts.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from curate.corpora.notes import ReadNotes

# files that are metadata by their name; others may be by what they hold: see `is_metadata`
METADATA_NAMES = (
    *(
        f"{stem}.{ending}"
        for stem in ("metadata", "captions")
        for ending in "csv tsv jsonl".split()
    ),
    *("metadata.parquet", "metadata.json", "captions.json", "captions.txt"),
    *("meta.json", "meta_cap.json", "meta_clean.json", "meta_lat.json"),
)


@dataclass(frozen=True, slots=True)
class MetadataRow:
    """What a metadata file says of one image."""

    where: str  # names the row: "FILE line 3"
    file_name: str  # of the image, as written: a path, an address, or a name without ending
    captions: tuple[str, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)  # as in `records.ImageRecord`


def is_metadata(file: Path) -> bool:
    """Whether a file of an image folder says what images show: by its name, or what it holds.

    `captions.txt` is one only if its lines begin with names of images, since it may be the text
    beside `captions.png`; any `.json` is one that lists captions by file as COCO or kohya's
    scripts do.
    """
    raise NotImplementedError


def read_metadata(file: Path, whole: bool, notes: ReadNotes) -> list[MetadataRow]:
    """The rows of a metadata file that name an image; those without a caption included.

    Args:
        file: for which `is_metadata` holds.
        whole: a text of several lines is one caption.
        notes: hears of rows that cannot be read or name no image, of captions in further columns
            and of columns that are not used.

    Raises:
        InputError: nothing in it can be read, or no column names the images.
    """
    raise NotImplementedError
