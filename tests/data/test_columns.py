"""Columns as inputs of a head, with statistics of the training images only."""

import numpy as np
import pandas as pd
import pytest

from comp import Columns
from comp.data.columns import Encoding, encoding_of
from comp.errors import DataError

DECLARED = Columns("train.csv", "test.csv", image="image", numbers=["age"], categories=["sex"])


def table(ages, sexes):
    return pd.DataFrame({"id": [f"i{row}" for row in range(len(ages))], "column age": ages, "column sex": sexes})


TRAINING = table(["1", "3", "NA", "2.0"], ["f", "m", "f", ""])


def test_numbers_are_standardised_and_categories_one_hot():
    encoding = encoding_of(DECLARED, TRAINING)
    assert encoding.width == 4
    deviation = np.std([1, 3, 2])
    assert encoding(TRAINING) == pytest.approx(
        np.array([[-1 / deviation, 0, 1, 0], [1 / deviation, 0, 0, 1], [0, 0, 1, 0], [0, 1, 0, 0]])
    )


def test_what_is_missing_or_was_not_seen_is_given_nothing_and_that_is_said():
    encoding = Encoding({"age": [2.0, 0.5]}, {"sex": ["f", "m"]})
    others = table(["3", "", "nan"], ["x", "m", "null"])
    assert encoding(others).tolist() == [[2, 0, 0], [0, 0, 1], [0, 0, 0]]
    of_age, of_sex = encoding.lines(others, "test images")
    assert all(part in of_age for part in ("'age'", "2 of 3 test images", "mean, 2"))
    assert all(part in of_sex for part in ("'sex'", "2 of 3 test images"))
    assert list(encoding.lines(table(["1"], ["f"]), "test images")) == []
    none = next(Encoding({}, {"sex": ["", "f", "m"]}).lines(others, "training images"))
    assert "'sex'" in none
    assert "1 of 3 training images have none" in none


def test_a_column_that_never_changes_is_nothing_and_rounding_makes_none_vary():
    assert encoding_of(DECLARED, table(["4", "4"], ["f", "f"]))(TRAINING)[:, 0].tolist() == [-3, -1, 0, -2]
    assert abs(encoding_of(DECLARED, table(["0.1"] * 3, ["f"] * 3))(table(["0.2"], ["f"]))[0, 0]) < 1


@pytest.mark.parametrize(
    ("ages", "said"), [(["1", "old"], "'age' is 'old' for image 'i1'"), (["1", "inf"], "'inf'"), (["", "NA"], "'age'")]
)
def test_a_column_that_is_not_of_numbers_is_named(ages, said):
    with pytest.raises(DataError, match=said):
        encoding_of(DECLARED, table(ages, ["f", "m"]))
