"""Whatever a server did, the same command goes on as if not; nothing is asked for in vain."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from servers import Answer, Server, image_bytes, openverse_page, openverse_result, run_server

from curate.dataset.folder import Dataset, Store
from curate.dataset.sample import Sample
from curate.errors import InputError, SourceError, UsageError
from curate.fetch.run import FetchOptions, FetchSummary, fetch_images
from curate.net.connection import NetOptions
from curate.net.guard import Endpoint
from curate.net.tries import Limits
from curate.rights.signals.collect import signals_of
from curate.sources import openverse, pixabay, terms

QUICK = replace(openverse.SOURCE, requests_per_minute=1_000_000, seconds_between=0.0)
API, COUNT = "/v1/images/", 4


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    with run_server() as running:
        results = [openverse_result(running, number) for number in range(COUNT)]
        running.routes[API] = lambda query: openverse_page(results)
        for number in range(COUNT):
            picture = Answer(image_bytes(number))
            running.routes[f"/pictures/{number}.png"] = lambda query, it=picture: it
        yield running


def run(root: Path, server: Server) -> FetchSummary:
    net = NetOptions(Endpoint.parse(server.url), Limits(backoff_s=0.0))
    return fetch_images(Dataset(root), QUICK, "snow", fetch_options=FetchOptions(net=net))


def rows(root: Path) -> list[Sample]:
    return Dataset(root).read().samples


@pytest.mark.parametrize("query", ["\udcff", "snow\ud83d"])
def test_a_query_that_no_address_can_hold_is_refused(tmp_path, server, query):
    """What is typed in another encoding than UTF-8 arrives as half characters."""
    with pytest.raises(UsageError, match="of UTF-8"):
        fetch_images(Dataset(tmp_path), QUICK, query)


def test_a_journal_that_cannot_be_read_is_a_sentence(tmp_path, server):
    (tmp_path / "journal.jsonl").mkdir()
    with pytest.raises(InputError, match="cannot be read") as caught:
        run(tmp_path, server)
    assert caught.value.fix.startswith(f"mv {tmp_path}/journal.jsonl ")


@pytest.mark.parametrize("name", ["basis", "who"])
def test_accepted_terms_of_another_shape_are_a_sentence(tmp_path, name):
    terms.accept_terms(tmp_path, pixabay.SOURCE, "a permission")
    record = json.loads((tmp_path / "terms.json").read_bytes())
    record["pixabay"][name] = 5
    (tmp_path / "terms.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match="is not readable"):
        terms.find_acceptance(tmp_path, pixabay.SOURCE)


# redirects to other hosts


def redirecting(server: Server, first: str, then: str, robots: dict[str, str]) -> None:
    """One image, at an address that leads on; robots.txt by host."""
    record = openverse_result(server, 0, url=first)
    server.routes[API] = lambda query: openverse_page([record])
    path = "/" + first.partition("//")[2].partition("/")[2]
    server.routes[path] = lambda query: Answer(b"", 301, {"Location": then})
    server.routes["/there.png"] = lambda query: Answer(image_bytes(0))

    def of_host(query: dict[str, str]) -> Answer:
        text = robots.get(server.headers[-1]["host"])
        return Answer(text.encode()) if text else Answer(b"", 404)

    server.routes["/robots.txt"] = of_host


@pytest.mark.parametrize(("first", "then"), [("", "www."), ("www.", ""), ("", "cdn.other-")])
def test_an_image_may_have_moved_to_another_host(tmp_path, server, first, then):
    moved = f"https://{then}museum.test/there.png"
    redirecting(server, f"http://{first}museum.test/a.png", moved, {})
    assert run(tmp_path, server).new == 1
    (row,) = rows(tmp_path)
    assert row.final_url == moved and row.redirects == (f"https://{first}museum.test/a.png",)
    hosts = [h["host"].partition(":")[0] for h in server.headers]
    asked = [(host, path) for host, path in zip(hosts, server.paths(), strict=True)]
    there = f"{then}museum.test"
    assert asked.index((there, "/robots.txt")) < asked.index((there, "/there.png"))
    assert len(row.site_evidence) == 6


@pytest.mark.parametrize("host", ["museum.test", "www.museum.test"])
def test_where_a_redirect_leads_is_asked_only_if_robots_txt_allows_it(tmp_path, server, host):
    robots = {host: "User-agent: *\nDisallow: /there.png\n"}
    redirecting(server, "https://museum.test/a.png", f"https://{host}/there.png", robots)
    assert run(tmp_path, server).refused == {"opt-out": 1}
    assert "/there.png" not in server.paths()
    (row,) = rows(tmp_path)
    assert row.dropped == "opt-out:robots.txt" and row.redirects and row.site_evidence


# answers that are kept


@pytest.mark.parametrize("change", [{"page_count": None}, {"results": 5}, {"results": [{}, {}]}])
def test_an_answer_that_cannot_be_read_does_not_stand_in_the_way(tmp_path, server, change):
    healthy = server.routes[API]
    odd = {**json.loads(healthy({}).body), **change}
    server.routes[API] = lambda query: Answer(json.dumps(odd).encode())
    with pytest.raises(SourceError, match="lacks the field") as caught:
        run(tmp_path, server)
    named = caught.value.problem.split("answer ")[-1].rstrip(")")
    assert list((tmp_path / "evidence").glob(f"??/{named}*"))  # it can be looked at
    server.routes[API] = healthy
    assert run(tmp_path, server).new == COUNT


@pytest.mark.parametrize("damage", [b"", b"junk", None])
@pytest.mark.parametrize("part", ["evidence", "store"])
def test_what_was_lost_or_damaged_on_disk_is_asked_for_again(tmp_path, server, part, damage):
    run(tmp_path, server)
    manifest = (tmp_path / "manifest.parquet").read_bytes()
    files = {p: p.read_bytes() for p in (tmp_path / part).glob("??/*")}
    for path in files:
        path.unlink() if damage is None else path.write_bytes(damage)
    run(tmp_path, server)
    if part == "store":
        assert {p: p.read_bytes() for p in files} == files
    assert (tmp_path / "manifest.parquet").read_bytes() == manifest


def test_what_a_host_cannot_say_is_asked_once(tmp_path, server):
    """Else a broken tdmrep.json would be asked for before every image, three times over."""
    paths = ("/ai.txt", "/.well-known/tdmrep.json")
    for path in paths:
        server.routes[path] = lambda query: Answer(b"no", 503)
    assert run(tmp_path, server).new == COUNT
    assert [server.paths().count(path) for path in paths] == [3, 3]
    assert {len(row.site_evidence) for row in rows(tmp_path)} == {1}
    reserved = json.dumps([{"location": "/", "tdm-reservation": 1}]).encode()
    server.routes["/.well-known/tdmrep.json"] = lambda query: Answer(reserved)
    asked = len(server.asked)
    assert run(tmp_path, server).updated == COUNT  # what it said too late is not lost
    assert server.paths()[asked:].count("/.well-known/tdmrep.json") == 1
    assert not any(path.startswith("/pictures/") for path in server.paths()[asked:])
    assert {len(row.site_evidence) for row in rows(tmp_path)} == {2}
    store = Store(tmp_path / "evidence")
    assert all("tdmrep.json:1" in repr(signals_of(row, store)) for row in rows(tmp_path))
    del server.routes["/ai.txt"]
    manifest = [run(tmp_path, server) and rows(tmp_path) for _ in range(2)]
    assert manifest[0] == manifest[1] and len(manifest[0][0].site_evidence) == 3
