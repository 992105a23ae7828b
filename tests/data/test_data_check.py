import re
import shutil
from dataclasses import replace
from pathlib import Path
from zlib import crc32

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from comp import GivenSplit, LabelFunction, WithExtra
from comp.console import Console
from comp.data.data_check import check_images, checked_tables
from comp.data.findings import DataCheck, lines_for_training, lines_of_check
from comp.data.reading import Reading, read_image
from comp.data.tables import read_tables, with_prior
from comp.errors import DataError
from comp.runs import find_run
from tests.data.conftest import encoded, picture


@pytest.fixture
def data(shades, workspace):
    """The folder of the downloaded `shades`."""
    return shutil.copytree(shades.files, workspace.data("shades"))


@pytest.fixture
def screen(shades, workspace):
    return lambda: checked_tables(shades.competition, workspace, Console(), every_image=True)


@pytest.fixture
def command(comp, shades):
    """Calls a command on `shades`, which must succeed."""

    def call(*arguments):
        ended = comp("--competitions", shades.plugins, *arguments)
        assert ended.status == 0, ended.err
        return ended

    return call


def bomb():
    """A PNG whose header claims 60,000 x 60,000 pixels."""
    whole = bytearray(encoded(picture(0), "PNG"))
    whole[16:24] = (60_000).to_bytes(4, "big") * 2
    whole[29:33] = crc32(whole[12:29]).to_bytes(4, "big")
    return bytes(whole)


UNREADABLE = {
    "empty": b"",
    "not an image": b"<html>502 Bad Gateway</html>",
    "truncated": encoded(picture(0), "JPEG")[:-200],
    "too large": bomb(),
}


def replace_image(path, content):
    path.unlink()
    path.write_bytes(content)


def spoil(data):
    """Make six training and two test images unreadable, each in another way; return the problems by id."""
    ways = {}
    for number, (problem, content) in enumerate(UNREADABLE.items()):
        replace_image(data / "train" / f"t{number:02}.png", content)
        ways[f"t{number:02}"] = problem
    for name, problem in (("train/t04", "a folder"), ("test/q05", "a broken link"), ("test/q07", "empty")):
        (data / f"{name}.png").unlink()
        ways[name.partition("/")[2]] = problem
    (data / "train/t04.png").mkdir()
    (data / "test/q05.png").symlink_to(data / "nowhere.png")
    (data / "test/q07.png").touch()
    return ways


COUNTS = {"unreadable_train": 5, "unreadable_test": 2, "duplicates": 0, "conflicts": 0, "leaks": 0}


def test_images_that_can_t_be_read_are_left_out_of_training_and_kept_in_the_test(data, screen, workspace):
    ways = spoil(data)
    tables = screen()
    assert list(tables.train["id"]) == [f"t{number:02}" for number in range(5, 36)]
    assert list(tables.train.index) == list(range(31))
    assert [tables.classes[target] for target in tables.targets] == list(tables.train["label"])
    assert len(tables.test) == 12
    assert list(tables.test["id"][~tables.readable]) == ["q05", "q07"]
    found = tables.data_check.images.set_index("id")["problem"]
    assert found[found != ""].to_dict() == ways
    assert tables.data_check.counts() == COUNTS
    of_train, of_test = tables.notes
    assert of_train.startswith("5 of 36 training images can't be read and are left out: 'train/t00.png' (empty), ")
    assert of_train.endswith("(truncated), …")
    assert of_test.startswith("2 of 12 test images can't be read and get the average of the training labels")
    # Unreadable test images are predicted by the classes' shares.
    filled = with_prior(tables, np.full((10, 3), [0.5, 0.25, 0.25]), np.array([3, 1, 4]) / 8)
    assert filled[~tables.readable].tolist() == [[3 / 8, 1 / 8, 4 / 8]] * 2
    assert (filled[tables.readable] == [0.5, 0.25, 0.25]).all()
    # The cache gives the same, without files whose bytes can't be read; so does checking everything again.
    assert tables.data_check.opened == 48
    again = screen()
    assert again.data_check.opened == 2
    assert (tables.duplicate_groups == again.duplicate_groups).all()
    shutil.rmtree(workspace.cache)
    pd.testing.assert_frame_equal(screen().data_check.images, tables.data_check.images)


@pytest.mark.parametrize("unreadable", [36, 13])
def test_data_of_which_many_images_can_t_be_read_are_refused(data, screen, unreadable):
    for path in sorted((data / "train").iterdir())[-unreadable:]:
        replace_image(path, b"")
    first = f"t{36 - unreadable:02}"
    with pytest.raises(
        DataError, match=rf"{unreadable} of 36 training images can't be read, the first 'train/{first}\.png' \(empty"
    ):
        screen()


def test_a_class_without_any_image_that_can_be_read_is_still_a_class(data, screen):
    for path in (data / "train").iterdir():
        if int(path.stem[1:]) % 3 == 0:
            replace_image(path, b"")
    tables = screen()
    assert tables.classes == ("blue", "green", "red")
    assert set(tables.targets) == {0, 1}
    assert [note for note in tables.notes if "no image of 'red'" in note]


def test_plain_images_are_not_spoken_of(data, screen):
    tables = screen()
    assert tables.notes == []
    assert not tables.data_check.found.any()
    assert tables.readable.all()
    assert len(set(tables.duplicate_groups)) == 36


def test_duplicates_conflicts_and_leaks_are_found(data, screen):
    for number in range(36):
        picture(number).save(data / "train" / f"t{number:02}.png")
    shutil.copy(data / "train/t00.png", data / "train/t03.png")  # the same colour
    shutil.copy(data / "train/t01.png", data / "train/t02.png")  # another
    picture(4, (192, 144)).save(data / "train/t07.png")
    picture(5, (192, 144)).save(data / "train/t09.png")  # another colour
    shutil.copy(data / "train/t10.png", data / "test/q00.png")
    picture(11, (192, 144)).save(data / "test/q01.png")
    shutil.copy(data / "test/q02.png", data / "test/q03.png")
    tables = screen()
    images = tables.data_check.images.set_index("id")
    marked = {
        column: images[column][images[column] != ""].to_dict() for column in ("duplicate", "conflict", "leak", "like")
    }
    likes = "t00 t03, t03 t00, t01 t02, t02 t01, t04 t07, t07 t04, t05 t09, t09 t05, q00 t10, q01 t11"
    assert marked == {
        "duplicate": {
            **dict.fromkeys(["t00", "t01", "t02", "t03"], "exact"),
            **dict.fromkeys(["t04", "t05", "t07", "t09"], "near"),
        },
        "conflict": {"t01": "exact", "t02": "exact", "t05": "near", "t09": "near"},
        "leak": {"q00": "exact", "q01": "near"},
        "like": {one: f"train/{other}.png" for one, other in map(str.split, likes.split(", "))},
    }
    sets = pd.Series(tables.duplicate_groups, tables.train["id"])
    assert sets["t00"] == sets["t03"]
    assert sets["t05"] == sets["t09"]
    assert len(set(sets)) == 32
    assert [note.partition(",")[0] for note in tables.notes] == [
        "8 duplicates (4 exact",
        "4 conflicting labels (2 exact",
        "2 leaks (1 exact",
    ]
    # Cached findings of changed images are not used.
    picture(99).save(data / "train" / "t04.png")
    duplicates = screen().data_check.images.set_index("id")["duplicate"]
    assert (duplicates["t04"], duplicates["t07"], duplicates["t09"]) == ("", "", "near")


def test_a_line_shows_the_ends_of_a_long_path_and_counts_one_as_one():
    path = f"train/{'folder/' * 30}last.png"
    row = {"part": "train", "path": path, "problem": "empty file", "odd": ("palette",), "like": path}
    images = pd.DataFrame([row]).assign(duplicate="", conflict="", leak="exact")
    parts = {"train": np.array([False]), "test": np.array([True])}
    check = DataCheck(images, np.zeros(0, int), 0, 1, parts, unlike={"deeper": 1})
    lines = [*lines_for_training(check), *lines_of_check(check)]
    assert max(map(len, lines)) < 250
    assert sum("last.png" in line and "'train/" in line for line in lines) == 5
    assert any(line.startswith("1 leak (1 exact, 0 near)") for line in lines)
    assert any(line.startswith("1 image of the test set") for line in lines)


def test_of_many_that_only_look_alike_exact_copies_are_kept_together(data, screen):
    for number in range(36):
        picture(number if number < 16 else 99, (64 + number // 2 * 4, 48 + number // 2 * 3)).save(
            data / "train" / f"t{number:02}.png"
        )
    tables = screen()
    assert tables.data_check.torn == 20
    sets = pd.Series(tables.duplicate_groups, tables.train["id"])
    assert sets["t20"] == sets["t21"] != sets["t22"]
    assert "20 images look alike, but are not kept together" in " ".join(tables.notes)


def test_duplicates_that_a_given_validation_set_has_are_counted(data, shades, workspace):
    shutil.copytree(data / "train", data / "valid")
    for number in range(3, 36):
        picture(number).save(data / "valid" / f"t{number:02}.png")
    valid = replace(shades.competition.labels, folder="valid")
    competition = replace(shades.competition, labels=GivenSplit(shades.competition.labels, valid))
    notes = " ".join(checked_tables(competition, workspace, Console()).notes)
    assert "6 duplicates (6 exact" in notes
    assert "3 duplicates of training images in the given validation set" in notes
    competition = replace(competition, labels=WithExtra(shades.competition.labels, valid))
    notes = " ".join(checked_tables(competition, workspace, Console()).notes)
    assert "36 images only train, with folds as well, and 3 more" in notes


def test_groups_that_a_given_split_has_on_both_sides_are_said(data, shades, workspace):
    def split(folder):
        table, rows = shades.competition.labels.read(folder), np.arange(36)
        return table.assign(group=[f"p{row % 17}" for row in rows], validates=rows >= 32)

    competition = replace(shades.competition, labels=LabelFunction(split))
    notes = " ".join(checked_tables(competition, workspace, Console()).notes)
    assert "4 groups on both sides of the given split, like 'p0', whose score is too good" in notes


def test_images_of_a_label_function_may_lie_anywhere(data, shades, workspace, tmp_path):
    tables = read_tables(shades.competition, data)
    outside = tmp_path / "elsewhere.png"
    (data / "train/t00.png").rename(outside)
    tables.train.loc[0, "path"] = str(outside)
    check = check_images(tables, shades.competition, workspace, Console())
    assert check.images["path"][0] == str(outside)
    assert check.images["problem"][0] == ""


DEEP = {
    "10 bits of 16": (np.uint16, 1023, 0),
    "whole numbers of 32 bits": (np.int32, 3000, -1000),
    "floats": (np.float32, 0.1, 0),
}


@pytest.mark.parametrize("kind", DEEP)
def test_greys_deeper_than_eight_bits_keep_their_levels_by_what_the_training_images_hold(
    data, shades, workspace, screen, kind
):
    of_kind, high, low = DEEP[kind]
    ramp = np.linspace(low, high, 48 * 64).reshape(48, 64)
    declaration = shades.declaration.read_text()
    shades.declaration.write_text(declaration.replace(".png", ".tif"))
    for path in data.glob("*/*.png"):
        # One test image has half of the training images' range, and one has values below the range.
        values = {"q00": ramp / 2, "q01": 2 * ramp - high}.get(path.stem, ramp)
        Image.fromarray(values.astype(of_kind)).save(path.with_suffix(".tif"))
        path.unlink()
    tables = screen()
    assert (tables.depth.low, tables.depth.high) == ((np.float64(of_kind(low)),) * 3, (np.float64(of_kind(high)),) * 3)
    assert tables.data_check.levels == 256
    assert tables.data_check.unlike == {"bytes": 0, "outside": 1}
    (said,) = (note for note in tables.notes if "256 levels" in note)
    assert f"{high:g}" in said
    reading = Reading(depth=tables.depth)
    assert len(np.unique(read_image(data / "train/t00.tif", 48, reading))) == 256
    half = read_image(data / "test/q00.tif", 48, reading)
    assert half.max() == pytest.approx((high / 2 - low) / (high - low) * 255, abs=1)
    # Test images without training images are checked by the given depth.
    alone = replace(tables, train=tables.train[:0])
    judged = check_images(alone, shades.competition, workspace, Console(), tables.depth)
    assert (judged.depth, judged.unlike) == (tables.depth, tables.data_check.unlike)


def test_few_levels_that_outliers_leave_are_said(data, screen):
    for number, path in enumerate(sorted(data.glob("train/*.png"))):
        values = np.random.default_rng(number).integers(0, 1024, (48, 64), np.uint16)
        values[0, 0] = 65535 if number == 7 else 0
        Image.fromarray(values).save(path)
    tables = screen()
    assert tables.data_check.levels == 5
    assert any("`read`" in note for note in tables.notes)
    assert any(note.startswith("12 images of eight bits") for note in tables.notes)


def test_check_says_what_there_is_and_names_the_list(data, command):
    spoil(data)
    picture(0).convert("CMYK").save(data / "train/t10.png", "JPEG")
    shutil.copy(data / "train/t11.png", data / "train/t14.png")
    ended = command("check", "shades")
    assert ended.out.startswith("shades: 36 training images and 12 test images, 48 opened, in ")
    rows = [re.match(r"  (\S.*?) +(\d+)  ", line) for line in ended.out.splitlines() if line.startswith("  ")]
    kinds = {"unreadable, train": 5, "unreadable, test": 2, "four components": 1, "exact duplicates": 2}
    assert {row[1]: int(row[2]) for row in rows} == kinds
    listed = pd.read_csv(ended.last_line, keep_default_na=False)["id"].to_list()
    assert sorted(listed) == ["q05", "q07", "t00", "t01", "t02", "t03", "t04", "t10", "t11", "t14"]
    assert "2 opened and 46 unchanged since they were last opened" in command("check", "shades").out


def test_a_training_records_what_it_left_out_and_submits_every_row(data, command, workspace):
    spoil(data)
    shutil.copy(data / "train/t11.png", data / "train/t14.png")
    run = find_run(workspace, command("train", "shades", "--set", "stages.cycle_length=1").last_line)
    assert "5 of 36 training images can't be read and are left out: 'train/t00.png' (empty)" in run.log.read_text()
    assert run.record("config")["data_check"] == {**COUNTS, "duplicates": 2}
    listed = pd.read_csv(run.folder / "data-check.csv", keep_default_na=False).set_index("id")
    assert listed["problem"]["t02"] == "truncated"
    assert listed["like"]["t11"] == "train/t14.png"
    parts = dict(run.split())
    assert not {"t00", "t04"} & set(parts)
    assert parts["t11"] == parts["t14"]

    said = "2 test images can't be read and get the average of the training labels"
    assert said in command("predict", run.name).out
    assert said in run.log.read_text()
    assert list(pd.read_csv(run.submission)["id"]) == [f"q{number:02}" for number in range(12)]
    probabilities = pd.read_parquet(run.predictions("test")).set_index("id")
    labels = pd.read_csv(data / "train.csv").set_index("id")["colour"]
    shares = labels[[id_ for id_, part in parts.items() if part == "train"]].value_counts(normalize=True)
    for id_ in ("q05", "q07"):
        assert probabilities.loc[id_].to_dict() == pytest.approx(shares.to_dict(), abs=1e-6)


def test_names_with_markup_and_line_ends_are_shown_as_they_are(data, command):
    name = "[red]a\n:dog:"
    (data / "train/t00.png").unlink()
    (data / "train" / f"{name}.png").touch()
    lines = (data / "train.csv").read_text().replace("t00,", f'"{name}",')
    (data / "train.csv").write_text(lines)
    ended = command("check", "shades")
    assert r"'train/[red]a\n:dog:.png' (empty)" in ended.out
    assert pd.read_csv(ended.last_line)["id"].tolist() == [name]


def test_a_place_that_can_t_be_written_costs_the_table_and_not_the_training(shades, data, comp, screen, workspace):
    workspace.cache.mkdir(parents=True)
    (workspace.cache / "data-check").write_text("a file where the folder should be")
    ended = comp("--competitions", shades.plugins, "check", "shades")
    assert ended.status == 1
    assert len(ended.err.splitlines()) == 1
    assert len(screen().train) == 36
    assert list(workspace.cache.glob("*/.*.part")) == []


CONTENTS = (
    st.binary(max_size=200)
    | st.sampled_from([*UNREADABLE.values(), encoded(picture(1), "JPEG"), encoded(picture(1).convert("CMYK"), "JPEG")])
    | st.builds(
        lambda kind, share: encoded(picture(2), kind)[: round(share * 2000)],
        st.sampled_from(["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP"]),
        st.floats(0, 1),
    )
)


@pytest.mark.filterwarnings("ignore::UserWarning")
@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(contents=st.dictionaries(st.integers(0, 35) | st.integers(100, 111), CONTENTS, max_size=12))
def test_whatever_files_hold_every_image_is_used_or_listed_and_none_is_lost(data, screen, shades, contents):
    for number, content in contents.items():
        part, name = ("train", f"t{number:02}") if number < 100 else ("test", f"q{number - 100:02}")
        replace_image(data / part / f"{name}.png", content)
    tables = screen()
    listed = tables.data_check.images[tables.data_check.found]
    unreadable = set(listed["id"][listed["problem"] != ""])
    assert set(tables.train["id"]) | unreadable >= {f"t{number:02}" for number in range(36)}
    assert not set(tables.train["id"]) & unreadable
    assert set(tables.test["id"][~tables.readable]) == {name for name in unreadable if name[0] == "q"}
    for path in map(Path, (*tables.train["path"], *tables.test["path"][tables.readable])):
        assert read_image(path, 8).shape[2] == 3
    for number in contents:
        name = f"train/t{number:02}.png" if number < 100 else f"test/q{number - 100:02}.png"
        shutil.copy(shades.files / name, data / name)
