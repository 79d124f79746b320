"""What a publication holds, counted while it is written: for its card, and for programs."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from curate.dataset.sample import Sample
from curate.publish.card import licences_of
from curate.rights.credits import Credit

DATA = "data"  # folder of the tars
_ORIGINS = {  # of captions, for people
    "text": "texts that came with the images",
    "title": "titles",
    "tags": "tags",
    "file-name": "names of files",
    "copy": "what was said of copies",
}


@dataclass(frozen=True)
class PublishedShard:
    """One tar of a publication."""

    path: str  # POSIX path in the folder
    split: str
    samples: int
    bytes: int
    sha256: str
    share_alike: bool  # whether it holds images that ask for it, and no others


@dataclass
class Contents:
    """All that is said of a publication."""

    name: str  # for people
    format: str  # of the images
    size: int  # pixels of the shorter side at most
    creator: str | None = None
    url: str | None = None
    withheld: Mapping[str, int] = field(default_factory=dict)  # why -> packed images not named
    shards: list[PublishedShard] = field(default_factory=list)
    licences: Counter[str] = field(default_factory=Counter)  # id -> images it is stated of
    sources: Counter[str] = field(default_factory=Counter)
    origins: Counter[str] = field(default_factory=Counter)  # of captions
    modified: Counter[str] = field(default_factory=Counter)  # what was changed -> images
    lacking: Counter[str] = field(default_factory=Counter)  # what is not stated -> images
    languages: set[str] = field(default_factory=set)  # BCP 47, as stated
    retrieved: list[str] = field(default_factory=list)  # first and last, UTC
    ai_generated: int = 0  # images stated to be made by AI
    grouped: int = 0  # images that have relatives
    against: int = 0  # images whose host is against training, against their author's open licence
    addresses: int = 0  # rows of urls.parquet

    @property
    def images(self) -> int:
        """Images that are given on."""
        return sum(shard.samples for shard in self.shards)

    def splits(self) -> dict[str, list[PublishedShard]]:
        """The tars of each split, `train` first."""
        names = sorted({s.split for s in self.shards}, key=lambda name: (name != "train", name))
        return {name: [s for s in self.shards if s.split == name] for name in names}

    def ranked_licences(self) -> list[tuple[str, int]]:
        """Licence -> images, the most frequent first."""
        return sorted(self.licences.items(), key=lambda pair: (-pair[1], pair[0]))

    def add(self, row: Mapping[str, Any], credit: Credit, sample: Sample) -> None:
        """Count one image that is given on, by its row in the metadata."""
        self.licences.update(licences_of(credit))
        self.sources[row["source"]] += 1
        for origin in row["caption_origins"]:
            kind = origin.partition(":")[0]
            self.origins[_ORIGINS.get(kind, kind)] += 1
        self.modified.update(row["modified"])
        for name in ("author", "page_url", "retrieved"):
            if not row[name]:
                self.lacking[name] += 1
        if sample.language:
            self.languages.add(sample.language)
        if sample.retrieved:
            times = sorted([*self.retrieved, sample.retrieved])
            self.retrieved = [times[0], times[-1]]
        self.ai_generated += bool(sample.ai_generated or sample.ai_embedded)
        self.grouped += row["group"] is not None
        self.against += any(signal.allows is False for signal in sample.signals)

    def collected(self) -> str:
        """When and how the images were collected, as far as it is known."""
        if not self.retrieved:
            return "When the images were collected is not recorded."
        first, last = (time[:10] for time in self.retrieved)
        when = f"on {first}" if first == last else f"from {first} to {last}"
        some = self.lacking["retrieved"]
        rest = f"; of {some} the time is not recorded" if some else ""
        return f"The images were collected {when}{rest}."

    def limits(self) -> list[str]:
        """What is known to be missing or uncertain, a sentence each."""
        said = [
            "Licences are as their sources state them; nobody has proved that those who state "
            "them may.",
            "Whether people are shown, and what else the pictures show, was not looked at beside "
            "what sources state.",
        ]
        if count := self.lacking["author"]:
            said.append(f"Of {count} images no author is stated.")
        if count := self.lacking["page_url"]:
            said.append(f"Of {count} images no page is known.")
        if self.ai_generated:
            said.append(f"{self.ai_generated} images are stated to be made by AI.")
        if self.against:
            said.append(
                f"The hosts of {self.against} images are against training on all that they hold; "
                "the policy lets their authors' open licences count."
            )
        if self.origins.keys() <= {*_ORIGINS.values()}:
            said.append(
                "Captions were taken from what came with the images; whether people or programs "
                "wrote that is not recorded."
            )
        if self.grouped:
            said.append(f"{self.grouped} images have copies or relatives (column group).")
        if left := sum(self.withheld.values()):
            why = ", ".join(f"{reason}: {count}" for reason, count in self.withheld.items())
            said.append(f"{left} images it was made from are left out, and not named ({why}).")
        return said
