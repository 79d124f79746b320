"""The gold set agrees with its own counter, and the scorer calls each kind of error by name."""

import json
import re
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import gold_files  # noqa: E402
import score_gold  # noqa: E402
from gold_files import Caption, GoldError, parse_prompts  # noqa: E402

TABLE = {
    "dog": frozenset({"dog", "dogs"}),
    "person": frozenset({"person", "people"}),
    "ruin": frozenset({"ruin", "ruined"}),
}
GOLD = parse_prompts(
    """\
# a comment
prompt: red dogs beside a fire truck, masterpiece --no people
source: PartiPrompts
  function-word: a, beside
  control-token: --no
  meta: masterpiece
  negated: people
  covered: red, truck
  missing: dog
  low | thin: fire -- close to the limit
  phrase-missing: fire truck
  unseen-binding: red + dog
  pairs: all
  unseen-pair: dog + truck

prompt: crème <lora:x:0.5>
  control-token: <lora:x:0.5>
  thin: crème
  phrase-thin | none: crème shop -- a trade term
"""
)
RIGHT = [
    ("word", "red", "covered", 1, "red"),
    ("word", "dog", "missing", 1, "dogs"),
    ("word", "beside", "function-word", 1, "beside"),
    ("word", "a", "function-word", 1, "a"),
    ("word", "fire", "thin", 1, "fire"),
    ("word", "truck", "covered", 1, "truck"),
    ("word", "masterpiece", "meta", 1, "masterpiece"),
    ("token", "--no", "control-token", 1, "--no"),
    ("word", "person", "negated", 1, "people"),
    ("phrase", "fire truck", "phrase-missing", 1, "fire truck"),
    ("bind", "red + dog", "unseen-binding", 1, "red dogs"),
    ("pair", "truck + dog", "unseen-pair", 1, "truck"),
    ("word", "creme", "thin", 2, "crème"),
    ("token", "lora", "control-token", 2, "<lora:x:0.5>"),
]


def report(rows):
    texts = {n: prompt.text for n, prompt in enumerate(GOLD, start=1)}
    return {
        "items": [
            {
                "kind": kind,
                "unit": unit,
                "verdict": verdict,
                "prompts": [{"line": line, "span": span(texts[line], text), "text": text}],
            }
            for kind, unit, verdict, line, text in rows
        ]
    }


def span(prompt, text):
    start = prompt.index(text)
    return [start, start + len(text)]


def scored(rows):
    return score_gold.score(GOLD, report(rows), TABLE)


def changed(unit, verdict):
    assert any(row[1] == unit for row in RIGHT)
    return [(k, u, verdict if u == unit else v, n, t) for k, u, v, n, t in RIGHT]


def without(unit):
    return [row for row in RIGHT if row[1] != unit]


def test_a_report_that_agrees_has_no_error_left():
    outcomes = scored(RIGHT)
    measures = score_gold.totals(outcomes)
    assert score_gold.remaining(outcomes) == []
    assert measures["verdict_accuracy"] == 1
    assert measures["word_gap"]["f1"] == 1
    assert measures["word_gap"]["either_way"] == 1  # fire: low or thin
    assert measures["phrase"]["f1"] == measures["binding"]["f1"] == measures["pair"]["f1"] == 1
    assert measures["noise"] == {"reported": 0, "units": 6, "share": 0}
    assert measures["units"] == 15
    assert measures["units_with_two_labels"] == 2
    assert (measures["not_reported"], measures["not_labelled"]) == (0, 0)


@pytest.mark.parametrize("verdict", ["covered", "covered-by-variant", "not-visual"])
def test_a_true_gap_called_covered_is_listed(verdict):
    measures = score_gold.totals(scored(changed("dog", verdict)))
    assert measures["true_gaps_reported_as_covered"] == ["1: dog"]
    assert measures["word_gap"]["recall"] == 0.5


def test_a_true_gap_called_a_warning_is_missed_but_not_hidden():
    measures = score_gold.totals(scored(changed("dog", "covered-by-synonym")))
    assert measures["true_gaps_reported_as_covered"] == []
    assert measures["word_gap"]["missed"] == 1


def test_a_quality_tag_called_missing_is_noise_and_lowers_precision():
    measures = score_gold.totals(scored(changed("masterpiece", "missing")))
    assert measures["noise"] == {"reported": 1, "units": 6, "share": 0.1667}
    assert measures["word_gap"]["wrong"] == 1


def test_a_weight_called_a_gap_is_noise_too():
    outcomes = scored([*RIGHT, ("word", "0.5", "missing", 2, "0.5")])
    (error,) = score_gold.remaining(outcomes)
    assert (error["unit"], error["gold"]) == ("0.5", [score_gold.NOT_LABELLED])
    measures = score_gold.totals(outcomes)
    assert measures["noise"] == {"reported": 1, "units": 7, "share": 0.1429}
    assert (measures["word_gap"]["wrong"], measures["not_labelled"]) == (1, 1)


def test_a_unit_left_out_of_the_report_is_an_error_of_its_own():
    outcomes = scored(without("a"))
    (error,) = score_gold.remaining(outcomes)
    assert (error["unit"], error["reported"]) == ("a", score_gold.NOT_REPORTED)
    assert score_gold.totals(outcomes)["not_reported"] == 1


def test_two_labels_are_right_with_either_and_wrong_with_a_third():
    assert score_gold.remaining(scored(changed("fire", "low"))) == []
    (error,) = score_gold.remaining(scored(changed("fire", "covered")))
    assert error["gold"] == ["low", "thin"]
    assert error["reason"] == "close to the limit"


def test_phrases_bindings_and_pairs_are_missed_or_invented():
    rows = [*without("fire truck"), ("bind", "red + truck", "unseen-binding", 1, "red")]
    rows.append(("pair", "fire + truck", "unseen-pair", 1, "fire"))
    measures = score_gold.totals(scored(rows))
    assert measures["phrase"]["missed"] == 1
    assert (measures["binding"]["right"], measures["binding"]["wrong"]) == (1, 1)
    assert (measures["pair"]["right"], measures["pair"]["wrong"]) == (1, 1)


def test_a_phrase_that_need_not_be_reported_may_be_with_its_verdict():
    row = ("phrase", "crème shop", "phrase-thin", 2, "crème")
    assert score_gold.remaining(scored([*RIGHT, row])) == []
    wrong = ("phrase", "crème shop", "phrase-covered", 2, "crème")
    assert len(score_gold.remaining(scored([*RIGHT, wrong]))) == 1


def test_pairs_count_only_where_the_gold_lists_all():
    row = ("pair", "crème + lora", "unseen-pair", 2, "crème")
    assert score_gold.remaining(scored([*RIGHT, row])) == []


def test_the_order_of_a_pair_is_free_and_of_a_binding_is_not():
    assert score_gold.same_unit("truck + dogs", "dog + truck", "pair", TABLE)
    assert not score_gold.same_unit("dog + red", "red + dog", "bind", TABLE)
    assert score_gold.same_unit("ruin + dog", "ruined + dogs", "bind", TABLE)


def test_confusion_counts_every_unit_once():
    outcomes = scored(changed("dog", "covered"))
    table = score_gold.confusion(outcomes)
    assert ("missing", "covered", 1) in table
    assert ("thin", "thin", 2) in table
    assert sum(n for _, _, n in table) == len(outcomes)


def test_nothing_to_measure_is_no_perfect_score():
    assert score_gold.totals([])["verdict_accuracy"] is None


@given(st.permutations(RIGHT))
def test_the_order_of_the_items_changes_nothing(rows):
    assert scored(rows) == scored(RIGHT)


@given(st.sets(st.sampled_from([row[1] for row in RIGHT])))
def test_each_unit_left_out_is_reported_as_left_out(units):
    rows = [row for row in RIGHT if row[1] not in units]
    assert score_gold.totals(scored(rows))["not_reported"] == len(units)


def test_quiet_json_names_no_unit():
    text = json.dumps(score_gold.as_json(scored(changed("dog", "covered")), quiet=True))
    assert "dog" not in text
    assert '"true_gaps_reported_as_covered": 1' in text


def test_what_was_given_and_what_was_right_is_counted():
    found = score_gold.checked(scored(changed("dog", "covered")))
    assert found["covered"][0] < found["covered"][1]
    assert found["thin"] == [2, 2]
    assert score_gold.NOT_REPORTED not in found


def test_the_shares_that_the_report_tells_are_those_of_half_b(tmp_path):
    prompts, told = score_gold.run("b", tmp_path)
    outcomes = score_gold.score(prompts, told, gold_files.read_inflections())
    shipped = json.loads(
        (BENCHMARKS.parent / "curate" / "report" / "checked.json").read_text("utf-8")
    )
    again = "python benchmarks/score_gold.py --half b --checked curate/report/checked.json"
    assert score_gold.checked(outcomes) == shipped["verdicts"], again


def test_captions_become_one_line_an_image(tmp_path):
    path = score_gold.write_captions(
        [Caption(2, "a dog"), Caption(1, "señora")], tmp_path / "captions.jsonl"
    )
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    assert [row["captions"] for row in rows] == [["a dog"], ["a dog"], ["señora"]]
    assert len({row["image"] for row in rows}) == 3


def test_a_label_that_is_no_verdict_is_refused():
    with pytest.raises(GoldError, match="no verdict 'coverd'"):
        parse_prompts("prompt: a dog\n  coverd: dog\n")


# ---- the gold set itself

COUNTED = {"covered": (30, 10**9), "low": (5, 29), "thin": (1, 4), "missing": (0, 0)} | {
    "phrase-covered": (5, 10**9),
    "phrase-thin": (1, 4),
    "phrase-missing": (0, 0),
    "seen-pair": (5, 10**9),
    "rare-pair": (1, 4),
    "unseen-pair": (0, 0),
}
BOUNDED = {"unknown-word": 0, "not-visual": 29} | {
    f"covered-by-{how}": 4 for how in ("variant", "synonym", "narrower", "derivation")
}
HALVES = {half: gold_files.read_prompts(gold_files.GOLD / f"half_{half}.txt") for half in "ab"}
LABELS = [
    (half, prompt, label)
    for half, prompts in HALVES.items()
    for prompt in prompts
    for label in prompt.labels
]


@pytest.fixture(scope="module")
def counter():
    return gold_files.Counter(gold_files.read_captions(), gold_files.read_inflections())


def test_counted_labels_agree_with_the_counter(counter):
    wrong = []
    for half, prompt, label in LABELS:
        images = counter.count(*label.unit.split(" + "))
        ranges = [COUNTED[v] for v in label.verdicts if v in COUNTED]
        if "covered-by-variant" in label.verdicts:
            ranges = []  # the counter knows one spelling at a time
        if ranges and not any(low <= images <= high for low, high in ranges):
            wrong.append((half, prompt.text, label.unit, label.verdicts, images))
        if any(images > BOUNDED.get(v, images) for v in label.verdicts):
            wrong.append((half, prompt.text, label.unit, label.verdicts, images))
        if "sense-risk" in label.verdicts and images < 30:
            wrong.append((half, prompt.text, label.unit, label.verdicts, images))
    assert wrong == []


def test_captions_know_both_words_of_a_binding_and_of_a_pair(counter):
    for _, prompt, label in LABELS:
        if label.kind in ("bind", "pair") and "none" not in label.verdicts:
            for word in label.unit.split(" + "):
                assert counter.count(word), (prompt.text, label.unit)


def test_every_word_of_every_prompt_is_labelled():
    table = gold_files.read_inflections()
    for prompts in HALVES.values():
        for prompt in prompts:
            rest = gold_files.normal(prompt.text)
            labels = [label for label in prompt.labels if label.kind == "word"]
            for label in labels:
                if label.verdicts == ("control-token",):
                    rest = rest.replace(gold_files.normal(label.unit), " ")
            rest = re.sub(r":+[0-9.]+", " ", rest)  # weights
            for word in gold_files.words(rest):
                units = [gold_files.normal(label.unit) for label in labels]
                assert any(score_gold.same_unit(word, u, "word", table) for u in units), (
                    prompt.text,
                    word,
                )


def test_no_unit_is_labelled_twice_in_a_prompt():
    for prompts in HALVES.values():
        for prompt in prompts:
            units = [(label.kind, label.unit) for label in prompt.labels]
            assert len(units) == len(set(units)), prompt.text


def test_two_labels_always_say_why():
    assert [
        label.unit for _, _, label in LABELS if len(label.verdicts) > 1 and not label.reason
    ] == []


def test_the_halves_are_large_enough_and_share_no_prompt():
    texts = {half: [prompt.text for prompt in prompts] for half, prompts in HALVES.items()}
    assert not set(texts["a"]) & set(texts["b"])
    for half in "ab":
        assert len(texts[half]) >= 60
        assert sum(h == half and label.kind == "word" for h, _, label in LABELS) >= 350
    assert sum(label.kind == "phrase" for *_, label in LABELS) >= 40
    assert sum(label.kind == "bind" for *_, label in LABELS) >= 60


def test_the_readme_counts_the_labels_as_they_are():
    readme = (gold_files.GOLD / "README.md").read_text("utf-8")
    rows = re.findall(r"^\| ([a-z-]+) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$", readme, re.M)
    for verdict, *told in rows:
        counted = [
            sum(
                h == half and verdict in x.verdicts and (len(x.verdicts) > 1) == two
                for h, _, x in LABELS
            )
            for half in "ab"
            for two in (False, True)
        ]
        assert [int(n) for n in told] == counted, verdict
    assert {row[0] for row in rows} == {v for *_, x in LABELS for v in x.verdicts} - {"none"}


def test_quiet_prints_totals_and_no_prompt(capsys):
    outcomes = scored(changed("dog", "covered"))
    score_gold.show("half b", outcomes, quiet=True)
    quiet = capsys.readouterr().out
    assert "fire truck" not in quiet
    assert "true_gaps_reported_as_covered\t1\n" in quiet
    score_gold.show("half a", outcomes, quiet=False)
    assert "1\tword\tdog\tmissing\tcovered\tred dogs beside a fire truck" in capsys.readouterr().out
