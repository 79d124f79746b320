"""`curate explain`: the chain of reasons, what of it is still on disk, and what would change it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.cli import main
from curate.commands.advice import drop_advice, verdict_advice
from curate.commands.explain import explain
from curate.dataset.evidence import StoredAnswer, write_answer
from curate.dataset.folder import Dataset, Store
from curate.dataset.manifest import Manifest
from curate.dataset.sample import Caption, Sample, Signal, Statement, Verdict
from curate.formats.verdicts import USES
from curate.rights import removals
from curate.rights.check import check_samples
from curate.rights.policy import SIGNALS, read_policy

PAGE = "https://example.org/1"
BY = "https://creativecommons.org/licenses/by/4.0/"


def write(dataset: Dataset, *samples: Sample) -> None:
    with dataset.lock():
        dataset.write(Manifest(sorted(samples, key=lambda s: s.key), []))


def check(dataset: Dataset, *samples: Sample, policy: str = "personal") -> list[Sample]:
    """The samples as `curate check` leaves them, written."""
    rules, stones = read_policy(policy), removals.read(dataset.root)
    evidence = Store(dataset.evidence)
    done = check_samples(samples, policy=rules, evidence=evidence, removed=stones)
    write(dataset, *done)
    return done


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return Dataset(tmp_path / "data")


@pytest.fixture
def found(dataset: Dataset) -> Sample:
    """An image of a source on the web, with its evidence, openly licensed and captioned."""
    answer = StoredAnswer("https://api.example.org/?q=cat", 200, (), "2026-09-01T00:00:00Z", "{}")
    robots = replace(
        answer, url="https://example.org/robots.txt", body="User-agent: *\nDisallow:\n"
    )
    store = Store(dataset.evidence)
    return Sample(
        key="openverse-1",
        source="openverse",
        image_url="https://example.org/1.png",
        evidence=write_answer(store, answer),
        site_evidence=(write_answer(store, robots),),
        license_text="by 4.0",
        license_url=BY,
        license_by="source",
        sha256=dataset.store.put(b"an image"),
        title="a cat",
        captions=(Caption("a cat", "title"),),
    )


def lines(capsys: pytest.CaptureFixture[str], dataset: Dataset, key: str) -> list[str]:
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(["explain", key, "--data", str(dataset.root)])
    assert ended.value.code == 0
    return capsys.readouterr().out.splitlines()


def test_stored_answers_are_told_with_what_they_are(dataset, found, capsys):
    check(dataset, found)
    store, (site,) = Store(dataset.evidence), found.site_evidence
    said = lines(capsys, dataset, found.key)
    api = "(status 200 of https://api.example.org/?q=cat, 2026-09-01T00:00:00Z)"
    assert f"evidence\t{store.path_of(found.evidence)} {api}" in said
    robots = "(status 200 of https://example.org/robots.txt, 2026-09-01T00:00:00Z)"
    assert f"its host says\t{store.path_of(site)} {robots}" in said
    assert said[-1].startswith("in: allowed for training by licence:CC-BY-4.0, not packed yet")


@pytest.mark.parametrize("which", ["evidence", "site_evidence", "restated"])
@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (lambda path: path.unlink(), "is missing"),
        (lambda path: path.write_text(path.read_text() + " "), "has changed on disk"),
    ],
)
def test_evidence_that_was_lost_or_edited_is_noticed(dataset, found, capsys, which, harm, told):
    answer = StoredAnswer(PAGE, 200, (), "2026-10-01T00:00:00Z", "again")
    later = write_answer(Store(dataset.evidence), answer)
    found = replace(found, restated=(Statement("by 4.0", BY, "2026-10-01T00:00:00Z", later),))
    names = {"evidence": found.evidence, "site_evidence": found.site_evidence[0], "restated": later}
    path = Store(dataset.evidence).path_of(names[which])
    check(dataset, found)
    harm(path)
    said = lines(capsys, dataset, found.key)
    assert sum(line.endswith(f"\t{path} {told}") for line in said) == 1
    assert said[-1] == (
        f"out: what its source said {told}; once that is put back, "
        f"curate check --data {dataset.root} decides"
    )
    check(dataset, found)
    fault = f"evidence-{told.split()[-1] if told == 'is missing' else 'changed'}"
    assert lines(capsys, dataset, found.key)[-1].startswith(f"out: held for {fault}; what its")


def test_a_file_that_is_no_stored_answer_is_said_to_be_none(dataset, found):
    odd = Store(dataset.evidence).put(b'{"url": "https://x.example/"}')
    write(dataset, replace(found, evidence=odd))
    facts = dict(explain(dataset, found.key).facts)
    assert facts["evidence"].endswith(f"/{odd}: not a stored answer")


@pytest.mark.parametrize(
    ("harm", "told"), [("unlink", "is missing"), ("edit", "has changed on disk")]
)
def test_a_stored_image_that_was_lost_or_edited_is_noticed(dataset, found, harm, told):
    check(dataset, found)
    path = dataset.store.path_of(found.sha256)
    path.unlink() if harm == "unlink" else path.write_bytes(b"another")
    explanation = explain(dataset, found.key)
    assert dict(explanation.facts)["stored"] == f"{path} ({told})"
    assert explanation.conclusion == f"out: its stored image {told}; fetch it again"


def test_all_that_is_known_is_told(dataset, found, capsys):
    found = replace(
        found,
        redirects=("https://a.example/", "https://b.example/"),
        final_url="https://b.example/",
        headers=("X-Robots-Tag: noindex", "TDM-Reservation: 0"),
        gone="2026-10-02T00:00:00Z",
        restated=(Statement("by-nc 4.0", None, "2026-10-01T00:00:00Z"),),
        embedded=(Signal("xmp:tdm-reservation:1", False, "item"),),
        ai_embedded=True,
        mature=True,
        restrictions=("trademarked", "personality"),
    )
    check(dataset, found)
    said = lines(capsys, dataset, found.key)
    for line in (
        "led on to\thttps://a.example/",
        "led on to\thttps://b.example/",
        "received from\thttps://b.example/",
        "header\tX-Robots-Tag: noindex",
        "header\tTDM-Reservation: 0",
        "gone at its source\tsince 2026-10-02T00:00:00Z, or before",
        "stated 2026-10-01T00:00:00Z\tby-nc 4.0",
        "said of training\ttdm-reservation:0: allows it, said of this image",
        "said of training\txmp:tdm-reservation:1: refuses it, said of this image",
        "AI-made\tyes, as its bytes say",
        "mature\tyes, as stated",
        "other rights\ttrademarked, personality",
        "train\tdeny: opt-out:xmp:tdm-reservation:1",
    ):
        assert line in said
    assert said[-1].endswith("; nothing changes that: its owner opted out")


def test_who_marked_their_own_file_is_told_how_to_take_it_back(dataset, found):
    mark = Signal("xmp:DMI-PROHIBITED", False, "item")
    refused = Verdict("deny", ("opt-out:xmp:DMI-PROHIBITED",))
    mine = replace(found, license="LicenseRef-Own", license_by="user", embedded=(mark,))
    assert "take that mark out" in verdict_advice(mine, refused, dataset)
    theirs = replace(mine, license="CC-BY-4.0")
    assert verdict_advice(theirs, refused, dataset).endswith("its owner opted out")


def test_members_of_a_group_are_told_with_their_own_verdicts(dataset, found):
    strict = replace(found, key="folder-2", source="folder", license_text="CC BY-ND 4.0")
    strict = replace(strict, license_url=None, image_url=None, dropped="duplicate:openverse-1")
    pair = [replace(s, group="folder-2") for s in (found, strict)]
    check(dataset, *pair)
    told = explain(dataset, found.key)
    members = [value for name, value in told.facts if name == "in the group"]
    assert members == [
        "folder-2: CC BY-ND 4.0 (folder); by itself deny: licence:CC-BY-ND-4.0, licence-nd"
        "; dropped as duplicate:openverse-1",
        "openverse-1: by 4.0 (openverse); by itself allow: licence:CC-BY-4.0",
    ]
    assert told.conclusion == (
        "out: denied for copy-conflict:folder-2, licence:CC-BY-ND-4.0, licence-nd; its copy is "
        f"decided more strictly (curate explain folder-2 --data {dataset.root}); believe = "
        '["SOURCE"] under [copies] in a policy of your own says whom to believe'
    )


def test_copies_that_were_not_decided_together_are_noticed(dataset, found):
    (one,) = check(dataset, found)
    other = replace(one, key="x-2", train=Verdict("deny", ("licence-nd",)))
    write(dataset, *(replace(s, group="openverse-1") for s in (one, other)))
    assert explain(dataset, found.key).conclusion == (
        f"out: its copies are decided otherwise; curate check --data {dataset.root} "
        "gives all of them one verdict"
    )


def test_a_removed_image_tells_when_why_and_the_way_back(dataset, found):
    stone = removals.make_tombstone(found, "its author asked", "2026-10-01T00:00:00Z")
    with dataset.lock():
        removals.write(dataset.root, [stone])
    again = replace(found, key="openverse-2")
    check(dataset, found, again)
    assert dict(explain(dataset, found.key).facts)["removed"] == (
        "2026-10-01T00:00:00Z: its author asked"
    )
    told = explain(dataset, again.key)
    assert dict(told.facts)["removed"] == (
        "2026-10-01T00:00:00Z as openverse-1, which it is or looks like: its author asked"
    )
    assert told.conclusion == (
        "out: dropped as removed:its author asked; "
        f"curate remove --undo openverse-2 --data {dataset.root} takes it back"
    )


texts = st.sampled_from(
    [
        *("CC0", "CC BY", "CC BY 4.0", "CC BY-NC-ND 4.0", "CC BY-NC-SA 4.0", "MIT", "GPL-3.0-only"),
        *("?", "", "All rights reserved", "Pixabay Content License", "own", "CC BY 4.0 or CC0"),
    ]
)
signals = st.builds(
    Signal,
    st.sampled_from(["tdm-reservation:1", "c2pa:unread", "robots.txt", "x:y:z"]),
    st.sampled_from([True, False, None]),
    st.sampled_from(["item", "site"]),
)
maybe = st.sampled_from([None, True, False])
samples = st.builds(
    Sample,
    key=st.sampled_from(["a-1", "a-2"]),
    source=st.sampled_from(["pixabay", "folder", "openverse"]),
    image_url=st.sampled_from([None, PAGE]),
    evidence=st.sampled_from([None, "ab" * 32]),
    license_text=texts,
    license_url=st.sampled_from([None, BY, "https://creativecommons.org/publicdomain/zero/1.0/"]),
    license_by=st.sampled_from(["source", "user"]),
    restated=st.sampled_from([(), (Statement("CC BY-ND 4.0", None),)]),
    gone=st.sampled_from([None, "2026-10-02T00:00:00Z"]),
    embedded=st.lists(signals, max_size=2).map(tuple),
    ai_generated=maybe,
    mature=maybe,
    restrictions=st.lists(st.sampled_from(["trademarked", "personality", "insignia"])).map(tuple),
    basis=st.sampled_from([None, "mine"]),
    dropped=st.sampled_from([None, None, "removed:x", "duplicate:a-1", "gone:HTTP 404", "odd"]),
)
rules = st.sampled_from(["record", "hold", "deny"])


@given(st.lists(samples, min_size=1, max_size=2, unique_by=lambda s: s.key), st.data())
def test_every_reason_that_check_gives_has_its_advice(rows, data):
    chosen = {name: dict.fromkeys(USES, data.draw(rules)) for name in SIGNALS}
    believe = data.draw(st.sampled_from([frozenset(), frozenset({"folder"})]))
    policy = replace(read_policy("research"), signals=chosen, believe=believe)
    here = Dataset(Path("data"))
    for sample in check_samples(
        [replace(s, group="a-1") for s in rows],
        policy=policy,
        evidence=Store(Path("no evidence")),
        removed=(),
    ):
        for verdict in (sample.train, sample.share_dataset, sample.share_model):
            advice = verdict_advice(sample, verdict, here)
            assert verdict.decision == "allow" or advice != UNKNOWN
        assert drop_advice(sample, here)


UNKNOWN = "its policy decides it"  # what is said of reasons that nobody knows here
CODES = [
    *("licence-unknown", "licence-none-stated", "licence-family", "licence-conflict"),
    *("licence-sa", "licence-nc", "licence-nd", "licence:GPL-3.0-only", "terms:pixabay"),
    *("no-basis", "no-permission", "source-rule:x", "opt-out:noai", "site-opt-out:robots.txt"),
    *("signals-contradict", "signal-unclear:c2pa:unread", "signal-unclear:rsl", "ai-made"),
    *("mature", "restriction:trademarked", "restriction:insignia", "drift", "gone-at-source"),
    *("evidence-missing", "evidence-changed", "copy-conflict:a-2", "copy-believed:a-2", "removed"),
]


@pytest.mark.parametrize("decision", ["hold", "deny"])
@pytest.mark.parametrize("code", CODES)
def test_each_code_alone_has_advice(code, decision):
    sample = Sample("a-1", "pixabay", license_text="CC BY 4.0")
    advice = verdict_advice(sample, Verdict(decision, (code,)), Dataset(Path("data")))
    assert (advice != UNKNOWN) or (code, decision) == ("terms:pixabay", "hold")  # never alone


def test_a_code_of_a_later_version_is_no_reason_to_fail():
    advice = verdict_advice(Sample("a-1", "x"), Verdict("hold", ("new:x",)), Dataset(Path("data")))
    assert advice == UNKNOWN


HOSTILE = "x\nlicence\tCC0-1.0\ntrain\tallow: licence:CC0-1.0\x1b[2J\u202e\ud83d"


def test_a_title_forges_no_line(dataset, found, capsys):
    fields = ("title", "author", "query", "page_url", "license_text", "file_name")
    hostile = replace(found, **dict.fromkeys(fields, HOSTILE[:-1]), headers=(HOSTILE[:-1],) * 2)
    (plain,) = check(dataset, replace(found, **dict.fromkeys(fields, "x"), headers=("x",) * 2))
    names = [line.split("\t")[0] for line in lines(capsys, dataset, plain.key)]
    check(dataset, hostile)
    said = lines(capsys, dataset, hostile.key)
    assert [line.split("\t")[0] for line in said][:-1] == names[:-1]
    assert all(line.count("\t") == 1 for line in said[:-1])
    assert said[-1].startswith("out: held for licence-unknown")
    assert json.dumps(said, ensure_ascii=False).isprintable()
