"""By the real commands: a copy that may be used does not open one that may not."""

from dataclasses import replace
from pathlib import Path

import pytest
from pictures import encoded, photograph

from curate.commands import build
from curate.dataset.folder import Dataset
from curate.dataset.sample import Sample
from curate.formats.shards import iterate_samples

STRICTER: dict[str, tuple[dict[str, object], str]] = {  # than CC0: what is stated, the outcome
    "held": ({"license_text": None}, "hold hold hold"),
    "denied": ({"license_text": "CC BY-ND 4.0"}, "deny deny deny"),
    "reserved": ({"license_text": "All rights reserved"}, "deny deny deny"),
    "pixabay": (
        {"license_text": "Pixabay", "source": "pixabay", "basis": "at home"},
        "allow deny hold",
    ),
    "opted-out": ({"license_text": "CC0", "opt_outs": ("api:noai",)}, "deny deny deny"),
}


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Each stricter statement three times beside CC0: equal bytes, equal pixels, near copies."""
    data = Dataset(tmp_path / "data")
    with data.lock():
        for number, name in enumerate(STRICTER):
            for kind in ("bytes", "pixels", "near"):
                image = photograph(3 * number + ("bytes", "pixels", "near").index(kind), (128, 128))
                copies = {
                    "bytes": encoded(image),
                    "pixels": encoded(image, "WEBP", lossless=True),
                    "near": encoded(image.resize((80, 80)), "JPEG", quality=75),
                }
                row = Sample("", "openverse", license_text="CC0", texts=("a picture",))
                for key, content, said in (
                    (f"{name}-{kind}-free", encoded(image), {}),
                    (f"{name}-{kind}-strict", copies[kind], STRICTER[name][0]),
                ):
                    stored = {"key": key, "sha256": data.store.put(content), **said}
                    data.append_row(replace(row, **stored))
    return data


def test_every_pair_has_the_strictest_verdict_and_is_packed_only_where_that_allows(
    dataset: Dataset,
) -> None:
    build.build_dataset(dataset, size=32)
    rows = dataset.read().samples
    for sample in rows:
        name = sample.key.split("-bytes-")[0].split("-pixels-")[0].split("-near-")[0]
        verdicts = (sample.train, sample.share_dataset, sample.share_model)
        assert " ".join(v.decision for v in verdicts if v) == STRICTER[name][1], sample.key
        assert sample.group == sample.key.removesuffix("strict").removesuffix("free") + "free"
    packed = {key for key, *_ in iterate_samples(dataset.root)}
    assert {key.rsplit("-", 2)[0] for key in packed} == {"pixabay"}
    assert len(packed) == 3, "one of each pair"
