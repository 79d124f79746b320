"""What is asked of an image."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Question:
    """Does an image show something?"""

    text: str  # a word, or a whole prompt
    whole: bool = False  # True: all that this prompt says? False: this word?
