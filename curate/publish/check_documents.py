"""Of a published folder: do its card, its Croissant and its texts agree with its files?"""

import fnmatch
import json
import logging
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from curate.publish.contents import DATA
from curate.publish.croissant import CONFORMS_TO, CROISSANT_NAME, TAR
from curate.publish.folder import README_NAME
from curate.publish.leaks import find_leak
from curate.publish.tables import METADATA_NAME, URLS_NAME

Finding = tuple[str, str]


def check_texts(folder: Path, there: list[str]) -> Iterator[Finding]:
    """What stands in a text that nobody else should read; records and tables are read elsewhere."""
    for name in there:
        if not name.endswith((".tar", ".parquet")):
            text = (folder / name).read_bytes().decode("utf-8", "replace")
            if leak := find_leak(text):
                yield f"leak:{leak}", name


def check_croissant(
    folder: Path, listed: dict[str, str], not_checked: list[str]
) -> Iterator[Finding]:
    """Whether its files are those that are there, and mlcroissant has nothing against it."""
    try:
        value = json.loads((folder / CROISSANT_NAME).read_bytes())
        told = {
            node["contentUrl"]: node["sha256"]
            for node in value["distribution"]
            if node["@type"] == "cr:FileObject"
        }
        columns = {
            (field["source"]["fileObject"]["@id"], field["source"]["extract"]["column"])
            for records in value["recordSet"]
            for field in records["field"]
            if "fileObject" in field.get("source", {})
        }
        inside = {
            node["@id"]
            for files in value["distribution"]
            if files["@type"] == "cr:FileSet"
            for node in _as_list(files["containedIn"])
        }
        ids = {n["@id"] for n in value["distribution"] if n.get("encodingFormat") == TAR}
        conforms = value["conformsTo"]
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        yield "croissant-unreadable", CROISSANT_NAME
        return
    if conforms != list(CONFORMS_TO) or inside != ids:
        yield "croissant-differs", CROISSANT_NAME
    data = {n: sha256 for n, sha256 in listed.items() if n.endswith((".tar", ".parquet"))}
    for name in told.keys() | data.keys():
        if told.get(name) != data.get(name):
            yield "croissant-differs", name
    for name in (METADATA_NAME, URLS_NAME):
        wanted = {column for file, column in columns if file == name}
        if name in listed and not wanted <= _columns_of(folder / name):
            yield "croissant-differs", name
    yield from _validate(folder / CROISSANT_NAME, not_checked)


def _columns_of(file: Path) -> set[str]:
    import pyarrow as pa
    import pyarrow.parquet as parquet

    try:
        return {*parquet.read_schema(file).names}
    except (pa.ArrowException, OSError):
        return set()


def _validate(file: Path, not_checked: list[str]) -> Iterator[Finding]:
    """What mlcroissant says of it, where that is installed."""
    if find_spec("mlcroissant") is None:
        not_checked.append("Croissant by its own library (pip install mlcroissant)")
        return
    import mlcroissant

    before = logging.root.manager.disable
    logging.disable(logging.WARNING)  # it names what is recommended, and not known here
    try:
        mlcroissant.Dataset(str(file))
    except (mlcroissant.ValidationError, ValueError, LookupError, TypeError, AttributeError):
        yield "croissant-invalid", file.name
    finally:
        logging.disable(before)


def check_card(folder: Path, there: list[str]) -> Iterator[Finding]:
    """Whether the head of the card is YAML, and names the files that are there."""
    import yaml

    try:
        text = (folder / README_NAME).read_text("utf-8")
        start, head, _ = text.split("---\n", 2)
        front: Any = yaml.safe_load(head)
        patterns = [
            pattern
            for config in front["configs"]
            for data in config["data_files"]
            for pattern in _as_list(data["path"])
        ]
        link = front.get("license_link")
        if start or not front["license"]:
            raise ValueError("no head, or no licence in it")
    except (OSError, ValueError, LookupError, TypeError, AttributeError, yaml.YAMLError):
        yield "card-unreadable", README_NAME
        return
    if link is not None and link not in there:
        yield "card-differs", str(link)
    data = [name for name in there if name.startswith(f"{DATA}/")]
    named = {name for pattern in patterns for name in fnmatch.filter(data, pattern)}
    yield from (("card-differs", name) for name in {*data} - named)
    yield from (("card-differs", p) for p in patterns if not fnmatch.filter(data, p))


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list) else [value]
