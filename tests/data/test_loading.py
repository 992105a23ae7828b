import pickle
import sys
from pathlib import Path
from threading import Barrier

import albumentations as A  # noqa: N812 - as its own documentation has it
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from comp.data import loading
from comp.data.augmenting import Preprocessing, apply_symmetry
from comp.data.loading import ImageDataset, ImageEpochs, InOrder, Shuffled, in_views, share
from comp.data.reading import Reading, centre, read_image
from comp.declare.competition import load_competition
from comp.declare.viewpoint import View, side_on, top_down, upright
from comp.errors import DataError

PLAIN = View()
ROWS = 7


@pytest.fixture(scope="module")
def paths(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    paths = [folder / f"{row}.png" for row in range(ROWS)]
    for row, path in enumerate(paths):
        Image.fromarray(rng.integers(0, 255, (20 + row, 24, 3), dtype=np.uint8)).save(path)
    return paths


def dataset_of(paths, viewpoint=None, size=16, seed=0):
    return ImageDataset(paths, Preprocessing(size, Reading(), viewpoint or top_down()), seed)


def by_row(epoch_of_batches):
    return {
        int(target): image.numpy().tobytes()
        for images, targets in epoch_of_batches
        for image, target in zip(images, targets, strict=True)
    }


def test_a_fixed_view_is_the_symmetry_of_the_plain_centre(paths):
    dataset = dataset_of(paths)
    views = top_down().fixed_views
    for row, path in enumerate(paths):
        number, images = dataset[row, views]
        plain = centre(read_image(path, 16), 16)
        assert number == row
        assert images.shape == (8, 16, 16, 3)
        assert images.dtype == np.uint8
        for view, image in zip(views, images, strict=True):
            assert np.array_equal(image, apply_symmetry(plain, view.symmetry))


def test_the_interpolation_is_the_backbones(paths):
    nearest = ImageDataset(paths, Preprocessing(16, Reading("nearest"), upright()), 0)
    assert np.array_equal(nearest[3, (PLAIN,)][1][0], centre(read_image(paths[3], 16, Reading("nearest")), 16))


def test_a_random_view_follows_from_seed_draw_and_row_alone(paths):
    first = dataset_of(paths)
    views = tuple(View(draw=draw) for draw in range(4))
    expected = {row: first[row, views][1] for row in range(ROWS)}
    again = dataset_of(paths)
    for row in reversed(range(ROWS)):
        for place in (2, 0, 3, 1):
            again[row, (PLAIN,)]
            assert np.array_equal(again[row, (views[place],)][1][0], expected[row][place])


@pytest.mark.parametrize("viewpoint", [upright(), side_on(), top_down(max_zoom=1.5)])
def test_another_seed_draw_or_row_is_another_augmentation(paths, viewpoint):
    same = [paths[0]] * 2
    views = tuple(View(draw=draw) for draw in range(5))
    seen = [
        image.tobytes()
        for seed in range(3)
        for row in range(2)
        for image in dataset_of(same, viewpoint, seed=seed)[row, views][1]
    ]
    assert len(set(seen)) == len(seen) == 30


def test_a_pipeline_of_ones_own_follows_from_seed_draw_and_row_too(paths):
    def crop(size):
        return A.Compose([A.RandomCrop(size, size), A.RandomBrightnessContrast(p=0.5)])

    views = tuple(View(draw=draw) for draw in range(6))
    one, other = dataset_of(paths, upright(pipeline=crop)), dataset_of(paths, upright(pipeline=crop))
    expected = one[0, views][1]
    other[1, views]
    assert np.array_equal(other[0, views][1], expected)
    assert len({image.tobytes() for image in expected}) > 1


@settings(max_examples=30, deadline=None)
@given(
    rows=st.lists(st.integers(0, ROWS - 1), min_size=1, max_size=12), views=st.integers(1, 10), batch=st.integers(1, 9)
)
def test_rows_come_in_the_order_asked_for_in_batches_that_fit(paths, rows, views, batch):
    dataset, views = dataset_of(paths), top_down().views(views)
    batches = list(in_views(dataset, rows, views, batch, workers=0))
    assert all(len(images) * len(views) <= max(batch, len(views)) for images in batches)
    together = torch.cat(batches).numpy()
    assert together.shape == (len(rows), len(views), 16, 16, 3)
    assert np.array_equal(together, np.stack([dataset[row, views][1] for row in rows]))


def test_worker_processes_give_the_same_in_the_same_order(paths):
    rows, views = [4, 0, 6, 2, 5], (PLAIN, View(draw=3))
    alone = torch.cat(list(in_views(dataset_of(paths), rows, views, 2, workers=0)))
    together = torch.cat(list(in_views(dataset_of(paths), rows, views, 2, workers=2)))
    assert torch.equal(alone, together)


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
    assert loading.loader(dataset, InOrder([0], views), 2, workers=2).num_workers == (2 if sent else 0)
    if sent:
        written, expected = pickle.dumps(dataset), dataset[1, views][1]
        monkeypatch.delitem(sys.modules, competition.read.__module__)
        assert np.array_equal(pickle.loads(written)[1, views][1], expected)


def test_the_images_of_in_order_are_the_rows_each_in_the_same_views():
    assert list(InOrder(np.array([3, 1]), [PLAIN])) == [(3, (PLAIN,)), (1, (PLAIN,))]


@given(
    rows=st.lists(st.integers(0, 10_000), min_size=1, unique=True), seed=st.integers(0, 2**40), epoch=st.integers(0, 99)
)
def test_an_epoch_has_every_row_once_under_the_epochs_own_draw(rows, seed, epoch):
    sampler = Shuffled(rows, seed)
    sampler.epoch = epoch
    requests = list(sampler)
    assert len(sampler) == len(rows)
    assert sorted(row for row, _ in requests) == sorted(rows)
    assert {views for _, views in requests} == {(View(draw=epoch),)}
    assert list(sampler) == requests


@given(st.lists(st.integers(0, 9), min_size=1))
def test_copies_of_a_row_are_never_altered_the_same(rows):
    sampler, requests = Shuffled(rows, 0), []
    for epoch in range(4):
        sampler.epoch = epoch
        requests += sampler
        assert sorted(row for row, _ in requests[-len(rows) :]) == sorted(rows)
    assert len(set(requests)) == len(requests)


def test_the_order_changes_with_the_epoch_and_the_seed():
    orders = set()
    for seed in range(3):
        sampler = Shuffled(range(50), seed)
        for epoch in range(3):
            sampler.epoch = epoch
            orders.add(tuple(row for row, _ in sampler))
    assert len(orders) == 9


def test_an_epoch_gives_each_training_row_with_its_own_target(paths):
    dataset, targets = dataset_of(paths), torch.arange(ROWS)
    rows = [5, 2, 0, 6]
    epochs = ImageEpochs(dataset, rows, targets, batch_size=2, workers=0)
    assert len(epochs) == 2
    for number in (0, 3):
        seen = by_row(epochs.epoch(number))
        assert set(seen) == set(rows)
        for row in rows:
            assert seen[row] == dataset[row, (View(draw=number),)][1][0].tobytes()


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


def test_targets_of_tags_stay_with_their_images(paths):
    tags = torch.eye(ROWS, dtype=torch.int64)
    dataset = dataset_of(paths)
    for images, targets in ImageEpochs(dataset, range(ROWS), tags, batch_size=3, workers=0).epoch(1):
        assert targets.shape == (3, ROWS)
        for image, target in zip(images, targets, strict=True):
            row = int(target.argmax())
            assert np.array_equal(image.numpy(), dataset[row, (View(draw=1),)][1][0])


def test_rows_that_are_repeated_keep_their_targets_and_are_other_images(paths):
    epochs = ImageEpochs(dataset_of(paths), [3, 3, 3, 6], torch.arange(ROWS), 4, workers=0)
    images, targets = next(epochs.epoch(0))
    assert sorted(targets.tolist()) == [3, 3, 3, 6]
    assert len({image.numpy().tobytes() for image in images}) == 4


def test_random_views_are_erased_and_fixed_ones_are_not(paths):
    def views(erasing):
        dataset = ImageDataset(paths, Preprocessing(16, Reading(), top_down(), erasing), 0)
        return dataset[2, (PLAIN, View(draw=0), View(draw=1))][1]

    whole, erased = views(0.0), views(1.0)
    assert np.array_equal(whole[0], erased[0])
    for one, other in zip(whole[1:], erased[1:], strict=True):
        assert 0 < (one != other).any(axis=2).mean() < 0.5
    assert np.array_equal(erased, views(1.0))


@pytest.mark.parametrize(("batch_size", "steps", "images"), [(2, 3, 6), (3, 2, 6), (7, 1, 7), (64, 1, 7)])
def test_rows_that_fill_no_batch_are_left_out_of_an_epoch(paths, batch_size, steps, images):
    epochs = ImageEpochs(dataset_of(paths), range(ROWS), torch.arange(ROWS), batch_size, workers=0)
    batches = list(epochs.epoch(0))
    assert len(epochs) == len(batches) == steps
    assert sum(len(targets) for _, targets in batches) == images


@pytest.mark.parametrize("workers", [0, 2])
def test_epochs_are_the_same_when_repeated_and_whoever_reads(paths, workers):
    def epochs(workers):
        made = ImageEpochs(dataset_of(paths), range(ROWS), torch.arange(ROWS), 2, workers=workers)
        return [[(images.clone(), targets) for images, targets in made.epoch(number)] for number in (0, 1, 0)]

    zero, one, again = epochs(workers)
    assert all(torch.equal(a, b) and torch.equal(t, u) for (a, t), (b, u) in zip(zero, again, strict=True))
    assert not all(torch.equal(a, b) for (a, _), (b, _) in zip(zero, one, strict=True))
    alone = epochs(0)[0]
    assert all(torch.equal(a, b) and torch.equal(t, u) for (a, t), (b, u) in zip(zero, alone, strict=True))


@pytest.mark.parametrize("workers", [0, 1])
def test_an_image_that_cannot_be_read_is_named_whoever_reads_it(paths, tmp_path, workers):
    broken = tmp_path / "broken.jpg"
    broken.write_text("text")
    with pytest.raises(DataError, match=r"broken\.jpg can't be read as an image"):
        list(in_views(dataset_of([*paths, broken]), range(ROWS + 1), (PLAIN,), 4, workers=workers))


@pytest.mark.parametrize("start", [0, 1, 2])
def test_an_epoch_goes_on_in_its_middle_as_it_would_have_and_reads_no_image_before(paths, start):
    dataset, rows = dataset_of(paths), [5, 2, 0, 6, 5, 5]
    epochs = ImageEpochs(dataset, rows, torch.arange(ROWS), batch_size=2, workers=0)
    whole = list(epochs.epoch(3))
    read, dataset.__class__ = (
        [],
        type("Counting", (ImageDataset,), {"__getitem__": lambda self, request: counted(request)}),
    )

    def counted(request):
        read.append(request)
        return ImageDataset.__getitem__(dataset, request)

    rest = list(epochs.epoch(3, start))
    assert len(read) == 2 * (3 - start)
    assert len(rest) == 3 - start
    for (images, targets), (expected, others) in zip(rest, whole[start:], strict=True):
        assert torch.equal(images, expected)
        assert torch.equal(targets, others)
    assert len(list(epochs.epoch(4))) == 3


def test_reading_draws_nothing_from_the_random_state_that_training_draws_from(paths):
    state = torch.get_rng_state()
    list(ImageEpochs(dataset_of(paths), range(4), torch.arange(ROWS), batch_size=2, workers=0).epoch(0))
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
@settings(max_examples=25, deadline=None)
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
def test_a_file_that_threads_can_not_read_is_named(paths, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    dataset = dataset_of([*paths, broken])
    with pytest.raises(DataError, match=r"broken\.png can't be read"):
        dataset.__getitems__([(row, (PLAIN,)) for row in range(ROWS + 1)])
