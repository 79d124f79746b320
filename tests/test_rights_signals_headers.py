"""What the headers of an image say about training: each signal, however it is spelt."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from curate.dataset.sample import Signal
from curate.rights.signals.collect import header_signals, refuse_before_reading
from curate.rights.signals.headers import parse_robots_tag


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (["noai"], ("noai",)),
        (["NoAI, NoImageAI"], ("noai", "noimageai")),
        (["noindex", "noml"], ("noml",)),
        (["noindex, nofollow, none"], ()),
        (["unavailable_after: Fri, 25 Jun 2027 15:00:00 GMT, noai"], ("noai",)),
        (["noai, unavailable_after: Friday, 25-Jun-27 15:00:00 GMT"], ("noai",)),
        (["unavailable_after: 2027-06-25T15:00:00+00:00, noai"], ("noai",)),
        (["unavailable_after: Fri Jun 25 15:00:00 2027, noai"], ("noai",)),
        (["max-image-preview: large, noai"], ("noai",)),
        (["fubuki: noai"], ("noai",)),
        (["*: noai"], ("noai",)),
        (["otherbot: noai, noml"], ()),
        (["otherbot: noindex, fubuki: noml"], ("noml",)),
        (["noai, otherbot: noml"], ("noai",)),
        (["otherbot: unavailable_after: 25 Jun 2027 15:00:00 PST, noai"], ()),
        (["otherbot: noai", "noml"], ("noml",)),
        (["otherbot/2.1: noai"], ()),
        (["noaix, xnoai", "", ",,:,"], ()),
        # spellings that once went unseen
        (["noai; noimageai"], ("noai", "noimageai")),
        (["noai noimageai"], ("noai", "noimageai")),
        (["noai;"], ("noai",)),
        (['"noai"'], ("noai",)),
        (["no-ai"], ("noai",)),
        (["noai=1"], ("noai",)),
        (["fubuki/1.0: noai"], ("noai",)),
        # and others of their kind
        (["no ai"], ("noai",)),
        (["no_image_ai"], ("noimageai",)),
        (["noai: true, noml"], ("noai", "noml")),
        (["noai|noml"], ("noai", "noml")),
        (["Fubuki/1.0 (https://a.example; x@y.example) : NOAI"], ("noai",)),
        (["fubuki 1.0: noai"], ("noai",)),
        (["ｎｏａｉ"], ("noai",)),
        (["robots: noai"], ("noai",)),
    ],
)
def test_the_robots_header_is_read_as_meant(values, found):
    assert parse_robots_tag(values) == tuple(f"x-robots-tag:{name}" for name in found)


SEPARATORS = [",", ";", " ", "|", "\t", ", ", " ; "]


@given(
    st.sampled_from(["noai", "noimageai", "noml"]),
    st.lists(st.sampled_from(["noindex", "nofollow", "noarchive", "max-snippet:-1", "all"])),
    st.sampled_from(SEPARATORS),
    st.sampled_from(["{}", '"{}"', "'{}'", "{}=1", "{}=true", "({})", "{};", "{}."]),
    st.booleans(),
)
def test_no_way_to_write_a_directive_hides_it(name, others, separator, form, loud):
    written = form.format(name.upper() if loud else name)
    for words in ([written, *others], [*others, written]):
        assert f"x-robots-tag:{name}" in parse_robots_tag([separator.join(words)])


@given(st.lists(st.text(max_size=40), max_size=4))
def test_no_header_breaks_the_reader(values):
    assert all(signal.startswith("x-robots-tag:no") for signal in parse_robots_tag(values))
    assert "x-robots-tag:noai" in parse_robots_tag([*values, "noai"])


NO, YES, UNREAD = False, True, None


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("TDM-Reservation: 1", {"tdm-reservation:1": NO}),
        ("tdm-reservation:1", {"tdm-reservation:1": NO}),
        ('TDM-Reservation: "1"', {"tdm-reservation:1": NO}),
        ("TDM-Reservation: 1; policy=x", {"tdm-reservation:1": NO}),
        ("TDM-Reservation: true", {"tdm-reservation:1": NO}),
        ("TDM-Reservation: 0", {"tdm-reservation:0": YES}),
        ("TDM-Reservation: 0, 1", {"tdm-reservation:0": YES, "tdm-reservation:1": NO}),
        ("TDM-Reservation: 2", {"tdm-reservation:unread": UNREAD}),
        ("TDM-Reservation: false", {"tdm-reservation:unread": UNREAD}),
        ("TDM-Reservation: 10", {"tdm-reservation:unread": UNREAD}),
        ("TDM-Reservation:", {}),
        ("TDM-Policy: https://a.example/p", {}),
        ("Content-Usage: train-ai=n", {"content-usage:train-ai=n": NO}),
        ("Content-Usage: search=y, train-ai=n;x=1", {"content-usage:train-ai=n": NO}),
        ("Content-Usage: Train-AI=N", {"content-usage:train-ai=n": NO}),
        ('Content-Usage: train-ai="no"', {"content-usage:train-ai=n": NO}),
        ("Content-Usage: train-ai: n", {"content-usage:train-ai=n": NO}),
        ("Content-Usage: genai=n", {"content-usage:train-ai=n": NO}),
        ("Content-Usage: train-ai=y, train-ai=n", {"content-usage:train-ai=n": NO}),
        ("Content-Usage: train-ai=n, train-ai=y", {"content-usage:train-ai=n": NO}),
        ("Content-Usage: train-ai=y", {"content-usage:train-ai=y": YES}),
        ("Content-Usage: train-ai=Y", {"content-usage:unread": UNREAD}),
        ("Content-Usage: train-ai", {"content-usage:unread": UNREAD}),
        ("Content-Usage: genai=y", {}),
        ("Content-Usage: search=n", {}),
        ('Content-Usage: note="train-ai=y, train-ai=n"', {}),
        ("Content-Signal: search=yes, ai-train=no", {"content-signal:ai-train=no": NO}),
        ("Content-Signal: search=yes;AI-Train = NO", {"content-signal:ai-train=no": NO}),
        ("Content-Signal: ai-train=yes", {"content-signal:ai-train=yes": YES}),
        ("Content-Signal: ai-train=maybe", {"content-signal:unread": UNREAD}),
        ("Content-Signal: search=yes, ai-input=no", {}),
        (
            'Link: </a.css>; rel=stylesheet, <l.xml>; type="application/rsl+xml"; rel="x license"',
            {"link:rsl-license": UNREAD},
        ),
        ("Link: <https://creativecommons.org/licenses/by/4.0/>; rel=license", {}),
        ("Link: <l.xml>; type=application/rsl+xml; rel=alternate", {}),
        ("X-Robots-Tag: noindex", {}),
        ("no colon", {}),
        ("", {}),
    ],
)
def test_each_header_says_yes_no_or_what_cannot_be_read(line, said):
    assert {s.name: s.allows for s in header_signals([line])} == said
    assert all(s.scope == "item" for s in header_signals([line]))


def test_the_body_is_not_read_where_a_header_refuses_and_only_there():
    assert refuse_before_reading(["ETag: x", "TDM-Reservation: 1"]) == "opt-out:tdm-reservation:1"
    assert refuse_before_reading(["TDM-Reservation: 0"]) is None
    assert refuse_before_reading(["TDM-Reservation: 2"]) is None  # read, and then held
    assert refuse_before_reading([]) is None


SAYINGS = st.sampled_from(
    ["train-ai=n", "train-ai=y", "train-ai", "search=y", 'x="train-ai=y"', "ai-use=n", "a;b=c"]
)


@given(st.lists(SAYINGS, min_size=1))
@example(["train-ai=y", 'x="', "train-ai=n"])
def test_a_refusal_is_never_hidden_by_what_stands_beside_it(sayings):
    read = header_signals([f"Content-Usage: {', '.join(sayings)}"])
    if "train-ai=n" in sayings and '"' not in "".join(sayings):
        assert read == (Signal("content-usage:train-ai=n", False, "item"),)
    if not any(s.startswith("train-ai") for s in sayings):
        assert read == ()


@given(st.lists(st.text(max_size=60), max_size=5))
def test_no_lines_break_the_readers(lines):
    names = ("X-Robots-Tag", "TDM-Reservation", "Content-Usage", "Content-Signal", "Link")
    header_signals([*lines, *(f"{name}: {line}" for name in names for line in lines)])
