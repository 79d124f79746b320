"""What hosts say of all they hold: robots.txt and its AI lines, tdmrep.json, ai.txt."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.dataset.evidence import StoredAnswer
from curate.rights.signals.collect import refuse_before_asking, site_signals
from curate.rights.signals.robots import matches_path, read_robots

HOST = "https://a.example"
NO, YES, UNREAD = False, True, None


def answer(path: str, body: str, *, status: int = 200, host: str = HOST) -> StoredAnswer:
    return StoredAnswer(f"{host}{path}", status, (), "2026-11-01T00:00:00Z", body)


def said(path: str, body: str, url: str, **more) -> dict[str, bool | None]:
    signals = site_signals(f"{HOST}{url}", [answer(path, body, **more)])
    assert all(s.scope == "site" for s in signals)
    return {s.name: s.allows for s in signals}


@pytest.mark.parametrize(
    ("robots", "url", "refused"),
    [
        ("User-agent: *\nDisallow: /", "/a.jpg", True),
        ("User-agent: *\nDisallow:", "/a.jpg", False),
        ("", "/a.jpg", False),
        ("<html>not found</html>", "/a.jpg", False),
        ("user-agent:*\r\ndisallow:/\r\n", "/a.jpg", True),
        ("\ufeffUser-agent: *\nDisallow: /", "/a.jpg", True),
        ("User-agent: * # all\nDisallow: / # all", "/a.jpg", True),
        ("Disallow: /", "/a.jpg", False),  # for nobody
        # whose lines they are
        ("User-agent: fubuki\nDisallow: /i/\n\nUser-agent: *\nDisallow: /", "/b.jpg", False),
        ("User-agent: fubuki\nDisallow: /i/\n\nUser-agent: *\nDisallow:", "/i/b.jpg", True),
        ("User-agent: FUBUKI/1.0\nDisallow: /", "/a.jpg", True),
        ("User-agent: otherbot\nDisallow: /", "/a.jpg", False),
        ("User-agent: k\nAllow: /\n\nUser-agent: *\nDisallow: /", "/a.jpg", True),
        ("User-agent: fubukid\nAllow: /\n\nUser-agent: *\nDisallow: /", "/a.jpg", True),
        ("User-agent: a\nUser-agent: fubuki\nDisallow: /", "/a.jpg", True),
        ("User-agent: fubuki\nSitemap: /s.xml\nUser-agent: b\nDisallow: /", "/a.jpg", True),
        ("User-agent: fubuki\nAllow: /a\n\nUser-agent: fubuki\nDisallow: /", "/b.jpg", True),
        ("User-agent: *\nContent-Signal: ai-train=yes\nDisallow: /", "/a.jpg", True),
        # which paths they mean
        ("User-agent: *\nDisallow: /\nAllow: /img/", "/img/a.jpg", False),
        ("User-agent: *\nAllow: /img/\nDisallow: /img/private", "/img/private/a.jpg", True),
        ("User-agent: *\nAllow: /img\nDisallow: /img", "/img/a.jpg", False),
        ("User-agent: *\nDisallow: /*.jpg$", "/x/a.jpg", True),
        ("User-agent: *\nDisallow: /*.jpg$", "/x/a.jpg?x=1", False),
        ("User-agent: *\nDisallow: /ä/", "/%C3%A4/c.jpg", True),
        ("User-agent: *\nDisallow: /a%2fb", "/a%2Fb/c.jpg", True),
    ],
)
def test_robots_txt_is_followed(robots, url, refused):
    reason = refuse_before_asking(f"{HOST}{url}", [answer("/robots.txt", robots)])
    assert reason == ("opt-out:robots.txt" if refused else None)
    assert (said("/robots.txt", robots, url).get("robots.txt") is False) == refused


def test_what_is_absent_refuses_nothing_and_what_another_host_says_neither():
    everything = "User-agent: *\nDisallow: /"
    url = f"{HOST}/a.jpg"
    for status, refused in [(200, True), (404, False), (403, False), (503, True)]:
        documents = [answer("/robots.txt", everything, status=status)]
        assert bool(refuse_before_asking(url, documents)) == refused, status
    for host, refused in [
        ("https://A.example", True),
        ("https://a.example:443", True),
        ("http://a.example", True),  # asked as https
        ("https://a.example.", True),
        ("https://a.example:8443", False),
        ("https://b.example", False),
        ("https://sub.a.example", False),
    ]:
        documents = [answer("/robots.txt", everything, host=host)]
        assert bool(refuse_before_asking(url, documents)) == refused, host
    assert refuse_before_asking(HOST, [answer("/robots.txt", everything)])
    bücher = [answer("/robots.txt", everything, host="https://xn--bcher-kva.example")]
    assert refuse_before_asking("https://Bücher.example/a.jpg", bücher)
    for odd in ("http://[::1", "nonsense", "https:///a.jpg", "https://a.example:x/"):
        assert site_signals(odd, [answer("/robots.txt", everything)]) == ()
        assert site_signals(url, [StoredAnswer(odd, 200, (), "", everything)]) == ()


@pytest.mark.parametrize(
    ("robots", "url", "found"),
    [
        ("User-agent: *\nContent-Usage: / train-ai=n", "/a.jpg", {"content-usage:train-ai=n": NO}),
        ("User-agent: *\nContent-Usage: train-ai=n", "/a.jpg", {"content-usage:train-ai=n": NO}),
        (
            "User-agent: *\nContent-Usage: /\ttrain-ai=y",
            "/a.jpg",
            {"content-usage:train-ai=y": YES},
        ),
        ("User-agent: *\nContent-Usage: / train-ai=q", "/a.jpg", {"content-usage:unread": UNREAD}),
        ("User-agent: *\nContent-Usage: /x/ train-ai=n", "/a.jpg", {}),
        ("User-agent: *\nContent-Usage: / search=n", "/a.jpg", {}),
        ("User-agent: other\nContent-Usage: / train-ai=n", "/a.jpg", {}),
        ("Content-Usage: / train-ai=n", "/a.jpg", {"content-usage:train-ai=n": NO}),
        (
            "User-agent: *\nContent-Usage: / train-ai=n\n\nUser-agent: fubuki\n"
            "Content-Usage: / train-ai=y",
            "/a.jpg",
            {"content-usage:train-ai=y": YES},
        ),
        (
            "User-agent: *\nContent-Signal: search=yes,ai-train=no",
            "/a.jpg",
            {"content-signal:ai-train=no": NO},
        ),
        (
            "User-agent: *\nContent-signal: ai-train=yes",
            "/a.jpg",
            {"content-signal:ai-train=yes": YES},
        ),
        ("User-agent: *\nContent-Signal: /blog/ ai-train=no", "/a.jpg", {}),
        (
            "User-agent: *\nContent-Signal: /blog/ ai-train=no",
            "/blog/a.jpg",
            {"content-signal:ai-train=no": NO},
        ),
        ("# Content-Signal: ai-train=no\nUser-agent: *", "/a.jpg", {}),
        ("License: https://a.example/l.xml\nUser-agent: *", "/a.jpg", {"rsl-license": UNREAD}),
        ("User-agent: *\nLicense: https://a.example/l.xml", "/a.jpg", {"rsl-license": UNREAD}),
        ("License:\nUser-agent: *", "/a.jpg", {}),
    ],
)
def test_the_lines_of_robots_txt_that_speak_of_ai(robots, url, found):
    named = {f"robots.txt:{name}": allows for name, allows in found.items()}
    assert said("/robots.txt", robots, url) == named


# the example of draft-ietf-aipref-attach-05, section 5.4
EXAMPLE = (
    "User-Agent: *\nAllow: /\nDisallow: /never/\nContent-Usage: / train-ai=n\n"
    "Content-Usage: /ai-ok/ train-ai=y\n\n"
    "User-Agent: ExampleBot\nAllow: /\nContent-Usage: / train-ai=y\n"
)


def test_the_example_of_the_draft_is_read_as_the_draft_reads_it():
    assert said("/robots.txt", EXAMPLE, "/test") == {"robots.txt:content-usage:train-ai=n": NO}
    assert said("/robots.txt", EXAMPLE, "/ai-ok/t") == {"robots.txt:content-usage:train-ai=y": YES}
    assert said("/robots.txt", EXAMPLE, "/never/t")["robots.txt"] is NO


def test_of_lines_with_one_path_the_most_restrictive_counts():
    yes, no = "Content-Usage: /a train-ai=y", "Content-Usage: /a train-ai=n"
    for lines in ((yes, no), (no, yes)):
        robots = "\n".join(["User-agent: *", *lines])
        assert said("/robots.txt", robots, "/a.jpg") == {"robots.txt:content-usage:train-ai=n": NO}


@pytest.mark.parametrize(
    ("rules", "url", "found"),
    [
        ([{"location": "/", "tdm-reservation": 1}], "/a.jpg", {"1": NO}),
        ([{"location": "/", "tdm-reservation": 0}], "/a.jpg", {"0": YES}),
        ([{"location": "/", "tdm-reservation": "1"}], "/a.jpg", {"1": NO}),
        ([{"location": "/", "tdm-reservation": True}], "/a.jpg", {"1": NO}),
        ([{"location": "/", "tdm-reservation": False}], "/a.jpg", {"unread": UNREAD}),
        ([{"location": "/", "tdm-reservation": 2}], "/a.jpg", {"unread": UNREAD}),
        ([{"location": "/", "tdm-reservation": None}], "/a.jpg", {}),
        ([{"location": "/", "TDM-Reservation": 1}], "/a.jpg", {"1": NO}),
        ({"location": "/", "tdm-reservation": 1}, "/a.jpg", {"1": NO}),
        ([{"location": "*", "tdm-reservation": 1}], "/a.jpg", {"1": NO}),
        ([{"location": "img/", "tdm-reservation": 1}], "/img/a.jpg", {"1": NO}),
        ([{"location": "/img/*.jpg$", "tdm-reservation": 1}], "/img/a.jpg", {"1": NO}),
        ([{"location": "/img/*.jpg$", "tdm-reservation": 1}], "/img/a.jpg?x", {}),
        ([{"location": "/b/", "tdm-reservation": 1}], "/a.jpg", {}),
        ([{"location": 7, "tdm-reservation": 1}], "/a.jpg", {"unread": UNREAD}),
        ([{"tdm-reservation": 1}], "/a.jpg", {"unread": UNREAD}),
        ([None, 3, "x"], "/a.jpg", {}),
        ([{"location": "https://a.example/i/", "tdm-reservation": 1}], "/i/a.jpg", {"1": NO}),
        ([{"location": "/", "tdm_reservation": 1}], "/a.jpg", {"1": NO}),
        ({"rules": [{"location": "/", "tdm-reservation": 1}]}, "/a.jpg", {"unread": UNREAD}),
        ("text", "/a.jpg", {}),
        # the first that matches is, as the report has it, the most specific
        (
            [{"location": "/i/", "tdm-reservation": 0}, {"location": "/", "tdm-reservation": 1}],
            "/i/a.jpg",
            {"0": YES},
        ),
        # written the other way round the first and the longest differ
        (
            [{"location": "/", "tdm-reservation": 0}, {"location": "/i/", "tdm-reservation": 1}],
            "/i/a.jpg",
            {"0": YES, "1": NO},
        ),
    ],
)
def test_tdmrep_json_is_read(rules, url, found):
    named = {f"tdmrep.json:{name}": allows for name, allows in found.items()}
    assert said("/.well-known/tdmrep.json", json.dumps(rules), url) == named


def test_a_tdmrep_json_that_is_none_says_nothing_unless_it_speaks_of_reservation():
    for body in ("<!DOCTYPE html><p>tdm-reservation", "", "[" * 100_000, "not found", "NaN"):
        assert said("/.well-known/tdmrep.json", body, "/a.jpg") == {}
    broken = '[{"location": "/", "tdm-reservation": 1},]'
    assert said("/.well-known/tdmrep.json", broken, "/a.jpg") == {"tdmrep.json:unread": UNREAD}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("User-Agent: *\nDisallow: *.jpg", {"ai.txt:disallow": NO}),
        ("User-Agent: *\nDisallow: *.JPG", {"ai.txt:disallow": NO}),
        ("User-Agent: *\nDisallow: .jpg", {"ai.txt:disallow": NO}),
        ("User-Agent: *\nDisallow: /", {"ai.txt:disallow": NO}),
        ("User-Agent: *\nDisallow: *", {"ai.txt:disallow": NO}),
        ("Disallow: /", {"ai.txt:disallow": NO}),
        ("User-Agent: *\nDisallow: *.png\nAllow: *.jpg", {"ai.txt:allow": YES}),
        ("User-Agent: *\nAllow: /x/\nDisallow: /x/", {"ai.txt:disallow": NO}),
        ("User-Agent: *\nDisallow: *.png", {}),
        ("User-Agent: other\nDisallow: /", {}),
        ("User-Agent: *\nDisallow:", {}),
        ("# My app\n\n> what this site is about: a page", {}),
        ("<html>404</html>", {}),
    ],
)
def test_ai_txt_is_read(text, found):
    assert said("/ai.txt", text, "/x/a.jpg") == found


PATHS = st.text("/abc*$.%ä ?#", max_size=12)


@given(PATHS, st.text("/abc.%?", max_size=12))
def test_a_plain_path_matches_what_begins_with_it(pattern, rest):
    matches_path(pattern, f"{HOST}/{rest}")  # whatever the pattern is
    assert matches_path("/abc", f"{HOST}/abc{rest}")
    assert not matches_path("/abd", f"{HOST}/abc{rest}")


@given(st.text(max_size=200), st.lists(st.sampled_from(["Disallow", "Content-Usage", "License"])))
def test_no_document_breaks_the_readers(text, fields):
    lines = [f"{field}: {line}" for field in fields for line in text.splitlines()]
    for body in (text, "\n".join(["User-agent: *", *lines])):
        read_robots(body)
        for path in ("/robots.txt", "/.well-known/tdmrep.json", "/ai.txt"):
            said(path, body, "/a.jpg")


@given(st.lists(st.sampled_from(["User-agent: x", "Allow: /", "Disallow:", "", "Sitemap: /s"])))
def test_what_stands_before_never_hides_a_group_for_us(lines):
    robots = "\n".join([*lines, "Allow: /", "User-agent: fubuki", "Disallow: /"])
    assert refuse_before_asking(f"{HOST}/a.jpg", [answer("/robots.txt", robots)])
