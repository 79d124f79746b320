"""Counting the words of captions: the coverage index beside a plain lower-case word counter.

    python benchmarks/bench_coverage.py [--captions 1000000] [--prompts 2000]

Captions are drawn from a made-up vocabulary with Zipf frequencies, ten words each, and made
before any clock starts. CPU seconds of this process; the ratio is what to compare.
"""

import argparse
import json
import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path

from curate.coverage import index, prompts, verdicts
from curate.coverage.records import Described, Origin

SYLLABLES = [c + v + e for c in "bdfgklmnprstvz" for v in "aeiou" for e in ("", "n", "r", "st")]
WORDS_A_CAPTION = 10


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--captions", type=int, default=1_000_000)
    options.add_argument("--words", type=int, default=100_000, help="size of the vocabulary")
    options.add_argument("--prompts", type=int, default=2_000)
    given = options.parse_args()
    captions = made_captions(given.captions, given.words)
    asked = [prompts.parse(line, n) for n, line in enumerate(captions[: given.prompts], 1)]
    start = memory()
    plain, counter = timed(lambda: count_words(captions))
    plain_memory = memory() - start
    start = memory()
    building, counted = timed(lambda: index.Index(index.build(origin(captions))))
    index_memory = memory() - start
    judging, items = timed(lambda: verdicts.judge(asked, counted, verdicts.targets(), pairs="off"))
    pairing, both = timed(lambda: verdicts.judge(asked, counted, verdicts.targets()))

    word = next(item for item in items if item.verdict == "covered")
    assert word.exact == sum(word.unit in c.lower().split() for c in captions)
    print(
        json.dumps(
            {
                "captions": len(captions),
                "distinct words": len(counter),
                "plain counter": {"cpu_s": round(plain, 2), "resident_mb": plain_memory},
                "index": {"cpu_s": round(building, 2), "resident_mb": index_memory},
                "index / counter": round(building / plain, 2),
                "captions indexed a CPU second": round(len(captions) / building),
                "judging prompts": {
                    "prompts": len(asked),
                    "words": len(items),
                    "cpu_s": round(judging, 2),
                    "pairs": len(both) - len(items),
                    "cpu_s with pairs": round(pairing, 2),
                },
            },
            indent=1,
        )
    )


def made_captions(count: int, words: int) -> list[str]:
    """Captions of ten words; the n-th word of the vocabulary is drawn in proportion to 1/n."""
    chance = random.Random(0)
    vocabulary = list(
        {"".join(chance.choices(SYLLABLES, k=chance.choice((2, 3)))) for _ in range(words)}
    )
    vocabulary.sort()
    chance.shuffle(vocabulary)
    weights = list(accumulate(1 / n for n in range(1, len(vocabulary) + 1)))
    drawn = iter(chance.choices(vocabulary, cum_weights=weights, k=count * WORDS_A_CAPTION))
    return [" ".join(ten) for ten in zip(*[drawn] * WORDS_A_CAPTION, strict=True)]


def count_words(captions: list[str]) -> Counter[str]:
    """The plain counter: captions that hold each lower-case word."""
    found: Counter[str] = Counter()
    for caption in captions:
        found.update(set(caption.lower().split()))
    return found


def origin(captions: list[str]) -> Origin:
    """The captions as data, one image each."""

    def read(left_out: Counter[str]) -> Iterator[Described]:
        for number, caption in enumerate(captions):
            yield f"image-{number:08d}", [caption]

    return Origin(Path("generated"), "captions", read)


def timed(work):
    """CPU seconds and the result of `work`."""
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


def memory() -> int:
    """Resident memory of this process in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 2**20


if __name__ == "__main__":
    main()
