"""One image as it goes into a shard: scaled down, on a plain background, without metadata."""

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.dataset.store import Store
from curate.images.decode import decode_image, flatten, pixel_sha256

if TYPE_CHECKING:
    from PIL import Image

    from curate.system.sandbox import JobResult

ENCODINGS: dict[str, tuple[str, dict[str, Any], str]] = {
    "jpg": ("JPEG", {"quality": 95, "subsampling": 0, "optimize": True}, "JPEG, quality 95"),
    "png": ("PNG", {"compress_level": 6}, "PNG"),
    "webp": ("WEBP", {"lossless": True, "quality": 50, "method": 4}, "lossless WebP"),
}


def render_stored(
    root: str, sha256: str, known: str | None, size: int, format: str, background: str
) -> "JobResult":
    """Render a stored image, `known` being its pixel hash if measured; for `sandbox.run_jobs`.

    Returns:
        ({"refused": REASON}, nothing), or the facts that a record states of its pixels, and the
        bytes to pack.
    """
    try:
        image = decode_image(Store(Path(root)).get(sha256))
        return render_image(image, known=known, size=size, format=format, background=background)
    except (OSError, ValueError):  # WebP ends at 16,383 pixels a side, JPEG at 65,535
        return {"refused": f"not-encodable:{format}"}, b""


def render_image(
    image: "Image.Image", *, size: int, format: str, background: str, known: str | None = None
) -> "JobResult":
    """A decoded image's facts and its bytes as packed, its shorter side at most `size` pixels."""
    modified = []
    facts: dict[str, Any] = {
        "original_width": image.width,
        "original_height": image.height,
        "pixel_sha256": known or pixel_sha256(image),
    }
    if image.mode != "RGB":
        modified.append(f"composed on {background}")
    small = scale_down(flatten(image, background), size)
    if small.size != image.size:
        modified.append("resized")
    name, options, words = ENCODINGS[format]
    modified += ["upright, in sRGB, metadata removed", f"re-encoded as {words}"]
    stream = io.BytesIO()
    small.save(stream, name, **options)
    facts |= {"width": small.width, "height": small.height, "modified": modified, "format": format}
    return facts, stream.getvalue()


def scale_down(image: "Image.Image", size: int) -> "Image.Image":
    """`image` with a shorter side of `size` pixels (Lanczos); as it is if that would enlarge it."""
    from PIL import Image

    shorter = min(image.size)
    if shorter <= size:
        return image
    width, height = (max(1, round(side * size / shorter)) for side in image.size)
    return image.resize((width, height), Image.Resampling.LANCZOS)
