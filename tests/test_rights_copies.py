"""One verdict for all copies of a picture: no copy launders what another one states."""

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.dataset.folder import Store
from curate.dataset.sample import Sample, Signal, Statement, Verdict
from curate.formats.copies import group_copies
from curate.formats.verdicts import DECISIONS, USES
from curate.rights.check import check, check_samples
from curate.rights.copies import join
from curate.rights.decide import decide
from curate.rights.policy import Policy, read_policy

OWN = "LicenseRef-Own"


def copy(key: str, text: str | None, **known: object) -> Sample:
    said = {"source": "openverse", "license_text": text, "sha256": "s", "group": "a"} | known
    return Sample(key, **said)  # type: ignore[arg-type]


def joined(*samples: Sample, policy: str = "personal") -> list[Sample]:
    return check_samples(samples, policy=read_policy(policy), evidence=None, removed=())


def decisions(sample: Sample) -> str:
    return " ".join(getattr(sample, use).decision for use in USES)


@pytest.mark.parametrize(
    ("one", "other", "wanted", "reasons"),
    [
        (
            copy("b", "CC BY-ND 4.0"),
            copy("a", "CC0"),
            "deny deny deny",
            ("copy-conflict:b", "licence:CC-BY-ND-4.0", "licence-nd"),
        ),
        (
            copy("b", "All rights reserved"),
            copy("a", "CC0"),
            "deny deny deny",
            ("copy-conflict:b", "licence:LicenseRef-AllRightsReserved"),
        ),
        (
            copy("b", "Pixabay", source="pixabay", basis="mine"),
            copy("a", "CC0"),
            "allow deny hold",
            ("licence:CC0-1.0",),
        ),
        (
            copy("b", "Pixabay", source="pixabay"),
            copy("a", "CC0"),
            "hold deny hold",
            ("copy-conflict:b", "terms:pixabay", "no-basis"),
        ),
        (
            copy("b", "CC0", opt_outs=("api:noAiTraining",)),
            copy("a", "CC0"),
            "deny deny deny",
            ("copy-conflict:b", "opt-out:api:noAiTraining"),
        ),
        (
            copy("b", None, source="folder"),
            copy("a", "CC0"),
            "hold hold hold",
            ("copy-conflict:b", "licence-unknown"),
        ),
        (
            copy("b", "CC0", sha256="r", dropped="removed:asked for"),
            copy("a", "CC0"),
            "deny deny deny",
            ("copy-conflict:b", "removed"),
        ),
        (copy("b", "CC BY 4.0"), copy("a", "CC0"), "allow allow allow", ("licence:CC0-1.0",)),
    ],
)
def test_the_strictest_copy_counts(
    one: Sample, other: Sample, wanted: str, reasons: tuple[str, ...]
) -> None:
    dropped = replace(other, dropped="duplicate:b")
    for members in ([one, other], [other, one], [one, dropped]):
        done = {s.key: s for s in joined(*members)}
        assert {decisions(s) for s in done.values()} == {wanted}
        assert done["a"].train is not None and done["a"].train.reasons == reasons


def test_pixabay_beside_cc0_is_never_given_on() -> None:
    done = joined(copy("b", "Pixabay", source="pixabay", basis="mine"), copy("a", "CC0"))
    assert [s.share_dataset for s in done] == [
        Verdict("deny", ("copy-conflict:b", "terms:pixabay"))
    ] * 2


def test_whom_to_believe(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('[train]\nallow = ["own", "cc0"]\n[copies]\nbelieve = ["folder"]\n')
    mine = str(path)
    own = copy("a", "own", source="folder", license_by="user")
    nd = copy("b", "CC BY-ND 4.0")
    assert [s.train for s in joined(own, nd, policy=mine)] == [
        Verdict("allow", ("copy-believed:a", f"licence:{OWN}"))
    ] * 2
    unknown = copy("c", None, source="folder")
    assert [s.train for s in joined(own, nd, unknown, policy=mine)] == [
        Verdict("hold", ("copy-conflict:c", "licence-unknown"))
    ] * 3
    site = Signal("robots.txt", False, "site")
    for against in (
        replace(nd, opt_outs=("api:noAiTraining",)),
        replace(nd, signals=(site,)),
        replace(nd, dropped="removed:asked for"),
    ):
        assert decisions(joined(own, against, policy=mine)[0]) == "deny deny deny"
    open_site = copy("b", "CC0", signals=(site,))
    assert [s.train for s in joined(own, open_site, policy=mine)] == [
        Verdict("hold", ("copy-conflict:b", "site-opt-out:robots.txt"))
    ] * 2


def test_alone_nothing_is_joined() -> None:
    (done,) = joined(copy("a", "CC0", group=None))
    assert done.train == Verdict("allow", ("licence:CC0-1.0",))


statements = st.sampled_from(
    [None, "CC0", "CC BY 4.0", "CC BY-ND 4.0", "CC BY-NC 4.0", "CC BY-SA 4.0", "Pixabay", "own"]
)
signals = st.sampled_from(
    [
        Signal("robots.txt", False, "site"),
        Signal("content-signal:ai-train=yes", True, "site"),
        Signal("plus:DataMining", False, "item"),
        Signal("rsl", None, "site"),
    ]
)
members = st.builds(
    Sample,
    key=st.integers(0, 99).map(lambda n: f"k{n:02}"),
    source=st.sampled_from(["folder", "openverse", "pixabay"]),
    license_text=statements,
    license_by=st.sampled_from(["user", "source"]),
    basis=st.sampled_from([None, "mine"]),
    opt_outs=st.sampled_from([(), (), ("api:noAiTraining",)]),
    signals=st.lists(signals, max_size=2).map(tuple),
    ai_embedded=st.sampled_from([None, True]),
    mature=st.sampled_from([None, False, True]),
    restrictions=st.sampled_from([(), ("personality",), ("trademarked", "insignia")]),
    restated=st.sampled_from([(), (Statement("CC BY-NC-ND 4.0", None),)]),
    gone=st.sampled_from([None, "2026-01-01T00:00:00Z"]),
    group=st.sampled_from([None, "g1", "g2"]),
    dropped=st.sampled_from([None, None, "duplicate:k00", "removed:asked for", "odd"]),
)
groups = st.lists(members, max_size=8, unique_by=lambda s: s.key)
policies = st.sampled_from(["personal", "research", "commercial"])


@pytest.mark.parametrize(
    "known",
    [
        ({"group": "a"}, {"group": "a"}),
        ({"sha256": "s"}, {"sha256": "s"}),
        ({"pixel_sha256": "p"}, {"pixel_sha256": "p", "sha256": "other"}),
        ({"dropped": "duplicate:b"}, {}),  # of before groups
    ],
)
def test_what_makes_two_rows_copies(known: tuple[dict[str, str], dict[str, str]]) -> None:
    rows = [Sample("a", "t", license_text="CC0"), Sample("b", "t", license_text="CC BY-ND 4.0")]
    rows = [replace(row, **facts) for row, facts in zip(rows, known, strict=True)]
    assert [decisions(s) for s in joined(*rows)] == ["deny deny deny"] * 2
    assert [decisions(s) for s in joined(rows[0])] == ["allow allow allow"]


@given(groups, policies, st.randoms(use_true_random=False))
@settings(max_examples=150)
def test_no_copy_is_more_permissive_than_the_strictest(
    samples: list[Sample], name: str, chance: random.Random
) -> None:
    policy = read_policy(name)
    own = {s.key: decide(s, policy) for s in samples}
    done = join(list(own.values()), policy)
    assert [s.key for s in done] == [s.key for s in samples]
    company_of = {s.key: group for group in group_copies(own.values()) for s in group}
    for sample in done:
        company = company_of[sample.key]
        for use in USES:
            members = [getattr(s, use) for s in company]
            strict = min(DECISIONS.index(v.decision) for v in members)
            verdict = getattr(sample, use)
            assert verdict.decision == DECISIONS[strict]
            conflict = len({v.decision for v in members}) > 1
            assert conflict == verdict.reasons[0].startswith("copy-conflict:")
            if conflict:
                said = own[verdict.reasons[0].partition(":")[2]]
                assert getattr(said, use).decision == verdict.decision
                assert getattr(said, use).reasons == verdict.reasons[1:]
    shuffled = join(chance.sample(list(own.values()), len(own)), policy)
    assert {s.key: s for s in shuffled} == {s.key: s for s in done}


@given(groups, policies, policies)
@settings(max_examples=80)
def test_check_dedup_check_is_the_same_whatever_was_checked_before(
    samples: list[Sample], name: str, before: str
) -> None:
    """Verdicts of other groups, of another policy, or none: all end in the same."""

    def run(rows: Sequence[Sample], policy: str, *, only_copies: bool = False) -> list[Sample]:
        rules: Policy = read_policy(policy)
        return check_samples(rows, policy=rules, evidence=None, removed=(), only_copies=only_copies)

    once = run(samples, name)
    assert run(once, name) == once
    assert run(run(samples, before), name) == once
    assert run(run(samples, before), name, only_copies=True) == once
    apart = [replace(s, group=None if s.group == "g1" else "g1") for s in samples]
    checked = run(apart, name)
    regrouped = [replace(s, group=o.group) for s, o in zip(checked, samples, strict=True)]
    assert run(regrouped, name, only_copies=True) == once
    restored = [replace(s, dropped=None) for s in once]
    fresh = run([replace(s, dropped=None) for s in samples], name)
    assert run(restored, name, only_copies=True) == fresh


def test_the_steps_are_these_functions(tmp_path: Path) -> None:
    rows = [copy("b", "CC BY-ND 4.0"), copy("a", "CC0")]
    store = Store(tmp_path)
    once = check(rows, evidence=store)
    assert once == joined(*rows)
    again = check(rows, evidence=store, only_copies=True)
    assert again == once
