"""How images look, whatever they show: colours, contrasts, flat areas.

A scorer that is right on all true images may still know nothing of a word: where all images with
it are photographs, and all others drawings, it need only tell these apart. So images with the word
must mix with the others by their looks about as much as those of other words do.

Letters in names: N images, H and W pixels, D features.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from train.verification.intervals import mid_p
from train.verification.pixels import distances, fit_within, resize, split_chunks
from train.verification.scorers import Reference

SIDE = 64  # pixels that style is looked at
SCALES = (1, 2, 4)  # pixels that contrasts are taken over
FLAT = 1.5 / 255  # contrast below which a place is flat
USUAL = 0.9  # of images without the word are so near to another
BINS = 4  # of each colour channel
LEAST_MIXED = 0.4  # of how much other words mix; what surely mixes less keeps apart (our choice)


@dataclass(frozen=True)
class LookAlikes:
    """True images without the word that look like some with it."""

    alike_N: np.ndarray  # bool
    apart: str  # how the images with the word keep apart from the others, as a clause; "": not


def look_alikes(reference: Reference, word: str) -> LookAlikes:
    """An image looks like another if they are no farther apart, by their looks, than nine in ten of
    the images without the word are from the nearest image of another word of their own.

    Images of a word mix with the others as often as the image that looks most like one of them
    is of another word, over how often it would be by chance. Copies are not asked about each other.
    """
    x_ND = torch.from_numpy(style_features(reference.pixels_NHWC))
    x_ND = (x_ND - x_ND.mean(0)) / x_ND.std(0).clamp(min=1e-6)
    shown_N = reference.image_shows_word(word)
    own = [reference.own_word(said[0]) for said in reference.labels]
    numbers = {word: number for number, word in enumerate(dict.fromkeys(own))}
    own_N = np.array([numbers[own[label]] for label in reference.label_N])
    own_N[shown_N] = len(numbers)
    away_N, nearest_N = np.empty(len(own_N)), np.empty(len(own_N), np.int64)
    to_word_N = np.empty(len(own_N))
    for rows in split_chunks(np.arange(len(own_N))):
        apart = distances(x_ND[rows], x_ND)
        copies = reference.group_N[rows][:, None] == reference.group_N
        apart = apart.masked_fill(torch.from_numpy(copies), torch.inf)
        nearest_N[rows] = apart.argmin(1).numpy()
        same = torch.from_numpy(own_N[rows][:, None] == own_N)
        away_N[rows] = apart.masked_fill(same, torch.inf).amin(1).numpy()
        to_word_N[rows] = apart[:, torch.from_numpy(shown_N)].amin(1).numpy()
    usual_N = away_N[~shown_N & np.isfinite(away_N)]
    limit = float(np.quantile(usual_N, USUAL)) if len(usual_N) else 0.0
    alike_N = ~shown_N & (to_word_N <= limit)
    return LookAlikes(alike_N, _how_apart(own_N[nearest_N] != own_N, own_N, shown_N))


def _how_apart(mixed_N: np.ndarray, own_N: np.ndarray, shown_N: np.ndarray) -> str:
    if shown_N.all():
        return ""
    chance_N = 1 - (np.bincount(own_N)[own_N] - 1) / (len(own_N) - 1)
    usual = float(mixed_N[~shown_N].sum() / chance_N[~shown_N].sum())
    hits, shown, chance = int(mixed_N[shown_N].sum()), int(shown_N.sum()), chance_N[shown_N].mean()
    if mid_p(hits, shown)[1] / chance >= LEAST_MIXED * usual:
        return ""
    return (
        f"by their looks the former mix with the latter {hits / shown / chance:.0%} as often as by "
        f"chance, images of other words {usual:.0%}, so that how they look may be all it knows"
    )


def style_features(images_NHWC: np.ndarray) -> np.ndarray:
    """Float (N, D): colours, contrasts and flat areas of images at `SIDE` pixels at most."""
    shape = fit_within(images_NHWC.shape[1:3], SIDE)
    parts = [_features(resize(part, shape)) for part in split_chunks(np.asarray(images_NHWC))]
    found: np.ndarray = torch.cat(parts).numpy()
    return found


def _features(x_NCHW: torch.Tensor) -> torch.Tensor:
    found = []
    for scale in SCALES:
        small = F.avg_pool2d(x_NCHW, scale)
        steps = [
            small.diff(dim=2).abs().amax(1).flatten(1),
            small.diff(dim=3).abs().amax(1).flatten(1),
        ]
        contrast = torch.cat(steps, 1)
        found += [contrast.mean(1), contrast.std(1), (contrast < FLAT).float().mean(1)]
        found += [contrast.quantile(q, 1) for q in (0.5, 0.9)]
    spread = x_NCHW.amax(1) - x_NCHW.amin(1)
    found += [
        spread.mean((1, 2)),
        spread.std((1, 2)),
        x_NCHW.mean((1, 2, 3)),
        x_NCHW.std((1, 2, 3)),
    ]
    bins = ((x_NCHW + 0.5) * BINS).long().clamp(0, BINS - 1)
    place = (bins[:, 0] * BINS + bins[:, 1]) * BINS + bins[:, 2]
    counts = F.one_hot(place.flatten(1), BINS**3).float().mean(1).sqrt()
    return torch.cat([torch.stack(found, 1), counts], 1)
