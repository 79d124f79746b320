"""Corpora opened as `vocab-gaps` opens them, and what they show or refuse."""

from pathlib import Path

import pytest

from curate.corpora.corpus import find_corpus
from curate.errors import InputError
from curate.index import index
from curate.index.index import CaptionIndex


def opened(path: Path) -> CaptionIndex:
    return index.open_index(find_corpus(path))


def shown(found: CaptionIndex, unit: str) -> list[str]:
    return [e.key for e in found.evidence(found.images_with(unit), [unit], limit=99)]


def error_of(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        opened(path)
    assert "\n  fix: " in str(caught.value)
    return str(caught.value).partition("\n")[0]
