from dataclasses import replace

import numpy as np

from comp.submission.postprocessing import untuned
from comp.submission.tuning import tune
from tests.declare.conftest import scored_by


def tuned_on(metric, targets, probabilities, target="single", classes=None, rows=None, **limits):
    """The post-processing untuned and tuned on the first rows, and the gain in score on the other rows.

    rows: the number of the first rows; by default all rows are tuned on and scored.
    """
    competition, classes = scored_by(metric, target), classes or [str(one) for one in range(probabilities.shape[1])]
    seen, others = slice(rows), slice(rows, None)  # with None, all rows
    start = untuned(competition, classes)
    tuned = tune(competition, classes, targets[seen], probabilities[seen], **limits)
    score, sign = competition.scoring, 1 if competition.scoring.higher_is_better else -1
    before, after = (score(targets[others], one(probabilities[others]), classes) for one in (start, tuned))
    return start, tuned, sign * (after - before)


def drawn_by(rng, probabilities):
    """Draw a class for each row by its probabilities (N, C)."""
    return np.array([rng.choice(len(row), p=row) for row in probabilities])


def of_two(rng, rows, *beta):
    """Targets of two classes and the probabilities that they were drawn by, the second's from a beta distribution."""
    second = rng.beta(*beta, rows)
    return (rng.uniform(size=rows) < second).astype(int), np.stack([1 - second, second], axis=1)


def mislabelled(rng, *, rows, classes, spread, wrong):
    """Targets and the probabilities that they were drawn by; a share of the targets is any class."""
    probabilities = rng.dirichlet([spread] * classes, rows)
    targets = drawn_by(rng, probabilities)
    return np.where(rng.uniform(size=rows) < wrong, rng.integers(classes, size=rows), targets), probabilities


def tags_drawn(rng, rows, tags, skill):
    """Tags of every frequency, and probabilities that mix them with noise by ``skill``."""
    targets = (rng.uniform(size=(rows, tags)) < rng.uniform(0.02, 0.98, tags)).astype(np.int64)
    noise = rng.uniform(size=targets.shape)
    return targets, skill * targets + (1 - skill) * noise


def graded(rng, rows):
    """Grades 0 to 3, and probabilities whose expected grade is half the true one."""
    targets = rng.integers(4, size=rows)
    expected = (targets + rng.normal(0, 0.5, rows)).clip(0, 3) / 2
    below = np.floor(expected).astype(int)
    probabilities = np.zeros((rows, 4))
    probabilities[np.arange(rows), below + 1] = expected - below
    probabilities[np.arange(rows), below] += 1 - expected + below
    return targets, probabilities


def counted(metric):
    """The metric as a custom one, with a list that grows by one with each score."""
    calls = []

    def score(*given):
        calls.append(1)
        return metric.score(*given)

    return replace(metric, name="counted", score=score), calls
