import json
import os
from dataclasses import replace
from textwrap import dedent

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from comp import (
    AskForAll,
    CsvLabels,
    CsvNumbers,
    Folders,
    HideShare,
    Numbers,
    ProbabilityPerClass,
    TestImages,
    WithExtra,
)
from comp.data.preparing import prepare_files
from comp.data.tables import read_tables
from comp.declare.competition import load_competition
from comp.errors import DataError

DIGITS = np.arange(2 * 9).reshape(2, 9)
PREPARE = """

def prepare(data, new):
    (new / "n.txt").write_text((data / "train.csv").read_text()[:2] + "1")
    if (data / "broken").exists():
        1 / 0
"""


@pytest.fixture
def shades_prepared(shades):
    """`shades` with a field `prepare`: gives what is prepared by path, and what was said."""

    def start(prepare, before="", read="images"):
        source = shades.declaration.read_text().replace("PixelTable, ", "")
        source = source.replace("from comp import", f"{before}\nfrom comp import PixelTable, ", 1)
        source = source.replace('    name="shades",', f'    prepare={prepare}, read="{read}",\n    name="shades",')
        shades.declaration.write_text(dedent(source))
        said = []
        prepare_files(load_competition(shades.declaration), shades.files, said.append)
        place = shades.files / "prepared"
        assert not list(shades.files.glob(".prepared*"))
        return {path.relative_to(place).as_posix(): path for path in place.rglob("[!.]*") if path.is_file()}, said

    start.made = shades
    return start


def pixels(found):
    return {name: np.asarray(Image.open(path)).tolist() for name, path in found.items()}


def test_rows_of_a_csv_are_numbered_and_lie_in_the_folders_of_their_classes(shades_prepared):
    table = pd.DataFrame(DIGITS)
    table.insert(0, "digit", ["07", "1"])
    table.to_csv(shades_prepared.made.files / "digits.csv", index=False)
    found, said = shades_prepared('PixelTable(table="digits.csv", into="train", label="digit")')
    assert pixels(found) == {
        "train/07/1.png": DIGITS[0].reshape(3, 3).tolist(),
        "train/1/2.png": DIGITS[1].reshape(3, 3).tolist(),
    }
    assert "2 files" in said[-1]


def test_several_parquet_files_are_one_table(shades_prepared):
    for number, values in enumerate(DIGITS):
        table = pd.DataFrame([values[:6]]).rename(columns=str).assign(id=f"Train_{number}")
        table.to_parquet(shades_prepared.made.files / f"part_{number}.parquet")
    found, _ = shades_prepared('PixelTable(table="part_*.parquet", into="x", image="id", size=(2, 3))')
    assert pixels(found) == {f"x/Train_{number}.png": DIGITS[number, :6].reshape(2, 3).tolist() for number in (0, 1)}


@pytest.mark.parametrize("as_text", [False, True])
def test_columns_of_arrays_are_channels(shades_prepared, as_text):
    first, second = (" ".join(map(str, row)) if as_text else row.reshape(3, 3).tolist() for row in DIGITS - 7.5)
    records = [{"id": "a", "one": first, "two": second, "angle": "na"}]
    (shades_prepared.made.files / "train.json").write_text(json.dumps(records))
    table = 'PixelTable(table="train.json", into="x", image="id", pixels=["one", "two"])'
    found, _ = shades_prepared(table, read="npy")
    assert np.array_equal(np.load(found["x/a.npy"]), np.dstack([row.reshape(3, 3) - 7.5 for row in DIGITS]))


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ('PixelTable(table="absent.csv", into="x")', r"PixelTable: `table` .*absent\.csv"),
        ('PixelTable(table="digits.csv", into="x", image="name")', r"digits\.csv has no column 'name'"),
        ('PixelTable(table="digits.csv", into="x", size=(2, 4))', r"9 values .* 2 x 4"),
        ('PixelTable(table="digits.csv", into="x", pixels=["0", "1"])', "'1' is no bytes .* 0.5"),
        ('PixelTable(table="digits.csv", into="x", image="8")', r"'../8'"),
    ],
)
def test_what_a_table_lacks_is_named_and_nothing_is_left(shades_prepared, table, said):
    pd.DataFrame([[0.5] * 8 + ["../8"]]).to_csv(shades_prepared.made.files / "digits.csv", index=False)
    if "(2, 4)" in table:
        pd.DataFrame(DIGITS).to_csv(shades_prepared.made.files / "digits.csv", index=False)
    with pytest.raises(DataError, match=said):
        shades_prepared(table)
    assert not (shades_prepared.made.files / "prepared").exists()


def test_a_function_is_called_once_again_where_it_or_the_data_changed_and_named_where_it_fails(shades_prepared):
    files = shades_prepared.made.files
    found, said = shades_prepared("prepare", PREPARE)
    assert found["n.txt"].read_text() == "id1"
    assert len(said) == 2
    competition = load_competition(shades_prepared.made.declaration)
    again = []
    prepare_files(competition, files, again.append)
    assert again == []
    os.utime(files / "train.csv", ns=(0, 0))
    prepare_files(competition, files, again.append)
    assert len(again) == 2
    declaration = shades_prepared.made.declaration
    declaration.write_text(declaration.read_text().replace('"1")', '"2")'))
    read_tables(load_competition(declaration), files)
    assert found["n.txt"].read_text() == "id2"
    (files / "broken").touch()
    with pytest.raises(DataError, match=r"Competition: `prepare` .*ZeroDivisionError"):
        prepare_files(load_competition(declaration), files)
    assert found["n.txt"].read_text() == "id2", "what was there stays"
    assert not list(files.glob(".prepared*"))


def test_another_reader_has_the_images_prepared_anew(shades_prepared):
    files = shades_prepared.made.files
    pd.DataFrame(DIGITS).to_csv(files / "digits.csv", index=False)
    shades_prepared('PixelTable(table="digits.csv", into="x")')
    prepare_files(replace(load_competition(shades_prepared.made.declaration), read="npy"), files)
    assert {path.suffix for path in (files / "prepared" / "x").iterdir()} == {".npy"}


def own(made, **fields):
    """`shades` as images of one's own, for which a sample submission is written."""
    form = {"submission": ProbabilityPerClass(), "metric": "log_loss"}
    return replace(made.competition, sample_submission="prepared/sample_submission.csv", **form, **fields)


def test_what_is_prepared_of_one_s_own_images_follows_their_labels(shades):
    labels = CsvLabels("train.csv", image="id", label="colour", folder="train", suffix=".png")
    hiding = own(shades, prepare=HideShare(labels), labels=Folders("prepared/train"), test=TestImages("prepared/test"))
    table = shades.files / "train.csv"
    for competition in (own(shades, prepare=AskForAll()), hiding):
        table.write_text(table.read_text().replace("white", "red"))
        read_tables(competition, shades.files)
        table.write_text(table.read_text().replace("red", "white"))
        after = read_tables(competition, shades.files)
        assert set(after.sample_submission.columns[1:]) == set(after.classes) == {"blue", "green", "white"}


def test_a_sample_submission_of_one_s_own_images_may_have_a_class_called_id(shades):
    table = shades.files / "train.csv"
    table.write_text(table.read_text().replace("green", "id"))
    tables = read_tables(own(shades, prepare=AskForAll()), shades.files)
    assert tables.sample_submission.columns[1:] == ("blue", "id", "red")
    assert list(tables.sample_submission.ids) == list(tables.test["id"])


def hiding_numbers(folder, name, **fields):
    """30 images of one's own with a number each, of which a share is hidden."""
    (folder / "images").mkdir(exist_ok=True)
    for number in range(30):
        (folder / "images" / f"{number}.png").touch()
    (folder / "all.csv").write_text("\n".join([f"id,{name},who", *(f"{n},{n},{n // 2}" for n in range(30))]))
    labels = CsvNumbers("all.csv", image="id", values=[name], folder="images", suffix=".png", group="who")
    read = replace(labels, csv="prepared/train.csv", folder="prepared/train", group=None)
    given = {"prepare": HideShare(labels), "labels": read, "test": TestImages("prepared/test"), **fields}
    return {"submission": Numbers(), "metric": "rmse", "sample_submission": "prepared/sample_submission.csv", **given}


def test_what_is_hidden_is_prepared_anew_where_its_reader_changed(shades):
    competition = replace(shades.competition, **hiding_numbers(shades.files, "weight"))
    for test, name in ((TestImages("prepared/test"), "00.png"), (TestImages("prepared/test", suffix=".png"), "00")):
        prepare_files(replace(competition, test=test), shades.files)
        assert pd.read_csv(shades.files / "prepared/train.csv", dtype=str)["image"].str.len().eq(len(name)).all()


@pytest.mark.parametrize("name", ["image", "group"])
def test_a_number_called_as_what_is_written_beside_it_is_named(shades, name):
    competition = replace(shades.competition, **hiding_numbers(shades.files, name))
    with pytest.raises(DataError, match=f"'{name}'"):
        prepare_files(competition, shades.files)


def test_images_that_only_train_are_not_hidden_but_named(shades):
    labels = CsvLabels("train.csv", image="id", label="colour", folder="train", suffix=".png")
    hiding = HideShare(WithExtra(labels, labels))
    competition = own(shades, prepare=hiding, labels=Folders("prepared/train"), test=TestImages("prepared/test"))
    with pytest.raises(DataError, match=r"train/.*\.png only trains"):
        prepare_files(competition, shades.files)
