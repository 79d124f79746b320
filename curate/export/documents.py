"""What goes with exported images: who made them, under which licence, how to train with them."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from curate.export.balance import Balance
from curate.export.buckets import Buckets
from curate.export.trainers import Plan, Trainer, escape_unseen, quote
from curate.formats.exports import LICENCES_NAME
from curate.rights.credits import Credit, credits_csv, credits_markdown
from curate.rights.licences import KNOWN_TO_HUBS, licence_url
from curate.system.strangers import markdown, markdown_link
from curate.system.web_page import render_template

# images below which a set is of a size that hubs know, and its name
HUB_SIZES = {
    1_000: "n<1K",
    10_000: "1K<n<10K",
    100_000: "10K<n<100K",
    1_000_000: "100K<n<1M",
    10_000_000: "1M<n<10M",
}
CREDIT_COLUMNS = ("title", "author", "author_url", "page_url", "license", "license_url", "modified")


@dataclass(frozen=True)
class ExportedImage:
    """One image as it is exported."""

    file: str  # POSIX path in the folder
    captions: tuple[str, ...]  # each one line
    credit: Credit  # with those of its copies
    width: int  # pixels
    height: int  # pixels
    shared: bool  # whether it may be given on
    record: Mapping[str, Any]  # what was decided of it (`formats.exports`)


@dataclass(frozen=True)
class Contents:
    """All that is exported."""

    images: Mapping[str, ExportedImage]  # by key
    balance: Balance
    buckets: Buckets
    publish: bool  # only what may be given on


def write_documents(trainer: Trainer, plan: Plan, contents: Contents) -> dict[str, bytes]:
    """The files beside the images, by name."""
    images = contents.images.values()
    credits = [image.credit for image in images]
    files = {
        "CREDITS.md": credits_markdown(credits),
        "CREDITS.csv": credits_csv(credits),
        LICENCES_NAME: _licences_json(contents),
        "README.md": _readme(trainer, plan, contents),
    }
    if trainer.settings_name:
        text = trainer.settings(plan) if trainer.settings else _metadata(trainer, contents)
        files[trainer.settings_name] = text
    if trainer.name == "hf":
        files["LICENSE.md"] = _licence_text(credits)
    return {name: text.encode("utf-8", "replace") for name, text in files.items()}


def count_licences(credits: Sequence[Credit]) -> list[tuple[str, int]]:
    """Licence -> images that state it, or a copy of them, the most frequent first."""
    every = Counter(one for c in credits for one in {c.license, *(k.license for k in c.copies)})
    return sorted(every.items(), key=lambda pair: (-pair[1], pair[0]))


def _licences_json(contents: Contents) -> str:
    rights = ("key", *CREDIT_COLUMNS[:-1])
    images: dict[str, dict[str, Any]] = {}
    for image in contents.images.values():
        own, *copies = (
            {name: getattr(credit, name) for name in rights}
            for credit in (image.credit, *image.credit.copies)
        )
        facts = {"modified": image.credit.modified, "may_be_shared": image.shared}
        images[image.file] = {**own, **facts, **image.record, "copies": copies}
    counts = dict(count_licences([image.credit for image in contents.images.values()]))
    value = {"licences": counts, "images": images}
    text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False)
    return escape_unseen(text) + "\n"


def _metadata(trainer: Trainer, contents: Contents) -> str:
    """`metadata.jsonl` of an imagefolder: a row an image, its file relative to this one.

    Source: Hugging Face, datasets, "Create an image dataset", ImageFolder.
    """
    lines = []
    for image in contents.images.values():
        row: dict[str, Any] = {
            "file_name": image.file.removeprefix(trainer.place(1)),
            "text": image.captions[0],
            "texts": image.captions,
            "key": image.credit.key,
        }
        row |= {name: getattr(image.credit, name) or "" for name in CREDIT_COLUMNS}
        row |= image.record
        lines.append(escape_unseen(json.dumps(row, ensure_ascii=False)) + "\n")
    return "".join(lines)


def _licence_text(credits: Sequence[Credit]) -> str:
    lines = ["# Licences", "", "Each image is under its own licence: [CREDITS.md](CREDITS.md).", ""]
    lines += [f"- {_licence_link(id)}: {count} images" for id, count in count_licences(credits)]
    return "\n".join(lines) + "\n"


def _licence_link(id: str) -> str:
    return markdown_link(id, licence_url(id) if " " not in id else None)


def _claim(plan: Plan, credits: Sequence[Credit]) -> dict[str, str]:
    """The licence as a hub's front matter states it: the one, or "other" where there are several.

    Source: Hugging Face Hub, "Dataset cards", `license`, `license_name`, `license_link`.
    """
    ids = [id for id, _ in count_licences(credits)]
    name = ids[0].lower() if len(ids) == 1 else "mixed-image-by-image"
    license = name if ids[0] in KNOWN_TO_HUBS and len(ids) == 1 else "other"
    size = next((name for limit, name in HUB_SIZES.items() if len(credits) < limit), "10M<n<100M")
    plain = {"license": license, "name": name, "size": size, "pretty": plan.name}
    return {key: quote(value) for key, value in plain.items()}


def _readme(trainer: Trainer, plan: Plan, contents: Contents) -> str:
    from markupsafe import Markup

    images, balance = contents.images, contents.balance
    credits = [image.credit for image in images.values()]
    there = plan.root if trainer.settings else plan.name  # others may be given on: no path of ours
    facts = {
        **asdict(balance),
        "name": plan.name,
        "trainer": trainer,
        "images": len(images),
        "publish": contents.publish,
        "withheld": sum(not image.shared for image in images.values()),
        "start": Markup(f"    {trainer.start_in(str(there))}"),  # noqa: S704  (a block of code)
        "absolute": trainer.settings is not None,
        "licences": count_licences(credits),
        "licence_link": lambda id: Markup(_licence_link(id)),  # noqa: S704  (escaped there)
        "claim": _claim(plan, credits) if trainer.name == "hf" else None,
        "repeats": list(balance.counts().items()) if trainer.repeats else [],
        "raised": [(word, *map(_share, shares)) for word, shares in balance.raised.items()],
        "resolution": plan.resolution,
        "buckets": list(contents.buckets.counts().items()),
        "too_small": [images[key].file for key in contents.buckets.too_small],
    }
    return render_template("curate.export/readme.md.j2", markdown, **facts)


def _share(share: float) -> str:
    return f"{100 * share:.1f} %"
