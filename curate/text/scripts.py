"""Characters that are words without blanks around them: emoji, and East Asian script.

Source: Unicode 17, emoji-data.txt (characters that are signs of a text more often than pictures,
such as arrows and check marks, are left out) and the blocks of its East Asian scripts.
"""

import re

_EMOJI_CHARACTERS = (
    "\u231a\u231b\u2328\u23e9-\u23f3\u23f8-\u23fa\u2600-\u2604\u260e\u2614\u2615\u2618\u261d"
    "\u2620\u2622\u2623\u2626\u262a\u262e\u262f\u2638-\u263a\u2640\u2642\u2648-\u2653\u265f\u2660"
    "\u2663\u2665\u2666\u2668\u267b\u267e\u267f\u2692-\u2697\u2699\u269b\u269c\u26a0\u26a1\u26a7"
    "\u26aa\u26ab\u26b0\u26b1\u26bd\u26be\u26c4\u26c5\u26c8\u26ce\u26cf\u26d1\u26d3\u26d4\u26e9"
    "\u26ea\u26f0-\u26f5\u26f7-\u26fa\u26fd\u2702\u2705\u2708-\u270d\u270f\u2712\u271d\u2721\u2728"
    "\u2744\u2763\u2764\u2b1b\u2b1c\u2b50\u2b55\U0001f004\U0001f0cf\U0001f170\U0001f171\U0001f17e"
    "\U0001f17f\U0001f18e\U0001f191-\U0001f19a\U0001f201\U0001f202\U0001f21a\U0001f22f"
    "\U0001f232-\U0001f23a\U0001f250\U0001f251\U0001f300-\U0001f5ff\U0001f600-\U0001f64f"
    "\U0001f680-\U0001f6ff\U0001f7e0-\U0001f7eb\U0001f7f0\U0001f900-\U0001f9ff\U0001fa70-\U0001faff"
)
_SKIN_TONE = "[\U0001f3fb-\U0001f3ff]"
_TAGS = "\U000e0020-\U000e007f"
_EMOJI_UNIT = f"[{_EMOJI_CHARACTERS}](?:{_SKIN_TONE}\ufe0f?|\ufe0f)?[{_TAGS}]*"
EMOJI = (  # one picture as an expression: a flag, a keycap, or characters joined by U+200D
    f"[\U0001f1e6-\U0001f1ff]{{2}}|[0-9#*]\ufe0f?\u20e3|{_EMOJI_UNIT}(?:\u200d{_EMOJI_UNIT})*"
)
EAST_ASIAN = (  # inside a character class
    "\u1100-\u11ff\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3031-\u3035\u3038-\u303c\u3041-\u3096"
    "\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u3105-\u312f\u3131-\u318e\u31a0-\u31bf\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\ua960-\ua97c\uac00-\ud7a3\ud7b0-\ud7fb\uf900-\ufaff\uff66-\uffdc"
    "\U0001aff0-\U0001b2ff\U00020000-\U0003ffff"
)


def is_emoji(form: str) -> bool:
    """Whether a word is one picture."""
    return not form.isascii() and re.fullmatch(EMOJI, form) is not None


def without_skin_tone(form: str) -> str:
    """An emoji in its neutral colour of skin; any other word as it is."""
    if not is_emoji(form):
        return form
    return re.sub(_SKIN_TONE, "", form) or form
