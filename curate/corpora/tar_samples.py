"""One tar in WebDataset form, whoever wrote it: its images, each with its captions and its place.

Names are cut as webdataset cuts them: the key ends at the first dot of the base name, what follows
is the ending, in lower case. Members of a sample need not stand side by side. Of a sample

- a text belongs to the image that its own name says (`a.jpg.txt`, or `a.1.txt` for `a.1.jpg`), else
  to the sample;
- what is said of the sample is said of its first image: the one named by the key alone (`a.jpg`),
  else the first by name (`a.0.jpg`, `a.orig.png`). Its other images are used only with a text of
  their own;
- where nothing is named by the key alone, keys have dots: `a.1.jpg` and `a.2.jpg` are two samples.

A member that is there already begins another sample of the same key, `KEY#2`.
"""

import bz2
import gzip
import lzma
import shlex
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from curate.corpora.columns import (
    UNTITLED_COLUMNS,
    LineCuts,
    columns_not_read,
    cut_captions,
    join_facts,
)
from curate.corpora.encoding import decode_text
from curate.corpora.endings import IMAGE_ENDINGS
from curate.corpora.folder import UNUSED
from curate.corpora.json_rows import load_json
from curate.corpora.naming import stated_captions
from curate.corpora.notes import ReadNotes
from curate.corpora.records import DENIED, describe_reason
from curate.corpora.statements import find_denial, read_statements
from curate.corpora.walk import check_is_file
from curate.images.sniff import head_refusal

TEXT_ENDINGS = ("txt", "text", "caption")
JSON_ENDINGS = ("json", "jsn")
LABEL_ENDING = "cls"  # of a class: a number as `ShardWriter` writes it
MAX_TEXT_BYTES = 1 << 22  # bytes of a text or a JSON object that is read
_TAIL = 1 << 20  # bytes behind the mark of the end that are looked at
_OPENERS = ((b"\x1f\x8b", gzip.open), (b"BZh", bz2.open), (b"\xfd7zXZ\0", lzma.open))
_UNREAD = {  # how compressed files begin that are not read -> what they are, what opens them
    b"\x28\xb5\x2f\xfd": ("Zstandard", "zstd -dc {file} > {new}.tar"),
    b"\x04\x22\x4d\x18": ("LZ4", "lz4 -dc {file} > {new}.tar"),
    b"PK\x03\x04": ("ZIP", "unzip {file} -d {new}"),
    b"7z\xbc\xaf": ("7-Zip", "7z x {file} -o{new}"),
}
_ERRORS = (OSError, EOFError, ValueError, tarfile.TarError, zlib.error, lzma.LZMAError)
NO_IMAGE = "captions without an image"
NOT_UTF8 = "captions that are not UTF-8 text"
NOT_JSON = "JSON that is no object, or cannot be read"
LONG_TEXT = f"texts longer than {MAX_TEXT_BYTES:,} bytes"
LABELS = "class numbers (.cls), which are no captions"
FURTHER = "further images of a sample, without a text of their own"
LINKS = "links in tars, not followed"
HIDDEN = "hidden members of tars"
BROKEN_RECORD = f"{DENIED}:nothing that can be read, beside records of ours"
OTHERS = "members of tars that are neither images nor captions"
_ITS_OWN = ("key", "status", "error_message", "sha256")  # what img2dataset says of its work


@dataclass(slots=True)
class TarImage:
    """An image in a tar."""

    key: str  # in its tar
    offset: int  # of its first byte in the tar, decompressed
    size: int  # bytes
    reason: str | None  # why it is of no use, as in `ImageRecord`; then nothing is said of it
    captions: tuple[str, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)
    made: int = 0  # as in `ImageRecord`


@dataclass(slots=True)
class _SampleText:
    """A text of a sample."""

    member: str
    about: str  # which image it names, in the words of its ending; "": none
    captions: tuple[str, ...]
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class _Sample:
    """The members of one key."""

    key: str
    endings: set[str] = field(default_factory=set)
    images: dict[str, tuple[int, int, str | None]] = field(default_factory=dict)  # ending ->
    # offset, size, why it is of no use
    texts: list[_SampleText] = field(default_factory=list)
    ours: bool = False  # it has a record of ours
    broken: bool = False  # it has one that is no JSON object, or cannot be read
    denied: str | None = None  # why its record forbids it, as in `ImageRecord.reason`


class _Header(tarfile.TarInfo):
    @classmethod
    def fromtarfile(cls, tar: tarfile.TarFile) -> "_Header":
        try:
            return super().fromtarfile(tar)
        except tarfile.TarError as error:
            if isinstance(tar, _Tar):
                tar.ended = type(error).__name__
            raise


class _Tar(tarfile.TarFile):
    """A tar that knows why it ends: `tarfile` ends at a damaged header as at the proper mark."""

    tarinfo = _Header
    members: list[tarfile.TarInfo]
    ended = ""


@dataclass
class TarReading:
    """What is read of one tar, and what is told of it."""

    file: Path
    whole: bool
    notes: ReadNotes
    cuts: LineCuts = field(default_factory=LineCuts)
    unused: dict[str, None] = field(default_factory=dict)  # fields of JSON objects
    _fields: set[str] = field(default_factory=set)  # of JSON objects that were met
    _latest: dict[str, _Sample] = field(default_factory=dict)
    _samples: list[_Sample] = field(default_factory=list)

    def images(self) -> list[TarImage]:
        """Its images in the order in which they are stored; of a broken tar those before."""
        last: tuple[_Sample, str] | None = None
        try:
            with open_stream(self.file) as stream, _Tar.open(fileobj=stream, mode="r:") as tar:
                while (member := tar.next()) is not None:
                    tar.members.clear()  # or memory grows with every member
                    last = None  # of the member before all bytes are there
                    last = self._take(member, stream)
                last = None
                self._check_end(tar, stream)
        except _ERRORS as error:
            if last:  # its bytes may be cut off
                last[0].images.pop(last[1], None)
            self._break(str(error) or type(error).__name__)
        if any(sample.ours for sample in self._samples):
            for sample in self._samples:  # nobody knows what was not allowed
                sample.denied = sample.denied or (BROKEN_RECORD if sample.broken else None)
        found = [image for sample in self._samples for image in self._images_of(sample)]
        found.sort(key=lambda image: image.offset)
        seen: set[str] = set()
        for image in found:
            key, number = image.key, 1
            while image.key in seen:
                number += 1
                image.key = f"{key}#{number}"
            seen.add(image.key)
        return found

    def _take(self, member: tarfile.TarInfo, stream: IO[bytes]) -> tuple[_Sample, str] | None:
        """Take a member; the sample and the ending, if it is an image."""
        name = member.name.removeprefix("./")
        folder, slash, base = name.rpartition("/")
        start, dot, ending = base.partition(".")
        ending = ending.lower()
        about, _, kind = ending.rpartition(".")
        if member.isdir():
            return None
        if member.issym() or member.islnk():
            self.notes.leave_out(LINKS, self._named(name))
        elif base.startswith(".") or name.startswith("__MACOSX/"):
            self.notes.leave_out(HIDDEN, self._named(name))
        elif not member.isreg() or member.issparse() or not dot:
            self.notes.leave_out(OTHERS, self._named(name))
        elif f".{kind}" in IMAGE_ENDINGS:
            sample = self._sample(f"{folder}{slash}{start}", ending)
            stream.seek(member.offset_data)
            reason = head_refusal(stream.read(min(32, member.size)), member.size)
            sample.images[ending] = member.offset_data, member.size, reason
            return sample, ending
        elif kind in TEXT_ENDINGS or kind in JSON_ENDINGS or kind == LABEL_ENDING:
            if member.size > MAX_TEXT_BYTES:
                self.notes.leave_out(LONG_TEXT, self._named(name))
                sample = self._sample(f"{folder}{slash}{start}", ending)
                sample.broken |= kind in JSON_ENDINGS
                return None
            stream.seek(member.offset_data)
            data = stream.read(member.size)
            if len(data) < member.size:
                raise tarfile.ReadError("unexpected end of data")
            sample = self._sample(f"{folder}{slash}{start}", ending)
            read = self._read_json if kind in JSON_ENDINGS else self._read_text
            sample.texts += read(name, about, data, sample)
        else:
            self.notes.leave_out(OTHERS, self._named(name))
        return None

    def _sample(self, key: str, ending: str) -> _Sample:
        sample = self._latest.get(key)
        if sample is None or ending in sample.endings:
            sample = self._latest[key] = _Sample(key)
            self._samples.append(sample)
        sample.endings.add(ending)
        return sample

    def _read_text(self, name: str, about: str, data: bytes, sample: _Sample) -> list[_SampleText]:
        try:
            text = decode_text(data)
        except UnicodeDecodeError:
            self.notes.leave_out(NOT_UTF8, self._named(name))
            return []
        if name[-3:].lower() == LABEL_ENDING and _is_number(text):
            self.notes.leave_out(LABELS, self._named(name))
            return []
        return [_SampleText(name, about, cut_captions(text, whole=self.whole, cuts=self.cuts))]

    def _read_json(self, name: str, about: str, data: bytes, sample: _Sample) -> list[_SampleText]:
        try:
            record = load_json(data, self._named(name), self.notes)
        except (ValueError, RecursionError):
            record = None
        if not isinstance(record, dict):
            self.notes.leave_out(NOT_JSON, self._named(name))
            sample.broken = True
            return []
        captions, facts = read_statements(
            record,
            self.notes,
            self._named(name),
            whole=self.whole,
            cuts=self.cuts,
            wanted=UNTITLED_COLUMNS,  # of a title `naming` makes a caption
        )
        if "record" in facts:
            sample.ours = True
            sample.denied = sample.denied or find_denial(facts)
            return [_SampleText(name, about, captions, facts)]
        if isinstance(sha256 := record.get("sha256"), str):
            facts["made_of"] = (sha256,)
        if new := record.keys() - self._fields:
            self._fields |= new
            self.unused |= dict.fromkeys(columns_not_read(new, _ITS_OWN))
        return [_SampleText(name, about, captions, facts)]

    def _images_of(self, sample: _Sample) -> Iterator[TarImage]:
        """The images of a sample that are used, with what is said of each."""
        if sample.denied:
            for ending, (offset, size, reason) in sample.images.items():
                name = self._named(f"{sample.key}.{ending}")
                self.notes.leave_out(describe_reason(sample.denied), name)
                if reason is None:
                    yield TarImage(sample.key, offset, size, sample.denied)
            return
        stems = {ending: ending.rpartition(".")[0] for ending in sample.images}
        # an image that is of use comes first
        order = sorted(sample.images, key=lambda ending: sample.images[ending][2] is not None)
        plain = [ending for ending in order if not stems[ending]]
        dotted = not plain and not any("." not in ending for ending in sample.endings)
        first = next(iter(plain), None)
        if first is None and not dotted:
            first = min(sample.images, default=None, key=lambda e: (sample.images[e][2] or "", e))
        said: dict[str, list[_SampleText]] = {ending: [] for ending in sample.images}
        for text in sample.texts:
            same = (ending for ending, stem in stems.items() if text.about and stem == text.about)
            owner = text.about if text.about in said else next(same, first)
            if owner is None:
                self.notes.leave_out(NO_IMAGE, self._named(text.member), len(text.captions))
            else:
                said[owner].append(text)
        taken: set[str] = set()
        for ending, (offset, size, reason) in sample.images.items():
            key = sample.key if ending == first else f"{sample.key}.{stems[ending] or ending}"
            if ending != first and not said[ending] and (key in taken or not dotted):
                self.notes.leave_out(FURTHER, self._named(f"{sample.key}.{ending}"))
                continue
            taken.add(key)
            if reason is None:
                yield TarImage(key, offset, size, None, *self._join_texts(said[ending]))
                continue
            for text in said[ending]:
                if text.captions:
                    self.notes.leave_out(UNUSED, self._named(text.member), len(text.captions))
            yield TarImage(key, offset, size, reason)

    def _join_texts(self, texts: list[_SampleText]) -> tuple[tuple[str, ...], dict[str, Any], int]:
        """All captions, each once, all facts, and how many captions are made of these."""
        captions = tuple(dict.fromkeys(caption for text in texts for caption in text.captions))
        facts = join_facts([text.facts for text in texts])
        made = stated_captions(captions, facts, self.notes)
        return captions + made, facts, len(made)

    def _check_end(self, tar: _Tar, stream: IO[bytes]) -> None:
        if tar.ended != "EOFHeaderError":
            self._break("it ends without the mark of its end, and may be cut off")
        elif stream.read(_TAIL).strip(b"\0"):
            self._break("what follows the mark of its end is not read; are these several tars?")

    def _break(self, why: str) -> None:
        self.notes.broken.append(f"{self.file}: cannot be read in full ({why})")

    def _named(self, member: str) -> str:
        return f"{self.file.name}/{member}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return not text.strip()
    return True


def is_compressed(file: Path) -> bool:
    """Whether a tar is compressed, by its content."""
    with file.open("rb") as stream:
        return _opener(stream.read(512)) is not None


def open_stream(file: Path) -> IO[bytes]:
    """The bytes of a tar, decompressed.

    Raises:
        tarfile.ReadError: compressed in a way that is not read.
        OSError: it cannot be read.
    """
    check_is_file(file)
    with file.open("rb") as stream:
        head = stream.read(512)
    if opener := _opener(head):
        opened: IO[bytes] = opener(file, "rb")
        return opened
    for magic, (what, command) in _UNREAD.items():
        if head.startswith(magic) and head[257:262] != b"ustar":
            new = file.with_name(f"{file.name.partition('.')[0]}-plain")
            told = command.format(file=shlex.quote(str(file)), new=shlex.quote(str(new)))
            raise tarfile.ReadError(f"it is compressed with {what}: {told}")
    return file.open("rb")


def _opener(head: bytes) -> Any:
    if head[257:262] == b"ustar":
        return None
    return next((opener for magic, opener in _OPENERS if head.startswith(magic)), None)
