"""GitHub annotations and JUnit XML of a report, read back as their readers do."""

import re
from typing import Any
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from curate.report.ci import github_commands, junit_xml
from curate.system.strangers import visible

SEVERITY = {"missing": "error", "low": "warning", "covered": "info", "function-word": "info"}


def item(unit: str, verdict: str = "missing", kind: str = "word", **more: Any) -> dict[str, Any]:
    return {
        "unit": unit,
        "kind": kind,
        "verdict": verdict,
        "severity": SEVERITY[verdict],
        "n_images": 0,
        "prompts": [{"line": 3, "span": [4, 12], "text": unit}],
        "fix": {"fetch": [f"curate fetch openverse --query {unit}"], "need": 30},
        **more,
    }


def report(*items: dict[str, Any], path: str = "prompts.txt") -> dict[str, Any]:
    return {"prompts": {"path": path, "count": 4}, "items": list(items)}


def read_command(line: str) -> tuple[str, dict[str, str], str]:
    """What GitHub's runner makes of a line: the command, its properties, its message."""
    match = re.fullmatch(r"::(\w+) (.*?)::(.*)", line)
    assert match
    name, said, data = match.groups()
    properties = dict(one.split("=", 1) for one in said.split(","))

    def plain(text: str, codes: tuple[str, ...]) -> str:
        for code in codes:
            text = text.replace(code, chr(int(code[1:], 16)))
        return text.replace("%25", "%")

    codes = ("%0D", "%0A", "%3A", "%2C")
    return name, {k: plain(v, codes) for k, v in properties.items()}, plain(data, codes[:2])


def test_a_gap_is_marked_where_it_stands():
    assert github_commands(report(item("blizzard"))) == (
        "::error file=prompts.txt,line=3,col=5,endColumn=12,title=missing%3A blizzard"
        "::0 images, 30 more needed; line 3 of prompts.txt; "
        "closed by: curate fetch openverse --query blizzard\n"
    )


def test_the_first_place_is_marked_and_the_others_named():
    places = [{"line": n, "span": [0, 3], "text": "fox"} for n in (9, 2, *range(20, 40))]
    (line,) = github_commands(report(item("fox", prompts=places))).splitlines()
    _, properties, message = read_command(line)
    assert (properties["line"], properties["col"], properties["endColumn"]) == ("2", "1", "3")
    assert "lines 2, 9, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29 and 10 more of" in message


def test_a_hint_is_passed_on():
    near = [{"unit": "blizzard", "n_images": 3}]
    assert "did you mean blizzard?" in github_commands(report(item("blizard", did_you_mean=near)))


def test_ten_of_each_severity_are_shown_and_the_rest_counted():
    errors, warnings = [item(f"e{n}") for n in range(23)], [item("w", "low")] * 11
    lines = github_commands(report(*errors, *warnings, item("ok", "covered"))).splitlines()
    names = [line.split(" ")[0] for line in lines]
    assert names == ["::error"] * 10 + ["::notice"] + ["::warning"] * 10 + ["::notice"]
    assert lines[10] == "::notice title=vocab-gaps::13 more errors, not shown here"
    assert lines[-1] == "::notice title=vocab-gaps::1 more warning, not shown here"
    assert [read_command(line)[1]["title"] for line in lines[:2]] == ["missing: e0", "missing: e1"]


def test_nothing_to_say_is_nothing():
    assert github_commands(report(item("ok", "covered"))) == ""


@given(st.text(max_size=20), st.text(max_size=20))
def test_any_text_is_read_back_as_it_is_shown(unit, path):
    text = github_commands(report(item(unit), path=path))
    assert text.count("\n") == 1 and text.endswith("\n") and "\r" not in text
    name, properties, message = read_command(text[:-1])
    assert name == "error" and properties["file"] == visible(path)
    assert properties["title"] == visible(f"missing: {unit}")
    assert message.endswith(visible(f"--query {unit}"))


# JUnit

ATTRIBUTES = {  # allowed, and those of them that are required, by the schema
    "testsuites": ({"name", "tests", "failures", "errors", "time", "disabled"}, set()),
    "testsuite": (
        {"name", "tests", "failures", "errors", "time", "skipped", "timestamp", "hostname", "id"},
        {"name", "tests"},
    ),
    "testcase": ({"name", "classname", "time", "group"}, {"name"}),
    "failure": ({"message", "type"}, set()),
    "system-out": (set(), set()),
}
CHILDREN = {
    "testsuites": {"testsuite"},
    "testsuite": {"testcase"},
    "testcase": {"failure", "system-out"},
    "failure": set(),
    "system-out": set(),
}


def parsed(text: str) -> ElementTree.Element:
    """The document, checked against the rules of Jenkins' schema."""
    root = ElementTree.fromstring(text)
    assert root.tag == "testsuites"
    for element in root.iter():
        allowed, required = ATTRIBUTES[element.tag]
        assert required <= element.attrib.keys() <= allowed
        assert {child.tag for child in element} <= CHILDREN[element.tag]
    for suite in root:
        assert int(suite.attrib["tests"]) == len(suite.findall("testcase"))
        assert int(suite.attrib["failures"]) == len(suite.findall("testcase/failure"))
    for name in ("tests", "failures"):
        assert int(root.attrib[name]) == sum(int(suite.attrib[name]) for suite in root)
    return root


def test_a_unit_is_a_test():
    root = parsed(
        junit_xml(
            report(
                item("blizzard"), item("fox", "low"), item("elf", "covered"),
                item("the", "function-word"), item("polar bear", kind="phrase"),
                item("<lora:x>", "covered", kind="token"),
            )
        )
    )  # fmt: skip
    assert root.attrib == {
        "name": "vocab-gaps prompts.txt", "tests": "4", "failures": "2", "errors": "0",
    }  # fmt: skip
    assert [s.attrib["name"] for s in root] == ["vocab-gaps word", "vocab-gaps phrase"]
    failed, warned, passed = root[0]
    assert failed.attrib == {"classname": "vocab-gaps.word", "name": "blizzard"}
    (failure,) = failed
    assert failure.attrib == {"type": "missing", "message": "missing: blizzard"}
    assert failure.text and failure.text.splitlines() == [
        "missing: blizzard",
        "0 images, 30 more needed",
        "line 3 of prompts.txt",
        "closed by: curate fetch openverse --query blizzard",
    ]
    (out,) = warned
    assert out.tag == "system-out" and out.text and out.text.startswith("low: fox\n")
    assert len(passed) == 0


def test_an_empty_report_is_valid():
    assert len(parsed(junit_xml(report()))) == 0


@given(st.text(max_size=30))
def test_any_unit_is_legal_xml(unit):
    text = junit_xml(report(item(unit), path=unit))
    root = parsed(text)
    assert parsed(text.encode("utf-8").decode()) is not None
    assert root[0][0].attrib["name"] == visible(unit)


def test_what_xml_cannot_hold_is_escaped():
    text = junit_xml(report(item("a\x00b\x1b\ud800\ufffe<&>\"'")))
    assert parsed(text)[0][0].attrib["name"] == "a\\x00b\\x1b\\ud800\\ufffe<&>\"'"
