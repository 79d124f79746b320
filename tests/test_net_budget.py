"""How long a host is left alone, and when it is given up for a while; no test here waits."""

import time
from email.utils import formatdate

import pytest
from clocks import Clock
from hypothesis import given
from hypothesis import strategies as st
from recorded_progress import RecordedProgress
from servers import Answer, Server, run_server

from curate.errors import SourceError
from curate.net.api import Service
from curate.net.budget import FAILURES, MAX_WAIT_S, REST_S, Budget, stated_pause
from curate.net.connection import NetOptions, connect
from curate.net.failure import PASSING, Failure, FailureKind, kind_of_status
from curate.net.guard import Endpoint
from curate.net.media import Got, Want
from curate.net.tries import Limits


def make_budget() -> tuple[Budget, Clock, list[str]]:
    clock, progress = Clock(), RecordedProgress()
    return Budget(progress, clock, clock.sleep), clock, progress.said


@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 5), st.floats(0, 9))))
def test_no_host_is_asked_sooner_than_its_gap_allows(requests):
    budget, clock, _ = make_budget()
    allowed: dict[str, float] = {}
    for host, gap, passes in requests:
        clock.now += passes
        with budget.turn(host, gap):
            assert clock.now >= allowed.get(host, 0.0) - 1e-6
            allowed[host] = clock.now + gap


KINDS = st.none() | st.sampled_from(list(FailureKind))


@given(st.lists(st.tuples(KINDS, st.floats(0, 2 * REST_S)), max_size=40))
def test_a_host_rests_after_passing_failures_in_a_row_and_for_no_other_reason(outcomes):
    budget, clock, _ = make_budget()
    in_a_row = 0
    for kind, passes in outcomes:
        clock.now += passes
        if budget.why_resting("a"):
            assert in_a_row >= FAILURES
            continue  # which is answered for without a request
        budget.count("a", kind)
        in_a_row = in_a_row + 1 if kind in PASSING else 0
        assert (budget.why_resting("a") is not None) == (in_a_row >= FAILURES)
        assert budget.why_resting("b") is None


def test_failures_do_not_cut_short_a_rest_that_was_asked_for():
    budget, clock, said = make_budget()
    budget.rest("a", 9999.0, "as asked")
    for _ in range(FAILURES):
        budget.count("a", FailureKind.BUSY)
    clock.now += REST_S + 1
    assert budget.why_resting("a") == "as asked" and said == []


def test_waits_are_read_from_numbers_dates_and_times():
    assert stated_pause({"Retry-After": "7"}) == 7
    assert stated_pause({"Retry-After": " 7 "}) == 7
    assert stated_pause({"Retry-After": "0"}) == 1
    assert stated_pause({}) is None
    assert stated_pause({"X-RateLimit-Reset": "12"}) == 12
    assert stated_pause({"Retry-After": "soon", "X-RateLimit-Reset": "12"}) == 12
    assert 25 < stated_pause({"Retry-After": formatdate(time.time() + 30, usegmt=True)}) < 31
    assert 25 < stated_pause({"X-RateLimit-Reset": str(int(time.time()) + 30)}) < 31
    assert stated_pause({"Retry-After": "9" * 400}) > 1e18


@pytest.mark.parametrize("text", ["soon", "-5", "1.5", "٣", "", "1e9", "Fri, 99 Foo 2026", "\x00"])
def test_a_wait_that_cannot_be_read_is_not_stated(text):
    assert stated_pause({"Retry-After": text}) is None


@given(st.text(max_size=30) | st.from_regex(r"[A-Z][a-z]{2}, [0-9]{1,9} [A-Z][a-z]{2} [0-9: +-]+"))
def test_no_wait_breaks_the_reader(text):
    stated = stated_pause({"Retry-After": text})
    assert stated is None or stated >= 1.0


def test_every_status_means_something():
    for status in range(100, 600):
        kind = kind_of_status(status)
        assert (kind is None) == (status in (200, 203))
        if status >= 500 or status < 400:
            assert kind in (None, FailureKind.BROKEN)


# against a server, with a clock that nobody waits for


class Asking:
    """A server that answers /a.png by what it is told, and a net with a clock of its own."""

    def __init__(self, root, server: Server, **limits: int) -> None:
        self.budget, self.clock, self.said = make_budget()
        self.server, self.answers = server, [Answer(b"png")]
        service = Service(name="test", seconds_between=0.0, requests_per_minute=10**9)
        options = NetOptions(Endpoint.parse(server.url), Limits(**limits), budget=self.budget)
        self.net = connect(service, root, options=options)
        for path in ("/a.png", "/v1"):
            server.routes[path] = lambda query: (
                self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            )

    def get(self, host: str = "museum.test") -> str:
        got = self.opened.media.get(Want(f"https://{host}/a.png"))
        return "got" if isinstance(got, Got) else got.dropped

    def __enter__(self):
        self.opened = self.net.__enter__()
        return self

    def __exit__(self, *failed):
        return self.net.__exit__(*failed)


@pytest.fixture
def asking(tmp_path):
    with run_server() as server, Asking(tmp_path, server) as ready:
        yield ready


def busy(pause: str | None, status: int = 429) -> Answer:
    return Answer(b"", status, {} if pause is None else {"Retry-After": pause})


@pytest.mark.parametrize(
    ("pause", "waited"),
    [
        ("3", 3),
        ("0", 1),
        ("120", 120),
        ("-5", 60),
        ("soon", 60),
        (None, 60),
        ("Fri, 31 Dec 1999 23:59:59 GMT", 1),
    ],
)
def test_a_pause_is_obeyed_and_said(asking, pause, waited):
    asking.answers[:0] = [busy(pause)]
    assert asking.get() == "got"
    assert asking.clock.slept == [waited] and len(asking.server.asked) == 2
    assert asking.said == [f"test: too many requests; waiting {waited} s as asked"]


@pytest.mark.parametrize(
    ("pause", "said"),
    [("121", "121 s"), ("86400", "86400 s"), ("9" * 99, "more than eleven days")],
)
@pytest.mark.parametrize("status", [429, 503])
def test_a_longer_pause_is_said_and_the_host_left_alone(asking, pause, said, status):
    asking.answers = [busy(pause, status)]
    asks = f"busy:museum.test asks us to stay away for {said}"
    assert [asking.get(), asking.get()] == [asks, asks]
    assert len(asking.server.asked) == 1 and asking.clock.slept == []
    asking.answers = [Answer(b"png")]
    assert asking.get("other.test") == "got"  # the others are asked
    asking.clock.now += min(float(pause), 1e12)
    assert float(pause) > 1e12 or asking.get() == "got"


def test_pauses_add_up_until_something_comes(asking):
    """A host cannot hold us for ever, a little less than two minutes at a time."""
    asking.answers = [busy("100")]
    assert asking.get().startswith("busy:museum.test asks us to stay away for 100 s")
    assert asking.clock.slept == [100] and len(asking.server.asked) == 2
    for _ in range(50):
        asking.get()
        asking.clock.now += 1
    assert sum(asking.clock.slept) <= MAX_WAIT_S
    asking.clock.now += 100
    asking.answers = [busy("20"), Answer(b"png"), busy("100"), Answer(b"png")]
    assert [asking.get(), asking.get()] == ["got", "got"]


def test_an_image_that_is_always_too_much_costs_the_others_a_pause_and_no_more(asking):
    """Else one image that a host keeps back for seconds would end the turn of all the others."""
    asking.answers = [busy("4"), busy("4"), busy("4"), Answer(b"png")]
    assert asking.get() == "busy:museum.test asks us to stay away for 4 s"
    assert [asking.get(), asking.get()] == ["got", "got"]
    assert asking.clock.slept == [4, 4, 4] and len(asking.server.asked) == 5


def test_an_api_pauses_as_asked_too(asking):
    asking.answers = [busy("3"), Answer(b"{}")]
    assert asking.opened.api.get_json("https://api.test/v1", {}).body == {}
    assert asking.clock.slept == [3]
    asking.answers = [busy("500")]
    with pytest.raises(SourceError, match="asks us to stay away for 500 s") as caught:
        asking.opened.api.get_json("https://api.test/v1", {"q": "b"})
    assert "after that" in caught.value.fix


def test_a_used_up_allowance_is_waited_for(asking):
    spent = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "9"}
    asking.answers = [Answer(b"png", headers=spent), Answer(b"png")]
    assert [asking.get(), asking.get()] == ["got", "got"]
    assert asking.clock.slept == [pytest.approx(9)]
    assert asking.said == ["museum.test: the allowance is used up; next request in 9 s"]


def test_server_errors_are_tried_again_in_growing_pauses(asking):
    asking.answers = [Answer(b"", 500), Answer(b"", 502), Answer(b"png")]
    assert asking.get() == "got" and asking.clock.slept == [2, 4]
    asking.answers = [Answer(b"", 500)]
    assert asking.get() == "download:the server answered 500"
    assert len(asking.server.asked) == 6


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 418, 451, 204, 304])
def test_what_will_not_pass_is_not_tried_again(asking, status):
    asking.answers = [Answer(b"", status)]
    asking.get()
    assert len(asking.server.asked) == 1


def test_a_host_that_fails_is_left_alone_and_the_others_are_not(tmp_path):
    with run_server() as server, Asking(tmp_path, server, tries=1) as asking:
        asking.answers = [Answer(b"", 500)]
        for _ in range(FAILURES):
            assert asking.get() == "download:the server answered 500"
        resting = "museum.test failed 5 times in a row"
        for _ in range(20):
            assert asking.get() == f"busy:{resting}"
        assert len(server.asked) == FAILURES
        assert asking.said == [f"{resting}; it is left alone for 60 s"]
        documents = asking.opened.sites.documents("https://museum.test/a.png")
        assert isinstance(documents, Failure) and documents.kind is FailureKind.BUSY
        assert asking.get("other.test") == "download:the server answered 500"
        asking.clock.now += REST_S
        assert asking.get() == "download:the server answered 500"
        assert asking.get() == "busy:museum.test failed 6 times in a row"
        asking.clock.now += REST_S
        asking.answers = [Answer(b"png")]
        assert [asking.get(), asking.get()] == ["got", "got"]


def test_dead_links_never_close_a_host(tmp_path):
    with run_server() as server, Asking(tmp_path, server) as asking:
        asking.answers = [Answer(b"", 404)]
        for _ in range(30):
            assert asking.get() == "gone:the server answered 404"
        assert len(server.asked) == 30 and asking.said == []
