"""A declaration with nothing special about it, whose fields tests exchange."""

from types import SimpleNamespace

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
    """A competition of that metric, by its name or itself, and target, with the form that carries it."""
    takes = (METRICS[metric] if isinstance(metric, str) else metric).takes
    form = next(form for form in FORMS if form.takes == takes)
    return declare(labels=SimpleNamespace(target=target, read=print), submission=form, metric=metric)
