"""A decoded image as it is packed: scaled down, on a plain background, without metadata."""

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.dataset.folder import Store
from curate.images.decode import decode, flatten
from curate.system import sandbox

if TYPE_CHECKING:
    from PIL import Image

THUMBNAIL_QUALITY = 75  # of WebP
SMALL_SIDE = 256  # pixels, longer side of what an image is scaled down to and measured by
# suffix -> Pillow's name of the format, its options, and what a record says of it
ENCODINGS: dict[str, tuple[str, dict[str, Any], str]] = {
    "jpg": ("JPEG", {"quality": 95, "subsampling": 0, "optimize": True}, "JPEG, quality 95"),
    "png": ("PNG", {"compress_level": 6}, "PNG"),
    "webp": ("WEBP", {"lossless": True, "quality": 50, "method": 4}, "lossless WebP"),
}


def render_stored(
    root: str, sha256: str, size: int, format: str, background: str
) -> sandbox.JobResult:
    """Render the image with this hash in the store at `root`; for `sandbox.run_jobs`.

    Returns:
        As `render_image`, or ({"refused": REASON}, nothing).
    """
    data = Store(Path(root)).get(sha256)
    settings: dict[str, Any] = {"size": size, "format": format, "background": background}
    decoded = decode(data, at_least=pixels_needed(size))
    return render_image(decoded.image, **settings, original=decoded.size)


def pixels_needed(size: int) -> int:
    """What to decode of an image (`at_least`) that is scaled down to `size` and measured."""
    return 2 * max(size, SMALL_SIDE)


def render_image(
    image: "Image.Image", *, size: int, format: str, background: str, original: tuple[int, int]
) -> sandbox.JobResult:
    """A decoded image as it is packed, its shorter side at most `size` pixels.

    Args:
        image: as `decode_image` gives it; whole, or at least twice as large as what is asked for.
        size: pixels of the shorter side; a smaller image stays as it is.
        format: "jpg", "png" or "webp".
        background: a colour name or #rrggbb, seen through what is not opaque.
        original: width and height of the whole image, in pixels.

    Returns:
        The facts that a record states of it (`original_width`, `original_height`, `width`,
        `height`, `modified`, `format`) and its bytes; or ({"refused": "not-encodable:FORMAT"},
        nothing), since WebP ends at 16,383 pixels a side and JPEG at 65,535.
    """
    modified = [f"composed on {background}"] if image.mode != "RGB" else []
    small = flatten(scale_down(image, size, original), background)
    if small.size != original:
        modified.append("resized")
    name, options, words = ENCODINGS[format]
    modified += ["upright, in sRGB, metadata removed", f"re-encoded as {words}"]
    stream = io.BytesIO()
    try:
        small.save(stream, name, **options)
    except (OSError, ValueError):
        return {"refused": f"not-encodable:{format}"}, b""
    sides = {"original_width": original[0], "original_height": original[1]}
    sides |= {"width": small.width, "height": small.height}
    return {**sides, "modified": modified, "format": format}, stream.getvalue()


def scale_down(image: "Image.Image", size: int, original: tuple[int, int]) -> "Image.Image":
    """`image` with a shorter side of `size` pixels (Lanczos), in the proportions of `original`.

    It stays as it is where it is not larger than that; a huge JPEG is decoded smaller than it is.
    """
    shorter = min(original)
    if min(image.size) <= size:
        return image
    width, height = (max(1, round(side * size / shorter)) for side in original)
    return resize(image, (width, height))


def make_thumbnail(image: "Image.Image", side: int) -> bytes:
    """An image on white, for a page, as WebP.

    Args:
        image: as `decode_image` gives it; it may be scaled down itself.
        side: pixels of the longer side at most.
    """
    from PIL import Image

    small = flatten(image, "white")
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    small.save(stream, "WEBP", quality=THUMBNAIL_QUALITY, method=4)
    return stream.getvalue()


def scale_to_small(image: "Image.Image") -> "Image.Image":
    """`image` with a longer side of at most `SMALL_SIDE` pixels (triangle filter)."""
    longer = max(image.size)
    if longer <= SMALL_SIDE:
        return image
    width, height = (max(1, round(side * SMALL_SIDE / longer)) for side in image.size)
    return resize(image, (width, height), filter="bilinear")


def resize(
    image: "Image.Image", size: tuple[int, int], *, filter: str = "lanczos3"
) -> "Image.Image":
    """An "RGB", "RGBA" or "L" image of another size; colours count by their opacity.

    Whole numbers, so the result is the same on every machine. As Pillow's filter of that name,
    but for rounding, in a tenth of its time.

    Args:
        image: which.
        size: width and height of the result, in pixels.
        filter: a name in `cykooz_resizer.FilterType`; it is stretched where the result is smaller.
    """
    from cykooz_resizer import FilterType, ResizeAlg, ResizeOptions, Resizer
    from PIL import Image

    result = Image.new(image.mode, size)
    options = ResizeOptions(ResizeAlg.convolution(FilterType[filter]))
    Resizer().resize_pil(image, result, options)
    return result
