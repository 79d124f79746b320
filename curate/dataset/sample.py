"""The row: one image and all we know of it. The Arrow schema is derived from it."""

import os
import re
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from curate.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

DUPLICATE = "duplicate"  # reason of a drop; its detail is the key of the image that stays


@dataclass(frozen=True, slots=True)
class Caption:
    """One description of an image and where it comes from."""

    text: str
    origin: str  # "text" (given with the image), "title", "tags", "file-name", "copy:KEY"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a policy says about one use of an image."""

    decision: str  # "allow", "hold" or "deny"
    reasons: tuple[str, ...]  # codes, each disputable: "licence:CC0-1.0", "opt-out:api:noai"


@dataclass(frozen=True, slots=True)
class Statement:
    """What a source said of the rights in an image, at one time."""

    text: str | None  # as stated
    url: str | None  # as stated
    said: str | None = None  # UTC, ISO 8601, seconds
    evidence: str | None = None  # SHA-256 of the stored answer that says so


@dataclass(frozen=True, slots=True)
class Signal:
    """One thing that was said about training on an image; what is not stated has no signal."""

    name: str  # which signal, and what it says: "x-robots-tag:noai", "tdm-reservation:1"
    allows: bool | None  # whether it allows training; None: it speaks of it, but cannot be read
    scope: str  # "item": said of this image; "site": of all that its host holds


@dataclass(frozen=True, slots=True)
class Likeness:
    """What image of its group an image is most like, and how."""

    key: str  # of that image
    kind: str  # "same", "recompressed", "recoloured", "cropped", "bordered", "turned", …
    score: float  # from 0 to 1: that of the comparison which found it


class DerivedFacts:
    """What follows from the fields of a row, for every class of rows that has these."""

    __slots__ = ()
    dropped: str | None
    width: int | None
    height: int | None
    train: "Verdict | None"

    @property
    def area(self) -> int:
        """Pixels, 0 while unknown."""
        return (self.width or 0) * (self.height or 0)

    @property
    def drop_reason(self) -> str:
        """The REASON of `dropped`, without its detail; empty while in use."""
        return (self.dropped or "").partition(":")[0]

    @property
    def drop_detail(self) -> str:
        """The DETAIL of `dropped`; empty while in use, or where it has none."""
        return (self.dropped or "").partition(":")[2]

    @property
    def may_train(self) -> bool:
        """In use, and allowed for training by a policy."""
        return self.dropped is None and self.train is not None and self.train.decision == "allow"


@dataclass(frozen=True, slots=True)
class Sample(DerivedFacts):
    """One image. A new fact is a new field, with its unit in the comment."""

    key: str  # SOURCE-ID; letters, digits, "-", "_"; stable for ever
    source: str  # name of the source, e.g. "pixabay"
    # where it comes from
    query: str | None = None  # what was asked of the source
    page_url: str | None = None  # page that shows it and its licence
    image_url: str | None = None  # where the bytes were asked for, secrets removed
    final_url: str | None = None  # where they came from after redirects
    redirects: tuple[str, ...] = ()  # addresses that led on from `image_url`, in their order
    file_name: str | None = None  # path relative to the folder it was read from
    author: str | None = None
    author_url: str | None = None
    title: str | None = None
    tags: tuple[str, ...] = ()
    language: str | None = None  # BCP 47 tag of title, tags and texts, as stated
    texts: tuple[str, ...] = ()  # captions that came with the image, as they stand
    retrieved: str | None = None  # UTC, ISO 8601, seconds
    evidence: str | None = None  # SHA-256 of the stored answer that named this image
    # what may bear on rights in the headers of the image's answers, "Name: value", redirects first
    headers: tuple[str, ...] = ()
    # SHA-256 of stored answers in which its hosts speak of all they hold: robots.txt, tdmrep.json
    site_evidence: tuple[str, ...] = ()
    # rights
    license_text: str | None = None  # as stated
    license_url: str | None = None  # as stated
    license_by: str | None = None  # who stated it: "source" or "user"
    license: str | None = None  # SPDX id or LicenseRef-…
    license_how: str | None = None  # how the id was derived from what was stated
    restated: tuple[Statement, ...] = ()  # what its source said of its licence later, if other
    gone: str | None = None  # UTC, when its source was first found to have it no more
    opt_outs: tuple[str, ...] = ()  # against training, as its source says, e.g. "api:noAiTraining"
    embedded: tuple[Signal, ...] = ()  # what its own bytes say about training
    embedded_by: str | None = None  # version of the reader that filled `embedded`; None: not read
    signals: tuple[Signal, ...] = ()  # all that is said about training, from wherever
    ai_generated: bool | None = None  # as stated by the source
    ai_embedded: bool | None = None  # as its own bytes state
    mature: bool | None = None  # as stated by the source
    restrictions: tuple[str, ...] = ()  # other rights, as stated: "trademarked", "personality"
    basis: str | None = None  # the user's own basis where a source's terms ask for one
    train: Verdict | None = None
    share_dataset: Verdict | None = None
    share_model: Verdict | None = None
    policy: str | None = None  # SHA-256 of the policy that gave the verdicts
    # the image
    sha256: str | None = None  # of the bytes received; where they lie in the store
    byte_count: int | None = None  # bytes
    format: str | None = None  # "JPEG", "PNG" or "WEBP", by content
    width: int | None = None  # pixels, after EXIF orientation
    height: int | None = None  # pixels, after EXIF orientation
    inspected_by: str | None = None  # version of the inspection that filled in what comes next,
    # from one decode and small pixels; None: not inspected
    phash: str | None = None  # 64-bit perceptual hash, 16 hexadecimal digits
    mirror_phash: str | None = None  # the same of the image mirrored left to right
    sharpness: float | None = None  # variance of the Laplacian of 8-bit luminance
    alpha: float | None = None  # share of the pixels that are not opaque, 0 to 1
    flat: bool | None = None  # whether it is of one colour
    border: float | None = None  # share of its area that is a plain border, 0 to 1
    quality: int | None = None  # of a JPEG, 1 to 100, by its quantisation tables; else None
    # of whole pixels, worked out only where another image looks alike
    pixel_sha256: str | None = None  # of size and decoded RGBA pixels
    resolved: float | None = None  # how much of its size is detail, 0 to 1; an enlarged image: less
    noise: float | None = None  # spread of its noise, 8-bit levels
    # its kin
    group: str | None = None  # smallest key of its group of copies and images made of one another;
    # None: it has none
    likeness: Likeness | None = None  # to another image of its group; None: it has no group
    scene: str | None = None  # smallest key of the images that show what it shows, as an image
    # encoder has it; None: none, or not asked
    # words
    captions: tuple[Caption, ...] = ()
    # out of the dataset: None while in use, else REASON[:DETAIL]
    dropped: str | None = None


def live_samples(samples: Iterable[Sample]) -> list[Sample]:
    """The samples still in use."""
    return [s for s in samples if s.dropped is None]


def drop_samples(samples: Sequence[Sample], reasons: Mapping[str, str]) -> list[Sample]:
    """Mark what `reasons` names (key -> REASON[:DETAIL]); the only way out of a dataset."""
    return [replace(s, dropped=reasons[s.key]) if s.key in reasons else s for s in samples]


def reinstate_samples(samples: Sequence[Sample], *reasons: str) -> list[Sample]:
    """Undo the drops of the named reasons, so that a step can decide afresh."""
    return [replace(s, dropped=None) if s.drop_reason in reasons else s for s in samples]


def make_key(source: str, identifier: str) -> str:
    """SOURCE-ID with every other character than letters, digits, `-` and `_` as `_xx` bytes.

    The mapping is injective (`_` itself is escaped), so two identifiers never share a key.
    """
    safe = re.sub(rb"[^A-Za-z0-9-]", lambda byte: b"_%02x" % ord(byte[0]), identifier.encode())
    return f"{source}-{safe.decode()}"


def identifier_of(sample: Sample) -> str:
    """The identifier of which `make_key` made the key."""
    escaped = sample.key.removeprefix(f"{sample.source}-").encode()
    return re.sub(rb"_([0-9a-f]{2})", lambda m: bytes.fromhex(m[1].decode()), escaped).decode()


def utc_now() -> str:
    """The time in UTC, ISO 8601 in seconds; SOURCE_DATE_EPOCH fixes it for reproducible runs.

    Source: https://reproducible-builds.org/specs/source-date-epoch/
    """
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    try:
        if epoch is not None and not (epoch.isascii() and epoch.isdecimal()):
            raise ValueError
        now = datetime.fromtimestamp(int(epoch), UTC) if epoch else datetime.now(UTC)
    except (ValueError, OverflowError, OSError):  # no number, or after the year 9999
        shown = (epoch or "")[:40]
        problem = f"{shown!r} is not a number of seconds since 1970-01-01, up to the year 9999"
        raise InputError("SOURCE_DATE_EPOCH", problem, fix="unset SOURCE_DATE_EPOCH") from None
    return now.strftime("%Y-%m-%dT%H:%M:%SZ")


@cache
def arrow_schema() -> "pa.Schema":
    """The Arrow schema of a manifest, field for field from `Sample`."""
    import pyarrow as pa

    hints = typing.get_type_hints(Sample)
    return pa.schema([(f.name, _arrow_type(hints[f.name])) for f in fields(Sample)])


def without_none(hint: Any) -> Any:
    """An annotation without its `| None`."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        (hint,) = (a for a in typing.get_args(hint) if a is not type(None))
    return hint


def _arrow_type(hint: Any) -> "pa.DataType":
    import pyarrow as pa

    hint = without_none(hint)
    if typing.get_origin(hint) is tuple:
        return pa.list_(_arrow_type(typing.get_args(hint)[0]))
    if is_dataclass(hint):
        hints = typing.get_type_hints(hint)
        return pa.struct([(f.name, _arrow_type(hints[f.name])) for f in fields(hint)])
    return {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}[hint]


def to_record(row: Any) -> dict[str, Any]:
    """A sample as plain values: what `asdict` gives, which copies every text, in less time."""
    return {name: _plain(getattr(row, name)) for name in row.__dataclass_fields__}


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, tuple):
        return tuple(map(_plain, value))
    return to_record(value) if is_dataclass(value) else value


def from_record(record: Mapping[str, Any]) -> Sample:
    """The sample that `to_record`, Arrow or JSON gave as plain values."""
    changed: dict[str, Any] = dict(record)
    for name in ("tags", "texts", "opt_outs", "redirects", "headers", "site_evidence"):
        changed[name] = tuple(record.get(name) or ())
    changed["restrictions"] = tuple(record.get("restrictions") or ())
    changed["captions"] = tuple(Caption(**c) for c in record.get("captions") or ())
    changed["restated"] = tuple(Statement(**s) for s in record.get("restated") or ())
    for name in ("embedded", "signals"):
        changed[name] = tuple(Signal(**s) for s in record.get(name) or ())
    for name in ("train", "share_dataset", "share_model"):
        value = record.get(name)
        changed[name] = value and Verdict(value["decision"], tuple(value["reasons"] or ()))
    changed["likeness"] = (like := record.get("likeness")) and Likeness(**like)
    return Sample(**changed)
