"""What holds the house together: who imports whom, what a step may do, how soon help answers."""

import ast
import importlib
import io
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest
import typer
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from PIL import Image

from curate.dataset.folder import Store
from curate.dataset.sample import Caption, Sample, Verdict
from curate.dataset.sample_table import COLUMNS, to_rows, to_table

ROOT = Path(__file__).parent.parent
MODULE_LINES = 400
HELP_LIBRARIES = {  # what typer brings along to print help with
    *("typer", "click", "rich", "shellingham", "typing_extensions", "annotated_doc"),
    *("pygments", "markdown_it", "mdurl"),
    "attr",  # rich looks for it where something else brings it along
}

# Who may import whom, by room: a package of `curate`, or a module beside them. A room may always
# import itself. A dotted name opens one module of a room and no more.
CORE = {"errors", "system", "dataset"}
ROOMS = {
    "curate": set(),  # the version, and the declared library
    "errors": set(),
    "formats": {"errors"},
    "system": {"curate", "errors"},
    "text": {"errors"},
    # the way of the data, from a name on the web to a tar
    "dataset": {"curate", "errors", "system", "formats.shards"},
    "net": {*CORE, "curate"},
    "sources": {*CORE, "net", "images.sniff", "corpora"},
    "fetch": {
        *(*CORE, "net", "sources", "images.sniff", "corpora.records", "corpora.notes"),
        *("rights.licences", "rights.signals.collect", "rights.removals"),
    },
    "rights": {*CORE, "formats", "text.word_lists"},
    "images": {*CORE, "formats.copies", "rights.removals"},
    "captions": {*CORE, "text.tokens", "text.word_lists"},
    "shards": {*CORE, "formats", "images", "text.tokens", "corpora.tars", "corpora.notes"},
    "export": {
        *(*CORE, "formats", "images", "shards.pack", "shards.withdraw"),
        *("text.tokens", "text.lemmas"),
        *("rights.credits", "rights.licences", "publish.card", "publish.choose"),
    },
    "publish": {
        *(*CORE, "formats"),
        *("shards.pack", "shards.plan", "shards.withdraw", "shards.write"),
        *("rights.credits", "rights.licences"),
    },
    # the way of the words, from captions to a report
    "corpora": {*CORE, "formats", "images", "captions.clean"},
    "index": {*CORE, "text", "corpora"},
    "prompts": {
        *("errors", "system", "text"),
        *("corpora.tables", "corpora.columns", "corpora.encoding", "corpora.notes"),
        "corpora.endings",
    },
    "vision": {*CORE, "text", "corpora"},
    "coverage": {"errors", "formats", "text", "index", "prompts", "vision.search"},
    "report": {*CORE, "images", "text", "corpora", "index", "prompts", "coverage", "vision"},
}
# may import every room of `curate`, and those before them
TOP = {"commands", "cli", "cli_fetch", "cli_engine", "cli_export", "cli_publish", "__main__"}
TRAIN_CORE = {"train", "size", "randomness", "resizing", "streamed", "device"}
TRAIN_ROOMS = {  # of `train`, along the way from captions to a published model
    "train": set(),
    "size": set(),
    "randomness": set(),
    "device": set(),
    "resizing": {"size"},
    "streamed": set(),
    "figures": set(),
    "model": {"size"},
    "text_encoder": {*TRAIN_CORE},
    "config": {"size", "model", "text_encoder"},
    "checkpoints": {*TRAIN_CORE, "model"},
    "data": {*TRAIN_CORE, "model", "text_encoder", "config"},
    "sampling": {*TRAIN_CORE, "figures", "model", "text_encoder", "checkpoints"},
    "training": {
        *(*TRAIN_CORE, "config", "figures"),
        *("model", "text_encoder", "checkpoints", "data", "sampling"),
    },
    "verification": {
        *(*TRAIN_CORE, "figures", "checkpoints", "sampling"),
        *("data.dataset", "data.stored"),
    },
    "publish": {*TRAIN_CORE, "checkpoints", "sampling"},
}
TRAIN_TOP = {"cli", "__main__"}
TRAIN_READS = {  # of `curate`: rooms, or single modules
    *("errors", "formats", "system", "corpora", "vision"),
    *("text.lemmas", "text.tokens", "prompts.reader", "rights.licences", "images.decode"),
}
PIPELINES_READ = {  # a recipe types commands; it reads what they wrote, and draws
    *("curate", "curate.errors", "curate.system.files", "curate.system.web_page"),
    *("curate.system.progress", "curate.system.settings", "curate.system.terminal"),
    *("curate.dataset.folder", "curate.dataset.sample", "curate.formats.shards"),
    *("train.verification.generate", "train.figures.grids"),
}
HEAVY = {
    *("torch", "daft", "transformers", "open_clip", "pandas", "jinja2", "requests", "datasets"),
    *("urllib3", "protego", "c2pa", "yaml", "mlcroissant"),
}
OURS = ("curate", "train", "pipelines")


def modules(*packages: str) -> list[Path]:
    """Every module of the named packages, by path."""
    return [p for name in packages for p in sorted((ROOT / name).rglob("*.py"))]


def dotted(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {dotted(path): path for path in modules(*OURS)}


def imports(tree: ast.AST) -> Iterator[str]:
    """Each name a piece of code imports, as far as it names a module; relative ones are refused."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, f"relative import, line {node.lineno}"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in MODULES else node.module


def arrows(name: str) -> set[str]:
    """The modules of ours that the module `name` imports, anywhere in it, for types included."""
    tree = ast.parse(MODULES[name].read_text())
    return {m for m in imports(tree) if m.split(".")[0] in OURS}


def room(module: str) -> str:
    """`curate.net.guard` -> `net`; `curate` itself -> `curate`."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else parts[0]


def allowed(importer: str, imported: str) -> bool:
    """Whether the design lets one module import another."""
    if importer in ("curate", "train"):  # the declared library: for types, and when asked for
        return room(imported) != "cli" and imported.startswith(f"{importer}.")
    if importer.startswith("train"):
        if not imported.startswith("train"):
            return bool({room(imported), imported.removeprefix("curate.")} & TRAIN_READS)
        here, there = room(importer), room(imported)
        known = {there, imported.removeprefix("train.")}
        return here == there or here in TRAIN_TOP or bool(known & TRAIN_ROOMS[here])
    if importer.startswith("pipelines"):
        return imported.startswith("pipelines") or imported in PIPELINES_READ
    if not imported.startswith("curate"):
        return False
    here, there = room(importer), room(imported)
    if here == there or here in TOP:
        return here == there or here != "commands" or there not in TOP
    return bool({there, imported.removeprefix("curate.")} & ROOMS[here])


def test_every_arrow_is_one_the_design_allows() -> None:
    wrong = [
        f"{importer} -> {imported}"
        for importer in MODULES
        for imported in sorted(arrows(importer))
        if not allowed(importer, imported)
    ]
    assert wrong == []


def test_the_check_of_arrows_sees_wrong_ones() -> None:
    for importer, imported in [
        ("curate.dataset.sample", "curate.fetch.run"),
        ("curate.captions.clean", "curate.shards.pack"),
        ("curate.commands.gaps", "curate.cli"),
        ("curate.system.files", "curate.dataset.folder"),
        ("curate.rights.policy", "curate.images.dedup"),
        ("curate.images.dedup", "curate.cli"),
        ("curate.index.index", "curate.shards.pack"),
        ("curate.fetch.run", "curate.rights.policy"),
        ("curate.cli", "train.config"),
        ("train.training.loop", "curate.dataset.sample"),
        ("train.training.loop", "curate.shards.pack"),
        ("train.model.unet", "train.checkpoints.checkpoint"),
        ("train.data.dataset", "train.sampling.sampler"),
        ("train.sampling.sampler", "train.training.loop"),
        ("train.verification.verify", "train.data.batches"),
        ("pipelines.page", "train.sampling.sampler"),
    ]:
        assert not allowed(importer, imported), (importer, imported)
    tree = ast.parse("if TYPE_CHECKING:\n    from curate.shards import pack")
    assert list(imports(tree)) == ["curate.shards.pack"]


def test_the_design_names_every_room_and_no_other() -> None:
    rooms = {room(name) for name in MODULES if name.split(".")[0] == "curate"}
    assert rooms - TOP <= ROOMS.keys()
    rooms = {room(name) for name in MODULES if name.split(".")[0] == "train"}
    assert rooms - TRAIN_TOP == TRAIN_ROOMS.keys()


def test_the_document_names_every_module_of_the_trainer() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text().partition("## The trainer")[2]
    parts = {name.split(".")[-1] for name in MODULES if name.startswith("train.")}
    assert [name for name in sorted(parts) if f"`{name}`" not in text] == []


def test_what_benchmarks_and_tools_import_of_ours_is_there() -> None:
    """Nobody runs them every day: one that names a module that was moved fails here."""
    gone = [
        f"{path.name} imports {imported}"
        for path in modules("benchmarks", "tools")
        for imported in imports(ast.parse(path.read_text()))
        if imported.split(".")[0] in OURS and imported not in MODULES
    ]
    assert gone == []


def test_heavy_libraries_wait_in_the_function_that_needs_them() -> None:
    early = []
    for name in MODULES:
        if name.split(".")[0] != "curate":
            continue  # `train` is torch from end to end; what its help loads is tested below
        tree = ast.parse(MODULES[name].read_text())
        for node in tree.body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                found = {m.split(".")[0] for m in imports(ast.Module([node], []))}
                early += [f"{name} imports {m}" for m in found & HEAVY]
    assert early == []


def test_a_module_can_be_held_in_the_head() -> None:
    """Short, and it says what it is for."""
    for name, path in MODULES.items():
        source = path.read_text()
        assert source.count("\n") < MODULE_LINES, name
        assert ast.get_docstring(ast.parse(source)), f"{name}: what is this module for?"


def test_progress_is_defined_once() -> None:
    """Another callback that says or counts would be another concept for the same thing."""
    names = {"Say", "Progress", "Track", "Tracked", "Watch", "Working"}
    found = []
    for name, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text())):
            defined = {node.name} if isinstance(node, ast.ClassDef) else set()
            if isinstance(node, ast.Assign):
                defined = {t.id for t in node.targets if isinstance(t, ast.Name)}
            found += [f"{name}.{one}" for one in defined & names]
            if isinstance(node, ast.arg) and node.arg in ("say", "working"):
                found.append(f"{name}: parameter {node.arg}")
    assert found == ["curate.system.progress.Progress"]


def test_no_file_names_a_registry_host_or_a_folder_of_one_machine() -> None:
    """Files work on any machine: they name packages, not where those come from nor our folders."""
    hosts = r"registry\.npm|pythonhosted|pypi\.org|deb\.debian"
    pattern = re.compile(rf"{hosts}|(?<![\w.*])/(?:root|home|work|Users)/")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, check=True,
    )  # fmt: skip
    found = []
    for name in listed.stdout.decode().split("\0"):
        path = ROOT / name
        if not name or not path.is_file() or path == Path(__file__):
            continue
        if match := pattern.search(path.read_bytes().decode(errors="ignore")):
            found.append(f"{name}: {match[0]}")
    assert found == []


# the command lines


def commands(app: typer.Typer, name: str) -> Iterator[tuple[str, click.Command]]:
    """Every command of a command line, groups opened."""
    waiting: list[tuple[str, click.Command]] = [(name, typer.main.get_command(app))]
    while waiting:
        path, command = waiting.pop()
        inner = getattr(command, "commands", None)
        if inner is None:
            yield path, command
        else:
            waiting += [(f"{path} {n}", c) for n, c in inner.items()]


@pytest.mark.parametrize("package", ["curate", "train"])
def test_every_command_and_option_has_help(package: str) -> None:
    app = importlib.import_module(f"{package}.cli").app
    silent = []
    for path, command in commands(app, package):
        if not command.help:
            silent.append(path)
        silent += [f"{path} {p.name}" for p in command.params if not getattr(p, "help", None)]
    assert silent == []


def loaded_by_help(package: str) -> list[str]:
    """Modules loaded once `--help` is printed, beyond those of an interpreter that does nothing."""
    code = (
        "import sys; before = set(sys.modules)\n"
        f"from {package}.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: print(*sorted(set(sys.modules) - before), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stderr.split()


@pytest.mark.parametrize("package", ["curate", "train"])
def test_help_loads_what_it_prints_with_and_no_more(package: str) -> None:
    """Which modules are loaded, and how many, decides how soon help answers."""
    loaded = loaded_by_help(package)
    others = (
        {name.split(".")[0] for name in loaded} - set(sys.stdlib_module_names) - {package, "curate"}
    )
    others = {name for name in others if not name.startswith("_")}
    assert others <= HELP_LIBRARIES
    ours = [name for name in loaded if name.split(".")[0] in OURS]
    assert len(ours) <= 55 and len(loaded) <= 500, (len(ours), len(loaded))


# steps


def steps() -> dict[str, Callable[..., list[Sample]]]:
    """Every public function of a room that takes `rows` and gives as many back."""
    found = {}
    for name, path in MODULES.items():
        if room(name) in {"engine", "dataset"} or not name.startswith("curate"):
            continue
        for node in ast.parse(path.read_text()).body:
            if not isinstance(node, ast.FunctionDef) or node.name.startswith("_"):
                continue
            first = next(iter(node.args.args), None)
            returns = node.returns and ast.unparse(node.returns).strip("'\"")
            if first and first.arg == "rows" and returns == "list[Sample]":
                function = getattr(importlib.import_module(name), node.name)
                found[f"{name.removeprefix('curate.')}.{node.name}"] = function
    return found


STEPS = steps()


def test_the_steps_are_found() -> None:
    wanted = {"rights.check.check", "captions.clean.caption", "images.dedup.dedup"}
    assert wanted <= STEPS.keys()


@pytest.mark.parametrize("name", sorted(STEPS))
def test_the_signature_of_a_step_is_its_configuration(name: str) -> None:
    step = STEPS[name]
    assert step.__defaults__ is None, "settings are keyword-only"
    defaults = set(step.__kwdefaults__ or {})
    handed_in = {"rows", "store", "return"} - defaults
    assert step.__annotations__.keys() - handed_in == defaults, "every setting has a default"


@pytest.mark.parametrize("name", sorted(STEPS))
def test_a_command_has_the_defaults_of_its_step(name: str) -> None:
    step = STEPS[name]
    app = importlib.import_module("curate.cli").app
    for path, command in commands(app, "curate"):
        if path == f"curate {step.__name__}":
            given = {p.name: p.default for p in command.params}
            wanted = step.__kwdefaults__ or {}
            shared = (wanted.keys() & given.keys()) - {"engine"}  # made of two options
            assert shared or not wanted
            assert {n: given[n] for n in shared} == {n: wanted[n] for n in shared}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, list[str]]:
    """A few real images: copies, near copies, one that is different, one that is broken."""
    kept = Store(tmp_path_factory.mktemp("store"))
    ramp = Image.linear_gradient("L").resize((96, 64))
    disc = Image.radial_gradient("L").resize((64, 64)).convert("RGB")
    hashes = []
    for picture, form in [(ramp, "PNG"), (ramp, "WEBP"), (disc, "PNG"), (disc.rotate(90), "JPEG")]:
        file = io.BytesIO()
        picture.save(file, form)
        hashes.append(kept.put(file.getvalue()))
    return kept, [*hashes, kept.put(b"\x89PNG\r\n\x1a\n and no more")]


def rows_of(hashes: list[str]) -> st.SearchStrategy[list[Sample]]:
    """Rows as a fetch leaves them, some held, some dropped before, in any order."""
    words = st.sampled_from(["snow", "IMG_0001.jpg", "a red fox, 4k wallpaper", "雪", ""])
    licences = st.sampled_from(["CC0-1.0", "MIT", "cc by-nd 2.0", "all rights reserved", None])
    drops = st.sampled_from([None, None, "duplicate:bytes:test-0", "download:HTTP 404", "odd"])
    row = st.builds(
        Sample,
        key=st.integers(0, 99).map(lambda n: f"test-{n}"),
        source=st.sampled_from(["folder", "pixabay", "openverse"]),
        title=words,
        tags=st.lists(words, max_size=2).map(tuple),
        texts=st.lists(words, max_size=2).map(tuple),
        captions=st.just((Caption("of before", "text"),)),
        opt_outs=st.lists(st.just("api:noAiTraining"), max_size=1).map(tuple),
        license_text=licences,
        train=st.none() | st.just(Verdict("allow", ("of:before",))),
        sha256=st.none() | st.sampled_from(hashes),
        dropped=drops,
    )
    return st.lists(row, max_size=6, unique_by=lambda s: s.key)


@pytest.mark.parametrize("name", sorted(STEPS))
@given(data=st.data())
@examples(max_examples=6)
def test_a_step_keeps_every_row_and_forgets_nothing_when_run_again(
    store: tuple[Store, list[str]], name: str, data: st.DataObject
) -> None:
    step, (kept, hashes) = STEPS[name], store
    rows = data.draw(rows_of(hashes))
    given_store = {"store": kept} if "store" in (step.__annotations__) else {}

    def run(rows: list[Sample]) -> list[Sample]:
        return step(rows, **given_store)

    once = run(rows)
    assert [s.key for s in once] == [s.key for s in rows]
    assert run(once) == once
    shuffled = data.draw(st.permutations(rows))
    assert sorted(run(shuffled), key=lambda s: s.key) == sorted(once, key=lambda s: s.key)


@pytest.mark.parametrize("name", sorted(STEPS))
def test_a_step_takes_no_rows(store: tuple[Store, list[str]], name: str) -> None:
    step = STEPS[name]
    given_store = {"store": store[0]} if "store" in step.__annotations__ else {}
    assert step([], **given_store) == []


def columns_of(name: str) -> tuple[set[str], set[str]]:
    """What a step reads and fills, as its module says."""
    module = importlib.import_module(STEPS[name].__module__)
    return {"key", "dropped", *module.READS, *module.FILLS}, set(module.FILLS)


NAMING_STEPS = sorted(n for n, f in STEPS.items() if hasattr(sys.modules[f.__module__], "READS"))


def test_the_steps_that_name_their_columns_are_found() -> None:
    assert {"rights.check.check", "captions.clean.caption"} <= set(NAMING_STEPS)


@pytest.mark.parametrize("name", NAMING_STEPS)
@given(data=st.data())
@examples(max_examples=20)
def test_a_step_reads_and_fills_no_other_columns_than_it_names(
    store: tuple[Store, list[str]], name: str, data: st.DataObject
) -> None:
    step, (kept, hashes) = STEPS[name], store
    rows = data.draw(rows_of(hashes))
    given_store = {"store": kept} if "store" in (step.__annotations__) else {}
    columns, fills = columns_of(name)
    few = step(to_rows(to_table(rows), columns), **given_store)
    whole = step(rows, **given_store)
    assert few == to_rows(to_table(whole), columns)
    for before, after in zip(rows, whole, strict=True):
        changed = {n for n in COLUMNS if getattr(before, n) != getattr(after, n)}
        assert changed <= fills
