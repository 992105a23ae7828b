import errno
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from comp.data import facts_table
from comp.data.facts_table import read_facts
from comp.data.file_facts import FileFacts, facts_of


class Folder:
    """A folder of images, the path of their table of facts, and the printed lines."""

    def __init__(self, place, count=6):
        self.root, self.table, self.said = place / "images", place / "cache" / "table.arrow", []
        self.root.mkdir()
        self.paths = [self.root / f"{number}.png" for number in range(count)]
        for number in range(count):
            self.change(number, 20 + number)

    def change(self, number, width=99):
        Image.new("RGB", (width, 20), (number * 30, 0, 0)).save(self.paths[number])

    def screen(self):
        """The facts, and the number of opened files."""
        self.said, done = [], []
        found = read_facts(list(map(str, self.paths)), self.root, self.table, done.append, self.said.append)
        assert sum(done) == len(found.table)
        kinds = found.frame().drop(columns=["path", "size"]).to_dict("records")
        thumbnails = map(np.ndarray.tobytes, found.thumbnails())
        return [FileFacts(**kind, thumbnail=one) for kind, one in zip(kinds, thumbnails, strict=True)], found.opened

    def others(self):
        return [path.name for path in self.table.parent.iterdir() if path != self.table]


@pytest.fixture
def images(tmp_path):
    return Folder(tmp_path)


@pytest.fixture
def while_opening(monkeypatch):
    """Calls a function with the number of files opened so far, at each file."""
    really = facts_table.facts_of_each

    def start(act):
        def acting(paths, *read):
            for place, found in enumerate(really(paths, *read)):
                act(place)
                yield found

        monkeypatch.setattr(facts_table, "facts_of_each", acting)

    return start


def test_a_file_that_did_not_change_is_not_opened_again(images, tmp_path):
    found, opened = images.screen()
    assert [one.width for one in found] == [20, 21, 22, 23, 24, 25]
    assert found == list(map(facts_of, images.paths))
    assert opened == 6
    assert images.screen() == (found, 0)
    assert images.said == []
    assert images.others() == []
    images.root = images.root.rename(tmp_path / "moved")
    images.paths = [images.root / path.name for path in images.paths]
    assert images.screen() == (found, 0)
    images.change(2)
    found, opened = images.screen()
    assert (opened, found[2].width) == (1, 99)


def test_a_file_put_in_another_s_place_with_its_size_and_date_is_opened(images):
    before = images.paths[0].stat()
    images.screen()
    images.paths[0].write_bytes(images.paths[0].read_bytes()[:-1] + b"x")
    os.utime(images.paths[0], ns=(before.st_atime_ns, before.st_mtime_ns))
    after = images.paths[0].stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert images.screen()[1] == 1


def test_a_file_that_could_not_be_opened_is_tried_again(images):
    images.paths.append(images.root / "link.png")
    images.paths[-1].symlink_to(images.root / "later.png")
    assert images.screen()[0][-1].problem == "a broken link"
    assert images.screen()[1] == 1
    shutil.copyfile(images.paths[0], images.root / "later.png")
    assert images.screen()[0][-1].problem == ""
    assert images.screen()[1] == 0


def test_images_that_are_gone_are_gone_from_the_table(images):
    images.screen()
    images.paths.pop(0).unlink()
    images.change(0)
    images.screen()
    assert sorted(pd.read_feather(images.table)["path"]) == ["1.png", "2.png", "3.png", "4.png", "5.png"]


@pytest.mark.parametrize("content", [b"", b"ARROW1 this is no table ARROW1", b"\0" * 999, None])
def test_a_damaged_table_is_said_and_one_of_other_columns_made_again(images, content):
    found, _ = images.screen()
    if content is None:
        pd.read_feather(images.table).drop(columns="thumbnail").to_feather(images.table)
    else:
        images.table.write_bytes(content)
    assert images.screen() == (found, 6)
    assert ["can't be read" in line for line in images.said] == [True] * (content is not None)
    assert images.screen() == (found, 0)


def test_what_other_code_or_another_decoder_found_is_not_believed(images, monkeypatch):
    images.screen()
    monkeypatch.setattr("comp.data.file_facts.source_digest", lambda *_: "of edited source")
    assert [images.screen()[1] for _ in range(2)] == [6, 0]
    for package in ("pillow", "opencv-python-headless", "pydicom"):
        monkeypatch.setattr("comp.data.readers.version", lambda name, other=package: str(name == other))
        assert [images.screen()[1] for _ in range(2)] == [6, 0]


def test_a_full_disk_costs_the_table_and_nothing_else(images, monkeypatch):
    def full(path, _):
        Path(path).write_bytes(b"half a ta")
        raise OSError(errno.ENOSPC, "No space left on device")

    images.screen()
    kept = images.table.read_bytes()
    images.change(2)
    monkeypatch.setattr(facts_table.pa.ipc, "new_file", full)
    found, opened = images.screen()
    assert (opened, found[2].width) == (1, 99)
    assert images.table.read_bytes() == kept
    assert images.others() == []
    (line,) = images.said
    assert line.startswith(f"{images.table} can't be written (No space left on device)")


def test_what_was_found_before_an_interrupt_is_kept(images, while_opening):
    def interrupt(place):
        if place == 4:
            raise KeyboardInterrupt

    while_opening(interrupt)
    with pytest.raises(KeyboardInterrupt):
        images.screen()
    while_opening(lambda place: None)
    assert images.screen()[1] == 2


def test_a_killed_process_loses_the_work_of_seconds(images, while_opening, monkeypatch):
    kept = []
    while_opening(lambda place: place and kept.append(len(pd.read_feather(images.table))))
    monkeypatch.setattr(facts_table, "KEEP_EVERY", 0)
    monkeypatch.setattr(facts_table, "MOST_COST", float("inf"))
    images.screen()
    assert kept == [1, 2, 3, 4, 5]


def test_two_that_screen_at_once_both_end_and_leave_one_whole_table(images):
    said = []

    def work(_):
        names = list(map(str, images.paths))
        found = read_facts(names, images.root, images.table, lambda amount: None, said.append)
        images.table.unlink(missing_ok=True)
        return found.frame()["width"].to_list()

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(work, range(20))) == [[20, 21, 22, 23, 24, 25]] * 20
    assert said == []
    assert images.others() == []
