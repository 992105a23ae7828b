"""Validation splits and folds, stratified, with whole groups, from a seed alone; oversampling of training rows.

scikit-learn is imported where it is used, so that reading tables doesn't wait for it.
"""

import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt

from comp.data.duplicates import joined
from comp.data.targets import class_counts
from comp.declare.custom import called, short_name
from comp.errors import DataError, DeclarationError

Rows = npt.NDArray[np.int64]
Targets = npt.NDArray[np.int64]
Groups = npt.ArrayLike

GROUPED_DRAWS = 100
QUANTILES = ROWS_OF_QUANTILE = 10


def strata(targets: npt.NDArray[Any]) -> Targets:
    """The classes (N,) or tags (N, M) to stratify these targets by: classes and tags are their own strata.

    The stratum of a number is its decile, or a larger quantile where deciles would have fewer than ten rows. Several
    numbers, shares or fractions get a tag per quantile of each; a column that hardly varies has a single quantile.
    """
    if targets.dtype.kind != "f":
        return targets
    quantiles = np.linspace(0, 1, int(np.clip(len(targets) // ROWS_OF_QUANTILE, 1, QUANTILES)) + 1)[1:-1]
    columns: list[Targets] = []
    for column in targets.T:
        edges = np.unique(np.quantile(column, quantiles))
        columns.append(np.unique(np.searchsorted(edges, column), return_inverse=True)[1].astype(np.int64))
    if len(columns) == 1:
        return columns[0]
    return np.concatenate([np.eye(column.max(initial=0) + 1, dtype=np.int64)[column] for column in columns], axis=1)


def draw_split(
    targets: Targets, share: float, seed: int, groups: Groups | None = None, duplicates: Targets | None = None
) -> npt.NDArray[np.bool_]:
    """True for the validation rows (N,), about ``share`` of all.

    duplicates: the duplicate group (N,) of each row. Such a group on both sides moves to the side of its first row, or
    trains if a class would have no other rows to train on; the rest of the split is as without duplicates.

    One class per image: every class has its share; a class with a single image trains. Tags: iterative stratification
    (Sechidis et al. 2011, 10.1007/978-3-642-23808-6_10); numbers: by quantiles, see `strata`. With ``groups`` (N,) the
    rows of a group stay on one side. Raises DataError for too few rows or groups.
    """
    targets = strata(targets)
    if groups is not None:
        return _draw_grouped_split(targets, share, seed, joined(groups, duplicates))
    drawn = _draw_stratified_split(targets, share, seed)
    return drawn if duplicates is None else _together(drawn, targets, duplicates)


def _draw_stratified_split(targets: Targets, share: float, seed: int) -> npt.NDArray[np.bool_]:
    rows = np.arange(len(targets))
    counts = np.bincount(targets) if targets.ndim == 1 else None
    candidates = rows if counts is None else rows[counts[targets] > 1]
    smallest = 2 if counts is None else max(int((counts > 1).sum()), 1)
    # A share of the candidates, not of all rows: too many of them would validate where many classes have one image.
    validating = max(round(len(candidates) * share), smallest)
    if len(candidates) < 2 * smallest or validating > len(candidates) - smallest:
        raise DataError(
            f"{len(rows)} labelled images are too few to split off {share:.0%} for validation; "
            "train with --all-data, or add images."
        )
    if counts is not None:
        from sklearn.model_selection import train_test_split

        drawn = train_test_split(candidates, test_size=validating, stratify=targets[candidates], random_state=seed)
        return np.isin(rows, drawn[1])
    # Imported only here, as Kaggle's machines don't have it.
    from iterstrat.ml_stratifiers import MultilabelStratifiedShuffleSplit

    splitter = MultilabelStratifiedShuffleSplit(n_splits=1, test_size=validating / len(rows), random_state=seed)
    return np.isin(rows, next(splitter.split(rows[:, None], targets))[1])


def _draw_grouped_split(targets: Targets, share: float, seed: int, groups: Targets) -> npt.NDArray[np.bool_]:
    """The best of many draws of groups: fewest classes without a training row, then nearest to the share."""
    from sklearn.model_selection import GroupShuffleSplit

    count = groups.max(initial=0) + 1
    if count == 1:
        raise DataError(
            f"All {len(targets)} labelled images are of one group, or of groups that share duplicates, so none can "
            "validate while others train; train with --all-data, or mend the groups."
        )
    totals = class_counts(targets)

    def badness(validating: Rows) -> tuple[int, float]:
        counts = class_counts(targets[validating], len(totals))
        untrained = int(((counts == totals) & (totals > 0)).sum())
        return untrained, float(np.abs(counts - share * totals).sum() + abs(len(validating) - share * len(targets)))

    validating_groups = min(max(round(count * share), 1), count - 1)
    splitter = GroupShuffleSplit(n_splits=GROUPED_DRAWS, test_size=validating_groups, random_state=seed)
    chosen = min((validating for _, validating in splitter.split(targets, groups=groups)), key=badness)
    return np.isin(np.arange(len(targets)), chosen)


def _together(drawn: npt.NDArray[np.bool_], targets: Targets, duplicates: Targets) -> npt.NDArray[np.bool_]:
    validates = _as_first(drawn, duplicates)
    classes = len(class_counts(targets))
    trained, drawn_to_train = (class_counts(targets[rows], classes) for rows in (~validates, ~drawn))
    moved = validates & ~drawn & with_any(targets, (trained == 0) & (drawn_to_train > 0))
    validates &= ~np.isin(duplicates, duplicates[moved])
    if not validates.any():
        raise DataError(
            f"The {len(targets)} labelled images are duplicates of each other to such an extent that none can validate "
            "while others train; train with --all-data, or add images."
        )
    return validates


def draw_hidden(
    targets: npt.NDArray[Any],
    share: float,
    seed: int,
    able: npt.NDArray[np.bool_],
    groups: Groups | None = None,
    duplicates: Targets | None = None,
) -> npt.NDArray[np.bool_]:
    """True for the rows (N,) to hide, drawn from the ``able`` ones by `draw_split`; no class is hidden entirely.

    groups, duplicates: as in `draw_split`; a group with a row that isn't able is not hidden. Raises DataError where
    none can be hidden.
    """
    together = joined(np.arange(len(able)) if groups is None else groups, duplicates)
    able = able & ~np.isin(together, together[~able])
    if not able.any():
        raise DataError(
            f"None of {len(targets)} labelled images can be hidden, as `validates` is given for each of them or for "
            "another of its group; leave it empty for some."
        )
    hidden = np.zeros(len(able), bool)
    kept = (None if one is None else np.asarray(one)[able] for one in (groups, duplicates))
    hidden[able] = draw_split(targets[able], share, seed, *kept)
    classes = strata(targets)
    there, left = (class_counts(classes[rows], len(class_counts(classes))) for rows in (able, able & ~hidden))
    shown = with_any(classes, (there > 0) & (left == 0))
    hidden &= ~np.isin(together, together[shown & hidden])
    if not hidden.any():
        raise DataError(
            f"None of {len(targets)} labelled images can be hidden without a class or a group being lost; add images."
        )
    return hidden


def _as_first(parts: npt.NDArray[Any], duplicates: Targets) -> npt.NDArray[Any]:
    """The part (N,) of the first row of each row's duplicate group."""
    _, first, numbers = np.unique(duplicates, return_index=True, return_inverse=True)
    return parts[first[numbers]]


def with_any(targets: Targets, classes: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """True for the rows (N,) that have one of the classes or tags where ``classes`` (C,) is true."""
    return classes[targets] if targets.ndim == 1 else np.asarray(targets[:, classes].any(axis=1))


def draw_folds(
    targets: Targets, count: int, seed: int, groups: Groups | None = None, duplicates: Targets | None = None
) -> Rows:
    """The fold (N,), 0 to ``count`` - 1, in which each row validates; no fold is empty.

    One class per image: a class's number of rows differs by at most one between folds, and a class with fewer rows
    than folds has one row in as many folds. Tags: iterative stratification (Sechidis et al. 2011). Numbers: by
    quantiles. With ``groups`` (N,) the rows of a group are in one fold, and classes are as even as that allows; with
    tags, only the number of groups is even. A duplicate group, see `draw_split`, is in the fold of its first row.
    Raises DataError for fewer rows or groups than folds.
    """
    targets = strata(targets)
    if count < 2:
        raise DataError(f"Rows can't be split into {count} folds; ask for at least 2.")
    if count > len(targets):
        raise DataError(f"{len(targets)} labelled images are too few for {count} folds; ask for fewer folds.")
    if groups is None:
        folds = _draw_stratified_folds(targets, count, seed)
        folds = folds if duplicates is None else _as_first(folds, duplicates)
        if duplicates is None or _has_all(folds, count):
            return folds
        # A fold is empty, as nearly all rows are in a few duplicate groups.
        groups = duplicates
    numbered = joined(groups, duplicates)
    if count > numbered.max() + 1:
        raise DataError(
            f"The {len(targets)} labelled images are of {numbered.max() + 1} groups, too few for {count} folds (groups "
            "that share duplicates are one); ask for fewer folds."
        )
    from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

    if targets.ndim == 1 and np.bincount(targets).max() >= count:
        folds = _folds_by(StratifiedGroupKFold(count, shuffle=True, random_state=seed), targets, numbered)
        # A few large groups can leave a fold empty.
        if _has_all(folds, count):
            return folds
    return _folds_by(GroupKFold(count, shuffle=True, random_state=seed), targets, numbered)


def draw_inner_folds(
    training: Rows,
    targets: Targets,
    count: int,
    seed: int,
    groups: Groups | None = None,
    duplicates: Targets | None = None,
) -> Rows:
    """`draw_folds` for a cross-validation within the ``training`` rows (R,).

    With fewer groups than ``count`` there are as few folds; where all training rows are of one group, groups are split.
    """
    for fewer in range(count, 1, -1):
        with suppress(DataError):
            folds = draw_folds(targets, fewer, seed, groups, duplicates)
            if not _has_all(folds[training], 1):
                return folds
    return draw_folds(targets, count, seed)


def _draw_stratified_folds(targets: Targets, count: int, seed: int) -> Rows:
    from sklearn.model_selection import KFold, StratifiedKFold

    if targets.ndim == 1:
        # scikit-learn wants a class with a row for each fold: such a class is added, and its rows are dropped again.
        padded = np.append(targets, np.full(count, targets.max() + 1))
        return _folds_by(StratifiedKFold(count, shuffle=True, random_state=seed), padded)[: len(targets)]
    from iterstrat.ml_stratifiers import MultilabelStratifiedKFold

    folds = _folds_by(MultilabelStratifiedKFold(count, shuffle=True, random_state=seed), targets)
    # With about as many rows as folds, stratifying by tags can leave a fold empty.
    return folds if _has_all(folds, count) else _folds_by(KFold(count, shuffle=True, random_state=seed), targets)


def _has_all(folds: Rows, count: int) -> bool:
    return len(np.unique(folds)) == count


def _folds_by(splitter: Any, targets: Targets, groups: Targets | None = None) -> Rows:
    folds = np.empty(len(targets), dtype=np.int64)
    with warnings.catch_warnings():
        # A class may have fewer rows than there are folds.
        warnings.simplefilter("ignore", UserWarning)
        for fold, (_, validating) in enumerate(splitter.split(np.zeros((len(targets), 1)), targets, groups)):
            folds[validating] = fold
    return folds


def oversampled(rows: Rows, targets: Targets, seed: int) -> Rows:
    """The rows in their order, with copies of rows of rare classes behind each; the copies follow from the seed alone.

    rows: the training rows (R,). targets: of all rows of the table, (N,) class indices or (N, C) of 0 and 1.

    One class per image: every class gets as many rows as the most frequent one, spread evenly over its rows; the rows
    with one copy more are drawn. Tags: repeat factor sampling (LVIS, arXiv:1908.03195). A tag on a share f of the rows
    asks for ``max(1, sqrt(t / f))`` copies, and a row gets those that its rarest tag asks for, a fraction as the chance
    of one more. LVIS has t = 0.001 for its 1,200 categories; here t is the median of the tags' shares (as in
    arXiv:1411.4734), so that the rarer half of the tags is repeated, however many tags there are.
    """
    generator = np.random.default_rng(seed)
    chosen = targets[rows]
    copies = _to_the_most_frequent(chosen, generator) if chosen.ndim == 1 else _by_repeat_factor(chosen, generator)
    return np.repeat(rows, copies)


def shown(rows: Rows, targets: Targets, times: Callable[[Targets], Any]) -> Rows:
    """The rows in their order, each as often as ``times`` says; 0 leaves a row out.

    rows: the training rows (R,). targets: of all rows of the table, (N,) or (N, C). times: a function of the rows'
    targets that gives (R,) whole numbers. Raises DeclarationError where it gives anything else, or 0 for all.
    """
    found = called("Recipe: `balance`", times, targets[rows])
    try:
        copies = np.asarray(found, np.float64)
    except (TypeError, ValueError):
        said = f"a {type(found).__name__} that is no array of numbers"
    else:
        wrong = copies[~np.isfinite(copies) | (copies < 0) | (copies != np.floor(copies))]
        if copies.shape != rows.shape:
            said = f"numbers of shape {copies.shape}"
        elif len(wrong):
            said = f"{wrong[0]:g} for one of them"
        elif not copies.any():
            said = "0 for all"
        else:
            return np.repeat(rows, copies.astype(np.int64))
    raise DeclarationError(
        f"Recipe: `balance` {short_name(times)} returned {said}, but it should return how many times an epoch each of "
        f"the {len(rows)} images is shown (N,): whole numbers from 0, not all of them 0."
    )


def _to_the_most_frequent(classes: Rows, generator: np.random.Generator) -> Rows:
    copies, counts = np.empty(len(classes), np.int64), np.bincount(classes)
    for members in np.split(np.argsort(classes, kind="stable"), counts.cumsum()[:-1]):
        if len(members):
            copies[members], rest = divmod(int(counts.max()), len(members))
            copies[generator.choice(members, rest, replace=False)] += 1
    return copies


def _by_repeat_factor(tags: Rows, generator: np.random.Generator) -> Rows:
    shares = tags.mean(axis=0)
    present = shares > 0
    factors = np.ones(tags.shape[1])
    if present.any():
        factors[present] = np.maximum(1, np.sqrt(np.median(shares[present]) / shares[present]))
    whole, fraction = np.divmod(np.where(tags > 0, factors, 1).max(axis=1), 1)
    return whole.astype(np.int64) + (generator.random(len(tags)) < fraction)
