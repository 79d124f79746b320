"""The end of the recipe: one page and one image that show what changed, from files on disk.

Every figure is read from what the commands wrote (`gaps-*.json`, `verify/verify.json`,
`status.json`, `stages/*.json`); nothing is computed here but images, drawn by both models from
the same seeds.
"""

import argparse
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.dataset.folder import Dataset
from curate.errors import InputError
from curate.formats.shards import iterate_samples
from curate.system import terminal, web_page
from curate.system.files import atomic_write, write_bytes
from curate.system.progress import Progress
from curate.system.web_page import data_uri

if TYPE_CHECKING:
    import numpy as np

REPEATS = 3  # images a prompt
ROWS_IN_IMAGE = 8  # prompts in before-after.png
CLASSES = {"works": "good", "does not work": "bad"}  # by verdict; "warning" for any other
DATASETS = ("known", "new", "truth")


@dataclass(frozen=True)
class Row:
    """One prompt and what each model draws for it."""

    prompt: str
    kind: str  # "new word", "new word, combination never shown", "combination never shown", ""
    strips: dict[str, list[str]]  # data URIs "before" and "after", and "true" where there is one


def read_json(path: Path) -> Any:
    """The JSON in a file that an earlier stage wrote.

    Raises:
        InputError: it is missing or broken.
    """
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise InputError(path, f"cannot be read ({error})", fix="type the recipe again") from None


def word_coverage(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The words of the prompts, gaps first: verdict and images before and after the fetch."""
    later = {i["unit"]: i for i in after["items"] if i["kind"] == "word"}
    severities = ("error", "warning", "info")
    found = [
        {"word": item["unit"], "before": item, "after": later[item["unit"]]}
        for item in before["items"]
        if item["kind"] == "word" and item["verdict"] != "function-word"
    ]
    return sorted(found, key=lambda r: (severities.index(r["before"]["severity"]), r["word"]))


def true_images(data: Path) -> dict[str, bytes]:
    """Caption -> image, of every caption in the shards of a dataset."""
    found: dict[str, bytes] = {}
    for _, image, record in iterate_samples(data):
        for caption in record["captions"]:
            found.setdefault(caption["text"], image)
    return found


def kind_of(prompt: str, word: str, shown: set[str], true: Mapping[str, bytes]) -> str:
    """Why a prompt is interesting, in words for the page."""
    facts = ["new word"] if word in prompt.split() else []
    if prompt in true and prompt not in shown:
        facts.append("combination never shown")
    return ", ".join(facts)


def draw_images(
    out: Path, models: Sequence[Path], prompts: Sequence[str], progress: Progress
) -> "tuple[np.ndarray, np.ndarray]":
    """Images by the model before and after, uint8 (prompts * REPEATS, H, W, 3)."""
    import numpy as np

    from train.verification.generate import CachedSampler, Sample

    plan = [Sample(p, 1000 * n + t, "page") for n, p in enumerate(prompts) for t in range(REPEATS)]

    def draws(model: Path, name: str) -> "np.ndarray":
        drawer = CachedSampler(model)
        return np.concatenate(list(drawer.sample(plan, out / "drawn", name, progress)))

    return draws(models[0], "before"), draws(models[1], "after")


def page_rows(
    out: Path, models: Sequence[Path], word: str, prompts: Sequence[str], progress: Progress
) -> list[Row]:
    """What both models draw for every prompt; also writes `before-after.png`."""
    from train.figures.grids import GridRow, draw_table

    true = true_images(out / "truth-data")
    shown = {c for name in ("known", "new") for c in true_images(out / f"{name}-data")}
    before, after = draw_images(out, models, prompts, progress)
    spans = [slice(n * REPEATS, (n + 1) * REPEATS) for n in range(len(prompts))]
    kinds = [kind_of(p, word, shown, true) for p in prompts]
    chosen = sorted(range(len(prompts)), key=lambda n: ("never" not in kinds[n], n))
    new = [n for n in chosen if kinds[n].startswith("new")][: ROWS_IN_IMAGE - 3]
    old = [n for n in chosen if not kinds[n].startswith("new")][: ROWS_IN_IMAGE - len(new)]
    pairs = [GridRow(prompts[n], [before[spans[n]], after[spans[n]]]) for n in (*new, *old)]
    image = draw_table(pairs, ["before", "after"])
    with atomic_write(out / "before-after.png") as file:
        image.save(file, "PNG", optimize=True)
    return [
        Row(
            prompt,
            kind,
            {"before": [*map(data_uri, before[span])], "after": [*map(data_uri, after[span])]}
            | ({"true": [data_uri(true[prompt])]} if prompt in true else {}),
        )
        for prompt, kind, span in zip(prompts, kinds, spans, strict=True)
    ]


def describe_datasets(out: Path) -> list[dict[str, Any]]:
    """Each dataset: what it holds, who made it, and why it may be trained on."""
    found = []
    for name in DATASETS:
        data = out / f"{name}-data"
        samples = Dataset(data).read().samples
        makers = Counter((s.author, s.license, s.page_url) for s in samples)
        reasons = Counter(r for s in samples if s.train for r in s.train.reasons)
        found.append(
            {
                "folder": data,
                "status": read_json(data / "status.json"),
                "makers": makers.most_common(),
                "reasons": reasons.most_common(),
            }
        )
    return found


def stage_costs(out: Path) -> list[dict[str, Any]]:
    """Every command of the recipe as it was typed, with its time; the page itself left out."""
    paths = (out / "stages").glob("*.json")
    markers = [{"name": path.stem} | read_json(path) for path in paths if path.stem != "page"]
    return sorted((m for m in markers if m["done"]), key=lambda marker: int(marker["number"]))


def write_page(given: argparse.Namespace, progress: Progress) -> None:
    """Write `index.html` and `before-after.png` into the recipe's folder, as `main` is asked to."""
    out, word, prompts = given.out, given.word, given.prompts.read_text(encoding="utf-8-sig")
    lines = [line.strip() for line in prompts.splitlines()]
    verified = read_json(out / "verify" / "verify.json")
    losses = [(model.relative_to(out), model / "loss.png") for model in given.models]
    text = web_page.render_page(
        "pipelines/page.html.j2",
        word=word,
        rows=page_rows(out, given.models, word, [line for line in lines if line], progress),
        coverage=word_coverage(
            read_json(out / "gaps-before.json"), read_json(out / "gaps-after.json")
        ),
        verify=verified,
        verdict_class=CLASSES.get(verified["verdict"], "warning"),
        datasets=describe_datasets(out),
        stages=stage_costs(out),
        credit=given.credits.read_text() if given.credits.exists() else "",
        losses=[(name, data_uri(p.read_bytes())) for name, p in losses if p.exists()],
    )
    write_bytes(out / "index.html", text.encode())


def main() -> None:
    """Write the page of a finished recipe; its two files on stdout."""
    parser = argparse.ArgumentParser(description="Write the page of a finished recipe.")
    parser.add_argument("--out", type=Path, required=True, help="folder of the recipe")
    parser.add_argument("--models", type=Path, nargs=2, required=True, help="before, and after")
    parser.add_argument("--word", required=True, help="the word that was taught")
    parser.add_argument("--prompts", type=Path, required=True, help="prompts, one a line")
    parser.add_argument("--credits", type=Path, required=True, help="who made the images")
    given = parser.parse_args()
    with terminal.command_line(), terminal.TerminalProgress() as progress:
        write_page(given, progress)
    print(given.out / "index.html", given.out / "before-after.png", sep="\n")


if __name__ == "__main__":
    main()
