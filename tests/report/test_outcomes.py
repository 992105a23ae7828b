from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, confusion_matrix, fbeta_score, log_loss, precision_score

from comp.report.outcomes import (
    CANDIDATES,
    MOST,
    Outcomes,
    calibration_in_words,
    confusion_to_read,
    figures_of_classes,
    most_confused,
    orders,
    reliability,
    threshold_curve,
    top_losses,
)
from comp.submission.postprocessing import AsPredicted, CutPoints, Thresholds

AS_PREDICTED = AsPredicted()
ANIMALS = ("cat", "dog", "emu")
TAGS = ("clear", "cloudy", "road")


def judged(targets, probabilities, classes=ANIMALS, postprocessing=AS_PREDICTED):
    targets, probabilities = np.array(targets), np.array(probabilities, float)
    ids = np.array([f"i{row}" for row in range(len(targets))], object)
    return Outcomes(ids, np.full(len(ids), "valid", object), tuple(classes), targets, probabilities, postprocessing)


def predicted(targets, answers, classes):
    """Images of one class each, confidently predicted as another or the same."""
    return judged(targets, np.eye(len(classes))[answers], classes)


def drawn(rows, classes, *, tags=False, seed=0):
    rng = np.random.default_rng(seed)
    targets = rng.integers(2, size=(rows, classes)) if tags else rng.integers(classes, size=rows)
    probabilities = rng.random((rows, classes)) if tags else rng.dirichlet(np.ones(classes), rows)
    return judged(targets, probabilities, [f"c{index}" for index in range(classes)])


def test_an_image_is_right_where_its_most_probable_class_is_the_label():
    outcomes = judged([0, 2], [[0.6, 0.3, 0.1], [0.1, 0.5, 0.4]])
    assert outcomes.right.tolist() == [True, False]
    assert outcomes.answers.argmax(axis=1).tolist() == [0, 1]
    assert outcomes.losses == pytest.approx([-np.log(0.6), -np.log(0.4)])
    assert outcomes.costliest.tolist() == [0, 2]
    part = outcomes.take(np.array([1]))
    assert (part.ids.tolist(), part.right.tolist(), part.losses.tolist()) == (["i1"], [False], [outcomes.losses[1]])


@pytest.mark.parametrize(
    ("sure", "right", "verdict"),
    [(0.9, 90, "Well calibrated"), (0.9, 70, "Overconfident"), (0.6, 95, "Underconfident")],
)
def test_calibration_is_said_in_one_sentence(sure, right, verdict):
    targets = np.where(np.arange(100) < right, 0, 1)
    said = calibration_in_words(judged(targets, np.tile([sure, (1 - sure) / 2, (1 - sure) / 2], (100, 1))))
    assert said.startswith(f"{verdict}: ")
    assert f"{sure:.1%}".replace("%", " %") in said


def test_tags_are_right_only_together_by_their_thresholds():
    targets, probabilities = [[1, 0, 1], [1, 0, 0]], [[0.9, 0.3, 0.25], [0.9, 0.3, 0.05]]
    usual = judged(targets, probabilities, TAGS)
    tuned = replace(usual, postprocessing=Thresholds((0.5, 0.35, 0.2)))
    assert usual.right.tolist() == [False, True]
    assert tuned.right.tolist() == [True, True]
    assert usual.costliest.tolist() == [2, 1]


def test_an_image_is_least_certain_where_all_is_equally_likely_and_the_surest_are_right():
    outcomes = judged([0, 0, 0], [[1, 0, 0], [1 / 3] * 3, [0.5, 0.5, 0]])
    assert outcomes.uncertainty == pytest.approx([0, 1, np.log(2) / np.log(3)], abs=1e-4)
    assert orders(outcomes)["uncertain"].tolist() == [1, 2, 0]
    assert judged([[1, 0]] * 2, [[0.5, 0.5], [1, 0]], TAGS[:2]).uncertainty == pytest.approx([1, 0], abs=1e-4)
    outcomes = drawn(200, 4)
    sure = orders(outcomes)["sure"]
    assert outcomes.right[sure].all()
    assert len(sure) == outcomes.right.sum()
    assert (np.diff(outcomes.losses[sure]) >= 0).all()


def test_mistakes_are_counted_by_pair_the_most_frequent_first_then_by_name():
    mistakes = [["emu", "dog", 2], ["cat", "dog", 1], ["dog", "cat", 1], ["dog", "emu", 1]]
    for targets, answers, expected in (
        ([0, 0, 1, 2, 2, 1], [1, 0, 0, 1, 1, 2], mistakes),
        ([0, 1, 2], [0, 1, 2], []),
        (np.empty(0, int), np.empty(0, int), []),
    ):
        table = most_confused(predicted(targets, answers, ANIMALS))
        assert list(table.columns) == ["label", "predicted", "count"]
        assert table.to_numpy().tolist() == expected
    assert all(top_losses(judged(none, np.empty((0, 3)))).empty for none in (np.empty(0, int), np.empty((0, 3), int)))


def test_missed_and_invented_tags_are_counted_the_worst_first():
    # A tag with a probability of a half is not predicted.
    probabilities = [[0.9, 0.1, 0.5], [0.9, 0.6, 0.2], [0.1, 0.9, 0.7]]
    table = most_confused(judged([[1, 0, 1], [1, 0, 1], [0, 1, 0]], probabilities, TAGS))
    assert list(table.columns) == ["tag", "missed", "invented"]
    assert table.to_numpy().tolist() == [["road", 2, 1], ["cloudy", 0, 1], ["clear", 0, 0]]
    assert list(table.index) == [0, 1, 2]


def test_the_image_with_the_highest_loss_comes_first_with_its_label_s_probability():
    table = top_losses(
        judged([0, 1, 2, 0, 0], [[0.7, 0.2, 0.1], [0.8, 0.1, 0.1], [0, 0, 1], [0.7, 0.2, 0.1], [0, 1, 0]])
    )
    # Images of equal loss keep their order; a probability of 0 has a high but finite loss.
    assert table.drop(columns="loss").to_dict("list") == {
        "id": ["i4", "i1", "i0", "i3", "i2"],
        "label": ["cat", "dog", "cat", "cat", "emu"],
        "predicted": ["dog", "cat", "cat", "cat", "emu"],
        "probability": [0, 0.1, 0.7, 0.7, 1.0],
    }
    by_hand = -np.log([1e-7, 0.1, 0.7, 0.7, 1])
    assert table["loss"].tolist() == pytest.approx(by_hand, abs=1e-6)


def test_what_is_predicted_of_an_image_is_what_grades_are_cut_to():
    outcomes = judged([1], [[0.4, 0.3, 0.3]], postprocessing=CutPoints((0, 1, 2), (0.5, 1.5)))
    assert top_losses(outcomes)["predicted"].tolist() == ["dog"]


def test_the_tag_that_costs_most_is_named_as_missed_or_invented():
    probabilities = [[0.9, 0.2, 0.1], [0.1, 0.9, 0.7], [0.1, 0.1, 0.2]]
    table = top_losses(judged([[1, 0, 1], [0, 1, 0], [0, 0, 0]], probabilities, TAGS))
    assert table.drop(columns="loss").to_dict("list") == {
        "id": ["i0", "i1", "i2"],
        "label": ["clear road", "cloudy", ""],
        "predicted": ["-road", "+road", "+road"],
        "probability": [0.1, 0.7, 0.2],
    }
    by_hand = -np.log([0.9, 0.8, 0.1]).mean(), -np.log([0.9, 0.9, 0.3]).mean(), -np.log([0.9, 0.9, 0.8]).mean()
    assert table["loss"].tolist() == pytest.approx(by_hand)


def test_few_classes_stand_in_their_order_in_the_confusion_matrix():
    outcomes = drawn(100, 5)
    counts = confusion_to_read(outcomes.confusion)
    assert tuple(counts.index) == tuple(counts.columns) == outcomes.classes
    assert (counts.to_numpy() == confusion_matrix(outcomes.targets, outcomes.probabilities.argmax(axis=1))).all()


def test_many_classes_are_the_same_counts_with_the_confused_side_by_side_and_without_the_least_confused():
    names, targets = [f"c{index}" for index in range(MOST + 30)], np.repeat(np.arange(MOST + 30), 10)
    answers = targets.copy()
    answers[:5], answers[590:595] = 59, 0  # these two are taken for each other
    counts = confusion_to_read(predicted(targets, answers, names).confusion)
    one, other = (list(counts.index).index(name) for name in ("c0", "c59"))
    assert abs(one - other) == 1
    assert counts.iloc[one, other] == 5
    assert counts.shape == (MOST, MOST)
    assert counts.to_numpy().sum() == 10 * MOST
    assert len(set(counts.index)) == MOST


@pytest.mark.parametrize("tags", [False, True])
def test_figures_are_scikit_learn_s_of_each_class_against_the_rest(tags):
    outcomes = drawn(300, 4, tags=tags)
    found = figures_of_classes(outcomes, beta=2)
    for index, one in enumerate(found.itertuples()):
        of_it, said = outcomes.truth[:, index], outcomes.answers[:, index]
        assert (one.images, one.predicted) == (of_it.sum(), said.sum())
        assert one.precision == pytest.approx(precision_score(of_it, said))
        assert one.score == pytest.approx(fbeta_score(of_it, said, beta=2))
        assert one.average_precision == pytest.approx(average_precision_score(of_it, outcomes.probabilities[:, index]))
    if not tags:
        mean = np.average(found["loss"], weights=found["images"])
        assert mean == pytest.approx(log_loss(outcomes.targets, outcomes.probabilities)) == outcomes.losses.mean()


def test_what_there_is_nothing_to_count_from_is_nan():
    absent = figures_of_classes(judged([0, 0], [[0.9, 0.1, 0], [0.8, 0.1, 0.1]])).iloc[1]
    assert (absent["name"], absent["images"]) == ("dog", 0)
    assert absent[["precision", "recall", "average_precision", "loss"]].isna().all()


def test_the_calibration_error_is_the_mean_distance_weighed_by_counts():
    # On the edge of two bins an image counts for the lower.
    confidence = np.array([0.1, 0.1, 0.1, 0.35, 0.95])
    predicted, observed, counts, error = reliability(confidence, np.array([True, False, False, False, True]))
    assert counts.tolist() == [3, 1, 1]
    assert predicted == pytest.approx([0.1, 0.35, 0.95])
    assert observed == pytest.approx([1 / 3, 0, 1])
    assert error == pytest.approx((3 * (1 / 3 - 0.1) + 0.35 + 0.05) / 5)


def test_what_is_calibrated_is_the_second_of_two_the_class_predicted_of_many_and_every_tag():
    two = judged([0, 1], [[0.9, 0.1], [0.8, 0.2]], ANIMALS[:2])
    many, tags = judged([2], [[0.6, 0.3, 0.1]]), drawn(5, 3, tags=True)
    found = [[part.tolist() for part in outcomes.confidences] for outcomes in (two, many)]
    assert found == [[[0.1, 0.2], [False, True]], [[0.6], [False]]]
    assert [len(part) for part in tags.confidences] == [15, 15]


@pytest.mark.parametrize("beta", [1.0, 2.0])
def test_a_threshold_s_curve_is_scikit_learn_s_score_at_every_candidate(beta):
    outcomes = drawn(40, 2, tags=True)
    truth, probabilities = outcomes.truth[:, 0], outcomes.probabilities[:, 0]
    curve = threshold_curve(truth, probabilities, beta)
    for index in (0, 19, 49, 98):
        said = probabilities > CANDIDATES[index]
        assert curve[index] == pytest.approx(fbeta_score(truth, said, beta=beta, zero_division=0))


@pytest.mark.filterwarnings("error")
def test_numbers_that_do_not_vary_have_no_r2_and_no_correlation():
    for rows in ([[1.0, 5.0]], [[1.0, 5.0], [1.0, 6.0], [1.0, 8.0]]):
        table = figures_of_classes(judged(rows, np.add(rows, [0.5, 0.25]), ("a", "b")))
        assert np.isnan(table["score"][0])
        assert np.isnan(table["score"][1]) == (len(rows) == 1)
        assert table["mae"].tolist() == pytest.approx([0.5, 0.25])
