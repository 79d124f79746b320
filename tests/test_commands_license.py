"""`curate license`: what statements name, a line each."""

import io
import json
import sys

import pytest

from curate.cli import main

CC = "https://creativecommons.org"


@pytest.fixture
def license(capsys, monkeypatch):
    """The command, with what stands on standard input: output and exit code."""

    def run(*words: str, pipe: bytes | None = None) -> tuple[str, int]:
        stream = io.TextIOWrapper(io.BytesIO(pipe or b""))
        stream.isatty = lambda: pipe is None
        monkeypatch.setattr(sys, "stdin", stream)
        code = 0
        try:
            main(["license", *words])
        except SystemExit as stopped:
            code = stopped.code or 0
        said = capsys.readouterr()
        return said.out or said.err, code

    return run


def answers(output: str) -> list[str]:
    lines = [line.split("\t") for line in output.splitlines()]
    assert all(len(line) == 3 for line in lines)
    return [line[0] for line in lines]


def test_one_line_each_with_id_derivation_and_text(license):
    output, code = license("Licensed under CC BY 4.0", "CC BY", "nothing known")
    assert code == 0
    assert output.splitlines() == [
        "CC-BY-4.0\ttext 'Licensed under CC BY 4.0'\tLicensed under CC BY 4.0",
        "family:CC-BY\ttext 'CC BY', which leaves open which version\tCC BY",
        "unknown\ttext 'nothing known' names no licence known here\tnothing known",
    ]


def test_what_is_given_stays_one_line(license):
    output, _ = license("CC\tBY\n4.0", "\x1b[31mCC0", "CC0\ud83d", "")
    assert output.count("\n") == 4
    assert answers(output) == ["CC-BY-4.0", "unknown", "unknown", "unknown"]
    assert "\x1b" not in output and r"CC\tBY\n4.0" in output


def test_lines_of_a_pipe(license):
    pipe = "\ufeffCC0\r\n\nCC BY-SA 4.0\n".encode() + b"\xff"
    for words in ((), ("-",)):
        output, code = license(*words, pipe=pipe)
        assert answers(output) == ["CC0-1.0", "unknown", "CC-BY-SA-4.0", "unknown"] and code == 0
    assert license(pipe=b"") == ("", 0)


def test_a_person_is_told_what_to_type(license):
    output, code = license()
    assert code == 2
    assert output == "error: curate license: no text is given\n  fix: " + (
        'curate license "CC BY-SA 4.0"\n'
    )


def test_a_text_with_an_address(license):
    address = f"{CC}/licenses/by/2.0/"
    assert answers(license("CC BY", "--url", address)[0]) == ["CC-BY-2.0"]
    alone, _ = license("--url", address)
    assert answers(alone) == ["CC-BY-2.0"]
    assert alone.rstrip("\n").split("\t")[-1] == address, "what was given"
    assert answers(license("--url", "")[0]) == ["unknown"]
    output, code = license("CC BY", "CC0", "--url", address)
    assert (code, output.splitlines()[0]) == (
        2,
        "error: --url: stands beside one text, and there are 2",
    )


def test_contradictions_and_own_work_are_unknown(license):
    output, _ = license("CC BY 4.0", "--url", f"{CC}/licenses/by-nc/4.0/")
    assert answers(output) == ["unknown"] and "disagree\t" in output
    output, _ = license("own work", "LicenseRef-Own", "own")
    assert answers(output) == ["unknown"] * 3 and "nothing of what others may do" in output


def test_flickr_numbers(license):
    numbers = [str(n) for n in range(18)]
    assert answers(license(*numbers, "CC0", "--flickr")[0]) == [
        "LicenseRef-AllRightsReserved",
        *("CC-BY-NC-SA-2.0", "CC-BY-NC-2.0", "CC-BY-NC-ND-2.0"),
        *("CC-BY-2.0", "CC-BY-SA-2.0", "CC-BY-ND-2.0"),
        *("LicenseRef-NoKnownCopyright", "LicenseRef-scancode-us-govt-public-domain"),
        *("CC0-1.0", "CC-PDM-1.0"),
        *("CC-BY-4.0", "CC-BY-SA-4.0", "CC-BY-ND-4.0"),
        *("CC-BY-NC-4.0", "CC-BY-NC-SA-4.0", "CC-BY-NC-ND-4.0"),
        *("unknown", "CC0-1.0"),
    ]
    assert set(answers(license(*numbers)[0])) == {"unknown"}


@pytest.mark.parametrize(
    ("texts", "code"),
    [
        (["CC0", "CC BY 4.0"], 0),
        (["CC0", "?"], 1),
        (["CC BY"], 1),
        (["own"], 1),
        ([""], 1),
    ],
)
def test_check_fails_where_one_licence_is_not_named(license, texts, code):
    assert license(*texts, "--check")[1] == code
    assert license(*texts)[1] == 0


def test_json_holds_the_same(license):
    output, code = license("CC BY", "x", "--json", "--check")
    assert code == 1
    assert json.loads(output) == [
        {
            "license": "family:CC-BY",
            "how": "text 'CC BY', which leaves open which version",
            "text": "CC BY",
            "url": None,
        },
        {
            "license": None,
            "how": "text 'x' names no licence known here",
            "text": "x",
            "url": None,
        },
    ]
