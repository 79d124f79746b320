"""A plan: which images to fetch for which gaps, as a shell script that runs as it stands."""

import shlex
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise
from operator import itemgetter
from typing import Any

from curate.coverage.verdicts import list_some, plural
from curate.prompts.units import is_searchable
from curate.report.budget import (
    FETCHABLE,
    REQUESTS_A_DAY,
    RESULTS_A_REQUEST,
    URGENT,
    Gap,
    PlannedFetch,
    images_served,
    plan_fetches,
)

BUDGET = 1_000  # images, unless told otherwise
FETCH_FOLDER = "data"  # dataset folder that is fetched into where the report names none
MAX_QUERY_CHARS = 100  # characters of a query
BASELINE_NAME = "vocab-gaps-before.json"  # the report that the last line compares with
_NEW_BASELINE_NAME = "vocab-gaps-before.new.json"  # until it is whole
COMMENT_WIDTH = 96  # characters of a comment
MAX_LISTED_UNITS = 40  # units that a comment lists
FETCHED_VERDICTS = frozenset(
    "missing thin low covered-by-derivation covered-by-narrower covered-by-synonym phrase-missing"
    " phrase-thin unseen-binding rare-binding unseen-pair rare-pair".split()
)
OTHER_REMEDIES = {  # verdicts that no search closes -> what does
    "unknown-word": "no dictionary has it, so no stock site can know it: take your own images, "
    "or say in aliases.toml what it means",
    "uncaptioned": "images show it and captions do not say so: write captions for them",
    "sense-risk": "there are images enough, of another sense: look at them, and name the sense "
    "in the prompt",
    "typo": "misspelt: correct the prompt",
    "not-visual": "no image shows it: say in the prompt what is to be seen",
}


@dataclass(frozen=True)
class Plan:
    """What to fetch, what to do otherwise, and how to look again."""

    fetches: tuple[PlannedFetch, ...]
    other_gaps: tuple[tuple[str, str], ...]  # verdict and unit of what no search closes
    postponed: tuple[Gap, ...]  # gaps that this budget does not reach
    budget: int
    folder: str  # dataset folder
    is_new_folder: bool  # the report's data is no dataset folder, so the images go beside it
    prompts: str
    arguments: tuple[str, ...]  # of vocab-gaps, after the prompts: what the report was made by
    arguments_after: tuple[str, ...]  # the same, the fetched images included


def make_plan(
    report: Mapping[str, Any], *, budget: int = BUDGET, options: Sequence[str] = ()
) -> Plan:
    """Split `budget` images over the gaps of a report that a stock site can close.

    Args:
        report: `vocab-gaps/1`.
        budget: images.
        options: what was typed behind `vocab-gaps PROMPTS`, without the files it writes; unless
            given, data and profile as the report states them.
    """
    data = report["data"]
    fresh = data["kind"] != "dataset"
    folder = FETCH_FOLDER if fresh else str(data["path"])
    look = tuple(options) or _report_options(report)
    items = report["items"]
    gaps = sorted(_gaps(items), key=lambda gap: gap.order_key)
    chosen = plan_fetches(gaps, budget)
    reached = {fetch.gap for fetch in chosen}
    brought = images_served(chosen, gaps)
    return Plan(
        fetches=tuple(chosen),
        other_gaps=tuple(sorted(_other_gaps(items))),
        postponed=tuple(g for g in gaps if g not in reached and brought.get(g, 0) < g.need),
        budget=budget,
        folder=folder,
        is_new_folder=fresh,
        prompts=str(report["prompts"]["path"]),
        arguments=look,
        arguments_after=(*look, *_added_data(look, folder, data["kind"])),
    )


def plan_script(plan: Plan, *, fetch: Sequence[str] = ()) -> str:
    """A script for bash that fetches, builds, and shows what has changed.

    It may be typed again at any time: fetches take up where they stopped, and the report it
    compares with stays that of the first time. Its exit code is that of the last comparison.

    Args:
        plan: from `plan.make_plan`.
        fetch: further options of each fetch, such as `--license cc0`.
    """
    total = sum(planned.images for planned in plan.fetches)
    lines = [
        "#!/usr/bin/env bash",
        _comment(f"Images for the gaps of {plan.prompts}: {total:,} at most."),
        _comment(
            "Run it in the folder in which vocab-gaps was typed. It may be run again: what is "
            "there already is not fetched twice."
        ),
        "set -eu",
        "",
    ]
    if plan.fetches:
        packing = "Check the licences, drop copies, write captions and pack what may be trained on."
        lines += [*_baseline_lines(plan), "", *_fetch_lines(plan, fetch), ""]
        lines += [_comment(packing), _command("build", "--data", plan.folder), ""]
        lines += _comparison_lines(plan)
    else:
        lines.append(_comment("Nothing to fetch: no gap is one that a search can close."))
    return "\n".join([*lines, *_remedy_lines(plan), ""])


def _baseline_lines(plan: Plan) -> list[str]:
    look = _command("vocab-gaps", plan.prompts, *plan.arguments, "--json", _NEW_BASELINE_NAME)
    return [
        _comment(
            "What is missing now, to compare with afterwards. Kept if it is there. If some of the "
            "data cannot be counted, it stops here: repair the data first."
        ),
        f"if [ ! -e {BASELINE_NAME} ]; then",
        f"  {look} --fail-on never > /dev/null",
        f"  mv -- {_NEW_BASELINE_NAME} {BASELINE_NAME}",
        "fi",
    ]


def _fetch_lines(plan: Plan, options: Sequence[str]) -> Iterator[str]:
    requests = sum(-(-f.images // RESULTS_A_REQUEST) for f in plan.fetches)
    if plan.is_new_folder:
        beside = "" if "--checkpoint" in plan.arguments else " and are counted beside it"
        yield _comment(
            f"The report's data is no dataset folder, so the images go into {plan.folder}{beside}."
        )
    yield _comment(
        "--limit counts images taken from the top of the results. Some will be refused or turn "
        f"out to be copies. About {requests} of the {REQUESTS_A_DAY} requests that Openverse "
        "allows a day; if it stops, run this again tomorrow."
    )
    for planned in plan.fetches:
        gap = planned.gap
        yield _comment(f"{gap.verdict}: {_fetch_comment(planned)}")
        limit = str(planned.images)
        words = ("fetch", "openverse", "--query", gap.query, "--limit", limit, *options)
        yield _command(*words, "--data", plan.folder)
    if plan.postponed:
        yield _comment(
            f"Beyond this budget of {plan.budget:,} images and one day; a new plan, made after "
            f"this one, comes to them: {_list_units(gap.unit for gap in plan.postponed)}"
        )


def _fetch_comment(planned: PlannedFetch) -> str:
    gap = planned.gap
    served = f"{planned.served:,} more come with its phrases and pairs; " if planned.served else ""
    return (
        f"{_printable_line(gap.unit)} has {plural(gap.images, 'image')}, asked for by "
        f"{plural(len(gap.lines), 'prompt')}; {served}{planned.images:,} of the "
        f"{gap.need - planned.served:,} still needed"
    )


def _comparison_lines(plan: Plan) -> list[str]:
    again = _command("vocab-gaps", plan.prompts, *plan.arguments_after, "--baseline", BASELINE_NAME)
    if "--checkpoint" not in plan.arguments:
        said = "What has closed, and what has not. Exit code 1: there are new gaps."
        return [_comment(said), again]
    said = (
        "A checkpoint knows new images once it was trained on them: train finetune. Then, with "
        "the new run as the checkpoint:"
    )
    return [_comment(said), f"# {again}"]


def _remedy_lines(plan: Plan) -> Iterator[str]:
    for verdict, group in groupby(plan.other_gaps, key=itemgetter(0)):
        yield ""
        yield _comment(f"{verdict}: {OTHER_REMEDIES[verdict]}.")
        yield _comment(_list_units(unit for _, unit in group))
        if verdict == "unknown-word":
            fetch = _command("fetch", "folder", "DIR", "--license", "ID", "--data", plan.folder)
            yield f"# {fetch}"


def _list_units(units: Iterable[str]) -> str:
    return list_some([_printable_line(unit)[:60] for unit in units], MAX_LISTED_UNITS)


def _command(*words: str) -> str:
    return shlex.join(["curate", *words])


def _comment(text: str) -> str:
    """Lines that the shell passes over, whatever the text holds."""
    wrapped = textwrap.wrap(
        _printable_line(text), COMMENT_WIDTH - 2, break_long_words=False, break_on_hyphens=False
    )
    return "\n".join(f"# {line}" for line in wrapped) or "#"


def _gaps(items: Iterable[Mapping[str, Any]]) -> list[Gap]:
    """The gaps that a search can close; those with the same query are one."""
    found: dict[str, Gap] = {}
    for item in items:
        query = _query(item)
        if query is None:
            continue
        new = Gap(
            query=query,
            **{name: item[name] for name in ("unit", "kind", "verdict", "severity")},
            lines=frozenset(int(place["line"]) for place in item["prompts"]),
            images=int(item["n_images"]),
            need=int(item["fix"]["need"]),
        )
        old = found.get(query, new)
        found[query] = replace(
            min(old, new, key=lambda gap: (gap.order_key, gap.unit)),
            lines=old.lines | new.lines,
            images=min(old.images, new.images),
            need=max(old.need, new.need),
        )
    return list(found.values())


def _query(item: Mapping[str, Any]) -> str | None:
    """What to ask a stock site for; None if it cannot close this item."""
    known = item["kind"] in FETCHABLE and item["verdict"] in FETCHED_VERDICTS
    if not known or item["fix"]["need"] < 1 or item["severity"] not in URGENT:
        return None
    commands = item["fix"]["fetch"]
    asked = shlex.split(commands[0]) if commands else []
    at = asked.index("--query") + 1 if "--query" in asked else 0
    query = _printable_line(asked[at] if at else " ".join(str(item["unit"]).split(" + ")))
    return query if len(query) <= MAX_QUERY_CHARS and is_searchable(query) else None


def _other_gaps(items: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    for item in items:
        if item["verdict"] in OTHER_REMEDIES:
            near = item.get("did_you_mean")
            hint = f" (did you mean {near[0]['unit']}?)" if near else ""
            yield str(item["verdict"]), f"{item['unit']}{hint}"


def _report_options(report: Mapping[str, Any]) -> tuple[str, ...]:
    """The arguments that lead to such a report."""
    data, profile = report["data"], report["profile"]
    paths = str(data["path"]).split(" + ") if data["kind"] == "several" else [str(data["path"])]
    option = "--checkpoint" if data["kind"] == "checkpoint" else "--data"
    named = [] if data["kind"] == "none" else [a for path in paths for a in (option, path)]
    numbers = ["--min", str(profile["min"]), "--target", str(profile["target"])]
    return (*named, "--profile", str(profile["name"]), *numbers)


def _added_data(look: Sequence[str], into: str, kind: str) -> tuple[str, ...]:
    """The option that counts the fetched images, too, unless they are counted anyway."""
    if "--checkpoint" in look:  # judged in place of data
        return ()
    named = [b for a, b in pairwise(look) if a == "--data"]
    named += [a.removeprefix("--data=") for a in look if a.startswith("--data=")]
    if into in named or (not named and into == FETCH_FOLDER and kind in ("none", "dataset")):
        return ()
    return ("--data", into)


def _printable_line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
