"""The gold set's files: captions, hand-made inflections, labelled prompts; and a word counter.

The counter is an oracle: plain tokens and the inflections written beside the captions, nothing
of the coverage report. `python benchmarks/gold_files.py UNIT...` prints the images of a unit.
"""

import re
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

GOLD = Path(__file__).parent / "gold"
WORD = re.compile(r"[^\W_]+(?:['-]+[^\W_]+)*")

ERRORS = frozenset({"missing", "thin", "unknown-word", "phrase-missing"})
WARNINGS = frozenset(
    "low phrase-thin covered-by-synonym covered-by-narrower covered-by-derivation unseen-pair "
    "rare-pair unseen-binding rare-binding sense-risk uncaptioned typo".split()
)
INFO = frozenset(
    "covered covered-by-variant not-visual function-word meta negated control-token "
    "phrase-covered seen-pair seen-binding".split()
)
NOTHING = "none"  # as a label: it is right, too, not to report this

Inflections = Mapping[str, frozenset[str]]


@dataclass(frozen=True, slots=True)
class Label:
    """One unit of one prompt; any of `verdicts` is right."""

    kind: str  # word, phrase, bind or pair
    unit: str
    verdicts: tuple[str, ...]
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt and its labels; without `pairs_complete` its pairs are not judged."""

    text: str
    labels: tuple[Label, ...]
    pairs_complete: bool = False
    source: str = ""


@dataclass(frozen=True, slots=True)
class Caption:
    """Words that `images` distinct images carry."""

    images: int
    text: str


class GoldError(Exception):
    """A gold file does not read as its README says."""


def read_captions(path: Path = GOLD / "captions.tsv") -> list[Caption]:
    rows = (line.split("\t") for line in path.read_text("utf-8").splitlines())
    return [Caption(int(images), text) for images, text in rows]


def read_inflections(path: Path = GOLD / "inflections.txt") -> dict[str, frozenset[str]]:
    """Lemma -> all its forms, itself included."""
    lines = (line for line in path.read_text("utf-8").splitlines() if not line.startswith("#"))
    pairs = (line.split(":") for line in lines)
    return {lemma: frozenset({lemma, *forms.split()}) for lemma, forms in pairs}


def read_prompts(path: Path) -> list[Prompt]:
    return parse_prompts(path.read_text("utf-8"))


def parse_prompts(text: str) -> list[Prompt]:
    """Blocks of lines: `prompt: ...`, then `  VERDICT | VERDICT: unit, unit -- reason`."""
    prompts: list[Prompt] = []
    for block in re.split(r"\n\s*\n", text):
        lines = [line for line in block.splitlines() if line and not line.startswith("#")]
        if lines:
            prompts.append(_prompt(lines))
    return prompts


def _prompt(lines: Sequence[str]) -> Prompt:
    head, _, text = lines[0].partition(": ")
    if head != "prompt":
        raise GoldError(f"{lines[0]!r}: a block begins with `prompt: `")
    labels: list[Label] = []
    source, complete = "", False
    for line in lines[1:]:
        head, _, value = line.strip().partition(": ")
        if head == "source":
            source = value
        elif head == "pairs":
            complete = value == "all"
        else:
            labels.extend(_labels(head, value))
    return Prompt(text, tuple(labels), complete, source)


def _labels(head: str, value: str) -> list[Label]:
    verdicts = tuple(part.strip() for part in head.split("|"))
    for verdict in verdicts:
        if verdict not in ERRORS | WARNINGS | INFO | {NOTHING}:
            raise GoldError(f"{head}: {value}: no verdict {verdict!r}")
    units, _, reason = value.partition(" -- ")
    cut = "; " if verdicts == ("control-token",) else ", "
    return [Label(_kind(verdicts), unit, verdicts, reason) for unit in units.split(cut)]


def _kind(verdicts: Sequence[str]) -> str:
    named = next(verdict for verdict in verdicts if verdict != NOTHING)
    if named.startswith("phrase-"):
        return "phrase"
    return {"binding": "bind", "pair": "pair"}.get(named.rpartition("-")[2], "word")


def normal(text: str) -> str:
    """Lower case, composed, straight apostrophes: how units of both sides are written."""
    return unicodedata.normalize("NFC", text).casefold().replace("’", "'")


def words(text: str) -> list[str]:
    return [re.sub(r"'s$", "", word) for word in WORD.findall(normal(text))]


class Counter:
    """Images whose caption holds a unit, by its hand-made inflections."""

    def __init__(self, captions: Sequence[Caption], inflections: Inflections) -> None:
        self._captions = [(c.images, words(c.text)) for c in captions]
        self._inflections = inflections

    def count(self, *units: str) -> int:
        """Images with a caption that holds each unit; a phrase side by side."""
        return sum(
            images
            for images, caption in self._captions
            if all(self._holds(caption, unit) for unit in units)
        )

    def _holds(self, caption: Sequence[str], unit: str) -> bool:
        *before, last = normal(unit).split()
        forms = self._inflections.get(last, frozenset({last}))
        if not before:
            return any(word in forms for word in caption)
        # a hyphen in the caption is as good as a blank
        parts = " ".join(caption).replace("-", " ").split()
        size = len(before)
        return any(
            parts[at : at + size] == before and parts[at + size] in forms
            for at in range(len(parts) - size)
        )


def main() -> None:
    counter = Counter(read_captions(), read_inflections())
    for unit in sys.argv[1:]:
        print(f"{unit}\t{counter.count(*unit.split(' + '))}")


if __name__ == "__main__":
    main()
