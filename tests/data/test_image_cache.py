import pickle
import shutil

import numpy as np
import pytest
from PIL import Image

from comp.data import image_cache as module
from comp.data.augmenting import Preprocessing
from comp.data.image_cache import cached_images
from comp.data.loading import ImageDataset
from comp.data.reading import Depth, Reading, read_image
from comp.declare.viewpoint import upright
from comp.files import alone

ROWS = np.array([0, 2, 3, 5])


@pytest.fixture
def paths(tmp_path):
    """Six images of different shapes, formats and modes."""
    draw, made = np.random.default_rng(0), []
    for number, (height, width) in enumerate([(40, 60), (64, 30), (20, 20), (50, 51), (33, 80), (90, 45)]):
        pixels = draw.integers(0, 255, (height, width, 3), dtype=np.uint8)
        path = tmp_path / "images" / f"{number}.{'jpg' if number % 2 else 'png'}"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).convert("L" if number == 3 else "RGB").save(path)
        made.append(path)
    return made


@pytest.fixture
def said():
    return []


@pytest.fixture
def keeping(paths, tmp_path, said):
    """`cached_images` of the rows above, at 24 pixels."""

    def call(content="1", rows=ROWS, side=24, advance=lambda _: None, **others):
        return cached_images(tmp_path / "cache", paths, rows, content, side, Reading(), advance, said.append, **others)

    return call


def test_kept_images_are_those_that_are_read(keeping, paths):
    done = []
    kept = keeping(advance=done.append)
    assert sum(done) == len(ROWS)
    for row, path in enumerate(paths):
        assert (row in kept) is (row in ROWS)
        if row in kept:
            np.testing.assert_array_equal(kept[row], read_image(path, 24))


@pytest.mark.parametrize("channels", [1, 5])
def test_rectangles_of_any_number_of_channels_are_kept(tmp_path, channels):
    paths = [tmp_path / f"{number}.npy" for number in range(3)]
    for number, path in enumerate(paths):
        np.save(path, np.random.default_rng(number).integers(0, 256, (40 + number, 30, channels), dtype=np.uint8))
    reading = Reading(read="npy", depth=Depth(channels))
    kept = cached_images(
        tmp_path / "cache", paths, np.arange(3), "1", (20, 25), reading, lambda _: None, lambda _: None
    )
    for row, path in enumerate(paths):
        np.testing.assert_array_equal(kept[row], read_image(path, (20, 25), reading))


def test_what_is_kept_is_read_from_no_file_again(keeping, paths, said):
    first = keeping()
    for path in paths:
        path.unlink()
    again = keeping()
    assert again.folder == first.folder
    np.testing.assert_array_equal(again[5], first[5])
    assert len(said) == 1
    assert said[0].startswith("4 images at 24 px take about 0 MB of the ")


@pytest.mark.parametrize("other", [{"content": "2"}, {"rows": ROWS[:2]}, {"side": 30}])
def test_other_files_rows_or_sizes_are_kept_apart(keeping, other):
    assert keeping(**other).folder != keeping().folder


def test_images_that_edited_code_reads_are_cached_apart(keeping, monkeypatch):
    first = keeping()
    monkeypatch.setattr(module, "source_digest", lambda *_: "of edited source")
    assert keeping().folder != first.folder


@pytest.mark.parametrize("damage", ["cut", "no shapes", "gone"])
def test_what_was_damaged_is_made_anew(keeping, damage):
    kept = keeping()
    if damage == "gone":
        shutil.rmtree(kept.folder)
    elif damage == "cut":
        (kept.folder / "pixels").write_bytes(b"123")
    else:
        (kept.folder / "shapes.npy").unlink()
    again = keeping()
    assert again.whole
    assert again[2].shape == (24, 24, 3)


def test_an_interruption_leaves_nothing_and_the_next_call_keeps_all(keeping, tmp_path):
    def interrupted(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        keeping(advance=interrupted)
    assert list((tmp_path / "cache").iterdir()) == []
    assert keeping().whole


def test_images_that_would_take_too_much_of_the_disk_are_not_kept_and_that_is_said(
    keeping, monkeypatch, said, tmp_path
):
    monkeypatch.setattr(module, "SHARE_OF_DISK", 0.0)
    assert keeping() is None
    assert "more than the 0 MB for them" in said[0]
    assert "read anew in every epoch" in said[0]
    assert list((tmp_path / "cache").iterdir()) == []


def test_the_longest_unused_are_removed_to_make_room(keeping, monkeypatch):
    first, second = keeping("1"), keeping("2")
    keeping("1")
    size = module._size(first.folder)
    monkeypatch.setattr(module, "_room", lambda _: 2.5 * size)
    third = keeping("3")
    assert [kept.folder.exists() for kept in (first, second, third)] == [True, False, True]


def test_what_the_same_stage_needs_is_not_removed_to_make_room(keeping, monkeypatch, said):
    first = keeping("1")
    monkeypatch.setattr(module, "_room", lambda _: 1.5 * module._size(first.folder))
    assert keeping("2", beside=[first]) is None
    assert first.whole
    assert "read anew in every epoch" in said[-1]


def test_images_that_another_training_removed_are_read_from_their_files(keeping, paths):
    kept = keeping()
    dataset = ImageDataset(paths, Preprocessing(24, Reading(), upright(max_zoom=1)), 0, {24: kept})
    shutil.rmtree(kept.folder)
    np.testing.assert_array_equal(dataset.read(2, 24), read_image(paths[2], 24))


def test_what_a_killed_process_left_is_removed_and_what_another_writes_is_not(keeping, tmp_path):
    (tmp_path / "cache" / "dead.part").mkdir(parents=True)
    (tmp_path / "cache" / "live.part").mkdir()
    with alone(tmp_path / "cache" / "live.lock"):
        kept = keeping()
        assert sorted(path.name for path in (tmp_path / "cache").iterdir() if path.is_dir()) == sorted(
            [kept.folder.name, "live.part"]
        )


def test_a_disk_that_is_full_is_said_and_nothing_is_kept(keeping, monkeypatch, said, tmp_path):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.os, "fsync", full)
    assert keeping() is None
    assert "which can't be written (No space left on device)" in said[0]
    assert list((tmp_path / "cache").iterdir()) == []


def test_another_process_is_given_the_place_and_not_the_pixels(keeping):
    kept = keeping()
    kept[0]
    handed = pickle.dumps(kept)
    assert len(handed) < 1000
    np.testing.assert_array_equal(pickle.loads(handed)[0], kept[0])
