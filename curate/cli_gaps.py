"""`curate vocab-gaps`: its options, and what it prints."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand


class OptionalJsonFileCommand(TyperCommand):
    """Lets `--json` print on stdout when no FILE.json follows it."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Fill in what `--json` alone means, then parse as ever."""
        from curate.report.text import expand_json_option

        return super().parse_args(ctx, expand_json_option(args))


def _option(help: str, *names: str, **settings: Any) -> Any:
    return typer.Option(*names, help=help, **settings)


_DATA_HELP = (
    "Dataset folder, shards, manifest, captions (.jsonl, .csv), or a Hugging Face dataset; "
    "may be repeated. Default: ./data"
)
_DATA = _option(_DATA_HELP, "--data", "--manifest", show_default=False)
_PROMPTS = typer.Argument(metavar="PROMPTS", help="Text file, one prompt a line; - for a pipe.")
_CHECKPOINT = _option("Judge by what a run or .safetensors was trained on.")
_PROFILE = _option("scratch, finetune or lora: how many images a word needs.")
_SYNTAX = _option("How prompts are written: auto, plain, a1111 or compel.")
_ALIASES = _option("TOML file of aliases, typos and phrases that you accepted.")
_IMAGES = _option("MODEL:WEIGHTS of open_clip: search the images for missing words.")
_BASELINE = _option("Earlier report as JSON: say what changed, fail on new gaps only.")
_JSON = _option("Print JSON, or write it to FILE.json.", metavar="[FILE.json]")
_GITHUB = _option("Print GitHub annotations instead of the table.", "--github")


def vocab_gaps_command(  # noqa: PLR0913 one a documented option
    prompts: Annotated[Path, _PROMPTS],
    data: Annotated[list[Path] | None, _DATA] = None,
    checkpoint: Annotated[Path | None, _CHECKPOINT] = None,
    profile: Annotated[str, _PROFILE] = "finetune",
    minimum: Annotated[int | None, _option("Images below which a word is thin.", "--min")] = None,
    target: Annotated[int | None, _option("Images that are enough.")] = None,
    syntax: Annotated[str, _SYNTAX] = "auto",
    pairs: Annotated[str, _option("Pairs of nouns in a prompt, of all words, or off.")] = "nouns",
    aliases: Annotated[Path | None, _ALIASES] = None,
    images: Annotated[str | None, _IMAGES] = None,
    baseline: Annotated[Path | None, _BASELINE] = None,
    fail_on: Annotated[str, _option("Exit with 1 on an error, a warning or never.")] = "error",
    json: Annotated[str | None, _JSON] = None,
    html: Annotated[Path | None, _option("Write a page for a browser.")] = None,
    plan: Annotated[Path | None, _option("Write a script that closes the gaps.")] = None,
    budget: Annotated[int, _option("Images the plan may fetch.", min=1)] = 1000,
    junit: Annotated[Path | None, _option("Write a test report for CI systems.")] = None,
    github: Annotated[bool, _GITHUB] = False,
    jobs: Annotated[int, _option("Processes that index the data.", min=1)] = 1,
) -> None:
    """List what your prompts ask for and the images cannot teach, worst first."""
    from curate.commands import gaps
    from curate.report import ci, text
    from curate.report.report import check_fail_on, to_json
    from curate.system import terminal

    check_fail_on(fail_on)
    files = text.ReportFiles(Path(json) if json and json != "-" else None, html, plan, junit)
    files.check((prompts, checkpoint, aliases, *(data or ())))
    settings = gaps.GapsSettings(
        data or (), checkpoint, profile, minimum, target, syntax, pairs, aliases, images, baseline
    )
    with terminal.TerminalProgress() as progress:
        found = gaps.vocab_gaps(prompts, settings, jobs=jobs, progress=progress)
        progress.say(text.summary_text(found))
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
