"""The recipe's own parts: images and captions, stages that are done once, the page's tables."""

import io
import json
import sys
import tarfile
from collections import Counter
from pathlib import Path

import pytest
from recorded_progress import RecordedProgress

from curate.errors import InputError, SourceError, UsageError
from pipelines import page, pictures_and_labels
from pipelines.emoji_people import HERE, Plan, nothing_lost, recipe_stages, word_is_missing
from pipelines.pictures_and_labels import GENDERS, ROLES, TONES, Package, Person
from pipelines.stages import Command, Stage, StageError, run

EVERYONE = [Person(r, g, t, "", "") for r in ROLES.split(", ") for g in GENDERS for t in TONES]


# images and captions


def test_captions_read_as_people_write_prompts() -> None:
    captions = [Person(r, "woman", "dark", "", "").caption for r in ("mage", "in tuxedo")]
    assert captions == ["a woman mage with dark skin tone", "a woman in tuxedo, dark skin tone"]


def test_what_is_never_shown_leaves_every_word_and_most_pairs() -> None:
    hidden = pictures_and_labels.hidden_combinations(EVERYONE)
    shown = [p for p in EVERYONE if p not in hidden]
    assert len(hidden) == 60
    assert not any(p.role == "mage" for p in hidden)
    assert max(Counter(p.role for p in hidden).values()) <= 3
    pairs = [(p.role, p.gender) for p in EVERYONE], [(p.role, p.tone) for p in EVERYONE]
    seen = {(p.role, p.gender) for p in shown}, {(p.role, p.tone) for p in shown}
    assert (set(pairs[0]), set(pairs[1])) == seen


def test_the_prompts_ask_for_new_and_never_shown_and_old() -> None:
    captions = {p.caption for p in EVERYONE}
    hidden = {p.caption for p in pictures_and_labels.hidden_combinations(EVERYONE)}
    prompts = (HERE / "prompts.txt").read_text().splitlines()
    assert set(prompts) <= captions
    assert len(set(prompts)) == len(prompts) == 24
    mages = [p for p in prompts if "mage" in p.split()]
    assert len(mages) == 10
    assert sum("medium-" in p for p in mages) == 6, "tones no mage is fetched in"
    assert len(set(prompts) & hidden) == 10


def emoji(label: str, code: str) -> dict[str, object]:
    skins = [{"label": f"{label}: {n}", "hexcode": f"{code}-{n}", "tone": n} for n in range(1, 6)]
    return {"label": label, "hexcode": code, "skins": skins}


def packed(path: Path, files: dict[str, bytes]) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def test_folders_hold_pictures_with_their_words_and_rights(tmp_path: Path) -> None:
    labels = [
        emoji(f"{g}: {r}" if r == "cook" else f"{g} {r}", f"1F{n:02}{k}-FE0F")
        for n, r in enumerate(ROLES.split(", "))
        for k, g in enumerate(GENDERS)
    ]
    pictures = {
        f"assets/{variant['hexcode'].lower().replace('-fe0f', '')}.webp": b"picture"  # type: ignore[index]
        for e in labels
        for variant in [e, *e["skins"]]  # type: ignore[misc]
    }
    data = json.dumps([{"label": "a star", "hexcode": "2B50"}, *labels]).encode()
    packed(tmp_path / pictures_and_labels.LABELS_PACKAGE.file_name, {"en/data.json": data})
    packed(tmp_path / pictures_and_labels.IMAGES_PACKAGE.file_name, pictures)

    counts = pictures_and_labels.write_folders(tmp_path, tmp_path / "out")

    assert counts == {"people": 408, "mages": 12, "truth": 486}
    lines = (tmp_path / "out/mages/metadata.jsonl").read_text().splitlines()
    row = next(json.loads(s) for s in lines if "woman mage with dark" in s)
    assert row == {
        "file_name": "mage-woman-dark.webp",
        "text": "a woman mage with dark skin tone",
        "title": "woman mage: 5",
        "license": "MIT",
        "author": "Microsoft",
        "page_url": "https://github.com/microsoft/fluentui-emoji",
    }
    assert (tmp_path / "out/mages/mage-woman-dark.webp").read_bytes() == b"picture"
    assert "Copyright (c) Microsoft" in (tmp_path / "out/people/CREDITS.txt").read_text()


def test_other_bytes_than_the_pinned_ones_are_refused(tmp_path: Path) -> None:
    package = Package("some-thing", "1.0.0", "AAAA")
    (tmp_path / package.file_name).write_bytes(b"changed")
    with pytest.raises(
        SourceError, match="some-thing-1.0.0.tgz: is not some-thing".replace(".", "[.]")
    ):
        pictures_and_labels.download_packages(tmp_path, [package])


def test_without_npm_the_user_is_told_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SourceError, match="npm: is not installed") as refused:
        pictures_and_labels.download_packages(tmp_path, [Package("some-thing", "1.0.0", "AAAA")])
    assert "put the .tgz files into" in refused.value.fix


# stages


def writes(name: str, path: Path, text: str, **more: object) -> Stage:
    """A stage that appends `text` to a file, and so tells how often it ran."""
    program = f"open({str(path)!r}, 'a').write({text!r})"
    command = Command((sys.executable, "-c", program))
    return Stage(name, name, (command,), (path,), **more)  # type: ignore[arg-type]


def test_a_stage_runs_once(tmp_path: Path) -> None:
    progress = RecordedProgress()
    chain = [writes("a", tmp_path / "a", "x"), writes("b", tmp_path / "b", "y", needs=("a",))]
    for ran in (True, False):
        outcomes = run(chain, state=tmp_path / "state", progress=progress)
        assert [o.ran for o in outcomes] == [ran, ran]
    assert (tmp_path / "a").read_text() + (tmp_path / "b").read_text() == "xy"
    assert progress.said[-1].startswith("[2/2] b: done before (")


def test_a_changed_command_starts_it_and_what_needs_it_from_nothing(tmp_path: Path) -> None:
    def chain(text: str) -> list[Stage]:
        first = writes("a", tmp_path / "a", text)
        return [
            first,
            writes("b", tmp_path / "b", "y", needs=("a",)),
            writes("c", tmp_path / "c", "z"),
        ]

    run(chain("x"), state=tmp_path / "state")
    outcomes = run(chain("w"), state=tmp_path / "state")
    assert [o.ran for o in outcomes] == [True, True, False]
    assert [(tmp_path / n).read_text() for n in "abc"] == ["w", "y", "z"]


def test_a_changed_input_or_a_lost_output_runs_it_again(tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.write_text("1")
    stage = [writes("a", tmp_path / "a", "x", inputs=(source,))]
    run(stage, state=tmp_path / "state")
    source.write_text("2")
    assert run(stage, state=tmp_path / "state")[0].ran
    (tmp_path / "a").unlink()
    assert run(stage, state=tmp_path / "state")[0].ran
    assert not run(stage, state=tmp_path / "state")[0].ran


def test_a_failed_stage_goes_on_where_it_stopped(tmp_path: Path) -> None:
    path, gate = tmp_path / "a", tmp_path / "gate"
    program = f"open({str(path)!r}, 'a').write('x'); open({str(gate)!r})"
    stage = [Stage("a", "A", (Command((sys.executable, "-c", program)),), (path,))]
    with pytest.raises(StageError, match="ended with exit code 1"):
        run(stage, state=tmp_path / "state")
    gate.write_text("")
    (outcome,) = run(stage, state=tmp_path / "state")
    assert (outcome.attempts, path.read_text()) == (2, "xx")


def test_expected_exit_codes_go_on_and_stdout_can_go_to_a_file(tmp_path: Path) -> None:
    words = (sys.executable, "-c", "print('found'); raise SystemExit(1)")
    command = Command(words, exits=(1,), into=tmp_path / "out")
    (outcome,) = run([Stage("a", "A", (command,), (tmp_path / "out",))], state=tmp_path / "state")
    assert (tmp_path / "out").read_text() == "found\n"
    assert (outcome.costs[0].exit, command.line.endswith(f"> {tmp_path}/out")) == (1, True)


def test_a_command_that_is_not_there_is_named(tmp_path: Path) -> None:
    stage = Stage("a", "A", (Command(("no-such-command",)),), ())
    with pytest.raises(UsageError, match="no-such-command: no such command"):
        run([stage], state=tmp_path / "state")


# the recipe


def test_the_recipe_trains_on_no_true_picture_that_was_not_fetched(tmp_path: Path) -> None:
    plan = Plan(tmp_path, tmp_path, tmp_path, tmp_path, "mage", HERE / "prompts.txt", None, 1.0)
    recipe = {s.name: s for s in recipe_stages(plan, own_pictures=False)}
    for name in ("base", "taught"):
        assert not any("truth" in c.line for c in recipe[name].commands)
    assert "--replay" in recipe["taught"].commands[0].words
    known = [n for s in recipe.values() for n in s.needs]
    assert set(known) <= recipe.keys()


def test_a_lost_picture_stops_the_recipe(tmp_path: Path) -> None:
    status = tmp_path / "status.json"
    status.write_text('{"rows": 3, "dropped": {}}')
    nothing_lost(status, tmp_path)
    status.write_text('{"rows": 3, "dropped": {"duplicate": 2}}')
    with pytest.raises(InputError, match=r"2 of 3 images were dropped \(2 as duplicate\)"):
        nothing_lost(status, tmp_path)


def test_a_word_that_is_no_gap_stops_the_recipe(tmp_path: Path) -> None:
    report = tmp_path / "gaps.json"
    items = [{"kind": "word", "unit": "mage", "verdict": "missing"}]
    report.write_text(json.dumps({"items": items}))
    word_is_missing(report, "mage")
    with pytest.raises(InputError, match="'snow' is asked for by no prompt, not missing"):
        word_is_missing(report, "snow")


def test_the_page_lists_gaps_first_with_both_counts() -> None:
    def item(word: str, verdict: str, severity: str, n: int) -> dict[str, object]:
        facts = {"kind": "word", "verdict": verdict, "severity": severity, "n_images": n}
        return {"unit": word, **facts}

    before = [item("a", "function-word", "info", 9), item("man", "covered", "info", 5)]
    before += [item("mage", "missing", "error", 0)]
    after = [*before[:2], item("mage", "low", "warning", 12)]
    rows = page.word_coverage({"items": before}, {"items": after})
    assert [(r["word"], r["before"]["n_images"], r["after"]["n_images"]) for r in rows] == [
        ("mage", 0, 12),
        ("man", 5, 5),
    ]


@pytest.mark.parametrize(
    ("prompt", "kind"),
    [
        ("a dark mage", "new word, combination never shown"),
        ("a light mage", "new word"),
        ("a dark cook", "combination never shown"),
        ("a magenta sky", ""),
    ],
)
def test_the_page_tells_new_words_and_new_combinations_apart(prompt: str, kind: str) -> None:
    true = {"a dark mage": b"", "a light mage": b"", "a dark cook": b""}
    assert page.kind_of(prompt, "mage", {"a light mage"}, true) == kind
