"""Which part of an image a super-resolution stage trains on, and what it is given of the last one.

Letters in names: B batch, C channels, H and W pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from train.data.prefetch import to_device
from train.resizing import bicubic_matrix, downsample
from train.size import Size

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


def _cut_each(images_BCHW: Tensor, corner_B2: Tensor, size: Size) -> Tensor:
    images_BHWC, (width, height) = images_BCHW.permute(0, 2, 3, 1), size
    parts = [
        image[top : top + height, left : left + width]
        for image, (top, left) in zip(images_BHWC, corner_B2.tolist(), strict=True)
    ]
    return torch.stack(parts).permute(0, 3, 1, 2)
