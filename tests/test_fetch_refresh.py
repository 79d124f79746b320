"""Asking again about images that are there, of a server that has changed its mind since."""

import json
from dataclasses import replace

import pytest
from recorded_progress import RecordedProgress
from servers import Answer, Server, image_bytes, openverse_page, openverse_result, run_server

from curate import sources
from curate.dataset.folder import Dataset
from curate.dataset.sample import Sample, Statement, drop_samples, identifier_of
from curate.errors import InputError
from curate.fetch import refresh as module
from curate.fetch.refresh import RefreshSummary, refresh
from curate.fetch.run import FetchOptions, fetch_images
from curate.net.connection import NetOptions
from curate.net.guard import Endpoint
from curate.net.site import DOCUMENTS
from curate.net.tries import Limits
from curate.sources import openverse

QUICK = replace(openverse.SOURCE, requests_per_minute=1_000_000, seconds_between=0.0)
DAY = 24 * 3600
COUNT = 5


@pytest.fixture
def server():
    with run_server() as running:
        yield running


@pytest.fixture
def data(tmp_path, server, monkeypatch):
    """A dataset of five images of a catalogue that also answers for each by its id; a day old."""
    monkeypatch.setattr(module, "SOURCES", (sources.folder.SOURCE, QUICK))
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    found = [openverse_result(server, number) for number in range(COUNT)]
    server.routes["/v1/images/"] = lambda query: openverse_page(found)
    for number, result in enumerate(found):
        server.routes[f"/pictures/{number}.png"] = lambda query, n=number: Answer(image_bytes(n))
        serve_record(server, number, result)
    dataset = Dataset(tmp_path / "data")
    assert fetch_images(dataset, QUICK, "snow", fetch_options=FetchOptions(net=net(server))).new
    monkeypatch.setenv("SOURCE_DATE_EPOCH", str(1700000000 + DAY))
    server.asked.clear()
    return dataset


def serve_record(server: Server, number: int, result: dict[str, object] | None) -> None:
    body = json.dumps(result or {"detail": "No Image matches the given query."}).encode()
    path = f"/v1/images/4bc43a04-ef46-4544-a0c1-{number:012}/"
    server.routes[path] = lambda query: Answer(body, 200 if result else 404)


def net(server: Server) -> NetOptions:
    return NetOptions(Endpoint.parse(server.url), Limits(tries=1))


def ask(data: Dataset, server: Server, **more: object) -> RefreshSummary:
    return refresh(data, RecordedProgress(), net(server), **more)


def rows(data: Dataset) -> list[Sample]:
    return data.read().samples


def test_where_nothing_is_new_nothing_is_written_and_a_day_passes(data, server, monkeypatch):
    before = data.manifest.read_bytes()
    done = ask(data, server)
    assert done == RefreshSummary(asked=COUNT, unchanged=COUNT)
    assert data.manifest.read_bytes() == before
    asked = [path for path in server.paths() if path not in DOCUMENTS]
    assert len(asked) == 2 * COUNT  # a record and an image each
    assert ask(data, server) == RefreshSummary(recent=COUNT)
    assert len([path for path in server.paths() if path not in DOCUMENTS]) == 2 * COUNT
    monkeypatch.setenv("SOURCE_DATE_EPOCH", str(1700000000 + 2 * DAY))
    assert ask(data, server).asked == COUNT


def test_a_clock_that_was_once_ahead_puts_nothing_off(data, server, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", str(1700000000 + 1000 * DAY))
    assert ask(data, server).asked == COUNT
    monkeypatch.setenv("SOURCE_DATE_EPOCH", str(1700000000 + 2 * DAY))
    assert ask(data, server).asked == COUNT


def test_what_is_new_is_added_beside_what_was_said_first(data, server):
    serve_record(server, 0, openverse_result(server, 0, license="by-nc", license_url=None))
    serve_record(server, 1, None)
    server.routes["/pictures/2.png"] = lambda query: Answer(b"", 410)
    server.routes["/pictures/3.png"] = lambda query: Answer(
        image_bytes(3), headers={"X-Robots-Tag": "noai", "ETag": '"new"'}
    )
    before = rows(data)
    done = ask(data, server)
    assert done == RefreshSummary(asked=5, unchanged=1, restated=1, opted_out=1, gone=2)
    later, gone, gone_too, opted_out, same = rows(data)
    (statement,) = later.restated
    assert (statement.text, statement.said) == ("CC BY-NC 4.0", "2023-11-15T22:13:20Z")
    assert isinstance(statement, Statement) and statement.evidence and later.license_text
    assert gone.gone == gone_too.gone == "2023-11-15T22:13:20Z"
    assert opted_out.headers == ("X-Robots-Tag: noai",) and same == before[4]
    assert [s.sha256 for s in rows(data)] == [s.sha256 for s in before]
    assert data.read().history[-1]["step"] == "refresh"


def test_what_is_gone_is_asked_about_no_more(data, server, monkeypatch):
    serve_record(server, 1, None)
    server.routes["/pictures/2.png"] = lambda query: Answer(b"", 410)
    assert ask(data, server).gone == 2
    assert "/pictures/1.png" not in server.paths()  # whose source has it no more
    monkeypatch.setenv("SOURCE_DATE_EPOCH", str(1700000000 + 2 * DAY))
    server.asked.clear()
    assert ask(data, server) == RefreshSummary(asked=COUNT, unchanged=COUNT)
    assert not [p for p in server.paths() if p.endswith(("1/", "2/", "1.png", "2.png"))]


def test_an_image_is_asked_for_only_if_it_is_another_now(data, server, monkeypatch):
    """The server says that it is the same, and may say more of it all the same."""
    told = []
    lines = ('ETag: "a"', "Last-Modified: Mon, 02 Nov 2026 10:00:00 GMT")
    with data.lock():
        samples = [replace(s, headers=(*s.headers, *lines)) for s in rows(data)]
        data.record_step(data.read(), "of the test", {}, samples)

    def route(query: dict[str, str]) -> Answer:
        told.append(server.headers[-1])
        return Answer(b"", 304, {"X-Robots-Tag": "noai"} if len(told) == 1 else {})

    for number in range(COUNT):
        server.routes[f"/pictures/{number}.png"] = route
    assert ask(data, server) == RefreshSummary(asked=COUNT, unchanged=COUNT - 1, opted_out=1)
    assert [h["if-none-match"] for h in told] == ['"a"'] * COUNT
    assert {h["if-modified-since"] for h in told} == {"Mon, 02 Nov 2026 10:00:00 GMT"}


def test_a_document_of_a_host_counts_when_its_content_is_new(data, server, monkeypatch):
    ask(data, server)
    assert [len(s.site_evidence) for s in rows(data)] == [len(DOCUMENTS)] * COUNT
    monkeypatch.setenv("SOURCE_DATE_EPOCH", str(1700000000 + 2 * DAY))
    robots = b"User-agent: *\nDisallow: /pictures/\n"
    server.routes["/robots.txt"] = lambda query: Answer(robots)
    server.asked.clear()
    done = ask(data, server)
    assert (done.opted_out, done.unchanged) == (COUNT, 0)
    assert [len(s.site_evidence) for s in rows(data)] == [len(DOCUMENTS) + 1] * COUNT
    assert not [path for path in server.paths() if path.startswith("/pictures/")]


def test_a_document_that_says_nothing_of_training_is_no_opt_out(data, server, monkeypatch):
    server.routes["/ai.txt"] = lambda query: Answer(b"# nothing yet\n")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", str(1700000000 + 2 * DAY))
    path = data.evidence / rows(data)[0].site_evidence[0][:2] / rows(data)[0].site_evidence[0]
    path.unlink()  # a lost answer is no obstacle, and is kept anew
    done = ask(data, server)
    assert (done.asked, done.opted_out, done.unchanged) == (COUNT, 0, 0)
    assert [len(s.site_evidence) for s in rows(data)] == [len(DOCUMENTS) + 2] * COUNT


def test_a_failing_host_costs_nothing_but_the_next_try(data, server):
    before = data.manifest.read_bytes()
    there = server.routes["/pictures/1.png"]
    server.routes["/pictures/1.png"] = lambda query: Answer(b"", 503)
    done = ask(data, server)
    assert (done.asked, done.failed) == (COUNT - 1, 1)
    assert data.manifest.read_bytes() == before
    server.routes["/pictures/1.png"] = there
    assert ask(data, server) == RefreshSummary(asked=1, unchanged=1, recent=COUNT - 1)


def test_a_failing_catalogue_ends_it_and_the_next_time_goes_on(data, server):
    record = "/v1/images/4bc43a04-ef46-4544-a0c1-000000000002/"
    there = server.routes[record]
    server.routes[record] = lambda query: Answer(b"throttled", 429)
    done = ask(data, server)
    assert (done.asked, done.failed) == (2, 3)
    server.routes[record] = there
    assert ask(data, server) == RefreshSummary(asked=3, unchanged=3, recent=2)


def test_a_killed_refresh_repeats_no_request(data, server):
    class Killed(BaseException):
        pass

    class Killing(RecordedProgress):
        def count(self, what, done, total, **shown):
            if done == 3:
                raise Killed

    serve_record(server, 0, openverse_result(server, 0, license="by-nc"))
    with pytest.raises(Killed):
        refresh(data, Killing(), net(server))
    (data.root / "refreshed.json").unlink()  # as a SIGKILL leaves it
    done = ask(data, server)
    assert done.asked == COUNT
    assert len(server.paths()) == len(set(server.paths())) == 2 * COUNT + len(DOCUMENTS)
    assert rows(data)[0].restated


def test_own_images_and_dropped_ones_are_not_asked_about(data, server, tmp_path):
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "a.png").write_bytes(image_bytes(77))
    fetch_images(data, "folder", tmp_path / "own")
    removed, copy = [s.key for s in rows(data) if s.source == "openverse"][:2]
    reasons = {removed: "removed:a wish", copy: "duplicate:another"}
    with data.lock():
        data.record_step(data.read(), "of the test", {}, drop_samples(rows(data), reasons))
    done = ask(data, server)
    assert (done.asked, done.not_asked) == (COUNT - 1, 1)
    assert not [path for path in server.paths() if removed.removeprefix("openverse-") in path]


def test_those_asked_longest_ago_come_first(data, server):
    keys = [s.key for s in rows(data)]
    times = {key: f"2023-11-0{9 - n}T00:00:00Z" for n, key in enumerate(keys) if n != 2}
    (data.root / "refreshed.json").write_text(json.dumps(times))
    assert ask(data, server).asked == COUNT
    asked = [path.split("/")[3] for path in server.paths() if path.startswith("/v1/")]
    assert [f"openverse-{id}" for id in asked] == [keys[n] for n in (2, 4, 3, 1, 0)]


def test_a_folder_without_a_dataset_is_named(tmp_path):
    with pytest.raises(InputError, match="no dataset here"):
        refresh(Dataset(tmp_path / "nothing"))


def test_an_id_is_read_back_from_its_key():
    for id in ("4bc43a04-ef46", "a_b/c é", "_5f"):
        key = sources.base.make_key("openverse", id)
        assert identifier_of(Sample(key=key, source="openverse")) == id
