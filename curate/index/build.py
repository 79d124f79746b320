"""Build the caption index: a file for each partition, kept ones reused, others counted now."""

import multiprocessing
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from curate.corpora.notes import NO_CAPTION, NOTE_FIELDS, ReadNotes
from curate.corpora.partition import ImageCaptions, Partition
from curate.index import cache
from curate.index.segment import (
    Segment,
    clean_line,
    key_line,
    load_segment,
    open_segment,
    write_segment,
)
from curate.system.progress import SILENT, Progress, track

MAX_FILE_IMAGES = 1 << 19  # in one file, so that memory is bounded
MAX_FILE_CHARS = 1 << 26  # characters in one file
CaptionChunk = tuple[dict[str, str], dict[str, Any]]  # captions by key; facts of the file


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
    by_name = {part.content_name(): part for part in parts}
    kept = {name: cache.find_kept(_cache_folder(part), name) for name, part in by_name.items()}
    missing = {name: part for name, part in by_name.items() if kept[name] is None}
    if jobs > 1 and len(missing) > 1:
        built = _build_in_parallel(missing, progress, jobs)
    else:
        each: Iterable[tuple[str, Partition]] = missing.items()
        each = track(each, len(missing), "parts", progress) if len(missing) > 1 else each
        built = {name: build_partition(part, name, progress) for name, part in each}
    # of a dataset all older files go, of others the longest unused
    for place, own in {_cache_folder(part): part.cache is not None for part in parts}.items():
        cache.forget_unused(place, by_name, 0 if own else cache.MAX_CACHE_BYTES)
    return [
        open_segment(one) if isinstance(one, Path) else one
        for found in (kept | built).values()
        for one in found or ()
    ]


def _cache_folder(part: Partition) -> Path:
    return part.cache or cache.cache_folder()


def _build_in_parallel(
    missing: dict[str, Partition], progress: Progress, jobs: int
) -> dict[str, Sequence[Segment | Path]]:
    # a fresh interpreter: a copy of this one would share its threads and open files
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(jobs, len(missing)), mp_context=fresh) as pool:
        answers = pool.map(build_partition, missing.values(), missing)
        made = list(track(answers, len(missing), "parts", progress))
    return dict(zip(missing, made, strict=True))


def build_partition(
    part: Partition, name: str, progress: Progress = SILENT
) -> Sequence[Segment | Path]:
    """Count the words of a part: into kept files, or in memory where none can be written.

    What could not be read in full is not kept, since it may be whole the next time.
    """
    reading = ReadNotes()
    rows = track(part.read(reading), None, "captions", progress)
    with ExitStack() as stack:
        made = [
            _write_file(stack, _cache_folder(part), *chunk)
            for chunk in _caption_chunks(rows, reading)
        ]
        if reading.broken:
            return [
                one if isinstance(one, Segment) else load_segment(one.read_bytes()) for one in made
            ]
        return [
            cache.keep_file(one, name, number) if isinstance(one, Path) else one
            for number, one in enumerate(made)
        ]


def _segment_in_memory(images: dict[str, str], facts: dict[str, Any]) -> Segment:
    sql = sqlite3.connect(":memory:")
    write_segment(sql, images, facts)
    return Segment(sql)


def _write_file(
    stack: ExitStack, place: Path, images: dict[str, str], facts: dict[str, Any]
) -> Segment | Path:
    """A file that is gone when `stack` ends unless it was kept; or a segment in memory."""
    try:
        path = stack.enter_context(cache.temporary_file(place))
        with closing(sqlite3.connect(path)) as sql:
            write_segment(sql, images, facts)
    except (OSError, sqlite3.OperationalError):  # no right to write, or no space
        return _segment_in_memory(images, facts)
    return path


def _caption_chunks(rows: Iterable[ImageCaptions], reading: ReadNotes) -> Iterator[CaptionChunk]:
    """The images that have words, as many at a time as one file takes; at least one chunk."""
    images: dict[str, str] = {}
    size = 0
    for key, said in rows:
        texts = [text for text in map(clean_line, said) if text and not text.isspace()]
        if not texts:
            reading.leave_out(NO_CAPTION, key)
            continue
        if len(images) >= MAX_FILE_IMAGES or size > MAX_FILE_CHARS:
            yield images, {"more": True}
            images, size = {}, 0
        name = key_line(key)
        images[name] = "\n".join([images[name], *texts] if name in images else texts)
        size += len(images[name])
    yield images, {"more": False, **{name: getattr(reading, name) for name in NOTE_FIELDS}}
