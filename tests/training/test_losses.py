import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.utils.class_weight import compute_class_weight
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, one_hot

from comp.errors import DeclarationError
from comp.training.losses import MOST_WEIGHT, Mixing, Objective, class_weights

TARGETS = {"single": torch.tensor([0, 2, 1, 0, 0, 1]), "multi": torch.tensor([[1, 0, 1], [0, 0, 0], [1, 1, 0]] * 2)}
EVERY = pytest.mark.parametrize("target", ["single", "multi"])
SMOOTHED = pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])


def classification_loss(logits, targets, target, **options):
    single = target == "single"
    return Objective("cross_entropy" if single else "bce", one_of=single, **options)(logits, targets)


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
    assert class_weights(targets, 3).numpy() == pytest.approx(expected)
    assert class_weights(targets, 3).dtype == torch.float32


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60))
def test_every_class_that_occurs_counts_as_much_as_any_other(targets):
    targets = np.array(targets)
    weights = class_weights(targets, 6).numpy()
    totals = [weights[name] * (targets == name).sum() for name in np.unique(targets)]
    assert totals == pytest.approx([totals[0]] * len(totals), rel=1e-5)
    assert weights[targets].sum() == pytest.approx(len(targets), rel=1e-5)
    assert weights[5] == 1


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
    assert loss(torch.zeros(3, 2), torch.ones(3, 2)).ndim == 0
    assert Objective("asymmetric", one_of=True)(torch.zeros(3, 2), torch.tensor([0, 1, 1])).ndim == 0


@pytest.mark.parametrize(("name", "expected"), [("mse", 6.5), ("l1", 2.5), ("huber", 2.0)])
def test_losses_of_numbers_are_torchs(name, expected):
    loss = Objective(name, one_of=False)(torch.tensor([[2.0], [3.0]]), torch.zeros(2, 1))
    assert float(loss) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("loss", "named"),
    [
        (lambda logits, targets: (logits - targets) ** 2, r"shape \(2, 1\)"),
        (lambda logits, targets: 3.0, "a float"),
        (lambda logits, targets: (logits - targets).mean() / 0, "nan|inf"),
    ],
)
def test_a_loss_of_one_s_own_that_is_no_finite_scalar_is_refused(loss, named):
    with pytest.raises(DeclarationError, match=f"`loss` .*{named}"):
        Objective(loss, one_of=False)(torch.ones(2, 1), torch.zeros(2, 1))


def test_a_loss_of_one_s_own_may_diverge_later():
    objective = Objective(lambda logits, targets: (logits / targets).mean(), one_of=False)
    assert objective(torch.ones(2, 1), torch.ones(2, 1)) == 1
    assert not objective(torch.ones(2, 1), torch.zeros(2, 1)).isfinite()


CLASSES = 5


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


@EVERY
@given(rows=st.integers(2, 9), seed=st.integers(0, 99), alpha=st.sampled_from([0.2, 1.0, 4.0]))
def test_mixup_blends_images_and_labels_by_the_same_share(target, rows, seed, alpha):
    torch.manual_seed(seed)
    inputs, targets = images(rows), labels(rows, target)
    mixed, shares = Mixing(alpha, 0.0, CLASSES)(inputs, targets)
    share = float(own_share(inputs, mixed)[0])
    assert 0 <= share <= 1
    assert torch.allclose(mixed, share * inputs + (1 - share) * inputs.roll(1, 0).float(), atol=1e-2)
    given_shares = shares_of(targets)
    assert torch.allclose(shares, share * given_shares + (1 - share) * given_shares.roll(1, 0), atol=1e-4)


@EVERY
@given(rows=st.integers(2, 9), seed=st.integers(0, 99), size=st.integers(8, 33))
def test_cutmix_pastes_one_rectangle_and_shares_labels_by_its_area(target, rows, seed, size):
    torch.manual_seed(seed)
    # Every image is one brightness of its own, so that each pixel says whose it is.
    inputs = (torch.arange(rows, dtype=torch.uint8) * 20)[:, None, None, None].expand(rows, size, size, 3)
    targets = labels(rows, target)
    mixed, shares = Mixing(0.0, 1.0, CLASSES)(inputs, targets)
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
    mixing = Mixing(alpha, 0.0, CLASSES)
    inputs = torch.tensor([[0.0], [1.0]])
    drawn = [float(mixing(inputs, torch.tensor([0, 1]))[0][1, 0]) for _ in range(1000)]
    assert stats.kstest(drawn, stats.beta(alpha, alpha).cdf).pvalue > 0.01


def test_the_area_of_cutmix_follows_its_beta_distribution_where_no_border_cuts_it():
    torch.manual_seed(0)
    mixing = Mixing(0.0, 1.0, 2)
    inputs = torch.stack([torch.full((64, 64, 3), value, dtype=torch.uint8) for value in (0, 1)])
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
    mixing, inputs = Mixing(1.0, 1.0, CLASSES), images(2)
    blended = [mixing(inputs, torch.tensor([0, 1]))[0].is_floating_point() for _ in range(400)]
    assert 160 < sum(blended) < 240


@EVERY
@pytest.mark.parametrize("shape", [(20,), (5, 2, 2)], ids=["pooled", "maps"])
def test_features_are_blended_and_never_pasted(target, shape):
    torch.manual_seed(0)
    inputs, targets = torch.randn(7, *shape), labels(7, target)
    for mixing in (Mixing(1.0, 0.0, CLASSES), Mixing(1.0, 1.0, CLASSES)):
        for _ in range(20):
            mixed, shares = mixing(inputs, targets)
            share = float(own_share(inputs, mixed)[0])
            assert torch.allclose(mixed, share * inputs + (1 - share) * inputs.roll(1, 0), atol=1e-4)
            given_shares = shares_of(targets)
            assert torch.allclose(shares, share * given_shares + (1 - share) * given_shares.roll(1, 0), atol=1e-3)
    left, shares = Mixing(0.0, 1.0, CLASSES)(inputs, targets)
    assert torch.equal(left, inputs)
    assert torch.equal(shares, shares_of(targets))


@EVERY
@pytest.mark.parametrize(("mixup", "cutmix"), [(1.0, 0.0), (0.0, 1.0), (1.0, 1.0)])
@pytest.mark.parametrize("inputs", [images(5), torch.randn(5, 20)], ids=["images", "features"])
def test_what_is_given_is_not_changed_and_what_comes_follows_from_torchs_seed(target, mixup, cutmix, inputs):
    mixing, targets = Mixing(mixup, cutmix, CLASSES), labels(5, target)
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
    mixed, _ = Mixing(mixup, cutmix, CLASSES)(images(4), labels(4, "single"))
    assert mixed.is_contiguous()
