"""Find the columns of a table that have its images' labels: classes, tags, numbers or shares."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from comp.declare.labels.columns import ONE_OR_MINUS, ONE_OR_ZERO, meant_by, tags_in
from comp.declare.labels.table import in_order
from comp.declare.metrics import Target
from comp.errors import first_few
from comp.new.sample import TRIVIAL, SampleTable

SEPARATORS = ("|", ";", ",", " ")
LABEL_NAMES = r"label|class|target|category|species|breed|type|diagnosis|grade|level|stage|tags?(?!e)|answer"
# The largest share of rows without a label or an image that may be left out.
FEW = 0.05
# More different values per row than this aren't classes, in a column that the sample submission confirms, unless the
# table has fewer rows than FEWEST_ROWS.
MOST_CLASSES, FEWEST_ROWS = 0.9, 20
# Combinations per tag above which the sample submission's tags decide.
MOST_SHOWN = 0.5
# With more different values a column of numbers has no classes, unless its name says so.
MOST_GRADES = 30


@dataclass(frozen=True)
class Labels:
    """The columns of a table that hold the labels: one column, or one for each class."""

    columns: tuple[str, ...]
    classes: tuple[str, ...]
    sure: float
    target: Target = "single"
    separator: str | None = None
    doubts: tuple[str, ...] = ()


def labels_of(
    table: pd.DataFrame, image: str, sample: SampleTable, placing: Sequence[str], key: str | None = None
) -> Labels | None:
    """The labels in a table, or None.

    image: the column that names the images. placing: the columns that name an image's folder, which may be its class.
    key: the column of the test ids, which has no labels.
    """
    others, asked = [column for column in table.columns if column not in (image, key, "")], sample.columns
    if len(asked) > 1 and set(asked) <= set(others):
        return _one_column_each(table, asked, sure=3)
    if len(asked) > 1:
        before, after = around(asked)
        named = {column.removeprefix(before).removesuffix(after) for column in asked}
        for column in others:
            values = set(table[column]) - {""}
            if values in (set(asked), named):
                separator = _of_rows(table, [image, *placing], column)
                return Labels((column,), in_order(values), 3, "single" if separator is None else "multi", separator)
        for column in others:
            for separator in SEPARATORS:
                if _tags(table[column], separator) == set(asked):
                    return Labels((column,), in_order(asked), 3, "multi", separator)
    shown = [column for column in asked if column in others]
    if len(shown) > 1 and len(shown) * 2 > len(asked):
        lacking = ", ".join(column for column in asked if column not in others)
        return _one_column_each(table, shown, sure=3, doubts=(f"where the labels of {lacking} are",))
    meant = (list(ONE_OR_ZERO), list(ONE_OR_MINUS))
    binary = max(([one for one in others if table[one].isin(values).all()] for values in meant), key=len)
    told = asked or [one for one in others if one not in binary and re.search(LABEL_NAMES, one.lower())]
    if len(binary) > 2 and (not told or (len(asked) == 1 and asked[0] not in others)):
        return _one_column_each(table, binary, sure=1, doubts=("which columns are classes",))
    able = [column for column in others if table[column].nunique() > 1]

    def rank(column: str) -> tuple[bool, bool, bool, bool, int]:
        values, words = set(table[column]), bool(re.search(LABEL_NAMES, column.lower()))
        return column in asked, bool(sample.words & values), column in placing, words, -len(values)

    if not able:
        return None
    column = max(able, key=rank)
    if not asked and not placing:
        if (number := _only_number(table, able)) is not None:
            beside = ", ".join(repr(other) for other in able if other != number)
            doubt = f"whether to predict the numbers in {number!r}{f' and not {beside}' if beside else ''}"
            return Labels((number,), (number,), 1, "number", doubts=(doubt,))
        column = _in_words(table, column, sorted(able, key=rank, reverse=True))
    return _one_column(table, [image, *placing], column, sample)


def _only_number(table: pd.DataFrame, able: Sequence[str]) -> str | None:
    """The only column with more than two values, where these are many numbers and its name doesn't suggest classes."""
    many = [column for column in able if table[column].nunique() > 2]
    if len(many) != 1 or re.search(rf"{LABEL_NAMES}|id$", many[0].lower()):
        return None
    values = table[many[0]]
    return many[0] if values.nunique() > MOST_GRADES and _is_numeric(values) and not _are_codes(values) else None


def _are_codes(values: pd.Series[str]) -> bool:
    """Whether numbers are codes of classes: from 0 or 1 on without a gap, and nearly all occur several times."""
    counts = pd.to_numeric(values).value_counts().sort_index()
    counted = np.array_equal(counts.index, np.arange(len(counts)) + (counts.index[0] == 1))
    return counted and bool((counts > 1).mean() >= 1 - FEW)


def _in_words(table: pd.DataFrame, column: str, others: Sequence[str]) -> str:
    """The first column that has names for the numbers in ``column``; ``column`` itself where there is none."""
    if not _is_numeric(table[column]):
        return column
    count = table[column].nunique()
    alike = (name for name in others if count == table[name].nunique() == len(table[[name, column]].drop_duplicates()))
    return next((name for name in alike if not _is_numeric(table[name])), column)


def _is_numeric(values: pd.Series[str]) -> bool:
    return bool(pd.to_numeric(values, errors="coerce").notna().all())


def around(columns: Sequence[str]) -> tuple[str, str]:
    """The common start and end of the columns' names, where a number is between them: class_0, class_1, …"""
    split = [re.fullmatch(r"(\D*)(\d+)(\D*)", column) for column in columns]
    around = {(match[1], match[3]) for match in split if match}
    return around.pop() if all(split) and len(around) == 1 else ("", "")


def _one_column_each(
    table: pd.DataFrame, columns: Sequence[str], sure: float, doubts: tuple[str, ...] = ()
) -> Labels | None:
    values = table[list(columns)]
    meant = meant_by(values)
    if not values.isin(list(meant)).all(axis=None):
        numbers = values.apply(pd.to_numeric, errors="coerce").to_numpy(dtype=float)
        if not np.isfinite(numbers).all():
            return None
        shares, within = np.allclose(numbers.sum(axis=1), 1, atol=1e-3), numbers.min() >= 0 and numbers.max() <= 1
        target: Target = "shares" if within and shares else "fractions" if within else "number"
        return Labels(tuple(columns), tuple(columns), sure, target, doubts=doubts)
    yes = values.apply(lambda column: column.map(meant))
    single = bool((yes.sum(axis=1) == 1).all())
    if not single and (families := _exclusive(yes)):
        listed = " and exactly one of ".join(map(", ".join, families))
        doubts = (*doubts, f"exactly one of {listed} is 1 in each row, but each column becomes a tag by itself")
    return Labels(tuple(columns), in_order(columns), sure, "single" if single else "multi", doubts=doubts)


def _exclusive(yes: pd.DataFrame) -> list[list[str]]:
    """Families of columns with the same name up to the last word, of which exactly one is true in each row."""
    families: dict[str, list[str]] = {}
    for column in map(str, yes):
        families.setdefault(re.sub(r"[\W_][^\W_]*$", "", column), []).append(column)
    return [family for family in families.values() if len(family) > 1 and (yes[family].sum(axis=1) == 1).all()]


def _one_column(table: pd.DataFrame, naming: Sequence[str], column: str, sample: SampleTable) -> Labels | None:
    values, is_asked = table[column], column in sample.columns
    known = is_asked or bool(set(sample.values) - TRIVIAL & set(values))
    sure = 2.0 if known else 1.0
    others = first_few(repr(other) for other in table if other not in (column, *naming, ""))
    doubts = () if known or not others else (f"whether the labels are in {column!r} and not {others}",)
    if (separator := _separator(table, column, sample)) is not None:
        doubts = (*doubts, f"whether {column!r} has tags, or classes with {separator!r} in their names")
    elif (separator := _of_rows(table, naming, column)) is not None:
        doubts = (*doubts, f"whether {column!r} has tags, a row for each")
    if separator is not None:
        return Labels((column,), in_order(_tags(values, separator)), sure, "multi", separator, doubts)
    filled = values[values != ""]
    if _are_numbers(filled, sample):
        return Labels((column,), (column,), sure, "number", doubts=doubts)
    classes = set(filled)
    most = MOST_CLASSES if known else 0.5
    if len(filled) < (1 - FEW) * len(values) or (
        len(classes) > max(len(filled) * most, 2) and (not known or len(filled) >= FEWEST_ROWS)
    ):
        return None
    return Labels((column,), in_order(classes), sure, doubts=doubts)


def _are_numbers(values: pd.Series[str], sample: SampleTable) -> bool:
    """Whether a column has numbers, not classes: by the metric, if it is known, else by whether there are fractions."""
    numbers = pd.to_numeric(values, errors="coerce")
    if numbers.isna().any() or pd.to_numeric(sample.values, errors="coerce").isna().any():
        return False
    if sample.takes is not None:
        return sample.takes == "numbers"
    fractions = (numbers % 1 != 0).any() or (pd.to_numeric(sample.values) % 1 != 0).any()
    return bool(fractions) and numbers.nunique() > 2


def _separator(table: pd.DataFrame, column: str, sample: SampleTable) -> str | None:
    """The separator of tags, if the values are tags: with fewer different tags than combinations of them.

    Python lists are always tags. Other values are split only where the metric doesn't imply one class per image; where
    there are few combinations, the sample submission's tags may decide.
    """
    combinations, submitted = Counter(table[column]), sample.values
    are_tags = sample.takes == "tags" and not set(submitted) <= set(combinations)
    if all(value.startswith("[") and value.endswith("]") for value in combinations if value):
        return "," if any("," in value for value in combinations) else " "
    for separator in () if sample.one_class else SEPARATORS:
        if not any(separator in value for value in combinations):
            continue
        uses = Counter(tag for value in combinations for tag in tags_in(value, separator))
        shown = _tags(submitted, separator) if submitted.str.contains(separator, regex=False).any() else set()
        enough = are_tags or len(uses) == 1 or len(combinations) / len(uses) > MOST_SHOWN
        if len(uses) < len(combinations) or (enough and len(shown & uses.keys()) * 2 > len(shown)):
            return separator
    return None


def _of_rows(table: pd.DataFrame, naming: Sequence[str], column: str) -> str | None:
    """A separator that no value has, where an image has several rows, each with a tag; else None.

    naming: the columns that name an image.
    """
    if table.groupby(list(naming))[column].nunique().max() <= 1:
        return None
    values = table[column].str
    return next((mark for mark in (" ", "|", ";", "\t") if not values.contains(mark, regex=False).any()), None)


def _tags(values: pd.Series[str], separator: str) -> set[str]:
    return {tag for value in set(values) for tag in tags_in(value, separator)}
