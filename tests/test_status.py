"""What `curate status` counts, and what it says of shards whose verdicts no longer hold."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.commands.status import (
    DECISION_NAMES,
    reason_counts,
    status,
    verdict_counts,
    word_counts,
)
from curate.dataset.sample import Caption, Sample, Verdict
from curate.formats.verdicts import USES
from curate.shards.pack import pack
from tests.packable import change_rows, dataset_of, fetch_pictures, run


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A dataset in `data`, fetched from a folder of seven images."""
    fetch_pictures(tmp_path, monkeypatch)
    return tmp_path


def answer(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    capsys.readouterr()
    run(*words)
    return capsys.readouterr().out


def test_status_counts_what_there_is(folder, capsys):
    before = json.loads(answer(capsys, "status", "--json"))
    assert (before["rows"], before["live"], before["dropped"]) == (7, 7, {})
    assert before["verdicts"]["train"] == {"allow": 0, "hold": 0, "deny": 0, "unchecked": 7}
    assert before["licences"] == {"unchecked": 7}
    assert before["shards"] is None
    run("build", "--size", "32")
    after = json.loads(answer(capsys, "status", "--json"))
    assert (after["rows"], after["live"], after["dropped"]) == (7, 6, {"duplicate": 1})
    assert after["verdicts"]["train"] == {"allow": 3, "hold": 2, "deny": 1, "unchecked": 0}
    assert after["licences"] == {
        "CC-BY-4.0": 1,
        "CC-BY-NC-ND-4.0": 1,
        "CC0-1.0": 1,
        "GPL-3.0-only": 1,
        "MIT": 1,
        "unknown": 1,
    }
    assert after["reasons"]["licence:GPL-3.0-only"] == 1
    assert after["captions"] == {"0": 1, "1": 4, "2": 1}  # one from a copy
    assert after["words"]["snow"] == after["words"]["storm"] == 1
    assert "a" not in after["words"]
    assert after["distinct_words"] == len(after["words"])
    assert (after["shards"]["samples"], after["shards"]["shards"]) == (2, 1)


def test_status_in_lines(folder, capsys):
    run("build", "--size", "32")
    lines = answer(capsys, "status").splitlines()
    for line in (
        "rows\t7",
        "in use\t6",
        "dropped: duplicate\t1",
        "train: allow\t3",
        "not trained on: licence-unknown\t1",
        "licence: CC0-1.0\t1",
        "with 0 captions\t1",
        "word: elf\t1",
        "in shards: samples\t2",
    ):
        assert line in lines


verdict = st.none() | st.builds(
    Verdict, st.sampled_from(DECISION_NAMES[:3]), st.lists(st.sampled_from("ab")).map(tuple)
)
rows = st.lists(
    st.builds(
        Sample,
        key=st.uuids().map(str),
        source=st.just("x"),
        train=verdict,
        share_dataset=verdict,
        share_model=verdict,
        captions=st.lists(
            st.builds(Caption, st.sampled_from(["a cat", "The CAT and dogs", ""]), st.just("text"))
        ).map(tuple),
    ),
    max_size=6,
)


@given(rows)
def test_counts_add_up(samples):
    counts = verdict_counts(samples)
    assert set(counts) == set(USES)
    assert all(sum(by.values()) == len(samples) for by in counts.values())
    held = [s for s in samples if s.train and s.train.decision != "allow"]
    assert all(0 < n <= len(held) for n in reason_counts(samples).values())
    words = word_counts(samples)
    assert set(words) <= {"cat", "dogs"}
    cats = sum(any("cat" in c.text.lower() for c in s.captions) for s in samples)
    assert words.get("cat", 0) == cats
    assert list(words.values()) == sorted(words.values(), reverse=True)


# shards


HOLD, DENY = Verdict("hold", ("licence-sa",)), Verdict("deny", ("opt-out:api:noai",))


def test_shards_that_say_what_the_rows_say_are_not_stale(tmp_path):
    dataset = dataset_of(tmp_path)
    pack(dataset)
    found = status(dataset)
    assert (found.stale, found.notes) == ({}, ())
    change_rows(dataset, {"captions": ()})  # not packed again, but what is packed may be used
    assert status(dataset).stale == {}


def test_stale_samples_are_counted_by_reason_with_what_mends_them(tmp_path, capsys):
    dataset = dataset_of(tmp_path / "data")
    pack(dataset, size=20, format="png")
    change_rows(dataset, {"train": HOLD}, {"train": DENY}, {"dropped": "removed:asked"})
    run("status", "--data", str(dataset.root))
    told = capsys.readouterr()
    lines = told.out.splitlines()
    at = lines.index("in shards: bytes\t" + str(status(dataset).shards["bytes"]))
    assert lines[at + 1 :] == [
        "in shards, stale: deny\t1",
        "in shards, stale: dropped:removed\t1",
        "in shards, stale: hold\t1",
    ]
    assert told.err == (
        f"{dataset.shards}: 3 of 5 samples are stale (deny 1, dropped:removed 1, hold 1), such as "
        "t-000: they say more than their dataset allows now\n"
        f"  fix: curate pack --data {dataset.root} --size 20 --format png --background white\n"
    )
    run("status", "--json", "--data", str(dataset.root))
    told = json.loads(capsys.readouterr().out)
    assert told["stale"] == {"deny": 1, "dropped:removed": 1, "hold": 1}
    assert told["shards"]["samples"] == 5
    pack(dataset, size=20, format="png")
    assert (status(dataset).stale, status(dataset).notes) == ({}, ())


def test_shards_without_their_index_are_told_stale_or_not(tmp_path):
    dataset = dataset_of(tmp_path)
    pack(dataset)
    (dataset.shards / "index.json").unlink()
    found = status(dataset)
    assert found.shards is None and found.stale == {}
    assert "1 tars without an index: no set of shards" in found.notes[0]
    change_rows(dataset, {"train": DENY})
    found = status(dataset)
    assert found.stale == {"deny": 1}
    assert "1 samples are stale (deny 1), such as t-000" in found.notes[0]


def test_a_policy_that_was_changed_since_is_named_with_the_fix(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("mine.toml").write_text('[train]\nallow = ["cc0"]\n', encoding="utf-8")
    run("check", "--policy", "mine.toml")
    run("status")
    assert "changed since" not in capsys.readouterr().err
    Path("mine.toml").write_text("[train]\nallow = []\n", encoding="utf-8")
    run("status")
    told = capsys.readouterr().err.splitlines()
    assert told[-2:] == [
        "the policy mine.toml has changed since it decided",
        "  fix: curate check --policy mine.toml",
    ]
    run("check", "--policy", "mine.toml")
    Path("mine.toml").unlink()
    run("status")
    assert "changed since" not in capsys.readouterr().err
