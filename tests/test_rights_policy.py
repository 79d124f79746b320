"""Policies: licences, terms and opt-outs -> three verdicts."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.dataset import engine
from curate.dataset.sample import Sample, Verdict
from curate.errors import InputError, UsageError
from curate.rights import decide as decisions_of
from curate.rights import policy
from curate.rights.check import check
from curate.rights.decide import decide
from curate.rights.licences import LICENCE_KINDS
from curate.rights.policy import USES, read_policy

PIXABAY = "LicenseRef-scancode-pixabay-content"
FILLED = set(decisions_of.DECIDED_FIELDS)


def picture(text: str | None = None, **fields: object) -> Sample:
    return Sample(**{"key": "test-1", "source": "test", "license_text": text} | fields)


def verdicts(sample: Sample, name: str = "personal") -> dict[str, Verdict]:
    done = decide(sample, read_policy(name))
    return {use: getattr(done, use) for use in USES}


def decisions(sample: Sample, name: str = "personal") -> list[str]:
    return [verdict.decision for verdict in verdicts(sample, name).values()]


@pytest.fixture
def write(tmp_path: Path):
    def write(text: str) -> str:
        path = tmp_path / "mine.toml"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


@pytest.mark.parametrize(
    ("text", "personal", "research", "commercial"),
    [  # train, share_dataset, share_model
        ("CC0", "allow allow allow", "allow allow allow", "allow allow allow"),
        ("Public Domain Mark 1.0", "allow allow allow", "allow allow allow", "allow allow allow"),
        ("MIT", "allow allow allow", "allow allow allow", "allow allow allow"),
        ("CC BY 4.0", "allow allow allow", "allow allow allow", "allow allow allow"),
        ("CC BY-SA 4.0", "allow hold hold", "hold hold hold", "hold hold hold"),
        ("CC BY-NC 4.0", "allow hold hold", "allow allow hold", "deny deny deny"),
        ("CC BY-NC-SA 4.0", "allow hold hold", "hold hold hold", "deny deny deny"),
        ("CC BY-ND 4.0", "deny deny deny", "deny deny deny", "deny deny deny"),
        ("CC BY-ND", "deny deny deny", "deny deny deny", "deny deny deny"),
        ("CC BY", "hold hold hold", "hold hold hold", "hold hold hold"),
        ("Public domain", "hold hold hold", "hold hold hold", "hold hold hold"),
        ("No known copyright restrictions", *["hold hold hold"] * 3),
        ("GPL-3.0-only", *["hold hold hold"] * 3),
        ("LicenseRef-MyStudio", *["hold hold hold"] * 3),
        ("All rights reserved", *["deny deny deny"] * 3),
        ("whatever", *["hold hold hold"] * 3),
        (None, *["hold hold hold"] * 3),
        ("Pixabay Content License", "hold deny hold", "hold deny hold", "hold deny hold"),
        ("Unsplash License", "hold deny hold", "hold deny hold", "hold deny hold"),
        ("own", *["hold hold hold"] * 3),  # said by a source: whose own?
    ],
)
def test_shipped_policies(text, personal, research, commercial):
    for name, expected in zip(policy.policy_names(), (commercial, personal, research), strict=True):
        assert decisions(picture(text), name) == expected.split(), name


@pytest.mark.parametrize(
    ("sample", "use", "reasons"),
    [
        (picture("CC0"), "train", ("licence:CC0-1.0",)),
        (picture("CC BY-SA 4.0"), "train", ("licence:CC-BY-SA-4.0", "licence-sa")),
        (picture("CC BY-NC 4.0"), "train", ("licence:CC-BY-NC-4.0", "licence-nc")),
        (picture("CC BY-ND 4.0"), "train", ("licence:CC-BY-ND-4.0", "licence-nd")),
        (picture("CC BY"), "train", ("licence-family", "licence:LicenseRef-CC-BY-family")),
        (
            picture("CC0", license_url="https://creativecommons.org/licenses/by/4.0/"),
            "train",
            ("licence-conflict", "licence:CC-BY-4.0"),
        ),
        (picture("?"), "train", ("licence-unknown",)),
        (
            picture("CC0", opt_outs=("header:noai", "api:noAiTraining")),
            "share_model",
            ("opt-out:header:noai", "opt-out:api:noAiTraining"),
        ),
        (picture("Pixabay"), "train", ("terms:pixabay", "no-basis")),
        (picture("Pixabay", basis=" my  basis "), "train", ("terms:pixabay", "basis:my basis")),
        (picture("Pixabay", basis="mine"), "share_dataset", ("terms:pixabay",)),
        (picture("Pixabay", basis="mine"), "share_model", ("terms:pixabay", "no-permission")),
    ],
)
def test_reasons(sample, use, reasons):
    assert verdicts(sample)[use].reasons == reasons


def test_own_pictures_are_the_users_to_allow():
    assert decisions(picture("own", license_by="user")) == ["allow"] * 3
    done = decide(picture("own", license_by="source"), read_policy("personal"))
    assert done.license is None
    assert done.license_how == "text 'own' was not stated by you (--license own)"


def test_pixabay_needs_a_basis_at_home_and_a_permission_elsewhere():
    row = picture("Pixabay Content License", source="pixabay", basis="trained at home only")
    assert decisions(row, "personal") == ["allow", "deny", "hold"]
    assert decisions(row, "research") == ["hold", "deny", "hold"]
    assert decisions(row, "commercial") == ["hold", "deny", "hold"]
    refused = replace(row, opt_outs=("api:noAiTraining",))
    assert decisions(refused, "personal") == ["deny", "deny", "deny"]


def test_a_free_licence_does_not_lift_a_sources_terms():
    row = picture("CC0", source="pixabay")
    assert decisions(row) == ["hold", "deny", "hold"]
    assert verdicts(row)["train"].reasons == ("terms:pixabay", "no-basis")


def test_a_permission_opens_what_it_names(write, tmp_path):
    (tmp_path / "letter.pdf").write_bytes(b"you may")
    sha256 = hashlib.sha256(b"you may").hexdigest()
    entry = f'[[permissions]]\nsource = "pixabay"\npath = "letter.pdf"\nsha256 = "{sha256}"\n'
    mine = write(entry)
    assert verdicts(picture("Pixabay"), mine) == {
        "train": Verdict("allow", ("terms:pixabay", f"permission:{sha256[:12]}")),
        "share_dataset": Verdict("deny", ("terms:pixabay",)),
        "share_model": Verdict("hold", ("terms:pixabay", "no-permission")),
    }
    mine = write(entry + 'uses = ["train", "share_model"]\n')
    assert decisions(picture("Pixabay"), mine) == ["allow", "deny", "allow"]
    assert decisions(picture("Unsplash"), mine) == ["hold", "deny", "hold"]


def test_rules_for_other_sources(write):
    mine = write(
        '[train]\nallow = ["cc0"]\n'
        '[sources.museum]\ntrain = "hold"\nshare_dataset = "deny"\nshare_model = "permission"\n'
        '[sources.friend]\ntrain = "basis"\n'
    )
    assert verdicts(picture("CC0", source="museum"), mine) == {
        "train": Verdict("hold", ("source-rule:museum",)),
        "share_dataset": Verdict("deny", ("source-rule:museum",)),
        "share_model": Verdict("hold", ("source-rule:museum", "no-permission", "licence:CC0-1.0")),
    }
    friend = picture("CC0", source="friend", basis="a letter")
    assert verdicts(friend, mine)["train"] == Verdict(
        "allow", ("source-rule:friend", "basis:a letter", "licence:CC0-1.0")
    )
    assert verdicts(picture("?", source="friend", basis="x"), mine)["train"].decision == "hold"


def test_share_alike_and_single_ids_by_one_word(write):
    switched = write('[train]\nallow = ["attribution", "share-alike", "LicenseRef-MyStudio"]\n')
    assert decisions(picture("CC BY-SA 4.0"), switched)[0] == "allow"
    assert decisions(picture("CC BY-NC-SA 4.0"), switched)[0] == "hold"
    assert decisions(picture("LicenseRef-MyStudio"), switched)[0] == "allow"
    single = write('[train]\nallow = ["CC-BY-SA-4.0", "share-alike"]\ndeny = ["CC-BY-SA-3.0"]\n')
    assert decisions(picture("CC BY-SA 4.0"), single)[0] == "allow"
    assert decisions(picture("CC BY-SA 3.0"), single)[0] == "deny"
    assert decisions(picture("CC BY-SA"), single)[0] == "hold"


def test_an_empty_policy_allows_nothing(write):
    mine = write("")
    for text in ("CC0", "MIT", "Pixabay", "own", None):
        assert "allow" not in decisions(picture(text, license_by="user"), mine)


def test_fills_its_six_fields_and_names_the_policy():
    before = picture("CC BY 4.0", title="kept", dropped="duplicate:test-0")
    done = decide(before, read_policy("personal"))
    changed = {n for n in Sample.__dataclass_fields__ if getattr(done, n) != getattr(before, n)}
    assert changed == FILLED
    file = policy.POLICY_FOLDER / "personal.toml"
    assert done.policy == hashlib.sha256(file.read_bytes()).hexdigest()
    assert (done.license, done.license_how) == ("CC-BY-4.0", "text 'CC BY 4.0'")


LETTER = '[[permissions]]\nsource = "pixabay"\npath = "letter.pdf"\n'
REFUSED = [
    ("[trian]\n", "mine.toml: no setting 'trian'", "did you mean train?"),
    (
        "[xyz]\n",
        "no setting 'xyz'",
        "one of train, share_dataset, share_model, sources, permissions, signals, copies",
    ),
    ('[train]\nallo = ["cc0"]\n', "mine.toml [train]: no setting 'allo'", "did you mean allow?"),
    ("train = 1\n", "mine.toml train: 1 is not a table [train]", "write a table [train]"),
    (
        '[train]\nallow = "cc0"\n',
        "mine.toml [train] allow: 'cc0' is not a list of texts in quotes",
        "write a list of texts in quotes",
    ),
    ("[train]\nallow = [1]\n", "[train] allow: [1] is not a list of texts", "write a list"),
    (
        '[train]\nallow = ["share-alik"]\n',
        "[train] allow: 'share-alik' is neither a kind of licence nor an id",
        "did you mean share-alike?",
    ),
    ('[train]\nallow = ["CC-BY-9.9"]\n', "'CC-BY-9.9' is neither", "did you mean CC-BY-4.0?"),
    ('[train]\nallow = ["zzz"]\n', "'zzz' is neither a kind of licence nor an id", "use own, cc0"),
    (
        '[train]\nallow = ["LicenseRef-CC-BY-family"]\n',
        "'LicenseRef-CC-BY-family' is neither a kind of licence nor an id",
        "fix: ",
    ),
    (
        f'[share_dataset]\nallow = ["{PIXABAY}"]\n',
        f"[share_dataset] allow: '{PIXABAY}' cannot be decided by licence",
        "write a [sources.NAME] table instead",
    ),
    ('[train]\nallow = ["terms"]\n', "'terms' cannot be decided by licence", "[sources.NAME]"),
    ("[sources]\nx = 1\n", "mine.toml sources.x: 1 is not a table [sources.x]", "write a ta"),
    (
        '[sources.pixabay]\ntrain = "basic"\n',
        "[sources.pixabay] train: no rule 'basic'",
        "did you mean basis?",
    ),
    ("[sources.x]\ntrain = ''\n", "no rule ''", "one of licence, basis, permission, hold, deny"),
    ("[sources.x]\ntrain = 7\n", "[sources.x] train: 7 is not a text in quotes", "write a text"),
    (
        '[sources.pixabay]\nshare_dataset = "permission"\n',
        "[sources.pixabay] share_dataset: the terms of pixabay forbid giving its images on",
        'write "deny"',
    ),
    (
        '[sources.unsplash]\ntrain = "licence"\n',
        "the terms of unsplash are its licence, and ask for more",
        'write "permission"',
    ),
    ("permissions = 3\n", "permissions: 3 is not a list of tables [[permissions]]", "write a l"),
    ("[[permissions]]\nsuorce = 'x'\n", "entry 1: no setting 'suorce'", "did you mean source?"),
    (LETTER, "permissions entry 1: names no sha256", 'add sha256 = "…"'),
    (
        LETTER + 'sha256 = "0"\nuses = ["share_dataset"]\n',
        "permits ['share_dataset'], for which [sources.pixabay] asks for none",
        "name some of train, share_model",
    ),
    (
        LETTER.replace("pixabay", "museum") + 'sha256 = "0"\n',
        "permits ['train'], for which [sources.museum] asks for none",
        'write train = "permission" there',
    ),
    (LETTER + 'sha256 = "0"\n', "letter.pdf cannot be read (No such file or directory)", "put the"),
    ("[train\n", "mine.toml: not TOML (", "correct it there"),
]


@pytest.mark.parametrize(("text", "problem", "fix"), REFUSED)
def test_a_policy_that_is_not_understood_is_refused(write, text, problem, fix):
    with pytest.raises(InputError) as caught:
        read_policy(write(text))
    message, _, advice = str(caught.value).partition("\n  fix: ")
    assert problem in message
    assert fix.removeprefix("fix: ") in advice and advice


def test_a_permission_that_has_changed_is_refused(write, tmp_path):
    (tmp_path / "letter.pdf").write_bytes(b"you may")
    with pytest.raises(InputError, match="is not the document that was named") as caught:
        read_policy(write(LETTER + 'sha256 = "0"\n'))
    assert hashlib.sha256(b"you may").hexdigest() in caught.value.fix


def test_policies_that_are_not_there(tmp_path):
    with pytest.raises(UsageError) as caught:
        read_policy("persnal")
    assert str(caught.value) == "--policy persnal: no such policy\n  fix: did you mean personal?"
    with pytest.raises(UsageError, match="choose commercial, personal, research or a file such as"):
        read_policy(str(tmp_path / "zzz.toml"))
    with pytest.raises(InputError, match="cannot be read"):
        read_policy(str(tmp_path))
    (tmp_path / "latin.toml").write_bytes(b"# caf\xe9\n")
    with pytest.raises(InputError, match="not UTF-8 text"):
        read_policy(str(tmp_path / "latin.toml"))


def test_the_shipped_policies_are_also_among_the_manifests():
    folder = Path(__file__).parent.parent / "manifests" / "policies"
    here = {path.name: path.read_bytes() for path in folder.glob("*.toml")}
    assert here == {path.name: path.read_bytes() for path in policy.POLICY_FOLDER.glob("*.toml")}
    assert set(here) == {"personal.toml", "research.toml", "commercial.toml"}


stated = st.sampled_from(
    [None, "", "CC0", "CC BY 4.0", "CC BY-SA 3.0 de", "CC BY", "Pixabay", "own", "MIT", "?"]
)
samples = st.builds(
    Sample,
    key=st.uuids().map(lambda u: f"test-{u}"),
    source=st.sampled_from(["test", "pixabay", "folder"]),
    license_text=stated,
    license_url=st.none() | st.just("https://creativecommons.org/licenses/by-nc/4.0/"),
    license_by=st.sampled_from([None, "user", "source"]),
    opt_outs=st.just(()) | st.just(("api:noAiTraining",)),
    basis=st.none() | st.just("mine"),
    dropped=st.none() | st.just("duplicate:x"),
)


@given(samples, st.sampled_from(policy.policy_names()))
def test_unknown_and_opted_out_never_means_allowed(sample, name):
    done = decide(sample, read_policy(name))
    for use in USES:
        verdict = getattr(done, use)
        assert verdict.reasons and verdict.decision in decisions_of.DECISIONS
        if sample.opt_outs:
            assert verdict.decision == "deny"
        if done.license is None or done.license.endswith("-family"):
            assert verdict.decision != "allow"
        if verdict.decision == "allow":
            kinds = {k for k in LICENCE_KINDS if k in read_policy(name).allow[use]}
            assert kinds and (done.license or "").strip()


@settings(max_examples=12)
@given(st.lists(samples, max_size=5, unique_by=lambda s: s.key), st.randoms())
def test_check_is_a_step(rows, random):
    once = engine.to_samples(check(engine.to_data_frame(rows), policy="personal"))
    assert once == [decide(sample, read_policy("personal")) for sample in rows]
    assert engine.to_samples(check(engine.to_data_frame(once))) == once
    shuffled = random.sample(rows, len(rows))
    again = engine.to_samples(check(engine.to_data_frame(shuffled)))
    assert {s.key: s for s in again} == {s.key: s for s in once}
    assert [s.key for s in again] == [s.key for s in shuffled]


def test_the_guide_names_every_kind_rule_and_code(write, tmp_path):
    guide = (Path(__file__).parent.parent / "docs" / "rights.md").read_text("utf-8")
    codes = [
        *decisions_of.CODES.values(),
        "licence:",
        "licence-unknown",
        "licence-family",
        "opt-out:",
    ]
    codes += ["licence-conflict", "terms:", "source-rule:", "basis:", "permission:"]
    for name in (*LICENCE_KINDS, *policy.SOURCE_RULES, *codes, "no-basis", "no-permission"):
        assert f"`{name}" in guide, name
    example, permission = (part.split("```")[0] for part in guide.split("```toml\n")[1:])
    mine = read_policy(write(example))
    assert decisions(picture("CC BY-SA 4.0"), str(mine.path))[0] == "allow"
    assert decisions(picture("CC BY 1.0"), str(mine.path))[0] == "deny"
    (tmp_path / "pixabay-permission.pdf").write_bytes(b"test")
    assert decisions(picture("Pixabay"), write(permission)) == ["allow", "deny", "allow"]
