"""Build the table of senses: `python tools/word_senses.py WORDNET_FOLDER MINILM_FOLDER OUTPUT`.

Reads word_senses.txt beside it. Each of its senses is joined with the noun senses of WordNet that
all-MiniLM-L6-v2 finds closest to its description, and gets weaker clues from their glosses,
synonyms, hypernyms, hyponyms and sisters, and from words that the model finds near this sense and
far from the others. A clue that two senses of a word could claim is left out.
"""

import gzip
import io
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from wordnet_files import Key, WordNet, read_wordnet

from curate.text import tokens
from curate.text.lemmas import is_function_word, unit_of

HEADER = (
    "# word, sense, clues, weaker clues. Built by tools/word_senses.py from word_senses.txt,"
    " WordNet 3.1 (its licence lies beside this file) and all-MiniLM-L6-v2."
)
MIN_ALIGNMENT = 0.30  # least cosine of a description and a WordNet sense, to join them
MIN_NEARNESS, MIN_LEAD = (
    0.36,
    0.12,
)  # least cosine of a word with a sense; its lead over the other senses
LISTED_LIMITS = 0.22, 0.05  # the same for a word that WordNet has near this sense
MAX_CLUES = 40  # weaker clues of a sense
MIN_GLOSSES = 25  # glosses that hold a word, before it counts as a common word
VISIBLE_FILES = frozenset(
    "animal artifact body event food location object person phenomenon plant substance".split()
)
VAGUE_WORDS = frozenset(
    "a large small long short used using having kind type part various usually especially form made"
    " make thing people person someone something one two three many several other around especially"
    " object place way work life time use young old new big good common water man woman white black"
    " red blue green yellow brown gray group end side line top body hold show give take go come get"
    " put keep move stand set run turn back front world city house family name number".split()
)


class Sense(NamedTuple):
    """A sense described by hand."""

    word: str
    meaning: str
    clues: tuple[str, ...]

    @property
    def text(self) -> str:
        """What the model reads."""
        return f"{self.word}: {self.meaning}. {', '.join(self.clues)}"


def read_senses(path: Path) -> dict[str, list[Sense]]:
    """The senses of each word, as written by hand; a clue of two senses stops the build."""
    found: dict[str, list[Sense]] = {}
    word = ""
    for line in path.read_text("utf-8").splitlines():
        if line.startswith("  "):
            meaning, _, clues = line.strip().partition(": ")
            found[word].append(Sense(word, meaning, tuple(dict.fromkeys(clues.split()))))
        elif line and not line.startswith("#"):
            word = line.strip()
            assert word not in found, word
            found[word] = []
    for senses in found.values():
        shared = [c for c, n in Counter(c for s in senses for c in s.clues).items() if n > 1]
        assert len(senses) > 1 and not shared, (senses[0].word, shared)
    return found


class Encoder:
    """Sentences as unit vectors: the mean of the token states of all-MiniLM-L6-v2."""

    def __init__(self, folder: Path) -> None:
        """Load the model from a folder."""
        from transformers import AutoModel, AutoTokenizer

        self._tokenizer = AutoTokenizer.from_pretrained(folder)
        self._model = AutoModel.from_pretrained(folder).eval()

    def __call__(self, texts: Sequence[str], *, batch: int = 128) -> NDArray[np.float32]:
        """One row a text."""
        import torch

        rows = []
        with torch.inference_mode():
            for start in range(0, len(texts), batch):
                read = self._tokenizer(
                    list(texts[start : start + batch]),
                    padding=True,
                    truncation=True,
                    return_tensors="pt",
                )
                states = self._model(**read).last_hidden_state
                mask = read["attention_mask"].unsqueeze(-1)
                rows.append(torch.nn.functional.normalize((states * mask).sum(1), dim=1))
        return torch.cat(rows).numpy()


def align_senses(
    wn: WordNet, senses: Sequence[Sense], encode: Encoder
) -> Iterator[tuple[int, Key, float]]:
    """Yield each noun sense of WordNet that is one of `senses`, with its position there."""
    keys = [s.key for s in wn.senses(senses[0].word, "n")]
    if not keys:
        return
    theirs = encode([f"{', '.join(wn[k].lemmas)}: {wn[k].gloss}" for k in keys])
    alike = theirs @ encode([s.text for s in senses]).T
    for n, key in enumerate(keys):
        best, *rest = np.argsort(-alike[n])
        lead = alike[n, best] - (alike[n, rest[0]] if rest else 0)
        if alike[n, best] >= MIN_ALIGNMENT and lead >= MIN_LEAD / 2:
            yield int(best), key, float(alike[n, best])


def lexical_clues(wn: WordNet, key: Key) -> set[str]:
    """Content words of the gloss, and single-word lemmas of the synsets around."""
    around = [key, *wn[key].to("@", "~", "%p", "#p", ";c")]
    around += [sister for parent in wn[key].to("@") for sister in wn[parent].to("~")]
    words = {lemma.lower() for k in around for lemma in wn[k].lemmas}
    words |= {unit_of(tokens.normalize(s)) for s in tokens.surfaces(wn[key].definition)}
    return {w for w in words if w.isalpha() and len(w) > 2 and not is_function_word(w)}


def common_words(wn: WordNet) -> list[str]:
    """Common words: those that many glosses hold or texts were tagged with."""
    seen: Counter[str] = Counter()
    for synset in wn.synsets.values():
        if synset.file.partition(".")[2] in VISIBLE_FILES:
            words = {tokens.normalize(s) for s in tokens.surfaces(synset.gloss)}
            seen.update({unit_of(w) for w in words})
    return sorted(
        w
        for w, n in seen.items()
        if n >= MIN_GLOSSES and w.isalpha() and len(w) > 2 and wn.senses(w) and w not in VAGUE_WORDS
        if not is_function_word(w)
    )


def sense_table(wn: WordNet, words: dict[str, list[Sense]], encode: Encoder) -> Iterator[str]:
    """Yield the lines: word, meaning, clues, weaker clues, separated by tabs."""
    common = common_words(wn)
    known = frozenset(common)
    places = encode(common)
    for word, senses in sorted(words.items()):
        joined = list(align_senses(wn, senses, encode))
        alike = places @ encode([s.text for s in senses]).T
        weaker = []
        for n in range(len(senses)):
            listed = {w for m, key, _ in joined if m == n for w in lexical_clues(wn, key) & known}
            lead = alike[:, n] - np.delete(alike, n, axis=1).max(axis=1)
            weaker.append(
                {
                    w: float(alike[place, n])
                    for place, w in enumerate(common)
                    for near, clearer in [
                        LISTED_LIMITS if w in listed else (MIN_NEARNESS, MIN_LEAD)
                    ]
                    if alike[place, n] >= near and lead[place] >= clearer
                }
            )
        taken = {c for s in senses for c in s.clues} | {word} | VAGUE_WORDS
        claimed = Counter(w for one in weaker for w in one)
        for sense, one in zip(senses, weaker, strict=True):
            free = {w: x for w, x in one.items() if w not in taken and claimed[w] == 1}
            chosen = sorted(free, key=lambda w: (-free[w], w))[:MAX_CLUES]
            yield "\t".join((word, sense.meaning, " ".join(sense.clues), " ".join(sorted(chosen))))


def write_table(lines: Iterable[str], path: Path) -> None:
    """A gzip file whose bytes depend on the lines alone."""
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", filename="", mtime=0) as file:
        file.write("".join(f"{line}\n" for line in lines).encode())
    path.write_bytes(packed.getvalue())


if __name__ == "__main__":
    folder, model, output = map(Path, sys.argv[1:])
    hand = read_senses(Path(__file__).with_suffix(".txt"))
    write_table((HEADER, *sense_table(read_wordnet(folder), hand, Encoder(model))), output)
