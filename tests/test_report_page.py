"""The page for looking: whole in one file, deaf to hostile texts, the same every time."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import pytest
from coverage_reports import HOSTILE, complete_report, item, large_report, report

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
def thumbnails() -> dict[str, Thumbnail]:
    return {
        "t-1": Thumbnail("data:image/webp;base64,AAAA", "MIT", "folder", "https://a.test/1", "Ann"),
        "t-2": Thumbnail(None, "CC0-1.0", None, None, None, "broken data stream"),
        "t-3": Thumbnail(page_url="javascript:alert(1)"),
    }


@pytest.fixture(scope="module")
def text(thumbnails: dict[str, Thumbnail]) -> str:
    made, prompts = complete_report()
    return page.render_report_page(made, prompts, thumbnails=thumbnails)


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
    assert HOSTILE in data["prompts"][0]["text"]
    assert any(HOSTILE in one["caption"] for one in whole_items(data)[4]["evidence"])
    assert all(HOSTILE not in value for _, attributes in read.tags for value in attributes.values())


def test_names_of_files_are_escaped_too():
    prompts = [Prompt(1, "a", ())]
    made = report([], prompts)
    made["prompts"]["path"] = HOSTILE
    made["data"] |= {"path": f"\udcff{HOSTILE}", "incomplete": [HOSTILE], "rows": {HOSTILE: 2}}
    read = Read(page.render_report_page(made, prompts))
    assert read.named("img") == []
    assert sum(HOSTILE in text for _, text in read.texts) == 5
    page.render_report_page(made, prompts).encode()


def whole_items(data: dict) -> list[dict]:
    """The items as the page's script makes them whole again."""

    def fill(blank: dict, given: dict) -> dict:
        nested = {k: fill(v, given.get(k, {})) for k, v in blank.items() if isinstance(v, dict)}
        return blank | given | nested

    items = data["report"]["items"]
    return [fill(data["blank"], data["verdicts"][item["verdict"]] | item) for item in items]


def test_the_page_holds_the_published_report(text: str):
    data = Read(text).data()
    made, _ = complete_report()
    items = whole_items(data)
    for one in items:
        del one["description"]
        for evidence in one["evidence"]:
            del evidence["marks"]
    for one in made["items"]:
        for mention in one["prompts"]:
            del mention["text"]  # the page has the prompts
    assert {**data["report"], "items": items} == made | {"baseline": None}
    assert "expected" not in data["report"]["items"][0], "what is blank is left out"


def test_words_of_the_unit_are_marked_by_characters(text: str):
    marks: dict[str, list[str]] = {}
    for one in whole_items(Read(text).data()):
        marks[one["unit"]] = [
            shown["caption"][a:b] for shown in one["evidence"] for a, b in shown["marks"]
        ]
    assert marks["dog"] == ["dogs"]
    assert marks["blizzard"] == ["blizzard", "snowstorms"], "and related words that count"


def test_rights_and_reasons_stand_beside_images(text: str):
    images = Read(text).data()["thumbnails"]
    assert images["t-1"] == {
        "data_uri": "data:image/webp;base64,AAAA",
        "license": "MIT",
        "source": "folder",
        "page_url": "https://a.test/1",
        "author": "Ann",
    }
    assert images["t-2"] == {"license": "CC0-1.0", "reason": "broken data stream"}
    assert images["t-3"] == {}, "only http and https are links"


def test_the_same_report_gives_the_same_bytes(text: str, thumbnails: dict[str, Thumbnail]):
    made, prompts = complete_report()
    again = dict(reversed(thumbnails.items()))
    assert page.render_report_page(made, prompts, thumbnails=again) == text


def test_without_scripts_the_worst_gaps_are_there():
    prompts = [Prompt(1, "a", ())]
    gaps = [item(f"gap{n}", "word", "missing", "error", 0) for n in range(260)]
    text = page.render_report_page(
        report([*gaps, item("fine", "word", "covered", "info", 50)], prompts), prompts
    )
    cells = [text for tag, text in Read(text).texts if tag == "td"]
    assert [c for c in cells if c.startswith("gap")] == [f"gap{n}" for n in range(200)]
    assert "the worst 200 of 260 gaps" in text
    assert "260 missing" in text and "1 covered" in text


def test_incomplete_data_is_said_first():
    made, prompts = complete_report()
    made["data"]["incomplete"] = ["train-000001.tar: shard is missing"]
    text = page.render_report_page(made, prompts)
    assert text.index("train-000001.tar: shard is missing") < text.index('role="tablist"')
    assert "not read completely" not in page.render_report_page(*complete_report())


def test_changes_since_a_baseline_are_listed():
    made, prompts = complete_report()
    thin = {"verdict": "thin", "severity": "error", "n_images": 1}
    covered = {"verdict": "covered", "severity": "info", "n_images": 31}
    change = {"unit": "snow", "kind": "word", "negated": False, "why": ""}
    made["baseline"] = {
        "new": [],
        "closed": [change | {"before": thin, "now": covered}],
        "changed": [change | {"unit": f"w{n}", "before": thin, "now": None} for n in range(501)],
        "notes": ["the profile was lora, now it is finetune"],
    }
    seen = " ".join(
        " ".join(text for _, text in Read(page.render_report_page(made, prompts)).texts).split()
    )
    assert "No new gap." in seen
    assert "snow thin 1 → now covered 31" in seen
    assert "w499 thin 1 → now no longer asked for and 1 more; the JSON lists all" in seen
    assert "the profile was lora" in seen
    assert "tab-changes" not in page.render_report_page(*complete_report())


def test_every_verdict_and_kind_has_a_meaning():
    assert MEANINGS.keys() == VERDICTS.keys()
    assert UNIT_KINDS.keys() == {"word", "phrase", "bind", "pair", "token"}


def test_a_report_without_items_or_data_has_a_page():
    prompts = [Prompt(1, "…", ())]
    made = report([], prompts)
    made["data"] |= {"kind": "none", "images": 0, "captions": 0}
    assert "so every word counts as missing" in page.render_report_page(made, prompts)


def test_two_thousand_prompts_stay_under_ten_megabytes():
    made, prompts = large_report()
    assert len(prompts) == 2000 and len(made["items"]) >= 30000
    uri = "data:image/webp;base64," + "A" * 3000
    images = {
        f"t-{n}": Thumbnail(uri, "CC0-1.0", "openverse", None, "A. Uthor") for n in range(600)
    }
    assert len(page.render_report_page(made, prompts, thumbnails=images).encode()) < 10_000_000
