"""The row, the manifest, the store, the dataset folder and the engine."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

import daft
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from curate import engine, manifest
from curate.dataset import Dataset, failed, merge, write_json
from curate.errors import CurateError, Exit, InputError, UsageError, storage_error
from curate.files import remove_leftovers, replacing, write_bytes
from curate.manifest import Manifest
from curate.sample import (
    Caption,
    Sample,
    Verdict,
    arrow_schema,
    drop,
    from_record,
    live,
    make_key,
    reinstate,
    to_record,
    utc_now,
)
from curate.store import Store

words = st.text(max_size=8)
verdicts = st.none() | st.builds(
    Verdict, st.sampled_from(["allow", "hold", "deny"]), st.lists(words, max_size=2).map(tuple)
)
counts = st.none() | st.integers(0, 2**62)
samples = st.builds(
    Sample,
    key=words.map(lambda s: make_key("test", s)),
    source=words,
    author=st.none() | words,
    tags=st.lists(words, max_size=3).map(tuple),
    texts=st.lists(words, max_size=2).map(tuple),
    opt_outs=st.lists(words, max_size=2).map(tuple),
    ai_generated=st.none() | st.booleans(),
    train=verdicts,
    share_model=verdicts,
    width=counts,
    byte_count=counts,
    sharpness=st.none() | st.floats(allow_nan=False, allow_infinity=False),
    captions=st.lists(st.builds(Caption, words, words), max_size=2).map(tuple),
    dropped=st.none() | words,
)
some_samples = st.lists(samples, max_size=5, unique_by=lambda s: s.key)


def row(key: str, **known: object) -> Sample:
    return replace(Sample(key=f"test-{key}", source="test"), **known)  # type: ignore[arg-type]


# the row


@given(words, words)
def test_two_identifiers_never_share_a_key(a: str, b: str) -> None:
    keys = make_key("s", a), make_key("s", b)
    assert (keys[0] == keys[1]) == (a == b)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]+", k) for k in keys)


def test_a_key_reads_like_its_identifier() -> None:
    assert make_key("folder", "snow/day 1.png") == "folder-snow_2fday_201_2epng"


def test_the_schema_is_the_dataclass() -> None:
    schema = arrow_schema()
    assert schema.names == [f.name for f in fields(Sample)]
    kinds = {name: str(schema.field(name).type) for name in ("width", "sharpness", "ai_generated")}
    assert kinds == {"width": "int64", "sharpness": "double", "ai_generated": "bool"}
    assert [f.name for f in schema.field("train").type] == [f.name for f in fields(Verdict)]


@given(samples)
def test_a_record_read_back_is_the_sample(sample: Sample) -> None:
    assert from_record(json.loads(json.dumps(to_record(sample)))) == sample


def test_drops_carry_a_reason_and_can_be_undone_by_it() -> None:
    rows = [row("a"), row("b"), row("c")]
    out = drop(rows, {"test-a": "duplicate:test-b", "test-c": "download:HTTP 404"})
    assert [s.dropped for s in out] == ["duplicate:test-b", None, "download:HTTP 404"]
    assert live(out) == [rows[1]]
    assert [s.dropped for s in reinstate(out, "duplicate")] == [None, None, "download:HTTP 404"]


def test_only_an_allowed_row_in_use_may_train() -> None:
    allowed = row("a", train=Verdict("allow", ()))
    held = row("a", train=Verdict("hold", ()))
    assert [s.may_train for s in (allowed, held, row("a"), replace(allowed, dropped="x"))] == [
        True,
        False,
        False,
        False,
    ]


def test_the_time_can_be_fixed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    assert utc_now() == "2023-11-14T22:13:20Z"
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "now")
    with pytest.raises(InputError, match="'now' is not a number of seconds"):
        utc_now()
    monkeypatch.delenv("SOURCE_DATE_EPOCH")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", utc_now())


# errors


def test_an_error_is_a_sentence_with_its_fix_and_exit_code() -> None:
    error = UsageError("--size", "0 is too small", fix="--size 64")
    assert str(error) == "--size: 0 is too small\n  fix: --size 64"
    assert error.exit_code == Exit.USAGE == 2


def test_a_full_disk_is_a_sentence() -> None:
    error = storage_error("data/x", OSError(28, "No space left on device"))
    assert "data/x: cannot be written (No space left on device)" in str(error)
    assert isinstance(error, CurateError)


# files


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    write_bytes(path, b"old")
    with pytest.raises(ZeroDivisionError), replacing(path) as file:
        file.write(b"half of the n")
        raise ZeroDivisionError
    assert path.read_bytes() == b"old"
    assert [p.name for p in path.parent.iterdir()] == ["file"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "a-file").write_text("")
    with pytest.raises(InputError, match="a-file/x: cannot be written"):
        write_bytes(tmp_path / "a-file" / "x", b"")


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    for name in (".manifest.parquet.abc.part", "manifest.parquet", ".lock"):
        (tmp_path / name).write_text("")
    remove_leftovers(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [".lock", "manifest.parquet"]


def test_json_files_are_sorted_and_readable(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"b": "雪", "a": 1})
    assert (tmp_path / "x.json").read_text() == '{\n "a": 1,\n "b": "雪"\n}\n'


# store


@given(st.binary(max_size=64))
def test_the_store_gives_back_what_it_got(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    store = Store(tmp_path_factory.mktemp("store"))
    name = store.put(data)
    assert store.put(data) == name
    assert store.get(name) == data


def test_bytes_that_changed_on_disk_are_refused(tmp_path: Path) -> None:
    store = Store(tmp_path)
    name = store.put(b"picture")
    store.path(name).write_bytes(b"pictura")
    with pytest.raises(InputError, match="has changed on disk"):
        store.get(name)
    store.path(name).unlink()
    with pytest.raises(InputError, match="cannot be read"):
        store.get(name)


# manifest


@given(some_samples)
@examples(max_examples=30)
def test_a_manifest_read_back_is_the_manifest(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Sample]
) -> None:
    path = tmp_path_factory.mktemp("m") / "manifest.parquet"
    history = manifest.recorded([], "fetch", {"source": "test"}, rows)
    manifest.write(path, Manifest(rows, history))
    first = path.read_bytes()
    again = manifest.read(path)
    assert again == Manifest(sorted(rows, key=lambda s: s.key), history)
    manifest.write(path, Manifest(again.samples[::-1], history))
    assert path.read_bytes() == first


def test_two_rows_with_one_key_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="two rows share the key test-a"):
        manifest.write(tmp_path / "m.parquet", Manifest([row("a"), row("a")], []))


@pytest.mark.parametrize(
    ("content", "problem"),
    [(None, "no such manifest"), (b"not Parquet", "not a readable manifest")],
)
def test_a_manifest_that_cannot_be_read_is_named(
    tmp_path: Path, content: bytes | None, problem: str
) -> None:
    path = tmp_path / "manifest.parquet"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=problem):
        manifest.read(path)


def test_a_manifest_of_another_version_is_refused(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as parquet

    facts = json.dumps({"version": "fubuki-manifest/0", "steps": []})
    table = pa.table({"key": ["a"]}).replace_schema_metadata({"fubuki": facts})
    parquet.write_table(table, tmp_path / "m.parquet")
    with pytest.raises(InputError, match="written as fubuki-manifest/0, this is fubuki-manifest/1"):
        manifest.read(tmp_path / "m.parquet")


def test_repeating_a_step_adds_nothing_to_the_history() -> None:
    rows = [row("a"), row("b", dropped="x")]
    once = manifest.recorded([], "check", {"policy": "personal"}, rows)
    assert manifest.recorded(once, "check", {"policy": "personal"}, rows) == once
    twice = manifest.recorded(once, "check", {"policy": "research"}, rows)
    assert [e["settings"]["policy"] for e in twice] == ["personal", "research"]
    assert once[0]["counts"] == {"rows": 2, "dropped": 1}


# the dataset folder


@given(some_samples, some_samples)
def test_merging_loses_no_row_and_keeps_what_was_known(
    known: list[Sample], fetched: list[Sample]
) -> None:
    merged = {s.key: s for s in merge(known, fetched)}
    assert list(merged) == sorted({s.key for s in known + fetched})
    for old in known:
        if not failed(old):
            assert merged[old.key] == old


def test_only_a_failed_download_is_fetched_again() -> None:
    failed_before, dropped = row("a", dropped="download:HTTP 500"), row("b", dropped="duplicate:x")
    now = [row("a", sha256="1"), row("b", sha256="2")]
    assert merge([failed_before, dropped], now) == [now[0], dropped]


def test_fetched_rows_are_read_before_a_manifest_exists(tmp_path: Path) -> None:
    data = Dataset(tmp_path)
    data.append(row("b"))
    data.append(row("a"))
    assert data.read() == Manifest([row("a"), row("b")], [])


def test_a_line_cut_short_by_a_crash_costs_that_row_only(tmp_path: Path) -> None:
    data = Dataset(tmp_path)
    for name in "abc":
        data.append(row(name))
    whole = data.journal.read_bytes()
    for length in range(len(whole)):
        data.journal.write_bytes(whole[:length])
        data.append(row("d"))
        complete = whole[:length].count(b"\n") + (whole[length : length + 1] == b"\n")
        assert [s.key for s in data.read().samples] == [f"test-{n}" for n in "abc"[:complete]] + [
            "test-d"
        ]


def test_writing_the_manifest_empties_the_journal(tmp_path: Path) -> None:
    data = Dataset(tmp_path)
    data.append(row("a"))
    data.write(data.read())
    assert not data.journal.exists()
    assert data.read().samples == [row("a")]


def test_a_folder_without_a_dataset_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no dataset here"):
        Dataset(tmp_path).read()


def test_a_journal_row_that_is_not_ours_is_named_by_line(tmp_path: Path) -> None:
    data = Dataset(tmp_path)
    data.append(row("a"))
    with data.journal.open("a") as file:
        file.write('{"key": "b", "surprise": 1}\n')
    with pytest.raises(InputError, match=r"journal.jsonl line 2: not a row of ours"):
        data.read()


def test_a_second_writer_is_refused_and_a_later_one_is_not(tmp_path: Path) -> None:
    data = Dataset(tmp_path)
    with (
        data.lock(),
        pytest.raises(UsageError, match="another command is writing here"),
        data.lock(),
    ):
        pass
    with data.lock():
        pass


def test_the_lock_ends_with_its_process(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from curate.dataset import Dataset\n"
        "with Dataset(Path(sys.argv[1])).lock(): print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    with pytest.raises(UsageError), Dataset(tmp_path).lock():
        pass
    os.kill(holder.pid, signal.SIGKILL)
    holder.communicate()
    with Dataset(tmp_path).lock():
        pass


# steps and the engine


def name_the_author(rows: daft.DataFrame, *, name: str = "nobody") -> daft.DataFrame:
    return engine.each(rows, lambda s: replace(s, author=name), fills=["author"])


def test_a_step_is_run_written_and_recorded(tmp_path: Path) -> None:
    data = Dataset(tmp_path)
    data.append(row("a"))
    with data.lock():
        after = data.run(name_the_author, "name", {"name": "Ada"})
    assert after == [row("a", author="Ada")] == data.read().samples
    assert [(e["step"], e["settings"]) for e in data.read().history] == [("name", {"name": "Ada"})]


def test_running_a_step_again_writes_the_same_bytes(tmp_path: Path) -> None:
    data = Dataset(tmp_path)
    data.append(row("a"))
    data.run(name_the_author, "name", {})
    first = data.manifest.read_bytes()
    data.run(name_the_author, "name", {})
    assert data.manifest.read_bytes() == first


def test_a_step_that_loses_a_row_is_a_bug_and_writes_nothing(tmp_path: Path) -> None:
    data = Dataset(tmp_path)
    data.append(row("a"))
    with pytest.raises(AssertionError, match="step lose changed the keys"):
        data.run(lambda rows: rows.limit(0), "lose", {})
    assert data.read().samples == [row("a")]


@given(some_samples)
@examples(max_examples=10)
def test_rows_pass_through_tables_unchanged(rows: list[Sample]) -> None:
    assert engine.samples(engine.table(rows)) == rows


FILL = """
import sys
from dataclasses import replace
from curate import engine
from curate.sample import Sample

def shout(sample):
    return replace(sample, title=sample.title.upper(), tags=("loud",))

rows = [Sample(key=f"t-{n:03}", source="t", title=f"snow {n}", tags=("q",)) for n in range(100)]
table = engine.table(rows)
filled = engine.each(table, shout, fills=["title"], processes=int(sys.argv[1]), batch=7)
assert engine.samples(filled) == [replace(s, title=s.title.upper()) for s in rows]
print("same")
"""


@pytest.mark.parametrize("processes", ["0", "2"])
def test_a_function_fills_its_columns_and_no_other_in_every_row(processes: str) -> None:
    # in a program of its own: Daft leaves its workers' pipes to the garbage collector
    done = subprocess.run([sys.executable, "-c", FILL, processes], capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("same\n", 0), done.stderr


def test_no_rows_are_rows_too() -> None:
    assert engine.samples(name_the_author(engine.table([]))) == []


def test_a_decision_over_all_rows_sees_them_all() -> None:
    def number(rows: Sequence[Sample]) -> list[Sample]:
        return [replace(s, width=len(rows)) for s in rows]

    out = engine.samples(engine.whole(engine.table([row("a"), row("b")]), number))
    assert [s.width for s in out] == [2, 2]
