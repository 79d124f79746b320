"""A source is one file and one tuple entry: the rest follows from what it declares."""

import json
import re
import runpy
import sys
from dataclasses import replace
from functools import partial
from typing import Annotated, Literal

import pytest
import typer
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from servers import Answer, Pixabay, Server, image_bytes, openverse_result, run_server

import train.cli
from curate import cli, sources
from curate.dataset.folder import Dataset
from curate.dataset.journal import append_row, read_rows
from curate.errors import InputError, UsageError
from curate.fetch.account import make_row
from curate.fetch.run import FetchOptions, fetch_images
from curate.net.api import Answer as ApiAnswer
from curate.net.connection import NetOptions
from curate.net.guard import Endpoint
from curate.sources import base, contact, openverse, pixabay
from curate.sources.base import FoundImage, QueryOption, Source, parse_record
from curate.system.commands import OnceCommand

URL = "https://postcards.example/cards"


def search(
    get_json,
    query: QueryOption,
    *,
    age: Annotated[Literal["old", "new"], typer.Option(help="Of the card.")] = "old",
    min_width: Annotated[int, typer.Option(min=0, help="In pixels.")] = 0,
    stamped: Annotated[bool, typer.Option("--stamped", help="Only with a stamp.")] = False,
    place: Annotated[str | None, typer.Option(help="Where it was posted.")] = None,
):
    asked = {"q": query, "age": age, "width": min_width, "stamped": stamped, "place": place}
    for card in get_json(URL, asked).body["cards"]:
        yield FoundImage(id=card["id"], image_url=card["url"], title=card["title"])


POSTCARDS = Source(
    name="postcards", summary="cards of old", help="Take postcards.", search=search, limit=2,
    media_hosts=None, seconds_between=0.0, requests_per_minute=1_000_000,
)  # fmt: skip


@pytest.fixture
def curate(monkeypatch):
    """The command line as it is when `POSTCARDS` stands in the tuple."""
    monkeypatch.setattr(sources, "SOURCES", (*sources.SOURCES, POSTCARDS))
    monkeypatch.delitem(sys.modules, "curate.cli_fetch")  # which has read the tuple
    main = runpy.run_path(cli.__file__)["main"]

    def type_words(*words: str) -> int:
        with pytest.raises(SystemExit) as ended:
            main(list(words))
        return ended.value.code

    return type_words


def test_a_new_source_is_fetched_with_the_options_that_it_declares(curate, tmp_path):
    where = ("--data", str(tmp_path))
    with run_server() as server:
        cards = [
            {"id": n, "url": f"{server.url}/{n}.png", "title": f"card {n}"} for n in ("a", "b", "c")
        ]
        server.routes["/cards"] = lambda query: Answer(json.dumps({"cards": cards}).encode())
        for number, card in enumerate(cards):
            server.routes[f"/{card['id']}.png"] = lambda query, n=number: Answer(image_bytes(n))
        options = ("--age", "new", "--min-width", "9", "--stamped", "--endpoint", server.url)
        assert curate("fetch", "postcards", "--query", "sea", *options, *where) == 0
        _, path, asked = server.asked[0]
    assert path == "/cards"
    assert asked == {"q": "sea", "age": "new", "width": "9", "stamped": "True"}
    assert [row.title for row in Dataset(tmp_path).read().samples] == ["card a", "card b"]
    (step,) = Dataset(tmp_path).read().history
    assert step["settings"] == {
        "query": "sea", "limit": 2, "allow_ai": False,
        "age": "new", "min_width": 9, "stamped": True,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("--age", "middle"), "'middle' is not one of 'old', 'new'"),
        (("--min-width", "-1"), "greater than or equal to 0"),
        (("--stamped", "no"), "unexpected extra argument"),
        (("--allow-ai",), "No such option: --allow-ai"),  # it does not say which are AI-made
    ],
)
def test_what_a_new_source_does_not_declare_is_refused(curate, tmp_path, capsys, words, problem):
    data = tmp_path / "data"
    assert curate("fetch", "postcards", "--query", "sea", "--data", str(data), *words) == 2
    assert problem in capsys.readouterr().err
    assert not data.exists()


def test_what_is_gone_is_asked_for_again_when_told_and_failures_have_an_exit_code(
    curate, tmp_path, capsys
):
    with run_server() as server:
        cards = [{"id": "a", "url": f"{server.url}/a.png", "title": "card"}]
        server.routes["/cards"] = lambda query: Answer(json.dumps({"cards": cards}).encode())
        where = ("--endpoint", server.url, "--data", str(tmp_path))
        words = ("fetch", "postcards", "--query", "sea", *where)
        assert curate(*words) == 0
        assert "failed: gone\t1" in capsys.readouterr().out
        assert curate(*words) == 0
        assert "left out: gone\t1" in capsys.readouterr().out
        server.routes["/a.png"] = lambda query: Answer(b"", 429, {"Retry-After": "9999"})
        for again in (("--retry", "gone"), ()):
            assert curate(*words, *again) == 4
            said = capsys.readouterr()
            assert "failed, tried again next time\t1" in said.out
            assert "1 images did not come for now" in said.err
        server.routes["/a.png"] = lambda query: Answer(image_bytes(1))
        assert curate(*words) == 0
        assert "new\t1" in capsys.readouterr().out


def test_help_and_list_tell_of_a_new_source(curate, tmp_path, capsys):
    assert curate("fetch", "--help") == 0
    assert "Take postcards." in capsys.readouterr().out
    assert curate("fetch", "postcards", "--help") == 0
    shown = capsys.readouterr().out
    assert "Where it was posted." in shown and "[default: 2]" in shown
    assert curate("sources", "list", "--data", str(tmp_path)) == 0
    assert "postcards\tcards of old\tnothing" in capsys.readouterr().out


def test_a_source_that_asks_for_a_contact_is_not_asked_without(tmp_path, monkeypatch):
    monkeypatch.delenv("CURATE_CONTACT", raising=False)
    asks, data = replace(POSTCARDS, needs_contact=True), Dataset(tmp_path / "data")
    with run_server() as server:
        server.routes["/cards"] = lambda query: Answer(b'{"cards": []}')
        options = FetchOptions(net=NetOptions(Endpoint.parse(server.url)))
        for _ in range(2):
            with pytest.raises(UsageError, match="it asks for a contact") as caught:
                fetch_images(data, asks, "sea", fetch_options=options)
            assert caught.value.fix == f"curate sources contact ADDRESS --data {data.root}"
        assert server.asked == []
        with pytest.raises(SystemExit):
            cli.main(["sources", "contact", "me@example.org", "--data", str(data.root)])
        fetch_images(data, asks, "sea", fetch_options=options)
        monkeypatch.setenv("CURATE_CONTACT", "https://example.org/me")
        fetch_images(data, asks, "seas", fetch_options=options)
    agents = [headers["user-agent"] for headers in server.headers]
    assert "(me@example.org)" in agents[0] and "(https://example.org/me)" in agents[1]


@pytest.mark.parametrize(
    "text", ["", "  ", "a", "a\nX-Injected: 1", "(a@b.example)", "é@b.example"]
)
def test_a_contact_is_plain_text_in_one_line(tmp_path, monkeypatch, text):
    with pytest.raises(UsageError, match="contact"):
        contact.record_contact(tmp_path, text)
    assert contact.find_contact(tmp_path) is None
    (tmp_path / "contact.json").write_text("[]")
    with pytest.raises(InputError, match="is not readable") as caught:
        contact.find_contact(tmp_path)
    assert caught.value.fix == f"curate sources contact you@example.org --data {tmp_path}"


# what a source answers, whatever it is, becomes a row that can be kept

texts = st.text(max_size=6) | st.sampled_from(["\ud83d", "a\n\x1b[1m", "x" * 11_000])
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=2),
    max_leaves=4,
)
OPENVERSE_RECORD = openverse_result(Server(url="https://museum.example"), 0)
PIXABAY_RECORD = Pixabay(Server(url="https://cdn.example"), count=0).hit(0)


@pytest.mark.parametrize(
    ("record", "parse"),
    [
        (OPENVERSE_RECORD, openverse._parse_result),
        (PIXABAY_RECORD, partial(pixabay._parse_hit, "en")),
    ],
)
@given(data=st.data())
@examples(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_record_of_anything_is_a_row_that_can_be_kept(tmp_path, record, parse, data):
    names = st.sampled_from([*record, "userURL", "isGRated"])
    changes = data.draw(st.dictionaries(names, anything, min_size=1, max_size=4))
    found = parse_record(ApiAnswer({}), {**record, **changes}, parse)
    assert replace(found) == found  # cleaned once is cleaned
    row = make_row("openverse", found)
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,220}", row.key)
    (tmp_path / "journal.jsonl").unlink(missing_ok=True)
    append_row(tmp_path / "journal.jsonl", row)
    assert read_rows(tmp_path / "journal.jsonl") == [row]
    assert row.dropped is None or row.dropped.startswith("malformed:")
    said = [row.title, row.author, row.license_text, row.page_url, *row.tags]
    assert not [text for text in said if text and re.search(r"[\x00-\x1f\x7f-\x9f]", text)]


def test_what_is_too_long_is_cut_or_left_out():
    url, tags = "https://a.example/" + "x" * base.MAX_URL, ("x",) * (base.MAX_TEXTS + 1)
    found = FoundImage("a", image_url=url, title="t" * (base.MAX_TEXT + 1), tags=tags)
    assert (found.image_url, len(str(found.title))) == (None, base.MAX_TEXT)
    assert len(found.tags) == base.MAX_TEXTS and found.cleaned == ("title", "image_url", "tags")
    record = {**OPENVERSE_RECORD, "id": "x" * (base.MAX_KEY + 1)}
    assert parse_record(ApiAnswer({}), record, openverse._parse_result).dropped == "malformed:id"


def test_an_image_that_is_named_twice_comes_once_and_in_its_place():
    pages = [ApiAnswer({"found": list(ids)}, f"of {ids}") for ids in ("aba", "bc", "cb", "d")]

    def parse(id):
        return FoundImage(id, image_url="https://a.example/")

    found = list(base.read_pages(pages, "found", parse))
    assert [(item.id, item.evidence) for item in found] == [
        ("a", "of aba"), ("b", "of aba"), ("c", "of bc"),
    ]  # fmt: skip


@given(anything)
def test_a_record_of_another_type_is_malformed(record):
    for parse in (openverse._parse_result, partial(pixabay._parse_hit, "en")):
        assert str(parse_record(ApiAnswer({}), record, parse).dropped).startswith("malformed:")


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (("fetch", "postcards", "--query", "a", "--query", "b"), "--query"),
        (("fetch", "postcards", "--query", "a", "--stamped", "--stamped"), "--stamped"),
        (("fetch", "postcards", "--query=a", "--limit", "1", "--limit=2"), "--limit"),
        (("fetch", "openverse", "--license", "by", "--query", "a", "--license", "by"), "--license"),
        (("sources", "list", "--data", "a", "--data", "b"), "--data"),
        (("check", "--policy", "personal", "--policy", "research"), "--policy"),
        (("vocab-gaps", "p.txt", "--min", "1", "--min", "2"), "--min"),
        (("vocab-gaps", "p.txt", "--json", "a.json", "--json"), "--json"),
        (("pack", "--size", "8", "--size", "8"), "--size"),
    ],
)  # fmt: skip
def test_an_option_that_counts_once_may_be_given_once(
    curate, tmp_path, monkeypatch, capsys, words, option
):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert curate(*words) == 2
        assert (
            f"error: {option}: is given 2 times, and only one can count" in capsys.readouterr().err
        )
    assert list(tmp_path.iterdir()) == []


def test_every_command_minds_options_given_twice():
    waiting = [typer.main.get_command(app) for app in (cli.app, train.cli.app)]
    while waiting:
        command = waiting.pop()
        inner = getattr(command, "commands", None)
        assert inner or isinstance(command, OnceCommand), command.name
        waiting += (inner or {}).values()


def test_sources_go_by_name():
    assert sources.find_source("openverse").name == "openverse"
    with pytest.raises(UsageError, match="flickr: no such source"):
        sources.find_source("flickr")
