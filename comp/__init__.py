"""The words a competition.py needs."""

from comp.competition import Competition, KaggleDataset
from comp.forms import ClassName, ProbabilityOf, ProbabilityPerClass, TagNames
from comp.labels import CsvLabels, FileNames, Folders, LabelFunction, TestImages
from comp.recipe import Recipe, Stage
from comp.viewpoint import side_on, top_down, upright

__all__ = [
    "ClassName",
    "Competition",
    "CsvLabels",
    "FileNames",
    "Folders",
    "KaggleDataset",
    "LabelFunction",
    "ProbabilityOf",
    "ProbabilityPerClass",
    "Recipe",
    "Stage",
    "TagNames",
    "TestImages",
    "side_on",
    "top_down",
    "upright",
]
