"""The page for looking: whole in one file, deaf to hostile texts, the same every time."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import pytest
from coverage_reports import HOSTILE, complete, item, large, report

from curate.coverage.verdicts import MEANINGS, UNIT_KINDS, VERDICTS
from curate.prompts.reader import Prompt
from curate.report import page
from curate.report.thumbnails import Thumbnail


class Read(HTMLParser):
    """What a browser would find in a page: tags with attributes, and texts by their tag."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.inside: list[str] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attributes}))
        if tag in ("script", "style", "title", "b", "p", "li", "td", "h3"):
            self.inside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self.inside and self.inside[-1] == tag:
            self.inside.pop()

    def handle_data(self, text: str) -> None:
        self.texts.append((self.inside[-1] if self.inside else "", text))

    def named(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def data(self) -> dict:
        (text,) = [text for tag, text in self.texts if tag == "script" and text.startswith("{")]
        return json.loads(text)


@pytest.fixture(scope="module")
def pictures() -> dict[str, Thumbnail]:
    return {
        "t-1": Thumbnail("data:image/webp;base64,AAAA", "MIT", "folder", "https://a.test/1", "Ann"),
        "t-2": Thumbnail(None, None, None, None, None, "broken data stream"),
    }


@pytest.fixture(scope="module")
def text(pictures: dict[str, Thumbnail]) -> str:
    made, prompts = complete()
    return page.render(made, prompts, pictures=pictures)


def test_the_page_stands_alone(text: str):
    read = Read(text)
    loading = ("src", "srcset", "data", "action", "poster", "background")
    assert [a for _, attributes in read.tags for a in attributes if a in loading] == []
    assert read.named("link") == []
    assert not re.search(r"@import|url\(|@font-face", text)
    assert {a["href"] for a in read.named("a")} == {"#main"}


def test_the_policy_lets_nothing_in_but_what_the_page_holds(text: str):
    read = Read(text)
    (policy,) = (m["content"] for m in read.named("meta") if "Policy" in m.get("http-equiv", ""))
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    for tag in ("style", "script"):
        held = max((t for name, t in read.texts if name == tag and t[0] != "{"), key=len)
        digest = base64.b64encode(hashlib.sha256(held.encode()).digest()).decode()
        assert rules[f"{tag}-src"] == f"'sha256-{digest}'"
    assert not any(name.startswith("on") or name == "style" for _, a in read.tags for name in a)


def test_hostile_texts_stay_texts(text: str):
    read = Read(text)
    assert read.named("img") == []
    assert len(read.named("script")) == 2
    data = read.data()
    assert HOSTILE in data["prompts"][0][1]
    assert any(HOSTILE in caption for _, caption in data["texts"])
    assert all(HOSTILE not in value for _, attributes in read.tags for value in attributes.values())


def test_names_of_files_are_escaped_too():
    prompts = [Prompt(1, "a", ())]
    made = report([], prompts)
    made["prompts"]["path"] = HOSTILE
    made["data"] |= {"path": f"\udcff{HOSTILE}", "incomplete": [HOSTILE], "rows": {HOSTILE: 2}}
    read = Read(page.render(made, prompts))
    assert read.named("img") == []
    assert sum(HOSTILE in text for _, text in read.texts) == 5
    page.render(made, prompts).encode()


def test_an_item_is_told_in_full(text: str):
    data = Read(text).data()
    blizzard, bear, bat, car, pair, dog, *_ = data["items"]
    assert blizzard["u"] == "blizzard" and blizzard["n"] == 1 and blizzard["s"] == 0
    assert blizzard["l"] == [1, 0, 2, [3, "snowstorm"], [0], [0]]
    assert blizzard["m"] == [4, 9, 17]
    assert (blizzard["p"], blizzard["b"], blizzard["q"]) == (0.93, 57, 29)
    assert blizzard["r"] == [["storm", "synonym", 12]]
    assert blizzard["d"] == [["blizzards", 2]] and blizzard["y"] == [["wizard", 40]]
    assert bear["k"] == "phrase" and "e" not in bear and "f" not in bear
    assert bat["g"] == ["sense-risk"] and bat["z"]["shown"] == "a club"
    assert (car["x"], car["i"]) == (3.5, -2.25)
    assert pair["e"][0][0] == dog["e"][0][0], "one caption is held once"


def test_words_of_the_unit_are_marked_by_characters(text: str):
    data = Read(text).data()
    marks = {}
    for one in data["items"]:
        for place, *spans in one.get("e", ()):
            caption = data["texts"][place][1]
            marks.setdefault(one["u"], []).extend(
                caption[a:b] for a, b in zip(spans[::2], spans[1::2], strict=True)
            )
    assert marks["dog"] == ["dogs"]
    assert marks["blizzard"] == ["blizzard", "snowstorms"], "and related words that count"


def test_rights_and_reasons_stand_beside_pictures(text: str):
    pictures = {key: rest for key, *rest in Read(text).data()["pictures"]}
    uri, *rights = pictures["t-1"]
    assert uri == "data:image/webp;base64,AAAA"
    assert rights == ["MIT", "folder", "https://a.test/1", "Ann", None]
    assert pictures["t-2"] == [None, "CC0-1.0", None, None, None, "broken data stream"]
    assert pictures["t-3"][3] is None, "only http and https are links"


def test_the_same_report_gives_the_same_bytes(text: str, pictures: dict[str, Thumbnail]):
    made, prompts = complete()
    again = dict(reversed(pictures.items()))
    assert page.render(made, prompts, pictures=again) == text


def test_without_scripts_the_worst_gaps_are_there():
    prompts = [Prompt(1, "a", ())]
    gaps = [item(f"gap{n}", "word", "missing", "error", 0) for n in range(260)]
    text = page.render(
        report([*gaps, item("fine", "word", "covered", "info", 50)], prompts), prompts
    )
    cells = [text for tag, text in Read(text).texts if tag == "td"]
    assert [c for c in cells if c.startswith("gap")] == [f"gap{n}" for n in range(200)]
    assert "the worst 200 of 260 gaps" in text
    assert "260 missing" in text and "1 covered" in text


def test_incomplete_data_is_said_first():
    made, prompts = complete()
    made["data"]["incomplete"] = ["train-000001.tar: shard is missing"]
    text = page.render(made, prompts)
    assert text.index("train-000001.tar: shard is missing") < text.index('role="tablist"')
    assert "not read completely" not in page.render(*complete())


def test_changes_since_a_baseline_are_listed():
    made, prompts = complete()
    thin = {"verdict": "thin", "severity": "error", "n_images": 1}
    covered = {"verdict": "covered", "severity": "info", "n_images": 31}
    change = {"unit": "snow", "kind": "word", "negated": False, "why": ""}
    made["baseline"] = {
        "new": [],
        "closed": [change | {"before": thin, "now": covered}],
        "changed": [change | {"unit": f"w{n}", "before": thin, "now": None} for n in range(501)],
        "notes": ["the profile was lora, now it is finetune"],
    }
    told = " ".join(" ".join(text for _, text in Read(page.render(made, prompts)).texts).split())
    assert "No new gap." in told
    assert "snow thin 1 → now covered 31" in told
    assert "w499 thin 1 → now no longer asked for and 1 more; the JSON lists all" in told
    assert "the profile was lora" in told
    assert "tab-changes" not in page.render(*complete())


def test_every_verdict_and_kind_has_a_meaning():
    assert MEANINGS.keys() == VERDICTS.keys()
    assert UNIT_KINDS.keys() == {"word", "phrase", "bind", "pair", "token"}


def test_a_report_without_items_or_data_has_a_page():
    prompts = [Prompt(1, "…", ())]
    made = report([], prompts)
    made["data"] |= {"kind": "none", "images": 0, "captions": 0}
    assert "so every word counts as missing" in page.render(made, prompts)


def test_two_thousand_prompts_stay_under_ten_megabytes():
    made, prompts = large()
    assert len(prompts) == 2000 and len(made["items"]) >= 30000
    uri = "data:image/webp;base64," + "A" * 3000
    pictures = {
        f"t-{n}": Thumbnail(uri, "CC0-1.0", "openverse", None, "A. Uthor") for n in range(600)
    }
    assert len(page.render(made, prompts, pictures=pictures).encode()) < 10_000_000
