"""Which images show which words: counts over distinct images, kept in SQLite.

An image is one row of an FTS5 table whose "words" are the numbers of the word forms in any of
its captions, so that words are cut by `lexicon` alone and counts equal a scan of the captions.
"""

import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from curate.coverage import lexicon, records
from curate.coverage.nearest import Vocabulary
from curate.errors import InputError
from curate.files import write_bytes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Row = TypeVar("Row")
RULES = 1  # part of a cached index's name: raise it when words are cut or matched differently
_TABLES = """
CREATE TABLE image (number INTEGER PRIMARY KEY, key TEXT NOT NULL, captions TEXT NOT NULL);
CREATE TABLE form (number INTEGER PRIMARY KEY, form TEXT UNIQUE NOT NULL, images INTEGER NOT NULL);
CREATE TABLE reading (lemma TEXT, form INTEGER, PRIMARY KEY (lemma, form)) WITHOUT ROWID;
CREATE TABLE fact (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE VIRTUAL TABLE posting USING fts5
    (forms, content='', detail=none, columnsize=0, tokenize='ascii');
INSERT INTO posting (posting, rank) VALUES ('hashsize', 33554432); -- bytes held before a merge
CREATE TEMP TABLE given (key TEXT PRIMARY KEY, captions TEXT NOT NULL) WITHOUT ROWID;
"""


class Tracked(Protocol):
    """Passes items on, and shows how far they are."""

    def __call__(self, items: Iterable[Row], total: int | None, label: str) -> Iterator[Row]:
        """The items; `total` is None while unknown."""
        ...


def untracked(items: Iterable[Row], total: int | None, label: str) -> Iterator[Row]:
    """Pass the items on and show nothing."""
    return iter(items)


@dataclass(frozen=True, slots=True)
class Evidence:
    """A caption that shows a word."""

    key: str  # of the image
    caption: str


@dataclass(frozen=True)
class Matches:
    """The images that show a unit."""

    exact: frozenset[int]  # numbers of the forms that are the unit itself
    forms: frozenset[int]  # and of all its inflections
    images: tuple[int, ...] | None = None  # where forms do not suffice: the images themselves


class Index:
    """Counts over the images of one origin."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Read the facts that `build` wrote."""
        self._sql = connection
        self._known: dict[str, Matches] = {}
        self._shown: dict[str, NDArray[np.int32]] = {}
        facts = dict(connection.execute("SELECT name, value FROM fact"))
        self.images: int = json.loads(facts["images"])
        self.captions: int = json.loads(facts["captions"])
        self.left_out: dict[str, int] = json.loads(facts["left_out"])  # reason -> rows

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """Every form in the captions, with its images."""
        return Vocabulary(dict(self._sql.execute("SELECT form, images FROM form ORDER BY form")))

    def counts(self, unit: str) -> tuple[int, int]:
        """Images that show the unit itself, and images that show it only inflected."""
        found = self._matches(unit)
        exact = self._count(_any(found.exact))
        if found.images is not None:
            return exact, len(found.images) - exact
        return exact, self._count(_any(found.forms)) - exact

    def together(
        self, pairs: Iterable[tuple[str, str]], *, below: int = 6
    ) -> Iterator[tuple[str, str, int, list[Evidence]]]:
        """Yield each pair of units with the number of images that show both.

        Where there are fewer than `below`, their captions follow.
        """
        import numpy as np

        partners: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for a, b in pairs:
            commoner = max(a, b, key=lambda unit: len(self._images(unit)))
            partners[commoner].append((a, b))
        shown = np.zeros(self.images + 1, dtype=bool)  # by number of the image
        for commoner, found in partners.items():
            shown[self._images(commoner)] = True
            for a, b in found:
                rarer = self._images(b if a == commoner else a)
                both = rarer[shown[rarer]].tolist()
                few = both if len(both) < below else []
                yield a, b, len(both), self._shown_by(few, (a, b))
            shown[self._images(commoner)] = False

    def evidence(self, unit: str, limit: int = 6) -> list[Evidence]:
        """Captions of up to `limit` images that show the unit; exact ones first, then by key."""
        found = self._matches(unit)
        chosen = self._numbers(_any(found.exact), limit)
        if found.images is not None:
            chosen += found.images
        elif len(chosen) < limit:
            chosen += self._numbers(_any(found.forms), 2 * limit)
        return self._shown_by(list(dict.fromkeys(chosen))[:limit], (unit,))

    def _shown_by(self, numbers: Iterable[int], units: Iterable[str]) -> list[Evidence]:
        wanted = [lexicon.lemmas(part) for unit in units for part in lexicon.parts(unit)]
        return [self._caption(number, wanted) for number in numbers]

    def _matches(self, unit: str) -> Matches:
        if unit not in self._known:
            forms = self._forms(unit)
            images = self._side_by_side(unit, forms) if "-" in unit else None
            self._known[unit] = Matches(self._form(unit), forms, images)
        return self._known[unit]

    def _form(self, form: str) -> frozenset[int]:
        found = self._sql.execute("SELECT number FROM form WHERE form = ?", (form,))
        return frozenset(number for (number,) in found)

    def _forms(self, unit: str) -> frozenset[int]:
        """Forms that share a lemma with the unit, and the unit as it stands."""
        question = "SELECT form FROM reading WHERE lemma = ?"
        rows = chain.from_iterable(self._sql.execute(question, (x,)) for x in lexicon.lemmas(unit))
        return self._form(unit) | {number for (number,) in rows}

    def _side_by_side(self, unit: str, whole: frozenset[int]) -> tuple[int, ...]:
        """Images that show a hyphenated unit, or its parts one after the other."""
        parts = [self._forms(part) for part in lexicon.parts(unit)]
        wanted = [lexicon.lemmas(part) for part in lexicon.parts(unit)]
        found = set(self._numbers(_any(whole)))
        for number in self._numbers(_all(parts)):
            if number not in found and any(
                _in_a_row(caption, wanted) for caption in self._captions(number)
            ):
                found.add(number)
        return tuple(sorted(found))

    def _images(self, unit: str) -> "NDArray[np.int32]":
        """Numbers of the images that show a unit, ascending; kept, since pairs share units."""
        import numpy as np

        if unit not in self._shown:
            found = self._matches(unit)
            numbers = self._numbers(_any(found.forms)) if found.images is None else found.images
            self._shown[unit] = np.fromiter(numbers, dtype=np.int32)
        return self._shown[unit]

    def _count(self, question: str) -> int:
        if not question:
            return 0
        sql = "SELECT count(*) FROM posting WHERE posting MATCH ?"
        return int(self._sql.execute(sql, (question,)).fetchone()[0])

    def _numbers(self, question: str, limit: int = -1) -> list[int]:
        """Numbers of the images that match, ascending: in the order of their keys."""
        if not question:
            return []
        sql = "SELECT rowid FROM posting WHERE posting MATCH ? ORDER BY rowid LIMIT ?"
        return [number for (number,) in self._sql.execute(sql, (question, limit))]

    def _captions(self, number: int) -> list[str]:
        sql = "SELECT captions FROM image WHERE number = ?"
        return _distinct(self._sql.execute(sql, (number,)).fetchone()[0])

    def _caption(self, number: int, wanted: Sequence[frozenset[str]]) -> Evidence:
        """The caption of an image that shows most of what is wanted."""
        sql = "SELECT key FROM image WHERE number = ?"
        key = self._sql.execute(sql, (number,)).fetchone()[0]

        def shown(caption: str) -> int:
            seen = [lexicon.lemmas(f) for s in lexicon.surfaces(caption) for f in lexicon.forms(s)]
            return sum(any(lemmas & one for one in seen) for lemmas in wanted)

        captions = self._captions(number)
        return Evidence(key, max(captions, key=shown) if len(captions) > 1 else captions[0])


def open_index(origin: records.Origin, tracked: Tracked = untracked) -> Index:
    """The index of an origin: the one kept in its cache folder while the data is unchanged.

    Raises:
        InputError: the data cannot be read.
    """
    if origin.cache is None:
        return Index(build(origin, tracked))
    name = f"words-{RULES}-{version('simplemma')}-{records.fingerprint(origin)[:20]}.sqlite"
    path = origin.cache / name
    kept = _reopen(path)
    if kept is None:
        kept = build(origin, tracked)
        _keep(path, kept)
    return Index(kept)


def build(origin: records.Origin, tracked: Tracked = untracked) -> sqlite3.Connection:
    """Count the words of every image, in memory; captions of the same key are one image.

    Raises:
        InputError: the data cannot be read, or holds no caption at all.
    """
    sql = sqlite3.connect(":memory:")
    sql.executescript(_TABLES)
    left_out: Counter[str] = Counter()
    given = ((_clean(key), "\n".join(map(_clean, said))) for key, said in origin.read(left_out))
    with sql:
        sql.executemany(
            "INSERT INTO given VALUES (?, ?) ON CONFLICT (key)"
            " DO UPDATE SET captions = captions || char(10) || excluded.captions",
            tracked(given, None, "captions"),
        )
        sql.execute(
            "INSERT INTO image (key, captions) SELECT key, captions FROM given ORDER BY key"
        )
        sql.execute("DROP TABLE given")
        images, captions = _count_words(sql, tracked)
        if not captions and origin.kind != "none":
            problem = "no caption to count words in"
            raise InputError(origin.path, problem, fix=f"curate caption --data {origin.path}")
        facts = {"images": images, "captions": captions, "left_out": dict(sorted(left_out.items()))}
        rows = ((name, json.dumps(value)) for name, value in facts.items())
        sql.executemany("INSERT INTO fact VALUES (?, ?)", rows)
    return sql


def _count_words(sql: sqlite3.Connection, tracked: Tracked) -> tuple[int, int]:
    """Fill the tables of forms and postings; return the numbers of images and captions."""
    forms = _Forms()
    captions = 0

    def postings(rows: Iterable[tuple[int, str]]) -> Iterator[tuple[int, str]]:
        nonlocal captions
        for number, text in rows:
            captions += len(_distinct(text)) if "\n" in text else bool(text)
            words = map(forms.__getitem__, lexicon.surfaces(text))
            yield number, " ".join(dict.fromkeys(chain.from_iterable(words)))

    (total,) = sql.execute("SELECT count(*) FROM image").fetchone()
    rows = sql.execute("SELECT number, captions FROM image ORDER BY number")
    sql.executemany(
        "INSERT INTO posting (rowid, forms) VALUES (?, ?)",
        postings(tracked(rows, total, "words")),
    )
    sql.execute("CREATE VIRTUAL TABLE temp.counted USING fts5vocab(main, posting, row)")
    images = dict(sql.execute("SELECT term, doc FROM counted"))
    numbered = ((n, form, images[n]) for form, n in forms.numbers.items())
    sql.executemany("INSERT INTO form VALUES (?, ?, ?)", numbered)
    readings = ((x, n) for form, n in forms.numbers.items() for x in sorted(lexicon.lemmas(form)))
    sql.executemany("INSERT INTO reading VALUES (?, ?)", readings)
    return total, captions


class _Forms(dict[str, tuple[str, ...]]):
    """Word as written -> numbers of its forms, as they stand in the table of postings."""

    def __init__(self) -> None:
        self.numbers: dict[str, str] = {}

    def __missing__(self, surface: str) -> tuple[str, ...]:
        numbers = self.numbers
        found = tuple(numbers.setdefault(f, str(len(numbers))) for f in lexicon.forms(surface))
        self[surface] = found
        return found


def _in_a_row(caption: str, wanted: Sequence[frozenset[str]]) -> bool:
    """Whether words with the wanted lemmas follow one another, hyphens or not."""
    written = lexicon.surfaces(caption)
    words = [part for surface in written for part in lexicon.parts(lexicon.normal(surface))]
    windows = zip(*(words[n:] for n in range(len(wanted))), strict=False)
    return any(
        all(lexicon.lemmas(word) & lemmas for word, lemmas in zip(window, wanted, strict=True))
        for window in windows
    )


def _any(forms: Iterable[int]) -> str:
    return " OR ".join(f'"{number}"' for number in sorted(forms))


def _all(groups: Sequence[frozenset[int]]) -> str:
    return " AND ".join(f"({_any(group)})" for group in groups) if all(groups) else ""


def _distinct(captions: str) -> list[str]:
    return sorted(set(captions.split("\n")) - {""})


def _clean(text: str) -> str:
    """One line that SQLite can store."""
    if text.isprintable():
        return text
    return " ".join(text.replace("\0", " ").split()).encode("utf-8", "replace").decode()


def _reopen(path: Path) -> sqlite3.Connection | None:
    """A kept index; None when there is none or the file is not whole."""
    if not path.exists():
        return None
    try:
        sql = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
        (pages,), (size,) = sql.execute("PRAGMA page_count"), sql.execute("PRAGMA page_size")
        sql.execute("SELECT count(*) FROM fact").fetchone()
    except sqlite3.DatabaseError:
        return None
    return sql if pages[0] * size[0] == path.stat().st_size else None


def _keep(path: Path, sql: sqlite3.Connection) -> None:
    """Keep an index for the next run and forget those of earlier data.

    The report does not need it: where nothing can be written, nothing is kept.
    """
    try:
        write_bytes(path, sql.serialize())
    except InputError:
        return
    for old in path.parent.glob("words-*.sqlite"):
        if old != path:
            old.unlink(missing_ok=True)
