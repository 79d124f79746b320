"""Write what may be shared of a dataset, ready for a hub or any web server; `curate publish`."""

import json
import re
import shlex
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curate.dataset.folder import Dataset, command_line
from curate.dataset.sample import utc_now
from curate.errors import LicenceError
from curate.formats.shards import ShardIndex, pack_command, read_index
from curate.formats.verdicts import count_stale, find_stale
from curate.publish import card
from curate.publish.contents import DATA, Contents
from curate.publish.croissant import CROISSANT_NAME, describe
from curate.publish.data import PACKED, KeptBack, write_data
from curate.publish.features import sample_features
from curate.publish.folder import (
    CHECKSUMS_NAME,
    LICENCES_NAME,
    README_NAME,
    PublishedFolder,
    format_checksums,
    open_published,
)
from curate.rights.licences import OWN
from curate.shards.pack import Choice, choose_samples
from curate.shards.withdraw import name_some
from curate.system.progress import SILENT, Progress

_PLAIN_NAME = re.compile(r"\w[\w.-]*")
FIRST_VERSION = "1.0.0"


@dataclass(frozen=True)
class PublishSettings:
    """How a publication names itself."""

    name: str | None = None  # for people; None: the folder's
    creator: str | None = None  # who publishes it
    url: str | None = None  # page where it is to be found


@dataclass(frozen=True)
class PublishSummary:
    """What `publish` wrote, and what it kept back."""

    folder: str
    images: Mapping[str, int]  # split -> images
    shards: int
    rewritten: int  # of the shards: without images that may not be shared, or apart from others
    bytes: int  # of all tars
    addresses: int
    withheld: Mapping[str, str]  # key of a packed image of which nothing is said -> why
    licences: Mapping[str, int]
    version: str
    unchanged: bool  # all of it was there already
    missing: tuple[str, ...]  # options for facts that Croissant asks for

    def as_rows(self) -> list[tuple[str, int | str]]:
        """The summary as lines: what, how much."""
        rows: list[tuple[str, int | str]] = [(f"images: {n}", c) for n, c in self.images.items()]
        rows += [("shards", self.shards), ("rewritten", self.rewritten), ("bytes", self.bytes)]
        rows += [("addresses", self.addresses)] * bool(self.addresses)
        rows += [(f"kept back: {why}", n) for why, n in count_stale(self.withheld).items()]
        rows.append(("version", self.version))
        return [*rows, ("unchanged" if self.unchanged else "written", self.folder)]

    def notes(self) -> list[str]:
        """A sentence on each thing that a user should know of, or do."""
        said = [f"kept back, in every form: {name_some(self.withheld)}"] * bool(self.withheld)
        if OWN in self.licences:
            said.append(
                f"{self.licences[OWN]} images are your own, and nothing says what others may "
                "do with them; a fetch with --license CC-BY-4.0, or another, does"
            )
        if self.missing:
            said.append(f"Croissant asks for more than is known: {', '.join(self.missing)}")
        return [*said, f"to check it: {shlex.join(['curate', 'publish', '--check', self.folder])}"]


def publish(
    dataset: Dataset,
    folder: Path,
    settings: PublishSettings | None = None,
    *,
    progress: Progress = SILENT,
) -> PublishSummary:
    """Publish the packed images that may be shared; `curate publish`.

    The folder is replaced as a whole, files that did not change being kept; killed at any moment,
    the same command completes it, and typed again it changes nothing.

    Raises:
        LicenceError: nothing may be shared, or the shards say more than holds now.
        UsageError: another command is at work there.
        InputError: there is no dataset, nothing is packed, the folder holds something else, or the
            disk refuses.
    """
    settings = settings or PublishSettings()
    elsewhere = command_line(dataset.root, "publish", f"{folder}-2")
    with dataset.lock(existing=True):
        index = read_index(dataset.shards)
        choice = choose_samples(dataset)
        _refuse_stale(dataset, index, choice)
        with open_published(folder, elsewhere) as place:
            name = settings.name or folder.name
            contents = Contents(name, index.format, index.size, settings.creator, settings.url)
            kept = write_data(place, index, choice, contents, progress)
            if not contents.shards:
                raise _nothing_to_share(dataset, folder, kept)
            contents.withheld = count_stale(kept.withheld)
            version = _write_documents(place, contents)
            unchanged = place.replace()
    asked = {"--creator NAME": settings.creator, "--url ADDRESS": settings.url}
    return PublishSummary(
        folder=str(folder),
        images={name: sum(s.samples for s in tars) for name, tars in contents.splits().items()},
        shards=len(contents.shards),
        rewritten=len(contents.shards) - kept.linked,
        bytes=sum(shard.bytes for shard in contents.shards),
        addresses=contents.addresses,
        withheld=kept.withheld,
        licences=dict(contents.ranked_licences()),
        version=version,
        unchanged=unchanged,
        missing=tuple(option for option, value in asked.items() if not value),
    )


def _refuse_stale(dataset: Dataset, index: ShardIndex, choice: Choice) -> None:
    stale = find_stale(index.root, choice.standings)
    if stale:
        causes = ", ".join(f"{why} {count}" for why, count in count_stale(stale).items())
        problem = f"{len(stale)} of {index.samples} packed images may not be given on as they are"
        problem = f"{problem} ({causes}), such as {min(stale)}"
        raise LicenceError(dataset.root, problem, fix=pack_command(index.root))


def _nothing_to_share(dataset: Dataset, folder: Path, kept: KeptBack) -> LicenceError:
    """Nothing may be given on: say why, and what to look at."""
    reasons = Counter(kept.withheld.values())
    causes = [f"{why} {count}" for why, count in sorted(reasons.items())]
    causes += [f"by address alone {len(kept.addresses)}"] * bool(kept.addresses)
    key = min([*kept.withheld, *kept.addresses])
    fix = command_line(dataset.root, "explain", key)
    if PACKED in reasons:
        fix = pack_command(dataset.shards)
    points = []
    if (folder / CHECKSUMS_NAME).exists():
        points = [f"{folder} still holds what was published before; it may no longer be shared"]
    problem = f"none of the packed images may be shared ({', '.join(causes)})"
    return LicenceError(dataset.root, problem, fix=fix, points=points)


def _write_documents(place: PublishedFolder, contents: Contents) -> str:
    """The card, the licences, Croissant and the checksums; the version that this makes."""
    place.write(LICENCES_NAME, card.licences_markdown(contents.ranked_licences(), "../CREDITS.md"))
    place.write(README_NAME, _card(contents, place.path.name))
    place.add_hashes()
    version, date = _next_version(place)
    before = _read_croissant(place.path)
    if before.get("version") == version:
        date = str(before.get("datePublished"))
    place.write(CROISSANT_NAME, describe(contents, place.hashes, date, version))
    place.add_hashes()
    place.write(CHECKSUMS_NAME, format_checksums(place.hashes))
    return version


def _next_version(place: PublishedFolder) -> tuple[str, str]:
    """The version of what was made and today's date; the old version, if all is the same.

    Source: Croissant 1.1, "Version": PATCH, the data is the same; MINOR, data was added; MAJOR,
    data was changed or removed.
    """
    today = utc_now()[:10]
    try:
        old = [int(part) for part in str(_read_croissant(place.path)["version"]).split(".")]
        major, minor, patch = old
    except (KeyError, ValueError):
        return FIRST_VERSION, today
    was = {name: sha256 for name, sha256 in place.old.items() if name != CROISSANT_NAME}
    data = {name: sha256 for name, sha256 in was.items() if name.startswith(f"{DATA}/")}
    if was == place.hashes:
        return f"{major}.{minor}.{patch}", today
    if not data.items() <= place.hashes.items():
        return f"{major + 1}.0.0", today
    if data.keys() != {name for name in place.hashes if name.startswith(f"{DATA}/")}:
        return f"{major}.{minor + 1}.0", today
    return f"{major}.{minor}.{patch + 1}", today


def _read_croissant(folder: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError, RecursionError):
        value = json.loads((folder / CROISSANT_NAME).read_bytes())
        return value if isinstance(value, dict) else {}
    return {}


def _card(contents: Contents, folder: str) -> str:
    from markupsafe import Markup

    splits = contents.splits()
    files = [
        {"split": name, "path": sorted({f"{shard.path[:-10]}*.tar" for shard in tars})}
        for name, tars in splits.items()
    ]
    # one config: `datasets` reads all configs of a folder in the format of the first
    configs = [{"config_name": "default", "data_files": files, "default": True}]
    licences = contents.ranked_licences()
    more: dict[str, object] = {
        "tags": ["image", "text", "webdataset", "croissant"],
        "configs": configs,
        "dataset_info": {
            "config_name": "default",
            "features": sample_features(contents.format),
        },
    }
    if contents.languages:
        more = {"language": sorted(contents.languages)} | more
    ids = [id for id, _ in licences]
    front = card.front_matter(contents.name, ids, contents.images, link=LICENCES_NAME, **more)
    shown = folder if _PLAIN_NAME.fullmatch(folder) else "FOLDER"
    facts = {
        "name": contents.name,
        "folder": Markup(shown),  # noqa: S704  (plain letters)
        "format": contents.format,
        "size": contents.size,
        "images": contents.images,
        "addresses": contents.addresses,
        "splits": [
            (name, sum(s.samples for s in tars), len(tars), sum(s.bytes for s in tars))
            for name, tars in splits.items()
        ],
        "first_tar": contents.shards[0].path,
        "licences": licences,
        "share_alike": sum(s.samples for s in contents.shards if s.share_alike),
        "sources": contents.sources.most_common(),
        "origins": contents.origins.most_common(),
        "collected": contents.collected(),
        "limits": contents.limits(),
    }
    return card.render_card(front, facts)
