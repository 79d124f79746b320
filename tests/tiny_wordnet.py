"""A WordNet of a dozen synsets in the database's own format, written by the test."""

from pathlib import Path

NOTICE = "  1 This is the licence of a tiny dictionary.  \n  2 Keep it.  \n"
FILE = {"noun.animal": 5, "noun.artifact": 6, "noun.cognition": 9, "noun.person": 18}
FILE |= {"noun.phenomenon": 19, "adj.all": 0, "verb.contact": 35, "adv.all": 2}

# (number, pos, lexicographer file, lemmas, pointers (symbol, number, ends), gloss)
SYNSETS = [
    (1, "n", "noun.animal", ["big_cat"], [("~", 2, "0000"), ("~", 3, "0000")], "a large feline"),
    (2, "n", "noun.animal", ["leopard"], [("@", 1, "0000")], "a feline with spots"),
    (3, "n", "noun.animal", ["snow_leopard", "ounce"], [("@", 1, "0000")], "a grey feline"),
    (4, "n", "noun.animal", ["dog", "domestic_dog"], [("~", 5, "0000")], "it barks"),
    (5, "n", "noun.animal", ["poodle"], [("@", 4, "0000")], "a curly dog"),
    (6, "n", "noun.animal", ["puppy"], [], "a young dog"),
    (7, "n", "noun.animal", ["bat"], [], "it hangs upside down"),
    (8, "n", "noun.artifact", ["bat", "club"], [("~", 9, "0000")], "to hit balls with"),
    (9, "n", "noun.artifact", ["cricket_bat"], [("@", 8, "0000")], "for cricket"),
    (10, "n", "noun.phenomenon", ["snow"], [("+", 20, "0101")], "white flakes"),
    (11, "n", "noun.cognition", ["concept"], [], "a thought"),
    (12, "n", "noun.artifact", ["colour", "color"], [], "paint"),
    (13, "n", "noun.animal", ["Canis_familiaris"], [], "the same in Latin"),
    (14, "n", "noun.person", ["sheepdog", "cur"], [("@", 4, "0000")], "(offensive) a mean person"),
    (15, "n", "noun.person", ["biter"], [("+", 30, "0101")], "who bites"),
    (20, "a", "adj.all", ["snowy"], [("+", 10, "0101")], "with snow"),
    (21, "a", "adj.all", ["possible"], [], "it may be"),
    (30, "v", "verb.contact", ["bite"], [("+", 15, "0101")], "with teeth"),
    (40, "r", "adv.all", ["possibly"], [("\\", 21, "0101")], "perhaps"),
]
TAGGED = {("bat", "n", 1): 9, ("dog", "n", 1): 40, ("snow", "n", 1): 12, ("bite", "v", 1): 3}
NAMES = {"n": "noun", "v": "verb", "a": "adj", "r": "adv"}


def build(folder: Path) -> Path:
    """Write data.*, index.*, index.sense and *.exc into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = {number: pos for number, pos, *_ in SYNSETS}
    senses: dict[tuple[str, str], list[int]] = {}
    for pos, name in NAMES.items():
        lines = [NOTICE]
        for number, part, file, lemmas, pointers, gloss in SYNSETS:
            if part != pos:
                continue
            words = " ".join(f"{lemma} 0" for lemma in lemmas)
            to = "".join(f" {s} {n:08} {parts[n]} {ends}" for s, n, ends in pointers)
            frames = " 00" if pos == "v" else ""
            lines.append(
                f"{number:08} {FILE[file]:02} {pos} {len(lemmas):02x} {words} "
                f"{len(pointers):03}{to}{frames} | {gloss}  \n"
            )
            for lemma in lemmas:
                senses.setdefault((lemma.lower(), pos), []).append(number)
        (folder / f"data.{name}").write_text("".join(lines))
        index = [
            f"{lemma} {pos} {len(found)} 0 {len(found)} 0 {' '.join(f'{n:08}' for n in found)}  \n"
            for (lemma, part), found in sorted(senses.items())
            if part == pos
        ]
        (folder / f"index.{name}").write_text(NOTICE + "".join(index))
        (folder / f"{name}.exc").write_text("geese goose\n" if pos == "n" else "")
    keys = [
        f"{lemma}%{'nvar'.index(pos) + 1}:00:00:: {number:08} {n} {TAGGED.get((lemma, pos, n), 0)}"
        for (lemma, pos), found in senses.items()
        for n, number in enumerate(found, start=1)
    ]
    (folder / "index.sense").write_text("\n".join(sorted(keys)) + "\n")
    return folder
