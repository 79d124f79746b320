"""Where captions come from: a dataset folder, a manifest, shards, a list, a Hugging Face folder."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from curate.corpora import huggingface, shards, tables
from curate.corpora.partition import Described, Part, Reading
from curate.dataset import manifest
from curate.dataset.folder import Dataset
from curate.dataset.sample import Sample, live
from curate.errors import InputError
from curate.formats import shards as layout

DEFAULT = Path("data")  # the dataset folder when none is named
_LISTS = {".jsonl": tables.json_lines, ".csv": tables.table, ".tsv": tables.table}
_DESCRIBE = {
    "captions": tables.FIX,
    "shards": "pack them anew from their dataset DIR: curate caption --data DIR, then curate pack "
    "--data DIR",
    "manifest": "curate caption --data DIR, with the dataset folder DIR that it is of",
    "hugging-face": "name the folder of a dataset whose column caption is filled",
}


@dataclass(frozen=True)
class Origin:
    """Data whose words can be counted."""

    path: Path
    kind: str  # "dataset", "manifest", "shards", "captions", "hugging-face", "several" or "none"
    parts: tuple[Part, ...] = ()
    files: tuple[Path, ...] = ()  # that hold the captions
    options: tuple[str, ...] = ()  # that make a command fetch into it
    members: tuple["Origin", ...] = ()  # of "several"
    missing: tuple[str, ...] = ()  # sentences: what it should hold and does not

    def no_captions(self, why: str = "") -> InputError:
        """The error for data that holds no caption at all."""
        problem = f"no caption to count words in{f' ({why})' if why else ''}"
        fix = _DESCRIBE.get(self.kind, f"curate caption --data {self.path}")
        return InputError(self.path, problem, fix=fix)


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
        part = Part(partial(_dataset, path), files, "dataset", cache=path / "index")
        return Origin(path, "dataset", (part,), files, options)
    if data is None:
        return Origin(path, "none")
    if not path.exists():
        raise InputError(path, "no such file or folder", fix="name a dataset folder with --data")
    return _folder(path) if path.is_dir() else _file(path)


def _folder(path: Path) -> Origin:
    if any((place / layout.INDEX).is_file() for place in (path, path / "shards")):
        parts, missing = shards.parts(path)
        index = layout.find(path) / layout.INDEX
        return Origin(path, "shards", tuple(parts), (index,), missing=tuple(missing))
    files = huggingface.files(path)
    if files:
        parts, missing = huggingface.parts(path, files)
        return Origin(path, "hugging-face", tuple(parts), tuple(files), missing=tuple(missing))
    problem, fix = "neither a dataset nor shards here", f"curate fetch folder DIR --data {path}"
    raise InputError(path, problem, fix=fix)


def _file(path: Path) -> Origin:
    if path.suffix == ".parquet":
        if huggingface.is_foreign(path):
            return _foreign(path)
        part = Part(partial(_manifest, path), (path,), "manifest")
        return Origin(path, "manifest", (part,), (path,))
    reader = _LISTS.get(path.suffix.lower())
    if reader:
        part = Part(partial(reader, path), (path,), f"captions {path.suffix.lower()}")
        return Origin(path, "captions", (part,), (path,))
    problem = "neither a dataset folder, shards, a manifest nor a list of captions"
    raise InputError(path, problem, fix="name a folder, or a .parquet, .jsonl, .csv or .tsv file")


def _foreign(path: Path) -> Origin:
    try:
        parts, _ = huggingface.parts(path.parent, [path])
    except InputError as error:
        problem = f"neither a manifest nor a table of captions: {error.problem}"
        raise InputError(path, problem, fix=error.fix) from None
    return Origin(path, "hugging-face", tuple(parts), (path,))


def find_all(data: Sequence[Path]) -> Origin:
    """What several `--data` mean together; a picture that two of them hold counts once.

    Raises:
        InputError: as `find`, for any of them.
    """
    if len(data) < 2:
        return find(*data)
    found = tuple(find(path) for path in data)
    return Origin(
        Path(" + ".join(str(origin.path) for origin in found)),
        "several",
        tuple(part for origin in found for part in origin.parts),
        tuple(file for origin in found for file in origin.files),
        found[-1].options,
        found,
        tuple(sentence for origin in found for sentence in origin.missing),
    )


def words_of(sample: Sample) -> list[str]:
    """What is said of an image: its captions, else what came with it."""
    said = [c.text for c in sample.captions] or [*sample.texts, sample.title or "", *sample.tags]
    return [text for text in said if text.strip()]


def _dataset(path: Path, reading: Reading) -> Iterator[Described]:
    yield from _rows(Dataset(path).read, reading)


def _manifest(path: Path, reading: Reading) -> Iterator[Described]:
    yield from _rows(partial(manifest.read, path), reading)


def _rows(read: Callable[[], manifest.Manifest], reading: Reading) -> Iterator[Described]:
    """The images that can teach; the others are counted by the reason."""
    for sample in live(read().samples):
        said = words_of(sample)
        decision = sample.train.decision if sample.train else None
        if decision in ("hold", "deny"):
            reading.left_out[f"not allowed for training ({decision})"] += 1
        elif not said:
            reading.left_out["without words"] += 1
        else:
            if decision is None:
                reading.left_out["counted, but not checked yet"] += 1
            yield sample.key, said
