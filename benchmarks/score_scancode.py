"""Are the short texts that ScanCode knows licences by read as what ScanCode says they are?

    pip download --no-deps licensedcode-data==32.1.0
    python benchmarks/score_scancode.py licensedcode_data-32.1.0-py3-none-any.whl [--show 70]

ScanCode's rules (CC-BY-4.0 and Apache-2.0, https://github.com/aboutcode-org/scancode-toolkit) are
texts found in real files with what its curators took them for; nobody tuned on them here. Printed:
how many of at most `LONGEST` characters are read as the same licence, as its family, as another or
not at all, and those that are read as allowing more (`licence_oracle`). Where ScanCode itself says
less than a text does ("cc-by-3.0 AND free-unknown" of "CC-BY-3.0-DE"), it counts as another.
"""

import argparse
import re
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from fuzz_licences import granted
from licence_oracle import permissions

LONGEST = 250  # characters
SOME = r"(cc-|cc0|gfdl|odbl|ogl-|lal|free-art|etalab|dl-de|nlod|pddl|odc)[^ ]*"


def read_rules(path: Path) -> Iterator[tuple[str, str]]:
    """The SPDX id, or else ScanCode's expression, and the text of every short rule."""
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name).decode() for name in archive.namelist()}
    keys = {}
    for name, text in files.items():
        key = re.search(r"^spdx_license_key: (\S+)$", text, re.MULTILINE)
        if name.endswith(".LICENSE") and key:
            cc = re.match(r"LicenseRef-scancode-(cc-by.*)", key[1])
            keys[Path(name).stem] = cc[1].upper() if cc else key[1]
    for name, text in files.items():
        rule = re.match(r"---\n(.*?)\n---\n(.*)\Z", text, re.DOTALL)
        said = rule and re.search(r"^license_expression: (.*)$", rule[1], re.MULTILINE)
        if name.endswith(".RULE") and rule and said and len(rule[2].strip()) <= LONGEST:
            yield keys.get(said[1], said[1]), rule[2].strip()


def compare(right: str, read: str | None) -> str:
    """How what was read stands to what ScanCode says."""
    if read is None:
        return "not read"
    stem = read.removeprefix("LicenseRef-")
    if stem == right.removeprefix("LicenseRef-"):
        return "the same"
    if stem.endswith("-family") and right.removeprefix("LicenseRef-").startswith(stem[:-6]):
        return "its family"
    return "another" if permissions(read) <= permissions(right) else "another that allows more"


def main() -> None:
    """Print the counts, and what is read as allowing more."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--show", type=int, default=70)
    asked = parser.parse_args()
    counts: Counter[str] = Counter()
    more = []
    for right, text in read_rules(asked.wheel):
        read, _ = granted(text, "")
        found = compare(right, read)
        counts[f"all: {found}"] += 1
        if re.fullmatch(SOME, right, re.IGNORECASE):
            counts[f"of works and data: {found}"] += 1
        if found == "another that allows more":
            more.append((read, right, text))
    for what, count in sorted(counts.items()):
        print(f"{what}\t{count}")
    for read, right, text in more[: asked.show]:
        print(f"  {read}\t{right}\t{text!r}")


if __name__ == "__main__":
    main()
