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


OptionalPath = Path | None
_DATA_HELP = (
    "Dataset folder, shards, manifest, captions (.jsonl, .csv), or a Hugging Face dataset; "
    "may be repeated. Default: ./data"
)


def vocab_gaps_command(  # noqa: PLR0913 one a documented option
    prompts: Annotated[
        Path, typer.Argument(metavar="PROMPTS", help="Text file, one prompt a line; - for a pipe.")
    ],
    data: Annotated[
        list[Path] | None, typer.Option("--data", "--manifest", help=_DATA_HELP, show_default=False)
    ] = None,
    checkpoint: Annotated[
        OptionalPath, typer.Option(help="Judge by what a run or .safetensors was trained on.")
    ] = None,
    profile: Annotated[
        str, typer.Option(help="scratch, finetune or lora: how many images a word needs.")
    ] = "finetune",
    minimum: Annotated[
        int | None, typer.Option("--min", help="Images below which a word is thin.")
    ] = None,
    target: Annotated[int | None, typer.Option(help="Images that are enough.")] = None,
    syntax: Annotated[
        str, typer.Option(help="How prompts are written: auto, plain, a1111 or compel.")
    ] = "auto",
    pairs: Annotated[
        str, typer.Option(help="Pairs of nouns in a prompt, of all words, or off.")
    ] = "nouns",
    aliases: Annotated[
        OptionalPath,
        typer.Option(help="TOML file of aliases, typos and phrases that you accepted."),
    ] = None,
    images: Annotated[
        str | None,
        typer.Option(help="MODEL:WEIGHTS of open_clip: search the images for missing words."),
    ] = None,
    baseline: Annotated[
        OptionalPath,
        typer.Option(help="Earlier report as JSON: say what changed, fail on new gaps only."),
    ] = None,
    fail_on: Annotated[
        str, typer.Option(help="Exit with 1 on an error, a warning or never.")
    ] = "error",
    json: Annotated[
        str | None,
        typer.Option(metavar="[FILE.json]", help="Print JSON, or write it to FILE.json."),
    ] = None,
    html: Annotated[OptionalPath, typer.Option(help="Write a page for a browser.")] = None,
    plan: Annotated[OptionalPath, typer.Option(help="Write a script that closes the gaps.")] = None,
    budget: Annotated[int, typer.Option(min=1, help="Images the plan may fetch.")] = 1000,
    junit: Annotated[OptionalPath, typer.Option(help="Write a test report for CI systems.")] = None,
    github: Annotated[
        bool, typer.Option("--github", help="Print GitHub annotations instead of the table.")
    ] = False,
    jobs: Annotated[int, typer.Option(min=1, help="Processes that index the data.")] = 1,
) -> None:
    """List what your prompts ask for and the images cannot teach, worst first."""
    from curate.commands import gaps
    from curate.report.report import check_fail_on, to_json
    from curate.report.text import (
        COMBINATIONS_SHOWN,
        GAP_HEADINGS,
        ReportFiles,
        gap_rows,
        github_annotations,
        summary_text,
        write_report,
    )
    from curate.system import terminal

    check_fail_on(fail_on)
    files = ReportFiles(Path(json) if json and json != "-" else None, html, plan, junit)
    files.check((prompts, checkpoint, aliases, *(data or ())))
    with terminal.TerminalProgress() as progress:
        found = gaps.vocab_gaps(
            prompts, data=data or (), checkpoint=checkpoint, profile=profile, minimum=minimum,
            target=target, syntax=syntax, pairs=pairs, aliases=aliases, images=images,
            baseline=baseline, jobs=jobs, progress=progress,
        )  # fmt: skip
        progress.say(summary_text(found))
        for name in write_report(found, files, budget=budget, progress=progress):
            progress.say(f"wrote {name}")
    if json == "-":
        terminal.print_json(to_json(found))
    elif github:
        terminal.write_stdout(github_annotations(found))
    else:
        most = COMBINATIONS_SHOWN if sys.stdout.isatty() else None
        terminal.print_table(GAP_HEADINGS, gap_rows(found, most=most))
    raise typer.Exit(found.exit_code(fail_on))
