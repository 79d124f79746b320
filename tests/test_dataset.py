"""The dataset folder, its lock and journal, and the engine that steps run on."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from rows import row, samples, some_samples

from curate.dataset.folder import Dataset
from curate.dataset.journal import merge_rows
from curate.dataset.manifest import Manifest
from curate.dataset.sample import (
    Sample,
    Statement,
    Verdict,
    arrow_schema,
    from_record,
    to_record,
)
from curate.dataset.sample_table import COLUMNS, to_rows, to_table
from curate.errors import InputError, UsageError

# the dataset folder


@given(some_samples, some_samples)
def test_merging_loses_no_row_and_is_done_again_after_a_kill(
    known: list[Sample], fetched: list[Sample]
) -> None:
    merged = merge_rows(known, fetched)
    assert [s.key for s in merged] == sorted({s.key for s in known + fetched})
    assert merge_rows(merged, fetched) == merged  # killed before the journal was removed


def test_a_row_without_its_image_is_replaced_by_what_was_fetched() -> None:
    known = [row("a", dropped="download:HTTP 500"), row("b", dropped="ai-generated")]
    now = [row("a", sha256="1"), row("b", sha256="2"), row("c", dropped="gone:404")]
    assert merge_rows(known, now) == now
    assert merge_rows(now[:1], [row("a", sha256="3")]) == [row("a", sha256="3")]


def test_what_was_worked_out_of_an_image_stays_and_what_is_said_later_is_added() -> None:
    verdict = Verdict("allow", ("licence:CC-BY-4.0",))
    known = row("a", sha256="1", license_text="CC BY 4.0", width=8, train=verdict)
    fetched = row("a", sha256="1", license_text="CC BY 4.0")
    assert merge_rows([known], [fetched]) == [known]
    later = replace(fetched, opt_outs=("api:noAiTraining",), license_text="CC BY-NC 4.0")
    (merged,) = merge_rows([known], [later])
    assert merged.restated == (Statement("CC BY-NC 4.0", None),)
    assert merged.opt_outs == ("api:noAiTraining",) and merged.train is None
    assert (merged.license_text, merged.width) == ("CC BY 4.0", 8)


def test_fetched_rows_are_read_before_a_manifest_exists(tmp_path: Path) -> None:
    data = Dataset(tmp_path)
    data.append_row(row("b"))
    data.append_row(row("a"))
    assert data.read() == Manifest([row("a"), row("b")], [])


def test_a_line_cut_short_by_a_crash_costs_that_row_only(tmp_path: Path) -> None:
    data = Dataset(tmp_path)
    for name in "abc":
        data.append_row(row(name))
    whole = data.journal.read_bytes()
    for length in range(len(whole)):
        data.journal.write_bytes(whole[:length])
        data.append_row(row("d"))
        complete = whole[:length].count(b"\n") + (whole[length : length + 1] == b"\n")
        assert [s.key for s in data.read().samples] == [f"test-{n}" for n in "abc"[:complete]] + [
            "test-d"
        ]


def test_writing_the_manifest_empties_the_journal(tmp_path: Path) -> None:
    data = Dataset(tmp_path)
    data.append_row(row("a"))
    data.write(data.read())
    assert not data.journal.exists()
    assert data.read().samples == [row("a")]


def test_a_folder_without_a_dataset_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no dataset here"):
        Dataset(tmp_path).read()


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('{"key": "b", "source": "x", "surprise": 1}', "unknown field 'surprise'"),
        ("[]", "no JSON object"),
        ("7", "no JSON object"),
        ("null", "no JSON object"),
        ("[" * 100_000, "no JSON object"),
        ("{}", "key is not what that field holds"),
        ('{"key": "b"}', "source is not what that field holds"),
        ('{"key": "b/..", "source": "x"}', "key is not what"),
        ('{"key": "b", "source": "x", "sha256": "../../key"}', "sha256 is not what"),
        ('{"key": "b", "source": "x", "tags": 5}', "tags is not what"),
        ('{"key": "b", "source": "x", "tags": "snow"}', "tags is not what"),
        ('{"key": "b", "source": "x", "tags": ["snow", 5]}', "tags is not what"),
        ('{"key": "b", "source": "x", "title": "\\ud83d"}', "title is not what"),
        ('{"key": "b", "source": "x", "width": 1e99}', "width is not what"),
        ('{"key": "b", "source": "x", "width": 9223372036854775808}', "width is not what"),
        ('{"key": "b", "source": "x", "mature": "no"}', "mature is not what"),
        ('{"key": "b", "source": "x", "train": "allow"}', "train is not what"),
        ('{"key": "b", "source": "x", "train": {"decision": "allow"}}', "train is not what"),
        ('{"key": "b", "source": "x", "captions": [{"text": "a"}]}', "captions is not what"),
        ('{"key": "b", "source": "x", "restated": [["BY", null]]}', "restated is not what"),
    ],
)
def test_a_journal_row_that_is_not_ours_is_named_by_line_and_can_be_taken_out(
    tmp_path: Path, line: str, problem: str
) -> None:
    data = Dataset(tmp_path)
    data.append_row(row("a"))
    with data.journal.open("a") as file:
        file.write(line + "\n")
    data.append_row(row("c"))
    for _ in range(2):
        with pytest.raises(InputError, match=r"journal.jsonl line 2: not a row of ours") as caught:
            data.read()
        assert problem in caught.value.problem
    subprocess.run(caught.value.fix.partition(": ")[2], shell=True, check=True)
    assert [s.key for s in data.read().samples] == ["test-a", "test-c"]


@given(samples)
def test_plain_values_of_a_row_are_those_of_its_fields(sample: Sample) -> None:
    assert to_record(sample) == asdict(sample)
    assert from_record(to_record(sample)) == sample


@given(samples)
@examples(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_journaled_row_is_read_as_it_was(tmp_path: Path, sample: Sample) -> None:
    data = Dataset(tmp_path)
    data.journal.unlink(missing_ok=True)
    data.append_row(sample)
    assert data.read_journal() == [sample]


def test_the_lock_of_what_does_not_exist_makes_nothing(tmp_path: Path) -> None:
    with (
        pytest.raises(InputError, match="gone: no dataset here"),
        Dataset(tmp_path / "gone").lock(existing=True),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


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
        "import sys, time; from pathlib import Path; from curate.dataset.folder import Dataset\n"
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


def name_the_author(rows: Sequence[Sample], *, name: str = "nobody") -> list[Sample]:
    return [replace(s, author=name) for s in rows]


def count_the_authors(rows: Sequence[Sample]) -> list[Sample]:
    return [replace(s, width=len(rows)) for s in rows]


def test_a_step_is_run_written_and_recorded(tmp_path: Path) -> None:
    data = Dataset(tmp_path)
    data.append_row(row("a"))
    with data.lock():
        after = data.run_step(name_the_author, "name", {"name": "Ada"})
    assert after == [row("a", author="Ada")] == data.read().samples
    assert [(e["step"], e["settings"]) for e in data.read().history] == [("name", {"name": "Ada"})]


def test_a_step_that_changes_nothing_writes_nothing(tmp_path: Path) -> None:
    data = Dataset(tmp_path)
    data.append_row(row("a"))
    data.run_step(name_the_author, "name", {})
    data.run_step(count_the_authors, "count", {}, reads=(), fills=("width",))
    written = data.manifest.stat().st_ino
    data.append_row(row("a"))  # as a kill between manifest and journal leaves it
    for step, name in ((name_the_author, "name"), (count_the_authors, "count")):
        data.run_step(step, name, {}, reads=(), fills=("author", "width"))
    assert data.manifest.stat().st_ino == written
    assert not data.journal.exists()


def test_a_step_that_loses_a_row_is_a_bug_and_writes_nothing(tmp_path: Path) -> None:
    data = Dataset(tmp_path)
    data.append_row(row("a"))
    with pytest.raises(AssertionError, match="step lose changed the keys"):
        data.run_step(lambda rows: rows[:0], "lose", {})
    assert data.read().samples == [row("a")]


def test_a_step_sees_and_fills_the_columns_it_names_and_no_other(tmp_path: Path) -> None:
    data = Dataset(tmp_path)
    data.append_row(row("a", title="snow", width=3))
    seen: list[Sample] = []

    def shout(rows: Sequence[Sample]) -> list[Sample]:
        seen.extend(rows)
        return [replace(s, title=str(s.title).upper()) for s in rows]

    (after,) = data.run_step(shout, "shout", {}, reads=("author",), fills=("title",))
    assert data.read().samples == [row("a", title="SNOW", width=3)]
    assert (after.title, after.author, after.dropped) == ("SNOW", None, None)
    for one in (*seen, after):
        with pytest.raises(AttributeError):
            print(one.width)
    with pytest.raises(AssertionError, match="step shout changed title, which it does not fill"):
        data.run_step(shout, "shout", {}, reads=("title",), fills=("author",))
        data.run_step(
            lambda rows: [replace(s, title="x") for s in rows],
            "shout",
            {},
            reads=("title",),
            fills=("author",),
        )
    assert data.read().samples == [row("a", title="SNOW", width=3)]


some_names = st.sets(st.sampled_from(COLUMNS))


@given(some_samples, some_samples, some_names)
@examples(max_examples=40)
def test_rows_and_columns_say_the_same(
    tmp_path_factory: pytest.TempPathFactory,
    known: list[Sample],
    fetched: list[Sample],
    names: set[str],
) -> None:
    data = Dataset(tmp_path_factory.mktemp("d"))
    data.write(Manifest(known, []))
    for sample in fetched:
        data.append_row(sample)
    whole = merge_rows(known, fetched)
    assert data.read().samples == whole
    few = data.read_rows(*names)
    assert [[getattr(s, n) for n in names] for s in few] == [
        [getattr(s, n) for n in names] for s in whole
    ]


@given(some_samples)
@examples(max_examples=40)
def test_rows_pass_through_tables_unchanged(rows: list[Sample]) -> None:
    table = to_table(rows)
    assert table.schema.equals(arrow_schema())
    assert table.equals(table_by_rows(rows)) and to_rows(table) == rows


def table_by_rows(rows: Sequence[Sample]) -> pa.Table:
    """As pyarrow itself makes a table of rows, the reference."""
    return pa.Table.from_pylist([asdict(s) for s in rows], schema=arrow_schema())


@pytest.mark.parametrize("size", [1, 3, 7])
def test_rows_are_merged_a_group_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr("curate.dataset.manifest.GROUP_ROWS", size)
    monkeypatch.setattr("curate.dataset.stored_rows.GROUP_ROWS", size)
    known = [row(f"{n:02}", title=f"t{n}", tags=("x",) * (n % 3)) for n in range(0, 40, 2)]
    fetched = [row(f"{n:02}", title=f"late {n}") for n in (39, 4, 5, 17, 38, 0)]
    data = Dataset(tmp_path)
    data.write(Manifest(known, []))
    for sample in fetched:
        data.append_row(sample)
    whole = merge_rows(known, fetched)
    assert data.read().samples == whole
    data.run_step(count_the_authors, "count", {}, reads=(), fills=("width",))
    grouped = data.manifest.read_bytes()
    assert data.read_manifest().samples == [replace(s, width=len(whole)) for s in whole]
    data.write(data.read())
    assert data.manifest.read_bytes() == grouped, "bytes depend on the rows alone"


def test_no_rows_are_rows_too(tmp_path: Path) -> None:
    data = Dataset(tmp_path)
    data.write(Manifest([], []))
    assert data.run_step(name_the_author, "name", {}) == [] == data.read().samples
