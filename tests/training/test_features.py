import json
import os
import threading

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from comp.errors import DataError
from comp.training.features import FeatureEpochs, cached_features, content_digest, in_batches

SHAPE = (7, 2, 3)
FEATURES = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
MADE_FROM = {"weights": "a", "size": 64, "views": [{"symmetry": 0, "draw": None}], "seed": None}


def computed(start=0, batch=3):
    return iter([torch.from_numpy(FEATURES[start : start + batch]) for start in range(start, len(FEATURES), batch)])


def never(start):
    raise AssertionError("computed again")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_features_are_computed_once_and_found_after(tmp_path):
    made, found = cached_features(tmp_path / "cache", MADE_FROM, computed, SHAPE)
    assert not found
    assert np.array_equal(made, FEATURES)
    again, found = cached_features(tmp_path / "cache", MADE_FROM, never, SHAPE)
    assert found
    assert np.array_equal(again, FEATURES)
    assert len(names(tmp_path / "cache")) == 1


def test_the_order_of_what_they_are_made_from_does_not_matter(tmp_path):
    cached_features(tmp_path, MADE_FROM, computed, SHAPE)
    assert cached_features(tmp_path, dict(reversed(MADE_FROM.items())), never, SHAPE)[1]


@pytest.mark.parametrize(
    "change",
    [
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
def test_a_change_of_anything_they_are_made_from_computes_them_anew(tmp_path, change):
    cached_features(tmp_path, MADE_FROM, computed, SHAPE)
    other, found = cached_features(
        tmp_path, {**MADE_FROM, **change}, lambda start: iter([torch.from_numpy(FEATURES + 1)]), SHAPE
    )
    assert not found
    assert np.array_equal(other, FEATURES + 1)
    assert len(names(tmp_path)) == 2
    assert np.array_equal(cached_features(tmp_path, MADE_FROM, never, SHAPE)[0], FEATURES)


def cut_short(after, error):
    """Computes so many batches, then fails."""

    def compute(start):
        batches = computed(start)
        for _ in range(after):
            yield next(batches)
        raise error

    return compute


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit, OSError])
@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_computation_that_is_cut_short_goes_on_after_its_last_whole_batch(tmp_path, error, after):
    with pytest.raises(error):
        cached_features(tmp_path, MADE_FROM, cut_short(after, error), SHAPE)
    assert len(names(tmp_path)) == (2 if after else 0)
    assert not list(tmp_path.glob("*.npy"))
    asked = []

    def the_rest(start):
        asked.append(start)
        return computed(start)

    features, found = cached_features(tmp_path, MADE_FROM, the_rest, SHAPE)
    assert asked == [3 * after]
    assert not found
    assert np.array_equal(features, FEATURES)
    assert len(names(tmp_path)) == 1


def test_a_computation_that_is_cut_short_again_keeps_what_both_made(tmp_path):
    for _ in range(2):
        with pytest.raises(OSError):  # noqa: PT011
            cached_features(tmp_path, MADE_FROM, cut_short(1, OSError), SHAPE)
    asked = []
    cached_features(tmp_path, MADE_FROM, lambda start: asked.append(start) or computed(start), SHAPE)
    assert asked == [6]


@pytest.mark.parametrize("after", [0, 1, 2])
def test_images_that_can_t_be_read_leave_nothing(tmp_path, after):
    with pytest.raises(DataError):
        cached_features(tmp_path, MADE_FROM, cut_short(after, DataError), SHAPE)
    assert names(tmp_path) == []


@pytest.mark.parametrize("spoil", ["short", "mark", "no part"])
def test_what_is_left_of_a_computation_and_is_not_whole_is_computed_anew(tmp_path, spoil):
    with pytest.raises(OSError):  # noqa: PT011
        cached_features(tmp_path, MADE_FROM, cut_short(2, OSError), SHAPE)
    (part,), (mark,) = tmp_path.glob("*.part"), tmp_path.glob("*.rows")
    if spoil == "short":
        os.truncate(part, part.stat().st_size - 1)
    elif spoil == "mark":
        mark.write_text("six")
    else:
        part.unlink()
    features, _ = cached_features(tmp_path, MADE_FROM, computed, SHAPE)
    assert np.array_equal(features, FEATURES)
    assert len(names(tmp_path)) == 1


def test_rows_behind_the_marked_ones_are_not_trusted(tmp_path):
    """After a power cut a file may be longer than what reached the disk."""
    with pytest.raises(OSError):  # noqa: PT011
        cached_features(tmp_path, MADE_FROM, cut_short(1, OSError), SHAPE)
    (part,) = tmp_path.glob("*.part")
    with part.open("ab") as file:
        file.write(bytes(1000))
    features, _ = cached_features(tmp_path, MADE_FROM, computed, SHAPE)
    assert np.array_equal(features, FEATURES)


@pytest.mark.parametrize("damage", [b"", b"not an array", None])
def test_a_damaged_file_is_made_anew(tmp_path, damage):
    cached_features(tmp_path, MADE_FROM, computed, SHAPE)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-1] if damage is None else damage)
    features, found = cached_features(tmp_path, MADE_FROM, computed, SHAPE)
    assert not found
    assert np.array_equal(features, FEATURES)


@pytest.mark.parametrize("rows", [0, 3, 8, 14])
def test_features_of_more_or_fewer_rows_than_announced_are_not_kept(tmp_path, rows):
    batches = [torch.zeros(1, *SHAPE[1:])] * rows
    with pytest.raises(ValueError, match=r"rows of features|broadcast"):
        cached_features(tmp_path, MADE_FROM, lambda start: iter(batches), SHAPE)
    assert names(tmp_path) == []


def test_of_two_that_need_the_same_at_once_one_computes_it_and_the_other_waits(tmp_path):
    waits, results = threading.Event(), []

    def slowly(start):
        for batch in computed(start, 1):
            yield batch
            assert waits.wait(10)

    first = threading.Thread(target=lambda: results.append(cached_features(tmp_path, MADE_FROM, slowly, SHAPE)))
    first.start()
    while not list(tmp_path.glob("*.part")):
        pass
    results.append(cached_features(tmp_path, MADE_FROM, never, SHAPE, waits.set))
    first.join()
    assert sorted(found for _, found in results) == [False, True]
    assert all(np.array_equal(features, FEATURES) for features, _ in results)
    assert len(names(tmp_path)) == 1


def test_the_digest_of_files_changes_with_their_bytes_order_and_bounds(tmp_path):
    def digest_of(*contents):
        paths = [tmp_path / f"{place}" for place in range(len(contents))]
        for path, content in zip(paths, contents, strict=True):
            path.write_bytes(content)
        return content_digest(paths)

    assert digest_of(b"a", b"b") == digest_of(b"a", b"b")
    different = [(b"a", b"b"), (b"b", b"a"), (b"ab", b""), (b"", b"ab"), (b"a",), (b"a", b"b", b"")]
    assert len({digest_of(*contents) for contents in different}) == len(different)


@settings(max_examples=50, deadline=None)
@given(
    count=st.integers(2, 40),
    views=st.integers(1, 4),
    batch_size=st.integers(2, 50),
    seed=st.integers(0, 2**40),
    number=st.integers(0, 50),
)
def test_an_epoch_draws_each_row_at_most_once_in_one_of_its_views(count, views, batch_size, seed, number):
    # A feature tells its own row and view.
    features = np.stack(np.meshgrid(np.arange(50), np.arange(views), indexing="ij"), axis=2).astype(np.float32)
    rows = np.random.default_rng(seed).permutation(50)[:count]
    targets = torch.arange(50) * 10
    epochs = FeatureEpochs(features, rows, targets, batch_size, seed)
    batches = list(epochs.epoch(number))
    assert len(batches) == len(epochs) == count // min(batch_size, count)
    assert all(len(inputs) == len(labels) == min(batch_size, count) for inputs, labels in batches)
    inputs, labels = torch.cat([inputs for inputs, _ in batches]), torch.cat([labels for _, labels in batches])
    assert torch.equal(inputs[:, 0] * 10, labels.float())
    assert len(set(labels.tolist())) == len(labels)
    assert set((labels // 10).tolist()) <= set(rows.tolist())
    assert set(inputs[:, 1].tolist()) <= set(range(views))


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


def test_epochs_differ_in_order_and_views_and_follow_from_seed_and_number():
    features = np.random.default_rng(0).normal(size=(30, 3, 2)).astype(np.float32)

    def epoch(seed, number):
        epochs = FeatureEpochs(features, np.arange(30), torch.arange(30), 30, seed)
        ((inputs, targets),) = epochs.epoch(number)
        return tuple(targets.tolist()), inputs.numpy().tobytes()

    drawn = [epoch(seed, number) for seed in range(3) for number in range(3)]
    assert len({order for order, _ in drawn}) == len({inputs for _, inputs in drawn}) == 9
    assert drawn == [epoch(seed, number) for seed in range(3) for number in range(3)]


def test_every_view_is_drawn_sooner_or_later():
    features = np.arange(3, dtype=np.float32)[None, :, None].repeat(4, axis=0)
    epochs = FeatureEpochs(features, np.arange(4), torch.zeros(4), 4, seed=0)
    seen = {value for number in range(20) for inputs, _ in epochs.epoch(number) for value in inputs.flatten().tolist()}
    assert seen == {0.0, 1.0, 2.0}


@given(rows=st.lists(st.integers(0, len(FEATURES) - 1), max_size=12), batch_size=st.integers(1, 9))
def test_batches_are_the_rows_in_the_order_asked_for(rows, batch_size):
    rows = np.array(rows, dtype=np.int64)
    batches = list(in_batches(FEATURES, rows, batch_size))
    assert all(len(batch) <= batch_size for batch in batches)
    together = np.concatenate(batches) if batches else np.empty((0, *SHAPE[1:]))
    assert np.array_equal(together, FEATURES[rows])
