"""What is said of a model that is given on: its model card and its credits, as Markdown.

Everything that comes from elsewhere (titles, names, words) is escaped: every value is, unless it
is marked as Markdown that was made here.
"""

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from curate.rights.licences import licence_url
from curate.system import web_page

MAX_LETTERS = 300  # characters of a title or name that are kept
MARKUP = frozenset("\\`*_[]<>#|&~$!:@{}^=")  # what Markdown, HTML and formulas may be made of
BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def render_card(facts: Mapping[str, Any]) -> str:
    """The model card: front matter as model hubs read it, then what a user should know.

    Args:
        facts: the names in `card.md.j2`, as `train.publish.export` gathers them.
    """
    helpers = {
        "share": _format_share,
        "decibel": _format_decibel,
        "converged": _format_convergence,
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
    lines = [
        f"# Credits of {escape(name)}",
        "",
        f"The {len(credits)} images it was trained on. Each was cropped and resized for that.",
        "",
        "| image | creator | licence | key |",
        "| --- | --- | --- | --- |",
    ]
    for credit in credits:
        license = credit["license"]
        address = (licence_url(license) or credit["license_url"]) if license else None
        cells = (
            markdown_link(credit["title"] or credit["key"], credit["page_url"]),
            markdown_link(credit["creator"] or "unknown", credit["creator_url"]),
            markdown_link(license or "not stated", address),
            escape(credit["key"]),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def escape(text: str) -> str:
    """Text that shows as itself within a line of Markdown: no mark-up, one line, no turned order.

    Characters that reorder what follows, control characters and half characters are left out;
    longer text than `MAX_LETTERS` ends in "…".
    """
    line = " ".join(text.split())
    line = "".join(c for c in line if c not in BIDI and unicodedata.category(c) not in ("Cc", "Cs"))
    if len(line) > MAX_LETTERS:
        line = line[: MAX_LETTERS - 1] + "…"
    line = "".join(f"\\{c}" if c in MARKUP else c for c in line)
    return line.replace("www.", "www\\.")


def markdown_link(text: str, url: str | None) -> Markup:
    """A link in Markdown; the text alone where the address is none of the web."""
    shown = escape(text)
    if not url or not url.startswith(("https://", "http://")):
        return Markup(shown)  # noqa: S704  (escaped above)
    plain = (c.isprintable() and c not in ' <>"\\|`' for c in url)
    parts = (c if ok else quote(c, "", errors="replace") for c, ok in zip(url, plain, strict=True))
    return Markup(f"[{shown}](<{''.join(parts)}>)")  # noqa: S704  (escaped above)


def licence_link(id: str) -> Markup:
    """A licence by its id, with the address of its text where it has one."""
    known = {"none": "not stated", "unknown": "not stated"}
    return markdown_link(known.get(id, id), None if id in known else licence_url(id))


def _join(parts: Iterable[str]) -> Markup:
    return Markup(", ".join(parts))  # noqa: S704  (escaped by the caller)


def _format_share(share: Mapping[str, Any] | None, signed: bool = False) -> str:
    if share is None or share["value"] is None:
        return "-"
    sign = "+" if signed else ""
    value, low, high = (100 * share[name] for name in ("value", "low", "high"))
    return f"{value:{sign}.1f} ({low:{sign}.1f} to {high:{sign}.1f})"


def _format_decibel(convergence: Mapping[str, Any] | None, name: str) -> str:
    return f"{convergence[name]:.1f}" if convergence and convergence.get(name) is not None else "-"


def _format_convergence(convergence: Mapping[str, Any] | None) -> str:
    if convergence is None:
        return "-"
    where = "held-out" if convergence.get("held_out") else "training"
    return f"{'yes' if convergence['converged'] else 'no'}, on {where} images"
