"""Policies: licences, terms and opt-outs -> three verdicts."""

import hashlib
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.dataset.evidence import StoredAnswer, write_answer
from curate.dataset.folder import Store
from curate.dataset.sample import Sample, Signal, Statement, Verdict
from curate.errors import InputError, UsageError
from curate.formats.verdicts import DECISIONS, USES
from curate.rights import decide as decisions_of
from curate.rights import policy
from curate.rights.check import check, check_samples
from curate.rights.copies import join
from curate.rights.decide import decide
from curate.rights.licences import LICENCE_KINDS
from curate.rights.policy import read_policy

PIXABAY = "LicenseRef-scancode-pixabay-content"
FILLED = {"license", "license_how", *USES, "policy"}


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


SITE = Signal("robots.txt", False, "site")
YES = Signal("content-signal:ai-train=yes", True, "site")
UNCLEAR = Signal("rsl", None, "site")
TRADEMARKED = "restriction:trademarked"
LATER = Statement("CC BY-NC-ND 4.0", None)
KNOWN: list[tuple[str, Sample, str, str]] = [  # rule, row, code, its verdicts without any rule
    ("site-opt-out", picture("CC0", signals=(SITE,)), "site-opt-out:robots.txt", "hold"),
    ("signals-contradict", picture("CC0", signals=(SITE, YES)), "signals-contradict", "hold"),
    ("signal-unclear", picture("CC0", signals=(UNCLEAR,)), "signal-unclear:rsl", "hold"),
    ("ai-made", picture("CC0", ai_generated=True), "ai-made", "hold"),
    ("ai-made", picture("CC0", ai_embedded=True), "ai-made", "hold"),
    ("mature", picture("CC0", mature=True), "mature", "hold"),
    ("people", picture("CC0", restrictions=("personality",)), "restriction:personality", "hold"),
    (
        "trademarks",
        picture("CC0", restrictions=("trademarked",)),
        "restriction:trademarked",
        "hold",
    ),
    ("restrictions", picture("CC0", restrictions=("insignia",)), "restriction:insignia", "hold"),
    ("drift", picture("CC BY 4.0", restated=(LATER,)), "drift", "hold"),
    ("gone-at-source", picture("CC0", gone="2026-01-01T00:00:00Z"), "gone-at-source", "hold"),
]
OPEN = '[train]\nallow = ["cc0", "attribution"]\n'


@pytest.mark.parametrize(("rule", "row", "code", "usual"), KNOWN)
def test_what_is_known_beside_the_licence_is_for_the_policy_to_weigh(write, rule, row, code, usual):
    others = "".join(f'{name} = "record"\n' for name in policy.SIGNALS if name != rule)
    assert verdicts(row, write(OPEN))["train"].decision == usual
    assert code in verdicts(row, write(OPEN))["train"].reasons
    for said, decision in (("record", "allow"), ("hold", "hold"), ("deny", "deny")):
        text = f'{OPEN}[signals]\n{others}{rule} = "{said}"\n'
        verdict = verdicts(row, write(text))["train"]
        assert verdict.decision == decision
        assert code in verdict.reasons, "recorded, too"
        text = f'{OPEN}[signals]\n{others}{rule} = {{ train = "{said}", share_model = "deny" }}\n'
        mine = verdicts(row, write(text))
        assert mine["train"].decision == decision
        assert mine["share_model"].decision == "deny"


@pytest.mark.parametrize("name", policy.policy_names())
def test_the_shipped_policies_name_every_signal(name):
    text = (policy.POLICY_FOLDER / f"{name}.toml").read_text("utf-8")
    assert set(tomllib.loads(text)["signals"]) == set(policy.SIGNALS)
    for rule, row, code, _ in KNOWN:
        train = verdicts(row, name)["train"]
        recorded = name != "commercial" and rule in ("people", "trademarks", "restrictions")
        recorded |= name == "personal" and rule == "ai-made"
        assert train.decision == ("allow" if recorded else "hold"), rule
        assert code in train.reasons
        assert verdicts(row, name)["share_dataset"].decision != "allow" or rule == "ai-made"


def test_an_opt_out_of_the_image_itself_is_denied_whatever_a_policy_says(write):
    rules = "".join(f'{name} = "record"\n' for name in policy.SIGNALS)
    mine = write(f"{OPEN}[signals]\n{rules}")
    for item in (
        picture("CC0", opt_outs=("api:noAiTraining",)),
        picture("CC0", signals=(YES, Signal("api:noAiTraining", False, "item"))),
    ):
        assert verdicts(item, mine) == {
            use: Verdict("deny", ("opt-out:api:noAiTraining",)) for use in USES
        }


@pytest.mark.parametrize("text", ["CC BY-ND 4.0", "CC BY-NC 4.0", None, "All rights reserved"])
def test_a_sites_word_counts_where_no_author_opened_the_work(text):
    row = picture(text, signals=(SITE,))
    for name in policy.policy_names():
        assert decisions(row, name) == ["deny"] * 3
        assert "site-opt-out:robots.txt" in verdicts(row, name)["train"].reasons


def test_what_drifts_and_what_does_not():
    same = Statement(None, "https://creativecommons.org/licenses/by/4.0/")
    assert decisions(picture("CC BY 4.0", restated=(same,))) == ["allow"] * 3
    assert decisions(picture("CC BY 4.0", restated=(same, LATER))) == ["hold"] * 3
    withdrawn = picture("CC BY 4.0", restated=(Statement(None, None),))
    assert verdicts(withdrawn)["train"] == Verdict("hold", ("drift",))
    assert decisions(picture("CC BY-ND 4.0", restated=(Statement("CC0", None),))) == ["deny"] * 3


def test_a_removed_picture_is_denied():
    row = picture("CC0", dropped="removed:asked for")
    assert verdicts(row) == {use: Verdict("deny", ("removed",)) for use in USES}


def online(store: Store, **known: object) -> Sample:
    row = {"image_url": "https://a.example/1", "license_text": "CC0", "evidence": store.put(b"1")}
    return picture(**{**row, **known})


def test_evidence_is_verified(tmp_path):
    store = Store(tmp_path)
    robots = write_answer(store, StoredAnswer("https://a.example/robots.txt", 200, (), "", ""))
    rows = [
        online(store, key="test-1"),
        online(store, key="test-2", evidence=store.put(b"2")),
        online(store, key="test-3", evidence=store.put(b"3")),
        online(store, key="test-4", site_evidence=(robots,)),
        online(store, key="test-5", restated=(Statement("CC0", None, None, store.put(b"5")),)),
        picture("CC0", key="test-6", evidence="0" * 64),  # of no server
    ]
    settings = {"policy": read_policy("personal"), "evidence": store, "removed": ()}
    assert {s.train.decision for s in check_samples(rows, **settings)} == {"allow"}
    store.path_of(rows[1].evidence).write_bytes(b"edited")
    for row in (rows[2].evidence, robots, rows[4].restated[0].evidence):
        store.path_of(row).unlink()
    done = check_samples(rows, **settings)
    allowed, missing = (
        Verdict("allow", ("licence:CC0-1.0",)),
        Verdict("hold", ("evidence-missing",)),
    )
    assert [s.train for s in done] == [
        allowed,
        Verdict("hold", ("evidence-changed",)),
        *[missing] * 3,
        allowed,
    ]
    assert check_samples(done, **settings) == done


def test_what_hosts_say_is_read_from_the_stored_answers(tmp_path):
    store = Store(tmp_path)
    text = "User-agent: *\nDisallow: /1\n"
    robots = write_answer(store, StoredAnswer("https://a.example/robots.txt", 200, (), "", text))
    row = online(store, site_evidence=(robots,), headers=("X-Robots-Tag: noindex",))
    settings = {"policy": read_policy("personal"), "evidence": store, "removed": ()}
    (done,) = check_samples([row], **settings)
    assert done.signals == (SITE,)
    assert done.train == Verdict("hold", ("site-opt-out:robots.txt",))
    (denied,) = check_samples([replace(row, headers=("X-Robots-Tag: noai",))], **settings)
    assert denied.train == Verdict("deny", ("opt-out:x-robots-tag:noai",))


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
    ("[signals]\ndirft = 'hold'\n", "[signals]: no setting 'dirft'", "did you mean drift?"),
    ("[signals]\nopt-out = 'record'\n", "[signals] opt-out: is no choice", "leave it out;"),
    ("[signals]\ndrift = 'hodl'\n", "[signals] drift: no rule 'hodl'", "did you mean hold?"),
    ("[signals]\ndrift = 1\n", "[signals] drift: 1 is not a text in quotes", "write a text"),
    ("[signals]\ndrift = {trian = 'hold'}\n", "drift: no setting 'trian'", "did you mean train?"),
    ("[signals]\ndrift = {train = 'allow'}\n", "drift: no rule 'allow'", "record, hold, deny"),
    ("[copies]\nbeleive = []\n", "[copies]: no setting 'beleive'", "did you mean believe?"),
    ("[copies]\nbelieve = 'folder'\n", "believe: 'folder' is not a list of texts", "write a list"),
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
        assert verdict.reasons and verdict.decision in DECISIONS
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
    once = check(rows, policy="personal")
    rules = read_policy("personal")
    assert once == join([decide(sample, rules) for sample in rows], rules)
    assert check(once) == once
    shuffled = random.sample(rows, len(rows))
    again = check(shuffled)
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
    codes += ["site-opt-out:", "signal-unclear:", "restriction:", "evidence-missing", "removed"]
    codes += ["evidence-changed", "copy-conflict:", "copy-believed:", *policy.SIGNALS]
    for name in (
        *LICENCE_KINDS,
        *policy.SOURCE_RULES,
        *policy.SIGNAL_RULES,
        *codes,
        "no-basis",
        "no-permission",
    ):
        assert f"`{name}" in guide, name
    example, permission = (part.split("```")[0] for part in guide.split("```toml\n")[1:])
    mine = read_policy(write(example))
    assert decisions(picture("CC BY-SA 4.0"), str(mine.path))[0] == "allow"
    assert decisions(picture("CC BY 1.0"), str(mine.path))[0] == "deny"
    (tmp_path / "pixabay-permission.pdf").write_bytes(b"test")
    assert decisions(picture("Pixabay"), write(permission)) == ["allow", "deny", "allow"]
