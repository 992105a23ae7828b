"""Rare classes' rows several times an epoch, so that a training sees them as often as the frequent."""

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.int64]


def oversampled(rows: Rows, targets: npt.NDArray[np.int64], seed: int) -> Rows:
    """The rows in their order, those of rare classes several times in a row: how often follows from the seed alone.

    rows: of the training set, (R,). targets: of all rows of the table, (N,) places of classes or (N, C) of 0 and 1.

    One class per image: every class gets as many rows as the most frequent one has, each row as many copies as any
    other of its class or one more; which ones, is drawn. Tags: repeat factor sampling (LVIS, arXiv:1908.03195). A tag
    on a share f of the rows asks for ``max(1, sqrt(t / f))`` copies of each, and a row gets what its rarest tag asks
    for, the fraction as a chance of one more. LVIS has t = 0.001 for its 1,200 categories; here it is the median of
    the tags' shares (as in arXiv:1411.4734), so that the rarer half of the tags is repeated however many there are.
    """
    generator = np.random.default_rng(seed)
    chosen = targets[rows]
    copies = _to_the_most_frequent(chosen, generator) if chosen.ndim == 1 else _by_repeat_factor(chosen, generator)
    return np.repeat(rows, copies)


def _to_the_most_frequent(classes: Rows, generator: np.random.Generator) -> Rows:
    copies = np.empty(len(classes), np.int64)
    counts = np.bincount(classes)
    most, ends = int(counts.max()), counts.cumsum()
    in_classes = np.argsort(classes, kind="stable")
    for name in np.flatnonzero(counts):
        whole, rest = divmod(most, int(counts[name]))
        members = in_classes[ends[name] - counts[name] : ends[name]]
        copies[members] = whole
        copies[generator.choice(members, rest, replace=False)] += 1
    return copies


def _by_repeat_factor(tags: Rows, generator: np.random.Generator) -> Rows:
    shares = tags.mean(axis=0)
    present = shares > 0
    factors = np.ones(tags.shape[1])
    if present.any():
        factors[present] = np.maximum(1, np.sqrt(np.median(shares[present]) / shares[present]))
    factor_of_row = np.where(tags > 0, factors, 1).max(axis=1)
    whole = np.floor(factor_of_row)
    more = generator.random(len(tags)) < factor_of_row - whole
    copies: Rows = whole.astype(np.int64) + more
    return copies
