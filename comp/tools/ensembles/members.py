"""The members of a joined run or an ensemble: their combined predictions, and the checks that they fit together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from comp.data.tables import Tables
from comp.declare.competition import Competition
from comp.errors import RunError, counted
from comp.runs.resolve import difference
from comp.submission import uncertainty
from comp.submission.postprocessing import PostProcessing
from comp.submission.predictions import Member, postprocessed
from comp.submission.scoring import tune_on_predictions

Array = npt.NDArray[Any]

OF_FOLDS = (
    *("competition", "folds", "seed", "split_seed", "classes", "data"),
    *("recipe_name", "recipe", "augment", "layer_lr_ratio", "teacher.run"),
)


@dataclass(frozen=True)
class Combined:
    """The combined predictions of several runs, and their score.

    valid: (R, C), of the validation images, each by weights that were not fitted on it. test: (T, C).
    made: (R, C), ``valid`` after the competition's `postprocess`.
    weights: (M,), of each run, summing to one. record: of the scores.
    """

    valid: Array
    test: Array
    made: Array
    weights: Array
    postprocessing: PostProcessing
    record: Mapping[str, Any]

    @property
    def scores(self) -> dict[str, float]:
        return {name: self.record[name] for name in ("untuned", "tuned") if name in self.record}

    @property
    def goodness(self) -> float:
        """The score after post-processing, with its sign such that higher is better; a missing one or NaN is worst."""
        score = self.record.get("tuned", np.nan)
        return -np.inf if np.isnan(score) else float(score if self.record["higher_is_better"] else -score)


@dataclass(frozen=True)
class Together:
    """Members with the current data.

    parts: the part of each labelled image (N,), in the tables' order: train, valid or the number of its fold.
    """

    competition: Competition
    members: Sequence[Member]
    tables: Tables
    parts: Array

    @cached_property
    def rows(self) -> Array:
        """The rows of the validation images (R,)."""
        return np.flatnonzero(self.parts != "train")

    @property
    def ids(self) -> list[str]:
        return self.tables.train["id"].iloc[self.rows].to_list()

    @property
    def targets(self) -> Array:
        return self.tables.targets[self.rows]

    @property
    def of_folds(self) -> bool:
        """Whether each validation image is predicted by one model, and each test image by the mean of several."""
        return bool({*self.parts} - {"train", "valid"})

    @cached_property
    def test(self) -> Array:
        """The members' predictions (M, T, C) of the test images, in the tables' order."""
        return np.stack([member.test.loc[self.tables.test["id"]].to_numpy() for member in self.members])

    def combined(self, valid: Array, test: Array, weights: Array) -> Combined:
        """Predictions (R, C) and (T, C) with the post-processing tuned on the former."""
        made = postprocessed(self.competition, self.ids, self.tables.classes, valid)
        tuned = tune_on_predictions(
            self.competition,
            self.tables.classes,
            self.targets,
            made,
            valid,
            of_one_model=self.of_folds,
            labelled=self.tables.targets,
        )
        return Combined(valid, test, made, weights, *tuned)

    def errors_of(self, combined: Combined) -> dict[str, Any]:
        """The standard errors of the scores and of the tuned values."""
        return uncertainty.standard_errors(
            self.competition, self.tables.classes, self.targets, combined.made, combined.postprocessing
        )

    def gain(self, now: Combined, before: Combined) -> tuple[float, float]:
        """The gain in score from ``before`` to ``now``, after post-processing, and its standard error."""
        metric, classes = self.competition.scoring, self.tables.classes
        after, start = (combined.postprocessing(combined.made) for combined in (now, before))
        return uncertainty.gain(metric, self.targets, after, start, classes)


def refuse_differences(members: Sequence[Member], fields: Sequence[str], advice: str) -> None:
    """Raise RunError for the first of these fields of the configs, like ``recipe.stages.1.size``, that differs."""
    first, *others = members
    mine = {field: _value(first.config, field) for field in fields}
    for other in others:
        found = difference(mine, {field: _value(other.config, field) for field in fields})
        if found is not None:
            raise RunError(
                f"{other.name} and {first.name} differ in {found.field} ({found.other} and {found.one}); {advice}."
            )


def _value(config: Mapping[str, Any], field: str) -> Any:
    name, _, inside = field.partition(".")
    return config.get(name, {}).get(inside) if inside else config.get(name)


def refuse_other_data(members: Sequence[Member], tables: Tables) -> None:
    """Raise RunError for a run whose classes or test images are not those of the current data."""
    for member in members:
        member.run.must_have_classes(tables.classes)
        if set(member.test.index) != set(tables.test["id"]):
            raise RunError(
                f"{member.name} predicted {len(member.test)} test images, which are not the {len(tables.test)} "
                f"that the sample submission asks for; predict again with `comp predict {member.name}`."
            )


def all_folds(members: Sequence[Member]) -> list[Member]:
    """The members in the order of their folds; raises RunError unless each fold of one training is there once."""
    if not members:
        raise RunError("There are no runs to join; name the runs of all folds.")
    for member in members:
        if member.config.get("fold") is None:
            raise RunError(
                f"{member.name} is not one fold of a training; train folds with "
                f"`comp train {member.run.competition} --folds 5 --fold 1` and so on."
            )
    refuse_differences(members, OF_FOLDS, "join folds of one training: the same seed, recipe and data")
    by_fold: dict[int, Member] = {}
    for member in members:
        fold = member.config["fold"]
        if (same := by_fold.setdefault(fold, member)) is not member:
            raise RunError(f"{same.name} and {member.name} are both fold {fold}; leave one of them out.")
    count = members[0].config["folds"]
    missing = [fold for fold in range(1, count + 1) if fold not in by_fold]
    if missing:
        raise RunError(
            f"Fold {', '.join(map(str, missing))} of {count} is missing; train with --folds {count} "
            f"--fold {missing[0]} and the same seed and recipe, or name the run if there is one."
        )
    return [by_fold[fold] for fold in sorted(by_fold)]


def fold_of_rows(members: Sequence[Member], tables: Tables) -> Array:
    """The number of each labelled image's validation fold (N,), from 1, as text; ``train`` if it only trains.

    Raises RunError for an image that should have validated and didn't, and for one that did in several folds.
    """
    ids = tables.train["id"]
    folds = pd.concat([pd.Series(str(fold), member.valid.index) for fold, member in enumerate(members, start=1)])
    times = folds.index.value_counts().reindex(ids, fill_value=0)
    wrong = times[(times != 1) & (tables.may_validate | (times > 1).to_numpy())]
    if len(wrong):
        raise RunError(
            f"Each labelled image should have validated in one fold, but {wrong.index[0]!r} did in {wrong.iloc[0]} of "
            "them; train all folds on the data as they are now."
        )
    return folds.reindex(ids, fill_value="train").to_numpy()


def same_parts(members: Sequence[Member], tables: Tables) -> Array:
    """The part of each labelled image (N,), in the tables' order: train, valid or the number of its fold.

    Raises RunError for a run with other validation images or folds than the first one, and for a run whose predictions
    are not of its validation images.
    """
    first, *others = members
    for other in others:
        ids = first.parts.keys() | other.parts.keys()
        # An image that only trains may be missing from one of them.
        differing = sorted(id_ for id_ in ids if first.parts.get(id_, "train") != other.parts.get(id_, "train"))
        if differing:
            theirs, mine = (_in_words(member.parts.get(differing[0])) for member in (other, first))
            images = counted(len(differing), "image differs", "images differ")
            raise RunError(
                f"{other.name} has other validation images or folds than {first.name}: {images}, "
                f"the first {differing[0]!r}, which {theirs} in the one and {mine} in the other; train both with the "
                "same --split-seed and --folds."
            )
    missing = [id_ for id_ in tables.train["id"][tables.may_validate] if id_ not in first.parts]
    if missing:
        raise RunError(
            f"The split of {first.name} lacks {counted(len(missing), 'labelled image')}, the first {missing[0]!r}; "
            "train again on the data as they are now."
        )
    parts = [first.parts.get(id_, "train") for id_ in tables.train["id"]]
    validating = {id_ for id_, part in zip(tables.train["id"], parts, strict=True) if part != "train"}
    for member in members:
        if set(member.valid.index) != validating:
            raise RunError(
                f"{member.name} predicted {len(member.valid)} validation images, which are not the {len(validating)} "
                f"that its split and the data name; predict again with `comp predict {member.name}`."
            )
    return np.array(parts)


def _in_words(part: str | None) -> str:
    return {None: "is not", "train": "trains", "valid": "validates"}.get(part, f"validates in fold {part}")
