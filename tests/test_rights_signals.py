"""All that is said of an image, gathered: every signal in every state, from what is stored."""

import re
from collections import Counter
from pathlib import Path

import pytest
from opt_out_cases import IMAGE, Case, all_cases

from curate.dataset.evidence import StoredAnswer, write_answer
from curate.dataset.folder import Store
from curate.dataset.sample import Sample, Signal
from curate.errors import InputError
from curate.rights.signals.collect import (
    refuse_before_asking,
    refuse_before_reading,
    signals_of,
)
from curate.rights.signals.embedded import read_embedded

HOST = "https://a.example"
CASES = all_cases()


def row_of(case: Case, store: Store, key: str) -> tuple[Sample, list[StoredAnswer]]:
    """The row that a fetch of the image of a case leaves, and what its host said."""
    documents = [
        StoredAnswer(HOST + path, 200, (), "2026-11-01T00:00:00Z", text)
        for path, text in case.documents.items()
    ]
    stored = tuple(write_answer(store, document) for document in documents)
    headers = tuple(f"{name}: {value}" for name, value in case.headers)
    sha256 = store.put(case.image) if case.kept else None
    url = HOST + IMAGE
    row = Sample(key, "test", image_url=url, site_evidence=stored, headers=headers, sha256=sha256)
    return row, documents


def test_each_signal_in_each_state_says_what_it_should(tmp_path):
    store = Store(tmp_path)
    rows = [row_of(case, store, f"test-{number}") for number, case in enumerate(CASES)]
    read = read_embedded([row for row, _ in rows], store)
    for case, row, (_, documents) in zip(CASES, read, rows, strict=True):
        about = (case.signal, case.state)
        said = {signal.name: signal.allows for signal in signals_of(row, store)}
        assert said == case.says, about
        refused = refuse_before_asking(HOST + IMAGE, documents)
        assert refused == (None if case.asked else "opt-out:robots.txt"), about
        unread = refuse_before_reading(row.headers)
        assert (unread is None) == (case.kept or not case.asked), about


def test_every_signal_stands_in_every_state_that_it_has():
    states: dict[str, set[str]] = {}
    for case in CASES:
        states.setdefault(case.signal, set()).add(case.state.split(",")[0].split(" ")[0])
    one_state = {"two signals", "C2PA manifest"}
    without_allowance = {"Link", "RSL in robots.txt"}  # an offer is neither yes nor no
    for signal, found in states.items():
        if signal not in one_state | without_allowance:
            wanted = {"allowed", "denied", "conflicting", "malformed"}
            assert wanted <= found, signal
    assert len(CASES) == len({(case.signal, case.state) for case in CASES})
    assert Counter(case.train for case in CASES).keys() == {"allow", "hold", "deny"}


def test_what_its_source_says_comes_first_and_each_thing_once(tmp_path):
    store = Store(tmp_path)
    robots = StoredAnswer(f"{HOST}/robots.txt", 200, (), "", "User-agent: *\nDisallow: /i/")
    row = Sample(
        "test-1",
        "test",
        image_url=f"{HOST}/i/a.jpg",
        final_url=f"{HOST}/i/b.jpg",
        opt_outs=("api:noAiTraining",),
        headers=("X-Robots-Tag: noai", "x-robots-tag: noai"),
        site_evidence=(write_answer(store, robots),),
        embedded=(Signal("xmp:DMI-ALLOWED", True, "item"),),
    )
    assert signals_of(row, store) == (
        Signal("api:noAiTraining", False, "item"),
        Signal("x-robots-tag:noai", False, "item"),
        Signal("robots.txt", False, "site"),
        Signal("xmp:DMI-ALLOWED", True, "item"),
    )


def test_every_host_of_a_chain_of_redirects_is_heard(tmp_path):
    store = Store(tmp_path)
    texts = {"a": "Content-Signal: ai-train=yes", "b": "Content-Signal: ai-train=no", "c": ""}
    stored = [
        write_answer(store, StoredAnswer(f"https://{name}.example/robots.txt", 200, (), "", text))
        for name, text in texts.items()
    ]
    row = Sample(
        "test-1",
        "test",
        image_url="https://a.example/1.jpg",
        redirects=("https://b.example/1.jpg",),
        final_url="https://c.example/1.jpg",
        site_evidence=tuple(stored),
    )
    assert [s.allows for s in signals_of(row, store)] == [True, False]


def test_a_document_that_is_missing_is_said(tmp_path):
    row = Sample("test-1", "test", image_url=f"{HOST}/1.jpg", site_evidence=("0" * 64,))
    with pytest.raises(InputError):
        signals_of(row, Store(tmp_path))
    assert signals_of(Sample("test-2", "folder"), Store(tmp_path)) == ()


def test_the_guide_names_every_signal():
    guide = (Path(__file__).parent.parent / "docs" / "opt-outs.md").read_text()
    for name in {name for case in CASES for name in case.says}:
        written = re.sub(r"DMI-.*", "DMI-…", re.sub(r"^(cawg|c2pa):\w+=.*", r"\1:USE=", name))
        stem, _, answer = written.rpartition("=" if "=" in written else ":")
        sibling = f"`={answer}`" in guide or f"`:{answer}`" in guide
        assert f"`{written}" in guide or (f"`{stem}" in guide and sibling) or answer == "unread"
