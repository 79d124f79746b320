"""The two tables of a publication: a row an image, and a row an address where that is all.

Their column names are those that others look for: `file_name` (Croissant joins by it, and Hugging
Face's image folders), and in the table of addresses those of img2dataset.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from curate.dataset.sample import Sample
from curate.formats.shards import Record, member_names
from curate.formats.verdicts import USES
from curate.publish.choose import share_alike
from curate.publish.leaks import is_public_address
from curate.rights.credits import Credit, record_credit
from curate.rights.licences import licence_url

if TYPE_CHECKING:
    import pyarrow as pa

METADATA_NAME = "metadata.parquet"
URLS_NAME = "urls.parquet"
# column -> its type in Arrow, and what it is
METADATA_COLUMNS: Mapping[str, tuple[str, str]] = {
    "file_name": ("string", "name of the image inside its tar"),
    "key": ("string", "names the sample; file_name without its ending"),
    "shard": ("string", "tar that holds it, relative to this folder"),
    "split": ("string", "split that the sample belongs to"),
    "caption": ("string", "first caption"),
    "captions": ("list", "all captions"),
    "caption_origins": ("list", "where each caption comes from"),
    "width": ("int64", "pixels, as packed"),
    "height": ("int64", "pixels, as packed"),
    "original_width": ("int64", "pixels, as received"),
    "original_height": ("int64", "pixels, as received"),
    "modified": ("list", "what was changed by packing"),
    "title": ("string", "title, or name of the file"),
    "author": ("string", "who made it; empty: not stated"),
    "author_url": ("string", "page of its author"),
    "page_url": ("string", "page that shows it and its licence"),
    "image_url": ("string", "where the bytes were received from"),
    "license": ("string", "SPDX id, or LicenseRef-…"),
    "license_url": ("string", "text of the licence, or page that states it"),
    "license_text": ("string", "licence as stated"),
    "license_how": ("string", "how the id was derived from what is stated"),
    "share_alike": ("bool", "whether what is made of it has to carry the same licence"),
    "credits": ("string", "whom to name, in one line, copies included"),
    "source": ("string", "source it was taken from"),
    "retrieved": ("string", "when its bytes were received, UTC"),
    "sha256": ("string", "SHA-256 of the bytes as received"),
    "group": ("string", "smallest key of its group of copies and relatives"),
    "ai_generated": ("bool", "whether its source states that it was made by AI; empty: not stated"),
    "train": ("string", "verdict on training by the publisher's policy"),
    "share_dataset": ("string", "verdict on sharing it in a dataset"),
    "share_model": ("string", "verdict on sharing a model trained on it"),
}
URL_COLUMNS: Mapping[str, tuple[str, str]] = {
    "url": ("string", "where the image can be asked for"),
    "caption": ("string", "first caption"),
    "license": METADATA_COLUMNS["license"],
    "license_url": METADATA_COLUMNS["license_url"],
    "author": METADATA_COLUMNS["author"],
    "page": METADATA_COLUMNS["page_url"],
    "title": METADATA_COLUMNS["title"],
    "sha256": METADATA_COLUMNS["sha256"],
    "width": METADATA_COLUMNS["original_width"],
    "height": METADATA_COLUMNS["original_height"],
    "source": METADATA_COLUMNS["source"],
    "retrieved": METADATA_COLUMNS["retrieved"],
}


def metadata_row(
    record: Record, sample: Sample, *, shard: str, split: str, format: str
) -> dict[str, Any]:
    """A row of `METADATA_COLUMNS`.

    Args:
        record: as published.
        sample: its row in the dataset, for what the record lacks.
        shard: path of its tar.
        split: of that tar.
        format: of its image.
    """
    credit = record_credit(record)
    plain = ("key", "width", "height", "original_width", "original_height", "modified", "source")
    stated = ("author", "author_url", "page_url", "image_url", "license", "license_text")
    values: dict[str, Any] = {**record}
    return {
        **{name: values[name] for name in (*plain, *stated, "sha256", "group")},
        **{use: (values[use] or {}).get("decision") for use in USES},
        "file_name": member_names(record["key"], format)[0],
        "shard": shard,
        "split": split,
        "caption": record["captions"][0]["text"],
        "captions": [caption["text"] for caption in record["captions"]],
        "caption_origins": [caption["origin"] for caption in record["captions"]],
        "title": credit.title,
        "license_url": credit.license_url,
        "license_how": sample.license_how,
        "share_alike": share_alike(record),
        "credits": credit_line(credit),
        "retrieved": sample.retrieved,
        "ai_generated": sample.ai_generated,
    }


def credit_line(credit: Credit) -> str:
    """Whom to name for an image and its copies, in one line."""
    every = (credit, *credit.copies)
    return "; ".join(
        ", ".join(
            filter(
                None,
                (f"{one.title} by {one.author or 'unknown author'}", one.page_url, one.license),
            )
        )
        for one in every
    )


def url_row(sample: Sample, caption: str) -> dict[str, Any]:
    """A row of `URL_COLUMNS`."""
    page = sample.page_url
    text = (sample.license and licence_url(sample.license)) or sample.license_url
    return {
        "url": sample.image_url,
        "caption": caption,
        "license": sample.license,
        "license_url": text if text and is_public_address(text) else None,
        "author": sample.author,
        "page": page if page and is_public_address(page) else None,
        "title": sample.title,
        "sha256": sample.sha256,
        "width": sample.width,
        "height": sample.height,
        "source": sample.source,
        "retrieved": sample.retrieved,
    }


class TableWriter:
    """A Parquet file in the making, a row group each time rows are given."""

    def __init__(self, path: Path, columns: Mapping[str, tuple[str, str]]) -> None:
        """Nothing is written before the first rows."""
        self.path, self.schema = path, arrow_schema(columns)
        self.file: Any = None

    def __enter__(self) -> Self:
        """Begin."""
        import pyarrow.parquet as parquet

        self.file = parquet.ParquetWriter(self.path, self.schema, compression="zstd")
        return self

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Append some rows."""
        import pyarrow as pa

        if rows:
            self.file.write_table(pa.Table.from_pylist(list(rows), self.schema))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        """End the file."""
        self.file.close()


def arrow_schema(columns: Mapping[str, tuple[str, str]]) -> "pa.Schema":
    """The schema of a table, with what each column is in its field's metadata."""
    import pyarrow as pa

    types = {"string": pa.string(), "int64": pa.int64(), "bool": pa.bool_()}
    types["list"] = pa.list_(pa.string())
    return pa.schema(
        pa.field(name, types[type], metadata={"description": what})
        for name, (type, what) in columns.items()
    )
