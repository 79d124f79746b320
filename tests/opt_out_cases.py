"""Every opt-out signal, allowed, denied, conflicting, malformed and absent; what each must come to.

Each case is a host of its own with one image that its author gave away under CC0.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from speaking_images import DMI, entries, image, mining, packet, sign

ROBOTS, TDMREP, AI_TXT = "/robots.txt", "/.well-known/tdmrep.json", "/ai.txt"
IMAGE = "/i/a.jpg"
NO, YES, UNREAD = False, True, None


@dataclass(frozen=True)
class Case:
    """One signal in one state."""

    signal: str
    state: str
    sent: str  # what the host sends, for people
    says: dict[str, bool | None]  # name of each signal -> whether it allows
    train: str  # what the policy "personal" decides: "allow", "hold", "deny"
    headers: Sequence[tuple[str, str]] = ()  # of the image
    documents: dict[str, str] = field(default_factory=dict)  # path -> text; all others are 404
    image: bytes = field(default_factory=image, repr=False)
    asked: bool = True  # whether the image is asked for
    kept: bool = True  # whether its body is read and kept


def by_header(name: str, rows: dict[str, tuple[str, dict[str, bool | None]]]) -> list[Case]:
    """A header in each state; a refusal ends the answer before its body."""
    cases = []
    for state, (value, says) in rows.items():
        refused = NO in says.values()
        train = "deny" if refused else "hold" if UNREAD in says.values() else "allow"
        headers = [(name, part) for part in value.split("\n")]
        sent = f"{name}: {value}".replace("\n", f" · {name}: ")
        case = Case(name, state, sent, says, train, headers, kept=not refused)
        cases.append(case)
    return cases


def by_document(
    path: str, signal: str, rows: dict[str, tuple[str, dict[str, bool | None]]]
) -> list[Case]:
    """A document of the host in each state."""
    cases = []
    for state, (text, says) in rows.items():
        train = "hold" if {NO, UNREAD} & set(says.values()) else "allow"
        asked = "robots.txt" not in says
        sent = f"{path}: {' ⏎ '.join(text.splitlines())}"
        documents = {path: text}
        cases.append(
            Case(signal, state, sent, says, train, documents=documents, asked=asked, kept=asked)
        )
    return cases


def by_bytes(signal: str, rows: dict[str, tuple[str, bytes, dict[str, bool | None]]]) -> list[Case]:
    """Bytes of the image in each state; they are read only once they have come."""
    cases = []
    for state, (sent, data, says) in rows.items():
        values = set(says.values())
        train = "deny" if NO in values else "hold" if UNREAD in values else "allow"
        cases.append(Case(signal, state, sent, says, train, image=data))
    return cases


def credentials(prefix: str) -> list[Case]:
    """A training-mining assertion in each state."""
    name = f"{prefix}:ai_generative_training"
    uses = {
        "allowed": ({"ai_generative_training": "allowed"}, {f"{name}=allowed": YES}),
        "denied": ({"ai_generative_training": "notAllowed"}, {f"{name}=notAllowed": NO}),
        "constrained": ({"ai_generative_training": "constrained"}, {f"{name}=constrained": NO}),
        "conflicting": (
            {"ai_generative_training": "allowed", "data_mining": "notAllowed"},
            {f"{name}=allowed": YES, f"{prefix}:data_mining=notAllowed": NO},
        ),
        "malformed": ({"ai_generative_training": "perhaps"}, {f"{prefix}:unread": UNREAD}),
        "absent": ({"ai_inference": "notAllowed"}, {}),
    }
    return by_bytes(
        f"{prefix}.training-mining",
        {
            state: (
                ", ".join(f"{k}={v}" for k, v in said.items()),
                sign(entries(prefix, **said)),
                says,
            )
            for state, (said, says) in uses.items()
        },
    )


def all_cases() -> list[Case]:
    """Every signal in every state."""
    star = "User-agent: *\n"
    signed = sign(entries("cawg", ai_training="notAllowed"))
    at = signed.index(b"jumb") + 30
    broken_manifest = signed[:at] + bytes(200) + signed[at + 200 :]
    return [
        *by_header(
            "X-Robots-Tag",
            {
                "allowed (no such word)": ("all", {}),
                "denied": ("noai", {"x-robots-tag:noai": NO}),
                "denied, with a date": (
                    "unavailable_after: Fri, 25 Jun 2027 15:00:00 GMT, noimageai",
                    {"x-robots-tag:noimageai": NO},
                ),
                "conflicting": ("all\nfubuki: noml", {"x-robots-tag:noml": NO}),
                "for another agent": ("otherbot: noai", {}),
                "malformed 1": (
                    "noai; noimageai",
                    {"x-robots-tag:noai": NO, "x-robots-tag:noimageai": NO},
                ),
                "malformed 2": (
                    "noai noimageai",
                    {"x-robots-tag:noai": NO, "x-robots-tag:noimageai": NO},
                ),
                "malformed 3": ("noai;", {"x-robots-tag:noai": NO}),
                "malformed 4": ('"noai"', {"x-robots-tag:noai": NO}),
                "malformed 5": ("no-ai", {"x-robots-tag:noai": NO}),
                "malformed 6": ("noai=1", {"x-robots-tag:noai": NO}),
                "malformed 7": ("fubuki/1.0: noai", {"x-robots-tag:noai": NO}),
                "absent": ("noindex, none", {}),
            },
        ),
        *by_header(
            "TDM-Reservation",
            {
                "allowed": ("0", {"tdm-reservation:0": YES}),
                "denied": ("1", {"tdm-reservation:1": NO}),
                "conflicting": ("0\n1", {"tdm-reservation:0": YES, "tdm-reservation:1": NO}),
                "malformed": ("maybe", {"tdm-reservation:unread": UNREAD}),
                "absent": ("", {}),
            },
        ),
        *by_header(
            "Content-Usage",
            {
                "allowed": ("train-ai=y", {"content-usage:train-ai=y": YES}),
                "denied": ("search=y, train-ai=n", {"content-usage:train-ai=n": NO}),
                "conflicting": ("train-ai=y\ntrain-ai=n", {"content-usage:train-ai=n": NO}),
                "malformed": ("train-ai", {"content-usage:unread": UNREAD}),
                "absent": ("search=n", {}),
            },
        ),
        *by_header(
            "Content-Signal",
            {
                "allowed": ("ai-train=yes", {"content-signal:ai-train=yes": YES}),
                "denied": ("search=yes, ai-train=no", {"content-signal:ai-train=no": NO}),
                "conflicting": ("ai-train=yes, ai-train=no", {"content-signal:ai-train=no": NO}),
                "malformed": ("ai-train=?", {"content-signal:unread": UNREAD}),
                "absent": ("search=no", {}),
            },
        ),
        *by_header(
            "Link",
            {
                "offered (RSL)": (
                    '</l.xml>; rel="license"; type="application/rsl+xml"',
                    {"link:rsl-license": UNREAD},
                ),
                "absent": ("</>; rel=canonical", {}),
            },
        ),
        *by_document(
            ROBOTS,
            "robots.txt",
            {
                "allowed": (f"{star}Allow: /", {}),
                "denied": (f"{star}Disallow: /i/", {"robots.txt": NO}),
                "conflicting": (f"{star}Disallow: /\nAllow: /i/", {}),  # the longer one counts
                "conflicting groups": (
                    f"{star}Allow: /\n\nUser-agent: FUBUKI/1.0\nDisallow: /",
                    {"robots.txt": NO},
                ),
                "malformed": ("<html>no such page", {}),
            },
        ),
        *by_document(
            ROBOTS,
            "Content-Usage in robots.txt",
            {
                "allowed": (
                    f"{star}Content-Usage: / train-ai=n\nContent-Usage: /i/ train-ai=y",
                    {"robots.txt:content-usage:train-ai=y": YES},
                ),
                "denied": (
                    f"{star}Content-Usage: / train-ai=n",
                    {"robots.txt:content-usage:train-ai=n": NO},
                ),
                "conflicting": (
                    f"{star}Content-Usage: / train-ai=y\nContent-Usage: / train-ai=n",
                    {"robots.txt:content-usage:train-ai=n": NO},
                ),
                "malformed": (
                    f"{star}Content-Usage: / train-ai=perhaps",
                    {"robots.txt:content-usage:unread": UNREAD},
                ),
                "absent": (f"{star}Content-Usage: /other/ train-ai=n", {}),
            },
        ),
        *by_document(
            ROBOTS,
            "Content-Signal in robots.txt",
            {
                "allowed": (
                    f"{star}Content-Signal: ai-train=yes",
                    {"robots.txt:content-signal:ai-train=yes": YES},
                ),
                "denied": (
                    f"{star}Content-Signal: search=yes, ai-train=no",
                    {"robots.txt:content-signal:ai-train=no": NO},
                ),
                "conflicting": (
                    f"{star}Content-Signal: ai-train=yes\nContent-Usage: / train-ai=n",
                    {
                        "robots.txt:content-usage:train-ai=n": NO,
                        "robots.txt:content-signal:ai-train=yes": YES,
                    },
                ),
                "malformed": (
                    f"{star}Content-Signal: ai-train",
                    {"robots.txt:content-signal:unread": UNREAD},
                ),
                "absent": (f"{star}Content-Signal: search=yes", {}),
            },
        ),
        *by_document(
            ROBOTS,
            "RSL in robots.txt",
            {
                "offered": (
                    "License: https://a.example/l.xml\nUser-agent: *\nAllow: /",
                    {"robots.txt:rsl-license": UNREAD},
                ),
                "absent": (f"{star}License:", {}),
            },
        ),
        *by_document(
            TDMREP,
            "tdmrep.json",
            {
                "allowed": ('[{"location": "/i/", "tdm-reservation": 0}]', {"tdmrep.json:0": YES}),
                "denied": (
                    '[{"location": "/*.jpg$", "tdm-reservation": 1}]',
                    {"tdmrep.json:1": NO},
                ),
                "conflicting": (
                    '[{"location": "/", "tdm-reservation": 0},'
                    ' {"location": "/i/", "tdm-reservation": 1}]',
                    {"tdmrep.json:0": YES, "tdmrep.json:1": NO},
                ),
                "malformed": (
                    '[{"location": "/", "tdm-reservation": 1},]',
                    {"tdmrep.json:unread": UNREAD},
                ),
                "absent": ('[{"location": "/other/", "tdm-reservation": 1}]', {}),
            },
        ),
        *by_document(
            AI_TXT,
            "ai.txt",
            {
                "allowed": (f"{star}Disallow: /\nAllow: *.jpg", {"ai.txt:allow": YES}),
                "denied": (f"{star}Disallow: *.jpg", {"ai.txt:disallow": NO}),
                "conflicting": (f"{star}Allow: /i/\nDisallow: /i/", {"ai.txt:disallow": NO}),
                "malformed": ("# A page about cats\n> cats, mostly", {}),
                "absent": (f"{star}Disallow: *.mp3", {}),
            },
        ),
        *by_bytes(
            "plus:DataMining",
            {
                "allowed": (
                    "DMI-ALLOWED",
                    image("PNG", mining("ALLOWED")),
                    {"xmp:DMI-ALLOWED": YES},
                ),
                "denied": (
                    "DMI-PROHIBITED-AIMLTRAINING",
                    image("WEBP", mining("PROHIBITED-AIMLTRAINING")),
                    {"xmp:DMI-PROHIBITED-AIMLTRAINING": NO},
                ),
                "conflicting": (
                    "DMI-ALLOWED, and in an element DMI-PROHIBITED",
                    image(
                        "JPEG",
                        packet(
                            f"<plus:DataMining>{DMI}PROHIBITED</plus:DataMining>",
                            f'plus:DataMining="{DMI}ALLOWED"',
                        ),
                    ),
                    {"xmp:DMI-ALLOWED": YES, "xmp:DMI-PROHIBITED": NO},
                ),
                "malformed": (
                    "DMI-PROHIBITED in XML that is cut short",
                    image("JPEG", mining("PROHIBITED")[:-50]),
                    {"xmp:DMI-PROHIBITED": NO},
                ),
                "malformed, no term": (
                    "“ask me”",
                    image("JPEG", packet("<plus:DataMining>ask me</plus:DataMining>")),
                    {"xmp:unread": UNREAD},
                ),
                "absent": ("DMI-UNSPECIFIED", image("JPEG", mining("UNSPECIFIED")), {}),
            },
        ),
        *credentials("cawg"),
        *credentials("c2pa"),
        *by_bytes(
            "C2PA manifest",
            {"malformed": ("a damaged manifest", broken_manifest, {"c2pa:unread": UNREAD})},
        ),
        Case(
            "two signals",
            "conflicting",
            "TDM-Reservation: 0 · /robots.txt: Content-Signal: ai-train=no",
            {"tdm-reservation:0": YES, "robots.txt:content-signal:ai-train=no": NO},
            "hold",
            headers=[("TDM-Reservation", "0")],
            documents={ROBOTS: f"{star}Content-Signal: ai-train=no"},
        ),
        Case(
            "two signals",
            "the later overrides",
            "TDM-Reservation: 0 · /.well-known/tdmrep.json: 1",
            {"tdm-reservation:0": YES},
            "allow",
            headers=[("TDM-Reservation", "0")],
            documents={TDMREP: '[{"location": "/", "tdm-reservation": 1}]'},
        ),
    ]
