"""The words a competition.py needs."""

from comp.declare.columns import Columns
from comp.declare.competition import Competition, KaggleDataset
from comp.declare.forms import (
    ClassName,
    ClassNumber,
    ClassWithConfidence,
    NumberPerRow,
    Numbers,
    ProbabilityOf,
    ProbabilityPerClass,
    ProbabilityPerRow,
    TagNames,
    TopClasses,
)
from comp.declare.labels.coco import Coco, CocoImages
from comp.declare.labels.columns import CsvColumns, CsvImages, CsvLabels, CsvNumbers
from comp.declare.labels.files import FileNames, Folders, TestImages
from comp.declare.labels.function import LabelFunction, TestFunction
from comp.declare.labels.given import GivenSplit, Renamed, WithExtra
from comp.declare.metrics import Metric, weighted_log_loss
from comp.declare.own_images import AskForAll, HiddenImages, HideShare, KnownLabels
from comp.declare.reading import Channels, PixelTable
from comp.declare.recipe import Ensemble, Head, Recipe, Stage
from comp.declare.viewpoint import side_on, top_down, upright

__all__ = [
    "AskForAll",
    "Channels",
    "ClassName",
    "ClassNumber",
    "ClassWithConfidence",
    "Coco",
    "CocoImages",
    "Columns",
    "Competition",
    "CsvColumns",
    "CsvImages",
    "CsvLabels",
    "CsvNumbers",
    "Ensemble",
    "FileNames",
    "Folders",
    "GivenSplit",
    "Head",
    "HiddenImages",
    "HideShare",
    "KaggleDataset",
    "KnownLabels",
    "LabelFunction",
    "Metric",
    "NumberPerRow",
    "Numbers",
    "PixelTable",
    "ProbabilityOf",
    "ProbabilityPerClass",
    "ProbabilityPerRow",
    "Recipe",
    "Renamed",
    "Stage",
    "TagNames",
    "TestFunction",
    "TestImages",
    "TopClasses",
    "WithExtra",
    "side_on",
    "top_down",
    "upright",
    "weighted_log_loss",
]
