"""A verification as one HTML page: verdict, figures, and images of every prompt.

There is no script: the filters are radio buttons that the style reads. Of each prompt some images
are shown, and more of those that are wrong.

Letters in names: N samples, H and W pixels, C channels.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import numpy as np
from PIL import Image

from curate.system import web_page
from train.verification import tables, verdict
from train.verification.decisions import Verdict
from train.verification.generate import Sample
from train.verification.intervals import format_share
from train.verification.pixels import fit_within, spread
from train.verification.scorers import Reference
from train.verification.verdict import WITH, WITHOUT, WORD, Report, Row

THUMBNAIL_SIDE = 96  # pixels of the longer side at most
PER_PROMPT = 4  # images of a prompt; more where fewer of them are wrong than could be
MAX_IMAGES = 400  # images of one checkpoint

Key = tuple[str, int]  # prompt, seed

FILTERS = {  # filter -> its title; what a row must have to be shown
    "all": "all",
    "wrong": "wrong after",
    "inexact": "not entirely right after",
    "forgotten": "right before, wrong after",
    "new": "with the word",
    "old": "without the word",
}


@dataclass
class Gallery:
    """Small images by prompt and seed, and a true image of each prompt that has one."""

    allowed: frozenset[str]  # prompts that are shown
    each: int
    after: dict[Key, np.ndarray] = field(default_factory=dict)  # uint8 HWC
    before: dict[Key, np.ndarray] = field(default_factory=dict)
    true: dict[str, np.ndarray] = field(default_factory=dict)
    _kept: Counter[str] = field(default_factory=Counter)
    _wrong: Counter[str] = field(default_factory=Counter)

    @staticmethod
    def of(plan: Sequence[Sample], reference: Reference) -> "Gallery":
        """An empty album for these samples, with the true images."""
        prompts = list(dict.fromkeys(sample.prompt for sample in plan))
        kept = [prompts[place] for place in spread(len(prompts), MAX_IMAGES)]
        album = Gallery(frozenset(kept), max(1, min(PER_PROMPT, MAX_IMAGES // max(1, len(kept)))))
        for prompt in kept:
            label = reference.find(prompt)
            if label is not None and label < len(reference.labels):
                row = int(np.flatnonzero(reference.label_N == label)[0])
                album.true[prompt] = make_thumbnail(reference.pixels_NHWC[row])
        return album

    def keep_after(
        self, samples: Sequence[Sample], images_NHWC: np.ndarray, wrong_N: np.ndarray
    ) -> None:
        """Keep the first images of each prompt, and the first that are wrong."""
        for sample, image, wrong in zip(samples, images_NHWC, wrong_N.tolist(), strict=True):
            prompt = sample.prompt
            early = self._kept[prompt] < self.each
            more = wrong and self._wrong[prompt] < self.each
            room = prompt in self.allowed and len(self.after) < MAX_IMAGES
            if room and (early or more) and (prompt, sample.seed) not in self.after:
                self._kept[prompt] += 1
                self._wrong[prompt] += wrong
                self.after[prompt, sample.seed] = make_thumbnail(image)

    def keep_before(self, samples: Sequence[Sample], images_NHWC: np.ndarray) -> None:
        """Keep what an earlier checkpoint sampled where the later one's image is kept."""
        keys = [(sample.prompt, sample.seed) for sample in samples]
        images = zip(keys, images_NHWC, strict=True)
        self.before |= {key: make_thumbnail(image) for key, image in images if key in self.after}


def make_thumbnail(image_HWC: np.ndarray) -> np.ndarray:
    """At most `THUMBNAIL_SIDE` pixels on the longer side."""
    size = fit_within(image_HWC.shape[:2], THUMBNAIL_SIDE)
    picture = Image.fromarray(np.array(image_HWC))
    return np.asarray(picture.resize(size[::-1], Image.Resampling.LANCZOS))


CLASSES = {Verdict.WORKS: "good", Verdict.FAILS: "bad", Verdict.UNDECIDED: "warning"}


def render_page(report: Report, gallery: Gallery) -> str:
    """The page of a report, with the images of the album."""
    scorers = [judge.name for judge in report.judges]
    rows = _make_cards(report, gallery, scorers)
    return web_page.render_page(
        "train.verification/page.html.j2",
        style=_filter_rules(len(scorers)),
        report=report,
        verdict_class=CLASSES[report.verdict],
        findings=[(CLASSES[found.verdict], found) for found in report.findings],
        judges=tables.describe_judges(report),
        figures=[
            (scorer, [_figure_row(report, f) for f in figures])
            for scorer, figures in groupby(report.figures, lambda f: f.scorer)
        ],
        after=", ".join(one["digest"][:12] for one in report.after),
        scorers=scorers,
        filters=_filters(rows, len(scorers)),
        rows=rows,
        selection=_selection(report, rows),
    )


def _figure_row(report: Report, f: verdict.Figure) -> dict[str, Any]:
    before = f.before.share if f.before else None
    limits = {
        WORD: report.rule.at_least,
        verdict.FALSE: report.rule.at_most_unasked,
        verdict.OLD_STYLE: report.rule.at_least_style,
        verdict.COPY: report.rule.at_most_copies,
    }
    return {
        "what": _describe_figure(f, report.word),
        "size": f"{f.prompts:,} prompt{'s' * (f.prompts != 1)}, {f.after.share.n:,} samples",
        "counts": f.counts,
        "real": format_share(f.real),
        "drawn": format_share(f.after.raw),
        "before": format_share(before),
        "after": format_share(f.after.share),
        "runs": format_share(f.after.over_runs),
        "change": format_share(f.change.share if f.change else None, signed=True),
        "limit": round(1000 * limits[f.measure]) if f.measure in limits else None,
        "bars": [
            (kind, y, *(round(1000 * edge) for edge in (s.low, s.high, s.value)))
            for kind, y, s in (("earlier", 12, before), ("later", 28, f.after.share))
            if s is not None and math.isfinite(s.value)
        ],
    }


def _describe_figure(figure: verdict.Figure, word: str) -> str:
    asked = figure.group
    if asked in (verdict.SHOWN, verdict.NEVER, verdict.STYLE):
        asked = f"{WITH}, {figure.group}"
    seen = {
        WORD: f"{word} is seen",
        verdict.FALSE: f"{word} is seen all the same",
        verdict.OWN_WORD: "the prompt's own word is seen",
        verdict.ENTIRELY: "entirely right",
        verdict.OLD_STYLE: "the old style is kept",
        verdict.COPY: "copies of training images",
    }
    return f"{asked}: {seen[figure.measure]}"


@dataclass(frozen=True)
class _Card:
    prompt: str
    group: str
    classes: str  # what the filters look for
    scores: list[str]  # a sentence a scorer
    true: str | None  # data URI
    strips: list[tuple[str, list[dict[str, Any]]]]  # "before", "after" -> images
    right: float  # share of its samples


def _make_cards(report: Report, gallery: Gallery, scorers: Sequence[str]) -> list[_Card]:
    """The prompts that have images: those with the word first, the worst first."""
    by_prompt: dict[str, dict[str, Row]] = {}
    for row in report.rows:
        by_prompt.setdefault(row.prompt, {})[row.scorer] = row
    seeds: dict[str, list[int]] = {}
    for prompt, seed in gallery.after:
        seeds.setdefault(prompt, []).append(seed)
    known = seeds.keys() & by_prompt.keys()
    cards = [_make_card(by_prompt[p], seeds[p], gallery, scorers) for p in known]
    return sorted(cards, key=lambda card: (card.group == WITHOUT, card.right, card.prompt))


def _make_card(
    rows: Mapping[str, Row], seeds: Sequence[int], gallery: Gallery, scorers: Sequence[str]
) -> _Card:
    first = next(iter(rows.values()))
    looks = [rows[name].looks if name in rows else [] for name in scorers]
    states, classes = [], ["old" if first.group == WITHOUT else "new"]
    for number, seen in enumerate(looks):
        wrong = [look for look in seen if not look.after.right]
        lost = [look for look in wrong if look.before and look.before.right]
        inexact = [look for look in seen if look.after.entirely is False]
        found = {"wrong": wrong, "inexact": inexact, "forgotten": lost}
        classes += [f"{state}{number}" for state, which in found.items() if which]
        states.append(_describe_score(seen))
    by_seed = [{look.seed: look for look in seen if not look.run} for seen in looks]

    def images(when: str, album: Mapping[Key, np.ndarray]) -> list[dict[str, Any]]:
        return [
            {
                "uri": web_page.data_uri(album[first.prompt, seed]),
                "seed": seed,
                "labels": [_label(getattr(pairs.get(seed), when, None)) for pairs in by_seed],
            }
            for seed in seeds
        ]

    albums = {"before": gallery.before, "after": gallery.after}
    true = gallery.true.get(first.prompt)
    rights = [look.after.right for seen in looks for look in seen]
    return _Card(
        first.prompt,
        first.group,
        " ".join(classes),
        states,
        None if true is None else web_page.data_uri(true),
        [(when, images(when, album)) for when, album in albums.items() if album],
        sum(rights) / max(1, len(rights)),
    )


def _describe_score(pairs: Sequence[verdict.Pair]) -> str:
    if not pairs:
        return "not judged"
    right = sum(look.after.right for look in pairs)
    earlier = [look.before.right for look in pairs if look.before]
    was = f", {sum(earlier)} before" if earlier else ""
    return f"{right} of {len(pairs)} right{was}"


def _label(look: verdict.Look | None) -> dict[str, str]:
    """How right an image is, as a class of the style sheet, and what it is taken for if wrong."""
    if look is None:
        return {"class": "", "caption": ""}
    if look.right and look.entirely is not False:
        return {"class": "good", "caption": ""}
    return {"class": "warning" if look.right else "bad", "caption": look.taken_for}


def _filters(rows: Sequence[_Card], scorers: int) -> list[tuple[str, str, list[int]]]:
    """(id, title, prompts a scorer) of each filter that shows something."""
    found = []
    for name, title in FILTERS.items():
        counts = []
        for number in range(scorers):
            wanted = {"all": "", "new": "new", "old": "old"}.get(name, f"{name}{number}")
            counts.append(sum(not wanted or wanted in row.classes.split() for row in rows))
        if any(counts):
            found.append((name, title, counts))
    return found


def _selection(report: Report, rows: Sequence[_Card]) -> str:
    drawn = {(row.prompt, look.seed) for row in report.rows for look in row.looks}
    prompts = {prompt for prompt, _ in drawn}
    images = sum(len(row.strips[-1][1]) for row in rows)
    return (
        f"{images:,} of {len(drawn):,} samples and {len(rows):,} of {len(prompts):,} prompts "
        "are shown: the first seeds of each, and the first that are wrong; the worst prompts first."
    )


def _filter_rules(scorers: int) -> str:
    rules = []
    for number in range(scorers):
        chosen = f":has(#s{number}:checked)" if scorers > 1 else ""
        if scorers > 1:
            rules.append(f"body{chosen} .by:not(.by{number}) {{ display: none }}")
        for name in ("wrong", "inexact", "forgotten"):
            rules.append(
                f"body:has(#{name}:checked){chosen} .row:not(.{name}{number}) {{ display: none }}"
            )
    rules += [f"body:has(#{n}:checked) .row:not(.{n}) {{ display: none }}" for n in ("new", "old")]
    return "\n".join(rules)
