"""Nothing leaves a dataset that may not, whatever verdicts, copies and removals there are."""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from curate.dataset.folder import Dataset
from curate.dataset.manifest import Manifest
from curate.dataset.sample import Caption, Sample, Signal, Verdict
from curate.errors import InputError, LicenceError
from curate.formats.shards import iterate_samples
from curate.publish.check import check_published
from curate.publish.choose import find_sharing
from curate.publish.leaks import find_leak, is_public_address
from curate.shards.pack import pack
from tests.packable import ALLOW, change_rows
from tests.publishable import DENY, NC, all_text, online, packed, published, rows_of, shareable

PEOPLE = Verdict("hold", ("restriction:personality",))
BASIS = Verdict("allow", ("terms:x", "basis:CANARY-basis said Bob"))
OPEN, PIXABAY = ("CC0-1.0", "CC-BY-SA-4.0", "CC-BY-NC-4.0"), "LicenseRef-scancode-pixabay-content"
SOME = st.fixed_dictionaries(
    {
        "train": st.sampled_from([ALLOW, ALLOW, ALLOW, BASIS, DENY, NC, None]),
        "share_dataset": st.sampled_from([ALLOW, ALLOW, ALLOW, NC, PEOPLE, DENY, None]),
        "license": st.sampled_from([*OPEN, *OPEN, "LicenseRef-AllRightsReserved", PIXABAY, None]),
        "source": st.sampled_from(["test", "test", "test", "pixabay"]),
        "dropped": st.sampled_from([None] * 6 + ["removed:2026", "duplicate:t-000", "unreadable"]),
        "group": st.sampled_from([None, None, "t-000", "t-003"]),
        "opt_outs": st.sampled_from([()] * 5 + [("api:noAiTraining",)]),
        "signals": st.sampled_from([()] * 5 + [(Signal("robots.txt", False, "site"),)]),
        "address": st.booleans(),
    }
)


def words_of(key: str) -> dict[str, str]:
    """What names an image, each a word that stands nowhere else."""
    kinds = ("title", "author", "page", "address", "caption")
    return {kind: f"{kind}OF{key.replace('-', 'Z')}E" for kind in kinds}


def row_of(row: Sample, changes: dict[str, Any]) -> Sample:
    said = words_of(row.key)
    given = {name: value for name, value in changes.items() if name != "address"}
    if changes["address"]:
        given |= online(f"https://images.example.org/{said['address']}.png")
    return replace(
        row,
        title=said["title"],
        author=said["author"],
        page_url=f"https://example.org/{said['page']}",
        captions=(Caption(said["caption"], "title"),),
        **given,
    )


def may_be_named(group: list[Sample], row: Sample, packed_keys: set[str]) -> tuple[bool, bool]:
    """Whether an image may be given on, and whether its address may, by the rules as documented."""
    live = row.key in packed_keys
    removed = any((r.dropped or "").startswith("removed") for r in group)
    terms = any(r.source == "pixabay" or r.license == PIXABAY for r in group)
    never = removed or terms or any(r.opt_outs or r.license is None for r in group)
    shared = live and not never and all(r.share_dataset == ALLOW for r in group)
    fine = all(
        not r.opt_outs
        and not any(s.allows is False for s in r.signals)
        and r.share_dataset in (ALLOW, NC)
        and r.license in OPEN
        for r in group
    )
    return shared, live and not never and not shared and fine and row.image_url is not None


def joined(rows: list[Sample]) -> dict[str, list[Sample]]:
    """The group of each row, found by merging again and again."""
    groups = {row.key: {row.key} for row in rows}
    named = [{row.key, *filter(None, [row.group])} for row in rows]
    named += [{row.key, row.dropped[10:]} for row in rows if (row.dropped or "").startswith("dup")]
    by_key = {row.key: row for row in rows}
    for _ in rows:
        for names in named:
            keys = {k for k in by_key if any(names & (groups[k] | {by_key[k].group}) for _ in "1")}
            merged = set().union(*(groups[k] for k in keys))
            for key in merged:
                groups[key] = merged
    return {key: [by_key[k] for k in sorted(keys)] for key, keys in groups.items()}


@given(st.lists(SOME, min_size=6, max_size=6))
@examples(max_examples=25, deadline=None)
def test_nothing_leaves_that_may_not(changes: list[dict[str, Any]]) -> None:
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        dataset = shareable(root / "data", 6)
        with dataset.lock():
            rows = [row_of(r, c) for r, c in zip(dataset.read().samples, changes, strict=True)]
            dataset.write(Manifest(rows, []))
        try:
            packed(dataset)
        except InputError:
            return  # nothing may be trained on
        packed_keys = set(words_packed(dataset))
        groups = joined(rows)
        allowed = {row.key: may_be_named(groups[row.key], row, packed_keys) for row in rows}
        try:
            done = published(dataset, root / "out")
        except LicenceError:
            assert not any(shared for shared, _ in allowed.values())
            assert not (root / "out").exists()
            return
        text = all_text(root / "out")
        for row in rows:
            # what is said of a copy goes with the image that is given on
            shared = any(allowed[r.key][0] for r in groups[row.key])
            named = any(allowed[r.key][1] for r in groups[row.key])
            for kind, word in words_of(row.key).items():
                assert (word in text) <= (shared or named), (row.key, kind)
            assert (row.key in text) <= shared, row.key
            assert (str(row.sha256) in text) <= (shared or allowed[row.key][1]), row.key
        assert "CANARY" not in text
        assert sum(done.images.values()) == sum(shared for shared, _ in allowed.values())
        assert done.addresses == sum(named for _, named in allowed.values())
        assert not check_published(root / "out", dataset).found


def words_packed(dataset: Dataset) -> list[str]:
    return [key for key, _, _ in iterate_samples(dataset.shards)]


OPTED = {"signals": (Signal("robots.txt:disallow", False, "site"),)}
RELATIVES = [  # what one of a group of two says -> what becomes of both
    ({}, "shared"),
    ({"share_dataset": NC, "license": "CC-BY-NC-4.0"}, None),
    ({"share_dataset": DENY}, "share_dataset:deny"),
    ({"share_dataset": None}, "share_dataset:no-verdict"),
    ({"share_dataset": PEOPLE}, "restriction"),
    ({"dropped": "removed:2026"}, "removed"),
    ({"opt_outs": ("api:noAiTraining",)}, "opt-out"),
    ({"share_dataset": NC, **OPTED}, "opt-out"),
    (OPTED, "shared"),  # its policy let the author's licence count
    ({"source": "pixabay"}, "terms:pixabay"),
    ({"license": PIXABAY}, "terms:pixabay"),
    ({"license": None}, "licence-unknown"),
    ({"license": "LicenseRef-CC-BY-family", "share_dataset": NC}, "licence-unknown"),
    ({"license": "LicenseRef-AllRightsReserved", "share_dataset": NC}, "licence-reserved"),
]


@pytest.mark.parametrize(("said", "fate"), RELATIVES)
def test_what_one_of_a_group_says_holds_for_all_of_it(
    said: dict[str, Any], fate: str | None
) -> None:
    usual = {"source": "test", "license": "CC0-1.0", "share_dataset": ALLOW, "group": "t-1"}
    usual |= {"image_url": "https://images.example.org/a.png"}
    rows = [Sample(f"t-{n}", **usual | more) for n, more in enumerate(({}, said, {"group": None}))]
    found = find_sharing(rows)
    assert found.decisions["t-2"] == "allow"
    for key in ("t-0", "t-1"):
        assert (found.decisions[key] == "allow") == (fate == "shared")
        if fate != "shared":
            assert found.unnamed[key] == fate


ADDRESSES = {
    "https://example.org/a.png": True,
    "https://example.org/a?id=3": True,
    "http://93.184.216.34/a.png": True,
    "https://example.org/a.png?X-Amz-Signature=abc": False,
    "https://example.org/a.png?key=abc": False,
    "https://example.org/a.png?key=REDACTED": False,
    "https://me:secret@example.org/a.png": False,
    "http://localhost:8000/a.png": False,
    "http://127.0.0.1/a.png": False,
    "http://192.168.0.3/a.png": False,
    "http://[::1]/a.png": False,
    "http://nas.local/a.png": False,
    "http://intranet/a.png": False,
    "file:///etc/passwd": False,
    "ftp://example.org/a.png": False,
    "https://[broken/a.png": False,
}


@pytest.mark.parametrize(("address", "public"), ADDRESSES.items())
def test_an_address_is_offered_where_anybody_may_ask_for_it(address: str, public: bool) -> None:
    assert is_public_address(address) == public
    row = Sample("t-0", "test", license="CC-BY-NC-4.0", share_dataset=NC, image_url=address)
    assert find_sharing([row]).unnamed["t-0"] == (None if public else "address-not-public")


LEAKS = {
    "a mage in a blue robe, see https://example.org/mnt/mage": None,
    "/imagine a mage, and/or an elf, 1/2": None,
    "~/pictures and ./mnt/x": None,
    "from /mnt/anna/pictures/mage.png": "local-path",
    '{"title": "/var/anna/mage.png"}': "local-path",
    f"{'/'.join(('', 'home', 'anna'))}/mage.png": "local-path",
    f"in {'/'.join(('', 'Users', 'anna'))}/mage.png": "local-path",
    "C:\\Users\\anna\\mage.png": "local-path",
    "file:///srv/mage.png": "local-path",
    "see http://localhost:8000/mage": "address",
    "see https://anna:pw@example.org/mage": "address",
    f"hf_{'aB3' * 12}": "secret",
    f"AKIA{'A1' * 8}": "secret",
}


@pytest.mark.parametrize(("text", "leak"), LEAKS.items())
def test_what_nobody_else_should_read_is_known(text: str, leak: str | None) -> None:
    assert find_leak(text) == leak


def test_what_only_its_owner_knows_stays_at_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Canaries in all that a dataset holds of images, given on or not."""
    monkeypatch.setenv("PIXABAY_API_KEY", "CANARYkey12345678")
    root = tmp_path / "CANARY-folder"
    root.mkdir()
    private = {
        **online("https://me:CANARY@images.example.org/0.png?token=CANARY"),
        "final_url": "https://images.example.org/CANARY",
        "redirects": ("https://images.example.org/CANARY",),
        "headers": ("X-Canary: CANARY",),
        "query": "CANARY",
        "basis": "CANARY",
        "tags": ("CANARY",),
        "file_name": "CANARY/0.png",
        "title": "Snow",
        "author_url": "http://localhost/CANARY",
        "license_how": "text 'CC0'",
        "train": BASIS,
        "share_model": Verdict("allow", ("permission:CANARY",)),
    }
    dataset = shareable(root / "data", 4)
    (dataset.root / "terms.json").write_text('{"who": "CANARY"}')
    (dataset.root / "contact.json").write_text('{"contact": "CANARY@example.org"}')
    leaks = {"title": "/mnt/CANARY/x.png"}, {"captions": (Caption("hf_" + "CANARY7" * 5, "text"),)}
    done = published(packed(dataset, private, *leaks), tmp_path / "out", name="Snow")
    assert done.withheld == {"t-001": "leak:local-path", "t-002": "leak:secret"}
    assert done.images == {"train": 2} and done.rewritten == 1
    assert "CANARY" not in all_text(tmp_path / "out")
    row = rows_of(tmp_path / "out/metadata.parquet")[0]
    assert row["key"] == "t-000" and row["image_url"] is row["author_url"] is None
    assert not check_published(tmp_path / "out", dataset).found


def test_a_shard_of_which_all_may_leave_is_written_anew_for_one_private_word(
    tmp_path: Path,
) -> None:
    dataset = packed(shareable(tmp_path / "data", 3), {}, {"train": BASIS})
    assert "CANARY" in all_text(dataset.shards)
    done = published(dataset, tmp_path / "out")
    assert (done.images, done.rewritten) == ({"train": 3}, 1)
    assert "CANARY" not in all_text(tmp_path / "out")


def test_a_verdict_that_became_more_lenient_is_published_once_it_is_packed(tmp_path: Path) -> None:
    dataset = packed(shareable(tmp_path / "data", 2), {"share_dataset": NC})
    change_rows(dataset, {"share_dataset": ALLOW})
    done = published(dataset, tmp_path / "out")
    assert done.withheld == {"t-000": "share_dataset-when-packed"}
    pack(dataset, size=48)
    assert not published(dataset, tmp_path / "out").withheld


def test_images_of_which_it_is_asked_are_in_tars_of_their_own(tmp_path: Path) -> None:
    copy = {"group": "t-000", "dropped": "duplicate:t-000", "license": "CC-BY-SA-3.0"}
    dataset = packed(shareable(tmp_path / "data", 3), {"group": "t-000"}, copy)
    published(dataset, tmp_path / "out")
    rows = {row["key"]: row for row in rows_of(tmp_path / "out/metadata.parquet")}
    assert [rows[key]["share_alike"] for key in ("t-000", "t-002")] == [True, False]
    assert {row["shard"] for row in rows.values() if row["share_alike"]} == {
        "data/train_sharealike-000000.tar"
    }
    assert "CC-BY-SA-3.0" in rows["t-000"]["credits"]
