"""A dataset's card and its licences, as hubs and people read them; of exports, too.

Source: Hugging Face Hub, "Dataset cards" and "Manual configuration"; the repository
huggingface/hub-docs, `datasetcard.md`.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from curate.rights.credits import Credit
from curate.rights.licences import KNOWN_TO_HUBS, OWN, kinds_of, licence_url
from curate.system.strangers import markdown, markdown_link
from curate.system.web_page import render_template

# images below which a set is of a size that hubs know, and its name
HUB_SIZES = {
    1_000: "n<1K",
    10_000: "1K<n<10K",
    100_000: "10K<n<100K",
    1_000_000: "100K<n<1M",
    10_000_000: "1M<n<10M",
    100_000_000: "10M<n<100M",
    1_000_000_000: "100M<n<1B",
}
LARGEST_SIZE = "n>1T"
MIXED = "mixed-image-by-image"
# what a kind of licence asks of whoever gives an image on; of several, all
ASKS = {
    "own": "as whoever publishes this says; its images are theirs",
    "cc0": "nothing",
    "public-domain-mark": "nothing",
    "public-domain": "nothing, where the claim is true",
    "no-known-copyright": "nothing that is known",
    "permissive": "credit, and its notices",
    "attribution": "credit, and to say what was changed",
    "share-alike": "credit, and the same licence for what is made of it",
    "copyleft": "the same licence for what is made of it",
    "non-commercial": "credit, and no commercial use",
    "no-derivatives": "credit, and no changed versions",
}


def count_licences(credits: Iterable[Credit]) -> list[tuple[str, int]]:
    """Licence -> images that state it, or a copy of them, the most frequent first."""
    every = Counter(one for credit in credits for one in licences_of(credit))
    return sorted(every.items(), key=lambda pair: (-pair[1], pair[0]))


def licences_of(credit: Credit) -> set[str]:
    """The licences of an image and of its copies."""
    return {credit.license, *(copy.license for copy in credit.copies)}


def front_matter(
    name: str, licences: Sequence[str], images: int, *, link: str, **more: object
) -> str:
    """The head of a card as YAML between its two lines of dashes.

    Args:
        name: of the dataset, for people.
        licences: ids of all images; several are "other", for a hub knows no list that differs by
            image.
        images: how many.
        link: file that says the licences, relative to the card.
        more: further keys in their order.
    """
    import yaml

    one = licences[0].lower() if len(licences) == 1 else MIXED
    known = len(licences) == 1 and licences[0] in KNOWN_TO_HUBS
    said: dict[str, object] = {"license": one if known else "other"}
    if not known:
        said |= {"license_name": one, "license_link": link}
    size = next((size for limit, size in HUB_SIZES.items() if images < limit), LARGEST_SIZE)
    said |= {"task_categories": ["text-to-image"], "size_categories": [size], "pretty_name": name}
    text = yaml.safe_dump(said | more, sort_keys=False, allow_unicode=False, width=1000)
    return f"---\n{text}---\n"


def licence_link(id: str) -> str:
    """A licence by its id, as Markdown, with the address of its text where it has one."""
    return markdown_link(id, licence_url(id) if " " not in id else None)


def licences_markdown(licences: Sequence[tuple[str, int]], credits_link: str) -> str:
    """What says which licences there are, what they ask for, and where their texts stand."""
    lines = [
        "# Licences",
        "",
        f"Each image is under its own licence: [CREDITS.md]({credits_link}).",
        "",
        "| licence | SPDX id | images | asks for | text |",
        "| --- | --- | ---: | --- | --- |",
    ]
    for id, count in licences:
        address = licence_url(id) if " " not in id else None
        text = markdown_link(address, address) if address else "not linked: none is known"
        spdx = "none" if id.startswith("LicenseRef-") or " " in id else markdown(id)
        cells = (licence_link(id), spdx, str(count), _asked(id), text)
        lines.append(f"| {' | '.join(cells)} |")
    if any(id == OWN for id, _ in licences):
        lines += ["", f"{OWN}: images made by whoever publishes this; the terms are theirs to say."]
    return "\n".join(lines) + "\n"


def _asked(id: str) -> str:
    return "; ".join(dict.fromkeys(ASKS.get(kind, "see its text") for kind in kinds_of(id)))


def render_card(front: str, facts: Mapping[str, Any]) -> str:
    """`README.md`: the head, then what a person should know.

    Args:
        front: as `front_matter` gives it.
        facts: the names in `card.md.j2`.
    """
    from markupsafe import Markup

    trusted = {
        "front": Markup(front),  # noqa: S704  (YAML of ours)
        "licence_link": lambda id: Markup(licence_link(id)),  # noqa: S704  (escaped there)
    }
    return render_template("curate.publish/card.md.j2", markdown, **trusted, **facts)
