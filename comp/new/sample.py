"""The sample submission among a competition's files: what it asks for, and whether that can be answered here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

import pandas as pd

from comp.declare.metrics import Kind
from comp.errors import DataError
from comp.new.look import Look
from comp.new.metrics import for_one_class, metric_of

# Answers that tell nothing of the labels.
TRIVIAL = {"", "0", "1", "0.0", "1.0", "0.5"}
SAMPLES = "sample|submission|benchmark|example"
# What a column is called and what is in it, or how a metric is called, where the answers are none of ours.
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
    """The sample submission: where it is, and what it asks for.

    id: the column that has the ids. takes: what the metric compares, where Kaggle names one that is known. one_class:
    whether that is for one class an image.
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
        """Those beside the id."""
        return [column for column in self.table.columns if column != self.id]

    @property
    def values(self) -> pd.Series[str]:
        """Those of the first column beside the id; none where there is no such column."""
        return self.table[self.columns[0]] if self.columns else pd.Series([], dtype=str)

    @property
    def words(self) -> set[str]:
        """Its answers, and the words in them, without those that tell nothing."""
        return {part for value in set(self.values) for part in (value, *value.split())} - TRIVIAL


def is_sample(path: str) -> bool:
    """Whether a table is called as sample submissions are, and not as samples to train on."""
    name = PurePosixPath(path).name.lower()
    return bool(re.search(SAMPLES, name)) and "train" not in name


def find_sample(look: Look) -> SampleTable | None:
    """The sample submission, if there is a CSV that can be one. Raises DataError where one asks for other things."""

    def rank(path: str) -> tuple[bool, bool, int, str]:
        name = PurePosixPath(path).name.lower()
        # The later one of sample_submission.csv and sample_submission_v2.csv.
        return "submission" in name, "sample" in name, -len(PurePosixPath(path).parts), path

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
    """Raise DataError where boxes, masks, texts or matching images are asked for."""
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
            f"{seen}, but here classes, tags and numbers of whole images are predicted; take a library for {what}."
        )


def _id_of(look: Look, table: pd.DataFrame) -> str:
    """The first column, unless it can't have the ids and another one can."""
    called = look.image_names.union(look.images)
    unique = [str(column) for column in table.columns if table[column].is_unique]
    shares = {column: sum(text in called for text in table[column]) / max(len(table), 1) for column in unique}
    first = str(table.columns[0])
    best = max(unique, key=lambda column: shares[column], default=first)
    if first not in unique:
        return best
    return best if len(table) > 1 and shares[first] == 0 and shares[best] > 0.5 else first


def _why_not(table: pd.DataFrame) -> str:
    """What a CSV lacks to be a sample submission, and what to do."""
    if table.shape[1] > 1:
        return "has no rows; give it one, with any answer, for each image to predict"
    header = table.columns[0]
    mark = next((mark for mark in ";\t|" if mark in header), None)
    remedy = f"separate its columns by commas, not by {mark!r}" if mark else "give it a second one, of any answers"
    return f"has a single column, {header!r}; {remedy}"
