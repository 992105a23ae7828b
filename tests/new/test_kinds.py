"""Kinds of files, each read as people who know it would declare it: by a row of `docs/starting.md`, without an edit."""

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from comp.data.preparing import prepare_files
from comp.data.tables import read_tables
from comp.kaggle.client import connect
from comp.local_kaggle.server import running
from comp.new.at_kaggle import look_at_kaggle
from comp.new.inference import infer
from comp.new.look import look_at_folder
from comp.new.writing import assignment

DOCS = (Path(__file__).parents[2] / "docs" / "starting.md").read_text(encoding="utf-8")
TWELVE, ASKED = range(12), range(100, 104)
SETS = (("train", TWELVE), ("test", ASKED))
PETS = ("cat", "dog", "owl")
AUC, KAPPA = "Area Under Receiver Operating Characteristic Curve", "Quadratic Weighted Kappa"


def placed(*patterns, of=SETS):
    """Paths of images: n of a part, and k, counted to three, where the pattern has it."""
    some = {
        pattern.format(part=part, n=n, k=k, pet=PETS[n % 3], half=n % 2, third=n % 3)
        for pattern in patterns
        for part, numbers in of
        for n in numbers
        for k in range(3)
    }
    return sorted(some)


TRAIN, TEST = placed("{part}/{n}.jpg", of=SETS[:1]), placed("{part}/{n}.jpg", of=SETS[1:])


@dataclass(frozen=True)
class Kind:
    """Files, none an image, and tables as text; the label that one image is to have, and how many there are."""

    files: list[str]
    tables: dict[str, str]
    metric: str
    truth: tuple[str, object]
    asked: int
    trained: int
    says: str


def kind(files=None, *, metric="Categorization Accuracy", truth=("0", "cat"), asked=4, trained=12, says="", **tables):
    """tables: by their names, ``train`` for train.csv; where no sample submission is given, it asks for cats."""
    named = {name if "." in name else f"{name}.csv": text for name, text in {"sample": sample(), **tables}.items()}
    if (text := named.pop("sample.csv")) is not None:
        named["sample_submission.csv"] = text
    return Kind(TRAIN + TEST if files is None else files, named, metric, truth, asked, trained, says)


def rows(header, lines, separator=","):
    return "\n".join([header, *(separator.join(map(str, line)) for line in lines)]) + "\n"


def sample(header="id,label", value="cat", ids=ASKED):
    return rows(header, [(one, value) for one in ids])


def pets(ids=TWELVE, header="id,label", more=lambda _: ()):
    return rows(header, [(one, PETS[number % 3], *more(number)) for number, one in enumerate(ids)])


def counted(count, header="id,grade", ids=TWELVE, more=lambda _: ()):
    """Labels 0, 1, … in turn."""
    return rows(header, [(one, number % count, *more(number)) for number, one in enumerate(ids)])


def each(header, line, of=TWELVE):
    return rows(header, [line(n) for n in of])


def yes(files=None, metric=AUC, value=0.5, label="target", more=lambda _: (), **others):
    """Two classes, 0 and 1."""
    header = f"id,{label}" + (f",{others.pop('column')}" if "column" in others else "")
    tables = {"train": counted(2, header, more=more), "sample": sample(f"id,{label}", value)}
    return kind(files, metric=metric, **{"truth": ("1", "1"), **tables, **others})


def per_class(train, metric, truth=("0", "cat")):
    return kind(metric=metric, truth=truth, train=train, sample=sample(f"id,{','.join(PETS)}", "0.3,0.3,0.4"))


def coco(first="id", files=TRAIN, by_name=False):
    images = [{first: number, "file_name": name.removeprefix("train/")} for number, name in enumerate(files)]
    labels = [{"image_id": number, "category_id": number % 3} for number in range(len(files))]
    categories = [{"id": n, "name": p} for n, p in enumerate(PETS)]
    return json.dumps({"images": images, "annotations": labels, "categories": categories})


def bands(ids, labelled):
    rest = [{"is_iceberg": n % 2} if labelled else {} for n, _ in enumerate(ids)]
    pixels = {"band_1": [-20.5] * 16, "band_2": [-30.25] * 16}
    return json.dumps([{"id": f"x{n}", **pixels, "inc_angle": "na", **more} for n, more in zip(ids, rest, strict=True)])


def ids_of_classes(ids, value):
    return [
        (f"ID_{one}_{name}", value(number, name)) for number, one in enumerate(ids) for name in ("any", "epi", "sub")
    ]


PIXELS = ",".join(f"p{number}" for number in range(16))
FACE = "70 80 82 " * 5 + "0"
WELL = "{part}/HEPG2-0{third}/Plate{half}/B{n:03}_s{k}_w1.png"
SIDES = [f"{n // 2}_{('left', 'right')[n % 2]}" for n in TWELVE]

KINDS = {
    # Labels, submissions and metrics.
    "a CSV of ids and classes": kind(train=pets()),
    "a probability per class": per_class(pets(), "Multi Class Log Loss"),
    "columns class_0, class_1, … for the labels 0, 1, …": kind(
        metric="Log Loss",
        truth=("1", "1"),
        train=counted(4, "id,label"),
        sample=sample("id,class_0,class_1,class_2,class_3", "0.25,0.25,0.25,0.25"),
    ),
    "a probability of yes": yes(),
    "partial AUC": yes(metric="pAUC above 80% TPR"),
    "an AUC of another kind": yes(metric="Weighted AUC"),
    "probabilistic F1": yes(metric="Probabilistic F1"),
    "balanced accuracy": kind(metric="Balanced Accuracy", train=pets()),
    "an accuracy with weights": kind(metric="Weighted Categorization Accuracy", train=pets()),
    "macro F1": kind(metric="Macro F1 Score", train=pets()),
    "the F1 of yes": yes(metric="F1 Score", value=0),
    "a word that is no class": kind(train=pets(), sample=sample(value="unknown"), says="unknown"),
    "grades": kind(metric=KAPPA, truth=("1", "1"), train=counted(4), sample=sample("id,grade", 0)),
    "grades by a kappa with linear weights": kind(
        metric="Linear Weighted Kappa", truth=("1", "1"), train=counted(4), sample=sample("id,grade", 0)
    ),
    "a number": kind(
        metric="Root Mean Squared Error",
        truth=("1", {"age": 23.5}),
        train=each("id,age", lambda n: (n, 20 + 3.5 * n)),
        sample=sample("id,age", 30),
    ),
    "a whole number": kind(
        metric="RMSE",
        truth=("1", {"Pawpularity": 10.0}),
        train=each("Id,Pawpularity", lambda n: (n, n % 6 * 10)),
        sample=sample("Id,Pawpularity", "43.2"),
    ),
    "several numbers": kind(
        metric="Mean Columnwise RMSE",
        truth=("1", {"x": 0.5, "y": 2.5}),
        train=each("id,x,y", lambda n: (n, n / 2, 2.5 * n)),
        sample=sample("id,x,y", "0,0"),
    ),
    "the five likeliest classes": kind(
        metric="MAP@5",
        truth=("1", "x1"),
        train=each("image,species,individual_id", lambda n: (n, PETS[n % 3], f"x{n % 6}")),
        sample=sample("image,predictions", "x1 x2 x3 x4 x5"),
    ),
    "a class and its confidence": kind(
        metric="Global Average Precision",
        truth=("1", "1"),
        train=counted(4, "id,landmark_id"),
        sample=sample("id,landmarks", "1 0.1"),
    ),
    "tags": kind(
        metric="Mean F Score Beta",
        truth=("0", ("cat",)),
        train=each("id,tags", lambda n: (n, " ".join({PETS[n % 3], PETS[n // 3 % 3]}))),
        sample=sample("id,tags", "cat dog"),
    ),
    "tags in a list": kind(
        metric="Micro F1",
        truth=("0", ("cat", "red")),
        train=rows("id;tags", [(n, str([PETS[n % 3], "red"])) for n in TWELVE], ";"),
        sample=sample("id,tags", "cat red"),
    ),
    "a row for each tag": kind(
        metric="Mean F1 Score",
        truth=("0", ("cat", "red")),
        train=rows("id,tag", [(n, tag) for n in TWELVE for tag in (PETS[n % 3], "red")]),
        sample=sample("id,tag", "cat red"),
    ),
    "a column of 0 and 1 for each class": per_class(
        each("id,cat,dog,owl", lambda n: (n, *(int(n % 3 == c) for c in range(3)))), AUC
    ),
    "a column of 0 and 1 for each tag": per_class(
        each("id,cat,dog,owl", lambda n: (n, n % 2, 1, int(n > 5))), f"Mean Columnwise {AUC}", ("0", ("dog",))
    ),
    "shares of classes": per_class(
        each("id,cat,dog,owl", lambda n: (n, n / 20, 0.3, 0.7 - n / 20)),
        "Log Loss",
        ("0", {"cat": 0.0, "dog": 0.3, "owl": 0.7}),
    ),
    "a row for each image and class": kind(
        placed("{part}/ID_{n}.dcm"),
        metric="Mean Columnwise Log Loss",
        truth=("ID_1", ("any", "sub")),
        train=rows("ID,Label", ids_of_classes(TWELVE, lambda n, name: int((n % 2 and name != "epi") or n == 4))),
        sample=rows("ID,Label", ids_of_classes(ASKED, lambda *_: 0.5)),
    ),
    "a row for each image and class of the labels' columns": kind(
        metric=AUC,
        truth=("1", ("any", "sub")),
        train=each("uid,any,epi,sub", lambda n: (n, n % 2, int(n == 4), n % 2)),
        sample=rows("row_id,fractured", [(f"{n}_{name}", 0.5) for n in ASKED for name in ("any", "epi", "sub")]),
    ),
    # Where images lie, how they are called and what they are.
    "a folder for each class": kind(placed("train/{pet}/{n}.jpg", of=SETS[:1]) + TEST, truth=("cat/0", "cat")),
    "class folders beside the test images": kind(placed("{pet}/{n}.jpg", of=SETS[:1]) + TEST, truth=("cat/0", "cat")),
    "class folders in another folder as well": kind(
        placed("train/{pet}/{n}.jpg", of=SETS[:1]) + [f"extra/{PETS[n % 2]}/{n}.jpg" for n in range(4)] + TEST,
        truth=("cat/0", "cat"),
    ),
    "class folders with letters of their own": kind(
        [f"train/{('Löwe', 'Bär')[n % 2]}/{n}.jpg" for n in TWELVE] + TEST,
        truth=("Löwe/0", "Löwe"),
        sample=sample(value="Löwe"),
    ),
    "folders that are not the label": kind(
        [f"train/{n % 4}/{n}.jpg" for n in TWELVE] + TEST,
        truth=("7.jpg", "1"),
        train=each("image,chain,hotel_id", lambda n: (f"{n}.jpg", n % 4, n % 6)),
        sample=sample("image,hotel_id", 3, [f"{n}.jpg" for n in ASKED]),
    ),
    "folders of the label, and a table of who is on an image": kind(
        placed("train/{pet}/{n}.jpg", of=SETS[:1]) + TEST,
        truth=("0.jpg", "cat"),
        drivers=each("subject,classname,img", lambda n: (f"p{n // 2}", PETS[n % 3], f"{n}.jpg")),
        says="'subject'",
    ),
    "classes in file names": kind(placed("train/{pet}.{n}.jpg", of=SETS[:1]) + TEST, truth=("cat.0", "cat")),
    "digits in file names": kind(
        placed("training/{n}_{third}.jpg", of=SETS[:1]) + TEST, truth=("1_1", "1"), sample=sample(value=1)
    ),
    "test images in folders of folders": kind(TRAIN + placed("test/{half}/{third}/{n}.jpg", of=SETS[1:]), train=pets()),
    "test images in two folders": kind(TRAIN + placed("test{half}/{n}.jpg", of=SETS[1:]), train=pets()),
    "ids that are paths": kind(
        truth=("train/0.jpg", "cat"), train=pets([f"train/{n}.jpg" for n in TWELVE]), sample=sample(ids=TEST)
    ),
    "a table of the test images": kind(
        TRAIN + placed("test/image{n}.jpg", of=SETS[1:]),
        train=pets(),
        test=each("id,file", lambda n: (n, f"image{n}.jpg"), ASKED),
    ),
    "training images in folders of folders": kind(placed("train/{half}/{n}.jpg", of=SETS[:1]) + TEST, train=pets()),
    "a suffix in capitals": kind(
        placed("train/{n}.JPG", of=SETS[:1]) + TEST,
        truth=("0.jpg", "cat"),
        train=pets([f"{n}.jpg" for n in TWELVE]),
    ),
    "two suffixes": kind([f"train/{n}.{'png' if n % 2 else 'jpg'}" for n in TWELVE] + TEST, train=pets()),
    "numbers that lost their zeros": kind(
        placed("train/{n:04}.jpg", of=SETS[:1]) + placed("test/{n:05}.jpg", of=SETS[1:]), train=pets()
    ),
    "all images in one folder": kind(placed("images/{n}.jpg"), train=pets()),
    "names with their suffix": kind(
        truth=("0.jpg", "cat"),
        train=pets([f"{n}.jpg" for n in TWELVE]),
        sample=sample(ids=[f"{n}.jpg" for n in ASKED]),
    ),
    "several columns that name an image together, in channels and two sites": kind(
        placed(WELL, WELL.replace("w1", "w2")),
        truth=("HEPG2-01/Plate1/B001_s0_w1", "1"),
        trained=36,
        asked=12,
        train=each(
            "id_code,experiment,plate,well,sirna",
            lambda n: (f"HEPG2-0{n % 3}_{n % 2}_B{n:03}", f"HEPG2-0{n % 3}", n % 2, f"B{n:03}", n % 4),
        ),
        test=each(
            "id_code,experiment,plate,well",
            lambda n: (f"HEPG2-0{n % 3}_{n % 2}_B{n:03}", f"HEPG2-0{n % 3}", n % 2, f"B{n:03}"),
            ASKED,
        ),
        sample=sample("id_code,sirna", 0, [f"HEPG2-0{n % 3}_{n % 2}_B{n:03}" for n in ASKED]),
    ),
    "a pixel in each column": kind(
        [],
        truth=("1/2", "1"),
        train=each(f"label,{PIXELS}", lambda n: (n % 2, *[n] * 16)),
        test=each(PIXELS, lambda n: [n] * 16, ASKED),
        sample=sample("ImageId,Label", 0, range(1, 5)),
    ),
    "all pixels in one column": kind(
        [],
        truth=("1/2", "1"),
        train=each("emotion,pixels", lambda n: (n % 2, FACE)),
        test=each("pixels", lambda _: (FACE,), ASKED),
        sample=sample("id,emotion", 0, range(4)),
    ),
    "pixels of train and test in one CSV": kind(
        [],
        truth=("1/2", "1"),
        faces=rows(
            "emotion, Usage, pixels",
            [(n % 2, "Training", FACE) for n in TWELVE]
            + [(0, use, FACE) for use in ("PublicTest", "PrivateTest") for _ in range(2)],
        ),
        sample=sample("id,emotion", 0, range(1, 5)),
        says="rows with 'Training' in 'Usage'",
    ),
    "arrays in a JSON of records": kind(
        [],
        metric="Log Loss",
        truth=("1/x1", "1"),
        sample=sample("id,is_iceberg", 0.5, [f"x{n}" for n in ASKED]),
        **{"train.json": bands(TWELVE, True), "test.json": bands(ASKED, False)},
    ),
    "DICOM": yes(placed("{part}/{n}.dcm")),
    "numpy's arrays": kind(placed("{part}/{n}.npy"), train=pets()),
    "a folder of images for each row": yes(placed("{part}/{n}/{k}.png"), truth=("1/0", "1"), asked=12, trained=36),
    "several images for each row, counted in their names": yes(
        placed("train/{n}-{k}.jpg", of=SETS[:1]) + placed("test/{n}-1.jpg", of=SETS[1:]),
        metric="Categorization Accuracy",
        value=0,
        label="speed",
        truth=("1-2", "1"),
        trained=36,
    ),
    "folders of folders of images for each row": yes(
        placed("{part}/{n}/a/{k}.png", "{part}/{n}/b/{k}.png"), truth=("1/a/0", "1"), asked=24, trained=72
    ),
    "arrays in folders of folders": kind(placed("{part}/{third}/{n}.npy"), train=pets()),
    "hidden images, which only a notebook will see": kind(
        placed("train_images/{n}.png", of=SETS[:1]),
        train=pets(),
        test=each("id,age", lambda n: (n, n - 97), ASKED),
        says="no image that sample_submission.csv asks for is here",
    ),
    "a folder for each class and images to predict, with no sample submission": kind(
        placed("train/{pet}/{n}.jpg", of=SETS[:1]) + TEST,
        metric="Log Loss",
        truth=("cat/0", "cat"),
        sample=None,
        says="prepared/sample_submission.csv",
    ),
    "a folder for each class to train on and to validate on": kind(
        placed("train/{pet}/{n}.jpg", "valid/{pet}/{n}.jpg", of=SETS[:1]) + TEST,
        truth=("valid/cat/0", "cat"),
        trained=24,
        says="those in valid validate",
    ),
    "a folder for each class and nothing else": kind(
        placed("{pet}/{n}.jpg", of=SETS[:1]),
        truth=("cat/00", "cat"),
        trained=9,
        asked=3,
        sample=None,
        says="20% of the labelled are hidden",
    ),
    "a file for each channel": kind(
        [
            path.replace(".png", f"_{c}.png")
            for path in placed("{part}/{n}.png")
            for c in ("blue", "green", "red", "yellow")
        ],
        metric="Macro F1",
        truth=("1", ("1", "9")),
        train=each("Id,Target", lambda n: (n, f"{n % 3} 9")),
        sample=sample("Id,Predicted", "0 9"),
    ),
    # Tables and JSONs.
    "train and test in one CSV": kind(
        placed("images/{n}.jpg"),
        all=rows("id,split,label", [(n, part, PETS[n % 3]) for part, of in SETS for n in of]),
        says="'train' in 'split'",
    ),
    "train, valid and test in one CSV": kind(
        placed("images/{n}.jpg"),
        all=each(
            "id,split,label",
            lambda n: (n, "test" if n in ASKED else "valid" if n > 8 else "train", PETS[n % 3]),
            (*TWELVE, *ASKED),
        ),
        says="those with 'valid' validate",
    ),
    "a CSV of validation rows": kind(
        placed("images/{n}.jpg"), train=pets(range(9)), val=pets(range(9, 12)), says="those of val.csv validate"
    ),
    "tab-separated": kind(**{"train.tsv": pets().replace(",", "\t")}),
    "separated by semicolons": kind(train=pets().replace(",", ";")),
    "an unnamed first column": kind(train=each(",id,label", lambda n: (n + 50, n, PETS[n % 3]))),
    "a table that can't be read beside others": kind(train=pets(), notes="a,a\n1,2\n", says="notes.csv"),
    "labels of what several images show, joined by another table": kind(
        metric="Mean F1 Score",
        truth=("0", ("cat", "red")),
        photo_to_biz=each("photo_id,business_id", lambda n: (n, f"b{n // 2}")),
        test_photo_to_biz=each("photo_id,business_id", lambda n: (n, f"b{n // 2}"), ASKED),
        train=each("business_id,labels", lambda n: (f"b{n}", f"{PETS[n % 3]} red"), range(6)),
        sample=sample("business_id,labels", "cat red", ("b50", "b51")),
    ),
    "COCO's JSON": kind(**{"train.json": coco()}),
    "COCO's JSON, and one of validation images": kind(
        placed("{part}/{n}.jpg", "val/{n}.jpg"),
        trained=24,
        says="those of val.json validate",
        **{"train.json": coco(), "val.json": coco()},
    ),
    "a JSON with image_id for id": kind(**{"train.json": coco("image_id")}),
    "a JSON of the images to predict, which gives them ids, and categories by number": kind(
        TRAIN + placed("test/a/x{n}.jpg", of=SETS[1:]),
        truth=("1", "1"),
        sample=sample("id,predicted", 2),
        **{
            "train.json": coco(),
            "test.json": json.dumps({"images": [{"id": n, "file_name": f"test/a/x{n}.jpg"} for n in ASKED]}),
        },
    ),
    "JSONs beside their images": kind(
        placed("a/{part}/images/00{half}/{n}.jpg"),
        metric="F1-Score (Macro)",
        truth=("1", "1"),
        sample=sample("Id,Predicted", 2),
        **{
            "a/train/metadata.json": coco(files=[f"images/{n % 2:03}/{n}.jpg" for n in TWELVE]),
            "a/test/metadata.json": json.dumps(
                [{"image_id": n, "file_name": f"images/{n % 2:03}/{n}.jpg"} for n in ASKED]
            ),
        },
    ),
    "ids in the second column": kind(train=pets(), sample=rows("label,id", [("cat", n) for n in ASKED])),
    "several images of what is asked for, by a column of both tables": kind(
        train=each("id,patient,label", lambda n: (n, f"p{n // 2}", PETS[n // 2 % 3])),
        test=each("id,patient", lambda n: (n, f"q{n // 2}"), ASKED),
        sample=sample("patient,label", ids=("q50", "q51")),
    ),
    "no answers in the sample submission": kind(train=pets(), sample=sample(value="")),
    "a benchmark as the sample submission": kind(train=pets(), sample=None, mean_benchmark=sample()),
    "an example as the sample submission": kind(train=pets(), sample=None, example_entry=sample()),
    "a row of no image": kind(
        placed("train/{n}.jpg", of=[("", range(40))]) + TEST,
        train=pets(range(40)) + ".DS_Store,\n",
        trained=40,
        says="1 of 41 rows",
    ),
    "a row doubled": kind(train=pets() + "0,cat\n"),
    "images of one patient": yes(column="patient_id", more=lambda n: (f"p{n // 2}",), says="'patient_id'"),
    "images of one place": kind(
        train=pets(header="id,category,location", more=lambda n: (f"l{n // 2}",)),
        sample=sample("id,category"),
        says="'location'",
    ),
    "left and right of one body": kind(
        [f"train/{name}.jpg" for name in SIDES] + TEST,
        metric=KAPPA,
        truth=("0_right", "1"),
        train=counted(4, "image,level", SIDES),
        sample=sample("image,level", 0),
        says="left",
    ),
}


def row_of(name, inferred):
    """What is inferred, as the docs have it."""
    competition = inferred.competition
    (metric,) = (finding for finding in inferred.findings if finding.about == "metric")
    parts = [
        re.sub(r"\n\s*", " ", assignment("_", part, {})[4:])
        .replace("( ", "(")
        .replace(", )", ")")
        .replace(" )", ")")
        .replace("|", "\\|")
        for part in (competition.labels, competition.test, competition.submission)
    ]
    return f"| {name} | `{'` | `'.join(parts)}` | {'' if metric.sure else '? '}{competition.scoring.name} |"


def lay_out(kind, folder):
    for file, text in {**dict.fromkeys(kind.files, "x"), **kind.tables}.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(text, encoding="utf-8")


@pytest.mark.parametrize("name", KINDS)
def test_it_is_read_as_it_is_meant_without_an_edit(name, tmp_path):
    kind = KINDS[name]
    lay_out(kind, tmp_path)
    inferred = infer(replace(look_at_folder(tmp_path), metric=kind.metric), "mine", "mine")
    prepare_files(inferred.competition, tmp_path)
    tables = read_tables(inferred.competition, tmp_path)
    labels = dict(zip(tables.train["id"], tables.train["label"], strict=True))
    image, expected = kind.truth
    assert (dict(labels[image]) if isinstance(expected, dict) else labels[image]) == expected
    assert (len(tables.train), len(tables.test)) == (kind.trained, kind.asked)
    assert any(kind.says in finding.text for finding in inferred.findings)
    assert row_of(name, inferred) in DOCS


def test_what_is_listed_at_kaggle_tells_as_much_as_the_files_do(tmp_path, monkeypatch):
    afar = [
        name for name in KINDS if re.search("JSON|pixels|together|joined|each image and class|validat|can't be", name)
    ]
    for number, name in enumerate(afar):
        lay_out(KINDS[name], tmp_path / "served" / f"kind-{number}")
    with running(tmp_path / "served", {}, tmp_path / "state") as url:
        monkeypatch.setenv("COMP_KAGGLE_URL", url)
        kaggle = connect(say=print)
        for number, name in enumerate(afar):
            slug = f"kind-{number}"
            look = look_at_kaggle(kaggle, slug, kaggle.competition(slug), lambda: None, print)
            assert row_of(name, infer(replace(look, metric=KINDS[name].metric), "mine", slug)) in DOCS
