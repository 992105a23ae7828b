"""Kinds of labels, submissions and metrics: each is read as people who know it would declare it."""

import pytest

from tests.new.kinds import (
    AUC,
    NAMED,
    PER_CLASS,
    PETS,
    TEST,
    TRAIN,
    TWELVE,
    Kind,
    grades,
    must_be_read_as_meant,
    numbers,
    pets,
    rows,
    sample,
    yes,
)

KINDS = {
    "a CSV of ids and classes": Kind(TRAIN + TEST, {"train.csv": pets(), NAMED: sample()}),
    "a probability per class": Kind(
        TRAIN + TEST,
        {"train.csv": pets(), **PER_CLASS},
        metric="Multi Class Log Loss",
        form="ProbabilityPerClass",
        ours="log_loss",
    ),
    "columns class_0, class_1, … for the labels 0, 1, …": Kind(
        TRAIN + TEST,
        {
            "train.csv": grades(header="id,label"),
            NAMED: sample("id,class_0,class_1,class_2,class_3", "0.25,0.25,0.25,0.25"),
        },
        metric="Log Loss",
        image="1",
        label="1",
        form="ProbabilityPerClass",
        ours="log_loss",
    ),
    "a probability of yes": Kind(
        TRAIN + TEST,
        {"train.csv": yes(), NAMED: sample("id,target", 0.5)},
        metric=AUC,
        image="1",
        label="1",
        form="ProbabilityOf",
        ours="roc_auc",
    ),
    "partial AUC": Kind(
        TRAIN + TEST,
        {"train.csv": yes(), NAMED: sample("id,target", 0.5)},
        metric="pAUC above 80% TPR",
        image="1",
        label="1",
        form="ProbabilityOf",
        ours="pauc",
    ),
    "an AUC of another kind": Kind(
        TRAIN + TEST,
        {"train.csv": yes(), NAMED: sample("id,target", 0.5)},
        metric="Weighted AUC",
        image="1",
        label="1",
        form="ProbabilityOf",
        ours="?roc_auc",
    ),
    "probabilistic F1": Kind(
        TRAIN + TEST,
        {"train.csv": yes(), NAMED: sample("id,target", 0.5)},
        metric="Probabilistic F1",
        image="1",
        label="1",
        form="ProbabilityOf",
        ours="pf1",
    ),
    "balanced accuracy": Kind(
        TRAIN + TEST, {"train.csv": pets(), NAMED: sample()}, metric="Balanced Accuracy", ours="balanced_accuracy"
    ),
    "an accuracy with weights": Kind(
        TRAIN + TEST,
        {"train.csv": pets(), NAMED: sample()},
        metric="Weighted Categorization Accuracy",
        ours="?accuracy",
    ),
    "macro F1": Kind(TRAIN + TEST, {"train.csv": pets(), NAMED: sample()}, metric="Macro F1 Score", ours="macro_f1"),
    "the F1 of yes": Kind(
        TRAIN + TEST,
        {"train.csv": yes(), NAMED: sample("id,target", 0)},
        metric="F1 Score",
        image="1",
        label="1",
        ours="f1",
    ),
    "a word that is no class": Kind(
        TRAIN + TEST, {"train.csv": pets(), NAMED: sample(value="unknown")}, says="unknown"
    ),
    "grades": Kind(
        TRAIN + TEST,
        {"train.csv": grades(), NAMED: sample("id,grade", 0)},
        metric="Quadratic Weighted Kappa",
        image="1",
        label="1",
        ours="quadratic_kappa",
    ),
    "grades by a kappa with linear weights": Kind(
        TRAIN + TEST,
        {"train.csv": grades(), NAMED: sample("id,grade", 0)},
        metric="Linear Weighted Kappa",
        image="1",
        label="1",
        ours="linear_kappa",
    ),
    "a number": Kind(
        TRAIN + TEST,
        {"train.csv": numbers(), NAMED: sample("id,age", 30)},
        metric="Root Mean Squared Error",
        image="1",
        label={"age": 23.5},
        form="Numbers",
        ours="rmse",
    ),
    "a whole number": Kind(
        TRAIN + TEST,
        {
            "train.csv": rows("Id,Pawpularity", [(n, n % 6 * 10) for n in TWELVE]),
            NAMED: sample("Id,Pawpularity", "43.2"),
        },
        metric="RMSE",
        image="1",
        label={"Pawpularity": 10.0},
        form="Numbers",
        ours="rmse",
    ),
    "several numbers": Kind(
        TRAIN + TEST,
        {"train.csv": rows("id,x,y", [(n, n / 2, 2.5 * n) for n in TWELVE]), NAMED: sample("id,x,y", "0,0")},
        metric="Mean Columnwise RMSE",
        image="1",
        label={"x": 0.5, "y": 2.5},
        form="Numbers",
        ours="mcrmse",
    ),
    "the five likeliest classes": Kind(
        TRAIN + TEST,
        {
            "train.csv": rows("image,species,individual_id", [(n, PETS[n % 3], f"x{n % 6}") for n in TWELVE]),
            NAMED: sample("image,predictions", "x1 x2 x3 x4 x5"),
        },
        metric="MAP@5",
        image="1",
        label="x1",
        form="TopClasses",
        ours="map_at_k",
    ),
    "a class and its confidence": Kind(
        TRAIN + TEST,
        {"train.csv": grades(header="id,landmark_id"), NAMED: sample("id,landmarks", "1 0.1")},
        metric="Global Average Precision",
        image="1",
        label="1",
        form="ClassWithConfidence",
        ours="gap",
    ),
    "tags": Kind(
        TRAIN + TEST,
        {
            "train.csv": rows("id,tags", [(n, " ".join({PETS[n % 3], PETS[n // 3 % 3]})) for n in TWELVE]),
            NAMED: sample("id,tags", "cat dog"),
        },
        metric="Mean F Score Beta",
        label=("cat",),
        form="TagNames",
        ours="mean_f2",
    ),
    "tags in a list": Kind(
        TRAIN + TEST,
        {
            "train.csv": rows("id;tags", [(n, str([PETS[n % 3], "red"])) for n in TWELVE], ";"),
            NAMED: sample("id,tags", "cat red"),
        },
        metric="Micro F1",
        label=("cat", "red"),
        form="TagNames",
        ours="micro_f1",
    ),
    "a row for each tag": Kind(
        TRAIN + TEST,
        {
            "train.csv": rows("id,tag", [(n, tag) for n in TWELVE for tag in (PETS[n % 3], "red")]),
            NAMED: sample("id,tag", "cat red"),
        },
        metric="Mean F1 Score",
        label=("cat", "red"),
        form="TagNames",
        ours="mean_f1",
    ),
    "a column of 0 and 1 for each class": Kind(
        TRAIN + TEST,
        {"train.csv": rows("id,cat,dog,owl", [(n, *(int(n % 3 == c) for c in range(3))) for n in TWELVE]), **PER_CLASS},
        metric=AUC,
        form="ProbabilityPerClass",
        ours="roc_auc",
    ),
    "a column of 0 and 1 for each tag": Kind(
        TRAIN + TEST,
        {"train.csv": rows("id,cat,dog,owl", [(n, n % 2, 1, int(n > 5)) for n in TWELVE]), **PER_CLASS},
        metric=f"Mean Columnwise {AUC}",
        label=("dog",),
        form="ProbabilityPerClass",
        ours="mean_columnwise_roc_auc",
    ),
    "shares of classes": Kind(
        TRAIN + TEST,
        {"train.csv": rows("id,cat,dog,owl", [(n, n / 20, 0.3, 0.7 - n / 20) for n in TWELVE]), **PER_CLASS},
        metric="Log Loss",
        label={"cat": 0.0, "dog": 0.3, "owl": 0.7},
        form="ProbabilityPerClass",
        ours="log_loss",
    ),
}


@pytest.mark.parametrize("name", KINDS)
def test_it_is_read_as_it_is_meant_without_an_edit(name, tmp_path):
    must_be_read_as_meant(name, KINDS[name], tmp_path)
