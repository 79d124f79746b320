"""Batches: images drawn by position, cropped, reduced, noised, with their captions' states.

Letters in names: B batch, C channels, H and W pixels.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from train.config import TrainConfig
from train.data import dataset
from train.data.crops import Crops
from train.data.dataset import ImageSet
from train.data.prefetch import to_device
from train.model import diffusion
from train.randomness import generator_at
from train.size import Size
from train.text_encoder.embeddings import EncodedText


@dataclass(frozen=True)
class Batch:
    """What one step needs; a function of (seed, stage, images seen) alone."""

    clean_BCHW: Tensor
    noise_BCHW: Tensor
    sigma_B: Tensor
    text: tuple[Tensor, Tensor]
    conditioning: tuple[Tensor, Tensor] | None  # low-resolution image, upsampled, noised; its level
    set_B: Tensor  # int64: which set each image came from

    def microbatches(self, number: int) -> "list[Batch]":
        """The images in `number` parts of about equal size, in order; fewer if there are fewer."""
        number = min(number, len(self.clean_BCHW))

        def split(*tensors: Tensor) -> Iterable[Any]:
            return zip(*(tensor.tensor_split(number) for tensor in tensors), strict=True)

        images = split(self.clean_BCHW, self.noise_BCHW, self.sigma_B, self.set_B)
        low = split(*self.conditioning) if self.conditioning else [None] * number
        return [
            Batch(clean, noise, sigma, text, conditioning, of)
            for (clean, noise, sigma, of), text, conditioning in zip(
                images, split(*self.text), low, strict=True
            )
        ]


@dataclass(frozen=True)
class Mixture:
    """Images to draw from, with the share of a batch each set gets, and their encoded text."""

    sets: list[ImageSet]  # of one size
    shares: list[float]  # sum 1
    caption_rows: Mapping[str, int]  # caption -> row of `text`
    text: EncodedText

    def batch(
        self,
        config: TrainConfig,
        number: int,
        seen: int,
        count: int,
        *,
        rank: int = 0,
        world: int = 1,
        device: torch.device | str = "cpu",
    ) -> Batch:
        """The images at positions seen … seen + count - 1 of a stage's run.

        Every random number is drawn on the CPU: those of which an image needs one, for the whole
        batch, from (seed, stage, seen); its noise from (seed, stage, position). So shares of
        several processes, one after the other, are the batch of one, on any device. Each process
        reads, and draws noise for, its own images alone.

        Args:
            config: of the run.
            number: of the stage.
            seen: images drawn before.
            count: images in the batch, over all processes; at least one for each.
            rank: of this process, whose share is given.
            world: how many processes there are.
            device: where the share is wanted; from a thread, CUDA devices by number.
        """
        move = partial(to_device, device=torch.device(device))
        mine = torch.arange(count).tensor_split(world)[rank]
        generator = generator_at(config.seed, number, seen)
        strata_B = diffusion.stratified_uniform(count, generator)[mine]
        chance_6B = torch.rand(6, count, generator=generator)
        set_B, row_B = self._pick_rows(config, number, seen, count)
        states, mask = self._pick_states(set_B, row_B, chance_6B[0], mine)
        dropped_B, level_B, *chance_3B = chance_6B[1:, mine]
        crops = Crops.of(self.sets[0].size, config.stages, number, config.crop)
        clean, coarse = self._read_crops(
            crops, set_B[mine], row_B[mine], torch.stack(chance_3B), move, flip=config.flip
        )
        layers = 1 if coarse is None else 2
        noise = move(_noise((config.seed, number), seen + mine, layers, crops.crop))
        conditioning = None
        if coarse is not None:
            # so that flaws of drawn images are not taken for truth: Ho et al., arXiv:2106.15282
            level_B = move(level_B * config.noise_augmentation)
            conditioning = (coarse + level_B[:, None, None, None] * noise[:, 1], level_B)
        mean = diffusion.noise_mean(config.stages[number], conditioned=number > 0)
        sigma_B = move(diffusion.sample_sigma(strata_B, mean=mean))
        text = (move(states), move(mask * (dropped_B >= config.caption_dropout)[:, None]))
        return Batch(clean, noise[:, 0], sigma_B, text, conditioning, move(set_B[mine]))

    def _pick_rows(
        self, config: TrainConfig, number: int, seen: int, count: int
    ) -> tuple[Tensor, Tensor]:
        set_B, turn_B = dataset.interleave_sets(self.shares, seen, count)
        row_B = torch.empty_like(set_B)
        for n, images in enumerate(self.sets):
            turns = turn_B[set_B == n]  # one after the other, without gaps
            if len(turns):
                row_B[set_B == n] = dataset.rows_at(
                    len(images),
                    start=int(turns[0]),
                    number=len(turns),
                    seed=config.seed,
                    stream=number * len(self.sets) + n,
                )
        return set_B, row_B

    def _read_crops(
        self,
        crops: Crops,
        set_B: Tensor,
        row_B: Tensor,
        chance_3B: Tensor,
        move: Callable[[Tensor], Tensor],
        *,
        flip: bool,
    ) -> tuple[Tensor, Tensor | None]:
        """As `Crops.cut`; whether an image is mirrored, and where its crop lies, is up to chance.

        Pixels travel as bytes; the arithmetic is done on the device.
        """
        corner_B2, box = crops.corners(chance_3B[1:]), crops.box
        start_B2 = crops.box_corners(corner_B2)
        pixels_BHWC = torch.empty(len(set_B), box.height, box.width, 3, dtype=torch.uint8)
        for n, images in enumerate(self.sets):
            own = set_B == n
            pixels_BHWC[own] = images.windows(row_B[own].tolist(), start_B2[own].tolist(), box)
        clean, coarse = crops.cut(dataset.normalize(move(pixels_BHWC)), corner_B2)
        if flip:
            which_B = move(chance_3B[0] < 0.5)
            clean = _mirror(clean, which_B)
            coarse = None if coarse is None else _mirror(coarse, which_B)
        return clean, coarse

    def _pick_states(
        self, of_B: Tensor, row_B: Tensor, chance_B: Tensor, mine: Tensor
    ) -> tuple[Tensor, Tensor]:
        """States and mask of one caption of each image of this process.

        Each caption of an image is equally likely. Padded to the longest of the whole batch, so
        that every process sees the same shape.
        """
        drawn = []
        for of, row, chance in zip(of_B.tolist(), row_B.tolist(), chance_B.tolist(), strict=True):
            texts = self.sets[of].captions[row]
            drawn.append(self.caption_rows[texts[int(chance * len(texts))]])
        rows = torch.tensor(drawn, dtype=torch.long)
        states, mask = self.text.take(rows[mine])
        missing = max(1, int(self.text.lengths_N[rows].max())) - mask.shape[1]
        return F.pad(states, (0, 0, 0, missing)), F.pad(mask, (0, missing))


def _noise(stream: Sequence[int], position_B: Tensor, layers: int, size: Size) -> Tensor:
    """Standard normal noise (B, layers, 3, H, W) of the images at these positions of a run."""
    noise = torch.empty(len(position_B), layers, 3, size.height, size.width)
    for image, position in zip(noise, position_B.tolist(), strict=True):
        image.normal_(generator=generator_at(*stream, position))
    return noise


def _mirror(images_BCHW: Tensor, which_B: Tensor) -> Tensor:
    return torch.where(which_B[:, None, None, None], images_BCHW.flip(-1), images_BCHW)
