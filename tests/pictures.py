"""Pictures that tests draw."""

import io

import numpy as np
from PIL import Image


def encoded(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    """The file of an image."""
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def photograph(seed: int, size: tuple[int, int] = (320, 240)) -> Image.Image:
    """Soft shapes with finer and finer detail, as photographs have."""
    rng = np.random.default_rng(seed)
    total = np.zeros((size[1], size[0], 3))
    for cells, weight in [(3, 90), (8, 45), (30, 22), (100, 10)]:
        field = rng.integers(0, 256, (cells, cells + 1, 3), dtype=np.uint8)
        wide = Image.fromarray(field).resize(size, Image.Resampling.BICUBIC)
        total += weight * (np.asarray(wide) / 128.0 - 1.0)
    return Image.fromarray((total + 128).clip(0, 255).astype(np.uint8))
