"""Two reports compared: what is new, what has closed, what else has changed."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.errors import InputError
from curate.report.baseline import Change, compare_reports, read_baseline

SEVERITY = {
    "missing": "error", "thin": "error", "low": "warning", "covered": "info", "negated": "info",
    "unseen-pair": "warning", "rare-pair": "warning", "seen-pair": "info",
}  # fmt: skip


def item(unit: str, verdict: str, n: int = 0, kind: str = "word") -> dict[str, Any]:
    severity = SEVERITY[verdict]
    return {"unit": unit, "kind": kind, "verdict": verdict, "severity": severity, "n_images": n}


def report(*items: dict[str, Any], **other: Any) -> dict[str, Any]:
    whole = {
        "schema": "vocab-gaps/1",
        "prompts": {"path": "prompts.txt", "count": 2},
        "data": {"path": "data", "kind": "dataset"},
        "profile": {"name": "finetune", "min": 5, "target": 30},
        "items": list(items),
    }
    return whole | other


def units(changes: tuple[Change, ...]) -> list[str]:
    return [change.unit for change in changes]


def test_gaps_open_close_and_change():
    old = report(
        item("fox", "missing"), item("dog", "thin", 3), item("owl", "covered", 40),
        item("cat", "low", 9), item("elf", "covered", 31), item("gnu", "missing"),
    )  # fmt: skip
    new = report(
        item("fox", "covered", 30), item("dog", "low", 12), item("owl", "low", 20),
        item("cat", "low", 11), item("elf", "covered", 31), item("yak", "missing"),
    )  # fmt: skip
    found = compare_reports(old, new)
    assert units(found.new) == ["yak", "owl"]  # errors first
    assert units(found.closed) == ["dog", "fox"]  # still low, and covered
    assert units(found.changed) == ["gnu", "cat"]
    assert found.changed[0].now is None and found.notes == ()
    assert found.sentences() == [
        "new gaps: 2: yak (missing, 0 images); owl (covered, 40 images -> low, 20 images)",
        "closed: 2: dog (thin, 3 images -> low, 12 images); "
        "fox (missing, 0 images -> covered, 30 images)",
        "changed otherwise: 2: gnu (missing, 0 images -> no longer asked for); "
        "cat (low, 9 images -> low, 11 images)",
    ]


@pytest.mark.parametrize(
    ("was", "now", "error", "warning"),
    [
        ("covered", "missing", True, True),
        ("low", "thin", True, True),
        ("covered", "low", False, True),
        ("thin", "low", False, False),
        ("thin", "missing", False, False),
        ("missing", "missing", False, False),
    ],
)
def test_only_new_gaps_fail(was, now, error, warning):
    found = compare_reports(report(item("fox", was, 3)), report(item("fox", now, 2)))
    assert [found.fails(f) for f in ("error", "warning", "never")] == [error, warning, False]


def test_wanted_and_negated_are_two_units():
    old = report(item("hat", "negated"))
    found = compare_reports(old, report(item("hat", "negated"), item("hat", "missing")))
    assert [(c.unit, c.negated) for c in found.new] == [("hat", False)]
    word_and_pair = compare_reports(old, report(item("hat", "unseen-pair", kind="pair")))
    assert units(word_and_pair.new) == ["hat"] and units(word_and_pair.changed) == ["hat"]


def test_a_pair_that_became_known_is_no_new_gap():
    """Better captions never fail a check: the pair's word was missing before."""
    old = report(item("elf", "missing"), item("cat", "covered", 50))
    pair = item("cat + elf", "unseen-pair", kind="pair")
    found = compare_reports(
        old, report(item("elf", "covered", 40), item("cat", "covered", 50), pair)
    )
    assert not found.fails("warning") and found.new == ()
    assert found.changed[0].why == "listed since captions know elf"
    other = item("cat + owl", "unseen-pair", kind="pair")
    assert units(compare_reports(old, report(*old["items"], other)).new) == ["cat + owl"]


def test_what_else_differs_is_said():
    other = {
        "prompts": {"path": "more.txt", "count": 3},
        "data": {"path": "tiles", "kind": "shards"},
        "profile": {"name": "lora", "min": 1, "target": 5},
    }
    assert compare_reports(report(), report(**other)).sentences() == [
        "other prompts than before: more.txt, then prompts.txt",
        "other data than before: tiles, then data",
        "other profile than before: lora (min 1, target 5), then finetune (min 5, target 30)",
        "new gaps: none",
        "closed: none",
    ]


def test_json_holds_all_of_it():
    found = compare_reports(report(item("fox", "missing")), report(item("fox", "low", 9)))
    state = {"verdict": "missing", "severity": "error", "n_images": 0}
    assert json.loads(json.dumps(found.as_json())) == {
        "new": [],
        "closed": [
            {
                "unit": "fox", "kind": "word", "negated": False, "why": "", "before": state,
                "now": {"verdict": "low", "severity": "warning", "n_images": 9},
            }
        ],
        "changed": [],
        "notes": [],
    }  # fmt: skip


def test_a_long_list_is_cut():
    found = compare_reports(report(), report(*(item(f"w{n:02}", "missing") for n in range(11))))
    assert found.sentences()[0].endswith("w07 (missing, 0 images); and 3 more")


some_items = st.lists(
    st.builds(
        item,
        st.sampled_from("abcde"),
        st.sampled_from(["missing", "thin", "low", "covered"]),
        st.integers(0, 40),
    ),
    max_size=5,
    unique_by=lambda i: i["unit"],
)


@given(some_items, some_items, st.randoms())
def test_every_difference_is_in_one_list_and_order_changes_nothing(old, new, order):
    found = compare_reports(report(*old), report(*new))
    mixed = (order.sample(side, len(side)) for side in (old, new))
    assert compare_reports(*(report(*side) for side in mixed)) == found
    listed = units(found.new + found.closed + found.changed)
    was, now = ({i["unit"]: i for i in side} for side in (old, new))
    differing = {u for u in was.keys() | now.keys() if was.get(u) != now.get(u)}
    quiet = {u for u in now.keys() - was.keys() if now[u]["severity"] == "info"}
    both = was.keys() & now.keys()
    quiet |= {u for u in both if was[u]["verdict"] == now[u]["verdict"] == "covered"}
    assert sorted(listed) == sorted(differing - quiet)
    assert compare_reports(report(*new), report(*new)).sentences() == [
        "new gaps: none",
        "closed: none",
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "no such report to compare with"),
        (b"", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 200_000, "not JSON"),
        (b"[1]", r"not a report of vocab-gaps/1 \(it states no schema\)"),
        (b'{"schema": "vocab-gaps/9"}', "its schema is 'vocab-gaps/9'"),
        (b'{"schema": "vocab-gaps/1"}', r"a damaged report \(KeyError: 'items'\)"),
        (b'{"schema": "vocab-gaps/1", "items": [{"unit": 1}]}', "a damaged report"),
        (b'{"schema": "vocab-gaps/1", "items": 4}', "a damaged report"),
        (b'{"schema": "vocab-gaps/1", "items": []}', "a damaged report"),
        (json.dumps(report(item("a", "low") | {"severity": "bad"})).encode(), "no severity 'bad'"),
    ],
)
def test_what_is_no_report_is_refused(tmp_path: Path, content: bytes | None, said: str):
    path = tmp_path / "old.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=said) as error:
        read_baseline(path)
    assert "curate vocab-gaps PROMPTS --json FILE.json" in error.value.fix


def test_a_folder_is_no_report(tmp_path: Path):
    with pytest.raises(InputError, match="cannot be read"):
        read_baseline(tmp_path)


def test_a_report_is_read_as_it_was_written(tmp_path: Path):
    whole = report(item("fox", "missing"))
    (tmp_path / "old.json").write_text(json.dumps(whole))
    assert read_baseline(tmp_path / "old.json") == whole
