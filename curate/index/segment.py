"""One file of the index: some images, their captions, and where each word stands in them.

An image is one row of an FTS5 table whose tokens are the words of its captions as `tokens` cuts
them, hyphenated words in their parts and East Asian characters one by one; a token of
its own stands between captions and for commas, ends of sentences and brackets, so that no phrase
reaches across: tags "hot, dog" are no hot dog. SQLite cuts ASCII text itself, by the same rule;
all other text is cut here.
"""

import json
import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import islice
from operator import lt
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curate.text import tokens
from curate.text.lemmas import lemmas_of

Numbers = NDArray[np.int32]  # of images, from 0
SEGMENT_RULES = 5  # part of a kept file's name: raise it when words are cut or stored differently
SEPARATOR = "\ue000"  # the token between two captions of an image, and where words are held apart
_SCHEMA = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
CREATE TABLE image (number INTEGER PRIMARY KEY, key TEXT NOT NULL, captions TEXT NOT NULL);
CREATE TABLE form (form TEXT PRIMARY KEY, images INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE reading (lemma TEXT, form TEXT, PRIMARY KEY (lemma, form)) WITHOUT ROWID;
CREATE TABLE fact (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE VIRTUAL TABLE posting USING fts5 (words, content='', columnsize=0, tokenize='ascii');
INSERT INTO posting (posting, rank) VALUES ('hashsize', 33554432); -- bytes before a merge
"""
# the ascii tokenizer cuts at every ASCII character but letters and digits, so that one of those
# inside a word (elf's, 1.5) stands in the table as a character of private use
_STORED = {code: 0xE000 + code for code in range(1, 128) if not chr(code).isalnum()}
_AS_FORM = {stored: code for code, stored in _STORED.items()}
_JOINED_WORD = re.compile("[0-9A-Za-z]'[0-9A-Za-z]|[0-9]\\.[0-9]")
# `tokens.CLAUSE_END` in two steps that are quick for what most captions hold
_COMMA = re.compile(",(?![0-9])")
_HAS_WORD_BREAK = re.compile(r"[;!?|()\[\]\n:]|\.\s")  # whether anything else may hold words apart


def clean_line(text: str) -> str:
    """One line that SQLite can store: half characters as `?`, a zero byte as a blank."""
    if text.isprintable():
        return text
    return " ".join(text.replace("\0", " ").split()).encode("utf-8", "replace").decode()


def key_line(key: str) -> str:
    """A key on one line that SQLite can store: what cannot be printed is escaped.

    With blanks instead, names that differ only in that would be one. An escape may still be alike
    to a name that is written so, backslash and all.
    """
    if key.isprintable():
        return key
    plain = (c.isprintable() and c != "\\" for c in key)
    return "".join(
        c if ok else c.encode("unicode_escape").decode() for c, ok in zip(key, plain, strict=True)
    )


def quote_phrase(phrase: Iterable[str]) -> str:
    """Words side by side, as FTS5 asks for them."""
    return '"' + " ".join(word.translate(_STORED) for word in phrase) + '"'


def distinct_captions(stored: Iterable[str]) -> list[str]:
    """The captions of an image that is stored more than once, each once."""
    return sorted({caption for captions in stored for caption in captions.split("\n")})


def _fts_words(surface: str) -> str:
    return " ".join(word.translate(_STORED) for word in tokens.terms(tokens.normalize(surface)))


def _fts_tokens(captions: Iterable[str]) -> Iterator[str]:
    cut = cache(_fts_words)
    between = f" {SEPARATOR} "
    for text in captions:
        joined = ("'" in text or "." in text) and _JOINED_WORD.search(text)
        if text.isascii() and not joined:
            if "," in text:
                text = _COMMA.sub(between, text)
            yield tokens.CLAUSE_END.sub(between, text) if _HAS_WORD_BREAK.search(text) else text
        else:
            clauses = map(tokens.surfaces, tokens.clauses(text))
            yield between.join(" ".join(map(cut, clause)) for clause in clauses)


def write_segment(
    sql: sqlite3.Connection, images: dict[str, str], facts: Mapping[str, Any]
) -> None:
    """Write images into an empty database.

    Args:
        sql: where; nothing is there yet.
        images: the captions of each key, a line each, in any order; emptied.
        facts: what else is to be known; the numbers of images and captions are added.
    """
    sql.isolation_level = None
    sql.executescript(_SCHEMA)
    sql.execute("BEGIN")
    ascending = all(map(lt, images, islice(images, 1, None)))
    keys = list(images) if ascending else sorted(images)
    captions = [_distinct_lines(images.pop(key)) for key in keys]
    rows = zip(range(1, len(keys) + 1), keys, captions, strict=True)
    sql.executemany("INSERT INTO image VALUES (?, ?, ?)", rows)
    tokens = zip(range(1, len(keys) + 1), _fts_tokens(captions), strict=True)
    sql.executemany("INSERT INTO posting (rowid, words) VALUES (?, ?)", tokens)
    sql.execute("COMMIT")  # the vocabulary shows what was committed
    said = sum(1 + text.count("\n") for text in captions)
    _write_forms(sql, {**facts, "images": len(keys), "captions": said})


def _distinct_lines(text: str) -> str:
    return "\n".join(distinct_captions([text])) if "\n" in text else text


def _write_forms(sql: sqlite3.Connection, facts: Mapping[str, Any]) -> None:
    """Write the forms that the table holds, their lemmas, and the facts."""
    sql.execute("BEGIN")
    sql.execute("CREATE VIRTUAL TABLE temp.counted USING fts5vocab(main, posting, row)")
    found = sql.execute("SELECT term, doc FROM counted WHERE term <> ?", (SEPARATOR,))
    forms = sorted((term.translate(_AS_FORM), number) for term, number in found)
    sql.executemany("INSERT INTO form VALUES (?, ?)", forms)
    readings = sorted((lemma, form) for form, _ in forms for lemma in lemmas_of(form))
    sql.executemany("INSERT INTO reading VALUES (?, ?)", readings)
    named = ((name, json.dumps(facts[name])) for name in sorted(facts))
    sql.executemany("INSERT INTO fact VALUES (?, ?)", named)
    sql.execute("COMMIT")
    sql.execute("DROP TABLE temp.counted")


class Segment:
    """A file of the index, open for questions. Images are numbered by key, from 0."""

    def __init__(self, sql: sqlite3.Connection) -> None:
        """Read the facts that `write_segment` wrote."""
        self._sql = sql
        named = sql.execute("SELECT name, value FROM fact")
        self.facts: dict[str, Any] = {name: json.loads(value) for name, value in named}
        self.images: int = self.facts["images"]
        self.captions: int = self.facts["captions"]

    def __reduce__(self) -> tuple[Any, ...]:
        """The whole file, for another process."""
        return load_segment, (self._sql.serialize(),)

    def keys(self) -> list[str]:
        """The keys of all images, ascending."""
        return [key for (key,) in self._sql.execute("SELECT key FROM image ORDER BY number")]

    def first_and_last_key(self) -> tuple[str, str]:
        """The first key and the last."""
        return self.image(0)[0], self.image(self.images - 1)[0]

    def image(self, number: int) -> tuple[str, str]:
        """Key and captions of an image."""
        sql = "SELECT key, captions FROM image WHERE number = ?"
        key, captions = self._sql.execute(sql, (number + 1,)).fetchone()
        return key, captions

    def read_images(self, numbers: Sequence[int]) -> Iterator[tuple[int, str, str]]:
        """Number, key and captions of many images, read at once."""
        sql = (
            "SELECT number - 1, key, captions FROM image"
            " WHERE number IN (SELECT value + 1 FROM json_each(?))"
        )
        yield from self._sql.execute(sql, (json.dumps(list(numbers)),))

    def forms(self) -> dict[str, int]:
        """Every form in the captions, with its images."""
        return dict(self._sql.execute("SELECT form, images FROM form"))

    def has_form(self, form: str) -> bool:
        """Whether the captions have this form."""
        return bool(self._sql.execute("SELECT 1 FROM form WHERE form = ?", (form,)).fetchone())

    def forms_with_lemmas(self, lemmas: Iterable[str]) -> set[str]:
        """The forms that have one of these lemmas."""
        question = "SELECT form FROM reading WHERE lemma = ?"
        return {form for one in lemmas for (form,) in self._sql.execute(question, (one,))}

    def match(self, question: str) -> Numbers:
        """Numbers of the images that an FTS5 expression finds, ascending; none for an empty one."""
        sql = "SELECT group_concat(rowid, ' ') FROM posting WHERE posting MATCH ?"
        (found,) = self._sql.execute(sql, (question,)).fetchone() if question else (None,)
        numbers = np.fromstring(found or "", dtype=np.int32, sep=" ")
        numbers -= 1
        return numbers


def load_segment(data: bytes) -> Segment:
    """The file with these bytes, in memory."""
    sql = sqlite3.connect(":memory:", check_same_thread=False)  # a pool unpickles in a thread
    sql.deserialize(data)
    return Segment(sql)


def open_segment(path: Path) -> Segment:
    """Open a file that `write_segment` wrote; it is never written again."""
    uri = f"{path.resolve().as_uri()}?mode=ro&immutable=1"
    return Segment(sqlite3.connect(uri, uri=True))


def contains_lemmas(said: Sequence[str], wanted: Sequence[frozenset[str]]) -> bool:
    """Whether words with the wanted lemmas follow one another."""
    windows = zip(*(said[n:] for n in range(len(wanted))), strict=False)
    return any(
        all(lemmas_of(word) & lemmas for word, lemmas in zip(window, wanted, strict=True))
        for window in windows
    )
