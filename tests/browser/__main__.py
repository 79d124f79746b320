"""Drive headless Chromium over the pages: `python -m tests.browser [--keep FOLDER]`.

Needs Chromium and the package playwright (`pip install playwright`; its own browsers are not
needed). What is missing is said and is a failure: nothing is skipped.
"""

import argparse
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


class Watch:
    """A tab and whatever it asked for or complained of."""

    def __init__(self, context: object, file: Path) -> None:
        self.file = file
        self.asked: list[str] = []
        self.complaints: list[str] = []
        self.tab = context.new_page()
        self.tab.on("request", lambda request: self.asked.append(request.url))
        self.tab.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.tab.on("console", self._heard)

    def _heard(self, message: object) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def open(self, state: str = "") -> None:
        self.tab.goto(self.file.as_uri() + state)

    def judge(self) -> None:
        """Nothing left the page and nothing went wrong on it."""
        strange = {u for u in self.asked if not u.startswith(("data:", self.file.as_uri()))}
        assert not strange, f"the page asked for {strange}"
        assert not self.complaints, f"the browser complains: {self.complaints}"


@contextmanager
def opened(browser: object, file: Path, **settings: object) -> Iterator[Watch]:
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}} | settings)
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    watch = Watch(context, file)
    try:
        yield watch
        watch.judge()
    finally:
        context.close()


def main() -> int:
    words = argparse.ArgumentParser(prog="python -m tests.browser", description=__doc__)
    words.add_argument("--keep", type=Path, help="folder for the pages and their screenshots")
    words.add_argument("names", nargs="*", help="checks to run, by a part of their name")
    given = words.parse_args()
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        return refuse("no Chromium here", "apt-get install chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return refuse("the package playwright is not installed", "pip install playwright")
    from browser import checks, pages

    chosen = [c for c in checks.ALL if all(name in c.__name__ for name in given.names)]
    if not chosen:
        return refuse(f"none is named {' '.join(given.names)}", "name a part of a check's name")
    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as driver:
        folder = (given.keep or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        made = pages.write_all(folder)
        browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        print(f"{program} {browser.version}")
        failed = run(browser, made, chosen, folder if given.keep else None)
        browser.close()
    print(f"{failed} failed" if failed else "all hold")
    return 1 if failed else 0


def run(browser: object, made: dict[str, Path], chosen: list, keep: Path | None) -> int:
    """Run the checks; return how many failed."""
    failed = 0
    for check in chosen:
        start = time.monotonic()
        try:
            with opened(browser, made[check.page], **check.settings) as watch:
                result = check(watch)
                if keep:
                    watch.tab.screenshot(path=keep / f"{check.__name__}.png")
        except Exception:
            failed += 1
            print(f"FAILED  {check.__name__}\n{traceback.format_exc()}")
        else:
            print(f"ok  {time.monotonic() - start:5.1f} s  {check.__name__}  {result or ''}")
    return failed


def refuse(problem: str, fix: str) -> int:
    print(f"error: browser checks: {problem}\n  fix: {fix}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    raise SystemExit(main())
