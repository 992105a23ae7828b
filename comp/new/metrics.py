"""Translate Kaggle's names of metrics into ours: whole names only, since part of a name may be another metric."""

from __future__ import annotations

import re
from typing import NamedTuple

from comp.declare.metrics import METRICS, Kind, Target

# Patterns of Kaggle's names, as `_plain` writes them, and our names.
COLUMNWISE = r"(?:mean |average |macro |macro averaged )?(?:column ?wise |per class |label )?"
AREA = r"(?:area under (?:receiver operating characteristic|roc)(?: curve)?|(?:roc )?auc(?: roc)?|auroc)"
LOG_LOSS = r"(?:log ?loss|logarithmic loss|cross ?entropy(?: loss)?)"
F = r"f ?(?:1|score|measure|1 score|1 measure)"
NAMES: tuple[tuple[str, str], ...] = (
    (rf"{COLUMNWISE}(?:multi ?class |multi ?label |binary |two class )?{LOG_LOSS}|multi ?class loss", "log_loss"),
    (rf"(?:class )?(?:weighted|balanced) (?:multi ?class )?{LOG_LOSS}", "weighted_log_loss"),
    (rf"{COLUMNWISE}{AREA}|mc ?auc", "roc_auc"),
    (rf"(?:isic )?p ?auc(?: above ?.*)?|partial {AREA}", "pauc"),
    (
        r"(?:simple |overall |mean )?(?:multi ?class )?(?:categorization |classification )?accuracy(?: score)?",
        "accuracy",
    ),
    (
        r"balanced (?:multi ?class )?(?:classification )?accuracy(?: score)?|(?:mean|average) class accuracy",
        "balanced_accuracy",
    ),
    (r"top ?(?P<k>\d+) (?:categorization |classification )?accuracy", "top_k_accuracy"),
    (r"(?:quadratic(?:ally)? weighted|quadratic|cohen s quadratic weighted) kappa|qwk", "quadratic_kappa"),
    (r"(?:linear(?:ly)? weighted|linear) kappa", "linear_kappa"),
    (rf"macro(?: averaged| average)? {F}|{F} macro", "macro_f1"),
    (rf"micro(?: averaged| average)? {F}|{F} micro", "micro_f1"),
    (rf"binary {F}|f ?1(?: score)?|f score", "f1"),
    (rf"(?:mean|sample|samples|sample averaged) {F}(?: samples)?", "mean_f1"),
    (r"(?:mean )?f ?2(?: score)?|mean f ?score beta|mean f ?beta(?: 2)?|f ?beta 2", "mean_f2"),
    (r"(?:mean )?f ?0 ?5(?: score)?", "mean_f05"),
    (r"(?:mean average precision (?:at|k) |map ?(?:at )?)(?:(?P<k>\d+)|k)", "map_at_k"),
    (rf"{COLUMNWISE}average precision|area under precision recall curve|pr ?auc", "average_precision"),
    (r"probabilistic f ?(?:1|score|1 score)|p ?f ?1", "pf1"),
    (r"root mean squared? error|rmse", "rmse"),
    (r"mean column ?wise (?:root mean squared? error|rmse)|mcrmse", "mcrmse"),
    (r"mean absolute error|mae", "mae"),
    (r"r ?2(?: score)?|r squared|coefficient of determination", "r2"),
    (r"matthews correlation coefficient|mcc", "mcc"),
    (r"global average precision(?: at \d+)?|gap(?: (?:at )?\d+)?", "gap"),
)
# Metrics of one of two classes, the positive one.
OF_YES = ("f1", "pf1", "pauc")


class Named(NamedTuple):
    """One of our metrics, and the number of classes in a ranking; 0 where Kaggle doesn't say."""

    name: str
    k: int = 0

    @property
    def takes(self) -> Kind:
        return METRICS[self.name].takes


def metric_of(kaggles: str) -> Named | None:
    """Our metric for Kaggle's whole name; None where a word of the name is unknown.

    Brackets belong to the name, ``F1-Score (Macro)``, unless they only repeat it, ``Area Under Curve (AUC)``.
    """
    outside, inside = re.sub(r"\([^()]*\)", " ", kaggles), " ".join(re.findall(r"\(([^()]*)\)", kaggles))
    whole = _named(re.sub("[()]", " ", kaggles))
    if whole is not None or not inside:
        return whole
    again = _named(outside)
    return again if again is not None and _named(inside) == again else None


def _named(text: str) -> Named | None:
    plain = _plain(text)
    for pattern, name in NAMES:
        if found := re.fullmatch(pattern, plain):
            return Named(name, int(found.groupdict().get("k") or 0))
    return None


def for_target(named: Named, target: Target, classes: int = 2) -> Named | None:
    """The variant of the metric for a target and a number of classes; None where there is none."""
    if target == "single" and classes > 2 and named.name in OF_YES:
        return None
    if target == "multi" and named.name == "roc_auc":
        return Named("mean_columnwise_roc_auc")
    if target == "multi" and named.name == "macro_f1":
        return Named("macro_f1_of_tags")
    # With one class per row, a sample-averaged or micro-averaged F is the accuracy.
    if target == "single" and named.name in ("mean_f1", "mean_f2", "mean_f05", "micro_f1"):
        return Named("accuracy")
    if target == "multi" and named.name == "f1":
        return Named("mean_f1")
    return named if target in METRICS[named.name].targets else None


def for_one_class(named: Named) -> bool:
    """Whether the metric implies one class per image; F1 doesn't, as it may be meant for tags."""
    return named.takes in ("classes", "ranking", "confidence") and named.name not in ("f1", "macro_f1")


def _plain(name: str) -> str:
    """The name in lower-case words and digits, with single spaces, without "the" and "of"."""
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    words = re.sub(r"[^a-z0-9]+", " ", name.lower().replace("@", " at ").replace("β", " beta ")).split()
    return " ".join(word for word in words if word not in ("the", "of"))
