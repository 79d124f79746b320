"""Under which licence may a model be given on? What the licences of its images leave open.

Whether a model is a work derived from its training images is not settled in law. The rule here
is the careful one: as if it were. It is a record of what the images' licences ask, not legal
advice.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from curate.rights.licences import KNOWN_TO_HUBS, OWN, is_family, kinds_of, licence_url

FREE = {"cc0", "public-domain-mark", "public-domain"}  # kinds that ask for nothing
LENIENT = {"permissive", "attribution"}  # kinds that ask for credit and notices
KNOWN = {*LENIENT, "share-alike", "copyleft", "non-commercial"}  # kinds that may be passed on


@dataclass(frozen=True)
class Claim:
    """What a model card may say of the model's licence."""

    license: str  # as model hubs write it; "other" where none can be claimed or hubs know none
    name: str | None  # with "other": a licence id in lower case, or "not-stated"
    link: str | None  # with "other": the address of its text
    because: str  # why, in a sentence


def claim_licence(licences: Mapping[str, int]) -> Claim:
    """The licence that the licences of the training images leave for the model.

    Images that ask for nothing (CC0, public domain) decide only where there is nothing else.
    Otherwise the strictest decides, if there is one: attribution under permissive terms, or
    share-alike and non-commercial, whose conditions nobody may take off. Where licences
    contradict each other, are unknown, reserve rights or forbid changes, none is claimed.

    Args:
        licences: licence id ("none" or "unknown" where there is none) -> images.
    """
    if not licences:
        return _none("The licences of the training images are not recorded.")
    asked = {id for id in licences if not set(kinds_of(id)) <= FREE}
    strange = sorted(id for id in asked if not set(kinds_of(id)) <= KNOWN or is_family(id))
    if strange == [OWN]:
        return _none(
            "Images of the publisher's own are among the training images, and nothing is said "
            "about the licence of what was made from them. The publisher may state one here."
        )
    if strange:
        return _none(f"No licence can be claimed for what was made from {_join_names(strange)}.")
    if not asked:
        return _claim_of("CC0-1.0", "Every training image is in the public domain or CC0.")
    strict = sorted(id for id in asked if not set(kinds_of(id)) <= LENIENT)
    credited = sorted(id for id in asked if "attribution" in kinds_of(id))
    strictest = [*strict, *credited[-1:], min(asked)][0]  # of CC-BY, the latest version
    alone, every = len(asked) == 1, _join_names(sorted(asked))
    if len(strict) > 1 or (strict and not alone and "copyleft" in kinds_of(strictest)):
        return _none(f"It is not certain that {every} can be met together.")
    if not strict and not credited and not alone:
        return _none(f"Several licences apply, each to its part: {every}.")
    return _claim_of(strictest, f"{strictest} is the strictest licence of the training images.")


def needs_credit(id: str) -> bool:
    """Whether whoever gives on images of this licence must name their authors."""
    return not set(kinds_of(id)) <= {*FREE, "own"}


def _claim_of(id: str, because: str) -> Claim:
    if id in KNOWN_TO_HUBS:
        return Claim(id.lower(), None, None, because)
    return Claim("other", id.lower(), licence_url(id), because)


def _none(because: str) -> Claim:
    return Claim("other", "not-stated", None, because)


def _join_names(ids: list[str]) -> str:
    return ", ".join("images without a licence" if id == "none" else id for id in ids)
