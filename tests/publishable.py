"""Datasets of which some may be shared, packed; and what a published folder holds, all of it."""

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

from curate.dataset.folder import Dataset, Store
from curate.dataset.sample import Verdict
from curate.publish.publish import PublishSettings, PublishSummary, publish
from curate.shards.pack import pack
from tests.packable import ALLOW, change_rows, dataset_of

ANSWER = b'{"what": "a source said"}'
DENY = Verdict("deny", ("licence:CC-BY-ND-4.0", "licence-nd"))
NC = Verdict("hold", ("licence:CC-BY-NC-4.0", "licence-nc"))


def shareable(root: Path, count: int = 5, **known: Any) -> Dataset:
    """A dataset of images that may be shared."""
    usual = {"share_dataset": ALLOW, "share_model": ALLOW, "inspected_by": "test"}
    return dataset_of(root, count, **{**usual, **known})


def packed(dataset: Dataset, *changes: dict[str, Any], **settings: Any) -> Dataset:
    """The dataset with some rows changed, packed."""
    change_rows(dataset, *changes)
    Store(dataset.evidence).put(ANSWER)
    pack(dataset, size=48, **settings)
    return dataset


def published(dataset: Dataset, folder: Path, **settings: Any) -> PublishSummary:
    return publish(dataset, folder, PublishSettings(**settings))


def by_address(key: str, **known: Any) -> dict[str, Any]:
    """What makes a row one that may be trained on, and of which the address alone is offered."""
    address = f"https://images.example.org/{key}.png"
    stated = {"license": "CC-BY-NC-4.0", "share_dataset": NC, **online(address)}
    return {**stated, "page_url": f"https://example.org/{key}", **known}


def online(address: str) -> dict[str, Any]:
    """What makes a row one of an online source, with its evidence."""
    return {"image_url": address, "evidence": hashlib.sha256(ANSWER).hexdigest()}


def rows_of(file: Path) -> list[dict[str, Any]]:
    import pyarrow.parquet as parquet

    return list(parquet.read_table(file).to_pylist())


def members(tar: Path) -> dict[str, bytes]:
    with tarfile.open(tar) as opened:
        return {m.name: opened.extractfile(m).read() for m in opened}  # type: ignore[union-attr]


def all_text(folder: Path) -> str:
    """All that a folder holds, tars and tables opened, as one text."""
    found = io.StringIO()
    for file in sorted(p for p in folder.rglob("*") if p.is_file()):
        found.write(f"{file.relative_to(folder)}\n")
        if file.suffix == ".tar":
            parts = members(file)
            found.write("\n".join(parts) + "\n")
            found.writelines(
                data.decode("utf-8", "replace") + "\n"
                for name, data in parts.items()
                if not name.endswith((".jpg", ".png", ".webp"))
            )
        if file.suffix == ".parquet":
            found.write(json.dumps(rows_of(file), ensure_ascii=False))
        found.write(file.read_bytes().decode("utf-8", "replace"))
    return found.getvalue()
