"""Kaggle's names of metrics."""

import pytest

from comp.declare.metrics import METRICS
from comp.new.metrics import NAMES, for_target, metric_of

OURS = {
    ("log_loss", 0): ("Log Loss", "Multi Class Log Loss", "Mean Columnwise Log Loss"),
    ("weighted_log_loss", 0): ("Weighted Log Loss",),
    ("roc_auc", 0): (
        "Area Under Receiver Operating Characteristic Curve",
        "Mean Columnwise Area Under Receiver Operating Characteristic Curve",
        "Area Under ROC (AUC)",
        "MCAUC",
    ),
    ("pauc", 0): ("pAUC above 80% TPR", "ISIC pAUC-aboveTPR"),
    ("accuracy", 0): ("Categorization Accuracy", "Accuracy Score"),
    ("balanced_accuracy", 0): ("Balanced Accuracy", "Balanced Accuracy Score"),
    ("top_k_accuracy", 5): ("Top-5 Accuracy",),
    ("quadratic_kappa", 0): ("Quadratic Weighted Kappa",),
    ("linear_kappa", 0): ("Linear Weighted Kappa",),
    ("macro_f1", 0): ("Macro-averaged F1", "Macro F1 Score", "F1-Score (Macro)"),
    ("micro_f1", 0): ("Micro F1",),
    ("f1", 0): ("F1 Score",),
    ("mean_f1", 0): ("Mean F Score",),
    ("mean_f2", 0): ("Mean F Score Beta", "MeanFScoreBeta"),
    ("map_at_k", 0): ("MAP@{K}",),
    ("map_at_k", 5): ("MAP@5", "Mean Average Precision at 5"),
    ("map_at_k", 12): ("Mean Average Precision @ 12",),
    ("pf1", 0): ("Probabilistic F1",),
    ("rmse", 0): ("Root Mean Squared Error",),
    ("mcrmse", 0): ("Mean Columnwise RMSE", "Mean Columnwise Root Mean Squared Error"),
    ("mae", 0): ("Mean Absolute Error",),
    ("mcc", 0): ("Matthews Correlation Coefficient",),
    ("gap", 0): ("GAP@20",),
    None: (
        *(
            "Hinge Loss",
            "Weighted Multi Label Logarithmic Loss",
            "Weighted AUC",
            "Cohen's Kappa",
            "Dice",
            "",
        ),
        *("Weighted Categorization Accuracy", "F1-Score (Weighted)", "Mean Average Precision (IoU)"),
        *("Accuracy (weighted)", "Laplace Log Likelihood"),
    ),
}


@pytest.mark.parametrize(("ours", "kaggles"), [(ours, name) for ours, names in OURS.items() for name in names])
def test_a_metric_is_known_by_its_whole_name_or_not_at_all(ours, kaggles):
    assert metric_of(kaggles) == ours


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
        ("Macro F1 Score", "single", "macro_f1"),
        ("Macro F1 Score", "multi", "macro_f1_of_tags"),
        ("RMSE", "single", None),
        ("RMSE", "number", "rmse"),
    ],
)
def test_a_metric_is_that_of_the_targets_at_hand(kaggles, target, ours):
    named = for_target(metric_of(kaggles), target)
    assert (named and named.name) == ours
