"""Counting the words of captions: the coverage index beside a plain lower-case word counter.

    python benchmarks/bench_coverage.py [--captions 1000000] [--prompts 2000] [--also 5000000]

Captions of ten words are drawn from a made-up vocabulary with Zipf frequencies and written to a
file, as a table with the columns image and caption. Then each of these is done in a process of its
own, which reads that file: counting words, building the index, opening it again, and judging the
first lines as prompts. CPU seconds and the most memory that was resident; on a busy machine the
ratio of the index to the counter is what to compare. `--also` does the same at another size, to
see whether the work grows in proportion. Prints JSON.
"""

import argparse
import json
import multiprocessing
import os
import random
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import accumulate, islice
from pathlib import Path

SYLLABLES = [c + v + e for c in "bdfgklmnprstvz" for v in "aeiou" for e in ("", "n", "r", "st")]
WORDS_A_CAPTION = 10
# words, adjectives and nouns as in DrawBench, a little more than in PartiPrompts
SENTENCE = "a red {} beside the {} with one {} and a small {}"
LIST = "{} {} {} {} {} {} {} {} {} {}"
AT_ONCE = 100_000  # captions made at a time


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--captions", type=int, default=1_000_000)
    options.add_argument("--also", type=int, help="do it again with so many captions")
    options.add_argument("--words", type=int, default=100_000, help="size of the vocabulary")
    options.add_argument("--prompts", type=int, default=2_000)
    given = options.parse_args()
    found = [
        measured(size, given.words, given.prompts) for size in (given.captions, given.also) if size
    ]
    json.dump(found if given.also else found[0], sys.stdout, indent=1)
    print()


def measured(captions: int, words: int, asked: int) -> dict[str, object]:
    """All measurements on so many captions."""
    with tempfile.TemporaryDirectory() as folder:
        file, kept = Path(folder) / "captions.tsv", Path(folder) / "kept"
        write_captions(file, captions, words)
        counter = alone(count_words, file)
        index = alone(build, file, kept)
        size = sum(path.stat().st_size for path in kept.rglob("*.sqlite"))
        again = alone(build, file, kept)
        judging = alone(judge, file, kept, asked)
    return {
        "captions": captions,
        "plain counter": counter,
        "index": {**index, "mb_on_disk": size >> 20},
        "index / counter": round(index["cpu_s"] / counter["cpu_s"], 2),
        "opened again": again,
        "judging": judging,
    }


def write_captions(file: Path, count: int, words: int) -> None:
    """Captions of ten words; the n-th word of the vocabulary is drawn in proportion to 1/n."""
    with file.open("w", encoding="utf-8") as out:
        out.write("image\tcaption\n")
        for number, caption in enumerate(made_captions(count, words)):
            out.write(f"image-{number:08d}\t{caption}\n")


def made_captions(count: int, words: int) -> Iterator[str]:
    chance = random.Random(0)
    vocabulary = sorted(
        {"".join(chance.choices(SYLLABLES, k=chance.choice((2, 3)))) for _ in range(words)}
    )
    chance.shuffle(vocabulary)
    vocabulary[50:80:10] = ["red", "small", "big"]  # as common as adjectives are
    weights = list(accumulate(1 / n for n in range(1, len(vocabulary) + 1)))
    for start in range(0, count, AT_ONCE):
        size = min(AT_ONCE, count - start) * WORDS_A_CAPTION
        drawn = iter(chance.choices(vocabulary, cum_weights=weights, k=size))
        yield from (" ".join(ten) for ten in zip(*[drawn] * WORDS_A_CAPTION, strict=True))


def captions_of(file: Path) -> Iterator[str]:
    with file.open(encoding="utf-8") as lines:
        for line in islice(lines, 1, None):
            yield line.rstrip("\n").partition("\t")[2]


def count_words(file: Path) -> dict[str, object]:
    """The plain counter: captions that hold each lower-case word."""
    found: Counter[str] = Counter()
    for caption in captions_of(file):
        found.update(set(caption.lower().split()))
    return {"words": len(found)}


def build(file: Path, kept: Path) -> dict[str, object]:
    from curate.corpora.corpus import find_corpus
    from curate.index import index

    os.environ["XDG_CACHE_HOME"] = str(kept)
    return {"images": index.open_index(find_corpus(file)).images}


def judge(file: Path, kept: Path, asked: int) -> dict[str, object]:
    """The whole report, its index opened again: of sentences, and of lists of ten nouns each."""
    from curate.commands import gaps

    os.environ["XDG_CACHE_HOME"] = str(kept)
    prompts = kept / "prompts.txt"
    answer: dict[str, object] = {"prompts": asked}
    for name, written in (("sentences", SENTENCE), ("lists of nouns", LIST)):
        lines = (written.format(*line.split()) for line in islice(captions_of(file), asked))
        prompts.write_text("".join(f"{line}\n" for line in lines))
        took, found = timed(lambda: gaps.vocab_gaps(prompts, gaps.GapsSettings([file])))
        kinds = Counter(item.kind for item in found.items)
        answer[name] = {"cpu_s": took, **dict(sorted(kinds.items()))}
    item = next(item for item in found.items if item.verdict == "covered" and item.kind == "word")
    scan = sum(item.unit in caption.split() for caption in captions_of(file))
    assert item.levels.exact == scan, "the index and a scan disagree"
    return answer


def timed(work: Callable[[], object]):
    """CPU seconds and the result of `work`."""
    start = time.process_time()
    result = work()
    return round(time.process_time() - start, 2), result


def alone(work: Callable[..., dict[str, object]], *arguments: object) -> dict[str, object]:
    """What `work` answers in a fresh process, with its CPU seconds, time and peak memory."""
    ours, theirs = multiprocessing.get_context("spawn").Pipe(duplex=False)
    process = multiprocessing.get_context("spawn").Process(
        target=_measured, args=(theirs, work, arguments)
    )
    process.start()
    theirs.close()  # so that a process that dies is an error here, not a wait
    answer = ours.recv()
    process.join()
    return answer


def _measured(pipe, work: Callable[..., dict[str, object]], arguments: tuple[object, ...]) -> None:
    began, start = time.perf_counter(), time.process_time()
    answer = work(*arguments)
    used = {
        "cpu_s": round(time.process_time() - start, 2),
        "s": round(time.perf_counter() - began, 2),
        "resident_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
    }
    pipe.send({**used, **answer})


if __name__ == "__main__":
    main()
