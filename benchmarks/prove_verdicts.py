"""Are verdicts right where the truth is known? Real images handed in as if a model had drawn them.

    python benchmarks/prove_verdicts.py --photos PHOTOS --word sunflower --other daisy --out proof
    python benchmarks/prove_verdicts.py --photos PHOTOS --word sunflower --other daisy --out proof \
        --drawings TILES --pixels 32

PHOTOS holds a folder of photographs for each of several words, named by the word (a plural s is
left off), TILES drawings named by what they show, in any depth. Half of each word's photographs,
200 at most, are what scorers compare with; those handed in are of the other half. Handed in as
drawn for prompts with the word are

    right     photographs of the word that nobody has seen: must work
    other     photographs of another word: must not
    copies    photographs that were trained on: must be called copies
    leak      photographs where the style of the drawings was asked for: must be called a leak

and with drawings right answers to prompts for that style are drawings of other things, since only
the style is judged there. Prompts without the word get right answers before and after. With
drawings the sets of the training are the drawings and the photographs of the word; the other words'
photographs are only compared with, and `--alone` leaves them out: then no scorer can know more
than photographs from drawings, and nothing may be told but leaks and copies.
"""

import argparse
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import numpy as np
from PIL import Image

from curate import Dataset, build_dataset, fetch_images
from curate.system.terminal import TerminalProgress
from train.sampling.sheets import IMAGE_LIST, write_lines
from train.verification.scorers import degrade
from train.verification.verdict import COPY, OLD_STYLE, WITH, WORD, Report, describe_judge
from train.verification.verify import Models, Truth, WordTest, verify_words

TRUE_IMAGES, DRAWINGS, OLD_PROMPTS = 200, 800, 40
PHOTO, DRAWN = "a photograph of a {}", "pixel art of a {}"
ASKED = ("{}", "a {}", "one {}", "a single {}", "some {}", "the {}", "a big {}", "a nice {}")


@dataclass(frozen=True)
class Data:
    """Files by word, those compared with and those kept aside."""

    true: Mapping[str, Sequence[Path]]
    unseen: Mapping[str, Sequence[Path]]
    drawings: Mapping[str, Path]  # by caption
    other_drawings: Sequence[Path]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--drawings", type=Path)
    parser.add_argument("--alone", action="store_true")
    parser.add_argument("--word", default="sunflower")
    parser.add_argument("--other", default="daisy")
    parser.add_argument("--pixels", type=int, default=64)
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--scorer", default="auto")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    data = split(args.photos, args.drawings)
    sets = write_sets(data, args)
    truth = Truth(sets["truth"], [sets[n] for n in ("old", "new") if n in sets], args.scorer)
    plan = list_prompts(data, args)
    hand_in(args.out / "before", plan, data, args, "before")
    for kind in ("right", "other", "copies", *(["leak"] if data.drawings else [])):
        drawn = hand_in(args.out / kind, plan, data, args, kind)
        with TerminalProgress() as progress:
            [report] = verify_words(
                WordTest([args.word], samples=args.samples),
                Models([drawn], before=args.out / "before"),
                truth,
                out=args.out / f"verify-{kind}",
                progress=progress,
            )
        show(kind, report)


def split(photos: Path, drawings: Path | None) -> Data:
    """The same choice whenever it is made."""
    shuffle = random.Random(0).shuffle
    true, unseen = {}, {}
    for folder in sorted(path for path in photos.iterdir() if path.is_dir()):
        files = sorted(folder.glob("*.jpg"))
        shuffle(files)
        half = min(TRUE_IMAGES, len(files) // 2)
        word = folder.name if folder.name.endswith("ss") else folder.name.removesuffix("s")
        true[word], unseen[word] = files[:half], files[half:]
    named: dict[str, Path] = {}
    files = sorted(drawings.rglob("*.png")) if drawings else []
    shuffle(files)
    for file in files:
        name = " ".join("".join(c if c.isalpha() else " " for c in file.stem).split())
        if name and np.asarray(Image.open(file).convert("RGBA").resize((8, 8))).std() > 1:
            named.setdefault(DRAWN.format(name), file)
    half = min(DRAWINGS, len(named) // 2)  # the others are kept aside
    return Data(true, unseen, dict(list(named.items())[:half]), [*named.values()][half : 2 * half])


def read(file: Path, side: int) -> np.ndarray:
    """On white, as a square of this side."""
    image = Image.open(file).convert("RGBA").resize((side, side), Image.Resampling.LANCZOS)
    white = Image.new("RGBA", image.size, "white")
    white.alpha_composite(image)
    return np.asarray(white.convert("RGB"))


def write_sets(data: Data, args: argparse.Namespace) -> dict[str, Path]:
    """Shards of the true images and of those that a model was trained on."""
    photos = [(PHOTO.format(word), file) for word, files in data.true.items() for file in files]
    new = [(caption, file) for caption, file in photos if args.word in caption]
    items = {"truth": [*data.drawings.items(), *(new if args.alone else photos)]}
    if data.drawings:
        items |= {"old": list(data.drawings.items()), "new": new}
    shards = {}
    for name, pairs in items.items():
        folder, dataset = args.out / f"{name}-images", Dataset(args.out / name)
        if not dataset.shards.exists():
            folder.mkdir(parents=True, exist_ok=True)
            for number, (caption, file) in enumerate(pairs):
                Image.fromarray(read(file, args.pixels)).save(folder / f"{number:05d}.png")
                (folder / f"{number:05d}.txt").write_text(caption)
            fetch_images(dataset, "folder", str(folder), options={"license": "own"})
            build_dataset(dataset, size=args.pixels, format="png")
        shards[name] = dataset.shards
    return shards


def list_prompts(data: Data, args: argparse.Namespace) -> list[str]:
    """Prompts with the word, in the old style if there is one, and without it."""
    photos = [PHOTO.replace("a {}", text) for text in ASKED]
    asked = [text.format(args.word) for text in photos]
    if not data.drawings:
        others = [word for word in data.true if word != args.word]
        return [*asked, *(text.format(word) for word in others for text in photos)]
    styled = [DRAWN.replace("a {}", text).format(args.word) for text in ASKED]
    return [*asked, *styled, *list(data.drawings)[:OLD_PROMPTS]]


def hand_in(
    folder: Path, prompts: Sequence[str], data: Data, args: argparse.Namespace, kind: str
) -> Path:
    """A folder of images with their list."""
    folder.mkdir(parents=True, exist_ok=True)
    numbers, lines = count(), []
    chance = np.random.default_rng(1)
    groups: dict[tuple[bool, ...], list[str]] = {}
    for prompt in prompts:
        has = (args.word in prompt, prompt == PHOTO.format(args.word), "pixel" in prompt)
        groups.setdefault(has, []).append(prompt)
    for group in groups.values():
        for turn in range(-(-args.samples // len(group))):
            for prompt in group:
                name = f"{next(numbers):05d}.png"
                pixels = answer(prompt, turn, data, args, kind)(chance)
                Image.fromarray(pixels).save(folder / name)
                lines.append({"file": name, "prompt": prompt, "seed": turn})
    (folder / IMAGE_LIST).write_bytes(write_lines(lines))
    return folder


def answer(
    prompt: str, turn: int, data: Data, args: argparse.Namespace, kind: str
) -> Callable[[np.random.Generator], np.ndarray]:
    """What is handed in for a prompt."""
    side = args.pixels
    if args.word not in prompt:
        if prompt in data.drawings:
            drawing = read(data.drawings[prompt], side)[None]
            return lambda _: degrade(drawing, np.random.default_rng(turn))[0]
        word = next(word for word in data.unseen if word in prompt)
        return lambda _: read(data.unseen[word][turn % len(data.unseen[word])], side)
    files: Sequence[Path] = data.unseen[args.word]
    if kind == "copies":
        files = data.true[args.word]
    elif kind in ("other", "before"):
        files = data.unseen[args.other if kind == "other" else [*data.unseen][-1]]
    if data.other_drawings and kind != "leak" and (kind == "before" or "pixel" in prompt):
        files = data.other_drawings
    return lambda chance: read(files[int(chance.integers(len(files)))], side)


def show(kind: str, report: Report) -> None:
    """The verdict, and what it rests on."""
    print(f"{kind}: {report.verdict}")
    for judge in report.judges:
        mark = "*" if report.chosen.get(WORD) == judge.name else " "
        print(f"  {mark} {describe_judge(judge, WORD)}")
    for f in report.figures:
        if f.counts and (f.measure in (COPY, OLD_STYLE) or (f.group, f.measure) == (WITH, WORD)):
            share = f.after.widest
            print(f"    {f.measure}: {share.value:.3f} [{share.low:.3f}, {share.high:.3f}]")
    for found in report.findings:
        if found.verdict == report.verdict:
            print(f"    {found.sentence}")


if __name__ == "__main__":
    main()
