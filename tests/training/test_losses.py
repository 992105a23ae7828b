import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, one_hot

from comp.errors import DeclarationError
from comp.training.losses import MOST_WEIGHT, Mixing, Objective, class_weights
from tests.training.conftest import halves

TARGETS = {"single": torch.tensor([0, 2, 1, 0, 0, 1]), "multi": torch.tensor([[1, 0, 1], [0, 0, 0], [1, 1, 0]] * 2)}
WEIGHTS = torch.tensor([0.5, 20.0, 3.0])
EVERY = pytest.mark.parametrize("target", TARGETS)
SMOOTHED = pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])


def loss_of(logits, targets, target, smoothing=0.0, weights=None):
    single = target == "single"
    name = "cross_entropy" if single else "bce"
    return Objective(name, one_of=single, label_smoothing=smoothing, class_weights=weights)(logits, targets)


def drawn_logits(rows=6, classes=3, seed=0):
    return torch.randn(rows, classes, generator=torch.Generator().manual_seed(seed))


@SMOOTHED
def test_losses_are_torch_s(smoothing):
    logits, classes, tags = drawn_logits(), TARGETS["single"], TARGETS["multi"].float()
    expected = cross_entropy(logits, classes, label_smoothing=smoothing)
    assert torch.equal(loss_of(logits, classes, "single", smoothing), expected)
    shares = one_hot(classes, 3).float()
    assert float(loss_of(logits, shares, "single", smoothing)) == pytest.approx(float(expected))
    smoothed = tags * (1 - smoothing) + 0.5 * smoothing
    assert torch.equal(loss_of(logits, tags, "multi", smoothing), binary_cross_entropy_with_logits(logits, smoothed))


@EVERY
@SMOOTHED
@settings(max_examples=30, deadline=None)
@given(copies=st.lists(st.integers(1, 5), min_size=3, max_size=3), seed=st.integers(0, 99))
def test_a_weighted_loss_is_the_loss_of_the_rows_replicated(target, smoothing, copies, seed):
    single = target == "single"
    copies = copies if single else copies[:1]
    logits = drawn_logits(classes=len(copies), seed=seed)
    targets = TARGETS["single"] if single else TARGETS["multi"][:, :1]
    weighted = loss_of(logits, targets, target, smoothing, torch.tensor(copies).float())
    times = torch.tensor(copies)[targets] if single else torch.where(targets[:, 0] == 1, copies[0], 1)
    again = (values.repeat_interleave(times, dim=0) for values in (logits, targets))
    # The mean over tags divides by the number of rows, and not by their weights.
    count = 1 if single else int(times.sum()) / len(targets)
    assert float(weighted) == pytest.approx(float(loss_of(*again, target, smoothing)) * count, rel=1e-5)


@EVERY
@SMOOTHED
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["plain", "weighted"])
def test_the_loss_of_a_mixed_row_is_the_mix_of_the_losses(target, smoothing, weights):
    shares = one_hot(TARGETS["single"], 3).float() if target == "single" else TARGETS["multi"].float()
    logits, own = drawn_logits(1), shares[:1]
    for other in shares[1:, None]:
        parts = [float(loss_of(logits, labels, target, smoothing, weights)) for labels in (own, other)]
        # The weighted mean for one class per image divides by the rows' weights.
        divides = weights is not None and target == "single"
        counts = [float(labels @ weights) if divides else 1.0 for labels in (own, other)]
        expected = np.average(parts, weights=np.array([0.3, 0.7]) * counts)
        mixed = loss_of(logits, 0.3 * own + 0.7 * other, target, smoothing, weights)
        assert float(mixed) == pytest.approx(expected, rel=1e-5)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60))
def test_every_class_that_occurs_counts_as_much_as_any_other(targets):
    targets = np.array(targets)
    weights = class_weights(targets, 6).numpy()
    totals = [weights[name] * (targets == name).sum() for name in np.unique(targets)]
    assert totals == pytest.approx([totals[0]] * len(totals), rel=1e-5)
    assert weights[targets].sum() == pytest.approx(len(targets), rel=1e-5)
    assert weights[5] == 1
    assert weights.dtype == np.float32


def test_a_tag_weighs_what_its_rows_lack_to_those_without_it_within_bounds():
    targets = np.zeros((1000, 5), np.int64)
    targets[:250, 0], targets[:800, 1], targets[:1, 2], targets[:, 3] = 1, 1, 1, 1
    assert class_weights(targets, 5).tolist() == pytest.approx([3, 0.25, MOST_WEIGHT, 1, 1])


def test_focal_loss_is_cross_entropy_that_counts_less_the_surer_it_is():
    logits = torch.log(torch.tensor([[0.8, 0.2], [0.4, 0.6]]))
    found = Objective("focal", one_of=True)(logits, torch.tensor([0, 0]))
    assert float(found) == pytest.approx((0.2**2 * -np.log(0.8) + 0.6**2 * -np.log(0.4)) / 2, rel=1e-5)
    tags = Objective("focal", one_of=False)(torch.tensor([[np.log(4.0)]]), torch.tensor([[1]]))
    assert float(tags) == pytest.approx(0.2**2 * -np.log(0.8), rel=1e-5)


def test_the_asymmetric_loss_forgets_easy_rows_without_a_tag():
    loss = Objective("asymmetric", one_of=False)
    easy, hard = (float(loss(torch.full((3, 2), logit), torch.zeros(3, 2))) for logit in (-4.0, 2.0))
    assert easy < 1e-6
    assert hard == pytest.approx(-np.log(1 - 0.8808 + 0.05) * (0.8808 - 0.05) ** 4, rel=1e-3)
    assert Objective("asymmetric", one_of=True)(torch.zeros(3, 2), torch.tensor([0, 1, 1])).ndim == 0


@pytest.mark.parametrize(("name", "expected"), [("mse", 6.5), ("l1", 2.5), ("huber", 2.0)])
def test_losses_of_numbers_are_torch_s(name, expected):
    loss = Objective(name, one_of=False)(torch.tensor([[2.0], [3.0]]), torch.zeros(2, 1))
    assert float(loss) == pytest.approx(expected)


class Arc(nn.Module):
    """A loss with centres of the classes, which are trained with ``learns``."""

    def __init__(self, learns):
        super().__init__()
        self.centres = nn.Parameter(torch.eye(3), requires_grad=learns)

    def forward(self, logits, targets):
        return cross_entropy(logits @ self.centres, targets)


ARC = Arc(learns=True)


def spread(logits, targets):
    """A loss that is infinite where all logits are the same, as those of a new network."""
    return 1 / logits.std()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("loss", "start", "named"),
    [
        (ARC, None, "head"),
        (lambda logits, targets: ARC(logits, targets), None, "head"),
        (lambda logits, targets: logits.sum() * np.nan, None, "nan for logits from -1 to 1"),
        (spread, torch.zeros(3), "inf for the logits of a new network"),
    ],
)
def test_a_loss_that_would_have_to_learn_or_is_not_finite_is_refused_before_training(loss, start, named):
    with pytest.raises(DeclarationError, match=f"`loss` .*{named}"):
        Objective(loss, one_of=True).try_on(TARGETS["single"], 3, mixed=False, start=start)


@pytest.mark.parametrize(("loss", "start"), [(Arc(learns=False), torch.zeros(3)), (spread, None)])
def test_a_loss_that_has_nothing_to_learn_and_is_finite_where_it_is_known_to_begin_is_taken(loss, start):
    Objective(loss, one_of=True).try_on(TARGETS["single"], 3, mixed=False, start=start)


def of_classes(logits, targets):
    return logits.gather(1, targets[:, None]).mean()


def of_shares(logits, targets):
    return (logits * targets[:, :3]).mean()


@pytest.mark.parametrize(
    ("loss", "how", "named"),
    [
        (of_classes, {"mixed": True}, r"targets \(\d+, 3\), shares of classes \(B, C\), as batches are mixed"),
        (of_classes, {"mixed": False, "taught": True}, r"targets \(\d+, 3\), shares .* as a teacher gives them"),
        (of_shares, {"mixed": True}, r"targets \(\d+,\), classes of validation images"),
        (of_shares, {"mixed": False}, r"targets \(\d+,\)\."),
    ],
)
def test_a_loss_that_fails_is_told_what_it_was_given_and_why(loss, how, named):
    with pytest.raises(DeclarationError, match=f"`loss` of_.* raises .*; it was given logits .* and {named}"):
        Objective(loss, one_of=True).try_on(TARGETS["single"], 3, **how)


def test_a_loss_of_shares_is_taken_where_a_teacher_gives_all_of_them():
    Objective(of_shares, one_of=True).try_on(TARGETS["single"], 3, mixed=True, taught=True)


def test_a_loss_of_one_s_own_is_given_tags_as_floats():
    objective = Objective(binary_cross_entropy_with_logits, one_of=False)
    logits, tags = drawn_logits(), torch.eye(3, dtype=torch.int64).repeat(2, 1)
    objective.try_on(tags, 3, mixed=False)
    assert torch.equal(objective(logits, tags), Objective("bce", one_of=False)(logits, tags))


CLASSES = 5
few = settings(max_examples=30, deadline=None)


def labels(rows, target):
    """Classes or tags of this number of rows, and their shares."""
    if target == "single":
        classes = torch.arange(rows) % CLASSES
        return classes, one_hot(classes, CLASSES).float()
    tags = (torch.arange(rows)[:, None] >> torch.arange(CLASSES)) % 2
    return tags, tags.float()


def images(rows, size=8):
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (rows, size, size, 3), dtype=np.uint8))


def assert_blended(inputs, mixed, given, shares):
    """Each row is blended with the previous one, labels by the same share as the images or features."""
    before, own = inputs.roll(1, 0).float(), inputs.float()
    # From the numbers in which the first row differs from the previous one.
    share = float((((mixed - before) / (own - before)).flatten(1)[0]).nanmedian())
    assert 0 <= share <= 1
    assert torch.allclose(mixed, share * own + (1 - share) * before, atol=1e-2)
    assert torch.allclose(shares, share * given + (1 - share) * given.roll(1, 0), atol=1e-3)


@EVERY
@few
@given(rows=st.integers(2, 9), seed=st.integers(0, 99), alpha=st.sampled_from([0.2, 1.0, 4.0]))
def test_mixup_blends_images_and_labels_by_the_same_share(target, rows, seed, alpha):
    torch.manual_seed(seed)
    targets, given = labels(rows, target)
    mixed, shares = Mixing(alpha, 0.0, CLASSES)(images(rows), targets)
    assert_blended(images(rows), mixed, given, shares)


@EVERY
@few
@given(rows=st.integers(2, 9), seed=st.integers(0, 99), size=st.integers(8, 33))
def test_cutmix_pastes_one_rectangle_and_shares_labels_by_its_area(target, rows, seed, size):
    torch.manual_seed(seed)
    # Every image has one brightness of its own, so that each pixel shows its image.
    inputs = (torch.arange(rows, dtype=torch.uint8) * 20)[:, None, None, None].expand(rows, size, size, 3)
    targets, given = labels(rows, target)
    mixed, shares = Mixing(0.0, 1.0, CLASSES)(inputs, targets)
    pasted = mixed == inputs.roll(1, 0)
    assert torch.equal(mixed, torch.where(pasted, inputs.roll(1, 0), inputs))
    assert all(torch.equal(row, pasted[0]) for row in pasted)
    box = pasted[0, :, :, 0]
    area = float(box.float().mean())
    assert box.any(dim=1).sum() * box.any(dim=0).sum() == box.sum()
    assert torch.allclose(shares, (1 - area) * given + area * given.roll(1, 0), atol=1e-6)


def test_with_both_each_batch_gets_one_of_the_two_with_even_odds():
    torch.manual_seed(0)
    mixing, inputs = Mixing(1.0, 1.0, CLASSES), images(2)
    blended = [mixing(inputs, torch.tensor([0, 1]))[0].is_floating_point() for _ in range(400)]
    assert 160 < sum(blended) < 240


@EVERY
@pytest.mark.parametrize("shape", [(20,), (5, 2, 2)], ids=["pooled", "maps"])
def test_features_are_blended_and_never_pasted(target, shape):
    torch.manual_seed(0)
    inputs, (targets, given) = torch.randn(7, *shape), labels(7, target)
    for mixing in (Mixing(1.0, 0.0, CLASSES), Mixing(1.0, 1.0, CLASSES)):
        for _ in range(20):
            mixed, shares = mixing(inputs, targets)
            assert_blended(inputs, mixed, given, shares)
    left, shares = Mixing(0.0, 1.0, CLASSES)(inputs, targets)
    assert torch.equal(left, inputs)
    assert torch.equal(shares, given)


@EVERY
def test_a_function_of_one_s_own_mixes_images_and_labels_and_no_features(target):
    inputs, targets, columns = images(7), labels(7, target)[0], torch.arange(7.0)[:, None]
    before, mixing = inputs.clone(), Mixing(0.0, 0.0, CLASSES, halves)
    torch.manual_seed(0)
    mixed, shares, beside = mixing(inputs, targets, columns)
    torch.manual_seed(0)
    other = torch.randperm(7)
    assert torch.equal(inputs, before)
    assert torch.equal(mixed[:, :4], inputs[:, :4].float())
    assert torch.equal(mixed[:, 4:], inputs[other][:, 4:].float())
    whole = labels(7, target)[1]
    assert torch.equal(shares, (whole + whole[other]) / 2)
    assert torch.equal(beside, (columns + columns[other]) / 2)
    features = torch.randn(7, 20)
    assert torch.equal(mixing(features, targets)[0], features)
    assert torch.equal(mixing(features, targets)[1], whole)


@EVERY
@pytest.mark.parametrize(("mixup", "cutmix"), [(1.0, 0.0), (0.0, 1.0), (1.0, 1.0)])
@pytest.mark.parametrize("inputs", [images(5), torch.randn(5, 20)], ids=["images", "features"])
def test_what_is_given_is_not_changed_and_what_comes_follows_from_torch_s_seed(target, mixup, cutmix, inputs):
    mixing, (targets, _) = Mixing(mixup, cutmix, CLASSES), labels(5, target)
    before = inputs.clone(), targets.clone()
    runs = []
    for numpys_seed in (0, 1):
        np.random.seed(numpys_seed)
        torch.manual_seed(3)
        runs.append([mixing(inputs, targets) for _ in range(5)])
    assert torch.equal(inputs, before[0])
    assert torch.equal(targets, before[1])
    for first, second in zip(*runs, strict=True):
        assert all(torch.equal(*pair) for pair in zip(first, second, strict=True))
        assert first[0].shape == inputs.shape
        assert first[0].is_contiguous(), "images stay channels last in memory"
        assert first[1].shape == (5, CLASSES)
        assert first[1].dtype == torch.float32
