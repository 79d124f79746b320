"""Which sample lies in which shard, by what there is to pack alone: no history, no chance.

A shard is a part of the samples of one split: those whose hash begins with the same bits. One that
would be larger than asked for is divided in two by the next bit, and so on (a binary trie, as in
extendible hashing: Fagin et al., ACM TODS 4(3), 1979). The hash is that of a sample's group, so
that related images lie together. A sample more or less thus changes the one shard it falls into;
that is divided where it became too large, or joined with its other half where both fit into one.

Shards are numbered as the nodes of that tree: the whole is 0, the halves of n are 2 n + 1 and
2 n + 2. A number says which part of the set a shard is, so that there are gaps between them.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from curate.formats.copies import Groups
from curate.formats.shards import HELD_OUT, hash_share, shard_name

DEEPEST = 18  # times the set is halved at most; the numbers of halves have six digits
SHARE_ALIKE = re.compile(r"CC-BY-(NC-)?SA-")  # how SPDX ids begin: what is made of these images
# may ask for the same licence, so they lie in shards of their own
SHARE_ALIKE_SUFFIX = "_sharealike"


class Planned(NamedTuple):
    """A sample to be packed, as far as its place depends on it."""

    key: str
    group: str  # its name; the same for all that are to lie together
    bytes: int  # of its members


def hash_group(group: str) -> int:
    """64 bits that decide the shard; other ones than those that decide what is held out."""
    return int.from_bytes(hashlib.sha256(f"shard {group}".encode()).digest()[:8])


def divide(samples: Iterable[Planned], limit: int) -> dict[int, list[Planned]]:
    """The samples of each shard, by key; shards by number.

    Args:
        samples: of one split, in any order.
        limit: bytes of members that a shard holds at most. A group that is larger is one shard.
    """
    every = sorted((hash_group(sample.group), sample) for sample in samples)
    return dict(_divide(every, limit, 0, 0)) if every else {}


def _divide(
    samples: list[tuple[int, Planned]], limit: int, number: int, depth: int
) -> Iterator[tuple[int, list[Planned]]]:
    fits = sum(sample.bytes for _, sample in samples) <= limit
    if fits or depth == DEEPEST or samples[0][0] == samples[-1][0]:
        yield number, sorted(sample for _, sample in samples)
        return
    bit = 1 << (63 - depth)
    halves = [pair for pair in samples if not pair[0] & bit], [p for p in samples if p[0] & bit]
    for side, half in enumerate(halves, 1):
        if half:
            yield from _divide(half, limit, 2 * number + side, depth + 1)


def find_held_out(kin: Mapping[str, Iterable[str]], share: float) -> set[str]:
    """The keys of about `share` of the samples, none of which is related to one of the others.

    Args:
        kin: key -> names of what it belongs to, such as its group and its scene; all that share
            one, directly or through others, are on one side.
        share: 0 to 1.
    """
    groups = Groups()
    for key, names in kin.items():
        for name in names:
            groups.join(key, name)
    return {key for key in kin if hash_share(groups.root(key)) < share}


def prefix_of(split: str, licences: Iterable[str | None], *, held_out: bool) -> str:
    """The first part of the name of the shard of an image.

    Args:
        split: of images that are not held out.
        licences: of the image and of its copies.
        held_out: whether it is.
    """
    alike = any(SHARE_ALIKE.match(licence or "") for licence in licences)
    return (HELD_OUT if held_out else split) + SHARE_ALIKE_SUFFIX * alike


def plan_shards(samples: Mapping[str, Iterable[Planned]], limit: int) -> dict[str, list[str]]:
    """The keys in each shard, in order; shards by name.

    Args:
        samples: by the first part of the names of their shards.
        limit: as in `divide`.
    """
    return {
        shard_name(prefix, number): [sample.key for sample in part]
        for prefix in sorted(samples)
        for number, part in sorted(divide(samples[prefix], limit).items())
    }
