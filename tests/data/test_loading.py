import pickle
import sys
from threading import Barrier
from types import ModuleType

import albumentations as A  # noqa: N812 - as its own documentation has it
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from comp.data import loading
from comp.data.augmenting import Preprocessing, apply_symmetry
from comp.data.loading import ImageDataset, ImageEpochs, Shuffled, in_views, share
from comp.data.reading import Reading, centre, read_image
from comp.declare.competition import load_competition
from comp.declare.viewpoint import View, side_on, top_down, upright
from comp.errors import DataError

PLAIN = View()
ROWS = 7
TARGETS = torch.arange(ROWS)


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    paths = [folder / f"{row}.png" for row in range(ROWS)]
    for row, path in enumerate(paths):
        Image.fromarray(rng.integers(0, 255, (20 + row, 24, 3), dtype=np.uint8)).save(path)
    return paths


def dataset_of(paths, viewpoint=None, seed=0, reading=None, erasing=0.0):
    return ImageDataset(paths, Preprocessing(16, reading or Reading(), viewpoint or top_down(), erasing), seed)


def epochs_of(paths, rows, batch_size, targets=TARGETS, workers=0):
    return ImageEpochs(dataset_of(paths), rows, targets, batch_size, workers=workers)


def same(batches, others):
    return all(
        torch.equal(one, other) and torch.equal(target, also)
        for (one, target), (other, also) in zip(batches, others, strict=True)
    )


def test_a_fixed_view_is_the_symmetry_of_the_plain_centre_by_the_backbone_s_interpolation(paths):
    views = top_down().fixed_views
    for row, path in enumerate(paths):
        for reading in (Reading(), Reading("nearest")):
            number, images = dataset_of(paths, reading=reading)[row, views]
            plain = centre(read_image(path, 16, reading), 16)
            assert number == row
            assert images.shape == (8, 16, 16, 3)
            assert images.dtype == np.uint8
            for view, image in zip(views, images, strict=True):
                assert np.array_equal(image, apply_symmetry(plain, view.symmetry))


def crop(size):
    return A.Compose([A.RandomCrop(size, size), A.RandomBrightnessContrast(p=0.5)])


@pytest.mark.parametrize("viewpoint", [upright(), side_on(), top_down(max_zoom=1.5), upright(pipeline=crop)])
def test_a_random_view_follows_from_seed_draw_and_row_alone(paths, viewpoint):
    same = [paths[0]] * 2
    views = tuple(View(draw=draw) for draw in range(5))
    made = {(seed, row): dataset_of(same, viewpoint, seed)[row, views][1] for seed in range(3) for row in range(2)}
    seen = [image.tobytes() for images in made.values() for image in images]
    assert len(seen) == 30
    assert len(set(seen)) == 30 or viewpoint.pipeline is crop  # it often draws the same place
    again = dataset_of(same, viewpoint, 1)
    for row in (1, 0):
        for place in (2, 0, 4, 3, 1):
            again[row, (PLAIN,)]
            assert np.array_equal(again[row, (views[place],)][1][0], made[1, row][place])


@settings(max_examples=12, deadline=None)
@given(
    rows=st.lists(st.integers(0, ROWS - 1), min_size=1, max_size=12), views=st.integers(1, 10), batch=st.integers(1, 9)
)
def test_rows_come_in_the_order_asked_for_in_batches_that_fit(paths, rows, views, batch):
    dataset, views = dataset_of(paths), top_down().views(views)
    batches = list(in_views(dataset, rows, views, batch, workers=0))
    assert all(len(images) * len(views) <= max(batch, len(views)) for images in batches)
    assert np.array_equal(torch.cat(batches).numpy(), np.stack([dataset[row, views][1] for row in rows]))


BROUGHT = """
import albumentations as A
import numpy as np
from comp import *

def pipeline(size):
    return A.Compose([A.CenterCrop(*size) if isinstance(size, tuple) else A.CenterCrop(size, size), A.InvertImg(p=1)])

def read(path):
    from PIL import Image
    return np.asarray(Image.open(path).convert("RGB")) // 2

competition = Competition(
    name="mine", kaggle="mine", labels=Folders("train"), test=TestImages("test"), submission=ClassName(),
    metric="accuracy", read=read, augment=side_on(pipeline={pipeline}),
    recipes={"standard": Recipe(stages=[Stage(size=16, train="head")])},
)
"""


@pytest.mark.parametrize(("pipeline", "sent"), [("pipeline", True), ("lambda size: pipeline(size)", False)])
def test_a_process_that_is_not_forked_reads_with_what_was_declared(tmp_path, paths, monkeypatch, pipeline, sent):
    declaration = tmp_path / "mine" / "competition.py"
    declaration.parent.mkdir()
    declaration.write_text(BROUGHT.replace("{pipeline}", pipeline))
    competition = load_competition(declaration)
    preprocessing = Preprocessing(16, Reading(read=competition.read), competition.augment)
    dataset, views = ImageDataset(paths, preprocessing, 0), (PLAIN, View(draw=3))
    monkeypatch.setattr(loading, "FORKS", False)
    assert loading.loader(dataset, [(0, views)], 2, workers=2).num_workers == (2 if sent else 0)
    if sent:
        gone = ModuleType("competitions.gone.competition")
        gone.__file__ = str(tmp_path / "gone" / "competition.py")
        monkeypatch.setitem(sys.modules, gone.__name__, gone)  # nothing calls its functions here
        written, expected = pickle.dumps(dataset), dataset[1, views][1]
        monkeypatch.delitem(sys.modules, competition.read.__module__)
        assert np.array_equal(pickle.loads(written)[1, views][1], expected)


@settings(max_examples=40)
@given(
    rows=st.lists(st.integers(0, 9), min_size=1) | st.lists(st.integers(0, 10_000), min_size=1, unique=True),
    seed=st.integers(0, 2**40),
)
def test_an_epoch_has_each_row_as_often_as_it_is_given_and_none_is_ever_altered_as_before(rows, seed):
    sampler, drawn = Shuffled(rows, seed), []
    assert len(sampler) == len(rows)
    for epoch in range(4):
        sampler.epoch = epoch
        requests = list(sampler)
        assert list(sampler) == requests
        assert sorted(row for row, _ in requests) == sorted(rows)
        if len(set(rows)) == len(rows):
            assert {views for _, views in requests} == {(View(draw=epoch),)}
        drawn += requests
    assert len(set(drawn)) == len(drawn)


def test_the_order_changes_with_the_epoch_and_the_seed():
    orders = set()
    for seed in range(3):
        sampler = Shuffled(range(50), seed)
        for epoch in range(3):
            sampler.epoch = epoch
            orders.add(tuple(row for row, _ in sampler))
    assert len(orders) == 9


@settings(max_examples=20)
@given(rows=st.integers(1, 60), batch_size=st.integers(1, 20), count=st.integers(1, 5), start=st.integers(0, 3))
def test_the_shares_of_the_processes_are_together_each_batch_in_its_order(rows, batch_size, count, start):
    def epoch(own):
        sampler = Shuffled(range(rows), 1, batch_size, own)
        sampler.epoch, sampler.skipped = 2, start * batch_size
        return list(sampler)

    shares = [share(batch_size, rank, count) for rank in range(count)]
    assert [place for own in shares for place in own] == list(range(batch_size))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert len(shares[0]) == max(map(len, shares))
    parts = [epoch(own) for own in shares]
    together = []
    for batch in range(max(rows // batch_size - start, 0)):
        for own, part in zip(shares, parts, strict=True):
            together += part[batch * len(own) : (batch + 1) * len(own)]
    assert sum(map(len, parts)) == len(together)
    assert together == epoch(range(batch_size))


@pytest.mark.parametrize("targets", [TARGETS, torch.eye(ROWS, dtype=torch.int64)], ids=["classes", "tags"])
@pytest.mark.parametrize(("batch_size", "steps", "count"), [(2, 3, 6), (3, 2, 6), (7, 1, 7), (64, 1, 7)])
def test_an_epoch_gives_training_rows_with_their_own_targets_in_whole_batches(paths, targets, batch_size, steps, count):
    dataset, rows = dataset_of(paths), [5, 2, 0, 6, 3, 1, 4]
    epochs = epochs_of(paths, rows, batch_size, targets)
    for number in (0, 3):
        batches = list(epochs.epoch(number))
        assert len(batches) == len(epochs) == steps
        seen = [pair for images, labels in batches for pair in zip(images, labels, strict=True)]
        assert len(seen) == count
        rows_seen = [int(label.argmax() if label.ndim else label) for _, label in seen]
        assert len(set(rows_seen)) == count
        for (image, label), row in zip(seen, rows_seen, strict=True):
            assert torch.equal(label, targets[row])
            assert np.array_equal(image.numpy(), dataset[row, (View(draw=number),)][1][0])


def test_epochs_and_views_are_the_same_when_repeated_and_whoever_reads(paths):
    alone, helped = ([list(epochs.epoch(number)) for number in (0, 1, 0)] for epochs in (
        epochs_of(paths, range(ROWS), 2, workers=workers) for workers in (0, 2)
    ))  # fmt: skip
    assert all(same(one, other) for one, other in zip(alone, helped, strict=True))
    assert same(alone[0], alone[2])
    assert not same(alone[0], alone[1])
    rows, views = [4, 0, 6, 2, 5], (PLAIN, View(draw=3))
    seen = [torch.cat(list(in_views(dataset_of(paths), rows, views, 2, workers=workers))) for workers in (0, 2)]
    assert torch.equal(*seen)


@pytest.mark.parametrize("start", [0, 1, 2])
def test_an_epoch_goes_on_in_its_middle_as_it_would_have_and_reads_no_image_before(paths, start, monkeypatch):
    epochs = epochs_of(paths, [5, 2, 0, 6, 5, 5], 2)
    whole, read, seen = list(epochs.epoch(3)), [], ImageDataset._seen
    monkeypatch.setattr(ImageDataset, "_seen", lambda self, *given: read.append(given) or seen(self, *given))
    assert same(epochs.epoch(3, start), whole[start:])
    assert len(read) == 2 * (3 - start)
    assert len(list(epochs.epoch(4))) == 3


def test_reading_draws_nothing_from_the_random_state_that_training_draws_from(paths):
    state = torch.get_rng_state()
    list(epochs_of(paths, range(4), 2).epoch(0))
    list(in_views(dataset_of(paths), range(4), (PLAIN,), 2, workers=0))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.fixture
def _three_threads():
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("_three_threads")
@given(rows=st.lists(st.integers(0, ROWS - 1), max_size=12), draw=st.integers(0, 100))
@settings(max_examples=8, deadline=None)
def test_images_that_threads_read_together_are_those_read_one_by_one(paths, rows, draw):
    requests = [(row, (PLAIN, View(draw=draw + place))) for place, row in enumerate(rows)]
    together, alone = dataset_of(paths), dataset_of(paths)
    for (row, images), request in zip(together.__getitems__(requests), requests, strict=True):
        expected, pixels = alone[request]
        assert row == expected
        assert np.array_equal(images, pixels)


@pytest.mark.usefixtures("_three_threads")
def test_a_batch_is_read_by_several_threads_each_with_a_pipeline_of_its_own(paths):
    meeting, made = Barrier(3, timeout=30), []

    def pipeline(size):
        def meet(image, **_):
            meeting.wait()
            return image[:size, :size]

        made.append(A.Lambda(image=meet))
        return made[-1]

    dataset = dataset_of(paths, side_on(pipeline=pipeline))
    requests = [(row, (View(draw=0),)) for row in range(6)]
    assert [row for row, _ in dataset.__getitems__(requests)] == list(range(6))
    assert len(made) == 3


@pytest.mark.usefixtures("_three_threads")
@pytest.mark.parametrize("workers", [0, 1])
def test_an_image_that_cannot_be_read_is_named_whoever_reads_it(paths, tmp_path, workers):
    broken = tmp_path / "broken.jpg"
    broken.write_text("text")
    with pytest.raises(DataError, match=r"broken\.jpg can't be read as an image") as error:
        list(in_views(dataset_of([*paths, broken]), range(ROWS + 1), (PLAIN,), 4, workers=workers))
    assert "\n" not in str(error.value), "one sentence"
