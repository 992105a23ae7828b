import json
from importlib import metadata
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from comp.data.readers import to_rgb
from comp.data.reading import LONGEST_SIDE, ORDINARY, Reading, centre, read_image, with_margin
from comp.errors import DataError
from tests.data.conftest import noise, turned

# Left half red, right half blue: enough to see colours and orientation through any compression.
RED, BLUE = (200, 30, 30), (30, 30, 200)


def red_and_blue(width=64, height=48):
    pixels = np.full((height, width, 3), BLUE, np.uint8)
    pixels[:, : width // 2] = RED
    return Image.fromarray(pixels)


def assert_red_and_blue(pixels, tolerance=30):
    assert pixels.dtype == np.uint8
    quarter = pixels.shape[1] // 4
    assert np.abs(pixels[:, :quarter].mean(axis=(0, 1)) - RED).max() < tolerance
    assert np.abs(pixels[:, -quarter:].mean(axis=(0, 1)) - BLUE).max() < tolerance


@pytest.fixture
def seen(tmp_path):
    """Saves an image and reads it at a size."""

    def read(image, size=48, suffix=".png", reading=ORDINARY, **options):
        image.save(tmp_path / f"image{suffix}", **options)
        return read_image(tmp_path / f"image{suffix}", size, reading)

    return read


SEE_THROUGH, PALETTE = red_and_blue(), red_and_blue().convert("P")
SEE_THROUGH.putalpha(7)
FRAMES = {"save_all": True, "append_images": [Image.new("RGB", (64, 48), "lime")]}
BROKEN_EXIF = b"Exif\x00\x00II*\x00\x08\x00\x00\x00\xff\xff\x12\x01\x03\x00\xff\xff\xff\xff\xff"


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize(
    ("suffix", "image", "options"),
    [
        *product([".png", ".bmp", ".gif", ".tif", ".webp"], map(red_and_blue().convert, ["RGB", "RGBA", "P"]), [{}]),
        *product([".jpg", ".tif", ".webp"], map(red_and_blue().convert, ["RGB", "CMYK"]), [{}]),
        # Transparency is dropped, the first frame of an animation is taken, and damaged EXIF is ignored.
        *((".png", SEE_THROUGH, {}), (".png", PALETTE, {"transparency": bytes([7] * 256)})),
        *product([".gif", ".webp", ".png"], [red_and_blue()], [FRAMES]),
        (".jpg", red_and_blue(), {"exif": BROKEN_EXIF}),
    ],
)
def test_every_kind_of_colour_image_becomes_the_same_rgb(seen, suffix, image, options):
    pixels = seen(image, 24, suffix, **options)
    assert pixels.shape == (24, 32, 3)
    assert_red_and_blue(pixels, tolerance=1 if image is SEE_THROUGH else 30)


@pytest.mark.parametrize("mode", ["L", "LA", "I;16", "1"])
def test_grey_images_become_rgb_of_equal_components(seen, mode):
    ramp = np.linspace(0, 255, 64).astype(np.uint8)[None].repeat(48, axis=0)
    image = Image.fromarray(ramp.astype(np.uint16) * 257) if mode == "I;16" else Image.fromarray(ramp).convert(mode)
    assert image.mode == mode
    pixels = seen(image)
    assert pixels.shape == (48, 64, 3)
    assert (pixels == pixels[:, :, :1]).all()
    if mode == "1":
        assert set(np.unique(pixels)) == {0, 255}
    else:
        assert np.array_equal(pixels[:, :, 0], ramp)


# The pixels that a camera stores at each orientation if the upright image is red on its left.
STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
@pytest.mark.parametrize("orientation", STORED)
def test_an_image_is_turned_upright_by_its_exif_orientation(seen, orientation, suffix):
    image, turn = red_and_blue(), STORED[orientation]
    pixels = seen(image if turn is None else image.transpose(turn), 48, suffix, exif=turned(orientation))
    assert pixels.shape == (48, 64, 3)
    assert_red_and_blue(pixels)


def test_a_16_bit_image_is_turned_upright_too(seen):
    ramp = np.arange(0, 64 * 1024, 1024, dtype=np.uint16)[None].repeat(48, axis=0)
    pixels = seen(Image.fromarray(ramp[::-1, ::-1].copy()), exif=turned(3))
    assert np.array_equal(pixels[:, :, 0], ramp // 256)


@settings(max_examples=25, deadline=None)
@given(
    width=st.integers(1, 90),
    height=st.integers(1, 90),
    box=st.tuples(st.integers(1, 60), st.integers(1, 60)) | st.integers(1, 100),
    fit=st.sampled_from(["crop", "pad"]),
)
def test_an_image_covers_a_rectangle_just_so_or_fits_in_and_is_filled_up(tmp_path_factory, width, height, box, fit):
    path = tmp_path_factory.getbasetemp() / "sized.png"
    red_and_blue(width, height).save(path)
    found, both = read_image(path, box, Reading(fit=fit)).shape[:2], (box, box) if isinstance(box, int) else box
    if fit == "pad":
        assert found == both
        return
    assert found[0] == both[0] or found[1] == both[1]
    assert all(side >= least for side, least in zip(found, both, strict=True))
    if max(width, height) <= LONGEST_SIDE * min(width, height):
        scale = max(both[0] / height, both[1] / width)
        assert found == pytest.approx((height * scale, width * scale), abs=0.51)


def test_what_is_filled_up_is_the_reflection(seen):
    ramp = np.arange(0, 240, 10, dtype=np.uint8)[None].repeat(12, axis=0)
    assert np.array_equal(seen(Image.fromarray(ramp), 24, reading=Reading(fit="pad"))[6:18, :, 0], ramp)
    varied = ramp.T + np.zeros((1, 12), np.uint8)
    pixels = seen(Image.fromarray(varied[:12]), (24, 12), reading=Reading(fit="pad"))
    assert pixels[:, 0, 0].tolist() == [*range(60, 0, -10), *range(0, 120, 10), *range(100, 40, -10)]


@pytest.mark.parametrize(
    ("box", "orientation"), [((90, 190), 1), ((90, 190), 6), *((side, 1) for side in (100, 150, 199, 400))]
)
def test_a_large_jpeg_is_decoded_at_no_less_than_was_asked_for_however_it_is_turned(tmp_path, box, orientation):
    path = tmp_path / "large.jpg"
    Image.fromarray(noise(50, 75, 1)[:, :, 0]).resize((600, 400)).save(path, quality=95, exif=turned(orientation))
    exact = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    height, width = (box, box) if isinstance(box, int) else box
    scale = max(height / exact.height, width / exact.width)
    wanted = (max(width, round(exact.width * scale)), max(height, round(exact.height * scale)))
    pixels = read_image(path, box)
    assert pixels.shape[1::-1] == wanted
    assert np.abs(pixels.astype(int) - np.asarray(exact.resize(wanted, Image.Resampling.BILINEAR))).mean() < 4.5


def test_every_interpolation_that_timm_names_is_known_and_differs(seen):
    names = ("nearest", "bilinear", "bicubic", "lanczos")
    assert len({seen(Image.fromarray(noise(40, 40)), 24, reading=Reading(name)).tobytes() for name in names}) == 4
    for name in names:
        assert_red_and_blue(seen(red_and_blue(), 24, reading=Reading(name)))


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match=r"absent\.jpg can't be read"):
        read_image(tmp_path / "absent.jpg", 32)


@settings(max_examples=30)
@given(height=st.integers(1, 30), width=st.integers(1, 30), data=st.data())
def test_the_centre_is_a_rectangle_with_equal_margins(height, width, data):
    size = data.draw(st.integers(1, height)), data.draw(st.integers(1, width))
    pixels = np.arange(height * width, dtype=np.int64).reshape(height, width, 1)
    middle = centre(pixels, size)
    assert middle.shape == (*size, 1)
    top, left = divmod(int(middle[0, 0, 0]), width)
    assert 0 <= (height - size[0] - top) - top <= 1
    assert 0 <= (width - size[1] - left) - left <= 1
    assert np.array_equal(centre(pixels, min(size)), centre(pixels, (min(size),) * 2))


@settings(max_examples=30)
@given(size=st.integers(8, 600), width=st.integers(8, 600), zoom=st.floats(1, 4))
def test_the_margin_leaves_room_for_the_zoom(size, width, zoom):
    assert size * zoom <= with_margin(size, zoom) < size * zoom + 1
    assert with_margin(size, 1) == size
    height, wide = with_margin((size, width), zoom)
    assert height == with_margin(size, zoom)
    assert wide >= max(width * zoom, height * width / size) - 1e-6
    assert with_margin((size, width), 1) == (size, width)


@pytest.mark.parametrize("mode", ["PA", "LA", "RGBa", "YCbCr", "HSV"])
def test_rarer_modes_become_rgb(mode):
    # Palettes with transparency, and components other than red, green and blue.
    image = red_and_blue().convert("RGBA")
    through = {"PA": "P", "RGBa": "RGBA", "HSV": "RGB", "YCbCr": "RGB"}.get(mode)
    pixels = np.asarray(to_rgb((image.convert(through) if through else image).convert(mode)))
    assert pixels.shape == (48, 64, 3)
    if mode == "LA":
        assert (pixels == pixels[:, :, :1]).all()
    else:
        assert_red_and_blue(pixels)


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        ([0, 0.5, 1], np.float32, [0, 127, 255]),
        ([0, 100, 255], np.float32, [0, 100, 255]),
        ([0, 25600, 65535], np.float32, [0, 100, 255]),
        ([-1, 0, 1], np.float32, [0, 127, 255]),
        ([np.nan, np.inf, 1], np.float32, [0, 0, 255]),
        ([0, 0, 0], np.float32, [0, 0, 0]),
        ([0, 100, 255], np.int32, [0, 100, 255]),
        ([0, 25600, 65535], np.int32, [0, 100, 255]),
        ([0, 500_000, 1_000_000], np.int32, [0, 127, 255]),
    ],
)
def test_grey_numbers_of_any_scale_become_bytes(seen, values, dtype, expected):
    assert seen(Image.fromarray(np.array([values] * 3, dtype)), 3, ".tif")[0, :, 0].tolist() == expected


@pytest.mark.parametrize(("width", "height"), [(5000, 1), (1, 5000), (3000, 10)])
def test_of_an_image_that_is_far_too_long_the_middle_is_kept(seen, width, height):
    pixels = np.zeros((height, width, 3), np.uint8)
    square = max(1, min(width, height))
    top, left = (height - square) // 2, (width - square) // 2
    pixels[top : top + square, left : left + square] = 255
    long = seen(Image.fromarray(pixels), 32)
    assert sorted(long.shape[:2]) == [32, 32 * LONGEST_SIDE]
    # An even width has no middle pixel.
    assert centre(long, 32).mean() > 120


def test_the_key_of_pixels_tells_the_decoders_that_are_installed_apart(monkeypatch):
    def installed(**versions):
        def version(name):
            return versions.get(name) or metadata.version("no-such-package")

        monkeypatch.setattr("comp.data.readers.version", version)
        return json.dumps(ORDINARY.key)

    kinds = [{}, {"pillow": "1"}, {"pillow": "2"}, {"pillow": "2", "pydicom": "3"}, {"opencv-python-headless": "5"}]
    assert len({installed(**versions) for versions in kinds}) == len(kinds)
