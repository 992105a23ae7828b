import base64
from io import BytesIO

import numpy as np
from PIL import Image

from comp.report.pictures import MAP_SIDE, SIDE, heat, thumbnail


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


def test_a_small_picture_is_not_enlarged():
    assert opened(thumbnail(np.zeros((8, 8, 3), np.uint8))).size == (8, 8)


def test_a_map_covers_most_where_it_is_hottest_and_nothing_where_it_is_cold():
    activation = np.zeros((64, 64), np.float32)
    activation[:32, :32] = 1
    picture = opened(heat(activation))
    assert picture.size == (MAP_SIDE, MAP_SIDE)
    alpha = np.asarray(picture.convert("RGBA"))[..., 3]
    assert alpha[4, 4] > 150
    assert alpha[-4, -4] < 5
