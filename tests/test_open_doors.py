"""The same captioned images in every layout: counted, fetched and trained on, each the same."""

import io
import json
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import layouts
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from layouts import LAYOUTS, THINGS, Layout, Picture, forty_pictures
from servers import image_bytes

from curate.captions.clean import captions_for
from curate.corpora.corpus import find_corpus, open_reader
from curate.corpora.notes import ReadNotes
from curate.corpora.pixels import ImageLocation, Spool, locate_images
from curate.dataset.folder import Dataset
from curate.errors import ExitCode
from curate.fetch.run import fetch_images
from curate.images.decode import decode_image
from curate.index.index import open_index
from curate.sources import find_source
from train.data.stored import open_images

Said = Counter[tuple[bytes, tuple[str, ...]]]  # pixels of an image with what is said of it


def pixels(data: bytes) -> bytes:
    return decode_image(data).convert("RGB").tobytes()


@pytest.fixture(params=LAYOUTS, ids=lambda layout: layout.name)
def layout(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Layout]:
    import datasets

    datasets.disable_progress_bars()
    yield request.param


@pytest.fixture
def written(
    layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Path, list[Picture]]:
    """Where the layout lies, and what it holds."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "some").mkdir()
    made = forty_pictures(several=layout.several)
    layout.write(tmp_path / "some", made)
    return tmp_path / "some", made


def at(place: ImageLocation) -> bytes:
    assert place.file is not None
    with place.file.open("rb") as stream:
        stream.seek(place.offset)
        return stream.read(-1 if place.size is None else place.size)


def listing(folder: Path) -> dict[Path, tuple[int, int]]:
    stats = ((p, p.stat()) for p in folder.rglob("*"))
    return {path: (status.st_size, status.st_mtime_ns) for path, status in stats}


def test_the_same_is_counted_fetched_and_trained_on(
    layout: Layout, written: tuple[Path, list[Picture]], tmp_path: Path
):
    path, made = written
    true: Said = Counter((pixels(one.data), one.captions) for one in made)
    before = listing(path)

    corpus = find_corpus(path)
    index = open_index(corpus)
    assert (corpus.kind, index.images) == (layout.kind, 40)
    assert index.captions == sum(len(one.captions) for one in made)
    assert index.incomplete == ()
    for thing in THINGS:
        shown = index.images_with(thing)
        said = {e.caption for e in index.evidence(shown, [thing], limit=9)}
        assert len(shown) == 5 and len(said) == 5
    assert len(index.images_with("wyvern")) == 0

    said = dict(pair for part in corpus.partitions for pair in part.read(ReadNotes()))
    places = locate_images(corpus, said, Spool(tmp_path / "spool"))
    shown = Counter((pixels(at(places[key])), tuple(said[key])) for key in said)
    assert shown == true, "the page shows other images beside the captions"

    data = Dataset(tmp_path / "data")
    options = {"license": "CC0-1.0"}
    done = fetch_images(data, find_source(layout.source), path, options=options)
    assert done.exit_code() == ExitCode.DONE
    kept = [row for row in data.read().samples if not row.dropped]
    fetched: Said = Counter((pixels(data.store.get(str(r.sha256))), r.texts) for r in kept)
    assert fetched == true

    stored = open_images(path)
    trained: Said = Counter((pixels(one.data), tuple(one.captions)) for one in stored.images())
    assert trained == true
    assert listing(path) == before, "something was written into what is read"


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # theirs
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("write", [layouts.metadata_csv, layouts.metadata_jsonl])
def test_the_library_reads_the_same_of_an_image_folder(
    write: Callable[[Path, Sequence[Picture]], None], tmp_path: Path
):
    """`load_dataset("imagefolder")` and our reader agree on images and captions."""
    import datasets

    datasets.disable_progress_bars()
    (tmp_path / "some").mkdir()
    write(tmp_path / "some", forty_pictures(several=True))
    theirs: Said = Counter()
    cache = str(tmp_path / "cache")
    loaded = datasets.load_dataset("imagefolder", data_dir=str(tmp_path / "some"), cache_dir=cache)
    for row in loaded["train"]:
        said = row["text"] if isinstance(row["text"], list) else row["text"].splitlines()
        theirs[row["image"].convert("RGB").tobytes(), tuple(said)] += 1
    records = open_reader(tmp_path / "some").records(ReadNotes())
    assert Counter((pixels(one.read()), one.captions) for one in records) == theirs


STATED = {
    "caption": "a fox under a tree",
    "title": "Evening in the valley",
    "tags": ["moss", "owl"],
}


def _title_in_folder(place: Path, data: bytes) -> None:
    (place / "a.png").write_bytes(data)
    (place / "a.json").write_text(json.dumps(STATED))


def _title_in_metadata(place: Path, data: bytes) -> None:
    (place / "a.png").write_bytes(data)
    (place / "metadata.jsonl").write_text(json.dumps({"file_name": "a.png", **STATED}))


def _title_in_tar(place: Path, data: bytes) -> None:
    with tarfile.open(place / "0.tar", "w") as tar:
        for name, held in (("0.png", data), ("0.json", json.dumps(STATED).encode())):
            info = tarfile.TarInfo(name)
            info.size = len(held)
            tar.addfile(info, io.BytesIO(held))


def _title_in_parquet(place: Path, data: bytes) -> None:
    parquet.write_table(pa.Table.from_pylist([{"image": data, **STATED}]), place / "0.parquet")


@pytest.mark.parametrize(
    ("write", "door"),
    [
        (_title_in_folder, "folder"),
        (_title_in_metadata, "folder"),
        (_title_in_tar, "shards"),
        (_title_in_parquet, "hf"),
    ],
)
def test_a_title_and_tags_say_the_same_through_every_door(
    write: Callable[[Path, bytes], None], door: str, tmp_path: Path
):
    (tmp_path / "some").mkdir()
    write(tmp_path / "some", image_bytes(1))
    reader = open_reader(tmp_path / "some")

    ((_, counted),) = [pair for part in reader.partitions() for pair in part.read(ReadNotes())]
    ((_, trained),) = [(r.key, r.captions) for r in reader.records(ReadNotes())]
    dataset = Dataset(tmp_path / "d")
    fetch_images(dataset, door, tmp_path / "some", options={"license": "own"})
    (row,) = dataset.read().samples
    made = tuple(caption.text for caption in captions_for(row))

    assert tuple(counted) == trained == made
    assert made == (
        "a fox under a tree",
        "Evening in the valley",
        "a picture of moss and owl",
    )


def test_a_title_in_a_list_is_a_caption_beside_others(tmp_path: Path):
    (tmp_path / "a.jsonl").write_text(json.dumps({"image": "a.png", **STATED}))
    (tmp_path / "b.jsonl").write_text(json.dumps({"image": "a.png", "title": "Evening"}))

    said = [list(open_reader(tmp_path / n).records(ReadNotes())) for n in ("a.jsonl", "b.jsonl")]

    assert [len(one.captions) for (one,) in said] == [3, 1]
    assert said[1][0].captions == ("Evening",)
