"""What the counts mean: a verdict for every word, control token and pair of words."""

import shlex
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from curate.coverage import lexicon
from curate.coverage.index import Evidence, Index
from curate.coverage.nearest import Near
from curate.coverage.prompts import CONTROL, NEGATED, WANTED, Prompt, Token
from curate.errors import UsageError

PROFILES = {"scratch": (20, 200), "finetune": (5, 30), "lora": (1, 5)}  # images: warn, target
PAIRS = ("off", "all")
RARE_PAIR = 5  # images with both words below which a pair is rare
SEVERITIES = ("error", "warning", "info")  # worst first
_BY_SEVERITY = {  # each worst first; verdicts of phrases, bindings and related words included
    "error": "missing unknown-word phrase-missing thin",
    "warning": "uncaptioned sense-risk covered-by-derivation covered-by-narrower"
    " covered-by-synonym low phrase-thin unseen-binding rare-binding unseen-pair rare-pair",
    "info": "typo covered-by-variant covered phrase-covered seen-binding seen-pair not-visual"
    " meta negated function-word control-token",
}
VERDICTS = {v: s for s in SEVERITIES for v in _BY_SEVERITY[s].split()}  # name -> severity
_RANK = {verdict: n for n, verdict in enumerate(VERDICTS)}
_KINDS = ("word", "pair", "token")


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


@dataclass(frozen=True)
class Item:
    """A unit of the prompts and what the captions say about it."""

    unit: str
    kind: str  # "word", "pair" or "token"
    verdict: str
    exact: int  # images that show the unit as it is written here
    inflection: int  # images that show it only in another form
    mentions: tuple[Mention, ...]
    expected: float | None = None  # of a pair: images if its words were independent
    evidence: tuple[Evidence, ...] = ()
    nearest: tuple[Near, ...] = ()
    fetch: tuple[str, ...] = ()  # commands that close the gap
    need: int = 0  # images short of the target

    @property
    def severity(self) -> str:
        """`error`, `warning` or `info`."""
        return VERDICTS[self.verdict]

    @property
    def images(self) -> int:
        """Distinct images that show it."""
        return self.exact + self.inflection

    @property
    def prompts(self) -> int:
        """Prompts that ask for it."""
        return len({mention.line for mention in self.mentions})


def targets(
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
    if minimum is not None:
        warn, enough = minimum, max(minimum, enough)
    if target is not None:
        warn, enough = min(warn, target), target
    return Targets(profile, warn, enough)


def judge(
    prompts: Sequence[Prompt],
    index: Index,
    wanted: Targets,
    *,
    pairs: str = "all",
    options: Sequence[str] = (),
) -> list[Item]:
    """A verdict for every word, control token and pair of words in `prompts`, worst first.

    Args:
        prompts: in any order; the order changes nothing but that of mentions.
        index: of the captions.
        wanted: thresholds, in images.
        pairs: "all" pairs of content words within a prompt, or "off".
        options: added to each command that fetches, so that it works on the same data.

    Raises:
        UsageError: `pairs` is something else.
    """
    if pairs not in PAIRS:
        raise UsageError("--pairs", f"no choice {pairs!r}", fix=f"one of {', '.join(PAIRS)}")
    units: dict[tuple[str, str], list[Token]] = defaultdict(list)
    for prompt in prompts:
        for token in prompt.tokens:
            units[unit_of(token), _role(token)].append(token)
    judge = _Judge(index, wanted, tuple(options), {p.line: p.text for p in prompts})
    items = [judge.one(unit, role, tokens) for (unit, role), tokens in units.items()]
    if pairs == "all":
        seen = {i.unit: i.images for i in items if i.verdict in ("thin", "low", "covered")}
        items += judge.pairs(prompts, seen)
    return sorted(items, key=_worst_first)


def unit_of(token: Token) -> str:
    """The unit that a token of a prompt belongs to."""
    return token.text if token.role == CONTROL else lexicon.unit(lexicon.normal(token.text))


def _role(token: Token) -> str:
    function_word = token.role == NEGATED and lexicon.is_function_word(unit_of(token))
    return WANTED if function_word else token.role


def _worst_first(item: Item) -> tuple[object, ...]:
    return (
        SEVERITIES.index(item.severity),
        _KINDS.index(item.kind),
        _RANK[item.verdict],
        -(item.expected or 0),
        -item.prompts,
        item.images,
        item.unit,
    )


@dataclass(frozen=True)
class _Judge:
    index: Index
    wanted: Targets
    options: tuple[str, ...]
    lines: Mapping[int, str]  # of the prompts file

    def one(self, unit: str, role: str, tokens: Sequence[Token]) -> Item:
        """A word or a control token."""
        mentions = self._mentions((token, token) for token in tokens)
        if role == CONTROL:
            return Item(unit, "token", "control-token", 0, 0, mentions)
        exact, inflection = self.index.counts(unit)
        verdict = self._verdict(unit, role, exact + inflection)
        if verdict == "function-word":
            return Item(unit, "word", verdict, exact, inflection, mentions)
        evidence = tuple(self.index.evidence(unit))
        if VERDICTS[verdict] == "info":
            return Item(unit, "word", verdict, exact, inflection, mentions, evidence=evidence)
        return Item(
            unit,
            "word",
            verdict,
            exact,
            inflection,
            mentions,
            evidence=evidence,
            nearest=tuple(self.index.vocabulary.nearest(unit)) if verdict == "missing" else (),
            fetch=self._fetch(unit),
            need=self.wanted.target - exact - inflection,
        )

    def pairs(self, prompts: Iterable[Prompt], seen: dict[str, int]) -> Iterator[Item]:
        """Every two words of a prompt that captions show, each pair once."""
        mentions: dict[tuple[str, str], list[tuple[Token, Token]]] = defaultdict(list)
        for prompt in prompts:
            first: dict[str, Token] = {}
            for token in prompt.tokens:
                if token.role == WANTED and unit_of(token) in seen:
                    first.setdefault(unit_of(token), token)
            for a, b in combinations(sorted(first), 2):
                mentions[a, b].append((first[a], first[b]))
        for a, b, found, evidence in self.index.together(mentions, below=RARE_PAIR):
            verdict = "seen-pair" if found >= RARE_PAIR else "rare-pair"
            short = max(0, RARE_PAIR - found)
            yield Item(
                f"{a} + {b}",
                "pair",
                verdict if found else "unseen-pair",
                found,
                0,
                self._mentions(mentions[a, b]),
                expected=round(seen[a] * seen[b] / self.index.images, 2),
                evidence=tuple(evidence),
                fetch=self._fetch(f"{a} {b}") if short else (),
                need=short,
            )

    def _verdict(self, unit: str, role: str, images: int) -> str:
        if lexicon.is_function_word(unit):
            return "function-word"
        if role == NEGATED:
            return "negated"
        if images == 0:
            return "missing"
        if images < self.wanted.warn:
            return "thin"
        return "low" if images < self.wanted.target else "covered"

    def _fetch(self, query: str) -> tuple[str, ...]:
        return (shlex.join(["curate", "fetch", "openverse", "--query", query, *self.options]),)

    def _mentions(self, places: Iterable[tuple[Token, Token]]) -> tuple[Mention, ...]:
        """The stretches from one token to another of the same line, in the order of the file."""
        found = []
        for a, b in places:
            start, end = min(a.start, b.start), max(a.end, b.end)
            found.append(Mention(a.line, start, end, self.lines[a.line][start:end]))
        return tuple(sorted(found, key=lambda m: (m.line, m.start)))
