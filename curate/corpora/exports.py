"""An export of ours that is read again: what it says of its images comes back with them.

Found in the folder that is read, or in the one above it (`10_images` is in an export). An image
under another name is known by its bytes.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from curate.corpora.columns import UNTITLED_COLUMNS
from curate.corpora.metadata import MetadataRow
from curate.corpora.notes import ReadNotes
from curate.corpora.statements import read_statements
from curate.formats.exports import INDEX_NAME, LICENCES_NAME, VERSION, read_object
from curate.system.files import file_sha256

TOLD = "images of an export of ours, with the licences and verdicts that it states"
UNKNOWN = "images in the folder of an export of ours that are none of it"


def read_export(root: Path, names: Iterable[str], notes: ReadNotes) -> dict[str, MetadataRow]:
    """What an export says of images, by their name; nothing where there is none.

    Args:
        root: the folder that is read.
        names: of the images in it, as paths.
        notes: hears how many are known.
    """
    place = root.resolve()
    for folder, prefix in ((place, ""), (place.parent, f"{place.name}/")):
        stated = read_object(folder / LICENCES_NAME).get("images")
        index = read_object(folder / INDEX_NAME)
        if not isinstance(stated, dict) or index.get("version") != VERSION:
            continue
        hashes = index.get("files")
        named = hashes.items() if isinstance(hashes, dict) else ()
        by_hash = {sha: name for name, sha in named if isinstance(sha, str)}
        found = {}
        for name in names:
            said = stated.get(prefix + name)
            if said is None:
                with suppress(OSError):
                    said = stated.get(by_hash.get(file_sha256(root / name)))
            if isinstance(said, Mapping):
                where = f"{folder / LICENCES_NAME} {name}"
                facts = read_statements(said, ReadNotes(), where, wanted=UNTITLED_COLUMNS)[1]
                facts.pop("title", None)  # or it were a caption that the export does not have
                found[name] = MetadataRow(where, name, (), facts)
                notes.remark(TOLD, name)
            else:
                notes.remark(UNKNOWN, name)
        return found
    return {}
