"""Kaggle's names of metrics."""

import pytest

from comp.declare.metrics import METRICS
from comp.new.metrics import NAMES, for_target, metric_of


@pytest.mark.parametrize(
    ("kaggles", "ours", "k"),
    [
        ("Log Loss", "log_loss", 0),
        ("Multi Class Log Loss", "log_loss", 0),
        ("MultiClass Loss", None, 0),
        ("Mean Columnwise Log Loss", "log_loss", 0),
        ("Weighted Log Loss", "weighted_log_loss", 0),
        ("Weighted Multi Label Logarithmic Loss", None, 0),
        ("Area Under Receiver Operating Characteristic Curve", "roc_auc", 0),
        ("Mean Columnwise Area Under Receiver Operating Characteristic Curve", "roc_auc", 0),
        ("Weighted AUC", None, 0),
        ("pAUC", "pauc", 0),
        ("Categorization Accuracy", "accuracy", 0),
        ("Accuracy Score", "accuracy", 0),
        ("Balanced Accuracy", "balanced_accuracy", 0),
        ("Weighted Categorization Accuracy", None, 0),
        ("Top-5 Accuracy", "top_k_accuracy", 5),
        ("Quadratic Weighted Kappa", "quadratic_kappa", 0),
        ("Linear Weighted Kappa", "linear_kappa", 0),
        ("Cohen's Kappa", None, 0),
        ("Macro-averaged F1", "macro_f1", 0),
        ("Macro F1 Score", "macro_f1", 0),
        ("Micro F1", "micro_f1", 0),
        ("F1-Score (Macro)", "macro_f1", 0),
        ("F1-Score (Weighted)", None, 0),
        ("Area Under ROC (AUC)", "roc_auc", 0),
        ("Mean Average Precision (IoU)", None, 0),
        ("Accuracy (weighted)", None, 0),
        ("F1 Score", "f1", 0),
        ("Mean F Score", "mean_f1", 0),
        ("Mean F Score Beta", "mean_f2", 0),
        ("MAP@5", "map_at_k", 5),
        ("Mean Average Precision @ 12", "map_at_k", 12),
        ("Mean Average Precision at 5", "map_at_k", 5),
        ("Probabilistic F1", "pf1", 0),
        ("Root Mean Squared Error", "rmse", 0),
        ("Mean Columnwise RMSE", "mcrmse", 0),
        ("Mean Columnwise Root Mean Squared Error", "mcrmse", 0),
        ("Mean Absolute Error", "mae", 0),
        ("Matthews Correlation Coefficient", "mcc", 0),
        ("GAP@20", "gap", 0),
        ("Laplace Log Likelihood", None, 0),
        ("Dice", None, 0),
        ("", None, 0),
    ],
)
def test_a_metric_is_known_by_its_whole_name_or_not_at_all(kaggles, ours, k):
    assert metric_of(kaggles) == (None if ours is None else (ours, k))


def test_every_metric_that_is_named_is_one_that_there_is():
    assert {name for _, name in NAMES} <= set(METRICS)


def test_the_f1_of_yes_is_none_of_more_than_two_classes():
    assert for_target(metric_of("F1 Score"), "single", 3) is None


@pytest.mark.parametrize(
    ("kaggles", "target", "ours"),
    [
        ("AUC", "multi", "mean_columnwise_roc_auc"),
        ("AUC", "single", "roc_auc"),
        ("Mean F Score", "single", "accuracy"),
        ("Micro F1", "single", "accuracy"),
        ("RMSE", "single", None),
        ("RMSE", "number", "rmse"),
    ],
)
def test_a_metric_is_that_of_the_targets_at_hand(kaggles, target, ours):
    named = for_target(metric_of(kaggles), target)
    assert (named and named.name) == ours
