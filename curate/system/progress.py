"""How long work tells what it does and how far it is, whoever listens."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


class Progress:
    """Who is told of work that takes long; every function that does such work takes one.

    This one says and shows nothing.
    """

    def say(self, sentence: str) -> None:
        """Hear what a user should know about the work, such as images left out."""

    def count(self, what: str, done: int, total: int | None, **shown: float) -> None:
        """Hear how much is done. The first call begins a count, the one with all done ends it.

        Args:
            what: names the count, such as "drawing"; several may be under way.
            done: so far; less than before begins the count anew.
            total: how much there is; None while nobody knows.
            shown: further figures of the moment, such as loss=0.12.
        """


SILENT = Progress()


class NamedProgress(Progress):
    """Tells another one, and says of what: of work that is done several times over."""

    def __init__(self, name: str, progress: Progress) -> None:
        """The name comes before every sentence and every count."""
        self._name, self._progress = name, progress

    def say(self, sentence: str) -> None:
        """Pass it on."""
        self._progress.say(f"{self._name}: {sentence}")

    def count(self, what: str, done: int, total: int | None, **shown: float) -> None:
        """Pass it on."""
        self._progress.count(f"{self._name}, {what}", done, total, **shown)


def track(items: Iterable[T], total: int | None, what: str, progress: Progress) -> Iterator[T]:
    """The items, each counted when the next one is asked for.

    Should there be more than `total`, it is no longer known how many there are.
    """
    done = 0
    progress.count(what, done, total)
    for done, item in enumerate(items, 1):
        yield item
        if done != total:  # else it may be the last
            progress.count(what, done, None if total is None or done > total else total)
    progress.count(what, done, done)
