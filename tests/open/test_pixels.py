"""Competitions whose files aren't ordinary RGB squares."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from comp import runner
from comp.console import Console
from comp.data.data_check import checked_tables, facts_file
from comp.report.explore import explore
from comp.tools.rehearsal import rehearsed
from comp.training.predicting import predict_test_images
from tests.data.test_readers import dicom
from tests.open.conftest import each

OWN = """
import numpy as np


def read(path):
    return np.frombuffer(path.read_bytes()[3:], np.float32).reshape(24, 20, 5)


def prepare(data, new):
    for part in ("train", "test"):
        (new / part).mkdir()
        for line in (data / f"{part}.txt").read_text().splitlines():
            name, number = line.split()
            noise = np.random.default_rng(list(name.encode())).integers(0, 50, (20, 24))
            np.save(new / part / f"{name}.npy", (noise + int(number)).astype(np.uint8))

"""
RECIPE = """stages=[
        Stage(size=SIZE, train="head", cached=True, views=2, cycle_length=4, learning_rate=1e-2),
        Stage(size=SIZE, train="all", schedule="one_cycle", cycle_length=6, learning_rate=1e-2),
    ]"""
CSV = """labels=CsvLabels("train.csv", image="id", label="shade", folder="train", suffix="{0}"),
    test=TestImages("test", suffix="{0}"),"""
IN_PREPARED = CSV.format(".npy").replace('"train"', '"prepared/train"').replace('"test"', '"prepared/test"')
SHADES = {"low": 0.15, "middle": 0.5, "high": 0.85}
FIELDS = {
    "channels": CSV.format("_b.raw")
    + 'read=Channels(["_a.raw", "_b.raw", "_c.raw", "_d.raw"], read=read), augment=top_down(),',
    "function": CSV.format(".raw") + "read=read, augment=top_down(),",
    "dicom": CSV.format(".dcm") + 'read="dicom",',
    "deep": CSV.format(".tif"),
    "rectangles": CSV.format(".png") + 'augment=top_down(fit="pad"),',
    "rows of JSON": IN_PREPARED
    + """read="npy", prepare=[
        PixelTable(table=f"{part}.json", into=part, image="id", pixels=["band_1", "band_2"])
        for part in ("train", "test")
    ],""",
    "prepared": IN_PREPARED + 'read="npy", prepare=prepare,',
}


def raw(path, grey):
    path.write_bytes(b"RAW" + np.dstack([grey.T] * 5).astype(np.float32).tobytes())


def write(made, kind, part, rows):
    """The files of the training or test part; rows: the shade of each image by its name."""
    place = made.files / part
    place.mkdir()
    values = {
        name: np.clip(SHADES[shade] + np.random.default_rng(list(name.encode())).normal(0, 0.1, (20, 24)), 0, 1)
        for name, shade in rows.items()
    }
    for name, grey in values.items():
        match kind:
            case "channels":
                for number, channel in enumerate("abcd"):
                    # Only the last channel differs.
                    raw(place / f"{name}_{channel}.raw", grey if channel == "d" else np.full_like(grey, 0.2 * number))
            case "function":
                raw(place / f"{name}.raw", grey)
            case "dicom":
                dicom(place / f"{name}.dcm", (1000 * grey).astype(np.uint16))
            case "deep":
                Image.fromarray((300 * grey).astype(np.uint16)).save(place / f"{name}.tif")
            case "rectangles":
                Image.fromarray((255 * grey).astype(np.uint8)).save(place / f"{name}.png")
    match kind:
        case "rows of JSON":
            records = [
                {"id": name, "band_1": grey[:, :20].ravel().tolist(), "band_2": [-20.5] * 400}
                for name, grey in values.items()
            ]
            (made.files / f"{part}.json").write_text(json.dumps(records))
        case "prepared":
            made.text(f"{part}.txt", [f"{name} {int(200 * SHADES[shade])}" for name, shade in rows.items()])


def of_kind(tiny, kind):
    """A competition with 45 training and 15 test images."""
    size = "(20, 32)" if kind == "rectangles" else "20"
    made = tiny(f'{FIELDS[kind]} submission=ClassName(), metric="accuracy"', RECIPE.replace("SIZE", size), OWN)
    shades = list(SHADES)
    train = {f"t{number:02}": shades[number % 3] for number in range(45)}
    test = {f"q{number}": shades[number * number % 3] for number in range(1, 16)}
    write(made, kind, "train", train)
    write(made, kind, "test", test)
    made.text("train.csv", ["id,shade", *(f"{id_},{shade}" for id_, shade in train.items())])
    made.text("sample_submission.csv", ["id,shade", *(f"{id_},low" for id_ in test)])
    made.answers(["id,shade", *(f"{id_},{shade}" for id_, shade in test.items())])
    return made


@pytest.mark.parametrize("kind", each(FIELDS, ["channels"]))
def test_it_is_trained_on_and_graded_and_resumed(tiny, opened, kind):
    made = of_kind(tiny, kind)
    run = opened(made)
    assert run.score >= 0.8
    assert run.page
    if kind != "function":
        run.resumes()
    if kind == "deep":
        _judges_others_by_its_own_depth(run)


def _judges_others_by_its_own_depth(opened):
    """One brighter test image doesn't change the others' predictions, where no training image is at hand."""
    run, data = opened.run, opened.workspace.data("shades")
    before = pd.read_parquet(run.predictions("test"))
    Image.fromarray(np.full((20, 24), 60_000, np.uint16)).save(data / "test" / "q1.tif")
    shutil.rmtree(data / "train")
    predict_test_images(opened.made.competition, run, opened.workspace, Console())
    after = pd.read_parquet(run.predictions("test"))
    others = before["id"] != "q1"
    pd.testing.assert_frame_equal(after[others], before[others])


@pytest.mark.long
def test_an_edited_reader_finds_nothing_that_it_did_not_make_and_its_competition_is_explored_and_rehearsed(
    tiny, opened, workspace
):
    made = of_kind(tiny, "function")
    first = opened(made)
    facts = facts_file(made.competition, workspace).read_bytes()
    kept = {
        path: path.stat().st_mtime_ns
        for place in ("features", "images")
        for path in (workspace.cache / place).iterdir()
    }
    made.declaration.write_text(made.declaration.read_text().replace("20, 5)", "20, 5)[::-1]"))
    second = opened(made)
    assert second.run.name != first.run.name
    assert facts_file(made.competition, workspace).read_bytes() != facts
    # Using cached files again would touch them.
    assert kept == {path: path.stat().st_mtime_ns for path in kept}
    assert "in 5 channels" in second.run.log.read_text()
    assert second.run.record("config")["depth"]["channels"] == 5
    page = explore(made.competition, second.choices, workspace, Console()).read_text()
    assert "float32" in page
    run = runner.rehearse(made.competition, second.choices, workspace, Console(), 0.3)
    assert run.record("rehearsal")["score"] >= 0.5


@pytest.mark.parametrize("kind", ["channels", "rows of JSON"])
def test_a_rehearsal_has_what_is_read(tiny, workspace, kind):
    made = of_kind(tiny, kind)
    shutil.copytree(made.files, workspace.data(made.name))
    tables = checked_tables(made.competition, workspace, Console())

    def run(competition, inside):
        found = checked_tables(competition, inside, Console())
        assert (len(found.train), len(found.test), found.depth.channels) == (36, 9, tables.depth.channels)
        assert {*found.train["content"], *found.test["content"]} == {*tables.train["content"]}
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        rehearsed(made.competition, workspace, 0.2, 0, Console(), run)
