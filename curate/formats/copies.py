"""Which rows show one picture: what is a copy of what, for all who judge, credit or remove.

Copies are rows of one `group`, as `curate dedup` writes it, which holds images that may be made of
one another, too: mirrored, recoloured, cropped; rows of equal bytes or equal pixels, whether it ran
since they came or not; and a row dropped as a copy with the image that stays. All have one verdict.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

_DUPLICATE = "duplicate:"  # how the `dropped` of a copy begins; the key of what stays follows


class Groups:
    """Names that are connected, directly or through others (a union-find forest)."""

    def __init__(self) -> None:
        """Connect nothing yet."""
        self.above: dict[str, str] = {}  # name -> a smaller name of its group, or itself

    def root(self, name: str) -> str:
        """The smallest name of a name's group."""
        above = self.above
        while (up := above.setdefault(name, name)) != name:
            above[name] = name = above[up]
        return name

    def join(self, one: str, other: str) -> None:
        """Make one group of two."""
        first, second = sorted((self.root(one), self.root(other)))
        self.above[second] = first

    def names(self) -> dict[str, str]:
        """For each name that has company the smallest name of its group."""
        roots = {name: self.root(name) for name in self.above}
        size = Counter(roots.values())
        return {name: root for name, root in roots.items() if size[root] > 1}


def group_copies(rows: Iterable[Any], *, same: bool = False) -> list[list[Any]]:
    """The rows, copies together; a row without copies stands alone.

    Args:
        rows: of a manifest, with their `key`, `dropped`, `group`, `sha256` and `pixel_sha256`.
        same: whether only what shows the same picture counts, and not what is merely of its group.
    """
    every, groups = list(rows), Groups()
    for row in every:
        dropped = row.dropped or ""
        stays = dropped.removeprefix(_DUPLICATE) if dropped.startswith(_DUPLICATE) else None
        hashes = (f"={name}" for name in (row.sha256, row.pixel_sha256) if name)
        for name in filter(None, (None if same else row.group, stays, *hashes)):
            groups.join(row.key, name)
    found: defaultdict[str, list[Any]] = defaultdict(list)
    for row in every:
        found[groups.root(row.key)].append(row)
    return list(found.values())
