"""What hosts say of all they hold: asked once in 24 hours, kept as it was answered."""

import pytest
from recorded_progress import RecordedProgress
from servers import Answer, Server, run_server

from curate.dataset.evidence import read_answer
from curate.dataset.folder import Store
from curate.net.api import Service
from curate.net.connection import NetOptions, connect
from curate.net.failure import Failure, FailureKind
from curate.net.guard import Endpoint
from curate.net.site import DOCUMENTS, ROBOTS
from curate.net.tries import Limits

SERVICE = Service(name="test", seconds_between=0.0)


@pytest.fixture
def server():
    with run_server() as running:
        yield running


def documents(root, server: Server, url: str = "https://museum.test/a.png", said=None):
    options = NetOptions(Endpoint.parse(server.url), Limits(tries=1))
    progress = RecordedProgress()
    with connect(SERVICE, root, options=options, progress=progress) as net:
        found = net.sites.documents(url)
    if said is not None:
        said += progress.said
    return found


def test_documents_are_asked_once_a_host_and_kept(tmp_path, server, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    robots = "User-agent: *\nDisallow: /private\nContent-Signal: ai-train=no\n"
    head = {"Content-Type": "text/plain", "ETag": '"1"'}
    server.routes[ROBOTS] = lambda query: Answer(robots.encode(), headers=head)
    found = documents(tmp_path, server)
    assert isinstance(found, tuple) and server.paths() == list(DOCUMENTS)
    answers = [read_answer(Store(tmp_path), sha256) for sha256 in found]
    assert [a.url for a in answers] == [f"https://museum.test{path}" for path in DOCUMENTS]
    assert [a.status for a in answers] == [200, 404, 404]
    assert answers[0].body == robots
    assert answers[0].headers == ("Content-Type: text/plain", 'ETag: "1"')
    assert documents(tmp_path, server, "http://MUSEUM.test/b.png") == found
    assert len(server.asked) == 3
    documents(tmp_path, server, "https://other.test/a.png")
    assert len(server.asked) == 6
    monkeypatch.setenv("SOURCE_DATE_EPOCH", str(1700000000 + 24 * 3600))
    documents(tmp_path, server)
    assert len(server.asked) == 9


@pytest.mark.parametrize("status", [500, 503, 429])
def test_robots_txt_that_cannot_be_had_is_a_failure(tmp_path, server, status):
    server.routes[ROBOTS] = lambda query: Answer(b"", status, {"Retry-After": "9999"})
    failure = documents(tmp_path, server)
    assert isinstance(failure, Failure)
    assert failure.kind in (FailureKind.BROKEN, FailureKind.BUSY)
    assert "robots.txt" in failure.detail and server.paths() == [ROBOTS]
    server.routes[ROBOTS] = lambda query: Answer(b"")
    assert isinstance(documents(tmp_path, server), tuple)  # a failure is not kept


def test_the_others_may_be_missing(tmp_path, server):
    server.routes["/ai.txt"] = lambda query: Answer(b"", 500)
    found = documents(tmp_path, server)
    assert isinstance(found, tuple) and len(found) == 2


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 451])
def test_a_document_that_is_not_there_is_kept_as_answered(tmp_path, server, status):
    server.routes[ROBOTS] = lambda query: Answer(b"no", status)
    found = documents(tmp_path, server)
    assert isinstance(found, tuple) and read_answer(Store(tmp_path), found[0]).status == status


def test_robots_txt_may_be_elsewhere_but_not_anywhere(tmp_path, server):
    """RFC 9309, section 2.3.1.2: five redirects at least, to other hosts, too."""
    for n in range(5):
        to = f"https://host{n}.test/{n + 1}"
        server.routes[f"/{n}"] = lambda query, to=to: Answer(b"", 301, {"Location": to})
    server.routes[ROBOTS] = server.routes["/1"]
    server.routes["/5"] = lambda query: Answer(b"User-agent: *")
    found = documents(tmp_path, server)
    assert isinstance(found, tuple)
    answer = read_answer(Store(tmp_path), found[0])
    assert (answer.url, answer.body) == (f"https://museum.test{ROBOTS}", "User-agent: *")
    for place in ("https://127.0.0.1/robots.txt", "https://[::1]/", "http://10.0.0.1/"):
        server.routes[ROBOTS] = lambda query, to=place: Answer(b"", 301, {"Location": to})
        failure = documents(tmp_path, server, f"https://to{len(place)}.test/")
        assert isinstance(failure, Failure) and "is not a public address" in failure.detail


def test_a_long_robots_txt_is_cut_and_that_is_said(tmp_path, server):
    body = b"User-agent: *\nDisallow: /private\n" + b"#" * 600_000
    server.routes[ROBOTS] = lambda query: Answer(body)
    said: list[str] = []
    found = documents(tmp_path, server, said=said)
    assert isinstance(found, tuple)
    assert len(read_answer(Store(tmp_path), found[0]).body) == 512_000
    (sentence,) = said
    assert sentence == (
        "https://museum.test/robots.txt is longer than 512000 bytes; the rest is not read"
    )


def test_what_is_no_utf_8_is_kept_as_far_as_it_can_be_read(tmp_path, server):
    server.routes[ROBOTS] = lambda query: Answer(b"\xef\xbb\xbfDisallow: /caf\xe9\r\n\0")
    found = documents(tmp_path, server)
    assert isinstance(found, tuple)
    assert read_answer(Store(tmp_path), found[0]).body == "\ufeffDisallow: /caf\ufffd\r\n\0"


def test_an_address_that_is_not_asked_has_no_documents(tmp_path, server):
    for url in ("https://127.0.0.1/a", "ftp://museum.test/", "https://[::1", ""):
        failure = documents(tmp_path, server, url)
        assert isinstance(failure, Failure) and failure.kind is FailureKind.REFUSED
    assert server.asked == []
