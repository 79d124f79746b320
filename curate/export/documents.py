"""What goes with exported images: who made them, under which licence, how to train with them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from curate.export.balance import Balance
from curate.export.buckets import Buckets
from curate.export.trainers import Plan, Trainer, escape_unseen
from curate.formats.exports import LICENCES_NAME
from curate.publish.card import count_licences, front_matter, licence_link, licences_markdown
from curate.rights.credits import Credit, credits_csv, credits_markdown
from curate.system.strangers import markdown
from curate.system.web_page import render_template

LICENCE_TEXT_NAME = "LICENSE.md"
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
        files[LICENCE_TEXT_NAME] = licences_markdown(count_licences(credits), "CREDITS.md")
    return {name: text.encode("utf-8", "replace") for name, text in files.items()}


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
        "licence_link": lambda id: Markup(licence_link(id)),  # noqa: S704  (escaped there)
        "front": Markup(_front_matter(plan, credits) if trainer.name == "hf" else ""),  # noqa: S704
        "repeats": list(balance.counts().items()) if trainer.repeats else [],
        "raised": [(word, *map(_share, shares)) for word, shares in balance.raised.items()],
        "resolution": plan.resolution,
        "buckets": list(contents.buckets.counts().items()),
        "too_small": [images[key].file for key in contents.buckets.too_small],
    }
    return render_template("curate.export/readme.md.j2", markdown, **facts)


def _front_matter(plan: Plan, credits: Sequence[Credit]) -> str:
    licences = [id for id, _ in count_licences(credits)]
    return front_matter(plan.name, licences, len(credits), link=LICENCE_TEXT_NAME) + "\n"


def _share(share: float) -> str:
    return f"{100 * share:.1f} %"
