"""Metrics by the names competitions use, each with its direction and what it is computed from.

A metric stands below the rooms because three of them need it: training prints it, post-processing is tuned for it and
the local Kaggle grades with it. scikit-learn computes; it is imported when a score is wanted, because declarations name
metrics and `comp list` reads declarations in a blink.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy.typing as npt

    Predictions = npt.NDArray[Any]

Kind = Literal["probabilities", "classes", "tags"]
Target = Literal["single", "multi"]


@dataclass(frozen=True)
class Metric:
    """A score of predictions against targets.

    takes: what it compares with the targets: ``probabilities`` (N, C), ``classes`` (N,) class indices, or
        ``tags`` (N, C) of 0 and 1.
    targets: which targets it is defined for: (N,) class indices (``single``), (N, C) of 0 and 1 (``multi``).
    beta: of an F score, how many times recall counts as much as precision.
    """

    name: str
    takes: Kind
    higher_is_better: bool
    targets: tuple[Target, ...]
    score: Callable[[Predictions, Predictions], float]
    beta: float | None = None

    def __call__(self, targets: Predictions, predictions: Predictions) -> float:
        return float(self.score(targets, predictions))


def _of_scikit_learn(name: str, **options: Any) -> Callable[[Predictions, Predictions], float]:
    """Its metric of that name, which is imported when a score is wanted."""

    def score(targets: Predictions, predictions: Predictions) -> float:
        from sklearn import metrics

        return float(getattr(metrics, name)(targets, predictions, **options))

    return score


def _log_loss(targets: Predictions, probabilities: Predictions) -> float:
    """Multi-class log loss; for tags, the mean over the columns of each tag's own."""
    import numpy as np
    from sklearn.metrics import log_loss

    if targets.ndim == 1:
        return float(log_loss(targets, probabilities, labels=np.arange(probabilities.shape[1])))
    columns = zip(targets.T, probabilities.T, strict=True)
    return float(np.mean([log_loss(target, probability, labels=[0, 1]) for target, probability in columns]))


def _roc_auc(targets: Predictions, probabilities: Predictions) -> float:
    """Two classes: of the second. More: the mean over the classes, each against the rest."""
    import numpy as np

    if targets.ndim == 1 and probabilities.shape[1] == 2:
        return _mean_columnwise_roc_auc(targets[:, None], probabilities[:, 1:])
    if targets.ndim == 1:
        return _mean_columnwise_roc_auc(np.eye(probabilities.shape[1], dtype=int)[targets.astype(int)], probabilities)
    return _mean_columnwise_roc_auc(targets, probabilities)


def _mean_columnwise_roc_auc(targets: Predictions, probabilities: Predictions) -> float:
    """Columns that are all 0 or all 1 have no area and are left out of the mean; without any, it is not a number."""
    import numpy as np
    from sklearn.metrics import roc_auc_score

    defined = [column for column in range(targets.shape[1]) if len(np.unique(targets[:, column])) == 2]
    if not defined:
        return float("nan")
    return float(np.mean([roc_auc_score(targets[:, column], probabilities[:, column]) for column in defined]))


def _quadratic_kappa(targets: Predictions, classes: Predictions) -> float:
    import numpy as np
    from sklearn.metrics import cohen_kappa_score

    # A class that doesn't occur still lies between its neighbours; without `labels` it would count for no distance.
    every = np.arange(max(targets.max(), classes.max()) + 1)
    return float(cohen_kappa_score(targets, classes, labels=every, weights="quadratic"))


def _mean_f(beta: float) -> Callable[[Predictions, Predictions], float]:
    """F-beta of each image's tags, averaged over the images."""
    return _of_scikit_learn("fbeta_score", beta=beta, average="samples", zero_division=0)


_macro_f1 = _of_scikit_learn("f1_score", average="macro", zero_division=0)

METRICS = {
    metric.name: metric
    for metric in (
        Metric("log_loss", "probabilities", False, ("single", "multi"), _log_loss),
        Metric("accuracy", "classes", True, ("single",), _of_scikit_learn("accuracy_score")),
        Metric("macro_f1", "classes", True, ("single",), _macro_f1),
        Metric("quadratic_kappa", "classes", True, ("single",), _quadratic_kappa),
        Metric("roc_auc", "probabilities", True, ("single",), _roc_auc),
        Metric("mean_columnwise_roc_auc", "probabilities", True, ("multi",), _mean_columnwise_roc_auc),
        Metric("mean_f1", "tags", True, ("multi",), _mean_f(1), beta=1),
        Metric("mean_f2", "tags", True, ("multi",), _mean_f(2), beta=2),
    )
}
