"""Kinds of files, each inferred as its row of `docs/starting.md` says, without an edit."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comp.data.preparing import prepare_files
from comp.data.tables import read_tables
from comp.kaggle.client import connect
from comp.local_kaggle.server import running
from comp.new.at_kaggle import look_at_kaggle
from comp.new.inference import infer
from comp.new.look import look_at_folder
from comp.new.writing import assignment
from tests.new.templates import (
    ASKED,
    AUC,
    BYTES,
    PIXELS,
    TRAINED,
    bands,
    coco,
    images,
    kind,
    lay_out,
    per_class,
    pets,
    pixels,
    yes,
)

DOCS = (Path(__file__).parents[2] / "docs" / "starting.md").read_text(encoding="utf-8")
KAPPA = "Quadratic Weighted Kappa"
FACE = "{n} 80 82 " * 5 + "0"
WELL = "{part}/HEPG2-0{third}/Plate{half}/B{n:03}_s{k}_w1.png"
NAMED_WELL = "HEPG2-0{third}_{half}_B{n:03},HEPG2-0{third},{half},B{n:03}"

LABELS = {
    "a CSV of ids and classes": pets(),
    "a probability per class": per_class("id,label: {n},{pet}", "Multi Class Log Loss"),
    "columns class_0, class_1, … for the labels 0, 1, …": kind(
        metric="Log Loss",
        truth=("1", "1"),
        train="id,label: {n},{quarter}",
        sample="id,class_0,class_1,class_2,class_3: {n},0.25,0.25,0.25,0.25",
    ),
    "a probability of yes": yes(),
    "an AUC of another kind": yes(metric="Weighted AUC"),
    "an accuracy with weights": pets(metric="Weighted Categorization Accuracy"),
    "the F1 of yes": yes(metric="F1 Score", sample="id,target: {n},0"),
    "a word that is no class": pets(sample="id,label: {n},unknown", says="unknown"),
    "grades": yes(metric=KAPPA, train="id,grade: {n},{quarter}", sample="id,grade: {n},0"),
    "a number": kind(
        metric="Root Mean Squared Error", truth=("1", {"age": 1.5}), train="id,age: {n},{n}.5", sample="id,age: {n},30"
    ),
    "a whole number": kind(
        metric="RMSE",
        truth=("1", {"Pawpularity": 10.0}),
        train="Id,Pawpularity: {n},{sixth}0",
        sample="Id,Pawpularity: {n},43.2",
    ),
    "several numbers": kind(
        metric="Mean Columnwise RMSE",
        truth=("1", {"x": 1.0, "y": 1.5}),
        train="id,x,y: {n},{n},{n}.5",
        sample="id,x,y: {n},0,0",
    ),
    "the five likeliest classes": kind(
        metric="MAP@5",
        truth=("1", "x1"),
        train="image,species,individual_id: {n},{pet},x{sixth}",
        sample="image,predictions: {n},x1 x2 x3 x4 x5",
    ),
    "a class and its confidence": kind(
        metric="Global Average Precision",
        truth=("1", "1"),
        train="id,landmark_id: {n},{quarter}",
        sample="id,landmarks: {n},1 0.1",
    ),
    "tags": kind(
        metric="Mean F Score Beta",
        truth=("1", ("cat", "dog")),
        train="id,tags: {n},{pet} {other_pet}",
        sample="id,tags: {n},cat dog",
    ),
    "tags in a list": kind(
        metric="Micro F1",
        truth=("0", ("cat", "red")),
        train="id;tags: {n};['{pet}', 'red']",
        sample="id,tags: {n},cat red",
    ),
    "a row for each tag": kind(
        metric="Mean F1 Score", truth=("0", ("cat", "red")), train="id,tag: {n},{tag}", sample="id,tag: {n},cat red"
    ),
    "a row for each tag, and a column for each in the sample submission": kind(
        metric=f"Mean Columnwise {AUC}",
        truth=("0", ("cat", "red")),
        train="id,tag: {n},{tag}",
        sample="id,cat,dog,owl,red: {n},0.5,0.5,0.5,0.5",
    ),
    "a column of 0 and 1 for each class": per_class("id,cat,dog,owl: {n},{one_hot}", AUC),
    "a column of 0 and 1 for each tag": per_class(
        "id,cat,dog,owl: {n},{bits}", f"Mean Columnwise {AUC}", ("5", ("cat", "owl"))
    ),
    "shares of classes": per_class(
        "id,cat,dog,owl: {n},0.{half}5,0.8,0.{other_half}5", "Log Loss", ("0", {"cat": 0.05, "dog": 0.8, "owl": 0.15})
    ),
    "a row for each image and class": kind(
        "{part}/ID_{n}.dcm",
        metric="Mean Columnwise Log Loss",
        truth=("ID_5", ("any", "sub")),
        train="ID,Label: ID_{n}_{name},{bit}",
        sample="ID,Label: ID_{n}_{name},0.5",
    ),
    "a row for each image and class of the labels' columns": kind(
        metric=AUC,
        truth=("5", ("any", "sub")),
        train="uid,any,epi,sub: {n},{bits}",
        sample="row_id,fractured: {n}_{name},0.5",
    ),
    "a row for each image and number": kind(
        "{part}/ID{n}.jpg",
        metric="Weighted R2",
        truth=("ID5", {"any": 51.5, "epi": 50.5, "sub": 51.5}),
        train="sample_id,image_path,state,target_name,target: ID{n}__{name},train/ID{n}.jpg,{third},{name},{n}{bit}.5",
        test="sample_id,image_path,target_name: ID{n}__{name},test/ID{n}.jpg,{name}",
        sample="sample_id,target: ID{n}__{name},0.0",
    ),
}

IMAGES = {
    "a folder for each class": kind("train/{pet}/{n}.jpg test/{n}.jpg", truth=("cat/0", "cat")),
    "class folders beside the test images": kind("{pet}/{n}.jpg test/{n}.jpg", truth=("cat/0", "cat")),
    "class folders in another folder as well": kind(
        "train/{pet}/{n}.jpg extra/{pet}/{half}.jpg test/{n}.jpg", truth=("cat/0", "cat")
    ),
    "class folders with letters of their own": kind(
        "train/{pet}ö/{n}.jpg test/{n}.jpg", truth=("catö/0", "catö"), sample="id,label: {n},catö"
    ),
    "folders that are not the label": kind(
        "train/{quarter}/{n}.jpg test/{n}.jpg",
        truth=("7.jpg", "1"),
        train="image,chain,hotel_id: {n}.jpg,{quarter},{sixth}",
        sample="image,hotel_id: {n}.jpg,3",
    ),
    "folders of the label, and a table of who is on an image": kind(
        "train/{pet}/{n}.jpg test/{n}.jpg",
        truth=("0.jpg", "cat"),
        drivers="subject,classname,img: p{pair},{pet},{n}.jpg",
        says="'subject'",
    ),
    "classes in file names": kind("train/{pet}.{n}.jpg test/{n}.jpg", truth=("cat.0", "cat")),
    "digits in file names": kind("training/{n}_{third}.jpg test/{n}.jpg", truth=("1_1", "1"), sample="id,label: {n},1"),
    "test images in folders of folders": pets("train/{n}.jpg test/{half}/{third}/{n}.jpg"),
    "test images in two folders": pets("train/{n}.jpg test{half}/{n}.jpg"),
    "ids that are paths": kind(
        truth=("train/0.jpg", "cat"), train="id,label: train/{n}.jpg,{pet}", sample="id,label: test/{n}.jpg,cat"
    ),
    "a table of the test images": pets("train/{n}.jpg test/image{n}.jpg", test="id,file: {n},image{n}.jpg"),
    "training images in folders of folders": pets("train/{half}/{n}.jpg test/{n}.jpg"),
    "a suffix in capitals": kind("train/{n}.JPG test/{n}.jpg", truth=("0.jpg", "cat"), train="id,label: {n}.jpg,{pet}"),
    "two suffixes": pets("train/{n}.{suffix} test/{n}.jpg"),
    "numbers that lost their zeros": pets("train/{n:04}.jpg test/{n:05}.jpg"),
    "all images in one folder": pets("images/{n}.jpg"),
    "names with their suffix": kind(
        truth=("0.jpg", "cat"), train="id,label: {n}.jpg,{pet}", sample="id,label: {n}.jpg,cat"
    ),
    "several columns that name an image together, in channels and two sites": kind(
        f"{WELL} {WELL.replace('w1', 'w2')}",
        truth=("HEPG2-01/Plate1/B001_s0_w1", "1"),
        trained=36,
        asked=12,
        train=f"id_code,experiment,plate,well,sirna: {NAMED_WELL},{{quarter}}",
        test=f"id_code,experiment,plate,well: {NAMED_WELL}",
        sample="id_code,sirna: HEPG2-0{third}_{half}_B{n:03},0",
    ),
    "a pixel in each column": pixels(train=f"label,{PIXELS}: {{half}},{BYTES}", test=f"{PIXELS}: {BYTES}"),
    "all pixels in one column": pixels(
        "id,emotion: {quarter},0", train=f"emotion,pixels: {{half}},{FACE}", test=f"pixels: {FACE}"
    ),
    "pixels of train and test in one CSV": pixels(
        all=f"emotion, Usage, pixels: {{half}},{{usage}},{FACE}", says="rows with 'Training' in 'Usage'"
    ),
    "arrays in a JSON of records": kind(
        "",
        metric="Log Loss",
        truth=("1/x1", "1"),
        sample="id,is_iceberg: x{n},0.5",
        **{"train.json": bands(TRAINED, "is_iceberg"), "test.json": bands(ASKED)},
    ),
    "DICOM": yes("{part}/{n}.dcm"),
    "numpy's arrays": pets("{part}/{n}.npy"),
    "a folder of images for each row": yes("{part}/{n}/{k}.png", truth=("1/0", "1"), asked=12, trained=36),
    "several images for each row, counted in their names": yes(
        "train/{n}-{k}.jpg test/{n}-1.jpg",
        metric="Categorization Accuracy",
        truth=("1-2", "1"),
        trained=36,
        train="id,speed: {n},{half}",
        sample="id,speed: {n},0",
    ),
    "folders of folders of images for each row": yes(
        "{part}/{n}/a/{k}.png {part}/{n}/b/{k}.png", truth=("1/a/0", "1"), asked=24, trained=72
    ),
    "arrays in folders of folders": pets("{part}/{third}/{n}.npy"),
    "hidden images, which only a notebook will see": pets(
        "train_images/{n}.png",
        test="id,age: {n},{quarter}",
        says="no test image of sample_submission.csv is here",
    ),
    "a folder for each class and images to predict, with no sample submission": kind(
        "train/{pet}/{n}.jpg test/{n}.jpg",
        metric="Log Loss",
        truth=("cat/0", "cat"),
        sample=None,
        says="prepared/sample_submission.csv",
    ),
    "a folder for each class to train on and to validate on": kind(
        "train/{pet}/{n}.jpg valid/{pet}/{n}.jpg test/{n}.jpg",
        truth=("valid/cat/0", "cat"),
        trained=24,
        says="those in valid validate",
    ),
    "a folder for each class and nothing else": kind(
        "{pet}/{n}.jpg",
        truth=("cat/3", "cat"),
        trained=9,
        asked=3,
        sample=None,
        says="20% of the labelled images are hidden",
    ),
    "a file for each channel": kind(
        "{part}/{n}_blue.png {part}/{n}_green.png {part}/{n}_red.png {part}/{n}_yellow.png",
        metric="Macro F1",
        truth=("1", ("1", "9")),
        train="Id,Target: {n},{third} 9",
        sample="Id,Predicted: {n},0 9",
    ),
}

TABLES = {
    "train and test in one CSV": kind(
        "images/{n}.jpg", all="id,split,label: {n},{part},{pet}", says="'train' in 'split'"
    ),
    "train, valid and test in one CSV": kind(
        "images/{n}.jpg", all="id,split,label: {n},{split},{pet}", says="those with 'valid' validate"
    ),
    "a CSV of validation rows": pets(
        "images/{n}.jpg",
        numbers={"train": range(9), "val": range(9, 12)},
        val="id,label: {n},{pet}",
        says="those of val.csv validate",
    ),
    "tab-separated": kind(**{"train.tsv": "id\tlabel: {n}\t{pet}"}),
    "separated by semicolons": kind(train="id;label: {n} ; {pet} "),
    "an unnamed first column": kind(train=",id,label: 5{n:02},{n},{pet}"),
    "a table that can't be read beside others": pets(notes="a,a: 1,2", says="notes.csv"),
    "labels of what several images show, joined by another table": kind(
        metric="Mean F1 Score",
        truth=("0", ("cat", "red")),
        photo_to_biz="photo_id,business_id: {n},b{pair}",
        test_photo_to_biz="photo_id,business_id: {n},b{pair}",
        train="business_id,labels: b{pair},{pet_of_pair} red",
        sample="business_id,labels: b{pair},cat red",
    ),
    "COCO's JSON": kind(**{"train.json": coco()}),
    "COCO's JSON, and one of validation images": kind(
        "{part}/{n}.jpg val/{n}.jpg",
        trained=24,
        says="those of val.json validate",
        **{"train.json": coco(), "val.json": coco()},
    ),
    "COCO's JSON with places": kind(
        **{"train.json": coco(seq_id="s{half}", location="l{pair}", frame="{n}")}, says="'location'"
    ),
    "a JSON with image_id for id": kind(**{"train.json": coco(key="image_id")}),
    "a JSON of the images to predict, which gives them ids, and categories by number": kind(
        "train/{n}.jpg test/a/x{n}.jpg",
        truth=("1", "1"),
        sample="id,predicted: {n},2",
        **{"train.json": coco(), "test.json": json.dumps({"images": images("test/a/x{n}.jpg", ASKED)})},
    ),
    "JSONs beside their images": kind(
        "a/{part}/images/00{half}/{n}.jpg",
        metric="F1-Score (Macro)",
        truth=("1", "1"),
        sample="Id,Predicted: {n},2",
        **{
            "a/train/metadata.json": coco("images/00{half}/{n}.jpg"),
            "a/test/metadata.json": json.dumps(images("images/00{half}/{n}.jpg", ASKED, "image_id")),
        },
    ),
    "ids in the second column": pets(sample="label,id: cat,{n}"),
    "several images of what is asked for, by a column of both tables": kind(
        train="id,patient,label: {n},p{pair},{pet_of_pair}",
        test="id,patient: {n},p{pair}",
        sample="patient,label: p{pair},cat",
    ),
    "no answers in the sample submission": pets(sample="id,label: {n},"),
    "a benchmark as the sample submission": pets(sample=None, mean_benchmark="id,label: {n},cat"),
    "an example as the sample submission": pets(sample=None, example_entry="id,label: {n},cat"),
    "a row of no image": pets(
        train="id,label: {n},{pet}\n.DS_Store,", numbers={"train": range(40)}, trained=40, says="1 of 41 rows"
    ),
    "a row doubled": pets(train="id,label: {n},{pet}\n0,cat"),
    "images of one patient": yes(train="id,target,patient_id: {n},{half},p{pair}", says="'patient_id'"),
    "images of one place": kind(
        train="id,category,location: {n},{pet},l{pair}", sample="id,category: {n},cat", says="'location'"
    ),
    "left and right of one body": kind(
        "train/{pair}_{side}.jpg test/{n}.jpg",
        metric=KAPPA,
        truth=("0_right", "1"),
        train="image,level: {pair}_{side},{quarter}",
        sample="image,level: {n},0",
        says="left",
    ),
}

KINDS = LABELS | IMAGES | TABLES


def row_of(name, inferred):
    """The inferred declaration as a row of the docs' table."""
    competition = inferred.competition
    (metric,) = (finding for finding in inferred.findings if finding.about == "metric")
    declared = (competition.labels, competition.test, competition.submission)
    parts = [assignment("_", part, {}).replace("'", '"').replace("|", "\\|").removeprefix("_ = ") for part in declared]
    return f"| {name} | `{'` | `'.join(parts)}` | {'' if metric.sure else '? '}{competition.scoring.name} |"


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


CALLED = ("id", "label", "target", "tags", "train", "test", "cat", "dog", "owl")
COMMON = (
    *("a CSV of ids and classes", "a probability of yes", "tags", "a column of 0 and 1 for each tag"),
    *("a folder for each class", "classes in file names", "names with their suffix"),
)


@settings(max_examples=8, deadline=None)
@given(
    name=st.sampled_from(COMMON),
    words=st.lists(st.text("abcdefghijklmnopqrstuvwxyz", min_size=3, max_size=8), min_size=9, max_size=9, unique=True),
    suffix=st.sampled_from(["jpg", "png", "tif", "JPG", "jpeg"]),
)
def test_a_common_kind_is_read_as_it_was_meant_whatever_it_is_called(tmp_path_factory, name, words, suffix):
    called = dict(zip(CALLED, [*words[:6], *sorted(words[6:])], strict=True), jpg=suffix)

    def renamed(text):
        return re.sub(rf"\b({'|'.join(called)})\b", lambda found: called[found[0]], str(text))

    read = []
    for rename in (str, renamed):
        folder, kind = tmp_path_factory.mktemp("kind"), KINDS[name]
        tables = {path: rename(text) for path, text in kind.tables.items()}
        lay_out(replace(kind, files=list(map(rename, kind.files)), tables=tables), folder)
        competition = infer(look_at_folder(folder), "mine", "mine").competition
        found = read_tables(competition, folder)
        labels = dict(zip(found.train["id"], found.train["label"], strict=True))
        read.append((type(competition.labels), type(competition.submission), labels, len(found.test)))
    (*kinds, labels, asked), (*others, whatever, also) = read
    assert (kinds, asked) == (others, also)
    assert {renamed(id_): renamed(label) for id_, label in labels.items()} == {
        id_: str(label) for id_, label in whatever.items()
    }


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
