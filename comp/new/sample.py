"""Find the sample submission among a competition's files, and check that its kind of answer is supported."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

import pandas as pd

from comp.declare.metrics import Kind
from comp.errors import DataError
from comp.new.look import Look
from comp.new.metrics import for_one_class, metric_of

# Answers that say nothing about the labels.
TRIVIAL = {"", "0", "1", "0.0", "1.0", "0.5"}
SAMPLES = "sample|submission|benchmark|example"
REPLACED = re.compile(r"(?<![a-z])(old|backup|bak|copy|deprecated)(?![a-z])")
# Names and values of columns, and names of metrics, that show an unsupported kind of answer.
ANYTHING, SEQUENCES = r".*", r"|[\d.,\[\]-]+(\s+[\d.,\[\]-]+)+"
OTHER_COLUMNS = (
    (r"encoded_?pixels", ANYTHING, "masks"),
    (r"(\w+_)?rle(_\w+)?|(\w+_)?masks?|segmentations?|polygons?", SEQUENCES, "masks"),
    (r"prediction_?strings?", ANYTHING, "boxes"),
    (r"b?box(es)?|bounding_?box(es)?", SEQUENCES, "boxes"),
    (r"inchi|captions?|transcriptions?", r".*\W.*\W.*", "texts"),
)
OTHER_METRICS = (
    (r"\b(dice|jaccard|hausdorff|panoptic|iou|intersection over union)", "masks or boxes"),
    (r"\b(levenshtein|bleu|rouge|word error|character error)", "texts"),
    (r"\b(psnr|ssim|fid|frechet)\b", "images"),
)


@dataclass(frozen=True)
class SampleTable:
    """The sample submission.

    id: the column with the ids. takes: what the metric compares, where Kaggle names a known one. one_class: whether the
    metric implies one class per image.
    """

    path: str
    table: pd.DataFrame
    id: str
    takes: Kind | None = None
    one_class: bool = False

    @property
    def ids(self) -> pd.Series[str]:
        return self.table[self.id]

    @property
    def columns(self) -> list[str]:
        """The columns beside the id."""
        return [column for column in self.table.columns if column != self.id]

    @property
    def values(self) -> pd.Series[str]:
        """The values of the first column beside the id; empty without such a column."""
        return self.table[self.columns[0]] if self.columns else pd.Series([], dtype=str)

    @property
    def words(self) -> set[str]:
        """The answers and the words in them, without trivial ones."""
        return {part for value in set(self.values) for part in (value, *value.split())} - TRIVIAL


def is_sample(path: str) -> bool:
    """Whether a table is named like a sample submission, and not like a sample of training data."""
    name = PurePosixPath(path).name.lower()
    return bool(re.search(SAMPLES, name)) and "train" not in name


def find_sample(look: Look) -> SampleTable | None:
    """The sample submission; None without one. Raises DataError for unsupported answers, no rows or a single column."""

    def rank(path: str) -> tuple[bool, bool, bool, int, str]:
        name = PurePosixPath(path).name.lower()
        # Prefer sample_submission_v2.csv to sample_submission.csv, and this to sample_submission_old.csv.
        depth = len(PurePosixPath(path).parts)
        return not REPLACED.search(name), "submission" in name, "sample" in name, -depth, path

    named = list(filter(is_sample, look.tables))
    fitting = [path for path in named if look.tables[path].shape[1] > 1 and len(look.tables[path])]
    if not named:
        return None
    path = max(fitting or named, key=rank)
    table = look.tables[path]
    _must_be_answers(look, path, table)
    if not fitting:
        raise DataError(f"{path} {_why_not(table)}.")
    metric = metric_of(look.metric)
    takes, one_class = (metric.takes, for_one_class(metric)) if metric else (None, False)
    return SampleTable(path, table, _id_of(look, table), takes, one_class)


def _must_be_answers(look: Look, path: str, table: pd.DataFrame) -> None:
    """Raise DataError where the answers are boxes, masks, texts or matching images."""
    of_column = [
        (f"{path} asks for {what} in {column!r}", what)
        for pattern, values, what in OTHER_COLUMNS
        for column in table.columns
        if re.fullmatch(pattern, column.lower()) and table[column].str.fullmatch(values).all()
    ]
    of_metric = [
        (f"Kaggle's metric {look.metric!r} compares {what}", what)
        for pattern, what in OTHER_METRICS
        if re.search(pattern, look.metric.lower())
    ]
    key = _id_of(look, table)
    last = [str(column) for column in table if column != key][-1:]
    words = {word for column in last for value in set(table[column]) for word in value.split()}
    answered = {word for word in words if not word.isdecimal()}
    if answered and answered <= look.image_names | set(table[key]):
        of_column.append((f"{path} answers with images, in {last[0]!r}", "finding images that match"))
    for seen, what in (*of_column, *of_metric):
        raise DataError(
            f"{seen}, but comp predicts classes, tags and numbers of whole images; use a library for {what}."
        )


def _id_of(look: Look, table: pd.DataFrame) -> str:
    """The first column, unless it can't hold the ids and another column can."""
    called = look.image_names.union(look.images)
    unique = [str(column) for column in table.columns if table[column].is_unique]
    shares = {column: sum(text in called for text in table[column]) / max(len(table), 1) for column in unique}
    first = str(table.columns[0])
    best = max(unique, key=lambda column: shares[column], default=first)
    if first not in unique:
        return best
    return best if len(table) > 1 and shares[first] == 0 and shares[best] > 0.5 else first


def _why_not(table: pd.DataFrame) -> str:
    """The reason why a CSV can't be a sample submission, and what to do."""
    if table.shape[1] > 1:
        return "has no rows; add one, with any answer, for each test image"
    header = table.columns[0]
    mark = next((mark for mark in ";\t|" if mark in header), None)
    remedy = f"separate its columns by commas, not by {mark!r}" if mark else "add a second column with any answers"
    return f"has a single column, {header!r}; {remedy}"
