"""Images that were drawn elsewhere: a folder of them, with a list of what was asked for.

Letters in names: N images, H and W pixels.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from curate.corpora.pixels import CaptionedImage, read_pixels
from curate.errors import InputError
from curate.system.files import file_sha256
from curate.system.progress import SILENT, Progress, track
from train.sampling.sheets import IMAGE_LIST
from train.size import Size
from train.verification.generate import hash_texts

WHOLE = 1 << 31  # pixels of the shorter side: more than any image has, so that none is reduced
SEEDS = range(1 << 64)  # those that a generator takes
ENDINGS = {".png", ".jpg", ".jpeg", ".webp"}
EXAMPLE = '{"file": "0001.png", "prompt": "a red fox", "seed": 1}'


@dataclass(frozen=True)
class ListedImage:
    """A line of the list."""

    line: int  # from 1
    name: str  # of the file, in the folder
    prompt: str
    seed: int


class FolderSampler:
    """Images of a folder with `generated.jsonl`, as if they were drawn when asked for.

    A line of the list is a JSON object with `file` (within the folder; JPEG, PNG or WebP),
    `prompt` and `seed`; other keys mean nothing here. Images are shown upright, in sRGB, on white
    where they are transparent. Where they differ in size, they are brought to the size that most
    have (of equally common ones the first): scaled in proportion until they cover it, up or down,
    and cropped in the middle, as true images are.
    """

    def __init__(self, folder: Path, size: Size | None = None, progress: Progress = SILENT) -> None:
        """Read the list and look at every image; `size` is theirs unless given.

        Raises:
            InputError: a line or an image cannot be used, by its number; the worst is not
                guessed at, all of them must be in order.
        """
        self.folder = folder
        listed = _read_list(folder / IMAGE_LIST)
        self._refuse({i.line: p for i in listed if (p := _check_file(folder, i.name))})
        self._images = [
            CaptionedImage(i.name, (i.prompt,), folder / i.name, _hash(folder / i.name))
            for i in listed
        ]
        seen = track(read_pixels(self._images, WHOLE), len(listed), "images read", progress)
        sizes: list[Size] = []
        broken = {}
        for image, pixels in zip(listed, seen, strict=True):
            if isinstance(pixels, str):
                broken[image.line] = f"{image.name} cannot be shown ({pixels})"
            else:
                sizes.append(Size(*pixels[:2]))
        self._refuse(broken)
        self.size = size or Counter(sizes).most_common(1)[0][0]
        self.listed = [(i.prompt, i.seed) for i in listed]
        self._row = {pair: row for row, pair in enumerate(self.listed)}
        self._other = sum(found != self.size for found in sizes)

    @property
    def digest(self) -> str:
        """SHA-256 of the list and of every image, in its order."""
        return hash_texts(
            [file_sha256(self.folder / IMAGE_LIST), *(i.sha256 for i in self._images)]
        )

    def describe(self) -> dict[str, Any]:
        """Where the images lie, their hashes, and how they were brought to one size."""
        fit = f"all {len(self._images)} images are of this size"
        if self._other:
            fit = (
                f"images of other sizes than {self.size} were scaled in proportion until they "
                "cover it, and cropped in the middle"
            )
        return {
            "kind": "images",
            "name": self.folder.resolve().name,
            "list": file_sha256(self.folder / IMAGE_LIST),
            "images": hash_texts([image.sha256 for image in self._images]),
            "count": len(self._images),
            "unlisted": self.unlisted(),
            "size": str(self.size),
            "fit": fit,
            "other_sizes": self._other,
        }

    def unlisted(self) -> list[str]:
        """Images beside the listed ones that the list does not name: they are not judged."""
        named = {image.file.resolve() for image in self._images}
        beside = {
            file for place in {i.file.parent for i in self._images} for file in place.iterdir()
        }
        more = [
            file
            for file in beside
            if file.suffix.lower() in ENDINGS
            and not file.name.startswith(".")
            and file.resolve() not in named
        ]
        return sorted(str(file.relative_to(self.folder)) for file in more)

    def generate(self, prompts: Sequence[str], seeds: Sequence[int]) -> np.ndarray:
        """The listed images of these (prompt, seed) pairs, uint8 (N, H, W, 3).

        Raises:
            InputError: a pair is not listed, or its image has changed since the list was read.
        """
        rows = [self._row.get(pair) for pair in zip(prompts, seeds, strict=True)]
        if None in rows:
            prompt, seed = prompts[rows.index(None)], seeds[rows.index(None)]
            problem = f"lists no image of {prompt!r} with seed {seed}"
            raise InputError(self.folder / IMAGE_LIST, problem, fix="draw it, and add its line")
        wanted = [self._images[row] for row in rows if row is not None]
        made = np.zeros((len(wanted), self.size.height, self.size.width, 3), np.uint8)
        for image, pixels, out_HWC in zip(wanted, read_pixels(wanted, WHOLE), made, strict=True):
            if isinstance(pixels, str):
                raise InputError(image.file, pixels, fix="type the same command again")
            width, height, data = pixels
            picture = Image.frombytes("RGB", (width, height), data)
            if picture.size != self.size:
                picture = ImageOps.fit(picture, self.size, Image.Resampling.LANCZOS)
            out_HWC[:] = np.asarray(picture)
        return made

    def _refuse(self, problems: dict[int, str]) -> None:
        _refuse_lines(self.folder / IMAGE_LIST, problems)


def _read_list(file: Path) -> list[ListedImage]:
    """Every line that is not empty.

    Raises:
        InputError: it cannot be read, or a line cannot be used.
    """
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        problem = f"cannot be read ({error})"
        raise InputError(file, problem, fix=f"UTF-8 text, an image a line: {EXAMPLE}") from None
    found: list[ListedImage] = []
    problems: dict[int, str] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        read = _read_line(number, line)
        if isinstance(read, str):
            problems[number] = read
        else:
            found.append(read)
    lines = dict[object, int]()
    for image in found:
        for key, what in (
            (image.name, "the file"),
            ((image.prompt, image.seed), "prompt and seed"),
        ):
            first = lines.setdefault(key, image.line)
            if first != image.line:
                problems[image.line] = f"{what} of line {first} again"
    _refuse_lines(file, problems)
    if not found:
        raise InputError(file, "lists no image", fix=f"write an image a line: {EXAMPLE}")
    return found


def _read_line(number: int, line: str) -> ListedImage | str:
    """What a line says, or what is wrong with it."""
    try:
        said = json.loads(line)
    except (ValueError, RecursionError):
        return "not JSON"
    if not isinstance(said, dict):
        return "not a JSON object"
    for name, kind in (("file", str), ("prompt", str), ("seed", int)):
        if name not in said:
            return f"no {name!r}"
        if type(said[name]) is not kind:
            return f"{name!r} is no {'text' if kind is str else 'whole number'}"
    if any("\ud800" <= letter <= "\udfff" for letter in said["file"] + said["prompt"]):
        return "holds half a letter (a surrogate), which no text has"
    if said["seed"] not in SEEDS:
        return f"the seed {said['seed']} is not between 0 and {SEEDS[-1]}"
    return ListedImage(number, said["file"], said["prompt"], said["seed"])


def _check_file(folder: Path, name: str) -> str | None:
    """Why a listed file is not looked at; None if it is. None outside the folder ever is."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name:
        return f"{name!r} is no path within the folder, with / between its parts"
    try:
        if not (folder / path).resolve().is_relative_to(folder.resolve()):
            return f"{name} is a link out of the folder"
        return None if (folder / path).is_file() else f"there is no image {name}"
    except (OSError, RuntimeError) as error:  # a name that no file can have, a link in a circle
        return f"{name[:80]} cannot be looked at ({error})"


def _refuse_lines(file: Path, problems: dict[int, str]) -> None:
    """Raise for the first of these lines, by number, and say how many more there are."""
    if not problems:
        return
    first = min(problems)
    more = f"; {len(problems) - 1} more lines cannot be used" if len(problems) > 1 else ""
    fix = f"draw the image again or take the line out; a line is such as {EXAMPLE}"
    raise InputError(f"{file} line {first}", f"{problems[first]}{more}", fix=fix)


def _hash(file: Path) -> str:
    try:
        return file_sha256(file)
    except OSError as error:
        raise InputError(
            file, f"cannot be read ({error.strerror})", fix="make it readable"
        ) from None
