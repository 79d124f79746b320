"""Which shard a sample lies in: a matter of the set alone, and of few shards where it changes."""

from collections import Counter

from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from curate.formats.shards import HELD_OUT, hash_share
from curate.shards.plan import Planned, divide, find_held_out, plan_shards, prefix_of

samples = st.dictionaries(
    st.text("abcdefgh", min_size=1, max_size=3),
    st.tuples(st.sampled_from(["", "g1", "g2", "g3"]), st.integers(1, 60)),
    max_size=60,
).map(lambda d: [Planned(key, group or key, size) for key, (group, size) in d.items()])


def test_a_small_set_is_one_shard_by_key() -> None:
    rows = [Planned(key, key, 10) for key in "cab"]
    assert divide(rows, 30) == {0: sorted(rows)}
    assert divide([], 30) == {}


@given(samples, st.integers(1, 200), st.randoms(use_true_random=False))
@examples(max_examples=200)
def test_all_are_there_once_by_key_groups_together_and_no_shard_is_too_large(rows, limit, chance):
    found = divide(rows, limit)
    assert sorted(row for part in found.values() for row in part) == sorted(rows)
    shard_of = {}
    for number, part in found.items():
        assert part == sorted(part)
        groups = {row.group for row in part}
        assert sum(row.bytes for row in part) <= limit or len(groups) == 1
        assert all(shard_of.setdefault(group, number) == number for group in groups)
    chance.shuffle(rows)
    assert divide(rows, limit) == found, "order is of no account"
    for number in found:
        above = number
        while above:
            above = (above - 1) // 2
            assert above not in found, "what is divided is no shard itself"


@given(samples, samples, st.integers(1, 200))
@examples(max_examples=200)
def test_one_more_or_less_changes_one_shard_or_what_that_was_divided_into(rows, more, limit):
    for one in more[:1]:
        before = [row for row in rows if row.key != one.key]
        small, large = divide(before, limit), divide([*before, one], limit)
        written = {n for n, part in large.items() if small.get(n) != part}
        gone = {n for n, part in small.items() if large.get(n) != part}
        assert len(gone) <= 1 or written, "joined again where it is taken away"
        (home,) = (n for n, part in large.items() if one in part)
        assert home in written
        joined = {row for n in gone for row in small[n]} | {one}
        assert {row for n in written for row in large[n]} == joined
        assert len(gone) <= 1, "an image more touches one shard that is there"
        heavy = sum(row.bytes for row in joined) > limit
        assert len(written) == 1 or heavy, "several only where that one became too large"


def test_of_ten_thousand_one_more_or_less_rewrites_one_shard() -> None:
    rows = [Planned(f"k{n:05}", f"k{n:05}", 3000 + n % 700) for n in range(10_000)]
    limit = 1_000_000
    whole, touched = divide(rows, limit), Counter()
    for n in range(0, 10_000, 101):
        rest = divide([row for row in rows if row.key != f"k{n:05}"], limit)
        touched[sum(whole.get(number) != part for number, part in rest.items())] += 1
    assert 32 <= len(whole) <= 64
    assert touched == {1: 100}


@given(
    st.dictionaries(
        st.text("abcdef", min_size=1, max_size=2),
        st.lists(st.sampled_from("ABCDEFGHIJ"), max_size=2),
        max_size=30,
    ),
    st.floats(0, 1, exclude_max=True),
)
@examples(max_examples=200)
def test_what_is_related_is_held_out_together(kin, share):
    named = {key: [f"={key}", *names] for key, names in kin.items()}
    held = find_held_out(named, share)
    for key, names in named.items():
        for other, others in named.items():
            if {*names} & {*others}:
                assert (key in held) == (other in held)
    if not share:
        assert not held


def test_images_without_company_are_held_out_as_a_trainer_would_choose() -> None:
    keys = [f"k{n}" for n in range(2000)]
    held = find_held_out({key: [key] for key in keys}, 0.05)
    assert held == {key for key in keys if hash_share(key) < 0.05}
    assert 70 < len(held) < 130


def test_share_alike_images_have_shards_of_their_own() -> None:
    assert prefix_of("train", ["CC0-1.0", "CC-BY-SA-4.0"], held_out=False) == "train_sharealike"
    assert prefix_of("train", ["CC-BY-NC-SA-2.0"], held_out=True) == f"{HELD_OUT}_sharealike"
    assert prefix_of("mine", ["CC-BY-4.0", None, "GPL-3.0-only"], held_out=False) == "mine"
    planned = {"train": [Planned("a", "a", 1)], "held_out": [Planned("b", "b", 1)]}
    assert plan_shards(planned, 9) == {"held_out-000000.tar": ["b"], "train-000000.tar": ["a"]}
