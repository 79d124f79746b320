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
from train.data.dataset import ImageSet
from train.data.prefetch import to_device
from train.model import diffusion
from train.randomness import generator_at
from train.resizing import bicubic_matrix, downsample
from train.size import Size
from train.text_encoder.embeddings import EncodedText

TAPS = 2  # pixels on each side that bicubic interpolation looks at


@dataclass(frozen=True)
class Crops:
    """The way from stored images to the crops of one stage.

    Only what is trained on is computed: of each image a box is read that holds its crop and
    `TAPS` low-resolution pixels around it, as far as the image goes, and reduced; of the
    low-resolution image only the part under the crop is enlarged. The result is that of reducing
    and enlarging whole images and cropping last.

    Corners lie on whole pixels of the low-resolution image.
    """

    full: Size  # of stored images
    stage: Size  # of the stage; `full` is a whole multiple of it
    conditioning_size: Size | None  # of the stage before; `stage` is a whole multiple of it
    crop: Size  # what is trained on

    @staticmethod
    def of(full: Size, stages: Sequence[Size], number: int, side: int) -> "Crops":
        """Those of a stage: a base sees whole images, the stages above at most `side` pixels."""
        stage = stages[number]
        if not number:
            return Crops(full, stage, None, stage)
        crop = Size(min(side, stage.width), min(side, stage.height))
        return Crops(full, stage, stages[number - 1], crop)

    @property
    def grid(self) -> Size:
        """The pixels that corners lie on."""
        return self.conditioning_size or self.stage

    @property
    def factor(self) -> int:
        """Pixels of the stage to one of the grid, along a side."""
        return self.stage.width // self.grid.width

    @property
    def box(self) -> Size:
        """What is read around each crop, in stored pixels."""
        scale = self.full.width // self.grid.width
        return Size(*(scale * side for side in self._box_size))

    @property
    def _margin(self) -> int:
        return TAPS if self.conditioning_size else 0  # pixels of the grid

    @property
    def _box_size(self) -> Size:
        across, down = (side // self.factor + 2 * self._margin for side in self.crop)
        return Size(min(across, self.grid.width), min(down, self.grid.height))

    def corners(self, chance_2B: Tensor) -> Tensor:
        """Top and left (B, 2) of each crop in pixels of the grid, every place equally likely.

        Args:
            chance_2B: uniform numbers in [0, 1).
        """
        down = (self.stage.height - self.crop.height) // self.factor + 1
        across = (self.stage.width - self.crop.width) // self.factor + 1
        return (chance_2B.T.double() * torch.tensor([down, across])).long()

    def box_corners(self, corner_B2: Tensor) -> Tensor:
        """Top and left (B, 2) of each box in stored pixels; boxes do not leave the image."""
        return self._box_cells(corner_B2) * (self.full.width // self.grid.width)

    def _box_cells(self, corner_B2: Tensor) -> Tensor:
        (across, down), (width, height) = self._box_size, self.grid
        last = torch.tensor([height - down, width - across])
        return (corner_B2 - self._margin).clamp(min=0).minimum(last)

    def cut(self, boxes_BCHW: Tensor, corner_B2: Tensor) -> tuple[Tensor, Tensor | None]:
        """The crops, and above a base stage the enlarged low-resolution image under them.

        Args:
            boxes_BCHW: what was read from `box_corners` on, `box` large, float32 on any device.
            corner_B2: as `corners` gave them, on the CPU.
        """
        start_B2 = self._box_cells(corner_B2)
        offset_B2 = (corner_B2 - start_B2) * self.factor
        scale = self.full.width // self.stage.width
        clean = _cut_each(downsample(boxes_BCHW, scale), offset_B2, self.crop)
        if self.conditioning_size is None:
            return clean, None
        small = downsample(boxes_BCHW, scale * self.factor)
        down, across = (self._upsampling_weights(axis, corner_B2, start_B2) for axis in (0, 1))
        place = boxes_BCHW.device
        return clean, to_device(down, place) @ small @ to_device(across, place).mT

    def _upsampling_weights(self, axis: int, corner_B2: Tensor, start_B2: Tensor) -> Tensor:
        """How a side of each crop (B, 1, pixels, cells) is made of the cells of its box."""
        whole = bicubic_matrix(self.grid[1 - axis], self.factor)
        pixels, cells = self.crop[1 - axis], self._box_size[1 - axis]
        places = zip((corner_B2 * self.factor)[:, axis], start_B2[:, axis], strict=True)
        return torch.stack([whole[None, p : p + pixels, c : c + cells] for p, c in places])


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
                row_B[set_B == n] = dataset.draw_rows(
                    images,
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


def _cut_each(images_BCHW: Tensor, corner_B2: Tensor, size: Size) -> Tensor:
    images_BHWC, (width, height) = images_BCHW.permute(0, 2, 3, 1), size
    parts = [
        image[top : top + height, left : left + width]
        for image, (top, left) in zip(images_BHWC, corner_B2.tolist(), strict=True)
    ]
    return torch.stack(parts).permute(0, 3, 1, 2)


def _mirror(images_BCHW: Tensor, which_B: Tensor) -> Tensor:
    return torch.where(which_B[:, None, None, None], images_BCHW.flip(-1), images_BCHW)
