"""Build the caption index: a file for each partition, kept ones reused, others counted now."""

import multiprocessing
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from curate.corpora.partition import ImageCaptions, Partition, ReadNotes
from curate.index import cache
from curate.index.segment import Segment, clean_line, open_segment, write_segment
from curate.system.progress import SILENT, Progress, track

MAX_FILE_IMAGES = 1 << 19  # in one file, so that memory is bounded
MAX_FILE_CHARS = 1 << 26  # characters in one file
CaptionChunk = tuple[dict[str, str | list[str]], bool]  # captions by key, whether more follow


def open_segments(
    parts: Sequence[Partition], progress: Progress = SILENT, *, jobs: int = 1
) -> list[Segment]:
    """The files of all parts, open; those not kept are written, or held in memory.

    Args:
        parts: what to count.
        progress: counts captions, and parts where there are several.
        jobs: processes that count side by side.

    Raises:
        InputError: a part cannot be read.
    """
    names = [part.content_name() for part in parts]
    found = {name: _open_kept(part, name) for part, name in zip(parts, names, strict=True)}
    missing = {name: p for p, name in zip(parts, names, strict=True) if found[name] is None}
    if jobs > 1 and len(missing) > 1:
        built = _build_in_parallel(missing, progress, jobs)
    else:
        each: Iterable[tuple[str, Partition]] = missing.items()
        each = track(each, len(missing), "parts", progress) if len(missing) > 1 else each
        built = {name: build_partition(part, name, progress) for name, part in each}
    for name, made in built.items():
        found[name] = [_open_built(one) for one in made]
    _forget_old(parts, names)
    return [segment for name in dict.fromkeys(names) for segment in found[name] or ()]


def _open_kept(part: Partition, name: str) -> list[Segment] | None:
    files = cache.find_kept(_cache_folder(part), name)
    return None if files is None else [open_segment(file) for file in files]


def _cache_folder(part: Partition) -> Path:
    return part.cache or cache.cache_folder()


def _forget_old(parts: Sequence[Partition], names: Sequence[str]) -> None:
    """Remove old files beside those in use: of a dataset all, of others the longest unused."""
    for place, own in {_cache_folder(part): part.cache is not None for part in parts}.items():
        cache.forget_unused(place, names, 0 if own else cache.MAX_CACHE_BYTES)


def _build_in_parallel(
    missing: dict[str, Partition], progress: Progress, jobs: int
) -> dict[str, Sequence[Segment | Path | bytes]]:
    # a fresh interpreter: a copy of this one would share its threads and open files
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(jobs, len(missing)), mp_context=fresh) as pool:
        answers = pool.map(_build_portable, missing.values(), missing)
        made = list(track(answers, len(missing), "parts", progress))
    return dict(zip(missing, made, strict=True))


def _build_portable(part: Partition, name: str) -> list[Path | bytes]:
    """What `build_partition` makes, as another process can take it over."""
    made = build_partition(part, name)
    return [one if isinstance(one, Path) else one.serialize() for one in made]


def _open_built(made: Segment | Path | bytes) -> Segment:
    if isinstance(made, Path):
        return open_segment(made)
    if isinstance(made, bytes):
        sql = sqlite3.connect(":memory:")
        sql.deserialize(made)
        return Segment(sql)
    return made


def build_partition(
    part: Partition, name: str, progress: Progress = SILENT
) -> Sequence[Segment | Path]:
    """Count the words of a part: into kept files, or in memory where none can be written.

    What could not be read in full is not kept, since it may be whole the next time.
    """
    reading = ReadNotes()
    rows = track(part.read(reading), None, "captions", progress)
    made: list[Segment | Path] = []
    with ExitStack() as stack:
        for images, more in _caption_chunks(rows, reading):
            facts = {"more": more, **({} if more else _read_facts(reading))}
            made.append(_write_file(stack, _cache_folder(part), images, facts))
        if reading.broken:
            return [
                one if isinstance(one, Segment) else _open_built(one.read_bytes()) for one in made
            ]
        return [
            cache.keep_file(one, name, number) if isinstance(one, Path) else one
            for number, one in enumerate(made)
        ]


def build_in_memory(part: Partition) -> list[Segment]:
    """Count the words of a part and keep nothing."""
    reading = ReadNotes()
    made = []
    for images, more in _caption_chunks(part.read(reading), reading):
        sql = sqlite3.connect(":memory:")
        write_segment(sql, images, {"more": more, **({} if more else _read_facts(reading))})
        made.append(Segment(sql))
    return made


def _read_facts(reading: ReadNotes) -> dict[str, Any]:
    return {
        "left_out": dict(sorted(reading.left_out.items())),
        "silent": reading.silent,
        "broken": reading.broken,
    }


def _write_file(
    stack: ExitStack, place: Path, images: dict[str, str | list[str]], facts: dict[str, Any]
) -> Segment | Path:
    """A file that is gone when `stack` ends unless it was kept; or a segment in memory."""
    try:
        path = stack.enter_context(cache.temporary_file(place))
        sql = sqlite3.connect(path)
        try:
            write_segment(sql, images, facts)
        finally:
            sql.close()
    except (OSError, sqlite3.OperationalError):  # no right to write, or no space
        sql = sqlite3.connect(":memory:")
        write_segment(sql, images, facts)
        return Segment(sql)
    return path


def _caption_chunks(rows: Iterable[ImageCaptions], reading: ReadNotes) -> Iterator[CaptionChunk]:
    """The images that have words, as many at a time as one file takes; at least one chunk."""
    images: dict[str, str | list[str]] = {}
    size = 0
    for key, said in rows:
        texts = [text for text in map(clean_line, said) if text and not text.isspace()]
        if not texts:
            reading.left_out["without words"] += 1
            continue
        if len(images) >= MAX_FILE_IMAGES or size > MAX_FILE_CHARS:
            yield images, True
            images, size = {}, 0
        name = clean_line(key)
        known = images.get(name)
        if known is not None:
            texts = [*([known] if isinstance(known, str) else known), *texts]
        images[name] = texts[0] if len(texts) == 1 else texts
        size += sum(map(len, texts))
    yield images, False
