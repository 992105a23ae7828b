import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comp.declare.metrics import METRICS, Metric
from comp.submission.jackknife import STANDARD_ERRORS
from comp.submission.postprocessing import CutPoints, MostProbable, untuned
from comp.submission.tuning import CANDIDATE_THRESHOLDS, ROUNDS, tune
from tests.declare.conftest import scored_by
from tests.submission.conftest import counted, graded, of_two, tags_drawn, tuned_on

SEEDS = st.integers(0, 2**32)


@pytest.mark.parametrize("name", METRICS)
def test_post_processing_gives_what_its_metric_compares(name):
    metric, rng = METRICS[name], np.random.default_rng(0)
    count = 2 if name in ("f1", "pf1", "pauc") else 3
    for target in metric.targets:
        targets, probabilities = tags_drawn(rng, 40, count, 0.5)
        if target in ("single", "shares"):
            targets, probabilities = rng.integers(count, size=40), rng.dirichlet(np.ones(count), 40)
        if target == "shares":
            targets = rng.dirichlet(np.ones(count), 40)
        assert np.isfinite(tuned_on(name, targets, probabilities, target)[2])


@settings(max_examples=30, deadline=None)
@given(
    seed=SEEDS,
    rows=st.integers(1, 80),
    classes=st.integers(2, 6),
    skill=st.sampled_from([0.01, 0.1, 0.3, 0.6, 0.9]),
    name=st.sampled_from(["log_loss", "mean_f1", "mean_f2"]),
)
def test_what_is_tuned_never_scores_worse_on_the_tuning_rows(seed, rows, classes, skill, name):
    rng = np.random.default_rng(seed)
    if name == "log_loss":
        targets, probabilities = rng.integers(classes, size=rows), rng.dirichlet([skill] * classes, rows)
        assert tuned_on(name, targets, probabilities)[2] >= 0
    else:
        start, tuned, gain = tuned_on(name, *tags_drawn(rng, rows, classes, skill), "multi")
        assert gain >= -1e-12
        assert tuned == start or gain > 0


@pytest.mark.parametrize(("name", "share"), [("mean_f1", 1 / 2), ("mean_f2", 7 / 29)])
def test_where_probabilities_are_noise_thresholds_stay_where_they_were(name, share):
    # Two certain tags, and one so common that naming it is worth nothing: any threshold is as good.
    moved = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        targets = np.c_[np.ones((160, 2)), rng.uniform(size=160) < share].astype(np.int64)
        probabilities = np.c_[np.full((160, 2), 0.99), rng.uniform(size=160)]
        start, tuned, _ = tuned_on(name, targets, probabilities, "multi")
        assert tuned.thresholds[:2] == start.thresholds[:2]
        moved += tuned != start
    # Three standard errors are a bound for sums of many rows; a dozen rows that happen to agree can pass it.
    assert moved <= 2


@settings(max_examples=15, deadline=None)
@given(SEEDS, st.sampled_from(["mean_f1", "mean_f2"]))
def test_tuned_thresholds_are_those_of_counting_every_row_anew(seed, name):
    rng = np.random.default_rng(seed)
    targets = (rng.uniform(size=(300, 5)) < 0.3).astype(np.float32)
    probabilities = (0.5 * targets + 0.5 * rng.uniform(size=targets.shape) ** 2).astype(np.float32)
    metric = METRICS[name]
    start = untuned(scored_by(name, "multi"), "abcde").thresholds
    expected = np.array(start)

    def f_of_rows(tags):
        hits, whole = (targets * tags).sum(axis=1), metric.beta**2 * targets.sum(axis=1) + tags.sum(axis=1)
        return (1 + metric.beta**2) * hits / np.maximum(whole, 1)

    for _ in range(ROUNDS):
        for tag in range(5):
            tags = (probabilities > expected).astype(np.int64)
            now, surest = f_of_rows(tags), 0.0
            for candidate in CANDIDATE_THRESHOLDS:
                tags[:, tag] = probabilities[:, tag] > candidate
                gain = f_of_rows(tags) - now
                sure = gain.mean() - STANDARD_ERRORS * gain.std() / np.sqrt(len(gain))
                if sure > surest:
                    surest, expected[tag] = sure, candidate
    assert tune(scored_by(name, "multi"), "abcde", targets, probabilities).thresholds == tuple(expected)


class Counted(np.ndarray):
    """Count the values that ufuncs read from the array and from arrays made of it."""

    read = 0

    def __array_ufunc__(self, ufunc, method, *inputs, **named):
        Counted.read += sum(np.size(one) for one in inputs)
        if "out" in named:
            named["out"] = tuple(map(np.asarray, named["out"]))
        made = getattr(ufunc, method)(*map(np.asarray, inputs), **named)
        return made.view(Counted) if isinstance(made, np.ndarray) else made


def test_tuning_thresholds_reads_twice_as_much_for_twice_as_many_tags():
    def read(tags):
        Counted.read = 0
        drawn = tags_drawn(np.random.default_rng(0), 50, tags, 0.5)
        targets, probabilities = (one.view(Counted) for one in drawn)
        tune(scored_by("mean_f2", "multi"), range(tags), targets, probabilities)
        return Counted.read

    assert read(32) == pytest.approx(2 * read(16), rel=0.1)


@pytest.mark.parametrize("name", ["f1", "balanced_accuracy", "macro_f1", "mine"])
def test_of_two_classes_the_threshold_follows_the_metric(name):
    """One row in ten has the second class, with a right probability: a half is too high, except for an accuracy."""
    own = Metric("mine", "classes", True, lambda targets, chosen: METRICS["f1"](targets, chosen))
    rng, metric = np.random.default_rng(0), own if name == "mine" else name
    targets, probabilities = of_two(rng, 6000, 0.5, 4.5)
    start, tuned, gain = tuned_on(metric, targets, probabilities, classes="ab", rows=3000)
    assert start == CutPoints((0, 1), (0.5,))
    assert tuned.cuts[0] < 0.5
    assert gain > 0
    assert tuned_on("accuracy", targets, probabilities, classes="ab")[1] == MostProbable()


def test_cut_points_move_where_many_rows_say_so():
    targets, probabilities = graded(np.random.default_rng(0), 2000)
    _, tuned, gain = tuned_on("quadratic_kappa", targets, probabilities, rows=1000)
    assert list(tuned.cuts) == sorted(tuned.cuts)
    assert gain > 0.1
    assert METRICS["quadratic_kappa"](targets[1000:], tuned(probabilities[1000:])) > 0.8


@pytest.mark.parametrize(("name", "classes"), [("quadratic_kappa", "0123"), ("pf1", "ab")])
@pytest.mark.parametrize("knows", [0, 1])
def test_what_few_rows_say_costs_nothing_on_others(name, classes, knows):
    count, gains = len(classes), []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        probabilities = rng.dirichlet(np.full(count, 2.0), 1200)
        truth = probabilities if knows else np.full(probabilities.shape, 1 / count)
        targets = (truth.cumsum(axis=1) < rng.uniform(size=(1200, 1))).sum(axis=1).clip(0, count - 1)
        gains.append(tuned_on(name, targets, probabilities, classes=classes, rows=200)[2])
    assert np.mean(gains) >= -0.005


def test_the_probabilistic_f1_is_given_sure_answers():
    targets, probabilities = of_two(np.random.default_rng(0), 4000, 0.2, 1.8)
    _, tuned, gain = tuned_on("pf1", targets, probabilities, classes="ab", rows=2000)
    sure = tuned(probabilities)
    assert set(sure.ravel()) == {0, 1}
    assert (sure.sum(axis=1) == 1).all()
    assert gain > 0.02


def test_tags_whose_hits_are_counted_together_share_their_threshold():
    rng = np.random.default_rng(0)
    probabilities = rng.beta(0.3, 2.7, (800, 5))
    targets = (rng.uniform(size=probabilities.shape) < probabilities).astype(int)
    _, tuned, gain = tuned_on("micro_f1", targets, probabilities, "multi")
    assert len(set(tuned.thresholds)) == 1
    assert tuned.thresholds[0] < 0.5
    assert gain > 0


def macro_f1(targets, tags):
    return np.mean(2 * (targets * tags).sum(axis=0) / (targets.sum(axis=0) + tags.sum(axis=0)).clip(1))


@pytest.mark.parametrize("beta", [None, 1])
def test_each_tag_s_threshold_follows_a_score_of_one_s_own(beta):
    """Rare and frequent tags with right probabilities: the rarer a tag, the lower its best threshold for F1."""
    rng = np.random.default_rng(0)
    probabilities = rng.beta(1, [1.5, 8, 30], (6000, 3))
    targets = (rng.uniform(size=probabilities.shape) < probabilities).astype(int)
    scores, thresholds = {}, {}
    for tuned in (None, "each tag"):
        own, calls = counted(Metric("mine", "tags", True, macro_f1, beta=beta, tuned=tuned))
        _, found, _ = tuned_on(own, targets, probabilities, "multi", rows=3000)
        scores[tuned] = macro_f1(targets[3000:], found(probabilities[3000:]))
        thresholds[tuned] = found.thresholds
        assert len(calls) < 150 * 3
    assert len(set(thresholds[None])) == 1
    assert thresholds["each tag"][0] > thresholds["each tag"][2]
    assert scores["each tag"] > scores[None] + 0.01
