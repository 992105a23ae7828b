from types import SimpleNamespace

import pandas as pd
import pytest

from comp.declare.labels.function import LabelFunction, TestFunction
from comp.errors import DataError, DeclarationError
from tests.declare.labels.conftest import by_id, rows_of, touch


@pytest.fixture
def reading(tmp_path):
    """A function that reads the table with these columns by a label function, beside the images 0.png and 1.png."""
    touch(tmp_path, "0.png", "1.png")

    def made(target="single", **columns):
        columns.setdefault("path", [tmp_path / f"{image}.png" for image in columns.get("id", ())])
        return LabelFunction(lambda folder: pd.DataFrame(columns), target=target).read(tmp_path)

    return made


def test_a_function_gives_ids_paths_and_labels_as_text(tmp_path, reading):
    assert rows_of(reading(id=[1, 0], path=["1.png", str(tmp_path / "0.png")], label=[3, 4])) == [
        ("0", tmp_path / "0.png", "4"),
        ("1", tmp_path / "1.png", "3"),
    ]


def test_a_function_gives_tags(reading):
    assert list(reading("multi", id=["0"], label=[["b", "a", "b"]])["label"]) == [("a", "b")]


@pytest.mark.parametrize(
    ("column", "values", "found"),
    [
        ("group", [12, 7], {"0": "7", "1": "12"}),
        ("validates", [1, 0], {"0": False, "1": True}),
        ("validates", [False, None], {"0": None, "1": False}),
        ("validates", [float("nan"), 1.0], {"0": True, "1": None}),
    ],
)
def test_a_function_says_which_images_belong_together_and_which_validate(reading, column, values, found):
    assert by_id(reading(id=["1", "0"], label=["a", "b"], **{column: values}), column) == found


def test_a_function_gives_shares_and_fractions_as_they_are(reading):
    assert list(reading("fractions", id=["0"], label=[{"a": 1, "b": 0.5}])["label"]) == [(("a", 1.0), ("b", 0.5))]
    assert list(reading("shares", id=["0"], label=[{"a": 0, "b": 1}])["label"]) == [(("a", 0.0), ("b", 1.0))]


def test_a_function_may_say_where_the_images_to_predict_are(tmp_path, reading):
    source = TestFunction(lambda folder: pd.DataFrame({"id": [1], "path": ["1.png"]}))
    assert rows_of(source.read(tmp_path)) == [("1", tmp_path / "1.png")]
    with pytest.raises(DataError, match=r"TestFunction: .* columns id and path, but path is missing"):
        TestFunction(lambda _: pd.DataFrame({"id": [1]})).read(tmp_path)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"id": ["0"]}, "label is missing"),
        ({"name": []}, "id, label are missing"),
        ({"id": ["0"], "path": ["absent.png"], "label": ["a"]}, r"1 image that isn't there.*absent\.png"),
        ({"id": ["0", "0"], "path": ["0.png"] * 2, "label": ["a", "b"]}, "1 id occurs more than once, the first '0'"),
        *(
            ({"id": ["0", "1"], "label": ["a", label]}, "image '1' has the label.*the name of its class")
            for label in ("", ["b"])
        ),
        *(
            ({"id": ["0", "1"], "label": ["a", label]}, "image '1' has the label.*read_csv if its name is NA")
            for label in (None, float("nan"))
        ),
        *(
            ({"id": ["0"], "label": pd.Series([tags], dtype=object), "target": "multi"}, "'0' .* a list of its tags")
            for tags in ("clear haze", None, 3)
        ),
        *(
            ({"id": ["0", "1"], "label": ["a", "b"], "validates": [True, odd]}, f"image '1' has {odd!r} in `validates`")
            for odd in ("no", 2)
        ),
        ({"id": ["0", "1"], "label": ["a"] * 2, "answer": ["x"] * 2, "validates": [True, False]}, "'x' .* one validat"),
        *(
            ({"id": ["0"], "label": [{"a": value, "b": 0.5}], "target": target}, f"'0' has {value:g} for 'a'.*{target}")
            for target in ("fractions", "shares")
            for value in (1.5, -0.25)
        ),
        ({"id": ["0"], "label": [{"a": 0.7, "b": 0.5}], "target": "shares"}, "'0' shares that sum to 1.2"),
        ({"id": ["0"], "label": [{"a": float("nan")}], "target": "fractions"}, "'0' has the label {'a': nan}.*finite"),
        *(
            ({"id": ["0", "1"], "label": ["a", "b"], column: ["x", empty]}, f"image '1' has no {column}")
            for column, empty in (("group", None), ("group", float("nan")), ("group", ""), ("answer", ""))
        ),
    ],
)
def test_each_mistake_of_a_function_s_table_is_named(reading, columns, said):
    with pytest.raises(DataError, match=said):
        reading(**columns)


# A table of another library.
LIKE_A_TABLE = SimpleNamespace(columns=["id", "path", "label"])


@pytest.mark.parametrize("result", [None, [("0", "0.png", "a")], {"id": ["0"]}, LIKE_A_TABLE])
def test_a_function_that_gives_no_table_is_named(tmp_path, result):
    with pytest.raises(DataError, match="should return a DataFrame with the columns id, path and label"):
        LabelFunction(lambda folder: result).read(tmp_path)


@pytest.mark.parametrize("word", [LabelFunction, TestFunction])
def test_a_function_that_fails_is_named(tmp_path, word):
    with pytest.raises(DeclarationError, match=f"{word.__name__}.*ZeroDivisionError"):
        word(lambda folder: 1 / 0).read(tmp_path)
