import base64
import hashlib
import json
import re
from io import BytesIO

import numpy as np
import pytest
from jinja2 import UndefinedError
from PIL import Image

from comp.report import rendering
from comp.report.rendering import MAP_SIDE, SIDE, heat, thumbnail


def test_a_page_is_written_whole_asks_no_one_for_anything_and_lets_its_own_script_run_and_no_other(tmp_path):
    path = rendering.write_page(tmp_path / "new" / "missing.html", "missing")
    page = path.read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert [file.name for file in path.parent.iterdir()] == ["missing.html"]
    assert re.findall(r"(?:src|href)=\"(?!#|/|data:)", page) == []
    assert not re.search(r"url\(|@import|https?://", page)
    (script,) = re.findall(r"<script>(.*?)</script>", page, flags=re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
    assert f"script-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")
    assert "connect-src 'none'" in policy


def test_what_a_template_is_not_given_is_an_error_and_no_gap():
    with pytest.raises(UndefinedError):
        rendering.render("board")


@pytest.mark.parametrize("text", ['"><script>x</script>', "</script><!--", "'& \u2028\u2029 \\", "{{ 7 * 7 }}", ""])
def test_any_text_stays_text_and_any_data_come_back(text):
    templates = rendering._templates()
    shown = templates.from_string('<b title="{{ text }}">{{ text }}</b>').render(text=text)
    assert re.fullmatch(r'<b title="[^"<>]*">[^<>]*</b>', shown, flags=re.DOTALL)
    data = templates.from_string("{{ text | tojson }}").render(text=text)
    assert json.loads(data) == text
    assert not re.search("[<>&\u2028\u2029]", data)


@pytest.mark.parametrize(
    ("function", "value", "text"),
    [
        (rendering.breakable, "cat", "cat"),
        (rendering.breakable, "old_english_sheepdog", "old_<wbr>english_<wbr>sheepdog"),
        (rendering.breakable, "train/cat.0.jpg", "train/<wbr>cat.<wbr>0.<wbr>jpg"),
        (rendering.breakable, "<b>-&", "&lt;b&gt;-<wbr>&amp;"),
        (rendering.seconds, None, "–"),
        (rendering.seconds, float("nan"), "–"),
        (rendering.seconds, 720, "12 min"),
        (rendering.percent, None, "–"),
        (rendering.percent, 0, "0 %"),
        (rendering.percent, 0.0123, "1.2 %"),
        (rendering.percent, 0.25, "25 %"),
        (rendering.percent, 268 / 269, "99.6 %"),
        (rendering.percent, 0.99999, "99.9 %"),
        (rendering.percent, 1, "100 %"),
    ],
)
def test_long_names_may_end_their_line_between_words_and_times_and_shares_are_said_in_words(function, value, text):
    assert function(value) == text


def opened(uri):
    assert uri.startswith("data:image/webp;base64,")
    return Image.open(BytesIO(base64.b64decode(uri.partition(",")[2])))


def test_a_thumbnail_keeps_shape_and_colour_and_is_small():
    pixels = np.zeros((300, 600, 3), np.uint8)
    pixels[:, :300, 0] = 200
    uri = thumbnail(pixels)
    picture = opened(uri)
    assert picture.size == (SIDE, SIDE // 2)
    left, right = np.asarray(picture)[:, 40].mean(axis=0), np.asarray(picture)[:, -40].mean(axis=0)
    assert left[0] > 180 > 20 > right[0]
    assert len(uri) < 10_000
    assert opened(thumbnail(np.zeros((8, 8, 3), np.uint8))).size == (8, 8)  # not enlarged


def test_a_map_covers_most_where_it_is_hottest_and_nothing_where_it_is_cold():
    activation = np.zeros((64, 64), np.float32)
    activation[:32, :32] = 1
    picture = opened(heat(activation))
    assert picture.size == (MAP_SIDE, MAP_SIDE)
    alpha = np.asarray(picture.convert("RGBA"))[..., 3]
    assert alpha[4, 4] > 150
    assert alpha[-4, -4] < 5
