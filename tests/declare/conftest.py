"""A plain declaration, whose fields tests replace."""

from types import SimpleNamespace

import numpy as np

from comp import (
    ClassName,
    ClassWithConfidence,
    Competition,
    Folders,
    Numbers,
    ProbabilityOf,
    ProbabilityPerClass,
    Recipe,
    Stage,
    TagNames,
    TestImages,
    TopClasses,
)
from comp.declare.metrics import METRICS

TWO_CATS = {
    "name": "two-cats",
    "kaggle": "two-cats-2026",
    "labels": Folders("train"),
    "test": TestImages("test"),
    "submission": ProbabilityOf("cat"),
    "metric": "log_loss",
    "recipes": {"standard": Recipe(stages=[Stage(size=64, train="head")])},
}
FORMS = (ProbabilityPerClass(), ClassName(), TagNames(), TopClasses(2), ClassWithConfidence(), Numbers())


def declare(**fields):
    return Competition(**{**TWO_CATS, **fields})


def scored_by(metric, target="single"):
    """A competition with this metric, given itself or by name, this target, and a form that fits."""
    takes = (METRICS[metric] if isinstance(metric, str) else metric).takes
    form = next(form for form in FORMS if form.takes == takes)
    return declare(labels=SimpleNamespace(target=target, read=print), submission=form, metric=metric)


def drawn(form, rng, rows, classes):
    """Random predictions of the form's kind; of confident answers, the first is none."""
    count, order = len(classes), rng.permuted(np.tile(np.arange(len(classes)), (rows, 1)), axis=1)
    if form.takes == "probabilities":
        return rng.dirichlet(np.ones(count), rows)
    if form.takes == "classes":
        return rng.integers(count, size=rows)
    if form.takes == "tags":
        return rng.integers(2, size=(rows, count))
    if form.takes == "ranking":
        return np.c_[order, np.full(rows, -1)][:, : form.count]
    return np.r_[[[-1, 0]], np.c_[order[:, 0], rng.uniform(size=rows)][1:]]
