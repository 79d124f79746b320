"""The plan of a report: budgets, the script, and the script run for real."""

import json
import math
import os
import random
import shlex
import subprocess
import sys
from collections.abc import Iterable
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from captioned_shards import write_shards
from hypothesis import given, settings
from hypothesis import strategies as st
from servers import Answer, Server, image_bytes, openverse_page, openverse_result, run_server

from curate.commands.gaps import GapsSettings, vocab_gaps
from curate.dataset.folder import Dataset
from curate.errors import ExitCode
from curate.net.site import DOCUMENTS
from curate.report import baseline
from curate.report.budget import MAX_RESULTS, Gap, plan_fetches, split_budget
from curate.report.plan import Plan, make_plan, plan_script
from curate.report.report import to_json


def item(
    unit: str,
    verdict: str = "missing",
    *,
    kind: str = "word",
    severity: str = "error",
    n: int = 0,
    need: int = 30,
    lines: Iterable[int] = (1,),
    **more: Any,
) -> dict[str, Any]:
    return {
        "unit": unit,
        "kind": kind,
        "verdict": verdict,
        "severity": severity,
        "n_images": n,
        "prompts": [{"line": line, "span": [0, len(unit)], "text": unit} for line in lines],
        "fix": {"fetch": [], "need": need},
        **more,
    }


def report(*items: dict[str, Any], path: str = "data", kind: str = "dataset") -> dict[str, Any]:
    return {
        "schema": "vocab-gaps/1",
        "prompts": {"path": "prompts.txt", "count": 9},
        "data": {"path": path, "kind": kind, "images": 9, "captions": 9, "rows": {}},
        "profile": {"name": "finetune", "min": 5, "target": 30},
        "items": list(items),
    }


def limits(found: Plan) -> dict[str, int]:
    return {one.gap.query: one.images for one in found.fetches}


def commands(text: str) -> list[list[str]]:
    """What bash would run, comments left out."""
    return [shlex.split(line) for line in text.splitlines() if line and not line.startswith("#")]


# budgets


def gained(gaps: list[tuple[int, int, int]], shares: Iterable[int]) -> float:
    return sum(
        w * (math.log(1 + n + x) - math.log(1 + n))
        for (w, n, _), x in zip(gaps, shares, strict=True)
    )


some_gaps = st.lists(
    st.tuples(st.integers(1, 5), st.integers(0, 6), st.integers(0, 5)), min_size=1, max_size=4
)


@given(some_gaps, st.integers(0, 14))
@settings(max_examples=60)
def test_no_other_split_gains_more(gaps, budget):
    shares = split_budget(gaps, budget)
    assert sum(shares) == min(budget, sum(need for *_, need in gaps))
    assert all(0 <= x <= need for x, (*_, need) in zip(shares, gaps, strict=True))
    choices = product(*(range(need + 1) for *_, need in gaps))
    best = max(gained(gaps, one) for one in choices if sum(one) <= budget)
    assert gained(gaps, shares) == pytest.approx(best)


def test_the_first_pictures_go_where_there_are_none_and_where_more_prompts_ask():
    assert split_budget([(1, 0, 30), (1, 20, 10)], 10) == [10, 0]
    alone, asked_thrice = split_budget([(1, 0, 100), (3, 0, 100)], 40)
    assert asked_thrice == pytest.approx(3 * alone, abs=3) and alone + asked_thrice == 40
    assert split_budget([(1, 0, 3)], 1000) == [3]
    assert split_budget([], 10) == []


words = st.sampled_from(["bear", "fox", "polar", "red", "snow", "tree"])
any_item = st.one_of(
    st.builds(item, words, n=st.integers(0, 4), lines=st.sets(st.integers(1, 5), min_size=1)),
    st.builds(
        item,
        st.tuples(words, words).map(" + ".join),
        st.just("unseen-pair"),
        kind=st.sampled_from(["pair", "bind"]),
        severity=st.just("warning"),
        need=st.integers(1, 5),
    ),
)


@given(st.lists(any_item, max_size=7), st.integers(1, 90), st.randoms())
@settings(max_examples=60)
def test_the_order_of_the_report_changes_nothing_and_the_budget_holds(items, budget, order):
    found = make_plan(report(*items), budget=budget)
    mixed = make_plan(report(*order.sample(items, len(items))), budget=budget)
    assert {(f.gap.query, f.images) for f in found.fetches} == {
        (f.gap.query, f.images) for f in mixed.fetches
    }
    assert plan_script(found) == plan_script(mixed)
    assert sum(limits(found).values()) <= budget
    assert all(0 < f.images <= f.gap.need - f.served for f in found.fetches)


def test_pictures_of_a_phrase_serve_its_words():
    phrase = item("polar bear", "phrase-missing", kind="phrase", need=30)
    alone = limits(make_plan(report(item("bear", "low", severity="warning", n=8, need=22))))
    both = limits(make_plan(report(phrase, item("bear", "low", severity="warning", n=8, need=22))))
    assert alone == {"bear": 22}
    assert both == {"polar bear": 30}  # brings all the bears that are needed
    some = limits(make_plan(report(phrase, item("bear", n=0, need=40))))
    assert some == {"polar bear": 30, "bear": 10}


def test_a_word_is_fetched_as_its_own_command_says_and_numbers_alone_are_not():
    sitting = item("sitting", lines=(1, 2))
    sitting["fix"]["fetch"] = ["curate fetch openverse --query 'dog sitting' --data 'my data'"]
    dog = item("dog", need=60)
    year = item("1506")

    found = {f.gap.unit: f for f in make_plan(report(sitting, dog, year), budget=50).fetches}

    assert set(found) == {"sitting", "dog"}
    assert found["sitting"].gap.query == "dog sitting"
    assert found["dog"].served == found["sitting"].images == 30
    assert found["dog"].images <= 60 - found["dog"].served


def test_the_same_query_is_fetched_once():
    pair = item("polar + bear", "unseen-pair", kind="pair", severity="warning", need=5, lines=[2])
    phrase = item("polar bear", "phrase-missing", kind="phrase", need=30)
    (only,) = make_plan(report(pair, phrase)).fetches
    assert (only.gap.verdict, only.images, len(only.gap.lines)) == ("phrase-missing", 30, 2)


def test_more_gaps_than_a_day_allows_wait_and_errors_go_first():
    low = [item(f"w{n}", "low", severity="warning", n=5, lines=[1, 2, 3]) for n in range(300)]
    missing = [item(f"m{n}") for n in range(30)]
    found = make_plan(report(*low, *missing), budget=1000)
    assert len(found.fetches) == 130 and len(found.postponed) == 200
    assert {f"m{n}" for n in range(30)} <= limits(found).keys()
    requests = sum(-(-f.images // 20) for f in found.fetches)
    assert requests <= 200
    assert "Beyond this budget of 1,000 images and one day" in plan_script(found)


def test_a_query_gives_no_more_than_the_source_shows():
    assert limits(make_plan(report(item("fox", need=900)), budget=5000)) == {"fox": MAX_RESULTS}


def test_a_thousand_gaps_are_planned_at_once():
    chance = random.Random(0)
    gaps = [
        Gap(f"w{n}", f"w{n}", "word", "missing", "error", frozenset([n]), chance.randrange(9), 30)
        for n in range(1000)
    ]
    assert sum(f.images for f in plan_fetches(gaps, 3000)) == 40 * 30


# the script


def test_the_script_says_what_each_line_is_for():
    items = [item("ice-dragon", lines=[1, 4]), item("zyxx", "unknown-word")]
    text = plan_script(make_plan(report(*items, path="my data"), budget=12))
    assert commands(text) == [
        ["set", "-eu"],
        ["if", "[", "!", "-e", "vocab-gaps-before.json", "];", "then"],
        ["curate", "vocab-gaps", "prompts.txt", "--data", "my data", "--profile", "finetune",
         "--min", "5", "--target", "30", "--json", "vocab-gaps-before.new.json",
         "--fail-on", "never", ">", "/dev/null"],
        ["mv", "--", "vocab-gaps-before.new.json", "vocab-gaps-before.json"],
        ["fi"],
        ["curate", "fetch", "openverse", "--query", "ice-dragon", "--limit", "12",
         "--data", "my data"],
        ["curate", "build", "--data", "my data"],
        ["curate", "vocab-gaps", "prompts.txt", "--data", "my data", "--profile", "finetune",
         "--min", "5", "--target", "30", "--baseline", "vocab-gaps-before.json"],
    ]  # fmt: skip
    assert "# missing: ice-dragon has 0 images, asked for by 2 prompts; 12 of the 30 still" in text
    assert "counts images taken from the top" in text and "refused" in text
    assert not any(words[0] == "cd" for words in commands(text))


def test_what_no_search_closes_is_named_with_what_does():
    items = [
        item("zyxx", "unknown-word", did_you_mean=[{"unit": "lynx", "n_images": 3}]),
        item("qo'noS", "unknown-word"),
        item("sky", "uncaptioned", severity="warning"),
        item("bat", "sense-risk", severity="warning", need=0),
        item("justice", "not-visual", severity="info"),
        item("blizard", "typo", severity="info"),
        item("hat", "negated", severity="info"),
        item("the", "function-word", severity="info"),
        item("masterpiece", "meta", severity="info"),
        item("<lora:x:1>", "control-token", kind="token", severity="info"),
    ]
    found = make_plan(report(*items))
    text = plan_script(found)
    assert found.fetches == () and commands(text) == [["set", "-eu"]]
    assert "# qo'noS, zyxx (did you mean lynx?)" in text
    assert "# curate fetch folder DIR --license ID --data data" in text
    for word in ("sky", "bat", "justice", "blizard"):
        assert f"# {word}" in text
    for word in ("hat", "masterpiece", "lora", "the,"):
        assert f"# {word}" not in text


@pytest.mark.parametrize(
    ("path", "kind", "options", "into", "look_again"),
    [
        ("data", "none", (), "data", ()),
        ("data", "dataset", (), "data", ("--data", "data")),
        ("list.csv", "captions", (), "data", ("--data", "list.csv", "--data", "data")),
        ("a + b", "several", (), "data", ("--data", "a", "--data", "b", "--data", "data")),
        ("tiles", "dataset", ("--data", "tiles", "--pairs", "off"), "tiles", None),
        ("data", "dataset", ("--pairs", "off"), "data", None),
    ],
)
def test_the_pictures_are_counted_afterwards(path, kind, options, into, look_again):
    found = make_plan(report(item("fox"), path=path, kind=kind), options=options)
    assert found.folder == into
    if look_again is None:
        assert found.arguments_after == options
    else:
        profile = ("--profile", "finetune", "--min", "5", "--target", "30")
        given_data = [a for a in look_again if a != "--data"]
        before = tuple(a for p in given_data[:-1] for a in ("--data", p))
        if kind == "dataset":
            assert found.arguments_after == (*look_again, *profile)
        elif kind == "none":
            assert found.arguments_after == profile
        else:
            assert found.arguments_after == (*before, *profile, "--data", into)
            assert "no dataset folder" in plan_script(found)


hostile = st.text(max_size=20) | st.sampled_from(
    [
        "$(touch owned)",
        "`touch owned`",
        "'; touch owned; '",
        "a\ntouch owned",
        "#",
        "-rf",
        "\x1b[2J",
    ]
)


@given(st.lists(hostile, min_size=1, max_size=4, unique=True), hostile)
@settings(max_examples=25)
def test_no_unit_can_make_the_script_do_anything_else(tmp_path_factory, units, folder):
    folder = folder.replace("\0", "") or "data"
    text = plan_script(make_plan(report(*(item(u) for u in units), path=folder)))
    shown = tmp_path_factory.mktemp("bash")
    (shown / "curate").write_text(
        '#!/bin/sh\nprintf "%s\\0" "$@" >> "$OUT"; printf "\\0" >> "$OUT"\n'
        'for word; do [ "$last" != --json ] || echo "{}" > "$word"; last=$word; done\n'
    )
    (shown / "curate").chmod(0o755)
    (shown / "plan.sh").write_text(text, encoding="utf-8", errors="replace")
    env = {"PATH": f"{shown}:/usr/bin:/bin", "OUT": str(shown / "out"), "LC_ALL": "C.UTF-8"}
    done = subprocess.run(["bash", "plan.sh"], cwd=shown, env=env, capture_output=True)
    assert done.returncode == 0, done.stderr
    names = {"curate", "plan.sh", "out", "vocab-gaps-before.json"}
    assert {p.name for p in shown.iterdir()} <= names
    if (shown / "out").exists():
        asked = (shown / "out").read_bytes().decode().split("\0\0")
        queries = {a.split("\0")[3] for a in asked if a.startswith("fetch\0")}
        named = {" ".join("".join(c if c.isprintable() else " " for c in u).split()) for u in units}
        assert queries == {text for text in named if any(c.isalpha() for c in text)}


# the script, run for real


def catalogue(server: Server) -> None:
    """An Openverse that has two images of anything."""

    def search(query: dict[str, str]) -> Answer:
        word = query["q"]
        name, cc0 = word.replace(" ", "-"), "https://creativecommons.org/publicdomain/zero/1.0/"
        licence = {"license": "cc0", "license_version": "1.0", "license_url": cc0}
        results = [
            openverse_result(
                server, n, id=f"{name}-{n}", title=f"A {word}", url=f"{server.url}/{name}/{n}.png",
                foreign_landing_url=f"https://museum.example/{word}/{n}",
                tags=[{"accuracy": None, "name": word}], **licence,
            )
            for n in range(2)
        ]  # fmt: skip
        return openverse_page(results)

    server.routes["/v1/images/"] = search
    for number, word in enumerate(("dragon", "sailing-boat")):
        for n in range(2):
            data = image_bytes(20 * number + 7 * n + 1, side=40)
            server.routes[f"/{word}/{n}.png"] = lambda query, data=data: Answer(data)


def test_bash_runs_the_script_and_the_gap_closes(tmp_path, monkeypatch):
    """From no data at all: fetched and built; typed twice, nothing is fetched again."""
    monkeypatch.chdir(tmp_path)
    Path("prompts.txt").write_text("a dragon\n")
    found = make_plan(judged(Path("prompts.txt")), budget=5)
    assert limits(found) == {"dragon": 2}
    with run_server() as server:
        catalogue(server)
        text = plan_script(found, fetch=("--endpoint", server.url))
        Path("plan.sh").write_text(text)
        for _ in range(2):
            done = run_bash(tmp_path)
            assert done.returncode == 0, done.stderr
            assert "closed: 1: dragon (missing, 0 images -> covered, 2 images)" in done.stderr
        asked = [path for path in server.paths() if path not in DOCUMENTS]
        assert len(asked) == 3  # one search, two images; the second time nothing
    rows = Dataset(Path("data")).read().samples
    assert len(rows) == 2 and all(r.train and r.train.decision == "allow" for r in rows)
    assert Path("data/shards/index.json").exists()
    kept = json.loads(Path("vocab-gaps-before.json").read_bytes())
    assert kept["summary"]["missing"] == 1
    assert judged(Path("prompts.txt"))["summary"] == {"covered": 1, "function-word": 1}
    changes = baseline.compare_reports(kept, judged(Path("prompts.txt")))
    assert [c.unit for c in changes.closed] == ["dragon"] and not changes.new


def test_a_script_that_cannot_count_all_of_the_data_stops_each_time(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("prompts.txt").write_text("a dragon\n")
    write_shards(Path("shards"), [{"a": ["a dog"]}, {"b": ["a wolf"]}])
    sorted(Path("shards").glob("*.tar"))[1].unlink()
    found = to_json(vocab_gaps(Path("prompts.txt"), GapsSettings([Path("shards")])))
    Path("plan.sh").write_text(plan_script(make_plan(found, budget=5)))
    for _ in range(2):
        done = run_bash(tmp_path)
        assert done.returncode == ExitCode.INPUT, done.stderr
        assert "shard is missing" in done.stderr
        assert not Path("vocab-gaps-before.json").exists()
    assert not Path("data").exists()


def judged(prompts: Path) -> dict[str, Any]:
    return to_json(vocab_gaps(prompts, GapsSettings(min=1, target=2)))


def run_bash(folder: Path) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    return subprocess.run(
        ["bash", "plan.sh"], cwd=folder, env=env, capture_output=True, text=True, timeout=300
    )
