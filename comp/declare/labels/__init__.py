"""Label sources: from the raw files of a competition to its table.

The table has one row per image: ``id`` (text), ``path`` (text) and ``label``: the name of the class for a ``single``
target, a tuple of tag names for a ``multi`` one, of pairs of a name and a number, (("age", 7.0),), for numbers, shares
and fractions. A source that knows which images belong together (one patient's, one scene's) adds ``group`` (text); one
that knows which are one answer, whose predictions are combined, ``answer`` (text); one that
is given a validation set, ``validates`` (bool). Every image has its label and every label its image, or there is a
DataError that names them. What a source put up with is in ``table.attrs["notes"]``, a line each.
"""

from comp.declare.labels.coco import Coco, CocoImages
from comp.declare.labels.columns import ONE_OR_ZERO, CsvColumns, CsvImages, CsvLabels, CsvNumbers
from comp.declare.labels.csv import read_csv, read_csv_in_blocks, read_ids
from comp.declare.labels.files import IMAGE_SUFFIXES, FileNames, Folders, TestImages
from comp.declare.labels.function import LabelFunction, TestFunction
from comp.declare.labels.given import GivenSplit
from comp.declare.labels.naming import named_as_asked
from comp.declare.labels.table import LabelSource, TestSource, classes_of, in_order, in_words

__all__ = [
    "IMAGE_SUFFIXES",
    "ONE_OR_ZERO",
    "Coco",
    "CocoImages",
    "CsvColumns",
    "CsvImages",
    "CsvLabels",
    "CsvNumbers",
    "FileNames",
    "Folders",
    "GivenSplit",
    "LabelFunction",
    "LabelSource",
    "TestFunction",
    "TestImages",
    "TestSource",
    "classes_of",
    "in_order",
    "in_words",
    "named_as_asked",
    "read_csv",
    "read_csv_in_blocks",
    "read_ids",
]
