"""Progress that remembers what it was told."""


class RecordedProgress:
    """Every sentence in `said`; every count, as (what, done, total), in `counts`."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.counts: list[tuple[str, int, int | None]] = []

    def say(self, sentence: str) -> None:
        self.said.append(sentence)

    def count(self, what: str, done: int, total: int | None, **shown: float) -> None:
        self.counts.append((what, done, total))

    def counted(self, what: str) -> int:
        """How much of it was done in all."""
        return sum(done for name, done, total in self.counts if name == what and done == total)


class Killed(Exception):
    """The process died here."""


class KillingProgress(RecordedProgress):
    """Ends the work when a count gets to a point, as a power cut would."""

    def __init__(self, what: str, done: int) -> None:
        super().__init__()
        self.where = what, done

    def count(self, what: str, done: int, total: int | None, **shown: float) -> None:
        if (what, done) == self.where:
            raise Killed
