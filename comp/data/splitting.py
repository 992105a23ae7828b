"""Which rows validate: a split, or folds. Stratified by class or tags, groups kept whole, drawn from a seed alone."""

import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.model_selection import (
    GroupKFold,
    GroupShuffleSplit,
    KFold,
    StratifiedGroupKFold,
    StratifiedKFold,
    train_test_split,
)

from comp.data.duplicates import connected
from comp.declare.metrics import Target
from comp.errors import DataError

Targets = npt.NDArray[np.int64]
Groups = npt.ArrayLike

GROUPED_DRAWS = 100


def targets_of(table: pd.DataFrame, classes: Sequence[str], target: Target) -> Targets:
    """The labels as numbers: (N,) places in ``classes`` for one class per image, (N, C) of 0 and 1 for tags."""
    index = {name: place for place, name in enumerate(classes)}
    if target == "single":
        return np.array([index[name] for name in table["label"].to_list()], dtype=np.int64)
    tags = np.zeros((len(table), len(classes)), dtype=np.int64)
    labels = table["label"].to_list()
    rows = np.repeat(np.arange(len(labels)), [len(names) for names in labels])
    tags[rows, [index[name] for names in labels for name in names]] = 1
    return tags


def draw_split(
    targets: Targets, share: float, seed: int, groups: Groups | None = None, duplicates: Targets | None = None
) -> npt.NDArray[np.bool_]:
    """True for the rows that validate (N,), about ``share`` of them.

    duplicates: the duplicate group (N,) of each row. They stay on one side: where one would be
    on both, all go where its first row is, or train if a class would have no other rows to train on; so the rest of the
    split is as it would be without them.

    One class per image: every class has its share; a class with a single image trains. Tags: iterative stratification
    (Sechidis et al. 2011, 10.1007/978-3-642-23808-6_10). With ``groups`` (N,) the rows of a group stay on one side.
    Raises DataError when there are too few rows or groups to split.
    """
    if groups is not None:
        return _draw_grouped_split(targets, share, seed, _joined(groups, duplicates))
    drawn = _draw_stratified_split(targets, share, seed)
    return drawn if duplicates is None else _sides_of_sets(drawn, targets, duplicates)


def _draw_stratified_split(targets: Targets, share: float, seed: int) -> npt.NDArray[np.bool_]:
    rows = np.arange(len(targets))
    counts = np.bincount(targets) if targets.ndim == 1 else None
    candidates = rows if counts is None else rows[counts[targets] > 1]
    smallest = 2 if counts is None else max(int((counts > 1).sum()), 1)
    # Of the candidates, not of all rows: where many classes have one image, one of two would validate with both.
    validating = max(round(len(candidates) * share), smallest)
    if len(candidates) < 2 * smallest or validating > len(candidates) - smallest:
        raise DataError(
            f"{len(rows)} labelled images are too few to split off {share:.0%} for validation; "
            "train with --all-data, or add images."
        )
    if targets.ndim == 1:
        chosen = train_test_split(
            candidates, test_size=validating, stratify=targets[candidates], random_state=seed, shuffle=True
        )[1]
    else:
        # Imported here: only tags are split by it, and Kaggle's machines don't have it.
        from iterstrat.ml_stratifiers import MultilabelStratifiedShuffleSplit

        splitter = MultilabelStratifiedShuffleSplit(n_splits=1, test_size=validating / len(rows), random_state=seed)
        chosen = next(splitter.split(rows[:, None], targets))[1]
    return np.isin(rows, chosen)


def _draw_grouped_split(targets: Targets, share: float, seed: int, groups: Targets) -> npt.NDArray[np.bool_]:
    """Of many draws of groups, one that leaves the most classes a row to train on, and then is nearest to the share."""
    count = groups.max(initial=0) + 1
    if count == 1:
        raise DataError(
            f"All {len(targets)} labelled images are of one group, or of groups that share duplicates, so none can "
            "validate while others train; train with --all-data, or mend the groups."
        )
    totals = rows_of_each(targets)

    def badness(validating: npt.NDArray[np.int64]) -> tuple[int, float]:
        counts = rows_of_each(targets[validating], len(totals))
        untrained = int(((counts == totals) & (totals > 0)).sum())
        return untrained, float(np.abs(counts - share * totals).sum() + abs(len(validating) - share * len(targets)))

    validating_groups = min(max(round(count * share), 1), count - 1)
    splitter = GroupShuffleSplit(n_splits=GROUPED_DRAWS, test_size=validating_groups, random_state=seed)
    chosen = min((validating for _, validating in splitter.split(targets, groups=groups)), key=badness)
    return np.isin(np.arange(len(targets)), chosen)


def _sides_of_sets(drawn: npt.NDArray[np.bool_], targets: Targets, duplicates: Targets) -> npt.NDArray[np.bool_]:
    validates = _as_first(drawn, duplicates)
    classes = len(rows_of_each(targets))
    trained, drawn_to_train = (rows_of_each(targets[rows], classes) for rows in (~validates, ~drawn))
    moved = validates & ~drawn & with_any(targets, (trained == 0) & (drawn_to_train > 0))
    validates &= ~np.isin(duplicates, duplicates[moved])
    if not validates.any():
        raise DataError(
            f"The {len(targets)} labelled images are duplicates of each other to such an extent that none can validate "
            "while others train; train with --all-data, or add images."
        )
    return validates


def _as_first(parts: npt.NDArray[Any], duplicates: Targets) -> npt.NDArray[Any]:
    """The parts (N,), but for each row that of the first row of its set."""
    _, first, numbers = np.unique(duplicates, return_index=True, return_inverse=True)
    return parts[first[numbers]]


def rows_of_each(targets: Targets, classes: int = 0) -> npt.NDArray[np.int64]:
    """How many rows each class or tag has (C,), in targets (N,) or (N, C); of at least so many classes."""
    counts: npt.NDArray[np.int64] = (
        np.bincount(targets, minlength=classes) if targets.ndim == 1 else targets.sum(axis=0)
    )
    return counts


def with_any(targets: Targets, classes: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """True for the rows (N,) that have one of the classes, or tags, for which (C,) it is true."""
    if targets.ndim == 1:
        return classes[targets]
    return np.asarray(targets[:, classes].any(axis=1))


def _joined(groups: Groups, duplicates: Targets | None) -> Targets:
    """Groups as whole numbers (N,) from 0; those that share a set of duplicates are one."""
    numbered = np.unique(np.asarray(groups), return_inverse=True)[1].astype(np.int64)
    if duplicates is None:
        return numbered
    # Each row is held to its group and to its set.
    sets = numbered.max() + 1 + np.unique(duplicates, return_inverse=True)[1]
    joined = connected(int(sets.max()) + 1, np.stack([numbered, sets], axis=1))[numbered]
    # Numbered as the groups are, so that without any duplicates the same split is drawn.
    least = np.full(joined.max() + 1, numbered.max())
    np.minimum.at(least, joined, numbered)
    return np.unique(least[joined], return_inverse=True)[1].astype(np.int64)


def draw_folds(
    targets: Targets, count: int, seed: int, groups: Groups | None = None, duplicates: Targets | None = None
) -> npt.NDArray[np.int64]:
    """The fold (N,), 0 to ``count`` - 1, in which each row validates; every fold has rows.

    One class per image: the rows of a class differ by one between folds at most, and a class with fewer rows than
    folds is in as many folds as it has rows. Tags: iterative stratification (Sechidis et al. 2011). With ``groups``
    (N,) the rows of a group are in one fold, the classes as even as that allows; of tags, only the number of groups is
    even. A set of duplicates, see `draw_split`, is in the fold of its first row.
    Raises DataError for fewer rows or groups than folds.
    """
    if count < 2:
        raise DataError(f"Rows can't be dealt to {count} folds; ask for at least 2.")
    if count > len(targets):
        raise DataError(f"{len(targets)} labelled images are too few for {count} folds; ask for fewer folds.")
    if groups is None:
        drawn = _draw_stratified_folds(targets, count, seed)
        if duplicates is None:
            return drawn
        folds = _as_first(drawn, duplicates)
        if len(np.unique(folds)) == count:
            return folds
        # Nearly all rows are of a few sets.
        groups = duplicates
    numbered = _joined(groups, duplicates)
    if count > numbered.max() + 1:
        raise DataError(
            f"The {len(targets)} labelled images are of {numbered.max() + 1} groups, too few for {count} folds; "
            "ask for fewer folds."
        )
    if targets.ndim == 1 and np.bincount(targets).max() >= count:
        splitter = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
        folds = _fold_of_rows(splitter, targets, numbered)
        # A few large groups can leave it a fold without any.
        if len(np.unique(folds)) == count:
            return folds
    return _fold_of_rows(GroupKFold(count, shuffle=True, random_state=seed), targets, numbered)


def _draw_stratified_folds(targets: Targets, count: int, seed: int) -> npt.NDArray[np.int64]:
    if targets.ndim == 1:
        # scikit-learn refuses folds if no class has a row for each: one more class has, and is dropped again.
        padded = np.append(targets, np.full(count, targets.max() + 1))
        return _fold_of_rows(StratifiedKFold(count, shuffle=True, random_state=seed), padded)[: len(targets)]
    from iterstrat.ml_stratifiers import MultilabelStratifiedKFold

    folds = _fold_of_rows(MultilabelStratifiedKFold(count, shuffle=True, random_state=seed), targets)
    # Where rows are as few as folds, tags alone can leave a fold without any.
    if len(np.unique(folds)) < count:
        folds = _fold_of_rows(KFold(count, shuffle=True, random_state=seed), targets)
    return folds


def _fold_of_rows(splitter: Any, targets: Targets, groups: Targets | None = None) -> npt.NDArray[np.int64]:
    folds = np.empty(len(targets), dtype=np.int64)
    with warnings.catch_warnings():
        # That a class has fewer rows than there are folds is as it should be.
        warnings.simplefilter("ignore", UserWarning)
        parts: Iterable[Any] = splitter.split(np.zeros((len(targets), 1)), targets, groups)
        for fold, (_, validating) in enumerate(parts):
            folds[validating] = fold
    return folds
