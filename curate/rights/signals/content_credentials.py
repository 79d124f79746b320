"""Content Credentials: what a C2PA manifest in an image says of training, and of AI.

Read are the assertions `cawg.training-mining` (CAWG Training and Data Mining Assertion 1.1, 2025)
and `c2pa.training-mining` (C2PA Technical Specification 1.4, 2023), the digital source types of
`c2pa.actions` (C2PA 2.2), and in metadata assertions (`cawg.metadata`, `stds.iptc`) the properties
that are read in XMP; with the library c2pa-python. It asks nobody: no remote manifest, no
certificate status. Whether a signer is trusted is not asked either: whoever signed, said it.
"""

import io
import json
import logging
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from typing import Any

from curate.dataset.sample import Signal
from curate.rights.signals.xmp import IPTC, PLUS, is_made_by_ai, weigh_properties

UNREAD = Signal("c2pa:unread", None, "item")
# what takes training in; `ai_inference` does not. For an allowance the first alone counts
USES = ("ai_generative_training", "ai_training", "data_mining")
_PREFIXES = {"plus": PLUS, "Iptc4xmpExt": IPTC}
OFFLINE = {
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},
    "core": {"allowed_network_hosts": []},
}


def can_read_credentials() -> bool:
    """Whether the extra `opt-outs`, which brings c2pa-python, is installed."""
    return find_spec("c2pa") is not None


def read_credentials(data: bytes, mime: str) -> tuple[list[Signal], bool | None]:
    """What the manifests in an image say of training, and whether they say that AI made it.

    A refusal counts in every manifest, those of its ingredients included, also where a signature
    does not hold; an allowance in the active one alone, and only if that is valid. What cannot be
    read is `c2pa:unread`.
    """
    import c2pa

    logging.getLogger("c2pa").setLevel(logging.CRITICAL)
    try:
        context = c2pa.Context.from_dict(OFFLINE)
        with c2pa.Reader(mime, io.BytesIO(data), context=context) as reader:
            store: Any = json.loads(reader.json())
    except (c2pa.C2paError, ValueError, RecursionError):
        return [UNREAD], None
    return read_manifest_store(store)


def read_manifest_store(store: Mapping[str, Any]) -> tuple[list[Signal], bool | None]:
    """The same of a manifest store, as c2pa-python gives it."""
    valid = store.get("validation_state") in ("Valid", "Trusted")
    signals: dict[Signal, None] = {}
    made: set[bool | None] = set()
    for name, manifest in _entries(store.get("manifests")):
        active = valid and name == store.get("active_manifest")
        for assertion in manifest.get("assertions") or ():
            label, content = str(assertion.get("label")), assertion.get("data")
            if ".training-mining" in label:
                signals |= dict.fromkeys(_read_entries(label, content, active))
            elif label.startswith("c2pa.actions") and isinstance(content, Mapping):
                types = [a.get("digitalSourceType") for a in content.get("actions") or ()]
                made |= {is_made_by_ai(source_type) for source_type in types}
            elif isinstance(content, Mapping):
                said, by_ai = weigh_properties(_metadata(content))
                signals |= dict.fromkeys(s for s in said if active or not s.allows)
                made.add(by_ai)
    return list(signals), True if True in made else False if False in made else None


def _entries(table: object) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, value in table.items() if isinstance(table, Mapping) else ():
        if isinstance(value, Mapping):
            yield str(name), value


def _metadata(content: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """The properties of a metadata assertion, JSON-LD with the prefixes of XMP."""
    for key, value in content.items():
        prefix, _, name = str(key).rpartition(":")
        yield _PREFIXES.get(prefix, prefix), name, value if isinstance(value, str) else ""


def _read_entries(label: str, content: object, active: bool) -> Iterator[Signal]:
    """What one assertion says; `active`: whether an allowance of it counts."""
    prefix = label.partition(".")[0]
    entries = content.get("entries") if isinstance(content, Mapping) else None
    for name, entry in _entries(entries):
        use, said = name.rpartition(".")[2], entry.get("use")
        if use not in USES:
            continue
        if said in ("notAllowed", "constrained"):
            yield Signal(f"{prefix}:{use}={said}", False, "item")
        elif said != "allowed":
            yield Signal(f"{prefix}:unread", None, "item")
        elif use == USES[0] and active:
            yield Signal(f"{prefix}:{use}={said}", True, "item")
    if not isinstance(entries, Mapping):
        yield Signal(f"{prefix}:unread", None, "item")
