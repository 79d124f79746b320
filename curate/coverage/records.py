"""Where captions come from: a dataset folder, a manifest, shards, or a plain list of captions."""

import csv
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from curate import manifest
from curate.dataset import Dataset
from curate.errors import InputError
from curate.sample import Sample, live
from curate.shards import layout

DEFAULT = Path("data")  # the dataset folder when none is named
Described = tuple[str, Sequence[str]]  # key of an image, what is said of it
_LIST_FIX = 'write lines like {"image": "a.png", "captions": ["a white dog"]}, or image,caption'


@dataclass(frozen=True)
class Origin:
    """Data whose words can be counted."""

    path: Path
    kind: str  # "dataset", "manifest", "shards", "captions" or "none"
    read: Callable[[Counter[str]], Iterator[Described]]  # fills in what it leaves out, by reason
    files: tuple[Path, ...] = ()  # whose bytes decide what is read
    cache: Path | None = None  # folder for the index
    options: tuple[str, ...] = field(default=())  # that make a command fetch into it


def find(data: Path | None = None) -> Origin:
    """What `--data` means; without it, the dataset folder `./data`, which may not exist yet.

    Raises:
        InputError: the path that was named does not exist or holds no captions.
    """
    path = DEFAULT if data is None else data
    dataset = Dataset(path)
    if dataset.manifest.exists() or dataset.journal.exists():
        files = tuple(f for f in (dataset.manifest, dataset.journal) if f.exists())
        options = () if data is None else ("--data", str(path))
        return Origin(path, "dataset", _of(dataset.read), files, path / "index", options)
    if data is None:
        return Origin(path, "none", lambda left_out: iter(()))
    if not path.exists():
        raise InputError(path, "no such file or folder", fix="name a dataset folder with --data")
    if path.is_dir():
        return _shards(path)
    if path.suffix == ".parquet":
        return Origin(path, "manifest", _of(lambda: manifest.read(path)), (path,))
    readers = {".jsonl": _json_lines, ".csv": _table, ".tsv": _table}
    if path.suffix.lower() in readers:
        reader = readers[path.suffix.lower()]
        return Origin(path, "captions", lambda left_out: reader(path), (path,))
    problem = "neither a dataset folder, shards, a manifest nor a list of captions"
    raise InputError(path, problem, fix="name a folder, or a .parquet, .jsonl, .csv or .tsv file")


def find_all(data: Sequence[Path]) -> Origin:
    """What several `--data` mean together; a picture that two of them hold counts once.

    Raises:
        InputError: as `find`, for any of them.
    """
    if len(data) < 2:
        return find(*data)
    found = [find(path) for path in data]

    def read(left_out: Counter[str]) -> Iterator[Described]:
        for origin in found:
            yield from origin.read(left_out)

    shown = Path(" + ".join(str(origin.path) for origin in found))
    files = tuple(file for origin in found for file in origin.files)
    return Origin(shown, "several", read, files, options=found[-1].options)


def fingerprint(origin: Origin) -> str:
    """SHA-256 over the bytes that decide what is read."""
    whole = hashlib.sha256(origin.kind.encode())
    for path in origin.files:
        try:
            with path.open("rb") as file:
                whole.update(hashlib.file_digest(file, "sha256").digest())
        except OSError as error:
            raise unreadable(path, error) from None
    return whole.hexdigest()


def unreadable(path: Path, error: OSError) -> InputError:
    """Turn a failed read into a sentence."""
    fix = "correct the path or its permissions"
    return InputError(path, f"cannot be read ({error.strerror or error})", fix=fix)


def words_of(sample: Sample) -> list[str]:
    """What is said of an image: its captions, else what came with it."""
    said = [c.text for c in sample.captions] or [*sample.texts, sample.title or "", *sample.tags]
    return [text for text in said if text.strip()]


def _of(read: Callable[[], manifest.Manifest]) -> Callable[[Counter[str]], Iterator[Described]]:
    def rows(left_out: Counter[str]) -> Iterator[Described]:
        for sample in live(read().samples):
            said = words_of(sample)
            decision = sample.train.decision if sample.train else None
            if decision in ("hold", "deny"):
                left_out[f"not allowed for training ({decision})"] += 1
            elif not said:
                left_out["without words"] += 1
            else:
                if decision is None:
                    left_out["counted, but not checked yet"] += 1
                yield sample.key, said

    return rows


def _shards(path: Path) -> Origin:
    def rows(left_out: Counter[str]) -> Iterator[Described]:
        for key, _, record in layout.iterate(path):
            yield key, [c["text"] for c in record["captions"]]

    try:
        index = layout.find(path) / layout.INDEX
    except InputError:
        problem, fix = "neither a dataset nor shards here", f"curate fetch folder DIR --data {path}"
        raise InputError(path, problem, fix=fix) from None
    return Origin(path, "shards", rows, (index,))


def _json_lines(path: Path) -> Iterator[Described]:
    for number, line in _lines(path):
        where = f"{path} line {number}"
        if not line.strip():
            continue
        try:
            record: Any = json.loads(line)
        except ValueError:
            raise InputError(where, "not JSON", fix=_LIST_FIX) from None
        said = record.get("captions", record.get("caption")) if isinstance(record, dict) else None
        captions = [said] if isinstance(said, str) else said
        if not isinstance(captions, list) or not all(isinstance(c, str) for c in captions):
            raise InputError(where, "no captions in it", fix=_LIST_FIX)
        if not isinstance(record.get("image"), str):
            raise InputError(where, "no image in it", fix=_LIST_FIX)
        yield record["image"], captions


def _table(path: Path) -> Iterator[Described]:
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    numbered = _lines(path)
    rows = csv.DictReader((line for _, line in numbered), delimiter=delimiter)
    try:
        if not {"image", "caption"} <= set(rows.fieldnames or ()):
            problem = "the first line does not name the columns image and caption"
            raise InputError(path, problem, fix="write image,caption as its first line")
        for row in rows:
            if row["image"] is None or row["caption"] is None:
                raise InputError(
                    f"{path} line {rows.line_num}", "a column is missing", fix=_LIST_FIX
                )
            yield row["image"], [row["caption"]]
    except csv.Error as error:
        raise InputError(f"{path} line {rows.line_num}", str(error), fix=_LIST_FIX) from None


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines with their numbers, their ends kept."""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                yield number, line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError:
        fix = "save it as UTF-8 text"
        raise InputError(f"{path} line {number}", "not UTF-8 text", fix=fix) from None
    except OSError as error:
        raise unreadable(path, error) from None
