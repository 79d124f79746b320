"""Rows of JSON: an object a line, a list of objects, an object by file name, COCO's captions."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from curate.corpora.columns import (
    CAPTION_COLUMNS,
    KEY_COLUMNS,
    caption_columns,
    find_column,
    plain_name,
)
from curate.corpora.encoding import conversion_fix, decode_text
from curate.corpora.endings import looks_like_image
from curate.corpora.notes import ReadNotes
from curate.corpora.partition import unreadable_error
from curate.corpora.rows import BrokenRows, filled_lines, numbered_lines, read_whole
from curate.errors import InputError

Row = tuple[str, dict[str, Any]]
_NOT_AN_OBJECT = "not a JSON object"


def json_rows(path: Path, broken: BrokenRows, known: Sequence[str]) -> Iterator[Row]:
    """Each row of JSON with where it stands, whichever way the file puts them.

    A text by itself is a row with a `text`; an object whose values are texts or objects has a row
    for each, whose key is its `file_name`.

    Args:
        path: JSON, or JSON lines, whatever its ending.
        broken: hears of what is no JSON and of values that are no rows.
        known: names of columns: an object that has one is a row.

    Raises:
        InputError: nothing in it is JSON.
    """
    if _is_document(path):
        yield from _document_rows(path, _load_document(path, broken), broken, known)
        return
    for number, line in numbered_lines(path, broken):
        if line.strip():
            where = f"{path} line {number}"
            try:
                value = load_json(line, where, broken.notes)
            except (ValueError, RecursionError):
                broken.leave_out(where, "not JSON")
                continue
            if isinstance(value, dict) and value and all(map(looks_like_image, value)):
                yield from ((where, row) for _, row in _rows_by_name(path, value, broken))
            elif (row := _as_row(value)) is not None:
                yield where, row
            else:
                broken.leave_out(where, _NOT_AN_OBJECT)


def _is_document(path: Path) -> bool:
    """Whether the file is one JSON value, not one a line."""
    filled = filled_lines(path)
    first, second = next(filled, ""), next(filled, None)
    called_json = path.suffix.lower() == ".json"
    try:
        value = json.loads(first)
    except (ValueError, RecursionError):
        if called_json and not _is_object(second or ""):
            return True
        # a value over several lines; if it is none, either, each line is told of by itself
        return first.lstrip()[:1] in ("[", "{") and _is_json(path)
    return second is None and (isinstance(value, list) or called_json)


def _is_json(path: Path) -> bool:
    try:
        json.loads(decode_text(read_whole(path)))
    except (InputError, OSError, ValueError, RecursionError):
        return False
    return True


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _load_document(path: Path, broken: BrokenRows) -> Any:
    try:
        data = read_whole(path)
        return load_json(decode_text(data), str(path), broken.notes)
    except OSError as error:
        raise unreadable_error(path, error) from None
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        byte = error.start - data.rfind(b"\n", 0, error.start)
        problem = f"byte {byte} (0x{data[error.start]:02x}) is not UTF-8 text"
        raise InputError(f"{path} line {line}", problem, fix=conversion_fix(path)) from None
    except json.JSONDecodeError as error:
        problem = f"not JSON ({error.msg}, column {error.colno})"
        raise InputError(f"{path} line {error.lineno}", problem, fix=broken.fix) from None
    except (ValueError, RecursionError):
        raise InputError(path, "not JSON", fix=broken.fix) from None


def load_json(text: str | bytes, where: str, notes: ReadNotes) -> Any:
    """The value of JSON; of a key that an object has twice, the last counts.

    Args:
        text: UTF-8, where it is bytes.
        where: names it: "FILE line 3".
        notes: hears of the others.

    Raises:
        ValueError: no JSON.
        RecursionError: nested too deep.
    """

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(found)
        if len(made) < len(found):
            seen = set()
            for key, _ in reversed(found):
                if key in seen:
                    reason = "values whose key is there again"
                    notes.leave_out(reason, f"{where}, {key}")
                seen.add(key)
        return made

    return json.loads(text, object_pairs_hook=pairs)


def _as_row(value: object) -> dict[str, Any] | None:
    """An object as it is, a text as the `text` of one, a pair of name and text; None: no row."""
    if isinstance(value, str):
        return {"text": value}
    if isinstance(value, list) and len(value) == 2 and isinstance(value[0], str):
        name, text = value
        return {"file_name": name, "text": text} if looks_like_image(name) else None
    return value if isinstance(value, dict) else None


def _document_rows(
    path: Path, document: Any, broken: BrokenRows, known: Sequence[str]
) -> Iterator[Row]:
    if isinstance(document, dict):
        if (coco := _coco_rows(path, document, broken)) is not None:
            yield from coco
            return
        inner = _rows_of_columns(document, known) or _inner_list(document)
        by_name = all(isinstance(value, dict) for value in document.values())
        if inner is None and find_column(document, known) and not by_name:
            yield str(path), document
            return
        if inner is None:
            yield from _rows_by_name(path, document, broken)
            return
        document = inner
    for number, value in enumerate(document if isinstance(document, list) else [document], 1):
        where = f"{path} entry {number}"
        if (row := _as_row(value)) is not None:
            yield where, _with_plain_sentences(row)
        else:
            broken.leave_out(where, _NOT_AN_OBJECT)


def _rows_of_columns(document: Mapping[str, Any], known: Sequence[str]) -> list[Any] | None:
    """The rows of a table that lies by columns, as pandas and datasets write one.

    `{"text": {"0": …, "1": …}}`, `{"text": […, …], "file_name": […, …]}`, and the names of columns
    apart from rows: `{"columns": […], "data": [[…], …]}`.
    """
    names, data = document.get("columns"), document.get("data")
    if isinstance(names, list) and isinstance(data, list):
        fits = [isinstance(one, list) and len(one) == len(names) for one in data]
        return [
            dict(zip(map(str, names), one, strict=True)) if fit else one
            for one, fit in zip(data, fits, strict=True)
        ]
    columns = list(document.values())
    if find_column(document, known) and _is_table_of_columns(columns, known):
        return [{n: column[key] for n, column in document.items()} for key in columns[0]]
    together = find_column(document, KEY_COLUMNS) and len(columns) > 1
    if together and all(isinstance(c, list) and len(c) == len(columns[0]) for c in columns):
        return [dict(zip(document, row, strict=True)) for row in zip(*columns, strict=True)]
    return None


def _is_table_of_columns(columns: Sequence[Any], known: Sequence[str]) -> bool:
    """Whether objects are columns by the number of the row, and not rows by the name of a file."""
    return all(isinstance(c, dict) for c in columns) and all(
        c.keys() == columns[0].keys() and not find_column(c, (*known, "tags")) for c in columns
    )


def _inner_list(document: Mapping[str, Any]) -> list[Any] | None:
    """The one list of rows that an object holds: `{"data": [{…}, …]}`, `{"prompts": ["…", …]}`."""
    if find_column(document, KEY_COLUMNS):
        return None
    lists = []
    for name, value in document.items():
        if isinstance(value, list) and value:
            kinds = (dict, str) if plain_name(name) in CAPTION_COLUMNS else (dict,)
            if all(isinstance(one, kinds) for one in value):
                lists.append(value)
    return lists[0] if len(lists) == 1 else None


def _rows_by_name(path: Path, document: Mapping[str, Any], broken: BrokenRows) -> Iterator[Row]:
    """A row for each key: its text, its texts, or its object; kohya's tags where no caption is."""
    for name, value in document.items():
        where = f"{path} entry {name!r}"
        texts = value if isinstance(value, list) else [value]
        if all(isinstance(text, str) for text in texts):
            yield where, {"file_name": name, "text": value}
        elif isinstance(value, dict):
            row = {"file_name": name, **value}
            if not caption_columns(n for n, v in value.items() if v)[0] and "tags" in value:
                row["text"] = value["tags"]
            yield where, row
        else:
            broken.leave_out(where, "neither texts nor an object")


def _with_plain_sentences(row: dict[str, Any]) -> dict[str, Any]:
    """Karpathy's splits of COCO and Flickr30k: `sentences` is a list of objects with a `raw`."""
    said = row.get("sentences")
    if isinstance(said, list) and said and all(isinstance(s, dict) and "raw" in s for s in said):
        return row | {"sentences": [sentence["raw"] for sentence in said]}
    return row


def _coco_rows(path: Path, document: Mapping[str, Any], broken: BrokenRows) -> Iterator[Row] | None:
    """Images with the captions that name them, as COCO's captions are laid out; None: it is none.

    Source: cocodataset.org, "Data format", image captioning.
    """
    images, annotations = document.get("images"), document.get("annotations")
    if not isinstance(images, list) or not isinstance(annotations, list):
        return None
    return _join_coco(path, images, annotations, document.get("licenses"), broken)


def _join_coco(
    path: Path, images: list[Any], annotations: list[Any], licenses: object, broken: BrokenRows
) -> Iterator[Row]:
    said: dict[Any, list[Any]] = {}
    for number, one in enumerate(annotations, 1):
        where = f"{path} annotation {number}"
        if not isinstance(one, dict) or not isinstance(one.get("image_id"), str | int):
            broken.leave_out(where, "no image_id")
        elif "caption" in one:
            said.setdefault(one["image_id"], []).append((where, one["caption"]))
    terms = {
        one["id"]: one
        for one in (licenses if isinstance(licenses, list) else ())
        if isinstance(one, dict) and isinstance(one.get("id"), str | int)
    }
    for number, image in enumerate(images, 1):
        where = f"{path} image {number}"
        if not isinstance(image, dict) or not isinstance(image.get("id"), str | int):
            broken.leave_out(where, "no id")
            continue
        row = {name: value for name, value in image.items() if name != "id"}
        captions = []
        for place, caption in said.pop(image["id"], ()):
            if isinstance(caption, str):
                captions.append(caption)
            else:
                broken.leave_out(place, "its caption is no text")
        if isinstance(image.get("license"), str | int):
            row["license"] = terms.get(image["license"], image["license"])
        yield where, row | {"captions": captions}
    for left in said.values():
        for place, _ in left:
            broken.notes.leave_out("captions without an image", place)
