import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comp.declare.labels.table import classes_of, in_order, table
from comp.errors import DataError
from tests.declare.labels.conftest import ODD


@pytest.mark.parametrize(
    ("labels", "target", "said"),
    [
        (["cat", "cat"], "single", "'cat'"),
        (["", ""], "single", "no labels at all"),
        ([(), ()], "multi", "no labels at all"),
        ([("a",), ("a",)], "multi", "'a'"),
    ],
)
def test_a_table_without_two_classes_is_refused(labels, target, said):
    with pytest.raises(DataError, match=said):
        classes_of(pd.DataFrame({"label": pd.Series(labels, dtype=object)}), target)


@pytest.mark.parametrize(
    ("column", "values", "said"),
    [
        ("label", [(("density", 10.14),), (("density", 3.5),)], "'density 10.14' and 'density 3.5'"),
        ("validates", [True, None], "True and None"),
    ],
)
def test_what_differs_between_two_rows_of_an_id_is_told_in_words(column, values, said):
    rows = {"id": ["a", "a"], "path": ["a.png"] * 2, "label": ["cat"] * 2, column: values}
    with pytest.raises(DataError, match=f"'a' with the {column} {said}"):
        table(**rows)


def test_numbers_are_ordered_as_numbers_and_all_else_as_text():
    assert in_order(["10", "9", "-1", "0"]) == ("-1", "0", "9", "10")
    assert in_order(["10", "9", "a"]) == ("10", "9", "a")
    assert in_order(["1.5", "10", "9"]) == ("1.5", "9", "10")


@settings(max_examples=30)
@given(
    names=st.sets(
        st.text(ODD, min_size=1, max_size=12) | st.integers().map(str) | st.sampled_from(["01", "1", "-0", "²", "٣"])
    )
)
def test_the_order_does_not_depend_on_where_names_came_from(names):
    assert in_order(sorted(names)) == in_order(sorted(names, reverse=True))
    assert set(in_order(names)) == names
