"""The runs that an ensemble is made of: refusing those that don't belong together, and stacking their predictions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from comp.errors import RunError
from comp.runs.differences import difference
from comp.submission.predictions import Member

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from comp.data.tables import Tables

    Array = npt.NDArray[Any]


def refuse_differences(members: Sequence[Member], fields: Sequence[str], advice: str) -> None:
    """Raise RunError for the first field of the configs, named like ``recipe.stages.1.size``, that is not the same."""
    first, *others = members
    mine = {field: first.config.get(field) for field in fields}
    for other in others:
        found = difference(mine, {field: other.config.get(field) for field in fields})
        if found is not None:
            raise RunError(
                f"{other.name} and {first.name} differ in {found.field} ({found.other} and {found.one}); {advice}."
            )


def refuse_other_data(members: Sequence[Member], tables: Tables) -> None:
    """Raise RunError for a run whose classes or test images are not those that the data now has."""
    for member in members:
        if member.config.get("classes") != list(tables.classes):
            raise RunError(f"{member.name} was trained on other classes than the data now has; train again.")
        if set(member.test.index) != set(tables.test["id"]):
            raise RunError(
                f"{member.name} predicted {len(member.test)} test images, which are not the {len(tables.test)} "
                f"that the sample submission asks for; predict again with `comp predict {member.name}`."
            )


def refuse_other_parts(members: Sequence[Member]) -> None:
    """Raise RunError for a run in which other rows validate, or in other folds, than in the first."""
    first, *others = members
    for other in others:
        differing = sorted(
            id_ for id_ in first.parts.keys() | other.parts.keys() if first.parts.get(id_) != other.parts.get(id_)
        )
        if differing:
            id_ = differing[0]
            theirs, mine = (_part_in_words(member.parts.get(id_)) for member in (other, first))
            raise RunError(
                f"{other.name} has other validation rows or folds than {first.name}: {len(differing)} images differ, "
                f"the first {id_!r}, which {theirs} in the one and {mine} in the other; train both with the same seed "
                "and folds."
            )


def _part_in_words(part: str | None) -> str:
    return {None: "is not", "train": "trains", "valid": "validates"}.get(part, f"validates in fold {part}")


def refuse_other_rows(members: Sequence[Member], ids: set[str]) -> None:
    """Raise RunError for a run that predicted other validating rows than those with these ids."""
    for member in members:
        if set(member.valid.index) != ids:
            raise RunError(
                f"{member.name} predicted {len(member.valid)} validation rows, which are not the {len(ids)} that its "
                f"split and the data name; predict again with `comp predict {member.name}`."
            )


def stack_test(members: Sequence[Member], tables: Tables) -> Array:
    """Of M members, the probabilities (M, T, C) of the test images in the tables' order."""
    return np.stack([member.test.loc[tables.test["id"]].to_numpy() for member in members])


def stack_valid(members: Sequence[Member], ids: Sequence[str]) -> Array:
    """Of M members, the probabilities (M, R, C) of the validating rows with these ids."""
    return np.stack([member.valid.loc[list(ids)].to_numpy() for member in members])
