"""What the signs of a prompt mean: weights, alternatives, control tokens, negative parts.

One pass from left to right with a stack of open brackets, so that any line takes time linear in
its length. Brackets that do not match are punctuation.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache, cached_property
from itertools import pairwise

from curate.text.word_lists import read_sections

SYNTAXES = ("auto", "plain", "a1111", "compel")
MAX_DEPTH = 16  # brackets with alternatives that a word is said to stand in, from the outside

Span = tuple[int, int]
Choice = tuple[Span, ...]

_RATIO_CHARS = 16  # characters in which a ratio or a time of day is looked for: (16:9)
# no expression here gives back what it took, so that long runs of digits take linear time
_NUMBER = r"[+-]?(?:\d++\.?\d*+|\.\d++)"
_CLOSES = {")": "(", "]": "[", "}": "{"}
_SYNTAX_SIGNS = re.compile(r"[<()\[\]{}|:\\$]|__|--|\+\+|—|\b(?:BREAK|AND|ADD[BCR][A-Z]+)\b")
_ALL_CONTROL = ("angle", "wildcard", "url", "embedding")  # events that are control tokens
_ALL_NUMBERS = ("keyword", "strength")  # events that are no words
_EVENTS = {  # name -> expression, and the syntaxes that know it; the first that matches counts
    "escape": (r"\\.", "auto a1111 compel"),
    "settings": (r"(?<!\w)Steps: \d+, (?:Sampler|Schedule|CFG|Seed|Size|Model).*", "auto a1111"),
    "negative": (r"(?<!\w)(?i:negative prompt) ?:", "auto a1111"),
    "angle": (r"<(?:[A-Za-z]+:[^<>]*|\w[^\s<>]*)>", "auto a1111 compel"),
    "wildcard": (r"__[^\W_][\w/*-]*?__|__[~@*][\w/*-]*?__", "auto a1111"),
    "url": (r"""\bhttps?://[^\s<>"]*[^\s<>".,;:!?)\]}'|]""", "auto a1111 compel"),
    "embedding": (r"\bembedding:[^\s,:|<>()\[\]{}]+", "auto a1111"),
    "option": (r"(?<!\S)(?:--|—)[a-z]++(?:[_-][a-z]++)*+(?!\S)", "auto a1111"),
    "capitals": (r"\b(?:BREAK|AND|ADDCOMM|ADDBASE|ADDCOL|ADDROW)\b", "auto a1111"),
    "variable": (r"\$\{[ ]?[\w-]+[ ]?(?:\}|=!?|:)", "auto a1111"),
    "method": (r"(?<=[\w)\"'”])\.(?:(?:and|blend)\([\d\s.,+-]*\)|swap\()", "auto compel"),
    "keyword": (r",\s*(?:[st]_(?:start|end)|shape_freedom)\s*=\s*[\d.]+", "auto compel"),
    "strength": (r"(?:(?<=\w)\+{2,}+|(?<=\))\+++|(?<=[\w)])-{2,}+)(?!\w)", "auto compel"),
    "weight": (rf"(?<=\w)::(?:{_NUMBER})?(?![\w:])", "auto"),
    "sign": (r"[()\[\]{}|:]", "auto a1111"),
    "round": (r"[()]", "compel"),
}
_OPTIONS = read_sections("prompts/options.txt")
_VALUE = re.compile(r"[ ]+(?!--|—)([^\s<]\S*)")
_WEIGHT = re.compile(rf"\s*{_NUMBER}\s*")
_SCHEDULE = re.compile(rf"\s*{_NUMBER}(?:\s*,\s*{_NUMBER})?\s*%?\s*")
_TRAILING_WEIGHTS = {
    "auto": re.compile(r"[+-]?(?:\d++\.\d++|\.\d++)(?![\w.])"),
    "compel": re.compile(rf"{_NUMBER}(?!\w)"),
}
_AND_WEIGHT = re.compile(rf"(?<!\d):\s*({_NUMBER})\s*$")
_PICKS = re.compile(
    r"(?P<how_many> ?[@~]?(\d{0,6}+)(-?)(\d{0,6}+)\$\$)(?:[^|{}$]*(?P<behind_joint>\$\$))?"
)
_SHARE = re.compile(rf"\s*+{_NUMBER}::")


@dataclass(slots=True)
class LineSyntax:
    """The parts of a line that are not plain words; spans are [start, end) in its characters."""

    control: list[Span] = field(default_factory=list)  # control tokens
    numbers: list[Span] = field(default_factory=list)  # weights and counts: no words
    signs: list[Span] = field(default_factory=list)  # brackets, and what parts alternatives
    negated: list[Span] = field(default_factory=list)  # to stay out of the image
    choices: list[tuple[int, tuple[int, ...], int]] = field(default_factory=list)
    # each bracket with alternatives: where the first begins, where others do, where the last ends

    def alternatives(self) -> Iterator[tuple[int, Choice]]:
        """Yield from where on which alternatives hold: ascending places, each with (bracket,
        alternative) of the `MAX_DEPTH` outermost brackets.
        """
        ordered = sorted(self.choices, key=lambda one: (one[0], -one[2]))
        events = []
        for bracket, (start, cuts, end) in enumerate(ordered):
            places = enumerate([start, *cuts])
            events += [(place, min(n, 1), bracket, n) for n, place in places]
            events.append((end, 2, -bracket, 0))
        outer: list[Choice] = []
        now: Choice = ()
        for place, what, bracket, alternative in sorted(events):
            if what == 2:
                now = outer.pop()
            else:
                if what == 0:
                    outer.append(now)
                now = (*outer[-1], (bracket, alternative))[:MAX_DEPTH]
            yield place, now


def blank(line: str, spans: Iterable[Span]) -> str:
    """The line with blanks in place of the spans, which may overlap."""
    letters = list(line)
    for start, end in spans:
        letters[start:end] = " " * (end - start)
    return "".join(letters)


@dataclass(slots=True)
class _Bracket:
    kind: str  # "(", "[", "{", "${" or ".swap("; closed by what closes its last sign
    start: int  # first character inside
    original: int | None = None  # of a swap: where the words begin that it replaces
    cuts: list[int] = field(default_factory=list)  # places of | and : at this depth


def scan_line(line: str, syntax: str = "auto") -> LineSyntax:
    """What the signs of a line mean in one of `SYNTAXES`."""
    if syntax == "plain" or not _SYNTAX_SIGNS.search(line):
        return LineSyntax()
    return _Scanner(line, syntax).run()


@cache
def _event_pattern(syntax: str) -> re.Pattern[str]:
    known = ((name, source) for name, (source, where) in _EVENTS.items() if syntax in where.split())
    return re.compile("|".join(f"(?P<{name}>{source})" for name, source in known))


class _Scanner:
    def __init__(self, line: str, syntax: str) -> None:
        self.line = line
        self.syntax = syntax
        self.reading = LineSyntax()
        self.open: list[_Bracket] = []
        self.depths: Counter[str] = Counter()  # open brackets by their opening sign
        self.negative: int | None = None  # where a negative part began
        self.segment = 0  # where the words began that the next `::` weighs
        self.branch: int | None = None  # behind the last AND
        self.closed = (0, 0)  # the last bracket with an end

    def run(self) -> LineSyntax:
        position = 0
        find = _event_pattern(self.syntax).search
        while match := find(self.line, position):
            name, position = match.lastgroup, match.end()
            if name in _ALL_CONTROL:
                self.reading.control.append(match.span())
            elif name in _ALL_NUMBERS:
                self.reading.numbers.append(match.span())
            elif name != "escape":
                position = getattr(self, f"_{name}")(match) or position
        self._end_of_branch(len(self.line))
        self._end_of_negative(len(self.line))
        self.reading.negated.sort()
        return self.reading

    def _settings(self, match: re.Match[str]) -> None:
        self._end_of_negative(match.start())
        self.reading.control.append((match.start(), len(self.line.rstrip())))

    def _negative(self, match: re.Match[str]) -> None:
        self._end_of_negative(match.start())
        self.reading.control.append(match.span())
        self.negative = match.end()

    def _option(self, match: re.Match[str]) -> int | None:
        name = match[0].lstrip("-—")
        negative, bare = name in _OPTIONS["negative"], name in _OPTIONS["without value"]
        worded = name in _OPTIONS["value may be a word"]
        if match[0][0] == "—" and not (negative or bare or worded):
            return None  # a dash between words
        self._end_of_negative(match.start())
        end = match.end()
        if negative:
            self.negative = end
        elif not bare and name != "prompt":
            value = _VALUE.match(self.line, end)
            if value and (worded or any(c.isdigit() for c in value[1][:40])):
                end = value.end()
        self.reading.control.append((match.start(), end))
        return end

    def _capitals(self, match: re.Match[str]) -> None:
        if self.syntax == "auto" and not self.has_small_letters:
            return
        self.reading.control.append(match.span())
        if match[0] == "AND":
            self.branch = 0 if self.branch is None else self.branch
            self._end_of_branch(match.start())
            self.branch = match.end()

    @cached_property
    def has_small_letters(self) -> bool:
        """Whether capitals stand out: some words are written without them."""
        bare = _event_pattern("compel").sub(" ", self.line)
        return bare != bare.upper()

    def _variable(self, match: re.Match[str]) -> None:
        self.reading.control.append(match.span())
        if not match[0].endswith("}"):
            self._push("${", match.end())

    def _method(self, match: re.Match[str]) -> None:
        self.reading.control.append(match.span())
        if match[0] == ".swap(":
            self._push(".swap(", match.end(), self._swapped(match.start()))

    def _swapped(self, dot: int) -> int:
        """Where the words begin that a swap replaces: a bracket, a quotation or one word."""
        start, end = self.closed
        if end == dot:
            return start
        lowest = max(self.open[-1].start if self.open else 0, end)
        sign = {'"': '"', "'": "'", "”": "“"}.get(self.line[dot - 1], " ")
        return max(lowest, self.line.rfind(sign, max(0, dot - 1000), dot - 1) + 1)

    def _weight(self, match: re.Match[str]) -> int | None:
        start = match.start()
        if self.open and self.open[-1].kind != "(":
            self.open[-1].cuts += [start, start + 1]
            return start + 2
        self.reading.numbers.append(match.span())
        if match[0].startswith("::-"):
            self.reading.negated.append((self.segment, start))
        self.segment = match.end()
        return None

    def _sign(self, match: re.Match[str]) -> int | None:
        sign, place = match[0], match.start()
        if sign in "([{":
            self._push(sign, place + 1)
        elif sign in _CLOSES:
            return self._close(_CLOSES[sign], place)
        elif self.open:
            self.open[-1].cuts.append(place)
        return None

    _round = _sign

    def _push(self, kind: str, start: int, original: int | None = None) -> None:
        self.open.append(_Bracket(kind, start, original))
        self.depths[kind[-1]] += 1

    def _pop(self) -> _Bracket:
        bracket = self.open.pop()
        self.depths[bracket.kind[-1]] -= 1
        return bracket

    def _close(self, sign: str, place: int) -> int | None:
        if not self.depths[sign]:
            return None
        lost: list[int] = []
        while (bracket := self._pop()).kind[-1] != sign:  # within, never closed: punctuation
            lost, more = sorted((lost, bracket.cuts), key=len, reverse=True)
            lost += more
        self.reading.signs += [(bracket.start - 1, bracket.start), (place, place + 1)]
        if lost:
            bracket.cuts = sorted(bracket.cuts + lost)
        self.closed = (bracket.start - 1, place + 1)
        if bracket.original is not None:
            self.closed = (bracket.original, place + 1)
            self.reading.choices.append((bracket.original, (bracket.start,), place))
        if bracket.kind == "(":
            return self._weighted(bracket, place)
        if bracket.kind == "[":
            self._square(bracket, place)
        elif bracket.kind == "{":
            self._curly(bracket, place)
        return None

    def _weighted(self, bracket: _Bracket, place: int) -> int | None:
        """Round brackets: a weight before the end, or behind it."""
        if bracket.cuts:
            self._number(bracket, bracket.cuts[-1], place)
        pattern = _TRAILING_WEIGHTS.get(self.syntax)
        if not pattern or not (behind := pattern.match(self.line, place + 1)):
            return None
        self.reading.numbers.append(behind.span())
        return behind.end()

    def _square(self, bracket: _Bracket, place: int) -> None:
        """Square brackets: alternation, a schedule, or less weight."""
        bars = [cut for cut in bracket.cuts if self.line[cut] == "|"]
        if bars:
            self._numbers_before(bracket, place)
            self._choose(bracket.start, bars, place)
        elif bracket.cuts and self._has_words(bracket.start, bracket.cuts[-1]):
            last = bracket.cuts[-1]
            if _SCHEDULE.fullmatch(self.line, last + 1, place):
                self.reading.numbers.append((last, place))
                self._choose(bracket.start, bracket.cuts[:-1], last)

    def _curly(self, bracket: _Bracket, place: int) -> None:
        """Curly brackets: variants, of which one or several are taken, or more weight."""
        bars = [cut for cut in bracket.cuts if self.line[cut] == "|"]
        self._numbers_before(bracket, place)
        start, most = bracket.start, 1
        if picks := _PICKS.match(self.line, start, place):
            _, low, dash, high, joint = picks.groups()
            most = int(high or 0) if dash else int(low or 1)  # 0: any number
            start = picks.end()
            self.reading.numbers.append(picks.span("how_many"))
            if joint:
                self.reading.numbers.append(picks.span("behind_joint"))
        for first in [start, *(bar + 1 for bar in bars)]:
            if share := _SHARE.match(self.line, first, place):
                self.reading.numbers.append(share.span())
        if most == 1:
            self._choose(start, bars, place)
        else:
            self.reading.signs += [(bar, bar + 1) for bar in bars]

    def _numbers_before(self, bracket: _Bracket, place: int) -> None:
        """Weights in front of the end of alternatives: `[snow|ice:1.2]`."""
        for cut, end in pairwise([*bracket.cuts, place]):
            if self.line[end] != ":":
                self._number(bracket, cut, end)

    def _number(self, bracket: _Bracket, cut: int, end: int) -> None:
        """A weight from a colon to the end of what it weighs."""
        weight = self.line[cut] == ":" and _WEIGHT.fullmatch(self.line, cut + 1, end)
        if weight and self._has_words(bracket.start, cut):
            self.reading.numbers.append((cut, end))

    def _choose(self, start: int, cuts: list[int], end: int) -> None:
        if cuts:
            self.reading.choices.append((start, tuple(cuts), end))
            self.reading.signs += [(cut, cut + 1) for cut in cuts]

    def _has_words(self, start: int, end: int) -> bool:
        """Not a ratio or a time of day: (16:9)."""
        if self.syntax != "auto" or end - start > _RATIO_CHARS:
            return True
        return any(c.isalpha() for c in self.line[start:end])

    def _end_of_branch(self, end: int) -> None:
        """The weight in front of AND, or at the end of a line with AND."""
        if self.branch is None:
            return
        window = max(self.branch, end - 24)
        found = _AND_WEIGHT.search(self.line[window:end])
        if found:
            self.reading.numbers.append((window + found.start(), window + found.end(1)))
            if found[1].startswith("-"):
                self.reading.negated.append((self.branch, window + found.start()))

    def _end_of_negative(self, end: int) -> None:
        if self.negative is not None:
            self.reading.negated.append((self.negative, end))
        self.negative = None
