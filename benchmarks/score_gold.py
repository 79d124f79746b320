"""The coverage report against the gold set: what it finds, what it misses, where it is noisy.

    python benchmarks/score_gold.py [--half a|b|both] [--quiet] [--json] [--checked FILE]

Tune on half a only; half b says how well the report does on prompts nobody has tuned on, so
print its totals with --quiet. `--half b --checked curate/report/checked.json` writes how often
each verdict was right there, which the report tells as `p_correct`. Labels and their definitions:
benchmarks/gold/README.md.
"""

import argparse
import json
import re
import tempfile
import unicodedata
from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gold_files import (
    ERRORS,
    GOLD,
    INFO,
    NOTHING,
    WARNINGS,
    Caption,
    Inflections,
    Label,
    Prompt,
    normal,
    read_captions,
    read_inflections,
    read_prompts,
)

NOT_REPORTED = "(not reported)"
NOT_LABELLED = "(not labelled)"
CONTROL = "control-token"
QUIET_KINDS = frozenset({"function-word", "meta", CONTROL, "negated"})
WORD_KINDS = frozenset({"word", "token"})


@dataclass(frozen=True, slots=True)
class Item:
    """One occurrence of a reported unit in one prompt."""

    kind: str
    unit: str
    verdict: str
    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """One labelled unit beside what was reported; or a reported unit that has no label."""

    line: int
    prompt: str
    kind: str
    unit: str
    gold: tuple[str, ...]  # () without a label
    reported: str
    reason: str = ""

    @property
    def right(self) -> bool:
        if self.reported == NOT_REPORTED:
            return NOTHING in self.gold
        return self.reported in self.gold


def score(
    prompts: Sequence[Prompt], report: Mapping[str, Any], table: Inflections
) -> list[Outcome]:
    """Every labelled unit with its reported verdict, then what was reported without a label."""
    by_line = _items(report)
    outcomes: list[Outcome] = []
    for line, prompt in enumerate(prompts, start=1):
        outcomes.extend(_outcomes(line, prompt, by_line.get(line, []), table))
    return outcomes


def _items(report: Mapping[str, Any]) -> dict[int, list[Item]]:
    by_line: dict[int, list[Item]] = {}
    for item in report["items"]:
        kind = "word" if item["kind"] in WORD_KINDS else item["kind"]
        for place in item["prompts"]:
            start, end = place["span"]
            found = Item(kind, normal(item["unit"]), item["verdict"], start, end, place["text"])
            by_line.setdefault(place["line"], []).append(found)
    return by_line


def _outcomes(
    line: int, prompt: Prompt, items: Sequence[Item], table: Inflections
) -> Iterator[Outcome]:
    left = list(items)
    for label in prompt.labels:
        matches = _matches(label, prompt, items, table)
        left = [item for item in left if item not in matches]
        reported = next(
            (item.verdict for item in matches if item.verdict not in label.verdicts),
            matches[0].verdict if matches else NOT_REPORTED,
        )
        yield Outcome(
            line, prompt.text, label.kind, label.unit, label.verdicts, reported, label.reason
        )
    for item in dict.fromkeys((i.kind, i.unit, i.verdict) for i in left):
        if item[0] != "pair" or prompt.pairs_complete:
            yield Outcome(line, prompt.text, item[0], item[1], (), item[2])


def _matches(label: Label, prompt: Prompt, items: Sequence[Item], table: Inflections) -> list[Item]:
    """The items that speak of the label's unit: same unit, else same surface, else same place."""
    unit, text = normal(label.unit), normal(prompt.text)
    of_kind = [item for item in items if item.kind == label.kind]
    if label.kind != "word":
        return [item for item in of_kind if same_unit(item.unit, unit, label.kind, table)]
    places = _places(unit, text)
    if CONTROL not in label.verdicts:
        tokens = [_places(normal(o.unit), text) for o in prompt.labels if o.verdicts == (CONTROL,)]
        of_kind = [item for item in of_kind if not any(_stands_in(item, at) for at in tokens)]
    tests: list[Callable[[Item], bool]] = [
        lambda item: same_unit(item.unit, unit, "word", table),
        lambda item: normal(item.text) == unit,
        lambda item: _stands_in(item, places),
    ]
    return next((found for test in tests if (found := list(filter(test, of_kind)))), [])


def _stands_in(item: Item, places: Iterable[tuple[int, int]]) -> bool:
    return any(item.start < end and start < item.end for start, end in places)


def _places(unit: str, text: str) -> list[tuple[int, int]]:
    """Where a unit stands in a prompt, whole; it may be a tag such as <lora:x:1>."""
    places, at = [], text.find(unit)
    while at >= 0:
        end = at + len(unit)
        inside_left = unit[0].isalnum() and text[at - 1 : at].isalnum()
        inside_right = unit[-1].isalnum() and text[end : end + 1].isalnum()
        if not (inside_left or inside_right):
            places.append((at, end))
        at = text.find(unit, at + 1)
    return places


def same_unit(reported: str, gold: str, kind: str, table: Inflections) -> bool:
    """Equal but for inflection; `a + b` part by part, the parts of a pair in either order."""
    ours, theirs = gold.split(" + "), reported.split(" + ")
    if len(ours) != len(theirs):
        return False
    orders = [theirs, theirs[::-1]] if kind == "pair" else [theirs]
    return any(
        all(_same_words(a, b, table) for a, b in zip(order, ours, strict=True)) for order in orders
    )


def _same_words(left: str, right: str, table: Inflections) -> bool:
    ours, theirs = _parts(left), _parts(right)
    if ours == theirs:
        return True
    if not ours or not theirs or ours[:-1] != theirs[:-1]:
        return False
    return bool(_lemmas(ours[-1], table) & _lemmas(theirs[-1], table))


def _parts(unit: str) -> list[str]:
    """Its words without accents; a hyphen inside is as good as a blank, `--no` stays itself."""
    bare = "".join(c for c in unicodedata.normalize("NFD", unit) if not unicodedata.combining(c))
    return re.sub(r"(?<=\w)-(?=\w)", " ", bare).split()


def _lemmas(form: str, table: Inflections) -> set[str]:
    return {form} | {lemma for lemma, forms in table.items() if form in forms}


def severity(verdict: str) -> str:
    for name, verdicts in (("error", ERRORS), ("warning", WARNINGS), ("info", INFO)):
        if verdict in verdicts:
            return name
    return "none"


def is_gap(outcome: Outcome) -> bool | None:
    """Whether the gold calls this word a gap; None where its two labels disagree."""
    sides = {verdict in ERRORS for verdict in outcome.gold}
    return sides.pop() if len(sides) == 1 else None


def totals(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """All measures; outcomes of several halves may be put together."""
    labelled = [o for o in outcomes if o.gold]
    words = [o for o in labelled if o.kind == "word"]
    quiet = [o for o in words if set(o.gold) <= QUIET_KINDS]
    extra = [o for o in outcomes if not o.gold and o.kind == "word"]
    noisy = [o for o in quiet + extra if o.reported in ERRORS]
    hidden = [o for o in words if is_gap(o) and o.reported in INFO]
    return {
        "units": len(labelled),
        "units_by_kind": dict(sorted(Tally(o.kind for o in labelled).items())),
        "units_with_two_labels": sum(len(o.gold) > 1 for o in labelled),
        "word_gap": _word_gap(words, extra),
        "true_gaps_reported_as_covered": [f"{o.line}: {o.unit}" for o in hidden],
        "noise": {"reported": len(noisy), "units": len(quiet) + len(extra)}
        | {"share": _share(len(noisy), len(quiet) + len(extra))},
        "phrase": _found(outcomes, "phrase"),
        "binding": _found(outcomes, "bind"),
        "pair": _found(outcomes, "pair"),
        "verdict_accuracy": _accuracy(labelled),
        "verdict_accuracy_by_kind": {
            kind: _accuracy([o for o in labelled if o.kind == kind])
            for kind in ("word", "phrase", "bind", "pair")
        },
        "not_reported": sum(o.reported == NOT_REPORTED and not o.right for o in labelled),
        "not_labelled": sum(not o.gold for o in outcomes),
    }


def _word_gap(words: Sequence[Outcome], extra: Sequence[Outcome]) -> dict[str, Any]:
    clear = [o for o in words if is_gap(o) is not None]
    right = sum(bool(is_gap(o)) and o.reported in ERRORS for o in clear)
    wrong = sum(not is_gap(o) and o.reported in ERRORS for o in clear)
    wrong += sum(o.reported in ERRORS for o in extra)
    missed = sum(bool(is_gap(o)) and o.reported not in ERRORS for o in clear)
    return _f1(right, wrong, missed) | {"either_way": len(words) - len(clear)}


def _found(outcomes: Iterable[Outcome], kind: str) -> dict[str, Any]:
    """Which of the units of a kind were reported, whatever their verdict."""
    right = wrong = missed = 0
    for outcome in outcomes:
        if outcome.kind != kind:
            continue
        if not outcome.gold:
            wrong += 1
        elif NOTHING not in outcome.gold:
            right += outcome.reported != NOT_REPORTED
            missed += outcome.reported == NOT_REPORTED
    return _f1(right, wrong, missed)


def _f1(right: int, wrong: int, missed: int) -> dict[str, Any]:
    return {
        "precision": _share(right, right + wrong),
        "recall": _share(right, right + missed),
        "f1": _share(2 * right, 2 * right + wrong + missed),
        "right": right,
        "wrong": wrong,
        "missed": missed,
    }


def _accuracy(outcomes: Sequence[Outcome]) -> float | None:
    return _share(sum(o.right for o in outcomes), len(outcomes))


def _share(part: int, whole: int) -> float | None:
    """None where there is nothing to measure: never a perfect score of nothing."""
    return round(part / whole, 4) if whole else None


def confusion(outcomes: Iterable[Outcome]) -> list[tuple[str, str, int]]:
    """(gold, reported, units); a unit with two labels stands under the one reported, if right."""
    cells = Tally(
        (o.reported if o.reported in o.gold else o.gold[0] if o.gold else NOT_LABELLED, o.reported)
        for o in outcomes
    )
    return [(gold, reported, n) for (gold, reported), n in sorted(cells.items())]


def remaining(outcomes: Iterable[Outcome]) -> list[dict[str, Any]]:
    """Every error that is left, worst first: by how far the severity is off, then by line."""
    order = {"none": 0, "info": 1, "warning": 2, "error": 3}

    def off(outcome: Outcome) -> int:
        gold = order[severity(outcome.gold[0])] if outcome.gold else 0
        return abs(gold - order[severity(outcome.reported)])

    wrong = sorted((o for o in outcomes if not o.right), key=lambda o: (-off(o), o.line, o.unit))
    return [
        {
            "line": o.line,
            "prompt": o.prompt,
            "kind": o.kind,
            "unit": o.unit,
            "gold": list(o.gold) or [NOT_LABELLED],
            "reported": o.reported,
            "reason": o.reason,
        }
        for o in wrong
    ]


def write_prompts(prompts: Sequence[Prompt], path: Path) -> Path:
    path.write_text("".join(f"{prompt.text}\n" for prompt in prompts), "utf-8")
    return path


def write_captions(captions: Sequence[Caption], path: Path) -> Path:
    """One line an image, each image a key of its own."""
    with path.open("w", encoding="utf-8") as out:
        for number, caption in enumerate(captions, start=1):
            for image in range(1, caption.images + 1):
                row = {"image": f"g{number:03d}-{image:02d}.jpg", "captions": [caption.text]}
                out.write(json.dumps(row, ensure_ascii=False) + "\n")
    return path


def run(half: str, folder: Path) -> tuple[list[Prompt], Mapping[str, Any]]:
    """The report that the command makes of a half's prompts."""
    from curate.commands.gaps import GapsSettings, vocab_gaps
    from curate.report.report import to_json

    prompts = read_prompts(GOLD / f"half_{half}.txt")
    data = write_captions(read_captions(), folder / "captions.jsonl")
    wanted = write_prompts(prompts, folder / f"half_{half}.txt")
    return prompts, to_json(vocab_gaps(wanted, GapsSettings([data])))


def show(name: str, outcomes: Sequence[Outcome], *, quiet: bool) -> None:
    print(f"== {name}")
    for measure, value in totals(outcomes).items():
        print(f"{measure}\t{len(value) if quiet and isinstance(value, list) else value}")
    if quiet:
        return
    print("\ngold\treported\tunits")
    for row in confusion(outcomes):
        print(*row, sep="\t")
    print("\nline\tkind\tunit\tgold\treported\tprompt\treason of the label")
    for e in remaining(outcomes):
        gold = " | ".join(e["gold"])
        print(
            e["line"], e["kind"], e["unit"], gold, e["reported"], e["prompt"], e["reason"], sep="\t"
        )


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--half", choices=("a", "b", "both"), default="a")
    options.add_argument("--quiet", action="store_true", help="only the totals")
    options.add_argument("--json", action="store_true")
    options.add_argument("--checked", type=Path, help="write how often each verdict was right")
    given = options.parse_args()
    if given.checked and given.half == "both":
        options.error("--checked takes one half; b is the one that nothing was tuned on")

    table = read_inflections()
    scored: dict[str, list[Outcome]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for half in "ab" if given.half == "both" else given.half:
            prompts, report = run(half, Path(folder))
            scored[f"half {half}"] = score(prompts, report, table)
    if given.checked:
        found = {name: checked(outcomes) for name, outcomes in scored.items()}
        text = json.dumps({"verdicts": found[f"half {given.half}"]}, indent=1, sort_keys=True)
        given.checked.write_text(text + "\n", "utf-8")
    if len(scored) > 1:
        scored["both halves"] = [o for outcomes in scored.values() for o in outcomes]
    if not given.json:
        for name, outcomes in scored.items():
            show(name, outcomes, quiet=given.quiet)
        return
    result = {name: as_json(outcomes, quiet=given.quiet) for name, outcomes in scored.items()}
    print(json.dumps(result, ensure_ascii=False, indent=1))


def checked(outcomes: Sequence[Outcome]) -> dict[str, list[int]]:
    """Reported verdict -> how often it was right, how often it was given."""
    found: dict[str, list[int]] = {}
    for outcome in outcomes:
        if outcome.reported != NOT_REPORTED:
            counts = found.setdefault(outcome.reported, [0, 0])
            counts[0] += outcome.right
            counts[1] += 1
    return found


def as_json(outcomes: Sequence[Outcome], *, quiet: bool) -> dict[str, Any]:
    measures = totals(outcomes)
    if quiet:
        measures["true_gaps_reported_as_covered"] = len(measures["true_gaps_reported_as_covered"])
        return {"totals": measures}
    return {
        "totals": measures,
        "confusion": [list(row) for row in confusion(outcomes)],
        "errors": remaining(outcomes),
    }


if __name__ == "__main__":
    main()
