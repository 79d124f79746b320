"""The commands check, caption, build and explain, on a folder of real images."""

import hashlib
import inspect
import json
from dataclasses import replace
from pathlib import Path

import pytest

from curate.cli import main
from curate.commands import build
from curate.commands.explain import explain
from curate.commands.status import status
from curate.dataset.folder import Dataset
from curate.dataset.manifest import Manifest
from curate.dataset.sample import Caption, Sample
from curate.errors import InputError
from curate.rights.decide import decide
from curate.rights.policy import read_policy
from tests.packable import fetch_pictures, run


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A dataset in `data`, fetched from a folder of seven images."""
    fetch_pictures(tmp_path, monkeypatch)
    return tmp_path


def fails(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    assert isinstance(ended.value.code, int)
    return ended.value.code


def answer(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    capsys.readouterr()
    run(*words)
    return capsys.readouterr().out


def key_of(name: str) -> str:
    (key,) = [s.key for s in Dataset(Path("data")).read().samples if s.file_name == name]
    return key


def contents(root: Path) -> dict[str, bytes]:
    """Every file but what is derived, which comes and goes."""
    files = (p for p in root.rglob("*") if p.is_file() and p.parts[len(root.parts)] != "derived")
    return {str(p.relative_to(root)): p.read_bytes() for p in files}


def test_build_runs_all_steps(folder, capsys):
    lines = answer(capsys, "build", "--size", "32", "--format", "png").splitlines()
    for line in (
        "check\ttrain: allow\t3",
        "check\ttrain: hold\t2",
        "check\ttrain: deny\t1",
        "dedup\tduplicates: bytes\t1",
        "caption\trows without\t1",
        "pack\timages\t2",
        "pack\tleft out: no-caption\t1",
    ):
        assert line in lines


def test_build_again_changes_no_byte(folder, capsys):
    def state():
        return contents(folder / "data")

    run("build", "--size", "32")
    first = state()
    done = json.loads(answer(capsys, "build", "--size", "32", "--json"))
    assert state() == first
    assert set(done) == {"check", "dedup", "caption", "pack"}
    assert done["pack"]["unchanged"] is True
    for step in ("check", "dedup", "caption"):
        run(step)
    run("pack", "--size", "32")
    assert state() == first


def test_check_tells_uses_and_reasons(folder, capsys):
    out = answer(capsys, "check", "--policy", "commercial")
    assert out.splitlines()[:3] == [
        "train\t4\t2\t1",
        "share_dataset\t4\t2\t1",
        "share_model\t4\t2\t1",
    ]
    assert "not trained on: licence-nd\t1\t\t" in out.splitlines()
    run("check")
    assert "7 images in use, decided by " in capsys.readouterr().err
    done = json.loads(answer(capsys, "check", "--json"))
    assert done["verdicts"]["train"] == {"allow": 4, "hold": 2, "deny": 1, "unchecked": 0}
    assert done["policy_sha256"] == hashlib.sha256(Path(done["policy"]).read_bytes()).hexdigest()
    (entry,) = [e for e in Dataset(folder / "data").read().history[1:] if e["step"] == "check"][-1:]
    assert entry["settings"] == {"policy": "personal"}


def test_caption_tells_counts(folder, capsys):
    assert answer(capsys, "caption").splitlines() == ["rows\t7", "captions\t6", "rows without\t1"]
    done = json.loads(answer(capsys, "caption", "--per-image", "1", "--json"))
    assert done == {"rows": 7, "captions": 6, "without": 1}


def test_a_policy_of_ones_own(folder, capsys):
    Path("mine.toml").write_text('[train]\nallow = ["copyleft"]\n', encoding="utf-8")
    out = answer(capsys, "check", "--policy", "mine.toml")
    assert out.splitlines()[0] == "train\t1\t6\t0"
    told = answer(capsys, "explain", key_of("elf.png"))
    assert "policy\tone of your own (sha256 " in told


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[sources.foldr]\ntrain = "deny"\n', "[sources.foldr]: no source 'foldr'"),
        ('[copies]\nbelieve = ["foldr"]\n', "[copies] believe: no source 'foldr'"),
    ],
)
def test_a_policy_that_names_no_source_is_refused(folder, capsys, text, message):
    Path("mine.toml").write_text(text, encoding="utf-8")
    with pytest.raises(SystemExit) as ended:
        main(["check", "--policy", "mine.toml"])
    assert ended.value.code == 3
    assert f"error: mine.toml {message}\n  fix: did you mean folder?" in capsys.readouterr().err


CONCLUSIONS = {
    "elf.png": (
        "out: held for licence:GPL-3.0-only; "
        'allow = ["GPL-3.0-only"] under [train] in a policy of your own admits it'
    ),
    "orc.png": (
        "out: denied for licence:CC-BY-NC-ND-4.0, licence-nc, licence-nd; "
        "its licence forbids changed copies"
    ),
    "cat.png": (
        "out: held for licence-unknown; "
        "stating a licence where it comes from (a folder: --license) decides it"
    ),
    "IMG_1234.png": (
        "out: it has no caption; curate caption, or give it a text where it comes from"
    ),
    "snow_storm-02.png": (
        "in: allowed for training by licence:CC0-1.0, packed in train-000000.tar; "
        'deny = ["CC0-1.0"] under [train] in a policy of your own takes it out'
    ),
}


def test_explain_ends_with_one_sentence(folder, capsys):
    assert answer(capsys, "explain", key_of("elf.png")).splitlines()[-1] == (
        "out: not checked yet; curate check decides"
    )
    run("build", "--size", "32")
    for name, sentence in CONCLUSIONS.items():
        assert answer(capsys, "explain", key_of(name)).splitlines()[-1] == sentence
    copies = [s for s in Dataset(Path("data")).read().samples if s.dropped]
    kept = copies[0].dropped.removeprefix("duplicate:")
    out = answer(capsys, "explain", copies[0].key).splitlines()
    assert f"copy of\t{kept}" in out
    assert out[-1] == (
        f"out: dropped as duplicate:{kept}; its copy stays instead: curate explain {kept}"
    )
    assert f"its copies\t{copies[0].key}" in answer(capsys, "explain", kept).splitlines()


def test_explain_tells_the_chain(folder, capsys):
    run("build", "--size", "32")
    lines = answer(capsys, "explain", key_of("snow_storm-02.png")).splitlines()
    for line in (
        "source\tfolder",
        "file\tsnow_storm-02.png",
        "retrieved\t2026-09-21T14:13:20Z",
        "licence as stated\tCC0-1.0 (by the source)",
        "licence\tCC0-1.0: text 'CC0-1.0'",
        "train\tallow: licence:CC0-1.0",
        "caption from file-name\tsnow storm",
        "shard\ttrain-000000.tar",
    ):
        assert line in lines
    assert any(line.startswith("policy\tpersonal (sha256 ") for line in lines)
    assert any(line.startswith("kind\tPNG, 96 x 96 pixels, ") for line in lines)
    (stored,) = [line.split("\t")[1] for line in lines if line.startswith("stored")]
    assert Path(stored).is_file()
    told = json.loads(answer(capsys, "explain", key_of("elf.png"), "--json"))
    assert (told["in"], told["shard"], told["copies"]) == (False, None, [])
    assert told["conclusion"] == CONCLUSIONS["elf.png"]
    assert told["row"]["license"] == "GPL-3.0-only"
    Path(stored).unlink()
    lines = answer(capsys, "explain", key_of("snow_storm-02.png")).splitlines()
    assert f"stored\t{stored} (is missing)" in lines


def test_an_unknown_key_names_near_ones(folder, capsys):
    key = key_of("elf.png")
    assert fails("explain", key.replace("elf", "elv")) == 3
    assert f"did you mean {key}" in capsys.readouterr().err
    assert fails("explain", "?") == 3
    assert "fix: keys look like folder-" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["folder-elf", "elf.png", "ELF", "el", "elf"])
def test_a_part_of_a_name_is_enough_where_one_image_has_it(folder, capsys, text):
    whole = answer(capsys, "explain", key_of("elf.png"))
    assert answer(capsys, "explain", text) == whole


def test_a_whole_name_comes_before_parts_of_others(folder, capsys):
    assert "file\tmage.png\n" in answer(capsys, "explain", "mage")  # and mage_again.png


def test_several_images_that_fit_are_listed(folder, capsys):
    rows = sorted(s.key for s in Dataset(Path("data")).read().samples if "mage" in s.key)
    assert fails("explain", "mag") == 3
    assert capsys.readouterr().err.splitlines() == [
        "error: mag: 2 images fit",
        f"  - {rows[0]}: mage.png",
        f"  - {rows[1]}: mage_again.png",
        f"  fix: name one by its whole key, such as {rows[0]}",
    ]
    assert fails("explain", "") == 3
    assert "error: '': names no image\n" in capsys.readouterr().err
    assert fails("explain", "n") == 3
    assert "  - and 2 more\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (
            "check --policy persnal",
            2,
            "--policy persnal: no such policy\n  fix: did you mean perso",
        ),
        ("check --policy gone.toml", 2, "choose commercial, personal, research or a file"),
        ("check --policy pictures", 3, "pictures: cannot be read (Is a directory)"),
        ("build --policy persnal", 2, "did you mean personal?"),
        ("build --format gif", 2, "no format 'gif'"),
        ("caption --per-image 0", 2, "--per-image: 0 is below 1"),
        ("status --data gone", 3, "gone: no dataset here"),
        ("explain x --data gone", 3, "gone: no dataset here"),
        ("check --data pictures/elf.png", 3, "pictures/elf.png: is not a folder"),
        ("fetch folder pictures --data pictures/elf.png/x", 3, "elf.png/x: cannot be a folder"),
    ],
)
def test_messages(folder, capsys, words, code, message):
    assert fails(*words.split()) == code
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("command", ["check", "dedup", "caption", "pack", "build", "status"])
def test_a_command_that_finds_no_dataset_leaves_nothing_behind(folder, capsys, command):
    (folder / "empty").mkdir()
    for name in ("gone", "empty"):
        assert fails(command, "--data", name) == 3
        assert capsys.readouterr().err.endswith(
            f"{name}: no dataset here\n"
            f"  fix: curate fetch folder DIR --data {name}; or name another folder with --data\n"
        )
    assert not (folder / "gone").exists()
    assert list((folder / "empty").iterdir()) == []


def test_settings_of_packing_are_checked_before_the_other_steps(folder):
    first = Dataset(folder / "data").manifest.read_bytes()
    assert fails("build", "--size", "0") == fails("build", "--format", "gif") == 2
    assert Dataset(folder / "data").manifest.read_bytes() == first


def test_a_folder_nobody_checked_is_not_packed(folder, capsys):
    dataset = Dataset(Path("data"))
    with dataset.lock():
        rows = [replace(s, license_text="?") for s in dataset.read().samples]
        dataset.write(Manifest(rows, []))
    assert fails("build") == 3
    assert "nothing to pack" in capsys.readouterr().err
    assert status(dataset).verdicts["train"]["hold"] == 7


def test_the_way_out_of_terms_is_a_rule_for_the_source(tmp_path):
    sha256 = Dataset(tmp_path).store.put(b"an image")
    accepted = picture(license_text="Pixabay Content License", basis="a permission", sha256=sha256)
    ready = replace(decide(accepted, read_policy("personal")), captions=(Caption("a fox", "text"),))
    said = told(Dataset(tmp_path), ready)
    assert said.endswith(
        'train = "deny" under [sources.pixabay] in a policy of your own takes it out'
    )


def told(dataset: Dataset, sample: Sample) -> str:
    """The conclusion about a dataset of this one sample, judged as personal."""
    with dataset.lock():
        dataset.write(Manifest([sample], []))
    return explain(dataset, sample.key).conclusion


def picture(**fields: object) -> Sample:
    return Sample(**{"key": "pixabay-1", "source": "pixabay", "sha256": "00"} | fields)


@pytest.mark.parametrize(
    ("dropped", "advice"),
    [
        ("download:HTTP 500", "the same fetch again tries it once more"),
        ("missing:x.png", "put the file there and fetch the folder again"),
        ("opt-out:noAiTraining", "nothing changes that: its owner opted out"),
        ("opt-out:robots.txt", "nothing changes that: the robots.txt of its host keeps us out"),
        ("ai-generated", "the same fetch with --allow-ai takes it"),
        ("unreadable:broken", "another file of the image, fetched anew, would be another row"),
    ],
)
def test_what_would_change_a_drop(tmp_path, dropped, advice):
    expected = f"out: dropped as {dropped}; {advice}"
    assert told(Dataset(tmp_path), picture(dropped=dropped)) == expected


@pytest.mark.parametrize(
    ("stated", "policy", "conclusion"),
    [
        (
            {"license_text": "Pixabay Content License"},
            "personal",
            "out: held for terms:pixabay, no-basis; "
            "curate sources accept pixabay --basis TEXT --data DATA, then a fetch, admits it",
        ),
        (
            {"license_text": "Pixabay Content License", "source": "folder"},
            "personal",
            "out: held for terms:pixabay, no-basis; "
            "only an image that was fetched from pixabay can have a basis",
        ),
        (
            {"license_text": "Pixabay Content License", "basis": "at home"},
            "research",
            "out: held for terms:pixabay, no-permission; "
            "a document named under [[permissions]] in a policy admits it",
        ),
        (
            {"license_text": "CC0", "source": "folder", "opt_outs": ("header:noai",)},
            "personal",
            "out: denied for opt-out:header:noai; nothing changes that: its owner opted out",
        ),
        (
            {"license_text": "CC BY", "source": "folder"},
            "personal",
            "out: held for licence-family, licence:LicenseRef-CC-BY-family; "
            "stating the version of its licence decides it",
        ),
        (
            {"license_text": "CC0", "license_url": "https://creativecommons.org/licenses/by/4.0/"}
            | {"source": "folder"},
            "personal",
            "out: held for licence-conflict, licence:CC-BY-4.0; "
            "making what is stated agree decides it",
        ),
        (
            {"license_text": "CC BY-NC 4.0", "source": "folder"},
            "commercial",
            "out: denied for licence:CC-BY-NC-4.0, licence-nc; its licence forbids commercial use",
        ),
        (
            {"license_text": "GPL-3.0-only", "source": "folder"},
            "personal",
            "out: held for licence:GPL-3.0-only; "
            'allow = ["GPL-3.0-only"] under [train] in a policy of your own admits it',
        ),
        (
            {"license_text": "All rights reserved", "source": "folder"},
            "personal",
            "out: denied for licence:LicenseRef-AllRightsReserved; its owner reserves all rights",
        ),
    ],
)
def test_what_would_change_a_verdict(tmp_path, stated, policy, conclusion):
    sample = decide(picture(**stated), read_policy(policy))
    assert told(Dataset(tmp_path), sample).replace(str(tmp_path), "DATA") == conclusion


def test_every_reason_a_policy_can_give_has_its_advice(tmp_path):
    rules = tmp_path / "rules.toml"
    rules.write_text(
        '[train]\nallow = ["cc0"]\n[sources.a]\ntrain = "hold"\n[sources.b]\ntrain = "deny"\n'
        '[sources.pixabay]\ntrain = "deny"\n',
        encoding="utf-8",
    )
    sentences = {
        "a": "out: held for source-rule:a; [sources.a] in your policy decides it",
        "b": "out: denied for source-rule:b; [sources.b] in your policy decides it",
        "pixabay": "out: denied for terms:pixabay; [sources.pixabay] in your policy decides it",
    }
    for source, sentence in sentences.items():
        sample = decide(picture(source=source, license_text="CC0"), read_policy(str(rules)))
        assert told(Dataset(tmp_path / source), sample) == sentence


def test_in_and_not_packed_yet_or_without_a_picture(tmp_path):
    sha256 = Dataset(tmp_path).store.put(b"an image")
    sample = picture(source="x", license_text="MIT", sha256=sha256)
    ready = decide(sample, read_policy("personal"))
    ready = replace(ready, captions=(Caption("a cat", "text"),))
    assert f"not packed yet: curate pack --data {tmp_path}; " in told(Dataset(tmp_path), ready)
    assert explain(Dataset(tmp_path), ready.key).is_in
    lost = replace(ready, sha256=None)
    assert told(Dataset(tmp_path), lost) == ("out: its image was never received; fetch it again")
    assert not explain(Dataset(tmp_path), lost.key).is_in


def test_evidence_and_basis_are_told(tmp_path):
    dataset = Dataset(tmp_path)
    sample = picture(evidence="ab" * 32, basis="at home", query="snow", opt_outs=("api:x",))
    told(dataset, replace(sample, ai_generated=True, final_url="https://example.org/1"))
    facts = dict(explain(dataset, sample.key).facts)
    assert facts["evidence"] == f"{tmp_path}/evidence/ab/{'ab' * 32} is missing"
    assert (facts["your basis"], facts["asked for"]) == ("at home", "snow")
    assert (facts["AI-made"], facts["opt-out"]) == ("yes, as stated", "api:x")
    assert facts["received from"] == "https://example.org/1"
    assert facts["licence as stated"] == "nothing"
    assert facts["train"] == "not checked"


def test_no_dataset_is_an_input_error(tmp_path):
    for call in (status, build.caption_dataset, build.check_dataset, build.build_dataset):
        with pytest.raises(InputError, match="no dataset here"):
            call(Dataset(tmp_path / "none"))


def test_the_command_line_has_the_defaults_of_the_library():
    from curate import cli
    from curate.shards.pack import pack

    # --refresh comes before; of an engine, the line gives the name and the address
    apart = ("data", "json", "refresh", "endpoint", "engine", "ray_address")
    for command, call in (
        (cli.pack_command, pack),
        (cli.check_command, build.check_dataset),
        (cli.caption_command, build.caption_dataset),
        (cli.build_command, build.build_dataset),
    ):
        library = inspect.signature(call).parameters
        for name, parameter in inspect.signature(command).parameters.items():
            if name not in apart:
                assert parameter.default == library[name].default, name
