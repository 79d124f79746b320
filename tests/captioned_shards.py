"""Shards with given captions, for tests that count words."""

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from curate.formats.shards import Shard, ShardIndex, member_names, shard_name


def write_shards(folder: Path, shards: Sequence[Mapping[str, Sequence[str]]]) -> None:
    """Shards with these captions, and their index."""
    folder.mkdir(exist_ok=True)
    listed = []
    for number, texts in enumerate(shards):
        name = shard_name("train", number)
        with tarfile.open(folder / name, "w") as tar:
            for key, said in texts.items():
                captions = [{"text": text, "origin": "text"} for text in said]
                record = {"captions": captions, "train": {"decision": "allow", "reasons": []}}
                first = said[0].encode() if said else b""
                contents = (b"picture", json.dumps(record).encode(), first)
                for member_name, data in zip(member_names(key, "png"), contents, strict=True):
                    member = tarfile.TarInfo(member_name)
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))
        data = (folder / name).read_bytes()
        sha256 = hashlib.sha256(data).hexdigest()
        listed.append(Shard(name, sha256, len(texts), len(data)))
    samples = sum(shard.samples for shard in listed)
    written = ShardIndex(64, "png", "train", samples, tuple(listed), {}, {}, {})
    (folder / "index.json").write_bytes(written.to_json())


THREE = [
    {"t-1": ["a dog", "two dogs"], "t-2": ["a cat"]},
    {"t-3": ["a dog"]},
    {"t-4": ["snow"], "t-5": ["a dog"]},
]
