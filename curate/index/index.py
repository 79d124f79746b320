"""Which images show which words: counts over distinct images.

The captions are counted a part at a time (`build`), each part in files of its own
(`segment`), which are kept (`cache`). Here they are asked together: images are numbered by key
over all parts, and captions of the same key are one image wherever they come from.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING

from curate.corpora import corpus
from curate.corpora.partition import Described, Part
from curate.index import build, document_ids
from curate.index.segment import Segment, in_a_row, quoted
from curate.system.progress import SILENT, Progress
from curate.text import bindings, tokens
from curate.text.lemmas import is_shown_by, lemmas_of, unit_terms
from curate.text.spelling import Vocabulary

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["BOUND", "Evidence", "Index", "of", "open_index"]

BOUND = 5  # images that `bound` looks for; below it, its answer is exact
COMMON = 16  # words in more than one image of so many are common: pairs of them take longest
FEW = 8  # images with both words up to which their captions are read at once
REACH = 8  # words that may stand between an adjective and its noun


@dataclass(frozen=True, slots=True)
class Evidence:
    """A caption that shows a word."""

    key: str  # of the image
    caption: str


class Index:
    """Counts over the images of one origin. Images are numbered by key, from 0."""

    def __init__(self, segments: Iterable[Segment], missing: Sequence[str] = ()) -> None:
        """Join the files of an index.

        Args:
            segments: the files, in any order.
            missing: sentences: what could not be counted at all.
        """
        self._places = document_ids.Numbering(segments)
        self._found: dict[tuple[str, ...], NDArray[np.int32]] = {}
        self._common: dict[str, int] = {}
        self._forms: dict[tuple[Segment, str], list[str]] = {}
        self.images: int = self._places.images
        self.captions: int = self._places.captions()
        left_out: Counter[str] = Counter()
        said = list(missing)
        for segment in self._places.all:
            left_out.update(segment.facts.get("left_out", {}))
            said += [*segment.facts.get("broken", ()), *segment.facts.get("silent", ())]
        self.left_out: dict[str, int] = dict(sorted(left_out.items()))  # reason -> rows
        self.incomplete: tuple[str, ...] = tuple(sorted(said))  # sentences: what is not counted

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """Every form in the captions, with its images."""
        return Vocabulary(self._places.forms())

    def shown(self, unit: str) -> "NDArray[np.int32]":
        """Ascending numbers of the images whose captions show the unit in any inflection.

        Args:
            unit: a lemma or form; hyphenated, it is found with the hyphen or as its parts side
                by side, each in any inflection (*red-haired* also as *red hair*); with blanks, as
                its words side by side in one caption, blank or hyphen between, the last one in any
                inflection; no comma between.
        """
        return self._asked("shown", unit)

    def exact(self, unit: str) -> "NDArray[np.int32]":
        """Those that show it as it is written; a hyphen of the unit must be there."""
        return self._asked("exact", unit)

    def beside(self, unit: str, *, cohesion: float) -> int:
        """How many images show a word, or words side by side.

        Where the words are in too few images together for a cosine of `cohesion` (those with
        both / geometric mean of each one's), captions are not looked at, and the answer is 0.
        """
        words = unit.split()
        if len(words) == 2 and cohesion:
            fewer, more = sorted(len(self.shown(word)) for word in words)
            least = cohesion * (fewer * more) ** 0.5
            if fewer < least or self._both(words[0], words[1]) < least:
                return 0
        return len(self.shown(unit))

    def _shared(self, a: str, b: str) -> "NDArray[np.int32]":
        """Ascending numbers of the images that show both words."""
        fewer, more = sorted((self.shown(a), self.shown(b)), key=len)
        self._marked[more] = True
        found: NDArray[np.int32] = fewer[self._marked[fewer]]
        self._marked[more] = False
        return found

    def _both(self, a: str, b: str) -> int:
        """How many images show both words."""
        fewer, more = sorted((a, b), key=lambda word: len(self.shown(word)))
        if len(self.shown(more)) * COMMON > self.images:
            return (self._bits(fewer) & self._bits(more)).bit_count()
        return len(self._shared(fewer, more))

    def _bits(self, word: str) -> int:
        """A bit for each image, set if it shows the word; kept for common words."""
        import numpy as np

        if word in self._common:
            return self._common[word]
        numbers = self.shown(word)
        self._marked[numbers] = True
        bits = int.from_bytes(np.packbits(self._marked).tobytes(), "little")
        self._marked[numbers] = False
        if len(numbers) * COMMON > self.images:
            self._common[word] = bits
        return bits

    @cached_property
    def _marked(self) -> "NDArray[np.bool_]":
        """False for every image, between two questions."""
        import numpy as np

        return np.zeros(self.images, dtype=bool)

    def bound(self, adjective: str, noun: str) -> "NDArray[np.int32]":
        """Images with a caption that says the adjective of the noun.

        Where few images show both words, all their captions are read. Where many do and the
        adjective stands right before its noun in `BOUND` of them or more, these are the answer.
        Where it does not, captions with both words at most `REACH` words apart are read
        until `BOUND` images are found. So fewer than `BOUND` images are all there are, and more
        are at least as many.
        """
        known = ("bound", adjective, noun)
        if known not in self._found:
            self._found[known] = self._bindings(adjective, noun)
        return self._found[known]

    def expect(self, numbers: "NDArray[np.int32]") -> None:
        """Read the captions of these images at once, since `evidence` will ask for them."""
        self._places.expect(numbers)

    def evidence(
        self, numbers: Sequence[int], units: Sequence[str] = (), limit: int = 6
    ) -> tuple[Evidence, ...]:
        """A caption of each of these images, by key: the one that shows most of the units.

        Args:
            numbers: of images, in any order; the first `limit` of them by key are told of.
            units: what the captions should show.
            limit: how many at most.
        """
        chosen = sorted({int(number) for number in numbers})[:limit]
        return tuple(self._evidence(number, units) for number in chosen)

    def _asked(self, how: str, unit: str) -> "NDArray[np.int32]":
        known = (how, unit)
        if known not in self._found:
            segments = self._places.segments
            asked = tuple(self._question(segment, unit, how) for segment in segments)
            if asked not in self._found:  # a word without inflections is asked for once
                found = self._places.matching(dict(zip(segments, asked, strict=True)))
                found.flags.writeable = False  # it is handed out again
                self._found[asked] = found
            found = self._found[asked]
            self._found[known] = (
                self._as_written(found, unit) if how == "exact" and "-" in unit else found
            )
        return self._found[known]

    def _question(self, segment: Segment, unit: str, how: str) -> str:
        return " OR ".join(map(quoted, self._phrases(segment, unit, how)))

    def _phrases(self, segment: Segment, unit: str, how: str) -> list[tuple[str, ...]]:
        """Every row of words in a segment that shows the unit."""
        choices: list[list[str]] = []
        for term, inflects, of_body in unit_terms(unit):
            any_form = inflects and how == "shown"
            forms = self._inflections(segment, term) if any_form else [term]
            choices.append([*forms, of_body] if any_form and of_body else forms)
        return list(product(*choices)) if choices else []

    def _inflections(self, segment: Segment, form: str) -> list[str]:
        """The forms in a segment that are one word with this one, and the form as it stands."""
        known = (segment, form)
        if known not in self._forms:
            alike = segment.readings(lemmas_of(form))
            found = {form, *(other for other in alike if is_shown_by(form, other))}
            self._forms[known] = sorted(found)
        return self._forms[known]

    def _as_written(self, numbers: "NDArray[np.int32]", unit: str) -> "NDArray[np.int32]":
        """Those of the images in whose captions a hyphenated unit stands with its hyphen."""
        import numpy as np

        wanted = [tokens.normal(word) for word in unit.split()]
        kept = [
            number
            for number in numbers.tolist()
            if any(_contains(tokens.words(c), wanted) for c in self._places.image(number)[1])
        ]
        return np.array(kept, dtype=np.int32)

    def _bindings(self, adjective: str, noun: str) -> "NDArray[np.int32]":
        import numpy as np

        both = self._shared(adjective, noun)
        if len(both) <= FEW:
            said = [n for n in both.tolist() if self._binds(n, adjective, noun)]
            return np.array(said, dtype=np.int32)
        asked = {}
        for segment in self._places.segments:
            pairs = self._pairs(segment, adjective, noun)
            asked[segment] = " OR ".join(quoted(a + b) for a, b in pairs)
        adjacent = self._places.matching(asked)
        if len(adjacent) >= BOUND:
            return adjacent
        for segment in self._places.segments:
            near = (f"NEAR({quoted(a)} {quoted(b)}, {REACH})"
                    for a, b in self._pairs(segment, adjective, noun))  # fmt: skip
            asked[segment] = " OR ".join(near)
        found = set(adjacent.tolist())
        for number in self._places.matching(asked).tolist():
            if len(found) >= BOUND:
                break
            if number not in found and self._binds(number, adjective, noun):
                found.add(number)
        return np.array(sorted(found), dtype=np.int32)

    def _pairs(
        self, segment: Segment, adjective: str, noun: str
    ) -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
        """Every form of the adjective with every form of the noun that a segment knows."""
        known = segment.known
        for a, b in product(
            self._phrases(segment, adjective, "shown"), self._phrases(segment, noun, "shown")
        ):
            if all(map(known, a)) and all(map(known, b)):
                yield a, b

    def _binds(self, number: int, adjective: str, noun: str) -> bool:
        lemmas = lemmas_of(adjective), lemmas_of(noun)
        said = (run for caption in self._places.image(number)[1] for run in _runs(caption))
        return any(
            bindings.binds(words, *lemmas) or bindings.has(words, adjective, lemmas[1])
            for words in said
        )

    def _evidence(self, number: int, units: Sequence[str]) -> Evidence:
        key, captions = self._places.image(number)
        if len(captions) == 1:
            return Evidence(key, captions[0])
        wanted = [[lemmas_of(one.term) for one in unit_terms(unit)] for unit in units]

        def shown(caption: str) -> int:
            runs = tokens.terms_by_clause(caption)
            return sum(any(in_a_row(run, one) for run in runs) for one in wanted)

        return Evidence(key, max(captions, key=shown))


def open_index(origin: corpus.Origin, progress: Progress = SILENT, *, jobs: int = 1) -> Index:
    """The index of an origin: what is kept of it while the data is unchanged, the rest counted.

    Args:
        origin: the data.
        progress: counts captions, and parts where there are several.
        jobs: processes that count parts side by side; the result is the same.

    Raises:
        InputError: the data cannot be read, or holds no caption at all.
    """
    found = Index(build.segments(origin.parts, progress, jobs=jobs), origin.missing)
    if not found.images and origin.kind != "none":
        raise origin.no_captions(found.incomplete[0] if found.incomplete else "")
    return found


def of(rows: Iterable[Described]) -> Index:
    """The index of these images, in memory."""
    return Index(build.in_memory(Part(lambda reading: iter(rows))))


def _runs(caption: str) -> Iterator[list[str]]:
    """The rows of words that may belong together; a comma between adjectives ends none."""
    run: list[str] = []
    for clause in tokens.clauses(caption):
        words = tokens.words(clause)
        if run and words and not bindings.joins(run, words[0]):
            yield run
            run = []
        run += words
    yield run


def _contains(said: Sequence[str], wanted: Sequence[str]) -> bool:
    """Whether the wanted words follow one another."""
    size = len(wanted)
    return any(said[n : n + size] == wanted for n in range(len(said) - size + 1))
