import json
import os
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from comp import AskForAll, HiddenImages, HideShare, KnownLabels, PixelTable, ProbabilityPerClass
from comp.data.preparing import prepare_files
from comp.data.tables import read_tables
from comp.errors import DataError

DIGITS = np.arange(2 * 9).reshape(2, 9)


@pytest.fixture
def prepared(shades):
    """Prepares `shades` with this `prepare`: the prepared files by relative path, and the printed lines."""

    def call(prepare, read="images"):
        said, place = [], shades.files / "prepared"
        prepare_files(replace(shades.competition, prepare=prepare, read=read), shades.files, said.append)
        assert not list(shades.files.glob(".prepared*"))
        return {path.relative_to(place).as_posix(): path for path in place.rglob("[!.]*") if path.is_file()}, said

    return call


def pixels(found):
    return {name: np.asarray(Image.open(path)).tolist() for name, path in found.items()}


def test_rows_of_a_csv_are_numbered_and_lie_in_the_folders_of_their_classes(shades, prepared):
    table = pd.DataFrame(DIGITS)
    table.insert(0, "digit", ["07", "1"])
    table.to_csv(shades.files / "digits.csv", index=False)
    found, said = prepared(PixelTable(table="digits.csv", into="train", label="digit"))
    assert pixels(found) == {
        "train/07/1.png": DIGITS[0].reshape(3, 3).tolist(),
        "train/1/2.png": DIGITS[1].reshape(3, 3).tolist(),
    }
    assert "2 files" in said[-1]
    # Another reader makes them anew.
    found, _ = prepared(PixelTable(table="digits.csv", into="train", label="digit"), read="npy")
    assert set(found) == {"train/07/1.npy", "train/1/2.npy"}


def test_several_parquet_files_are_one_table(shades, prepared):
    for number, values in enumerate(DIGITS):
        table = pd.DataFrame([values[:6]]).rename(columns=str).assign(id=f"Train_{number}")
        table.to_parquet(shades.files / f"part_{number}.parquet")
    found, _ = prepared(PixelTable(table="part_*.parquet", into="x", image="id", size=(2, 3)))
    assert pixels(found) == {f"x/Train_{number}.png": DIGITS[number, :6].reshape(2, 3).tolist() for number in (0, 1)}


def test_a_table_in_a_folder_is_prepared_again_once_it_changed(shades, prepared):
    (shades.files / "raw").mkdir()
    for values in (DIGITS, DIGITS + 1):
        pd.DataFrame(values).to_csv(shades.files / "raw" / "digits.csv", index=False)
        for _ in range(2):
            found, said = prepared(PixelTable(table="raw/*.csv", into="train"))
            assert pixels(found)["train/1.png"] == values[0].reshape(3, 3).tolist()
    assert said == []


@pytest.mark.parametrize("as_text", [False, True])
def test_columns_of_arrays_are_channels(shades, prepared, as_text):
    first, second = (" ".join(map(str, row)) if as_text else row.reshape(3, 3).tolist() for row in DIGITS - 7.5)
    records = [{"id": "a", "one": first, "two": second, "angle": "na"}]
    (shades.files / "train.json").write_text(json.dumps(records))
    found, _ = prepared(PixelTable(table="train.json", into="x", image="id", pixels=["one", "two"]), read="npy")
    assert np.array_equal(np.load(found["x/a.npy"]), np.dstack([row.reshape(3, 3) - 7.5 for row in DIGITS]))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"table": "absent.csv"}, r"PixelTable: `table` .*absent\.csv"),
        ({"image": "name"}, r"halves\.csv has no column 'name'"),
        ({"table": "digits.csv", "size": (2, 4)}, r"9 values .* 2 x 4"),
        ({"pixels": ["0", "1"]}, "'1' should be bytes .* 0.5"),
        ({"image": "8"}, r"'../8'"),
    ],
)
def test_what_a_table_lacks_is_named_and_nothing_is_left(shades, prepared, fields, said):
    pd.DataFrame(DIGITS).to_csv(shades.files / "digits.csv", index=False)
    pd.DataFrame([[0.5] * 8 + ["../8"]]).to_csv(shades.files / "halves.csv", index=False)
    with pytest.raises(DataError, match=said):
        prepared(PixelTable(**{"table": "halves.csv", "into": "x", **fields}))
    assert not (shades.files / "prepared").exists()


PREPARE = """
def prepare(data, new):
    (new / "n.txt").write_text((data / "train.csv").read_text()[:2] + "1")
    if (data / "broken").exists():
        1 / 0

"""


def test_a_function_is_called_once_again_where_it_or_the_data_changed_and_named_where_it_fails(shades):
    files, declaration, said = shades.files, shades.declaration, []
    declaration.write_text(PREPARE + declaration.read_text().replace("metric=", "prepare=prepare, metric="))
    competition, made = shades.competition, files / "prepared" / "n.txt"
    # Prepared once, not again, and again after a change, also of an image.
    for lines, changed in ((2, None), (2, None), (4, "train.csv"), (6, "train"), (6, None)):
        if changed:
            path = files / changed
            os.utime(min(path.iterdir()) if path.is_dir() else path, ns=(0, 0))
        prepare_files(competition, files, said.append)
        assert (len(said), made.read_text()) == (lines, "id1")
    declaration.write_text(declaration.read_text().replace('"1")', '"2")'))
    read_tables(shades.competition, files)
    assert made.read_text() == "id2"
    (files / "broken").touch()
    with pytest.raises(DataError, match=r"Competition: `prepare` .*ZeroDivisionError"):
        prepare_files(shades.competition, files)
    assert made.read_text() == "id2", "what was there stays"
    assert not list(files.glob(".prepared*"))


def own(made, **fields):
    """`shades` as your own images, for which a sample submission is written."""
    form = {"submission": ProbabilityPerClass(), "metric": "log_loss"}
    return replace(made.competition, sample_submission="prepared/sample_submission.csv", **form, **fields)


def test_what_is_prepared_of_one_s_own_images_follows_their_labels(shades):
    table, labels = shades.files / "train.csv", shades.competition.labels
    hiding = own(shades, prepare=HideShare(0.2), labels=KnownLabels(labels), test=HiddenImages(labels))
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
