"""Files other than ordinary images, written by the usual libraries for them."""

import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from comp.data.file_facts import facts_of
from comp.data.readers import FORMATS, NAMED, array_of
from comp.data.reading import Depth, Reading, as_bytes, read_image
from comp.declare.labels.files import IMAGE_SUFFIXES
from comp.declare.reading import READERS, Channels
from comp.errors import DataError, DeclarationError
from comp.training.features import content_digest
from tests.data.conftest import noise

RAMP = np.linspace(0, 4095, 20 * 24).reshape(20, 24).astype(np.uint16)
COLOURS = np.random.default_rng(0).integers(0, 65536, (20, 24, 3), dtype=np.uint16)


def dicom(path, values, **tags):
    """Write values (H, W), frames (N, H, W) or colours (H, W, 3) to a DICOM file."""
    pydicom = pytest.importorskip("pydicom")
    file = pydicom.Dataset()
    file.file_meta = pydicom.dataset.FileMetaDataset()
    file.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    colours = values.ndim == 3 and values.shape[-1] == 3
    bits = 8 * values.dtype.itemsize
    for name, value in {
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.1",
        "SOPInstanceUID": "1.2.3",
        "Rows": values.shape[-3 if colours else -2],
        "Columns": values.shape[-2 if colours else -1],
        "SamplesPerPixel": 3 if colours else 1,
        "PhotometricInterpretation": "RGB" if colours else "MONOCHROME2",
        **({"PlanarConfiguration": 0} if colours else {}),
        "BitsAllocated": bits,
        "BitsStored": min(bits, 12),
        "HighBit": min(bits, 12) - 1,
        "PixelRepresentation": int(values.dtype.kind == "i"),
        "PixelData": values.tobytes(),
        **tags,
    }.items():
        setattr(file, name, value)
    file.save_as(path, enforce_file_format=True)
    return path


@pytest.fixture
def shown(tmp_path):
    """Writes a DICOM file and reads it."""
    return lambda values, **tags: array_of(dicom(tmp_path / "x.dcm", values, **tags), "dicom")


def test_every_name_is_read_and_what_is_listed_as_an_image_is_what_is_opened_as_one():
    assert set(NAMED) == set(READERS)
    Image.init()
    assert {suffix for suffix, kind in Image.registered_extensions().items() if kind in FORMATS} == IMAGE_SUFFIXES


@pytest.mark.parametrize(("suffix", "values"), [(".png", RAMP), (".tif", RAMP), (".tif", RAMP / np.float32(4095) - 1)])
def test_deep_greys_are_read_as_they_are(tmp_path, suffix, values):
    path = tmp_path / f"x{suffix}"
    Image.fromarray(values).save(path)
    assert np.array_equal(array_of(path, "images"), values)


@pytest.mark.parametrize(("suffix", "channels"), [(".png", 3), (".png", 4), (".tif", 3), (".tif", 4)])
@pytest.mark.parametrize("kind", [np.uint16, np.uint8])
def test_deep_colours_are_read_in_the_order_of_the_file(tmp_path, suffix, channels, kind):
    values = np.dstack([COLOURS, COLOURS[:, :, :1] // 2]).astype(kind)[:, :, :channels]
    blue_first = values[:, :, [2, 1, 0, 3][:channels]]
    assert cv2.imwrite(str(tmp_path / f"x{suffix}"), blue_first)
    # In an eight-bit image or a PNG, the fourth component is transparency, which is dropped.
    expected = values if kind != np.uint8 and suffix != ".png" else values[:, :, :3]
    assert np.array_equal(array_of(tmp_path / f"x{suffix}", "images"), expected)


@pytest.mark.parametrize("orientation", [2, 6, 8])
def test_deep_colours_are_turned_upright_as_pillow_turns_their_upper_bits(tmp_path, orientation):
    cv2.imwrite(str(tmp_path / "plain.png"), COLOURS)
    exif = struct.pack(">2sHIHHHIHHI", b"MM", 42, 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    chunk = struct.pack(">I4s", len(exif), b"eXIf") + exif + struct.pack(">I", zlib.crc32(b"eXIf" + exif))
    plain = (tmp_path / "plain.png").read_bytes()
    start = plain.index(b"IDAT") - 4
    (tmp_path / "x.png").write_bytes(plain[:start] + chunk + plain[start:])
    with Image.open(tmp_path / "x.png") as image:
        upright = np.asarray(ImageOps.exif_transpose(image))
    assert np.array_equal(array_of(tmp_path / "x.png", "images") >> 8, upright)


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int16, np.uint32])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_deep_kinds_that_pillow_does_not_know_are_read_too(tmp_path, kind, channels):
    values = (np.dstack([COLOURS, COLOURS[:, :, :1] // 3])[:, :, :channels] // 2).astype(kind)
    cv2.imwrite(str(tmp_path / "x.tif"), values[:, :, [2, 1, 0, 3][:channels]] if channels > 1 else values)
    assert np.array_equal(array_of(tmp_path / "x.tif", "images").reshape(values.shape), values)
    found = facts_of(tmp_path / "x.tif")
    assert (found.problem, found.channels) == ("", channels if channels > 1 else 3)
    pixels = read_image(tmp_path / "x.tif", 20, Reading(depth=Depth(found.channels, found.low, found.high)))
    assert (pixels.min(), pixels.max()) == (0, 255)


@pytest.mark.parametrize("values", [RAMP, COLOURS])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_truncated_deep_image_is_never_half_read(tmp_path, values, suffix):
    path = tmp_path / f"x{suffix}"
    cv2.imwrite(str(path), values)
    whole = path.read_bytes()
    for length in range(1, len(whole) - 20, len(whole) // 15):
        path.write_bytes(whole[:length])
        assert facts_of(path).problem
        with pytest.raises(DataError):
            read_image(path, 16, Reading(depth=Depth(3, (0.0,) * 3, (1.0,) * 3)))


@pytest.mark.parametrize("content", [b"this is text", b"II*\0", b"MM\0*and no more"])
def test_what_is_no_image_is_no_deep_one(tmp_path, content):
    (tmp_path / "x.tif").write_bytes(content)
    assert facts_of(tmp_path / "x.tif").problem == "not an image"


def test_arrays_of_numpy_are_read_and_code_in_them_is_not_run(tmp_path):
    np.save(tmp_path / "x.npy", COLOURS)
    assert np.array_equal(array_of(tmp_path / "x.npy", "npy"), COLOURS)
    np.save(tmp_path / "x.npy", np.array([[object()]]), allow_pickle=True)
    assert facts_of(tmp_path / "x.npy", "npy").problem == "damaged"


def test_colours_of_a_dicom_file_are_rgb_whatever_it_stores(shown):
    pixels = pytest.importorskip("pydicom.pixels")
    rgb = np.full((2, 2, 3), (200, 50, 30), np.uint8)
    stored = pixels.convert_color_space(rgb, "RGB", "YBR_FULL")
    found = shown(stored, PhotometricInterpretation="YBR_FULL", BitsStored=8, HighBit=7)
    assert np.abs(found.astype(int) - rgb).max() <= 2
    colours = (COLOURS >> 8).astype(np.uint8)
    assert np.array_equal(shown(colours), colours)
    # The first of several frames.
    assert np.array_equal(shown(np.stack([RAMP, RAMP[::-1]]), NumberOfFrames=2), RAMP)


def test_a_dicom_file_is_shown_through_its_window_or_voi_lut(shown):
    window = {"WindowCenter": 2048, "WindowWidth": 1024}
    found = shown(RAMP, **window)
    assert found.dtype == np.uint8
    assert (found[RAMP < 1535] == 0).all()
    assert (found[RAMP > 2561] == 255).all()
    assert abs(int(found[np.abs(RAMP.astype(int) - 2048) < 5].mean()) - 128) < 2
    assert np.array_equal(shown(RAMP, PhotometricInterpretation="MONOCHROME1", **window), 255 - found)
    # The same window in Hounsfield units.
    rescaled = dict(window, WindowCenter=1024, RescaleSlope=1, RescaleIntercept=-1024)
    assert np.array_equal(shown(RAMP, **rescaled), found)
    table = pytest.importorskip("pydicom").Dataset()
    table.LUTDescriptor = [4096, 0, 12]
    table.add_new("LUTData", "US", list(range(4095, -1, -1)))
    expected = ((4095 - RAMP.astype(float)) * 255 / 4095).round()
    assert np.array_equal(shown(RAMP, VOILUTSequence=[table]), expected)


def test_a_dicom_file_without_a_window_has_its_values(shown):
    assert np.array_equal(shown(RAMP), RAMP)
    assert np.array_equal(shown(RAMP, PhotometricInterpretation="MONOCHROME1"), 4095 - RAMP)
    assert np.array_equal(shown(RAMP, WindowCenter=None, WindowWidth=None, VOILUTSequence=[]), RAMP)
    signed = RAMP.astype(np.int16) - 2048
    assert np.array_equal(shown(signed, RescaleSlope=2, RescaleIntercept=5), 2 * signed + 5.0)


def test_channels_in_files_of_their_own_are_one_image(tmp_path):
    for name, number in (("red", 10), ("green", 20), ("blue", 30), ("far", 40)):
        Image.new("L", (24, 20), number).save(tmp_path / f"x_{name}.png")
    read = Channels(["_red.png", "_green.png", "_blue.png", "_far.png"])
    for named in ("x_green.png", "x_far.png"):
        assert array_of(tmp_path / named, read)[3, 3].tolist() == [10, 20, 30, 40]
    before = facts_of(tmp_path / "x_red.png", read)
    Image.new("L", (24, 20), 41).save(tmp_path / "x_far.png")
    assert facts_of(tmp_path / "x_red.png", read).content != before.content
    paths = [str(tmp_path / "x_red.png")]
    assert content_digest(paths, read=read) == content_digest(paths, [facts_of(tmp_path / "x_red.png", read).content])
    (tmp_path / "x_far.png").unlink()
    assert facts_of(tmp_path / "x_red.png", read)[:2] == ("missing", str(tmp_path / "x_far.png"))
    with pytest.raises(DeclarationError, match=r"_red\.png.*other\.png"):
        facts_of(tmp_path / "other.png", read)


@pytest.mark.parametrize(
    "wrong", [np.zeros(3), np.zeros((3, 224, 224)), np.zeros((2, 0)), np.array([["a"]]), 7, np.zeros((4, 4), complex)]
)
def test_a_function_that_gives_no_image_is_refused_by_the_field_s_name(tmp_path, wrong):
    (tmp_path / "x.bin").write_bytes(b"x")
    with pytest.raises(DeclarationError, match=r"Competition: `read` .*x\.bin"):
        facts_of(tmp_path / "x.bin", lambda path: wrong)


def test_what_a_function_raises_is_said_of_the_file(tmp_path):
    (tmp_path / "x.bin").write_bytes(b"x")
    found = facts_of(tmp_path / "x.bin", lambda path: 1 / 0)
    assert (found.problem, found.detail) == ("damaged", "division by zero")


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
@pytest.mark.parametrize("fit", ["crop", "pad"])
def test_any_number_of_channels_is_resized_alike(tmp_path, channels, fit):
    array = noise(40, 60, channels)
    np.save(tmp_path / "x.npy", array)
    pixels = read_image(tmp_path / "x.npy", 30, Reading("bicubic", fit, "npy", Depth(channels)))
    assert pixels.shape == ((30, 45, channels) if fit == "crop" else (30, 30, channels))
    for channel in range(channels):
        Image.fromarray(array[:, :, channel]).save(tmp_path / "x.png")
        alone = read_image(tmp_path / "x.png", 30, Reading("bicubic", fit))
        assert np.array_equal(pixels[:, :, channel], alone[:, :, 0])


def test_values_become_bytes_by_the_depth_and_nothing_else(tmp_path):
    np.save(tmp_path / "x.npy", np.array([[-5, 0, 100], [200, 400, 10]], np.float32))
    reading = Reading(read="npy", depth=Depth(3, (0.0,) * 3, (200.0,) * 3))
    assert read_image(tmp_path / "x.npy", 2, reading)[:, :, 0].tolist() == [[0, 0, 128], [255, 255, 13]]
    two = np.dstack([np.array([[0, 10]]), np.array([[0.0, np.nan]])])
    assert as_bytes(two, Depth(2, (0.0, 0.0), (10.0, 1.0))).tolist() == [[[0, 0], [255, 0]]]
    assert as_bytes(np.array([[7, 7]]), Depth(3, (7.0,) * 3, (7.0,) * 3)).tolist() == [[0, 0]]
    assert as_bytes(np.array([[True, False]]), Depth()).tolist() == [[255, 0]]


def test_another_number_of_channels_than_the_training_images_have_is_named(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((8, 8, 4), np.uint8))
    with pytest.raises(DataError, match=r"x\.npy.* 4 .* 3"):
        read_image(tmp_path / "x.npy", 8, Reading(read="npy"))


@pytest.mark.skipif("AVIF" not in FORMATS, reason="an older Pillow")
def test_avif_is_read_whatever_it_is_called(tmp_path):
    Image.new("RGB", (16, 16), (200, 10, 10)).save(tmp_path / "x.avif")
    (tmp_path / "x.avif").rename(tmp_path / "x.jpg")
    assert facts_of(tmp_path / "x.jpg").problem == ""
    assert np.abs(read_image(tmp_path / "x.jpg", 16).mean(axis=(0, 1)) - (200, 10, 10)).max() < 8
