"""Real statements of rights are read right, and no way of bending them makes them allow more."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import fuzz_licences  # noqa: E402
from fuzz_licences import Case, answer, broken_law, make_cases, real_statements  # noqa: E402
from licence_oracle import ALL, CREDITED, NOTHING, bound, is_seen, permissions  # noqa: E402

from curate.rights.licences import Licence, identify, is_family, licence_url  # noqa: E402

REAL = real_statements()
UNREAD = {  # right answers that are not found: unknown, which is held
    "OGL v1.0",  # alone it could be the Open Game License
    'Some rights reserved. This work is licensed under a <a href="http://creativecommons.org/'
    'licenses/by-nc-nd/3.0/">Creative Commons Attribution-Noncommercial-No Derivative Works 3.0 '
    "License</a>.",
}


def test_there_are_enough_real_statements():
    assert len({(text, url) for _, text, url in REAL}) == len(REAL) >= 300


@pytest.mark.parametrize(("right", "text", "url"), REAL)
def test_real_statements(right, text, url):
    assert answer(text, url) == ("unknown" if text in UNREAD else right)


def test_what_is_read_is_named_and_allows_no_more_than_its_words():
    for _, text, url in REAL:
        assert broken_law(Case("bound", text, url)) is None


def test_no_bent_statement_allows_more():
    broken = [(fault, case) for case in make_cases(4000, 7) if (fault := broken_law(case))]
    assert broken == []


def test_the_laws_see_a_reader_that_upgrades(monkeypatch):
    monkeypatch.setattr(fuzz_licences, "identify", lambda text, url: Licence("CC-BY-4.0", ""))
    broken = [fault for case in make_cases(300, 7) if (fault := broken_law(case))]
    assert len(broken) > 200
    assert {fault.split(":")[0] for fault in broken} >= {"bound", "host"}


@pytest.mark.parametrize(
    ("text", "most"),
    [
        ("CC0", ALL),
        ("CC BY 4.0", CREDITED),
        ("CC BY-SA 4.0", CREDITED - {"under other terms"}),
        ("CC BY-NC 4.0", CREDITED - {"commercial"}),
        ("Attribution-NoDerivs 3.0", CREDITED - {"modify", "train"}),
        ("https://creativecommons.org/licenses/by-nc-nd/4.0/", {"share", "under other terms"}),
        ("CC BY 3.0 no", CREDITED),
        ("CC BY 3.0: no", NOTHING),
        ("not CC0", NOTHING),
        ("CC BY 4.0 does not apply", NOTHING),
        ("All rights reserved, CC BY 4.0", NOTHING),
    ],
)
def test_the_most_that_words_leave(text, most):
    assert bound(text) == most


def test_the_order_of_permissions():
    assert permissions("CC-BY-NC-ND-4.0") < permissions("CC-BY-NC-4.0") < permissions("CC-BY-4.0")
    assert permissions("CC-BY-SA-4.0") < permissions("CC-BY-4.0") < permissions("CC0-1.0")
    assert not permissions("CC-BY-NC-4.0") <= permissions("CC-BY-SA-4.0")
    assert permissions("LicenseRef-MyStudio") == permissions("LicenseRef-Own") == NOTHING
    assert is_seen("CC-BY-2.5", "CC BY 2.5") and not is_seen("CC-BY-2.5", "CC BY 2.0")


def test_the_answer_is_the_same_in_every_process():
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import hashlib, fuzz_licences as f;"
        "said = [repr(f.identify(c.text, c.url)) for c in f.make_cases(400, 3)];"
        "print(hashlib.sha256(repr(said).encode()).hexdigest())"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", code, str(BENCHMARKS)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            cwd=BENCHMARKS.parent,
        ).stdout
        for seed in ("0", "1")
    }
    assert len(digests) == 1


def test_denials_name_nothing():
    for text in (
        *("not CC0", "no licence", "non CC-BY", "no CC BY 3.0", "CC BY 4.0 does not apply"),
        *("CC BY 4.0 unless otherwise noted", "except CC BY 4.0", "CC BY 3.0: no", "CC BY 3.0, no"),
        *("CC BY 3.0 no licence", "kein CC0", "nicht CC BY 4.0", "pas CC BY 4.0", "sin CC BY 4.0"),
        *("не CC BY 4.0", "não CC BY 4.0", "ikke CC BY 3.0", "no CC BY 3.0 no", "CC BY 4.0?"),
    ):
        assert identify(text, None).id is None, text


def test_the_link_of_each_listed_licence_names_it():
    ids = {identify(text, url).id for _, text, url in REAL}
    linked = [id for id in ids if id and not is_family(id) and licence_url(id)]
    assert len(linked) > 50
    for id in linked:
        if not id.startswith("LicenseRef-scancode-us"):
            assert identify(None, licence_url(id)).id == id


def test_an_id_read_again_is_itself():
    ids = {identify(text, url).id for _, text, url in REAL} - {None}
    for id in ids:
        assert identify(id, None).id == id
