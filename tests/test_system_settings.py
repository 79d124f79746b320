"""Settings from TOML: what is not understood is refused, with what was probably meant."""

from pathlib import Path
from typing import Any

import pytest

from curate.errors import InputError
from curate.system.settings import check_settings, read_toml, suggest

HINTS = {
    "rate": float,
    "count": int,
    "name": str,
    "quiet": bool,
    "any": list,
    "sides": tuple[int, ...],
    "words": dict[str, tuple[str, ...]],
    "uses": tuple[dict[str, Any], ...],
}


def test_what_a_file_says_is_returned_as_its_types_hold_it(tmp_path: Path):
    file = tmp_path / "a.toml"
    file.write_bytes(
        b"\xef\xbb\xbfrate = 1\nname = 'x'\nsides = [1, 2]\nany = [1, 'b']\n"
        b"words.ice = ['snow']\n[[uses]]\na = 1\n"
    )
    assert check_settings(file, read_toml(file, fix="-"), HINTS) == {
        "rate": 1,
        "name": "x",
        "sides": (1, 2),
        "any": [1, "b"],
        "words": {"ice": ("snow",)},
        "uses": ({"a": 1},),
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cuont = 1", "F: no setting 'cuont'\n  fix: did you mean count?"),
        ("zzz = 1", f"F: no setting 'zzz'\n  fix: one of {', '.join(HINTS)}"),
        ("size = 1", "F: no setting 'size'\n  fix: it is called name now"),
        ("rate = 'x'\nzzz = 1", "F: no setting 'zzz'\n  fix: one of rate"),
        ("count = 1.0", "F count: 1.0 is not a whole number\n  fix: write a whole number"),
        ("count = true", "F count: True is not a whole number\n  fix: write a whole number"),
        ("rate = '1'", "F rate: '1' is not a number\n  fix: write a number"),
        ("name = 1", "F name: 1 is not a text in quotes\n  fix: write a text in quotes"),
        ("quiet = 1", "F quiet: 1 is not true or false\n  fix: write true or false"),
        ("any = 1", "F any: 1 is not a list\n  fix: as it stands in the guide"),
        ("sides = 1", "F sides: 1 is not a list of whole numbers\n  fix: write a list of whole"),
        ("sides = [1, 'a']", "F sides: [1, 'a'] is not a list of whole numbers\n  fix: write a"),
        ("words = 1", "F words: 1 is not a table [words]\n  fix: write a table [words]"),
        ("words.ice = 1", "F words.ice: 1 is not a list of texts in quotes\n  fix: write a list"),
        ("uses = [1]", "F uses: [1] is not a list of tables [[uses]]\n  fix: write a list of tab"),
    ],
)
def test_what_is_not_understood_is_refused(tmp_path: Path, text: str, message: str):
    (tmp_path / "a.toml").write_text(text)
    fixes = {"size": "it is called name now", "any": "as it stands in the guide"}
    with pytest.raises(InputError) as caught:
        check_settings("F", read_toml(tmp_path / "a.toml", fix="-"), HINTS, fixes)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "no such file\n  fix: name one"),
        (b"# caf\xe9\n", "not UTF-8 text\n  fix: save it as UTF-8 text"),
        (b"a = [", "not TOML (Invalid value (at end of document))\n  fix: correct it there"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(tmp_path: Path, data: bytes | None, message: str):
    file = tmp_path / "a.toml"
    if data is not None:
        file.write_bytes(data)
    with pytest.raises(InputError) as caught:
        read_toml(file, fix="name one")
    assert str(caught.value) == f"{file}: {message}"
    with pytest.raises(InputError, match=r"cannot be read \(Is a directory\)\n  fix: name one"):
        read_toml(tmp_path, fix="name one")


def test_the_nearest_name_is_offered():
    assert suggest("persnal", ["research", "personal"]) == "did you mean personal?"
    assert suggest("zzz", ["a", "b"]) == "one of a, b"
    assert suggest("zzz", ["a", "b"], "choose a file") == "choose a file"
