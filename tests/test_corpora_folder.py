"""Folders of images: every caption is used or named, by `vocab-gaps` as by `fetch folder`."""

import os
from pathlib import Path

import pytest
from odd_folders import OddFolder, odd_folder
from recorded_progress import RecordedProgress

from curate.captions.clean import captions_for
from curate.corpora.folder import ImageFolder
from curate.corpora.notes import ReadNotes
from curate.corpora.records import ImageRecord
from curate.dataset.folder import Dataset
from curate.fetch.run import fetch_images

SEEDS = range(100)


def read(reader: ImageFolder) -> tuple[dict[str, ImageRecord], ReadNotes]:
    notes = ReadNotes(most=None)
    return {record.key: record for record in reader.records(notes)}, notes


def count(reader: ImageFolder) -> dict[str, tuple[str, ...]]:
    (part,) = reader.partitions()
    return {key: tuple(said) for key, said in part.read(ReadNotes())}


def lost_captions(made: OddFolder, used: set[str], notes: ReadNotes) -> list[tuple[str, str]]:
    """Captions that are neither used nor named, with the files that hold them."""
    named = [name.replace(f"{made.root}/", "") for names in notes.named.values() for name in names]
    lost = []
    for file in set(made.captions.values()):
        absent = [c for c, place in made.captions.items() if place == file and c not in used]
        if any(_is_of_file(name, file) for name in named):
            continue
        rows = sum(name.startswith((f"{file} ", f"{file}, ")) for name in named)
        lost += [(caption, file) for caption in absent[rows:]]
    return lost


def _is_of_file(name: str, file: str) -> bool:
    """Whether all of a file is named: itself, or a folder that it lies in."""
    place = name.partition(" (")[0] if name.endswith(")") else name
    return place == file or file.startswith(f"{place}/") or name == file


def state(root: Path) -> list[tuple[str, int, int]]:
    """All that lies there and when it was changed."""
    return sorted(
        (os.path.join(folder, name), status.st_mtime_ns, status.st_size)  # noqa: PTH118
        for folder, folders, names in os.walk(root)
        for name in (*folders, *names, ".")
        for status in [os.lstat(os.path.join(folder, name))]  # noqa: PTH118
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_no_caption_of_an_odd_folder_is_lost(tmp_path: Path, seed: int):
    check_odd_folder(tmp_path, seed)


def check_odd_folder(tmp_path: Path, seed: int) -> None:
    """The laws, on one folder."""
    made = odd_folder(tmp_path / "odd", seed)
    before = state(tmp_path)
    reader = ImageFolder(made.root)
    records, notes = read(reader)
    usable = {key: record.captions for key, record in records.items() if record.reason is None}
    assert count(ImageFolder(made.root)) == usable
    used = {caption for captions in usable.values() for caption in captions}
    assert lost_captions(made, used, notes) == []
    assert made.images <= usable.keys(), "an image is lost"
    for caption, owners in made.owners.items():
        assert {key for key, said in usable.items() if caption in said} == owners, caption
    for image in made.unnamed:
        assert usable[image] == usable[image][len(usable[image]) - records[image].made :]
    assert state(tmp_path) == before, "written into what is read"


@pytest.mark.parametrize("seed", SEEDS[:30])
def test_fetch_takes_the_captions_that_are_counted(tmp_path: Path, seed: int):
    """And `curate caption` makes those of names that were counted."""
    made = odd_folder(tmp_path / "odd", seed)
    usable = {
        key: record for key, record in read(ImageFolder(made.root))[0].items() if not record.reason
    }
    data, progress = Dataset(tmp_path / "data"), RecordedProgress()
    fetch_images(data, "folder", made.root, progress=progress)
    rows = {row.file_name: row for row in data.read().samples if row.dropped is None}
    assert rows.keys() == usable.keys()
    for key, row in rows.items():
        record = usable[key]
        written = record.captions[: len(record.captions) - record.made]
        assert row.texts == written
        told = tuple(one.text for one in captions_for(row, per_image=max(4, len(written))))
        assert record.captions[len(written) :] == told[len(written) :]
