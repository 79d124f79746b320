"""Tars of images that other programs wrote: img2dataset's, those of webdataset's `ShardWriter`.

What a tar holds is said in `tar_samples`. Beside `NNNNN.tar`, img2dataset leaves `NNNNN.parquet`,
of every address that it was given, whether an image came or not, and `NNNNN_stats.json`; they
hold no image and are not read.

Sources: https://github.com/webdataset/webdataset, https://github.com/rom1504/img2dataset
"""

import hashlib
import os
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

from curate.corpora.columns import LineCuts
from curate.corpora.endings import is_image_name, is_tar
from curate.corpora.notes import MOST_NAMED, ReadNotes
from curate.corpora.partition import ImageCaptions, Partition
from curate.corpora.records import ImageRecord
from curate.corpora.tar_samples import (
    TarImage,
    TarReading,
    is_compressed,
    open_stream,
)
from curate.corpora.walk import unlistable_error
from curate.errors import InputError
from curate.formats.shards import list_tars, read_index
from curate.formats.verdicts import is_indexed, stale_in

MAX_TARS = 100_000  # that a pattern may name
PARTITION_BYTES = 1 << 30  # bytes of consecutive tars that are counted together
BESIDE = "files beside the tars"
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)")
_IMG2DATASET = re.compile(r"(.+)(\.parquet|_stats\.json)$")


@dataclass(frozen=True)
class ForeignTars:
    """Tars in WebDataset form, whoever wrote them; the key of an image is TAR/KEY.

    An image whose record of ours says anything but `train: allow` is left out.
    """

    path: Path  # a folder, a tar, or a pattern of tars
    tars: Sequence[Path]
    whole: bool = False  # a text of several lines is one caption
    root: Path = Path()  # folder that names of tars are relative to
    missing: Sequence[str] = ()
    beside: Sequence[str] = ()  # names of what is not used
    kind: str = "tars"

    def partitions(self, prefix: str = "") -> list[Partition]:
        """Consecutive tars together, named by their names, sizes, times and inodes."""
        facts = [(tar, _facts_of(tar)) for tar in self.tars]
        # by the size of the largest, so that a changed tar moves no other into another group
        largest = max((size for _, (size, *_) in facts), default=1)
        step = max(1, PARTITION_BYTES >> max(0, largest - 1).bit_length())
        found = []
        for start in range(0, len(facts), step):
            chosen = facts[start : start + step]
            tars = tuple(tar for tar, _ in chosen)
            beside = () if start else tuple(self.beside)
            told = repr(([(self._name_of(tar), fact) for tar, fact in chosen], beside))
            digest = hashlib.sha256(told.encode("utf-8", "surrogateescape")).hexdigest()
            read = partial(self._read_captions, tars, beside, prefix)
            found.append(Partition(read, tars, f"tars {self.whole} {prefix}", digest))
        return found

    def records(
        self, notes: ReadNotes, keys: Collection[str] | None = None
    ) -> Iterator[ImageRecord]:
        """Every image, tar by tar, as it is stored.

        Of a tar that is not compressed only headers and texts are read. The images of a compressed
        one are given with their bytes, one after the other: do not gather them.
        """
        cuts, unused = LineCuts(), dict[str, None]()
        _name_beside(self.beside, notes)
        for tar in self.tars:
            name = self._name_of(tar)
            wanted = None if keys is None else _keys_in(name, keys)
            if wanted is not None and not wanted:
                continue
            images = TarReading(tar, self.whole, notes, cuts, unused).images()
            chosen = (i for i in images if wanted is None or i.key in wanted)
            yield from _place_images(tar, name, chosen)
        cuts.remark(self.path, notes)
        if unused:
            notes.remarks.append(f"fields of JSON not used: {', '.join(sorted(unused))}")

    def _read_captions(
        self, tars: Sequence[Path], beside: Sequence[str], prefix: str, notes: ReadNotes
    ) -> Iterator[ImageCaptions]:
        cuts = LineCuts()
        _name_beside(beside, notes)
        for tar in tars:
            name, silent, broken = self._name_of(tar), True, len(notes.broken)
            images = TarReading(tar, self.whole, notes, cuts).images()
            for image in images:
                silent = silent and not image.captions
                if image.reason is None:
                    yield f"{prefix}{name}/{image.key}", image.captions
            if silent and len(notes.broken) == broken:
                lost = f"images not counted: {len(images):,}"
                notes.silent.append(f"{name}: tar holds no caption of an image; {lost}")
        cuts.remark(self.path, notes)

    def _name_of(self, tar: Path) -> str:
        return Path(os.path.relpath(tar, self.root)).as_posix()


def find_tars(
    path: Path, *, whole: bool = False, without: Path | None = None
) -> ForeignTars | None:
    """The reader of the tars that a path means; None where it means something else.

    Args:
        path: a tar; a pattern of tars in braces, as a shell has them: `{000..003}.tar`; or a
            folder with tars in it, or in the folders in it. A folder with as many images as tars,
            or more, is one of images.
        whole: a text of several lines is one caption.
        without: a folder in it that is not entered.

    Raises:
        InputError: nothing is there that the pattern names; or a folder cannot be listed.
    """
    if path.is_dir():
        return _in_folder(path, whole, without)
    if not is_tar(path.name):
        return None
    if path.exists():
        return ForeignTars(path, (path,), whole, path.parent)
    return _by_pattern(path, whole) if "{" in str(path) else None


def open_tars(path: Path, *, whole: bool = False, without: Path | None = None) -> ForeignTars:
    """As `find_tars`, also where a dataset folder or its shards are named; then as indexed.

    Raises:
        InputError: no tars are there; or they are shards of which a sample is not allowed now as
            its record says, by the dataset that they lie in.
    """
    folder = next((p for p in (path, path / "shards") if is_indexed(p)), None)
    for place in (path, path / "shards") if path.is_dir() else (path.parent,):
        if list_tars(place) and (error := stale_in(place)):
            raise error
    if folder:
        shards = read_index(folder).shards
        return ForeignTars(path, tuple(folder / s.name for s in shards), whole, folder)
    if found := find_tars(path, whole=whole, without=without):
        return found
    fix = "curate fetch shards DIR, a folder with tars in it"
    if path.is_dir():
        raise InputError(path, "holds no tars of images", fix=f"{fix}, or curate fetch folder DIR")
    raise InputError(path, "is no tar" if path.exists() else "no such file or folder", fix=fix)


def is_img2dataset_files(folder: Path) -> bool:
    """Whether img2dataset wrote images as files there: `NNNNN/KEY.jpg` beside `NNNNN.parquet`."""
    logs = (file for file in folder.glob("*_stats.json"))
    stems = {folder / file.name.removesuffix("_stats.json") for file in logs}
    return any(stem.is_dir() for stem in stems)


def _in_folder(path: Path, whole: bool, without: Path | None) -> ForeignTars | None:
    skip = without.resolve() if without else None
    listed = _list_files(path, skip)
    tars = [path / n for n in listed if is_tar(n) and not _is_hidden(n)]
    if not tars:
        return None
    images = filter(is_image_name, listed)
    if len(list(islice(images, len(tars)))) >= len(tars):
        return None
    stems = {Path(name).with_suffix("").as_posix() for name in listed if name.endswith(".tar")}
    beside, missing = [], []
    for name in sorted({*listed} - {tar.relative_to(path).as_posix() for tar in tars}):
        log = _IMG2DATASET.fullmatch(name)
        if log is None or (log[1] not in stems and log[2] == ".parquet"):
            beside.append(name)
        elif log[1] not in stems:
            missing.append(f"{path / log[1]}.tar: tar is missing, of which {name} speaks")
    return ForeignTars(path, tuple(tars), whole, path, tuple(missing), tuple(beside))


def _list_files(path: Path, skip: Path | None) -> list[str]:
    """The files in a folder and in the folders in it, by name; of those below only the folder."""
    found = []
    for entry in _list_folder(path):
        if not _is_folder(entry):
            found.append(entry.name)
        elif skip is None or Path(entry.path).resolve() != skip:
            inner = _list_folder(entry.path)
            found += [f"{entry.name}/{one.name}{'/' * _is_folder(one)}" for one in inner]
    return found


def _list_folder(place: Path | str) -> list[os.DirEntry[str]]:
    try:
        return sorted(os.scandir(place), key=lambda entry: entry.name)
    except OSError as error:
        raise unlistable_error(error) from None


def _is_folder(entry: os.DirEntry[str]) -> bool:
    with suppress(OSError):  # a link that leads round
        return entry.is_dir()
    return False


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") for part in name.split("/"))


def _by_pattern(path: Path, whole: bool) -> ForeignTars:
    """The tars that a pattern names."""
    from braceexpand import braceexpand

    fix = "name a folder of tars, or tars as '{000..003}.tar'"
    too_many = InputError(path, f"names more than {MAX_TARS:,} tars", fix=fix)
    ranges = ((int(first), int(last)) for first, last in _RANGE.findall(str(path)))
    try:
        if any(abs(last - first) >= MAX_TARS for first, last in ranges):
            raise too_many
        named = [Path(name) for name in islice(braceexpand(str(path)), MAX_TARS + 1)]
    except ValueError:  # braces that do not close
        named = []
    if len(named) > MAX_TARS:
        raise too_many
    there = tuple(tar for tar in named if tar.is_file())
    if not there:
        raise InputError(path, "no such tars", fix=fix)
    lacking = [f"{tar}: tar is missing" for tar in named if not tar.is_file()]
    more = len(lacking) - MOST_NAMED
    if more > 0:
        lacking[MOST_NAMED:] = [f"{path}: {more:,} more tars are missing"]
    root = Path(os.path.commonpath([tar.absolute().parent for tar in named]))
    return ForeignTars(path, there, whole, root, tuple(lacking))


def _facts_of(tar: Path) -> tuple[int, ...]:
    try:
        stat = tar.stat()
    except OSError:  # said when it is read
        return (0,)
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino


def _keys_in(name: str, keys: Collection[str]) -> set[str]:
    start = f"{name}/"
    return {key.removeprefix(start) for key in keys if key.startswith(start)}


def _name_beside(names: Iterable[str], notes: ReadNotes) -> None:
    for name in names:
        notes.leave_out(BESIDE, name)


def _place_images(tar: Path, name: str, images: Iterable[TarImage]) -> Iterator[ImageRecord]:
    """The images with their place in the tar, or with their bytes where it is compressed."""
    chosen = list(images)
    packed = bool(chosen) and is_compressed(tar)
    stream = open_stream(tar) if packed else None
    try:
        for image in chosen:
            data, gone = None, (image.reason or "").startswith(("too-large:", "empty:"))
            if stream and not gone:
                stream.seek(image.offset)  # forward: they come as they are stored
                data = stream.read(image.size)
            yield ImageRecord(
                f"{name}/{image.key}",
                image.captions,
                None if packed or gone else tar,
                0 if packed else image.offset,
                image.size,
                data,
                image.reason,
                image.facts,
                image.made,
            )
    finally:
        if stream:
            stream.close()
