"""Read WordNet's database files: `data.*`, `index.*`, `index.sense` or `cntlist.rev`, `*.exc`.

Formats: the manual pages wndb(5WN), senseidx(5WN), cntlist(5WN) and morphy(7WN) of WordNet 3.0.
Lemmas keep their capitals and have blanks where the files have underscores; look words up in
lower case. WordNet 3.1 was published without the lists of exceptions; those of 3.0 go with it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from curate.errors import InputError

FILE_NAMES = {"n": "noun", "v": "verb", "a": "adj", "r": "adv"}
LEXICOGRAPHER = (
    "adj.all adj.pert adv.all noun.Tops noun.act noun.animal noun.artifact noun.attribute "
    "noun.body noun.cognition noun.communication noun.event noun.feeling noun.food noun.group "
    "noun.location noun.motive noun.object noun.person noun.phenomenon noun.plant "
    "noun.possession noun.process noun.quantity noun.relation noun.shape noun.state "
    "noun.substance noun.time verb.body verb.change verb.cognition verb.communication "
    "verb.competition verb.consumption verb.contact verb.creation verb.emotion verb.motion "
    "verb.perception verb.possession verb.social verb.stative verb.weather adj.ppl"
).split()  # lexnames(5WN), by number
Key = tuple[str, int]  # part of speech (n, v, a, r) and offset


class Pointer(NamedTuple):
    """A relation of a synset: `symbol` as in wninput(5WN), `@` hypernym, `~` hyponym, ...

    `source` and `target` count the words of either synset from 1; 0 means the whole synset.
    """

    symbol: str
    to: Key
    source: int
    target: int


@dataclass(frozen=True, slots=True)
class Synset:
    """One meaning: the words that have it, its gloss and its relations."""

    key: Key
    file: str  # lexicographer file, such as noun.animal
    lemmas: tuple[str, ...]
    gloss: str  # definition and examples, as written
    pointers: tuple[Pointer, ...]

    @property
    def definition(self) -> str:
        """The gloss without its examples."""
        return self.gloss.split('; "')[0].strip()

    def to(self, *symbols: str) -> list[Key]:
        """The synsets that the pointers of these symbols lead to, in order."""
        return [p.to for p in self.pointers if p.symbol in symbols]


class Sense(NamedTuple):
    """A word in one of its meanings."""

    key: Key
    tagged: int  # how often it was chosen when the SemCor texts were tagged


@dataclass(frozen=True, slots=True)
class WordNet:
    """All synsets, and for each word in lower case its senses."""

    synsets: dict[Key, Synset]
    index: dict[str, dict[str, tuple[Sense, ...]]] = field(repr=False)

    def senses(self, word: str, pos: str = "") -> tuple[Sense, ...]:
        """Senses of a word, the commonest first within a part of speech; () if unknown."""
        parts = self.index.get(word.lower(), {})
        if pos:
            return parts.get(pos, ())
        return tuple(s for p in FILE_NAMES for s in parts.get(p, ()))

    def __getitem__(self, key: Key) -> Synset:
        """The synset at a key."""
        return self.synsets[key]


def read_wordnet(folder: Path) -> WordNet:
    """Read the database in `folder`.

    Raises:
        InputError: a file is absent or not of this format.
    """
    synsets: dict[Key, Synset] = {}
    for pos, name in FILE_NAMES.items():
        for line in _read_lines(folder / f"data.{name}"):
            try:
                synset = _parse_synset(line, pos)
            except (ValueError, IndexError):
                raise _unreadable_line(folder / f"data.{name}", line) from None
            synsets[synset.key] = synset
    return WordNet(synsets, _read_index(folder))


def read_exceptions(folder: Path) -> dict[str, dict[str, tuple[str, ...]]]:
    """Irregular forms by part of speech: `{"n": {"geese": ("goose",), ...}, ...}`."""
    found: dict[str, dict[str, tuple[str, ...]]] = {}
    for pos, name in FILE_NAMES.items():
        forms: dict[str, tuple[str, ...]] = {}
        for line in _read_lines(folder / f"{name}.exc"):
            form, *lemmas = (w.replace("_", " ") for w in line.split())
            forms[form] = tuple(dict.fromkeys((*forms.get(form, ()), *lemmas)))
        found[pos] = forms
    return found


def _parse_synset(line: str, pos: str) -> Synset:
    facts, _, gloss = line.partition("|")
    fields = facts.split()
    words = int(fields[3], 16)
    lemmas = tuple(_parse_lemma(w) for w in fields[4 : 4 + 2 * words : 2])
    rest = fields[4 + 2 * words :]
    pointers = tuple(_parse_pointer(rest[1 + 4 * n : 5 + 4 * n]) for n in range(int(rest[0])))
    file = LEXICOGRAPHER[int(fields[1])]
    return Synset((pos, int(fields[0])), file, lemmas, gloss.strip(), pointers)


def _parse_lemma(word: str) -> str:
    """Without the marker that tells where an adjective may stand: `galore(ip)`."""
    for marker in ("(a)", "(p)", "(ip)"):
        word = word.removesuffix(marker)
    return word.replace("_", " ")


def _parse_pointer(fields: list[str]) -> Pointer:
    symbol, offset, pos, ends = fields
    key = ("a" if pos == "s" else pos, int(offset))
    return Pointer(symbol, key, int(ends[:2], 16), int(ends[2:], 16))


def _read_index(folder: Path) -> dict[str, dict[str, tuple[Sense, ...]]]:
    counts = _tag_counts(folder)
    found: dict[str, dict[str, tuple[Sense, ...]]] = {}
    for pos, name in FILE_NAMES.items():
        for line in _read_lines(folder / f"index.{name}"):
            fields = line.split()
            try:
                offsets = [int(n) for n in fields[-int(fields[2]) :]]
            except (ValueError, IndexError):
                raise _unreadable_line(folder / f"index.{name}", line) from None
            senses = (
                Sense((pos, offset), counts.get((fields[0], pos, number), 0))
                for number, offset in enumerate(offsets, start=1)
            )
            found.setdefault(fields[0].replace("_", " "), {})[pos] = tuple(senses)
    return found


def _tag_counts(folder: Path) -> dict[tuple[str, str, int], int]:
    """Tag counts by word, part of speech and number of the sense; those of 0 are left out.

    `index.sense` has lines "key offset number count", `cntlist.rev` "key number count".
    """
    path = folder / "index.sense"
    if not path.exists():
        path = folder / "cntlist.rev"
    counts = {}
    for line in _read_lines(path):
        try:
            key, *_, number, count = line.split()
            word, _, kind = key.partition("%")
            if count != "0":
                counts[word, "nvara"[int(kind[0]) - 1], int(number)] = int(count)
        except (ValueError, IndexError):
            raise _unreadable_line(path, line) from None
    return counts


def _read_lines(path: Path) -> Iterator[str]:
    """Lines of a file, without the licence that some begin with (its lines begin with a blank)."""
    try:
        with path.open(encoding="utf-8") as file:
            yield from (line for line in file if line.strip() and not line.startswith(" "))
    except FileNotFoundError:
        raise InputError(
            str(path), "no such file", fix="name a folder that holds WordNet's database files"
        ) from None


def _unreadable_line(path: Path, line: str) -> InputError:
    return InputError(
        str(path),
        f"not a line of WordNet's format: {line[:60]!r}",
        fix="name a folder that holds WordNet's database files",
    )
