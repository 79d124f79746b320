"""What is said of a model that is given on: its model card and its credits, as Markdown.

Everything that comes from elsewhere (titles, names, words) is escaped: every value is, unless it
is marked as Markdown that was made here.

Whether a model is a work derived from its training images is not settled in law. The rule here for
its licence is the careful one: as if it were. It is a record of what the images' licences ask, not
legal advice.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from curate.rights.licences import KNOWN_TO_HUBS, OWN, is_family, kinds_of, licence_url
from curate.system import strangers, web_page

NONE = Markup("-")  # in a cell
MAX_LETTERS = 300  # characters of a title or name that are kept
FREE = {"cc0", "public-domain-mark", "public-domain"}  # kinds that ask for nothing
LENIENT = {"permissive", "attribution"}  # kinds that ask for credit and notices
KNOWN = {*LENIENT, "share-alike", "copyleft", "non-commercial"}  # kinds that may be passed on


def render_card(facts: Mapping[str, Any]) -> str:
    """The model card: front matter as model hubs read it, then what a user should know.

    Args:
        facts: the names in `card.md.j2`, as `train.publish.export` gathers them.
    """
    helpers = {
        "share": _format_share,
        "decibel": _format_decibel,
        "converged": _format_convergence,
        "high_frequency": _format_high_frequency,
        "licence_link": licence_link,
        "with_counts": lambda words: _join(f"{escape(word)} ({n})" for word, n in words),
        "join": lambda words: _join(map(escape, words)),
    }
    return web_page.render_template("train.publish/card.md.j2", escape, **helpers, **facts)


def render_credits(name: str, credits: Sequence[Mapping[str, str]]) -> str:
    """`CREDITS.md`: a row an image with title, page, creator and licence, in order of keys.

    Args:
        name: of the model.
        credits: of each image, as `train.checkpoints.checkpoint.read_credits` gives them.
    """
    count = sum(not credit.get("copy_of") for credit in credits)
    lines = [
        f"# Credits of {escape(name)}",
        "",
        f"The {count} images it was trained on. Each was cropped and resized for that.",
        "",
        "| image | creator | licence | key |",
        "| --- | --- | --- | --- |",
    ]
    for credit in credits:
        license = credit["license"]
        address = (licence_url(license) or credit["license_url"]) if license else None
        of = credit.get("copy_of")
        claimed = " (as its file states)" if license and "unjudged" in credit else ""
        cells = (
            markdown_link(credit["title"] or credit["key"], credit["page_url"]),
            markdown_link(credit["creator"] or "unknown", credit["creator_url"]),
            markdown_link(license or "not stated", address) + claimed,
            escape(credit["key"]) + (f", the same image as {escape(of)}" if of else ""),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def escape(text: str) -> str:
    """Text that shows as itself within a line of Markdown; more than `MAX_LETTERS` ends in "…"."""
    return strangers.markdown(_shorten(text))


def markdown_link(text: str, url: str | None) -> Markup:
    """A link in Markdown; the text alone where the address is none of the web."""
    return Markup(strangers.markdown_link(_shorten(text), url))  # noqa: S704  (escaped there)


def _shorten(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= MAX_LETTERS else line[: MAX_LETTERS - 1] + "…"


def licence_link(id: str) -> Markup:
    """A licence by its id, with the address of its text where it has one."""
    known = {"none": "not stated", "unknown": "not stated"}
    return markdown_link(known.get(id, id), None if id in known else licence_url(id))


def _join(parts: Iterable[str]) -> Markup:
    return Markup(", ".join(parts))  # noqa: S704  (escaped by the caller)


def _format_share(share: Mapping[str, Any] | None, signed: bool = False) -> str:
    if share is None or share["value"] is None:
        return NONE
    sign = "+" if signed else ""
    value, low, high = (100 * share[name] for name in ("value", "low", "high"))
    return f"{value:{sign}.1f} ({low:{sign}.1f} to {high:{sign}.1f})"


def _format_decibel(convergence: Mapping[str, Any] | None, name: str) -> str:
    return f"{convergence[name]:.1f}" if convergence and convergence.get(name) is not None else NONE


def _format_high_frequency(convergence: Mapping[str, Any] | None) -> str:
    ratio = convergence and convergence.get("high_frequency")
    return NONE if ratio is None else f"{ratio:.2f}"


def _format_convergence(convergence: Mapping[str, Any] | None) -> str:
    if convergence is None:
        return NONE
    where = "held-out" if convergence.get("held_out") else "training"
    return f"{'yes' if convergence['converged'] else 'no'}, on {where} images"


@dataclass(frozen=True)
class Claim:
    """What a model card may say of the model's licence."""

    license: str  # as model hubs write it; "other" where none can be claimed or hubs know none
    name: str | None  # with "other": a licence id in lower case, or "not-stated"
    link: str | None  # with "other": the address of its text
    because: str  # why, in a sentence


def claim_licence(licences: Mapping[str, int], unjudged: int = 0) -> Claim:
    """The licence that the licences of the training images leave for the model.

    Images that ask for nothing (CC0, public domain) decide only where there is nothing else.
    Otherwise the strictest decides, if there is one: attribution under permissive terms, or
    share-alike and non-commercial, whose conditions nobody may take off. Where licences
    contradict each other, are unknown, reserve rights or forbid changes, none is claimed.

    Args:
        licences: licence id ("none" or "unknown" where there is none) -> images.
        unjudged: images among them whose rights no policy judged; with any, none is claimed.
    """
    if unjudged:
        whose = f"{unjudged} images whose rights no policy judged"
        return _none(f"No licence can be claimed for what was made from {whose}.")
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
