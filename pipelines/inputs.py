"""What a person hands to the recipe of `pipelines.teach`, and why it may not do.

All that can be wrong with folders, images, captions and prompts is found before anything is
trained, and told in one sentence with what to type.
"""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from curate.dataset.folder import Dataset
from curate.dataset.sample import DUPLICATE, Sample
from curate.errors import InputError
from curate.system.progress import Progress
from curate.system.settings import read_toml

FEWEST = {"known": 8, "new": 2}  # images without which nothing can be learnt, or measured
FEW = {"known": 100, "new": 10}  # images below which it is said that they are few
_TOO_SMALL = "smaller than the last stage"
_FEW_NEW = "three taught a word mostly, ten surely, where the rest of the image was known"


@dataclass(frozen=True)
class Recipe:
    """Which images teach which word, how, and where everything is written."""

    known: Path  # captioned images without the word
    new: Path  # captioned images with it
    word: str
    prompts: Path
    out: Path = Path("lesson")
    truth: Path | None = None  # every true image: what is drawn is compared with it, and none of it
    # is trained on; None for those of both folders
    licence: str | None = None  # of images that state none
    sides: tuple[int, ...] = (16, 64)  # pixels, of the stages
    fraction: float = 1.0  # of the training
    model_size: str = "small"  # of the network
    config: Path | None = None  # further settings of `train finetune`
    samples: int = 200  # images behind each figure
    runs: int = 1  # of the training, each with a seed of its own

    def data(self, name: str) -> Path:
        """The dataset folder of this name."""
        return self.out / f"{name}-data"

    def models(self, name: str) -> list[Path]:
        """The runs of the training of this name, base or taught."""
        folder = self.out / name
        return [folder / f"seed-{n}" for n in range(self.runs)] if self.runs > 1 else [folder]

    def folders(self, name: str) -> tuple[Path, ...]:
        """The folders of images that make up the dataset of this name."""
        if name == "truth":
            return (self.truth,) if self.truth else (self.known, self.new)
        return (self.known if name == "known" else self.new,)


def refuse_folders(recipe: Recipe) -> None:
    """Refuse folders and files that are not there, and folders that hold each other's images.

    Raises:
        InputError: each says which, and what to type.
    """
    named = {"--known": recipe.known, "--new": recipe.new, "--truth": recipe.truth}
    for option, folder in named.items():
        if folder is not None and not folder.is_dir():
            raise InputError(folder, "no such folder", fix=f"{option} DIR, a folder of images")
    for option, file in {"--prompts": recipe.prompts, "--config": recipe.config}.items():
        if file is not None and not file.is_file():
            raise InputError(file, "no such file", fix=f"{option} FILE")
    if recipe.config and "model_size" in read_toml(recipe.config, fix="--config FILE"):
        fix = "take it out of the file, and type --model-size"
        raise InputError(
            recipe.config, "sets model_size, which is that of the first model", fix=fix
        )
    known, new = recipe.known.resolve(), recipe.new.resolve()
    if known.is_relative_to(new) or new.is_relative_to(known):
        problem = (
            f"and {recipe.known} hold the same images"
            if known == new
            else (f"and {recipe.known} lie within each other")
        )
        raise InputError(recipe.new, problem, fix="two folders side by side: --known DIR --new DIR")


def refuse_unusable(name: str, recipe: Recipe, progress: Progress) -> None:
    """Say which images of a folder cannot be trained on; refuse a folder that has too few others.

    Raises:
        InputError: fewer than `FEWEST` are left.
    """
    (folder,), side = recipe.folders(name), recipe.sides[-1]
    samples = Dataset(recipe.data(name)).read().samples
    reasons = Counter(filter(None, (reason_against(sample, side) for sample in samples)))
    usable = len(samples) - reasons.total()
    why = ", ".join(f"{reason}: {count}" for reason, count in reasons.most_common())
    found = f"{usable} of {len(samples)} images can be trained on" + (f" ({why})" if why else "")
    if usable < FEWEST[name]:
        fix = f"put {FEWEST[name]} images or more into it"
        common = reasons.most_common(1)[0][0] if reasons else ""
        if "licence" in common:
            fix = (
                "--license own if you made them; else the licence they are under, as --license MIT"
            )
        elif common == _TOO_SMALL:
            fix = "smaller stages, such as --stages 8,16, or larger images"
        raise InputError(folder, found, fix=fix)
    if reasons:
        progress.say(f"{folder}: {found}")
    if usable < FEW[name]:
        few = "a model that is trained on them alone copies them"
        progress.say(f"{folder}: {usable} images are few: {few if name == 'known' else _FEW_NEW}")


def reason_against(sample: Sample, side: int) -> str | None:
    """Why an image cannot be trained on at `side` pixels, in words; None if it can."""
    if sample.dropped:
        return sample.dropped.partition(":")[0]
    if sample.train is None or sample.train.decision != "allow":
        codes = sample.train.reasons if sample.train else ()
        return " and ".join(codes) or "not checked"
    if not sample.captions:
        return "no caption"
    return _TOO_SMALL if min(sample.width or side, sample.height or side) < side else None


def tell_shared(recipe: Recipe, progress: Progress) -> None:
    """Say how many images lie in both folders."""
    known, new = (
        {sample.key: sample for sample in Dataset(recipe.data(name)).read().samples}
        for name in ("known", "new")
    )
    pairs = [(key, key) for key in known.keys() & new.keys()]
    for sample in Dataset(recipe.data("truth")).read().samples:
        reason, _, twin = (sample.dropped or "").partition(":")
        if reason == DUPLICATE:
            pairs += [
                (k, n)
                for k, n in ((sample.key, twin), (twin, sample.key))
                if k in known and n in new
            ]
    if pairs:
        old, other = known[pairs[0][0]].file_name, new[pairs[0][1]].file_name
        progress.say(
            f"images in both folders: {len(pairs)}, such as {old} and {other}; the first model is "
            f"trained on them without the word, unless you take them out of {recipe.known}"
        )


def refuse_gap(report: Path, when: str, recipe: Recipe) -> None:
    """Refuse to go on where there is nothing to teach, or nothing to teach it with.

    Raises:
        InputError: no prompt asks for the word, captions of known images hold it, or, afterwards,
            those of new images do not.
    """
    items = json.loads(report.read_bytes())["items"]
    named = [i for i in items if i["unit"] == recipe.word and i["kind"] in ("word", "phrase")]
    if not named:
        missing = [i["unit"] for i in items if i["kind"] == "word" and i["severity"] == "error"]
        fix = "prompts that ask for it" + (f", or --word {missing[0]}" if missing else "")
        raise InputError(recipe.prompts, f"no prompt asks for {recipe.word!r}", fix=fix)
    levels = named[0]["levels"]  # a synonym is not the word
    shown = sum(levels[level] for level in ("exact", "inflection", "variant"))
    if when == "before" and shown:
        problem = f"{shown} images say {recipe.word!r} already"
        if evidence := named[0]["evidence"]:
            problem += f", such as {evidence[0]['caption']!r}"
        raise InputError(recipe.known, problem, fix=f"move them to {recipe.new}, or another --word")
    if when == "after" and not shown:
        fix = "write it into a NAME.txt beside each NAME.png that shows it, or into metadata.jsonl"
        raise InputError(recipe.new, f"no caption says {recipe.word!r}", fix=fix)
