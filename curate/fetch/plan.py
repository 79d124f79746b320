"""What a fetch decides, without disk or network: what may be used, is due or has changed."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from curate.dataset.folder import is_failed_download
from curate.dataset.sample import Sample, make_key
from curate.sources.base import FoundImage

AI_GENERATED = "ai-generated"
SOURCE_FIELDS = (  # what a source says of an image
    "file_name", "page_url", "author", "author_url", "title", "tags", "language", "texts",
    "license_text", "license_url", "license_by",
)  # fmt: skip
VERDICT_FIELDS = ("license", "license_how", "train", "share_dataset", "share_model", "policy")


def select_results(
    found: Iterable[FoundImage], limit: int, *, allow_ai: bool
) -> Iterator[FoundImage]:
    """What is found, marked where it may not be used, until `limit` images may be."""
    left = limit
    met: set[str] = set()
    for item in found:
        if item.id in met:
            continue  # results move between pages while we read them
        met.add(item.id)
        if item.opt_outs and not item.dropped:
            item = replace(item, dropped=f"opt-out:{item.opt_outs[0].partition(':')[2]}")
        elif item.ai_generated and not allow_ai and not item.dropped:
            item = replace(item, dropped=AI_GENERATED)
        left -= item.dropped is None
        yield item
        if not left:
            return  # before the next page is asked for


def make_row(source: str, item: FoundImage, retrieved: str) -> Sample:
    """The row of an image before its bytes are known."""
    names = (*SOURCE_FIELDS, "image_url", "opt_outs", "ai_generated", "dropped")
    said: dict[str, Any] = {name: getattr(item, name) for name in names}
    return Sample(key=make_key(source, item.id), source=source, retrieved=retrieved, **said)


def is_due(known: Sample, *, lost: bool, allow_ai: bool) -> bool:
    """Whether a known row is tried again.

    It is if its image is lost, failed to come, or was refused as AI-made and now is not.
    """
    return lost or is_failed_download(known) or (known.dropped == AI_GENERATED and allow_ai)


def update_metadata(known: Sample, fresh: Sample) -> Sample:
    """The known row with all that its source now says of the image."""
    return _change(known, **{name: getattr(fresh, name) for name in SOURCE_FIELDS})


def update_signals(known: Sample, fresh: Sample) -> Sample:
    """The known row with what its source has said against training since."""
    return _change(known, opt_outs=tuple(dict.fromkeys(known.opt_outs + fresh.opt_outs)))


def _change(known: Sample, **said: Any) -> Sample:
    """The row with new statements, if any is new; its verdicts are then open again."""
    undecided: dict[str, Any] = dict.fromkeys(VERDICT_FIELDS)
    changed = replace(known, **said)
    return known if changed == known else replace(changed, **undecided)
