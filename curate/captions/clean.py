"""What a source says of an image (texts, title, tags, file name) -> clean English captions."""

import html
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import groupby, islice
from pathlib import PurePosixPath
from typing import Any

from curate.dataset.engine import LOCAL, Engine, run_jobs
from curate.dataset.sample import DUPLICATE, Caption, Sample
from curate.dataset.sample_table import row_type
from curate.errors import InputError, UsageError
from curate.system.sandbox import JobResult, WorkerFailure
from curate.text import tokens
from curate.text.word_lists import read_sections

# what the step looks at, and what it writes
READS = ("source", "file_name", "title", "tags", "texts", "train")
FILLS = ("captions",)
_TEXTS = ("key", "source", "file_name", "title", "tags", "texts")  # what captions are made of
ROWS_A_JOB = 1024  # on a cluster

LATIN_SHARE = 0.75  # of a text's letters; below it the text is in another script
KEYED = ("shards", "hf")  # sources whose images have keys and no names: these say nothing
TAGS_A_CAPTION = 6
LONGEST_TAG = 40  # characters; a longer one is a sentence or spam
LONGEST_SUBJECT = 3  # words; a longer title says enough without tags
IMAGE_EXTENSION = r"(?:jpe?g|png|webp|gif|tiff?|bmp|svg|heic)"
LINK = re.compile(r"\b(?:https?://|www\.)\S+|\S+@\S+\.\S+", re.IGNORECASE)
UUID = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", re.IGNORECASE)
SIZE = re.compile(r"(?<![A-Za-z0-9])\d{2,5} ?[x×] ?\d{2,5}(?: ?px)?(?![A-Za-z0-9])", re.IGNORECASE)
HASH = re.compile(r"\b(?=[0-9a-f]*\d)(?=[0-9a-f]*[a-f])[0-9a-f]{8,}\b", re.IGNORECASE)
LONG_NUMBER = re.compile(r"(?<![\w.,])[\d_-]{5,}(?![\w.,])")
_NOISE = read_sections("captions/noise.txt")
NAMELESS_WORDS = _NOISE["nameless words"].keys()
NAMELESS_FOLDERS = _NOISE["nameless folders"].keys()


def _any_of(section: str) -> str:
    """A regular expression that finds each entry of a section."""
    return f"(?:{'|'.join(map(re.escape, _NOISE[section]))})"


NUMBERED_NAME = re.compile(
    rf"(?<![A-Za-z]){_any_of('numbered names')}[ _-]*\(?\d[\d_ -]*(?:at [\d.]+)?\)?(?![A-Za-z])"
    r"|(?<![A-Za-z])(?:p\d{7}|wa\d{4})(?![A-Za-z0-9])",
    re.IGNORECASE,
)
CAMERA_NOISE = re.compile(
    rf"\b(?:canon ?{_any_of('canon series')}(?: ?\w*\d\w*)?(?: ?mark ?[iv\d]+)?"
    rf"|nikon ?[dz]\d+\w*|sony ?{_any_of('sony series')}[\w-]*\d+\w*"
    rf"|{_any_of('camera brands')} [\w-]*\d[\w-]*"
    r"|iphone ?\d+\w*(?: pro)?(?: max)?|gopro(?: hero ?\d*)?"
    r"|\d{2,3}(?:-\d{2,3})? ?mm(?: f/?\d[\d.]*)?|f/\d[\d.]*|iso ?\d{2,6})\b",
    re.IGNORECASE,
)
FILLER = re.compile(
    rf"\b(?:(?:free )?{_any_of('wallpaper kinds')}(?: {_any_of('further wallpaper kinds')})*"
    rf" (?:wallpapers?|backgrounds?)|{_any_of('quality')}|hi-?res|\d+ ?dpi"
    rf"|royalty[- ]free|stock {_any_of('stock')})\b",
    re.IGNORECASE,
)


def caption(rows: Sequence[Sample], *, per_image: int = 4, engine: Engine = LOCAL) -> list[Sample]:
    """Fill `captions` from what came with each image, and with its copies.

    Args:
        rows: samples.
        per_image: captions an image gets at most.
        engine: where texts are cleaned.

    Raises:
        UsageError: `per_image` is below 1.
    """
    if per_image < 1:
        raise UsageError("--per-image", f"{per_image} is below 1", fix="--per-image 4")
    copies = _copies_by_key(rows)
    groups = ((s, copies.get(s.key, ())) for s in rows)
    found: Iterable[tuple[Caption, ...]]
    if engine.name == "local":
        found = (captions_for(s, others, per_image=per_image) for s, others in groups)
    else:
        found = _captions_by_jobs(groups, per_image, engine)
    return [replace(s, captions=made) for s, made in zip(rows, found, strict=True)]


def _captions_by_jobs(
    groups: Iterable[tuple[Sample, Sequence[Sample]]], per_image: int, engine: Engine
) -> Iterator[tuple[Caption, ...]]:
    said = ([_texts_of(s), *map(_texts_of, others)] for s, others in groups)
    jobs = ({"groups": part, "per_image": per_image} for part in _batched(said))
    for answer in run_jobs(f"{__name__}:caption_job", jobs, engine=engine):
        if isinstance(answer, WorkerFailure):
            problem = f"could not be written ({answer.reason})"
            raise InputError("captions", problem, fix="the same command without --engine")
        for captions in answer[0]["captions"]:
            yield tuple(Caption(*one) for one in captions)


def _batched(values: Iterator[Any]) -> Iterator[list[Any]]:
    while part := list(islice(values, ROWS_A_JOB)):
        yield part


def _texts_of(sample: Sample) -> list[Any]:
    return [getattr(sample, name) for name in _TEXTS]


def caption_job(groups: Sequence[Sequence[Any]], per_image: int) -> JobResult:
    """The captions of images, each given as its own texts and those of its copies; for `run_jobs`.

    Returns:
        Text and origin of each caption, a list an image, as `captions`.
    """
    of = row_type(frozenset(_TEXTS))
    found = []
    for group in groups:
        sample, *copies = (of(*texts) for texts in group)
        made = captions_for(sample, copies, per_image=per_image)
        found.append([(one.text, one.origin) for one in made])
    return {"captions": found}, b""


def _copies_by_key(rows: Sequence[Sample]) -> dict[str, list[Sample]]:
    """Key of an image that stays -> its copies that may be trained on themselves, by key."""
    found = defaultdict(list)
    dropped = [s for s in rows if s.drop_reason == DUPLICATE]
    for copy in sorted(dropped, key=lambda s: s.key):
        if copy.train is not None and copy.train.decision == "allow":
            found[copy.drop_detail].append(copy)
    return found


def captions_for(
    sample: Sample, copies: Sequence[Sample] = (), *, per_image: int = 4
) -> tuple[Caption, ...]:
    """The captions of one image, best first; none where nothing was said in Latin script.

    What came with its `copies`, file names apart, follows what came with itself. A single word
    stands alone only where nothing longer can be said.
    """
    found = _own_captions(sample)
    for copy in copies:
        said = (one for one in _own_captions(copy) if one.origin != "file-name")
        found += [Caption(one.text, f"copy:{copy.key}") for one in said]
    longer = [c for c in found if " " in c.text or c.origin == "text"]
    distinct: dict[str, Caption] = {}  # each text once, whatever its case
    for one in longer or found:
        distinct.setdefault(one.text.casefold().rstrip("."), one)
    return tuple(distinct.values())[:per_image]


def _own_captions(sample: Sample) -> list[Caption]:
    """Everything that came with one image as captions.

    A text that came with the image stays as it is, apart from markup and white space. A title
    is cleaned; tags are told after it; the file name (also as a title) counts only where there is
    no text and no title.
    """
    texts = [Caption(text, "text") for text in map(plain_text, sample.texts) if _is_readable(text)]
    named_by_file = sample.title == PurePosixPath(sample.file_name or "").stem
    title, hashtags = title_words("" if named_by_file else sample.title or "")
    title = title if _is_readable(title) else ""
    is_silent = not texts and not title and sample.source not in KEYED
    name = file_name_words(sample.file_name or "") if is_silent else ""
    named = ((title, "title"), (name, "file-name"))
    found = texts + [Caption(text, origin) for text, origin in named if _is_readable(text)]
    short = _without_angle_brackets(title or (found[0].text if found else "")).strip(" .!")
    subject = short if len(short.split()) <= LONGEST_SUBJECT else ""
    return [*found, *_tag_captions(subject, clean_tags([*sample.tags, *hashtags]))]


def plain_text(text: str) -> str:
    """The text without markup and what is not seen, as `tokens.written` has it, in single spaces.

    It is in NFC.
    """

    def once(text: str) -> str:
        text = re.sub(r"</?[A-Za-z][^<>]*>", " ", html.unescape(text))
        return " ".join(unicodedata.normalize("NFC", tokens.written(text)).split())

    return _repeat_until_stable(once, text)


def title_words(title: str) -> tuple[str, list[str]]:
    """A title without the noise of files, cameras and stock sites, and the hashtags in it."""
    hashtags: list[str] = []

    def once(title: str) -> str:
        hashtags.extend(re.findall(r"(?<!\w)#(\w+)", title))
        return _clean_title_once(re.sub(r"(?<!\w)#\w+", " ", title))

    words = _repeat_until_stable(once, plain_text(title))
    nameless = set(words.casefold().split()) <= NAMELESS_WORDS or not re.search(r"[^\W\d_]", words)
    return "" if nameless else words, hashtags


def file_name_words(file_name: str) -> str:
    """The words in a file name, lower case; "" where it is only a number, a hash or a camera's."""
    stem = re.sub(
        rf"\.{IMAGE_EXTENSION}$", "", PurePosixPath(plain_text(file_name)).name, flags=re.IGNORECASE
    )
    words = _slug_words(stem).lower()
    return "" if set(words.split()) <= NAMELESS_WORDS else words


def folder_name_words(name: str) -> str:
    """What a folder's name says of the images in it; "" where it says nothing.

    The number of repeats that trainers read from it (`10_name`, kohya's sd-scripts) is none of it.
    """
    said, _ = title_words(re.sub(r"^\d+_", "", name))
    words = {word for word in said.casefold().split() if not word.isdigit()}
    nameless = words <= NAMELESS_FOLDERS | NAMELESS_WORDS
    return said if not nameless and _is_readable(said) else ""


def clean_tags(tags: Iterable[str]) -> list[str]:
    """The tags that describe, cleaned, each once, in their order."""
    found: dict[str, str] = {}
    for words in filter(None, map(_clean_tag, tags)):
        found.setdefault(words.casefold(), words)
    return list(found.values())


@lru_cache(maxsize=1 << 16)  # most tags of a set are those of many images
def _clean_tag(tag: str) -> str:
    """A tag cleaned; "" where it describes nothing."""
    words = _without_angle_brackets(plain_text(tag)).lstrip("#")
    if _is_filler(words) or re.match(r"\w+:\w+=", words):  # the latter are machine tags
        return ""
    words = _repeat_until_stable(
        lambda words: _without_angle_brackets(_clean_title_once(words)).lstrip("#"), words
    )
    words = words.lower() if words[:1].islower() else words
    worded = _is_readable(words) and re.search(r"[^\W\d_]", words)
    return words if worded and len(words) <= LONGEST_TAG and not _is_filler(words) else ""


def _without_angle_brackets(text: str) -> str:
    """The text without `<` and `>`, two of which would make markup of what is joined."""
    return " ".join(re.sub(r"[<>]", " ", text).split())


def _is_filler(tag: str) -> bool:
    return re.sub(r"[\s-]+", "_", tag.casefold()) in _NOISE["filler tags"]


def _clean_title_once(title: str) -> str:
    title = re.sub(r"^(?:file|image) ?: ?", "", plain_text(title), flags=re.IGNORECASE)
    title = re.sub(rf"\.{IMAGE_EXTENSION}$", "", title, flags=re.IGNORECASE)
    if " " not in title and re.search(r"[_-]|[a-z][A-Z]|\d", title):
        return _trim(_slug_words(title))
    title = title.replace("_", " ")
    for noise in (LINK, UUID, NUMBERED_NAME, SIZE, HASH, LONG_NUMBER, FILLER, CAMERA_NOISE):
        title = noise.sub(" ", title)
    title = re.sub(r"\(\s*\d*\s*\)|\[\s*\]|\s0\d+$", " ", title)
    title = re.sub(r"\b(\w+)(?: \1\b)+", r"\1", title, flags=re.IGNORECASE)
    shouted = " " in title.strip() and title.isupper()
    return _trim(title.lower() if shouted else title)


def _slug_words(name: str) -> str:
    """The words of a name written without spaces: `snow_storm-02`, `SnowStorm`."""
    for noise in (LINK, UUID, NUMBERED_NAME, SIZE):
        name = noise.sub(" ", name)
    name = re.sub(r"(?<=[a-z])(?=[A-Z][a-z])", " ", name)
    # a hyphen parts words, but not "x-ray" or "t-shirt"
    words = re.split(r"[\s_+.,()\[\]~]+|-(?<![^A-Za-z][A-Za-z]-)(?<!^[A-Za-z]-)", name)
    kept = [word for word in map(_without_number, words) if word]
    return " ".join(word for word, _ in groupby(kept))


def _without_number(word: str) -> str:
    """The word without a running number; "" for a bare number, a code or a stray letter.

    Boorus' counts of figures (`2girls`) are words.
    """
    if re.fullmatch(r"\d+(?:st|nd|rd|th|girls?|boys?|others?)|[234]d", word, re.IGNORECASE):
        return word
    word = re.sub(r"[-\d]+$", "", word).strip("-")
    return "" if re.search(r"\d", word) or len(word) < 2 else word


def _trim(text: str) -> str:
    return " ".join(text.split()).strip(" -–—_,;:|/~*·•")


def _repeat_until_stable(function: Callable[[str], str], text: str) -> str:
    while (after := function(text)) != text:
        text = after
    return text


def _is_readable(text: str) -> bool:
    """Whether there are words in it, most of their letters Latin; a number counts as a word."""
    if text.isascii():
        return any(c.isalnum() for c in text)
    letters = [c for c in text if c.isalpha()]
    if not letters:
        return any(c.isdigit() for c in text)
    latin = sum("LATIN" in unicodedata.name(c, "") for c in letters)
    return latin >= LATIN_SHARE * len(letters)


def _tag_captions(subject: str, tags: Sequence[str]) -> Iterator[Caption]:
    """`a picture of SUBJECT, TAG and TAG`, as often as it takes to tell all tags."""
    said = f" {subject.casefold()} "
    fresh = [tag for tag in tags if f" {tag.casefold()} " not in said]
    lead = re.sub(r"^(?:An?|The)(?= |$)", lambda article: article[0].lower(), subject)
    for start in range(0, len(fresh), TAGS_A_CAPTION):
        *before, last = filter(None, [lead, *fresh[start : start + TAGS_A_CAPTION]])
        text = f"a picture of {', '.join(before)} and {last}" if before else last
        yield Caption(text, "tags")
