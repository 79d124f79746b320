"""The report for machines that check changes: GitHub annotations and JUnit XML."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from curate.coverage.verdicts import list_some, plural
from curate.prompts.tables import is_prompt_table
from curate.system.strangers import visible

MAX_ANNOTATIONS = 10  # annotations of each severity that GitHub shows of one step
MAX_LINES = 12  # lines of the prompts that a text lists
NOT_TESTS = frozenset(  # verdicts of what captions are not asked for
    "function-word control-token negated meta not-visual typo".split()
)
TESTED_KINDS = ("word", "phrase", "bind", "pair")


def github_commands(report: Mapping[str, Any]) -> str:
    """Workflow commands that mark each gap in the prompts file, worst first.

    GitHub shows ten errors and ten warnings of a step; how many there are beyond these is said
    in a notice. A gap is marked where it is first asked for. What of the data was not counted is
    said before all.

    Source: GitHub, "Workflow commands for GitHub Actions"; its toolkit's `core/src/command.ts`
    for what is escaped. Columns count from 1 and the last one is part of the text.
    """
    lines = [
        f"::error title=vocab-gaps::{_escape_data(f'not counted: {one}')}"
        for one in _uncounted_data(report)
    ]
    for severity in ("error", "warning"):
        found = [item for item in report["items"] if item["severity"] == severity]
        lines += [_annotation(report, item) for item in found[:MAX_ANNOTATIONS]]
        more = len(found) - MAX_ANNOTATIONS
        if more > 0:
            lines.append(
                f"::notice title=vocab-gaps::{plural(more, f'more {severity}')}, not shown here"
            )
    return "".join(f"{line}\n" for line in lines)


def junit_xml(report: Mapping[str, Any]) -> str:
    """A suite for each kind of unit, and in it a test for each unit that captions should show.

    Units rather than prompts are tests: their names stay the same from run to run, so that a
    viewer can tell which gap is new and which is fixed. Errors are failures; warnings pass and
    say so in `system-out`. Data that was not counted is a failure. Function words, negated words
    and the like are no tests.

    Source: Jenkins xUnit plugin, `junit-10.xsd`.
    """
    prompts = str(report["prompts"]["path"])
    suites = [s for kind in TESTED_KINDS if len(s := _suite(report, kind))]
    if _uncounted_data(report):
        suites.insert(0, _uncounted_suite(report))
    totals = {name: sum(int(s.attrib[name]) for s in suites) for name in ("tests", "failures")}
    attributes = {"name": _lines(f"vocab-gaps {prompts}"), "errors": "0"}
    root = ElementTree.Element("testsuites", attributes | {n: str(v) for n, v in totals.items()})
    root.extend(suites)
    ElementTree.indent(root)
    text = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'


def _annotation(report: Mapping[str, Any], item: Mapping[str, Any]) -> str:
    properties: dict[str, object] = {"file": report["prompts"]["path"]}
    if item["prompts"]:
        place = min(item["prompts"], key=lambda p: (p["line"], p["span"]))
        start, end = place["span"]
        properties["line"] = place["line"]
        if not is_prompt_table(Path(report["prompts"]["path"])):  # a span counts in the prompt
            properties |= {"col": start + 1, "endColumn": max(start + 1, end)}
    properties["title"] = f"{item['verdict']}: {item['unit']}"
    escaped = {name: _escape_data(str(value)) for name, value in properties.items()}
    signs = str.maketrans({":": "%3A", ",": "%2C"})
    said = ",".join(f"{name}={value.translate(signs)}" for name, value in escaped.items())
    return f"::{item['severity']} {said}::{_escape_data('; '.join(_gap_facts(report, item)))}"


def _uncounted_data(report: Mapping[str, Any]) -> Sequence[str]:
    found: Sequence[str] = report.get("data", {}).get("incomplete") or ()
    return found


def _uncounted_suite(report: Mapping[str, Any]) -> ElementTree.Element:
    numbers = {"tests": "1", "failures": "1", "errors": "0"}
    suite = ElementTree.Element("testsuite", {"name": "vocab-gaps data", **numbers})
    attributes = {"classname": "vocab-gaps.data", "name": "all data is counted"}
    case = ElementTree.SubElement(suite, "testcase", attributes)
    told = {"type": "incomplete", "message": "what is called missing may be there"}
    failure = ElementTree.SubElement(case, "failure", told)
    failure.text = _lines(*(f"not counted: {one}" for one in _uncounted_data(report)))
    return suite


def _suite(report: Mapping[str, Any], kind: str) -> ElementTree.Element:
    items = [i for i in report["items"] if i["kind"] == kind and i["verdict"] not in NOT_TESTS]
    failures = sum(item["severity"] == "error" for item in items)
    numbers = {"tests": str(len(items)), "failures": str(failures), "errors": "0"}
    suite = ElementTree.Element("testsuite", {"name": f"vocab-gaps {kind}", **numbers})
    for item in items:
        name = _lines(str(item["unit"]))
        attributes = {"classname": f"vocab-gaps.{kind}", "name": name}
        case = ElementTree.SubElement(suite, "testcase", attributes)
        title = _lines(f"{item['verdict']}: {item['unit']}")
        text = _lines(title, *_gap_facts(report, item))
        if item["severity"] == "error":
            told = {"type": str(item["verdict"]), "message": title}
            ElementTree.SubElement(case, "failure", told).text = text
        elif item["severity"] == "warning":
            ElementTree.SubElement(case, "system-out").text = text
    return suite


def _gap_facts(report: Mapping[str, Any], item: Mapping[str, Any]) -> Iterator[str]:
    images, need = int(item["n_images"]), int(item["fix"]["need"])
    yield plural(images, "image") + (f", {need:,} more needed" if need > 0 else "")
    near = [str(n["unit"]) for n in item.get("did_you_mean") or ()]
    if near:
        yield f"did you mean {' or '.join(near[:3])}?"
    lines = sorted({int(place["line"]) for place in item["prompts"]})
    if lines:
        said = list_some(list(map(str, lines)), MAX_LINES)
        noun = "line" if len(lines) == 1 else "lines"
        yield f"{noun} {said} of {report['prompts']['path']}"
    for command in item["fix"]["fetch"]:
        yield f"closed by: {command}"


def _escape_data(text: str) -> str:
    """What stands behind `::`, on one line."""
    return visible(text).replace("%", "%25")


def _lines(*texts: str) -> str:
    """A line a text, of characters that XML 1.0 allows.

    Source: W3C, Extensible Markup Language 1.0, section 2.2.
    """
    return "\n".join(map(visible, texts))
