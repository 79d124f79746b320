"""Batches: pictures drawn by position, cropped, reduced, noised, with their captions' states.

Letters in names: B batch, C channels, H and W pixels.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from train import data, diffusion
from train.config import TrainConfig
from train.data import Pictures
from train.sampling import enlarge
from train.size import Size
from train.text import EncodedText


@dataclass(frozen=True)
class Batch:
    """What one step needs; a function of (seed, stage, images seen) alone."""

    clean_BCHW: Tensor
    noise_BCHW: Tensor
    sigma_B: Tensor
    text: tuple[Tensor, Tensor]
    low: tuple[Tensor, Tensor] | None  # enlarged low-resolution picture with noise, its level
    of_B: Tensor  # int64: which set each image came from

    def pieces(self, number: int) -> "list[Batch]":
        """The images in `number` parts of about equal size, in order; fewer if there are fewer."""
        number = min(number, len(self.clean_BCHW))
        return [self._cut(number, piece) for piece in range(number)]

    def to(self, device: torch.device | str) -> "Batch":
        """On a device."""
        return self._each(lambda tensor: tensor.to(device))

    def _cut(self, parts: int, part: int) -> "Batch":
        return self._each(lambda tensor: tensor.tensor_split(parts)[part])

    def _each(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        return Batch(
            change(self.clean_BCHW),
            change(self.noise_BCHW),
            change(self.sigma_B),
            (change(self.text[0]), change(self.text[1])),
            self.low and (change(self.low[0]), change(self.low[1])),
            change(self.of_B),
        )


@dataclass(frozen=True)
class Corpus:
    """Pictures to draw from, with the share of a batch each set gets, and their encoded text."""

    sets: list[Pictures]
    shares: list[float]  # sum 1
    captions: Mapping[str, int]  # caption -> row of `text`
    text: EncodedText

    def batch(
        self,
        config: TrainConfig,
        stage: int,
        seen: int,
        count: int,
        *,
        rank: int = 0,
        world: int = 1,
        device: torch.device | str = "cpu",
    ) -> Batch:
        """The images at positions seen … seen + count - 1 of this stage's run.

        Args:
            config: of the run.
            stage: its number.
            seen: images drawn before.
            count: images in the batch, over all processes.
            rank: of this process, whose share is given.
            world: how many processes there are.
            device: where the share is wanted.
        """
        generator = data.generator_at(config.seed, stage, seen)
        images, rows, of = [], [], []
        for n, pictures in enumerate(self.sets):
            start, end = self._drawn(n, seen), self._drawn(n, seen + count)
            drawn = data.draw(
                len(pictures),
                start=start,
                number=end - start,
                seed=config.seed,
                stream=stage * len(self.sets) + n,
            )
            images.append(pictures.images(drawn))
            of += [n] * len(drawn)
            for row in drawn.tolist():
                texts = pictures.captions[row]
                pick = int(torch.randint(len(texts), (1,), generator=generator))
                rows.append(self.captions[texts[pick]])
        states, mask = self.text.take(torch.tensor(rows))
        keep = torch.rand(count, 1, generator=generator) >= config.caption_dropout
        text = (states, mask * keep)
        whole = noised(torch.cat(images), text, torch.tensor(of), config, stage, generator)
        return whole._cut(world, rank).to(device)

    def _drawn(self, number: int, seen: int) -> int:
        """How many of the first `seen` images came from the set with this number."""
        before, upto = sum(self.shares[:number]), sum(self.shares[: number + 1])
        return round(seen * upto) - round(seen * before)


def noised(
    images_BCHW: Tensor,
    text: tuple[Tensor, Tensor],
    of_B: Tensor,
    config: TrainConfig,
    stage: int,
    generator: torch.Generator,
) -> Batch:
    """Resize, crop and draw noise for one batch of full-size pictures.

    A later stage is given the real low-resolution picture, with noise of a level drawn for each
    picture from [0, `low_noise`], and told that level (noise conditioning augmentation: Ho et
    al., arXiv:2106.15282, section 3).
    """
    size, count = config.stages[stage], len(images_BCHW)
    clean = reduce(images_BCHW, size)
    low_clean = None
    if stage:
        low_clean = enlarge(reduce(images_BCHW, config.stages[stage - 1]), size)
    if stage and max(size) > config.crop:
        step = size.width // config.stages[stage - 1].width * 8
        down = _window(size.height, config.crop, step, generator)
        across = _window(size.width, config.crop, step, generator)
        clean = clean[..., down, across]
        low_clean = low_clean[..., down, across] if low_clean is not None else None
    sigma = diffusion.draw_sigma(
        diffusion.stratified(count, generator),
        mean=diffusion.noise_mean(size, conditioned=stage > 0),
    )
    noise = torch.randn(clean.shape, generator=generator)
    low = None
    if low_clean is not None:
        level = torch.rand(count, generator=generator) * config.low_noise
        low_noise = torch.randn(clean.shape, generator=generator)
        low = (low_clean + level[:, None, None, None] * low_noise, level)
    return Batch(clean, noise, sigma, text, low, of_B)


def _window(side: int, crop: int, step: int, generator: torch.Generator) -> slice:
    """A random part of a side, at a multiple of `step` pixels."""
    if side <= crop:
        return slice(None)
    start = int(torch.randint((side - crop) // step + 1, (1,), generator=generator)) * step
    return slice(start, start + crop)


def reduce(images_BCHW: Tensor, size: Size) -> Tensor:
    """Average over squares down to `size`; pictures of that size are unchanged."""
    factor = images_BCHW.shape[-1] // size.width
    return F.avg_pool2d(images_BCHW, factor) if factor > 1 else images_BCHW
