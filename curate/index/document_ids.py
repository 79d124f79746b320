"""Document ids: one number for each image over all files of an index, by its key."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from itertools import chain, pairwise

import numpy as np

from curate.index.segment import Numbers, Segment, distinct_captions
from curate.text import tokens


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
