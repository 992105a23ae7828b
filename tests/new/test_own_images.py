"""The user's own images: a sample submission is written, or a share of the images is hidden and graded locally."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from comp import Folders, GivenSplit, HiddenImages, HideShare, KnownLabels, WithExtra
from comp.console import Console
from comp.data.tables import read_tables
from comp.declare.competition import REPOSITORY_COMPETITIONS, competition_named, load_competition
from comp.kaggle.sources import is_here, kaggle_of
from comp.kaggle.submitting import submit, wait_for_score
from comp.new.start import start
from comp.training.prepared import which_validate
from tests.declare.labels.conftest import touch
from tests.new.templates import kind, lay_out

CLASSES = ("dogs", "cats")
FOLDERS = "{animal}s/{n}.jpg"


@pytest.fixture
def started(tmp_path, workspace, monkeypatch):
    """The competition that `comp new` declares from files, and its tables."""
    monkeypatch.delenv("COMP_KAGGLE_URL", raising=False)
    said = []

    def begin(files, count=20, **others):
        lay_out(kind(files, **{"sample": None, "numbers": {"": range(count)}, **others}), tmp_path / "mine")
        console = Console()
        monkeypatch.setattr(console, "say", said.append)
        written = start("mine", tmp_path / "plugins", workspace, console, data=tmp_path / "mine")
        competition = load_competition(written)
        return competition, read_tables(competition, workspace.data("mine"))

    begin.said = said
    return begin


def test_a_share_of_each_class_is_hidden_and_graded_on_this_machine(started, workspace):
    competition, tables = started(FOLDERS)
    prepared = workspace.data("mine") / "prepared"
    answers = pd.read_csv(prepared / "answers.csv", dtype=str)
    assert answers["label"].tolist() == ["cats"] * 2 + ["dogs"] * 2
    assert list(answers["id"]) == list(tables.test["id"])
    assert (len(tables.train), len(tables.test)) == (16, 4)
    assert is_here(competition, workspace)
    with kaggle_of(competition, workspace, print) as connect:
        kaggle = connect()
        reference = submit(kaggle, "mine", prepared / "answers.csv", "all right")
        assert wait_for_score(kaggle, "mine", reference).public_score == 1
    assert not any("kaggle" in line.split()[:2] for line in started.said)
    assert re.fullmatch(r"next: (comp --competitions \S+) explore mine, then \1 run mine", started.said[-1])


def test_an_image_that_is_added_is_there_the_next_time(started, workspace, tmp_path):
    competition, before = started(FOLDERS)
    assert len(read_tables(competition, workspace.data("mine")).train) == len(before.train)
    (tmp_path / "mine" / "cats" / "more.jpg").touch()
    assert len(read_tables(competition, workspace.data("mine")).train) == len(before.train) + 1


@pytest.mark.parametrize("files", [FOLDERS, f"train/{FOLDERS}"])
def test_the_same_folder_is_taken_again_though_a_share_of_it_was_hidden(started, tmp_path, files):
    first, _ = started(files)
    shutil.rmtree(tmp_path / "plugins")
    again, tables = started(files)
    assert (again.labels, len(tables.test)) == (first.labels, 4)


def test_a_validation_set_that_is_given_is_the_split_and_none_of_it_is_hidden(started):
    _, tables = started(f"train/{FOLDERS} valid/{FOLDERS}", numbers={"train": range(20), "valid": range(6)})

    class Choices:
        all_data, folds, fold, seed = False, None, None, 0

    validates = which_validate(tables, None, Choices())
    assert (validates.sum(), len(tables.train)) == (6, 22)
    assert tables.train["path"][validates].str.contains("/valid/").all()


def of_hidden(labels, folder):
    """The tables of a folder of images, a share of them hidden."""
    given = {"labels": KnownLabels(labels), "test": HiddenImages(labels), "prepare": HideShare(0.2)}
    digits = competition_named("digits", REPOSITORY_COMPETITIONS)
    return read_tables(replace(digits, **given, sample_submission="prepared/sample_submission.csv"), folder)


def test_no_image_of_a_patient_is_hidden_of_whom_others_validate(tmp_path):
    for part, patients in (("train", range(8)), ("valid", range(4, 8))):
        for patient in patients:
            touch(tmp_path / part / f"p{patient}", *(f"{label}/{part}{n}.png" for label in CLASSES for n in (0, 1)))
    labels = GivenSplit(*(Folders(part, layout="{group}/{label}") for part in ("train", "valid")))
    hidden = {Path(path).parts[-3] for path in of_hidden(labels, tmp_path).test["path"]}
    assert hidden
    assert hidden <= {"p0", "p1", "p2", "p3"}


def test_images_that_only_train_are_not_hidden_and_only_train(tmp_path):
    for part in ("train", "extra"):
        for number in range(10):
            touch(tmp_path / part, *(f"{label}/{part}{number}.png" for label in CLASSES))
    tables = of_hidden(WithExtra(Folders("train"), Folders("extra")), tmp_path)
    assert len(tables.test) == 4
    assert tables.test["path"].str.contains("/train/").all()
    assert set(tables.train["id"][~tables.may_validate]) == set(Folders("extra").read(tmp_path)["id"])


@pytest.mark.parametrize(("suffix", "read"), [("npy", "npy"), ("dcm", "dicom")])
@pytest.mark.parametrize("parts", [("",), ("train/", "valid/"), ("train/", "test/")])
def test_class_folders_of_files_that_are_no_ordinary_images_are_read(started, suffix, read, parts):
    competition, tables = started(" ".join(f"{p}{FOLDERS}" for p in parts).replace("jpg", suffix), 10)
    assert competition.read == read
    assert (len(tables.train), len(tables.test)) == {"": (8, 2), "valid/": (18, 2), "test/": (10, 10)}[parts[-1]]


@pytest.mark.parametrize("patient", ["", "patient"])
def test_images_of_one_scan_or_patient_are_hidden_together(started, workspace, patient):
    scans = [f"s{number:02}" for number in range(40)]
    labels = f"id,label,{patient or 'note'}: s{{n:02}},{{animal}}s,p{{four}}"
    _, tables = started("scans/s{n:02}/{k}.png", 40, labels=labels)
    of_train, of_test = set(tables.train["answer"]), set(tables.test["answer"])
    assert [Path(path).parent.name for path in tables.test["path"]] == tables.test["answer"].to_list()
    assert of_train | of_test == set(scans)
    assert not of_train & of_test
    answers = pd.read_csv(workspace.data("mine") / "prepared" / "answers.csv", dtype=str).set_index("id")["label"]
    assert set(tables.sample_submission.ids) == set(answers.index) == of_test
    assert len(of_test) == 8
    assert all(answers[scan] == CLASSES[int(scan[1:]) % 2] for scan in of_test)
    if patient:
        patients = [{int(scan[1:]) // 4 for scan in part} for part in (of_train, of_test)]
        assert not patients[0] & patients[1]
        assert tables.train["group"].nunique() == len(patients[0])


def test_images_of_one_patient_are_hidden_together_though_each_is_predicted_alone(started):
    _, tables = started("images/{n}.png", 60, labels="image,label,patient_id: {n},{animal}s,p{four}")
    of_train, of_test = (
        set(table["id"].str.removesuffix(".png").astype(int) // 4) for table in (tables.train, tables.test)
    )
    assert not of_train & of_test
    assert len(tables.test) == 12
    assert set(tables.train["group"]) == {f"p{patient}" for patient in of_train}


def test_of_tags_a_share_is_hidden_too(started, workspace):
    tags = ["Mass", "No Finding", "Mass|Nodule", "Nodule"]
    rows = "\n".join(f"{n}.png,{tags[n % 4]}" for n in range(40))
    _, tables = started("images/{n}.png", 40, labels=f"image,Finding Labels: {rows}")
    said = {id_: "|".join(label) for id_, label in zip(tables.train["id"], tables.train["label"], strict=True)}
    assert set(said.values()) == set(tags)
    answers = pd.read_csv(workspace.data("mine") / "prepared" / "answers.csv", dtype=str).set_index("id")["label"]
    # The split keeps the tags' shares approximately.
    assert 5 <= len(answers) == len(tables.test) <= 10
    assert {**said, **answers} == {f"{n}.png": tags[n % 4] for n in range(40)}


def test_of_numbers_a_share_is_hidden_too(started):
    rows = "\n".join(f"{n}.png,{n / 8},x" for n in range(40))
    _, tables = started("images/{n}.png", 40, labels=f"image,label,weight: {rows}")
    assert (len(tables.test), len(tables.train)) == (8, 32)
    for id_, label in zip(tables.train["id"], tables.train["label"], strict=True):
        assert label == (("label", int(id_.removesuffix(".png")) / 8),)
