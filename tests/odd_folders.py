"""Odd folders of images, made by a seed, that know which captions were written into them.

Everything that people's folders hold beside images and their texts: links, other encodings, case,
dots, composed and decomposed letters, datasets and tars inside, hidden files, other formats, texts
of two images or of none, metadata of all kinds, folders named for trainers.
"""

import io
import json
import os
import random
import tarfile
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet
from servers import image_bytes

STEMS = (
    *(
        "0",
        "17",
        "IMG_2041",
        "ice_dragon",
        "a.b.c",
        "two words",
        "it's",
        "-dash",
        "UPPER",
        "schnée",
    ),
    *(
        "snow",
        "v1.5",
        "雪山",
        "Ünïcode",
        "x" * 60,
        "50%",
        "a&b",
        "(1)",
        "#1",
        "naïve café",
        ".5"[1:],
    ),
)
ENDINGS = (".png", ".png", ".png", ".PNG", ".jpg", ".JPG", ".jpeg", ".webp", ".Webp")
FOLDERS = (
    "",
    "",
    "",
    "sub/",
    "sub/deep/",
    "10_sks dog/",
    "1_dog/",
    "Ice Dragons/",
    "001/",
    "train/",
)
CAPTION_FIELDS = ("text", "caption", "Caption", " prompt", "TEXT ", "captions", "description")
NAME_FIELDS = ("file_name", "filename", "File Name", "path", "image")
# metadata told by the endings of the images that are named in it
TOLD_BY_ENDINGS = ("captions.txt", "captions_train2017.json", "annotations.json")
KINDS = {"jpg": "JPEG", "jpeg": "JPEG", "png": "PNG", "webp": "WEBP", "gif": "GIF", "bmp": "BMP"}
LETTERS = {  # encoding -> a word that is written differently in it than in UTF-8
    "cp1252": "café",
    "cp1251": "снежный дракон",
    "shift_jis": "雪のドラゴン",
    "gb18030": "冰龙",
    "utf-16": "café",
    "big5": "冰龍",
    "koi8-r": "ледяной дракон",
    "cp949": "눈사람",
}


@dataclass
class OddFolder:
    """What was written, and where."""

    root: Path
    chance: random.Random
    captions: dict[str, str] = field(default_factory=dict)  # caption -> file that holds it
    owners: dict[str, set[str]] = field(default_factory=dict)  # caption -> images, where certain
    images: set[str] = field(default_factory=set)  # files that are images of ours
    unnamed: set[str] = field(default_factory=set)  # images with no written caption
    taken: set[str] = field(default_factory=set)  # names in use, as a disk sees them at worst

    def words(self, file: str, *owners: str, more: str = "") -> str:
        """A caption that stands nowhere else."""
        thing = self.chance.choice(("boat", "dragon", "mill", "stone bridge", "knight, riding"))
        caption = f"a {thing} number {len(self.captions)}x{more and ' '}{more}"
        self.captions[caption] = file
        if owners:
            self.owners[caption] = set(owners)
        return caption

    def write(self, name: str, data: bytes | str) -> str:
        """A file, in folders that are made."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        return name

    def new_name(self, endings: tuple[str, ...] = ENDINGS) -> str:
        """A name that no other file has, in any case or composition, with any ending."""
        for _ in range(1000):
            stem = self.chance.choice(STEMS)
            if self.chance.random() < 0.4:
                stem += str(self.chance.randrange(100))
            if self.chance.random() < 0.3:
                stem = unicodedata.normalize("NFD", stem)
            folder = self.chance.choice(FOLDERS)
            plain = unicodedata.normalize("NFC", f"{folder}{stem}").casefold()
            near = (
                plain == t or t.startswith(f"{plain}.") or plain.startswith(f"{t}.")
                for t in self.taken
            )
            if not any(near):
                self.taken.add(plain)
                return f"{folder}{stem}{self.chance.choice(endings)}"
        raise AssertionError("names are used up")

    def image(self, endings: tuple[str, ...] = ENDINGS) -> str:
        """An image with a name of its own."""
        name = self.new_name(endings)
        kind = KINDS.get(name.rpartition(".")[2].lower(), "PNG")
        self.write(name, picture(self.chance.randrange(10_000), kind))
        if kind in ("PNG", "JPEG", "WEBP"):
            self.images.add(name)
        return name


@cache
def picture(number: int, kind: str) -> bytes:
    return image_bytes(number, kind=kind)


def without_ending(name: str) -> str:
    return name.rpartition(".")[0]


def odd_folder(root: Path, seed: int) -> OddFolder:
    """A folder of images and of anything else."""
    root.mkdir(parents=True)
    made = OddFolder(root, random.Random(seed))
    pieces = made.chance.choices(PIECES, k=made.chance.randint(3, 14))
    for piece in pieces:
        piece(made)
    if made.chance.random() < 0.6:
        metadata(made)
    if not made.images:
        bare_image(made)
    return made


def bare_image(made: OddFolder) -> None:
    made.unnamed.add(made.image())


def side_car(made: OddFolder) -> None:
    """One text beside an image, under any usual name."""
    image = made.image()
    stem = without_ending(image)
    ending = made.chance.choice((".txt", ".txt", ".caption", ".TXT", ".Caption"))
    name = made.chance.choice((stem, stem, image)) + ending
    how = made.chance.random()
    folder, _, last = name.rpartition("/")
    if how < 0.15:
        name = f"{folder}/{last.swapcase()}".lstrip("/")
    elif how < 0.3:
        form = made.chance.choice(("NFC", "NFD"))
        name = f"{folder}/{unicodedata.normalize(form, last)}".lstrip("/")
    lines = [made.words(name, image) for _ in range(made.chance.choice((1, 1, 1, 2, 3)))]
    between = made.chance.choice(("\n", "\r\n", "\n\n"))
    mark = made.chance.choice(("", "", "\ufeff"))
    made.write(name, mark + between.join(lines) + made.chance.choice(("", "\n")))


def json_beside(made: OddFolder) -> None:
    """What gallery-dl, boorus and others write beside an image."""
    image = made.image()
    name = made.chance.choice((without_ending(image), image)) + made.chance.choice(
        (".json", ".JSON")
    )
    value: str | list[str] = made.words(name, image)
    if made.chance.random() < 0.5:
        value = [value, made.words(name, image)]
    record = {
        made.chance.choice(CAPTION_FIELDS): value,
        "tags": made.chance.choice((["snow", "ice"], "snow, ice", "1girl long_hair", None)),
        "author": made.chance.choice(({"name": "Ida", "id": 3}, "Ida", None, ["Ida", "Bo"])),
        "license": made.chance.choice(
            (None, "CC-BY-4.0", 4, {"name": "CC0-1.0", "url": "https://c.example/"})
        ),
        "width": 8,
    }
    made.write(name, json.dumps(record, ensure_ascii=made.chance.random() < 0.5))


def title_beside(made: OddFolder) -> None:
    image = made.image()
    made.write(f"{image}.json", json.dumps({"title": "First snow", "tags": ["white", "field"]}))
    made.unnamed.add(image)


def several_beside(made: OddFolder) -> None:
    image = made.image()
    stem = without_ending(image)
    for name in (f"{stem}.txt", f"{stem}.caption", f"{image}.txt"):
        made.write(name, made.words(name, image))
    made.write(f"{stem}.json", json.dumps({"caption": made.words(f"{stem}.json", image)}))


def shared_text(made: OddFolder) -> None:
    """Two images of one name, and one text."""
    image = made.image((".png",))
    other = without_ending(image) + ".jpg"
    made.write(other, picture(made.chance.randrange(10_000), "JPEG"))
    made.images.add(other)
    name = without_ending(image) + ".txt"
    made.write(name, made.words(name, image, other))


def odd_encoding(made: OddFolder) -> None:
    image = made.image()
    encoding, letters = made.chance.choice(list(LETTERS.items()))
    name = without_ending(image) + ".txt"
    made.write(name, made.words(name, more=letters).encode(encoding))


def no_text(made: OddFolder) -> None:
    """A text file that holds none, or an object that is none."""
    image = made.image()
    name = without_ending(image)
    made.chance.choice(
        (
            lambda: made.write(f"{name}.txt", made.chance.choice(("", "\n \n", "\ufeff"))),
            lambda: made.write(f"{name}.txt", bytes(range(256))),
            lambda: made.write(
                f"{name}.json", made.chance.choice(("[]", "{", "3", "", '{"text": null}'))
            ),
            lambda: (made.root / f"{name}.txt").mkdir(),
        )
    )()
    made.unnamed.add(image)


def not_text(made: OddFolder) -> None:
    image = made.image()
    value = made.words(f"{image}.json")
    record = {"caption": made.chance.choice(({"en": value}, [[value]], [{"text": value}]))}
    made.write(f"{image}.json", json.dumps(record))
    made.unnamed.add(image)


def orphan(made: OddFolder) -> None:
    name = made.new_name((".txt", ".caption", ".TXT", ".json"))
    said = made.words(name)
    made.write(name, json.dumps({"caption": said}) if name.endswith("json") else said)


def hidden(made: OddFolder) -> None:
    place = made.chance.choice((".git/", ".cache/x/", "sub/.h/", "__MACOSX/"))
    number = made.chance.randrange(10_000)
    made.write(f"{place}{number}.png", picture(1, "PNG"))
    made.write(f"{place}{number}.txt", made.words(f"{place}{number}.txt"))
    name = made.chance.choice((f"._{number}.png", f".{number}.txt", f"sub/.{number}.caption"))
    made.write(name, made.words(name))


def other_format(made: OddFolder) -> None:
    """An image that is not taken, perhaps with one that is beside it."""
    image = made.image((".gif", ".bmp", ".GIF"))
    text = without_ending(image) + ".txt"
    if made.chance.random() < 0.3:
        twin = without_ending(image) + ".png"
        made.write(twin, picture(made.chance.randrange(10_000), "PNG"))
        made.images.add(twin)
        made.write(text, made.words(text, twin))
    else:
        made.write(text, made.words(text))


def strange_file(made: OddFolder) -> None:
    """Files that are no images, some with a text beside them."""
    ending = made.chance.choice(
        (".heic", ".jxl", ".psd", ".mp4", ".zip", ".safetensors", ".md", ".npz")
    )
    name = made.new_name((ending,))
    made.write(name, b"\x00\x01odd" + bytes(40))
    if made.chance.random() < 0.5:
        text = without_ending(name) + ".txt"
        made.write(text, made.words(text))


def wrong_ending(made: OddFolder) -> None:
    """An image whose name does not say so."""
    image = made.new_name(("", ".gif", ".dat", ".image"))
    made.write(image, picture(made.chance.randrange(10_000), "PNG"))
    made.images.add(image)
    folder, _, last = image.rpartition("/")
    stem = last.rpartition(".")[0] or last
    text = f"{folder}/{stem}.txt".lstrip("/")
    made.write(text, made.words(text, image))


def empty_image(made: OddFolder) -> None:
    image = made.image()
    made.write(image, b"")
    made.images.discard(image)
    name = without_ending(image) + ".txt"
    made.write(name, made.words(name))


def linked_folder(made: OddFolder) -> None:
    """A folder elsewhere, reached by one link or by two."""
    number = made.chance.randrange(10**9)
    elsewhere = made.root.parent / f"{made.root.name}-elsewhere" / str(number)
    elsewhere.mkdir(parents=True)
    (elsewhere / "far.png").write_bytes(picture(number % 10_000, "PNG"))
    link = f"more{number}"
    if made.chance.random() < 0.3:
        (made.root / f"zz{number}").symlink_to(elsewhere)
    (made.root / link).symlink_to(os.path.relpath(elsewhere, made.root))
    said = made.words(f"{link}/far.txt", f"{link}/far.png")
    (elsewhere / "far.txt").write_text(said)
    (elsewhere / "back").symlink_to(made.chance.choice((elsewhere, made.root, made.root.parent)))
    made.images.add(f"{link}/far.png")


def loop(made: OddFolder) -> None:
    link = made.root / f"loop{made.chance.randrange(10**9)}"
    link.symlink_to(made.chance.choice((".", "..", str(made.root.resolve()), "/")))


def linked_files(made: OddFolder) -> None:
    image = made.image()
    stem = without_ending(image)
    real = made.root.parent / f"{made.root.name}-texts"
    real.mkdir(exist_ok=True)
    number = len(list(real.iterdir()))
    (real / f"{number}.text").write_text(made.words(f"{stem}.txt", image))
    (made.root / f"{stem}.txt").symlink_to(real / f"{number}.text")


def link_to_nothing(made: OddFolder) -> None:
    name = made.new_name((".png", ".jpg"))
    (made.root / name).parent.mkdir(parents=True, exist_ok=True)
    (made.root / name).symlink_to("nowhere")
    text = without_ending(name) + ".txt"
    if made.chance.random() < 0.5:
        made.write(text, made.words(text))
    else:
        (made.root / text).symlink_to("nowhere")


def dataset_inside(made: OddFolder) -> None:
    """Data of another kind, which another reader reads."""
    place = f"set{made.chance.randrange(10**9)}"
    made.write(f"{place}/notes.txt", made.words(f"{place}/notes.txt"))
    kind = made.chance.choice(("manifest.parquet", "data.parquet", "saved", "tar"))
    if kind == "tar":
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w") as tar:
            text = made.words(f"{place}/000.tar").encode()
            info = tarfile.TarInfo("a.txt")
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text))
        made.write(f"{place}/000.tar", file.getvalue())
    elif kind == "saved":
        made.write(f"{place}/dataset_info.json", "{}")
        made.write(f"{place}/state.json", "{}")
    else:
        table = pa.table({"text": [made.words(f"{place}/{kind}")]})
        parquet.write_table(table, made.root / place / kind)


def tar_inside(made: OddFolder) -> None:
    name = made.new_name((".tar", ".tar.gz", ".parquet"))
    made.write(name, b"any")


PIECES: tuple[Callable[[OddFolder], None], ...] = (
    *(bare_image, side_car, side_car, side_car, json_beside, title_beside, several_beside),
    *(shared_text, odd_encoding, no_text, not_text, orphan, hidden, other_format, strange_file),
    *(wrong_ending, empty_image, linked_folder, loop, linked_files, link_to_nothing),
    *(dataset_inside, tar_inside),
)


def metadata(made: OddFolder) -> None:
    """A file that says what several images show, names written in any way."""
    write = made.chance.choice(list(WRITERS))
    file = made.chance.choice(WRITERS[write])
    if rows := list(_rows(made, file)):
        write(made, file, rows)


def _rows(made: OddFolder, file: str) -> Iterator[tuple[str, str]]:
    chosen = made.chance.sample(
        sorted(made.images), min(len(made.images), made.chance.randint(1, 4))
    )
    for image in chosen:
        if file in TOLD_BY_ENDINGS and image.rpartition(".")[2].lower() not in KINDS:
            continue
        made.unnamed.discard(image)
        yield _written(made, image, file), made.words(file, image)
    if made.chance.random() < 0.4:
        name = made.chance.choice(("gone.png", "../outside.png", "/etc/gone.png", "no/such/x.jpg"))
        yield name, made.words(file)


def _written(made: OddFolder, image: str, file: str) -> str:
    ways = [
        image,
        image.replace("/", "\\"),
        str((made.root / image).absolute()),
        unicodedata.normalize("NFD", image),
        unicodedata.normalize("NFC", image),
        f"./{image}",
        image.swapcase(),
    ]
    return made.chance.choice(ways)


def _as_csv(made: OddFolder, file: str, rows: list[tuple[str, str]]) -> None:
    import csv

    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([made.chance.choice(NAME_FIELDS), made.chance.choice(CAPTION_FIELDS)])
    writer.writerows(rows)
    made.write(file, made.chance.choice(("", "\ufeff")) + text.getvalue())


def _as_lines(made: OddFolder, file: str, rows: list[tuple[str, str]]) -> None:
    name, caption = made.chance.choice(NAME_FIELDS), made.chance.choice(CAPTION_FIELDS)
    values = [
        json.dumps({name: n, caption: made.chance.choice((c, [c])), "size": 3}) for n, c in rows
    ]
    made.write(file, "\n".join(values) + "\n")


def _as_parquet(made: OddFolder, file: str, rows: list[tuple[str, str]]) -> None:
    name, caption = made.chance.choice(NAME_FIELDS), made.chance.choice(CAPTION_FIELDS)
    table = pa.table({name: [n for n, _ in rows], caption: [c for _, c in rows]})
    parquet.write_table(table, made.root / file)


def _as_kohya(made: OddFolder, file: str, rows: list[tuple[str, str]]) -> None:
    made.write(file, json.dumps({n: {"caption": c} for n, c in rows}))


def _as_coco(made: OddFolder, file: str, rows: list[tuple[str, str]]) -> None:
    images = [{"id": number, "file_name": n} for number, (n, _) in enumerate(rows)]
    said = [{"image_id": n, "id": 9 + n, "caption": c} for n, (_, c) in enumerate(rows)]
    made.write(file, json.dumps({"images": images, "annotations": said}))


def _as_tabs(made: OddFolder, file: str, rows: list[tuple[str, str]]) -> None:
    made.write(file, "".join(f"{n}\t{c}\n" for n, c in rows))


WRITERS = {
    _as_tabs: ("captions.txt",),
    _as_csv: ("metadata.csv", "captions.csv"),
    _as_lines: ("metadata.jsonl", "captions.jsonl"),
    _as_parquet: ("metadata.parquet",),
    _as_kohya: ("meta.json", "meta_cap.json"),
    _as_coco: ("captions_train2017.json", "annotations.json"),
}
