"""The pictures behind captions: where each one's bytes lie, and its pixels for an image model."""

import hashlib
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from curate.corpora import locate
from curate.corpora.corpus import Origin
from curate.corpora.partition import Reading
from curate.dataset import manifest
from curate.dataset.folder import Dataset
from curate.dataset.sample import Sample
from curate.dataset.store import Store
from curate.errors import InputError
from curate.formats import shards as layout
from curate.images.decode import RefusedError, decode, over
from curate.system import sandbox

Captions = Mapping[str, Sequence[str]]  # key -> what is said of the picture


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture that can be read, and what is said of it."""

    key: str
    captions: tuple[str, ...]
    file: Path
    sha256: str  # of its bytes
    offset: int = 0  # of its bytes in the file
    size: int | None = None  # bytes; None: to the end of the file


def pictures(origin: Origin) -> list[Picture]:
    """The pictures whose captions are counted, by key; equal bytes are one, with all captions.

    Pictures that are not at hand are left out: those of a list that lie elsewhere, and stored
    ones that are gone.

    Raises:
        InputError: data of a kind whose pictures cannot be read, or unreadable data.
    """
    finders: dict[str, Callable[[Origin, Captions], Iterator[Picture]]] = {
        "none": lambda origin, said: iter(()),
        "dataset": _of_dataset,
        "manifest": _of_manifest,
        "shards": _of_shards,
        "captions": _of_list,
    }
    found: dict[str, Picture] = {}
    for member in origin.members or (origin,):
        if member.kind not in finders:
            problem = "pictures inside of tables are not searched"
            fix = "leave out --images, or name shards, a dataset folder or a list of captions"
            raise InputError(member.path, problem, fix=fix)
        for one in finders[member.kind](member, _captions(member)):
            other = found.get(one.sha256)
            found[one.sha256] = _joined(other, one) if other else one
    return sorted(found.values(), key=lambda picture: picture.key)


def pixels(
    wanted: Sequence[Picture], side: int, *, processes: int | None = None
) -> Iterator[tuple[int, int, bytes] | str]:
    """For each picture width, height and RGB bytes, or why it cannot be shown.

    It is scaled down until its shorter side has `side` pixels, as image models are shown it.
    """
    jobs = (
        {"file": str(p.file), "offset": p.offset, "size": p.size, "sha256": p.sha256, "side": side}
        for p in wanted
    )
    for answer in sandbox.run(f"{__name__}:_shrunk", jobs, processes=processes) if wanted else ():
        if isinstance(answer, sandbox.Died):
            yield answer.reason
        elif "refused" in answer[0]:
            yield str(answer[0]["refused"])
        else:
            yield answer[0]["width"], answer[0]["height"], answer[1]


def _captions(origin: Origin) -> dict[str, list[str]]:
    said: dict[str, list[str]] = {}
    for part in origin.parts:
        for key, captions in part.read(Reading()):
            said.setdefault(key, []).extend(captions)
    return said


def _joined(a: Picture, b: Picture) -> Picture:
    first, second = sorted((a, b), key=lambda picture: picture.key)
    captions = tuple(dict.fromkeys(first.captions + second.captions))
    return replace(first, captions=captions)


def _of_dataset(origin: Origin, said: Captions) -> Iterator[Picture]:
    dataset = Dataset(origin.path)
    yield from _stored(dataset.read().samples, dataset.store, said)


def _of_manifest(origin: Origin, said: Captions) -> Iterator[Picture]:
    store = Store(origin.path.parent / "store")
    yield from _stored(manifest.read(origin.path).samples, store, said)


def _stored(samples: Iterable[Sample], store: Store, said: Captions) -> Iterator[Picture]:
    for sample in samples:
        if sample.key in said and sample.sha256 and store.path(sample.sha256).is_file():
            file = store.path(sample.sha256)
            yield Picture(sample.key, tuple(said[sample.key]), file, sample.sha256)


def _of_shards(origin: Origin, said: Captions) -> Iterator[Picture]:
    index = layout.read_index(origin.path)
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
                        yield Picture(key, tuple(said[key]), file, sha256, *place)
        except (OSError, tarfile.TarError) as error:
            fix = "write the shards again: curate pack"
            raise InputError(file, f"broken shard ({error})", fix=fix) from None


def _of_list(origin: Origin, said: Captions) -> Iterator[Picture]:
    """The names in a list are those of files beside it."""
    for key, captions in said.items():
        file = locate.beside(origin.path.parent, key)
        if file is None:
            continue
        try:
            with file.open("rb") as stream:
                sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError:  # not ours to read
            continue
        yield Picture(key, tuple(captions), file, sha256)


def _shrunk(file: str, offset: int, size: int | None, sha256: str, side: int) -> sandbox.Answer:
    """A picture's pixels on white, its shorter side at most `side`; for `workers.run`."""
    from PIL import Image

    try:
        with Path(file).open("rb") as stream:
            stream.seek(offset)
            data = stream.read(-1 if size is None else size)
        if hashlib.sha256(data).hexdigest() != sha256:
            return {"refused": "changed while it was read"}, b""
        image = over(decode(data), "white")
    except RefusedError as error:
        return {"refused": str(error)}, b""
    except OSError as error:
        return {"refused": f"cannot be read ({error.strerror})"}, b""
    scale = side / min(image.size)
    if scale < 1:
        width, height = (max(side, round(length * scale)) for length in image.size)
        image = image.resize((width, height), Image.Resampling.BICUBIC)
    return {"width": image.width, "height": image.height}, image.tobytes()
