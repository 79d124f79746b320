# ruff: noqa: F401, F811 fixtures
"""Images that others wrote, trained on where they lie."""

import io
import json
import shutil
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from curate.errors import InputError, LicenceError, UsageError
from curate.shards.pack import pack
from tests.drawings import shapes, write_shards
from tests.packable import change_rows, dataset_of
from tests.recorded_progress import RecordedProgress
from tests.training import command, encoder, entries, losses, quick, settings_file, torchrun
from train.checkpoints import checkpoint
from train.data import dataset
from train.data.dataset import ImageSet
from train.data.stored import open_images, with_subject
from train.publish.export import export_model
from train.size import Size
from train.training import run as training_run
from train.training.run import Recipe
from train.verification.generate import read_captions
from train.verification.scorers import Reference

SMALL = Size(16, 16)
NAMES = {"red": (220, 20, 20), "green": (20, 200, 20), "blue": (20, 20, 220), "grey": (90, 90, 90)}


def square(colour: str, number: int) -> bytes:
    """A picture of one colour, of a brightness of its own."""
    pixels = tuple(value + number % 30 for value in NAMES[colour])
    file = io.BytesIO()
    Image.new("RGB", (32, 32), pixels).save(file, "PNG")
    return file.getvalue()


def squares(count: int) -> list[tuple[str, bytes, str]]:
    """So many pictures with a caption that says their colour and number."""
    said = [list(NAMES)[n % len(NAMES)] for n in range(count)]
    return [(f"{n:04d}", square(c, n), f"a {c} square, number {n}") for n, c in enumerate(said)]


def write_tar(
    file: Path, samples: Sequence[tuple[str, bytes, str]], about: Mapping[str, Any] | None = None
) -> Path:
    """As img2dataset writes them: KEY.jpg, KEY.json, KEY.txt."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(file, "w:gz" if file.suffix == ".gz" else "w") as tar:
        for key, picture, text in samples:
            facts = {"caption": text, "key": key, **(about or {}).get(key, {})}
            parts = {"png": picture, "json": json.dumps(facts).encode(), "txt": text.encode()}
            for ending, data in ((e, d) for e, d in parts.items() if d):
                member = tarfile.TarInfo(f"{key}.{ending}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    return file


def as_folder(where: Path, samples: Sequence[tuple[str, bytes, str]]) -> Path:
    where.mkdir()
    for key, picture, text in samples:
        (where / f"{key}.png").write_bytes(picture)
        (where / f"{key}.txt").write_text(text)
    return where


def as_tars(where: Path, samples: Sequence[tuple[str, bytes, str]]) -> Path:
    for number in range(2):
        write_tar(where / f"{number:05d}.tar", samples[number::2])
    return where


def as_one_tar(where: Path, samples: Sequence[tuple[str, bytes, str]]) -> Path:
    return write_tar(where / "own.tar", samples)


def as_compressed(where: Path, samples: Sequence[tuple[str, bytes, str]]) -> Path:
    return write_tar(where / "own.tar.gz", samples)


def as_parquet(where: Path, samples: Sequence[tuple[str, bytes, str]]) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as parquet

    where.mkdir()
    rows = [{"image": {"bytes": p, "path": f"{k}.png"}, "text": t} for k, p, t in samples]
    parquet.write_table(pa.Table.from_pylist(rows), where / "train.parquet")
    return where


LAYOUTS: list[Callable[[Path, Sequence[tuple[str, bytes, str]]], Path]] = [
    *(as_folder, as_tars, as_one_tar, as_parquet),
]


def state_of(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Every file there, with its bytes and its time."""
    root = folder if folder.is_dir() else folder.parent
    return {
        str(p): (p.read_bytes() if p.is_file() else b"", p.stat().st_mtime_ns)
        for p in (root, *root.rglob("*"))
    }


def colours_of(images: ImageSet) -> list[str]:
    """The colour that each picture shows."""
    pixels = images.pixels_NHWC[:, 8, 8].astype(int)
    return [min(NAMES, key=lambda c: np.abs(pixel - NAMES[c]).sum()) for pixel in pixels]


# images and captions


@pytest.mark.parametrize("limit", [dataset.CACHE_BYTES, 0], ids=["decoded", "streamed"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_picture_arrives_with_its_caption_whatever_the_layout(layout, limit, tmp_path):
    samples = squares(24)
    where = layout(tmp_path / "data", samples)
    before = state_of(where)
    for _ in range(2):
        images = dataset.load_images(where, SMALL, limit=limit, cache=tmp_path / "run" / ".cache")
        assert images.is_streamed == (limit == 0)
        assert sorted(texts[0] for texts in images.captions) == sorted(t for _, _, t in samples)
        assert [f"a {c} square" for c in colours_of(images)] == [
            texts[0].partition(",")[0] for texts in images.captions
        ]
    assert state_of(where) == before, "nothing is written into it"


def test_the_same_data_has_the_same_digest_and_order_wherever_it_lies(tmp_path):
    samples = squares(20)
    found = [
        dataset.load_images(
            layout(tmp_path / layout.__name__, samples), SMALL, cache=tmp_path / "c"
        )
        for layout in LAYOUTS
    ]
    assert len({images.stored.digest for images in found}) == 1
    assert len({json.dumps([images.captions, images.identities]) for images in found}) == 1
    assert all(np.array_equal(images.pixels_NHWC, found[0].pixels_NHWC) for images in found)
    changes = [
        [*samples[:-1], (samples[-1][0], samples[-1][1], "a word more")],
        [*samples[:-1], (samples[-1][0], square("red", 25), samples[-1][2])],
        samples[:-1],
    ]
    for number, changed in enumerate(changes):
        other = open_images(as_folder(tmp_path / f"other-{number}", changed))
        assert other.digest != found[0].stored.digest


def test_photographs_come_upright_in_srgb_and_without_transparency(tmp_path):
    lying = Image.new("RGB", (48, 32), "red")
    lying.paste("blue", (0, 0, 24, 32))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned: the right side is the lower one
    clear = Image.new("RGBA", (32, 32), (0, 0, 0, 0))
    deep = Image.fromarray(np.full((32, 32), 0x8000, np.uint16))
    folder = tmp_path / "data"
    folder.mkdir()
    lying.save(folder / "lying.jpg", exif=exif, quality=95)
    clear.save(folder / "clear.png")
    deep.save(folder / "deep.png")
    for name in ("lying", "clear", "deep"):
        (folder / f"{name}.txt").write_text(name)
    images = dataset.load_images(folder, SMALL, cache=tmp_path / "c")
    shown = dict(zip([texts[0] for texts in images.captions], images.pixels_NHWC, strict=True))
    assert shown["lying"][1, 8, 2] > 200 and shown["lying"][14, 8, 0] > 200
    assert (shown["clear"] == 255).all() and abs(int(shown["deep"].mean()) - 128) <= 1


# what is left out


def test_what_is_not_used_is_said_once_with_names_and_logged(tmp_path, quick):
    odd = [("silent", square("red", 20), ""), ("broken", square("red", 1)[:70], "cut off")]
    about = {"silent": {"caption": None}}
    where = write_tar(tmp_path / "own.tar", [*squares(6), *odd, ("alone", b"", "of none")], about)
    run, progress = tmp_path / "run", RecordedProgress()
    few = replace(quick, images=(8, 8))
    training_run.finetune(Recipe(where, few), run, device="cpu", progress=progress)
    said = "\n".join(progress.said)
    assert said.count("alone.txt") == 1 and said.count("such as") == 1
    assert said.count("2 images left out, such as") == 1
    assert said.count("6 images whose rights are unknown; the model card will say so") == 1
    (entry,) = [e for e in entries(run) if "notes" in e]
    assert entry["left_out"] == {"no caption": 1, "cannot be decoded": 1}
    assert any("alone.txt" in note for note in entry["notes"])


def test_images_of_another_format_are_to_be_saved_anew(tmp_path):
    Image.new("RGB", (32, 32)).save(tmp_path / "a.gif")
    (tmp_path / "a.txt").write_text("a square")
    with pytest.raises(InputError) as error:
        dataset.load_images(tmp_path, SMALL, cache=tmp_path / "c" / "c")
    assert "not-an-image:GIF" in error.value.problem
    assert error.value.fix == "save them anew as PNG or JPEG"


def test_what_is_said_of_a_set_names_it_once(tmp_path):
    where = as_tars(tmp_path / "data", squares(4))
    write_tar(where / "00001.tar", [("alone", b"", "of none")])
    (where / "00002_stats.json").write_text("{}")
    said = [with_subject(where, note) for note in open_images(where).notes]
    assert len(said) == 2 and all(sentence.startswith(f"{where}") for sentence in said)
    assert all(sentence.count(f"{where}: ") <= 1 for sentence in said)
    assert f"{where}/00002.tar: tar is missing, of which 00002_stats.json speaks" in said


def test_a_verdict_of_ours_is_obeyed_and_kept(tmp_path, quick):
    def ours(train: str, share: str) -> dict[str, Any]:
        uses = {"train": train, "share_dataset": "allow", "share_model": share}
        verdicts = {use: {"decision": d, "reasons": []} for use, d in uses.items()}
        captions = [{"text": "a judged square", "origin": "text"}]
        return {**verdicts, "captions": captions, "license": "CC-BY-4.0", "author": "Ann"}

    samples = squares(5)
    about = {"0001": ours("deny", "deny"), "0002": ours("allow", "deny"), "0003": ours("hold", "")}
    where = tmp_path / "data"  # in a tar with records of ours, samples without one are left out
    write_tar(where / "0.tar", samples[1:4], about)
    write_tar(where / "1.tar", [samples[0], samples[4]])
    images = dataset.load_images(where, SMALL, cache=tmp_path / "c")
    assert sorted(key.partition("@")[0][-4:] for key in images.keys) == ["0000", "0002", "0004"]
    said = "\n".join(images.stored.notes)
    assert "0001" in said and "0003" in said
    credits = sorted(checkpoint.collect_credits(images.stored.records()), key=itemgetter("key"))
    assert [(c["share_model"], c["license"], "unjudged" in c) for c in credits] == [
        ("deny", "CC-BY-4.0", False),
        ("", "", True),
        ("", "", True),
    ]
    run = tmp_path / "run"
    training_run.finetune(Recipe(where, replace(quick, images=(8, 8))), run, device="cpu")
    with pytest.raises(LicenceError, match="policy forbids"):
        export_model(run, tmp_path / "out", rights_basis="I may, I say")


def test_tars_of_ours_without_their_index_hold_out_what_they_held_out(tmp_path):
    made = dataset_of(tmp_path / "made", 12)
    change_rows(made, {"group": "t-000"}, {"group": "t-000"})
    pack(made, size=16, held_out=0.4)
    alone = tmp_path / "alone"
    alone.mkdir()
    for tar in made.shards.glob("*.tar"):
        shutil.copy(tar, alone)
    size = Size(16, 16)
    theirs = dataset.load_images(alone, size, cache=tmp_path / "kept")
    sets = dataset.load_images(made.root, size), theirs
    told = [
        sorted(texts[0] for texts in dataset.split_held_out(images, 0.0)[1].captions)
        for images in sets
    ]
    assert told[0] == told[1] != []
    assert [sorted(filter(None, images.groups)) for images in sets] == [["t-000"] * 2] * 2


@pytest.mark.parametrize(
    "name, problem, fix",
    [
        ("shards/train-000000.tar", "a part of shards", "--shards {root}/shards"),
        ("store", "whose shards answer for it", "--shards {root}, after curate build"),
        ("manifest.parquet", "whose shards answer for it", "--shards {root}"),
        ("empty", "no image to train on here", "curate build --data {root}/empty"),
        ("none", "no such file or folder", "curate fetch folder DIR"),
    ],
)
def test_nothing_of_ours_is_read_as_if_others_had_written_it(tmp_path, name, problem, fix):
    root = dataset_of(tmp_path, 3).root
    pack(dataset_of(tmp_path, 3))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError) as error:
        dataset.load_images(root / name, SMALL, cache=tmp_path / "c")
    assert problem in error.value.problem and fix.format(root=root) in error.value.fix
    with pytest.raises(InputError, match=problem):  # nor by another way
        dataset.load_images(link_to(tmp_path / "by" / "link", root / name), SMALL, cache=tmp_path)


def link_to(path: Path, target: Path) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.symlink_to(target)
    return path


def test_a_dataset_folder_without_shards_names_the_command_that_makes_them(tmp_path):
    root = dataset_of(tmp_path, 3).root
    with pytest.raises(InputError) as error:
        dataset.load_images(root, SMALL, cache=tmp_path / "c")
    assert error.value.fix == f"curate build --data {root}"


def test_the_run_s_own_folder_is_not_searched_for_images(tmp_path, quick):
    where = as_folder(tmp_path / "data", squares(6))
    few = replace(quick, images=(8, 8), sample_every=8)
    for _ in range(2):
        training_run.finetune(Recipe(where, few), where / "run", device="cpu")
    assert list((where / "run" / "samples").iterdir())


# rights


def test_whose_rights_are_unknown_is_said_and_exporting_asks_for_a_basis(tmp_path, quick):
    about = {"0000": {"license": "CC BY 4.0", "author": "Ann", "title": "One"}}
    where = write_tar(tmp_path / "own.tar", squares(4), about)
    few, run, progress = replace(quick, images=(8, 8)), tmp_path / "run", RecordedProgress()
    training_run.finetune(Recipe(where, few), run, device="cpu", progress=progress)
    assert any(
        "3 images whose rights are unknown; 1 images with a licence that their files state and "
        "no policy checked (CC-BY-4.0 1); the model card will say so" in said
        for said in progress.said
    )
    facts = checkpoint.load(run).facts
    assert facts.licences == {"unknown": 3, "CC-BY-4.0": 1} and facts.unjudged == 4

    with pytest.raises(LicenceError) as error:
        export_model(run, tmp_path / "out")
    assert error.value.exit_code == 5 and not (tmp_path / "out").exists()
    assert "rights of 4 of its images (the licence of 3 is unknown)" in error.value.problem
    with pytest.raises(UsageError):
        export_model(run, tmp_path / "out", rights_basis="  ")
    for _ in range(2):
        export_model(run, tmp_path / "out", rights_basis="my own *drawings*")
    card = (tmp_path / "out" / "README.md").read_text()
    assert "license: other\nlicense_name: not-stated" in card
    assert "Under which licence 3 of them may be used is not known." in card
    assert "The licences of 1 of them are as the files beside them state" in card
    assert r"gives as the basis for it: my own \*drawings\*" in card
    owed = (tmp_path / "out" / "CREDITS.md").read_text()
    assert "| [Ann]" in owed or "| Ann |" in owed
    assert owed.count("(as its file states)") == 1

    later = tmp_path / "later"  # judged images on top change nothing of what the first is
    recipe = Recipe(write_shards(tmp_path / "ours", shapes("red")), few, init=run)
    training_run.finetune(recipe, later, device="cpu")
    assert checkpoint.load(later).facts.unjudged == 4
    with pytest.raises(LicenceError):
        export_model(later, tmp_path / "other")


def test_equal_names_in_two_sets_are_two_images(tmp_path, quick):
    one = as_folder(tmp_path / "one", squares(4))
    two = as_folder(tmp_path / "two", [(k, square("grey", n), t) for n, (k, _, t) in
                                       enumerate(squares(4))])  # fmt: skip
    recipe = Recipe(one, replace(quick, images=(8, 8)), replay=two)
    training_run.finetune(recipe, tmp_path / "run", device="cpu")
    assert checkpoint.load(tmp_path / "run").facts.licences == {"unknown": 7}, "one is in both"


# runs


def test_the_same_images_train_the_same_whatever_the_layout(tmp_path, quick):
    samples, curves = squares(12), []
    for layout in (as_folder, as_tars, as_compressed, as_parquet):
        for gigabytes in (8.0, 0.0):
            name = f"{layout.__name__}-{gigabytes}"
            where = layout(tmp_path / name, samples)
            few = replace(quick, images=(16, 8), cache_gigabytes=gigabytes)
            training_run.finetune(Recipe(where, few), tmp_path / f"run-{name}", device="cpu")
            curves.append(losses(tmp_path / f"run-{name}"))
    assert all(curve == curves[0] for curve in curves)


def test_data_that_changed_meanwhile_is_seen(tmp_path, quick):
    where, run = as_folder(tmp_path / "data", squares(6)), tmp_path / "run"
    few = replace(quick, images=(8, 8))
    training_run.finetune(Recipe(where, few), run, device="cpu")
    (where / "0000.txt").write_text("something else")
    with pytest.raises(InputError) as error:
        training_run.finetune(Recipe(where, few), run, device="cpu")
    assert "images or captions are not those that it was trained with" in error.value.problem
    assert str(where) in error.value.problem
    (where / "0000.txt").write_text(squares(1)[0][2])
    progress = RecordedProgress()
    training_run.finetune(Recipe(where, few), run, device="cpu", progress=progress)
    assert "already trained" in progress.said[-1]


def test_an_image_that_changes_during_a_run_is_named(tmp_path):
    where = as_folder(tmp_path / "data", squares(4))
    images = dataset.load_images(where, SMALL, limit=0, cache=tmp_path / "c")
    (where / "0002.png").write_bytes(square("blue", 9))
    with pytest.raises(InputError) as error:
        images.images(range(4))
    assert error.value.subject == str(where / "0002.png") and "restore the file" in error.value.fix


def test_two_processes_equal_one(tmp_path, quick):
    where = as_parquet(tmp_path / "data", squares(8))
    exact = replace(quick, precision="fp32", images=(16, 8), cache_gigabytes=0.0)
    file = settings_file(tmp_path, exact)
    training_run.finetune(Recipe(where, exact), tmp_path / "one", device="cpu")
    done = torchrun(2, command(where, tmp_path / "two", file))
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stderr.count("whose rights are unknown") == 1
    for a, b in zip(losses(tmp_path / "one"), losses(tmp_path / "two"), strict=True):
        assert a == pytest.approx(b, abs=1e-5)


def test_verification_reads_the_same_true_images_wherever_they_lie(tmp_path):
    drawn = shapes("red", "green")
    ours = open_images(write_shards(tmp_path / "ours", drawn))
    theirs = open_images(as_tars(tmp_path / "data", [(k, p, said[0]) for k, p, said in drawn]))
    assert read_captions([theirs]) == read_captions([ours]) and len(read_captions([ours])) == 6
    assert theirs.side == ours.side == 32
    found = [Reference.load(each, SMALL, cache=tmp_path / "c") for each in (ours, theirs)]
    for one in found:
        assert sorted(label for (label,) in one.labels) == sorted(said[0] for _, _, said in drawn)
    by_label = [
        {
            one.labels[n]: pixels.tobytes()
            for n, pixels in zip(one.label_N, one.pixels_NHWC, strict=True)
        }
        for one in found
    ]
    assert by_label[0] == by_label[1]
