"""What files are by the endings of their names, in any case."""

import re

STORED_ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".jpe", ".jfif")  # images that are taken
OTHER_ENDINGS = tuple(".gif .bmp .tif .tiff .avif .heic .heif .jp2 .jxl .svg".split())  # not taken
IMAGE_ENDINGS = (*STORED_ENDINGS, *OTHER_ENDINGS)
JSON_ENDINGS = (".jsonl", ".ndjson", ".json")
DELIMITED_ENDINGS = (".csv", ".tsv", ".tab")
LIST_ENDINGS = (*JSON_ENDINGS, *DELIMITED_ENDINGS)
ARROW_ENDINGS = (".parquet", ".arrow")
TAR_ENDINGS = (
    *(".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz", ".tbz2", ".tar.xz", ".txz"),
    *(".tar.zst", ".tzst", ".tar.lz4"),  # not read, but named
)
# of an image, and the number behind it that parts its captions: `a.jpg#0`, as in Flickr8k
IMAGE_PATTERN = rf"(?:{'|'.join(map(re.escape, IMAGE_ENDINGS))})(?:#\d+)?"
_IMAGE = re.compile(rf".*{IMAGE_PATTERN}", re.IGNORECASE | re.DOTALL)


def is_image_name(name: str) -> bool:
    """Whether a file is an image by its name."""
    return name.lower().endswith(IMAGE_ENDINGS)


def is_tar(name: str) -> bool:
    """Whether a file is a tar by its name."""
    return name.lower().endswith(TAR_ENDINGS)


def is_address(text: str) -> bool:
    """Whether a text is an address on the web."""
    return text[:8].lower().startswith(("http://", "https://"))


def looks_like_image(text: str) -> bool:
    """Whether a text is an address, or the name of an image."""
    text = text.strip()
    return (is_address(text) and len(text.split()) == 1) or bool(_IMAGE.fullmatch(text))
