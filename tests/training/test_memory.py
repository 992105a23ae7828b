from unittest.mock import Mock

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from comp.declare.recipe import Stage
from comp.errors import RunError
from comp.training.epochs import Epoch, Validation
from comp.training.features import FeatureEpochs, in_batches
from comp.training.losses import Objective, class_weights
from comp.training.memory import MicroBatches, out_of_memory
from tests.training import conftest

ROWS = 24
CLASSES = torch.arange(ROWS) % 3
HEAD = Stage(size=16, train="head", cached=True, cycle_length=2, learning_rate=1e-2)
FEATURES = np.random.default_rng(0).normal(size=(ROWS, 1, 96)).astype(np.float32)


class Narrow(nn.Module):
    """A module on a device with room for ``room`` rows in training, and with ``evaluating`` in evaluation as well."""

    def __init__(self, module, room, error=None, *, evaluating=False):
        super().__init__()
        self.evaluating = evaluating
        self.module, self.room, self.largest = module, room, 0
        self.error = error or torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    def forward(self, inputs):
        # When memory runs out, the pass has already changed statistics and random state.
        outputs = self.module(inputs)
        if len(inputs) > self.room and (self.training or self.evaluating):
            raise self.error
        if self.training:
            self.largest = max(self.largest, len(inputs))
        return outputs

    def __getitem__(self, place):
        return self.module[place]


def learner_of(room=None, error=None, *, norm=True, **fields):
    """A learner whose head has room for ``room`` rows, and the messages that it says.

    norm: whether its head has batch norm, which sees fewer rows at a time; without it, added gradients equal those of
    one pass.
    """
    learner, said = conftest.learner_of(outputs=3, **{"batch_size": 6, "optimizer": "sgd", **fields}), []
    model, learner.micro_batches.say = learner.model, said.append
    if not norm:
        model.head = nn.Sequential(nn.Identity(), nn.Identity(), model.head[-1])
    if room is not None:
        model.head = Narrow(model.head, room, error)
    return learner, said


def fitted(learner, batch=6):
    """The head's weights after a stage."""
    epochs = FeatureEpochs(FEATURES, np.arange(ROWS), CLASSES, batch, seed=0)
    validation = Validation(lambda: in_batches(FEATURES, np.arange(ROWS)), CLASSES)
    events = list(learner.fit(HEAD, 1e-2, epochs, validation, 0))
    assert sum(isinstance(event, Epoch) for event in events) == HEAD.epochs
    return learner.model.head[-1].weight.detach()


@pytest.mark.parametrize(("kind", "fewest"), [("training", 2), ("forward", 1)])
@given(rows=st.integers(1, 200), most=st.one_of(st.none(), st.integers(2, 100)))
def test_parts_are_all_rows_in_order_even_and_in_training_of_two_at_least(kind, fewest, rows, most):
    parts = MicroBatches(**{kind: most}).slices(rows, kind)
    assert [row for part in parts for row in range(rows)[part]] == list(range(rows))
    lengths = [part.stop - part.start for part in parts]
    assert max(lengths) - min(lengths) <= 1
    assert min(lengths) >= min(fewest, rows)
    # Three rows can't make two parts of two.
    assert max(lengths) <= (most or rows) or (kind, max(lengths)) == ("training", 3)


@given(
    targets=st.lists(st.integers(0, 2), min_size=2, max_size=12),
    cut=st.integers(1, 11),
    smoothing=st.sampled_from([0.0, 0.2]),
    kind=st.sampled_from(["single", "mixed", "multi"]),
    weighted=st.booleans(),
    name=st.sampled_from(["cross_entropy", "focal"]),
)
def test_losses_of_unequal_parts_by_what_they_count_add_up_to_the_loss_of_all(
    targets, cut, smoothing, kind, weighted, name
):
    rows, cut, classes = len(targets), min(cut, len(targets) - 1), torch.tensor(targets)
    logits = torch.from_numpy(np.random.default_rng(rows).normal(size=(rows, 3)).astype(np.float32))
    one_hot = nn.functional.one_hot(classes, 3).float()
    shares = {"single": classes, "mixed": (one_hot + one_hot.roll(1, 0)) / 2, "multi": one_hot}[kind]
    weights = torch.tensor([1.0, 5.0, 0.25]) if weighted else None
    multi = kind == "multi"
    objective = Objective("bce" if multi else name, one_of=not multi, label_smoothing=smoothing, class_weights=weights)
    total = objective.count(shares)
    parts = (slice(0, cut), slice(cut, rows))
    together = sum(objective(logits[part], shares[part]) * objective.count(shares[part]) / total for part in parts)
    assert float(together) == pytest.approx(float(objective(logits, shares)), rel=1e-4, abs=1e-6)


@pytest.mark.parametrize(
    ("room", "batch", "weights"),
    [
        (5, 6, None),
        (3, 6, None),
        (2, 6, None),
        (3, 5, None),
        (3, 5, class_weights(np.array([0] * 20 + [1] * 3 + [2]), 3)),
    ],
)
def test_a_batch_that_memory_has_no_room_for_makes_the_same_step_in_parts(room, batch, weights):
    (plain, _), (narrow, said) = (learner_of(most, norm=False, batch_size=batch) for most in (None, room))
    plain.objective.class_weights = narrow.objective.class_weights = weights
    assert torch.allclose(fitted(narrow, batch), fitted(plain, batch), atol=1e-6)
    assert narrow.model.head.largest <= room
    assert len(said) == (2 if room < 3 else 1)
    assert f"micro-batches of {batch // 2}" in said[0]


@pytest.mark.parametrize("optimizer", ["sgd", conftest.SAM])
def test_the_step_that_had_no_memory_leaves_no_trace(optimizer):
    """Statistics, random state and gradients equal those of a learner with small micro-batches from the start."""
    (surprised, said), (knew, _) = (learner_of(room, dropout=0.5, mixup=0.4, optimizer=optimizer) for room in (3, None))
    knew.micro_batches.training = 3
    fitted(surprised)
    fitted(knew)
    assert len(said) == 1
    states = surprised.model.head.module.state_dict(), knew.model.head.state_dict()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[1])


def test_gathered_batches_are_begun_again_together():
    class Late(Narrow):
        """Has room for the first step's first batch, but not for its second."""

        def forward(self, inputs):
            self.seen = getattr(self, "seen", 0) + 1
            self.room = 4 if self.seen == 1 else 2
            return super().forward(inputs)

    plain, late = (learner_of(norm=False, accumulation=2, batch_size=4)[0] for _ in range(2))
    late.model.head = Late(late.model.head, 4)
    assert torch.allclose(fitted(late, batch=4), fitted(plain, batch=4), atol=1e-6)
    assert late.micro_batches.training == 2


@pytest.mark.parametrize(("room", "batch", "rows", "said"), [(1, 6, 2, 2), (2, 5, 3, 1)])
def test_where_two_rows_have_no_room_it_is_said_what_to_change(room, batch, rows, said):
    learner, lines = learner_of(room)
    with pytest.raises(RunError, match=rf"Memory doesn't suffice for {rows} images at once; take a smaller backbone"):
        fitted(learner, batch)
    assert len(lines) == said


def test_of_several_processes_the_setting_is_named_that_the_batch_is_of():
    passes = MicroBatches(processes=2, setting="stages.3.batch_size")
    with pytest.raises(RunError, match=r"each of 2 .*--set stages\.3\.batch_size=8,"):
        passes.within_memory("training", 8, Mock(side_effect=torch.OutOfMemoryError))


def test_another_error_is_not_taken_for_one_of_memory():
    learner, said = learner_of(2, RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        fitted(learner)
    assert said == []


@pytest.mark.parametrize(
    ("error", "is_one"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 12 bytes."), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"), True),
        (RuntimeError("shapes"), False),
        (MemoryError(), False),
        (ValueError("CUDA out of memory."), False),
    ],
)
def test_errors_of_memory_are_known(error, is_one):
    assert out_of_memory(error) is is_one


def test_features_of_a_batch_that_memory_has_no_room_for_are_computed_in_parts():
    learner, said = learner_of()
    images = [torch.randint(0, 255, (rows, 2, 16, 16, 3), dtype=torch.uint8) for rows in (4, 4, 1)]
    plain = np.concatenate(list(learner.features(images)))
    learner, said = learner_of()
    learner.model.backbone = Narrow(learner.model.backbone, 3, evaluating=True)
    narrow = np.concatenate(list(learner.features(images)))
    assert narrow.shape == (9, 2, learner.model.width)
    assert narrow == pytest.approx(plain, abs=1e-5)
    assert (learner.micro_batches.forward, learner.micro_batches.training) == (2, None)
    assert [line.partition(":")[0] for line in said] == [
        "out of memory with 8 images at once",
        "out of memory with 4 images at once",
    ]


def test_one_image_that_has_no_room_is_an_error():
    learner, _ = learner_of()
    learner.model.backbone = Narrow(learner.model.backbone, 0, evaluating=True)
    with pytest.raises(RunError, match="Memory doesn't suffice for 1 image at once"):
        list(learner.features([torch.zeros(2, 1, 16, 16, 3, dtype=torch.uint8)]))
