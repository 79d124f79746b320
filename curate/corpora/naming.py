"""Captions where none is written: of titles, tags, and the names of files and folders.

They are those that `curate caption` makes of the same, so that what is counted here is what a
fetched dataset says.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import PurePosixPath
from typing import Any

from curate.captions.clean import captions_for, folder_name_words
from curate.corpora.notes import MOST_NAMED, ReadNotes
from curate.dataset.sample import Sample
from curate.system.files import printable_path

PER_IMAGE = 4  # captions at most, as `curate caption` has it
STATED = "images with captions made of titles and tags"
_REPEATS = re.compile(r"\d+_.")  # before the name of a folder for kohya's sd-scripts


class NameTeller:
    """Makes captions, and keeps account of what they are made of."""

    def __init__(self, root_name: str, notes: ReadNotes) -> None:
        """Of images in a folder of this name."""
        self._root_name, self._notes = root_name, notes
        self._folders: Counter[tuple[str, str]] = Counter()  # folder, its words -> images
        self._files = 0
        self._file_example = ""
        self._words_of_folder = cache(self._find_folder)

    def tell(
        self, name: str, texts: Sequence[str], facts: Mapping[str, Any], is_unread: bool = False
    ) -> tuple[tuple[str, ...], Mapping[str, Any]]:
        """What stands beside the texts of an image, and its facts, with a title if a folder is it.

        Args:
            name: path of the image from the folder.
            texts: its captions as they are written.
            facts: what else is stated.
            is_unread: it has captions that cannot be read: its folder does not stand in for them.
        """
        made = stated_captions(texts, facts, self._notes, name)
        if made or texts or facts.get("title"):
            return made, facts
        folder, words, repeats = "", "", False
        if not is_unread:
            folder, words, repeats = self._words_of_folder(name[: name.rfind("/") + 1])
        if not (words and repeats) and (made := _make_captions(name, (), None, ())):
            self._files += 1
            self._file_example = self._file_example or f'{name}: "{made[0]}"'
            return made, facts
        if not words:
            return (), facts
        self._folders[folder, words] += 1
        return _folder_captions(words), {**facts, "title": words}

    def remark(self) -> None:
        """Say how many captions were made of the names of files and folders."""
        if self._files:
            self._notes.remarks.append(
                "images without a written caption, whose file's name is one: "
                f"{self._files:,} ({self._file_example})"
            )
        if self._folders:
            most = self._folders.most_common(MOST_NAMED)
            shown = ", ".join(f'{name}/ {count:,} as "{words}"' for (name, words), count in most)
            more = ", …" if len(self._folders) > MOST_NAMED else ""
            self._notes.remarks.append(
                "images without a written caption, whose folder's name is one: "
                f"{self._folders.total():,} ({shown}{more})"
            )

    def _find_folder(self, prefix: str) -> tuple[str, str, bool]:
        """The nearest folder with words in its name; its name, these, and whether it has repeats.

        The folder that was named itself counts only where its name has repeats.
        """
        for part in reversed(PurePosixPath(prefix).parts):
            if words := folder_name_words(printable_path(part)):
                return part, words, bool(_REPEATS.match(part))
        if _REPEATS.match(self._root_name):
            return self._root_name, folder_name_words(printable_path(self._root_name)), True
        return "", "", False


def stated_captions(
    texts: Sequence[str], facts: Mapping[str, Any], notes: ReadNotes, name: str = ""
) -> tuple[str, ...]:
    """What `curate caption` makes of the title and the tags of an image.

    Args:
        texts: its captions as they are written.
        facts: what else is stated.
        notes: hears of it.
        name: path of its file, whose name stands for a title beside tags; "" if no file names it.
    """
    title, tags = facts.get("title"), facts.get("tags", ())
    made = _make_captions(name, texts, title, tuple(tags)) if title or tags else ()
    if made:
        notes.remark(STATED)
    return made


@cache
def _folder_captions(words: str) -> tuple[str, ...]:
    return _make_captions("", (), words, ())


def _make_captions(
    name: str, texts: Sequence[str], title: str | None, tags: tuple[str, ...]
) -> tuple[str, ...]:
    """What `curate caption` would say of an image besides its texts."""
    file = printable_path(name)
    sample = Sample(
        key="",
        source="",
        file_name=file,
        title=title or PurePosixPath(file).stem,
        texts=tuple(texts),
        tags=tags,
    )
    made = captions_for(sample, per_image=max(PER_IMAGE, len(texts)))
    return tuple(one.text for one in made if one.origin != "text")
