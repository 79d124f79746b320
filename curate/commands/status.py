"""What a dataset holds: rows, drops by reason, verdicts, licences, words, captions, shards."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from curate.dataset.folder import Dataset, command_line
from curate.dataset.manifest import read_history
from curate.dataset.sample import Sample, Verdict, live_samples
from curate.errors import CurateError
from curate.formats.shards import OLDER_VERSION, list_tars, read_index, shard_error
from curate.formats.verdicts import (
    STANDING_FIELDS,
    USES,
    count_stale,
    find_stale,
    find_standings,
    is_indexed,
    stale_error,
    verdicts_of,
)
from curate.rights.policy import read_policy
from curate.shards.pack import reason_not_packed

READS = (*STANDING_FIELDS, "captions", "policy")  # what is counted, or tells what is stale
DECISION_NAMES = ("allow", "hold", "deny", "unchecked")
TOP_WORDS = 20  # words shown


@dataclass(frozen=True)
class Status:
    """Counts of rows; all but `rows` and `dropped` are of the rows in use."""

    rows: int
    live: int  # in use: not dropped
    dropped: Mapping[str, int]  # reason before the colon -> rows
    groups: Mapping[str, int]  # "copies and kin" -> groups, "in them" -> rows
    verdicts: Mapping[str, Mapping[str, int]]  # use -> decision or "unchecked" -> rows
    reasons: Mapping[str, int]  # code that holds or denies training -> rows
    licences: Mapping[str, int]  # id, "unknown" or "unchecked" -> rows
    words: Mapping[str, int]  # most frequent words -> images with a caption that holds them
    distinct_words: int  # function words left out
    captions: Mapping[str, int]  # captions an image, as text -> rows
    shards: Mapping[str, int] | None  # "samples", "shards" and "bytes"; None while there are none
    stale: Mapping[str, int]  # why -> samples in shards that say more than the rows allow now
    notes: tuple[str, ...]  # sentences: what is wrong with the shards, and what mends it

    def as_rows(self) -> list[tuple[str, object]]:
        """Names and values, for a table."""
        rows: list[tuple[str, object]] = [("rows", self.rows), ("in use", self.live)]
        rows += [(f"dropped: {reason}", n) for reason, n in self.dropped.items()]
        rows += [(f"groups: {what}", n) for what, n in self.groups.items() if n]
        for use, counts in self.verdicts.items():
            rows += [(f"{use}: {decision}", n) for decision, n in counts.items() if n]
        rows += [(f"not trained on: {code}", n) for code, n in self.reasons.items()]
        rows += [(f"licence: {id}", n) for id, n in self.licences.items()]
        rows += [(f"with {n} captions", rows_with) for n, rows_with in self.captions.items()]
        rows.append(("distinct words", self.distinct_words))
        rows += [(f"word: {word}", n) for word, n in self.words.items()]
        shards = self.shards or {"samples": 0, "shards": 0, "bytes": 0}
        rows += [(f"in shards: {name}", n) for name, n in shards.items()]
        return [*rows, *((f"in shards, stale: {why}", n) for why, n in self.stale.items())]


def status(dataset: Dataset) -> Status:
    """Count what a dataset holds; nothing is written.

    Raises:
        InputError: there is no dataset.
    """
    samples = dataset.read_rows(*READS)
    used = live_samples(samples)
    words = word_counts(used)
    shards, stale, notes = _shard_state(dataset, samples)
    notes += policy_notes(dataset, samples)
    return Status(
        rows=len(samples),
        live=len(used),
        dropped=_sort_counts(s.drop_reason for s in samples if s.dropped),
        groups={
            "copies and kin": len({s.group for s in used if s.group}),
            "images in use in them": sum(s.group is not None for s in used),
        },
        verdicts=verdict_counts(used),
        reasons=reason_counts(used),
        licences=_sort_counts(s.license or ("unknown" if s.train else "unchecked") for s in used),
        words=dict(list(words.items())[:TOP_WORDS]),
        distinct_words=len(words),
        captions={str(n): c for n, c in sorted(Counter(len(s.captions) for s in used).items())},
        shards=shards,
        stale=stale,
        notes=notes,
    )


def policy_notes(dataset: Dataset, samples: Sequence[Sample]) -> tuple[str, ...]:
    """What to type where the last check's policy says something else by now; else nothing."""
    steps = [e for e in read_history(dataset.manifest) if e["step"] == "check"]
    name = str(steps[-1]["settings"].get("policy")) if steps else ""
    try:
        sha256 = read_policy(name).sha256 if name else None
    except CurateError:  # it lies elsewhere, or is none any more
        return ()
    if sha256 is None or {s.policy for s in samples if s.policy} <= {sha256}:
        return ()
    fix = command_line(dataset.root, "check", "--policy", name)
    return (f"the policy {name} has changed since it decided", f"  fix: {fix}")


def verdict_counts(samples: Sequence[Sample]) -> dict[str, dict[str, int]]:
    """For each use, how many rows have each decision."""
    counts: dict[str, dict[str, int]] = {use: dict.fromkeys(DECISION_NAMES, 0) for use in USES}
    for sample in samples:
        for use in USES:
            verdict: Verdict | None = getattr(sample, use)
            counts[use][verdict.decision if verdict else "unchecked"] += 1
    return counts


def reason_counts(samples: Iterable[Sample]) -> dict[str, int]:
    """The codes that keep rows from training, most frequent first."""
    verdicts = [s.train for s in samples if s.train and s.train.decision != "allow"]
    return _sort_counts(code for verdict in verdicts for code in set(verdict.reasons))


def word_counts(samples: Iterable[Sample]) -> dict[str, int]:
    """Words in lower case -> images whose captions hold them, most frequent first."""
    from curate.text import tokens
    from curate.text.lemmas import is_function_word

    counts: Counter[str] = Counter()
    for sample in samples:
        counts.update({word for caption in sample.captions for word in tokens.words(caption.text)})
    return _sort_counts({w: n for w, n in counts.items() if not is_function_word(w)})


def _sort_counts(items: Iterable[str] | Mapping[str, int]) -> dict[str, int]:
    counts = Counter(items)
    return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))


def _shard_state(
    dataset: Dataset, samples: Sequence[Sample]
) -> tuple[dict[str, int] | None, dict[str, int], tuple[str, ...]]:
    """What is packed, how much of it is stale and why, and sentences on it.

    Where the shards hold all that `curate pack` would take, under the verdicts of now, their digest
    tells; else the record of every packed sample is read.
    """
    folder, errors = dataset.shards, []
    standings = find_standings(map(verdicts_of, samples))
    packable = [s.key for s in samples if not (reason_not_packed(s) or standings[s.key].problem)]
    stale = find_stale(folder, standings, packable)
    errors.append(stale_error(folder, stale))
    totals = None
    if is_indexed(folder):
        index = read_index(folder)
        size = sum(shard.bytes for shard in index.shards)
        totals = {"samples": index.samples, "shards": len(index.shards), "bytes": size}
        if index.version == OLDER_VERSION:
            problem = f"{OLDER_VERSION}: without the credits of copies"
            errors.append(shard_error(folder, problem, folder=folder))
    elif tars := list_tars(folder):
        problem = f"{len(tars)} tars without an index: no set of shards"
        errors.append(shard_error(folder, problem, folder=folder))
    notes = (line for error in errors if error for line in error.lines())
    return totals, count_stale(stale), tuple(notes)
