"""What a reader has to say besides the images it gives: what is not used, by reason and name."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

NO_CAPTION = "images without caption"  # a reason
MOST_SHOWN = 1_500  # characters of a name, with the command that mends it
MOST_NAMED = 5  # of what is not used for one reason, that are named in a sentence
NOTE_FIELDS = {  # what is kept of notes, and as what
    "left_out": Counter,
    "counted": Counter,
    "named": dict,
    "remarks": list,
    "silent": list,
    "broken": list,
}


@dataclass
class ReadNotes:
    """What a reader has to say besides the images it gives."""

    most: int | None = MOST_NAMED  # names kept of each reason; None: all
    left_out: Counter[str] = field(default_factory=Counter)  # reason -> how many are not used
    counted: Counter[str] = field(default_factory=Counter)  # how it is used -> how often
    named: dict[str, list[str]] = field(default_factory=dict)  # of both -> names of some of them
    remarks: list[str] = field(default_factory=list)  # sentences: what is used, and how
    silent: list[str] = field(default_factory=list)  # sentences: what holds no caption
    broken: list[str] = field(default_factory=list)  # sentences: what cannot be read just now

    def leave_out(self, reason: str, name: str = "", count: int = 1) -> None:
        """Count what is not used, and name it: a file, a row of a file, a member of a tar.

        Args:
            reason: what it is and why it is not used: "captions without an image".
            name: what it is called; "" where it has no name.
            count: how many there are under this name.
        """
        self.left_out[reason] += count
        self._name(reason, name)

    def remark(self, what: str, name: str = "", count: int = 1) -> None:
        """Count what is used in a way that should be said, and name it.

        Args:
            what: how it is used: "texts of several lines, each line a caption".
            name: as in `leave_out`, and so is `count`.
        """
        self.counted[what] += count
        self._name(what, name)

    def _name(self, reason: str, name: str) -> None:
        names = self.named.setdefault(reason, [])
        if name and (self.most is None or len(names) < self.most):
            names.append(name if len(name) <= MOST_SHOWN else f"{name[:MOST_SHOWN]}…")

    def add(self, other: "ReadNotes") -> None:
        """Take over what another reader has to say."""
        self.left_out.update(other.left_out)
        self.counted.update(other.counted)
        for reason, names in other.named.items():
            own = self.named.setdefault(reason, [])
            own += names if self.most is None else names[: max(0, self.most - len(own))]
        self.remarks += other.remarks
        self.silent += other.silent
        self.broken += other.broken

    def sentences(self) -> list[str]:
        """All that is to be said, a sentence each; what is left out by reason, with names."""
        left_out = left_out_sentences(self.left_out, self.named)
        return [*self.use_sentences(), *left_out, *self.broken]

    def use_sentences(self) -> list[str]:
        """What is used, and how, a sentence each, with names."""
        return [*self.remarks, *left_out_sentences(self.counted, self.named)]


def left_out_sentences(
    left_out: Mapping[str, int], named: Mapping[str, Sequence[str]], most: int = MOST_NAMED
) -> list[str]:
    """For each reason a sentence: how many there are, and the names of the first."""
    found = []
    for reason, count in sorted(left_out.items()):
        names = ", ".join(named.get(reason, ())[:most])
        more = count - len(named.get(reason, ())[:most])
        rest = f" and {more:,} more" if names and more > 0 else ""
        found.append(f"{reason} ({count:,}){': ' if names else ''}{names}{rest}")
    return found
