"""Kinds of competitions' files: each is read as people who know it would declare it, or there is a ? beside it.

`docs/starting.md` has a row for each.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from comp.data.preparing import prepare_files
from comp.data.tables import read_tables
from comp.new.inference import infer
from comp.new.look import look_at_folder

TWELVE = range(12)
ASKED = range(100, 104)
TRAIN = [f"train/{number}.jpg" for number in TWELVE]
TEST = [f"test/{number}.jpg" for number in ASKED]
AUC = "Area Under Receiver Operating Characteristic Curve"
COLOURS = ("blue", "green", "red", "yellow")
PETS = ("cat", "dog", "owl")


@dataclass(frozen=True)
class Kind:
    """Files and tables, and what is to come out.

    files: images, all empty. tables: CSVs as text, with the sample submission among them. metric: Kaggle's name.
    label: of the image that is named first. form, ours: the submission form and the metric; a ``?`` before the metric
    says that it is a guess. asked: how many images are to be predicted.
    """

    files: list[str]
    tables: dict[str, str]
    metric: str
    image: str
    label: object
    form: str
    ours: str
    asked: int = 4
    trained: int = 12
    says: str = ""


def rows(header, lines, separator=","):
    return "\n".join([header, *(separator.join(map(str, line)) for line in lines)]) + "\n"


def sample(header="id,label", value="cat", ids=ASKED):
    return rows(header, [(one, value) for one in ids])


def pets(ids=TWELVE, header="id,label", more=lambda _: ()):
    return rows(header, [(one, PETS[number % 3], *more(number)) for number, one in enumerate(ids)])


def grades(ids=TWELVE, header="id,grade"):
    return rows(header, [(one, number % 4) for number, one in enumerate(ids)])


def yes(ids=TWELVE, header="id,target", more=lambda _: ()):
    return rows(header, [(one, number % 2, *more(number)) for number, one in enumerate(ids)])


def numbers(ids=TWELVE, header="id,age"):
    return rows(header, [(one, 20 + 3.5 * number) for number, one in enumerate(ids)])


def coco(first="id", files=TRAIN):
    images = [{first: number, "file_name": Path(name).name} for number, name in enumerate(files)]
    labels = [{"image_id": number, "category_id": number % 3} for number in range(len(files))]
    return json.dumps(
        {"images": images, "annotations": labels, "categories": [{"id": n, "name": p} for n, p in enumerate(PETS)]}
    )


ACCURACY, NAMED = "Categorization Accuracy", "sample_submission.csv"
PER_CLASS = {NAMED: sample(f"id,{','.join(PETS)}", "0.3,0.3,0.4")}
KINDS = {
    "a CSV of ids and classes": Kind(
        TRAIN + TEST, {"train.csv": pets(), NAMED: sample()}, ACCURACY, "0", "cat", "ClassName", "accuracy"
    ),
    "names with their suffix": Kind(
        TRAIN + TEST,
        {"train.csv": pets([f"{n}.jpg" for n in TWELVE]), NAMED: sample(ids=[f"{n}.jpg" for n in ASKED])},
        ACCURACY,
        "0.jpg",
        "cat",
        "ClassName",
        "accuracy",
    ),
    "a probability per class": Kind(
        TRAIN + TEST,
        {"train.csv": pets(), **PER_CLASS},
        "Multi Class Log Loss",
        "0",
        "cat",
        "ProbabilityPerClass",
        "log_loss",
    ),
    "columns class_0, class_1, … for the labels 0, 1, …": Kind(
        TRAIN + TEST,
        {
            "train.csv": grades(header="id,label"),
            NAMED: sample("id,class_0,class_1,class_2,class_3", "0.25,0.25,0.25,0.25"),
        },
        "Log Loss",
        "1",
        "1",
        "ProbabilityPerClass",
        "log_loss",
    ),
    "a probability of yes": Kind(
        TRAIN + TEST, {"train.csv": yes(), NAMED: sample("id,target", 0.5)}, AUC, "1", "1", "ProbabilityOf", "roc_auc"
    ),
    "partial AUC": Kind(
        TRAIN + TEST,
        {"train.csv": yes(), NAMED: sample("id,target", 0.5)},
        "pAUC above 80% TPR",
        "1",
        "1",
        "ProbabilityOf",
        "pauc",
    ),
    "an AUC of another kind": Kind(
        TRAIN + TEST,
        {"train.csv": yes(), NAMED: sample("id,target", 0.5)},
        "Weighted AUC",
        "1",
        "1",
        "ProbabilityOf",
        "?roc_auc",
    ),
    "probabilistic F1": Kind(
        TRAIN + TEST,
        {"train.csv": yes(), NAMED: sample("id,target", 0.5)},
        "Probabilistic F1",
        "1",
        "1",
        "ProbabilityOf",
        "pf1",
    ),
    "balanced accuracy": Kind(
        TRAIN + TEST,
        {"train.csv": pets(), NAMED: sample()},
        "Balanced Accuracy",
        "0",
        "cat",
        "ClassName",
        "balanced_accuracy",
    ),
    "an accuracy with weights": Kind(
        TRAIN + TEST,
        {"train.csv": pets(), NAMED: sample()},
        "Weighted Categorization Accuracy",
        "0",
        "cat",
        "ClassName",
        "?accuracy",
    ),
    "macro F1": Kind(
        TRAIN + TEST, {"train.csv": pets(), NAMED: sample()}, "Macro F1 Score", "0", "cat", "ClassName", "macro_f1"
    ),
    "the F1 of yes": Kind(
        TRAIN + TEST, {"train.csv": yes(), NAMED: sample("id,target", 0)}, "F1 Score", "1", "1", "ClassName", "f1"
    ),
    "a word that is no class": Kind(
        TRAIN + TEST,
        {"train.csv": pets(), NAMED: sample(value="unknown")},
        ACCURACY,
        "0",
        "cat",
        "ClassName",
        "accuracy",
        says="unknown",
    ),
    "grades": Kind(
        TRAIN + TEST,
        {"train.csv": grades(), NAMED: sample("id,grade", 0)},
        "Quadratic Weighted Kappa",
        "1",
        "1",
        "ClassName",
        "quadratic_kappa",
    ),
    "grades by a kappa with linear weights": Kind(
        TRAIN + TEST,
        {"train.csv": grades(), NAMED: sample("id,grade", 0)},
        "Linear Weighted Kappa",
        "1",
        "1",
        "ClassName",
        "linear_kappa",
    ),
    "a number": Kind(
        TRAIN + TEST,
        {"train.csv": numbers(), NAMED: sample("id,age", 30)},
        "Root Mean Squared Error",
        "1",
        {"age": 23.5},
        "Numbers",
        "rmse",
    ),
    "a whole number": Kind(
        TRAIN + TEST,
        {
            "train.csv": rows("Id,Pawpularity", [(n, n % 6 * 10) for n in TWELVE]),
            NAMED: sample("Id,Pawpularity", "43.2"),
        },
        "RMSE",
        "1",
        {"Pawpularity": 10.0},
        "Numbers",
        "rmse",
    ),
    "several numbers": Kind(
        TRAIN + TEST,
        {"train.csv": rows("id,x,y", [(n, n / 2, 2.5 * n) for n in TWELVE]), NAMED: sample("id,x,y", "0,0")},
        "Mean Columnwise RMSE",
        "1",
        {"x": 0.5, "y": 2.5},
        "Numbers",
        "mcrmse",
    ),
    "the five likeliest classes": Kind(
        TRAIN + TEST,
        {
            "train.csv": rows("image,species,individual_id", [(n, PETS[n % 3], f"x{n % 6}") for n in TWELVE]),
            NAMED: sample("image,predictions", "x1 x2 x3 x4 x5"),
        },
        "MAP@5",
        "1",
        "x1",
        "TopClasses",
        "map_at_k",
    ),
    "a class and its confidence": Kind(
        TRAIN + TEST,
        {"train.csv": grades(header="id,landmark_id"), NAMED: sample("id,landmarks", "1 0.1")},
        "Global Average Precision",
        "1",
        "1",
        "ClassWithConfidence",
        "gap",
    ),
    "tags": Kind(
        TRAIN + TEST,
        {
            "train.csv": rows("id,tags", [(n, " ".join({PETS[n % 3], PETS[n // 3 % 3]})) for n in TWELVE]),
            NAMED: sample("id,tags", "cat dog"),
        },
        "Mean F Score Beta",
        "0",
        ("cat",),
        "TagNames",
        "mean_f2",
    ),
    "tags in a list": Kind(
        TRAIN + TEST,
        {
            "train.csv": rows("id;tags", [(n, str([PETS[n % 3], "red"])) for n in TWELVE], ";"),
            NAMED: sample("id,tags", "cat red"),
        },
        "Micro F1",
        "0",
        ("cat", "red"),
        "TagNames",
        "micro_f1",
    ),
    "a row for each tag": Kind(
        TRAIN + TEST,
        {
            "train.csv": rows("id,tag", [(n, tag) for n in TWELVE for tag in (PETS[n % 3], "red")]),
            NAMED: sample("id,tag", "cat red"),
        },
        "Mean F1 Score",
        "0",
        ("cat", "red"),
        "TagNames",
        "mean_f1",
    ),
    "a column of 0 and 1 for each class": Kind(
        TRAIN + TEST,
        {"train.csv": rows("id,cat,dog,owl", [(n, *(int(n % 3 == c) for c in range(3))) for n in TWELVE]), **PER_CLASS},
        AUC,
        "0",
        "cat",
        "ProbabilityPerClass",
        "roc_auc",
    ),
    "a column of 0 and 1 for each tag": Kind(
        TRAIN + TEST,
        {"train.csv": rows("id,cat,dog,owl", [(n, n % 2, 1, int(n > 5)) for n in TWELVE]), **PER_CLASS},
        f"Mean Columnwise {AUC}",
        "0",
        ("dog",),
        "ProbabilityPerClass",
        "mean_columnwise_roc_auc",
    ),
    "shares of classes": Kind(
        TRAIN + TEST,
        {"train.csv": rows("id,cat,dog,owl", [(n, n / 20, 0.3, 0.7 - n / 20) for n in TWELVE]), **PER_CLASS},
        "Log Loss",
        "0",
        {"cat": 0.0, "dog": 0.3, "owl": 0.7},
        "ProbabilityPerClass",
        "log_loss",
    ),
    "a folder for each class": Kind(
        [f"train/{PETS[n % 3]}/{n}.jpg" for n in TWELVE] + TEST,
        {NAMED: sample()},
        ACCURACY,
        "cat/0",
        "cat",
        "ClassName",
        "accuracy",
    ),
    "class folders beside the test images": Kind(
        [f"{PETS[n % 3]}/{n}.jpg" for n in TWELVE] + TEST,
        {NAMED: sample()},
        ACCURACY,
        "cat/0",
        "cat",
        "ClassName",
        "accuracy",
    ),
    "class folders in another folder as well": Kind(
        [f"train/{PETS[n % 3]}/{n}.jpg" for n in TWELVE] + [f"extra/{PETS[n % 2]}/{n}.jpg" for n in range(4)] + TEST,
        {NAMED: sample()},
        ACCURACY,
        "cat/0",
        "cat",
        "ClassName",
        "accuracy",
    ),
    "class folders with letters of their own": Kind(
        [f"train/{name}/{n}.jpg" for n in TWELVE for name in (("Löwe", "Bär")[n % 2],)] + TEST,
        {NAMED: sample(value="Löwe")},
        ACCURACY,
        "Löwe/0",
        "Löwe",
        "ClassName",
        "accuracy",
    ),
    "folders that are not the label": Kind(
        [f"train/{n % 4}/{n}.jpg" for n in TWELVE] + TEST,
        {
            "train.csv": rows("image,chain,hotel_id", [(f"{n}.jpg", n % 4, n % 6) for n in TWELVE]),
            NAMED: sample("image,hotel_id", 3, [f"{n}.jpg" for n in ASKED]),
        },
        ACCURACY,
        "7.jpg",
        "1",
        "ClassName",
        "accuracy",
    ),
    "classes in file names": Kind(
        [f"train/{PETS[n % 3]}.{n}.jpg" for n in TWELVE] + TEST,
        {NAMED: sample()},
        ACCURACY,
        "cat.0",
        "cat",
        "ClassName",
        "accuracy",
    ),
    "digits in file names": Kind(
        [f"training/{n}_{n % 3}.jpg" for n in TWELVE] + TEST,
        {NAMED: sample(value=1)},
        ACCURACY,
        "1_1",
        "1",
        "ClassName",
        "accuracy",
    ),
    "test images in folders of folders": Kind(
        TRAIN + [f"test/{n % 2}/{n % 3}/{n}.jpg" for n in ASKED],
        {"train.csv": pets(), NAMED: sample()},
        ACCURACY,
        "0",
        "cat",
        "ClassName",
        "accuracy",
    ),
    "test images in two folders": Kind(
        TRAIN + [f"test{n % 2}/{n}.jpg" for n in ASKED],
        {"train.csv": pets(), NAMED: sample()},
        ACCURACY,
        "0",
        "cat",
        "ClassName",
        "accuracy",
    ),
    "ids that are paths": Kind(
        TRAIN + TEST,
        {"train.csv": pets(TRAIN), NAMED: sample(ids=TEST)},
        ACCURACY,
        "train/0.jpg",
        "cat",
        "ClassName",
        "accuracy",
    ),
    "a table of the test images": Kind(
        TRAIN + [f"test/image{n}.jpg" for n in ASKED],
        {"train.csv": pets(), "test.csv": rows("id,file", [(n, f"image{n}.jpg") for n in ASKED]), NAMED: sample()},
        ACCURACY,
        "0",
        "cat",
        "ClassName",
        "accuracy",
    ),
    "training images in folders of folders": Kind(
        [f"train/{n % 2}/{n}.jpg" for n in TWELVE] + TEST,
        {"train.csv": pets(), NAMED: sample()},
        ACCURACY,
        "0",
        "cat",
        "ClassName",
        "accuracy",
    ),
    "a suffix in capitals": Kind(
        [f"train/{n}.JPG" for n in TWELVE] + TEST,
        {"train.csv": pets([f"{n}.jpg" for n in TWELVE]), NAMED: sample()},
        ACCURACY,
        "0.jpg",
        "cat",
        "ClassName",
        "accuracy",
    ),
    "two suffixes": Kind(
        [f"train/{n}.{'png' if n % 2 else 'jpg'}" for n in TWELVE] + TEST,
        {"train.csv": pets(), NAMED: sample()},
        ACCURACY,
        "0",
        "cat",
        "ClassName",
        "accuracy",
    ),
    "numbers that lost their zeros": Kind(
        [f"train/{n:04}.jpg" for n in TWELVE] + [f"test/{n:05}.jpg" for n in ASKED],
        {"train.csv": pets(), NAMED: sample()},
        ACCURACY,
        "0",
        "cat",
        "ClassName",
        "accuracy",
    ),
    "all images in one folder": Kind(
        [f"images/{n}.jpg" for n in (*TWELVE, *ASKED)],
        {"train.csv": pets(), NAMED: sample()},
        ACCURACY,
        "0",
        "cat",
        "ClassName",
        "accuracy",
    ),
    "train and test in one CSV": Kind(
        [f"images/{n}.jpg" for n in (*TWELVE, *ASKED)],
        {
            "all.csv": rows(
                "id,split,label", [(n, "train" if n in TWELVE else "test", PETS[n % 3]) for n in (*TWELVE, *ASKED)]
            ),
            NAMED: sample(),
        },
        ACCURACY,
        "0",
        "cat",
        "ClassName",
        "accuracy",
        says="'train' in 'split'",
    ),
    "tab-separated": Kind(
        TRAIN + TEST,
        {"train.tsv": pets().replace(",", "\t"), NAMED: sample()},
        ACCURACY,
        "0",
        "cat",
        "ClassName",
        "accuracy",
    ),
    "separated by semicolons": Kind(
        TRAIN + TEST,
        {"train.csv": pets().replace(",", ";"), NAMED: sample()},
        ACCURACY,
        "0",
        "cat",
        "ClassName",
        "accuracy",
    ),
    "an unnamed first column": Kind(
        TRAIN + TEST,
        {"train.csv": rows(",id,label", [(n + 50, n, PETS[n % 3]) for n in TWELVE]), NAMED: sample()},
        ACCURACY,
        "0",
        "cat",
        "ClassName",
        "accuracy",
    ),
    "COCO's JSON": Kind(
        TRAIN + TEST, {"train.json": coco(), NAMED: sample()}, ACCURACY, "0", "cat", "ClassName", "accuracy"
    ),
    "a JSON with image_id for id": Kind(
        TRAIN + TEST, {"train.json": coco("image_id"), NAMED: sample()}, ACCURACY, "0", "cat", "ClassName", "accuracy"
    ),
    "a benchmark as the sample submission": Kind(
        TRAIN + TEST,
        {"train.csv": pets(), "mean_benchmark.csv": sample()},
        ACCURACY,
        "0",
        "cat",
        "ClassName",
        "accuracy",
    ),
    "an example as the sample submission": Kind(
        TRAIN + TEST,
        {"train.csv": pets(), "example_entry.csv": sample()},
        ACCURACY,
        "0",
        "cat",
        "ClassName",
        "accuracy",
    ),
    "a row of no image": Kind(
        [f"train/{n}.jpg" for n in range(40)] + TEST,
        {"train.csv": pets(range(40)) + ".DS_Store,\n", NAMED: sample()},
        ACCURACY,
        "0",
        "cat",
        "ClassName",
        "accuracy",
        trained=40,
        says="1 of 41 rows",
    ),
    "a row doubled": Kind(
        TRAIN + TEST, {"train.csv": pets() + "0,cat\n", NAMED: sample()}, ACCURACY, "0", "cat", "ClassName", "accuracy"
    ),
    "images of one patient": Kind(
        TRAIN + TEST,
        {
            "train.csv": yes(header="id,target,patient_id", more=lambda n: (f"p{n // 2}",)),
            NAMED: sample("id,target", 0.5),
        },
        AUC,
        "1",
        "1",
        "ProbabilityOf",
        "roc_auc",
        says="'patient_id'",
    ),
    "images of one place": Kind(
        TRAIN + TEST,
        {
            "train.csv": pets(header="id,category,location", more=lambda n: (f"l{n // 2}",)),
            NAMED: sample("id,category"),
        },
        ACCURACY,
        "0",
        "cat",
        "ClassName",
        "accuracy",
        says="'location'",
    ),
    "a pixel in each column": Kind(
        [],
        {
            "train.csv": rows(
                "label,p0,p1,p2,p3,p4,p5,p6,p7,p8,p9,p10,p11,p12,p13,p14,p15", [(n % 2, *[n] * 16) for n in TWELVE]
            ),
            "test.csv": rows("p0,p1,p2,p3,p4,p5,p6,p7,p8,p9,p10,p11,p12,p13,p14,p15", [[n] * 16 for n in ASKED]),
            NAMED: sample("ImageId,Label", 0, range(1, 5)),
        },
        ACCURACY,
        "1/2",
        "1",
        "ClassName",
        "accuracy",
    ),
    "DICOM": Kind(
        [f"train/{n}.dcm" for n in TWELVE] + [f"test/{n}.dcm" for n in ASKED],
        {"train.csv": yes(), NAMED: sample("id,target", 0.5)},
        AUC,
        "1",
        "1",
        "ProbabilityOf",
        "roc_auc",
    ),
    "numpy's arrays": Kind(
        [f"train/{n}.npy" for n in TWELVE] + [f"test/{n}.npy" for n in ASKED],
        {"train.csv": pets(), NAMED: sample()},
        ACCURACY,
        "0",
        "cat",
        "ClassName",
        "accuracy",
    ),
    "a folder of images for each row": Kind(
        [f"train/{n}/{k}.png" for n in TWELVE for k in range(3)]
        + [f"test/{n}/{k}.png" for n in ASKED for k in range(2)],
        {"train.csv": yes(), NAMED: sample("id,target", 0.5)},
        AUC,
        "1/0",
        "1",
        "ProbabilityOf",
        "roc_auc",
        asked=8,
        trained=36,
    ),
    "a file for each channel": Kind(
        [
            f"{part}/{n}_{colour}.png"
            for part, ids in (("train", TWELVE), ("test", ASKED))
            for n in ids
            for colour in ("blue", "green", "red", "yellow")
        ],
        {"train.csv": rows("Id,Target", [(n, f"{n % 3} 9") for n in TWELVE]), NAMED: sample("Id,Predicted", "0 9")},
        "Macro F1",
        "1",
        ("1", "9"),
        "TagNames",
        "?mean_f1",
    ),
    "left and right of one body": Kind(
        [f"train/{n // 2}_{('left', 'right')[n % 2]}.jpg" for n in TWELVE] + TEST,
        {
            "train.csv": grades([f"{n // 2}_{('left', 'right')[n % 2]}" for n in TWELVE], "image,level"),
            NAMED: sample("image,level", 0),
        },
        "Quadratic Weighted Kappa",
        "0_right",
        "1",
        "ClassName",
        "quadratic_kappa",
        says="left",
    ),
}


@pytest.fixture(params=KINDS)
def kind(request, tmp_path):
    made = KINDS[request.param]
    for name in made.files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for name, text in made.tables.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return made


def test_each_kind_of_files_is_read_as_it_is_meant_without_an_edit(kind, tmp_path):
    look = look_at_folder(tmp_path)
    object.__setattr__(look, "metric", kind.metric)
    inferred = infer(look, "mine", "mine")
    competition = inferred.competition
    prepare_files(competition, tmp_path)
    tables = read_tables(competition, tmp_path)
    labels = dict(zip(tables.train["id"], tables.train["label"], strict=True))
    found = dict(labels[kind.image]) if isinstance(kind.label, dict) else labels[kind.image]
    assert found == kind.label
    assert (len(tables.train), len(tables.test)) == (kind.trained, kind.asked)
    assert type(competition.submission).__name__ == kind.form
    assert competition.scoring.name == kind.ours.removeprefix("?")
    (metric,) = (finding for finding in inferred.findings if finding.about == "metric")
    assert metric.sure is not kind.ours.startswith("?")
    assert any(kind.says in finding.text for finding in inferred.findings)


def test_the_docs_have_a_row_for_each_kind():
    text = (Path(__file__).parents[2] / "docs" / "starting.md").read_text(encoding="utf-8")
    assert [name for name in KINDS if f"| {name} |" not in text] == []
