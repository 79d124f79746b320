"""A model as a folder to give on: whole, honest about licences, and safe to look at."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from curate.errors import InputError, LicenceError, UsageError
from curate.formats.model import STATE_FILE, SetRecord
from tests import cascades, tiny_encoder
from tests.cascades import credit
from tests.recorded_progress import RecordedProgress
from train.checkpoints import checkpoint
from train.publish import card
from train.publish.export import export_model
from train.sampling import sampler

CREDITS = [
    credit("a-1", title="A red circle", creator="Ann", license="CC-BY-4.0", page_url="https://a/1"),
    credit("b-2", creator="Bob", creator_url="https://b/", license="CC0-1.0", share_model="allow"),
]
LICENCES = {"CC-BY-4.0": 1, "CC0-1.0": 1}


@pytest.fixture(scope="session")
def encoder(tmp_path_factory) -> str:
    return tiny_encoder.build(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="session")
def model(tmp_path_factory, encoder) -> Path:
    folder = tmp_path_factory.mktemp("model")
    settings = {"text_encoder": encoder, "batch_size": 16}
    facts = {**cascades.FACTS, "licences": LICENCES, "settings": settings}
    return cascades.write(folder, encoder, facts=facts, credits=CREDITS)


def front_matter(folder: Path) -> dict:
    return yaml.safe_load((folder / "README.md").read_text().split("---")[1])


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_folder_holds_weights_description_card_and_credits(model, tmp_path):
    progress = RecordedProgress()
    files = export_model(model, tmp_path / "fox", progress=progress)
    readme = (tmp_path / "fox" / "README.md").read_text()
    config = json.loads((tmp_path / "fox" / "config.json").read_bytes())

    assert sorted(f.name for f in files) == sorted(contents(tmp_path / "fox"))
    assert (tmp_path / "fox" / "model.safetensors").read_bytes() == (
        model / "model.safetensors"
    ).read_bytes()
    matter = front_matter(tmp_path / "fox")
    assert matter["license"] == "cc-by-4.0"
    assert matter["pipeline_tag"] == "text-to-image"
    assert "license_name" not in matter
    for sentence in (
        "# fox",
        "images of 16 x 16 pixels",
        "2 images. [CREDITS.md]",
        "red (5), green (3), circle (2)",
        "| 16 x 16 |",
        "30.0 | 25.0 | 26.0 | 0.80 | yes, on held-out images",
        "Not measured.",
        "Nobody has measured",
    ):
        assert sentence in readme
    assert config["model"]["sha256"] == checkpoint.load(model).digest
    assert config["facts"]["settings"]["batch_size"] == 16
    assert [stage["size"] for stage in config["stages"]] == [[8, 8], [16, 16]]
    assert len(progress.said) == 1 and "the text encoder lies in" in progress.said[0]


def test_the_most_frequent_and_the_rarest_words_are_named(tmp_path, encoder):
    words = {f"word{n:02d}": n for n in range(1, 31)}
    facts = {"sets": [SetRecord("ab", "new", 30, words)]}
    export_model(cascades.write(tmp_path / "model", encoder, facts=facts), tmp_path / "fox")
    readme = (tmp_path / "fox" / "README.md").read_text()

    assert "- most frequent (images): word30 (30), word29 (29)" in readme
    assert "- rarest (images): word01 (1), word02 (2)" in readme
    assert "shown 30 different words" in readme


def test_no_folder_of_this_machine_is_published(model, tmp_path, encoder):
    export_model(model, tmp_path / "fox")

    for name in ("README.md", "config.json", "CREDITS.md"):
        assert str(Path(encoder).parent) not in (tmp_path / "fox" / name).read_text()


def test_the_exported_folder_draws_the_same_pictures(model, tmp_path):
    export_model(model, tmp_path / "fox")

    def drawn(folder: Path) -> np.ndarray:
        return sampler.load_sampler(folder, device="cpu").generate(["a red circle"], [3])

    assert (drawn(model) == drawn(tmp_path / "fox")).all()
    assert checkpoint.read_credits(tmp_path / "fox") == checkpoint.read_credits(model)


def test_the_same_command_again_changes_nothing(model, tmp_path):
    export_model(model, tmp_path / "fox")
    first = contents(tmp_path / "fox")
    export_model(model, tmp_path / "fox")
    export_model(model, tmp_path / "other" / "fox")

    assert contents(tmp_path / "fox") == contents(tmp_path / "other" / "fox") == first


@pytest.mark.parametrize("there", ["a note", "a changed card", "a file"])
def test_a_folder_that_holds_something_else_is_left_alone(model, tmp_path, there):
    out = tmp_path / "fox"
    if there == "a file":
        out.write_text("mine")
    else:
        export_model(model, out)
        name = "note.txt" if there == "a note" else "README.md"
        (out / name).write_text("mine")
    with pytest.raises(UsageError, match="holds something else"):
        export_model(model, out)

    kept = [out] if out.is_file() else list(out.iterdir())
    assert [f.name for f in kept if f.read_bytes() == b"mine"] != []


def test_a_failed_export_leaves_nothing(model, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        export_model(model, tmp_path / "file" / "fox")
    (tmp_path / "gaps.json").write_text("{}")
    with pytest.raises(InputError, match="not a report of curate vocab-gaps"):
        export_model(model, tmp_path / "fox", gaps=tmp_path / "gaps.json")

    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "gaps.json"]


def test_what_a_killed_export_left_does_no_harm(model, tmp_path):
    (tmp_path / ".fox.part").mkdir()
    (tmp_path / ".fox.part" / "half").write_text("")
    export_model(model, tmp_path / "fox")

    assert sorted(p.name for p in tmp_path.iterdir()) == ["fox"]
    assert "half" not in contents(tmp_path / "fox")


def test_an_unfinished_run_is_refused(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / STATE_FILE).write_bytes(b"")
    with pytest.raises(InputError, match="not finished"):
        export_model(tmp_path / "run", tmp_path / "fox")


def test_pictures_that_ask_for_credit_must_have_it(tmp_path, encoder):
    facts = {**cascades.FACTS, "licences": {"CC-BY-4.0": 3}}
    folder = cascades.write(tmp_path / "model", encoder, facts=facts)
    with pytest.raises(LicenceError, match=r"CC-BY-4\.0 asks for credit") as found:
        export_model(folder, tmp_path / "fox")

    assert found.value.exit_code == 5
    assert not (tmp_path / "fox").exists()


def test_what_the_policy_forbids_is_refused_and_what_it_holds_is_said(tmp_path, encoder):
    def made(name: str, decision: str) -> Path:
        owed = [credit("k", license="CC0-1.0", share_model=decision)]
        return cascades.write(tmp_path / name, encoder, credits=owed)

    progress = RecordedProgress()
    export_model(made("held", "hold"), tmp_path / "out", progress=progress)
    assert "has not decided whether a model of 1 of" in " ".join(progress.said)
    assert "has not decided whether a model of 1 of" in (tmp_path / "out" / "README.md").read_text()
    with pytest.raises(LicenceError, match="such as k"):
        export_model(made("denied", "deny"), tmp_path / "never")


def verify_report(folder: Path, digest: str, **changes) -> Path:
    share = {"value": 0.9853, "low": 0.96, "high": 1.0, "n": 204}
    figure = {
        "scorer": "nearest",
        "group": "with the word",
        "measure": "word",
        "prompts": 12,
        "after": {"share": share, "raw": share},
        "before": None,
        "change": {"share": {**share, "value": None}},
        "real": share,
        "counts": True,
    }
    report = {"word": "mage", "verdict": "works", "samples": 200}
    report["findings"] = [{"verdict": "works", "sentence": "the word *shows*", "helps": ""}]
    report["judges"] = [{"name": "nearest", "sentence": "nearest, which sees <it>"}]
    report["figures"] = [figure, {**figure, "scorer": "other", "counts": False}]
    folder.mkdir()
    whole = {**report, "after": [{"digest": "f" * 64}, {"digest": digest}], **changes}
    (folder / "verify.json").write_text(json.dumps(whole))
    return folder


def test_figures_of_a_verification_are_told_with_their_intervals(model, tmp_path):
    """Those that count, of the model or of several with it."""
    report = verify_report(tmp_path / "verify", checkpoint.load(model).digest)
    Image.new("RGB", (8, 8)).save(report / "verify.png")
    export_model(model, tmp_path / "fox", verify=[report])
    readme = (tmp_path / "fox" / "README.md").read_text()

    assert "**mage**: works, by the rule of" in readme
    assert "| nearest | with the word (12) | word | 204 | - | 98.5 (96.0 to 100.0) | - |" in readme
    assert "| other |" not in readme
    assert r"- works: the word \*shows\*" in readme
    assert r"- nearest, which sees \<it\>" in readme
    assert "](verify-mage.png)" in readme
    assert (tmp_path / "fox" / "verify-mage.png").exists()
    assert "Not measured" not in readme and "Nobody has measured" not in readme


@pytest.mark.parametrize("outcome", ["does not work", "cannot tell"])
def test_a_word_that_does_not_work_is_said_not_to(model, tmp_path, outcome):
    report = verify_report(tmp_path / "verify", checkpoint.load(model).digest, verdict=outcome)
    export_model(model, tmp_path / "fox", verify=[report / "verify.json"])

    assert f"**mage**: {outcome}" in (tmp_path / "fox" / "README.md").read_text()


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"after": [{"digest": "00"}]}, "verifies another model"),
        ({"after": []}, "verifies another model"),
        ({"after": "00"}, "not a report of train verify"),
        ({"figures": [{}]}, "not a report of train verify"),
        ({"figures": None}, "not a report of train verify"),
        ({"judges": [{}]}, "not a report of train verify"),
        ({"findings": [{}]}, "not a report of train verify"),
        ({"findings": None}, "not a report of train verify"),
    ],
)
def test_reports_that_do_not_fit_are_refused(model, tmp_path, changes, problem):
    digest = checkpoint.load(model).digest
    with pytest.raises(InputError, match=problem):
        export_model(
            model, tmp_path / "fox", verify=[verify_report(tmp_path / "v", digest, **changes)]
        )
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(InputError, match="is no report"):
        export_model(model, tmp_path / "fox", verify=[tmp_path / "list.json"])
    with pytest.raises(InputError, match=r"cannot be read \(No such file"):
        export_model(model, tmp_path / "fox", verify=[tmp_path / "none.json"])
    (tmp_path / "text.json").write_text("batch = 8")
    with pytest.raises(InputError, match=r"is not JSON \(Expecting value"):
        export_model(model, tmp_path / "fox", verify=[tmp_path / "text.json"])


def test_coverage_is_told_with_what_is_missing(model, tmp_path):
    report = {
        "schema": "vocab-gaps/1",
        "prompts": {"count": 24, "path": "p"},
        "data": {"images": 419},
        "summary": {"covered": 11, "missing": 2},
        "items": [
            {"unit": "sna*re", "severity": "error"},
            {"unit": "a", "severity": "info"},
        ],
    }
    (tmp_path / "gaps.json").write_text(json.dumps(report))
    export_model(model, tmp_path / "fox", gaps=tmp_path / "gaps.json")
    readme = (tmp_path / "fox" / "README.md").read_text()

    assert "24 prompts were compared with the captions of 419 training images" in readme
    assert "| covered | 11 |" in readme
    assert "Asked for and not, or hardly, taught: sna\\*re." in readme


HOSTILE = (
    "](javascript:alert(1)) <img src=x onerror=alert(1)> **b** `c` $x$ | cell\n# head\n---\n"
    "www.evil.example https://evil.example \u202egnp.exe \ud800 &lt;"
)


def test_hostile_names_are_shown_as_they_are(tmp_path, encoder):
    owed = [
        credit(
            "k|1",
            title=HOSTILE,
            creator=HOSTILE,
            creator_url="javascript:alert(1)",
            page_url="https://a/><script>|`",
            license="CC0-1.0",
        )
    ]
    sets = [SetRecord("ab", "new", 8, {"<b>": 2, "[x](y)": 1})]
    facts = {**cascades.FACTS, "sets": sets}
    folder = cascades.write(tmp_path / "model", encoder, facts=facts)
    page = card.render_credits("<fox>", owed)
    export_model(folder, tmp_path / "fox")
    readme = (tmp_path / "fox" / "README.md").read_text()

    assert page.splitlines()[0] == r"# Credits of \<fox\>"
    assert len(page.splitlines()) == 7  # one line an image
    assert "(<javascript" not in page
    assert "(<https://a/%3E%3Cscript%3E%7C%60>)" in page
    row = page.splitlines()[-1]
    assert len(re.findall(r"(?<!\\)\|", row)) == 5
    assert not re.findall(r"(?<!\\)[*`$&]", row)
    assert "\u202e" not in page
    assert r"\<b\> (2), \[x\](y) (1)" in readme


@given(st.text(max_size=400))
def test_escaped_text_is_one_line_without_mark_up(text):
    shown = card.escape(text)

    assert len(shown.splitlines()) <= 1
    bare = re.sub(r"\\.", "", shown)
    assert not set(bare) & set("\\`*_[]<>#|&~$!:@{}^=")
    assert shown.encode().decode() == shown


@pytest.mark.parametrize(
    ("licences", "claimed"),
    [
        ({"CC0-1.0": 3, "CC-PDM-1.0": 1}, ("cc0-1.0", None)),
        ({"MIT": 4, "CC0-1.0": 1}, ("mit", None)),
        ({"MIT": 1, "Apache-2.0": 1}, ("other", "not-stated")),
        ({"CC-BY-2.0": 1, "CC-BY-4.0": 2, "MIT": 1}, ("cc-by-4.0", None)),
        ({"CC-BY-SA-4.0": 1, "CC-BY-4.0": 9}, ("cc-by-sa-4.0", None)),
        ({"CC-BY-SA-2.0": 1}, ("other", "cc-by-sa-2.0")),
        ({"CC-BY-SA-4.0": 1, "CC-BY-SA-3.0": 1}, ("other", "not-stated")),
        ({"CC-BY-NC-4.0": 1, "CC-BY-SA-4.0": 1}, ("other", "not-stated")),
        ({"CC-BY-NC-4.0": 1, "CC0-1.0": 1}, ("cc-by-nc-4.0", None)),
        ({"CC-BY-ND-4.0": 1}, ("other", "not-stated")),
        ({"GPL-3.0-or-later": 2}, ("other", "gpl-3.0-or-later")),
        ({"GPL-3.0-or-later": 2, "CC-BY-4.0": 1}, ("other", "not-stated")),
        ({"LicenseRef-CC-BY-family": 1}, ("other", "not-stated")),
        ({"LicenseRef-Own": 2, "CC0-1.0": 1}, ("other", "not-stated")),
        ({"LicenseRef-scancode-pixabay-content": 1}, ("other", "not-stated")),
        ({"none": 1, "CC0-1.0": 99}, ("other", "not-stated")),
        ({"LicenseRef-\n<b>": 1}, ("other", "not-stated")),
        ({}, ("other", "not-stated")),
    ],
)
def test_the_licence_claimed_is_one_the_pictures_allow(licences, claimed):
    found = card.claim_licence(licences)

    assert (found.license, found.name) == claimed
    assert found.because.endswith(".")


def test_a_licence_that_hubs_do_not_know_is_named_in_the_front_matter(tmp_path, encoder):
    facts = {**cascades.FACTS, "licences": {"CC-BY-SA-2.0": 1}}
    owed = [credit("k", license="CC-BY-SA-2.0")]
    folder = cascades.write(tmp_path / "model", encoder, facts=facts, credits=owed)
    progress = RecordedProgress()
    export_model(folder, tmp_path / "fox", progress=progress)
    matter = front_matter(tmp_path / "fox")

    assert matter["license"] == "other"
    assert matter["license_name"] == "cc-by-sa-2.0"
    assert matter["license_link"] == "https://creativecommons.org/licenses/by-sa/2.0/"


def test_a_claim_that_cannot_be_made_is_said(tmp_path, encoder):
    facts = {**cascades.FACTS, "licences": {"none": 2}}
    folder = cascades.write(tmp_path / "model", encoder, facts=facts, credits=[credit("k")])
    progress = RecordedProgress()
    export_model(folder, tmp_path / "fox", progress=progress)

    assert "no licence is claimed for the weights" in " ".join(progress.said)
    assert front_matter(tmp_path / "fox")["license_name"] == "not-stated"
    assert "| not stated | 2 |" in (tmp_path / "fox" / "README.md").read_text()


def test_a_basis_is_typed_and_told_and_of_judged_images_needs_none(
    model, tmp_path, encoder, capsys
):
    from train.cli import main

    owed = [credit("k", unjudged="yes"), credit("l", license="CC0-1.0", share_model="allow")]
    facts = {**cascades.FACTS, "licences": {"unknown": 1, "CC0-1.0": 1}, "unjudged": 1}
    of_others = cascades.write(tmp_path / "of others", encoder, facts=facts, credits=owed)
    out = tmp_path / "out"
    with pytest.raises(SystemExit) as stop:
        main(["export", str(of_others), "--out", str(out)])
    assert stop.value.code == 5
    problem, fix = capsys.readouterr().err.splitlines()
    assert "rights of 1 of its images (the licence of 1 is unknown), such as k" in problem
    words = shlex.split(fix.partition("fix: ")[2].partition(";")[0])
    with pytest.raises(SystemExit) as stop:
        main([*words[1:-1], "drawn by me"])
    assert stop.value.code == 0
    assert "as the basis for it: drawn by me" in (out / "README.md").read_text()
    assert json.loads((out / "config.json").read_bytes())["rights_basis"] == "drawn by me"

    progress = RecordedProgress()
    export_model(model, tmp_path / "judged", rights_basis="drawn by me", progress=progress)
    assert "drawn by me" not in (tmp_path / "judged" / "README.md").read_text()
    assert any("--rights-basis: not told" in said for said in progress.said)
