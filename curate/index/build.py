"""Parts into files of the index: those that are kept already, the others counted now."""

import multiprocessing
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from curate.corpora.partition import Described, Part, Reading
from curate.index import cache
from curate.index.segment import Segment, clean, fill, reopen
from curate.system.progress import SILENT, Progress, track

MOST_IMAGES = 1 << 19  # in one file, so that memory is bounded
MOST_TEXT = 1 << 26  # characters in one file
Chunk = tuple[dict[str, str | list[str]], bool]  # captions by key, whether more follow


def segments(parts: Sequence[Part], progress: Progress = SILENT, *, jobs: int = 1) -> list[Segment]:
    """The files of all parts, open; those not kept are written, or held in memory.

    Args:
        parts: what to count.
        progress: counts captions, and parts where there are several.
        jobs: processes that count side by side.

    Raises:
        InputError: a part cannot be read.
    """
    names = [part.name() for part in parts]
    found = {name: _open(part, name) for part, name in zip(parts, names, strict=True)}
    missing = {name: p for p, name in zip(parts, names, strict=True) if found[name] is None}
    if jobs > 1 and len(missing) > 1:
        built = _side_by_side(missing, progress, jobs)
    else:
        each: Iterable[tuple[str, Part]] = missing.items()
        each = track(each, len(missing), "parts", progress) if len(missing) > 1 else each
        built = {name: build(part, name, progress) for name, part in each}
    for name, made in built.items():
        found[name] = [_opened(one) for one in made]
    _forget(parts, names)
    return [segment for name in dict.fromkeys(names) for segment in found[name] or ()]


def _open(part: Part, name: str) -> list[Segment] | None:
    files = cache.kept(_place(part), name)
    return None if files is None else [reopen(file) for file in files]


def _place(part: Part) -> Path:
    return part.cache or cache.folder()


def _forget(parts: Sequence[Part], names: Sequence[str]) -> None:
    """Remove old files beside those in use: of a dataset all, of others the longest unused."""
    for place, own in {_place(part): part.cache is not None for part in parts}.items():
        cache.forget(place, names, 0 if own else cache.MOST)


def _side_by_side(
    missing: dict[str, Part], progress: Progress, jobs: int
) -> dict[str, Sequence[Segment | Path | bytes]]:
    # a fresh interpreter: a copy of this one would share its threads and open files
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(jobs, len(missing)), mp_context=fresh) as pool:
        answers = pool.map(_portable, missing.values(), missing)
        made = list(track(answers, len(missing), "parts", progress))
    return dict(zip(missing, made, strict=True))


def _portable(part: Part, name: str) -> list[Path | bytes]:
    """What `build` makes, as another process can take it over."""
    made = build(part, name)
    return [one if isinstance(one, Path) else one.serialized() for one in made]


def _opened(made: Segment | Path | bytes) -> Segment:
    if isinstance(made, Path):
        return reopen(made)
    if isinstance(made, bytes):
        sql = sqlite3.connect(":memory:")
        sql.deserialize(made)
        return Segment(sql)
    return made


def build(part: Part, name: str, progress: Progress = SILENT) -> Sequence[Segment | Path]:
    """Count the words of a part: into kept files, or in memory where none can be written.

    What could not be read in full is not kept, since it may be whole the next time.
    """
    reading = Reading()
    rows = track(part.read(reading), None, "captions", progress)
    made: list[Segment | Path] = []
    with ExitStack() as stack:
        for images, more in _chunks(rows, reading):
            facts = {"more": more, **({} if more else _said(reading))}
            made.append(_written(stack, _place(part), images, facts))
        if reading.broken:
            return [one if isinstance(one, Segment) else _opened(one.read_bytes()) for one in made]
        return [
            cache.keep(one, name, number) if isinstance(one, Path) else one
            for number, one in enumerate(made)
        ]


def in_memory(part: Part) -> list[Segment]:
    """Count the words of a part and keep nothing."""
    reading = Reading()
    made = []
    for images, more in _chunks(part.read(reading), reading):
        sql = sqlite3.connect(":memory:")
        fill(sql, images, {"more": more, **({} if more else _said(reading))})
        made.append(Segment(sql))
    return made


def _said(reading: Reading) -> dict[str, Any]:
    return {
        "left_out": dict(sorted(reading.left_out.items())),
        "silent": reading.silent,
        "broken": reading.broken,
    }


def _written(
    stack: ExitStack, place: Path, images: dict[str, str | list[str]], facts: dict[str, Any]
) -> Segment | Path:
    """A file that is gone when `stack` ends unless it was kept; or a segment in memory."""
    try:
        path = stack.enter_context(cache.writing(place))
        sql = sqlite3.connect(path)
        try:
            fill(sql, images, facts)
        finally:
            sql.close()
    except (OSError, sqlite3.OperationalError):  # no right to write, or no space
        sql = sqlite3.connect(":memory:")
        fill(sql, images, facts)
        return Segment(sql)
    return path


def _chunks(rows: Iterable[Described], reading: Reading) -> Iterator[Chunk]:
    """The images that have words, as many at a time as one file takes; at least one chunk."""
    images: dict[str, str | list[str]] = {}
    size = 0
    for key, said in rows:
        texts = [text for text in map(clean, said) if text and not text.isspace()]
        if not texts:
            reading.left_out["without words"] += 1
            continue
        if len(images) >= MOST_IMAGES or size > MOST_TEXT:
            yield images, True
            images, size = {}, 0
        name = clean(key)
        known = images.get(name)
        if known is not None:
            texts = [*([known] if isinstance(known, str) else known), *texts]
        images[name] = texts[0] if len(texts) == 1 else texts
        size += sum(map(len, texts))
    yield images, False
