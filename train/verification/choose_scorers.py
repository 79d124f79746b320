"""Which scorers look at a word, and which prompts each of them can judge.

A scorer of your own is an object with what `train.verification.scorers.Scorer` asks for. Name a
function that makes it from the true images, `--scorer my_package.my_module:my_function`:

    def my_function(reference: scorers.Reference) -> scorers.Scorer: ...
"""

import importlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from curate.errors import InputError, UsageError
from curate.system.progress import Progress
from train.device import pick_device
from train.verification.contrastive import train_scorer
from train.verification.scorers import OPEN_CLIP, SCORERS, Nearest, OpenClip, Reference, Scorer
from train.verification.verdict import WITHOUT


@dataclass(frozen=True)
class ScorerSpec:
    """A scorer as it was typed."""

    name: str  # one of SCORERS, or a module
    first: str = ""  # open_clip: the architecture; a module: the function
    second: str = ""  # open_clip: the weights


def parse_scorers(text: str) -> list[ScorerSpec]:
    """The scorers named between commas, each once.

    Raises:
        UsageError: no such scorer.
    """
    found = []
    for part in text.split(","):
        name, _, rest = part.strip().partition(":")
        first, _, second = rest.partition(":")
        if name == "learned":
            raise UsageError("--scorer", "no scorer 'learned'", fix="it is called contrastive now")
        if name == "open_clip":
            good = bool(second) or not rest
        elif name in SCORERS:
            good = not rest
        else:
            good = bool(first) and not second and all(p.isidentifier() for p in name.split("."))
        if not good:
            fix = (
                f"one or more of {', '.join(SCORERS)} between commas; "
                "open_clip:ARCHITECTURE:WEIGHTS names the model, "
                "MODULE:FUNCTION a scorer of your own"
            )
            raise UsageError("--scorer", f"no scorer {part.strip()!r}", fix=fix)
        found.append(ScorerSpec(name, first, second))
    return list(dict.fromkeys(found))


def select_scorers(
    chosen: Iterable[ScorerSpec],
    reference: Reference,
    groups: Mapping[str, Sequence[str]],
    *,
    cache: Path,
    device: str,
    progress: Progress,
    notes: list[str],
) -> list[Scorer]:
    """The scorers that can judge some prompt with the word.

    Args:
        chosen: what was typed.
        reference: the true images.
        groups: group -> prompts, as `train.verification.generate.group_prompts` makes them.
        cache: folder of the contrastive scorer.
        device: of open_clip.
        progress: counts the images that the contrastive scorer learns from.
        notes: gets a sentence for each scorer that cannot judge everything.
    """
    prompts = [prompt for texts in groups.values() for prompt in texts]
    asking = [prompt for prompt in prompts if prompt not in groups.get(WITHOUT, ())]
    found = []
    for one in chosen:
        scorer = _make_scorer(one, reference, cache, device, progress)
        refused = {p: why for p in prompts if (why := scorer.cannot(p)) is not None}
        if all(prompt in refused for prompt in asking):
            notes.append(
                f"{scorer.name} is left out: it can judge no prompt with the word, such as "
                f"{asking[0]!r} ({refused[asking[0]]})"
            )
            continue
        found.append(scorer)
        if refused:
            prompt, why = next(iter(refused.items()))
            notes.append(
                f"{scorer.name} leaves out {len(refused)} of {len(prompts)} prompts, such as "
                f"{prompt!r}: {why}"
            )
    return found


def _make_scorer(
    one: ScorerSpec, reference: Reference, cache: Path, device: str, progress: Progress
) -> Scorer:
    if one.name == "nearest":
        return Nearest(reference)
    if one.name == "contrastive":
        return train_scorer(reference, cache=cache, progress=progress)
    if one.name == "open_clip":
        spec = f"{one.first}:{one.second}" if one.first else OPEN_CLIP
        return OpenClip(reference, spec, device=str(pick_device(device)))
    subject = f"--scorer {one.name}:{one.first}"
    try:
        make = getattr(importlib.import_module(one.name), one.first)
    except (ImportError, AttributeError) as error:
        fix = "a module that Python finds (PYTHONPATH), and a function of it"
        raise UsageError(subject, f"cannot be imported ({error})", fix=fix) from None
    made: Scorer = make(reference)
    for name in ("name", "accuracy", "scores", "cannot"):
        if not hasattr(made, name):
            fix = "give what train.verification.scorers.Scorer asks for"
            raise InputError(subject, f"what it makes has no {name!r}", fix=fix)
    return made
