"""Which image is meant: by its key, or by a part of its key, file name or title."""

import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from curate.dataset.sample import Sample
from curate.errors import InputError

MOST_LISTED = 5  # images of which a text may be a part, or keys that are near


def find_keys(samples: Iterable[Sample], *texts: str) -> list[str]:
    """The keys of the images that are meant, one for each text, dropped ones included.

    A whole key names its row. Otherwise a file name (with or without its folder and ending) or a
    title names the row that has it, and a part of a key, file name or title the only row that holds
    it. Capitals do not count.

    Raises:
        InputError: a text fits no row, or several.
    """
    rows = sorted(samples, key=lambda sample: sample.key)
    keys = {sample.key for sample in rows}
    return [text if text in keys else _find(rows, text) for text in texts]


def _find(rows: Sequence[Sample], text: str) -> str:
    wanted = _fold(text)
    if not wanted:
        raise InputError(repr(text), "names no image", fix="a key, or part of a file name or title")
    found = [s for s in rows if wanted in map(_fold, _names(s))]
    if not found:
        found = [s for s in rows if any(wanted in _fold(name) for name in _names(s))]
    if not found:
        raise _no_image(rows, text)
    if len(found) > 1:
        points = [_describe(sample) for sample in found[:MOST_LISTED]]
        points += [f"and {len(found) - MOST_LISTED:,} more"] if len(found) > MOST_LISTED else []
        fix = f"name one by its whole key, such as {found[0].key}"
        raise InputError(text, f"{len(found):,} images fit", fix=fix, points=points)
    return found[0].key


def _names(sample: Sample) -> list[str]:
    path = PurePosixPath(sample.file_name or "")
    names = (sample.key, sample.file_name, path.name, path.stem, sample.title)
    return [name for name in names if name]


def _fold(text: str) -> str:
    return unicodedata.normalize("NFC", text).casefold().strip()


def _describe(sample: Sample) -> str:
    name = sample.file_name or sample.title or sample.page_url
    why = f" ({sample.dropped})" if sample.dropped else ""
    return f"{sample.key}: {name}{why}"


def _no_image(rows: Sequence[Sample], text: str) -> InputError:
    from rapidfuzz import process

    names = {_fold(name): sample.key for sample in reversed(rows) for name in _names(sample)}
    close = process.extract(_fold(text), names.keys(), score_cutoff=60, limit=MOST_LISTED)
    near = list(dict.fromkeys(names[name] for name, _, _ in close))[:3]
    told = " or ".join(near or [sample.key for sample in rows[:2]])
    fix = f"did you mean {told}?" if near else f"keys look like {told}"
    return InputError(text, "no image has this key, or it in its file name or title", fix=fix)
