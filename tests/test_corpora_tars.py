"""Tars that other programs wrote: which captions belong to which image, and what is told."""

import bz2
import gzip
import io
import json
import lzma
import pickle
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest
import webdataset
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from webdataset.tariterators import group_by_keys, tar_file_expander

from curate.corpora import tar_samples, tars
from curate.corpora.corpus import find_corpus, open_reader
from curate.corpora.folder import UNUSED, ImageFolder
from curate.corpora.notes import ReadNotes
from curate.corpora.records import ImageRecord
from curate.corpora.tars import ForeignTars
from curate.errors import InputError
from curate.index.index import open_index

Members = Iterable[tuple[str, bytes | str]]
JPEG = b"\xff\xd8\xff "  # how one begins; nobody looks further here


def tar_of(members: Members, mode: str = "w", **settings: object) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode, **settings) as tar:  # type: ignore[call-overload]
        for name, data in members:
            info = tarfile.TarInfo(name)
            content = data.encode() if isinstance(data, str) else data
            content = JPEG + content if data in ("i", "j") else content
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def write(path: Path, members: Members, **settings: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(tar_of(members, **settings))  # type: ignore[arg-type]
    return path


def read(path: Path, *, whole: bool = False) -> tuple[list[ImageRecord], ReadNotes]:
    """All records, once both ways to read are known to say the same."""
    reader = open_reader(path, whole=whole)
    assert isinstance(reader, ForeignTars), reader
    notes, counted = ReadNotes(most=None), ReadNotes(most=None)
    records = list(reader.records(notes))
    indexed = [
        pair
        for part in pickle.loads(pickle.dumps(reader.partitions()))
        for pair in part.read(counted)
    ]
    assert [(r.key, r.captions) for r in records if r.reason is None] == indexed
    assert not any(r.captions or r.facts for r in records if r.reason)
    assert (notes.left_out, notes.named) == (counted.left_out, counted.named)
    assert notes.broken == counted.broken
    assert len({r.key for r in records}) == len(records)
    for record in records:
        chosen = list(open_reader(path).records(ReadNotes(), [record.key]))
        assert [(r.key, r.read()) for r in chosen] == [(record.key, record.read())]
    return records, notes


def captions_of(records: Iterable[ImageRecord]) -> dict[str, tuple[str, ...]]:
    return {r.key.partition("/")[2]: r.captions for r in records}


NO_IMAGE, FURTHER = tar_samples.NO_IMAGE, tar_samples.FURTHER


@pytest.mark.parametrize(
    ("members", "captions", "left_out"),
    [
        # as img2dataset and ShardWriter write them
        ({"0.jpg": "i", "0.json": '{"caption": "a fox"}', "0.txt": "a fox"}, {"0": ["a fox"]}, {}),
        ({"0.webp": "i", "0.caption": "a fox"}, {"0": ["a fox"]}, {}),
        ({"0.JPG": "i", "0.TXT": "\ufeffa fox"}, {"0": ["a fox"]}, {}),
        ({"0.png": "i", "0.json": '{"Prompt ": "a fox"}'}, {"0": ["a fox"]}, {}),
        ({"0.png": "i", "0.json": '{"caption": ["a fox", "red"]}'}, {"0": ["a fox", "red"]}, {}),
        # two texts that differ are two captions; a title is one only where nothing else is said
        (
            {"0.png": "i", "0.txt": "a fox", "0.json": '{"text": "it runs"}', "0.caption": "red"},
            {"0": ["a fox", "it runs", "red"]},
            {},
        ),
        ({"0.png": "i", "0.txt": "a fox", "0.json": '{"title": "IMG 1"}'}, {"0": ["a fox"]}, {}),
        ({"0.png": "i", "0.json": '{"title": "Fox"}'}, {"0": ["Fox"]}, {}),
        # not side by side, in folders, with dots
        (
            {"a/1.jpg": "i", "b/1.jpg": "j", "b/1.txt": "an owl", "a/1.txt": "a fox"},
            {"a/1": ["a fox"], "b/1": ["an owl"]},
            {},
        ),
        ({"a/b.c.jpg": "i", "a/b.c.txt": "a fox"}, {"a/b.c": ["a fox"]}, {}),
        ({"a.x/b.jpg": "i", "a.x/b.txt": "a fox"}, {"a.x/b": ["a fox"]}, {}),
        ({"./a.jpg": "i", "./a.txt": "a fox"}, {"a": ["a fox"]}, {}),
        (
            {"v.1.jpg": "i", "v.1.txt": "a fox", "v.2.txt": "an owl", "v.2.jpg": "j"},
            {"v.1": ["a fox"], "v.2": ["an owl"]},
            {},
        ),
        ({"v.1.jpg": "i", "v.2.txt": "an owl"}, {"v.1": []}, {NO_IMAGE: ["v.2.txt"]}),
        # a text that names an image
        ({"a.jpg": "i", "a.jpg.txt": "a fox"}, {"a": ["a fox"]}, {}),
        (
            {"a.jpg": "i", "a.png": "j", "a.png.txt": "an owl", "a.txt": "a fox"},
            {"a": ["a fox"], "a.png": ["an owl"]},
            {},
        ),
        (
            {"a.jpg": "i", "a.en.txt": "a fox", "a.de.txt": "ein Fuchs"},
            {"a": ["a fox", "ein Fuchs"]},
            {},
        ),
        # several images of a sample
        (
            {"a.0.jpg": "i", "a.1.jpg": "j", "a.txt": "a fox"},
            {"a": ["a fox"]},
            {FURTHER: ["a.1.jpg"]},
        ),
        (
            {"a.seg.png": "j", "a.orig.png": "i", "a.json": '{"text": "a fox"}'},
            {"a": ["a fox"]},
            {FURTHER: ["a.seg.png"]},
        ),
        (
            {"a.seg.png": "j", "a.jpg": "i", "a.txt": "a fox", "a.seg.txt": "grey"},
            {"a": ["a fox"], "a.seg": ["grey"]},
            {},
        ),
        ({"a.0.jpg": "i", "a.1.jpg": "j"}, {"a.0": [], "a.1": []}, {}),
        # without caption, without image
        ({"0.jpg": "i", "1.jpg": "j", "1.txt": ""}, {"0": [], "1": []}, {}),
        ({"0.txt": "a fox\nan owl", "1.jpg": "i"}, {"1": []}, {NO_IMAGE: ["0.txt"]}),
        # values that are no captions
        ({"0.jpg": "i", "0.cls": "207"}, {"0": []}, {tar_samples.LABELS: ["0.cls"]}),
        ({"0.jpg": "i", "0.cls": "golden retriever"}, {"0": ["golden retriever"]}, {}),
        ({"0.jpg": "i", "0.json": "[1, 2]"}, {"0": []}, {tar_samples.NOT_JSON: ["0.json"]}),
        ({"0.jpg": "i", "0.json": '{"cap'}, {"0": []}, {tar_samples.NOT_JSON: ["0.json"]}),
        ({"0.jpg": "i", "0.json": "[" * 200_000}, {"0": []}, {tar_samples.NOT_JSON: ["0.json"]}),
        (
            {"0.jpg": "i", "0.json": '{"text": {"en": "a fox"}}', "0.txt": "a fox"},
            {"0": ["a fox"]},
            {"values that are not text": None},
        ),
        (
            {"0.jpg": "i", "0.txt": "Füchse".encode("latin-1"), "1.jpg": "j", "1.txt": "Füchse"},
            {"0": [], "1": ["Füchse"]},
            {tar_samples.NOT_UTF8: ["0.txt"]},
        ),
        (
            {"0.jpg": "i", "0.txt": "x" * (tar_samples.MAX_TEXT_BYTES + 1)},
            {"0": []},
            {tar_samples.LONG_TEXT: ["0.txt"]},
        ),
        # what is no sample
        (
            {"._0.jpg": "m", "0.jpg": "i", "__MACOSX/0.jpg": "m", "a/._0.txt": "m"},
            {"0": []},
            {tar_samples.HIDDEN: ["._0.jpg", "__MACOSX/0.jpg", "a/._0.txt"]},
        ),
        (
            {"0.jpg": "i", "0.npy": "n", "README": "r", "0.txt": "a fox"},
            {"0": ["a fox"]},
            {tar_samples.OTHERS: ["0.npy", "README"]},
        ),
    ],
)
def test_captions_go_to_the_image_that_they_are_of(
    tmp_path: Path,
    members: Mapping[str, str | bytes],
    captions: Mapping[str, list[str]],
    left_out: Mapping[str, list[str] | None],
):
    records, notes = read(write(tmp_path / "x.tar", members.items()))

    assert captions_of(records) == {key: tuple(said) for key, said in captions.items()}
    assert set(notes.left_out) == set(left_out)
    for reason, names in left_out.items():
        if names is not None:
            assert notes.named[reason] == [f"x.tar/{name}" for name in names]
    for record in records:
        assert record.read() in (JPEG + b"i", JPEG + b"j")
    if NO_IMAGE in left_out and "0.txt" in members:
        assert notes.left_out[NO_IMAGE] == 2  # captions, not texts


def test_a_key_that_comes_again_is_another_sample(tmp_path: Path):
    two = [("0.jpg", "i"), ("0.txt", "a fox"), ("0.jpg", "j"), ("0.txt", "an owl")]
    for name in ("a.tar", "b.tar"):
        write(tmp_path / name, two)

    records, notes = read(tmp_path)

    assert [(r.key, r.captions, r.read()) for r in records] == [
        ("a.tar/0", ("a fox",), JPEG + b"i"),
        ("a.tar/0#2", ("an owl",), JPEG + b"j"),
        ("b.tar/0", ("a fox",), JPEG + b"i"),
        ("b.tar/0#2", ("an owl",), JPEG + b"j"),
    ]
    assert notes.sentences() == []


def test_links_are_named_and_folders_are_nothing(tmp_path: Path):
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        for name, kind in [("d", tarfile.DIRTYPE), ("a.jpg", b""), ("b.jpg", tarfile.LNKTYPE),
                           ("c.jpg", tarfile.SYMTYPE), ("p.jpg", tarfile.FIFOTYPE)]:  # fmt: skip
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind or tarfile.REGTYPE, "a.jpg" * (not kind.isspace())
            tar.addfile(info)

    records, notes = read(tmp_path / "x.tar")

    assert captions_of(records) == {"a": ()}
    assert notes.named == {
        tar_samples.LINKS: ["x.tar/b.jpg", "x.tar/c.jpg"],
        tar_samples.OTHERS: ["x.tar/p.jpg"],
    }


def test_long_names_and_big_numbers_are_read_from_their_headers(tmp_path: Path):
    long = "folder/" * 40 + "名前"
    for format in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        write(tmp_path / "x.tar", [(f"{long}.jpg", "i"), (f"{long}.txt", "a fox")], format=format,
              pax_headers={"comment": "all of it"})  # fmt: skip
        assert captions_of(read(tmp_path / "x.tar")[0]) == {long: ("a fox",)}


FOX = [("0.jpg", "i"), ("0.txt", "a fox"), ("1.txt", "an owl"), ("1.jpg", "j")]


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("x.tar.gz", gzip.compress), ("x.tgz", gzip.compress), ("x.tar", gzip.compress),
        ("x.tar.bz2", bz2.compress), ("x.tar.xz", lzma.compress), ("x.TAR", bytes),
    ],
)  # fmt: skip
def test_compressed_tars_give_the_same_captions_and_bytes(tmp_path: Path, name: str, pack):
    (tmp_path / name).write_bytes(pack(tar_of(FOX)))

    records, notes = read(tmp_path)

    assert [(r.key, r.captions, r.read()) for r in records] == [
        (f"{name}/0", ("a fox",), JPEG + b"i"),
        (f"{name}/1", ("an owl",), JPEG + b"j"),
    ]
    assert [r.file is None for r in records] == [pack is not bytes] * 2
    assert notes.sentences() == []


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\x28\xb5\x2f\xfd" + bytes(600), "it is compressed with Zstandard: zstd -dc /"),
        (b"PK\x03\x04" + bytes(600), "it is compressed with ZIP: unzip /"),
        (b"<html>not found</html>", "truncated header"),
        (b"", "empty file"),
        (b"x" * 2000, "invalid header"),
        (gzip.compress(tar_of(FOX))[:-30], None),
        (tar_of(FOX)[:4096], "it ends without the mark of its end, and may be cut off"),
        (tar_of(FOX) + tar_of(FOX), "what follows the mark of its end is not read; are these "),
    ],
)
def test_a_broken_tar_is_told_of_and_costs_no_other(tmp_path: Path, data: bytes, why: str | None):
    (tmp_path / "x.tar").write_bytes(data)
    write(tmp_path / "y.tar", FOX)

    records, notes = read(tmp_path)

    assert [r.captions for r in records if r.key.startswith("y")] == [("a fox",), ("an owl",)]
    [said] = notes.broken
    assert said.startswith(f"{tmp_path / 'x.tar'}: cannot be read in full ({why or ''}")


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_of_a_tar_that_is_cut_off_the_images_before_count(tmp_path: Path, pack):
    said = {"jpg": JPEG + b"jpg " * 130, "txt": b"txt " * 130}
    members = [(f"{n}.{kind}", said[kind]) for n in range(4) for kind in said]
    whole = pack(tar_of(members))
    end = 8 * 3 * 512 + 512  # of a header and two blocks each, and the mark of the end
    full = captions_of(read(write(tmp_path / "full.tar", members))[0])
    met = set()
    for size in range(0, len(whole), 331 if pack is bytes else 17):
        (tmp_path / "x.tar").write_bytes(whole[:size])
        records, notes = read(tmp_path / "x.tar")
        for record in records:
            assert record.read() == said["jpg"]
            assert record.captions in ((), full[record.key[-1]])
        assert len(notes.broken) == (pack is not bytes or size < end), size
        met.add(len(records))
    assert met == {0, 1, 2, 3, 4}


def test_a_damaged_header_in_the_middle_is_told_of(tmp_path: Path):
    data = bytearray(tar_of(FOX))
    data[2 * 1024 + 148 : 2 * 1024 + 156] = b"99999999"  # the checksum of the third
    (tmp_path / "x.tar").write_bytes(data)

    records, notes = read(tmp_path / "x.tar")

    assert captions_of(records) == {"0": ("a fox",)}
    assert len(notes.broken) == 1


# which tars


def test_patterns_name_tars_and_say_which_are_missing(tmp_path: Path):
    for number in (0, 1, 3):
        write(tmp_path / f"{number:05}.tar", [("0.jpg", "i"), ("0.txt", f"fox {number}")])

    for pattern in ("{00000..00003}.tar", "000{00..03}.tar", "{00000,00001,00002,00003}.tar"):
        reader = open_reader(tmp_path / pattern)
        assert [r.captions[0] for r in reader.records(ReadNotes())] == ["fox 0", "fox 1", "fox 3"]
        assert list(reader.missing) == [f"{tmp_path}/00002.tar: tar is missing"]
        keys = [r.key for r in reader.records(ReadNotes())]
        assert keys == [r.key for r in open_reader(tmp_path).records(ReadNotes())]
    assert list(open_reader(tmp_path / "{00000..00099}.tar").missing[4:]) == [
        f"{tmp_path}/00007.tar: tar is missing",
        f"{tmp_path}/{{00000..00099}}.tar: 92 more tars are missing",
    ]
    for wrong in (
        "{00005..00009}.tar",
        "{00000..3.tar",
        "{0..99999999}.tar",
        "{0..999}{0..999}.tar",
    ):
        with pytest.raises(InputError, match=r"no such tars|more than"):
            open_reader(tmp_path / wrong)
    (tmp_path / "{a}.tar").write_bytes(tar_of(FOX))
    assert len(list(open_reader(tmp_path / "{a}.tar").records(ReadNotes()))) == 2


def test_a_folder_of_tars_is_told_from_a_folder_of_images(tmp_path: Path):
    def kind(*names: str) -> str:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        for name in names:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(tar_of(FOX) if ".t" in name else b"x")
        reader = open_reader(folder)
        notes = ReadNotes(most=None)
        list(reader.records(notes))
        said = [*notes.named.get(tars.BESIDE, ()), *reader.missing]
        return " ".join([reader.kind, *said]).replace(str(folder), "")

    assert kind("0.tar", "0.parquet", "0_stats.json") == "tars"
    assert kind("a/0.tar", "b/0.tar", "b/notes.md") == "tars b/notes.md"
    assert kind("0.tar", "0_stats.json", "1_stats.json", "1.parquet") == (
        "tars 1.parquet /1.tar: tar is missing, of which 1_stats.json speaks"
    )
    assert kind("0.tar", "1.tar", "look.png", "._2.tar", "a/b/3.tar") == (
        "tars ._2.tar a/b/ look.png"
    )
    assert kind("fox.png", "owl.png", "backup.tar.gz") == "folder"
    assert kind("00000/0.jpg", "00000/0.json", "00000.parquet", "00000_stats.json") == "folder"


def test_the_folder_of_the_dataset_is_not_entered(tmp_path: Path):
    write(tmp_path / "0.tar", FOX)
    write(tmp_path / "data" / "0.tar", FOX)

    reader = open_reader(tmp_path, without=tmp_path / "data")

    assert {r.key for r in reader.records(ReadNotes())} == {"0.tar/0", "0.tar/1"}


def test_only_a_changed_tar_is_counted_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(tars, "PARTITION_BYTES", 1 << 14)
    for number in range(4):
        write(tmp_path / "s" / f"{number}.tar", [("0.jpg", "i"), ("0.txt", f"fox {number}")])

    def names() -> list[str]:
        return [part.content_name() for part in find_corpus(tmp_path / "s").partitions]

    first, found = names(), open_index(find_corpus(tmp_path / "s"))
    assert (found.images, len(first)) == (4, 4)
    write(tmp_path / "s" / "2.tar", [("0.jpg", "i"), ("0.txt", "owl")])
    assert [one == other for one, other in zip(first, names(), strict=True)] == [1, 1, 0, 1]
    again = open_index(find_corpus(tmp_path / "s"))
    assert [len(again.images_with(word)) for word in ("fox", "owl")] == [3, 1]
    (tmp_path / "s" / "2.tar").unlink()
    assert open_index(find_corpus(tmp_path / "s")).images == 3


def test_a_plain_tar_is_read_without_its_images(tmp_path: Path):
    """Gigabytes of images that are not there: a sparse file, of which 10 blocks are on the disk."""
    with (tmp_path / "x.tar").open("wb") as file:
        for n in range(4):
            info = tarfile.TarInfo(f"{n}.jpg")
            info.size = 1 << 27
            file.write(info.tobuf() + JPEG)
            file.seek(info.size - len(JPEG), io.SEEK_CUR)
            text = tarfile.TarInfo(f"{n}.txt")
            text.size = 5
            file.write(text.tobuf() + b"a fox".ljust(512, b"\0"))
        file.write(bytes(1024))

    notes = ReadNotes()
    records = list(open_reader(tmp_path / "x.tar").records(notes))

    assert [(r.captions, r.size, r.data) for r in records] == [(("a fox",), 1 << 27, None)] * 4
    assert notes.sentences() == []


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty:0 bytes"),
        (b"GIF89a and more", "not-an-image:GIF"),
        (b"<html>404</html>", "not-an-image:HTML"),
    ],
)
@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_what_is_no_image_that_is_taken_has_no_captions(
    tmp_path: Path, data: bytes, reason: str, mode: str
):
    members = [("0.jpg", data), ("0.txt", "a fox\nred"), ("1.png", data), ("1.webp", "i")]
    records, notes = read(write(tmp_path / "x.tar", [*members, ("1.txt", "an owl")], mode=mode))

    assert [(r.key, r.captions, r.reason, r.read()) for r in records] == [
        ("x.tar/0", (), reason, data),
        ("x.tar/1", ("an owl",), None, JPEG + b"i"),
    ]
    assert notes.left_out == {UNUSED: 2, FURTHER: 1}


# the libraries themselves


def webdataset_reads(path: Path) -> list[tuple[str, bytes, tuple[str, ...]]]:
    """Keys, first image and texts as webdataset's own reader groups them."""
    found = []
    with path.open("rb") as stream:
        for sample in group_by_keys(tar_file_expander([{"url": str(path), "stream": stream}])):
            [image] = (v for k, v in sample.items() if k in ("jpg", "png", "jpeg", "webp"))
            texts = sorted(sample[k].decode() for k in ("caption", "txt") if k in sample)
            found.append((sample["__key__"], image, tuple(texts)))
    return found


KEYS = st.lists(
    st.from_regex(r"([a-z0-9 é_-]{1,3}(\.[a-z])?/){0,2}[a-z0-9 é_-]{1,6}", fullmatch=True),
    min_size=1, max_size=8, unique=True,
)  # fmt: skip
IMAGE_KINDS = st.sampled_from(["jpg", "png", "jpeg", "webp"])


@examples(max_examples=60, deadline=None)
@given(KEYS, st.data())
def test_reads_what_webdatasets_writer_wrote_as_its_reader_does(tmp_path_factory, keys, data):
    folder = tmp_path_factory.mktemp("wds")
    pattern = str(folder / f"%03d.{data.draw(st.sampled_from(['tar', 'tar.gz']))}")
    with webdataset.ShardWriter(pattern, maxcount=3, verbose=0) as writer:
        for number, key in enumerate(keys):
            sample = {"__key__": key, data.draw(IMAGE_KINDS): JPEG + b"image %d" % number}
            for kind in data.draw(st.sets(st.sampled_from(["txt", "caption", "cls"]))):
                sample[kind] = number if kind == "cls" else f"{kind} of {number}".encode()
            writer.write(sample)

    records, _ = read(folder)

    ours = [(r.key.partition("/")[2], r.read(), tuple(sorted(r.captions))) for r in records]
    files = sorted(folder.iterdir())
    theirs = [one for file in files for one in webdataset_reads(file)]
    assert ours == theirs
    assert len(ours) == len(keys)


# laws

ENDINGS = st.sampled_from(
    "jpg png JPG gif 1.jpg seg.png txt caption json cls jpg.txt 1.txt x.txt 1.json npy".split()
)
NAMES = st.builds(
    "{}{}.{}".format, st.sampled_from(["", "./", "a/", "a.b/", "__MACOSX/"]),
    st.sampled_from(["a", "b", "é", "._a", "a b"]), ENDINGS,
)  # fmt: skip
NUMBERS = st.integers(0, 10_000)


@st.composite
def odd_members(draw: st.DrawFn) -> list[tuple[str, bytes]]:
    """Members in any order with captions that are all different: `caption N` and a line more."""
    found = []
    for number, name in enumerate(draw(st.lists(NAMES, max_size=14))):
        kind = name.rpartition(".")[2].lower()
        heads = st.sampled_from([JPEG, JPEG, JPEG, b"GIF89a "])
        data = draw(heads) + f"image {number}".encode()
        if kind in ("txt", "caption", "cls"):
            odd = [b"\xff\xfe\xfa", b"", b"207"] if kind == "cls" else [b"\xe9t\xe9", b""]
            lines = b"caption %d" % number + b"\nline %d" % number * draw(st.booleans())
            data = draw(st.sampled_from([lines, lines, lines, *odd]))
        elif kind == "json":
            said = draw(st.sampled_from(["", ["one"], None, {"en": 1}, True, "one"]))
            said = {"one": f"caption {number}"}.get(said, said) if isinstance(said, str) else said
            said = [f"caption {number}"] if isinstance(said, list) else said
            data = draw(st.sampled_from([json.dumps({"Caption": said}).encode(), b"{", b"[]"]))
        found.append((name, data))
    return found


def captions_in(members: Iterable[tuple[str, bytes]]) -> int:
    """Captions that anybody would see in the members, those of hidden ones left aside."""
    count = 0
    for name, data in members:
        if "__MACOSX" in name or name.rpartition("/")[2].startswith("."):
            continue
        kind = name.rpartition(".")[2].lower()
        if kind in ("txt", "caption", "cls"):
            odd = b"\xe9" in data or b"\xff" in data or (kind == "cls" and not data)
            count += 1 if odd else len(data.splitlines())
        elif kind == "json":
            with_value = data.startswith(b"{") and data != b"{"
            said = json.loads(data)["Caption"] if with_value else "broken"
            count += said not in (None, "")
    return count


CAPTION_REASONS = (
    *(NO_IMAGE, UNUSED, tar_samples.NOT_UTF8, tar_samples.NOT_JSON, tar_samples.LABELS),
    "values that are not text",
)


@examples(max_examples=300, deadline=None)
@given(odd_members(), st.sampled_from(["", "gz"]))
def test_no_caption_and_no_image_is_lost(tmp_path_factory, members, packed):
    file = tmp_path_factory.mktemp("odd") / "x.tar"
    write(file, members, mode=f"w:{packed}")

    records, notes = read(file)

    used = sum(len(r.captions) for r in records)
    named = sum(notes.left_out[reason] for reason in CAPTION_REASONS)
    assert used + named == captions_in(members)
    images = sum(b"image" in d and not n.endswith("npy") for n, d in members)
    away = notes.left_out[FURTHER] + sum(
        b"image" in d and not n.endswith("npy") for n, d in members if "__MACOSX" in n or "._a" in n
    )
    assert len(records) + away == images
    read_bytes = [r.read() for r in records]
    assert len(set(read_bytes)) == len(read_bytes)
    assert all(b"image" in data for data in read_bytes)


def test_a_folder_of_images_with_a_stray_tar_stays_one(tmp_path: Path):
    (tmp_path / "fox.png").write_bytes(b"x")
    write(tmp_path / "old.tar", FOX)

    assert isinstance(open_reader(tmp_path), ImageFolder)
