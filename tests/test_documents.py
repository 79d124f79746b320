"""Every command that README and the documents show, typed in order, from an empty folder.

README's path comes first, the documents go on in the folder that it leaves. What needs the network
is answered here: the images of the npm packages by drawings with the same captions, the catalogues
by a local server. Training is cut to few images, and verifying to few samples, few prompts and the
quicker scorer; of `train plan`, which times real steps, the large sizes are parsed only.
"""

import importlib
import json
import re
import shlex
import subprocess
import sys
import tomllib
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path

import pytest
import typer
from drawings import drawing
from servers import (
    KEY,
    Answer,
    Pixabay,
    image_bytes,
    openverse_page,
    openverse_result,
    run_server,
)

import curate.cli
import train.cli
from pipelines import pictures_and_labels
from train import config

ROOT = Path(__file__).parent.parent
APPS = {"curate": curate.cli.app, "train": train.cli.app}
MAINS = {"curate": curate.cli.main, "train": train.cli.main}
DOCUMENTS = [
    ROOT / "README.md",
    *(ROOT / "docs" / f"{name}.md" for name in ("coverage", "sources", "rights")),
    *(
        ROOT / "docs" / f"{name}.md"
        for name in ("opt-outs", "shards", "export", "publish", "formats")
    ),
    *(ROOT / "docs" / f"{name}.md" for name in ("training", "library", "architecture", "scale")),
]
LIBRARY = ROOT / "docs" / "library.md"
FINDS = {("curate", "vocab-gaps"), ("train", "verify")}  # exit with 1 or 6 where something is found
STANDARD = sys.stdlib_module_names
CUT = {"--images": "48,32"}
PROMPTS = slice(8, 14)  # of the demo: with the word and without
MORE = {("train", "verify"): ["--samples", "6", "--scorer", "nearest"]}
ONLY_PARSED = {"train plan", "train plan --model-size large --stages 64,256"}


@dataclass
class Step:
    """A command, and the lines of output that the document shows below it."""

    document: str
    line: str
    shown: list[str] = field(default_factory=list)


@dataclass
class Shown:
    """A file whose content the document shows, or, without a name, Python that is run."""

    name: str
    text: str


def read_document(path: Path) -> list[Step | Shown]:
    """What a reader types and writes, in order.

    A command stands indented behind `$ `, or begins with the name of one of ours; two blanks or
    more and what follows explain it. `$ cat FILE` shows a file; so does a fenced block of TOML
    below a line that names it. Blocks of Python are run.
    """
    found: list[Step | Shown] = []
    last: Step | Shown | None = None  # what the next lines belong to
    fenced, named = False, ""
    for line in path.read_text().splitlines():
        if line.startswith("```"):
            fenced, last = not fenced, None
            if line == "```python" or (line == "```toml" and named):
                last = Shown("" if line == "```python" else named, "")
                found.append(last)
                named = ""
        elif fenced:
            if last:
                last.text += f"{line}\n"
        elif line.startswith("    "):
            if begun := _begin(path.name, line[4:]):
                last = begun
                found.append(last)
            elif isinstance(last, Step):
                last.shown.append(line[4:])
            elif last:
                last.text += f"{line[4:]}\n"
        elif line.strip():
            last, named = None, (re.findall(r"`([\w-]+\.toml)`", line) or [named])[-1]
    return found


def _begin(document: str, line: str) -> Step | Shown | None:
    words = re.split(r"\s{2,}", line.removeprefix("$ "))[0]
    ours = words.split(" ")[0] in APPS and not re.search(r"\[|…", words)
    if line.startswith("$ cat "):
        return Shown(line.removeprefix("$ cat "), "")
    return (
        Step(document, words)
        if line.startswith("$ ") or ours or words.startswith("bash ")
        else None
    )


def commands(path: Path) -> list[Step]:
    return [
        step
        for step in read_document(path)
        if isinstance(step, Step) and step.line.split(" ")[0] in APPS
    ]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.stem)
def test_commands_parse(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for step in commands(path):
        name, *words = shlex.split(step.line)
        command = typer.main.get_command(APPS[name])
        while hasattr(command, "resolve_command"):
            context = command.make_context(name, list(words[:1]), resilient_parsing=True)
            name, command, _ = command.resolve_command(context, words)
            words = words[1:]
            assert command is not None, step
        command.make_context(name, words)  # raises on unknown options and values


def test_every_document_is_read():
    assert set(DOCUMENTS) == {ROOT / "README.md", *(ROOT / "docs").glob("*.md")}


def test_the_documents_show_every_command():
    text = " ".join(step.line for path in DOCUMENTS for step in commands(path))
    for name, app in APPS.items():
        for command in app.registered_commands:
            word = command.name or command.callback.__name__
            assert f"{name} {word}" in text, f"no document shows `{name} {word}`"


def test_the_settings_shown_are_all_of_them_with_their_defaults():
    after = (ROOT / "docs" / "training.md").read_text().partition("with their defaults:")[2]
    lines = list(takewhile(lambda line: not line or line[0] == " ", after.splitlines()))
    assert tomllib.loads("\n".join(lines)) == config.to_json(config.TrainConfig())


# typed in order


def draw_folders(into: Path) -> dict[str, int]:
    """`people`, `mages` and `truth` as the packages have them, of three roles: how many images."""
    roles, tones = ("astronaut", "artist", "mage"), pictures_and_labels.TONES[1:]
    colours = ("red", "green", "blue", "yellow", "black")
    shapes = {"astronaut": "circle", "artist": "square", "mage": "triangle"}
    for folder, wanted in {"people": roles[:2], "mages": roles[2:], "truth": roles}.items():
        (into / folder).mkdir(parents=True)
        rows = []
        for role in wanted:
            for k, gender in enumerate(pictures_and_labels.GENDERS):
                for colour, tone in zip(colours, tones, strict=True):
                    if folder == "mages" and tone not in pictures_and_labels.NEW_TONES:
                        continue
                    person = pictures_and_labels.Person(role, gender, tone, f"{gender} {role}", "")
                    picture = drawing(colour, shapes[role], side=72, shift=16 * k - 16)
                    (into / folder / person.file_name).write_bytes(picture)
                    said = {"file_name": person.file_name, "text": person.caption}
                    rows.append(said | {"title": person.label} | pictures_and_labels.RIGHTS)
        lines = "".join(f"{json.dumps(row)}\n" for row in rows)
        (into / folder / "metadata.jsonl").write_text(lines)
    return {folder.name: len(list(folder.glob("*.webp"))) for folder in sorted(into.iterdir())}


def draw_lora(into: Path) -> None:
    """`my_lora`, as people train LoRAs on: `10_mage/`, tags in a text beside each image but one."""
    folder = into / "my_lora" / "10_mage"
    folder.mkdir(parents=True)
    colours = ("red", "green", "blue", "yellow")
    for number in range(12):
        colour = colours[number % 4]
        image = drawing(colour, "triangle", side=72, shift=6 * number - 33)
        (folder / f"{number:02}.png").write_bytes(image)
        if number:
            (folder / f"{number:02}.txt").write_text(f"mage, {colour} robe, full body")
    (folder / "99.txt").write_text("mage, snow")


def begins_alike(shown: str, real: str) -> bool:
    """Whether two lines are equal up to the first number, path, tab or `…` shown."""
    return real.startswith(re.split(r"\d|…|/|\t", shown)[0])


class Reader:
    """Who types what the documents say."""

    def __init__(self, folder: Path, url: str, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.url, self.capsys = folder, url, capsys

    def type(self, step: Step) -> None:
        name, *words = shlex.split(step.line)
        if step.line in ONLY_PARSED:
            return
        output = self.run(name, words, step)
        if "captions.csv" in step.line or "--data my_lora" in step.line:
            assert output.splitlines() == step.shown
        for line in step.shown:
            assert any(begins_alike(line, real) for real in output.splitlines()), (step, output)

    def run(self, name: str, words: list[str], step: Step) -> str:
        if step.line.startswith("python -m pipelines.pictures_and_labels"):
            pictures_and_labels.main(words[2:])
            return self.capsys.readouterr().out
        if name == "cp":
            lines = (ROOT / words[0]).read_text().splitlines(keepends=True)
            (self.folder / words[1] / Path(words[0]).name).write_text("".join(lines[PROMPTS]))
        elif name == "bash":
            return self.run_bash(words)
        elif name in MAINS:
            return self.run_main(name, words, step)
        else:
            assert name in (".", "cd"), step
        return ""

    def run_main(self, name: str, words: list[str], step: Step) -> str:
        words = [CUT.get(before, word) for before, word in zip(["", *words], words, strict=False)]
        words += MORE.get((name, words[0]), [])
        asks = words[:2] in (["fetch", "openverse"], ["fetch", "pixabay"], ["check", "--refresh"])
        words += ["--endpoint", self.url] if asks else []
        if words[0] == "explain":  # the key ends in the hash of other bytes
            stem = words[1].rpartition("-")[0]
            rows = curate.dataset.folder.Dataset(Path("data")).read().samples
            words[1] = next(row.key for row in rows if row.key.startswith(stem))
        code = 0
        try:
            MAINS[name](words)
        except SystemExit as stopped:
            code = stopped.code
        output = "".join(reversed(self.capsys.readouterr()))
        assert code in ({0, 1, 6} if (name, words[0]) in FINDS else {0}), (step, code, output)
        return output

    def run_bash(self, words: list[str]) -> str:
        """With a `curate` that asks the local server."""
        program = self.folder / "bin" / "curate"
        program.parent.mkdir()
        program.write_text(
            f'#!/bin/sh\n[ "$2" = openverse ] && set -- "$@" --endpoint {self.url}\n'
            f'exec {sys.executable} -m curate.cli "$@"\n'
        )
        program.chmod(0o755)
        environment = {"PATH": f"{program.parent}:/usr/bin:/bin"}
        done = subprocess.run(["bash", *words], capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr


def serve_catalogue(server) -> None:
    """An Openverse that finds one image, whatever is asked."""
    found = openverse_page([openverse_result(server, 1)])
    server.routes["/v1/images/"] = lambda query: found
    server.routes["/pictures/1.png"] = lambda query: Answer(image_bytes(99, side=80))
    Pixabay(server, count=1)


@pytest.fixture
def empty_folder(tmp_path, monkeypatch):
    """Where a user has images, with the key that `fetch pixabay` needs, without a terminal."""
    monkeypatch.chdir(tmp_path)
    draw_lora(tmp_path)
    monkeypatch.setenv("PIXABAY_API_KEY", KEY)
    monkeypatch.setattr(pictures_and_labels, "download_packages", lambda folder: [])
    monkeypatch.setattr(pictures_and_labels, "write_folders", lambda _, into: draw_folders(into))
    return tmp_path


def test_every_command_typed_in_order(empty_folder, monkeypatch, capsys):
    typed = 0
    with run_server() as server:
        serve_catalogue(server)
        reader = Reader(empty_folder, server.url, capsys)
        for path in DOCUMENTS:
            if path == LIBRARY:
                continue  # below
            for step in read_document(path):
                if isinstance(step, Step):
                    reader.type(step)
                    typed += 1
                    if step.line == "cd try":
                        monkeypatch.chdir(empty_folder / "try")
                elif step.name:
                    Path(step.name).write_text(step.text)
                else:
                    exec(step.text, {})
    assert typed > 50


def test_the_library_in_a_notebook(empty_folder):
    """Block by block, in one namespace; of ours only declared names are imported."""
    draw_folders(empty_folder)
    namespace: dict[str, object] = {}
    for block in read_document(LIBRARY):
        for package, names in re.findall(
            r"^from ((?:curate|train)\S*) import (.*)", block.text, re.M
        ):
            assert set(names.split(", ")) <= set(importlib.import_module(package).__all__)
            assert package in APPS
        exec(block.text, namespace)


@pytest.mark.parametrize("package", APPS)
def test_the_library_offers_what_its_document_lists(package):
    module = importlib.import_module(package)
    table = LIBRARY.read_text().partition(f"`from {package} import …`")[2].partition("\n\n")[0]
    listed = re.findall(r"`(\w+)`", " ".join(re.findall(r"^\|(.*?)\|", table, re.M)))
    assert sorted(listed) == module.__all__
    assert [getattr(module, name).__name__ for name in listed] == listed


@pytest.mark.parametrize("package", APPS)
def test_the_library_is_loaded_when_it_is_used(package):
    code = f"import sys; old = set(sys.modules); import {package}; print(*set(sys.modules) - old)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {name.split(".")[0] for name in done.stdout.split()} <= {package, *STANDARD}
