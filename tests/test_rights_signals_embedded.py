"""What an image's own bytes say: XMP in each format, Content Credentials signed here, damage."""

import io
import zlib
from dataclasses import replace
from functools import partial
from pathlib import Path

import c2pa
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from servers import run_server
from speaking_images import (
    DMI,
    KIND,
    entries,
    image,
    mining,
    packet,
    sign,
    with_chunk,
    with_segments,
)

from curate.dataset.folder import Store
from curate.dataset.sample import Sample, Signal
from curate.errors import InputError
from curate.rights.signals import content_credentials, embedded
from curate.rights.signals.blocks import read_blocks
from curate.rights.signals.collect import signals_of
from curate.rights.signals.embedded import (
    READER_VERSION,
    WITHOUT_CREDENTIALS,
    read_bytes,
    read_embedded,
)
from curate.rights.signals.xmp import read_xmp
from curate.system.progress import Progress

NO, YES, UNREAD = False, True, None


def said(data: bytes) -> tuple[dict[str, bool | None], bool | None]:
    """Signals by name, and whether AI made it, from bytes."""
    read = read_bytes(data)
    assert all(signal["scope"] == "item" for signal in read["embedded"])
    return {s["name"]: s["allows"] for s in read["embedded"]}, read["ai_embedded"]


@pytest.mark.parametrize(
    ("inner", "attributes", "found"),
    [
        ("", f'plus:DataMining="{DMI}PROHIBITED"', {"xmp:DMI-PROHIBITED": NO}),
        (f'<plus:DataMining rdf:resource="{DMI}PROHIBITED"/>', "", {"xmp:DMI-PROHIBITED": NO}),
        (f"<plus:DataMining> {DMI}ALLOWED\n</plus:DataMining>", "", {"xmp:DMI-ALLOWED": YES}),
        ("<plus:DataMining>DMI-ALLOWED</plus:DataMining>", "", {"xmp:DMI-ALLOWED": YES}),
        ("<plus:DataMining>dmi-prohibited</plus:DataMining>", "", {"xmp:DMI-PROHIBITED": NO}),
        (f"<plus:DataMining>{DMI}UNSPECIFIED</plus:DataMining>", "", {}),
        ("<plus:DataMining/>", "", {}),
        ("<plus:DataMining>ask me</plus:DataMining>", "", {"xmp:unread": UNREAD}),
        (f"<dcterms:DataMining>{DMI}ALLOWED</dcterms:DataMining>", "", {"xmp:unread": UNREAD}),
        (
            f"<dcterms:DataMining>{DMI}PROHIBITED</dcterms:DataMining>",
            "",
            {"xmp:DMI-PROHIBITED": NO},
        ),
        (
            f"<plus:DataMining><rdf:Bag><rdf:li>{DMI}PROHIBITED</rdf:li></rdf:Bag>"
            "</plus:DataMining>",
            "",
            {"xmp:DMI-PROHIBITED": NO},
        ),
        (
            f"<plus:DataMining>{DMI}PROHIBITED</plus:DataMining>",
            f'plus:DataMining="{DMI}ALLOWED"',
            {"xmp:DMI-ALLOWED": YES, "xmp:DMI-PROHIBITED": NO},
        ),
        ("<dcterms:title>DMI-PROHIBITED, a title</dcterms:title>", "", {}),
        ("<tdm:reservation>1</tdm:reservation>", "", {"xmp:tdm-reservation:1": NO}),
        ("", 'tdm:reservation="0"', {"xmp:tdm-reservation:0": YES}),
        ("", 'dcterms:provenance="https://c.example/m.c2pa"', {"c2pa:remote": UNREAD}),
        ("", 'dcterms:provenance="self#jumbf=/c2pa/x"', {}),
        ("", "", {}),
    ],
)
def test_xmp_is_read_however_it_is_written(inner, attributes, found):
    signals, ai = read_xmp(packet(inner, attributes))
    assert ({s.name: s.allows for s in signals}, ai) == (found, None)


@pytest.mark.parametrize(
    "term",
    [
        *("", "-AIMLTRAINING", "-GENAIMLTRAINING", "-EXCEPTSEARCHENGINEINDEXING"),
        *("-SEECONSTRAINT", "-SEEEMBEDDEDRIGHTSEXPR", "-SEELINKEDRIGHTSEXPR", "-OF-TOMORROW"),
    ],
)
def test_every_prohibition_of_plus_refuses(term):
    assert read_xmp(mining(f"PROHIBITED{term}"))[0] == [
        Signal(f"xmp:DMI-PROHIBITED{term}", NO, "item")
    ]


@pytest.mark.parametrize(
    ("written", "ai"),
    [
        (f"{KIND}trainedAlgorithmicMedia", True),
        (f"{KIND.replace('http:', 'https:')}compositeWithTrainedAlgorithmicMedia/", True),
        ("trainedalgorithmicmedia", True),
        (f"{KIND}digitalCapture", False),
        (f"{KIND}algorithmicMedia", False),
        (f"{KIND}compositeSynthetic", None),  # perhaps by AI, perhaps by other means
        ("", None),
    ],
)
def test_whether_ai_made_it_is_read_from_the_source_type(written, ai):
    element = f"<Iptc4xmpExt:DigitalSourceType>{written}</Iptc4xmpExt:DigitalSourceType>"
    assert read_xmp(packet(element)) == ([], ai)
    assert read_xmp(packet("", f'Iptc4xmpExt:DigitalSourceType="{written}"')) == ([], ai)


def test_a_named_ai_system_is_a_sign_of_ai():
    assert read_xmp(packet("", 'Iptc4xmpExt:AISystemUsed="A Model"')) == ([], True)
    assert read_xmp(packet("<Iptc4xmpExt:AISystemUsed/>")) == ([], None)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_each_format_gives_its_packet(form):
    assert said(image(form, mining("PROHIBITED"))) == ({"xmp:DMI-PROHIBITED": NO}, None)
    assert said(image(form)) == ({}, None)


def test_extended_xmp_is_put_together_by_its_offsets():
    whole = mining("PROHIBITED-AIMLTRAINING")
    half = len(whole) // 2

    def part(offset: int, data: bytes) -> bytes:
        head = b"http://ns.adobe.com/xmp/extension/\0" + b"A" * 32
        return head + len(whole).to_bytes(4, "big") + offset.to_bytes(4, "big") + data

    data = with_segments(part(half, whole[half:]), part(0, whole[:half]))
    assert said(data) == ({"xmp:DMI-PROHIBITED-AIMLTRAINING": NO}, None)


def test_xmp_under_a_damaged_name_or_inside_exif_is_found():
    xmp = mining("PROHIBITED")
    exif = b"Exif\0\0MM\0*\0\0\0\x08" + xmp + bytes(9)
    found = {"xmp:DMI-PROHIBITED": NO}
    for name in (b"XMP\0://ns.adobe.com/xap/1.0/\0", b"http://ns.adobe.com/xap/1.1/\0"):
        assert said(with_segments(name + xmp)) == (found, None)
    assert said(with_segments(exif)) == (found, None)
    assert said(with_chunk(b"eXIf", exif[6:])) == (found, None)
    webp = image("WEBP")
    assert said(webp + b"EXIF" + len(exif).to_bytes(4, "little") + exif) == (found, None)
    assert said(with_segments(b"Exif\0\0MM\0*")) == ({}, None)


def test_png_texts_of_other_programs_are_read():
    xmp = mining("PROHIBITED")
    profile = b"\nxmp\n%8d\n%s\n" % (len(xmp), xmp.hex().encode())
    for data in (
        with_chunk(b"tEXt", b"XML:com.adobe.xmp\0" + xmp),
        with_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp),
        with_chunk(b"zTXt", b"Raw profile type xmp\0\0" + zlib.compress(profile)),
    ):
        assert said(data) == ({"xmp:DMI-PROHIBITED": NO}, None)
    assert said(with_chunk(b"tEXt", b"Comment\0" + xmp)) == ({}, None)


def test_damaged_xmp_still_refuses_and_never_allows():
    refusal, allowance = mining("PROHIBITED"), mining("ALLOWED")
    for cut in (30, 50, 70):
        assert read_xmp(refusal[:-cut]) == ([Signal("xmp:DMI-PROHIBITED", NO, "item")], None)
        assert read_xmp(allowance[:-cut]) == ([Signal("xmp:unread", UNREAD, "item")], None)
    utf16 = refusal.decode().encode("utf-16")
    assert read_xmp(utf16)[0] == [Signal("xmp:DMI-PROHIBITED", NO, "item")]
    assert read_xmp(utf16[:-90])[0] == [Signal("xmp:DMI-PROHIBITED", NO, "item")]


def test_no_entity_is_expanded():
    laughs = "".join(f'<!ENTITY l{n + 1} "{f"&l{n};" * 10}">' for n in range(9))
    bomb = f'<!DOCTYPE x [<!ENTITY l0 "ha">{laughs}]>'.encode()
    body = mining("ALLOWED").partition(b"?>")[2].replace(b"ALLOWED", b"ALLOWED&l9;")
    assert read_xmp(bomb + body) == ([Signal("xmp:unread", UNREAD, "item")], None)
    outside = b'<!DOCTYPE x SYSTEM "file:///etc/passwd">' + mining("PROHIBITED").partition(b"?>")[2]
    assert read_xmp(outside)[0] == [Signal("xmp:DMI-PROHIBITED", NO, "item")]


def test_a_packet_beyond_its_bound_is_not_unpacked_but_told():
    huge = b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(bytes(40 << 20), 9)
    assert len(huge) < 200_000
    assert said(with_chunk(b"iTXt", huge)) == ({"xmp:unread": UNREAD}, None)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_content_credentials_are_read_in_each_format(form):
    data = sign(entries("cawg", ai_generative_training="notAllowed"), form=form)
    assert said(data) == ({"cawg:ai_generative_training=notAllowed": NO}, False)


@pytest.mark.parametrize(
    ("assertion", "found"),
    [
        (entries("cawg", ai_training="notAllowed"), {"cawg:ai_training=notAllowed": NO}),
        (entries("cawg", data_mining="constrained"), {"cawg:data_mining=constrained": NO}),
        (
            entries("c2pa", ai_generative_training="constrained"),
            {"c2pa:ai_generative_training=constrained": NO},
        ),
        (
            entries("cawg", ai_generative_training="allowed", ai_training="notAllowed"),
            {"cawg:ai_generative_training=allowed": YES, "cawg:ai_training=notAllowed": NO},
        ),
        (
            entries("cawg", ai_generative_training="allowed"),
            {"cawg:ai_generative_training=allowed": YES},
        ),
        (entries("cawg", ai_training="allowed"), {}),  # of models that make no images
        (entries("cawg", ai_inference="notAllowed"), {}),
    ],
)
def test_each_use_of_training_and_mining_is_weighed(assertion, found):
    assert said(sign(assertion))[0] == found


def test_ai_made_is_read_from_the_actions_also_those_of_what_it_was_made_of():
    by_ai = {"action": "c2pa.created", "digitalSourceType": f"{KIND}trainedAlgorithmicMedia"}
    made = sign(("c2pa.actions", {"actions": [by_ai]}))
    assert said(made) == ({}, True)
    assert said(sign(parent=made)) == ({}, True)
    assert said(sign()) == ({}, False)


@pytest.mark.parametrize("label", ["cawg.metadata", "stds.iptc"])
def test_metadata_in_a_manifest_is_read_like_xmp(label):
    spaces = {
        "plus": "http://ns.useplus.org/ldf/xmp/1.0/",
        "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    }
    content = {"@context": spaces, "plus:DataMining": f"{DMI}PROHIBITED"}
    content["Iptc4xmpExt:DigitalSourceType"] = f"{KIND}trainedAlgorithmicMedia"
    assert said(sign((label, content))) == ({"xmp:DMI-PROHIBITED": NO}, True)
    content["plus:DataMining"] = f"{DMI}ALLOWED"
    made = sign((label, content))
    assert said(made)[0] == {"xmp:DMI-ALLOWED": YES}
    assert said(sign(parent=made))[0] == {}


def test_a_refusal_goes_on_in_what_is_made_of_it_and_an_allowance_does_not():
    refused = sign(entries("cawg", ai_generative_training="notAllowed"))
    allowed = sign(entries("cawg", ai_generative_training="allowed"))
    assert said(sign(parent=refused))[0] == {"cawg:ai_generative_training=notAllowed": NO}
    assert said(sign(parent=allowed))[0] == {}
    both = sign(entries("cawg", ai_generative_training="allowed"), parent=refused)
    assert set(said(both)[0].values()) == {NO, YES}


def test_where_the_image_was_changed_after_signing_a_refusal_counts_and_an_allowance_does_not():
    def change_pixels(data: bytes) -> bytes:
        at = data.rindex(b"\xff\xd9") - 3
        return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]

    refused = sign(entries("cawg", ai_generative_training="notAllowed"))
    allowed = sign(entries("cawg", ai_generative_training="allowed"))
    found = {"cawg:ai_generative_training=notAllowed": NO}
    assert said(change_pixels(refused))[0] == found
    assert said(change_pixels(allowed))[0] == {}


def test_a_manifest_that_is_broken_is_told():
    data = sign(entries("cawg", ai_generative_training="notAllowed"), form="PNG")
    at = data.index(b"jumb")
    broken = data[: at + 30] + bytes(200) + data[at + 230 :]
    assert read_blocks(broken).credentials
    assert said(broken)[0] == {"c2pa:unread": UNREAD}


@pytest.mark.parametrize("content", [None, [], {"entries": []}, {"entries": {"cawg.x": 3}}])
def test_odd_assertions_are_told_or_say_nothing(content):
    store = {
        "validation_state": "Valid",
        "active_manifest": "m",
        "manifests": {"m": {"assertions": [{"label": "cawg.training-mining", "data": content}]}},
    }
    signals, ai = content_credentials.read_manifest_store(store)
    assert all(s.allows is None for s in signals) and ai is None
    assert bool(signals) == (content != {"entries": {"cawg.x": 3}})


def test_reading_asks_nobody():
    """A manifest that lies elsewhere is named; the library left to itself would ask for it."""
    with run_server() as server:
        there = packet("", f'dcterms:provenance="{server.url}/m.c2pa"')
        signed = sign(entries("cawg", ai_training="notAllowed"))
        xmp = b"http://ns.adobe.com/xap/1.0/\0" + there
        data = signed[:2] + b"\xff\xe1" + (len(xmp) + 2).to_bytes(2, "big") + xmp + signed[2:]
        assert said(data)[0] == {"c2pa:remote": UNREAD, "cawg:ai_training=notAllowed": NO}
        for settings, asked in ((content_credentials.OFFLINE, []), ({}, ["/m.c2pa"])):
            context = c2pa.Context.from_dict(settings)
            with pytest.raises(c2pa.C2paError):
                c2pa.Reader("image/jpeg", io.BytesIO(image("JPEG", there)), context=context)
            assert server.paths() == asked


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def row(store: Store, data: bytes, number: int = 0) -> Sample:
    return Sample(f"test-{number}", "test", sha256=store.put(data))


def test_rows_are_filled_once_an_image_and_equal_bytes_once(store):
    data = image("PNG", mining("PROHIBITED"))
    rows = [
        row(store, data, 0),
        replace(row(store, data, 1), dropped="duplicate:test-0"),
        Sample("test-2", "test", dropped="gone:404"),
        row(store, image(), 3),
    ]

    filled = read_embedded(rows, store)
    assert [s.key for s in filled] == [s.key for s in rows]
    refusal = (Signal("xmp:DMI-PROHIBITED", NO, "item"),)
    assert [s.embedded for s in filled] == [refusal, refusal, (), ()]
    assert [s.embedded_by for s in filled] == [READER_VERSION, READER_VERSION, None, READER_VERSION]
    assert signals_of(filled[0], store) == refusal
    store.path_of(filled[0].sha256).unlink()
    assert read_embedded(filled, store) == filled, "nothing is read again"
    with pytest.raises(InputError, match="stored image cannot be read"):
        read_embedded([replace(filled[0], embedded_by="0")], store)


def test_without_the_extra_credentials_are_told_and_read_once_it_is_there(store, monkeypatch):
    data = sign(entries("cawg", ai_training="notAllowed"))
    plain = image("JPEG", mining("ALLOWED"))
    rows = [row(store, data, 0), row(store, plain, 1)]
    (without,) = (read_bytes_without_extra(data, monkeypatch),)
    assert without == {
        "embedded": [{"name": "c2pa:unread", "allows": None, "scope": "item"}],
        "ai_embedded": None,
        "embedded_by": WITHOUT_CREDENTIALS,
    }
    unread = (Signal("c2pa:unread", UNREAD, "item"),)
    rows[0] = replace(rows[0], embedded=unread, embedded_by=WITHOUT_CREDENTIALS)
    with monkeypatch.context() as patched:
        patched.setattr(embedded, "can_read_credentials", lambda: False)
        told = Told()
        assert read_embedded(rows[:1], store, told) == rows[:1], "not again while it is missing"
    assert told.said == [
        "images held back for Content Credentials that are not read: 1; "
        'pip install "fubuki[opt-outs]", then curate check, reads them'
    ]
    filled = read_embedded(rows, store)
    assert filled[0].embedded == (Signal("cawg:ai_training=notAllowed", NO, "item"),)
    assert filled[0].embedded_by == READER_VERSION
    assert filled[1].embedded == (Signal("xmp:DMI-ALLOWED", YES, "item"),)


class Told(Progress):
    """What a user is told."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, sentence: str) -> None:
        self.said.append(sentence)


def read_bytes_without_extra(data: bytes, monkeypatch) -> dict[str, object]:
    with monkeypatch.context() as patched:
        patched.setattr(embedded, "can_read_credentials", lambda: False)
        return read_bytes(data)


def test_an_image_over_which_the_reader_dies_is_told(store, monkeypatch):
    little = partial(embedded.sandbox.run_jobs, memory=8 << 20)
    monkeypatch.setattr(embedded.sandbox, "run_jobs", little)
    large = image() + bytes(64 << 20)
    (filled,) = read_embedded([row(store, large)], store)
    assert filled.embedded == (Signal("embedded:unread", UNREAD, "item"),)
    assert filled.embedded_by == READER_VERSION


CREDENTIALS = sign(entries("cawg", ai_generative_training="allowed"))
STARTS = [CREDENTIALS, *(image(form, mining("PROHIBITED")) for form in ("JPEG", "PNG", "WEBP"))]


@given(st.sampled_from(STARTS), st.data())
@examples(max_examples=60)
def test_no_damage_breaks_the_reader_or_makes_an_allowance(start, data):
    changed = bytearray(start)
    for _ in range(data.draw(st.integers(1, 8))):
        changed[data.draw(st.integers(0, len(start) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(start)))
    for damaged in (bytes(changed), start[:cut]):
        signals, _ = said(damaged)
        if start is not CREDENTIALS:
            assert True not in signals.values()


@given(st.binary(max_size=200))
def test_no_bytes_break_the_walk(data):
    for start in (b"", b"\xff\xd8\xff\xe1", b"\x89PNG\r\n\x1a\n", b"RIFF\x10\x00\x00\x00WEBP"):
        read_blocks(start + data)
