"""`/ai.txt`: whether a host's files may train, by type or path, as Spawning proposed it.

Written like robots.txt: `Disallow: *.jpg`, `Allow: /open/`. What no line means is not stated.

Source: https://spawning.ai/ai-txt (May 2023); there is no specification beyond examples.
"""

from curate.dataset.sample import Signal
from curate.rights.signals.robots import matches_path, read_robots


def read_ai_txt(text: str, url: str) -> list[Signal]:
    """What an ai.txt says of `url`: the longest line that matches, in any case of letters."""
    lines = read_robots(text)
    found: list[tuple[int, bool]] = []  # length of the pattern, whether it refuses
    for field, value in (*lines.ungrouped, *lines.ours):
        if field in ("allow", "disallow") and value:
            pattern = value.lower() if value[0] in "/*" else f"*{value.lower()}"
            if matches_path(pattern, url.lower()):
                found.append((len(pattern), field == "disallow"))
    if not found:
        return []
    refuses = max(found)[1]
    return [Signal("ai.txt:disallow" if refuses else "ai.txt:allow", not refuses, "site")]
