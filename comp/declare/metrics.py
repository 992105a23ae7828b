"""Metrics by the names competitions use, each with its direction and the kind of predictions it takes.

scikit-learn computes most. It is imported only when a score is wanted, so that declarations load fast.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

from comp.declare.checks import Declared
from comp.declare.custom import called
from comp.errors import DeclarationError

if TYPE_CHECKING:
    import numpy.typing as npt

    Predictions = npt.NDArray[Any]

Target = Literal["single", "multi", "number", "shares", "fractions"]
Kind = Literal["probabilities", "classes", "tags", "numbers", "ranking", "confidence"]

# How predictions are tuned for a metric, where its kind of predictions doesn't decide this.
Tuned = Literal["temperature", "each tag", "grades", "most probable", "rounding"]

TARGETS: dict[Target, str] = {
    "single": "one class per image",
    "multi": "tags",
    "number": "numbers",
    "shares": "shares of classes that sum to one",
    "fractions": "a fraction for each class",
}
OUTPUTS: dict[Target, str] = {"single": "classes", "multi": "tags", "number": "numbers"}
# Shares that should sum to one may miss it by this much, through rounding.
ROUNDING = 1e-3
# The smallest divisor.
SMALLEST = 1e-15
# The largest false positive rate of the partial area, with the classes swapped.
PAUC_RATE = 0.2
# The targets that have predictions of each kind.
TARGETS_OF: dict[Kind, tuple[Target, ...]] = {
    "probabilities": ("single", "multi", "shares", "fractions"),
    "classes": ("single",),
    "tags": ("multi",),
    "numbers": ("number", "shares", "fractions"),
    "ranking": ("single",),
    "confidence": ("single",),
}


def outputs_in_words(names: Sequence[str], target: Target) -> str:
    """The number of classes, tags or numbers, in words; a single output is always a number."""
    return "1 number" if len(names) == 1 else f"{len(names)} {OUTPUTS.get(target, 'classes')}"


@dataclass(frozen=True)
class Metric(Declared):
    """A score of predictions against targets: ``Metric("my_metric", "probabilities", True, my_function)``.

    Targets are (N,) class indices (``single``), (N, C) of 0 and 1 (``multi``), (N, K) numbers in their own unit
    (``number``), or (N, C) floats from 0 to 1, whose rows sum to one (``shares``) or not (``fractions``).

    takes: the predictions: ``probabilities`` (N, C), ``classes`` (N,) class indices, ``tags`` (N, C) of 0 and 1,
        ``numbers`` (N, K), ``ranking`` (N, k) class indices, the best first and -1 for none, or ``confidence`` (N, 2),
        a class index, -1 for none, and its confidence from 0 to 1.
    score: a function of targets and predictions; if ``named``, of the C class names as well.
    targets: the targets it is defined for; if not given, all that have such predictions.
    beta: of an F score: recall counts beta times as much as precision.
    tuned: what is tuned on validation images: the ``temperature`` and clipping, for a log loss; a threshold for
        ``each tag``, which takes about 50 scores a tag for a custom metric; the cut points of expected ``grades``;
        ``most probable``: nothing, for an accuracy; ``rounding``: the threshold above which a probability becomes 1,
        else 0. If not given, one threshold for two classes or for all tags, and nothing else.
    two_classes: it is defined for two classes only.
    """

    name: str
    takes: Kind
    higher_is_better: bool
    score: Annotated[Callable[..., Any], "a function of targets and predictions that returns a number"]
    targets: Annotated[Sequence[Target], f"a list of targets: {', '.join(TARGETS)}"] = ()
    beta: float | None = None
    named: bool = False
    tuned: Tuned | None = None
    two_classes: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.targets:
            object.__setattr__(self, "targets", TARGETS_OF[self.takes])

    def __call__(self, targets: Predictions, predictions: Predictions, classes: Sequence[str] = ()) -> float:
        """The score; ``classes`` are the names of the C classes, tags or numbers. Raises DeclarationError."""
        if self.takes == "probabilities":
            self.must_fit(range(predictions.shape[1]))
        field, names = f"Metric {self.name!r}: `score`", [classes] if self.named else []
        of_targets, of_these = (tuple(getattr(values, "shape", (len(values),))) for values in (targets, predictions))
        given = f"{field}, given targets {of_targets} and {self.takes} {of_these}:"
        score = called(given, self.score, targets, predictions, *names)
        # A numpy or torch scalar counts as a number; a list with one entry and text don't.
        shape = getattr(score, "shape", ())
        if len(shape) or isinstance(score, str) or not hasattr(score, "__float__"):
            found = f"an array of shape {tuple(shape)}" if len(shape) else repr(score)
            raise DeclarationError(f"{field} returns {found}, but it should return a number.")
        return float(score)

    @property
    def is_named(self) -> bool:
        """Whether it is one of `METRICS` or `OF_FRACTIONS`, not a custom metric."""
        return any(found.get(self.name) is self for found in (METRICS, OF_FRACTIONS))

    def must_fit(self, classes: Sequence[Any]) -> None:
        """Raise DeclarationError where the metric isn't defined for this number of classes."""
        if self.two_classes and len(classes) != 2:
            raise DeclarationError(f"Metric: {self.name!r} is for two classes, but there are {len(classes)}.")

    def worth(self, targets: Predictions, predictions: Predictions, classes: Sequence[str] = ()) -> float:
        """The score, or its negative where lower is better."""
        score = self(targets, predictions, classes)
        return score if self.higher_is_better else -score


def grades_of(classes: Sequence[str]) -> tuple[float, ...] | None:
    """The class names as numbers; None where one of them isn't a number."""
    if not all(re.fullmatch(r"-?\d+(\.\d+)?", name) for name in classes):
        return None
    return tuple(map(float, classes))


def weighted_log_loss(weights: Mapping[str, float]) -> Metric:
    """The log loss with weights of classes by name: ``weighted_log_loss({"any": 2})``; the other classes weigh 1.

    One class per image: the mean over images, weighted by their classes. Tags: the weighted mean over the tags.
    """
    return _weighted(dict(weights), ("single", "multi"))


def _weighted(weights: Mapping[str, float] | None, targets: Sequence[Target]) -> Metric:
    score = partial(_weighted_log_loss, weights)
    return Metric("weighted_log_loss", "probabilities", False, score, targets, named=True, tuned="temperature")


def names_weighted(metric: Metric) -> tuple[str, ...]:
    """The names of the classes to which a `weighted_log_loss` gives a weight; empty for other metrics."""
    score = metric.score
    return tuple(score.args[0] or ()) if isinstance(score, partial) and score.func is _weighted_log_loss else ()


# Score functions are partials of this module's functions, because closures can't be pickled.
def _scikit_learn(name: str, targets: Predictions, predictions: Predictions, **options: Any) -> float:
    """Return the score by scikit-learn's metric of this name, without its warnings of few images or classes."""
    from sklearn import metrics

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return float(getattr(metrics, name)(targets, predictions, **options))


def _log_loss(targets: Predictions, probabilities: Predictions) -> float:
    """Multi-class log loss, also of shares, which are floats; for tags, the mean of the columns' log losses."""
    if targets.ndim == 1:
        return float(_log_losses_of_labels(targets, probabilities).mean())
    if targets.dtype.kind == "f":
        return float(-(targets * _logarithm(probabilities)).sum(axis=1).mean())
    return _mean_log_loss(targets, probabilities)


def _mean_log_loss(targets: Predictions, probabilities: Predictions) -> float:
    return float(_log_losses(targets, probabilities).mean())


def _log_losses_of_labels(targets: Predictions, probabilities: Predictions) -> Predictions:
    """The log loss of each image (N,). scikit-learn is some fifty times slower, and tuning needs hundreds of scores."""
    import numpy as np

    of_labels = np.take_along_axis(probabilities, targets[:, None].astype(int), axis=1)[:, 0]
    return -_logarithm(of_labels)


def _log_losses(targets: Predictions, probabilities: Predictions) -> Predictions:
    """The log loss of each column (C,) of tags or fractions."""
    losses = targets * _logarithm(probabilities) + (1 - targets) * _logarithm(1 - probabilities)
    return -losses.mean(axis=0)


def _logarithm(probabilities: Predictions) -> Predictions:
    """Logarithms of probabilities, clipped at the type's epsilon as in scikit-learn; ValueError outside 0 to 1."""
    import numpy as np

    given = probabilities if probabilities.dtype.kind == "f" else probabilities.astype(float)
    if not ((given >= 0) & (given <= 1)).all():
        raise ValueError("probabilities are not all from 0 to 1")
    return np.log(given.clip(np.finfo(given.dtype).eps, 1))


def _weighted_log_loss(
    weights: Mapping[str, float] | None, targets: Predictions, probabilities: Predictions, classes: Sequence[str]
) -> float:
    """The weighted log loss; without weights every class counts the same, whatever its number of images (PLAsTiCC)."""
    import numpy as np

    if unknown := sorted(set(weights or ()) - set(classes)):
        raise DeclarationError(
            f"weighted_log_loss: there is a weight for {unknown[0]!r}, but the classes are {', '.join(classes[:20])}."
        )
    if targets.ndim == 2:
        of_columns = [(weights or {}).get(name, 1.0) for name in classes]
        return float(np.average(_log_losses(targets, probabilities), weights=of_columns))
    counts = np.bincount(targets, minlength=probabilities.shape[1])
    of_classes = 1 / counts.clip(1) if weights is None else np.array([weights.get(name, 1.0) for name in classes])
    return float(np.average(_log_losses_of_labels(targets, probabilities), weights=of_classes[targets]))


def _of_columns(
    score: Callable[[Predictions, Predictions], Predictions], targets: Predictions, probabilities: Predictions
) -> float:
    """A one-vs-rest score: for two classes the second one's, else the mean over classes or columns.

    Columns that are all 0 or all 1 have no score and are left out of the mean; NaN where no column is left.
    """
    import numpy as np

    if targets.ndim == 1:
        targets = np.eye(probabilities.shape[1], dtype=int)[targets.astype(int)]
        if probabilities.shape[1] == 2:
            targets, probabilities = targets[:, 1:], probabilities[:, 1:]
    defined = targets.any(axis=0) & ~targets.all(axis=0)
    return float(np.mean(score(targets[:, defined], probabilities[:, defined]))) if defined.any() else float("nan")


def _areas(targets: Predictions, probabilities: Predictions) -> Predictions:
    """Areas under the columns' ROC curves (C,), from ranks (Hanley and McNeil 1982, 10.1148/radiology.143.1.7063747).

    scikit-learn is 6 times slower for one column, 60 times for 120, and tuning needs hundreds of scores.
    """
    from scipy.stats import rankdata

    positive = targets.sum(axis=0)
    least = positive * (positive + 1) / 2
    areas: Predictions = ((targets * rankdata(probabilities, axis=0)).sum(axis=0) - least) / (
        positive * (len(targets) - positive)
    )
    return areas


def _average_precisions(targets: Predictions, probabilities: Predictions) -> Predictions:
    import numpy as np
    from sklearn.metrics import average_precision_score

    return np.atleast_1d(average_precision_score(targets, probabilities, average=None))


def _pauc(targets: Predictions, probabilities: Predictions) -> float:
    """The area under the ROC curve above a true positive rate of 0.8, from 0 to 0.2 (Kaggle's ISIC 2024).

    That is the area below a false positive rate of 0.2 with classes and scores swapped, which scikit-learn scales to
    lie between 0.5, by chance, and 1 (McClish 1989, 10.1177/0272989X8900900307).
    """
    import numpy as np
    from sklearn.metrics import roc_auc_score

    second = probabilities[:, 1]
    if len(np.unique(targets)) < 2:
        return float("nan")
    least = PAUC_RATE**2 / 2
    return float(least + (PAUC_RATE - least) * (2 * roc_auc_score(1 - targets, -second, max_fpr=PAUC_RATE) - 1))


def _pf1(targets: Predictions, probabilities: Predictions) -> float:
    """The probabilistic F1 of the second class: F1 of counts to which an image adds its probability.

    Yacouby and Axman 2020, https://aclanthology.org/2020.eval4nlp-1.9; 0 where no image has the second class.
    """
    second = probabilities[:, 1]
    return float(2 * second[targets == 1].sum() / max(second.sum() + (targets == 1).sum(), SMALLEST))


def _kappa(power: int, targets: Predictions, classes: Predictions, names: Sequence[str]) -> float:
    """Cohen's weighted kappa (1968, 10.1037/h0026256): a mistake weighs the distance of its grades to a power.

    Grades are the class names where these are numbers, else the class indices. NaN where all classes are the same.
    """
    import numpy as np

    grades = np.array(grades_of(names) or range(max(targets.max(), classes.max()) + 1), dtype=float)
    count = len(grades)
    found = np.bincount(targets * count + classes, minlength=count**2).reshape(count, count)
    apart = np.abs(grades[:, None] - grades) ** power
    by_chance = (apart * np.outer(found.sum(axis=1), found.sum(axis=0))).sum() / len(targets)
    return float(1 - (apart * found).sum() / by_chance) if by_chance else float("nan")


def _hits(targets: Predictions, ranking: Predictions) -> Predictions:
    return ranking == targets[:, None]


def _top_k_accuracy(targets: Predictions, ranking: Predictions) -> float:
    """The share of images whose class is in the ranking; the submission form sets its length."""
    return float(_hits(targets, ranking).any(axis=1).mean())


def _map_at_k(targets: Predictions, ranking: Predictions) -> float:
    """MAP@K with one true class: the mean of 1 / its rank, 0 where the ranking lacks it."""
    import numpy as np

    return float((_hits(targets, ranking) / np.arange(1, ranking.shape[1] + 1)).max(axis=1).mean())


def _gap(targets: Predictions, answers: Predictions) -> float:
    """Global average precision of all answers in the order of their confidence (Kaggle's Landmark Recognition).

    Perronnin et al. 2009, 10.1109/CVPR.2009.5206631. An answer for an image without a class, -1, counts as wrong.
    """
    import numpy as np

    given = answers[:, 0] >= 0
    best_first = np.flatnonzero(given)[np.argsort(-answers[given, 1], kind="stable")]
    right = answers[best_first, 0] == targets[best_first]
    precision = right.cumsum() / np.arange(1, len(right) + 1)
    return float(precision[right].sum() / max((targets >= 0).sum(), 1))


def _rmse(targets: Predictions, numbers: Predictions) -> float:
    """The RMSE over all columns together; `mcrmse` is the mean of the columns' RMSEs."""
    from sklearn.metrics import root_mean_squared_error

    return float(root_mean_squared_error(targets.ravel(), numbers.ravel()))


def _macro_f1(targets: Predictions, tags: Predictions) -> float:
    """The mean over tags of F1, 0 for a tag that neither side has; scikit-learn is 10 times slower."""
    import numpy as np

    return float(np.mean(2 * (targets * tags).sum(axis=0) / (targets.sum(axis=0) + tags.sum(axis=0)).clip(1)))


# F-beta of each image's tags, averaged over the images.
_mean_f = partial(_scikit_learn, "fbeta_score", average="samples", zero_division=0)
_f1 = partial(_scikit_learn, "f1_score", zero_division=0)
_balanced_accuracy = partial(_scikit_learn, "balanced_accuracy_score")
_roc_auc, _average_precision = partial(_of_columns, _areas), partial(_of_columns, _average_precisions)

METRICS = {
    metric.name: metric
    for metric in (
        Metric("log_loss", "probabilities", False, _log_loss, tuned="temperature"),
        _weighted(None, ("single",)),
        Metric("roc_auc", "probabilities", True, _roc_auc, ("single",)),
        Metric("mean_columnwise_roc_auc", "probabilities", True, _roc_auc, ("multi",)),
        Metric("average_precision", "probabilities", True, _average_precision, ("single", "multi")),
        Metric("pauc", "probabilities", True, _pauc, ("single",), two_classes=True),
        Metric("pf1", "probabilities", True, _pf1, ("single",), tuned="rounding", two_classes=True),
        Metric("accuracy", "classes", True, partial(_scikit_learn, "accuracy_score"), tuned="most probable"),
        Metric("balanced_accuracy", "classes", True, _balanced_accuracy),
        Metric("f1", "classes", True, partial(_f1, average="binary"), two_classes=True),
        Metric("macro_f1", "classes", True, partial(_f1, average="macro")),
        Metric("mcc", "classes", True, partial(_scikit_learn, "matthews_corrcoef")),
        Metric("linear_kappa", "classes", True, partial(_kappa, 1), named=True, tuned="grades"),
        Metric("quadratic_kappa", "classes", True, partial(_kappa, 2), named=True, tuned="grades"),
        Metric("micro_f1", "tags", True, partial(_f1, average="micro"), beta=1),
        Metric("macro_f1_of_tags", "tags", True, _macro_f1, tuned="each tag"),
        Metric("mean_f05", "tags", True, partial(_mean_f, beta=0.5), beta=0.5, tuned="each tag"),
        Metric("mean_f1", "tags", True, partial(_mean_f, beta=1), beta=1, tuned="each tag"),
        Metric("mean_f2", "tags", True, partial(_mean_f, beta=2), beta=2, tuned="each tag"),
        Metric("top_k_accuracy", "ranking", True, _top_k_accuracy),
        Metric("map_at_k", "ranking", True, _map_at_k),
        Metric("gap", "confidence", True, _gap),
        Metric("rmse", "numbers", False, _rmse),
        Metric("mcrmse", "numbers", False, partial(_scikit_learn, "root_mean_squared_error")),
        Metric("mae", "numbers", False, partial(_scikit_learn, "mean_absolute_error")),
        Metric("r2", "numbers", True, partial(_scikit_learn, "r2_score")),
    )
}

# Shares and fractions are both floats, whose rows can't tell which they are: one row of fractions may sum to one.
OF_FRACTIONS = {
    "log_loss": Metric("log_loss", "probabilities", False, _mean_log_loss, ("fractions",), tuned="temperature"),
}
