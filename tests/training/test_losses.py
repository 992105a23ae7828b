import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, one_hot

from comp.training.losses import MOST_WEIGHT, class_weights, classification_loss

TARGETS = {"single": torch.tensor([0, 2, 1, 0, 0, 1]), "multi": torch.tensor([[1, 0, 1], [0, 0, 0], [1, 1, 0]] * 2)}
EVERY = pytest.mark.parametrize("target", ["single", "multi"])
SMOOTHED = pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])


def drawn_logits(rows=6, classes=3, seed=0):
    return torch.randn(rows, classes, generator=torch.Generator().manual_seed(seed))


@SMOOTHED
def test_the_loss_is_torchs_cross_entropy(smoothing):
    logits, targets = drawn_logits(), TARGETS["single"]
    loss = classification_loss(logits, targets, "single", label_smoothing=smoothing)
    assert torch.equal(loss, cross_entropy(logits, targets, label_smoothing=smoothing))
    shares = one_hot(targets, 3).float()
    assert float(classification_loss(logits, shares, "single", label_smoothing=smoothing)) == pytest.approx(float(loss))


@SMOOTHED
def test_the_loss_of_tags_is_torchs_binary_cross_entropy(smoothing):
    logits, targets = drawn_logits(), TARGETS["multi"]
    loss = classification_loss(logits, targets, "multi", label_smoothing=smoothing)
    expected = binary_cross_entropy_with_logits(logits, targets * (1 - smoothing) + 0.5 * smoothing)
    assert torch.equal(loss, expected)


def minimum_of(loss, start):
    logits = start.clone().requires_grad_()
    optimizer = torch.optim.LBFGS([logits], max_iter=200, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        value = loss(logits)
        value.backward()
        return value

    optimizer.step(closure)
    return logits.detach()


@EVERY
@pytest.mark.parametrize("weighted", [False, True])
def test_a_smoothed_loss_is_least_at_the_smoothed_target(target, weighted):
    # Szegedy et al., section 7: a share of the label is spread evenly over the classes.
    targets = TARGETS[target]
    weights = torch.tensor([0.5, 20.0, 3.0]) if weighted else None
    found = minimum_of(
        lambda logits: classification_loss(logits, targets, target, label_smoothing=0.1, class_weights=weights),
        torch.zeros(6, 3),
    )
    if target == "single":
        assert torch.allclose(found.softmax(dim=1), one_hot(targets, 3) * 0.9 + 0.1 / 3, atol=1e-3)
    else:
        assert torch.allclose(found.sigmoid(), targets * 0.9 + 0.05, atol=1e-3)


@SMOOTHED
@given(copies=st.lists(st.integers(1, 5), min_size=3, max_size=3), seed=st.integers(0, 99))
def test_a_weighted_loss_is_the_loss_of_the_rows_replicated(smoothing, copies, seed):
    logits, targets = drawn_logits(seed=seed), TARGETS["single"]
    weighted = classification_loss(
        logits, targets, "single", label_smoothing=smoothing, class_weights=torch.tensor(copies).float()
    )
    times = torch.tensor(copies)[targets]
    replicated = classification_loss(
        logits.repeat_interleave(times, dim=0), targets.repeat_interleave(times), "single", label_smoothing=smoothing
    )
    assert float(weighted) == pytest.approx(float(replicated), rel=1e-5)


@SMOOTHED
@given(copies=st.integers(1, 9), seed=st.integers(0, 99))
def test_a_weighted_loss_of_a_tag_is_the_loss_of_the_rows_with_it_replicated(smoothing, copies, seed):
    logits, targets = drawn_logits(classes=1, seed=seed), TARGETS["multi"][:, :1]
    weighted = classification_loss(
        logits, targets, "multi", label_smoothing=smoothing, class_weights=torch.tensor([float(copies)])
    )
    times = torch.where(targets[:, 0] == 1, copies, 1)
    replicated = classification_loss(
        logits.repeat_interleave(times, dim=0),
        targets.repeat_interleave(times, dim=0),
        "multi",
        label_smoothing=smoothing,
    )
    # Both are sums over as many rows, but the mean of each is over its own.
    assert float(weighted) * len(targets) == pytest.approx(float(replicated) * int(times.sum()), rel=1e-5)


def test_without_smoothing_weights_are_torchs_own():
    weights = torch.tensor([0.5, 20.0, 3.0])
    single = classification_loss(drawn_logits(), TARGETS["single"], "single", class_weights=weights)
    assert float(single) == pytest.approx(float(cross_entropy(drawn_logits(), TARGETS["single"], weights)), rel=1e-5)
    tags = TARGETS["multi"].float()
    multi = classification_loss(drawn_logits(), tags, "multi", class_weights=weights)
    own = binary_cross_entropy_with_logits(drawn_logits(), tags, pos_weight=weights)
    assert float(multi) == pytest.approx(float(own), rel=1e-5)


@EVERY
@SMOOTHED
@pytest.mark.parametrize("weighted", [False, True])
def test_the_loss_of_a_mixed_row_is_the_mix_of_the_losses(target, smoothing, weighted):
    weights = torch.tensor([0.5, 20.0, 3.0]) if weighted else None
    shares = one_hot(TARGETS["single"], 3).float() if target == "single" else TARGETS["multi"].float()
    logits, own = drawn_logits(1), shares[:1]
    for other in shares[1:]:
        parts, counts = [], []
        for labels in (own, other[None]):
            loss = classification_loss(logits, labels, target, label_smoothing=smoothing, class_weights=weights)
            # A weighted mean over one class per image divides by what the row weighs.
            counts.append(float(labels @ weights) if weighted and target == "single" else 1.0)
            parts.append(float(loss))
        expected = np.average(parts, weights=np.array([0.3, 0.7]) * counts)
        mixed = 0.3 * own + 0.7 * other
        loss = classification_loss(logits, mixed, target, label_smoothing=smoothing, class_weights=weights)
        assert float(loss) == pytest.approx(expected, rel=1e-5)


def test_balanced_weights_are_scikit_learns():
    targets = np.array([0] * 70 + [1] * 25 + [2] * 5)
    expected = compute_class_weight("balanced", classes=np.arange(3), y=targets)
    assert class_weights(targets, 3, "single").numpy() == pytest.approx(expected)
    assert class_weights(targets, 3, "single").dtype == torch.float32


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60))
def test_every_class_that_occurs_counts_as_much_as_any_other(targets):
    targets = np.array(targets)
    weights = class_weights(targets, 6, "single").numpy()
    totals = [weights[name] * (targets == name).sum() for name in np.unique(targets)]
    assert totals == pytest.approx([totals[0]] * len(totals), rel=1e-5)
    assert weights[targets].sum() == pytest.approx(len(targets), rel=1e-5)
    assert weights[5] == 1


def test_a_tag_weighs_what_its_rows_lack_to_those_without_it_within_bounds():
    targets = np.zeros((1000, 5), np.int64)
    targets[:250, 0], targets[:800, 1], targets[:1, 2], targets[:, 3] = 1, 1, 1, 1
    assert class_weights(targets, 5, "multi").tolist() == pytest.approx([3, 0.25, MOST_WEIGHT, 1, 1])
