"""A page from a template: one file with its style, its script and its pictures inside, that asks no one for anything.

Names from the data stand in it as text: templates escape whatever is put into them, data for the script is JSON without
``<``, and the page's own policy runs no script but the page's one, whatever else might get into it.
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

# Pixels of a side, about twice what it is shown at on a small screen with two of its pixels to one of the page.
SIDE = 176
# How much of the picture the hottest spot of a map covers.
OPAQUE = 0.72
MAP_SIDE = 48


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
    """A name as text whose line may end after what joins its words, as in ``old_english_sheepdog``."""
    return Markup("<wbr>").join(re.split(r"(?<=[_\-./])", name))


def percent(share: float | None) -> str:
    """A share in %, with a digit more where it is small or nearly all; all but one is not 100 %."""
    if share is None or _is_missing(share):
        return "–"
    if share in (0, 1) or 0.1 <= share < 0.99:
        return f"{100 * share:.0f} %"
    return f"{100 * min(share, 0.999):.1f} %"


def seconds(value: float | None) -> str:
    """A time in words, or a dash for none."""
    return "–" if value is None or _is_missing(value) else time_in_words(value)


def one_by_one(rows: Sequence[int], console: Console) -> Iterator[int]:
    """The rows whose pictures are made, with a bar."""
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
    """An activation map (H, W) of 0 to 1 as a picture to lay over another: hotter is brighter and less transparent."""
    coloured = colormaps["inferno"](0.25 + 0.75 * activation)
    coloured[..., 3] = OPAQUE * activation
    whole = Image.fromarray((255 * coloured).round().astype(np.uint8))
    return _webp(whole.resize((MAP_SIDE, MAP_SIDE), Image.Resampling.BILINEAR), quality=75)


def _webp(picture: Image.Image, quality: int) -> str:
    file = BytesIO()
    picture.save(file, "WEBP", quality=quality, method=4)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode()
