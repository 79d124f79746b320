"""`curate fetch openverse` against a server with the documented shapes."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from clocks import Clock
from recorded_progress import RecordedProgress
from servers import Answer, Server, image_bytes, openverse_page, run_server
from servers import openverse_result as result

from curate.dataset.evidence import read_answer
from curate.dataset.folder import Dataset, Store
from curate.errors import SourceError, UsageError
from curate.fetch.run import FetchOptions, FetchSummary, fetch_images
from curate.net.api import Answer as ApiAnswer
from curate.net.budget import Budget
from curate.net.connection import NetOptions
from curate.net.guard import Endpoint
from curate.sources import openverse

QUICK = replace(openverse.SOURCE, requests_per_minute=1_000_000, seconds_between=0.0)


@pytest.fixture
def server():
    with run_server() as running:
        yield running


def pages(server: Server, results: list[dict[str, object]], size: int = 20) -> None:
    """Serve `results` in pages, and an image for each."""

    def search(query: dict[str, str]) -> Answer:
        return openverse_page(results, page=int(query["page"]), size=size)

    server.routes["/v1/images/"] = search
    for number in range(len(results)):
        server.routes[f"/pictures/{number}.png"] = lambda query, n=number: Answer(image_bytes(n))


def run(root: Path, server: Server, budget: Budget | None = None, **more: object) -> FetchSummary:
    chosen = FetchOptions(net=NetOptions(Endpoint.parse(server.url), budget=budget))
    return fetch_images(Dataset(root), QUICK, "blizzard", fetch_options=chosen, **more)


def test_takes_what_the_catalogue_states(tmp_path, server):
    pages(server, [result(server, 0)])
    assert run(tmp_path, server, options={"license": "by"}).new == 1
    (row,) = Dataset(tmp_path).read().samples
    assert row.key == "openverse-4bc43a04-ef46-4544-a0c1-000000000000"
    assert (row.license_text, row.license_by) == ("CC BY 4.0", "source")
    assert row.license_url == "https://creativecommons.org/licenses/by/4.0/"
    assert row.page_url == "https://museum.example/0" and row.author == "Ida"
    assert row.title == "Blizzard 0" and row.tags == ("snow",)
    _, _, asked = server.asked[0]
    assert asked == {"q": "blizzard", "license": "by", "page_size": "20", "page": "1"}


@pytest.mark.parametrize(
    ("short", "version", "text"),
    [
        ("cc0", "1.0", "CC0 1.0"),
        ("pdm", "1.0", "Public Domain Mark 1.0"),
        ("by-nc-sa", "2.0", "CC BY-NC-SA 2.0"),
        ("by", None, "CC BY"),
    ],
)
def test_licence_texts_say_what_the_fields_say(tmp_path, server, short, version, text):
    changes = {"license": short, "license_version": version, "creator": None, "title": None}
    pages(server, [result(server, 0, **changes)])
    run(tmp_path, server)
    (row,) = Dataset(tmp_path).read().samples
    assert row.license_text == text and row.author is None and row.title is None


def test_reads_all_pages(tmp_path, server):
    pages(server, [result(server, n) for n in range(5)], size=2)
    assert run(tmp_path, server).new == 5
    assert server.paths().count("/v1/images/") == 3


def test_limit_ends_the_pages(tmp_path, server):
    pages(server, [result(server, n) for n in range(5)], size=2)
    assert run(tmp_path, server, limit=2).new == 2
    assert server.paths().count("/v1/images/") == 1


@pytest.mark.parametrize("status", [401, 429])
def test_stops_at_the_limit_without_asking_again(tmp_path, server, status):
    server.routes["/v1/images/"] = lambda query: Answer(b'{"detail": "throttled"}', status)
    with pytest.raises(SourceError, match="openverse: allows no more requests for now"):
        run(tmp_path, server)
    assert len(server.asked) == 1


def test_a_pause_that_is_asked_for_in_seconds_is_sat_out(tmp_path, server):
    pages(server, [result(server, 0)])
    search, busy = server.routes["/v1/images/"], iter([Answer(b"", 429, {"Retry-After": "1"})])
    server.routes["/v1/images/"] = lambda query: next(busy, None) or search(query)
    clock = Clock()
    assert run(tmp_path, server, Budget(clock=clock, sleep=clock.sleep)).new == 1
    assert max(clock.slept) == 1.0


def test_a_wrong_licence_name_is_told_in_the_source_s_words(tmp_path, server):
    text = b"{\"detail\": \"Invalid input given for fields. 'license' -> 'x' does not exist.\"}"
    server.routes["/v1/images/"] = lambda query: Answer(text, 400)
    with pytest.raises(SourceError, match=r"answered 400: .*'x' does not exist"):
        run(tmp_path, server)


def test_an_odd_record_is_a_row_and_the_others_are_taken(tmp_path, server):
    odd = result(server, 1, foreign_landing_url=None)
    nameless = result(server, 3, id=None)
    pages(server, [result(server, 0), odd, result(server, 2), nameless])
    for new, left_out in ((2, {}), (0, {"malformed": 2})):
        done = run(tmp_path, server)
        assert (done.new, done.left_out) == (new, left_out)
    dropped = {s.key: s.dropped for s in Dataset(tmp_path).read().samples if s.dropped}
    assert dropped.pop(f"openverse-{odd['id']}") == "malformed:foreign_landing_url"
    ((key, reason),) = dropped.items()
    assert key.startswith("openverse-malformed-") and reason == "malformed:id"


def test_a_page_of_odd_records_alone_names_source_and_field(tmp_path, server):
    pages(server, [result(server, n, foreign_landing_url=None) for n in range(2)])
    with pytest.raises(SourceError, match=r"^openverse: its answer lacks the field 'foreign_land"):
        run(tmp_path, server)


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("title", "ice \ud83d", "ice \ufffd"),  # cut inside an emoji
        ("title", ["a"], None),
        ("title", 7, "7"),
        ("title", "a\x1b[31mb\nc", "a [31mb c"),
        ("title", "x" * 20_000, "x" * 10_000),
        ("creator", {"name": "Ida"}, None),
        ("creator_url", "https://museum.example/" + "x" * 5_000, None),
        ("tags", 5, ()),
        ("tags", "snow", ("snow",)),
        ("tags", [{"name": 5}, {"name": None}, {}, 7, {"name": "a\ud83d"}], ("5", "7", "a\ufffd")),
        ("tags", [{"name": "ice"}] * 2_000, ("ice",) * 1_000),
        ("license_version", 4.0, "CC BY 4.0"),
        ("license_url", ["x"], None),
    ],
)  # fmt: skip
def test_texts_of_any_type_are_cleaned_where_they_come_in(tmp_path, server, name, value, kept):
    pages(server, [result(server, 0, **{name: value})])
    for new in (1, 0):
        assert run(tmp_path, server).new == new
    (row,) = Dataset(tmp_path).read().samples
    column = {"creator": "author", "creator_url": "author_url", "license_version": "license_text"}
    assert getattr(row, column.get(name, name)) == kept


def test_what_is_left_out_of_texts_is_said(tmp_path, server):
    pages(server, [result(server, n, tags=5, title=["a"]) for n in range(2)])
    progress = RecordedProgress()
    run(tmp_path, server, progress=progress)
    assert (
        "openverse: left out what is too long or not plain text: tags (2), title (2)"
        in progress.said
    )


def test_what_is_mature_is_said(tmp_path, server):
    pages(server, [result(server, n, mature=value) for n, value in enumerate((True, False, None))])
    run(tmp_path, server)
    assert [s.mature for s in Dataset(tmp_path).read().samples] == [True, False, None]


def test_another_licence_than_before_is_kept_beside_the_first(tmp_path, server, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    nc = {
        "license": "by-nc-nd",
        "license_url": "https://creativecommons.org/licenses/by-nc-nd/4.0/",
    }
    pages(server, [result(server, n) for n in range(3)])
    assert run(tmp_path, server).new == 3
    monkeypatch.setenv("SOURCE_DATE_EPOCH", str(1700000000 + 25 * 3600))  # the answer is stale
    pages(server, [result(server, 0), result(server, 1, **nc), result(server, 2)])
    for restated in (1, 0):
        done = run(tmp_path, server)
        assert (done.restated, done.updated, done.known) == (restated, restated, 3 - restated)
    assert ("restated", 1) in replace(done, restated=1).as_rows()
    row = Dataset(tmp_path).read().samples[1]
    (later,) = row.restated
    assert (row.license_text, later.text, later.url) == (
        "CC BY 4.0", "CC BY-NC-ND 4.0", nc["license_url"],
    )  # fmt: skip
    assert later.said == "2023-11-15T23:13:20Z" and later.evidence != row.evidence
    assert "by-nc-nd" in read_answer(Store(Dataset(tmp_path).evidence), later.evidence).body


@pytest.mark.parametrize("results", [[], ["same"]])
def test_pages_that_bring_nothing_new_end_the_search(tmp_path, server, results):
    found = [result(server, 0) for _ in results]
    body = json.dumps({"page_count": 10**9, "results": found}).encode()
    pages(server, [result(server, 0)])
    server.routes["/v1/images/"] = lambda query: Answer(body)
    assert run(tmp_path, server).new == len(results)
    assert server.paths().count("/v1/images/") == 1 + len(results)


def test_no_page_is_asked_for_beyond_those_that_the_api_has(tmp_path, server):
    def search(query: dict[str, str]) -> Answer:
        gone = [result(server, n + 100 * int(query["page"])) for n in range(2)]
        return Answer(json.dumps({"page_count": 10**9, "results": gone}).encode())

    server.routes["/v1/images/"] = search
    done = run(tmp_path, server)
    assert done.failures == {"gone": 24}
    assert server.paths().count("/v1/images/") == 12  # 240 results of a query, 20 a page


def test_a_busy_picture_host_costs_the_picture_only(tmp_path, server):
    pages(server, [result(server, n) for n in range(2)])
    server.routes["/pictures/0.png"] = lambda query: Answer(b"", 429, {"Retry-After": "9999"})
    done = run(tmp_path, server)  # both images are at the same host
    assert (done.new, done.failures) == (0, {"busy": 2})


@pytest.mark.parametrize("query", ["", "  ", "x" * 101])
def test_a_query_has_1_to_100_characters(tmp_path, query):
    with pytest.raises(UsageError, match="1 to 100"):
        fetch_images(Dataset(tmp_path), QUICK, query)


@pytest.mark.parametrize("names", ["gpl", "by,", "cc0, by", "CC0"])
def test_a_licence_that_the_api_does_not_know_is_said_before_it_is_asked(tmp_path, server, names):
    pages(server, [])
    with pytest.raises(UsageError, match=r"--license: '.*' is no licence of the API"):
        run(tmp_path, server, options={"license": names})
    assert server.paths() == []


@pytest.mark.corpora
def test_reads_the_official_example(corpora: Path):
    path = corpora / "api" / "openverse" / "v1_image_search_200_example.json"
    reply = json.loads(path.read_text())
    (found,) = openverse.search(lambda url, query: ApiAnswer(reply), "tree bark")
    (stated,) = reply["results"]
    assert found.id == stated["id"] and found.image_url == stated["url"]
    assert found.license_text == "CC0 1.0" and found.license_url == stated["license_url"]
    assert found.author == "Tim Sullivan" and len(found.tags) == len(stated["tags"])


@pytest.mark.corpora
def test_reads_the_results_of_its_predecessor(corpora: Path):
    reply = json.loads((corpora / "api" / "openverse" / "ccsearch_v0_2019.json").read_text())
    found = list(
        openverse.search(lambda url, query: ApiAnswer({**reply, "page_count": 1}), "river")
    )
    assert len(found) == len(reply["results"]) > 0
    assert {f.license_text for f in found} <= {
        f"CC {r['license'].upper()} {r['license_version']}" for r in reply["results"]
    }
