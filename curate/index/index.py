"""Which images show which words: counts over distinct images.

The captions are counted a part at a time (`build`), each part in files of its own
(`segment`), which are kept (`cache`). Here they are asked together: images are numbered by key
over all partitions, and captions of the same key are one image wherever they come from.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, pairwise, product

import numpy as np
from numpy.typing import NDArray

from curate.corpora.corpus import Corpus
from curate.corpora.notes import NO_CAPTION, NOTE_FIELDS, ReadNotes, left_out_sentences
from curate.index import build
from curate.index.segment import Numbers, Segment, contains_lemmas, distinct_captions, quote_phrase
from curate.system.progress import SILENT, Progress
from curate.text import bindings, tokens
from curate.text.lemmas import is_shown_by, lemmas_of, unit_terms
from curate.text.spelling import Vocabulary

BOUND = 5  # images that `bound_images` looks for; below it, its answer is exact
COMMON_ONE_IN = 16  # words in more than one image of so many are common: pairs of them take longest
FEW_IMAGES = 8  # images with both words up to which their captions are read at once
MAX_BINDING_GAP = 8  # words that may stand between an adjective and its noun


@dataclass(frozen=True, slots=True)
class Evidence:
    """A caption that shows a word."""

    key: str  # of the image
    caption: str


class DocumentIds:
    """Which number, from 0, each image of each segment has; equal keys have the same."""

    def __init__(self, segments: Iterable[Segment]) -> None:
        """Compare keys only where the segments' first and last ones show that it is needed."""
        self.all_segments = list(segments)
        self.segments = sorted(
            (s for s in self.all_segments if s.images), key=Segment.first_and_last_key
        )
        ends = [segment.first_and_last_key() for segment in self.segments]
        self._are_disjoint = all(before[1] < after[0] for before, after in pairwise(ends))
        sizes = [segment.images for segment in self.segments]
        numbers = np.arange(sum(sizes), dtype=np.int32)
        if not self._are_disjoint:
            numbers = self._number_by_key()
        parts = np.split(numbers, np.cumsum(sizes)[:-1])
        self._ids: dict[Segment, Numbers] = dict(zip(self.segments, parts, strict=False))
        self.images = 1 + max((int(found[-1]) for found in self._ids.values()), default=-1)
        self._prefetched: dict[int, list[tuple[str, str]]] = {}  # key and captions of each copy
        self._shared = sum(sizes) - self.images

    def _number_by_key(self) -> Numbers:
        keys = list(chain.from_iterable(map(Segment.keys, self.segments)))
        order = sorted(range(len(keys)), key=keys.__getitem__)  # quick: rows of sorted keys
        new = [keys[a] != keys[b] for a, b in pairwise(order)]
        numbers = np.zeros(len(keys), dtype=np.int32)
        numbers[order[1:]] = np.cumsum(new, dtype=np.int32)
        return numbers

    def match(self, asked: Mapping[Segment, str]) -> Numbers:
        """Ascending numbers of the images that the question to their segment finds."""
        found = [self._ids[s][s.match(question)] for s, question in asked.items() if question]
        if len(found) == 1:
            return found[0]
        joined = np.concatenate([np.zeros(0, dtype=np.int32), *found])
        return joined if self._are_disjoint else np.unique(joined)

    def prefetch(self, sets: Iterable[Numbers]) -> None:
        """Read these images at once; `image` then answers for them from memory."""
        numbers = np.concatenate([np.empty(0, dtype=np.int32), *sets])
        self._prefetched = {}
        for segment, own in self._ids.items():
            places = np.flatnonzero(np.isin(own, numbers)).tolist()
            for place, key, captions in segment.read_images(places):
                self._prefetched.setdefault(int(own[place]), []).append((key, captions))

    def image(self, number: int) -> tuple[str, list[str]]:
        """The key of an image and its captions, each once, wherever they come from."""
        copies = self._prefetched.get(number)
        if copies is None:
            copies = [segment.image(local) for segment, local in self._copies(number)]
        if len(copies) == 1:
            return copies[0][0], copies[0][1].split("\n")
        return copies[0][0], distinct_captions(captions for _, captions in copies)

    def _copies(self, number: int) -> Iterator[tuple[Segment, int]]:
        """Where an image stands: in one segment, or in several where its key came again."""
        wanted = np.int32(number)  # another type would have every number converted
        for segment, numbers in self._ids.items():
            local = int(numbers.searchsorted(wanted))
            if local < len(numbers) and numbers[local] == number:
                yield segment, local

    @cached_property
    def _repeated_captions(self) -> dict[int, list[str]]:
        """Captions of the images that stand in several segments, by number, for each segment."""
        found: dict[int, list[str]] = defaultdict(list)
        if self._shared:
            times = np.bincount(np.concatenate(list(self._ids.values())))
            for segment, numbers in self._ids.items():
                local = np.flatnonzero(times[numbers] > 1).tolist()
                for place, _, captions in segment.read_images(local):
                    found[int(numbers[place])].append(captions)
        return found

    def captions(self) -> int:
        """How many captions there are; an image's equal ones count once."""
        total = sum(segment.captions for segment in self.segments)
        for said in self._repeated_captions.values():
            total += len(distinct_captions(said)) - sum(1 + text.count("\n") for text in said)
        return total

    def forms(self) -> dict[str, int]:
        """Every form in the captions, with its images."""
        images: Counter[str] = Counter()
        for segment in self.segments:
            images.update(segment.forms())
        for said in self._repeated_captions.values():
            each = [{t for run in tokens.terms_by_clause(text) for t in run} for text in said]
            for forms in each:
                images.subtract(forms)
            images.update(set[str]().union(*each))
        return dict(images)


class CaptionIndex:
    """Counts over the images of one corpus. Images are numbered by key, from 0."""

    def __init__(self, segments: Iterable[Segment], missing: Sequence[str] = ()) -> None:
        """Join the files of an index.

        Args:
            segments: the files, in any order.
            missing: sentences: what could not be counted at all.
        """
        self._ids = DocumentIds(segments)
        self._images_of: dict[tuple[str, ...], Numbers] = {}
        self._common_bits: dict[str, int] = {}
        self._forms: dict[tuple[Segment, str], list[str]] = {}
        self.images: int = self._ids.images
        self.captions: int = self._ids.captions()
        notes, said = ReadNotes(), list(missing)
        for segment in self._ids.all_segments:
            told = ReadNotes(
                **{name: segment.facts.get(name, kind()) for name, kind in NOTE_FIELDS.items()}
            )
            notes.add(told)
            said += [*told.broken, *told.silent]
        self.left_out: dict[str, int] = dict(sorted(notes.left_out.items()))  # reason -> how many
        self.named: dict[str, list[str]] = notes.named  # reason -> names of some of them
        self.remarks: tuple[str, ...] = tuple(notes.use_sentences())  # what is used, and how
        self.incomplete: tuple[str, ...] = tuple(sorted(said))  # sentences: what is not counted

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """Every form in the captions, with its images."""
        return Vocabulary(self._ids.forms())

    def images_with(self, unit: str) -> Numbers:
        """Ascending numbers of the images whose captions show the unit in any inflection.

        Args:
            unit: a lemma or form; hyphenated, it is found with the hyphen or as its parts side
                by side, each in any inflection (*red-haired* also as *red hair*); with blanks, as
                its words side by side in one caption, blank or hyphen between, the last one in any
                inflection; no comma between.
        """
        return self._cached_images("shown", unit)

    def images_with_form(self, unit: str) -> Numbers:
        """Those that show it as it is written; a hyphen of the unit must be there."""
        return self._cached_images("exact", unit)

    def cooccurrence(self, unit: str, *, cohesion: float) -> int:
        """How many images show a word, or words side by side.

        Where the words are in too few images together for a cosine of `cohesion` (those with
        both / geometric mean of each one's), captions are not looked at, and the answer is 0.
        """
        words = unit.split()
        if len(words) == 2 and cohesion:
            fewer, more = sorted(len(self.images_with(word)) for word in words)
            least = cohesion * (fewer * more) ** 0.5
            if fewer < least or self._count_both(words[0], words[1]) < least:
                return 0
        return len(self.images_with(unit))

    def _images_with_both(self, a: str, b: str) -> Numbers:
        fewer, more = sorted((a, b), key=lambda word: len(self.images_with(word)))
        found = self.images_with(fewer)
        return found[self._is_shown(more)[found]]

    def _count_both(self, a: str, b: str) -> int:
        if max(len(self.images_with(word)) for word in (a, b)) * COMMON_ONE_IN > self.images:
            return (self._bits(a) & self._bits(b)).bit_count()
        return len(self._images_with_both(a, b))

    def _bits(self, word: str) -> int:
        """A bit for each image, set if it shows the word; kept for common words."""
        if word in self._common_bits:
            return self._common_bits[word]
        bits = int.from_bytes(np.packbits(self._is_shown(word)).tobytes(), "little")
        if len(self.images_with(word)) * COMMON_ONE_IN > self.images:
            self._common_bits[word] = bits
        return bits

    def _is_shown(self, word: str) -> NDArray[np.bool_]:
        shown = np.zeros(self.images, dtype=bool)
        shown[self.images_with(word)] = True
        return shown

    def bound_images(self, adjective: str, noun: str) -> Numbers:
        """Images with a caption that says the adjective of the noun.

        Where few images show both words, all their captions are read. Where many do and the
        adjective stands right before its noun in `BOUND` of them or more, these are the answer.
        Where it does not, captions with both words at most `MAX_BINDING_GAP` words apart are read
        until `BOUND` images are found. So fewer than `BOUND` images are all there are, and more
        are at least as many.
        """
        known = ("bound", adjective, noun)
        if known not in self._images_of:
            self._images_of[known] = self._find_bound(adjective, noun)
        return self._images_of[known]

    def prefetch(self, sets: Iterable[Numbers]) -> None:
        """Read the captions of all these images at once, since `evidence` will ask for them."""
        self._ids.prefetch(sets)

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

    def _cached_images(self, how: str, unit: str) -> Numbers:
        known = (how, unit)
        if known not in self._images_of:
            segments = self._ids.segments
            asked = tuple(
                " OR ".join(map(quote_phrase, self._word_sequences(segment, unit, how)))
                for segment in segments
            )
            if asked not in self._images_of:  # a word without inflections is asked for once
                found = self._ids.match(dict(zip(segments, asked, strict=True)))
                found.flags.writeable = False  # it is handed out again
                self._images_of[asked] = found
            found = self._images_of[asked]
            self._images_of[known] = (
                self._as_written(found, unit) if how == "exact" and "-" in unit else found
            )
        return self._images_of[known]

    def _word_sequences(self, segment: Segment, unit: str, how: str) -> list[tuple[str, ...]]:
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
            alike = segment.forms_with_lemmas(lemmas_of(form))
            found = {form, *(other for other in alike if is_shown_by(form, other))}
            self._forms[known] = sorted(found)
        return self._forms[known]

    def _as_written(self, numbers: Numbers, unit: str) -> Numbers:
        """Those of the images in whose captions a hyphenated unit stands with its hyphen."""
        wanted = f" {' '.join(map(tokens.normalize, unit.split()))} "
        kept = [
            number
            for number in numbers.tolist()
            if any(
                wanted in f" {' '.join(tokens.words(caption))} "
                for caption in self._ids.image(number)[1]
            )
        ]
        return np.array(kept, dtype=np.int32)

    def _find_bound(self, adjective: str, noun: str) -> Numbers:
        both = self._images_with_both(adjective, noun)
        if len(both) <= FEW_IMAGES:
            said = [n for n in both.tolist() if self._binds(n, adjective, noun)]
            return np.array(said, dtype=np.int32)
        pairs = {s: self._form_pairs(s, adjective, noun) for s in self._ids.segments}
        side_by_side = {s: " OR ".join(quote_phrase(a + b) for a, b in pairs[s]) for s in pairs}
        adjacent = self._ids.match(side_by_side)
        if len(adjacent) >= BOUND:
            return adjacent
        near = {
            s: " OR ".join(
                f"NEAR({quote_phrase(a)} {quote_phrase(b)}, {MAX_BINDING_GAP})" for a, b in pairs[s]
            )
            for s in pairs
        }
        found = set(adjacent.tolist())
        for number in self._ids.match(near).tolist():
            if len(found) >= BOUND:
                break
            if number not in found and self._binds(number, adjective, noun):
                found.add(number)
        return np.array(sorted(found), dtype=np.int32)

    def _form_pairs(
        self, segment: Segment, adjective: str, noun: str
    ) -> list[tuple[tuple[str, ...], ...]]:
        """Every form of the adjective with every form of the noun that a segment knows."""
        known = (
            [
                words
                for words in self._word_sequences(segment, unit, "shown")
                if all(map(segment.has_form, words))
            ]
            for unit in (adjective, noun)
        )
        return list(product(*known))

    def _binds(self, number: int, adjective: str, noun: str) -> bool:
        lemmas = lemmas_of(adjective), lemmas_of(noun)
        said = (run for caption in self._ids.image(number)[1] for run in _word_runs(caption))
        return any(
            bindings.binds(words, *lemmas) or bindings.has_body_part(words, adjective, lemmas[1])
            for words in said
        )

    def _evidence(self, number: int, units: Sequence[str]) -> Evidence:
        key, captions = self._ids.image(number)
        if len(captions) == 1:
            return Evidence(key, captions[0])
        wanted = [[lemmas_of(one.term) for one in unit_terms(unit)] for unit in units]

        def shown(caption: str) -> int:
            runs = tokens.terms_by_clause(caption)
            return sum(any(contains_lemmas(run, one) for run in runs) for one in wanted)

        return Evidence(key, max(captions, key=shown))


def open_index(corpus: Corpus, progress: Progress = SILENT, *, jobs: int = 1) -> CaptionIndex:
    """The index of a corpus: what is kept of it while the data is unchanged, the rest counted.

    Args:
        corpus: the data.
        progress: counts captions, and parts where there are several.
        jobs: processes that count parts side by side; the result is the same.

    Raises:
        InputError: the data cannot be read, or holds no caption at all.
    """
    found = CaptionIndex(
        build.open_segments(corpus.partitions, progress, jobs=jobs), corpus.missing
    )
    if not found.images and corpus.kind != "none":
        told = left_out_sentences(found.left_out, found.named, 1)
        reasons = [one for one in told if not one.startswith(NO_CAPTION)]
        why = next(iter([*reasons, *found.incomplete]), "")
        raise corpus.no_captions_error(found.left_out, why, found.remarks)
    return found


def _word_runs(caption: str) -> Iterator[list[str]]:
    """The rows of words that may belong together; a comma between adjectives ends none."""
    run: list[str] = []
    for clause in tokens.clauses(caption):
        words = tokens.words(clause)
        if run and words and not bindings.is_adjective_comma(run, words[0]):
            yield run
            run = []
        run += words
    yield run
