"""Which files of a folder are images, what is beside each, and what is not used."""

import os
import re
import shlex
import stat
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from curate.corpora.endings import (
    ARROW_ENDINGS,
    OTHER_ENDINGS,
    STORED_ENDINGS,
    is_image_name,
    is_tar,
)
from curate.corpora.exports import read_export
from curate.corpora.metadata import METADATA_NAMES, MetadataRow, is_metadata, read_metadata
from curate.corpora.notes import ReadNotes
from curate.corpora.records import LINK_TO_NOTHING
from curate.corpora.sidecars import is_sidecar, match_sidecars, same_name, stem_of
from curate.corpora.walk import Walk
from curate.errors import InputError
from curate.formats.exports import INDEX_NAME, LICENCES_NAME
from curate.images.sniff import STORED_FORMATS, head_refusal, sniff_format
from curate.system.files import printable_path

DATASETS = "datasets in the folder, each to be taken by itself"
_VIDEOS = tuple(".mp4 .mov .avi .mkv .webm .m4v".split())
_LAYERS = tuple(".psd .psb .xcf .kra .clip .dng .cr2 .nef .arw".split())
ARCHIVES = "archives, to be unpacked"
UNPACKED = "archives, unpacked beside"
_UNPACKING = {  # ending of an archive -> what unpacks it, of its path and that path without ending
    ".zip": "unzip {0} -d {1}",
    ".rar": "unrar x {0} {1}/",
    ".7z": "7z x {0} -o{1}",
    ".gz": "gunzip --keep {0}",
    ".bz2": "bunzip2 --keep {0}",
    ".xz": "unxz --keep {0}",
}
_DATASET_FIXES = {  # what is to be typed for a dataset in the folder, before its path
    "dataset": "--data",
    "hf": "curate fetch hf",
    "shards": "curate fetch shards",
}


@dataclass(slots=True)
class Picture:
    """An image to be, or the name of one that is not there."""

    name: str  # path from the folder, lossless if it is not UTF-8
    reason: str | None = None  # why it is of no use, as in `ImageRecord`
    sidecars: Sequence[str] = ()  # in the order in which they are read
    rows: list[MetadataRow] = field(default_factory=list)

    def order(self) -> bytes:
        """Pictures are read in the order of their names' bytes."""
        return os.fsencode(self.name)


@dataclass
class Layout:
    """All images of a folder."""

    pictures: list[Picture]  # by name
    shared: set[str]  # side-cars of several images


def lay_out(root: Path, walked: Walk, whole: bool, notes: ReadNotes) -> Layout:
    """Find out what each file is; what is not used is named.

    Args:
        root: the folder that was walked.
        walked: what lies in it.
        whole: a text of several lines is one caption.
        notes: hears what is not used.
    """
    pictures: dict[str, Picture] = {}
    owners: dict[str, list[Picture]] = {}
    metadata: list[str] = []
    dangling: dict[str, list[str]] = {}
    for name in filter(is_image_name, walked.dangling):
        dangling.setdefault(_folder_of(name), []).append(PurePosixPath(name).name)
    for prefix, (names, _) in walked.listed.items():
        images, beside, tables = _sort_files(root, prefix, sorted(names), walked, notes)
        images += dangling.get(prefix, ())
        matched, orphans = match_sidecars(images, beside)
        for image in images:
            picture = Picture(prefix + image, sidecars=[prefix + n for n in matched.get(image, ())])
            pictures[picture.name] = picture
            picture.reason = _refusal(root, picture.name, walked.sizes.get(picture.name))
            for sidecar in picture.sidecars:
                owners.setdefault(sidecar, []).append(picture)
        metadata += [prefix + name for name in tables]
        if len(tables) > 1:
            names_of = ", ".join(tables)
            notes.remark("folders with several metadata files, all read", f"{prefix}: {names_of}")
        for orphan in orphans:
            _take_orphan(root, prefix + orphan, metadata, notes)
    _name_unused(root, walked, notes)
    for name in sorted(metadata):
        _read_rows(root, name, pictures, walked, whole, notes)
    there = [picture.name for picture in pictures.values() if picture.reason is None]
    for name, row in read_export(root, there, notes).items():
        pictures[name].rows.append(row)
    shared = _settle_shared(owners, notes)
    _tell_formats(root, pictures.values(), notes)
    return Layout(sorted(pictures.values(), key=Picture.order), shared)


def _sort_files(
    root: Path, prefix: str, names: Sequence[str], walked: Walk, notes: ReadNotes
) -> tuple[list[str], list[str], list[str]]:
    """The images, the texts that may be beside them, and the metadata files of one folder."""
    images, beside, metadata = [], [], []
    sets: dict[str, list[str]] = {}
    for name in names:
        lower = name.lower()
        if lower.endswith(STORED_ENDINGS):
            images.append(name)
        elif lower in METADATA_NAMES and is_metadata(root / (prefix + name)):
            metadata.append(name)
        elif is_sidecar(name):
            beside.append(name)
        elif lower.endswith(OTHER_ENDINGS) or _starts_as_image(
            root, prefix + name, walked.sizes[prefix + name]
        ):
            images.append(name)
        elif (
            lower.endswith(".parquet")
            and f"{stem_of(name)}_stats.json" in names
            and f"{prefix}{stem_of(name)}/" in walked.listed
        ):
            notes.leave_out("img2dataset's tables of the images in a folder beside", prefix + name)
        elif is_tar(name) or lower.endswith(ARROW_ENDINGS):
            sets.setdefault("shards" if is_tar(name) else "hf", []).append(prefix + name)
        else:
            _leave_out_other(root, prefix + name, notes)
    for kind, files in sets.items():
        place = f"{root}/{files[0] if len(files) == 1 else prefix}".rstrip("/")
        fix = f"{_DATASET_FIXES[kind]} {shlex.quote(place)}"
        for file in files:
            notes.leave_out(DATASETS, f"{file} ({fix})")
    return images, beside, metadata


def _folder_of(name: str) -> str:
    return name[: name.rfind("/") + 1]


def _read_head(root: Path, name: str) -> bytes:
    """The first bytes of a regular file; none where it cannot be read."""
    with suppress(OSError):
        handle = os.open(f"{root}/{name}", os.O_RDONLY)
        try:
            return os.read(handle, 32)
        finally:
            os.close(handle)
    return b""


def _starts_as_image(root: Path, name: str, size: int) -> bool:
    return size > 0 and sniff_format(_read_head(root, name)) in STORED_FORMATS


def _refusal(root: Path, name: str, size: int | None) -> str | None:
    """Why a file of this size is no image that we take, as its first bytes tell it.

    A size below 0 is that of what is no regular file; None that of a link to nothing.
    """
    if size is None:
        return LINK_TO_NOTHING
    if size < 0:
        return "not-an-image:not a file"
    head = _read_head(root, name) if size else b""
    return head_refusal(head, size) if head or not size else "unreadable:cannot be opened"


def _take_orphan(root: Path, name: str, metadata: list[str], notes: ReadNotes) -> None:
    """A text file that belongs to no image: metadata by what it holds, or not used."""
    if name.lower().endswith(".json"):
        if is_metadata(root / name):
            metadata.append(name)
        elif name not in (INDEX_NAME, LICENCES_NAME):  # `exports` reads these
            notes.leave_out("JSON files that belong to no image", name)
    else:
        notes.leave_out("caption files that belong to no image", name)


def _leave_out_other(root: Path, name: str, notes: ReadNotes) -> None:
    lower = name.lower()
    path = shlex.quote(f"{root}/{name}")
    stem = shlex.quote(f"{root}/{stem_of(name)}")
    if lower.endswith(_VIDEOS):
        command = f"ffmpeg -i {path} -vf fps=1 {stem}-%04d.png"
        notes.leave_out("videos, of which frames can be taken", f"{name} ({command})")
    elif lower.endswith(_LAYERS):
        layer = shlex.quote(f"{root}/{name}[0]")
        notes.leave_out("images to be converted", f"{name} (magick {layer} {stem}.png)")
    elif unpacking := unpack_command(root / name):
        beside = (root / name).with_suffix("")
        is_unpacked = beside.is_dir() or beside.is_file()
        notes.leave_out(*((UNPACKED, name) if is_unpacked else (ARCHIVES, f"{name} ({unpacking})")))
    else:
        notes.leave_out("other files", name)


def unpack_command(path: Path) -> str | None:
    """What unpacks an archive beside itself, by its ending; None: it is none."""
    command = _UNPACKING.get(path.suffix.lower())
    return command and command.format(
        shlex.quote(str(path)), shlex.quote(str(path.with_suffix("")))
    )


def first_archive(folder: Path) -> Path | None:
    """The first file in a folder that is to be unpacked, by name."""
    archives = (path for path in sorted(folder.iterdir()) if unpack_command(path))
    return next((path for path in archives if not is_tar(path.name)), None)


def _name_unused(root: Path, walked: Walk, notes: ReadNotes) -> None:
    for name in walked.hidden:
        notes.leave_out("hidden files and folders", name)
    for name in walked.repeated:
        notes.leave_out("linked folders that are entered elsewhere, or hold this folder", name)
    for name in walked.dangling:
        if not is_image_name(name):
            notes.leave_out("links to nothing", name)
    for name, kind in walked.datasets.items():
        fix = f"{_DATASET_FIXES[kind]} {shlex.quote(f'{root}/{name}')}"
        notes.leave_out(DATASETS, f"{name} ({fix})")


def _read_rows(
    root: Path,
    file: str,
    pictures: dict[str, Picture],
    walked: Walk,
    whole: bool,
    notes: ReadNotes,
) -> None:
    """Give what a metadata file says to the images that it names."""
    try:
        rows = read_metadata(root / file, whole, notes)
    except InputError as error:
        reason = "metadata files that cannot be read"
        notes.leave_out(reason, f"{file} ({error.problem}; {error.fix})")
        return
    finder = NameFinder(root, _folder_of(file), pictures, walked.sizes)
    for row in rows:
        target = finder.find(row.file_name)
        if target is None:
            notes.leave_out("captions of a name that several images have", row.where)
            continue
        if finder.is_elsewhere:
            notes.remark("rows whose image lies in another folder than they say", row.where)
        if target not in pictures:
            pictures[target] = Picture(target, _absence(root, target))
        elif pictures[target].rows:
            notes.remark("rows that name an image again, of which all captions count", row.where)
        pictures[target].rows.append(row)


def _absence(root: Path, name: str) -> str | None:
    """Why what metadata names is no image that was met; None: it is to be looked at."""
    shown = printable_path(name)
    if name.startswith(("../", "/")) or name == "..":
        return f"outside:{shown}"
    try:
        status = (root / name).stat()
    except FileNotFoundError:
        return f"missing:{shown}"
    except (OSError, ValueError) as error:
        return f"unreadable:{getattr(error, 'strerror', None) or 'not a usable name'}"
    size = status.st_size if stat.S_ISREG(status.st_mode) else -1
    return _refusal(root, name, size)


class NameFinder:
    """Finds the image that a metadata file means by a name."""

    def __init__(
        self, root: Path, prefix: str, images: Iterable[str], files: Iterable[str]
    ) -> None:
        """Names count from `prefix`, the folder of the metadata file."""
        self._root, self._prefix = root, prefix
        self._images, self._files = images, files
        self._alike: dict[str, list[str]] = {}
        self.is_elsewhere = False  # whether the last that was found lies elsewhere than it says
        self._by_name: dict[str, list[str]] | None = None  # images by the names of their files
        self._beside = False  # whether images lie beside the metadata file

    def find(self, written: str) -> str | None:
        """Path from the folder; None: several images are called so.

        As it is written, else with backslashes as slashes, inside of the folder though absolute,
        in other case or composition, without its ending, or in another folder. What fits nothing
        stays as it is.
        """
        self.is_elsewhere = False
        straight = self._place(written)
        slashed = self._place(written.replace("\\", "/"))
        for place in (straight, slashed):
            if place in self._files:
                return place
        if not self._alike:
            for name in self._images:
                for one in {same_name(name), same_name(_without_ending(name))}:
                    self._alike.setdefault(one, []).append(name)
        for place in (straight, slashed):
            found = self._alike.get(same_name(place), ())
            exact = [n for n in found if _without_ending(n) == place] or found
            if exact:
                return exact[0] if len(exact) == 1 else None
        elsewhere = self._find_elsewhere(written.replace("\\", "/"))
        self.is_elsewhere = bool(elsewhere)
        return straight if not elsewhere else elsewhere[0] if len(elsewhere) == 1 else None

    def _find_elsewhere(self, written: str) -> list[str]:
        """Images in other folders that end in the longest part of a path that any ends in.

        Looked for are absolute paths, which scripts write on the computer where they run, and
        names beside no image, as COCO keeps its annotations in a folder of their own.
        """
        if self._by_name is None:
            self._by_name, self._beside = {}, False
            for name in self._images:
                self._by_name.setdefault(same_name(name[name.rfind("/") + 1 :]), []).append(name)
                self._beside = self._beside or _folder_of(name) == self._prefix
        if self._beside and not re.match(r"/|[A-Za-z]:/", written):
            return []
        parts = same_name(written).split("/")
        found = self._by_name.get(parts[-1], [])
        for start in reversed(range(len(parts) - 1)):
            tail = "/" + "/".join(parts[start:])
            longer = [name for name in found if f"/{same_name(name)}".endswith(tail)]
            if not longer:
                break
            found = longer
        return found

    def _place(self, written: str) -> str:
        if written.startswith("/"):
            for root in (os.path.abspath(self._root), os.path.realpath(self._root)):  # noqa: PTH100
                if written.startswith(f"{root}/"):
                    return os.path.normpath(written[len(root) + 1 :])
        return os.path.normpath(f"{self._prefix}{written}") if written else written


def _without_ending(name: str) -> str:
    return _folder_of(name) + stem_of(name[name.rfind("/") + 1 :])


def _settle_shared(owners: dict[str, list[Picture]], notes: ReadNotes) -> set[str]:
    """Take texts from images of no use that stand beside usable ones; name those of several."""
    shared = set()
    for sidecar, its in owners.items():
        if len(its) < 2:
            continue
        usable = [picture for picture in its if picture.reason is None]
        for picture in its:
            if usable and picture.reason is not None:
                picture.sidecars = [name for name in picture.sidecars if name != sidecar]
        shared.add(sidecar)
        if len(usable) > 1:
            names = ", ".join(picture.name for picture in usable)
            notes.remark("texts beside several images, used for each", f"{sidecar} ({names})")
    return shared


def _tell_formats(root: Path, pictures: Iterable[Picture], notes: ReadNotes) -> None:
    """What to type so that images in other formats become PNG."""
    usable = {_without_ending(p.name) for p in pictures if p.reason is None}
    endings = {
        PurePosixPath(p.name).suffix
        for p in pictures
        if p.reason and p.reason.startswith("not-an-image:") and _is_other(p.name)
        and _without_ending(p.name) not in usable
    }  # fmt: skip
    for ending in sorted(endings):
        files = f"find {shlex.quote(str(root))} -name {shlex.quote(f'*{ending}')}"
        command = f"{files} -exec magick mogrify -format png {{}} +"
        notes.remarks.append(f"images as {ending} are not taken; as PNG they are: {command}")


def _is_other(name: str) -> bool:
    return name.lower().endswith(OTHER_ENDINGS)
