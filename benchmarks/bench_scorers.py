"""Scorers that learn from true images: how often are they right on images they have not seen?

    python benchmarks/bench_scorers.py --images FOLDER_OR_TAR [--encoder efficientnet] [--side 64]
        [--each 200] [--aside 100] [--later 100] [--kinds examples,neighbours]

FOLDER_OR_TAR holds a folder for each word (its name) with images of it. The middle squares are
reduced to `--side` pixels. Of each word `--aside` images are left alone: on those of the flowers
the choices were made (the side that EfficientNet sees, cosine, the threshold of the regression;
type `--on-aside` to repeat them). `--each` further ones are the reference, and `--later` still
others stand for drawn ones. Near copies, as `Reference` groups them, are kept on one side.

The table: of the reference's images, each judged by who has not seen it, the share of a word's own
that it is seen in (found), and of the others' that it is not (refused), with 95 % intervals; and
the same of the later images, which shows whether the first two columns can be believed. Then, of
all words, the share of the reference's images whose own word comes first: by their nearest image,
by their fifteen nearest, by regressions, and by the nearest of raw pixels.
"""

import argparse
import io
import tarfile
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

from curate.vision.encoders import load_image_encoder
from train.verification.cross_fitting import fit_logistic
from train.verification.examples import FITS, FromExamples
from train.verification.intervals import wilson
from train.verification.question import Question
from train.verification.scorers import Reference

SEED = 7
IMAGES = (".jpg", ".jpeg", ".png", ".webp")


def read_files(place: Path) -> Iterator[tuple[str, str, bytes]]:
    """Word, name and bytes of each image."""
    if place.is_dir():
        for path in sorted(place.glob("*/*")):
            if path.suffix.lower() in IMAGES:
                yield path.parent.name, path.name, path.read_bytes()
        return
    with tarfile.open(place) as archive:
        for member in sorted(archive.getmembers(), key=lambda m: m.name):
            if member.isfile() and Path(member.name).suffix.lower() in IMAGES:
                file = archive.extractfile(member)
                assert file
                yield Path(member.name).parent.name, Path(member.name).name, file.read()


def read_parts(place: Path, counts: Sequence[int], side: int) -> list[tuple[np.ndarray, list[str]]]:
    """Images and words of each part: so many of each word, drawn by chance."""
    by_word: dict[str, list[bytes]] = {}
    for word, _, data in read_files(place):
        by_word.setdefault(word, []).append(data)
    random, parts = np.random.default_rng(SEED), [([], []) for _ in counts]
    for word, found in sorted(by_word.items()):
        order = iter(random.permutation(len(found)))
        for (pixels, words), count in zip(parts, counts, strict=True):
            some = [square(found[n], side) for n in islice(order, count)]
            pixels.extend(some)
            words.extend([word] * len(some))
    return [(np.stack(pixels), words) for pixels, words in parts if pixels]


def square(data: bytes, side: int) -> np.ndarray:
    image = Image.open(io.BytesIO(data)).convert("RGB")
    short = min(image.size)
    left, top = (image.width - short) // 2, (image.height - short) // 2
    box = (left, top, left + short, top + short)
    return np.asarray(image.resize((side, side), Image.Resampling.LANCZOS, box))


def rate(hits: np.ndarray) -> str:
    low, high = wilson(int(hits.sum()), len(hits))
    return f"{hits.mean():.3f} ({low:.2f}-{high:.2f})"


def measure(
    scorer: FromExamples, reference: Reference, later: tuple[np.ndarray, list[str]] | None
) -> None:
    words = [label[0] for label in reference.labels]
    questions = [Question(word) for word in words]
    rows, truth = np.arange(len(reference.keys)), reference.label_N
    said = np.array(scorer.shows(reference.pixels_NHWC, [questions] * len(rows), rows))
    columns = [(said, truth)]
    if later:
        images = later[0]
        met = np.array(scorer.shows(images, [questions] * len(images)))
        columns.append((met, np.array([words.index(word) for word in later[1]])))
    for column, word in enumerate(words):
        cells = [
            rate(one[own == column, column]) + "\t" + rate(~one[own != column, column])
            for one, own in columns
        ]
        print(scorer.name, word, *cells, sep="\t", flush=True)
    means = [
        f"{np.mean([one[own == c, c].mean() for c in range(len(words))]):.3f}\t"
        f"{np.mean([1 - one[own != c, c].mean() for c in range(len(words))]):.3f}"
        for one, own in columns
    ]
    print(scorer.name, "(mean)", *means, sep="\t", flush=True)


def first_words(features_ND: np.ndarray, label_N: np.ndarray, group_N: np.ndarray) -> list[float]:
    """Share of images whose own word comes first among their 1 and 15 nearest of other groups."""
    unit = features_ND / np.linalg.norm(features_ND, axis=1, keepdims=True)
    near = np.where(group_N[:, None] == group_N, -np.inf, unit @ unit.T)
    votes = np.eye(label_N.max() + 1)[label_N[near.argsort(1)[:, ::-1][:, :15]]]
    return [float((votes[:, :k].sum(1).argmax(1) == label_N).mean()) for k in (1, 15)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--encoder", default="efficientnet")
    parser.add_argument("--kinds", default=",".join(FITS))
    parser.add_argument("--device", default="cpu")
    for name, default in (("side", 64), ("each", 200), ("aside", 100), ("later", 100)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--on-aside", action="store_true")
    args = parser.parse_args()

    counts = [args.aside, args.each, args.later]
    aside, here, later = read_parts(args.images, counts, args.side)
    images, words = aside if args.on_aside else here
    reference = Reference.of(images, [str(n) for n in range(len(words))], [[w] for w in words])
    group_N, began = reference.group_N, time.process_time()
    encoder = load_image_encoder(args.encoder, usage="--encoder NAME", device=args.device)
    print(f"{len(words)} images of {len(set(words))} words at {args.side} px, ", end="")
    print(f"{len(words) - len(set(group_N.tolist()))} of them copies; {encoder.name}", end=" ")
    print(encoder.digest[:12])
    print("scorer\tword\tfound\trefused\tlater found\tlater refused")
    for kind in args.kinds.split(","):
        scorer = FromExamples(reference, encoder, kind, device=args.device)
        measure(scorer, reference, None if args.on_aside else later)
    features_ND, label_N = scorer.features_ND, reference.label_N
    nearest, fifteen = first_words(features_ND, label_N, group_N)
    pixels_ND = images.reshape(len(images), -1) / 255 - 0.5
    raw = first_words(pixels_ND, label_N, group_N)[0]
    targets_NW = label_N[:, None] == np.arange(len(reference.labels))
    judge = fit_logistic(features_ND, targets_NW, group_N, device=args.device)
    best_N = judge.unseen_logits(np.arange(len(label_N))).argmax(1)
    print(f"own word first\tnearest {nearest:.3f}\tfifteen nearest {fifteen:.3f}", end="\t")
    print(f"regressions {(best_N == label_N).mean():.3f}\traw pixels {raw:.3f}")
    print(f"{time.process_time() - began:.0f} CPU-seconds")


if __name__ == "__main__":
    main()
