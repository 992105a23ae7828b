"""Predictions as files: a row per image with its id and a probability per class, Parquet."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt
import pandas as pd

from comp.files import replacing


def read_predictions(path: Path) -> pd.DataFrame:
    """What was written: a row per image, named by its id, and a column per class. Raises OSError or ValueError."""
    return pd.read_parquet(path).set_index("id")


def write_predictions(path: Path, ids: Iterable[str], probabilities: npt.NDArray[Any], classes: Sequence[str]) -> None:
    """Columns ``id`` and one per class, in their order."""
    frame = pd.DataFrame(probabilities, columns=list(classes))
    frame.insert(0, "id", list(ids), allow_duplicates=True)
    with replacing(path) as unfinished:
        frame.to_parquet(unfinished, index=False)
