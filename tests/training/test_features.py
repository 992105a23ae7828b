import json
import os
import shutil
import threading
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from comp.declare.reading import Channels
from comp.errors import DataError
from comp.training.features import (
    FeatureEpochs,
    cached_features,
    content_digest,
    file_of,
    in_batches,
    lacks_room,
    make_room_for,
)

SHAPE = (7, 2, 3)
FEATURES = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
MADE_FROM = {"weights": "a", "size": 64, "views": [{"symmetry": 0, "draw": None}], "seed": None}


def computed(start=0, batch=3):
    return iter([torch.from_numpy(FEATURES[start : start + batch]) for start in range(start, len(FEATURES), batch)])


def never(start):
    raise AssertionError("computed again")


def cut_short(after, error=OSError):
    """A computation that fails after this number of batches."""

    def compute(start):
        batches = computed(start)
        for _ in range(after):
            yield next(batches)
        raise error

    return compute


@pytest.fixture
def cached(tmp_path):
    """`cached_features` in an empty folder: whether features were found, or after an ``error`` the number of files.

    Returned features are always whole, in a folder of this number of ``files``.
    """

    def call(compute=computed, made_from=MADE_FROM, error=None, files=1, **others):
        if error is not None:
            with pytest.raises(error):
                cached_features(file_of(tmp_path, made_from), compute, SHAPE)
            assert not list(tmp_path.glob("*.npy"))
            return len(list(tmp_path.iterdir()))
        features, found = cached_features(file_of(tmp_path, made_from), compute, SHAPE, **others)
        assert np.array_equal(features, FEATURES)
        assert len(list(tmp_path.iterdir())) == files
        return found

    return call


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"weights": "b"},
        {"size": 65},
        {"size": "64"},
        {"views": [{"symmetry": 4, "draw": None}]},
        {"views": []},
        {"seed": 0},
        {"more": None},
    ],
    ids=json.dumps,
)
def test_features_are_computed_once_and_anew_where_anything_they_are_made_from_changed(cached, change):
    assert not cached()
    assert cached(never if not change else computed, {**MADE_FROM, **change}, files=1 + bool(change)) is not bool(
        change
    )
    assert cached(never, dict(reversed(MADE_FROM.items())), files=1 + bool(change)), "in whatever order"


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit, OSError])
@pytest.mark.parametrize("after", [[0], [1], [2], [1, 1]])
def test_a_computation_that_is_cut_short_goes_on_after_its_last_whole_batch(cached, error, after):
    for batches in after:
        assert cached(cut_short(batches, error), error=error) == (2 if sum(after) else 0)
    asked = []
    assert not cached(lambda start: asked.append(start) or computed(start))
    assert asked == [3 * sum(after)]


@pytest.mark.parametrize("after", [0, 1, 2])
def test_images_that_can_t_be_read_leave_nothing(cached, after):
    assert cached(cut_short(after, DataError), error=DataError) == 0


@pytest.mark.parametrize("spoil", ["short", "mark", "no part", "longer"])
def test_what_is_left_of_a_computation_and_is_not_whole_is_not_trusted(cached, tmp_path, spoil):
    cached(cut_short(2), error=OSError)
    (part,), (mark,) = tmp_path.glob("*.part"), tmp_path.glob("*.rows")
    if spoil == "short":
        os.truncate(part, part.stat().st_size - 1)
    elif spoil == "mark":
        mark.write_text("six")
    elif spoil == "no part":
        part.unlink()
    else:  # longer than marked, with any content, as after a power cut
        part.write_bytes(part.read_bytes() + bytes(1000))
    assert not cached()


@pytest.mark.parametrize("damage", [b"", b"not an array", None])
def test_a_damaged_file_is_made_anew(cached, tmp_path, damage):
    cached()
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-1] if damage is None else damage)
    assert not cached()


@pytest.mark.parametrize("rows", [0, 3, 8, 14])
def test_features_of_more_or_fewer_rows_than_announced_are_not_kept(cached, rows):
    assert cached(lambda start: iter([torch.zeros(1, *SHAPE[1:])] * rows), error=ValueError) == 0


def test_of_two_that_need_the_same_at_once_one_computes_it_and_the_other_waits(tmp_path):
    waits, results = threading.Event(), []

    def slowly(start):
        for batch in computed(start, 1):
            yield batch
            assert waits.wait(10)

    path = file_of(tmp_path, MADE_FROM)
    first = threading.Thread(target=lambda: results.append(cached_features(path, slowly, SHAPE)))
    first.start()
    while not list(tmp_path.glob("*.part")):
        pass
    results.append(cached_features(path, never, SHAPE, waits.set))
    first.join()
    assert sorted(found for _, found in results) == [False, True]
    assert all(np.array_equal(features, FEATURES) for features, _ in results)
    assert len(list(tmp_path.iterdir())) == 1


def test_the_digest_of_files_changes_with_their_bytes_order_and_bounds(tmp_path):
    def digest_of(*contents):
        paths = [tmp_path / f"{place}" for place in range(len(contents))]
        for path, content in zip(paths, contents, strict=True):
            path.write_bytes(content)
        return content_digest(paths)

    assert digest_of(b"a", b"b") == digest_of(b"a", b"b")
    different = [(b"a", b"b"), (b"b", b"a"), (b"ab", b""), (b"", b"ab"), (b"a",), (b"a", b"b", b"")]
    assert len({digest_of(*contents) for contents in different}) == len(different)


def test_the_digest_of_files_changes_with_their_names_only_where_a_custom_read_may_go_by_them(tmp_path):
    for name in ("0", "1"):
        (tmp_path / name).write_bytes(b"a")
    for read, differ in (("images", False), (np.load, True), (Channels(["0", "1"], read=np.load), True)):
        for contents in (None, ["6a"]):
            digests = {content_digest([tmp_path / name], contents, read) for name in ("0", "1")}
            assert len(digests) == 1 + differ


@settings(max_examples=30, deadline=None)
@given(
    count=st.integers(2, 40),
    views=st.integers(1, 4),
    batch_size=st.integers(2, 50),
    seed=st.integers(0, 2**40),
    number=st.integers(0, 50),
)
def test_an_epoch_draws_each_row_at_most_once_in_one_of_its_views(count, views, batch_size, seed, number):
    # The value of a feature shows its row and view.
    features = np.stack(np.meshgrid(np.arange(50), np.arange(views), indexing="ij"), axis=2).astype(np.float32)
    rows = np.random.default_rng(seed).permutation(50)[:count]
    epochs = FeatureEpochs(features, rows, torch.arange(50) * 10, batch_size, seed)
    batches = list(epochs.epoch(number))
    assert len(batches) == len(epochs) == count // min(batch_size, count)
    assert all(len(inputs) == len(labels) == min(batch_size, count) for inputs, labels in batches)
    inputs, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
    assert torch.equal(inputs[:, 0] * 10, labels.float())
    assert len(set(labels.tolist())) == len(labels)
    assert set((labels // 10).tolist()) <= set(rows.tolist())


def test_epochs_differ_in_order_and_views_and_follow_from_seed_and_number():
    features = np.random.default_rng(0).normal(size=(30, 3, 2)).astype(np.float32)

    def epoch(seed, number):
        ((inputs, targets),) = FeatureEpochs(features, np.arange(30), torch.arange(30), 30, seed).epoch(number)
        order = targets.numpy()
        views = (features[order] == inputs[:, None].numpy()).all(axis=2).argmax(axis=1)
        assert set(views) == {0, 1, 2}
        return tuple(order), tuple(views)

    drawn = [epoch(seed, number) for seed in range(3) for number in range(3)]
    assert len({order for order, _ in drawn}) == len({views for _, views in drawn}) == 9
    assert drawn == [epoch(seed, number) for seed in range(3) for number in range(3)]


def test_a_head_is_solved_on_all_rows_and_views_or_on_as_many_rows_as_fit(monkeypatch):
    features = np.arange(24, dtype=np.float32).reshape(4, 3, 2)
    columns = torch.tensor([[7.0], [8.0], [9.0], [10.0]])
    epochs = FeatureEpochs(features, np.array([3, 1]), torch.arange(4), 2, 0, columns, np.array([0, 1, 0, 2]))
    inputs, targets, folds = epochs.whole()
    assert inputs.shape == (2, 3, 3)
    assert (inputs[0, :, :2].numpy() == features[3]).all()
    assert inputs[0, :, 2].tolist() == [10.0] * 3
    assert (targets.tolist(), folds.tolist()) == ([3, 1], [2, 1])
    monkeypatch.setattr("comp.training.features.MOST_VALUES", 6)
    assert epochs.whole()[0].shape == (1, 3, 3)


@given(rows=st.lists(st.integers(0, len(FEATURES) - 1), max_size=12), batch_size=st.integers(1, 9))
def test_batches_are_the_rows_in_the_order_asked_for(rows, batch_size):
    rows = np.array(rows, dtype=np.int64)
    batches = list(in_batches(FEATURES, rows, batch_size))
    assert all(len(batch) <= batch_size for batch in batches)
    assert np.array_equal(np.concatenate([FEATURES[:0], *batches]), FEATURES[rows])


@pytest.fixture
def room(tmp_path, monkeypatch):
    """Whether features have room with this number of free bytes, and the files in their folder after making room."""

    def on(free):
        monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
        path = file_of(tmp_path, MADE_FROM)
        lacking = lacks_room(path, SHAPE)
        if lacking is None:
            make_room_for(path, SHAPE)
        return lacking is None, {path.name for path in tmp_path.iterdir()}

    return on


def test_features_may_take_half_of_the_disk_with_what_was_begun_of_them(room, tmp_path):
    wanted = 4 * FEATURES.size
    assert room(2 * wanted) == (True, set())
    assert room(2 * wanted - 2) == (False, set())
    path = file_of(tmp_path, MADE_FROM)
    path.with_suffix(".part").write_bytes(b"0" * 16)
    assert room(2 * (wanted - 16))[0]
    assert not room(2 * (wanted - 16) - 2)[0]
    path.write_bytes(b"0" * wanted)
    assert room(0)[0], "they are there"


def test_the_longest_unused_make_room_but_none_that_was_used_lately(room, tmp_path):
    wanted = 4 * FEATURES.size
    for day, name in enumerate(("old.npy", "killed.part", "later.npy")):
        (tmp_path / name).write_bytes(b"0" * wanted)
        os.utime(tmp_path / name, (day, day))
    (tmp_path / "in use.npy").write_bytes(b"0" * wanted)
    assert room(6 * wanted) == (True, {"old.npy", "killed.part", "later.npy", "in use.npy"})
    assert room(2 * wanted) == (True, {"later.npy", "in use.npy"})
    assert room(wanted) == (False, {"later.npy", "in use.npy"}), "nothing is removed for what has no room anyway"
