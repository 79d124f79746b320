"""`curate fetch pixabay` against a server that answers as Pixabay does, and as it should not."""

import gzip
import json
import logging
import time
from dataclasses import replace
from pathlib import Path

import pytest
from clocks import Clock
from recorded_progress import RecordedProgress
from servers import KEY, Answer, Pixabay, Server, image_bytes, run_server

from curate.cli import main
from curate.commands import build
from curate.dataset import manifest
from curate.dataset.folder import Dataset
from curate.dataset.sample import Sample, Verdict
from curate.errors import InputError, LicenceError, SourceError, UsageError
from curate.fetch.run import FetchOptions, FetchSummary, Retry, fetch_images
from curate.net.api import Answer as ApiAnswer
from curate.net.budget import Budget
from curate.net.connection import NetOptions
from curate.net.guard import Endpoint
from curate.net.site import DOCUMENTS
from curate.net.transport import RequestLimits
from curate.net.tries import Limits
from curate.sources import openverse, pixabay, terms
from curate.system import terminal

QUICK = replace(pixabay.SOURCE, requests_per_minute=1_000_000, seconds_between=0.0)
ANSWER = RequestLimits(silence_s=2.0)
IMAGE = replace(Limits().image, silence_s=2.0, total_s=3.0, grace_s=0.2)
LIMITS = Limits(ANSWER, IMAGE, backoff_s=0.01)


@pytest.fixture
def server():
    with run_server() as running:
        yield running


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A dataset folder with the terms accepted, and the key in the environment."""
    monkeypatch.setenv("PIXABAY_API_KEY", KEY)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    terms.accept_terms(tmp_path / "data", pixabay.SOURCE, "a written permission of 2026-01-02")
    return Dataset(tmp_path / "data")


def options_for(server: Server, limits: Limits = LIMITS, ask=None, budget=None) -> FetchOptions:
    return FetchOptions(ask, NetOptions(Endpoint.parse(server.url), limits, budget=budget))


def asked_paths(server: Server) -> list[str]:
    """What was asked for, beside the documents of the host, which are asked for once a day."""
    return [path for path in server.paths() if path not in DOCUMENTS]


def run(
    data: Dataset, server: Server, *, source=QUICK, limits=LIMITS, clock=None, **more
) -> FetchSummary:
    progress = RecordedProgress()
    progress.said = more.pop("said", [])
    budget = clock and Budget(progress, clock, clock.sleep)
    chosen = options_for(server, limits, budget=budget)
    return fetch_images(data, source, "blizzard", fetch_options=chosen, progress=progress, **more)


def rows(data: Dataset) -> dict[str, Sample]:
    return {s.key: s for s in data.read().samples}


def test_takes_every_picture_with_what_is_said_of_it(data, server):
    Pixabay(server, count=3)
    done = run(data, server)
    assert (done.new, done.rows, done.failed) == (3, 3, 0)
    row = rows(data)["pixabay-1001"]
    assert data.store.get(row.sha256) == image_bytes(1)
    assert row.author == "Anna" and row.author_url == "https://pixabay.com/users/Anna-42/"
    assert row.tags == ("blizzard", "snow", "4k wallpaper") and row.language == "en"
    assert row.license_text == "Pixabay Content License" and row.license_by == "source"
    assert row.query == "blizzard" and row.basis == "a written permission of 2026-01-02"
    assert row.retrieved == "2023-11-14T22:13:20Z" and row.format == "PNG"
    _, _, asked = server.asked[0]
    assert asked["safesearch"] == "true" and asked["q"] == "blizzard"
    assert server.headers[0]["accept-encoding"] == "identity"
    assert server.headers[0]["user-agent"].startswith("fubuki/")


def test_the_evidence_is_the_answer_without_the_key(data, server):
    Pixabay(server, count=1)
    run(data, server)
    row = rows(data)["pixabay-1000"]
    path = data.evidence / row.evidence[:2] / row.evidence
    record = json.loads(path.read_text())
    assert record["url"].startswith(f"{server.url}/api/?") and "key=REDACTED" in record["url"]
    assert json.loads(record["body"])["hits"][0]["id"] == 1000
    assert record["status"] == 200 and record["retrieved"] == "2023-11-14T22:13:20Z"


def test_a_second_fetch_asks_nothing_and_changes_nothing(data, server):
    Pixabay(server, count=3)
    run(data, server)
    before, asked = data.manifest.read_bytes(), len(server.asked)
    done = run(data, server)
    assert (done.new, done.known) == (0, 3)
    assert len(server.asked) == asked
    assert data.manifest.read_bytes() == before


def test_answers_older_than_a_day_are_asked_for_again(data, server, monkeypatch):
    Pixabay(server, count=1)
    run(data, server)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", str(1700000000 + 24 * 3600 - 1))
    run(data, server)
    assert server.paths().count("/api/") == 1
    monkeypatch.setenv("SOURCE_DATE_EPOCH", str(1700000000 + 24 * 3600))
    run(data, server)
    assert server.paths().count("/api/") == 2


def test_a_damaged_answer_is_asked_for_again(data, server):
    Pixabay(server, count=1)
    run(data, server)
    row = rows(data)["pixabay-1000"]
    (data.evidence / row.evidence[:2] / row.evidence).write_text("{}")
    run(data, server)
    assert server.paths().count("/api/") == 2


def test_no_hits_is_an_empty_dataset(data, server):
    Pixabay(server, count=0)
    said: list[str] = []
    done = run(data, server, said=said)
    assert said == ["pixabay: nothing found for 'blizzard'"]
    assert (done.new, done.rows) == (0, 0)
    assert manifest.read_manifest(data.manifest).samples == []


def test_reads_page_after_page_to_the_last(data, server, monkeypatch):
    monkeypatch.setattr(pixabay, "PAGE_SIZE", 3)
    Pixabay(server, count=7)
    assert run(data, server).new == 7
    pages = [query["page"] for _, path, query in server.asked if path == "/api/"]
    assert pages == ["1", "2", "3"]


def test_a_page_out_of_range_is_the_end(data, server, monkeypatch):
    monkeypatch.setattr(pixabay, "PAGE_SIZE", 3)
    api = Pixabay(server, count=3)

    def grown(query):  # claims more than it has, as the real one does between two pages
        answer = api.search(query)
        if answer.status != 200:
            return answer
        return replace(
            answer, body=json.dumps({**json.loads(answer.body), "totalHits": 9}).encode()
        )

    server.routes["/api/"] = grown
    assert run(data, server).new == 3
    assert server.paths().count("/api/") == 2


def test_limit_counts_pictures_from_the_top(data, server):
    Pixabay(server, count=6, changes={0: {"noAiTraining": True}})
    done = run(data, server, limit=2)
    assert done.new == 2 and done.refused == {"opt-out": 1}
    assert set(rows(data)) == {"pixabay-1000", "pixabay-1001", "pixabay-1002"}
    assert run(data, server, limit=2).new == 0
    assert run(data, server, limit=4).new == 2


def test_a_bad_key_is_said_without_the_key(data, server, monkeypatch):
    monkeypatch.setenv("PIXABAY_API_KEY", "wrong-key-canary1")
    Pixabay(server)
    with pytest.raises(SourceError, match="does not accept the key") as caught:
        run(data, server)
    assert "wrong-key-canary1" not in str(caught.value)
    assert "curate fetch openverse" in caught.value.fix


def test_a_missing_key_says_where_to_get_one(data, server, monkeypatch):
    monkeypatch.delenv("PIXABAY_API_KEY")
    with pytest.raises(UsageError, match="PIXABAY_API_KEY is not set: keys are given at") as caught:
        run(data, server)
    assert caught.value.fixes[0] == "export PIXABAY_API_KEY=KEY"
    assert f"curate fetch openverse --query blizzard --data {data.root}" in caught.value.fix
    assert server.asked == []


def test_a_key_that_encoders_would_change_is_refused(data, server, monkeypatch):
    monkeypatch.setenv("PIXABAY_API_KEY", "a/b c&d=e%20")
    with pytest.raises(UsageError, match="does not look like a key"):
        run(data, server)


def test_too_many_requests_waits_as_asked_and_says_so(data, server):
    api, said, clock = Pixabay(server, count=1), [], Clock()
    spent = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1"}
    busy = iter([Answer(b"slow down", 429, spent)])
    server.routes["/api/"] = lambda query: next(busy, None) or api.search(query)
    assert run(data, server, said=said, clock=clock).new == 1
    assert server.paths().count("/api/") == 2 and clock.slept[0] == 1.0
    assert said == ["pixabay: too many requests; waiting 1 s as asked"]


def test_a_pause_longer_than_two_minutes_ends_the_fetch(data, server):
    Pixabay(server)
    server.routes["/api/"] = lambda query: Answer(b"", 429, {"Retry-After": "100000"})
    with pytest.raises(SourceError, match="asks us to stay away for 100000 s"):
        run(data, server)
    assert len(server.asked) == 1


def test_a_used_up_allowance_is_waited_for(data, server):
    api, said, clock = Pixabay(server, count=1), [], Clock()
    spent = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1"}
    server.routes["/api/"] = lambda query: replace(api.search(query), headers=spent)
    run(data, server, said=said, clock=clock)
    assert clock.slept[0] == 1.0
    assert said == ["127.0.0.1: the allowance is used up; next request in 1 s"]


def test_requests_keep_their_distance(data, server):
    clock = Clock()
    Pixabay(server, count=4)
    run(data, server, source=replace(QUICK, seconds_between=1.5), clock=clock)
    assert clock.slept == [1.5] * 7 and len(server.asked) == 5 + len(DOCUMENTS)


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b'{"totalHits": 5, "hits": [', 'not JSON: {"totalHits": 5'),
        (b"<html>busy</html>", "not JSON: <html>busy</html>"),
        (b"[]", "JSON that is no object"),
        (b"\xff\xfe", "not UTF-8"),
        (b"[" * 100_000, "not JSON"),
    ],
)
def test_broken_json_is_a_sentence(data, server, body, problem):
    server.routes["/api/"] = lambda query: Answer(body)
    with pytest.raises(SourceError, match=r"^pixabay: answered") as caught:
        run(data, server)
    assert problem in caught.value.problem
    assert list(data.evidence.glob("*")) == []


@pytest.mark.parametrize("name", ["id", "pageURL", "largeImageURL", "user", "user_id"])
@pytest.mark.parametrize("value", [None, [], {"a": 1}, True, ""])
def test_a_record_without_a_field_is_a_row_and_the_fetch_goes_on(data, server, name, value):
    api = Pixabay(server, count=3, changes={1: {name: value}})
    for new, known in ((2, 0), (0, 2)):
        done = run(data, server)
        assert (done.new, done.known) == (new, known)
    assert done.left_out == {"malformed": 1}
    (odd,) = (row for row in rows(data).values() if row.dropped)
    assert odd.dropped == f"malformed:{name}" and odd.license_text is None and odd.evidence
    assert odd.key == "pixabay-1001" or (name == "id" and odd.key.startswith("pixabay-malformed-"))
    del api.changes[1]
    data.evidence.joinpath("latest").rename(data.root / "asked-again")
    assert run(data, server).new == 1
    assert rows(data)["pixabay-1001"].dropped is None


def test_a_page_of_malformed_records_ends_the_fetch_and_what_came_is_kept(
    data, server, monkeypatch
):
    monkeypatch.setattr(pixabay, "PAGE_SIZE", 3)
    Pixabay(server, count=6, changes={n: {"largeImageURL": None} for n in (3, 4, 5)})
    for _ in range(2):
        with pytest.raises(SourceError, match="lacks the field 'largeImageURL'"):
            run(data, server)
        assert [s.key for s in manifest.read_manifest(data.manifest).samples] == [
            "pixabay-1000", "pixabay-1001", "pixabay-1002",
        ]  # fmt: skip


@pytest.mark.parametrize("body", [b"{}", b'{"hits": 3}', b'{"hits": []}'])
def test_an_answer_of_another_shape_names_the_field(data, server, body):
    server.routes["/api/"] = lambda query: Answer(body)
    with pytest.raises(SourceError, match=r"lacks the field '(hits|totalHits)'"):
        run(data, server)
    assert not data.manifest.exists()


@pytest.mark.parametrize(("hit", "field"), [("3", "user"), ("null", "user"), ('{"id": 1}', "user")])
def test_a_page_of_one_record_that_is_none_names_the_field(data, server, hit, field):
    server.routes["/api/"] = lambda query: Answer(b'{"totalHits": 1, "hits": [%s]}' % hit.encode())
    with pytest.raises(SourceError, match=f"lacks the field '{field}'"):
        run(data, server)


def test_a_server_error_is_tried_again_then_told(data, server):
    api = Pixabay(server, count=1)
    down = iter([Answer(b"oops", 500), Answer(b"oops", 503)])
    server.routes["/api/"] = lambda query: next(down, None) or api.search(query)
    assert run(data, server).new == 1
    server.routes["/api/"] = lambda query: Answer(b"<b>out\nof order</b>", 500)
    with pytest.raises(SourceError, match="pixabay: answered 500: <b>out of order</b>"):
        run(data, server, options={"order": "latest"})
    assert server.paths().count("/api/") == 3 + 3


@pytest.mark.parametrize(
    ("status", "dropped"), [(404, "gone"), (410, "gone"), (403, "refused"), (451, "refused")]
)
def test_a_vanished_picture_is_asked_for_again_only_when_told(data, server, status, dropped):
    Pixabay(server, count=3)
    there = server.routes["/get/1_1280.png"]
    server.routes["/get/1_1280.png"] = lambda query: Answer(b"", status)
    said: list[str] = []
    done = run(data, server, said=said)
    assert (done.new, done.failed, done.failures) == (2, 0, {dropped: 1})
    assert rows(data)["pixabay-1001"].dropped == f"{dropped}:the server answered {status}"
    last = "pixabay: 1 images are not to be had; --retry gone asks for them again"
    first = f"pixabay-1001: the server answered {status}; --retry gone tries again"
    assert said == [first, last]
    server.routes["/get/1_1280.png"] = there
    said.clear()
    done, before = run(data, server, said=said), data.manifest.read_bytes()
    assert (done.new, done.known, done.left_out) == (0, 2, {dropped: 1}) and said == [last]
    assert run(data, server, retry=Retry(gone=True)).new == 1
    assert rows(data)["pixabay-1001"].dropped is None
    assert data.manifest.read_bytes() != before


def test_a_picture_that_failed_for_now_is_tried_again(data, server):
    Pixabay(server, count=3)
    there = server.routes["/get/1_1280.png"]
    server.routes["/get/1_1280.png"] = lambda query: Answer(b"", 503)
    said: list[str] = []
    done = run(data, server, said=said)
    assert (done.new, done.failed, done.failures) == (2, 1, {"download": 1})
    assert said == [
        "pixabay-1001: the server answered 503; the next fetch tries again",
        "pixabay: 1 images did not come for now; the same command tries them again",
    ]
    before = data.manifest.read_bytes()
    assert run(data, server).exit_code() == 4
    assert data.manifest.read_bytes() == before
    server.routes["/get/1_1280.png"] = there
    done = run(data, server)
    assert (done.new, done.known, done.exit_code()) == (1, 2, 0)


@pytest.mark.parametrize(
    ("answer", "dropped"),
    [
        (Answer(b"x" * 400, drip=0.02), "download:too slow (under 4096 bytes a second)"),
        (Answer(b"<html>gone</html>"), "unusable:a text instead of an image"),
        (Answer(b""), "unusable:a text instead of an image"),
        (Answer(image_bytes(1, kind="GIF")), "not-an-image:GIF"),
        (
            Answer(image_bytes(1)[:-9], promised=999),
            "download:the connection broke",
        ),
        (Answer(b"", promised=50_000_000), "unusable:over 30000000 bytes"),
        (Answer(b"", 302, {"Location": "http://10.0.0.1/a.png"}), "refused:10.0.0.1 is not"),
        (Answer(b"", 302, {"Location": "https://10.0.0.1/a.png"}), "refused:10.0.0.1 is not"),
        (Answer(b"", 302, {"Location": "https://example.org/a.png"}), "refused:example.org is not"),
        (Answer(b"", 302, {"Location": "file:///etc/passwd"}), "refused:not a usable"),
        (Answer(b"", 302, {"Location": "/get/0_1280.png"}), "refused:more than 5"),
        (
            Answer(image_bytes(1), headers={"X-Robots-Tag": "unavailable_after: 1 Jan 2031, noai"}),
            "opt-out:x-robots-tag:noai",
        ),
    ],
)
def test_a_picture_that_is_none_costs_one_row(data, server, answer, dropped):
    Pixabay(server, count=2)
    server.routes["/get/0_1280.png"] = lambda query: answer
    done = run(data, server)
    assert done.new == 1
    assert rows(data)["pixabay-1000"].dropped.startswith(dropped)


def test_an_opted_out_picture_is_not_stored(data, server):
    Pixabay(server, count=1)
    server.routes["/get/0_1280.png"] = lambda query: Answer(
        image_bytes(0), headers={"X-Robots-Tag": "noimageai"}
    )
    run(data, server)
    row = rows(data)["pixabay-1000"]
    assert row.dropped == "opt-out:x-robots-tag:noimageai" and row.sha256 is None
    assert row.headers == ("X-Robots-Tag: noimageai",)
    assert not data.store.root.exists()


def test_no_ai_training_is_never_downloaded_and_ai_made_only_if_allowed(data, server):
    Pixabay(server, count=3, changes={0: {"noAiTraining": True}, 1: {"isAiGenerated": True}})
    run(data, server)
    found = rows(data)
    assert found["pixabay-1000"].dropped == "opt-out:noAiTraining"
    assert found["pixabay-1000"].opt_outs == ("api:noAiTraining",)
    assert found["pixabay-1001"].dropped == "ai-generated"
    assert asked_paths(server) == ["/api/", "/get/2_1280.png"]
    assert run(data, server, retry=Retry(ai_generated=True)).new == 1
    assert rows(data)["pixabay-1001"].ai_generated is True
    assert "/get/0_1280.png" not in server.paths()


def test_a_lost_picture_is_fetched_again_and_keeps_its_row(data, server):
    Pixabay(server, count=3)
    run(data, server)
    build.check_dataset(data)
    before, row = data.manifest.read_bytes(), rows(data)["pixabay-1001"]
    data.store.path_of(row.sha256).unlink()
    done = run(data, server)
    assert (done.new, done.known) == (0, 3)
    assert data.store.get(row.sha256) == image_bytes(1)
    assert data.manifest.read_bytes() == before
    assert server.paths().count("/get/0_1280.png") == 1


def test_a_later_opt_out_takes_a_known_picture_out(data, server, monkeypatch):
    api = Pixabay(server, count=2)
    run(data, server)
    build.check_dataset(data)
    assert all(s.may_train for s in data.read().samples)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", str(1700000000 + 25 * 3600))  # the answer is stale
    api.changes[1] = {"noAiTraining": True}
    for said, updated in ((["pixabay-1001: its source now says api:noAiTraining; "], 1), ([], 0)):
        heard: list[str] = []
        assert run(data, server, said=heard).updated == updated
        assert [line.partition("curate build")[0] for line in heard] == said
    assert rows(data)["pixabay-1001"].train is None
    build.check_dataset(data)
    verdict = rows(data)["pixabay-1001"].train
    assert verdict == Verdict("deny", ("opt-out:api:noAiTraining",))
    assert rows(data)["pixabay-1000"].may_train


def test_a_compression_bomb_is_refused_unread(data, server):
    bomb = gzip.compress(bytes(50_000_000))
    Pixabay(server, count=2)
    server.routes["/get/0_1280.png"] = lambda query: Answer(
        bomb, headers={"Content-Encoding": "gzip"}
    )
    run(data, server)
    assert rows(data)["pixabay-1000"].dropped == "unusable:compressed answer refused (gzip)"
    server.routes["/api/"] = lambda query: Answer(bomb, headers={"Content-Encoding": "gzip"})
    with pytest.raises(SourceError, match=r"gave no answer: compressed answer refused \(gzip\)"):
        run(data, server, options={"order": "latest"})


def test_a_dripping_answer_meets_the_deadline(data, server):
    server.routes["/api/"] = lambda query: Answer(b'{"a": "' + b"x" * 500, drip=0.02)
    started = time.monotonic()
    with pytest.raises(SourceError, match=r"gave no answer: not finished after 0\.4 s"):
        run(data, server, limits=replace(LIMITS, answer=replace(ANSWER, total_s=0.4)))
    assert time.monotonic() - started < 2


def test_a_silent_server_is_left(data, server):
    Pixabay(server, count=1, delay=1.0)
    run(data, server, limits=replace(LIMITS, image=replace(IMAGE, silence_s=0.1)))
    assert rows(data)["pixabay-1000"].dropped == "download:no byte for 0.1 s"


def test_dead_links_do_not_keep_from_those_that_are_there(data, server):
    Pixabay(server, count=40)
    for number in (*range(10), *range(19, 40, 10)):
        del server.routes[f"/get/{number}_1280.png"]
    done = run(data, server, limit=20)
    assert (done.new, done.failures) == (20, {"gone": 12})
    for _ in range(2):
        asked = len(server.asked)
        done = run(data, server, limit=20)
        assert (done.new, done.known, done.left_out) == (0, 20, {"gone": 12})
        assert len(server.asked) == asked
    assert run(data, server, limit=200).new == 7


def test_what_failed_has_its_turn_also_where_a_later_page_fails(data, server, monkeypatch):
    monkeypatch.setattr(pixabay, "PAGE_SIZE", 3)
    api = Pixabay(server, count=6)
    there = server.routes["/get/1_1280.png"]
    server.routes["/get/1_1280.png"] = lambda query: Answer(b"", 503)
    server.routes["/api/"] = lambda query: (
        api.search(query) if query["page"] == "1" else Answer(b"out of order", 403)
    )
    said: list[str] = []
    for new, kept in ((2, "new 2"), (1, "new 1, updated 0, known 2")):
        with pytest.raises(SourceError, match="answered 403: out of order"):
            run(data, server, said=said)
        assert f"pixabay: kept so far: {kept}" in said[-1]
        assert sum(s.sha256 is not None for s in rows(data).values()) == 1 + 2 - (new == 2)
        assert not data.journal.exists()
        server.routes["/get/1_1280.png"] = there


def test_a_host_that_fails_is_left_alone_and_has_its_turn_the_next_time(data, server):
    """Those that were not asked for come first, so that the same ones cannot fail for ever."""
    Pixabay(server, count=12)
    for number in range(6):
        server.routes[f"/get/{number}_1280.png"] = lambda query: Answer(b"", 500)
    said: list[str] = []
    once = replace(LIMITS, tries=1)
    done = run(data, server, said=said, limits=once)
    assert (done.new, done.failed, done.exit_code()) == (0, 12, 4)
    assert done.failures == {"download": 5, "busy": 7}
    left = "pixabay: 12 images did not come for now, 7 of them for their host is left alone for a"
    assert any(line.startswith(left) for line in said)
    done = run(data, server, limits=once)
    assert (done.new, done.failed, done.exit_code()) == (6, 6, 0)
    assert run(data, server, limits=once).failures == {"download": 5, "busy": 1}


def test_terms_are_shown_and_asked_for_where_someone_is_there(tmp_path, server, monkeypatch):
    monkeypatch.setenv("PIXABAY_API_KEY", KEY)
    Pixabay(server, count=1)
    data, asked = Dataset(tmp_path), []

    def ask(source):
        asked.append(source.name)
        return "own studio's account"

    chosen = options_for(server, ask=ask)
    assert fetch_images(data, QUICK, "blizzard", fetch_options=chosen).new == 1
    assert fetch_images(data, QUICK, "blizzard", fetch_options=chosen).known == 1
    assert asked == ["pixabay"]
    assert rows(data)["pixabay-1000"].basis == "own studio's account"
    record = json.loads((tmp_path / "terms.json").read_text())["pixabay"]
    assert record["basis"] == "own studio's account" and record["who"]
    assert record["terms_url"] == pixabay.SOURCE.terms_url


def test_all_that_is_missing_is_said_at_once_in_short_lines(tmp_path, server, monkeypatch):
    monkeypatch.delenv("PIXABAY_API_KEY", raising=False)
    nobody = pytest.fail  # terms are not asked for while more is missing
    chosen = options_for(server, ask=nobody)
    with pytest.raises(LicenceError) as caught:
        fetch_images(Dataset(tmp_path), QUICK, "blizzard", fetch_options=chosen)
    where = f"--data {tmp_path}"
    assert caught.value.lines() == [
        "pixabay: cannot be asked yet",
        "  - its terms of 2024-11-18 are not accepted: https://pixabay.com/service/terms/",
        f"  - PIXABAY_API_KEY is not set: keys are given at {pixabay.SOURCE.key_url}",
        *(f"  - {point}" for point in pixabay.SOURCE.terms),
        f"  fix: curate sources accept pixabay --basis TEXT {where}",
        "       export PIXABAY_API_KEY=KEY",
        f"       or, for open licences instead: curate fetch openverse --query blizzard {where}",
    ]
    assert server.asked == []


@pytest.mark.parametrize("ask", [None, lambda source: None])
def test_without_acceptance_nothing_is_asked_of_the_source(tmp_path, server, ask):
    chosen = options_for(server, ask=ask)
    with pytest.raises(LicenceError, match="are not accepted") as caught:
        fetch_images(Dataset(tmp_path), QUICK, "blizzard", fetch_options=chosen)
    assert "curate sources accept pixabay --basis TEXT" in caught.value.fix
    assert f"curate fetch openverse --query blizzard --data {tmp_path}" in caught.value.fix
    assert server.asked == []


def test_acceptance_of_older_terms_does_not_count(data):
    newer = replace(pixabay.SOURCE, terms_version="2030-01-01")
    assert terms.find_acceptance(data.root, pixabay.SOURCE)
    assert terms.find_acceptance(data.root, newer) is None


def test_a_picture_host_that_sends_us_away_is_asked_no_more(data, server):
    Pixabay(server, count=3)
    there = server.routes["/get/1_1280.png"]
    server.routes["/get/1_1280.png"] = lambda query: Answer(b"", 429, {"Retry-After": "9999"})
    done = run(data, server)
    assert (done.new, done.failures) == (1, {"busy": 2})
    assert rows(data)["pixabay-1001"].dropped.endswith("asks us to stay away for 9999 s")
    assert "/get/2_1280.png" not in server.paths()
    server.routes["/get/1_1280.png"] = there
    assert run(data, server).new == 2


def test_a_basis_must_say_something_and_be_asked_for(tmp_path):
    with pytest.raises(UsageError, match="--basis: is empty"):
        terms.accept_terms(tmp_path, pixabay.SOURCE, "  ")
    with pytest.raises(UsageError, match="openverse: asks for no acceptance"):
        terms.accept_terms(tmp_path, openverse.SOURCE, "a permission")
    assert not (tmp_path / "terms.json").exists()


@pytest.mark.parametrize("content", ["{", "[]", '{"pixabay": {"basis": "x"}}'])
def test_a_damaged_acceptance_is_no_acceptance(tmp_path, content):
    (tmp_path / "terms.json").write_text(content)
    with pytest.raises(InputError, match=r"terms\.json: is not readable"):
        terms.find_acceptance(tmp_path, pixabay.SOURCE)


def cli(*words: str) -> int:
    try:
        main(list(words))
    except SystemExit as exit:
        return int(exit.code or 0)
    return 0


def test_the_command_from_terms_to_pictures(tmp_path, server, monkeypatch, capsys):
    """Without acceptance, without a key, with both; then the same again; then a failing source."""
    Pixabay(server, count=2)
    where = ("--data", str(tmp_path / "data"))
    fetch_it = ("fetch", "pixabay", "--query", "blizzard", "--endpoint", server.url, *where)
    monkeypatch.delenv("PIXABAY_API_KEY", raising=False)
    assert cli(*fetch_it) == 5
    assert "curate sources accept pixabay" in capsys.readouterr().err
    assert cli("sources", "accept", "pixabay", "--basis", "permission", *where) == 0
    assert "accepts https://pixabay.com/service/terms/ (2024-11-18)" in capsys.readouterr().out
    assert cli(*fetch_it) == 2
    assert "PIXABAY_API_KEY is not set" in capsys.readouterr().err
    monkeypatch.setenv("PIXABAY_API_KEY", KEY)
    assert cli(*fetch_it, "--limit", "1") == 0
    assert capsys.readouterr().out.splitlines()[0] == "new\t1"
    assert cli(*fetch_it, "--limit", "1", "--json") == 0
    assert json.loads(capsys.readouterr().out)["known"] == 1
    server.routes["/api/"] = lambda query: Answer(b"no", 403)
    assert cli(*fetch_it, "--order", "latest") == 4
    assert "error: pixabay: answered 403: no" in capsys.readouterr().err
    assert cli(*fetch_it, "--order", "sideways") == 2


def test_the_key_is_in_no_file_and_no_output(data, server, capsys, caplog):
    """Every way an answer can go wrong, with the key echoed back wherever a server can."""
    caplog.set_level(logging.DEBUG)
    api = Pixabay(server, count=4, changes={0: {"user": KEY}, 1: {"tags": KEY.upper()}})
    server.routes["/get/2_1280.png"] = lambda query: Answer(
        b"", 302, {"Location": f"/get/3_1280.png?key={KEY}"}
    )
    where = ("--data", str(data.root), "--endpoint", server.url, "--limit", "4")
    told, faults = "", [
        api.search,
        lambda query: Answer(f"not JSON {KEY}".encode(), headers={"Link": KEY}),
        lambda query: Answer(f"no entry for {KEY}".encode(), 403),
        lambda query: Answer(f"Invalid API key {KEY}".encode(), 400),
        lambda query: Answer(b"", 302, {"Location": f"https://127.0.0.2/?key={KEY}"}),
        lambda query: Answer(b"{}", promised=99),
        lambda query: Answer(json.dumps({"hits": [], "totalHits": 0, "me": KEY}).encode()),
    ]  # fmt: skip
    for number, fault in enumerate(faults):
        server.routes["/api/"] = fault
        limits = replace(LIMITS, tries=1)
        try:
            chosen = options_for(server, limits)
            progress = terminal.TerminalProgress()
            fetch_images(data, QUICK, f"blizzard {number}", fetch_options=chosen, progress=progress)
        except SourceError as error:
            told += f"{error!r} {error} {error.__cause__!r}"
    assert cli("fetch", "pixabay", "--query", "blizzard 1", *where) in (0, 4)
    output = capsys.readouterr()
    told += output.out + output.err + caplog.text
    assert any(query.get("key") == KEY for _, _, query in server.asked)
    assert "GET /api/" in caplog.text  # the library did log the requests
    files = [path for path in data.root.rglob("*") if path.is_file()]
    assert len(files) > 5
    assert KEY.lower() not in told.lower()
    for path in files:
        assert KEY.lower().encode() not in path.read_bytes().lower(), path
    assert "REDACTED" in str([row.author for row in data.read().samples])


@pytest.mark.corpora
@pytest.mark.parametrize("name", ["search_page_0_2023", "search_page_1_2023", "search_apples_2022"])
def test_reads_the_recorded_answers(corpora: Path, name: str):
    reply = json.loads((corpora / "api" / "pixabay" / f"{name}.json").read_text())
    pages = iter([reply, {"hits": [], "totalHits": 0}])
    found = list(pixabay.search(lambda url, query: ApiAnswer(next(pages)), "x"))
    assert len(found) == len(reply["hits"]) > 0
    assert len({f.id for f in found}) == len(found)
    for item, hit in zip(found, reply["hits"], strict=True):
        assert item.image_url == hit["largeImageURL"] and item.page_url == hit["pageURL"]
        assert item.author == hit["user"] and ", ".join(item.tags) == hit["tags"]
        assert item.opt_outs == () and item.ai_generated is None
