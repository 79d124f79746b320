"""Shards never say more than their dataset: what is stale is withdrawn, and refused by readers."""

import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from curate import cli
from curate.corpora.notes import ReadNotes
from curate.corpora.shards import shard_partitions
from curate.dataset.evidence import StoredAnswer, write_answer
from curate.dataset.folder import Dataset, Store
from curate.dataset.manifest import Manifest
from curate.dataset.sample import Sample, Statement, Verdict
from curate.dataset.statements import join_statements
from curate.errors import InputError
from curate.formats.shards import Shard, iterate_samples, read_index
from curate.formats.verdicts import (
    digest,
    find_stale,
    find_standings,
    read_manifest_verdicts,
    refuse_stale,
    stale_beside,
    verdicts_of,
)
from curate.rights.credits import record_credit
from curate.shards.pack import pack
from curate.system.files import file_sha256
from tests.packable import ALLOW, change_rows, dataset_of

HOLD, DENY = Verdict("hold", ("licence-sa",)), Verdict("deny", ("opt-out:api:noai",))
ANSWER = StoredAnswer("https://api.example/1", 200, (), "2026-01-01T00:00:00Z", "{}")


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir())} if folder.exists() else {}


def fails(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        cli.main(list(words))
    assert isinstance(ended.value.code, int)
    return ended.value.code


def refused(folder: Path) -> str:
    """What a reader is told of shards that are stale."""
    with pytest.raises(InputError) as caught:
        refuse_stale(folder)
    return str(caught.value)


# after the shards were written

LATER: dict[str, tuple[dict[str, Any], str]] = {  # what happened to a row -> why it is stale
    "a stricter policy": ({"train": HOLD}, "hold"),
    "an opt-out": ({"train": DENY, "share_dataset": DENY, "share_model": DENY}, "deny"),
    "a removal": ({"dropped": "removed:asked by its author"}, "dropped:removed"),
    "a verdict taken back": ({"train": None}, "no-verdict"),
    "a copy that stays instead": ({"dropped": "duplicate:t-001"}, "dropped:duplicate"),
    "sharing the model forbidden": ({"share_model": DENY}, "share_model:deny"),
    "sharing the images held": ({"share_dataset": HOLD}, "share_dataset:hold"),
}


@pytest.mark.parametrize("name", sorted(LATER))
def test_what_no_longer_holds_is_refused_until_it_is_packed_again(
    tmp_path: Path, name: str
) -> None:
    change, why = LATER[name]
    dataset = dataset_of(tmp_path / "data", 3, share_dataset=ALLOW, share_model=ALLOW)
    pack(dataset, size=20)
    refuse_stale(dataset.root)
    change_rows(dataset, change)
    told = refused(dataset.root)
    assert f"samples are stale ({why} " in told or f", {why} " in told
    assert f"fix: curate pack --data {dataset.root} --size 20 " in told
    done = pack(dataset, size=20)
    assert done.withdrawn == ({} if name.startswith("sharing") else {"t-000": why})
    refuse_stale(dataset.root)
    kept = [key for key, _, _ in iterate_samples(dataset.root)]
    assert ("t-000" in kept) == name.startswith("sharing")


CREDITED: tuple[dict[str, Any], ...] = (
    {"author": "B. Later"},
    {"author_url": "https://example.org/later"},
    {"license": "CC-BY-4.0", "license_text": "CC BY 4.0"},
    {"license_url": "https://example.org/licence"},
    {"page_url": "https://example.org/later"},
    {"title": "Later"},
    {"file_name": "later.png"},
)


@pytest.mark.parametrize("change", CREDITED, ids=lambda change: next(iter(change)))
@pytest.mark.parametrize("of", ["itself", "its copy"])
def test_who_is_to_be_credited_otherwise_is_so_after_packing_again(
    tmp_path: Path, change: dict[str, Any], of: str
) -> None:
    dataset = dataset_of(tmp_path / "data", 3)
    change_rows(dataset, {"group": "t-000"}, {"dropped": "duplicate:t-000", "group": "t-000"})
    pack(dataset, size=20)
    keys = ["t-000", "t-002"]
    assert stale_beside(dataset.root, keys) is None
    change_rows(dataset, *([change] if of == "itself" else [{}, change]))
    assert "(credits-changed 1), such as t-000" in refused(dataset.root)
    assert stale_beside(dataset.root, keys) is not None
    pack(dataset, size=20)
    refuse_stale(dataset.root)
    first = record_credit(next(record for _, _, record in iterate_samples(dataset.root)))
    told = first if of == "itself" else first.copies[0]
    row = next(s for s in dataset.read().samples if s.key == told.key)
    assert (told.author, told.title) == (row.author, row.title or row.file_name or row.key)
    assert (told.license, told.page_url) == (row.license, row.page_url)


def test_a_more_lenient_verdict_makes_nothing_stale(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path, 2, share_model=HOLD)
    pack(dataset)
    change_rows(dataset, {"share_model": ALLOW})
    refuse_stale(dataset.root)


def test_with_nothing_left_the_shards_go_and_it_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = dataset_of(tmp_path / "data", 7)
    pack(dataset)
    (dataset.shards / ".cache").mkdir()
    (dataset.shards / ".cache" / "pictures-16-x.u8").write_bytes(b"pixels of what is withdrawn")
    change_rows(dataset, *[{"train": HOLD}] * 7)
    for old in (
        "; the shards there were withdrawn (t-000 hold, t-001 hold, t-002 hold, t-003 hold, "
        "t-004 hold, and 2 more)",
        "",
    ):
        assert fails("pack", "--data", str(dataset.root)) == 3
        told = capsys.readouterr().err
        assert told.startswith(f"error: {dataset.root}: nothing to pack (hold 7){old}\n  fix: ")
        assert [p for p in dataset.shards.rglob("*") if p.is_file()] == []


def test_with_some_left_they_are_packed_as_if_the_others_had_never_been(tmp_path: Path) -> None:
    dataset, fresh = dataset_of(tmp_path / "data", 5), dataset_of(tmp_path / "fresh", 5)
    pack(dataset, format="png", shard_size=0.04)
    for each in (dataset, fresh):
        change_rows(each, {"train": HOLD}, {}, {"dropped": "removed:x"})
    done = pack(dataset, format="png", shard_size=0.04)
    assert done.withdrawn == {"t-000": "hold", "t-002": "dropped:removed"}
    assert ("withdrawn: hold", 1) in done.as_rows()
    assert done.notes() == ["withdrawn from the shards: t-000 hold, t-002 dropped:removed"]
    pack(fresh, format="png", shard_size=0.04)
    assert contents(dataset.shards) == contents(fresh.shards)


def test_shards_of_which_nothing_is_stale_stay_where_nothing_can_be_packed(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path, 2)
    pack(dataset)
    before = contents(dataset.shards)
    change_rows(dataset, {"captions": ()}, {"captions": ()})
    with pytest.raises(InputError, match="the shards there stay as they are"):
        pack(dataset)
    assert contents(dataset.shards) == before


@pytest.mark.parametrize("broken", [b"", b"no tar at all", b"\0" * 4096])
def test_shards_nobody_can_read_are_withdrawn_where_nothing_can_be_packed(
    tmp_path: Path, broken: bytes
) -> None:
    dataset = dataset_of(tmp_path, 2)
    pack(dataset)
    (dataset.shards / "train-000000.tar").write_bytes(broken)
    change_rows(dataset, {"captions": ()}, {"captions": ()})
    with pytest.raises(InputError, match="were withdrawn"):
        pack(dataset)
    assert contents(dataset.shards) == {}


def test_withdrawing_killed_at_any_moment_the_same_command_completes(tmp_path: Path) -> None:
    """Killed among 40 tars: what is left is never taken for shards, and the next run removes it."""
    dataset = dataset_of(tmp_path / "data", 40)
    pack(dataset, format="png", shard_size=0.000001)
    change_rows(dataset, *[{"train": DENY}] * 40)
    kept = tmp_path / "kept"
    shutil.copytree(dataset.shards, kept)
    for removed in random.Random(5).sample(range(40), 8):  # files gone, the index first
        shutil.rmtree(dataset.shards)
        shutil.copytree(kept, dataset.shards)
        names = ["index.json", *sorted(p.name for p in kept.glob("*.tar"))]
        for name in names[: removed + 1]:
            (dataset.shards / name).unlink()
        with pytest.raises(InputError, match="no shards here"):
            read_index(dataset.root)
        with pytest.raises(InputError, match=r"nothing to pack \(deny 40\); .* withdrawn"):
            pack(dataset)
        assert contents(dataset.shards) == {}


def test_packing_the_rest_killed_at_any_moment_the_same_command_completes(tmp_path: Path) -> None:
    whole, killed = dataset_of(tmp_path / "whole", 40), dataset_of(tmp_path / "killed", 40)
    pack(killed, size=50)
    for each in (whole, killed):
        change_rows(each, *[{"train": HOLD}] * 3)
    started = time.monotonic()
    subprocess.run(pack_command(whole), check=True, stdout=subprocess.DEVNULL)
    needs = time.monotonic() - started
    chance, ends = random.Random(3), []
    for _ in range(4):
        process = subprocess.Popen(
            pack_command(killed), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            ends.append(process.wait(timeout=chance.uniform(0.3, 0.95) * needs))
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            ends.append(process.wait())
        try:
            refuse_stale(killed.root)
            keys = {key for key, _, _ in iterate_samples(killed.root)}
        except InputError:
            continue  # the old ones, called stale, or none
        assert len(keys) == 37 and "t-000" not in keys
    assert ends.count(-signal.SIGKILL) >= 1, "runs were cut short"
    pack(killed, size=50)
    assert contents(killed.shards) == contents(whole.shards)


def pack_command(dataset: Dataset) -> list[str]:
    script = "import sys; sys.modules['torch'] = None; from curate import cli; cli.main()"
    return [sys.executable, "-c", script, "pack", "--size", "50", "--data", str(dataset.root)]


# copies

DECISIONS = {"allow": ALLOW, "hold": HOLD, "deny": DENY, "none": None}


@pytest.mark.parametrize("kept", sorted(DECISIONS))
@pytest.mark.parametrize("copy", sorted(DECISIONS))
@pytest.mark.parametrize("group", ["copy", None], ids=["grouped", "of before groups"])
def test_copies_may_be_trained_on_only_where_all_of_them_may(
    kept: str, copy: str, group: str | None
) -> None:
    rows = [
        Sample("copy", "t", dropped="duplicate:kept", group=group, train=DECISIONS[copy]),
        Sample("kept", "t", group=group, train=DECISIONS[kept]),
        Sample("lone", "t", train=ALLOW),
    ]
    found = find_standings(map(verdicts_of, rows))
    problem = {"allow": None if copy == "allow" else "copies-not-joined", "none": "no-verdict"}
    assert found["kept"].problem == problem.get(kept, kept)
    assert found["copy"].problem == "dropped:duplicate" and found["lone"].problem is None
    assert found["kept"].copies == (() if found["kept"].problem else ("copy",))
    assert found["copy"].copies == (), "a dropped one carries no credits"
    assert found["lone"].copies == ()


def test_copies_that_were_not_judged_together_are_left_out_with_the_fix(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path / "data", 3)
    change_rows(
        dataset,
        {"train": HOLD, "dropped": "duplicate:t-001", "group": "t-000"},
        {"group": "t-000"},
    )
    done = pack(dataset)
    assert [key for key, _, _ in iterate_samples(dataset.root)] == ["t-002"]
    assert done.left_out == {"copies-not-joined": 1, "dropped:duplicate": 1}
    assert done.notes() == [
        f"1 images left out as copies-not-joined: curate check --data {dataset.root}"
    ]


def test_a_copy_found_later_makes_shards_stale_and_joins_the_credits(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path, 2)
    copy = {"dropped": "duplicate:t-000", "group": "t-000"}
    change_rows(dataset, {}, {"dropped": "unreadable:x"})
    pack(dataset)
    change_rows(dataset, {"group": "t-000"}, {**copy, "author": "B. Other", "license": "CC-BY-4.0"})
    assert "1 of 1 samples are stale (copies-changed 1)" in refused(dataset.root)
    assert pack(dataset).withdrawn == {}
    ((_, _, record),) = iterate_samples(dataset.root)
    assert [(c["key"], c["author"], c["license"]) for c in record["credits"]] == [
        ("t-000", "A. Nyone", "CC0-1.0"),
        ("t-001", "B. Other", "CC-BY-4.0"),
    ]
    assert record["group"] == "t-000"
    refuse_stale(dataset.root)
    change_rows(dataset, {}, {"train": DENY})
    assert "copies-not-joined 1" in refused(dataset.root)


# records

EDITS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "hold": (lambda r: r.update(train={"decision": "hold", "reasons": []}), "train: hold"),
    "deny": (lambda r: r.update(train={"decision": "deny", "reasons": []}), "train: deny"),
    "ALLOW": (lambda r: r.update(train={"decision": "ALLOW"}), "train: ALLOW"),
    "null": (lambda r: r.update(train=None), "no verdict on training"),
    "no decision": (lambda r: r.update(train={}), "no verdict on training"),
    "a list": (lambda r: r.update(train=["allow"]), "no verdict on training"),
    "a word": (lambda r: r.update(train="allow"), "no verdict on training"),
    "missing": (lambda r: r.pop("train"), "no verdict on training"),
}


def edit_record(tar: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    """Change the first record in a tar."""
    with tarfile.open(tar) as old:
        members = [(m, old.extractfile(m).read()) for m in old.getmembers()]  # type: ignore[union-attr]
    with tarfile.open(tar, "w") as new:
        edited = False
        for member, data in members:
            if member.name.endswith(".json") and not edited:
                record = json.loads(data)
                edit(record)
                data, edited = json.dumps(record).encode(), True
                member.size = len(data)
            new.addfile(member, io.BytesIO(data))


def index_again(folder: Path) -> None:
    """An index that agrees with the tars, as somebody who edited them would write it."""
    values = json.loads((folder / "index.json").read_bytes())
    for shard in values["shards"]:
        file = folder / shard["name"]
        shard |= {"sha256": file_sha256(file), "bytes": file.stat().st_size}
    (folder / "index.json").write_text(json.dumps(values))


@pytest.mark.parametrize("name", sorted(EDITS))
def test_a_record_that_says_anything_but_allow_is_given_to_no_reader(
    tmp_path: Path, name: str
) -> None:
    edit, said = EDITS[name]
    dataset = dataset_of(tmp_path / "data", 2)
    pack(dataset)
    edit_record(dataset.shards / "train-000000.tar", edit)
    index_again(dataset.shards)
    moved = tmp_path / "moved"
    shutil.copytree(dataset.shards, moved)
    for folder in (dataset.root, moved):
        with pytest.raises(InputError, match=f"the record of t-000 says {said}"):
            list(iterate_samples(folder))
    assert "1 of 2 samples are stale (not-allowed-when-packed 1)" in refused(dataset.root)
    reading = ReadNotes()
    (part,), _ = shard_partitions(moved)
    assert list(part.read(reading)) == []
    assert f"the record of t-000 says {said}); images not counted: 2" in reading.broken[0]


def test_an_index_made_anew_makes_stale_shards_no_better(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path, 2)
    pack(dataset)
    index = (dataset.shards / "index.json").read_bytes()
    (dataset.shards / "index.json").unlink()
    change_rows(dataset, {"train": DENY})
    with pytest.raises(InputError, match=r"no shards here, only tars without an index\.json"):
        refuse_stale(dataset.root)
    (dataset.shards / "index.json").write_bytes(index)
    assert "(deny 1)" in refused(dataset.root)


def test_moved_away_they_stand_by_their_records_and_beside_another_dataset_not(
    tmp_path: Path,
) -> None:
    dataset = dataset_of(tmp_path / "data", 2)
    pack(dataset)
    shutil.copytree(dataset.shards, tmp_path / "elsewhere" / "shards")
    change_rows(dataset, {"train": DENY})
    refuse_stale(tmp_path / "elsewhere")
    other = Dataset(tmp_path / "other")
    with other.lock():
        other.write(Manifest([], []))
    shutil.copytree(dataset.shards, other.shards)
    assert "2 of 2 samples are stale (no-row 2)" in refused(other.root)


def test_a_link_to_shards_is_not_away_from_their_dataset(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path / "data", 2)
    pack(dataset)
    (tmp_path / "link").symlink_to(dataset.shards)
    (tmp_path / "whole").symlink_to(dataset.root)
    change_rows(dataset, {"train": DENY})
    for link in ("link", "whole"):
        told = refused(tmp_path / link)
        assert "1 of 2 samples are stale (deny 1)" in told
        root = dataset.root if link == "link" else tmp_path / link
        assert f"fix: curate pack --data {root} --size" in told


def test_beside_a_store_there_is_a_manifest(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path / "data", 2)
    pack(dataset)
    dataset.manifest.unlink()
    assert "manifest.parquet: not a readable manifest" in refused(dataset.root)


def test_what_a_source_says_later_counts_before_the_manifest_is_written(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path / "data", 3)
    pack(dataset)
    row = dataset.read().samples[1]
    dataset.append_row(join_statements(row, replace(row, opt_outs=("api:noai",))))
    dataset.append_row(Sample("t-new", "test"))
    with dataset.journal.open("ab") as file:
        file.write(b'{"key": "t-000", "trai')  # cut short by a crash
    assert "1 of 3 samples are stale (no-verdict 1), such as t-001" in refused(dataset.root)
    now = read_manifest_verdicts(dataset.manifest)
    assert find_standings(now) == find_standings(map(verdicts_of, dataset.read().samples))


# images that were never compared

UNKNOWN: dict[str, list[dict[str, Any]]] = {
    "the copy of a denied one": [{"pixel_sha256": None}, {"train": DENY}],
    "a denied one": [{}, {"train": DENY, "pixel_sha256": None}],
    "the copy of a Pixabay image": [{"pixel_sha256": None}, {"share_dataset": DENY}],
    "the copy of an undecided one": [{"pixel_sha256": None}, {"train": None}],
    "the copy of a removed one": [{"pixel_sha256": None}, {"dropped": "removed:x"}],
}


@pytest.mark.parametrize("name", sorted(UNKNOWN))
def test_nothing_is_packed_that_may_be_an_unknown_copy(tmp_path: Path, name: str) -> None:
    dataset = dataset_of(tmp_path / "data", 3)
    pack(dataset)
    before = contents(dataset.shards)
    change_rows(dataset, *UNKNOWN[name])
    with pytest.raises(InputError, match="1 images were not compared with others") as caught:
        pack(dataset)
    there = f"--data {dataset.root}"
    assert caught.value.fix == f"curate dedup {there}, then curate check {there}"
    assert contents(dataset.shards) == before


def test_images_of_which_the_same_is_allowed_need_no_comparing(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path, 3, pixel_sha256=None)
    assert pack(dataset).samples == 3
    change_rows(dataset, {"dropped": "opt-out:api:noai", "sha256": None, "train": DENY})
    assert pack(dataset).samples == 2, "what was never downloaded cannot be compared"


def test_equal_bytes_and_pixels_are_copies_before_they_are_grouped(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path, 4)
    rows = dataset.read().samples
    change_rows(
        dataset,
        {"train": DENY},
        {"sha256": rows[0].sha256},
        {"pixel_sha256": rows[0].pixel_sha256},
    )
    assert pack(dataset).left_out == {"copies-not-joined": 2, "deny": 1}


def test_the_name_of_the_folder_may_be_relative(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = dataset_of(tmp_path, 1)
    pack(dataset)
    change_rows(dataset, {"train": DENY})
    monkeypatch.chdir(dataset.shards)
    assert "(deny 1)" in refused(Path())


def test_the_version_before_is_read_and_judged_by_its_records(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path, 2)
    pack(dataset)

    def older(record: dict[str, Any]) -> None:
        del record["credits"], record["group"], record["weight"]

    edit_record(dataset.shards / "train-000000.tar", older)
    index_again(dataset.shards)
    values = json.loads((dataset.shards / "index.json").read_bytes())
    del values["policy"], values["verdicts"]
    (dataset.shards / "index.json").write_text(json.dumps(values | {"version": "fubuki-shards/2"}))
    assert len(list(iterate_samples(dataset.root))) == 2
    assert read_index(dataset.root).verdicts is None
    refuse_stale(dataset.root)
    change_rows(dataset, {"train": HOLD})
    assert "1 of 2 samples are stale (hold 1)" in refused(dataset.root)
    pack(dataset)
    assert read_index(dataset.root).version == "fubuki-shards/4"


# evidence


def online(dataset: Dataset, *named: str | None) -> None:
    address = "https://example.org/a.png"
    change_rows(dataset, *({"image_url": address, "evidence": name} for name in named))


def test_a_row_of_an_online_source_is_packed_with_its_evidence_only(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path / "data", 6)
    store = Store(dataset.evidence)
    good, changed, lost = (
        write_answer(store, replace(ANSWER, body=body)) for body in ("1", "2", "3")
    )
    store.path_of(changed).write_bytes(b"{}")
    store.path_of(lost).unlink()
    online(dataset, good, changed, lost, None, good)  # the sixth is of a folder
    done = pack(dataset)
    assert [key for key, _, _ in iterate_samples(dataset.root)] == ["t-000", "t-004", "t-005"]
    assert done.left_out == {"evidence-changed": 1, "no-evidence": 2}
    assert done.notes()[0].startswith("2 images left out as no-evidence: put back ")
    named = {"image_url": "https://example.org/a.png", "evidence": good}
    later = Statement("CC BY 4.0", None, None, lost)
    change_rows(
        dataset,
        named | {"site_evidence": (good, changed)},
        named | {"restated": (later,)},
        named | {"site_evidence": (good,), "restated": (replace(later, evidence=None),)},
    )
    assert pack(dataset).left_out == {"evidence-changed": 1, "no-evidence": 2}


def test_evidence_alone_in_the_way_is_named_where_nothing_can_be_packed(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path, 1)
    online(dataset, "ab" * 32)
    with pytest.raises(InputError, match=r"nothing to pack \(no-evidence 1\)") as caught:
        pack(dataset)
    assert caught.value.fix.startswith(f"put back {dataset.evidence} as the fetch wrote it")


def test_shards_whose_evidence_is_gone_are_withdrawn(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path, 1)
    online(dataset, write_answer(Store(dataset.evidence), ANSWER))
    assert pack(dataset).samples == 1
    shutil.rmtree(dataset.evidence)
    with pytest.raises(InputError, match="the shards there were withdrawn"):
        pack(dataset)
    assert not list(dataset.shards.glob("*.tar"))


# the law

decisions = st.sampled_from([ALLOW, ALLOW, ALLOW, HOLD, DENY, None])
drops = st.sampled_from([None, None, None, "duplicate", "removed:x"])
groups = st.sampled_from([None, None, "a", "b"])
states = st.lists(st.tuples(decisions, decisions, drops, groups), min_size=4, max_size=4)


def states_of(samples: list[Sample], drawn: list[tuple[Any, ...]]) -> list[Sample]:
    """The rows in a drawn state: verdicts, drops and groups as a dataset can have them."""
    members: dict[str, list[str]] = {}
    for sample, (_, _, _, group) in zip(samples, drawn, strict=True):
        members.setdefault(group or sample.key, []).append(sample.key)
    out = []
    for sample, (train, share, drop, group) in zip(samples, drawn, strict=True):
        first = members[group or sample.key][0]
        dropped = drop
        if drop == "duplicate":
            dropped = f"duplicate:{first}" if first != sample.key else None
        known = {"train": train, "share_model": share, "dropped": dropped}
        out.append(replace(sample, group=first if group else None, **known))
    return out


@given(before=states, after=states)
@examples(max_examples=6, deadline=None)
def test_nothing_is_read_that_the_dataset_does_not_allow_now(
    tmp_path_factory: pytest.TempPathFactory, before: Any, after: Any
) -> None:
    """Whatever was packed before: allowed reading implies that every sample is allowed, and the
    shards are those of a dataset that was never in another state."""
    root = tmp_path_factory.mktemp("law")
    dataset, fresh = dataset_of(root / "data", 4), dataset_of(root / "fresh", 4)
    plain = dataset.read().samples
    for each, states in ((dataset, (before, after)), (fresh, (after,))):
        for drawn in states:
            with each.lock():
                each.write(Manifest(states_of(plain, drawn), []))
            if each is dataset and drawn is after:
                check_reading(dataset)
            try:
                pack(each, size=8, format="png")
            except InputError as error:
                assert "nothing to pack" in error.problem
    assert contents(dataset.shards) == contents(fresh.shards)
    check_reading(dataset)


def check_reading(dataset: Dataset) -> None:
    now = find_standings(map(verdicts_of, dataset.read().samples))
    assert now == find_standings(read_manifest_verdicts(dataset.manifest))
    try:
        refuse_stale(dataset.root)
    except InputError:
        return
    read = {key: record for key, _, record in iterate_samples(dataset.root)}
    by_key = {s.key: s for s in dataset.read().samples}
    for key, record in read.items():
        row = by_key[key]
        group = [s for s in by_key.values() if s.group and s.group == row.group]
        assert row.may_train and all(s.train and s.train.decision == "allow" for s in group)
        assert {c["key"] for c in record["credits"]} == {key, *(s.key for s in group)}
    keys = set(read)
    assert find_stale(dataset.shards, now, keys) == find_stale(dataset.shards, now) == {}


@given(states, st.randoms(use_true_random=False))
def test_a_digest_tells_any_two_sets_of_verdicts_apart_whatever_their_order(
    drawn: Any, chance: random.Random
) -> None:
    plain = [Sample(f"t-{n:03}", "test", sha256="x") for n in range(4)]
    standings = [*find_standings(map(verdicts_of, states_of(plain, drawn))).values()]
    shuffled = chance.sample(standings, len(standings))
    assert digest(shuffled) == digest(standings)
    other = standings[0]._replace(decisions=("other", None, None))
    assert digest([other, *standings[1:]]) != digest(standings) != digest(standings[1:])


def test_the_index_names_policy_and_verdicts(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path, 3, policy="ab" * 32)
    pack(dataset)
    index = read_index(tmp_path)
    now = find_standings(map(verdicts_of, dataset.read().samples))
    assert (index.policy, index.verdicts) == ("ab" * 32, digest(now.values()))
    change_rows(dataset, {"policy": "cd" * 32})
    pack(dataset)
    assert read_index(tmp_path).policy is None
    assert isinstance(read_index(tmp_path).shards[0], Shard)
