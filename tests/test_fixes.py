"""Every command that is printed as a fix or advice is found in the code, parsed, and typed.

`COMMANDS` names, for each printed command, the scenario that provokes and types it, or why it is
only parsed. A new one that is not named here fails `test_every_printed_command_is_known`.
"""

import ast
import re
import shlex
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib import import_module
from inspect import signature
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
import typer
from webdataset.writer import TarWriter

from curate.captions.clean import caption
from curate.commands.build import build_dataset
from curate.dataset.folder import USUAL_SETTINGS
from curate.images.dedup import find_duplicates
from curate.shards.pack import pack
from tests.drawings import drawing, write_shards
from tests.pictures import photograph

ROOT = Path(__file__).parent.parent
NAMES = (
    "fetch|build|pack|check|dedup|caption|status|explain|remove|credits|license|sources|"
    "vocab-gaps|export|finetune|plan|sample|verify"
)
# a command in a sentence, up to what no command holds
COMMAND = re.compile(
    rf"(?<![\w-])(?:curate|train) (?:{NAMES}|\u2026)(?![\w.])(?:'[^']*'|[^,;()\n'])*?"
    r"(?=[,;()\n]|: |$| then | withdraws| takes| decides| gives| reads| will | or | admits)"
)


def printed_commands(path: Path) -> Iterator[str]:
    """The commands in the strings of a module, docstrings apart, `…` for what is filled in."""
    tree = ast.parse(path.read_text("utf-8"))
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    skipped = {id(n.body[0].value) for n in ast.walk(tree) if isinstance(n, documented)
               and n.body and isinstance(n.body[0], ast.Expr)}  # fmt: skip
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            skipped |= {id(part) for part in node.values if isinstance(part, ast.Constant)}
        if id(node) in skipped:
            continue
        said = ""
        if isinstance(node, ast.Constant | ast.JoinedStr):
            said = _text(node)
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "command_line":
            said = f"curate {_words(node.args[1:]) or '…'}"
        elif isinstance(node, ast.List) and node.elts and _text(node.elts[0]) in PROGRAMS:
            said = _words(node.elts)
        yield from (found[0].strip() for found in COMMAND.finditer(said))


def _text(node: ast.AST) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) for part in node.values)
    return "\u2026"


def _words(nodes: list[ast.expr]) -> str:
    """Words of a command line; options that are named elsewhere are left out."""
    said = [_text(node) for node in nodes if not isinstance(node, ast.Starred)]
    return shlex.join(said).replace("'…'", "…")


PROGRAMS = ("curate", "train")


def all_printed_commands() -> set[str]:
    modules = [path for name in PROGRAMS for path in (ROOT / name).rglob("*.py")]
    return {
        f"{path.relative_to(ROOT)}: {command}"
        for path in modules
        for command in printed_commands(path)
    }


# scenarios: a folder, what is typed there, and what is put for the words in capitals


@dataclass(frozen=True)
class Scenario:
    """What is typed fails or advises; what it prints is typed, then it once more."""

    typed: str
    before: tuple[str | Callable[[], object], ...] = ()  # typed, or done by hand, first
    fill: dict[str, str] = field(default_factory=dict)
    # what comes of it in the end: exit code 0 (well), another error (further), or the same one, as
    # what is printed only informs, or does what was meant in other words (informs)
    ends: str = "well"
    skip: tuple[str, ...] = ()  # beginnings of printed commands that need a network
    # what is printed that is done by hand, by how it begins
    by_hand: dict[str, Callable[[], object]] = field(default_factory=dict)


FETCH = "fetch folder pictures --license CC0-1.0 --data d"
POLICY = '[train]\nallow = ["CC0-1.0", "share-alike"]\n'
BUILD = "build --data d --size 16 --format png"


def _write(name: str, text: str) -> Callable[[], object]:
    return lambda: (Path(name).parent.mkdir(exist_ok=True), Path(name).write_text(text))


def _caption_image() -> None:
    Path("pictures/1.txt").write_text("a stone bridge")


def _keep_nameless() -> None:
    """Leave one image, in whose name there is no word."""
    for path in Path("pictures").iterdir():
        path.rename("pictures/1.png") if path.name == "fox.png" else path.unlink()


def _add_twin() -> None:
    Path("pictures/twin.png").write_bytes(Path("pictures/fox.png").read_bytes())


def _damage_shard() -> None:
    Path("d/shards/train-000000.tar").write_bytes(b"x")


def _make_tars() -> None:
    """A folder with a tar of images, as webdataset's writer lays it out."""
    Path("tars").mkdir()
    image = Path("pictures/fox.png").read_bytes()
    with TarWriter("tars/000.tar") as tar:
        tar.write({"__key__": "fox", "png": image, "txt": b"a red fox"})


def _make_parquet() -> None:
    """A Hugging Face folder with one image."""
    Path("hf").mkdir()
    image = {"bytes": Path("pictures/fox.png").read_bytes(), "path": "fox.png"}
    parquet.write_table(pa.table({"image": [image], "text": ["a red fox"]}), "hf/train.parquet")


SCENARIOS = {
    "shards without captions": Scenario(
        "vocab-gaps prompts.txt --data s",
        (
            FETCH,
            "check --data d",
            lambda: write_shards(Path("s"), [("a", drawing("red", "circle"), [])]),
        ),
        fill={"DIR": "d"},
        ends="informs",
    ),
    "folder without captions": Scenario(
        "vocab-gaps prompts.txt --data pictures",
        (_keep_nameless,),
        fill={"ID": "CC0-1.0"},
        ends="informs",
        skip=("curate fetch openverse",),
    ),
    "no such folder": Scenario(
        "fetch folder gone --data d", fill={"DIR": "pictures"}, ends="informs"
    ),
    "no such tars": Scenario(
        "fetch shards gone --data d", (_make_tars,), fill={"DIR": "tars"}, ends="informs"
    ),
    "tars named as a folder": Scenario("fetch folder tars --data d", (_make_tars,), ends="informs"),
    "no tars": Scenario(
        "fetch shards empty --data d",
        (_make_tars, lambda: Path("empty").mkdir()),
        fill={"DIR": "tars"},
        ends="informs",
        skip=("curate fetch folder",),  # or that, as in "no such folder"
    ),
    "no such table": Scenario(
        "fetch hf gone --data d", (_make_parquet,), fill={"PATH": "hf"}, ends="informs"
    ),
    "no table": Scenario("fetch hf pictures --data d", ends="informs"),
    "no dataset": Scenario("status --data d", fill={"DIR": "pictures"}),
    "not checked": Scenario("explain fox --data d", (FETCH,)),
    "not captioned": Scenario("explain fox --data d", (FETCH, "check --data d")),
    "not packed": Scenario(
        "explain fox --data d", (FETCH, "check --data d", "dedup --data d", "caption --data d")
    ),
    "still packed": Scenario(
        "explain fox --data d", (FETCH, BUILD, "remove fox --reason x --data d")
    ),
    "pack unchecked": Scenario("pack --data d", (FETCH,), ends="further"),
    "pack uncaptioned": Scenario("pack --data d", (FETCH, "check --data d")),
    "pack held": Scenario(
        "pack --data d",
        ("fetch folder pictures --data d", "check --data d"),
        fill={"KEY": "fox"},
        ends="informs",
    ),
    "no licence": Scenario(
        "build --data d", ("fetch folder pictures --data d",), fill={"DIR": "pictures"}
    ),
    "no licence of tars": Scenario(
        "build --data d", (_make_tars, "fetch shards tars --data d"), fill={"TARS": "tars"}
    ),
    "no licence of rows": Scenario(
        "build --data d", (_make_parquet, "fetch hf hf --data d"), fill={"PATH": "hf"}
    ),
    "forbidden": Scenario(
        "build --policy commercial --data d",
        ("fetch folder pictures --license CC-BY-NC-4.0 --data d",),
        ends="informs",
    ),
    "not to be shared": Scenario(
        "publish out --data d",
        (
            _write("own.toml", POLICY),
            "fetch folder pictures --license CC-BY-SA-4.0 --data d",
            f"{BUILD} --policy own.toml",
        ),
        ends="informs",
    ),
    "nothing in use": Scenario(
        "build --data d", (FETCH, "remove fox dog --reason x --data d"), ends="informs"
    ),
    "a copy": Scenario("explain twin --data d", (_add_twin, FETCH, BUILD)),
    "removed": Scenario("explain fox --data d", (FETCH, "remove fox --reason x --data d")),
    "restored": Scenario(
        "remove --undo fox --data d",
        (FETCH, BUILD, "remove fox --reason x --data d"),
        ends="informs",
    ),
    "remove nothing": Scenario("remove --data d", (FETCH,), fill={"KEY": "fox"}, ends="informs"),
    "restore nothing": Scenario(
        "remove --undo --data d",
        (FETCH, "remove fox --reason x --data d"),
        fill={"KEY": "fox"},
        ends="informs",
    ),
    "no reason": Scenario("remove fox --data d", (FETCH,), ends="informs"),
    "not removed": Scenario("remove --undo fox --data d", (FETCH,), ends="informs"),
    "policy changed": Scenario(
        "status --data d",
        (
            FETCH,
            _write("p.toml", POLICY),
            "check --policy p.toml --data d",
            _write("p.toml", f"{POLICY}# another word\n"),
        ),
    ),
    "damaged shard": Scenario("status --data d", (FETCH, BUILD, _damage_shard)),
    "damaged shard, credits": Scenario("credits --data d", (FETCH, BUILD, _damage_shard)),
    "nothing packed": Scenario("credits --data d", (FETCH, "check --data d", "caption --data d")),
    "nobody to credit": Scenario("credits --all --data d", (FETCH,)),
    "left a folder": Scenario(FETCH, (FETCH, lambda: Path("pictures/fox.png").unlink())),
    "no such source": Scenario("sources accept nope --basis x --data d", ends="informs"),
    "nothing to accept": Scenario("sources accept folder --basis x --data d", ends="informs"),
    "terms": Scenario(
        "fetch pixabay --query fox --data d",
        fill={"TEXT": "mine"},
        ends="further",
        skip=("curate fetch openverse",),
    ),
    "broken contact": Scenario("sources list --data d", (_write("d/contact.json", "{"),)),
    "broken baseline": Scenario(
        "vocab-gaps prompts.txt --data pictures --fail-on never --baseline b.json",
        (_write("b.json", "{"),),
        fill={"PROMPTS": "prompts.txt", "FILE.json": "b.json"},
    ),
    "silent LoRA": Scenario(
        "vocab-gaps prompts.txt --checkpoint l.safetensors",
        (lambda: Path("l.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}"),),
        fill={"PROMPTS": "prompts.txt", "DIR": "pictures"},
        ends="informs",
    ),
    "all held": Scenario(
        "vocab-gaps prompts.txt --data d",
        ("fetch folder pictures --data d", "check --data d"),
        ends="informs",
    ),
    "nothing to train on": Scenario(
        "train finetune --shards empty --out run --stages 4096 --images 32 --model-size tiny",
        (lambda: Path("empty").mkdir(),),
        fill={"DIR": "pictures", "LICENCE": "CC0-1.0"},
        ends="further",
    ),
    "a damaged shard to train on": Scenario(
        "train finetune --shards d --out run --stages 4096 --images 32 --model-size tiny",
        (FETCH, BUILD, _damage_shard),
        ends="further",
    ),
    "own words": Scenario(
        "build --data d",
        (_keep_nameless, FETCH, "check --data d", "dedup --data d", "caption --data d"),
        fill={"DIR": "pictures"},
        by_hand={"write what each image shows": _caption_image},
    ),
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two captioned images and prompts."""
    (tmp_path / "pictures").mkdir()
    for seed, name in enumerate(("fox", "dog")):
        photograph(seed, (64, 48)).save(tmp_path / "pictures" / f"{name}.png")
        (tmp_path / "pictures" / f"{name}.txt").write_text(f"a red {name} in the snow")
    (tmp_path / "prompts.txt").write_text("a red fox\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("PIXABAY_API_KEY", raising=False)
    monkeypatch.delenv("CURATE_CONTACT", raising=False)
    return tmp_path


def type_command(words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Type a command of ours; its exit code, and all that it said."""
    capsys.readouterr()
    code = 0
    try:
        import_module(f"{words[0]}.cli").main(words[1:])
    except SystemExit as ended:
        code = int(ended.code or 0)
    out, err = capsys.readouterr()
    return code, out + err


def printed(said: str) -> list[str]:
    said = re.sub(r"(?m)^error: [^:\n]*:", "", said)
    found = [match[0].strip() for match in COMMAND.finditer(said)]
    return list(dict.fromkeys(found))


@pytest.mark.parametrize("name", SCENARIOS)
def test_what_is_printed_works_when_typed(
    place: Path, capsys: pytest.CaptureFixture[str], name: str
):
    scene = SCENARIOS[name]
    for step in scene.before:
        if isinstance(step, str):
            assert type_command(["curate", *shlex.split(step)], capsys)[0] == 0, step
        else:
            step()
    typed = shlex.split(scene.typed)
    typed = typed if typed[0] == "train" else ["curate", *typed]
    code, said = type_command(typed, capsys)
    commands = [command for command in printed(said) if not command.startswith(scene.skip or "-")]
    assert commands, said
    for begins, act in scene.by_hand.items():
        assert begins in said
        act()
    for command in commands:
        words = [scene.fill.get(word, word) for word in shlex.split(command)]
        ended, told = type_command(words, capsys)
        assert ended == 0 or (ended == 1 and words[1] == "vocab-gaps"), f"{command}: {told}"
    again, now = type_command(typed, capsys)
    if scene.ends == "well":
        assert again == 0, now
    elif scene.ends == "further":
        assert (again, now) != (code, said), "a circle"


PARSED = "only parsed: "  # and why
NETWORK = f"{PARSED}it asks a server"
TRAINS = f"{PARSED}it trains for long; tests of the trainer type it with small settings"
EXPORT = f"{PARSED}it is about a trained model; tests of exporting provoke it"
COMMANDS = {
    "commands/advice.py: curate check": f"{PARSED}only rows of online sources have evidence",
    "commands/advice.py: curate explain …": "a copy",
    "commands/advice.py: curate remove --undo …": "removed",
    "commands/advice.py: curate sources accept … --basis TEXT": NETWORK,
    "commands/build.py: curate explain …": "forbidden",
    "commands/build.py: curate fetch … … --license own": (
        "no licence, no licence of tars, no licence of rows"
    ),
    "commands/build.py: curate status": "nothing in use",
    "commands/explain.py: curate caption": "not captioned",
    "commands/explain.py: curate check": "not checked",
    "commands/explain.py: curate pack": "not packed, still packed",
    "commands/remove.py: curate check": "restored",
    "commands/remove.py: curate remove --list": "not removed",
    "commands/remove.py: curate remove KEY": "remove nothing, restore nothing",
    "commands/remove.py: curate remove --undo": f"{PARSED}of images that only look alike",
    "commands/remove.py: curate remove": "no reason",
    "commands/status.py: curate check --policy …": "policy changed",
    "corpora/corpus.py: curate caption --data DIR": "shards without captions",
    "corpora/corpus.py: curate … --data …": "all held",
    "corpora/corpus.py: curate pack --data DIR": "shards without captions",
    "corpora/corpus.py: curate fetch … …": "folder without captions",
    "corpora/folder.py: curate fetch folder DIR": "no such folder",
    "corpora/tars.py: curate fetch folder DIR": "no tars",
    "corpora/tars.py: curate fetch shards DIR": "no such tars, no tars",
    "coverage/judge.py: curate fetch openverse --query …": NETWORK,
    "dataset/folder.py: curate fetch folder DIR": "no dataset",
    "dataset/manifest.py: curate fetch folder DIR": f"{PARSED}it must vanish while it is read",
    "fetch/account.py: curate build": NETWORK,
    "fetch/gone.py: curate remove --reason …": "left a folder",
    "formats/lora.py: curate vocab-gaps PROMPTS --data DIR": "silent LoRA",
    "formats/model.py: train finetune --shards DIR --out NEW": TRAINS,
    "formats/shards.py: curate pack --data …": (
        "damaged shard, still packed, a damaged shard to train on"
    ),
    "report/baseline.py: curate vocab-gaps PROMPTS --json FILE.json": "broken baseline",
    "report/text.py: curate fetch folder DIR": "no dataset",
    "rights/credits.py: curate check": "nobody to credit",
    "publish/publish.py: curate explain …": "not to be shared",
    "rights/credits.py: curate …": "nothing packed",
    "shards/pack.py: curate status": f"{PARSED}where a row is left out for a reason of no fix",
    "shards/pack.py: curate …": "pack unchecked, pack uncaptioned, pack held, own words",
    "sources/__init__.py: curate sources list": "no such source",
    "sources/contact.py: curate sources contact you@example.org": "broken contact",
    "sources/huggingface.py: curate fetch hf PATH": "no such table",
    "sources/huggingface.py: curate fetch shards images": f"{PARSED}img2dataset has to fetch first",
    "sources/folder.py: curate fetch … …": "tars named as a folder",
    "sources/huggingface.py: curate fetch … …": "no table",
    "sources/terms.py: curate fetch openverse --query …": NETWORK,
    "sources/terms.py: curate fetch … --help": "nothing to accept",
    "sources/terms.py: curate sources accept … --basis TEXT": "terms",
    "sources/terms.py: curate sources contact ADDRESS": NETWORK,
    "train/data/dataset.py: curate caption --data …": f"{PARSED}of shards changed by hand",
    "train/data/ownership.py: curate build --data …": "nothing to train on",
    "train/data/ownership.py: curate fetch folder DIR --license LICENCE --data …": (
        "nothing to train on"
    ),
    "train/publish/export.py: curate check --policy POLICY": EXPORT,
    "train/publish/export.py: curate pack": EXPORT,
    "train/publish/export.py: curate vocab-gaps PROMPTS --json FILE.json": EXPORT,
    "train/publish/export.py: train export … --out … --rights-basis 'WHY YOU MAY'": EXPORT,
    "train/publish/export.py: train verify CHECKPOINT --word WORD --shards DIR": EXPORT,
    "train/sampling/sampler.py: train finetune --init … --shards DIR --out NEW": TRAINS,
}
MENTIONS = {  # a command is spoken of, and not to be typed as it stands
    "commands/license.py: curate license",
    'commands/license.py: curate license "CC BY-SA 4.0"',
    "corpora/layout.py: curate fetch hf",
    "corpora/layout.py: curate fetch shards",
    "export/export.py: curate …",
    "fetch/listing.py: curate check",
    "formats/model.py: train finetune",
    "formats/model.py: train finetune command again",
    "rights/signals/embedded.py: curate check",
    "train/checkpoints/checkpoint.py: train finetune",
    "train/cli.py: train verify",
    "train/publish/export.py: curate build has judged",
    "train/publish/export.py: curate vocab-gaps",
    "train/publish/export.py: train verify",
    "train/publish/export.py: train verify for this model again",
    "train/training/run.py: train finetune",
    "train/verification/generate.py: train verify --write-prompts lists",
    "train/verification/samplers.py: train finetune",
    "train/verification/snapshots.py: train verify judges it",
    "train/verification/verify.py: train verify",
}


def test_every_printed_command_is_known():
    found = {one.removeprefix("curate/") for one in all_printed_commands()}
    assert found - COMMANDS.keys() - MENTIONS == set(), "name its scenario in COMMANDS"
    assert COMMANDS.keys() | MENTIONS <= found, "no longer printed"


@pytest.mark.parametrize("site", COMMANDS)
def test_a_printed_command_is_understood_by_its_command_line(site: str):
    """With a word in each place, all that it needs is there, and nothing it does not know."""
    scenarios = COMMANDS[site]
    if not scenarios.startswith(PARSED):
        assert {*scenarios.split(", ")} <= SCENARIOS.keys()
    program, *words = shlex.split(site.partition(": ")[2].replace("…", "word"))
    if words[0] == "word":  # what it is, its scenarios show
        return
    command = typer.main.get_command(import_module(f"{program}.cli").app)
    while names := getattr(command, "commands", None):
        command = names["folder" if words[0] == "word" else words[0]]
        words = words[1:]
    if "--help" not in words:
        command.make_context(site, words)


def test_the_usual_settings_are_those_of_the_steps():
    for option, value in USUAL_SETTINGS.items():
        name = option.removeprefix("--").replace("-", "_")
        steps = [
            s
            for s in (caption, find_duplicates, pack, build_dataset)
            if name in signature(s).parameters
        ]
        assert steps and all(signature(step).parameters[name].default == value for step in steps)


def test_a_printed_pack_changes_no_setting(place: Path, capsys: pytest.CaptureFixture[str]):
    for step in (FETCH, "build --data d --size 16 --format png --background black"):
        assert type_command(["curate", *shlex.split(step)], capsys)[0] == 0
    before = {path.name: path.read_bytes() for path in Path("d/shards").iterdir()}
    _damage_shard()
    (fix,) = printed(type_command(["curate", "status", "--data", "d"], capsys)[1])
    assert type_command(shlex.split(fix), capsys)[0] == 0
    assert before == {path.name: path.read_bytes() for path in Path("d/shards").iterdir()}


def test_a_caption_file_in_another_encoding_is_mended_by_what_is_printed(
    place: Path, capsys: pytest.CaptureFixture[str]
):
    Path("pictures/fox.txt").write_bytes("a caf\xe9 at night".encode("cp1252"))
    typed = ["curate", "vocab-gaps", "prompts.txt", "--data", "pictures"]
    _, said = type_command(typed, capsys)
    assert "CP1252 is a guess" in said
    (fix,) = re.findall(r"mv -n .*? && iconv .*? > [^\s)]+", said)
    for _ in range(2):
        subprocess.run(fix, shell=True, check=False)
        assert Path("pictures/fox.txt").read_text("utf-8") == "a caf\xe9 at night"
    assert Path("pictures/fox.txt.orig").read_bytes() == b"a caf\xe9 at night"
    assert "iconv" not in type_command(typed, capsys)[1]


FAILING = """
curate vocab-gaps gone.txt
curate vocab-gaps prompts.txt --data gone
curate vocab-gaps prompts.txt --checkpoint gone
curate vocab-gaps prompts.txt --captions words
curate dedup --data new/deep
curate pack --data new
curate pack --format bmp --data new
curate check --data new
curate check --refresh --data new
curate caption --data new
curate build --data new
curate status --data new
curate explain fox --data new
curate remove fox --reason x --data new
curate remove --list --data new
curate credits --data new
curate export folder out --data new
curate sources accept nope --basis x --data new
curate sources accept pixabay --basis '' --data new
curate fetch folder gone --data new
curate fetch folder empty --data new
curate fetch hf gone --data new
curate fetch shards empty --data new
curate fetch openverse --query '' --data new
curate fetch openverse --query fox --license nope --data new
curate fetch pixabay --query fox --data new/deep
train plan --stages a
train finetune --shards gone
train finetune --shards empty --out new/run
train finetune --shards pictures --init gone --out new/run
train finetune --shards pictures --images 0 --out new/run
train sample gone 'a fox'
train verify gone --word fox --shards pictures --out new
train export gone --out new
"""


@pytest.mark.parametrize("typed", FAILING.split("\n")[1:-1])
def test_what_fails_leaves_nothing_behind(
    place: Path, capsys: pytest.CaptureFixture[str], typed: str
):
    (place / "empty").mkdir()
    before = sorted(place.rglob("*"))
    code, said = type_command(shlex.split(typed), capsys)
    assert code in (2, 3, 4, 5), said
    assert sorted(path for path in place.rglob("*") if "cache" not in path.parts) == before
