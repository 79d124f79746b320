"""Where captions come from: a dataset folder, a manifest, shards, a list, a Hugging Face folder."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from curate.corpora import huggingface, tables
from curate.corpora.partition import ImageCaptions, Partition, ReadNotes
from curate.corpora.shards import shard_partitions
from curate.dataset import manifest
from curate.dataset.folder import Dataset
from curate.dataset.sample import live_samples
from curate.errors import InputError
from curate.formats.shards import INDEX_NAME

DEFAULT_CORPUS = Path("data")  # the dataset folder when none is named
_TABLE_READERS = {
    ".jsonl": tables.read_json_lines,
    ".csv": tables.read_table,
    ".tsv": tables.read_table,
}
_CAPTION_FIXES = {
    "captions": tables.LIST_FIX,
    "shards": "pack them anew from their dataset DIR: curate caption --data DIR, then curate pack "
    "--data DIR",
    "manifest": "curate caption --data DIR, with the dataset folder DIR that it is of",
    "hugging-face": "name the folder of a dataset whose column caption is filled",
}


@dataclass(frozen=True)
class Corpus:
    """Data whose words can be counted."""

    path: Path
    kind: str  # "dataset", "manifest", "shards", "captions", "hugging-face", "several" or "none"
    partitions: tuple[Partition, ...] = ()
    options: tuple[str, ...] = ()  # that make a command fetch into it
    members: tuple["Corpus", ...] = ()  # of "several"
    missing: tuple[str, ...] = ()  # sentences: what it should hold and does not

    def no_captions_error(self, why: str = "") -> InputError:
        """The error for data that holds no caption at all."""
        problem = f"no caption to count words in{f' ({why})' if why else ''}"
        fix = _CAPTION_FIXES.get(self.kind, f"curate caption --data {self.path}")
        return InputError(self.path, problem, fix=fix)


def find_corpus(data: Path | None = None) -> Corpus:
    """What `--data` means; without it, the dataset folder `./data`, which may not exist yet.

    Raises:
        InputError: the path that was named does not exist or holds no captions.
    """
    path = DEFAULT_CORPUS if data is None else data
    dataset = Dataset(path)
    if dataset.manifest.exists() or dataset.journal.exists():
        files = tuple(f for f in (dataset.manifest, dataset.journal) if f.exists())
        options = () if data is None else ("--data", str(path))
        read = partial(_trainable_captions, dataset.read)
        part = Partition(read, files, "dataset", cache=path / "index")
        return Corpus(path, "dataset", (part,), options)
    if data is None:
        return Corpus(path, "none")
    if not path.exists():
        raise InputError(path, "no such file or folder", fix="name a dataset folder with --data")
    return _folder_corpus(path) if path.is_dir() else _file_corpus(path)


def _folder_corpus(path: Path) -> Corpus:
    if any((place / INDEX_NAME).is_file() for place in (path, path / "shards")):
        parts, missing = shard_partitions(path)
        return Corpus(path, "shards", tuple(parts), missing=tuple(missing))
    if files := huggingface.find_data_files(path):
        parts, missing = huggingface.huggingface_partitions(path, files)
        return Corpus(path, "hugging-face", tuple(parts), missing=tuple(missing))
    problem, fix = "neither a dataset nor shards here", f"curate fetch folder DIR --data {path}"
    raise InputError(path, problem, fix=fix)


def _file_corpus(path: Path) -> Corpus:
    if path.suffix == ".parquet":
        if huggingface.is_foreign_parquet(path):
            return _parquet_corpus(path)
        read = partial(_trainable_captions, partial(manifest.read_manifest, path))
        part = Partition(read, (path,), "manifest")
        return Corpus(path, "manifest", (part,))
    if reader := _TABLE_READERS.get(path.suffix.lower()):
        part = Partition(partial(reader, path), (path,), f"captions {path.suffix.lower()}")
        return Corpus(path, "captions", (part,))
    problem = "neither a dataset folder, shards, a manifest nor a list of captions"
    raise InputError(path, problem, fix="name a folder, or a .parquet, .jsonl, .csv or .tsv file")


def _parquet_corpus(path: Path) -> Corpus:
    try:
        parts, _ = huggingface.huggingface_partitions(path.parent, [path])
    except InputError as error:
        problem = f"neither a manifest nor a table of captions: {error.problem}"
        raise InputError(path, problem, fix=error.fix) from None
    return Corpus(path, "hugging-face", tuple(parts))


def find_corpora(data: Sequence[Path]) -> Corpus:
    """What several `--data` mean together; an image that two of them hold counts once.

    Raises:
        InputError: as `find_corpus`, for any of them.
    """
    if len(data) < 2:
        return find_corpus(*data)
    found = tuple(find_corpus(path) for path in data)
    return Corpus(
        Path(" + ".join(str(origin.path) for origin in found)),
        "several",
        tuple(part for origin in found for part in origin.partitions),
        found[-1].options,
        found,
        tuple(sentence for origin in found for sentence in origin.missing),
    )


def _trainable_captions(
    read: Callable[[], manifest.Manifest], reading: ReadNotes
) -> Iterator[ImageCaptions]:
    """The images that can teach; the others are counted by the reason."""
    for sample in live_samples(read().samples):
        told = [*sample.texts, sample.title or "", *sample.tags]  # what came with it
        said = [c for c in [c.text for c in sample.captions] or told if c.strip()]
        decision = sample.train.decision if sample.train else None
        if decision in ("hold", "deny"):
            reading.left_out[f"not allowed for training ({decision})"] += 1
        elif not said:
            reading.left_out["without words"] += 1
        else:
            if decision is None:
                reading.left_out["counted, but not checked yet"] += 1
            yield sample.key, said
