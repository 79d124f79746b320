"""What must hold on the page; each check gets a fresh tab with one page open in it or to open."""

import shlex
from collections.abc import Callable
from functools import wraps
from pathlib import Path

from coverage_reports import COMMAND, HOSTILE
from playwright.sync_api import expect

LOOK = Path(__file__).with_name("look.js").read_text("utf-8")
LOAD, FILTER = 2.0, 0.2  # seconds a page of 2,000 prompts may take, best of three
PHONE = {"viewport": {"width": 360, "height": 740}}
VIEWS = ("prompts", "items", "map", "descriptions")
ALL: list[Callable] = []


def on(page: str, **settings: object) -> Callable:
    """Run the check on this page, in a tab with these settings."""

    def add(check: Callable) -> Callable:
        @wraps(check)
        def opened(watch):
            watch.open()
            return check(watch.tab, watch)

        opened.page, opened.settings = page, settings
        ALL.append(opened)
        return opened

    return add


def units(tab) -> list[str]:
    return tab.locator("#items tbody td.unit button").all_inner_texts()


def pasted(tab) -> str:
    """What the clipboard holds, as a user gets it out: pasted into a box of its own page."""
    box = tab.context.new_page()
    box.set_content("<textarea autofocus></textarea>")
    box.bring_to_front()
    box.focus("textarea")
    box.keyboard.press("Control+V")
    text = box.input_value("textarea")
    box.close()
    tab.bring_to_front()
    return text


def focused(tab) -> str:
    return tab.evaluate("document.activeElement.textContent.trim() || document.activeElement.id")


# by the real command


@on("real")
def prompts_come_worst_first_with_coloured_words(tab, watch):
    rows = tab.locator("#prompts > li")
    gaps = [rows.nth(n).locator("a.error").count() for n in range(rows.count())]
    assert len(gaps) == 6 and gaps[0] > gaps[-1] and gaps == sorted(gaps, reverse=True)
    said = tab.locator("#prompts > li", has_text="Eternal Force Blizzard").locator("a.error")
    assert said.all_inner_texts() == ["Force", "Blizzard"]
    tab.click("text=as in the file")
    assert "a red circle" in tab.locator("#prompts > li").first.inner_text()
    word = tab.locator("#prompts a.error", has_text="Blizzard").first
    assert "underline" in word.evaluate("e => getComputedStyle(e).textDecorationLine")


@on("real")
def hostile_words_are_shown_as_words(tab, watch):
    assert HOSTILE in tab.locator("#prompts").inner_text()
    assert tab.locator("#prompts img").count() == 0
    tab.locator("#prompts a", has_text="circle").first.click()
    assert HOSTILE in tab.locator("#detail .evidence").inner_text()
    assert tab.title() != "hit"


@on("real")
def images_of_the_evidence_are_shown(tab, watch):
    tab.locator("#prompts a", has_text="circle").first.click()
    images = tab.locator("#detail .evidence img")
    assert images.count() == 6
    assert all(
        images.nth(n).evaluate("e => e.decode().then(() => e.naturalWidth)") for n in range(6)
    )
    assert "licence unknown" in tab.locator("#detail .evidence").inner_text()


@on("real")
def the_table_sorts(tab, watch):
    tab.click("#tab-items")
    tab.check(".severities input >> nth=2", force=True)
    for name, column in (("images", 3), ("prompts", 5)):
        for order in ("descending", "ascending"):
            tab.click(f"#items th button:text-is('{name}')")
            head = tab.locator(f"#items th:has(button:text-is('{name}'))")
            assert head.get_attribute("aria-sort") == order
            cells = tab.locator(f"#items tbody tr > td:nth-child({column})").all_inner_texts()
            numbers = [int(cell.replace(",", "")) for cell in cells]
            assert len(set(numbers)) > 2
            assert numbers == sorted(numbers, reverse=order == "descending")
    tab.click("#items th button:text-is('what')")
    assert units(tab) == sorted(units(tab), key=str.lower)
    assert tab.locator("#items th[aria-sort]:not([aria-sort=none])").count() == 1


@on("real")
def the_table_filters_and_the_address_keeps_it(tab, watch):
    tab.click("#tab-items")
    everything = len(units(tab))
    tab.fill("#find", "BLIZ")
    assert units(tab) and all("bliz" in unit for unit in units(tab))
    tab.fill("#find", "")
    tab.select_option("#verdict", "thin")
    assert units(tab) == ["blizzard"]
    tab.select_option("#verdict", "")
    tab.uncheck(".severities input >> nth=1", force=True)
    assert 0 < len(units(tab)) < everything
    tab.select_option("#kind", "word")
    tab.fill("#find", "force")
    assert units(tab) == ["force"]
    tab.reload()
    assert units(tab) == ["force"] and tab.input_value("#find") == "force"
    assert "1 item of" in tab.inner_text("#count")
    tab.fill("#find", "no such word")
    assert tab.locator("#nothing").is_visible()


@on("real")
def an_item_opens_and_closes_by_keyboard(tab, watch):
    tab.keyboard.press("Tab")
    assert focused(tab) == "Skip to the report"
    tab.keyboard.press("/")
    assert focused(tab) == "find"
    tab.keyboard.type("blizzard")
    tab.focus("#tab-prompts")
    tab.keyboard.press("ArrowRight")
    assert focused(tab) == "Words & combinations"
    for _ in range(40):
        tab.keyboard.press("Tab")
        if focused(tab) == "blizzard":
            break
    assert focused(tab) == "blizzard", "Tab reaches the first row"
    tab.keyboard.press("Enter")
    expect(tab.locator("#detail")).to_be_visible()
    assert focused(tab) == "blizzard"
    assert tab.locator("#detail mark", has_text="blizzard").count()
    assert "blizzard demon" in tab.inner_text("#detail")
    tab.keyboard.press("Escape")
    assert not tab.locator("#detail").is_visible()
    assert tab.evaluate("document.activeElement.closest('tr') !== null"), "focus returns"
    tab.keyboard.press(" ")
    assert tab.locator("#detail").is_visible()


@on("real")
def the_next_item_is_one_key_away(tab, watch):
    tab.click("#tab-items")
    listed = units(tab)
    tab.click("#items tbody tr >> nth=0")
    tab.keyboard.press("j")
    assert tab.inner_text("#detail-title") == listed[1]
    tab.keyboard.press("k")
    assert tab.inner_text("#detail-title") == listed[0]
    tab.keyboard.press("k")
    expect(tab.locator("#live")).to_have_text("That was the first")


def copies(tab) -> None:
    tab.click("#tab-items")
    button = tab.locator("#items tbody .copy button").first
    command = button.locator("xpath=../code").inner_text()
    button.focus()
    tab.keyboard.press("Enter")
    expect(tab.locator("#live")).to_have_text("Copied: " + command)
    assert button.inner_text() == "Copied"
    assert pasted(tab) == command
    assert shlex.split(command)[:2] == ["curate", "fetch"]


@on("real")
def a_command_is_copied(tab, watch):
    copies(tab)


@on("real")
def a_command_is_copied_where_the_clipboard_is_refused(tab, watch):
    refused = "Object.defineProperty(navigator, 'clipboard', { value: undefined })"
    tab.evaluate(refused)
    copies(tab)
    tab.click("#items tbody tr >> nth=0")
    tab.click("#detail .copy button")
    expect(tab.locator("#detail .copy button")).to_have_text("Copied")
    assert pasted(tab) == tab.locator("#detail .copy code").first.inner_text()


@on("complete")
def all_commands_are_copied_as_they_stand(tab, watch):
    tab.click("#tab-items")
    assert tab.inner_text("#copy-all") == "Copy 2 commands"
    tab.click("#copy-all")
    expect(tab.locator("#live")).to_have_text("2 commands copied")
    lines = pasted(tab).splitlines()
    assert lines[0] == COMMAND and shlex.split(lines[0])[-1] == "it's <b>"
    assert len(lines) == 2


# every field


@on("complete")
def an_item_shows_all_it_knows(tab, watch):
    tab.click("#tab-items")
    tab.click("td.unit button:text-is('blizzard')")
    detail = " ".join(tab.inner_text("#detail").split())
    for text in (
        "1 image of 30 wanted", "min 5", "in another spelling 2", "synonym 3 via snowstorm",
        "up to 57 images", "right in 93 %", "blizzards (2 images)", "29 images short",
        "a blizzard demon", "CC0-1.0", "licence unknown", "storm synonym, 12 images",
        "wizard (40)", "blizzard + dog", "line 4 red car, blizzard with a grey dog",
    ):  # fmt: skip
        assert text in detail, f"{text!r} is not in {detail!r}"
    assert "no image: " in detail, "a broken image says why"
    assert tab.locator("#detail a[href^=javascript]").count() == 0


@on("complete")
def rights_are_linked_safely(tab, watch):
    tab.check(".severities input >> nth=2", force=True)
    tab.locator("#prompts a", has_text="dog").first.click()
    link = tab.locator("#detail .credit a")
    assert link.get_attribute("href") == "https://a.test/1"
    assert link.get_attribute("rel") == "noopener noreferrer"
    assert "CC-BY-4.0" in tab.inner_text("#detail .credit")
    assert tab.locator("#detail img").evaluate("e => e.naturalWidth") == 96


@on("complete")
def senses_and_combinations_are_shown(tab, watch):
    tab.click("#prompts a:text-is('bat')")
    detail = tab.inner_text("#detail")
    assert "a flying mammal" in detail and "a club" in detail and "sense-risk" in detail
    tab.click("#tab-items")
    tab.click("td.unit button:text-is('red + car')")
    detail = tab.inner_text("#detail")
    assert "3.5 expected" in detail and "-2.25" in detail
    assert tab.locator("#prompts .phrase", has_text="polar bear").count() == 1


@on("large")
def the_map_is_read_by_keyboard(tab, watch):
    tab.click("#tab-map")
    assert tab.locator("[role=grid] td.cell").count() > 10
    tab.focus("td.cell[tabindex='0']")
    before = tab.evaluate("document.activeElement.getAttribute('aria-label')")
    assert " images" in before and "expected if independent" in before
    for key in ("ArrowRight", "ArrowDown", "ArrowRight", "ArrowDown"):
        tab.keyboard.press(key)
    after = tab.evaluate("document.activeElement.getAttribute('aria-label')")
    assert after != before and tab.inner_text(".readout >> nth=0") == after
    tab.keyboard.press("Enter")
    assert tab.locator("#detail").is_visible()
    assert after.startswith(tab.inner_text("#detail-title") + ":")
    tab.keyboard.press("Escape")
    assert tab.evaluate("document.activeElement.getAttribute('aria-label')") == after


# how it looks


def fits(tab) -> None:
    for view in VIEWS:
        tab.click(f"#tab-{view}")
        over = tab.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert over <= 0, f"{view} is {over} pixels too wide"
    tab.click("#tab-items")
    tab.click("td.unit button >> nth=0")
    assert tab.evaluate("e => e.scrollWidth - e.clientWidth", tab.query_selector("#detail")) <= 0


@on("complete", **PHONE)
def it_fits_a_phone(tab, watch):
    fits(tab)
    assert tab.evaluate("document.getElementById('detail').matches(':modal')")
    tab.keyboard.press("Escape")
    tab.click("#filters")
    tab.select_option("#verdict", "thin")
    assert units(tab) == ["blizzard"]


@on("large", **PHONE)
def a_large_one_fits_a_phone(tab, watch):
    fits(tab)


def contrasts(tab) -> str:
    least = 99.0
    for view in VIEWS:
        tab.click(f"#tab-{view}")
        if view in ("prompts", "items"):
            tab.check(".severities input >> nth=2", force=True)
        least = min(least, judged(tab, view))
    tab.click("#tab-items")
    for unit in ("blizzard", "bat", "dog"):
        tab.click(f"td.unit button:text-is('{unit}')")
        tab.wait_for_timeout(300)  # until it has arrived
        least = min(least, judged(tab, unit))
    return f"least contrast {least:.2f}"


def judged(tab, where: str) -> float:
    found = tab.evaluate(LOOK)
    assert len(found) > 5
    low = [one for one in found if one["contrast"] < 4.5]
    assert not low, f"{where}: {low[:5]}"
    return min(one["contrast"] for one in found)


@on("complete", color_scheme="light")
def light_texts_have_contrast(tab, watch):
    return contrasts(tab)


@on("complete", color_scheme="dark")
def dark_texts_have_contrast(tab, watch):
    dark = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    assert max(map(int, dark[4:-1].split(","))) < 60, dark
    return contrasts(tab)


@on("verification", color_scheme="light")
def a_verification_is_filtered_without_scripts(tab, watch):
    rows = tab.locator(".row:visible")
    assert rows.count() == 2
    tab.check("#forgotten", force=True)
    assert rows.locator("h3").all_inner_texts() == ["a red cook"]
    assert "wrong: taken for a red hat" in " ".join(rows.inner_text().split())
    tab.check("#s1", force=True)
    assert rows.count() == 0, "the second scorer saw nothing forgotten"
    tab.check("#new", force=True)
    expect(rows).to_contain_text("3 of 3 right", use_inner_text=True)  # some draw it a frame later
    assert "2 of 3" not in rows.inner_text()
    return f"least contrast {judged(tab, 'verification'):.2f}"


@on("verification", color_scheme="dark", **PHONE)
def a_dark_verification_fits_a_phone(tab, watch):
    assert tab.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    return f"least contrast {judged(tab, 'verification'):.2f}"


@on("large", java_script_enabled=False)
def without_scripts_the_worst_gaps_are_there(tab, watch):
    assert tab.locator("#items tbody tr").count() == 200
    assert tab.locator("#items tbody tr").first.is_visible()
    assert tab.locator("noscript p").is_visible()
    assert tab.locator("#view-descriptions").is_visible()


# how fast


@on("large")
def two_thousand_prompts_open_and_filter_at_once(tab, watch):
    loads, filters = [], []
    for _ in range(3):
        watch.open()
        loads.append(tab.evaluate("performance.getEntriesByType('navigation')[0].duration") / 1000)
    assert "2,000 prompts of 2,000" in tab.inner_text("#count")
    tab.click("#tab-items")
    for text in ("ba", "bar", "", "zzz", "o"):
        took = [typed(tab, text if n == 2 else text + "x") for n in range(3)]
        filters.append(min(took))
    size = watch.file.stat().st_size / 1e6
    result = f"{size:.1f} MB, opens in {min(loads):.2f} s, filters in {max(filters):.3f} s"
    assert size < 10 and min(loads) < LOAD and max(filters) < FILTER, result
    tab.fill("#find", "")
    tab.click("#more-items")
    assert tab.locator("#items tbody tr").count() == 200
    return result


def typed(tab, text: str) -> float:
    """Seconds from a change of the search text until it is laid out."""
    return tab.evaluate(
        """text => { const box = document.getElementById('find'); const start = performance.now();
        box.value = text; box.dispatchEvent(new Event('input')); document.body.offsetHeight;
        return (performance.now() - start) / 1000; }""",
        text,
    )
