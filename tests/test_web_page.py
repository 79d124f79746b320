"""Pages: one template and one style sheet, safe with any value, and nothing from elsewhere."""

import base64
import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
from markupsafe import Markup

from curate.system import web_page

HOSTILE = "</script><img src=x onerror=alert(1)>&\u2028"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package with templates: its name."""
    folder = tmp_path / "some_pages"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "run.js").write_text('"use strict";')
    (folder / "page.html.j2").write_text(
        '{% extends "curate.system/base.html.j2" %}\n'
        "{% block title %}{{ name }}{% endblock %}\n"
        "{% block page %}\n<p>{{ name }} {{ 12345 | number }}</p>\n{% endblock %}\n"
    )
    (folder / "page.md.j2").write_text("# {{ name }}\n{{ link }}\n")
    monkeypatch.syspath_prepend(tmp_path)
    return folder.name


def test_values_are_escaped_and_data_cannot_end_its_script(package: str):
    text = web_page.render_page(f"{package}/page.html.j2", name=HOSTILE, data={"a": HOSTILE})
    assert "<img" not in text
    assert text.count("&lt;img") == 2
    assert "12,345" in text
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text)
    assert json.loads(data) == {"a": HOSTILE}


def test_the_policy_names_what_the_page_holds(package: str):
    text = web_page.render_page(
        f"{package}/page.html.j2", name="a", style="b{}", scripts=[f"{package}/run.js"]
    )
    for tag in ("style", "script"):
        (held,) = re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(held.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in text
    assert "b{}" in text and "prefers-color-scheme: dark" in text


def test_a_page_without_scripts_may_run_none(package: str):
    text = web_page.render_page(f"{package}/page.html.j2", name="a\udcffb")
    assert "default-src 'none'" in text
    assert "<script" not in text and "script-src" not in text
    assert "a\\udcffb" in text, "a file name need not be text"


def test_markdown_is_escaped_by_what_is_handed_in(package: str):
    text = web_page.render_template(
        f"{package}/page.md.j2",
        lambda value: value.replace("<", "\\<"),
        name="<b>",
        link=Markup("<a>"),
    )
    assert text == "# \\<b>\n<a>\n"


def test_images_are_addresses():
    assert web_page.data_uri(b"abc", "webp") == "data:image/webp;base64,YWJj"
    pixels = np.zeros((2, 3, 3), np.uint8)
    assert web_page.data_uri(pixels).startswith("data:image/png;base64,iVBOR")
