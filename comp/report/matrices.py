"""Square tables of counts, shaded by their share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from comp.report.confusion import Confusion

    Array = npt.NDArray[Any]

FAINTEST = 0.1


@dataclass(frozen=True)
class Cell:
    """One count: right (``r``), wrong (``w``) or neither (``d``), its share of the row, and what it says in words."""

    kind: Literal["r", "w", "d"]
    text: str
    share: float
    title: str

    @property
    def shade(self) -> float:
        return 0.0 if self.kind == "d" else FAINTEST + (1 - FAINTEST) * self.share


def confusion_cells(confusion: Confusion) -> list[tuple[str, list[Cell | None]]]:
    """Each row of the matrix with its class; where nothing was counted there is no cell."""
    counts, names = confusion.counts, confusion.names
    totals = np.maximum(counts.sum(axis=1, keepdims=True), 1)
    shares = counts / totals
    return [
        (
            name,
            [
                Cell(
                    "r" if row == column else "w",
                    f"{counts[row, column]}",
                    float(shares[row, column]),
                    f"{counts[row, column]} of {name} predicted as {other}",
                )
                if counts[row, column]
                else None
                for column, other in enumerate(names)
            ],
        )
        for row, name in enumerate(names)
    ]


def together_cells(tags: Array, names: Sequence[str]) -> list[tuple[str, list[Cell | None]]]:
    """How many images (N, C) of the row's tag have the column's as well; on the diagonal all of the tag."""
    counts = tags.T @ tags
    totals = np.maximum(np.diag(counts), 1)
    return [
        (
            name,
            [
                Cell(
                    "d" if row == column else "r",
                    f"{counts[row, column]}",
                    float(counts[row, column] / totals[row]) if row != column else 0.0,
                    f"{counts[row, column]} of {counts[row, row]} with {name} have {other}",
                )
                if counts[row, column]
                else None
                for column, other in enumerate(names)
            ],
        )
        for row, name in enumerate(names)
    ]
