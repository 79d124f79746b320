"""The report as one HTML page: everything in the file, nothing from elsewhere.

The page holds the report once, as one block of compact JSON; its script makes what is looked at.
Without scripts it shows the summary and the worst gaps.
"""

import base64
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from types import MappingProxyType
from typing import Any

from curate.coverage.verdicts import MEANINGS, RELATIONS, SEVERITIES, UNIT_KINDS
from curate.prompts.reader import Prompt
from curate.report.thumbnails import Thumbnail
from curate.text import tokens
from curate.text.lemmas import lemmas_of

STATIC_GAPS = 200  # rows that stand in the page without its script
CHANGES = 500  # of each kind that the page lists
SCRIPTS = tuple(  # in this order
    f"report{part}.js" for part in ("", "_prompts", "_item", "_controls", "_map")
)
_BAR = 1000  # units of the drawing that shows the words by verdict
_NO_PICTURES: Mapping[str, Thumbnail] = MappingProxyType({})


def render(
    report: dict[str, Any],
    prompts: Sequence[Prompt],
    *,
    pictures: Mapping[str, Thumbnail] = _NO_PICTURES,
) -> str:
    """The page for a report in its JSON form, with the pictures of its evidence by key."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("curate.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    baseline = report.get("baseline")
    style = _file("report.css")
    script = "\n".join(map(_file, SCRIPTS))
    gaps = [item for item in report["items"] if item["severity"] != "info"]
    page = environment.get_template("report.html.j2").render(
        report=report,
        gaps=[(item, _asked(item)) for item in gaps[:STATIC_GAPS]],
        gaps_in_all=len(gaps),
        by_severity=Counter(item["severity"] for item in report["items"]),
        words=_words(report["items"]),
        bar=_BAR,
        meanings=_meanings(report),
        kinds=UNIT_KINDS,
        incomplete=report["data"].get("incomplete") or [],
        baseline=baseline,
        changes=_changes(baseline) if baseline else [],
        style=Markup(style),  # noqa: S704  (our own files, no input in them)
        script=Markup(script),  # noqa: S704
        style_hash=_hash(style),
        script_hash=_hash(script),
        data=Markup(_embedded(payload(report, prompts, pictures))),  # noqa: S704  (has no "<")
    )
    return page.encode("utf-8", "replace").decode()  # a file name need not be text


def payload(
    report: Mapping[str, Any], prompts: Sequence[Prompt], pictures: Mapping[str, Thumbnail]
) -> dict[str, Any]:
    """What the script reads. Fields that are empty are left out; spans count characters.

    An item: u unit, k kind, v verdict, s severity (0 error to 2 info), n images, l levels
    [exact, inflection, variant, [n, via…] for synonym, narrower, derivation], e evidence
    [text, start, end, …] with the words to mark, m mentions [line, start, end, …], x expected,
    i PMI, p p_correct, b upper bound, r related words not counted, d did you mean, y nearest,
    g badges, z senses, f commands, q images short of the target.
    """
    texts: dict[tuple[str, str], int] = {}  # (key, caption) -> its place
    rights: dict[str, list[str | None]] = {}
    items = []
    for item in report["items"]:
        for one in item["evidence"]:
            texts.setdefault((one["key"], one["caption"]), len(texts))
            rights.setdefault(one["key"], _picture(one, pictures.get(one["key"])))
        items.append(_compact(item, texts))
    places = {key: n for n, key in enumerate(rights)}
    return {
        "profile": report["profile"],
        "severities": SEVERITIES,
        "meanings": {verdict: meaning for verdict, _, meaning in _meanings(report)},
        "kinds": UNIT_KINDS,
        "prompts": [[prompt.line, prompt.text] for prompt in prompts],
        "items": items,
        "texts": [[places[key], caption] for key, caption in texts],
        "pictures": [[key, *values] for key, values in rights.items()],
    }


def _compact(item: Mapping[str, Any], texts: Mapping[tuple[str, str], int]) -> dict[str, Any]:
    levels, fix = item["levels"], item["fix"]
    exact = [levels["exact"], levels["inflection"], levels["variant"]]
    related = [[levels[name]["n"], *levels[name]["via"]] for name in RELATIONS]
    wanted = _wanted(item)
    optional = {
        "l": [*exact, *related] if any(exact[1:]) or any(one[0] for one in related) else None,
        "e": [
            [texts[one["key"], one["caption"]], *_marks(one["caption"], wanted)]
            for one in item["evidence"]
        ],
        "i": item.get("pmi"),
        "x": item.get("expected"),
        "p": item.get("p_correct"),
        "b": item.get("upper_bound_visible_95"),
        "r": [[r["unit"], r["relation"], r["n_images"]] for r in item["related_not_counted"]],
        "d": [[near["unit"], near["n_images"]] for near in item.get("did_you_mean") or ()],
        "y": [[near["unit"], near["n_images"]] for near in item["nearest"]],
        "g": item.get("badges"),
        "z": item.get("senses"),
        "f": fix["fetch"],
        "q": fix["need"] or None,
    }
    return {
        "u": item["unit"],
        "k": item["kind"],
        "v": item["verdict"],
        "s": SEVERITIES.index(item["severity"]),
        "n": item["n_images"],
        "m": [number for m in item["prompts"] for number in (m["line"], *m["span"])],
    } | {name: value for name, value in optional.items() if value not in (None, [], (), {})}


def _picture(evidence: Mapping[str, Any], picture: Thumbnail | None) -> list[str | None]:
    """Data URI, licence, source, page, author and the reason why there is no picture."""
    known = picture or Thumbnail()
    page_url = evidence.get("page_url") or known.page_url
    return [
        known.data_uri,
        evidence.get("license") or known.license,
        evidence.get("source") or known.source,
        page_url if page_url and re.match(r"https?://", page_url, re.IGNORECASE) else None,
        known.author,
        known.reason,
    ]


def _wanted(item: Mapping[str, Any]) -> list[frozenset[str]]:
    """The lemmas to mark in the evidence: of the unit, and of the related words that count."""
    via = [unit for name in RELATIONS for unit in item["levels"][name]["via"]]
    written = [item["unit"].replace(" + ", " "), *via]
    forms = [part for text in written for word in text.split() for part in tokens.parts(word)]
    return [lemmas_of(form) for form in dict.fromkeys(forms)]


def _marks(caption: str, wanted: Sequence[frozenset[str]]) -> Iterator[int]:
    """Start and end of each word of a caption that shows a wanted lemma."""
    for start, end in tokens.spans(caption):
        found = [lemmas_of(form) for form in tokens.forms(caption[start:end])]
        if any(one & lemmas for one in found for lemmas in wanted):
            yield start
            yield end


def _asked(item: Mapping[str, Any]) -> int:
    """Prompts that ask for an item."""
    return len({mention["line"] for mention in item["prompts"]})


def _words(items: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, int, float, float]]:
    """(verdict, severity, words, left edge, width) of the words that pictures can show."""
    silent = {"function-word", "control-token", "negated", "meta", "not-visual"}
    shown = [i for i in items if i["kind"] == "word" and i["verdict"] not in silent]
    counts = Counter(item["verdict"] for item in shown)
    severities = {item["verdict"]: item["severity"] for item in shown}
    reached, found = 0.0, []
    for verdict in [*MEANINGS, *sorted(counts.keys() - MEANINGS.keys())]:
        if counts[verdict]:
            width = _BAR * counts[verdict] / len(shown)
            found.append(
                (verdict, severities[verdict], counts[verdict], round(reached, 2), round(width, 2))
            )
            reached += width
    return found


def _meanings(report: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Verdict, severity and meaning of every verdict in the report, worst first."""
    severities = {item["verdict"]: item["severity"] for item in report["items"]}
    names = [*MEANINGS, *sorted(severities.keys() - MEANINGS.keys())]
    return [(v, severities[v], MEANINGS.get(v, "")) for v in names if v in severities]


def _changes(baseline: Mapping[str, Any]) -> list[tuple[str, str, str, list[Any], int]]:
    """Of each kind of change: its title, words for none, the first entries and how many in all."""
    titles = {
        "new": ("New gaps", "No new gap."),
        "closed": ("Closed", "No gap was closed."),
        "changed": ("Changed otherwise", "Nothing else has changed."),
    }
    found = []
    for name, (title, none) in titles.items():
        entries = baseline[name]
        found.append((name, title, none, entries[:CHANGES], len(entries)))
    return found


def _embedded(value: object) -> str:
    """JSON that can stand inside a script element: nothing in it ends or opens a tag."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _file(name: str) -> str:
    return resources.files("curate.report").joinpath(name).read_text("utf-8")


def _hash(text: str) -> str:
    """The name of an inline script or style in a content security policy."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
