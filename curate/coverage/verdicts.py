"""Verdicts, their severity, and the item that carries one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from curate.errors import UsageError
from curate.index.index import Evidence
from curate.text.senses import SenseRisk
from curate.text.spelling import NearWord
from curate.text.wordnet import RelatedWord

PROFILES = {"scratch": (20, 200), "finetune": (5, 30), "lora": (1, 5)}  # images: warn, target
SEVERITIES = ("error", "warning", "info")  # worst first
_BY_SEVERITY = {  # each worst first
    "error": "missing unknown-word phrase-missing thin",
    "warning": "uncaptioned sense-risk covered-by-derivation covered-by-narrower"
    " covered-by-synonym low phrase-thin unseen-binding rare-binding unseen-pair rare-pair",
    "info": "typo covered-by-variant covered phrase-covered seen-binding seen-pair not-visual"
    " meta negated function-word control-token",
}
VERDICTS = {v: s for s in SEVERITIES for v in _BY_SEVERITY[s].split()}  # name -> severity
RELATIONS = ("synonym", "narrower", "derivation")  # from the nearest to the farthest
RARE_IMAGES = 5  # images below which a pair or a binding is rare
MEANINGS = {  # verdict -> one sentence; worst first
    "missing": "No caption names it.",
    "unknown-word": "No caption names it and no dictionary knows it: a name, an invention or a "
    "misspelling. Images of your own can teach it.",
    "phrase-missing": "No caption names the words side by side.",
    "thin": "Fewer images than the least that can teach it.",
    "uncaptioned": "Hardly any caption names it, but a search of the images finds it: write "
    "better captions.",
    "sense-risk": "Captions name it often, but mean something else by it.",
    "covered-by-derivation": "Too few images name it; with those of a word derived from it, "
    "enough. Accept that once in aliases.toml, or fetch.",
    "covered-by-narrower": "Too few images name it; with those of a narrower word, enough. Accept "
    "that once in aliases.toml, or fetch.",
    "covered-by-synonym": "Too few images name it; with those of a synonym, enough. Accept that "
    "once in aliases.toml, or fetch.",
    "low": "Enough images to begin with, fewer than the target.",
    "phrase-thin": "Few captions name the words side by side.",
    "unseen-binding": "Both words are known, but no caption says the one of the other.",
    "rare-binding": "Fewer than five images say the one of the other.",
    "unseen-pair": "Both words are known, but no image shows them together.",
    "rare-pair": "Fewer than five images show them together.",
    "typo": "Your aliases.toml names it as a misspelling.",
    "covered-by-variant": "Enough images, most under another spelling.",
    "covered": "As many images as the target, or more.",
    "phrase-covered": "Enough images name the words side by side.",
    "seen-binding": "Five images or more say the one of the other.",
    "seen-pair": "Five images or more show them together.",
    "not-visual": "No image can show it.",
    "meta": "Asks for quality, not for a thing.",
    "negated": "To stay out of the image.",
    "function-word": "Grammar; nothing to show.",
    "control-token": "An instruction to the program, no word.",
}
UNIT_KINDS = {  # kind -> how a person reads it; from the simplest on
    "word": "word",
    "phrase": "phrase",
    "bind": "word with its adjective",
    "pair": "pair of nouns",
    "token": "control token",
}
_VERDICT_RANK = {verdict: n for n, verdict in enumerate(VERDICTS)}


@dataclass(frozen=True)
class Targets:
    """How many images a word needs."""

    profile: str
    warn: int  # fewer are thin
    target: int  # enough


@dataclass(frozen=True, slots=True)
class Mention:
    """Where a prompt asks for a unit."""

    line: int  # of the prompts file, from 1
    start: int  # first character in the line as read
    end: int  # one past the last
    text: str  # what stands there


@dataclass(frozen=True, slots=True)
class RelatedImages:
    """Images that show a unit only through related words, not through the unit itself."""

    images: int = 0
    units: tuple[str, ...] = ()  # the related words, by their number of images


@dataclass(frozen=True, slots=True)
class Levels:
    """Distinct images by how their captions show a unit, each image at its best level."""

    exact: int = 0
    inflection: int = 0
    variant: int = 0  # another spelling, or an alias
    related: Mapping[str, RelatedImages] = field(default_factory=dict)  # relation -> images

    @property
    def images(self) -> int:
        """Images that show the unit itself."""
        return self.exact + self.inflection + self.variant


@dataclass(frozen=True, slots=True)
class Item:
    """A unit of the prompts and what the captions say about it."""

    unit: str
    kind: str  # one of UNIT_KINDS
    verdict: str  # one of VERDICTS
    mentions: tuple[Mention, ...]
    levels: Levels = Levels()
    expected: float | None = None  # of pairs and bindings: images if words were independent
    pmi: float | None = None  # of pairs and bindings, smoothed, in bits
    not_counted: tuple[tuple[RelatedWord, int], ...] = ()  # too far; and their images
    upper_bound: int | None = None  # images that may show it though no caption says so, 95 %
    evidence: tuple[Evidence, ...] = ()
    nearest: tuple[NearWord, ...] = ()
    did_you_mean: tuple[NearWord, ...] = ()
    senses: SenseRisk | None = None
    fetch: tuple[str, ...] = ()  # commands that close the gap
    need: int = 0  # images short of the target

    @property
    def severity(self) -> str:
        """`error`, `warning` or `info`."""
        return VERDICTS[self.verdict]

    @property
    def images(self) -> int:
        """Distinct images that show it."""
        return self.levels.images

    @property
    def prompts(self) -> int:
        """Prompts that ask for it."""
        return len({mention.line for mention in self.mentions})


def resolve_targets(
    profile: str = "finetune", *, minimum: int | None = None, target: int | None = None
) -> Targets:
    """The thresholds of a profile, each replaced where a number is given; the other gives way.

    Raises:
        UsageError: no such profile, a number below 1, or a minimum above the target.
    """
    if profile not in PROFILES:
        fix = f"one of {', '.join(PROFILES)}"
        raise UsageError("--profile", f"no profile {profile!r}", fix=fix)
    for name, number in (("--min", minimum), ("--target", target)):
        if number is not None and number < 1:
            raise UsageError(name, f"{number} is not a number of images", fix=f"{name} 1 or more")
    if minimum is not None and target is not None and minimum > target:
        problem = f"{minimum} is above the target {target}"
        raise UsageError("--min", problem, fix=f"--target {minimum} or more")
    warn, enough = PROFILES[profile]
    warn, enough = minimum or min(warn, target or warn), target or max(enough, minimum or enough)
    return Targets(profile, warn, enough)


def worst_first(item: Item) -> tuple[object, ...]:
    """The order of items in a report."""
    return (
        SEVERITIES.index(item.severity),
        tuple(UNIT_KINDS).index(item.kind),
        _VERDICT_RANK[item.verdict],
        -(item.expected or 0),
        -item.prompts,
        item.images,
        item.unit,
    )


def severities_from(least: str) -> tuple[str, ...]:
    """The severities that are as bad as this one or worse; none for "never"."""
    return SEVERITIES[: SEVERITIES.index(least) + 1] if least in SEVERITIES else ()


def list_some(words: Sequence[str], most: int, *, by: str = ", ", then: str = " ") -> str:
    """As many of the words, and how many more there are."""
    more = len(words) - most
    return by.join(words[:most]) + (f"{then}and {more:,} more" if more > 0 else "")


def plural(number: int, noun: str) -> str:
    """`1 image`, `1,200 images`."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
