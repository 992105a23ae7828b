import os

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from comp.data.file_facts import ODDITIES, FileFacts, facts_of, facts_of_each, oddities
from comp.data.reading import read_image
from comp.errors import DataError
from tests.data.conftest import encoded, noise, turned

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
SUFFIXES = [".jpg", ".png", ".webp", ".tif"]
KINDS = ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP"]


def photo(*size):
    return Image.fromarray(noise(*size))


def save(path, image, **options):
    image.save(path, **options)
    return path


def odd(found):
    return oddities(pd.DataFrame([found]))[0]


def test_a_plain_photograph_has_no_problem_and_nothing_odd(tmp_path):
    found = facts_of(save(tmp_path / "plain.jpg", photo()))
    assert (found.problem, found.format, found.mode) == ("", "JPEG", "RGB")
    assert (found.width, found.height, found.orientation) == (40, 30, 1)
    assert len(found.thumbnail) == 256
    assert odd(found) == ()


@pytest.mark.parametrize(
    ("problem", "content"),
    [
        ("empty", b""),
        ("not an image", b"this is text, whatever its name"),
        ("not an image", b"<!DOCTYPE html><title>Sign in</title>"),
        ("not an image", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"),
        *[("not an image", start) for start in (b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"GIF89a")],
        ("truncated", encoded(photo(), "JPEG")[:-300]),
        ("truncated", encoded(photo(), "JPEG", progressive=True)[:-300]),
        ("truncated", encoded(photo(), "PNG")[:-300]),
    ],
)
def test_a_file_that_is_no_image_has_its_problem(tmp_path, problem, content):
    (tmp_path / "x.jpg").write_bytes(content)
    found = facts_of(tmp_path / "x.jpg")
    assert found.problem == problem
    assert found.content
    assert odd(found) == ()
    with pytest.raises(DataError, match=r"x\.jpg can't be read as an image"):
        read_image(tmp_path / "x.jpg", 16)


def test_what_is_no_file_is_not_read(tmp_path):
    (tmp_path / "a folder").mkdir()
    (tmp_path / "a broken link").symlink_to(tmp_path / "nowhere.jpg")
    (tmp_path / "can't be opened").symlink_to(tmp_path / "can't be opened")
    os.mkfifo(tmp_path / "not a file")
    for problem in ("a folder", "a broken link", "can't be opened", "not a file", "missing"):
        assert facts_of(tmp_path / problem).problem == problem


FRAMES = [photo().convert("P"), photo(30, 40).rotate(90).convert("P")]
DEEP = Image.fromarray(np.arange(1200, dtype=np.uint16).reshape(30, 40) * 50)


@pytest.mark.parametrize(
    ("names", "suffix", "image", "options"),
    [
        (("four components",), ".jpg", photo().convert("CMYK"), {}),
        (("grey",), ".jpg", photo().convert("L"), {}),
        (("grey",), ".png", photo().convert("1"), {}),
        (("grey", "16 bits"), ".png", DEEP, {}),
        (("grey", "16 bits"), ".tif", DEEP, {}),
        (("palette",), ".png", FRAMES[0], {}),
        (("palette",), ".gif", FRAMES[0], {}),
        (("palette", "alpha"), ".png", FRAMES[0], {"transparency": bytes(range(256))}),
        (("palette", "animated"), ".gif", FRAMES[0], {"save_all": True, "append_images": FRAMES[1:]}),
        (("alpha",), ".png", photo().convert("RGBA"), {}),
        (("EXIF-rotated",), ".jpg", photo(), {"exif": turned(6)}),
        (("EXIF-rotated",), ".tif", photo(), {"exif": turned(6)}),
        (("EXIF-rotated",), ".png", photo(), {"exif": turned(3)}),
        (("animated",), ".webp", photo(), {"save_all": True, "append_images": [photo(30, 40).rotate(90)]}),
        (("extreme aspect", "tiny"), ".png", photo(1, 5000), {}),
        (("extreme aspect",), ".jpg", photo(500, 100), {}),
        (("tiny",), ".jpg", photo(15, 20), {}),
    ],
)
def test_what_is_odd_is_named_and_nothing_else(tmp_path, names, suffix, image, options):
    found = facts_of(save(tmp_path / f"x{suffix}", image, **options))
    assert (found.problem, odd(found)) == ("", names)


def test_colours_of_16_bits_are_named_though_pillow_reads_eight(tmp_path):
    import cv2

    cv2.imwrite(str(tmp_path / "deep.png"), np.arange(3600, dtype=np.uint16).reshape(30, 40, 3))
    found = facts_of(tmp_path / "deep.png")
    assert (found.mode, odd(found)) == ("RGB", ("16 bits",))


@pytest.mark.parametrize(("orientation", "suffix"), [(1, ".jpg"), *((6, kind) for kind in SUFFIXES), (3, ".png")])
def test_size_and_thumbnail_are_those_of_the_upright_image(tmp_path, orientation, suffix):
    found = facts_of(save(tmp_path / f"x{suffix}", photo(32, 64), exif=turned(orientation)))
    upright = read_image(tmp_path / f"x{suffix}", min(found.width, found.height))
    assert (found.height, found.width) == upright.shape[:2]
    assert found.orientation == orientation
    small = np.asarray(Image.fromarray(upright).convert("L").resize((16, 16), Image.Resampling.BOX), float)
    assert np.corrcoef(small.ravel(), np.frombuffer(found.thumbnail, np.uint8))[0, 1] > 0.97


def test_a_thumbnail_uses_all_greys_and_a_blank_one_none(tmp_path):
    dim = Image.fromarray(np.linspace(100, 104, 1200).reshape(30, 40).astype(np.uint8))
    thumbnail = np.frombuffer(facts_of(save(tmp_path / "dim.png", dim)).thumbnail, np.uint8)
    assert (thumbnail.min(), thumbnail.max()) == (0, 255)
    blank = Image.new("RGB", (40, 30), "white")
    assert not any(facts_of(save(tmp_path / "blank.png", blank)).thumbnail)


def test_files_keep_their_order_though_several_are_opened_at_once(tmp_path):
    paths = [save(tmp_path / f"{side}.png", Image.new("L", (side, 20))) for side in range(1, 150)]
    assert [found.width for found in facts_of_each(paths)] == list(range(1, 150))
    assert list(facts_of_each([])) == []


def test_the_huge_are_named_before_they_are_refused():
    assert odd(FileFacts(format="PNG", mode="RGB", width=10_000, height=8_000)) == ()
    assert odd(FileFacts(format="PNG", mode="RGB", width=10_000, height=9_000)) == ("huge",)
    assert set(odd(FileFacts(mode="LA", width=1, height=9, alpha=True))) <= set(ODDITIES)


def assert_is_screened_as_it_is_read(path, size):
    found = facts_of(path)
    try:
        pixels = read_image(path, size)
    except DataError as error:
        assert found.problem
        assert str(path) in str(error)  # noqa: PT017
    else:
        assert not found.problem
        assert pixels.shape[2] == 3
        assert min(pixels.shape[:2]) == size
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_screened_as_readable_is_read_and_nothing_else(tmp_path, kind):
    whole, path = encoded(photo(), kind), tmp_path / "cut.jpg"
    for length in {*range(0, len(whole), max(1, len(whole) // 12)), *range(len(whole) - 6, len(whole) + 1)}:
        path.write_bytes(whole[:length])
        found = assert_is_screened_as_it_is_read(path, 30)
        assert length < len(whole) or not found.problem


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), kind=st.sampled_from(KINDS))
def test_a_damaged_file_is_screened_as_it_is_read(tmp_path_factory, seed, kind):
    rng = np.random.default_rng(seed)
    options = {"exif": turned(6)} if kind != "BMP" else {}
    damaged = np.frombuffer(encoded(photo(16, 20), kind, **options), np.uint8).copy()
    damaged[rng.integers(len(damaged), size=4)] = rng.integers(256, size=4)
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(damaged.tobytes())
    assert_is_screened_as_it_is_read(path, 16)
