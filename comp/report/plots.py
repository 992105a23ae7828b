"""Pictures for a notebook: images in a grid, and a confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure

ACROSS = 4
# With more classes the counts would be too small to read.
COUNTED = 20


class Plot:
    """A matplotlib ``figure`` that a notebook shows below its cell with any backend."""

    def __init__(self, figure: Figure) -> None:
        self.figure = figure

    def _repr_png_(self) -> bytes:
        file = BytesIO()
        self.figure.savefig(file, format="png", dpi=100)
        return file.getvalue()


def grid(pictures: Sequence[npt.NDArray[np.uint8]], titles: Sequence[str]) -> Plot:
    """Images (H, W, 3), each below its title, which is plain text, never a formula."""
    rows = -(-len(pictures) // ACROSS)
    figure = Figure(figsize=(2.6 * ACROSS, 2.9 * rows), layout="constrained")
    for axes in figure.subplots(rows, ACROSS, squeeze=False).ravel():
        axes.set_axis_off()
    for axes, picture, title in zip(figure.axes, pictures, titles, strict=False):
        axes.imshow(picture)
        axes.set_title(title, fontsize=9, parse_math=False)
    return Plot(figure)


def confusion(counts: pd.DataFrame) -> Plot:
    """A confusion matrix of counts (K, K), labels in rows, predictions in columns, coloured by the row's share."""
    side = max(4.0, 0.42 * len(counts))
    figure = Figure(figsize=(side + 1.5, side + 1), layout="constrained")
    axes: Any = figure.subplots()
    values = counts.to_numpy()
    axes.imshow(values / np.maximum(values.sum(axis=1, keepdims=True), 1), cmap="Blues", vmin=0, vmax=1)
    axes.set(xlabel="predicted", ylabel="actual")
    axes.set_xticks(range(len(counts)), list(counts.columns), rotation=90, parse_math=False)
    axes.set_yticks(range(len(counts)), list(counts.columns), parse_math=False)
    if len(counts) <= COUNTED:
        for row, column in zip(*values.nonzero(), strict=True):
            axes.text(column, row, str(values[row, column]), ha="center", va="center", color="C1", fontsize=9)
    return Plot(figure)
