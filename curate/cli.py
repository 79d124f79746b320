"""The command line: parse, make one call, print. Nothing is decided here."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from curate.cli_engine import EngineOption, RayAddressOption, engine_of, jobs_of
from curate.cli_export import export_command
from curate.cli_fetch import (
    DataOption,
    EndpointOption,
    JsonOption,
    fetch_app,
    option,
    sources_app,
)
from curate.cli_publish import publish_command
from curate.dataset.folder import DEFAULT_FOLDER, Dataset
from curate.errors import ExitCode, UsageError
from curate.system import terminal
from curate.system.commands import OnceCommand, program

app = program("Find the words your images cannot teach, fetch images that may be used, prove it.")
app.add_typer(fetch_app, name="fetch")
app.add_typer(sources_app, name="sources")
app.command("export", kept="an earlier export stays until the new one is whole")(export_command)
app.command("publish", kept="what was published before stays until the new is whole")(
    publish_command
)


PolicyOption = Annotated[
    str, option("personal, research, commercial, or a policy file.", show_default=True)
]
_KEYS = typer.Argument(metavar="KEY…", help="Keys, or parts of keys, file names or titles.")
_FALSE_HELP = "Share of pairs of different images taken for copies; less in large sets."

_SHARD_SIZE_HELP = "Megabytes that a shard holds at most."
_SPLIT_HELP = "First part of the names of all other shards."
_SHARDS_HELP = "Dataset folder, folder of shards, or tars of images."
_HELD_OUT_HELP = "Share of the images for shards that nobody trains on."


class OptionalJsonFileCommand(OnceCommand):
    """Lets `--json` print on stdout when no FILE.json follows it."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Fill in what `--json` alone means, then parse as ever."""
        from curate.report.text import expand_json_option

        return super().parse_args(ctx, expand_json_option(args))


_KEY_HELP = "Key of the image, or part of its key, file name or title."
_DATA_HELP = (
    "Folder of images, dataset folder, tars, Hugging Face data, Parquet, a list of captions "
    "(.jsonl, .csv), or a manifest; may be repeated. Default: ./data"
)
_DATA = option(_DATA_HELP, "--data", "--manifest", show_default=False)
_PROMPTS = typer.Argument(
    metavar="PROMPTS", help="Prompts, one a line, or a table of them; - for a pipe."
)
_CAPTIONS = option("A text of several lines is as many captions (lines), or one (whole).")
_CHECKPOINT = option("Judge by what a run, a model or a LoRA (.safetensors) was trained on.")
_PROFILE = option("scratch, finetune or lora: how many images a word needs.")
_SYNTAX = option("How prompts are written: auto, plain, a1111 or compel.")
_ALIASES = option("TOML file of aliases, typos and phrases that you accepted.")
_IMAGES = option("MODEL:WEIGHTS of open_clip: search the images for missing words.")
_BASELINE = option("Earlier report as JSON: say what changed, fail on new gaps only.")
_JSON = option("Print JSON, or write it to FILE.json.", metavar="[FILE.json]")
_GITHUB = option("Print GitHub annotations instead of the table.", "--github")


@app.command(
    "vocab-gaps",
    kept="parts of the data that were indexed whole are kept, no report is written",
    cls=OptionalJsonFileCommand,
)
def vocab_gaps_command(  # noqa: PLR0913 one a documented option
    prompts: Annotated[Path, _PROMPTS],
    data: Annotated[list[Path] | None, _DATA] = None,
    captions: Annotated[str, _CAPTIONS] = "lines",
    checkpoint: Annotated[Path | None, _CHECKPOINT] = None,
    profile: Annotated[str, _PROFILE] = "finetune",
    minimum: Annotated[int | None, option("Images below which a word is thin.", "--min")] = None,
    target: Annotated[int | None, option("Images that are enough.")] = None,
    syntax: Annotated[str, _SYNTAX] = "auto",
    pairs: Annotated[str, option("Pairs of nouns in a prompt, of all words, or off.")] = "nouns",
    aliases: Annotated[Path | None, _ALIASES] = None,
    images: Annotated[str | None, _IMAGES] = None,
    baseline: Annotated[Path | None, _BASELINE] = None,
    fail_on: Annotated[str, option("Exit with 1 on an error, a warning or never.")] = "error",
    json: Annotated[str | None, _JSON] = None,
    html: Annotated[Path | None, option("Write a page for a browser.")] = None,
    plan: Annotated[Path | None, option("Write a script that closes the gaps.")] = None,
    budget: Annotated[int, option("Images the plan may fetch.", min=1)] = 1000,
    junit: Annotated[Path | None, option("Write a test report for CI systems.")] = None,
    github: Annotated[bool, _GITHUB] = False,
    jobs: Annotated[int, option("Processes that index the data.", min=1)] = 1,
) -> None:
    """List what your prompts ask for and the images cannot teach, worst first."""
    from curate.commands import gaps
    from curate.report import ci, text
    from curate.report.report import check_fail_on, to_json

    check_fail_on(fail_on)
    files = text.ReportFiles(Path(json) if json and json != "-" else None, html, plan, junit)
    files.check((prompts, checkpoint, aliases, *(data or ())))
    settings = gaps.GapsSettings(
        data or (),
        captions,
        checkpoint,
        profile,
        minimum,
        target,
        syntax,
        pairs,
        aliases,
        images,
        baseline,
    )
    with terminal.TerminalProgress() as progress:
        found = gaps.vocab_gaps(prompts, settings, jobs=jobs, progress=progress)
        for line in text.summary_text(found).split("\n"):
            progress.say(line)
        for name in text.write_report(found, files, budget=budget, progress=progress):
            progress.say(f"wrote {name}")
    if json == "-":
        terminal.print_json(to_json(found))
    elif github:
        terminal.write_stdout(ci.github_commands(to_json(found)))
    else:
        most = text.COMBINATIONS_SHOWN if sys.stdout.isatty() else None
        terminal.print_table(text.GAP_HEADINGS, text.gap_rows(found, most=most))
    raise typer.Exit(found.exit_code(fail_on))


@app.command("dedup", kept="no row was changed")
def dedup_command(
    false_matches: Annotated[float, typer.Option(help=_FALSE_HELP)] = 1e-5,
    report: Annotated[Path | None, option("Write a page of all groups for a browser.")] = None,
    scenes: Annotated[str | None, option("Encoder of images: tell scenes, too.")] = None,
    engine: EngineOption = "local",
    ray_address: RayAddressOption = None,
    data: DataOption = DEFAULT_FOLDER,
    json: JsonOption = False,
) -> None:
    """Drop unreadable images, and all copies of an image but the original; group what is kin."""
    from curate.commands.scenes import tell_scenes
    from curate.images.dedup import find_duplicates
    from curate.images.groups_page import write_groups_page

    with terminal.TerminalProgress() as progress:
        jobs = jobs_of(engine_of(engine, ray_address), Dataset(data))
        done = find_duplicates(
            Dataset(data), false_matches=false_matches, run_jobs=jobs, progress=progress
        )
        if scenes:
            tell_scenes(Dataset(data), scenes, progress)
        if report:
            write_groups_page(Dataset(data), report, progress=progress)
    for note in done.notes():
        terminal.say(note)
    terminal.print_result(done, ("", "images"), json=json)


@app.command("pack", kept="the old shards stay until all new ones are whole")
def pack_command(  # noqa: PLR0913 one a documented option
    size: Annotated[int, option("Shorter side at most, pixels.", min=1)] = 512,
    format: Annotated[str, option("jpg, png or webp; the last two lossless.")] = "jpg",
    background: Annotated[str, option("Colour under transparent pixels.")] = "white",
    shard_size: Annotated[float, option(_SHARD_SIZE_HELP)] = 256.0,
    held_out: Annotated[float, option(_HELD_OUT_HELP)] = 0.0,
    split: Annotated[str, option(_SPLIT_HELP)] = "train",
    engine: EngineOption = "local",
    ray_address: RayAddressOption = None,
    data: DataOption = DEFAULT_FOLDER,
    json: JsonOption = False,
) -> None:
    """Write the images that may be trained on, with their captions, as WebDataset shards."""
    from curate.shards.pack import pack

    with terminal.TerminalProgress() as progress:
        done = pack(
            Dataset(data), size=size, format=format, background=background, shard_size=shard_size,
            held_out=held_out, split=split, engine=engine_of(engine, ray_address),
            progress=progress,
        )  # fmt: skip
    for note in done.notes():
        terminal.say(note)
    terminal.print_result(done, ("", "count"), json=json)


@app.command("verify-shards")
def verify_shards_command(
    path: Annotated[Path, typer.Argument(metavar="PATH", help=_SHARDS_HELP)] = DEFAULT_FOLDER,
    json: JsonOption = False,
) -> None:
    """Read shards whole, ours or those of others, decode every image, and name what is wrong."""
    from curate.shards.verify import verify_shards

    with terminal.TerminalProgress() as progress:
        found = verify_shards(path, progress=progress)
    terminal.print_result(found, ("", "count", "such as"), json=json)
    if found.faults:
        raise typer.Exit(ExitCode.FOUND)


@app.command("check", kept="no row was changed, and what sources answered is kept for 24 hours")
def check_command(
    policy: PolicyOption = "personal",
    refresh: Annotated[
        bool, option("First ask the sources what they say now.", "--refresh")
    ] = False,
    endpoint: EndpointOption = None,
    data: DataOption = DEFAULT_FOLDER,
    json: JsonOption = False,
) -> None:
    """Decide by a policy what each image may be used for: allow, hold or deny."""
    from curate.commands import build

    with terminal.TerminalProgress() as progress:
        if refresh:
            from curate.commands.refresh import refresh_dataset
            from curate.net.connection import NetOptions

            net = NetOptions(endpoint)
            for line in refresh_dataset(Dataset(data), policy=policy, net=net, progress=progress):
                progress.say(line)
        done = build.check_dataset(Dataset(data), policy=policy, progress=progress)
    terminal.say(f"{done.rows} images in use, decided by {done.policy}")
    if done.unlicensed:
        terminal.say(f"{done.unlicensed} images state no licence; if you made them:")
        terminal.say(f"  {build.own_licence_command(Dataset(data))}")
    terminal.print_result(done, ("use", "allow", "hold", "deny"), json=json)


@app.command("remove", kept="what is out stays out")
def remove_command(
    keys: Annotated[list[str] | None, _KEYS] = None,
    reason: Annotated[str, option("Why, in your words; it is kept.")] = "",
    undo: Annotated[bool, option("Take the image back in.", "--undo")] = False,
    list: Annotated[bool, option("Show what was removed, when and why.", "--list")] = False,
    data: DataOption = DEFAULT_FOLDER,
    json: JsonOption = False,
) -> None:
    """Take images out for good, with all their copies: none of them returns under any name."""
    from curate.commands import remove

    if list:
        found = remove.list_removals(Dataset(data))
        terminal.print_result(found, ("", "removed", "why"), json=json)
        if not found.removed:
            terminal.say(f"{data}: nothing was removed")
        return
    done = remove.remove_or_restore(Dataset(data), keys or (), reason, undo=undo)
    terminal.print_result(done, ("", "why"), json=json)
    for note in done.notes:
        terminal.say(note)


@app.command("caption", kept="no row was changed")
def caption_command(
    per_image: Annotated[int, option("Captions an image gets at most.")] = 4,
    engine: EngineOption = "local",
    ray_address: RayAddressOption = None,
    data: DataOption = DEFAULT_FOLDER,
    json: JsonOption = False,
) -> None:
    """Write captions from the texts, titles, tags and file names that came with the images."""
    from curate.commands import build

    where = engine_of(engine, ray_address)
    done = build.caption_dataset(Dataset(data), per_image=per_image, engine=where)
    terminal.print_result(done, ("", "count"), json=json)


@app.command("build", kept="the steps that ended are kept")
def build_command(  # noqa: PLR0913 every option of its steps
    policy: PolicyOption = "personal",
    false_matches: Annotated[float, typer.Option(help=_FALSE_HELP)] = 1e-5,
    per_image: Annotated[int, option("Captions an image gets at most.")] = 4,
    size: Annotated[int, option("Shorter side at most, pixels.")] = 512,
    format: Annotated[str, option("Of packed images: jpg, png or webp.")] = "jpg",
    background: Annotated[str, option("Colour under transparent pixels.")] = "white",
    shard_size: Annotated[float, option(_SHARD_SIZE_HELP)] = 256.0,
    held_out: Annotated[float, option(_HELD_OUT_HELP)] = 0.0,
    split: Annotated[str, option(_SPLIT_HELP)] = "train",
    engine: EngineOption = "local",
    ray_address: RayAddressOption = None,
    data: DataOption = DEFAULT_FOLDER,
    json: JsonOption = False,
) -> None:
    """Check, dedup, check the copies, caption and pack, one after the other."""
    from curate.commands import build

    with terminal.TerminalProgress() as progress:
        done = build.build_dataset(
            Dataset(data), policy=policy, false_matches=false_matches, per_image=per_image,
            size=size, format=format, background=background, shard_size=shard_size,
            held_out=held_out, split=split, engine=engine_of(engine, ray_address),
            progress=progress,
        )  # fmt: skip
    terminal.print_result(done, ("step", "", "count"), json=json)


@app.command("status")
def status_command(data: DataOption = DEFAULT_FOLDER, json: JsonOption = False) -> None:
    """Show what a dataset holds: rows, drops, verdicts, licences, words, captions, shards."""
    from curate.commands.status import status

    found = status(Dataset(data))
    terminal.print_result(found, ("", "images"), json=json)
    for note in found.notes:
        terminal.say(note)


@app.command("explain")
def explain_command(
    key: Annotated[str, typer.Argument(metavar="KEY", help=_KEY_HELP)],
    data: DataOption = DEFAULT_FOLDER,
    json: JsonOption = False,
) -> None:
    """Tell why an image is used or dropped: where it is from, what was stated, what was decided."""
    from curate.commands.explain import explain

    explanation = explain(Dataset(data), key)
    if json:
        terminal.print_json(explanation.as_json())
    else:
        terminal.print_table(("", explanation.sample.key), explanation.facts)
        terminal.print_lines([[explanation.conclusion]])


@app.command("license")
def license_command(
    texts: Annotated[
        list[str] | None,
        typer.Argument(metavar="[TEXT]...", help="What is stated; - or none: lines of a pipe."),
    ] = None,
    url: Annotated[str | None, option("Address that is stated beside the text.")] = None,
    flickr: Annotated[
        bool, option("Read numbers as Flickr's interface means them.", "--flickr")
    ] = False,
    check: Annotated[bool, option("Exit with 1 if any names no one licence.", "--check")] = False,
    json: JsonOption = False,
) -> None:
    """Say which licence a text or an address names, how it was derived, and what was given."""
    from curate.commands import license

    from_pipe = texts == ["-"] or (not texts and url is None)
    given = license.read_stdin() if from_pipe else texts or []
    found = license.read_statements(given, url=url, flickr=flickr)
    if json:
        terminal.print_json([asdict(reading) for reading in found])
    else:
        terminal.print_lines((r.license or "unknown", r.how, r.text or r.url or "") for r in found)
    if check and not all(reading.is_known for reading in found):
        raise typer.Exit(ExitCode.FOUND)


@app.command("credits")
def credits_command(
    every: Annotated[bool, option("All that may be trained on, packed or not.", "--all")] = False,
    as_csv: Annotated[bool, option("Print a table for a spreadsheet.", "--csv")] = False,
    as_html: Annotated[bool, option("Print a page for a browser.", "--html")] = False,
    data: DataOption = DEFAULT_FOLDER,
    json: JsonOption = False,
) -> None:
    """Say who made the packed images, under which licence, and what was changed."""
    from curate.formats.verdicts import stale_beside
    from curate.rights import credits

    chosen = [name for name, on in (("--csv", as_csv), ("--html", as_html), ("--json", json)) if on]
    if len(chosen) > 1:
        raise UsageError(" ".join(chosen), "one form at a time", fix=f"only {chosen[0]}")
    dataset = Dataset(data)
    found = credits.dataset_credits(dataset, every=every)
    if not every and (stale := stale_beside(dataset.shards, [credit.key for credit in found])):
        for line in stale.lines():
            terminal.say(line)
    if json:
        terminal.print_json([asdict(credit) for credit in found])
        return
    render = credits.credits_csv if as_csv else credits.credits_page if as_html else None
    terminal.write_stdout((render or credits.credits_markdown)(found))


def main(argv: list[str] | None = None) -> None:
    """Run the command; a CurateError becomes one message on stderr and its exit code."""
    with terminal.command_line():
        app(args=argv, prog_name="curate")


if __name__ == "__main__":
    main()
