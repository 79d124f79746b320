"""A scorer trained on the shards' own images, for sets that no public model knows.

Two towers look at an image and one table of words looks at its caption. A caption is the sum of
its words, so a combination that was never shown is still understood. The first tower sees shapes:
one grey channel, mixed from the colours with random weights of either sign, so that it cannot
lean on what is light or dark. The second sees colours at 16 pixels, too coarse for shapes to
matter. Each is trained to be right alone as well as together (the split is our choice: one tower
alone learns each combination by heart and is right on far fewer unseen ones).

An image is told from the captions of the images that are trained on, never from those of
held-out ones. In a set of one image a caption, a held-out caption could only ever be wrong, and
what is learnt from that is that its words do not go together. The network that judges is the one
that never saw the held-out images, so that what is measured on these holds for what it judges.

Letters in names: N images, B batch, C captions, D width, W words, H and W pixels.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from curate.errors import InputError
from curate.system.progress import SILENT, Progress
from curate.text import tokens
from train.checkpoints import checkpoint
from train.verification.pixels import resize, split_chunks, to_shape
from train.verification.question import Question
from train.verification.scorers import Label, Reference

SCORER_VERSION = "fubuki-contrastive-scorer/2"  # 1: judged after learning from all images
HELD_OUT_SHARE = 0.15  # share of images, by a hash of the key of the first of their copies
WIDTH = 96  # of a tower's answer
SHAPE_WIDTHS = (32, 64, 96, 128)
COLOUR_WIDTHS = (48, 96)
COLOUR_SIDE = 16  # pixels
DROPOUT = 0.1
BATCH_SIZE = 32
RATE, WARMUP_STEPS, DECAY = 3e-3, 30, 0.05
MAX_LABELS = 1024  # captions an image is told from in one step of training
VIEWS = (  # weights of red, green and blue that the shape tower is shown, answers averaged
    (0.3, 0.59, 0.11),
    (1.0, 0.0, 0.0),
    (0.0, 1.0, 0.0),
    (0.0, 0.0, 1.0),
    (1.0, -1.0, 0.0),
    (0.0, 1.0, -1.0),
    (1.0, 0.0, -1.0),
)
SHIFTS = ((0, 0), (1, 1))  # pixels; further views
TRAINING = "training the scorer"


class _DownBlock(nn.Module):
    """Half the height and width, then one residual pair of convolutions."""

    def __init__(self, width_in: int, width: int) -> None:
        super().__init__()
        self.down = nn.Conv2d(width_in, width, 3, 2, 1, bias=False)
        self.first = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.second = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for _ in range(3))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Same batch, `width` channels."""
        x = F.relu(self.norms[0](self.down(x_BCHW)))
        return F.relu(x + self.norms[2](self.second(F.relu(self.norms[1](self.first(x))))))


def _tower(stem: nn.Conv2d, widths: Sequence[int]) -> nn.Sequential:
    start = [stem, nn.BatchNorm2d(widths[0]), nn.ReLU()]
    shrinks = [_DownBlock(a, b) for a, b in pairwise(widths)]
    head = [nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Dropout(DROPOUT)]
    return nn.Sequential(*start, *shrinks, *head, nn.Linear(16 * widths[-1], WIDTH))


class TwoTowers(nn.Module):
    """Image towers and word table."""

    def __init__(self, words: int) -> None:
        """`words`: how many words are known."""
        super().__init__()
        self.shape = _tower(nn.Conv2d(1, SHAPE_WIDTHS[0], 4, 2, 1, bias=False), SHAPE_WIDTHS)
        self.colour = _tower(nn.Conv2d(3, COLOUR_WIDTHS[0], 3, 1, 1, bias=False), COLOUR_WIDTHS)
        self.words_WD = nn.Parameter(torch.randn(words, 2 * WIDTH) * WIDTH**-0.5)

    def forward(
        self, images_BCHW: Tensor, mix_BC11: Tensor, bag_CW: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Scores (B, C) of each tower, float32.

        Args:
            images_BCHW: in [-1/2, 1/2].
            mix_BC11: weights that make the grey image; B may be 1.
            bag_CW: 1 where the caption holds the word.
        """
        grey = (images_BCHW * mix_BC11).sum(1, keepdim=True)
        mean, spread = grey.mean((2, 3), keepdim=True), grey.std((2, 3), keepdim=True)
        grey = ((grey - mean) / (spread + 0.025)).contiguous(memory_format=torch.channels_last)
        coarse = F.adaptive_avg_pool2d(images_BCHW, COLOUR_SIDE)
        with torch.autocast(images_BCHW.device.type, torch.bfloat16):
            shape = self.shape(grey)
            colour = self.colour(coarse.contiguous(memory_format=torch.channels_last))
        said_CD = bag_CW @ self.words_WD
        return shape.float() @ said_CD[:, :WIDTH].T, colour.float() @ said_CD[:, WIDTH:].T


class Contrastive:
    """The scorer: of all captions the one that fits best."""

    name = "contrastive"

    def __init__(
        self, network: TwoTowers, reference: Reference, words: dict[str, int], side: int
    ) -> None:
        """`words`: word -> row of the table; `side`: pixels that images are looked at."""
        self.network, self._reference, self._words, self._side = network, reference, words, side
        self.unseen_N = np.zeros(len(reference.keys), bool)
        self.unseen_N[_split_held_out(reference)[1]] = True

    def cannot(self, question: Question) -> str | None:
        """A word it never saw in a true caption means nothing to it."""
        unknown = sorted(set(tokens.words(question.text)) - self._words.keys())
        return f"no true caption holds {unknown[0]!r}" if unknown else None

    def shows(
        self,
        images_NHWC: np.ndarray,
        asked_N: Sequence[Sequence[Question]],
        rows_N: np.ndarray | None = None,
    ) -> list[np.ndarray]:
        """As the best caption says."""
        return self._reference.answers(self.best(images_NHWC), asked_N)

    def best(self, images_NHWC: np.ndarray) -> np.ndarray:
        """Int64 (N): the candidate that fits best."""
        found: np.ndarray = self.scores(images_NHWC).argmax(1)
        return found

    @torch.inference_mode()
    def scores(self, images_NHWC: np.ndarray) -> np.ndarray:
        """Float (N, C): log probability among the candidates, averaged over views."""
        bag_CW = _bag_of_words(self._reference.candidates, self._words)
        self.network.eval()
        parts, views = [np.zeros((0, len(bag_CW)), np.float32)], list(product(VIEWS, SHIFTS))
        for part in split_chunks(images_NHWC):
            images = resize(part, (self._side, self._side))
            total = torch.zeros(len(images), len(bag_CW))
            for weights, shift in views:
                mix = torch.tensor(weights)[None, :, None, None]
                shape, colour = self.network(images.roll(shift, (2, 3)), mix, bag_CW)
                total += (shape + colour).log_softmax(1)
            parts.append((total / len(views)).numpy())
        return np.concatenate(parts)


def train_scorer(
    reference: Reference,
    *,
    cache: Path | None = None,
    images: int | None = None,
    seed: int = 0,
    progress: Progress = SILENT,
) -> Contrastive:
    """Train the scorer on the reference's images but the held-out ones, or read it from `cache`.

    Args:
        reference: the true images.
        cache: folder for the result, named by a hash of the images, captions, words and settings.
        images: images shown; None for 60 times the images, within 4,000 to 30,000, or once each if
            that is more.
        seed: of everything random.
        progress: counts the images shown.
    """
    side = max(16, min(64, max(reference.pixels_NHWC.shape[1:3]) // 16 * 16))
    small = _reduce_images(reference, side)
    count = len(small.keys)
    images = images or max(count, min(30_000, max(4_000, 60 * count)))
    words = {w: n for n, w in enumerate(sorted(_words_of_labels(small.labels)))}
    settings = [SCORER_VERSION, images, seed, side, *words]
    groups, labels = small.group_N.tolist(), small.label_N.tolist()
    facts = json.dumps([settings, small.keys, small.labels, labels, groups])
    digest = hashlib.sha256(facts.encode())
    digest.update(small.pixels_NHWC.data)
    file = cache / f"contrastive-{digest.hexdigest()[:24]}.safetensors" if cache else None
    network = _read_network(file, len(words)) if file and file.exists() else None
    if network is None:
        with torch.random.fork_rng(devices=[]):  # weights and dropout draw from the global one
            torch.manual_seed(seed)
            network = _train_network(small, words, side, images, seed, progress)
        if file:
            checkpoint.write_tensors(file, network.state_dict(), {})
    return Contrastive(network, reference, words, side)


def _train_network(
    reference: Reference,
    words: dict[str, int],
    side: int,
    images: int,
    seed: int,
    progress: Progress,
) -> TwoTowers:
    network = TwoTowers(len(words)).to(memory_format=torch.channels_last)
    generator = torch.Generator().manual_seed(seed)
    trainer = _Trainer(network, reference, _bag_of_words(reference.labels, words), side, generator)
    progress.count(TRAINING, 0, images)
    for shown in trainer.train(_split_held_out(reference)[0], images, RATE):
        progress.count(TRAINING, min(shown, images), images)
    progress.count(TRAINING, images, images)
    return network


@dataclass(frozen=True)
class _Trainer:
    """What a training run needs besides its rows."""

    network: TwoTowers
    reference: Reference
    bag_CW: Tensor
    side: int
    generator: torch.Generator  # of everything random

    def train(self, rows: np.ndarray, images: int, rate: float) -> Iterator[int]:
        """Show `images` images of `rows`; yields after each step how many it has shown."""
        network = self.network.train()
        optimizer = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=DECAY, fused=True)
        steps, order = max(1, images // BATCH_SIZE), torch.empty(0, dtype=torch.long)
        shown = torch.from_numpy(np.unique(self.reference.label_N[rows]))
        for step in range(steps):
            cosine = 0.5 + 0.5 * np.cos(np.pi * step / steps)
            optimizer.param_groups[0]["lr"] = rate * min(1, (step + 1) / WARMUP_STEPS) * cosine
            while len(order) < BATCH_SIZE:
                shuffled = torch.randperm(len(rows), generator=self.generator)
                order = torch.cat([order, torch.from_numpy(rows)[shuffled]])
            loss = self._loss(order[:BATCH_SIZE], shown)
            order = order[BATCH_SIZE:]
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            yield (step + 1) * BATCH_SIZE
        network.eval()

    def _loss(self, rows_B: Tensor, shown_C: Tensor) -> Tensor:
        """Told from captions of images that are shown, and from no others.

        A caption that is only ever wrong teaches that its words do not go together.
        """
        rows = rows_B.numpy()
        images = resize(self.reference.pixels_NHWC[rows], (self.side, self.side))
        label_B = torch.from_numpy(self.reference.label_N[rows])
        if len(shown_C) > MAX_LABELS:
            drawn = torch.randint(len(shown_C), (MAX_LABELS,), generator=self.generator)
            shown_C = torch.unique(torch.cat([label_B, shown_C[drawn]]))
        truth, bag_CW = torch.searchsorted(shown_C, label_B), self.bag_CW[shown_C]
        mix = torch.randn(len(images), 3, 1, 1, generator=self.generator)
        shape, colour = self.network(augment(images, self.generator), mix, bag_CW)
        alone = F.cross_entropy(shape, truth) + F.cross_entropy(colour, truth)
        return F.cross_entropy(shape + colour, truth) + 0.5 * alone


def augment(images_BCHW: Tensor, generator: torch.Generator) -> Tensor:
    """Move, turn, scale, blur, tint and noise images in [-1/2, 1/2] a little.

    Little enough that a skin tone stays the one it was, since what a caption says must remain true:
    5 % in size, 3 % of the side in place, 0.04 radians, 3 % in brightness, up to 4 grey levels of
    noise a channel on average; one batch in six is blurred.
    """
    count = len(images_BCHW)

    def drawn(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, 1, 1, 1, generator=generator)

    scale, angle = drawn(0.95, 1.05).flatten(), drawn(-0.04, 0.04).flatten()
    right, down = drawn(-0.06, 0.06).flatten(), drawn(-0.06, 0.06).flatten()
    cosine, sine = scale * angle.cos(), angle.sin()
    matrices = torch.stack([cosine, -sine, right, sine, cosine, down], 1).view(-1, 2, 3)
    where = F.affine_grid(matrices, list(images_BCHW.shape), align_corners=False)
    x = F.grid_sample(images_BCHW, where, padding_mode="border", align_corners=False)
    blur = int(torch.randint(12, (1,), generator=generator))
    if blur == 0:
        x = F.interpolate(F.avg_pool2d(x, 2), scale_factor=2, mode="bilinear")
    elif blur == 1:
        x = F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
    x = x * drawn(0.97, 1.03) + drawn(-0.01, 0.01)
    noise = torch.randn(x.shape, generator=generator)
    return (x + drawn(0, 0.03) * noise).contiguous(memory_format=torch.channels_last)


def _split_held_out(reference: Reference) -> tuple[np.ndarray, np.ndarray]:
    """Rows to train on, and held-out ones; copies go together, words left unseen go back."""
    first = [reference.keys[group] for group in reference.group_N]
    digests = [hashlib.sha256(f"held:{key}".encode()).hexdigest() for key in first]
    held = [row for row, d in enumerate(digests) if int(d[:8], 16) / 2**32 < HELD_OUT_SHARE]
    taught = sorted(set(range(len(digests))) - set(held))
    said = [_words_of_labels([reference.labels[label]]) for label in reference.label_N]
    seen = set().union(*(said[row] for row in taught))
    back = {reference.group_N[row] for row in held if not said[row] <= seen}
    taught += [row for row in held if reference.group_N[row] in back]
    held = [row for row in held if reference.group_N[row] not in back]
    return np.array(sorted(taught), dtype=np.int64), np.array(held, dtype=np.int64)


def _words_of_labels(labels: Sequence[Label]) -> set[str]:
    return {word for said in labels for text in said for word in tokens.words(text)}


def _bag_of_words(labels: Sequence[Label], words: dict[str, int]) -> Tensor:
    bag_CW = torch.zeros(len(labels), len(words))
    for row, said in enumerate(labels):
        for word in _words_of_labels([said]) & words.keys():
            bag_CW[row, words[word]] = 1
    return bag_CW


def _reduce_images(reference: Reference, side: int) -> Reference:
    """Images in memory, squeezed to `side` pixels a side where they are larger than that."""
    pixels_NHWC = reference.pixels_NHWC
    if max(pixels_NHWC.shape[1:3]) > side:
        pixels_NHWC = to_shape(pixels_NHWC, (side, side))
    return replace(reference, pixels_NHWC=np.ascontiguousarray(pixels_NHWC))


def _read_network(file: Path, words: int) -> TwoTowers | None:
    """The cached network; None if the file is broken, so that it is trained again."""
    try:
        tensors, _ = checkpoint.read_tensors(file)
        network = TwoTowers(words)
        network.load_state_dict(tensors)
    except (InputError, RuntimeError):
        return None
    return network.to(memory_format=torch.channels_last).eval()
