"""Metrics by the names competitions use, each with its direction and what it is computed from.

A metric stands below the rooms because three of them need it: training prints it, post-processing is tuned for it and
the local Kaggle grades with it. scikit-learn computes; it is imported when a score is wanted, because declarations name
metrics and `comp list` reads declarations in a blink.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from comp.declare.checks import Declared
from comp.errors import CompError, DeclarationError

if TYPE_CHECKING:
    import numpy.typing as npt

    Predictions = npt.NDArray[Any]

Target = Literal["single", "multi", "number", "shares", "fractions"]
Kind = Literal["probabilities", "classes", "tags", "numbers", "ranking", "confidence"]

TARGETS: dict[Target, str] = {
    "single": "one class per image",
    "multi": "tags",
    "number": "numbers",
    "shares": "shares of classes that sum to one",
    "fractions": "a fraction for each class",
}
# The targets that have predictions of a kind.
TARGETS_OF: dict[Kind, tuple[Target, ...]] = {
    "probabilities": ("single", "multi", "shares", "fractions"),
    "classes": ("single",),
    "tags": ("multi",),
    "numbers": ("number", "shares", "fractions"),
    "ranking": ("single",),
    "confidence": ("single",),
}


@dataclass(frozen=True)
class Metric(Declared):
    """A score of predictions against targets: ``Metric("my_metric", "probabilities", True, my_function)``.

    Targets are (N,) class indices (``single``), (N, C) of 0 and 1 (``multi``), (N, K) numbers in their own unit
    (``number``), or (N, C) floats from 0 to 1, whose rows sum to one (``shares``) or not (``fractions``).

    takes: what the score compares with them: ``probabilities`` (N, C), ``classes`` (N,) class indices, ``tags`` (N, C)
        of 0 and 1, ``numbers`` (N, K), ``ranking`` (N, k) class indices, the best first and -1 for none, or
        ``confidence`` (N, 2), a class index, -1 for none, beside how sure it is, from 0 to 1.
    score: a function of targets and predictions, and where it is ``named`` of the C names of the classes as well.
    targets: which targets it is defined for; if not given, all that have such predictions.
    beta: of an F score, how many times recall counts as much as precision.
    """

    name: str
    takes: Kind
    higher_is_better: bool
    score: Annotated[Callable[..., Any], "a function of targets and predictions that returns a number"]
    targets: Annotated[Sequence[Target], f"a list of targets: {', '.join(TARGETS)}"] = ()
    beta: float | None = None
    named: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.targets:
            object.__setattr__(self, "targets", TARGETS_OF[self.takes])

    def __call__(self, targets: Predictions, predictions: Predictions, classes: Sequence[str] = ()) -> float:
        """The score; ``classes`` are the names of the C classes, tags or numbers. Raises DeclarationError."""
        try:
            score = self.score(targets, predictions, *([classes] if self.named else []))
        except CompError:
            raise
        except Exception as error:
            raise DeclarationError(
                f"Metric: `score` of {self.name!r} raises {type(error).__name__}: {error}; it should be a function of "
                f"targets and {self.takes} that returns a number."
            ) from error
        # One number of numpy's or torch's is one as well, but a list of one, or text, is none.
        shape = getattr(score, "shape", ())
        if len(shape) or isinstance(score, str) or not hasattr(score, "__float__"):
            found = f"an array of shape {tuple(shape)}" if len(shape) else repr(score)
            raise DeclarationError(f"Metric: `score` of {self.name!r} returns {found}, but it should return a number.")
        return float(score)


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
        Metric("log_loss", "probabilities", False, _log_loss, ("single", "multi")),
        Metric("accuracy", "classes", True, _of_scikit_learn("accuracy_score"), ("single",)),
        Metric("macro_f1", "classes", True, _macro_f1, ("single",)),
        Metric("quadratic_kappa", "classes", True, _quadratic_kappa, ("single",)),
        Metric("roc_auc", "probabilities", True, _roc_auc, ("single",)),
        Metric("mean_columnwise_roc_auc", "probabilities", True, _mean_columnwise_roc_auc, ("multi",)),
        Metric("mean_f1", "tags", True, _mean_f(1), ("multi",), beta=1),
        Metric("mean_f2", "tags", True, _mean_f(2), ("multi",), beta=2),
    )
}
