import json
from dataclasses import replace
from operator import itemgetter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comp.declare.metrics import METRICS, Metric
from comp.submission.jackknife import error_of
from comp.submission.postprocessing import (
    CANDIDATE_THRESHOLDS,
    CLIPS,
    KINDS,
    OF_MISTAKES,
    ROUNDS,
    STANDARD_ERRORS,
    AsPredicted,
    Clip,
    Confidence,
    CutPoints,
    MostProbable,
    Ranking,
    Thresholds,
    from_record,
    to_record,
    tune,
    untuned,
)
from tests.declare.conftest import scored_by

SEEDS = st.integers(0, 2**32)
moderately = settings(max_examples=15, deadline=None)


def tuned_on(metric, targets, probabilities, target="single", classes=None, rows=None, **limits):
    """The post-processing before any row is seen and tuned on the first rows; and what the score of the others gains.

    rows: how many of them; without it all are tuned on, and scored.
    """
    competition, classes = scored_by(metric, target), classes or [str(one) for one in range(probabilities.shape[1])]
    seen, others = slice(rows), slice(rows, None)  # of None all
    start = untuned(competition, classes)
    tuned = tune(competition, classes, targets[seen], probabilities[seen], **limits)
    score, sign = competition.scoring, 1 if competition.scoring.higher_is_better else -1
    before, after = (score(targets[others], one(probabilities[others]), classes) for one in (start, tuned))
    return start, tuned, sign * (after - before)


def mislabelled(rng, *, rows, classes, spread, wrong):
    """Targets and the probabilities that they were drawn by; a share of the targets is any class."""
    probabilities = rng.dirichlet([spread] * classes, rows)
    targets = np.array([rng.choice(classes, p=row) for row in probabilities])
    return np.where(rng.uniform(size=rows) < wrong, rng.integers(classes, size=rows), targets), probabilities


def tags_drawn(rng, rows, tags, skill):
    """Tags of every frequency, and probabilities that know about them as much as ``skill`` says."""
    targets = (rng.uniform(size=(rows, tags)) < rng.uniform(0.02, 0.98, tags)).astype(np.int64)
    noise = rng.uniform(size=targets.shape)
    return targets, skill * targets + (1 - skill) * noise


@given(
    seed=SEEDS,
    smallest=st.sampled_from(CLIPS),
    temperature=st.sampled_from([1, 0.5, 0.8, 1.3, 2]),
    classes=st.integers(2, 12),
)
def test_clipping_keeps_probabilities_from_0_and_1_and_a_row_s_sum_and_order_whatever_the_temperature(
    seed, smallest, temperature, classes
):
    probabilities = np.random.default_rng(seed).dirichlet([0.05] * classes, 9)
    clipped = Clip(smallest)(probabilities)
    assert smallest <= clipped.min() <= clipped.max() <= 1 - smallest
    inside = (probabilities > smallest) & (probabilities < 1 - smallest)
    assert np.array_equal(clipped[inside], probabilities[inside])
    normalised = Clip(smallest, temperature, sums_to_one=True)(probabilities)
    assert normalised.sum(axis=1) == pytest.approx(1)
    assert normalised.min() > 0
    assert (normalised[np.arange(9), probabilities.argmax(axis=1)] == normalised.max(axis=1)).all()


def test_what_is_submitted_is_made_of_probabilities():
    probabilities = np.array([[0.2, 0.5, 0.3], [0.6, 0.1, 0.3]])
    for postprocessing, made in (
        (MostProbable(), [1, 0]),
        (Thresholds((0.2, 0.4, 0.25)), [[0, 1, 1], [1, 0, 1]]),
        # With the grades 0, 4 and 1: 2.3 and 0.7.
        (CutPoints((0, 4, 1), (0.5, 2.5)), [2, 2]),
        (CutPoints((0, 4, 1), (0.8, 2.2)), [1, 0]),
        (Ranking(2), [[1, 2], [0, 2]]),
        (Confidence(), [[1, 0.5], [0, 0.6]]),
    ):
        assert postprocessing(probabilities).tolist() == made


@pytest.mark.parametrize(
    ("name", "target", "expected"),
    [
        ("log_loss", "single", Clip(OF_MISTAKES / 3, sums_to_one=True)),
        ("log_loss", "multi", Clip(OF_MISTAKES / 2)),
        ("roc_auc", "single", Clip(CLIPS[0], sums_to_one=True)),
        ("accuracy", "single", MostProbable()),
        ("macro_f1", "single", MostProbable()),
        ("quadratic_kappa", "single", MostProbable()),
        ("map_at_k", "single", Ranking(2)),
        ("gap", "single", Confidence()),
        ("log_loss", "shares", Clip(OF_MISTAKES / 3, sums_to_one=True)),
        ("log_loss", "fractions", Clip(OF_MISTAKES / 2)),
        ("rmse", "number", AsPredicted()),
        ("micro_f1", "multi", Thresholds((0.5, 0.5, 0.5))),
        ("mean_f1", "multi", Thresholds((0.5, 0.5, 0.5))),
        ("mean_f2", "multi", Thresholds((0.2, 0.2, 0.2))),
    ],
)
def test_each_metric_has_its_post_processing_before_any_row_is_seen(name, target, expected):
    assert untuned(scored_by(name, target), "abc") == expected


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


@pytest.mark.parametrize("target", ["single", "multi"])
@pytest.mark.parametrize("temperature", [0.7, 1.0, 1.5])
def test_the_temperature_makes_a_model_as_sure_as_it_is_right(target, temperature):
    """Labels drawn from the tempered probabilities: those are the right ones, and new rows gain by them as well."""
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet([0.5] * 3, 4000)
    right = Clip(1e-7, temperature, sums_to_one=target == "single")(probabilities)
    if target == "single":
        targets = np.array([rng.choice(3, p=row) for row in right])
    else:
        targets = (rng.uniform(size=right.shape) < right).astype(int)
    _, tuned, gain = tuned_on("log_loss", targets, probabilities, target, rows=2000)
    assert tuned.temperature == pytest.approx(temperature, rel=0.12)
    assert gain >= -1e-3


def test_few_rows_move_the_temperature_of_right_probabilities_little():
    rng, found = np.random.default_rng(0), {60: [], 3000: []}
    for rows, temperatures in found.items():
        for _ in range(8):
            probabilities = rng.dirichlet([1.0] * 3, rows)
            targets = np.array([rng.choice(3, p=row) for row in probabilities])
            temperatures.append(np.log(tuned_on("log_loss", targets, probabilities)[1].temperature))
    assert np.std(found[60]) < 0.12
    assert np.std(found[3000]) < 0.05


def test_labels_that_are_rarely_wrong_cost_less_by_what_a_few_rows_tune_than_by_those_rows_best_temperature():
    """One label in fifty is any class: whether a few rows have such a label decides what suits them best."""
    rng, lost = np.random.default_rng(0), []
    for _ in range(12):
        targets, probabilities = mislabelled(rng, rows=2000, classes=5, spread=0.02, wrong=0.02)
        _, tuned, _ = tuned_on("log_loss", targets[:150], probabilities[:150])
        candidates = [Clip(CLIPS[0], temperature, sums_to_one=True) for temperature in np.geomspace(0.5, 2, 15)]

        def loss(clip, rows, targets=targets, probabilities=probabilities):
            return METRICS["log_loss"](targets[rows], clip(probabilities[rows]))

        best = min(candidates, key=lambda clip: loss(clip, slice(150)))
        lost.append(loss(tuned, slice(150, None)) - loss(best, slice(150, None)))
    assert np.mean(lost) < 0


def test_for_a_mean_of_models_no_temperature_above_one_is_taken():
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet([0.3] * 3, 2000)
    targets = np.array([rng.choice(3, p=row) for row in Clip(1e-7, 1.6, sums_to_one=True)(probabilities)])
    assert tuned_on("log_loss", targets, probabilities)[1].temperature > 1.3
    assert tuned_on("log_loss", targets, probabilities, hottest=1.0)[1].temperature <= 1


def test_a_mistake_near_the_floor_keeps_no_temperature_from_being_found():
    """One label in twenty is any class, and the logits are 1.6 times too large."""
    rng, temperatures = np.random.default_rng(0), []
    for _ in range(10):
        targets, right = mislabelled(rng, rows=300, classes=5, spread=0.3, wrong=0.05)
        temperatures.append(tuned_on("log_loss", targets, Clip(1e-12, 1 / 1.6, sums_to_one=True)(right))[1].temperature)
    assert min(temperatures) > 1.1


def test_of_many_classes_a_floor_between_the_least_and_one_mistake_an_image_may_be_taken():
    rng = np.random.default_rng(0)
    targets, probabilities = mislabelled(rng, rows=2000, classes=120, spread=0.02, wrong=0.02)
    start, tuned, gain = tuned_on("log_loss", targets, probabilities, rows=1000)
    assert start.smallest < tuned.smallest < 1e-3
    assert gain > 0


def test_a_sure_mistake_is_clipped_for_before_any_is_seen_and_more_strongly_where_many_are():
    right = np.tile([1.0, 0.0], (400, 1))
    for mistakes, smallest in ((0, OF_MISTAKES / 2), (1, OF_MISTAKES / 2), (40, 2e-2)):
        wrong = np.r_[np.tile([0.0, 1.0], (mistakes, 1)), right[mistakes:]]
        assert tuned_on("log_loss", np.zeros(400, int), wrong)[1].smallest == smallest


@pytest.mark.parametrize(("name", "share"), [("mean_f1", 1 / 2), ("mean_f2", 7 / 29)])
def test_where_probabilities_are_noise_thresholds_stay_where_they_were(name, share):
    # Two sure tags, and one that is as common as makes it worth nothing to name it: any threshold is as good.
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


@moderately
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
    """Counts the values that ufuncs read of it and of what is made of it."""

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


@pytest.mark.parametrize("name", ["linear_kappa", "quadratic_kappa"])
def test_grades_are_cut_half_way_between_their_values(name):
    assert untuned(scored_by(name), ("0", "1", "4")) == CutPoints((0, 1, 4), (0.5, 2.5))
    assert untuned(scored_by(name), ("10", "2", "3.5")) == CutPoints((10, 2, 3.5), (2.75, 6.75))


@pytest.mark.parametrize("name", ["f1", "balanced_accuracy", "macro_f1", "mine"])
def test_of_two_classes_the_threshold_follows_the_metric(name):
    """One in ten is of the second class, and its probability is right: accuracies aside, a half is too much for it."""
    own = Metric("mine", "classes", True, lambda targets, chosen: METRICS["f1"](targets, chosen))
    rng, metric = np.random.default_rng(0), own if name == "mine" else name
    second = rng.beta(0.5, 4.5, 6000)
    targets, probabilities = (rng.uniform(size=6000) < second).astype(int), np.stack([1 - second, second], axis=1)
    start, tuned, gain = tuned_on(metric, targets, probabilities, classes="ab", rows=3000)
    assert start == CutPoints((0, 1), (0.5,))
    assert tuned.cuts[0] < 0.5
    assert gain > 0
    assert tuned_on("accuracy", targets, probabilities, classes="ab")[1] == MostProbable()


def graded(rng, rows):
    """Grades 0 to 3, and probabilities whose expected grade is half of what it should be."""
    targets = rng.integers(4, size=rows)
    expected = (targets + rng.normal(0, 0.5, rows)).clip(0, 3) / 2
    below = np.floor(expected).astype(int)
    probabilities = np.zeros((rows, 4))
    probabilities[np.arange(rows), below + 1] = expected - below
    probabilities[np.arange(rows), below] += 1 - expected + below
    return targets, probabilities


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
    rng = np.random.default_rng(0)
    second = rng.beta(0.2, 1.8, 4000)
    targets, probabilities = (rng.uniform(size=4000) < second).astype(int), np.stack([1 - second, second], axis=1)
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
    """Rare and frequent tags, whose probabilities are right: the rarer, the lower is the best threshold of its F1."""
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


def counted(metric):
    """The metric as one of one's own, with a list that each of its scores adds to."""
    calls = []

    def score(*given):
        calls.append(1)
        return metric.score(*given)

    return replace(metric, name="counted", score=score), calls


@moderately
@given(SEEDS, st.integers(30, 200), st.sampled_from(["quadratic_kappa", "macro_f1_of_tags", "micro_f1", "pf1"]))
def test_what_is_tuned_is_the_surest_of_all_candidates_with_fewer_scores(seed, rows, name):
    rng, metric = np.random.default_rng(seed), METRICS[name]
    names, target = "ab" if name == "pf1" else "0123", "multi" if metric.takes == "tags" else "single"
    targets, probabilities = tags_drawn(rng, rows, 4, 0.4) if target == "multi" else graded(rng, rows)
    if name == "pf1":
        targets, probabilities = targets % 2, np.c_[1 - probabilities[:, 0], probabilities[:, 0]]

    def surest(start, candidates, worth, probabilities):
        """Every candidate's gain and its jackknife, of all blocks."""

        def gain(candidate, rows=slice(None)):
            return worth(candidate(probabilities), rows) - worth(start(probabilities), rows)

        sure = [
            (gain(one) - STANDARD_ERRORS * error_of(lambda some, one=one: gain(one, some), rows), one)
            for one in candidates
        ]
        return max([(0.0, start), *sure], key=itemgetter(0))[1]

    (own, few), (again, many) = counted(metric), counted(metric)
    quick = tune(scored_by(own, target), names, targets, probabilities)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("comp.submission.postprocessing._surest", surest)
        slow = tune(scored_by(again, target), names, targets, probabilities)
    assert quick == slow
    assert len(few) < len(many)


EVERY = (
    *(Clip(1e-3, 0.8), Clip(1e-4, sums_to_one=True), MostProbable(), Thresholds((0.2, 0.1 + 0.2))),
    *(CutPoints((0, 1.5), (0.7,)), Ranking(5), Confidence(), AsPredicted()),
)


def test_post_processing_s_record_is_json_that_names_its_kind():
    assert {type(one) for one in EVERY} == set(KINDS.values())
    for postprocessing in EVERY:
        record = json.loads(json.dumps(to_record(postprocessing)))
        assert record["kind"] == type(postprocessing).__name__
        assert from_record(record) == postprocessing


def test_a_log_loss_of_one_s_own_has_its_temperature_tuned():
    rng = np.random.default_rng(0)
    targets = rng.integers(3, size=400)
    logits = 4 * np.eye(3)[targets] + rng.normal(0, 4, (400, 3))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    own = Metric("my_log_loss", "probabilities", False, METRICS["log_loss"].score, tuned="temperature")
    for metric in ("log_loss", own):
        assert tuned_on(metric, targets, probabilities, classes="abc")[1].temperature > 1.1
