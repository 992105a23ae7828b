import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from comp.data.paths import Paths

NAMES = ["/a/b.jpg", "/a/ü 1.png", "/c"]


@pytest.mark.parametrize(
    "column",
    [
        pd.Series(NAMES),
        pd.Series(["/no", *NAMES, "/other"])[1:4],
        pd.concat([pd.Series(NAMES[:1]), pd.Series(NAMES[1:])], ignore_index=True),
        pd.Series(["/no", *NAMES])[np.array([False, True, True, True])],
        pd.Series(NAMES, dtype=object),
    ],
    ids=["whole", "a part", "in pieces", "chosen", "objects"],
)
def test_the_paths_of_a_column_are_its_texts(column):
    paths = Paths.in_column(column)
    for found in (paths, pickle.loads(pickle.dumps(paths)), paths[:]):
        assert list(found) == [Path(name) for name in NAMES]
    assert list(paths.of(np.array([2, 0]))) == [Path("/c"), Path("/a/b.jpg")]


def test_a_column_without_rows_has_no_paths():
    assert list(Paths.in_column(pd.Series([], dtype=str))) == []
