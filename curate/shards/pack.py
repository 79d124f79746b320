"""Write what may be trained on as WebDataset tars: the same rows and settings, the same bytes."""

import io
import json
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

from curate.dataset.folder import Dataset, Store, command_line
from curate.dataset.sample import Sample
from curate.errors import InputError, UsageError, disk_errors
from curate.formats.shards import IMAGE_FORMATS, INDEX_NAME, Record, Shard, ShardIndex, shard_name
from curate.images.decode import decode_image, flatten, pixel_sha256
from curate.system import sandbox
from curate.system.files import file_sha256, remove_leftovers, write_bytes
from curate.system.progress import SILENT, Progress, track
from curate.text import tokens

if TYPE_CHECKING:
    from PIL import Image

SHARD_BYTES = 256 << 20  # bytes of members after which a new shard is begun
ENCODINGS: dict[str, tuple[str, dict[str, Any], str]] = {
    "jpg": ("JPEG", {"quality": 95, "subsampling": 0, "optimize": True}, "JPEG, quality 95"),
    "png": ("PNG", {"compress_level": 6}, "PNG"),
    "webp": ("WEBP", {"lossless": True, "quality": 50, "method": 4}, "lossless WebP"),
}
_SPLIT_NAME = re.compile(r"[A-Za-z0-9_]+")


@dataclass(frozen=True)
class PackSummary:
    """What `pack` wrote, and what it left out."""

    folder: str
    samples: int
    shards: int
    bytes: int  # of all tars
    left_out: Mapping[str, int]  # reason -> rows
    unchanged: bool  # the shards there were the same already

    def as_rows(self) -> list[tuple[str, int | str]]:
        """The summary as lines: what, how much."""
        left = [(f"left out: {reason}", count) for reason, count in self.left_out.items()]
        state = "unchanged" if self.unchanged else "written"
        counts = [("images", self.samples), ("shards", self.shards), ("bytes", self.bytes)]
        return [*counts, *left, (state, self.folder)]


def pack(
    dataset: Dataset,
    *,
    size: int = 512,
    format: str = "jpg",
    background: str = "white",
    shard_size: int = SHARD_BYTES,
    split: str = "train",
    progress: Progress = SILENT,
) -> PackSummary:
    """Write the rows that may be trained on, and have captions, as shards; `curate pack`.

    Rows are taken by key. An image whose shorter side is longer than `size` is scaled down to it
    (Lanczos), never up; transparency is composed on `background`; metadata is left behind, since
    the record beside the image names author and licence. The old shards stay until the new ones
    are complete; killed in between, the folder has no index and the same command completes it.

    Args:
        dataset: where the rows and images lie, and the shards will.
        size: pixels of the shorter side.
        format: "jpg" (quality 95, 4:4:4), "png" or "webp" (lossless).
        background: a colour name or #rrggbb.
        shard_size: bytes of members after which a new shard is begun.
        split: first part of the shards' names.
        progress: counts images.

    Raises:
        UsageError: a setting cannot be used, or another command is at work there.
        InputError: no row can be packed, a stored file is missing or changed, or the disk refuses.
    """
    settings = {"size": size, "format": format, "background": background}
    check_pack_settings(size, format, background, shard_size, split)
    with dataset.lock(existing=True):
        samples = sorted(dataset.read().samples, key=lambda s: s.key)
        left_out = Counter(reason for s in samples if (reason := reason_not_packed(s)))
        chosen = [s for s in samples if reason_not_packed(s) is None]
        if not chosen:
            raise _nothing_to_pack(dataset, left_out)
        with _Writer(dataset.shards, split, shard_size) as writer:
            for sample, answer in _render_all(dataset.store, chosen, settings, progress):
                if isinstance(answer, str):
                    left_out[answer] += 1
                else:
                    writer.add(sample, *answer)
            if not writer.samples:
                raise _nothing_to_pack(dataset, left_out)
            index = writer.index(settings | {"shard_size": shard_size})
            unchanged = _publish(dataset.shards, index)
    counts = index.samples, len(index.shards), sum(shard.bytes for shard in index.shards)
    return PackSummary(str(dataset.shards), *counts, dict(sorted(left_out.items())), unchanged)


def reason_not_packed(sample: Sample) -> str | None:
    """Why this row is not packed; None if it is."""
    if sample.dropped is not None:
        return f"dropped:{sample.drop_reason}"
    if sample.sha256 is None:
        return "no-picture"
    if sample.train is None:
        return "no-verdict"
    if not sample.may_train:
        return sample.train.decision
    return None if any(c.text.strip() for c in sample.captions) else "no-caption"


def check_pack_settings(
    size: int,
    format: str,
    background: str = "white",
    shard_size: int = SHARD_BYTES,
    split: str = "train",
) -> None:
    """Refuse settings that `pack` cannot use.

    Raises:
        UsageError: one of them.
    """
    from PIL import ImageColor

    if size < 1 or shard_size < 1:
        raise UsageError("--size", "must be 1 pixel or more", fix="--size 512")
    if format not in IMAGE_FORMATS:
        fix = f"one of {', '.join(IMAGE_FORMATS)}"
        raise UsageError("--format", f"no format {format!r}", fix=fix)
    if not _SPLIT_NAME.fullmatch(split):
        raise UsageError("split", f"{split!r} is not letters and digits", fix="train")
    try:
        opaque = len(ImageColor.getrgb(background)) == 3
    except ValueError:
        opaque = False
    if not opaque:
        problem = f"{background!r} is not a plain colour"
        raise UsageError("--background", problem, fix="a name such as white, or #rrggbb")


def _nothing_to_pack(dataset: Dataset, left_out: Mapping[str, int]) -> InputError:
    """Nothing can be packed: say why, and which command comes first."""
    status, explain = (command_line(dataset.root, *w) for w in (("status",), ("explain", "KEY")))
    commands = {
        "no-verdict": command_line(dataset.root, "check"),
        "no-caption": command_line(dataset.root, "caption"),
        "hold": f"{status}, then {explain}; a fetch with --license states a licence",
        "deny": f"{status}, then {explain}",
    }
    causes = ", ".join(f"{reason} {count}" for reason, count in sorted(left_out.items()))
    fix = next((fix for reason, fix in commands.items() if left_out.get(reason)), status)
    old = "; the shards there stay as they are" if (dataset.shards / INDEX_NAME).exists() else ""
    return InputError(dataset.root, f"nothing to pack ({causes or 'no rows'}){old}", fix=fix)


def _render_all(
    store: Store, samples: Sequence[Sample], settings: Mapping[str, Any], progress: Progress
) -> Iterator[tuple[Sample, sandbox.JobResult | str]]:
    """Each sample with its facts and bytes as packed, or with why it cannot be."""
    shared = {"root": str(store.root), **settings}
    jobs = [{**shared, "sha256": s.sha256, "known": s.pixel_sha256} for s in samples]
    both = zip(samples, sandbox.run_jobs(f"{__name__}:render_stored", jobs), strict=True)
    for sample, answer in track(both, len(samples), "images", progress):
        if isinstance(answer, sandbox.WorkerFailure):
            yield sample, "unreadable"
        else:
            yield sample, answer[0].get("refused") or answer


def render_stored(
    root: str, sha256: str, known: str | None, size: int, format: str, background: str
) -> sandbox.JobResult:
    """Render a stored image, `known` being its pixel hash if measured; for `sandbox.run_jobs`.

    Returns:
        ({"refused": REASON}, nothing), or the facts that a record states of its pixels, and the
        bytes to pack.
    """
    try:
        image = decode_image(Store(Path(root)).get(sha256))
        return render_image(image, known=known, size=size, format=format, background=background)
    except (OSError, ValueError):  # WebP ends at 16,383 pixels a side, JPEG at 65,535
        return {"refused": f"not-encodable:{format}"}, b""


def render_image(
    image: "Image.Image", *, size: int, format: str, background: str, known: str | None = None
) -> sandbox.JobResult:
    """A decoded image's facts and its bytes as packed, its shorter side at most `size` pixels."""
    modified = []
    facts: dict[str, Any] = {
        "original_width": image.width,
        "original_height": image.height,
        "pixel_sha256": known or pixel_sha256(image),
    }
    if image.mode != "RGB":
        modified.append(f"composed on {background}")
    small = scale_down(flatten(image, background), size)
    if small.size != image.size:
        modified.append("resized")
    name, options, words = ENCODINGS[format]
    modified += ["upright, in sRGB, metadata removed", f"re-encoded as {words}"]
    stream = io.BytesIO()
    small.save(stream, name, **options)
    facts |= {"width": small.width, "height": small.height, "modified": modified, "format": format}
    return facts, stream.getvalue()


def scale_down(image: "Image.Image", size: int) -> "Image.Image":
    """`image` with a shorter side of `size` pixels (Lanczos); as it is if that would enlarge it."""
    from PIL import Image

    shorter = min(image.size)
    if shorter <= size:
        return image
    width, height = (max(1, round(side * size / shorter)) for side in image.size)
    return image.resize((width, height), Image.Resampling.LANCZOS)


class _Writer:
    """Shards in the making: complete but for their names, which still end in `.part`."""

    def __init__(self, folder: Path, split: str, shard_size: int) -> None:
        self.folder, self.split, self.shard_size = folder, split, shard_size
        self.samples = 0
        self.shards: list[Shard] = []
        self.licences: Counter[str] = Counter()
        self.images_of: defaultdict[str, set[str]] = defaultdict(set)  # word -> pixel hashes
        self.file: IO[bytes] | None = None
        self.tar: Any = None
        self.started = self.filled = 0  # samples before this shard; bytes in it

    def __enter__(self) -> Self:
        """Make the folder; remove what a killed process left there."""
        with disk_errors(self.folder):
            self.folder.mkdir(exist_ok=True)
            remove_leftovers(self.folder)
        return self

    def add(self, sample: Sample, facts: Mapping[str, Any], image: bytes) -> None:
        """Append a sample to the shard in the making."""
        from webdataset.writer import TarWriter

        values = {**asdict(sample), **facts}
        captions = values["captions"] = [c for c in values["captions"] if c["text"].strip()]
        record = {name: values[name] for name in Record.__annotations__}
        members = {
            str(facts["format"]): image,
            "json": json.dumps(record, sort_keys=True, ensure_ascii=False).encode(),
            "txt": captions[0]["text"].encode(),
        }
        bytes_ = sum(map(len, members.values()))
        if self.tar is not None and self.filled + bytes_ > self.shard_size:
            self._finish()
        with disk_errors(self.folder):
            if self.tar is None:
                part = _part_path(self.folder, shard_name(self.split, len(self.shards)))
                self.file = part.open("wb")
                # PAX, since USTAR refuses names of more than 100 characters
                self.tar = TarWriter(self.file, mtime=0, format="PAX_FORMAT", encoder=False)
            self.tar.write({"__key__": sample.key, **members})
        self.samples += 1
        self.filled += bytes_
        self.licences[sample.license or "none"] += 1
        for word in {word for c in captions for word in tokens.words(c["text"])}:
            self.images_of[word].add(str(facts["pixel_sha256"]))

    def index(self, settings: Mapping[str, Any]) -> ShardIndex:
        """Finish the last shard and list them all."""
        self._finish()
        return ShardIndex(
            size=settings["size"],
            format=settings["format"],
            split=self.split,
            samples=self.samples,
            shards=tuple(self.shards),
            words={word: len(images) for word, images in self.images_of.items()},
            licences=dict(self.licences),
            settings=settings,
        )

    def __exit__(self, *_: object) -> None:
        """Close what is open and remove what was not published."""
        for opened in (self.tar, self.file):
            if opened is not None:
                with suppress(OSError):  # what cannot be flushed is removed anyway
                    opened.close()
        remove_leftovers(self.folder)

    def _finish(self) -> None:
        assert self.file is not None
        name = shard_name(self.split, len(self.shards))
        part = _part_path(self.folder, name)
        with disk_errors(self.folder):
            self.tar.close()
            self.file.flush()
            os.fsync(self.file.fileno())
            self.file.close()
            sha256, size = file_sha256(part), part.stat().st_size
        self.shards.append(Shard(name, sha256, self.samples - self.started, size))
        self.tar, self.file, self.started, self.filled = None, None, self.samples, 0


def _publish(folder: Path, index: ShardIndex) -> bool:
    """Put the finished shards in the place of the old ones; True if those were the same."""
    path, text = folder / INDEX_NAME, index.to_json()
    with disk_errors(folder):
        old = path.read_bytes() if path.exists() else b""
        same = old == text and all((folder / s.name).is_file() for s in index.shards)
        if same and all(file_sha256(folder / s.name) == s.sha256 for s in index.shards):
            return True
        path.unlink(missing_ok=True)  # from here the folder is no set of shards, until the end
        for shard in index.shards:
            _part_path(folder, shard.name).replace(folder / shard.name)
    write_bytes(path, text)
    with disk_errors(folder):
        there = set(folder.glob("*-[0-9][0-9][0-9][0-9][0-9][0-9].tar"))
        for tar in there - {folder / shard.name for shard in index.shards}:
            tar.unlink()
    return False


def _part_path(folder: Path, name: str) -> Path:
    return folder / f".{name}.part"
