"""Can a statement of rights be bent until it is read as more than it allows?

    python benchmarks/fuzz_licences.py [--cases 300000] [--seed 1] [--show 20]

Real statements (`tests/real_licences.tsv`) are cut, swapped, prefixed, joined, led to look-alike
hosts and written in look-alike letters. What is read of each is held against laws:

1. bound: it allows no more than every word of the statement leaves (`licence_oracle`), and what it
   is called stands there;
2. words: with words added, it allows no more than before;
3. joined: of two statements in one, it allows no more than either;
4. host: an address on another host names nothing;
5. it is the same when asked again, and nothing is raised;
6. an answer takes at most `SLOWEST` seconds of CPU time, for hostile statements of 1,000
   characters too.

How many of the real statements are answered right is printed first, apart for the third (by a hash)
that nobody tunes on.

A statement that contradicts itself, or that says "own work", grants nothing: it is held.
Exit code 1 if a law is broken.
"""

import argparse
import hashlib
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from licence_oracle import NOTHING, bound, is_seen, permissions

from curate.commands.license import read_statements
from curate.rights.licences import OWN, identify

STATEMENTS = Path(__file__).parent.parent / "tests" / "real_licences.tsv"
SLOWEST = 0.25  # seconds of CPU time
LOOK_ALIKE = dict(zip("aceopxyBCNSDi04", "аесорхуВСΝЅⅮі০৪", strict=True))
MARKS = [
    "\u200b",
    "\u00ad",
    "\u202e",
    "\u0338",
    "\ufeff",
    "\u2011",
    "\u00a0",
    "\ud83d",
    "\x00",
    "\t",
]
RESTRICTIONS = (
    "NC|nc|ND|SA|NonCommercial|non-commercial|NoDerivs|no derivatives|ShareAlike|personal use only|"
    "All rights reserved|GPL|no AI training"
).split("|")
DENIALS = (
    "not|no|non|never|except|unless otherwise noted|does not apply|without|kein|nicht|pas|sans|sin|"
    "não|ikke|formerly|no licence|only|except where noted|ne…pas|нет|不"
).split("|")
WORDS = (
    "licence|license|by|Jane Doe|the|work|image|4.0|3.0|2.5|1.0|4|0|CC|CC0|MIT|Public domain|mark|"
    "universal|Zero|de|no|in|at|us|it|es|Norway|International|Unported|version|v|own|(|)|[|{|:|,|?|"
    "!|+|©|or|and|/|&|Attribution|deed|or later|https://example.org/x|"
    "https://creativecommons.org/licenses/by/4.0/|https://creativecommons.org/publicdomain/zero/1.0/"
).split("|")
PARTS = (
    "by|nc|nd|sa|cc|creative commons|attribution|share alike|noncommercial|no derivs|4.0|3.0|2|"
    "version|v|de|no|in|germany|unported|license|public|domain|dedication|mark|cc0|zero|1.0|gpl|"
    "gfdl|lal|or later|only|+|open government|licence ouverte|open licence|no known|copyright|"
    "restrictions|in copyright|all rights reserved|non commercial use only|own|work|mit|the|a|"
    "under|licensed|this work is|deed|pixabay|content|ogl|uk|canada|dl-de/by-2-0|odbl|odc|pddl"
).split("|")
HOSTS = ("creativecommons.org", "rightsstatements.org", "spdx.org", "www.nationalarchives.gov.uk")
HOSTILE = ("<a a=a ", "a-", "a.", "<a <a ", "cc by ", "gpl 3.0 or later ", "//", "&#", "<img alt=")
HOSTILE += ("<a href=", "4.0 ", "1_", "licence ouverte open ", "non ", "\u0300", "\ufdfa", " \t")


@dataclass(frozen=True)
class Case:
    """A statement, the ones it was made of, and which laws hold for it."""

    law: str  # bound, words, joined, host or time
    text: str
    url: str = ""
    made_of: tuple[tuple[str, str], ...] = ()  # text and address


def granted(text: str, url: str) -> tuple[str | None, frozenset[str]]:
    """The id that is read, and what it allows; nothing where it is held for a contradiction."""
    licence = identify(text, url)
    if licence.id is None or licence.id == OWN or "conflict" in licence.problems:
        return None, NOTHING
    return licence.id, permissions(licence.id)


def real_statements() -> list[tuple[str, str, str]]:
    """The right answer, the text and the address of every real statement."""
    lines = STATEMENTS.read_text("utf-8").splitlines()
    rows = [line.split("\t") for line in lines if line and not line.startswith("#")]
    return [(answer, text, url) for answer, text, url, _ in rows]


def is_held(text: str, url: str) -> bool:
    """Whether a real statement is of the third that nobody tunes on."""
    return hashlib.sha256(f"{text}\t{url}".encode()).digest()[0] % 3 == 0


def answer(text: str, url: str) -> str:
    """What `curate license` prints."""
    return read_statements([text], url=url or None, flickr=False)[0].license or "unknown"


def score() -> Counter[str]:
    """Real statements answered right, not read, and wrong, for both parts."""
    counts: Counter[str] = Counter()
    for right, text, url in real_statements():
        part = "held" if is_held(text, url) else "open"
        given = answer(text, url)
        counts[
            f"{part}: {'right' if given == right else 'unread' if given == 'unknown' else 'wrong'}"
        ] += 1
    return counts


def make_cases(count: int, seed: int) -> Iterator[Case]:
    """Cases in an order that a seed decides."""
    chance = random.Random(seed)
    real = [(text, url) for _, text, url in real_statements()]
    known = [pair for pair in real if granted(*pair)[0]]
    texts = [pair for pair in known if pair[0]]
    makers = (
        lambda: _edit(chance, *chance.choice(real)),
        lambda: _edit(chance, *chance.choice(known)),
        lambda: _add(chance, chance.choice(texts)),
        lambda: _add(chance, chance.choice(texts)),
        lambda: _join(chance, chance.choice(texts), chance.choice(texts)),
        lambda: _move(chance),
        lambda: _mix(chance),
        lambda: _mix(chance),
    )
    for n in range(count):
        yield _hostile(chance) if n % 100 == 99 else chance.choice(makers)()


def _edit(chance: random.Random, text: str, url: str) -> Case:
    """Up to four letters cut, doubled, swapped, replaced or written in look-alikes."""
    pair = [text, url]
    which = chance.choice([n for n in (0, 1) if pair[n]])
    for _ in range(chance.choice((1, 1, 1, 2, 3, 4))):
        pair[which] = _edit_once(chance, pair[which])
    return Case("bound", *pair)


def _edit_once(chance: random.Random, text: str) -> str:
    at = chance.randrange(len(text) + 1)
    before, letter, after = text[:at], text[at : at + 1], text[at + 1 :]
    edits = (
        before + after,
        before + letter * 2 + after,
        before + after[:1] + letter + after[1:],
        before + chance.choice("abcdnsyBCDNSY0123459.-_/ ") + letter + after,
        before + chance.choice("abcdnsyBCDNSY0123459.-_/ ") + after,
        before + LOOK_ALIKE.get(letter, letter) + after,
        before + chance.choice(MARKS) + letter + after,
        before,
        text[at:],
        before + f"&#{ord(letter)};" + after if letter else text,
    )
    return chance.choice(edits)


def _add(chance: random.Random, pair: tuple[str, str]) -> Case:
    """Words put between, before or behind those of a statement that is understood."""
    words = pair[0].split(" ")
    for _ in range(chance.randint(1, 3)):
        bag = chance.choice((RESTRICTIONS, DENIALS, WORDS, WORDS))
        words.insert(chance.randint(0, len(words)), chance.choice(bag))
    return Case("words", " ".join(words), pair[1], (pair,))


def _join(chance: random.Random, one: tuple[str, str], other: tuple[str, str]) -> Case:
    between = chance.choice((" ", ", ", " / ", "; ", " | ", "\n", " and ", " or ", " - ", ". ", ""))
    return Case("joined" if between else "bound", f"{one[0]}{between}{other[0]}", "", (one, other))


def _move(chance: random.Random) -> Case:
    """A true path on a host that looks like the true one."""
    host = chance.choice(HOSTS)
    at = chance.randrange(len(host))
    other = chance.choice(
        (
            f"{host}.example.net",
            f"example.net/{host}",
            f"{host}@example.net",
            f"x{host}",
            f"{host}:8080",
            host[:at] + chance.choice("abcdeosrtv") + host[at + 1 :],
            host[:at] + LOOK_ALIKE.get(host[at], "і") + host[at + 1 :],
            host[:at] + chance.choice(("-", ".", "%2E", "\\", "\u202e")) + host[at:],
            host.replace(".org", ".com").replace(".uk", ".co"),
            f"example.net?//{host}",
            f"example.net#{host}",
        )
    )
    path = chance.choice(
        ("/licenses/by/4.0/", "/publicdomain/zero/1.0/", "/vocab/NKC/1.0/", "/licenses/MIT.html")
    )
    same = other.removeprefix("www.") == host.removeprefix("www.")
    address = f"https://{other}{path}"
    return Case("bound" if same else "host", *chance.choice(((address, ""), ("", address))))


def _mix(chance: random.Random) -> Case:
    bags = (RESTRICTIONS, DENIALS, WORDS, ["CC BY", "CC BY-NC", "CC BY-ND 4.0", "GFDL", "OGL"])
    one = [chance.choice(chance.choice(bags)) for _ in range(chance.randint(1, 8))]
    other = [chance.choice(PARTS) for _ in range(chance.randint(2, 7))]
    return Case(
        "bound", chance.choice((" ", " ", "-", "")).join(chance.choice((one, other, other)))
    )


def _hostile(chance: random.Random) -> Case:
    text = "".join(chance.choice(HOSTILE) * chance.randint(1, 200) for _ in range(4))[:1000]
    return Case("time", text, chance.choice(("", text)))


def broken_law(case: Case) -> str | None:
    """Which law a case breaks, with what was read; None if it breaks none."""
    began = time.process_time()
    id, allowed = granted(case.text, case.url)
    seconds = time.process_time() - began
    if (id, allowed) != granted(case.text, case.url):
        return f"same: {id}"
    if seconds > SLOWEST:
        return f"time: {seconds:.3f} s"
    if id is None:
        return None
    if case.law == "host":
        return f"host: {id}"
    most = bound(case.text) & bound(case.url)
    if not allowed <= most:
        return f"bound: {id} allows {sorted(allowed - most)} too much"
    if not is_seen(id, f"{case.text} {case.url}"):
        return f"bound: {id} does not stand there"
    if case.law in ("words", "joined"):
        for text, url in case.made_of:
            if not allowed <= granted(text, url)[1]:
                return f"{case.law}: {id}, of {granted(text, url)[0]}"
    return None


def main() -> None:
    """Print how many cases broke which law, and some of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=300_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--show", type=int, default=20)
    asked = parser.parse_args()
    for what, count in sorted(score().items()):
        print(f"{what}\t{count}")
    counts: Counter[str] = Counter()
    broken = []
    slowest = 0.0
    for case in make_cases(asked.cases, asked.seed):
        began = time.process_time()
        fault = broken_law(case)
        slowest = max(slowest, time.process_time() - began)
        counts[f"{case.law}, {'read' if granted(case.text, case.url)[0] else 'unknown'}"] += 1
        if fault:
            broken.append((fault, case))
    for what, count in sorted(counts.items()):
        print(f"{what}\t{count}")
    print(f"slowest, with the oracle\t{slowest * 1000:.0f} ms")
    print(f"broken laws\t{len(broken)}")
    for fault, case in broken[: asked.show]:
        print(f"  {fault}\t{case.text!r}\t{case.url!r}")
    sys.exit(bool(broken))


if __name__ == "__main__":
    main()
