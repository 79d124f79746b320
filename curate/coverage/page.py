"""The report as one HTML page: everything in the file, nothing from elsewhere."""

from collections.abc import Iterator, Sequence
from typing import Any

from curate.coverage import lexicon
from curate.coverage.prompts import Prompt
from curate.coverage.verdicts import SEVERITIES, VERDICTS


def render(report: dict[str, Any], prompts: Sequence[Prompt]) -> str:
    """The page for a report in its JSON form."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("curate.coverage", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    numbered = [
        item | {"id": f"i{n}", "asked": len({m["line"] for m in item["prompts"]})}
        for n, item in enumerate(report["items"])
    ]
    places = _places(numbered)
    return environment.get_template("report.html.j2").render(
        report=report,
        items=numbered,
        prompts=[(p.line, list(_pieces(p, places))) for p in prompts],
        marked=_marked,
        severities=VERDICTS,
        shown=SEVERITIES,
    )


def _places(items: Sequence[dict[str, Any]]) -> dict[tuple[int, int], dict[str, Any]]:
    """(line, first character) -> the item of the word or control token that begins there."""
    return {
        (mention["line"], mention["span"][0]): item
        for item in items
        if item["kind"] != "pair"
        for mention in item["prompts"]
    }


def _pieces(
    prompt: Prompt, places: dict[tuple[int, int], dict[str, Any]]
) -> Iterator[tuple[str, dict[str, Any] | None]]:
    """The prompt cut into words with their items and the text between them."""
    reached = 0
    for token in prompt.tokens:
        if token.start > reached:
            yield prompt.text[reached : token.start], None
        yield token.text, places[prompt.line, token.start]
        reached = token.end
    if reached < len(prompt.text):
        yield prompt.text[reached:], None


def _marked(caption: str, unit: str) -> Iterator[tuple[str, bool]]:
    """The caption cut into pieces; True for a word that shows (part of) the unit."""
    parts = [part for one in unit.split(" + ") for part in lexicon.parts(one)]
    wanted = [lexicon.lemmas(part) for part in parts]
    reached = 0
    for start, end in lexicon.spans(caption):
        yield caption[reached:start], False
        found = [lexicon.lemmas(form) for form in lexicon.forms(caption[start:end])]
        yield caption[start:end], any(one & lemmas for one in found for lemmas in wanted)
        reached = end
    yield caption[reached:], False
