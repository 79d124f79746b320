"""The report: as a table, as JSON (`vocab-gaps/1`), and as one page that works offline."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curate.coverage import page, prompts, records, verdicts
from curate.coverage.index import Tracked, open_index, untracked
from curate.coverage.verdicts import SEVERITIES, Item, Targets
from curate.dataset import write_json
from curate.errors import Exit, UsageError
from curate.files import write_bytes

SCHEMA = "vocab-gaps/1"
FAIL_ON = ("error", "warning", "never")
PAIRS_SHOWN = 20  # on a terminal; every other form lists them all
HEADINGS = ("verdict", "what", "images", "prompts", "closed by")


@dataclass(frozen=True)
class Report:
    """What a file of prompts asks for, judged against data."""

    path: Path  # of the prompts
    prompts: list[prompts.Prompt]
    items: list[Item]  # worst first
    targets: Targets
    origin: records.Origin
    images: int  # distinct, with words
    captions: int
    left_out: dict[str, int]  # reason -> rows

    def exit_code(self, fail_on: str = "error") -> Exit:
        """FOUND when an item is as bad as `fail_on` or worse.

        Raises:
            UsageError: `fail_on` is not one of FAIL_ON.
        """
        check_fail_on(fail_on)
        if fail_on == "never":
            return Exit.DONE
        bad = SEVERITIES[: SEVERITIES.index(fail_on) + 1]
        return Exit.FOUND if any(item.severity in bad for item in self.items) else Exit.DONE


def vocab_gaps(
    path: Path,
    *,
    data: Sequence[Path] = (),
    profile: str = "finetune",
    minimum: int | None = None,
    target: int | None = None,
    pairs: str = "all",
    tracked: Tracked = untracked,
) -> Report:
    """Judge every word of the prompts in `path` by the captions in `data`.

    Args:
        path: text file, one prompt a line.
        data: dataset folders, shards, manifests or lists of captions, taken together; none for
            `./data`, which may not exist yet: then nothing is covered.
        profile: "scratch", "finetune" or "lora"; how many images a word needs.
        minimum: images below which a word is thin, in place of the profile's.
        target: images that are enough, in place of the profile's.
        pairs: "all" pairs of words within a prompt, or "off".
        tracked: shows how far the reading of captions is.

    Raises:
        UsageError: a setting that does not exist.
        InputError: the prompts or the data cannot be read.
    """
    wanted = verdicts.targets(profile, minimum=minimum, target=target)
    asked = prompts.read(path)
    origin = records.find_all(data)
    index = open_index(origin, tracked)
    items = verdicts.judge(asked, index, wanted, pairs=pairs, options=origin.options)
    return Report(path, asked, items, wanted, origin, index.images, index.captions, index.left_out)


def check_fail_on(fail_on: str) -> None:
    """Refuse an unknown severity before any work is done."""
    if fail_on not in FAIL_ON:
        fix = f"one of {', '.join(FAIL_ON)}"
        raise UsageError("--fail-on", f"no severity {fail_on!r}", fix=fix)


def to_json(report: Report) -> dict[str, Any]:
    """The report as plain values, in a stable order."""
    return {
        "schema": SCHEMA,
        "prompts": {"path": str(report.path), "count": len(report.prompts)},
        "data": {
            "path": str(report.origin.path),
            "kind": report.origin.kind,
            "images": report.images,
            "captions": report.captions,
            "rows": report.left_out,
        },
        "profile": {
            "name": report.targets.profile,
            "min": report.targets.warn,
            "target": report.targets.target,
        },
        "summary": dict(sorted(Counter(item.verdict for item in report.items).items())),
        "items": [item_json(item) for item in report.items],
    }


def item_json(item: Item) -> dict[str, Any]:
    """One item. What this version cannot know is null, zero or empty."""
    nothing = {"n": 0, "via": []}
    return {
        "unit": item.unit,
        "kind": item.kind,
        "verdict": item.verdict,
        "severity": item.severity,
        "p_correct": None,
        "n_images": item.images,
        "levels": {
            "exact": item.exact,
            "inflection": item.inflection,
            "variant": 0,
            "synonym": nothing,
            "narrower": nothing,
            "derivation": nothing,
        },
        "expected": item.expected,
        "related_not_counted": [],
        "upper_bound_visible_95": None,
        "prompts": [
            {"line": m.line, "span": [m.start, m.end], "text": m.text} for m in item.mentions
        ],
        "evidence": [{"key": e.key, "caption": e.caption} for e in item.evidence],
        "nearest": [{"unit": n.unit, "n_images": n.n_images} for n in item.nearest],
        "fix": {"fetch": list(item.fetch), "need": item.need},
    }


def write(
    report: Report, *, json_to: str | None = None, html_to: Path | None = None
) -> Iterator[str]:
    """Write the report to the files asked for; yield their names.

    Args:
        report: what to write.
        json_to: a file for the JSON form; `-` is left to the caller, who owns stdout.
        html_to: a file for the page.

    Raises:
        InputError: a file cannot be written.
    """
    if html_to:
        write_bytes(html_to, page.render(to_json(report), report.prompts).encode())
        yield str(html_to)
    if json_to and json_to != "-":
        write_json(Path(json_to), to_json(report))
        yield json_to


def summary(report: Report) -> str:
    """What was read and what was found, in sentences."""
    origin = report.origin
    if origin.kind == "none":
        lines = [f"no dataset at {origin.path}: every word counts as missing"]
    else:
        lines = [f"{origin.path}: {report.images:,} images with {report.captions:,} captions"]
        lines += [f"  rows {reason}: {number:,}" for reason, number in report.left_out.items()]
    found = Counter(i.verdict for i in report.items if i.kind == "word")
    words = ", ".join(f"{found[v]:,} {v}" for v in verdicts.VERDICTS if found[v])
    noun = "prompt" if len(report.prompts) == 1 else "prompts"
    lines.append(f"{report.path}: {len(report.prompts):,} {noun}; words: {words}")
    pairs = Counter(i.verdict for i in report.items if i.kind == "pair")
    if pairs:
        said = ", ".join(f"{pairs[v]:,} {v}" for v in verdicts.VERDICTS if pairs[v])
        lines.append(f"pairs of words in one prompt: {said}")
        if pairs.total() - pairs["seen-pair"] > PAIRS_SHOWN:
            lines.append(f"  a terminal lists {PAIRS_SHOWN} of them; --html and --json all")
    return "\n".join(lines)


def rows(report: Report, *, most_pairs: int | None = None) -> list[tuple[object, ...]]:
    """One row a gap, worst first: the verdict, the unit, its images, its prompts, the fix.

    Args:
        report: the report.
        most_pairs: how many pairs of words to list; None for all.
    """
    gaps = [item for item in report.items if item.severity != "info"]
    pairs = [item for item in gaps if item.kind == "pair"][:most_pairs]
    chosen = [item for item in gaps if item.kind != "pair"] + pairs
    return [
        (item.verdict, item.unit, item.images, item.prompts, " && ".join(item.fetch))
        for item in chosen
    ]


def spelled_out(arguments: Sequence[str]) -> list[str]:
    """The arguments with `--json -` for a `--json` that names no file.

    `--json` takes the next argument only if that is `-` or ends in `.json`, so that
    `--json prompts.txt` prints and never overwrites the prompts.
    """
    found: list[str] = []
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=True):
        found.append(argument)
        if argument == "--json" and following != "-" and not following.endswith(".json"):
            found.append("-")
    return found
