"""What a fetch does about each image, and the law of a fetch: however often it is cut short."""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from rows import row
from servers import KEY, Answer, Pixabay, Server, image_bytes, run_server

from curate.dataset.folder import Dataset
from curate.dataset.sample import Sample, Statement, Verdict
from curate.fetch.plan import Action, Retry, holds_place, plan
from curate.fetch.run import FetchOptions, fetch_images
from curate.net.connection import NetOptions
from curate.net.failure import FailureKind, is_final, is_passing
from curate.net.guard import Endpoint
from curate.net.tries import Limits
from curate.sources import pixabay, terms
from curate.system.progress import Progress

DROPS = [
    None, "gone:404", "refused:403", "unusable:over 30000000 bytes", "download:503", "busy:429",
    "opt-out:x-robots-tag:noai", "ai-generated", "malformed:url", "not-an-image:GIF",
    "duplicate:test-b", "removed:asked", "of an older version",
]  # fmt: skip
licences = st.sampled_from([None, "CC0 1.0", "CC BY 4.0", "CC BY-NC 4.0"])
said = st.fixed_dictionaries(
    {
        "license_text": licences,
        "license_url": st.sampled_from([None, "https://example.org/l"]),
        "opt_outs": st.sampled_from([(), (), ("api:noAiTraining",), ("api:other",)]),
        "ai_generated": st.none() | st.booleans(),
        "mature": st.none() | st.booleans(),
        "retrieved": st.sampled_from(["2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"]),
    }
)  # fmt: skip
known_rows = st.builds(
    lambda said, dropped, sha256, restated: row(
        "a", **said, dropped=dropped, sha256=sha256, restated=restated,
        train=Verdict("allow", ("of:before",)),
    ),
    said, st.sampled_from(DROPS), st.sampled_from([None, "ab"]),
    st.lists(st.builds(Statement, licences), max_size=2).map(tuple),
)  # fmt: skip
found_rows = st.builds(
    lambda said, dropped: row("a", **said, dropped=dropped),
    said, st.sampled_from([None, None, None, "malformed:url"]),
)  # fmt: skip
retries = st.builds(Retry, st.booleans(), st.booleans())


def statements(sample: Sample) -> set[tuple[str | None, str | None]]:
    """What was ever said of a licence."""
    first = [(sample.license_text, sample.license_url)]
    return {*first, *((s.text, s.url) for s in sample.restated)} - {(None, None)}


@given(st.none() | known_rows, found_rows, retries, st.booleans())
def test_a_plan_is_total_and_loses_nothing_that_was_said(known, found, retry, lost):
    planned = plan(known, found, retry, lost=lost)
    assert planned == plan(known, found, retry, lost=lost)
    row = planned.row
    assert row.key == found.key
    if known is None:
        assert planned.action is Action.DUE
        return
    legible = not str(found.dropped).startswith("malformed")
    assert set(row.opt_outs) >= {*known.opt_outs, *(found.opt_outs if legible else ())}
    assert statements(row) >= statements(known) | (statements(found) if legible else set())
    assert row.mature in (known.mature, found.mature) or row.mature
    if planned.action is Action.MET:
        assert row == known
    if planned.action is Action.DRIFTED:
        assert row != known and row.train is None  # what was decided is open again
        assert plan(row, found, retry, lost=lost).action is Action.MET
    if planned.action is Action.DUE and row.dropped is None:  # it will be asked for
        assert not row.opt_outs and (retry.ai_generated or not row.ai_generated)
        assert known.drop_reason != "removed"


@pytest.mark.parametrize("dropped", DROPS)
@pytest.mark.parametrize("gone", [False, True])
def test_what_is_asked_for_again_is_what_the_table_of_failures_says(dropped, gone):
    known = row("a", dropped=dropped, sha256=None if dropped else "ab")
    due = plan(known, row("a"), Retry(gone=gone)).action is Action.DUE
    malformed = known.drop_reason == "malformed"  # and is so no more
    assert due == (is_passing(known) or malformed or (gone and is_final(known)))
    assert holds_place(known) == (dropped is None or is_passing(known))
    assert plan(replace(known, sha256="ab"), row("a"), lost=True).action is (
        Action.MET if known.drop_reason == "removed" else Action.DUE
    )


def test_a_new_statement_is_kept_beside_the_first_and_opens_the_verdict():
    verdict = Verdict("allow", ("licence:CC-BY-4.0",))
    known = row("a", sha256="ab", license_text="CC BY 4.0", train=verdict)
    later = row("a", license_text="CC BY-NC-ND 4.0", retrieved="2026-02-01", evidence="e")
    drifted = plan(known, later)
    assert drifted.action is Action.DRIFTED and drifted.row.train is None
    assert drifted.row.license_text == "CC BY 4.0"
    assert drifted.row.restated == (Statement("CC BY-NC-ND 4.0", None, "2026-02-01", "e"),)
    again = plan(drifted.row, replace(later, retrieved="2026-03-01"))
    assert again.action is Action.MET
    back = plan(drifted.row, row("a", license_text="CC BY 4.0"))
    assert back.action is Action.MET


# the law of a fetch: over any sequence of server states, kills and limits

COUNT = 8
QUICK = replace(pixabay.SOURCE, requests_per_minute=1_000_000, seconds_between=0.0)
ANSWERS = {"failing": Answer(b"", 503), "gone": Answer(b"", 404), "ai": None, "there": None}


class Killed(BaseException):
    """Struck in the middle of a fetch: nothing of it is cleaned up."""


@dataclass
class KillAfter(Progress):
    """Kills a fetch when so many images are done."""

    images: int

    def count(self, what: str, done: int, total: int | None, **shown: float) -> None:
        """Count down at each image."""
        self.images -= 1
        if self.images < 0:
            raise Killed


def fetch(root: Path, server: Server, states: list[str], limit: int, kill: int | None) -> Dataset:
    """One fetch, of a server in these states, perhaps killed."""
    api = Pixabay(server, count=COUNT)
    for number, state in enumerate(states):
        answer = ANSWERS[state] or Answer(image_bytes(number))
        server.routes[f"/get/{number}_1280.png"] = lambda query, a=answer: a
        api.changes[number] = {"isAiGenerated": state == "ai"}
    options = FetchOptions(net=NetOptions(Endpoint.parse(server.url), Limits(tries=1)))
    data = Dataset(root)
    terms.accept_terms(root, pixabay.SOURCE, "a permission")
    try:
        progress = Progress() if kill is None else KillAfter(kill)
        fetch_images(data, QUICK, "snow", limit=limit, fetch_options=options, progress=progress)
    except Killed:
        assert kill is not None
    return data


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[list[str], int, int | None]]:
    """Fetches one after the other: states of the images, limit, and when it is killed.

    What is there, gone or AI-made stays so; what fails may become anything. Never five fail in a
    row, for then their host is left alone. The limit does not shrink; the last fetch is not killed.
    """
    settled = st.sampled_from(["there", "there", "gone", "ai"])
    last = [draw(settled) for _ in range(COUNT)]
    failing = draw(st.sets(st.integers(0, COUNT - 1), max_size=4))
    last = ["there" if n in failing and s == "ai" else s for n, s in enumerate(last)]
    rest = draw(st.sets(st.sampled_from(sorted(failing)))) if failing else set()  # to the end
    found, limit = [], 1
    for _ in range(draw(st.integers(0, 3))):
        states = ["failing" if n in failing else last[n] for n in range(COUNT)]
        limit = draw(st.integers(limit, COUNT))
        found.append((states, limit, draw(st.none() | st.integers(0, COUNT))))
        failing = {n for n in failing if n in rest or draw(st.booleans())}
    states = ["failing" if n in rest else last[n] for n in range(COUNT)]
    return [*found, (states, draw(st.integers(limit, COUNT)), None)]


@given(histories())
@examples(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_fetch_ends_as_if_it_had_never_been_cut_short(tmp_path_factory, history):
    with pytest.MonkeyPatch.context() as environment, run_server() as server:
        environment.setenv("SOURCE_DATE_EPOCH", "1700000000")
        environment.setenv("PIXABAY_API_KEY", KEY)
        root, keys = tmp_path_factory.mktemp("law"), set()
        for states, limit, kill in history:
            data = fetch(root / "cut", server, states, limit, kill)
            rows = data.read().samples if data.manifest.exists() or data.journal.exists() else []
            assert keys <= {s.key for s in rows}  # none is lost
            keys = {s.key for s in rows}
            for sample in rows:
                reasons = {*FailureKind, "ai-generated"}
                assert (sample.sha256 is None) == (sample.drop_reason in reasons)
        states, limit, _ = history[-1]
        whole = fetch(root / "whole", server, states, limit, None)
        assert data.read().samples == whole.read().samples
        if len({limit for _, limit, _ in history}) == 1:
            assert data.manifest.read_bytes() == whole.manifest.read_bytes()
        asked = len(server.asked)
        fetch(root / "cut", server, states, limit, None)  # typed once more
        assert data.read().samples == whole.read().samples
        images = [path for path in server.paths()[asked:] if path.startswith("/get/")]
        assert images == [f"/get/{s.key[-1]}_1280.png" for s in rows if is_passing(s)]
