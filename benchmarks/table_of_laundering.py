"""Can a copy launder what another one states? Every pair, as equal bytes, equal pixels, near.

    python benchmarks/table_of_laundering.py [--keep FOLDER]

Pictures are drawn here and written as a fetch writes them: bytes in the store, rows in the journal.
All else is the real commands: `curate build`, then for a policy that changes after pack, a
statement that changes after fetch and a picture that is removed after pack what `check`, `pack`,
`status`, `credits` and `train finetune` do. Shards that are not stale get as far as their size,
which is too small on purpose, so that nothing is trained here. Exit code 1 if a copy is more
permissive than the strictest of its group.
"""

import argparse
import contextlib
import io
import itertools
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from curate.cli import main as curate
from curate.dataset.folder import Dataset
from curate.dataset.sample import Sample, Statement
from curate.formats.verdicts import DECISIONS, USES
from curate.rights.decide import decide
from curate.rights.policy import read_policy

KINDS: dict[str, dict[str, object]] = {
    "allow": {"license_text": "CC0"},
    "hold": {"license_text": None},
    "deny": {"license_text": "CC BY-ND 4.0"},
    "pixabay": {"license_text": "Pixabay", "source": "pixabay", "basis": "at home only"},
    "opt-out": {"license_text": "CC0", "opt_outs": ("api:noAiTraining",)},
}
Pair = Callable[[Image.Image], tuple[bytes, bytes]]
PACK = ("pack", "--size", "32")
AFTER = (("check",), ("status",), ("credits",), ("train",), PACK, ("train",))


def photograph(seed: int, side: int = 128) -> Image.Image:
    """Soft shapes with finer and finer detail, as photographs have."""
    rng = np.random.default_rng(seed)
    total = np.zeros((side, side, 3))
    for cells, weight in [(3, 90), (8, 45), (30, 22)]:
        field = rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8)
        wide = Image.fromarray(field).resize((side, side), Image.Resampling.BICUBIC)
        total += weight * (np.asarray(wide) / 128.0 - 1.0)
    return Image.fromarray((total + 128).clip(0, 255).astype(np.uint8))


def encoded(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


RELATIONS: dict[str, Pair] = {
    "equal bytes": lambda i: (encoded(i), encoded(i)),
    "equal pixels": lambda i: (encoded(i), encoded(i, "WEBP", lossless=True)),
    "near": lambda i: (encoded(i), encoded(i.resize((80, 80)), "JPEG", quality=75)),
}


def add(dataset: Dataset, key: str, data: bytes, **known: object) -> None:
    row = {"source": "openverse", "texts": (f"picture {key}",), "title": key, "author": "A. Artist"}
    sample = Sample(key, **(row | known))  # type: ignore[arg-type]
    dataset.append_row(replace(sample, sha256=dataset.store.put(data), byte_count=len(data)))


def type_command(root: Path, *words: str) -> tuple[int, str]:
    """The exit code of a command, and what it says that matters here."""
    out, err = io.StringIO(), io.StringIO()
    code = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            if words[0] == "train":
                from train.cli import main as train

                train(["finetune", "--shards", str(root), "--out", str(root / "run")])
            else:
                curate([*words, "--data", str(root)])
        except SystemExit as ended:
            code = int(ended.code or 0)
    return code, f"{out.getvalue()}\n{err.getvalue()}"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--keep", type=Path, help="folder for the datasets; else they go")
    given = options.parse_args()
    with contextlib.ExitStack() as stack:
        root = given.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        wrong = sum(table_of_pairs(root / n.replace(" ", "-"), n, RELATIONS[n]) for n in RELATIONS)
        table_of_later(root)
    print(f"\n{wrong} copies are more permissive than the strictest of their group")
    sys.exit(1 if wrong else 0)


def table_of_pairs(root: Path, relation: str, copies: Pair) -> int:
    """Build a dataset with every pair of kinds, print what became of each; how many are wrong."""
    dataset, policy, wrong = Dataset(root), read_policy("personal"), 0
    pairs = list(itertools.combinations_with_replacement(KINDS, 2))
    with dataset.lock():
        for number, names in enumerate(pairs):
            both = zip(names, copies(photograph(number)), strict=True)
            for letter, (name, data) in zip("ab", both, strict=True):
                add(dataset, f"p-{number:02}{letter}", data, **KINDS[name])
    code, _ = type_command(root, "build", "--size", "32", "--format", "png")
    rows = {s.key: s for s in dataset.read().samples}
    packed = packed_keys(root)
    print(f"\n{relation}: curate build ends with {code}; train, share_dataset and share_model are")
    print(f"  {'first':<8} {'second':<8} {'alone':<32} {'together':<16} {'packed':<7} reason")
    for number, names in enumerate(pairs):
        both = [rows[f"p-{number:02}{letter}"] for letter in "ab"]
        alone = [decisions(decide(replace(s, group=None), policy)) for s in both]
        strictest = [min(pair, key=DECISIONS.index) for pair in zip(*alone, strict=True)]
        good = all(decisions(s) == strictest for s in both) and both[0].group == both[0].key
        wrong += not good
        shown = [" ".join(a) for a in alone]
        is_in = any(s.key in packed for s in both)
        wrong += is_in != (strictest[0] == "allow")
        train = both[0].train
        print(
            f"  {names[0]:<8} {names[1]:<8} {' | '.join(shown):<32} {' '.join(strictest):<16}"
            f" {'yes' if is_in else 'no':<7} {' '.join(train.reasons if train else ())}"
            f"{'' if good else '   WRONG: ' + str([decisions(s) for s in both])}"
        )
    return wrong


def decisions(sample: Sample) -> list[str]:
    return [getattr(sample, use).decision for use in USES]


def packed_keys(root: Path) -> set[str]:
    from curate.formats.shards import iterate_samples

    try:
        return {key for key, *_ in iterate_samples(root)}
    except Exception as error:
        print(f"  shards cannot be read: {str(error).splitlines()[0]}")
        return set()


def table_of_later(root: Path) -> None:
    """What the commands do after something has changed since the shards were packed."""
    changes: dict[str, Callable[[Path], None]] = {
        "nothing": lambda data: None,
        "a stricter policy": lambda data: print(type_command(data, *STRICT)[1].splitlines()[0]),
        "another statement": restate,
        "a removal": lambda data: print(
            type_command(data, "remove", "t-2", "--reason", "asked for")[1].rstrip()
        ),
    }
    for name, change in changes.items():
        data = root / name.replace(" ", "-")
        dataset = Dataset(data)
        with dataset.lock():
            for number, text in enumerate(("CC0", "CC BY 4.0", "CC BY-SA 4.0"), 1):
                add(dataset, f"t-{number}", encoded(photograph(100 + number)), license_text=text)
        type_command(data, "build", "--size", "32")
        print(f"\n{name} after pack")
        change(data)
        for words in AFTER:
            said = STRICT if words == ("check",) and name == "a stricter policy" else words
            code, text = type_command(data, *said)
            print(f"  {' '.join(said)}: exit code {code}")
            for line in told(words[0], text):
                print(f"    {line.replace(str(root), '…')}")


STRICT = ("check", "--policy", "commercial")


def restate(data: Path) -> None:
    """Write down what a source says later, as a fetch does."""
    dataset = Dataset(data)
    later = Statement("CC BY-NC-ND 4.0", None, "2026-06-01T00:00:00Z")
    with dataset.lock():
        stored = dataset.read_manifest()
        rows = [replace(s, restated=(later,)) if s.key == "t-2" else s for s in stored.samples]
        dataset.record_step(stored, "fetch openverse", {"query": "later"}, rows)


def told(command: str, text: str) -> list[str]:
    """The lines of a command's answer that speak of shards, verdicts and what to type."""
    lines = [line for line in text.splitlines() if line.strip()]
    wanted = {
        "check": ("train\t", "not trained on", "  curate"),
        "status": ("train:", "in shards", "stale", "shards", "error", "  fix"),
        "pack": ("images", "withdrawn", "left out", "unchanged", "written", "error", "  fix"),
    }.get(command)
    return [line for line in lines if not wanted or line.startswith(wanted)][:8]


if __name__ == "__main__":
    main()
