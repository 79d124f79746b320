"""What of a dataset may leave it, image by image: as an image, as an address, or in no form.

An image is given on where its verdict on sharing is `allow`, and that of everything in its group.
Its address alone is offered where nothing but its licence stands in the way, and that undecided:
what is denied, removed, opted out or under terms of its source leaves in no form.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, cast

from curate.dataset.sample import Sample
from curate.formats.copies import group_copies
from curate.formats.exports import public_reasons
from curate.formats.shards import ALLOW, Record
from curate.formats.verdicts import USES
from curate.publish.leaks import is_public_address
from curate.rights.licences import TERMS, is_family, kinds_of
from curate.shards.plan import SHARE_ALIKE

SHARING = "share_dataset"
SHARING_ORDER = ("deny", "hold", "no-verdict", ALLOW)  # strictest first
REMOVED = "removed"
NOT_ADDRESSED = "no-address", "address-not-public"  # why an address that may be told is not
# codes of a verdict on sharing that say no more than which licence it is
_LICENCE_CODES = ("licence", "licence-sa", "licence-nc", "licence-nd", "copy-conflict")
_ADDRESSES = ("image_url", "page_url", "author_url", "license_url")  # in a record or a credit


class Sharing(NamedTuple):
    """What holds of giving on each image, by key."""

    decisions: dict[str, str]  # one of `SHARING_ORDER`: the strictest of it and its group
    unnamed: dict[str, str | None]  # why not even its address is offered; None: it is


def find_sharing(rows: Iterable[Sample]) -> Sharing:
    """What may be given on of each row; whether it may be trained on is asked elsewhere."""
    decisions: dict[str, str] = {}
    unnamed: dict[str, str | None] = {}
    for group in group_copies(rows):
        decision = min(map(_decision_of, group), key=SHARING_ORDER.index)
        shared_reason = _why_nobody_is_told(group, decision)
        for row in group:
            decisions[row.key] = decision
            unnamed[row.key] = shared_reason or _why_not_addressed(row)
    return Sharing(decisions, unnamed)


def _decision_of(row: Sample) -> str:
    """What its row says, and no more than any policy can: see `rights.decide`."""
    if row.drop_reason == REMOVED or row.opt_outs or _terms_of(row):
        return "deny"  # also a relative of what somebody wants out
    said = row.share_dataset.decision if row.share_dataset else "no-verdict"
    return "hold" if said == ALLOW and row.license is None else said


def _why_nobody_is_told(group: Sequence[Sample], decision: str) -> str | None:
    """Why no image of a group is even named, beside what is known of each alone."""
    if any(row.drop_reason == REMOVED for row in group):
        return REMOVED
    if any(_is_opted_out(row) for row in group):
        return "opt-out"
    if name := next(filter(None, map(_terms_of, group)), None):
        return f"terms:{name}"
    if decision in ("deny", "no-verdict"):
        return f"{SHARING}:{decision}"
    for row in group:
        if row.share_dataset and row.share_dataset.decision != ALLOW:
            for code in row.share_dataset.reasons:
                if code.partition(":")[0] not in _LICENCE_CODES:
                    return code.partition(":")[0]
        if row.license is None or is_family(row.license):
            return "licence-unknown"
        if "reserved" in kinds_of(row.license):
            return "licence-reserved"
    return None


def _is_opted_out(row: Sample) -> bool:
    said = (*row.signals, *row.embedded)
    return bool(row.opt_outs) or any(signal.allows is False for signal in said)


def _terms_of(row: Sample) -> str | None:
    """The source whose terms an image is under, which ask for more than a licence does."""
    named = TERMS.get(row.license or "")
    return named or (row.source if row.source in TERMS.values() else None)


def _why_not_addressed(row: Sample) -> str | None:
    if row.image_url is None:
        return NOT_ADDRESSED[0]
    return None if is_public_address(row.image_url) else NOT_ADDRESSED[1]


def share_alike(record: Mapping[str, Any]) -> bool:
    """Whether an image, or a copy of it, asks that what is made of it has the same licence."""
    stated = (record["license"], *(credit["license"] for credit in record.get("credits") or ()))
    return any(SHARE_ALIKE.match(id or "") for id in stated)


def public_record(record: Record) -> Record:
    """The record as it is published: without what is nobody's business, else as it is.

    Left out are codes of verdicts that are somebody's word, and addresses that not everybody may
    ask for.
    """
    found: dict[str, Any] = _public_addresses({**record})
    for use in USES:
        if verdict := found[use]:
            found[use] = {**verdict, "reasons": public_reasons(verdict["reasons"])}
    if "credits" in found:
        found["credits"] = [_public_addresses(credit) for credit in found["credits"]]
    return cast(Record, found)


def _public_addresses(record: Mapping[str, Any]) -> dict[str, Any]:
    hidden = (n for n in _ADDRESSES if record.get(n) and not is_public_address(record[n]))
    return {**record, **dict.fromkeys(hidden)}
