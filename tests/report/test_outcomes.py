import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, confusion_matrix, fbeta_score, log_loss, precision_score

from comp.report.outcomes import (
    CANDIDATES,
    MOST,
    Outcomes,
    confidences,
    confusion_counts,
    confusion_to_read,
    figures_of_classes,
    most_confused,
    orders,
    reliability,
    threshold_curve,
    top_losses,
)

ANIMALS = ("cat", "dog", "emu")
TAGS = ("clear", "cloudy", "road")


def judged(targets, probabilities, classes=ANIMALS, thresholds=None):
    targets, probabilities = np.array(targets), np.array(probabilities, float)
    ids = np.array([f"i{row}" for row in range(len(targets))], object)
    return Outcomes(ids, np.full(len(ids), "valid", object), tuple(classes), targets, probabilities, thresholds)


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


def test_tags_are_right_only_together_by_their_thresholds():
    targets, probabilities = [[1, 0, 1], [1, 0, 0]], [[0.9, 0.3, 0.25], [0.9, 0.3, 0.05]]
    usual, tuned = (judged(targets, probabilities, TAGS, limits) for limits in (None, (0.5, 0.35, 0.2)))
    assert usual.right.tolist() == [False, True]
    assert tuned.right.tolist() == [True, True]
    assert usual.costliest.tolist() == [2, 1]


def test_an_image_is_least_certain_where_all_is_equally_likely():
    outcomes = judged([0, 0, 0], [[1, 0, 0], [1 / 3] * 3, [0.5, 0.5, 0]])
    assert outcomes.uncertainty == pytest.approx([0, 1, np.log(2) / np.log(3)], abs=1e-4)
    assert orders(outcomes)["uncertain"].tolist() == [1, 2, 0]
    assert judged([[1, 0]] * 2, [[0.5, 0.5], [1, 0]], TAGS[:2]).uncertainty == pytest.approx([1, 0], abs=1e-4)


def test_the_most_surely_right_are_right_and_have_the_lowest_losses():
    outcomes = drawn(200, 4)
    sure = orders(outcomes)["sure"]
    assert outcomes.right[sure].all()
    assert len(sure) == outcomes.right.sum()
    assert (np.diff(outcomes.losses[sure]) >= 0).all()


def test_images_are_taken_with_all_that_is_known_of_them():
    whole = judged([0, 1, 0], [[0.9, 0.1], [0.2, 0.8], [0.4, 0.6]], ANIMALS[:2])
    part = whole.take(np.array([2, 0]))
    assert part.ids.tolist() == ["i2", "i0"]
    assert part.right.tolist() == [False, True]
    assert part.losses.tolist() == [whole.losses[2], whole.losses[0]]


def test_mistakes_are_counted_by_pair_the_most_frequent_first_then_by_name():
    probabilities = [[0, 1, 0], [1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 1, 0], [0, 0, 1]]
    table = most_confused(np.array([0, 0, 1, 2, 2, 1]), np.array(probabilities), ANIMALS)
    assert list(table.columns) == ["label", "predicted", "count"]
    assert table.to_numpy().tolist() == [["emu", "dog", 2], ["cat", "dog", 1], ["dog", "cat", 1], ["dog", "emu", 1]]


@pytest.mark.parametrize("rows", [0, 3])
def test_without_a_mistake_the_table_is_empty_and_has_its_columns(rows):
    table = most_confused(np.arange(rows), np.eye(3)[:rows], ANIMALS)
    assert table.empty
    assert list(table.columns) == ["label", "predicted", "count"]


def test_missed_and_invented_tags_are_counted_the_worst_first():
    targets = np.array([[1, 0, 1], [1, 0, 1], [0, 1, 0]])
    # A tag as likely as not is not predicted.
    table = most_confused(targets, np.array([[0.9, 0.1, 0.5], [0.9, 0.6, 0.2], [0.1, 0.9, 0.7]]), TAGS)
    assert list(table.columns) == ["tag", "missed", "invented"]
    assert table.to_numpy().tolist() == [["road", 2, 1], ["cloudy", 0, 1], ["clear", 0, 0]]
    assert list(table.index) == [0, 1, 2]


def test_the_image_with_the_highest_loss_comes_first_with_its_label_s_probability():
    probabilities = np.array([[0.7, 0.2, 0.1], [0.8, 0.1, 0.1], [0, 0, 1], [0.7, 0.2, 0.1]])
    table = top_losses(list("adcb"), np.array([0, 1, 2, 0]), probabilities, ANIMALS)
    assert list(table.columns) == ["id", "label", "predicted", "probability", "loss"]
    # Images of one loss stay in their order.
    assert list(table["id"]) == ["d", "a", "b", "c"]
    assert list(table["label"]) == ["dog", "cat", "cat", "emu"]
    assert list(table["predicted"]) == ["cat", "cat", "cat", "emu"]
    assert table["probability"].tolist() == [0.1, 0.7, 0.7, 1.0]
    assert table["loss"].tolist() == pytest.approx([-np.log(0.1), -np.log(0.7), -np.log(0.7), 0], abs=1e-6)


def test_a_probability_of_nought_costs_much_but_not_infinitely():
    table = top_losses(["a"], np.array([0]), np.array([[0.0, 1, 0]]), ANIMALS)
    assert table["probability"].tolist() == [0]
    assert table["loss"].tolist() == pytest.approx([-np.log(1e-7)])


def test_the_tag_that_costs_most_is_named_as_missed_or_invented():
    targets = np.array([[1, 0, 1], [0, 1, 0], [0, 0, 0]])
    table = top_losses(list("abc"), targets, np.array([[0.9, 0.2, 0.1], [0.1, 0.9, 0.7], [0.1, 0.1, 0.2]]), TAGS)
    assert table["id"].tolist() == ["a", "b", "c"]
    assert table["label"].tolist() == ["clear road", "cloudy", ""]
    assert table["predicted"].tolist() == ["-road", "+road", "+road"]
    assert table["probability"].tolist() == [0.1, 0.7, 0.2]
    by_hand = -np.log([0.9, 0.8, 0.1]).mean(), -np.log([0.9, 0.9, 0.3]).mean(), -np.log([0.9, 0.9, 0.8]).mean()
    assert table["loss"].tolist() == pytest.approx(by_hand)


@pytest.mark.parametrize("targets", [np.empty(0, int), np.empty((0, 3), int)])
def test_of_no_images_there_is_a_table_without_rows(targets):
    assert top_losses([], targets, np.empty((0, 3)), ANIMALS).empty


def test_few_classes_stand_in_their_order_in_the_confusion_matrix():
    outcomes = drawn(100, 5)
    predicted = outcomes.probabilities.argmax(axis=1)
    counts = confusion_to_read(confusion_counts(outcomes.targets, predicted, outcomes.classes))
    assert tuple(counts.index) == tuple(counts.columns) == outcomes.classes
    assert (counts.to_numpy() == confusion_matrix(outcomes.targets, predicted)).all()


def test_many_classes_are_the_same_counts_with_the_confused_side_by_side():
    targets = np.repeat(np.arange(60), 10)
    predicted = targets.copy()
    predicted[:5], predicted[590:595] = 59, 0  # the first and the last are taken for each other
    counts = confusion_to_read(confusion_counts(targets, predicted, [f"c{index}" for index in range(60)]))
    first, last = (list(counts.index).index(name) for name in ("c0", "c59"))
    assert abs(first - last) == 1
    assert counts.iloc[first, last] == 5
    assert counts.to_numpy().sum() == 600
    assert len(set(counts.index)) == 60


def test_of_more_classes_than_can_be_read_the_least_confused_are_left_out():
    names = [f"c{index}" for index in range(MOST + 30)]
    targets = np.repeat(np.arange(MOST + 30), 2)
    counts = confusion_to_read(confusion_counts(targets, np.where(targets < 20, (targets + 1) % 20, targets), names))
    assert counts.shape == (MOST, MOST)
    assert set(names[:20]) <= set(counts.index)


@pytest.mark.parametrize("tags", [False, True])
def test_figures_are_scikit_learn_s_of_each_class_against_the_rest(tags):
    outcomes = drawn(300, 4, tags=tags)
    for index, one in enumerate(figures_of_classes(outcomes, beta=2).itertuples()):
        of_it, said = outcomes.truth[:, index], outcomes.answers[:, index]
        assert (one.images, one.predicted) == (of_it.sum(), said.sum())
        assert one.precision == pytest.approx(precision_score(of_it, said))
        assert one.score == pytest.approx(fbeta_score(of_it, said, beta=2))
        assert one.average_precision == pytest.approx(average_precision_score(of_it, outcomes.probabilities[:, index]))


def test_what_there_is_nothing_to_count_from_is_nan():
    absent = figures_of_classes(judged([0, 0], [[0.9, 0.1, 0], [0.8, 0.1, 0.1]])).iloc[1]
    assert (absent["name"], absent["images"]) == ("dog", 0)
    assert absent[["precision", "recall", "average_precision", "loss"]].isna().all()


def test_the_mean_loss_of_classes_is_the_log_loss():
    outcomes = drawn(200, 3)
    found = figures_of_classes(outcomes)
    mean = np.average(found["loss"], weights=found["images"])
    assert mean == pytest.approx(log_loss(outcomes.targets, outcomes.probabilities)) == outcomes.losses.mean()


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
    found = [[part.tolist() for part in confidences(outcomes, outcomes.probabilities)] for outcomes in (two, many)]
    assert found == [[[0.1, 0.2], [False, True]], [[0.6], [False]]]
    assert [len(part) for part in confidences(tags, tags.probabilities)] == [15, 15]


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1000), st.sampled_from([1.0, 2.0]))
def test_a_threshold_s_curve_is_scikit_learn_s_score_at_every_candidate(seed, beta):
    outcomes = drawn(40, 2, tags=True, seed=seed)
    truth, probabilities = outcomes.truth[:, 0], outcomes.probabilities[:, 0]
    curve = threshold_curve(truth, probabilities, beta)
    for index in (0, 19, 49, 98):
        said = probabilities > CANDIDATES[index]
        assert curve[index] == pytest.approx(fbeta_score(truth, said, beta=beta, zero_division=0))
