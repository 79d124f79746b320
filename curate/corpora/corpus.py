"""Where captions come from: a dataset, manifest or shards of ours, or what others wrote."""

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from curate.corpora import folder, huggingface, layout, tables, tars
from curate.corpora.endings import ARROW_ENDINGS, LIST_ENDINGS, is_image_name
from curate.corpora.notes import NO_CAPTION, ReadNotes
from curate.corpora.partition import ImageCaptions, Partition
from curate.corpora.records import Reader
from curate.corpora.shards import shard_partitions
from curate.corpora.sidecars import AT_ONCE
from curate.dataset import manifest
from curate.dataset.folder import Dataset
from curate.dataset.sample import live_samples
from curate.errors import InputError, UsageError
from curate.formats.shards import INDEX_NAME

DEFAULT_CORPUS = Path("data")  # the dataset folder when none is named
SOURCE_OF_KIND = {"folder": "folder", "tars": "shards", "hugging-face": "hf"}  # of `curate fetch`
_NAMED_WITHIN = ("folder", "tars", "hugging-face")  # kinds whose keys mean nothing elsewhere
CAPTION_FIXES = {
    "captions": tables.LIST_FIX,
    "shards": "pack them anew from their dataset DIR: curate caption --data DIR, then curate pack "
    "--data DIR",
    "manifest": "curate caption --data DIR, with the dataset folder DIR that it is of",
    "hugging-face": "name the folder of a dataset whose column caption is filled",
    "folder": "write what each image shows beside it: NAME.txt beside NAME.png",
    "tars": "write KEY.txt beside KEY.jpg in them",
}


@dataclass(frozen=True)
class Corpus:
    """Data whose words can be counted."""

    path: Path
    kind: str  # "dataset", "manifest", "shards", "several", "none", or the kind of its reader
    partitions: tuple[Partition, ...] = ()
    options: tuple[str, ...] = ()  # that make a command fetch into it
    members: tuple["Corpus", ...] = ()  # of "several"
    missing: tuple[str, ...] = ()  # sentences: what it should hold and does not
    reader: Reader | None = None  # of what is no dataset, manifest or shards of ours
    prefix: str = ""  # before the keys of its images

    def no_captions_error(
        self, left_out: Mapping[str, int] | None = None, why: str = "", remarks: Sequence[str] = ()
    ) -> InputError:
        """The error for data that holds no caption at all.

        Args:
            left_out: reason -> how many are not used.
            why: a sentence: what is broken in it.
            remarks: sentences: what else is to be said.
        """
        without = (left_out or {}).get(NO_CAPTION, 0)
        step = "caption" if without else "status"  # held and dropped images get no caption
        fix = CAPTION_FIXES.get(self.kind, shlex.join(["curate", step, "--data", str(self.path)]))
        said = f" ({why})" if why else ""
        for remark in remarks:
            if remark.startswith(AT_ONCE):
                problem = f"no caption to count words in{said}"
                return InputError(self.path, problem, fix=remark.partition(": ")[2])
        if self.kind == "folder" and not without:
            problem = "holds no image with a caption" if any(self.path.iterdir()) else "is empty"
            fix = "put images into it, and what each shows beside it: NAME.txt beside NAME.png"
            archive = layout.first_archive(self.path)
            fix = (archive and layout.unpack_command(archive)) or fix
            return InputError(self.path, problem + said, fix=fix)
        if without and self.kind in SOURCE_OF_KIND:
            said = said or f" (images without caption: {without:,})"
            fetch = shlex.join(["curate", "fetch", SOURCE_OF_KIND[self.kind], str(self.path)])
            fix += f"; or count the names of its images: {fetch} --license ID, then the same again"
            fix += " without --data"
        return InputError(self.path, f"no caption to count words in{said}", fix=fix)


def find_corpus(data: Path | None = None, *, whole: bool = False, prefix: str = "") -> Corpus:
    """What `--data` means; without it, the dataset folder `./data`, which may not exist yet.

    Args:
        data: the path that was named.
        whole: a text of several lines is one caption, where others wrote it.
        prefix: put before the keys of what others wrote.

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
    if path.is_dir() and any((place / INDEX_NAME).is_file() for place in (path, path / "shards")):
        parts, missing = shard_partitions(path)
        return Corpus(path, "shards", tuple(parts), missing=tuple(missing))
    if path.is_file() and huggingface.is_manifest(path):
        read = partial(_trainable_captions, partial(manifest.read_manifest, path))
        return Corpus(path, "manifest", (Partition(read, (path,), "manifest"),))
    reader = open_reader(path, whole=whole)
    prefix = prefix if reader.kind in _NAMED_WITHIN else ""
    found, lacks = tuple(reader.partitions(prefix)), tuple(reader.missing)
    return Corpus(path, reader.kind, found, missing=lacks, reader=reader, prefix=prefix)


def open_reader(path: Path, *, whole: bool = False, without: Path | None = None) -> Reader:
    """The reader of what others wrote, by what lies there.

    A folder is read as the first that fits: tars, unless it holds as many images; what img2dataset
    wrote as files; one that `datasets` saved, or with Parquet files; images.

    Args:
        path: a folder, a file, or a pattern of tars such as `{000..003}.tar`.
        whole: a text of several lines is one caption.
        without: a folder in it that is not entered.

    Raises:
        InputError: nothing there that can be read.
    """
    images = folder.ImageFolder(path, whole, without)
    if path.is_dir() and not images.holds_other_data():
        return images
    if found := tars.find_tars(path, whole=whole, without=without):
        return found
    if not path.exists():
        raise InputError(path, "no such file or folder", fix="name a dataset folder with --data")
    if path.is_dir():
        if tars.is_img2dataset_files(path):
            return images
        if files := huggingface.find_data_files(path):
            return huggingface.HuggingFace(path, files, whole)
        return images
    if path.suffix.lower() in ARROW_ENDINGS:
        return huggingface.HuggingFace(path, [path], whole)
    if path.suffix.lower() in LIST_ENDINGS:
        return tables.CaptionTable(path, whole)
    if command := layout.unpack_command(path):
        fix = f"{command}; then name what it unpacks to"
        raise InputError(path, "is an archive, to be unpacked", fix=fix)
    if is_image_name(path.name):
        fix = f"name its folder, {shlex.quote(str(path.parent))}"
        raise InputError(path, "is one image", fix=fix)
    problem = (
        "neither a folder of images, a dataset folder, tars, a manifest nor a list of captions"
    )
    fix = "name a folder, or a .tar, .parquet, .jsonl, .csv or .tsv file"
    raise InputError(path, problem, fix=fix)


def find_corpora(data: Sequence[Path], *, whole: bool = False) -> Corpus:
    """What several `--data` mean together; an image that two of them hold counts once.

    Images of folders, tars and Hugging Face data are told apart by the path that was named, too;
    those of datasets, shards and lists have one key wherever they are named.

    Args:
        data: what was named; the same again counts once.
        whole: as in `find_corpus`.

    Raises:
        UsageError: one lies in another that is read with all that is below it.
        InputError: as `find_corpus`, for any of them.
    """
    distinct = list({path.resolve(): path for path in data}.values())
    if len(distinct) < 2:
        return find_corpus(*distinct, whole=whole)
    found = tuple(find_corpus(path, whole=whole, prefix=f"{path}/") for path in distinct)
    for inner in found:
        for outer in found:
            within = inner.path.resolve().is_relative_to(outer.path.resolve())
            if within and outer is not inner and {inner.kind, outer.kind} <= {*_NAMED_WITHIN}:
                problem = f"lies in {outer.path}, which is read with all below it"
                raise UsageError(f"--data {inner.path}", problem, fix="name one of the two")
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
    unchecked = 0
    for sample in live_samples(read().samples):
        told = [*sample.texts, sample.title or "", *sample.tags]  # what came with it
        said = [c for c in [c.text for c in sample.captions] or told if c.strip()]
        decision = sample.train.decision if sample.train else None
        if decision in ("hold", "deny"):
            reading.leave_out(f"images not allowed for training ({decision})", sample.key)
        elif not said:
            reading.leave_out(NO_CAPTION, sample.key)
        else:
            unchecked += decision is None
            yield sample.key, said
    if unchecked:
        reading.remarks.append(f"counted, but not checked yet: {unchecked:,}")
