"""Kinds of tables and JSONs: each is read as people who know it would declare it."""

import json

import pytest

from tests.new.kinds import (
    ASKED,
    AUC,
    NAMED,
    PETS,
    TEST,
    TRAIN,
    TWELVE,
    Kind,
    coco,
    grades,
    must_be_read_as_meant,
    pets,
    rows,
    sample,
    yes,
)

KINDS = {
    "train and test in one CSV": Kind(
        [f"images/{n}.jpg" for n in (*TWELVE, *ASKED)],
        {
            "all.csv": rows(
                "id,split,label", [(n, "train" if n in TWELVE else "test", PETS[n % 3]) for n in (*TWELVE, *ASKED)]
            ),
            NAMED: sample(),
        },
        says="'train' in 'split'",
    ),
    "tab-separated": Kind(TRAIN + TEST, {"train.tsv": pets().replace(",", "\t"), NAMED: sample()}),
    "separated by semicolons": Kind(TRAIN + TEST, {"train.csv": pets().replace(",", ";"), NAMED: sample()}),
    "an unnamed first column": Kind(
        TRAIN + TEST, {"train.csv": rows(",id,label", [(n + 50, n, PETS[n % 3]) for n in TWELVE]), NAMED: sample()}
    ),
    "COCO's JSON": Kind(TRAIN + TEST, {"train.json": coco(), NAMED: sample()}),
    "a JSON with image_id for id": Kind(TRAIN + TEST, {"train.json": coco("image_id"), NAMED: sample()}),
    "a JSON of the images to predict, which gives them ids, and categories by number": Kind(
        TRAIN + [f"test/a/x{n}.jpg" for n in ASKED],
        {
            "train.json": coco(),
            "test.json": json.dumps({"images": [{"id": n, "file_name": f"test/a/x{n}.jpg"} for n in ASKED]}),
            NAMED: sample("id,predicted", 2),
        },
        image="1",
        label="1",
    ),
    "JSONs beside their images": Kind(
        [f"{part}/images/{n % 2:03}/{n}.jpg" for part, of in (("a/train", TWELVE), ("a/test", ASKED)) for n in of],
        {
            "a/train/metadata.json": coco(files=[f"images/{n % 2:03}/{n}.jpg" for n in TWELVE]),
            "a/test/metadata.json": json.dumps(
                [{"image_id": n, "file_name": f"images/{n % 2:03}/{n}.jpg"} for n in ASKED]
            ),
            NAMED: sample("Id,Predicted", 2),
        },
        metric="F1-Score (Macro)",
        image="1",
        label="1",
        ours="macro_f1",
    ),
    "ids in the second column": Kind(
        TRAIN + TEST, {"train.csv": pets(), NAMED: rows("label,id", [("cat", n) for n in ASKED])}
    ),
    "several images of what is asked for, by a column of both tables": Kind(
        TRAIN + TEST,
        {
            "train.csv": rows("id,patient,label", [(n, f"p{n // 2}", PETS[n // 2 % 3]) for n in TWELVE]),
            "test.csv": rows("id,patient", [(n, f"q{n // 2}") for n in ASKED]),
            NAMED: sample("patient,label", ids=("q50", "q51")),
        },
    ),
    "no answers in the sample submission": Kind(TRAIN + TEST, {"train.csv": pets(), NAMED: sample(value="")}),
    "a benchmark as the sample submission": Kind(TRAIN + TEST, {"train.csv": pets(), "mean_benchmark.csv": sample()}),
    "an example as the sample submission": Kind(TRAIN + TEST, {"train.csv": pets(), "example_entry.csv": sample()}),
    "a row of no image": Kind(
        [f"train/{n}.jpg" for n in range(40)] + TEST,
        {"train.csv": pets(range(40)) + ".DS_Store,\n", NAMED: sample()},
        trained=40,
        says="1 of 41 rows",
    ),
    "a row doubled": Kind(TRAIN + TEST, {"train.csv": pets() + "0,cat\n", NAMED: sample()}),
    "images of one patient": Kind(
        TRAIN + TEST,
        {
            "train.csv": yes(header="id,target,patient_id", more=lambda n: (f"p{n // 2}",)),
            NAMED: sample("id,target", 0.5),
        },
        metric=AUC,
        image="1",
        label="1",
        form="ProbabilityOf",
        ours="roc_auc",
        says="'patient_id'",
    ),
    "images of one place": Kind(
        TRAIN + TEST,
        {
            "train.csv": pets(header="id,category,location", more=lambda n: (f"l{n // 2}",)),
            NAMED: sample("id,category"),
        },
        says="'location'",
    ),
    "left and right of one body": Kind(
        [f"train/{n // 2}_{('left', 'right')[n % 2]}.jpg" for n in TWELVE] + TEST,
        {
            "train.csv": grades([f"{n // 2}_{('left', 'right')[n % 2]}" for n in TWELVE], "image,level"),
            NAMED: sample("image,level", 0),
        },
        metric="Quadratic Weighted Kappa",
        image="0_right",
        label="1",
        ours="quadratic_kappa",
        says="left",
    ),
}


@pytest.mark.parametrize("name", KINDS)
def test_it_is_read_as_it_is_meant_without_an_edit(name, tmp_path):
    must_be_read_as_meant(name, KINDS[name], tmp_path)
