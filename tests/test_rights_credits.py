"""Credit lines."""

from curate.dataset.sample import Sample
from curate.rights.credits import Credit, collect_credits, credit_markdown


def picture(key: str, **fields: object) -> Sample:
    return Sample(**{"key": key, "source": "test", "license": "CC-BY-4.0"} | fields)


def test_one_picture_names_title_author_page_licence_and_change():
    sample = picture(
        "a-1",
        title="Snow *storm*",
        author="Jane [Doe]",
        author_url="https://example.org/jane",
        page_url="https://example.org/p/1 2",
    )
    assert [*map(credit_markdown, collect_credits([sample]))] == [
        r"- [Snow \*storm\*](<https://example.org/p/1%202>) by "
        r"[Jane \[Doe\]](<https://example.org/jane>), "
        "[CC-BY-4.0](<https://creativecommons.org/licenses/by/4.0/>), modified: resized"
    ]


def test_pictures_that_share_author_and_licence_share_a_line():
    page = "https://example.org/set"
    rows = [
        picture(f"a-{n}", title=title, author="Studio", page_url=page, license="MIT")
        for n, title in enumerate(["mage", "elf", "mage"])
    ]
    rows.append(picture("a-9", title="lone", author="Studio", license="CC0-1.0"))
    assert [*map(credit_markdown, collect_credits(rows))] == [
        "- lone by Studio, [CC0-1.0](<https://creativecommons.org/publicdomain/zero/1.0/>), "
        "modified: resized",
        "- 3 images (elf; mage) by Studio, [source](<https://example.org/set>), "
        "[MIT](<https://spdx.org/licenses/MIT.html>), modified: resized",
    ]


def test_each_page_is_linked_where_pages_differ():
    rows = [
        picture(f"a-{n}", title=title, page_url=f"https://example.org/{n}")
        for n, title in enumerate(["b", "a"])
    ]
    (line,) = [*map(credit_markdown, collect_credits(rows, modified="modified: resized, cropped"))]
    assert "2 images ([a](<https://example.org/1>); [b](<https://example.org/0>))" in line
    assert "by unknown author" in line
    assert line.endswith("modified: resized, cropped")


def test_what_is_not_known_is_said_and_no_link_is_made_of_it():
    row = picture("a-1", license=None, license_text="ask me", page_url="javascript:alert(1)")
    assert collect_credits([row]) == [
        Credit((("a-1", "javascript:alert(1)"),), None, None, "ask me", None),
    ]
    assert [*map(credit_markdown, collect_credits([row]))] == [
        "- a-1 by unknown author, ask me, modified: resized"
    ]
    (unknown,) = collect_credits([picture("a-1", license=None, file_name="x/cat.png")])
    assert (unknown.license, unknown.works[0][0]) == ("licence unknown", "x/cat.png")


def test_the_stated_address_serves_where_the_id_has_none():
    row = picture("a-1", license="LicenseRef-MyStudio", license_url="https://example.org/terms")
    assert collect_credits([row])[0].license_url == "https://example.org/terms"


def test_the_order_of_rows_changes_nothing():
    rows = [picture(f"a-{n}", title=str(n), author=str(n % 2)) for n in range(6)]
    assert collect_credits(rows) == collect_credits(rows[::-1])
    assert collect_credits([]) == []


def test_the_command_credits_only_what_may_be_trained_on(tmp_path, capsys):
    from curate import cli
    from curate.dataset import manifest
    from curate.dataset.manifest import Manifest
    from curate.dataset.sample import Verdict

    allow, hold = Verdict("allow", ("licence:CC-BY-4.0",)), Verdict("hold", ("licence-unknown",))
    rows = [
        picture("a-in", title="storm", train=allow),
        picture("a-held", title="secret", train=hold),
        picture("a-copy", title="copy", train=allow, dropped="duplicate:a-in"),
    ]
    manifest.write_manifest(tmp_path / "manifest.parquet", Manifest(rows, []))
    cli.app(["credits", "--data", str(tmp_path)], standalone_mode=False)
    said = capsys.readouterr().out
    assert said.startswith("- storm") and "secret" not in said and "copy" not in said
