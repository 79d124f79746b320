"""A prompt as a caption would say it: without signs, tags, weights and what is to stay out."""

import re
from itertools import pairwise

from curate.prompts.syntax import LineSyntax, blank

ALTERNATIVES = 100  # texts made of one line at most
_ESCAPED = re.compile(r"\\([()\[\]{}<>|:\\])")
_COMMAS = re.compile(r" ?,(?: ?,)+ ?")
_GAPS = re.compile(r" ([,.;!?])")


def plain_texts(line: str, reading: LineSyntax) -> list[str]:
    """What the line asks to be drawn; alternatives such as `{red|blue}` make several texts of it.

    Each text takes one alternative of each bracket, and says one at least that those before it do
    not, until all are said: `{red|blue} fox in {snow|rain|sun}` makes three, not six.
    """
    signs = [*reading.control, *reading.numbers, *reading.signs, *reading.negated]
    if not signs:
        return [" ".join(_ESCAPED.sub(r"\1", line).split())]
    rest = blank(line, signs)
    places = [(0, ()), *reading.alternatives(), (len(line), ())]
    pieces = [(rest[start:end], choice) for (start, choice), (end, _) in pairwise(places)]
    waiting = list(dict.fromkeys(choice for text, choice in pieces if text.strip()))
    found: list[str] = []
    while waiting and len(found) < ALTERNATIVES:
        taken: dict[int, int] = {}  # bracket -> alternative
        for choice in waiting:
            if all(taken.get(bracket, one) == one for bracket, one in choice):
                taken |= choice
        said = {c: all(taken.get(bracket, 0) == one for bracket, one in c) for _, c in pieces}
        waiting = [choice for choice in waiting[1:] if not said[choice]]
        found.append(_tidy("".join(text if said[choice] else " " for text, choice in pieces)))
    return found


def _tidy(text: str) -> str:
    """Without the gaps and commas that signs leave behind."""
    text = _COMMAS.sub(", ", " ".join(_ESCAPED.sub(r"\1", text).split()))
    return _GAPS.sub(r"\1", text).strip(" ,")
