"""Lists of `KEY=VALUE` as two opt-out signals write them: what they say of one key.

To allow, a list must be written as its specification says. To refuse, it is enough that one
recognises it: a misspelt refusal is still a refusal.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass

from curate.dataset.sample import Signal

_PAIR = re.compile(r"""([^\s,;="':]+)(?:\s*[=:]\s*("[^"]*"|'[^']*'|[^\s,;"']*))?|"[^"]*"|'[^']*'""")
_NO = frozenset(("n", "no", "?0", "0", "false", "deny", "denied", "disallow", "disallowed"))


@dataclass(frozen=True)
class Vocabulary:
    """How a kind of list names training, and says yes and no."""

    field: str  # name of the header and of the line in robots.txt, in lower case
    key: str  # what stands for training
    yes: str
    no: str
    wider: Collection[str] = ()  # other keys that cover training: a "no" of theirs counts


def read_pairs(text: str, vocabulary: Vocabulary) -> Signal | None:
    """What a list says of training, the most restrictive of it; None where it says nothing.

    The signal is named `FIELD:KEY=VALUE`, or `FIELD:unread` where training is named but what is
    said of it is not understood. Its scope is "item".
    """
    said: set[bool | None] = set()
    for key, value in _PAIR.findall(text):
        plain, answer = key.lower().replace("_", "-"), value.strip("\"'").lower()
        if plain == vocabulary.key or plain in vocabulary.wider:
            if answer in _NO:
                said.add(False)
            elif plain == vocabulary.key:
                exact = key == vocabulary.key and value == vocabulary.yes
                said.add(True if exact else None)
    if not said:
        return None
    name = f"{vocabulary.field}:{vocabulary.key}="
    if False in said:
        return Signal(name + vocabulary.no, False, "item")
    if None in said:
        return Signal(f"{vocabulary.field}:unread", None, "item")
    return Signal(name + vocabulary.yes, True, "item")
