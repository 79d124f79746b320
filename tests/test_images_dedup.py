"""Which images are copies, which one stays, and what is only kin of another."""

import itertools
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from pictures import encoded, photograph
from PIL import Image, ImageDraw

from curate import cli
from curate.dataset.folder import Dataset
from curate.dataset.sample import DUPLICATE, Likeness, Sample, Verdict, live_samples
from curate.images.dedup import find_duplicates, rank_rows
from curate.images.groups import Pair, mark_copies
from curate.images.proof import Proof


def figure(skin: str = "#f7d7c4", tool: str | None = None, hair: str = "#5a3825") -> Image.Image:
    """A drawn person on nothing: one of many that differ in one part."""
    image = Image.new("RGBA", (256, 256))
    draw = ImageDraw.Draw(image)
    draw.ellipse((78, 30, 178, 130), fill=hair)
    draw.ellipse((88, 50, 168, 140), fill=skin)
    draw.ellipse((104, 84, 114, 96), fill="#222222")
    draw.ellipse((142, 84, 152, 96), fill="#222222")
    draw.rounded_rectangle((58, 150, 198, 256), 40, fill="#2f6fb5")
    if tool:
        draw.rectangle((200, 150, 214, 226), fill=tool)
    return image


# the pure core: rows and pairs in, rows out


def row(key: str, file: str | None = None, **known: object) -> Sample:
    return replace(Sample(key, "t", sha256=file or key), **known)  # type: ignore[arg-type]


def pair(one: str, other: str, *, same: bool = True, score: float = 0.9) -> Pair:
    return Pair(one, other, score, "recompressed" if same else "mirrored", same)


def by_size(samples: Sequence[Sample]) -> list[Sample]:
    return sorted(samples, key=lambda s: (-s.area, s.key))


def test_the_same_picture_is_dropped_and_kin_is_grouped() -> None:
    rows = [row("a", width=9, height=9), row("b", width=1, height=1), row("c"), row("d")]
    out = mark_copies(rows, [pair("a", "b"), pair("a", "c", same=False, score=0.5)], by_size)
    assert [s.dropped for s in out] == [None, "duplicate:a", None, None]
    assert [s.group for s in out] == ["a", "a", "a", None]
    assert [s.likeness for s in out] == [
        Likeness("b", "recompressed", 0.9),
        Likeness("a", "recompressed", 0.9),
        Likeness("a", "mirrored", 0.5),
        None,
    ]


def test_equal_bytes_and_equal_pixels_need_no_pair() -> None:
    rows = [row("c", "x", pixel_sha256="p"), row("b", "y", pixel_sha256="p"), row("a", "y")]
    out = mark_copies(rows, [], by_size)
    assert [s.dropped for s in out] == ["duplicate:a", "duplicate:a", None]
    assert {s.group for s in out} == {"a"}
    assert out[0].likeness == Likeness("b", "same", 1.0)


def test_a_group_holds_copies_of_copies_and_a_copy_names_what_it_is_the_same_as() -> None:
    """`a` and `c` both stay, for they are not the same; what is the same as both connects them."""
    rows = [row("a", width=9, height=9), row("b"), row("c", width=8, height=9)]
    out = mark_copies(rows, [pair("a", "b"), pair("b", "c")], by_size)
    assert [s.dropped for s in out] == [None, "duplicate:a", None]
    assert {s.group for s in out} == {"a"}


def test_a_group_of_before_is_forgotten_with_its_likeness() -> None:
    old = row("a", group="b", likeness=Likeness("b", "same", 1.0))
    assert mark_copies([old], [], by_size) == [row("a")]


def test_what_was_removed_still_holds_its_group_together() -> None:
    """Its sketch is gone; the rows it connected had a group with it."""
    rows = [row("a"), row("b", dropped="removed:asked for"), row("c")]
    links = [pair("a", "b", same=False), pair("b", "c", same=False)]
    before = mark_copies([replace(s, dropped=None) for s in rows], links, by_size)
    removed = [replace(s, dropped=r.dropped) for s, r in zip(before, rows, strict=True)]
    after = mark_copies(removed, [], by_size)
    assert [s.group for s in after] == ["a", "a", "a"]
    assert [s.likeness for s in after] == [s.likeness for s in before]


def test_a_picture_dropped_for_another_reason_is_nobodys_original() -> None:
    rows = [row("a", width=9, height=9, dropped="opt-out:noai"), row("b")]
    out = mark_copies(rows, [pair("a", "b")], by_size)
    assert [s.dropped for s in out] == ["opt-out:noai", None]
    assert [s.group for s in out] == ["a", "a"]


@st.composite
def rows_and_pairs(draw: st.DrawFn) -> tuple[list[Sample], list[Pair]]:
    """Rows of a few files, some with equal pixels, some dropped before, and pairs of files."""
    files = [f"file{n}" for n in range(7)]
    pixels = {name: draw(st.sampled_from([None, None, None, "p", "q"])) for name in files}
    drops = st.sampled_from([None, None, None, "duplicate:of-before", "removed:asked for"])
    rows = []
    for n in range(draw(st.integers(0, 12))):
        name, side = draw(st.sampled_from(files)), draw(st.integers(1, 3))
        known = {"pixel_sha256": pixels[name], "width": side, "height": side}
        group = draw(st.sampled_from([None, None, "k0", "k1"]))
        rows.append(row(f"k{n}", name, dropped=draw(drops), group=group, **known))
    links = draw(st.lists(st.sampled_from(list(itertools.combinations(files, 2))), unique=True))
    scores = st.sampled_from([0.5, 0.7, 0.9])
    return rows, [pair(*two, same=draw(st.booleans()), score=draw(scores)) for two in links]


@given(rows_and_pairs(), st.randoms(use_true_random=False))
@examples(max_examples=200)
def test_every_row_stays_and_every_drop_is_justified(
    given_rows: tuple[list[Sample], list[Pair]], chance: random.Random
) -> None:
    rows, pairs = given_rows
    out = mark_copies(rows, pairs, by_size)

    assert [s.key for s in out] == [s.key for s in rows]
    assert mark_copies(out, pairs, by_size) == out, "twice is once"
    shuffled = mark_copies(
        chance.sample(rows, len(rows)), chance.sample(pairs, len(pairs)), by_size
    )
    assert {s.key: s for s in shuffled} == {s.key: s for s in out}
    others = mark_copies(rows, pairs, lambda some: by_size(some)[::-1])
    assert {s.key: s.group for s in others} == {s.key: s.group for s in out}, "whichever stays"
    staying = {s.key: s for s in live_samples(out)}
    for sample in out:
        if sample.drop_reason == DUPLICATE:
            assert is_same(sample, staying[sample.drop_detail], out, pairs)
    for one, other in itertools.combinations(staying.values(), 2):
        assert not is_same(one, other, out, pairs), "both are needed"
    assert {s.key: s.group for s in out} == connected(rows, pairs)
    for sample in out:
        like = sample.likeness
        assert like is None or {s.key: s.group for s in out}[like.key] == sample.group


def contents(sample: Sample, rows: Sequence[Sample]) -> set[str]:
    """The files that hold the pixels of a row, through those in use."""
    names = {str(sample.sha256)}
    alive = [s for s in rows if s.dropped is None or s.drop_reason == DUPLICATE]
    for _ in rows:
        pixels = {s.pixel_sha256 for s in alive if s.sha256 in names} - {None}
        names |= {str(s.sha256) for s in alive if s.pixel_sha256 in pixels}
    return names


def is_same(one: Sample, other: Sample, rows: Sequence[Sample], pairs: Sequence[Pair]) -> bool:
    mine, its = contents(one, rows), contents(other, rows)
    linked = {frozenset((p.one, p.other)) for p in pairs if p.same}
    return bool(mine & its) or any(frozenset((a, b)) in linked for a in mine for b in its)


def connected(rows: Sequence[Sample], pairs: Sequence[Pair]) -> dict[str, str | None]:
    """The smallest key of each row's group by looking at every two, again and again."""
    linked = {frozenset((p.one, p.other)) for p in pairs}
    gone = {s.group for s in rows if s.dropped and s.drop_reason != DUPLICATE} - {None}
    least = {s.key: s.key for s in rows}
    company: set[str] = set()
    for _ in rows:
        for one, other in itertools.permutations(rows, 2):
            equal = one.sha256 == other.sha256 or (
                one.pixel_sha256 is not None and one.pixel_sha256 == other.pixel_sha256
            )
            kin = frozenset((str(one.sha256), str(other.sha256))) in linked
            if equal or kin or (one.group in gone and one.group == other.group):
                company.add(one.key)
                least[one.key] = min(least[one.key], least[other.key])
    return {key: least[key] if key in company else None for key in least}


# which stays


def proof(name: str, place: int) -> Proof:
    return Proof(name, place, False, "", "", 1.0, 0.0)


def test_the_original_then_documents_then_words_then_size_then_key() -> None:
    said = {"license_text": "CC0"}
    rows = [
        row("z"),
        row("y", license_text="CC0", author="A"),
        row("x", texts=("a cat",), **said),
        row("w", width=9, height=9, **said),
        row("u", **said),
        row("v", **said),
        row("t", width=99, height=99, author="A", page_url="p", license_url="u", **said),
    ]
    proofs = {s.key: proof(s.key, 2) for s in rows} | {"z": proof("z", 0), "t": proof("t", 3)}
    assert rank_rows(rows[::-1], proofs=proofs) == rows


def test_which_copy_stays_is_not_for_a_policy_to_say() -> None:
    """Else a copy that may be used would take the place of one that may not."""
    rows = [row("a", license_text="CC0"), row("b", license_text="CC0")]
    for decision in ("allow", "hold", "deny"):
        decided = replace(rows[0], train=Verdict(decision, ()), license="CC0-1.0", policy="p")
        decided = replace(decided, opt_outs=("api:noAiTraining",))
        assert rank_rows([rows[1], decided], proofs={}) == [decided, rows[1]]


# the command


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two photographs in several copies, two drawings that only look alike, one broken file."""
    dataset = Dataset(tmp_path / "data")
    fill(dataset)
    return dataset.root


def fill(dataset: Dataset) -> None:
    first, second = photograph(1), photograph(2)
    files = {
        "p-1": encoded(first),
        "p-1-again": encoded(first),
        "p-1-webp": encoded(first, "WEBP", lossless=True),
        "p-1-small": encoded(first.resize((160, 120), Image.Resampling.LANCZOS)),
        "p-2": encoded(second, "JPEG", quality=95),
        "p-2-small": encoded(second.resize((160, 120)), "JPEG", quality=60),
        "d-1": encoded(figure()),
        "d-2": encoded(figure(tool="#999999")),
        "x-1": b"\x89PNG\r\n\x1a\n broken",
    }
    with dataset.lock():
        for key, content in files.items():
            dataset.append_row(Sample(key, "test", sha256=dataset.store.put(content)))


WANTED = {
    "d-1": None,
    "d-2": None,
    "p-1": None,
    "p-1-again": "duplicate:p-1",
    "p-1-small": "duplicate:p-1",
    "p-1-webp": "duplicate:p-1",
    "p-2": None,
    "p-2-small": "duplicate:p-2",
    "x-1": "unreadable:cannot identify image file",
}


def test_dedup_prints_what_it_dropped(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_cli("dedup", data)
    told = capsys.readouterr()
    assert told.err.endswith("x-1: unreadable, cannot identify image file\n")
    counts = {what: int(n) for what, n in (line.split("\t") for line in told.out.splitlines())}
    assert counts.pop("groups") >= 2, "drawings that are alike may be kin, too"
    assert {what: n for what, n in counts.items() if "related" not in what} == {
        "duplicates: bytes": 1,
        "duplicates: pixels": 1,
        "duplicates: near": 2,
        "unreadable": 1,
        "rows in the dataset": 9,
        "in use": 4,
    }
    assert {s.key: s.dropped for s in Dataset(data).read().samples} == WANTED
    before = (data / "manifest.parquet").read_bytes()
    run_cli("dedup", data)
    assert (data / "manifest.parquet").read_bytes() == before


def run_cli(command: str, data: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([command, "--data", str(data)])
    assert ended.value.code == 0


@pytest.mark.parametrize("rate", ["0", "1", "-1", "nan"])
def test_a_rate_that_is_none_is_refused(
    data: Path, capsys: pytest.CaptureFixture[str], rate: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["dedup", "--false-matches", rate, "--data", str(data)])
    assert ended.value.code == 2
    assert "is not between 0 and 1\n  fix: --false-matches 1e-05" in capsys.readouterr().err


def test_what_was_compared_is_not_decoded_again(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find_duplicates(Dataset(data))
    before = (data / "manifest.parquet").read_bytes()
    (data / "store").rename(data / "elsewhere")
    (data / "store").mkdir()
    for sample in Dataset(data).read().samples:
        if sample.drop_reason == "unreadable":  # those are tried again
            name = str(sample.sha256)
            Dataset(data).store.put((data / "elsewhere" / name[:2] / name).read_bytes())
    find_duplicates(Dataset(data))
    assert (data / "manifest.parquet").read_bytes() == before


def test_dedup_of_nothing_names_the_command_that_comes_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["dedup", "--data", str(tmp_path)])
    assert ended.value.code == 3
    assert "no dataset here\n  fix: curate fetch folder DIR" in capsys.readouterr().err


@pytest.mark.parametrize("mark", ["derived/sketches", "derived/sketches/*.sketches"])
def test_killed_the_same_command_completes(data: Path, tmp_path: Path, mark: str) -> None:
    whole = Dataset(tmp_path / "whole")
    fill(whole)
    find_duplicates(whole)
    process = subprocess.Popen(words(data), stdout=subprocess.DEVNULL, start_new_session=True)
    while process.poll() is None and not list(data.glob(mark)):
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it was cut short"
    assert len(Dataset(data).read().samples) == 9
    find_duplicates(Dataset(data))
    assert Dataset(data).manifest.read_bytes() == whole.manifest.read_bytes()


def words(data: Path) -> list[str]:
    return [sys.executable, "-m", "curate.cli", "dedup", "--data", str(data)]
