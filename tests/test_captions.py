"""Captions from what a source says."""

import json
import sqlite3
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.captions.clean import (
    caption,
    captions_for,
    clean_tags,
    file_name_words,
    folder_name_words,
    plain_text,
    title_words,
)
from curate.dataset.sample import Caption, Sample, Verdict
from curate.errors import UsageError
from curate.index.index import CaptionIndex
from curate.index.segment import Segment, clean_line, write_segment
from curate.text.tokens import words


def picture(key: str = "test-1", **fields: object) -> Sample:
    return Sample(**{"key": key, "source": "test"} | fields)


def told(**fields: object) -> list[tuple[str, str]]:
    return [(c.text, c.origin) for c in captions_for(picture(**fields))]


def test_title_then_tags():
    assert told(title="snow_storm-02", tags=("ice", "wind", "4k wallpaper", "Snow Storm")) == [
        ("snow storm", "title"),
        ("a picture of snow storm, ice and wind", "tags"),
    ]


def test_a_text_stays_as_it_is_apart_from_markup_and_space():
    text = "  A <b>RED</b>  dragon,&nbsp;drawn in IMG_1234 style&#33; #art\n"
    assert told(texts=(text,)) == [("A RED dragon, drawn in IMG_1234 style! #art", "text")]
    assert told(texts=("a < b and c > d, I <3 it",)) == [("a < b and c > d, I <3 it", "text")]


def test_the_file_name_counts_only_where_nothing_else_is_said():
    assert told(file_name="mon/ice_dragon.png") == [("ice dragon", "file-name")]
    assert told(file_name="ice_dragon.png", title="Frost wyrm") == [("Frost wyrm", "title")]
    assert told(file_name="ice_dragon.png", texts=("a wyrm",)) == [("a wyrm", "text")]
    named = {"file_name": "mon/ice_dragon.png", "title": "ice_dragon"}
    assert told(**named) == [("ice dragon", "file-name")]
    assert told(**named, texts=("a wyrm",)) == [("a wyrm", "text")]


def test_a_single_word_is_enriched_where_it_can_be():
    assert told(title="storm") == [("storm", "title")]
    assert told(title="storm", tags=("ice",)) == [("a picture of storm and ice", "tags")]
    assert told(texts=("mage",), tags=("wizard", "staff")) == [
        ("mage", "text"),
        ("a picture of mage, wizard and staff", "tags"),
    ]
    assert told(tags=("fire",)) == [("fire", "tags")]
    assert told(title="A dragon above the hills", tags=("fire",)) == [
        ("A dragon above the hills", "title")
    ]


def test_many_tags_take_several_captions():
    tags = tuple("staff hat beard robe star moon night owl".split())
    assert told(title="The Wizard", tags=tags) == [
        ("The Wizard", "title"),
        ("a picture of the Wizard, staff, hat, beard, robe, star and moon", "tags"),
        ("a picture of the Wizard, night and owl", "tags"),
    ]
    few = captions_for(picture(title="The Wizard", tags=tags), per_image=1)
    assert few == (Caption("The Wizard", "title"),)


def test_the_same_words_once_whatever_their_case():
    assert told(texts=("A cat.", "a CAT", "A cat."), title="a cat") == [("A cat.", "text")]


def test_other_scripts_are_left_out():
    assert told(texts=("雪の嵐", "a snow storm"), title="Метель", tags=("嵐", "ice")) == [
        ("a snow storm", "text"),
        ("a picture of a snow storm and ice", "tags"),
    ]
    assert told(title="雪の嵐", file_name="snow_storm.png") == [("snow storm", "file-name")]
    assert told(texts=("Ελλάδα",), file_name="雪.png") == []
    assert told(texts=("Ångström café",)) == [("Ångström café", "text")]


def test_a_number_can_be_a_given_text_but_not_a_title():
    assert told(texts=("7",)) == [("7", "text")]
    assert told(title="2019", tags=("2019", "50mm"), file_name="0042.png") == []


@pytest.mark.parametrize(
    ("title", "words"),
    [
        ("File:Snow storm in Utah 1920x1080.jpg", "Snow storm in Utah"),
        ("Canon EOS 5D Mark II snow mountain", "snow mountain"),
        ("Snow mountain, Nikon D850, 50 mm f/1.8", "Snow mountain"),
        ("Mount Olympus 4K wallpaper", "Mount Olympus"),
        ("HD wallpaper of a castle", "of a castle"),
        ("Old wallpaper in a room", "Old wallpaper in a room"),
        ("Cat on a white background", "Cat on a white background"),
        ("DRAGON ELF KNIGHT", "dragon elf knight"),
        ("NASA", "NASA"),
        ("SnowStormAtNight", "Snow Storm At Night"),
        ("https://example.org/x?y=z snow", "snow"),
        ("the the cat", "the cat"),
        ("cat 02", "cat"),
        ("cat (3)", "cat"),
        ("Apollo 11 launch", "Apollo 11 launch"),
        ("Well-known black-and-white cat", "Well-known black-and-white cat"),
        ("&amp;amp;lt;i&amp;amp;gt;cat", "cat"),
        ("cat d41d8cd98f00b204e9800998ecf8427e", "cat"),
        ("cat 123e4567-e89b-12d3-a456-426614174000", "cat"),
        ("cat 20190102_123456", "cat"),
        ("Cafe\u0301 at night", "Café at night"),
        ("cat\u0000\u200b\ud800 \x85 dog", "cat dog"),
        ("x-ray_of_hand", "x-ray of hand"),
        ("IMG_20200101_123456", ""),
        ("Screenshot 2020-01-02 at 10.22.33", ""),
        ("P1010101", ""),
        ("untitled", ""),
        ("Image 3", ""),
        ("---", ""),
        ("", ""),
    ],
)
def test_titles_lose_their_noise(title, words):
    assert title_words(title) == (words, [])


def test_hashtags_of_a_title_become_tags():
    assert title_words("Snow day #winter #IceStorm") == ("Snow day", ["winter", "IceStorm"])
    assert told(title="#winter #IceStorm") == [("a picture of winter and Ice Storm", "tags")]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("mon/dragons/Ice_Dragon.PNG", "ice dragon"),
        ("dragon2.png", "dragon"),
        ("SnowStorm(1).png", "snow storm"),
        ("woman-mage-dark-skin-tone.webp", "woman mage dark skin tone"),
        ("x-ray_skeleton3.png", "x-ray skeleton"),
        ("2nd_floor_3d.jpg", "2nd floor 3d"),
        ("cat_640x480.jpg", "cat"),
        ("cat_cat_dog.jpg", "cat dog"),
        ("IMG_1234.JPG", ""),
        ("_DSC0042.jpg", ""),
        ("IMG-20190101-WA0001.jpg", ""),
        ("PXL_20210101_101010.jpg", ""),
        ("1f600.webp", ""),
        ("d41d8cd98f00b204e9800998ecf8427e.png", ""),
        ("123e4567-e89b-12d3-a456-426614174000.png", ""),
        ("0042.png", ""),
        ("image.png", ""),
        ("download (3).png", ""),
        ("danbooru_700_cfcd208495d565ef66e7dff9f98764da.jpg", ""),
        ("pixiv_8000_p0.png", ""),
    ],
)
def test_file_names_lose_their_noise(name, words):
    assert file_name_words(name) == words


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("10_sks dog", "sks dog"),
        ("1_dog", "dog"),
        ("ohwx_man", "ohwx man"),
        ("2019-summer", "summer"),
        ("Ice Dragons", "Ice Dragons"),
        ("100_images", ""),
        ("001", ""),
        ("train", ""),
        ("New folder (2)", ""),
        ("Bilder", ""),
        ("10_", ""),
        ("\u043b\u0451\u0434", ""),
    ],
)
def test_names_of_folders_say_what_their_images_show_or_nothing(name, words):
    assert folder_name_words(name) == words


def test_tags_that_describe_nothing_are_left_out():
    tags = "4k wallpaper|HD|nikon|#snowStorm|geo:lat=1.2|stock photo|CC0|ice|Ice|copy-space|  |50mm"
    assert clean_tags(tags.split("|")) == ["snow storm", "ice"]
    assert clean_tags(["x" * 41]) == []
    assert told(title="<Elf", tags=("<b", "c>")) == [("a picture of Elf, b and c", "tags")]


def copies_of(key: str, *rows: Sample) -> list[Sample]:
    return [replace(row, dropped=f"duplicate:{key}", train=Verdict("allow", ())) for row in rows]


def test_words_of_copies_follow_its_own():
    kept = picture("test-k", texts=("a mage",))
    known = picture("test-b", texts=("an old mage with a staff", "A mage"), tags=("hat", "beard"))
    bare = picture("test-a", file_name="old_wizard.png")
    (found, *_) = captioned([kept, *copies_of("test-k", known, bare)], per_image=4)
    assert [(c.text, c.origin) for c in found.captions] == [
        ("a mage", "text"),
        ("an old mage with a staff", "copy:test-b"),
        ("a picture of hat and beard", "copy:test-b"),
    ]
    (found, *_) = captioned([kept, *copies_of("test-k", known)], per_image=1)
    assert found.captions == (Caption("a mage", "text"),)


def test_a_longer_text_of_a_copy_is_better_than_one_word():
    kept, known = picture("test-k", title="mage"), picture("test-b", texts=("a mage at sea",))
    (found, _) = captioned([kept, *copies_of("test-k", known)], per_image=4)
    assert found.captions == (Caption("a mage at sea", "copy:test-b"),)


@pytest.mark.parametrize("verdict", [None, Verdict("hold", ()), Verdict("deny", ())])
def test_words_of_a_copy_that_may_not_be_trained_on_are_not_taken(verdict):
    kept = picture("test-k", texts=("a mage",))
    (copy,) = copies_of("test-k", picture("test-b", texts=("an old mage",)))
    rows = [kept, replace(copy, train=verdict)]
    assert captioned(rows, per_image=4)[0].captions == (Caption("a mage", "text"),)


def captioned(rows: list[Sample], per_image: int) -> list[Sample]:
    """The rows after two runs, in either order: the same as after one."""
    once = caption(rows, per_image=per_image)
    again = caption(once[::-1], per_image=per_image)
    assert again == once[::-1]
    return once


def test_per_image_is_checked():
    with pytest.raises(UsageError) as caught:
        caption([], per_image=0)
    assert str(caught.value) == "--per-image: 0 is below 1\n  fix: --per-image 4"


noisy = st.text(max_size=20) | st.lists(
    st.sampled_from(
        "IMG_1234|_DSC|snow|Storm|storm|-|_|02|.jpg|#|&amp;|&lt;b&gt;|<i>|4k wallpaper|File:|x|A|"
        "1920x1080|deadbeef01|(1)| |  |https://a.b/c|Canon EOS 5D|雪|é|'|,|\u00a0|SNOW|mm|50".split(
            "|"
        )
    ),
    max_size=8,
).map("".join)


@settings(max_examples=400)
@given(noisy)
def test_cleaning_what_is_clean_changes_nothing(text):
    assert plain_text(plain_text(text)) == plain_text(text)
    words, _ = title_words(text)
    assert title_words(words) == (words, [])
    tags = clean_tags([text])
    assert clean_tags(tags) == tags


rows_of = st.lists(
    st.builds(
        Sample,
        key=st.uuids().map(lambda u: f"test-{u}"),
        source=st.just("test"),
        title=st.none() | noisy,
        tags=st.lists(noisy, max_size=8).map(tuple),
        texts=st.lists(noisy, max_size=2).map(tuple),
        file_name=st.none() | noisy,
        dropped=st.none() | st.just("duplicate:x"),
    ),
    max_size=4,
    unique_by=lambda s: s.key,
)


@given(rows_of, st.integers(1, 5))
def test_captions_are_few_distinct_and_clean(rows, per_image):
    for row in rows:
        found = captions_for(row, per_image=per_image)
        texts = [c.text for c in found]
        assert len(found) <= per_image
        assert len({t.casefold() for t in texts}) == len(texts)
        assert all(t == plain_text(t) and t.strip() for t in texts)
        assert {c.origin for c in found} <= {"text", "title", "tags", "file-name"}
        assert captions_for(row, per_image=per_image + 1)[: len(found)] == found


@settings(max_examples=12)
@given(rows_of, st.randoms())
def test_caption_is_a_step(rows, random):
    rows = [r for r in rows if "\ud800" not in repr(r)]
    once = caption(rows, per_image=3)
    assert [s.key for s in once] == [s.key for s in rows]
    assert [s.captions for s in once] == [captions_for(r, per_image=3) for r in rows]
    assert caption(once, per_image=3) == once
    shuffled = random.sample(rows, len(rows))
    again = caption(shuffled, per_image=3)
    assert {s.key: s for s in again} == {s.key: s for s in once}


@pytest.mark.corpora
def test_recorded_tags_make_sentences(corpora):
    hits = json.loads((corpora / "api" / "pixabay" / "search_page_1_2023.json").read_text())["hits"]
    for hit in hits:
        (only,) = told(tags=tuple(hit["tags"].split(", ")))[:1]
        assert only[0].startswith("a picture of ")


@pytest.mark.corpora
def test_real_names_are_kept(corpora):
    lines = (corpora / "captions" / "fluent3d_captions.tsv").read_text("utf-8").splitlines()[1:]
    for line in lines:
        file, text, _ = line.split("\t")
        if any(c.isascii() and c.isalpha() for c in text):
            assert told(file_name=file, texts=(text,)) == [(text, "text")]
            assert told(file_name=file) == []


@pytest.mark.parametrize(
    ("text", "caption"),
    [
        (
            "\U0001f469\u200d\U0001f680 in space, a woman",
            "\U0001f469\u200d\U0001f680 in space, a woman",
        ),
        ("a stone\u200bbridge, a red\0boat", "a stone bridge, a red boat"),
        (
            "the word می\u200cخواهم painted on a garden wall",
            "the word می\u200cخواهم painted on a garden wall",
        ),
        ("\ufeffa snow\u00adstorm &shy;&zwj;at night", "a snowstorm \u200dat night"),
        (
            "a heart \u2764\ufe0f of ice, \u202ereversed\u202c",
            "a heart \u2764\ufe0f of ice, reversed",
        ),
    ],
)
def test_a_caption_keeps_joiners_and_loses_what_is_not_seen(text, caption):
    assert told(texts=(text,)) == [(caption, "text")]


@given(
    st.text(alphabet="ab \u200b\u200c\u200d\ufeff\u00ad\ufe0f\0\U0001f469\U0001f680\u0645\u06cc")
)
def test_words_of_a_caption_are_those_of_the_text_that_it_comes_from(text):
    assert words(plain_text(text)) == words(text)


JOINED = (
    "ab \u200b\u200c\u200d\ufeff\u00ad\ufe0f\0\U0001f469\U0001f680\u0645\u06cc\u0915\u094d\u0937"
)


@given(st.text(alphabet=JOINED, max_size=30))
@settings(max_examples=60)
def test_every_word_of_a_prompt_is_found_in_the_index_of_the_same_caption(text):
    for caption_text in (plain_text(text), text):  # as fetched, and as it lies there
        sql = sqlite3.connect(":memory:")
        write_segment(sql, {"a": clean_line(caption_text)}, {})
        found = CaptionIndex([Segment(sql)])
        assert {w for w in words(text) if len(found.images_with_form(w)) != 1} == set()


@pytest.mark.parametrize(("source", "said"), [("folder", 1), ("shards", 0), ("hf", 0)])
def test_names_are_captions_and_keys_are_none(source, said):
    sample = Sample(key="a", source=source, file_name="set/red_fox7", title="red_fox7")
    assert len(captions_for(sample)) == said
