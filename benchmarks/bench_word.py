"""A word added by fine-tuning: how well it is drawn, by images fetched and by minutes spent.

    python benchmarks/bench_word.py --tiles tiles-cc0.tar.gz --out word

Stacked CC0 figures at 16 px. A base model learns all of them but those with a straw hat. Then it
is fine-tuned on 1, 3, 10, 30 and 64 images that show one, with and without replay of the known
ones, and with 64 images for shorter runs as well. Each result goes through
`train.verification.verify`, the nearest of all true figures being the scorer: the word on prompts
that were shown, on prompts that never were (the other images with the hat), and old words. One
process, one thread; CPU-seconds are those of the fine-tuning alone. Results that are there
already are kept, so the same command goes on where it was stopped.

Written are `word.json`, `word.png` and a table.
"""

import argparse
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import stacked_figures
import torch
from PIL import Image, ImageDraw, ImageFont
from stacked_figures import HEADGEAR, Figures

from curate.formats.model import find_model
from curate.system.files import write_bytes
from curate.system.terminal import TerminalProgress
from train.config import TrainConfig
from train.size import Size
from train.training import run as training_run
from train.training.run import Recipe
from train.verification import verify
from train.verification.verdict import (
    ENTIRELY,
    FALSE,
    NEVER,
    OWN_WORD,
    SHOWN,
    WITHOUT,
    WORD,
    Report,
)
from train.verification.verify import Models, Truth, WordTest

WORDS = "straw"
HEAD = list(HEADGEAR).index("a straw hat")
PIXELS = Size(16, 16)
FETCHED = (1, 3, 10, 30, 64)  # images with the word that are learnt from; the last is all
ASKED = {1: 1, 3: 2, 10: 8, 30: 16, 64: 32}  # prompts of them that are drawn: equal shares of seeds
LENGTHS = (1 / 32, 1 / 16, 1 / 8, 1 / 4)  # of the usual one: further runs on all images
NEVER_ASKED, OLD_ASKED = 32, 64  # prompts
MEASURES = {  # name -> (group, measure) of `train.verification.verify`
    "shown": (SHOWN, WORD),
    "never": (NEVER, WORD),
    "never_entirely": (NEVER, ENTIRELY),
    "old": (WITHOUT, OWN_WORD),
    "old_entirely": (WITHOUT, ENTIRELY),
    "false": (WITHOUT, FALSE),  # the word where nobody asked for it
}


@dataclass(frozen=True)
class Plan:
    """One fine-tuning."""

    fetched: int  # images
    replay: bool
    images: int  # seen

    @property
    def name(self) -> str:
        return f"{self.fetched}-{'replay' if self.replay else 'alone'}-{self.images}"


def plans(images: int) -> list[Plan]:
    """Every run, those that tell most first."""
    order = sorted(FETCHED, key=lambda n: (n not in (FETCHED[-1], 10, 1), -n))
    found = [Plan(n, replay, images) for replay in (True, False) for n in order]
    longest = [Plan(FETCHED[-1], True, int(images * part)) for part in LENGTHS]
    return found + longest


def by_hash(captions: Sequence[str]) -> list[str]:
    return sorted(captions, key=lambda text: hashlib.sha256(text.encode()).digest())


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--tiles", type=Path, required=True, help="archive of the CC0 tiles")
    options.add_argument("--out", type=Path, required=True, help="folder of all results")
    options.add_argument("--base-images", type=int, default=16_000, help="seen by the base model")
    options.add_argument("--images", type=int, default=1_600, help="seen by a fine-tuning")
    options.add_argument("--samples", type=int, default=64, help="images behind a figure")
    given = options.parse_args()
    torch.set_num_threads(1)
    figures = stacked_figures.compose(given.tiles, PIXELS.width)
    fetched, never = split(figures)
    write_data(figures, fetched, given.out)
    seconds = base(given.out, given.base_images)
    warm_up(given.out)
    results = []
    for plan in plans(given.images):
        results.append(finish_plan(given.out, plan, fetched, never, figures, given.samples))
        print(line(plan, results[-1]), flush=True)
    facts = {"word": WORDS, "base_seconds": seconds, "base_images": given.base_images}
    found = {**facts, "samples": given.samples, "runs": results}
    write_bytes(given.out / "word.json", json.dumps(found, indent=1).encode())
    draw_charts(results, given.images, given.out / "word.png")


def split(figures: Figures) -> tuple[list[str], list[str]]:
    """Captions with the word: those that may be fetched, fewer among more, and the rest."""
    shows = (figures.attributes_N4[:, 2] == HEAD) & figures.seen_N
    captions = by_hash(figures.select(shows).captions)
    hidden = figures.select((figures.attributes_N4[:, 2] == HEAD) & ~figures.seen_N).captions
    rest = by_hash([*captions[FETCHED[-1] :], *hidden])
    return captions[: FETCHED[-1]], rest


def write_data(figures: Figures, fetched: Sequence[str], out: Path) -> None:
    """Shards: every figure, the known ones, and so many with the word."""
    known = (figures.attributes_N4[:, 2] != HEAD) & figures.seen_N
    stacked_figures.write_shards(figures, out / "truth")
    stacked_figures.write_shards(figures.select(known), out / "known")
    places = {caption: row for row, caption in enumerate(figures.captions)}
    for number in FETCHED:
        rows = [places[caption] for caption in fetched[:number]]
        stacked_figures.write_shards(figures.select(rows), out / f"fetched-{number}")


def base(out: Path, images: int) -> float:
    """Train the base model unless it is there; returns its CPU-seconds."""
    settings = TrainConfig(stages=(PIXELS,), images=(images,), model_size="small")
    spent = out / "base" / "cpu_seconds"
    start = time.process_time()
    with TerminalProgress() as progress:
        training_run.finetune(
            Recipe(out / "known", settings), out / "base", device="cpu", progress=progress
        )
    if not spent.exists():
        spent.write_text(str(round(time.process_time() - start, 1)))
    return float(spent.read_text())


def warm_up(out: Path) -> None:
    """A first fine-tuning that is thrown away, so that no run pays for imports and caches."""
    quick = TrainConfig(stages=(PIXELS,), images=(16,), model_size="small", warmup=0)
    shards, replay = out / f"fetched-{FETCHED[-1]}", out / "known"
    with tempfile.TemporaryDirectory() as folder:
        training_run.finetune(
            Recipe(shards, quick, init=out / "base", replay=replay), Path(folder), device="cpu"
        )


def finish_plan(
    out: Path,
    plan: Plan,
    fetched: Sequence[str],
    never: Sequence[str],
    figures: Figures,
    samples: int,
) -> dict[str, Any]:
    """The result of one run, read where it is there already."""
    folder = out / "runs" / plan.name
    file = folder / "result.json"
    if not file.exists():
        settings = TrainConfig(
            stages=(PIXELS,),
            images=(plan.images,),
            model_size="small",
            warmup=min(800, plan.images // 4),
        )
        start = time.process_time()
        training_run.finetune(
            Recipe(
                out / f"fetched-{plan.fetched}",
                settings,
                init=out / "base",
                replay=out / "known" if plan.replay else None,
            ),
            folder,
            device="cpu",
        )
        seconds = round(time.process_time() - start, 1)
        write_prompts(folder / "prompts.txt", plan, fetched, never, figures)
        report = verify_plan(out, plan, folder, samples)
        shutil.copy(out / "verify" / "verify.json", folder / "verify.json")
        shutil.copy(out / "verify" / "verify.html", folder / "verify.html")
        write_bytes(file, json.dumps(result(plan, seconds, report), indent=1).encode())
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def write_prompts(
    file: Path, plan: Plan, fetched: Sequence[str], never: Sequence[str], figures: Figures
) -> None:
    """Prompts that were shown, prompts that never were, and old ones, the same for every run."""
    known = figures.select((figures.attributes_N4[:, 2] != HEAD) & figures.seen_N).captions
    asked = [
        *fetched[: ASKED[plan.fetched]],
        *never[:NEVER_ASKED],
        *by_hash(known)[:OLD_ASKED],
    ]
    file.write_text("\n".join(asked) + "\n")


def verify_plan(out: Path, plan: Plan, folder: Path, samples: int) -> Report:
    [report] = verify.verify_words(
        WordTest([WORDS], folder / "prompts.txt", samples),
        Models([find_model(folder)], before=out / "base", device="cpu"),
        Truth(out / "truth", [out / f"fetched-{plan.fetched}", out / "known"], "nearest"),
        out=out / "verify",  # one for all, so that the base model draws the same prompts once
    )
    return report


def result(plan: Plan, seconds: float, report: Report) -> dict[str, Any]:
    """What one run came to: shares with their intervals, in 0 to 1."""
    figures = {(f.group, f.measure): f for f in report.figures}
    found: dict[str, Any] = {
        "fetched": plan.fetched,
        "replay": plan.replay,
        "images": plan.images,
        "cpu_seconds": seconds,
    }
    for name, key in MEASURES.items():
        f = figures[key]
        for when, corrected in (("", f.after), ("_before", f.before), ("_change", f.change)):
            if corrected:
                one = corrected.share
                found[name + when] = [round(v, 4) for v in (one.value, one.low, one.high)]
    return found


def line(plan: Plan, found: Mapping[str, Any]) -> str:
    """A row of the table: percents with intervals."""

    def percent(name: str, sign: str = "") -> str:
        value, low, high = (f"{100 * v:{sign}.0f}" for v in found[name])
        return f"{value} [{low}, {high}]"

    cells = [f"{plan.fetched}", "replay" if plan.replay else "alone", f"{plan.images}"]
    cells += [f"{found['cpu_seconds']:.0f} s"]
    cells += [f"{name} {percent(name)}" for name in ("shown", "never", "never_entirely")]
    cells += [f"{name} {percent(name, '+')}" for name in ("old_change", "old_entirely_change")]
    cells += [f"false {percent('false')}"]
    return "\t".join(cells)


# --- the chart: two panels of shares in percent -----------------------------------------------

PAPER, INK, GREY, LINE = "#ffffff", "#1f2328", "#6e7781", "#e6e8eb"
COLOURS = ("#0969da", "#8250df", "#1a7f37", "#bc4c00", "#6e7781")
PANEL, MARGIN, BELOW, INSET = (460, 320), (60, 40), 160, 16  # pixels


def draw_charts(results: Sequence[Mapping[str, Any]], images: int, file: Path) -> None:
    """By images fetched on the left, by CPU-seconds on the right."""
    usual = [r for r in results if r["images"] == images]
    longest = [r for r in results if r["fetched"] == FETCHED[-1] and r["replay"]]
    sheet = Image.new("RGB", (2 * (PANEL[0] + 2 * MARGIN[0]), PANEL[1] + MARGIN[1] + BELOW), PAPER)
    by_pictures = {
        f"{title}, {'with' if replay else 'without'} replay": [
            (r["fetched"], r[name]) for r in usual if r["replay"] is replay
        ]
        for title, name in (("the word, never shown", "never"), ("old words", "old"))
        for replay in (True, False)
    }
    alone = [(r["fetched"], r["false"]) for r in usual if not r["replay"]]
    by_pictures["the word where nobody asked for it, without replay"] = alone
    by_seconds = {
        title: [(r["cpu_seconds"], r[name]) for r in longest]
        for title, name in (
            ("the word, shown", "shown"),
            ("the word, never shown", "never"),
            ("old words", "old"),
        )
    }
    panel(sheet, 0, "images with the word that were learnt from", by_pictures, FETCHED)
    ticks = [x for x, _ in sorted(by_seconds["old words"])]
    left, title = PANEL[0] + 2 * MARGIN[0], "CPU-seconds of fine-tuning"
    panel(sheet, left, f"{title}, {FETCHED[-1]} images with replay", by_seconds, ticks)
    sheet.save(file)


Point = tuple[float, Sequence[float]]


def panel(
    sheet: Image.Image,
    left: int,
    title: str,
    series: Mapping[str, Sequence[Point]],
    ticks: Sequence[float],
) -> None:
    """One panel: percent of samples over a logarithmic axis, with 95 % intervals."""
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    x0, y0 = left + MARGIN[0], MARGIN[1]
    low, high = np.log(min(ticks)), np.log(max(ticks))

    def place(x: float, share: float) -> tuple[float, float]:
        across = (np.log(x) - low) / max(high - low, 1e-9)
        inside = INSET + float(across) * (PANEL[0] - 2 * INSET)
        return x0 + inside, y0 + (1 - share) * PANEL[1]

    for share in (0, 0.25, 0.5, 0.75, 1):
        y = place(min(ticks), share)[1]
        pen.line((x0, y, x0 + PANEL[0], y), fill=LINE)
        pen.text((x0 - 10, y), f"{100 * share:.0f}", fill=GREY, font=font, anchor="rm")
    for tick in ticks:
        x = place(tick, 0)[0]
        pen.text((x, y0 + PANEL[1] + 6), f"{tick:g}", fill=GREY, font=font, anchor="ma")
    pen.text((x0, y0 - 12), "percent of samples", fill=GREY, font=font, anchor="ls")
    middle = (x0 + PANEL[0] / 2, y0 + PANEL[1] + 38)
    pen.text(middle, title, fill=INK, font=font, anchor="ms")
    for number, (name, points) in enumerate(series.items()):
        colour = COLOURS[number % len(COLOURS)]
        draw_series(pen, place, sorted(points), colour, shift=4 * number - 6)
        at = (x0, y0 + PANEL[1] + 50 + number * 18)
        pen.line((at[0], at[1] + 8, at[0] + 16, at[1] + 8), fill=colour, width=3)
        pen.text((at[0] + 22, at[1]), name, fill=INK, font=font)


def draw_series(
    pen: ImageDraw.ImageDraw,
    place: Callable[[float, float], tuple[float, float]],
    points: Sequence[Point],
    colour: str,
    *,
    shift: int,
) -> None:
    """A line through the shares, and a bar for each interval; shifted so that bars do not hide."""
    middles = []
    for x, (value, low, high) in points:
        (across, top), bottom, middle = place(x, high), place(x, low)[1], place(x, value)[1]
        across += shift
        pen.line((across, top, across, bottom), fill=colour)
        pen.ellipse((across - 4, middle - 4, across + 4, middle + 4), fill=colour)
        middles.append((across, middle))
    if len(middles) > 1:
        pen.line(middles, fill=colour, width=2)


if __name__ == "__main__":
    main()
