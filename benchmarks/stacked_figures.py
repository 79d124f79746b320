"""Figures stacked from aligned layers of a CC0 tile set, with exact captions; some pairs hidden.

    python benchmarks/stacked_figures.py --tiles tiles-cc0.tar.gz --out figures [--pixels 16]

The archive is the CC0 export of the tiles of Dungeon Crawl Stone Soup (November 2015): under
`player/` lie layers of 32 x 32 pixels that fit on each other. A figure is a body, an armour, a
headgear and a weapon, on plain grey, "a lizard in a red robe with a straw hat and a bow". All
combinations are the true figures. A seventh of the pairs of armour and headgear is hidden: every
word is seen, and every body and weapon with each, but never these two together.

Written are the shards `seen` (to learn from) and `truth` (all figures), by `curate` itself.

Letters in names: N figures, H and W pixels.
"""

import argparse
import io
import itertools
import json
import shutil
import tarfile
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from curate.commands import build
from curate.dataset.folder import Dataset
from curate.errors import InputError
from curate.fetch.run import fetch_images
from curate.shards.pack import pack
from curate.sources.folder import SOURCE as FOLDER

BODIES = {
    "a human": "base/human_m",
    "a lizard": "base/draconian_green_m",
    "a demon": "base/demonspawn_black_m",
    "a bird": "base/tengu_winged_m",
}
ARMOURS = {
    "a red robe": "body/robe_red",
    "a blue robe": "body/robe_blue",
    "a green robe": "body/robe_green",
    "a white robe": "body/robe_white",
    "a yellow robe": "body/robe_yellow",
    "a purple robe": "body/robe_purple",
    "steel armour": "body/half_plate",
    "golden armour": "body/dragonarm_gold",
}
HEADGEAR = {
    "a golden crown": "head/crown_gold1",
    "a horned helmet": "head/viking_brown2",
    "a straw hat": "head/straw",
    "a red wizard hat": "head/wizard_red",
    "a blue wizard hat": "head/wizard_blue",
    "a green hood": "head/hood_green2",
    "a white turban": "head/turban_white",
    "a purple turban": "head/turban_purple",
}
WEAPONS = {
    "a staff": "hand1/staff_ruby",
    "a sword": "hand1/heavy_sword",
    "an axe": "hand1/battleaxe2",
    "a trident": "hand1/trident_demon",
    "a bow": "hand1/bow",
    "a whip": "hand1/black_whip",
}
SLOTS = (BODIES, ARMOURS, HEADGEAR, WEAPONS)
SIDE = 32  # pixels of a layer
GREY = (144, 144, 144)  # the plain background
HIDDEN_EVERY = 7  # one in so many pairs of armour and headgear is never shown
RIGHTS = {"license": "CC0-1.0", "author": "Dungeon Crawl Stone Soup tile artists"}


@dataclass(frozen=True)
class Figures:
    """Figures with what they show."""

    images_NHWC: np.ndarray  # uint8, RGB
    captions: list[str]  # all different
    attributes_N4: np.ndarray  # int64: rows of BODIES, ARMOURS, HEADGEAR, WEAPONS
    seen_N: np.ndarray  # bool; False where armour and headgear are a hidden pair

    def __len__(self) -> int:
        return len(self.captions)

    def select(self, rows: Sequence[int] | np.ndarray) -> "Figures":
        """Only the named rows, or those a mask marks."""
        kept = np.arange(len(self))[np.asarray(rows)]
        return Figures(
            self.images_NHWC[kept],
            [self.captions[row] for row in kept],
            self.attributes_N4[kept],
            self.seen_N[kept],
        )


def compose(tiles: Path, pixels: int = 16, hidden_shift: int = 0) -> Figures:
    """Every figure, the same ones in the same order always.

    Args:
        tiles: the archive, or the folder it was unpacked to.
        pixels: side of the images; 32 is that of the layers, others are scaled (box filter
            down, nearest up).
        hidden_shift: which pairs are hidden: 0 for those that settings were chosen on.

    Raises:
        InputError: a layer is missing, or of another size.
    """
    layers = read_layers(tiles, [path for slot in SLOTS for path in slot.values()])
    images, captions, attributes, seen = [], [], [], []
    for rows in itertools.product(*(range(len(slot)) for slot in SLOTS)):
        chosen = [list(slot.items())[n] for slot, n in zip(SLOTS, rows, strict=True)]
        words, paths = zip(*chosen, strict=True)
        images.append(stack_layers([layers[path] for path in paths], pixels))
        captions.append("{} in {} with {} and {}".format(*words))
        attributes.append(rows)
        seen.append(not is_hidden(rows[1], rows[2], hidden_shift))
    return Figures(np.stack(images), captions, np.array(attributes), np.array(seen))


def is_hidden(armour: int, head: int, shift: int = 0) -> bool:
    """Whether this pair is never shown: each armour and each headgear lacks one or two partners."""
    return (armour + 3 * head + shift) % HIDDEN_EVERY == 0


def read_layers(tiles: Path, names: Sequence[str]) -> dict[str, Image.Image]:
    """The named layers under `player/`, RGBA."""
    wanted = {f"player/{name}.png": name for name in names}
    found: dict[str, Image.Image] = {}
    if tiles.is_dir():
        for tail, name in wanted.items():
            for file in sorted(tiles.rglob(tail)):
                found[name] = layer(file.read_bytes())
    else:
        with tarfile.open(tiles) as archive:
            for member in archive:
                tail = "/".join(member.name.split("/")[-3:])
                file = archive.extractfile(member) if tail in wanted else None
                if file is not None:
                    found[wanted[tail]] = layer(file.read())
    if missing := sorted(set(names) - set(found)):
        fix = "name the archive of the CC0 tiles of November 2015"
        raise InputError(tiles, f"lacks player/{missing[0]}.png", fix=fix)
    if odd := [name for name, image in found.items() if image.size != (SIDE, SIDE)]:
        raise InputError(tiles, f"{odd[0]} is not {SIDE} x {SIDE} pixels", fix="another archive")
    return found


def layer(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data)).convert("RGBA")


def stack_layers(layers: Sequence[Image.Image], pixels: int) -> np.ndarray:
    """Layers over each other on grey, (pixels, pixels, 3) uint8."""
    picture = Image.new("RGBA", (SIDE, SIDE), (*GREY, 255))
    for image in layers:
        picture.alpha_composite(image)
    way = Image.Resampling.BOX if pixels < SIDE else Image.Resampling.NEAREST
    return np.asarray(picture.convert("RGB").resize((pixels, pixels), way))


def nearest(images_NHWC: np.ndarray, true: Figures) -> np.ndarray:
    """For each image the row of the true figure nearest to it, by squared difference."""
    known = true.images_NHWC.reshape(len(true), -1).astype(np.float32) / 255
    asked = images_NHWC.reshape(len(images_NHWC), -1).astype(np.float32) / 255
    # |a - k|^2 = |a|^2 - 2 a.k + |k|^2, where |a|^2 does not change the order
    chosen: np.ndarray = ((known**2).sum(1) - 2 * asked @ known.T).argmin(1)
    return chosen


def write_shards(figures: Figures, folder: Path) -> Path:
    """Pack figures as a dataset of `curate`, whose shards `train` reads; returns `folder`.

    A dataset that is already there stays as it is.
    """
    if not (folder / "shards" / "index.json").exists():
        shutil.rmtree(folder, ignore_errors=True)
        with tempfile.TemporaryDirectory() as made:
            source = Path(made) / "figures"
            write_folder(figures, source)
            dataset = Dataset(folder)
            fetch_images(dataset, FOLDER, source, options=RIGHTS)
        build.check_dataset(dataset)
        build.caption_dataset(dataset, per_image=1)
        pack(dataset, size=figures.images_NHWC.shape[1], format="png")
    return folder


def write_folder(figures: Figures, folder: Path) -> None:
    """PNG files and `metadata.jsonl`, as `curate fetch folder` reads them."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for caption, image in zip(figures.captions, figures.images_NHWC, strict=True):
        name = caption.replace(" ", "-") + ".png"
        Image.fromarray(image).save(folder / name)
        lines.append(json.dumps({"file_name": name, "text": caption}))
    (folder / "metadata.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def sheet(images_NHWC: np.ndarray, columns: int = 16, scale: int = 4) -> Image.Image:
    """Images side by side, enlarged."""
    height, width = images_NHWC.shape[1:3]
    rows = -(-len(images_NHWC) // columns)
    canvas = np.full((rows * height, columns * width, 3), 255, np.uint8)
    for n, image in enumerate(images_NHWC):
        top, left = n // columns * height, n % columns * width
        canvas[top : top + height, left : left + width] = image
    return Image.fromarray(canvas).resize((columns * width * scale, rows * height * scale), 0)


def right_share(figures: Figures, noise: float, seed: int = 0) -> float:
    """How often the nearest true figure is the right one under noise, in shades of 255."""
    random = np.random.default_rng(seed)
    noisy = figures.images_NHWC + random.normal(0, noise, figures.images_NHWC.shape)
    return float((nearest(noisy, figures) == np.arange(len(figures))).mean())


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--tiles", type=Path, required=True, help="archive of the CC0 tiles")
    options.add_argument("--out", type=Path, required=True, help="folder for the two datasets")
    options.add_argument("--pixels", type=int, default=16)
    given = options.parse_args()
    figures = compose(given.tiles, given.pixels)
    write_shards(figures.select(figures.seen_N), given.out / "seen-data")
    write_shards(figures, given.out / "truth-data")
    some = figures.select(np.random.default_rng(0).permutation(len(figures))[:128])
    sheet(some.images_NHWC).save(given.out / "figures.png")
    print(f"{len(figures)} figures, {int((~figures.seen_N).sum())} of them of hidden pairs")
    for noise in (10, 25, 50):
        share = right_share(figures, noise)
        print(f"  nearest true figure right under noise of {noise}/255: {share:.4f}")


if __name__ == "__main__":
    main()
