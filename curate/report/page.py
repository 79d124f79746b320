"""The report as one HTML page, for looking.

The page holds the report as its JSON names it (`vocab-gaps/1`); its script makes what is looked at.
Without scripts it shows the summary and the worst gaps.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from curate.corpora.notes import left_out_sentences
from curate.coverage.verdicts import MEANINGS, RELATIONS, UNIT_KINDS, Item
from curate.prompts.reader import Prompt
from curate.report.report import item_json
from curate.report.thumbnails import Thumbnail, evidence_keys
from curate.system import web_page
from curate.text import tokens
from curate.text.lemmas import lemmas_of

STATIC_GAPS = 200  # rows that stand in the page without its script
CHANGES = 500  # of each kind that the page lists
SCRIPTS = [
    f"curate.report/report{part}.js" for part in ("", "_prompts", "_item", "_controls", "_map")
]


def render_report_page(
    report: dict[str, Any],
    prompts: Sequence[Prompt],
    *,
    thumbnails: Mapping[str, Thumbnail] | None = None,
) -> str:
    """The page for a report in its JSON form, with the images of its evidence by key."""
    items = report["items"]
    gaps = [item for item in items if item["severity"] != "info"]
    present = {item["kind"] for item in items}
    verdicts = _verdict_facts(items)
    read = report["data"]
    not_used = left_out_sentences(read["rows"], read.get("named", {}))
    return web_page.render_page(
        "curate.report/report.html.j2",
        scripts=SCRIPTS,
        data=_page_data(report, prompts, thumbnails or {}, verdicts),
        report=report,
        read=[*read.get("remarks", ()), *(f"not used: {sentence}" for sentence in not_used)],
        baseline=report.get("baseline"),
        most_changes=CHANGES,
        gaps=gaps[:STATIC_GAPS],
        total_gaps=len(gaps),
        by_severity=Counter(item["severity"] for item in items),
        words=_word_counts(items),
        verdicts=verdicts,
        choices={
            "Kind": {kind: title for kind, title in UNIT_KINDS.items() if kind in present},
            "Verdict": {name: name for name in verdicts},
        },
    )


def _page_data(
    report: Mapping[str, Any],
    prompts: Sequence[Prompt],
    thumbnails: Mapping[str, Thumbnail],
    verdicts: Mapping[str, dict[str, Any]],
) -> dict[str, Any]:
    """What the script reads: the report, and beside it the prompts and the images by key.

    Most items are pairs, and most of their fields are null, zero or empty. A field that says what
    `blank` says, or `verdicts` of the item's verdict, is left out; the script fills it in.
    Evidence has one more field, `marks`: the spans of the words that it shows, in characters.
    """
    blank = item_json(Item("", "pair", next(iter(MEANINGS)), ()))
    return {
        "report": {
            **report,
            "items": [
                _without_blanks(item, blank | verdicts[item["verdict"]]) for item in report["items"]
            ],
            "baseline": None,  # stands in the page already
        },
        "blank": blank,
        "verdicts": verdicts,
        "kinds": UNIT_KINDS,
        "prompts": [{"line": prompt.line, "text": prompt.text} for prompt in prompts],
        "thumbnails": {
            key: _thumbnail(thumbnails[key]) for key in evidence_keys(report) if key in thumbnails
        },
    }


def _without_blanks(item: Mapping[str, Any], blank: Mapping[str, Any]) -> dict[str, Any]:
    """An item without what `blank` says as well, its evidence marked."""
    wanted = _wanted_lemmas(item) if item["evidence"] else ()
    whole = {
        **item,
        "prompts": [{"line": m["line"], "span": m["span"]} for m in item["prompts"]],
        "evidence": [
            e | {"marks": list(_mark_spans(e["caption"], wanted))} for e in item["evidence"]
        ],
    }
    return _differences(whole, blank)


def _differences(value: Mapping[str, Any], blank: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _differences(one, blank[name]) if isinstance(blank.get(name), dict) else one
        for name, one in value.items()
        if one != blank.get(name)
    }


def _thumbnail(image: Thumbnail) -> dict[str, str]:
    """What is known of an image; an address that is none of the web is not given on."""
    known = {name: value for name, value in asdict(image).items() if value is not None}
    if not re.match(r"https?://", known.get("page_url", ""), re.IGNORECASE):
        known.pop("page_url", None)
    return known


def _wanted_lemmas(item: Mapping[str, Any]) -> list[frozenset[str]]:
    """The lemmas to mark in the evidence: of the unit, and of the related words that count."""
    via = [unit for name in RELATIONS for unit in item["levels"][name]["via"]]
    words = " ".join([item["unit"].replace(" + ", " "), *via]).split()
    forms = dict.fromkeys(part for word in words for part in tokens.hyphen_parts(word))
    return [lemmas_of(form) for form in forms]


def _mark_spans(caption: str, wanted: Sequence[frozenset[str]]) -> Iterator[tuple[int, int]]:
    for start, end in tokens.spans(caption):
        found = [lemmas_of(form) for form in tokens.forms(caption[start:end])]
        if any(one & lemmas for one in found for lemmas in wanted):
            yield start, end


def _word_counts(items: Sequence[Mapping[str, Any]]) -> Counter[str]:
    silent = {"function-word", "control-token", "negated", "meta", "not-visual"}
    return Counter(
        i["verdict"] for i in items if i["kind"] == "word" and i["verdict"] not in silent
    )


def _verdict_facts(items: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    first = {item["verdict"]: item for item in reversed(items)}
    return {
        name: {
            "severity": first[name]["severity"],
            "p_correct": first[name]["p_correct"],
            "description": MEANINGS.get(name, ""),
        }
        for name in [*MEANINGS, *sorted(first.keys() - MEANINGS.keys())]
        if name in first
    }
