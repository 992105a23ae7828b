import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch.nn.functional import one_hot

from comp.training.mixing import Mixing

CLASSES = 5
TARGETS = pytest.mark.parametrize("target", ["single", "multi"])


def labels(rows, target):
    if target == "single":
        return torch.arange(rows) % CLASSES
    return (torch.arange(rows)[:, None] >> torch.arange(CLASSES)) % 2


def shares_of(targets):
    return (one_hot(targets, CLASSES) if targets.ndim == 1 else targets).float()


def images(rows, size=8):
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (rows, size, size, 3), dtype=np.uint8))


def own_share(inputs, mixed):
    """The share of its own in each blended row, by the first number in which it differs from the row before it."""
    rows, others = inputs.flatten(1).float(), inputs.roll(1, 0).flatten(1).float()
    return ((mixed.flatten(1) - others) / (rows - others)).nanmedian(dim=1).values


@TARGETS
@given(rows=st.integers(2, 9), seed=st.integers(0, 99), alpha=st.sampled_from([0.2, 1.0, 4.0]))
def test_mixup_blends_images_and_labels_by_the_same_share(target, rows, seed, alpha):
    torch.manual_seed(seed)
    inputs, targets = images(rows), labels(rows, target)
    mixed, shares = Mixing(alpha, 0.0, CLASSES, target)(inputs, targets)
    share = float(own_share(inputs, mixed)[0])
    assert 0 <= share <= 1
    assert torch.allclose(mixed, share * inputs + (1 - share) * inputs.roll(1, 0).float(), atol=1e-2)
    given_shares = shares_of(targets)
    assert torch.allclose(shares, share * given_shares + (1 - share) * given_shares.roll(1, 0), atol=1e-4)


@TARGETS
@given(rows=st.integers(2, 9), seed=st.integers(0, 99), size=st.integers(8, 33))
def test_cutmix_pastes_one_rectangle_and_shares_labels_by_its_area(target, rows, seed, size):
    torch.manual_seed(seed)
    # Every image is one brightness of its own, so that each pixel says whose it is.
    inputs = (torch.arange(rows, dtype=torch.uint8) * 20)[:, None, None, None].expand(rows, size, size, 3)
    targets = labels(rows, target)
    mixed, shares = Mixing(0.0, 1.0, CLASSES, target)(inputs, targets)
    pasted = mixed == inputs.roll(1, 0)
    assert torch.equal(mixed, torch.where(pasted, inputs.roll(1, 0), inputs))
    assert all(torch.equal(row, pasted[0]) for row in pasted)
    box = pasted[0, :, :, 0]
    area = float(box.float().mean())
    assert box.any(dim=1).sum() * box.any(dim=0).sum() == box.sum()
    given_shares = shares_of(targets)
    assert torch.allclose(shares, (1 - area) * given_shares + area * given_shares.roll(1, 0), atol=1e-6)


@pytest.mark.parametrize("alpha", [0.2, 1.0, 3.0])
def test_the_share_of_mixup_follows_its_beta_distribution(alpha):
    torch.manual_seed(0)
    mixing = Mixing(alpha, 0.0, CLASSES, "single")
    inputs = torch.tensor([[0.0], [1.0]])
    drawn = [float(mixing(inputs, torch.tensor([0, 1]))[0][1, 0]) for _ in range(1000)]
    assert stats.kstest(drawn, stats.beta(alpha, alpha).cdf).pvalue > 0.01


def test_the_area_of_cutmix_follows_its_beta_distribution_where_no_border_cuts_it():
    torch.manual_seed(0)
    mixing = Mixing(0.0, 1.0, 2, "single")
    inputs = torch.stack([torch.zeros(64, 64, 3), torch.ones(64, 64, 3)])
    kept = []
    for _ in range(1500):
        mixed, shares = mixing(inputs, torch.tensor([0, 1]))
        box = mixed[0, :, :, 0] == 1
        if not (box[0].any() or box[-1].any() or box[:, 0].any() or box[:, -1].any()):
            kept.append(1 - float(shares[0, 0]))

    # For alpha 1 the area r² is uniform, and a box of side r fits inside for (1 - r)² of its centres.
    def distribution(area):
        return 6 * (area - 4 / 3 * area**1.5 + area**2 / 2)

    assert np.mean(kept) == pytest.approx(0.2, abs=0.02)
    assert stats.kstest(kept, distribution).statistic < 0.1


def test_with_both_each_batch_gets_one_of_the_two_with_even_odds():
    torch.manual_seed(0)
    mixing, inputs = Mixing(1.0, 1.0, CLASSES, "single"), images(2)
    blended = [mixing(inputs, torch.tensor([0, 1]))[0].is_floating_point() for _ in range(400)]
    assert 160 < sum(blended) < 240


@TARGETS
def test_features_are_blended_and_never_pasted(target):
    torch.manual_seed(0)
    inputs, targets = torch.randn(7, 20), labels(7, target)
    for mixing in (Mixing(1.0, 0.0, CLASSES, target), Mixing(1.0, 1.0, CLASSES, target)):
        for _ in range(20):
            mixed, shares = mixing(inputs, targets)
            share = float(own_share(inputs, mixed)[0])
            assert torch.allclose(mixed, share * inputs + (1 - share) * inputs.roll(1, 0), atol=1e-4)
            given_shares = shares_of(targets)
            assert torch.allclose(shares, share * given_shares + (1 - share) * given_shares.roll(1, 0), atol=1e-3)
    left, shares = Mixing(0.0, 1.0, CLASSES, target)(inputs, targets)
    assert torch.equal(left, inputs)
    assert torch.equal(shares, shares_of(targets))


@TARGETS
@pytest.mark.parametrize(("mixup", "cutmix"), [(1.0, 0.0), (0.0, 1.0), (1.0, 1.0)])
@pytest.mark.parametrize("inputs", [images(5), torch.randn(5, 20)], ids=["images", "features"])
def test_what_is_given_is_not_changed_and_what_comes_follows_from_torchs_seed(target, mixup, cutmix, inputs):
    mixing, targets = Mixing(mixup, cutmix, CLASSES, target), labels(5, target)
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
        assert first[1].shape == (5, CLASSES)
        assert first[1].dtype == torch.float32


@pytest.mark.parametrize(("mixup", "cutmix"), [(1.0, 0.0), (0.0, 1.0)])
def test_mixed_images_stay_channels_last_in_memory(mixup, cutmix):
    mixed, _ = Mixing(mixup, cutmix, CLASSES, "single")(images(4), labels(4, "single"))
    assert mixed.is_contiguous()
