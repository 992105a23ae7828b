"""Predictions of labelled images, judged image by image and class by class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.cluster.hierarchy import leaves_list, linkage, optimal_leaf_ordering
from scipy.special import entr
from sklearn.calibration import calibration_curve
from sklearn.metrics import (
    average_precision_score,
    mean_absolute_error,
    precision_recall_fscore_support,
    r2_score,
    root_mean_squared_error,
)

from comp.data.tables import Tables
from comp.errors import RunError
from comp.runs import Run
from comp.submission.jackknife import error_of
from comp.submission.postprocessing import CutPoints, PostProcessing, Thresholds, from_record
from comp.submission.predictions import read_members

Array = npt.NDArray[Any]

# Probabilities are clipped at this before a logarithm.
SMALLEST = 1e-7
LIKELY = NEAR = 0.5
# With fewer images a standard error itself is chance.
FEWEST = 10
# Bins of a calibration curve.
BINS = 10
# A difference between confidence and accuracy that doesn't matter.
NEARLY = 0.02
CANDIDATES = np.linspace(0.01, 0.99, 99)
# With more classes, confused ones are placed side by side; no more than MOST are shown.
READ_AS_THEY_ARE = 20
MOST = 150


@dataclass(frozen=True)
class Outcomes:
    """Labelled images and their predictions: N images, C classes, tags or numbers.

    ids: (N,). folds: the part in which each image validated (N,), ``valid`` or the number of its fold.
    targets: indices of ``classes`` (N,), 0 and 1 for tags (N, C), or numbers (N, C). probabilities: (N, C), or the
    predicted numbers. postprocessing: the run's.
    """

    ids: Array
    folds: Array
    classes: tuple[str, ...]
    targets: Array
    probabilities: Array
    postprocessing: PostProcessing

    @property
    def tags(self) -> bool:
        return self.targets.ndim == 2

    @property
    def numbers(self) -> bool:
        return bool(self.targets.dtype.kind == "f")

    @cached_property
    def errors(self) -> Array:
        """The absolute errors of numbers (N, C), in standard deviations of the labels."""
        spread = self.targets.std(axis=0)
        return np.abs(self.probabilities - self.targets) / np.where(spread > 0, spread, 1)

    @cached_property
    def truth(self) -> Array:
        """(N, C) of bool: the classes or tags that each image has."""
        return one_hot(self.targets, len(self.classes))

    @property
    def submitted(self) -> Array:
        """The predictions after post-processing (N, …)."""
        return self.postprocessing(self.probabilities)

    @cached_property
    def answers(self) -> Array:
        """(N, C) of bool: the predicted classes or tags; without thresholds, tags above a probability of a half."""
        if isinstance(self.postprocessing, Thresholds if self.tags else CutPoints):
            return one_hot(self.submitted, len(self.classes))
        chosen = self.probabilities > LIKELY if self.tags else self.probabilities.argmax(axis=1)
        return one_hot(chosen, len(self.classes))

    @cached_property
    def right(self) -> Array:
        """(N,): whether an image's predictions are all right; numbers within half a standard deviation."""
        if self.numbers:
            return np.asarray((self.errors < NEAR).all(axis=1))
        return np.asarray((self.truth == self.answers).all(axis=1))

    @cached_property
    def costs(self) -> Array:
        """The loss of each class or tag (N, C); with one class per image, only the label has a loss."""
        of_labels = np.where(self.truth, self.probabilities, 1 - self.probabilities).clip(SMALLEST, 1 - SMALLEST)
        return np.where(self.truth | self.tags, -np.log(of_labels), 0)

    @cached_property
    def losses(self) -> Array:
        """(N,): the cross-entropy, for tags their mean, for numbers the mean of their squared errors."""
        if self.numbers:
            return np.asarray((self.errors**2).mean(axis=1))
        return np.asarray(self.costs.mean(axis=1) if self.tags else self.costs.sum(axis=1))

    @cached_property
    def costliest(self) -> Array:
        """(N,): the index of the class with the highest loss: the label's, or the worst predicted tag's."""
        return np.asarray(self.costs.argmax(axis=1))

    @cached_property
    def uncertainty(self) -> Array:
        """(N,): the entropy of the predictions, as a share of the largest possible."""
        chances = self.probabilities.clip(SMALLEST, 1 - SMALLEST)
        if self.tags:
            return np.asarray((entr(chances) + entr(1 - chances)).mean(axis=1) / np.log(2))
        return np.asarray(entr(chances).sum(axis=1) / np.log(len(self.classes)))

    @property
    def confidences(self) -> tuple[Array, Array]:
        """Probabilities (M,) and whether they came true (M,): of the predicted class, the second of two, or any tag."""
        if self.tags:
            return self.probabilities.ravel(), self.truth.ravel()
        if len(self.classes) == 2:
            return self.probabilities[:, 1], self.truth[:, 1]
        return self.probabilities.max(axis=1), self.probabilities.argmax(axis=1) == self.targets

    @cached_property
    def confusion(self) -> pd.DataFrame:
        """The number of images of each class (rows) that were predicted as each class (columns): (C, C)."""
        counts = self.truth.T.astype(float) @ self.answers
        return pd.DataFrame(counts.astype(int), pd.Index(self.classes, name="label"), list(self.classes))

    def take(self, rows: Array) -> Outcomes:
        """The outcomes of some images, by their indices."""
        names = ("ids", "folds", "targets", "probabilities")
        return replace(self, **{name: getattr(self, name)[rows] for name in names})


def read_outcomes(runs: Sequence[Run], tables: Tables) -> list[Outcomes]:
    """Each run's outcomes on its validation images, which may be none, in the order of the tables.

    Raises RunError for a run without predictions, with other classes, or with images that are no longer labelled.
    """
    found = []
    for member in read_members(runs):
        member.run.must_have_classes(tables.classes)
        gone = member.valid.index.difference(list(tables.train["id"]))
        if len(gone):
            raise RunError(
                f"{member.name} validated on {len(gone)} images that are not labelled now, the first {gone[0]!r}; "
                "train again on the data as they are now."
            )
        rows = np.flatnonzero(tables.train["id"].isin(member.valid.index))
        ids = tables.train["id"].iloc[rows].to_numpy(object)
        outcomes = Outcomes(
            ids,
            np.array([member.parts.get(id_, "valid") for id_ in ids], object),
            tuple(tables.classes),
            tables.targets[rows],
            member.valid.loc[ids].to_numpy(float),
            from_record(member.run.record("scores")["postprocessing"]),
        )
        found.append(outcomes)
    return found


def one_hot(targets: Array, classes: int) -> Array:
    """Targets, indices (N,) or (N, C) of 0 and 1, as (N, C) of bool."""
    return np.equal(targets, 1) if targets.ndim == 2 else np.equal.outer(targets, np.arange(classes))


def orders(outcomes: Outcomes) -> dict[str, Array]:
    """Rows in three orders: highest loss, least certain, and most surely right first."""
    right = np.flatnonzero(outcomes.right)
    return {
        "loss": np.argsort(-outcomes.losses, kind="stable"),
        "uncertain": np.argsort(-outcomes.uncertainty, kind="stable"),
        "sure": right[np.argsort(outcomes.losses[right], kind="stable")],
    }


def most_confused(outcomes: Outcomes) -> pd.DataFrame:
    """The mistakes, the most frequent first.

    One class: columns ``label``, ``predicted``, ``count``. Tags: columns ``tag``, ``missed``, ``invented``.
    """
    if outcomes.tags:
        truth, answers = outcomes.truth, outcomes.answers
        missed, invented = (truth & ~answers).sum(axis=0), (~truth & answers).sum(axis=0)
        table = pd.DataFrame({"tag": outcomes.classes, "missed": missed, "invented": invented})
        return table.iloc[np.argsort(-(missed + invented), kind="stable")].reset_index(drop=True)
    pairs = outcomes.confusion.melt(ignore_index=False, var_name="predicted", value_name="count").reset_index()
    mistakes = pairs[(pairs["label"] != pairs["predicted"]) & (pairs["count"] > 0)]
    return mistakes.sort_values(["count", "label", "predicted"], ascending=[False, True, True], ignore_index=True)


def top_losses(outcomes: Outcomes) -> pd.DataFrame:
    """The images by their loss, highest first: ``id``, ``label``, ``predicted``, ``probability``, ``loss``.

    One class: the probability is the label's. Tags: the loss is the mean over the tags; the probability is that of the
    tag with the highest loss, which ``predicted`` names, after a minus if it was missed and a plus if it was invented.
    Numbers: columns of labels and predictions, without a probability.
    """
    if outcomes.numbers:
        columns = {"id": outcomes.ids, "loss": outcomes.losses}
        for name, truth, predicted in zip(outcomes.classes, outcomes.targets.T, outcomes.probabilities.T, strict=True):
            columns |= {name: truth, f"{name} predicted": predicted}
        return pd.DataFrame(columns).sort_values("loss", ascending=False, kind="stable", ignore_index=True)
    names, costliest, rows = np.array(outcomes.classes, object), outcomes.costliest, np.arange(len(outcomes.ids))
    if outcomes.tags:
        labels: Any = [" ".join(names[tags]) for tags in outcomes.truth]
        predicted = np.where(outcomes.truth[rows, costliest], "-", "+").astype(object) + names[costliest]
    else:
        labels, predicted = names[outcomes.targets], names[outcomes.answers.argmax(axis=1)]
    columns = {"id": outcomes.ids, "label": labels, "predicted": predicted}
    table = pd.DataFrame(columns | {"probability": outcomes.probabilities[rows, costliest], "loss": outcomes.losses})
    return table.sort_values("loss", ascending=False, kind="stable", ignore_index=True)


def confusion_to_read(counts: pd.DataFrame) -> pd.DataFrame:
    """The counts (K, K) of the at most MOST most confused classes; if many, confused classes are side by side."""
    mistakes = counts.to_numpy() - np.diag(np.diag(counts))
    worst_first = np.argsort(-(mistakes.sum(axis=0) + mistakes.sum(axis=1)), kind="stable")
    shown = np.sort(worst_first[:MOST])
    if len(shown) > READ_AS_THEY_ARE:
        # Hierarchical clustering: the more often two classes are confused, the nearer they are.
        between = mistakes[np.ix_(shown, shown)]
        apart = 1 / (1 + (between + between.T)[np.triu_indices(len(between), 1)].astype(float))
        shown = shown[leaves_list(optimal_leaf_ordering(linkage(apart, method="average"), apart))]
    return counts.iloc[shown, shown]


def figures_of_classes(outcomes: Outcomes, beta: float = 1.0) -> pd.DataFrame:
    """A row per class, tag or number, in their order; undefined figures are NaN.

    Columns ``name``; ``images`` and ``predicted``, counts; ``precision``, ``recall`` and ``score``, its F-beta;
    ``average_precision`` of its probability against the rest; ``loss``, the mean over the class's images, or the tag's
    mean over all. For numbers ``name``, ``images``, ``rmse``, ``mae``, ``score``, which is R², and ``correlation``.
    """
    if outcomes.numbers:
        both, each = (outcomes.targets, outcomes.probabilities), {"multioutput": "raw_values"}
        varies = np.all([np.ptp(one, axis=0) > 0 for one in both], axis=0)
        return pd.DataFrame(
            {
                "name": outcomes.classes,
                "images": len(outcomes.ids),
                "rmse": root_mean_squared_error(*both, **each),
                "mae": mean_absolute_error(*both, **each),
                "score": np.where(varies, r2_score(*both, **each), np.nan) if varies.any() else np.nan,
                "correlation": pd.DataFrame(both[0]).corrwith(pd.DataFrame(both[1])),
            }
        )
    precision, recall, score, images = precision_recall_fscore_support(
        outcomes.truth.astype(int), outcomes.answers.astype(int), beta=beta, average=None, zero_division=np.nan
    )
    table = pd.DataFrame({"name": outcomes.classes, "images": images, "predicted": outcomes.answers.sum(axis=0)})
    average = [
        average_precision_score(of_class, column) if of_class.any() else np.nan
        for of_class, column in zip(outcomes.truth.T, outcomes.probabilities.T, strict=True)
    ]
    losses = outcomes.costs.sum(axis=0) / (len(outcomes.ids) if outcomes.tags else table["images"])
    return table.assign(precision=precision, recall=recall, score=score, average_precision=average, loss=losses)


def errors_of_classes(one: Outcomes, other: Outcomes, beta: float) -> Array:
    """The jackknife's standard errors (C,) of the F-betas' differences on the same images; NaN for numbers."""
    if one.numbers or len(one.ids) < 2:
        return np.full(len(one.classes), np.nan)

    def scores(outcomes: Outcomes, some: Array) -> Array:
        truth, answers = outcomes.truth[some], outcomes.answers[some]
        counted = beta**2 * truth.sum(axis=0) + answers.sum(axis=0)
        return np.asarray((1 + beta**2) * (truth & answers).sum(axis=0) / np.maximum(counted, 1))

    return error_of(lambda some: scores(one, some) - scores(other, some), len(one.ids))


def reliability(confidence: Array, true: Array) -> tuple[Array, Array, Array, float]:
    """Mean confidence, share that came true and count of each non-empty bin (B,), and the expected calibration error.

    confidence, true: (M,). The error is the mean distance of confidence and share, weighted by the counts (Guo et al.
    2017, arXiv:1706.04599).
    """
    observed, predicted = calibration_curve(true, confidence, n_bins=BINS)
    bins = np.searchsorted(np.linspace(0, 1, BINS + 1)[1:-1], confidence)
    counts = np.bincount(bins, minlength=BINS)
    counts = counts[counts > 0]
    return predicted, observed, counts, float(np.average(np.abs(predicted - observed), weights=counts))


def calibration_in_words(outcomes: Outcomes) -> str:
    """A sentence on whether predictions are right as often as their probabilities say."""
    confidence, true = outcomes.confidences
    if outcomes.tags or len(outcomes.classes) == 2:
        confidence, true = np.maximum(confidence, 1 - confidence), true == (confidence > LIKELY)
    says, right = float(confidence.mean()), float(true.mean())
    chance = 2 * np.sqrt(right * (1 - right) / len(true))
    if abs(says - right) <= max(NEARLY, chance):
        verdict = "Well calibrated"
    else:
        verdict = "Overconfident" if says > right else "Underconfident"
    return f"{verdict}: the mean confidence is {says:.1%}, and {right:.1%} are right.".replace("%", " %")


def threshold_curve(truth: Array, probabilities: Array, beta: float) -> Array:
    """A tag's F-beta (T,) at each of CANDIDATES. truth, probabilities: (N,)."""
    chosen = probabilities[:, None] > CANDIDATES
    hits = (chosen & truth[:, None]).sum(axis=0)
    return (1 + beta**2) * hits / np.maximum(beta**2 * truth.sum() + chosen.sum(axis=0), 1)
