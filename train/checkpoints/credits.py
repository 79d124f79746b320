"""Whom to credit for the images a model was trained on; carried inside the model's file."""

import json
import zlib
from collections.abc import Collection, Iterable
from pathlib import Path

import torch
from torch import Tensor

from curate.formats.shards import iterate_samples

CREDITS_TENSOR = "credits"  # its name among the weights; a header may not hold so much
_FIELDS = ("key", "title", "creator", "creator_url", "license", "license_url", "page_url")
_NAMES = {"creator": "author", "creator_url": "author_url"}  # that differ in a shard's record


def read_shard_credits(shards: Path, keys: Collection[str]) -> list[dict[str, str]]:
    """Whom to credit for the images with these keys; "" where something is not stated.

    The decision of the policy on sharing a model, `share_model`, comes with it.

    Raises:
        InputError: the shards cannot be read.
    """
    wanted = set(keys)
    found = []
    for key, _, record in iterate_samples(shards):
        if key in wanted:
            values = {name: str(record.get(_NAMES.get(name, name)) or "") for name in _FIELDS}
            verdict = record.get("share_model")
            decision = verdict["decision"] if verdict else ""
            found.append(values | {"key": key, "share_model": decision})
    return found


def merge_credits(lists: Iterable[list[dict[str, str]]]) -> list[dict[str, str]]:
    """Each image once, by its key, in the order of keys."""
    by_key = {credit["key"]: credit for credits in lists for credit in credits}
    return [by_key[key] for key in sorted(by_key)]


def pack_credits(credits: list[dict[str, str]]) -> Tensor:
    """As bytes (N), uint8: JSON, compressed with zlib."""
    text = json.dumps(credits, ensure_ascii=False, sort_keys=True)
    return torch.frombuffer(bytearray(zlib.compress(text.encode(), 9)), dtype=torch.uint8)


def unpack_credits(packed_N: Tensor) -> list[dict[str, str]]:
    """What `pack_credits` was given.

    Raises:
        ValueError: it is something else.
    """
    try:
        found: list[dict[str, str]] = json.loads(zlib.decompress(packed_N.numpy().tobytes()))
    except zlib.error as error:
        raise ValueError(f"credits that cannot be unpacked: {error}") from None
    return found
