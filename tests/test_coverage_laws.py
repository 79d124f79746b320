"""What must hold of every report, whatever the prompts and captions."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from curate.commands.gaps import GapsSettings, vocab_gaps
from curate.coverage.verdicts import SEVERITIES, VERDICTS
from curate.report.report import CoverageReport, to_json

# Words with related words, other spellings, phrases and no second sense that could be mistaken.
WORDS = (
    "dog dogs puppy puppies blizzard snowstorm gray grey colour color castle castles knight "
    "dragon polar bear fire truck red blue car cars tiny meaning zorblax the of in and a"
).split()
captions = st.lists(st.sampled_from(WORDS), min_size=1, max_size=6).map(" ".join)
images = st.lists(st.lists(captions, min_size=1, max_size=2), min_size=1, max_size=12)
prompts = st.lists(captions, min_size=1, max_size=4)
numbers = st.tuples(st.integers(1, 4), st.integers(1, 8)).map(sorted)
RANK = {verdict: n for n, verdict in enumerate(VERDICTS)} | {"unknown-word": 0, "missing": 0}


def judged(
    asked: list[str], shown: list[list[str]], least: int = 2, enough: int = 4
) -> CoverageReport:
    """The report on prompts, each image given by its captions."""
    with TemporaryDirectory() as folder:
        path, data = Path(folder, "prompts.txt"), Path(folder, "captions.jsonl")
        path.write_text("\n".join(asked) + "\n", "utf-8")
        rows = [{"image": f"{n:03d}", "captions": said} for n, said in enumerate(shown)]
        data.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
        return vocab_gaps(path, GapsSettings([data], min=least, target=enough))


def found(report: CoverageReport) -> dict[tuple[str, str], tuple[str, int]]:
    return {(i.kind, i.unit): (i.verdict, i.images) for i in report.items}


@settings(max_examples=40)  # each a report from files
@given(prompts, images, numbers, st.randoms())
def test_a_caption_with_the_word_never_makes_it_worse(asked, shown, wanted, chance):
    before = judged(asked, shown, *wanted)
    words = [i for i in before.items if i.kind == "word"]
    word = chance.choice(words)
    said = [*shown, [f"{word.unit} and castle"]]
    after = found(judged(asked, said, *wanted))["word", word.unit]
    assert RANK[after[0]] >= RANK[word.verdict]
    assert after[1] == word.images + 1


@settings(max_examples=40)  # each a report from files
@given(prompts, images, st.randoms())
def test_the_order_of_images_and_copies_of_an_image_change_nothing(asked, shown, chance):
    rows = [{"image": f"{n:03d}", "captions": said} for n, said in enumerate(shown)]
    told = []
    for given_rows in (rows, [*rows, chance.choice(rows)]):
        with TemporaryDirectory() as folder:
            path, data = Path(folder, "prompts.txt"), Path(folder, "captions.jsonl")
            path.write_text("\n".join(asked), "utf-8")
            mixed = chance.sample(given_rows, len(given_rows))
            data.write_text("".join(json.dumps(row) + "\n" for row in mixed), "utf-8")
            report = to_json(vocab_gaps(path, GapsSettings([data])))
            told.append({name: report[name] for name in ("items", "summary")})
    assert told[0] == told[1]


@settings(max_examples=40)  # each a report from files
@given(prompts, images)
def test_the_order_of_prompts_changes_nothing_but_their_lines(asked, shown):
    turned = list(reversed(asked))
    assert found(judged(asked, shown)) == found(judged(turned, shown))


@settings(max_examples=40)  # each a report from files
@given(prompts, images, st.sampled_from(["(%s:1.3)", "((%s))", "[%s]", "%s, ", "{%s}"]))
def test_weights_and_capitals_change_no_word(asked, shown, written):
    plain = found(judged(asked, shown))
    weighted = [" ".join(written % word for word in line.split()) for line in asked]
    for other in (weighted, [line.upper() for line in asked], [line.title() for line in asked]):
        changed = found(judged(other, shown))
        assert {k: v for k, v in changed.items() if k[0] == "word"} == {
            k: v for k, v in plain.items() if k[0] == "word"
        }


@settings(max_examples=40)  # each a report from files
@given(images, st.sampled_from(["dog", "puppy", "castle", "knight", "car", "truck", "bear"]))
def test_the_plural_of_a_word_is_judged_like_the_word(shown, word):
    plural = "puppies" if word == "puppy" else word + "s"
    assert found(judged([word], shown)) == found(judged([plural], shown))


@settings(max_examples=40)  # each a report from files
@given(images, st.sampled_from([("gray", "grey"), ("colour", "color")]), numbers)
def test_british_and_american_spelling_have_the_same_severity(shown, spelled, wanted):
    one, other = (
        next(i for i in judged([word], shown, *wanted).items if i.unit == word) for word in spelled
    )
    assert one.severity == other.severity
    assert one.images == other.images


@settings(max_examples=40)  # each a report from files
@given(prompts, images)
def test_every_word_of_a_prompt_is_an_item_whose_span_is_what_stands_there(asked, shown):
    report = judged(asked, shown)
    words = {(m.line, m.start) for i in report.items if i.kind == "word" for m in i.mentions}
    wanted = {(p.line, t.start) for p in report.prompts for t in p.tokens}
    assert words == wanted
    for item in report.items:
        assert item.severity in SEVERITIES
        for m in item.mentions:
            assert asked[m.line - 1][m.start : m.end] == m.text


@settings(max_examples=40)  # each a report from files
@given(images, st.integers(1, 3))
def test_counts_are_of_distinct_images(shown, least):
    report = judged(["dog blizzard red car"], shown, least, 4)
    for item in (i for i in report.items if i.kind == "word"):
        related = sum(via.images for via in item.levels.related.values())
        assert item.images + related <= len(shown)
