"""Which classes are taken for which, as a table that can be read with two of them and with a hundred."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.cluster.hierarchy import leaves_list, linkage, optimal_leaf_ordering
from sklearn.metrics import confusion_matrix

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Array = npt.NDArray[Any]

# More are put in an order in which those that are confused stand together.
READ_AS_THEY_ARE = 20
MOST = 150


@dataclass(frozen=True)
class Confusion:
    """Counts (K, K) of images by their class and by what was predicted, of K classes in the order they are shown.

    places: of the K classes in all of them. left_out: how many classes are not among them, as they were confused least.
    """

    places: Array
    names: Sequence[str]
    counts: Array
    left_out: int


def confuse(targets: Array, predicted: Array, classes: Sequence[str]) -> Confusion:
    """The confusion of classes (N,) with those that were predicted for them (N,)."""
    counts = confusion_matrix(targets, predicted, labels=np.arange(len(classes)))
    mistakes = counts - np.diag(np.diag(counts))
    worst_first = np.argsort(-(mistakes.sum(axis=0) + mistakes.sum(axis=1)), kind="stable")
    places = np.sort(worst_first[:MOST])
    if len(places) > READ_AS_THEY_ARE:
        places = places[_neighbours(mistakes[np.ix_(places, places)])]
    return Confusion(
        places, [classes[place] for place in places], counts[np.ix_(places, places)], len(classes) - len(places)
    )


def _neighbours(mistakes: Array) -> Array:
    """An order of classes by hierarchical clustering: the more often two are confused, the nearer they are."""
    between = mistakes + mistakes.T
    apart = 1 / (1 + between[np.triu_indices(len(between), 1)].astype(float))
    tree = linkage(apart, method="average")
    order: Array = leaves_list(optimal_leaf_ordering(tree, apart))
    return order
