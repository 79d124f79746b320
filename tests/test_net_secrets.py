"""The key leaves for the API alone: it is in no exception, log, header, address or file."""

import base64
import html
import json
import logging
import time
import traceback
from pathlib import Path

import pytest
from hostile import CASES, OK, ROOMY, HostileServer, brings, run_hostile, says
from hypothesis import given
from hypothesis import strategies as st
from servers import KEY, Answer, run_server

from curate import __version__
from curate.errors import SourceError, UsageError
from curate.net.api import Service
from curate.net.connection import NetOptions, connect
from curate.net.guard import Endpoint
from curate.net.media import Got, Want
from curate.net.redact import REDACTED, Secret, Url
from curate.net.transport import check_contact, user_agent
from curate.net.tries import Limits

SECRET = Secret(KEY)
SERVICE = Service(name="test", seconds_between=0.0, requests_per_minute=10**9, key_parameter="key")
ONE_TRY = Limits(ROOMY, ROOMY, ROOMY, tries=1)


def each(form: str) -> str:
    """The key, letter by letter in a form."""
    return "".join(form.format(ord(letter)) for letter in KEY)


SPELLINGS = {
    "as it is": KEY,
    "capitals": KEY.upper(),
    "JSON": each("\\u{:04x}"),
    "JSON, capitals": each("\\u{:04X}"),
    "JSON in JSON": each("\\\\u{:04x}"),
    "JSON in JSON in JSON": each("\\\\\\\\u{:04x}"),
    "one letter of JSON": f"\\u{ord(KEY[0]):04x}{KEY[1:]}",
    "every other letter": "".join(f"\\u{ord(c):04x}" if n % 2 else c for n, c in enumerate(KEY)),
    "percent": each("%{:02x}"),
    "percent, capitals": each("%{:02X}"),
    "percent, twice": each("%25{:02x}"),
    "percent, thrice": each("%2525{:02x}"),
    "percent u": each("%u{:04x}"),
    "JavaScript": each("\\x{:02x}"),
    "JavaScript, braces": each("\\u{{{:x}}}"),
    "CSS": each("\\{:06x}"),
    "HTML": each("&#{};"),
    "HTML, no semicolon": each("&#{:04}"),
    "HTML, hexadecimal": each("&#x{:x};"),
    "HTML, twice": html.escape(each("&#{};")),
    "hexadecimal": KEY.encode().hex(),
    "hexadecimal, capitals": KEY.encode().hex().upper(),
    "mixed": f"%{ord(KEY[0]):x}\\u{ord(KEY[1]):04x}&#{ord(KEY[2])};{KEY[3:].upper()}",
    **{f"base64 at {n}": base64.b64encode(b"x" * n + KEY.encode()).decode() for n in range(3)},
    **{
        f"base64 amid text, {n}": base64.urlsafe_b64encode(b"?" * n + KEY.encode() + b"??").decode()
        for n in range(3)
    },
}


def leaks(text: str) -> list[str]:
    """The spellings of the key that a text holds; of base64 what is the same wherever it stands."""
    low = text.lower()  # but base64 in other cases is another text
    return [
        name
        for name, spelling in SPELLINGS.items()
        if (spelling[4:-6] in text if name.startswith("base64") else spelling.lower() in low)
    ]


@pytest.mark.parametrize("name", SPELLINGS)
def test_the_key_is_taken_out_of_text_in_every_spelling(name):
    text = f"before {SPELLINGS[name]} after"
    assert leaks(text) and not leaks(SECRET.scrub(text))
    assert SECRET.scrub(text).startswith("before ") and SECRET.scrub(text).endswith(" after")


@given(st.text(max_size=30), st.text(max_size=30), st.sampled_from(sorted(SPELLINGS)))
def test_no_text_around_it_keeps_the_key(before, after, name):
    assert KEY not in SECRET.scrub(f"{before}{SPELLINGS[name]}{after}").lower()


@given(st.text())
def test_text_without_the_key_stays_as_it_is(text):
    assert SECRET.scrub(text) == text


@pytest.mark.parametrize(
    "part",
    [
        "\\",
        "%",
        "%25",
        "25",
        "&",
        "&amp;",
        "amp;",
        "0",
        "&#0",
        "\\0",
        "\\u",
        "\\u{0",
        KEY[:-1],
        "\0",
    ],
)
def test_text_made_to_be_slow_is_scrubbed_in_a_moment(part):
    for start in ("", "\\", "%", "&", "&#", "\\u{", KEY[0]):
        text = start + part * (300_000 // len(part)) + KEY
        started = time.process_time()
        assert KEY not in SECRET.scrub(text)
        assert time.process_time() - started < 2


def test_an_address_shows_everything_but_the_key():
    url = Url("https://a.example/api/", {"q": "ä b"}, "key", Secret("abcdefgh-1"))
    assert str(url) == "https://a.example/api/?q=%C3%A4+b&key=REDACTED"
    assert "abcdefgh-1" not in repr(url) + f"{url}" + repr(url.secret) + str(url.secret)
    assert url.reveal() == "https://a.example/api/?q=%C3%A4+b&key=abcdefgh-1"
    assert str(Url("https://a.example/")) == "https://a.example/"


class Witness(logging.Handler):
    """Keeps all that is logged, as it would be written and as it is held."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.heard: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.heard.append(self.format(record) + repr(vars(record)))


@pytest.fixture
def log():
    """All that any library logs."""
    witness, root = Witness(), logging.getLogger()
    level = root.level
    root.addHandler(witness)
    root.setLevel(logging.DEBUG)
    yield witness.heard
    root.removeHandler(witness)
    root.setLevel(level)


def told(error: BaseException) -> str:
    """All that an exception could show of itself and of those behind it."""
    texts = traceback.format_exception(error)
    while error:
        texts += [str(error), repr(error), repr(vars(error)), repr(error.args)]
        error = error.__context__ or error.__cause__
    return "\n".join(texts)


def ask_all(server: HostileServer | str, root: Path) -> list[str]:
    """All that comes of asking a server for an answer with the key, and for an image."""
    url = server if isinstance(server, str) else server.url
    endpoint = Endpoint.parse(url.removesuffix("/a.png"))
    came: list[str] = []
    with connect(SERVICE, root, key=SECRET, options=NetOptions(endpoint, ONE_TRY)) as net:
        try:
            came.append(repr(net.api.get_json("https://api.test/v1", {"q": "snow"})))
        except SourceError as error:
            came.append(told(error))
        got = net.media.get(Want(f"{endpoint.origin}/a.png?key={KEY}"))
        came.append(repr(got.headers + got.redirects))
        came.append(got.url if isinstance(got, Got) else repr(got))
        came.append(repr(net.sites.documents(f"{endpoint.origin}/{KEY}")))
        came.append(repr(net))
    came += [p.read_text() + str(p) for p in root.rglob("*") if p.is_file()]
    return came


def test_no_failure_shows_the_key(tmp_path, log):
    wrong = {}
    for number, case in enumerate(c for c in CASES if not c.slow):
        with run_hostile() as server:
            server.serve, server.reads = case.serve, case.reads
            came = ask_all(server, tmp_path / str(number))
        if found := leaks("\n".join(came)):
            wrong[case.name] = found
    assert wrong == {} and len(log) > 100 and not leaks("\n".join(log))


def echoes(spelling: str) -> dict[str, object]:
    """Servers that say the key in a spelling, wherever a server can say something."""
    word = spelling.encode()
    return {
        "a value": brings(body=b'{"a": "%s", "%s": ["x %s y"]}' % (word, word, word)),
        "a text": brings(body=word),
        "an error": says(b"HTTP/1.1 400 No\r\n\r\nInvalid key " + word),
        "a reason": says(b"HTTP/1.1 403 %s\r\nContent-Length: 0\r\n\r\n" % word),
        "headers": brings(b"Link: <%s>" % word, b"ETag: %s" % word, b"X-%s: 1" % word, body=b"{}"),
        "a coding": brings(b"Content-Encoding: " + word),
        "a pause": says(b"HTTP/1.1 429 No\r\nRetry-After: %s\r\n\r\n" % word),
        "no HTTP": says(word * 9),
        "a status": says(b"HTTP/1.1 %s\r\n\r\n" % word),
        "a path": says(b"HTTP/1.1 302 Go\r\nLocation: /%s?%s\r\n\r\n" % (word, word)),
        "a host": says(b"HTTP/1.1 302 Go\r\nLocation: https://%s.test/\r\n\r\n" % word),
        "a port": says(b"HTTP/1.1 302 Go\r\nLocation: https://a.test:%s\r\n\r\n" % word),
        "a user": says(b"HTTP/1.1 302 Go\r\nLocation: https://%s@a.test/\r\n\r\n" % word),
        "half a body": says(OK + b"Content-Length: 9999\r\n\r\n" + word),
        "a chunk": says(OK + b"Transfer-Encoding: chunked\r\n\r\n%s\r\n" % word),
        "a header": says(OK + word + b"\r\nno colon\r\n\r\n"),
    }


@pytest.mark.parametrize("name", SPELLINGS)
def test_a_server_that_says_the_key_again_is_not_repeated(tmp_path, log, name):
    wrong = {}
    for place, serve in echoes(SPELLINGS[name]).items():
        with run_hostile() as server:
            server.serve = serve
            came = ask_all(server, tmp_path / place.replace(" ", "-"))
        if found := leaks("\n".join(came)):
            wrong[place] = found
    assert wrong == {} and log and not leaks("\n".join(log))


def test_a_decoded_value_is_without_the_key(tmp_path):
    """What JSON hides in the text comes to light when it is read."""
    with run_hostile() as server:
        endpoint = Endpoint("127.0.0.1", server.port)
        server.serve = brings(body=json.dumps({"a": SPELLINGS["JSON"], "b": KEY}).encode())
        with connect(SERVICE, tmp_path, key=SECRET, options=NetOptions(endpoint)) as net:
            answer = net.api.get_json("https://api.test/v1", {})
    assert answer.body == {"a": REDACTED, "b": REDACTED}


def test_the_key_is_sent_to_the_api_alone(tmp_path):
    with run_server() as server:
        server.routes["/v1"] = lambda query: Answer(b"{}")
        ask_all(server.url, tmp_path)
        keys = [query.get("key") for _, path, query in server.asked if path != "/a.png"]
        assert keys == [KEY, None, None, None]
        assert KEY not in repr(server.headers)


# who we say we are


def test_the_user_agent_says_who_asks_and_how_to_reach_them(tmp_path):
    with run_server() as server:
        for contact, comment in ((None, ""), ("ann@museum.example", " (ann@museum.example)")):
            options = NetOptions(Endpoint.parse(server.url), contact=contact)
            with connect(SERVICE, tmp_path, options=options) as net:
                net.media.get(Want(f"{server.url}/a.png"))
            agent = server.headers[-1]["user-agent"]
            assert agent.startswith(f"fubuki/{__version__}{comment} urllib3/2")
    assert set(server.headers[-1]) == {"user-agent", "accept-encoding", "host"}


@pytest.mark.parametrize(
    "text",
    ["a@b.example", "https://museum.example/bot?x=1", "Ann Ice <a@b.example>; +49 30 1", "a" * 200],
)
def test_a_contact_is_a_line_of_plain_characters(text):
    assert check_contact(text) == text
    assert f"({text})" in user_agent(text)


@pytest.mark.parametrize(
    "text",
    [
        *("a@b.example\r\nX-Evil: 1", "a@b.example\n", "a\tb@c", "a\0b", "a@b (Ann)", "a)"),
        *("a\\b@c", "ä@b.example", "  ", "", "a@", "a" * 201, "a\x7fb", "a\u2028b", "\x1b[31ma@b"),
    ],
)  # fmt: skip
def test_a_contact_that_no_header_can_hold_is_refused(text):
    with pytest.raises(UsageError, match="in one line"):
        check_contact(text)


@given(st.text(max_size=40))
def test_no_contact_breaks_out_of_its_comment(text):
    try:
        agent = user_agent(check_contact(text))
    except UsageError:
        return
    assert agent.isprintable() and agent.isascii()
    assert agent.count("(") == agent.count(")") == 1


def test_nothing_of_the_surroundings_is_used(tmp_path, monkeypatch):
    (tmp_path / ".netrc").write_text("default login me password canary\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with run_server() as server:
        cookie = {"Set-Cookie": "a=1; Path=/"}
        server.routes["/a.png"] = lambda query: Answer(b"png", headers=cookie)
        options = NetOptions(Endpoint.parse(server.url), ONE_TRY)
        with connect(SERVICE, tmp_path, options=options) as net:
            for _ in range(2):
                assert isinstance(net.media.get(Want(f"{server.url}/a.png")), Got)
    assert [set(h) & {"authorization", "cookie"} for h in server.headers] == [set(), set()]
