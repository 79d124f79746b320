"""What must not stand in anything that is published: keys, private addresses, local paths."""

import ipaddress
import re
from urllib.parse import parse_qsl, urlsplit

_SECRET_PARAMETERS = frozenset(
    "key api_key apikey access_token auth token secret sig signature password awsaccesskeyid "
    "x-amz-signature x-amz-credential x-amz-security-token x-goog-signature".split()
)
_PRIVATE_HOSTS = (".localhost", ".local", ".internal", ".lan", ".home.arpa")
# a path from the root of a machine, not of an address
_LOCAL_PATH = re.compile(
    r"(?<![\w.:/*~-])/(?:home|root|Users|tmp|var|mnt|media|private|work|data)/\w|"
    r"\b[A-Za-z]:\\{1,2}(?:Users|Documents)\b|\bfile://"
)
# Sources: what Hugging Face, AWS, GitHub, OpenAI and Slack say of their tokens; RFC 7468
_SECRET = re.compile(
    r"\bhf_[A-Za-z0-9]{30,}|\bAKIA[0-9A-Z]{16}\b|\bgh[pousr]_[A-Za-z0-9]{30,}|"
    r"\bsk-[A-Za-z0-9_-]{20,}|\bxox[abprs]-[\w-]{10,}|-----BEGIN [A-Z ]*PRIVATE KEY"
)
_ADDRESS = re.compile(r"""https?://[^\s"'<>\\)\]|`]+""")


def find_leak(text: str) -> str | None:
    """What stands in a text that others must not read: "secret", "local-path" or "address"."""
    if _SECRET.search(text):
        return "secret"
    if _LOCAL_PATH.search(text):
        return "local-path"
    every = (address.rstrip(".,;:!?") for address in _ADDRESS.findall(text))
    return None if all(map(is_public_address, every)) else "address"


def is_public_address(url: str) -> bool:
    """Whether anybody may ask for it: on the web, and without a key or a password in it."""
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").rstrip(".")
        names = {name.lower() for name, _ in parse_qsl(parts.query, keep_blank_values=True)}
    except ValueError:
        return False
    if parts.scheme not in ("http", "https") or "@" in parts.netloc or "REDACTED" in url:
        return False
    if names & _SECRET_PARAMETERS or host.endswith(_PRIVATE_HOSTS):
        return False
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
        return "." in host
