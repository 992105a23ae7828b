"""Every field of every declaration is checked by its annotation; the error names the field and the value found."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Annotated, Literal

import albumentations as A  # noqa: N812 - as its own documentation has it
import pytest
import torch
from torch import nn

import comp
from comp import Folders, LabelFunction, Recipe, Stage
from comp.declare.checks import Declared, above, between, matching, misspelt, one_of
from comp.declare.viewpoint import Viewpoint, side_on
from comp.errors import DeclarationError
from tests.declare.conftest import TWO_CATS

STAGE = Stage(size=64, train="head")
IN_CSV = {"csv": "train.csv", "image": "id", "folder": "train"}
RIGHT = {
    "Stage": {"size": 64, "train": "head"},
    "Recipe": {"stages": [STAGE]},
    "Channels": {"suffixes": ["_red.png", "_green.png"]},
    "PixelTable": {"table": "train.csv", "into": "train"},
    "Viewpoint": {"flips": "none"},
    "KaggleDataset": {"handle": "owner/name"},
    "FileNames": {"pattern": "train/{label}.*.jpg"},
    "Folders": {"folder": "train"},
    "Coco": {"json": "train.json", "folder": "train"},
    "CocoImages": {"json": "test.json", "folder": "test"},
    "HideShare": {"share": 0.2},
    "HiddenImages": {"labels": Folders("train")},
    "KnownLabels": {"labels": Folders("train")},
    "Renamed": {"labels": Folders("train"), "names": {"a": "b"}},
    "GivenSplit": {"train": Folders("train"), "valid": Folders("valid")},
    "WithExtra": {"labels": Folders("train"), "extra": Folders("external")},
    "CsvLabels": {**IN_CSV, "label": "label"},
    "CsvColumns": {**IN_CSV, "labels": ["a", "b"]},
    "CsvNumbers": {**IN_CSV, "values": ["a"]},
    "CsvImages": IN_CSV,
    "Columns": {"train": "train.csv", "test": "test.csv", "image": "id", "numbers": ["age"]},
    "LabelFunction": {"function": print},
    "Head": {"build": print},
    "Ensemble": {"members": [Recipe(stages=[STAGE])]},
    "TestFunction": {"function": print},
    "TestImages": {"folder": "test"},
    "ProbabilityOf": {"label": "cat"},
    "ProbabilityPerClass": {},
    "ProbabilityPerRow": {"labels": ["cat", "dog"]},
    "NumberPerRow": {"labels": ["cat", "dog"]},
    "ClassNumber": {"labels": ["cat", "dog"]},
    "TagNames": {},
    "TopClasses": {"count": 5},
    "ClassWithConfidence": {},
    "Metric": {"name": "mine", "takes": "classes", "higher_is_better": True, "score": max},
    "Competition": TWO_CATS,
}
WRONG_IN_CSV = {"csv": "", "image": None, "folder": 3, "suffix": "jpg", "join": 1, "group": "", "answer": 1}
WRONG_IN_CSV |= {"shared": 1, "incomplete": None, "where": ["split"]}
WRONG = {
    "Stage": {"size": 7, "train": "tail", "cycles": 0, "cycle_length": 1.5, "cycle_multiplier": -2, "views": True}
    | {"learning_rate": 0, "batch_size": 1, "needed_above": 2, "schedule": "cosine", "cached": 1},
    "Recipe": {"stages": [], "backbone": "", "pretrained": "yes", "head": "old", "batch_size": 1, "accumulation": 0}
    | {"loss": "logloss", "rate_rule": "lowest", "optimizer_options": ["lr"]}
    | {"teacher_confidence": 2}
    | {"clip_norm": -1, "optimizer": 3, "weight_decay": -0.1, "decay": "none", "freeze_batch_norm": 1}
    | {"dropout": 1, "drop_path": 1.0, "label_smoothing": 0.6, "mixup": -1, "cutmix": None, "random_erasing": 2}
    | {"mixing": "fmix"}
    | {"ema": 1, "balance": "all", "snapshots": 0, "validation": 0.51, "tta": True, "tta_views": 65, "on_cpu": STAGE},
    "Channels": {"suffixes": ["_red.png"], "read": "tiff"},
    "PixelTable": {"table": "train.txt", "into": "", "pixels": 3, "image": "", "label": 0, "size": [28]}
    | {"where": ["Usage"], "first": "1"},
    "Viewpoint": {
        "flips": "vertical",
        "fit": "stretch",
        "max_zoom": 0.9,
        "max_rotation": 181,
        "max_light": [0.1],
        "pipeline": "flip",
    },
    "KaggleDataset": {"handle": "owner/name/x"},
    "FileNames": {"pattern": "train/*.jpg"},
    "Folders": {"folder": "", "suffix": "png", "without": "masks", "layout": "{group}"},
    "Coco": {"json": "", "folder": 1, "target": "shares", "classes": "number", "group": 1},
    "CocoImages": {"json": "", "folder": 1},
    "HideShare": {"share": 1},
    "HiddenImages": {"labels": "train", "hidden": ""},
    "KnownLabels": {"labels": "train", "hidden": ""},
    "Renamed": {"labels": "train", "names": {"a": 1}},
    "GivenSplit": {"train": "train", "valid": LabelFunction(print, target="number")},
    "WithExtra": {"labels": "train", "extra": LabelFunction(print, target="number")},
    "CsvLabels": {**WRONG_IN_CSV, "label": 0, "separator": ""},
    "CsvColumns": {**WRONG_IN_CSV, "labels": ["a"], "target": "tags", "row": "{id}", "value": "x"},
    "Columns": {"train": "", "test": None, "image": 3, "numbers": (), "categories": "sex", "dropout": 1},
    "CsvNumbers": {**WRONG_IN_CSV, "values": [], "bounds": (2, 1), "row": "{id}", "value": "x"},
    "CsvImages": {
        field: WRONG_IN_CSV[field] for field in ("csv", "image", "folder", "suffix", "answer", "where", "join")
    },
    "Head": {"build": "linear", "pooled": 1},
    "Ensemble": {"members": [STAGE], "backbones": "resnet18", "folds": 1},
    "LabelFunction": {"function": "read", "target": "tags"},
    "TestFunction": {"function": "read"},
    "TestImages": {"folder": "", "suffix": "png", "with_suffix": "yes", "hidden": 1, "incomplete": "no"},
    "ProbabilityOf": {"label": ""},
    "ProbabilityPerClass": {"column": "label"},
    "ProbabilityPerRow": {"labels": ["cat"], "row": "{class}"},
    "NumberPerRow": {"labels": ["cat"], "row": "{id}"},
    "ClassNumber": {"labels": ["cat"]},
    "TagNames": {"separator": ""},
    "TopClasses": {"count": 0, "separator": ""},
    "ClassWithConfidence": {"separator": 1},
    "Metric": {"name": "", "takes": "labels", "higher_is_better": 1, "score": "accuracy", "targets": ["tags"]}
    | {"beta": "2", "named": "yes", "tuned": "clip", "two_classes": 1},
    "Competition": {
        "name": "Two-Cats",
        "kaggle": "c/two-cats",
        "labels": "train",
        "test": "test",
        "submission": "label",
    }
    | {"log_with": "comet"}
    | {"metric": "logloss", "augment": side_on, "recipes": {"quick": RIGHT}, "layer_lr_ratio": 0.9}
    | {"extra_data": ["owner/name"], "sample_submission": "", "combine": "median", "read": "tiff", "prepare": "images"}
    | {"columns": ["age"], "id_column": 1, "postprocess": "max"},
}


def word(name):
    return getattr(comp, name, Viewpoint)


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_field_is_named_with_what_was_found(name):
    word(name)(**RIGHT[name])
    for field, value in WRONG[name].items():
        with pytest.raises(DeclarationError, match=f"^{name}: `{field}` is .*, but it should be ") as error:
            word(name)(**{**RIGHT[name], field: value})
        # A long mapping is shown by its keys.
        names = [repr(key) for key in value] if isinstance(value, dict) and len(repr(value)) > 200 else [repr(value)]
        assert all(re.sub(r" at 0x\w+", "", name) in str(error.value) for name in names)


def test_the_table_above_has_every_field_of_every_word():
    names = {name for name in comp.__all__ if fields_of(word(name))} | {"Viewpoint"}
    assert {name: set(wrong) for name, wrong in WRONG.items()} == {name: fields_of(word(name)) for name in names}


def fields_of(word):
    return {field.name for field in fields(word) if field.compare} if isinstance(word, type) else set()


@dataclass
class Anything(Declared):
    whole: Annotated[int, between(2, 8)] = 2
    number: Literal["find"] | Annotated[float, above(0)] = 1
    text: str | None = None
    slug: Annotated[str, matching("[a-z]+"), "small letters"] = "a"
    name: Annotated[str, one_of(["mean", "max"])] = "max"
    yes: bool = True
    parts: Annotated[Sequence[str], between(1)] = ("a",)
    by_name: Mapping[str, float] | None = None


@pytest.mark.parametrize(
    ("field", "right", "wrong", "wanted"),
    [
        ("whole", [2, 8], [1, 9, 2.0, "2", True, None], "a whole number from 2 to 8"),
        ("number", [1, 0.5, "find"], [0, math.inf, math.nan, True, "found", None], "'find' or a number above 0"),
        ("text", [None, "a"], ["", 3, ["a"]], "text"),
        ("slug", ["ab"], ["A", "a\n", "", 3], "small letters"),
        ("name", ["mean"], ["median", ["mean"], None], "text, one of mean, max"),
        ("yes", [False], [0, "yes", None], "True or False"),
        ("parts", [("a", "b"), ["a"]], [[], "ab", [1], None], "a list of text of at least 1"),
        ("by_name", [{"a": 1}], [{"a": "b"}, ["a"]], ""),
    ],
)
def test_an_annotation_says_what_is_right(field, right, wrong, wanted):
    for value in right:
        assert getattr(Anything(**{field: value}), field) == (tuple(value) if isinstance(value, list) else value)
    for value in wrong:
        with pytest.raises(DeclarationError, match=re.escape(f"`{field}` is {value!r}, but it should be {wanted}")):
            Anything(**{field: value})


@pytest.mark.parametrize(("field", "kind"), [("number", float), ("whole", int)])
def test_a_whole_number_in_the_field_of_a_float_is_one(field, kind):
    assert type(getattr(Anything(**{field: 2}), field)) is kind


@pytest.mark.parametrize(
    ("field", "meant"),
    [
        ("slug", "there are name"),
        ("metrik", "did you mean `metric`?"),
        ("zoom", "there are name"),
        ("schedule", "Stage has one; there are name"),
    ],
)
def test_a_field_that_a_word_has_not_is_told_those_it_has(field, meant):
    with pytest.raises(TypeError) as raised:
        comp.Competition(**{**RIGHT["Competition"], field: 1})
    said = misspelt(raised.value, vars(comp))
    assert f"Competition has no field `{field}`" in said
    assert meant in said
    assert misspelt(TypeError("len() takes no keyword arguments"), vars(comp)) is None


def test_a_form_of_ones_own_that_lacks_fields_is_told_which():
    class Form:
        takes = "probabilities"

        def encode(self, predictions, classes, columns):
            """Not called."""

    with pytest.raises(DeclarationError, match=r"no `targets` and no `decode` and no `classes_in`\."):
        comp.Competition(**{**RIGHT["Competition"], "submission": Form()})


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: Recipe(stages=[STAGE], head=nn.Linear(64, 5)), "head"),
        (lambda: Recipe(stages=[STAGE], head=type("Own", (nn.Linear,), {})(64, 5)), "head"),
        (lambda: Recipe(stages=[STAGE], loss=nn.CrossEntropyLoss), "loss"),
        (lambda: Recipe(stages=[STAGE], tta=A.Compose([A.HorizontalFlip()])), "tta"),
        (lambda: side_on(pipeline=A.Compose([A.HorizontalFlip()])), "pipeline"),
    ],
)
def test_a_finished_object_where_a_function_makes_one_is_told_so(make, field):
    with pytest.raises(DeclarationError, match=f"(?s)`{field}` is .*, but it should be .*a function of"):
        make()
    assert Recipe(stages=[Stage(size=16, train="head")], loss=nn.CrossEntropyLoss(), optimizer=torch.optim.SGD)
