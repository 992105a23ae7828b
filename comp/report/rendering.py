"""Render a page from a template: one file with its style, script and pictures inside, which needs no network.

Names from the data are always text: templates escape all values, data for the script is JSON without ``<``, and the
page's content security policy runs only the page's own script.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib import colormaps
from PIL import Image

from comp.console import Console
from comp.data.reading import in_rgb
from comp.files import write_text
from comp.runs.history import time_in_words

# A picture's longer side in pixels, about twice its size on a small screen with two pixels per CSS pixel.
SIDE = 176
# The opacity of the hottest spot of a map.
OPAQUE = 0.72
MAP_SIDE = 48


def render(template: str, **facts: Any) -> str:
    """The HTML of the template with this name, filled with ``facts``."""
    return _templates().get_template(f"{template}.html").render(facts)


def write_page(path: Path, template: str, **facts: Any) -> Path:
    """Write the page atomically and return its path."""
    write_text(path, render(template, **facts))
    return path


@cache
def _templates() -> Environment:
    loader = PackageLoader("comp.report")
    templates = Environment(
        loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined
    )
    style, script = (Markup(loader.get_source(templates, name)[0]) for name in ("page.css", "page.js"))
    templates.globals.update(
        style=style,
        script=script,
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        version=version("comp-starter"),
        now=lambda: f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
    )
    templates.filters.update(
        amount=lambda number: f"{number:,}",
        seconds=seconds,
        score=lambda value: "–" if _is_missing(value) else f"{value:.5f}",
        rounded=lambda value, digits=4: "–" if _is_missing(value) else f"{value:.{digits}f}",
        percent=percent,
        signed=lambda change, digits=5: f"{change:+.{digits}f}".replace("-", "−"),
        numbered=lambda names: list(enumerate(names)),
        pairs=lambda values: [(value, value) for value in values],
        pretty=lambda record: json.dumps(record, indent=2, ensure_ascii=False),
        breakable=breakable,
    )
    return templates


def _is_missing(value: float | None) -> bool:
    return value is None or value != value


def breakable(name: str) -> Markup:
    """A name as text with line breaks allowed after its separators, as in ``old_english_sheepdog``."""
    return Markup("<wbr>").join(re.split(r"(?<=[_\-./])", name))


def percent(share: float | None) -> str:
    """A share in %, with another digit where it is near 0 or 100; less than all is never 100 %."""
    if share is None or _is_missing(share):
        return "–"
    if share in (0, 1) or 0.1 <= share < 0.99:
        return f"{100 * share:.0f} %"
    return f"{100 * min(share, 0.999):.1f} %"


def seconds(value: float | None) -> str:
    """A time in words, or a dash for none."""
    return "–" if value is None or _is_missing(value) else time_in_words(value)


def one_by_one(rows: Sequence[int], console: Console) -> Iterator[int]:
    """The rows one by one, with a progress bar of pictures."""
    with console.bar("pictures", len(rows), "images") as bar:
        for row in rows:
            yield row
            bar.advance(1)


def thumbnail(pixels: npt.NDArray[np.uint8]) -> str:
    """Pixels (H, W, C) as a data URI, its longer side SIDE pixels at most."""
    picture = Image.fromarray(np.ascontiguousarray(in_rgb(pixels)))
    picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    return _webp(picture, quality=72)


def heat(activation: npt.NDArray[Any]) -> str:
    """An activation map (H, W), 0 to 1, as an overlay picture: hotter is brighter and less transparent."""
    coloured = colormaps["inferno"](0.25 + 0.75 * activation)
    coloured[..., 3] = OPAQUE * activation
    whole = Image.fromarray((255 * coloured).round().astype(np.uint8))
    return _webp(whole.resize((MAP_SIDE, MAP_SIDE), Image.Resampling.BILINEAR), quality=75)


def _webp(picture: Image.Image, quality: int) -> str:
    file = BytesIO()
    picture.save(file, "WEBP", quality=quality, method=4)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode()
