"""A page from a template: one file with its style, its script and its pictures inside, that asks no one for anything.

Names from the data stand in it as text: templates escape whatever is put into them, data for the script is JSON without
``<``, and the page's own policy runs no script but the page's one, whatever else might get into it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from comp.files import write_text
from comp.report.matrices import confusion_cells

if TYPE_CHECKING:
    from pathlib import Path


def render(template: str, **facts: Any) -> str:
    """The page by the name of its template, filled with what it shows."""
    return _templates().get_template(f"{template}.html").render(facts)


def write_page(path: Path, template: str, **facts: Any) -> Path:
    """Write the page, whole or not at all."""
    write_text(path, render(template, **facts))
    return path


@cache
def _templates() -> Environment:
    loader = PackageLoader("comp.report")
    templates = Environment(
        loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined
    )
    style, script = (Markup(_source(templates, name)) for name in ("page.css", "page.js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    templates.globals.update(
        style=style,
        script=script,
        script_digest=digest,
        version=version("comp-starter"),
        now=lambda: f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
    )
    templates.filters.update(
        amount=amount,
        seconds=seconds,
        score=score,
        percent=percent,
        signed=lambda change: f"{change:+.5f}".replace("-", "−"),
        numbered=lambda names: list(enumerate(names)),
        pairs=lambda values: [(value, value) for value in values],
        pretty=lambda record: json.dumps(record, indent=2, ensure_ascii=False),
        confusion_cells=confusion_cells,
        breakable=breakable,
    )
    return templates


def _source(templates: Environment, name: str) -> str:
    assert templates.loader is not None
    return templates.loader.get_source(templates, name)[0]


def breakable(name: str) -> Markup:
    """A name as text whose line may end after what joins its words, as in ``old_english_sheepdog``."""
    return Markup("<wbr>").join(re.split(r"(?<=[_\-./])", name))


def amount(number: int) -> str:
    """A whole number with its thousands apart: 12,345."""
    return f"{number:,}"


def score(value: float | None) -> str:
    return "–" if value is None or value != value else f"{value:.5f}"


def percent(share: float | None) -> str:
    """A share in %, with a digit more where it is small."""
    if share is None or share != share:
        return "–"
    return f"{100 * share:.0f} %" if share >= 0.1 or share == 0 else f"{100 * share:.1f} %"


def seconds(value: float | None) -> str:
    """A time in words: 41 s, 12 min, 3 h 05 min."""
    if value is None or value != value:
        return "–"
    if value < 10:
        return f"{value:.1f} s"
    if value < 120:
        return f"{value:.0f} s"
    minutes = round(value / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02} min"
