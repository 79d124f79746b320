"""Every command that the documents show can be typed as it stands."""

import re
import shlex
import tomllib
from itertools import takewhile
from pathlib import Path

import pytest
import typer

import curate.cli
import train.cli
from train import config

ROOT = Path(__file__).parent.parent
APPS = {"curate": curate.cli.app, "train": train.cli.app}


def shown() -> list[tuple[str, str]]:
    """(file, command line) of every indented `curate …` or `train …`, with or without a prompt."""
    found = []
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        for line in path.read_text().splitlines():
            words = re.split(r"\s{2,}", line.strip().removeprefix("$ "))[0]  # the rest explains
            synopsis = "[" in words or "…" in words
            if line.startswith("    ") and words.split(" ")[0] in APPS and not synopsis:
                found.append((path.name, words))
    return found


@pytest.mark.parametrize("file, line", shown())
def test_a_command_in_the_documents_parses(file, line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name, *words = shlex.split(line.split(" > ")[0])
    command = typer.main.get_command(APPS[name])
    while hasattr(command, "resolve_command"):
        context = command.make_context(name, list(words[:1]), resilient_parsing=True)
        name, command, _ = command.resolve_command(context, words)
        words = words[1:]
        assert command is not None, line
    command.make_context(name, words)  # raises on unknown options and values


def test_the_documents_show_every_command():
    text = " ".join(line for _, line in shown())
    for name, app in APPS.items():
        commands = [c.name or c.callback.__name__ for c in app.registered_commands]
        for word in commands:
            assert f"{name} {word}" in text, f"no document shows `{name} {word}`"


def test_the_settings_shown_are_all_of_them_with_their_defaults():
    after = (ROOT / "docs" / "training.md").read_text().partition("with their defaults:")[2]
    lines = list(takewhile(lambda line: not line or line[0] == " ", after.splitlines()))
    assert tomllib.loads("\n".join(lines)) == config.to_json(config.TrainConfig())
