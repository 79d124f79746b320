"""The row, errors, files, the store and the manifest."""

import json
import re
from dataclasses import asdict, fields, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from rows import row, samples, some_samples, words

from curate.dataset import manifest
from curate.dataset.folder import Store, write_json
from curate.dataset.manifest import Manifest
from curate.dataset.sample import (
    Caption,
    Sample,
    Verdict,
    arrow_schema,
    drop_samples,
    from_record,
    live_samples,
    make_key,
    reinstate_samples,
    utc_now,
)
from curate.errors import CurateError, ExitCode, InputError, UsageError, storage_error
from curate.system.files import atomic_write, remove_leftovers, write_bytes

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
    assert from_record(json.loads(json.dumps(asdict(sample)))) == sample


def test_drops_carry_a_reason_and_can_be_undone_by_it() -> None:
    rows = [row("a"), row("b"), row("c")]
    out = drop_samples(rows, {"test-a": "duplicate:test-b", "test-c": "download:HTTP 404"})
    assert [s.dropped for s in out] == ["duplicate:test-b", None, "download:HTTP 404"]
    assert live_samples(out) == [rows[1]]
    assert [s.dropped for s in reinstate_samples(out, "duplicate")] == [
        None,
        None,
        "download:HTTP 404",
    ]


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
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "253402300799")
    assert utc_now() == "9999-12-31T23:59:59Z"
    for wrong in ("now", "", "-1", "1e30", "9" * 30, "9" * 5000, "253402300800", "1.5", "٣", "²"):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", wrong)
        with pytest.raises(InputError, match="is not a number of seconds"):
            utc_now()
    monkeypatch.delenv("SOURCE_DATE_EPOCH")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", utc_now())


# errors


def test_an_error_is_a_sentence_with_its_fix_and_exit_code() -> None:
    error = UsageError("--size", "0 is too small", fix="--size 64")
    assert str(error) == "--size: 0 is too small\n  fix: --size 64"
    assert error.exit_code == ExitCode.USAGE == 2


def test_a_full_disk_is_a_sentence() -> None:
    error = storage_error("data/x", OSError(28, "No space left on device"))
    assert "data/x: cannot be written (No space left on device)" in str(error)
    assert isinstance(error, CurateError)


# files


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    write_bytes(path, b"old")
    with pytest.raises(ZeroDivisionError), atomic_write(path) as file:
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
    store.path_of(name).write_bytes(b"pictura")
    with pytest.raises(InputError, match="has changed on disk"):
        store.get(name)
    store.path_of(name).unlink()
    with pytest.raises(InputError, match="cannot be read"):
        store.get(name)


# manifest


@given(some_samples)
@examples(max_examples=30)
def test_a_manifest_read_back_is_the_manifest(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Sample]
) -> None:
    path = tmp_path_factory.mktemp("m") / "manifest.parquet"
    history = manifest.add_step(Manifest([], []), "fetch", {"source": "test"}, rows).history
    manifest.write_manifest(path, Manifest(rows, history))
    first = path.read_bytes()
    again = manifest.read_manifest(path)
    assert again == Manifest(sorted(rows, key=lambda s: s.key), history)
    manifest.write_manifest(path, Manifest(again.samples[::-1], history))
    assert path.read_bytes() == first


def test_two_rows_with_one_key_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="two rows share the key test-a"):
        manifest.write_manifest(tmp_path / "m.parquet", Manifest([row("a"), row("a")], []))


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
        manifest.read_manifest(path)


def test_a_manifest_of_another_version_is_refused(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as parquet

    facts = json.dumps({"version": "fubuki-manifest/0", "steps": []})
    table = pa.table({"key": ["a"]}).replace_schema_metadata({"fubuki": facts})
    parquet.write_table(table, tmp_path / "m.parquet")
    with pytest.raises(InputError, match="written as fubuki-manifest/0, this is fubuki-manifest/3"):
        manifest.read_manifest(tmp_path / "m.parquet")


def test_a_manifest_of_the_version_before_is_read(tmp_path: Path) -> None:
    import pyarrow.parquet as parquet

    path = tmp_path / "m.parquet"
    rows = [row("a", tags=("x",), captions=(Caption("snow", "text"),))]
    manifest.write_manifest(path, Manifest(rows, []))
    older = parquet.read_table(path).drop_columns(["signals", "group", "headers", "gone"])
    facts = json.dumps({"version": "fubuki-manifest/2", "steps": []})
    parquet.write_table(older.replace_schema_metadata({"fubuki": facts}), path)
    assert manifest.read_manifest(path).samples == rows


def steps_of(known: Manifest) -> list[str]:
    return [entry["step"] for entry in known.history]


def test_a_step_and_its_counts_are_noted() -> None:
    rows = [row("a"), row("b", dropped="x")]
    (entry,) = manifest.add_step(Manifest([], []), "check", {"policy": "personal"}, rows).history
    assert (entry["step"], entry["settings"]) == ("check", {"policy": "personal"})
    assert entry["counts"] == {"rows": 2, "dropped": 1}


def test_a_step_without_effect_is_noted_once_after_each_fetch() -> None:
    rows, more = [row("a")], [row("a"), row("b")]
    known = Manifest([], [])
    for step in ("fetch folder", "check", "dedup", "check", "dedup"):
        known = manifest.add_step(known, step, {}, rows)
    assert steps_of(known) == ["fetch folder", "check", "dedup"]
    assert manifest.add_step(known, "fetch folder", {}, rows) is known
    for step in ("fetch folder", "check", "dedup", "check"):
        known = manifest.add_step(known, step, {}, more)
    assert steps_of(known) == ["fetch folder", "check", "dedup"] * 2


def test_fetches_in_turn_that_find_nothing_new_are_not_noted_again() -> None:
    known = manifest.add_step(Manifest([], []), "fetch folder", {"folder": "a"}, [row("a")])
    known = manifest.add_step(known, "fetch folder", {"folder": "b"}, [row("a"), row("b")])
    for folder in "aba":
        again = manifest.add_step(known, "fetch folder", {"folder": folder}, known.samples)
        assert again is known


def test_other_settings_and_other_rows_are_noted() -> None:
    rows, changed = [row("a")], [row("a", title="snow")]
    known = manifest.add_step(Manifest([], []), "check", {"policy": "personal"}, rows)
    known = manifest.add_step(known, "check", {"policy": "research"}, rows)
    assert steps_of(known) == ["check", "check"]
    known = manifest.add_step(known, "check", {"policy": "research"}, [*rows, row("b")])
    assert steps_of(known) == ["check", "check"]  # the last step again
    assert known.history[-1]["counts"]["rows"] == 2
    known = manifest.add_step(known, "check", {"policy": "personal"}, changed)
    assert steps_of(known) == ["check", "check", "check"]
