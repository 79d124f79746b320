"""The images behind captions: where each one's bytes lie, and its pixels for an image model."""

import hashlib
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from curate.corpora import locate
from curate.corpora.corpus import Corpus
from curate.corpora.partition import ReadNotes
from curate.dataset.store import Store
from curate.errors import InputError
from curate.formats.shards import read_index
from curate.images.decode import UndecodableError, decode_image, flatten
from curate.system import sandbox
from curate.system.files import file_sha256

CaptionsByKey = Mapping[str, Sequence[str]]  # key -> what is said of the image


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
    for key, place in locate.locate_images(corpus, said).items():
        sha256, file = place.sha256, place.file
        try:
            if sha256 and file:
                file = Store(file).path_of(sha256)
            elif file:
                sha256 = file_sha256(file)
        except OSError:  # not ours to read
            continue
        if sha256 and file and file.is_file():
            yield CaptionedImage(key, tuple(said[key]), file, sha256)


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
