"""Credits: one entry an image that is packed, in four forms, whatever strangers called it."""

import csv
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from curate import cli
from curate.dataset.folder import Dataset
from curate.dataset.manifest import Manifest
from curate.dataset.sample import Sample, Verdict
from curate.errors import InputError
from curate.formats.shards import iterate_samples, read_index
from curate.rights.credits import (
    CSV_COLUMNS,
    Credit,
    credits_csv,
    credits_markdown,
    credits_page,
    dataset_credits,
    record_credit,
)
from curate.rights.licences import kinds_of
from curate.shards.pack import pack
from tests.packable import ALLOW, change_rows, dataset_of

BY = "https://creativecommons.org/licenses/by/4.0/"
STORM = Credit(
    "a-1", "Snow *storm*", "https://example.org/p/1 2", "Jane [Doe]", "https://example.org/jane",
    "CC-BY-4.0", BY, "resized, re-encoded as PNG",
)  # fmt: skip
COPY = Credit("b-2", "same", None, None, None, "ask me", None)


def output(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        cli.main(list(words))
    told = capsys.readouterr()
    assert isinstance(ended.value.code, int)
    return ended.value.code, told.out, told.err


# one entry


def test_an_entry_names_title_author_licence_and_change():
    assert credits_markdown([STORM]) == (
        r"- [Snow \*storm\*](<https://example.org/p/1%202>) by "
        r"[Jane \[Doe\]](<https://example.org/jane>), "
        f"[CC-BY-4.0](<{BY}>), modified: resized, re-encoded as PNG\n"
    )


def test_copies_are_credited_below_it():
    assert (
        credits_markdown([replace(STORM, copies=(COPY, COPY))]).splitlines()[1:]
        == ["  - the same image as same by unknown author, ask me"] * 2
    )


def test_what_is_not_stated_is_said_and_no_link_is_made_of_it():
    row = replace(COPY, page_url="javascript:alert(1)", author_url="data:text/html,x")
    assert credits_markdown([row]) == "- same by unknown author, ask me\n"
    page = credits_page([row])
    assert "unknown author" in page and "javascript:" not in page and "href" not in body(page)


def test_the_csv_has_a_line_an_image():
    (head, line) = csv.reader(io.StringIO(credits_csv([replace(STORM, copies=(COPY, STORM))])))
    assert tuple(head) == CSV_COLUMNS
    assert line == [
        "a-1", "Snow *storm*", "Jane [Doe]", "https://example.org/jane",
        "https://example.org/p/1 2", "CC-BY-4.0", BY, "resized, re-encoded as PNG",
        "same by unknown author, ask me; Snow *storm* by Jane [Doe], https://example.org/p/1 2, "
        f"CC-BY-4.0, {BY}",
    ]  # fmt: skip


def test_the_record_says_what_was_changed_and_where_no_licence_has_an_address(tmp_path: Path):
    dataset = dataset_of(tmp_path, 1)
    stated = {"license": None, "license_text": "ask me", "license_url": "https://example.org/ask"}
    change_rows(dataset, {**stated, "title": None, "file_name": "x/cat.png"})
    pack(dataset, size=30, format="png")
    (credit,) = dataset_credits(dataset)
    assert (credit.title, credit.author, credit.page_url) == (
        "x/cat.png",
        "A. Nyone",
        "https://example.org/0",
    )
    assert (credit.license, credit.license_url) == ("ask me", "https://example.org/ask")
    assert credit.modified is not None and credit.modified.startswith("resized, upright")
    ((_, _, record),) = iterate_samples(tmp_path)
    older: Any = {k: v for k, v in record.items() if k not in ("credits", "group")}
    assert record_credit(older) == replace(credit, title="t-000")


# what strangers wrote

NASTY = """
<script>alert(1)</script> =1+1 +1 -1 @a a](https://evil.example) `x` ![i](https://evil.example/i)
"><img/src=x> | &lt;b&gt; https://evil.example/x #a 1.a \u202eevil \x1b[31mred \ud83d &#x202e;
""".split()
nasty = st.sampled_from(
    [*NASTY, "\n- forged by me, CC0", "  =1", "\t=1", "# a", "1. a", "\r\n| a |"]
)
texts = st.lists(nasty | st.text(max_size=5), min_size=1, max_size=3).map("".join)
urls = st.none() | st.builds(str.__add__, st.sampled_from(["https://e.org/", ""]), texts)
entries = st.builds(
    Credit, st.just("k"), texts, urls, st.none() | texts, urls, texts, urls, st.none() | texts
)
credits = st.builds(
    lambda entry, copies: replace(entry, copies=tuple(copies)),
    entries,
    st.lists(entries, max_size=2),
)


@given(credits)
@examples(deadline=None)
def test_no_text_forges_a_line_a_cell_a_tag_or_a_formula(credit: Credit):
    lines = credits_markdown([credit]).splitlines()
    assert len(lines) == 1 + len(credit.copies)
    assert all(re.match(r"(- |  - the same image as )", line) for line in lines)
    raw = [re.sub(r"\\.|\]\(<https://[^<>\s]*>\)", "", line) for line in lines]
    assert not [line for line in raw if re.search(r"[<>`|\x00-\x1f\x7f\u202e\ud800-\udfff]", line)]
    (_, cells) = csv.reader(io.StringIO(credits_csv([credit])))
    assert len(cells) == len(CSV_COLUMNS)
    assert not [cell for cell in cells if re.match(r"\s*[=+\-@]", cell)]


@given(st.lists(credits, max_size=4))
@examples(max_examples=12, deadline=None)
def test_no_text_makes_a_tag_or_an_address_of_the_page(some: list[Credit]):
    seen = Tags()
    seen.feed(credits_page(some))
    assert seen.tags <= PAGE_TAGS
    assert all(address.startswith(("https://", "#main")) for address in seen.addresses)


PAGE_TAGS = {
    *("html", "head", "meta", "title", "style", "body", "a", "header", "h1", "p", "main"),
    *("table", "thead", "tbody", "tr", "th", "td", "br", "small"),
}


class Tags(HTMLParser):
    """The tags of a page, and where they lead."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("href", "src")]


def body(page: str) -> str:
    return page.partition("<tbody>")[2].partition("</tbody>")[0]


# the law: what is packed is credited, and nothing else

LICENCES = ["CC-BY-4.0", "CC-BY-3.0", "CC0-1.0", "CC-PDM-1.0", "MIT"]
decisions = st.sampled_from([ALLOW, ALLOW, ALLOW, Verdict("hold", ("licence-unknown",))])
drawn_rows = st.lists(
    st.tuples(decisions, st.sampled_from(LICENCES), st.sampled_from([None, None, "a", "b"])),
    min_size=1,
    max_size=5,
)


def rows_of(dataset: Dataset, drawn: list[tuple[Any, ...]]) -> list[Sample]:
    """Rows with copies, judged together, as check leaves them; the first of a group stays."""
    groups: dict[str, list[int]] = {}
    for n, (_, _, group) in enumerate(drawn):
        groups.setdefault(group or str(n), []).append(n)
    rows = []
    for n, (plain, (_, licence, group)) in enumerate(
        zip(dataset.read().samples, drawn, strict=True)
    ):
        members = groups[group or str(n)]
        joint = min((drawn[m][0] for m in members), key=lambda v: v.decision == "allow")
        first = f"t-{members[0]:03}"
        known = {"train": joint, "license": licence, "group": first if len(members) > 1 else None}
        gone = None if n == members[0] else f"duplicate:{first}"
        rows.append(replace(plain, author=f"author {n}", dropped=gone, **known))
    return rows


@given(drawn_rows)
@examples(max_examples=12, deadline=None)
def test_the_by_images_packed_are_the_by_entries(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[tuple[Any, ...]]
):
    dataset = dataset_of(tmp_path_factory.mktemp("law"), len(drawn))
    rows = rows_of(dataset, drawn)
    with dataset.lock():
        dataset.write(Manifest(rows, []))
    try:
        pack(dataset, size=8)
    except InputError:
        assert not any(s.may_train for s in rows)
        with pytest.raises(InputError, match="nothing is packed"):
            dataset_credits(dataset)
        return
    with dataset.lock():  # what the rows say later does not change what was packed
        dataset.write(Manifest([replace(s, license="MIT", author="later") for s in rows], []))
    packed = {key: record for key, _, record in iterate_samples(dataset.root)}
    found = dataset_credits(dataset)
    assert [c.key for c in found] == sorted(packed) == sorted(s.key for s in rows if s.may_train)
    by = {key for key, record in packed.items() if "attribution" in kinds_of(record["license"])}
    assert by == {s.key for s in rows if s.may_train and "attribution" in kinds_of(s.license or "")}
    assert sorted(by) == [c.key for c in found if "attribution" in kinds_of(c.license)]
    for row, credit in ((s, c) for s in rows for c in found if s.key == c.key):
        copies = [s for s in rows if s.group and s.group == row.group and s.key != row.key]
        assert (credit.author, credit.license) == (row.author, row.license)
        assert [(c.key, c.author, c.license) for c in credit.copies] == [
            (s.key, s.author, s.license) for s in copies
        ]
        assert credit.license_url and credit.page_url and credit.modified
    table = list(csv.DictReader(io.StringIO(credits_csv(found))))
    assert [line["key"] for line in table] == sorted(packed)
    entries = [x for x in credits_markdown(found).splitlines() if x.startswith("- ")]
    assert len(entries) == len(packed) == body(credits_page(found)).count("<tr>")
    assert read_index(dataset.root).samples == len(found)


# the command


def test_before_packing_it_says_so_and_all_lists_what_may_be_trained_on(tmp_path, capsys):
    data = str(tmp_path / "data")
    dataset = dataset_of(Path(data), 3)
    hold = Verdict("hold", ("licence-unknown",))
    change_rows(dataset, {"title": "storm"}, {"title": "secret", "train": hold})
    code, out, err = output(capsys, "credits", "--data", data)
    assert (code, out) == (3, "")
    assert err == (
        f"error: {data}: nothing is packed, so there is nobody to credit\n"
        f"  fix: curate pack --data {data}; or, for all that may be trained on, "
        f"curate credits --all --data {data}\n"
    )
    code, out, _ = output(capsys, "credits", "--all", "--data", data)
    assert code == 0 and len(out.splitlines()) == 2
    assert out.startswith("- [storm](<https://example.org/0>) by A. Nyone, [CC0-1.0](<https")
    assert "secret" not in out and "modified" not in out
    change_rows(dataset, {"train": hold}, {"train": hold}, {"train": hold})
    code, out, err = output(capsys, "credits", "--all", "--data", data)
    assert (code, out) == (3, "")
    assert f"nobody to credit\n  fix: curate check --data {data}\n" in err


def test_the_four_forms(tmp_path, capsys):
    dataset = dataset_of(tmp_path, 2)
    data = str(tmp_path)
    pack(dataset)
    code, out, err = output(capsys, "credits", "--data", data)
    assert (code, err, len(out.splitlines())) == (0, "", 2)
    assert "modified: upright, in sRGB, metadata removed, re-encoded as JPEG" in out
    _, out, _ = output(capsys, "credits", "--csv", "--data", data)
    assert [line["author"] for line in csv.DictReader(io.StringIO(out))] == ["A. Nyone"] * 2
    _, out, _ = output(capsys, "credits", "--html", "--data", data)
    assert out.startswith("<!doctype html>") and body(out).count("<tr>") == 2
    _, out, _ = output(capsys, "credits", "--json", "--data", data)
    assert [entry["key"] for entry in json.loads(out)] == ["t-000", "t-001"]
    code, _, err = output(capsys, "credits", "--json", "--csv", "--data", data)
    assert code == 2 and "--csv --json: one form at a time\n  fix: only --csv" in err


def test_what_is_packed_is_credited_also_where_it_is_stale(tmp_path, capsys):
    dataset = dataset_of(tmp_path / "data", 2)
    pack(dataset)
    change_rows(dataset, {"train": Verdict("deny", ("opt-out:api:noai",))})
    code, out, err = output(capsys, "credits", "--data", str(dataset.root))
    assert code == 0 and len(out.splitlines()) == 2
    assert "1 of 2 samples are stale (deny 1), such as t-000" in err and "fix: curate pack" in err


def test_no_dataset_is_told(tmp_path, capsys):
    code, _, err = output(capsys, "credits", "--data", str(tmp_path / "none"))
    assert code == 3 and "no dataset here" in err
