"""Is a published folder what it says, and only that? `curate publish --check`.

It works on the folder alone, wherever it lies and whoever wrote it last.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curate.dataset.folder import Dataset
from curate.errors import ExitCode, InputError
from curate.formats.shards import ALLOW
from curate.formats.verdicts import (
    COPIES_CHANGED,
    CREDITS_CHANGED,
    find_stale,
    find_standings,
    verdicts_of,
)
from curate.publish.check_data import check_data, check_urls
from curate.publish.check_documents import check_card, check_croissant, check_texts
from curate.publish.choose import SHARING, find_sharing
from curate.publish.contents import DATA
from curate.publish.croissant import CROISSANT_NAME
from curate.publish.data import CREDITS_NAME, CREDITS_TABLE_NAME
from curate.publish.folder import (
    CHECKSUMS_NAME,
    LICENCES_NAME,
    README_NAME,
    list_files,
    parse_checksums,
)
from curate.publish.tables import METADATA_NAME, URLS_NAME
from curate.shards.withdraw import MAX_NAMED
from curate.system.files import file_sha256
from curate.system.progress import SILENT, Progress, track

ALWAYS_THERE = (
    *(README_NAME, LICENCES_NAME, CREDITS_NAME, CREDITS_TABLE_NAME),
    *(CROISSANT_NAME, METADATA_NAME),
)
Finding = tuple[str, str]  # why, and the file or image concerned


@dataclass(frozen=True)
class CheckSummary:
    """What was compared, and what is not as it should be."""

    folder: str
    files: int
    images: int
    addresses: int
    found: dict[str, list[str]]  # why -> files or images, sorted
    not_checked: tuple[str, ...]  # what was left out, and why

    def as_rows(self) -> list[tuple[str, int | str]]:
        """The summary as lines: what, how much."""
        rows: list[tuple[str, int | str]] = [("files", self.files), ("images", self.images)]
        rows += [("addresses", self.addresses)] * bool(self.addresses)
        rows += [(why, len(what)) for why, what in sorted(self.found.items())]
        return [*rows, ("as it says" if not self.found else "not as it says", self.folder)]

    def notes(self) -> list[str]:
        """A sentence on each thing that a user should know of."""
        named = [f"{why}: {_name_some(what)}" for why, what in self.found.items()]
        return [*sorted(named), *(f"not checked: {what}" for what in self.not_checked)]

    def exit_code(self) -> ExitCode:
        """1 where anything is not as it should be."""
        return ExitCode.FOUND if self.found else ExitCode.DONE


def _name_some(names: list[str]) -> str:
    more = len(names) - MAX_NAMED
    return ", ".join([*names[:MAX_NAMED], *([f"and {more} more"] if more > 0 else [])])


def check_published(
    folder: Path, dataset: Dataset | None = None, *, progress: Progress = SILENT
) -> CheckSummary:
    """Compare every file, record, credit and licence of a published folder with what it says.

    Args:
        folder: as `publish` wrote it, or as it came back from a hub.
        dataset: whether its verdicts have become stricter is asked, too; None: it is not.
        progress: counts files and tars.

    Raises:
        InputError: it is no published folder, or there is no such dataset.
    """
    listed = _read_checksums(folder)
    findings = list(_check_files(folder, listed, progress))
    gone = {name for why, name in findings if why in ("missing", "link")}
    there = [name for name in listed if name not in gone]
    tars = [name for name in there if name.startswith(f"{DATA}/") and name.endswith(".tar")]
    findings += [("missing", name) for name in ALWAYS_THERE if name not in listed]
    images, data_findings = check_data(folder, tars, there, progress)
    findings += data_findings
    addresses = 0
    if URLS_NAME in there:
        addresses, url_findings = check_urls(folder)
        findings += url_findings
    findings += check_texts(folder, there)
    not_checked: list[str] = []
    if CROISSANT_NAME in there:
        findings += check_croissant(folder, listed, not_checked)
    if README_NAME in there:
        findings += check_card(folder, there)
    if dataset is not None:
        findings += _check_verdicts(folder, dataset, there)
    found: defaultdict[str, set[str]] = defaultdict(set)
    for why, what in findings:
        found[why].add(what)
    ordered = {why: sorted(what) for why, what in sorted(found.items())}
    return CheckSummary(
        str(folder), len(listed) + 1, images, addresses, ordered, tuple(not_checked)
    )


def _read_checksums(folder: Path) -> dict[str, str]:
    file = folder / CHECKSUMS_NAME
    try:
        return parse_checksums(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        what = "no such folder" if not folder.is_dir() else f"holds no readable {CHECKSUMS_NAME}"
        problem = f"{what}, so it is not known as published ({type(error).__name__})"
        fix = f"name a folder that curate publish wrote, or write one: curate publish {folder}"
        raise InputError(folder, problem, fix=fix) from None


def _check_files(folder: Path, listed: dict[str, str], progress: Progress) -> Iterator[Finding]:
    there = set(list_files(folder)) - {CHECKSUMS_NAME}
    yield from (("not-listed", name) for name in there - listed.keys())
    for name, sha256 in track(listed.items(), len(listed), "files", progress):
        file = folder / name
        inside = (p for p in (file, *file.parents) if p != folder and p.is_relative_to(folder))
        if any(place.is_symlink() for place in inside):
            yield "link", name
        elif not file.is_file():
            yield "missing", name
        elif file_sha256(file) != sha256:
            yield "checksum", name


def _check_verdicts(folder: Path, dataset: Dataset, there: list[str]) -> Iterator[Finding]:
    """What the dataset would not give on any more."""
    rows = dataset.read().samples
    standings, sharing = find_standings(map(verdicts_of, rows)), find_sharing(rows)
    try:
        stale = find_stale(folder / DATA, standings)
    except InputError:
        yield "broken-tar", DATA
        stale = {}
    worse = {k: w for k, w in stale.items() if w not in (COPIES_CHANGED, CREDITS_CHANGED)}
    yield from ((f"stale:{why}", key) for key, why in worse.items())
    for row in _read_columns(folder, METADATA_NAME, ["key"], there):
        decision = sharing.decisions.get(row["key"], ALLOW)  # one that is not there is told above
        if decision != ALLOW:
            yield f"stale:{SHARING}:{decision}", row["key"]
    keys = {row.image_url: row.key for row in rows}
    for row in _read_columns(folder, URLS_NAME, ["url"], there):
        key = keys.get(row["url"])
        why_not = standings[key].problem or sharing.unnamed[key] if key else "no-row"
        if why_not:
            yield f"stale:{why_not}", row["url"]


def _read_columns(
    folder: Path, name: str, columns: list[str], there: list[str]
) -> list[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as parquet

    try:
        table = parquet.read_table(folder / name, columns=columns) if name in there else None
        return list(table.to_pylist()) if table is not None else []
    except (pa.ArrowException, OSError, ValueError):
        return []  # told before
