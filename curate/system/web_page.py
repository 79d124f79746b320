"""Pages for people: each one file that holds all it needs and asks the network for nothing.

A page extends `base.html.j2`, which brings the one style sheet, light and dark, and a policy under
which a browser loads and runs only what the page was made with. Markdown is made the same way.
"""

import base64
import hashlib
import io
import json
from collections.abc import Callable, Sequence
from importlib import resources
from typing import TYPE_CHECKING, Any

from curate.system.strangers import html

if TYPE_CHECKING:
    import numpy as np


def render_page(
    template: str,
    *,
    style: str = "",
    scripts: Sequence[str] = (),
    data: object = None,
    **values: Any,
) -> str:
    """An HTML page. Every value is escaped: it may hold what strangers wrote.

    Args:
        template: PACKAGE/FILE.
        style: rules that only this page needs.
        scripts: PACKAGE/FILE of each, in order; () for a page that runs nothing.
        data: what the scripts read, as JSON in the element `data`; None for none.
        values: the names in the template.
    """
    from markupsafe import Markup

    inline = {"style": _read_asset("curate.system/style.css") + style, "data": _embed(data)}
    inline["script"] = "\n".join(map(_read_asset, scripts))
    trusted = {name: Markup(text) for name, text in inline.items()}  # noqa: S704  (ours, or no "<")
    page = render_template(template, html, **values, **trusted)
    return page.encode("utf-8", "replace").decode()  # data may hold half characters


def data_uri(image: "bytes | np.ndarray", kind: str = "png") -> str:
    """An image that stands in the page: a file of this kind, or pixels (uint8, H x W x 3)."""
    if not isinstance(image, bytes):
        from PIL import Image

        file = io.BytesIO()
        Image.fromarray(image).save(file, "PNG", optimize=True)
        image = file.getvalue()
    return f"data:image/{kind};base64,{base64.b64encode(image).decode()}"


def render_template(template: str, escape: Callable[[str], str], **values: Any) -> str:
    """A text such as Markdown. Every value goes through `escape`, unless it is Markup."""
    from jinja2 import Environment, FunctionLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FunctionLoader(_read_asset),
        autoescape=True,
        finalize=lambda v: v if isinstance(v, Markup) else Markup(escape(str(v))),  # noqa: S704
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"number": "{:,}".format, "digest": _digest}
    return environment.get_template(template).render(values)


def _embed(value: object) -> str:
    """JSON that can stand inside a script element: nothing in it ends or opens a tag."""
    if value is None:
        return ""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _read_asset(name: str) -> str:
    package, _, file = name.partition("/")
    return resources.files(package).joinpath(file).read_text("utf-8")


def _digest(text: str) -> str:
    """The name of an inline script or style in a content security policy."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
