"""The words of a report: what its names mean, and numbers with their nouns."""

MEANINGS = {  # verdict -> one sentence; worst first
    "missing": "No caption names it.",
    "unknown-word": "No caption names it and no dictionary knows it: a name, an invention or a "
    "misspelling. Pictures of your own can teach it.",
    "phrase-missing": "No caption names the words side by side.",
    "thin": "Fewer images than the least that can teach it.",
    "uncaptioned": "Hardly any caption names it, but a search of the pictures finds it: write "
    "better captions.",
    "sense-risk": "Captions name it often, but mean something else by it.",
    "covered-by-derivation": "Too few images name it; with those of a word derived from it, "
    "enough. Accept that once in aliases.toml, or fetch.",
    "covered-by-narrower": "Too few images name it; with those of a narrower word, enough. Accept "
    "that once in aliases.toml, or fetch.",
    "covered-by-synonym": "Too few images name it; with those of a synonym, enough. Accept that "
    "once in aliases.toml, or fetch.",
    "low": "Enough images to begin with, fewer than the target.",
    "phrase-thin": "Few captions name the words side by side.",
    "unseen-binding": "Both words are known, but no caption says the one of the other.",
    "rare-binding": "Fewer than five images say the one of the other.",
    "unseen-pair": "Both words are known, but no image shows them together.",
    "rare-pair": "Fewer than five images show them together.",
    "typo": "Your aliases.toml names it as a misspelling.",
    "covered-by-variant": "Enough images, most under another spelling.",
    "covered": "As many images as the target, or more.",
    "phrase-covered": "Enough images name the words side by side.",
    "seen-binding": "Five images or more say the one of the other.",
    "seen-pair": "Five images or more show them together.",
    "not-visual": "No picture can show it.",
    "meta": "Asks for quality, not for a thing.",
    "negated": "To stay out of the picture.",
    "function-word": "Grammar; nothing to show.",
    "control-token": "An instruction to the program, no word.",
}

KINDS = {
    "word": "word",
    "phrase": "phrase",
    "bind": "word with its adjective",
    "pair": "pair of nouns",
    "token": "control token",
}


def counted(number: int, noun: str) -> str:
    """`1 image`, `1,200 images`."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
