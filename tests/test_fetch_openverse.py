"""`curate fetch openverse` against a server with the documented shapes."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from servers import Answer, Server, image_bytes, openverse_page, run_server
from servers import openverse_result as result

from curate.dataset.folder import Dataset
from curate.errors import SourceError, UsageError
from curate.fetch.run import FetchOptions, FetchSummary, fetch_images
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


def run(root: Path, server: Server, **more: object) -> FetchSummary:
    chosen = FetchOptions(net=NetOptions(Endpoint.parse(server.url)))
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


def test_a_wrong_licence_name_is_told_in_the_source_s_words(tmp_path, server):
    text = b"{\"detail\": \"Invalid input given for fields. 'license' -> 'x' does not exist.\"}"
    server.routes["/v1/images/"] = lambda query: Answer(text, 400)
    with pytest.raises(SourceError, match=r"answered 400: .*'x' does not exist"):
        run(tmp_path, server)


def test_a_missing_field_names_source_and_field(tmp_path, server):
    pages(server, [result(server, 0, foreign_landing_url=None)])
    with pytest.raises(SourceError, match=r"^openverse: its answer lacks the field 'foreign_land"):
        run(tmp_path, server)


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
    (found,) = openverse.search(lambda url, query: reply, "tree bark")
    (stated,) = reply["results"]
    assert found.id == stated["id"] and found.image_url == stated["url"]
    assert found.license_text == "CC0 1.0" and found.license_url == stated["license_url"]
    assert found.author == "Tim Sullivan" and len(found.tags) == len(stated["tags"])


@pytest.mark.corpora
def test_reads_the_results_of_its_predecessor(corpora: Path):
    reply = json.loads((corpora / "api" / "openverse" / "ccsearch_v0_2019.json").read_text())
    found = list(openverse.search(lambda url, query: {**reply, "page_count": 1}, "river"))
    assert len(found) == len(reply["results"]) > 0
    assert {f.license_text for f in found} <= {
        f"CC {r['license'].upper()} {r['license_version']}" for r in reply["results"]
    }
