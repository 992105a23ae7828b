import pickle
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from comp.data import image_cache as module
from comp.data.augmenting import Preprocessing
from comp.data.image_cache import cached_images
from comp.data.loading import ImageDataset
from comp.data.reading import Reading, read_image
from comp.declare.viewpoint import upright
from comp.files import alone

ROWS, READING = np.array([0, 2, 3, 5]), Reading()


@pytest.fixture
def paths(tmp_path):
    """Six images of different shapes, formats and modes."""
    draw, made = np.random.default_rng(0), []
    (tmp_path / "images").mkdir()
    for number, (height, width) in enumerate([(40, 60), (64, 30), (20, 20), (50, 51), (33, 80), (90, 45)]):
        pixels = draw.integers(0, 255, (height, width, 3), dtype=np.uint8)
        made.append(tmp_path / "images" / f"{number}.{'jpg' if number % 2 else 'png'}")
        Image.fromarray(pixels).convert("L" if number == 3 else "RGB").save(made[-1])
    return made


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def said():
    return []


@pytest.fixture
def keeping(paths, cache, said):
    """`cached_images` of the rows above, at 24 pixels."""

    def call(content="1", rows=ROWS, size=24, advance=lambda _: None, paths=paths, reading=READING, **others):
        return cached_images(cache, paths, rows, content, size, reading, advance, said.append, **others)

    return call


def test_kept_images_are_those_that_are_read_and_read_from_no_file_again(keeping, paths, said):
    done = []
    kept = keeping(advance=done.append)
    assert sum(done) == len(ROWS)
    for row, path in enumerate(paths):
        assert (row in kept) is (row in ROWS)
        if row in kept:
            np.testing.assert_array_equal(kept[row], read_image(path, 24))
        path.unlink()
    again = keeping()
    assert again.folder == kept.folder
    np.testing.assert_array_equal(again[5], kept[5])
    (line,) = said
    assert line.startswith("4 images at 24 px take about 0 MB in ")
    # Another process is given the path, not the pixels.
    handed = pickle.dumps(kept)
    assert len(handed) < 1000
    np.testing.assert_array_equal(pickle.loads(handed)[0], kept[0])


@pytest.mark.parametrize("other", [{"content": "2"}, {"rows": ROWS[:2]}, {"size": 30}, {}])
def test_other_files_rows_sizes_or_code_are_kept_apart(keeping, monkeypatch, other):
    first = keeping()
    if not other:
        monkeypatch.setattr(module, "source_digest", lambda *_: "of edited source")
    assert keeping(**other).folder != first.folder


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


def test_an_interruption_leaves_nothing_and_the_next_call_keeps_all(keeping, cache):
    def interrupted(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        keeping(advance=interrupted)
    assert list(cache.iterdir()) == []
    assert keeping().whole


def full(*_):
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize(
    ("what", "instead", "why"),
    [
        ("shutil.disk_usage", lambda _: SimpleNamespace(free=0), "but only 0 MB are left"),
        ("os.fsync", full, "which can't be written (No space left on device)"),
    ],
)
def test_images_that_have_no_room_on_the_disk_are_not_kept_and_that_is_said(
    keeping, monkeypatch, said, cache, what, instead, why
):
    monkeypatch.setattr(what, instead)
    assert keeping() is None
    assert why in said[0]
    assert "read anew in every epoch" in said[0]
    assert list(cache.iterdir()) == []


def test_the_longest_unused_are_removed_to_make_room_but_for_what_the_same_stage_needs(keeping, monkeypatch, said):
    first, second = keeping("1"), keeping("2")
    keeping("1")
    size = sum(file.stat().st_size for file in first.folder.iterdir())

    def of_the_disk_are_theirs(images):
        """Let the cache's share of the disk, half of free and own bytes, have room for so many entries."""
        free = 2 * images * size - size * sum(path.is_dir() for path in first.folder.parent.iterdir())
        monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))

    of_the_disk_are_theirs(2.5)
    third = keeping("3")
    assert [kept.folder.exists() for kept in (first, second, third)] == [True, False, True]
    of_the_disk_are_theirs(1.5)
    assert keeping("4", beside=[first]) is None
    assert first.whole
    assert "read anew in every epoch" in said[-1]


def test_what_another_process_is_writing_makes_no_room(keeping, cache, monkeypatch):
    first = keeping("1")
    writing, size = cache / "writing.part", sum(file.stat().st_size for file in first.folder.iterdir())
    writing.mkdir()
    (writing / "pixels").write_bytes(bytes(size))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=size))
    with alone(cache / "writing.lock"):
        assert keeping("2") is None
        assert (writing / "pixels").exists()


def test_images_that_another_training_removed_are_read_from_their_files(keeping, paths):
    kept = keeping()
    dataset = ImageDataset(paths, Preprocessing(24, Reading(), upright(max_zoom=1)), 0, {24: kept})
    shutil.rmtree(kept.folder)
    np.testing.assert_array_equal(dataset.read(2, 24), read_image(paths[2], 24))


def test_what_a_killed_process_left_is_removed_and_what_another_writes_is_not(keeping, cache):
    for name in ("dead", "live"):
        (cache / f"{name}.part").mkdir(parents=True)
    with alone(cache / "live.lock"):
        kept = keeping()
        assert {path.name for path in cache.iterdir() if path.is_dir()} == {kept.folder.name, "live.part"}
