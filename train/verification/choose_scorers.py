"""Which scorers look at a word, and which prompts each of them can judge.

A scorer of your own is an object with what `train.verification.scorers.Scorer` asks for. Name a
function that makes it from the true images, `--scorer my_package.my_module:my_function`:

    def my_function(reference: scorers.Reference) -> scorers.Scorer: ...
"""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from curate.errors import InputError, UsageError
from curate.system.progress import Progress
from curate.vision.encoders import (
    EFFICIENTNET,
    EFFICIENTNET_PACKAGES,
    load_image_encoder,
)
from train.device import pick_device
from train.verification.contrastive import train_scorer
from train.verification.encoded import CachedEncoder
from train.verification.examples import FromExamples
from train.verification.metrics import Trials
from train.verification.question import Question
from train.verification.scorers import Nearest, Reference, Scorer
from train.verification.verdict import WITHOUT
from train.verification.vision_language import VisionLanguage
from train.verification.zero_shot import ZeroShot

AUTO = "auto"
ENCODED = ("examples", "neighbours")  # learn from features of an encoder
SCORERS = ("nearest", "contrastive", "examples", "neighbours", "open_clip", "vlm")
OPEN_CLIP = "ViT-B-32:laion2b_s34b_b79k"
FIX = (
    f"{AUTO}, or one or more of {', '.join(SCORERS)} between commas; examples:ENCODER and "
    "neighbours:ENCODER name what encodes images, open_clip:ARCHITECTURE:WEIGHTS and vlm:FOLDER "
    "the model, MODULE:FUNCTION a scorer of your own"
)


@dataclass(frozen=True)
class ScorerSpec:
    """A scorer as it was typed."""

    name: str  # one of SCORERS, or a module
    rest: str = ""  # examples, neighbours: the encoder; open_clip, vlm: the model; the function

    def __str__(self) -> str:
        """As it was typed."""
        return f"{self.name}:{self.rest}" if self.rest else self.name


def parse_scorers(text: str) -> list[ScorerSpec]:
    """The scorers named between commas, each once; `auto` is what works here without downloads.

    Raises:
        UsageError: no such scorer.
    """
    found = []
    for part in text.split(","):
        name, _, rest = part.strip().partition(":")
        if part.strip() == AUTO:
            found += [ScorerSpec("nearest"), ScorerSpec("contrastive")]
            if all(map(find_spec, EFFICIENTNET_PACKAGES)):
                found += [ScorerSpec(n, EFFICIENTNET) for n in ENCODED]
            continue
        if name == "learned":
            raise UsageError("--scorer", "no scorer 'learned'", fix="it is called contrastive now")
        if name in ("nearest", "contrastive"):
            good = not rest
        elif name == "open_clip":
            good = not rest or all(rest.partition(":"))
        elif name in ENCODED:
            rest, good = rest or EFFICIENTNET, True
        elif name == "vlm":
            good = bool(rest)
        else:
            good = bool(rest) and ":" not in rest and all(p.isidentifier() for p in name.split("."))
        if not good:
            raise UsageError("--scorer", f"no scorer {part.strip()!r}", fix=FIX)
        found.append(ScorerSpec(name, rest))
    return list(dict.fromkeys(found))


def select_scorers(
    chosen: Sequence[ScorerSpec],
    trials: Trials,
    *,
    cache: Path,
    device: str,
    progress: Progress,
    notes: list[str],
) -> list[Scorer]:
    """The scorers that can judge some prompt with the word.

    Args:
        chosen: what was typed.
        trials: what is asked for, beside the true images.
        cache: folder of what scorers learn.
        device: of models.
        progress: counts the images that scorers learn from.
        notes: gets a sentence for each scorer that cannot judge everything.
    """
    prompts = {sample.prompt: sample.group for sample in trials.plan}
    found: list[Scorer] = []
    encoders: dict[str, CachedEncoder] = {}
    for one in chosen:
        if one.name in ENCODED and one.rest not in encoders:
            usage, place = f"--scorer {one.name}:ENCODER", str(pick_device(device))
            encoder = load_image_encoder(one.rest, usage=usage, device=place)
            encoders[one.rest] = CachedEncoder(encoder, cache, progress)
        encoder_of = encoders.get(one.rest)
        scorer = _make_scorer(one, trials.reference, encoder_of, cache, device, progress)
        refused = scorer.cannot(Question(trials.word))
        if refused is not None:
            notes.append(f"{scorer.name} is left out: it cannot judge the word ({refused})")
            continue
        found.append(scorer)
        unjudged = {}
        for prompt, group in prompts.items():
            own = trials.reference.own_word(prompt) if group == WITHOUT else None
            if group == WITHOUT and own is None:
                unjudged[prompt] = "no true caption holds a word of it"
            elif own is not None and (why := scorer.cannot(Question(own))) is not None:
                unjudged[prompt] = why
        if unjudged:
            prompt, why = next(iter(unjudged.items()))
            notes.append(
                f"{scorer.name} leaves out {len(unjudged)} of {len(prompts)} prompts, such as "
                f"{prompt!r}: {why}"
            )
    return found


def _make_scorer(
    one: ScorerSpec,
    reference: Reference,
    encoder: CachedEncoder | None,
    cache: Path,
    device: str,
    progress: Progress,
) -> Scorer:
    place = pick_device(device)
    if one.name == "nearest":
        return Nearest(reference)
    if one.name == "contrastive":
        return train_scorer(reference, cache=cache, progress=progress)
    if encoder is not None:
        return FromExamples(reference, encoder, one.name, device=str(place))
    if one.name == "open_clip":
        return ZeroShot(reference, one.rest or OPEN_CLIP, device=str(place))
    if one.name == "vlm":
        return VisionLanguage(reference, one.rest, device=place)
    subject = f"--scorer {one}"
    try:
        make = getattr(importlib.import_module(one.name), one.rest)
    except (ImportError, AttributeError) as error:
        fix = "a module that Python finds (PYTHONPATH), and a function of it"
        raise UsageError(subject, f"cannot be imported ({error})", fix=fix) from None
    made: Scorer = make(reference)
    for name in ("name", "unseen_N", "shows", "cannot"):
        if not hasattr(made, name):
            fix = "give what train.verification.scorers.Scorer asks for"
            raise InputError(subject, f"what it makes has no {name!r}", fix=fix)
    return made
