from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from comp.data import loading
from comp.declare.viewpoint import side_on
from comp.training import images as images_of_a_run
from comp.training.inputs import inputs_of
from tests.training.of_images import ALL, centre, learner_of, whole


def test_images_that_train_for_several_epochs_are_read_from_their_files_once(images, tables, monkeypatch):
    training, validating = np.arange(30), np.arange(30, 36)
    stage, targets = replace(ALL, cycle_length=2), torch.from_numpy(tables.targets)

    def epochs_of(stage):
        epochs, validation = inputs_of(images, learner_of(), stage, targets, training, validating, 0)
        return [batch for number in (0, 1) for batch, _ in epochs.epoch(number)], whole(validation.features())

    read = epochs_of(ALL)
    epochs_of(stage)
    monkeypatch.setattr("comp.data.loading.read_image", None)
    kept = epochs_of(stage)
    assert all(torch.equal(one, other) for one, other in zip(read[0], kept[0], strict=True))
    assert np.array_equal(read[1], kept[1])
    assert sorted(path.name for path in images.cache.iterdir()) == ["images"]
    assert len(list((images.cache / "images").iterdir())) == 2  # with a margin to train, without one to validate


@pytest.mark.parametrize(("batches", "readers"), [(200, 16), (35, 3), (9, 0)])
def test_no_more_processes_read_than_the_shared_memory_has_room_for(images, monkeypatch, capsys, batches, readers):
    free = SimpleNamespace(free=batches * 4 * 16 * 16 * 3)
    monkeypatch.setattr(images_of_a_run, "workers", lambda: 16)
    monkeypatch.setattr(loading.shutil, "disk_usage", lambda _: free)
    rows = np.arange(36)
    for _ in range(2):
        epochs, _ = inputs_of(images, learner_of(), ALL, torch.arange(36), rows, rows[:0], seed=0)
        assert epochs.batches.num_workers == readers
    said = [line for line in capsys.readouterr().out.splitlines() if "/dev/shm" in line]
    assert len(said) == (readers < 16)
    assert all(f"the number of processes that read images is {readers}, not 16" in line for line in said)


def test_whole_images_are_not_put_in_the_image_cache(images, tables):
    images, stage = replace(images, viewpoint=side_on(pipeline=centre)), replace(ALL, cycle_length=2)
    assert images.kept(stage, np.arange(30), np.arange(30, 36)).keys() == {16}
