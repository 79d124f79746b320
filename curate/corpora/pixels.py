"""The images behind captions, by key: where each one's bytes lie, its rights, and its pixels."""

import base64
import hashlib
import json
import tarfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from curate.corpora.corpus import Corpus
from curate.corpora.notes import ReadNotes
from curate.corpora.shards import listed_shards
from curate.dataset.folder import Dataset, Store
from curate.errors import InputError
from curate.formats.shards import find_shards, read_index
from curate.images.decode import UndecodableError, decode_image, flatten
from curate.system import sandbox

_RIGHTS = ("license", "source", "page_url", "author")
_NO_IMAGE = "no image was stored"
_NOT_HERE = "the image itself is not here"
Locations = Iterable[tuple[str, "ImageLocation"]]
CaptionsByKey = Mapping[str, Sequence[str]]  # key -> what is said of the image


@dataclass(frozen=True, slots=True)
class ImageLocation:
    """An image whose bytes are not looked at yet."""

    file: Path | None = None  # it is this file
    data: bytes | None = None  # or these bytes
    sha256: str | None = None  # or these, in the store at `file`
    offset: int = 0  # of the first byte in the file
    size: int | None = None  # bytes; None: to the end of the file
    license: str | None = None
    source: str | None = None
    page_url: str | None = None
    author: str | None = None
    reason: str | None = None  # why there is none of these

    def as_job(self) -> dict[str, Any]:
        """What a worker is told, as plain values."""
        if self.data is not None:
            return {"data": base64.b64encode(self.data).decode()}
        if self.sha256 is not None:
            return {"file": str(self.file), "sha256": self.sha256}
        return {"file": str(self.file), "offset": self.offset, "size": self.size}


def locate_images(corpus: Corpus, keys: Collection[str]) -> dict[str, ImageLocation]:
    """The places of `keys`; of a key that several members hold, in the first with an image.

    What cannot be read holds no images: the report itself tells of it.
    """
    finders: dict[str, Callable[[Path, Collection[str]], Locations]] = {
        "dataset": _in_dataset,
        "manifest": _in_manifest,
        "shards": _in_shards,
    }
    found: dict[str, ImageLocation] = {}
    for member in corpus.members or (corpus,):
        left = {key for key in keys if key not in found or found[key].reason}
        finder = finders.get(member.kind)
        try:
            places = finder(member.path, left) if finder else _through_reader(member, left)
            for key, place in places:
                if key not in found or not place.reason:
                    found[key] = place
        except (InputError, OSError):
            continue
    return found


def _in_dataset(folder: Path, keys: Collection[str]) -> Locations:
    dataset = Dataset(folder)
    known = dict(_in_manifest(dataset.manifest, keys)) if dataset.manifest.exists() else {}
    for sample in dataset.read_journal():
        if sample.key in keys and (sample.key not in known or known[sample.key].reason):
            facts = {name: getattr(sample, name) for name in ("sha256", *_RIGHTS)}
            known[sample.key] = _stored_location(facts, folder / "store")
    return known.items()


def _in_manifest(path: Path, keys: Collection[str]) -> Locations:
    import pyarrow as pa
    import pyarrow.compute as compute
    import pyarrow.parquet as parquet

    wanted = pa.array(sorted(keys), pa.string())
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(columns=["key", "sha256", *_RIGHTS]):
                chosen = batch.filter(compute.is_in(batch.column("key"), value_set=wanted))
                for row in chosen.to_pylist():
                    yield row.pop("key"), _stored_location(row, path.parent / "store")
    except (pa.ArrowException, KeyError) as error:
        raise InputError(path, f"not a readable manifest ({error})", fix="fetch again") from None


def _stored_location(row: Mapping[str, Any], store: Path) -> ImageLocation:
    return ImageLocation(store, **row) if row["sha256"] else ImageLocation(reason=_NO_IMAGE, **row)


def _in_shards(path: Path, keys: Collection[str]) -> Locations:
    """Images in the tars that the index lists; each tar is read once, and skipped if broken."""
    root, left = find_shards(path), set(keys)
    for shard in listed_shards(path):
        if left:
            found = dict(_in_tar(root / Path(shard.name).name, left))
            yield from found.items()
            left -= found.keys()


def _in_tar(file: Path, keys: Collection[str]) -> Locations:
    images: dict[str, bytes] = {}
    records: dict[str, Any] = {}
    broken = suppress(OSError, tarfile.TarError, ValueError)  # what came before it is shown
    with broken, tarfile.open(file, "r:") as tar:
        for member in tar:
            key, _, kind = member.name.partition(".")
            if key in keys and kind != "txt" and (stream := tar.extractfile(member)):
                if kind == "json":
                    records[key] = json.loads(stream.read())
                else:
                    images[key] = stream.read()
    for key, data in images.items():
        record = records.get(key)
        yield key, ImageLocation(data=data, **_rights(record if isinstance(record, dict) else {}))


def _through_reader(corpus: Corpus, keys: Collection[str]) -> Locations:
    """Images of what others wrote; an address elsewhere is never followed."""
    prefix = corpus.prefix
    wanted = {key.removeprefix(prefix) for key in keys}
    records = corpus.reader.records(ReadNotes(), wanted) if corpus.reader else ()
    for record in records:
        place = ImageLocation(record.file, record.data, offset=record.offset, size=record.size)
        if record.file is None and record.data is None:
            place = ImageLocation(reason=_NOT_HERE)
        license, author, page = (
            text if isinstance(text := record.facts.get(name), str) and text else None
            for name in ("license_text", "author", "page_url")
        )
        yield (
            prefix + record.key,
            replace(place, license=license, author=author, page_url=page),
        )


def _rights(told: Mapping[str, Any]) -> dict[str, Any]:
    """What is told of an image's rights; only texts, and none that is empty."""
    found = {name: told.get(name) for name in _RIGHTS}
    return {name: text for name, text in found.items() if isinstance(text, str) and text}


@dataclass(frozen=True, slots=True)
class CaptionedImage:
    """An image that can be read, and what is said of it."""

    key: str
    captions: tuple[str, ...]
    file: Path
    sha256: str  # of its bytes
    offset: int = 0  # of its bytes in the file
    size: int | None = None  # bytes; None: to the end of the file


def captioned_images(corpus: Corpus) -> list[CaptionedImage]:
    """The images whose captions are counted, by key; equal bytes are one, with all captions.

    Images that are not at hand are left out: those of a list that lie elsewhere, and stored
    ones that are gone.

    Raises:
        InputError: data of a kind whose images cannot be read, or unreadable data.
    """
    every: list[CaptionedImage] = []
    for member in corpus.members or (corpus,):
        if member.kind == "hugging-face":
            problem = "images inside of tables are not searched"
            fix = "leave out --images, or name shards, a dataset folder or a list of captions"
            raise InputError(member.path, problem, fix=fix)
        find = _tar_images if member.kind == "shards" else _file_images
        every += find(member, _captions_by_key(member))
    found: dict[str, CaptionedImage] = {}
    for one in sorted(every, key=lambda image: image.key):
        first = found.setdefault(one.sha256, one)
        if first is not one:
            captions = tuple(dict.fromkeys(first.captions + one.captions))
            found[one.sha256] = replace(first, captions=captions)
    return list(found.values())


def read_pixels(
    wanted: Sequence[CaptionedImage], side: int, *, processes: int | None = None
) -> Iterator[tuple[int, int, bytes] | str]:
    """For each image width, height and RGB bytes, or why it cannot be shown.

    It is scaled down until its shorter side has `side` pixels, as image models are shown it.
    """
    jobs = (
        {"file": str(p.file), "offset": p.offset, "size": p.size, "sha256": p.sha256, "side": side}
        for p in wanted
    )
    if not wanted:
        return
    for answer in sandbox.run_jobs(f"{__name__}:_shrink_job", jobs, processes=processes):
        if isinstance(answer, sandbox.WorkerFailure):
            yield answer.reason
        else:
            told, pixels = answer
            yield told.get("refused") or (told["width"], told["height"], pixels)


def _captions_by_key(corpus: Corpus) -> dict[str, list[str]]:
    said: dict[str, list[str]] = {}
    for part in corpus.partitions:
        for key, captions in part.read(ReadNotes()):
            said.setdefault(key, []).extend(captions)
    return said


def _file_images(corpus: Corpus, said: CaptionsByKey) -> Iterator[CaptionedImage]:
    """Images in a store, or in files that a list names."""
    for key, place in locate_images(corpus, said).items():
        sha256, file = place.sha256, place.file
        try:
            if sha256 and file:
                file = Store(file).path_of(sha256)
            elif file:
                sha256 = _sha256_at(place)
        except OSError:  # not ours to read
            continue
        if sha256 and file and file.is_file():
            yield CaptionedImage(key, tuple(said[key]), file, sha256, place.offset, place.size)


def _sha256_at(place: ImageLocation) -> str:
    assert place.file is not None, "of a file"
    with place.file.open("rb") as stream:
        stream.seek(place.offset)
        data = stream.read(-1 if place.size is None else place.size)
    return hashlib.sha256(data).hexdigest()


def _tar_images(corpus: Corpus, said: CaptionsByKey) -> Iterator[CaptionedImage]:
    index = read_index(corpus.path)
    for shard in index.shards:
        file = index.root / shard.name
        try:
            with tarfile.open(file, "r:") as tar:
                for member in tar:
                    key, _, ending = member.name.partition(".")
                    if ending == index.format and key in said:
                        stream = tar.extractfile(member)
                        data = stream.read() if stream else b""
                        sha256 = hashlib.sha256(data).hexdigest()
                        place = (member.offset_data, member.size)
                        yield CaptionedImage(key, tuple(said[key]), file, sha256, *place)
        except (OSError, tarfile.TarError) as error:
            fix = "write the shards again: curate pack"
            raise InputError(file, f"broken shard ({error})", fix=fix) from None


def refusal(error: Exception) -> sandbox.JobResult:
    """What a worker answers for an image that cannot be shown, by what reading it raised."""
    if isinstance(error, OSError):
        return {"refused": f"cannot be read ({error.strerror})"}, b""
    return {"refused": error.problem if isinstance(error, InputError) else str(error)}, b""


def _shrink_job(
    file: str, offset: int, size: int | None, sha256: str, side: int
) -> sandbox.JobResult:
    """An image's pixels on white, its shorter side at most `side`; for `sandbox.run_jobs`."""
    from PIL import Image

    try:
        with Path(file).open("rb") as stream:
            stream.seek(offset)
            data = stream.read(-1 if size is None else size)
        if hashlib.sha256(data).hexdigest() != sha256:
            return {"refused": "changed while it was read"}, b""
        image = flatten(decode_image(data), "white")
    except (UndecodableError, OSError) as error:
        return refusal(error)
    scale = side / min(image.size)
    if scale < 1:
        width, height = (max(side, round(length * scale)) for length in image.size)
        image = image.resize((width, height), Image.Resampling.BICUBIC)
    return {"width": image.width, "height": image.height}, image.tobytes()
