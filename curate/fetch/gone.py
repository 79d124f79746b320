"""What was in a folder before and is not now: said, with what takes it out; nothing is done."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from curate.dataset.folder import command_line
from curate.dataset.sample import DUPLICATE, Sample
from curate.sources.local import is_from

MOST_NAMED = 3  # files in a sentence
MOST_KEYS = 20  # keys in a command
NOT_THERE = ("missing", "outside")  # reasons of rows whose file is only named
REASON = "no longer in its folder"


@dataclass(frozen=True)
class GoneImages:
    """Rows in use, or copies, that came from a folder of this name and are not in it now."""

    gone: tuple[Sample, ...]  # their files are not there
    replaced: tuple[Sample, ...]  # their files hold something else


def find_gone(
    source: str, folder: str, known: Iterable[Sample], met: Sequence[Sample]
) -> GoneImages:
    """Compare what is known of a folder with what was met in it.

    A key holds a digest of the folder's name, the path in it and the bytes. So rows of other
    folders are told apart, unless these have the same name: no row says where its folder lay. An
    image whose bytes were met under another path was moved, and is neither gone nor replaced.

    Args:
        source: name of the source that lists the folder.
        folder: name of the folder.
        known: rows of the dataset before this fetch.
        met: rows made of all that is in the folder.
    """
    met_keys, met_bytes = {s.key for s in met}, {s.sha256 for s in met}
    now = {s.file_name: s.drop_reason for s in met}
    absent = [
        s
        for s in known
        if s.key not in met_keys
        and s.sha256 not in met_bytes
        and s.drop_reason in ("", DUPLICATE)
        and now.get(s.file_name) != "unreadable"  # nobody knows what it holds
        and is_from(source, folder, s)
    ]
    gone = [s for s in absent if now.get(s.file_name, NOT_THERE[0]) in NOT_THERE]
    replaced = [s for s in absent if s not in gone]
    return GoneImages(tuple(gone), tuple(replaced))


def describe_gone(found: GoneImages, folder: str, root: Path) -> list[str]:
    """What a user should know of it, as sentences; none where nothing is gone.

    Args:
        found: what is gone.
        folder: name of the folder.
        root: dataset folder.
    """
    parts = [
        f"{_count(samples)} {verb} ({_names(samples)})"
        for samples, verb in ((found.gone, "gone"), (found.replaced, "replaced"))
        if samples
    ]
    if not parts:
        return []
    keys = [s.key for s in (*found.gone, *found.replaced)]
    more = f" (the first {MOST_KEYS} of {len(keys):,})" if len(keys) > MOST_KEYS else ""
    return [
        f"{folder}: of the images that came from a folder of this name, {', '.join(parts)}",
        f"they stay in the dataset; if it was this same folder, take them out{more}:",
        f"  {command_line(root, 'remove', *keys[:MOST_KEYS], '--reason', REASON)}",
    ]


def _count(samples: Sequence[Sample]) -> str:
    return f"{len(samples):,} {'is' if len(samples) == 1 else 'are'}"


def _names(samples: Sequence[Sample]) -> str:
    names = ", ".join(str(s.file_name) for s in samples[:MOST_NAMED])
    left = len(samples) - MOST_NAMED
    return f"{names} and {left:,} more" if left > 0 else names
