"""Labels in the names of files and folders, and test images."""

from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from comp.declare.labels.columns import CsvLabels
from comp.declare.labels.files import FileNames, Folders, TestImages, placed
from comp.declare.labels.given import GivenSplit, WithExtra
from comp.errors import DataError, DeclarationError
from tests.declare.labels.conftest import ODD, by_id, rows_of, touch

CLASS_NAMES = st.text(ODD, min_size=1, max_size=12)
NAMES = FileNames("train/{label}.*.jpg")


@settings(max_examples=15, deadline=None)
@given(labels=st.lists(CLASS_NAMES, min_size=1, max_size=6))
def test_file_names_round_trip(fresh, labels):
    folder = fresh()
    names = [f"{label}.{number}" for number, label in enumerate(labels)]
    touch(folder, *(f"train/{name}.jpg" for name in names))
    frame = NAMES.read(folder)
    assert by_id(frame) == dict(zip(names, labels, strict=True))
    assert list(frame["path"]) == [str(folder / f"train/{name}.jpg") for name in frame["id"]]


@settings(max_examples=15, deadline=None)
@given(label=CLASS_NAMES, before=st.text("xy.+(*[", max_size=4), after=st.text("_.$)+", min_size=1, max_size=4))
def test_every_character_of_a_pattern_but_the_placeholders_stands_for_itself(fresh, label, before, after):
    before, fixed = before.replace("*", ""), f"1{after}"
    assume(fixed[0] not in label and before + label != "." and not before.startswith("."))
    folder = touch(fresh(), f"train/{before}{label}{fixed}2.png")
    assert list(FileNames(f"train/{before}{{label}}{fixed}*.png").read(folder)["label"]) == [label]


@pytest.mark.parametrize(
    ("pattern", "ids"), [("train/{label}.*.jpg", ["cat.0"]), ("train/{label}.*", ["cat.0", "dog.1"])]
)
def test_images_of_another_suffix_hidden_and_other_files_have_no_label(tmp_path, pattern, ids):
    touch(tmp_path, "train/cat.0.jpg", "train/dog.1.png", "train/readme.txt", "train/.cat.1.jpg")
    frame = FileNames(pattern).read(tmp_path)
    assert list(frame["id"]) == ids
    assert len(frame.attrs["notes"]) == 2 - len(ids)
    assert all(text in note for note in frame.attrs["notes"] for text in ("1 image", "'.jpg'", "train/dog.1.png"))


@settings(max_examples=15, deadline=None)
@given(classes=st.dictionaries(CLASS_NAMES, st.integers(1, 3), min_size=1, max_size=4))
def test_folders_round_trip(fresh, classes):
    folder = fresh()
    touch(folder, *(f"train/{name}/{n}.jpg" for name, count in classes.items() for n in range(count)))
    frame = Folders("train").read(folder)
    assert frame["label"].value_counts().to_dict() == classes
    assert list(frame["id"]) == sorted(f"{path.parent.name}/{path.stem}" for path in map(Path, frame["path"]))
    assert all(Path(path).parent.name == label for path, label in zip(frame["path"], frame["label"], strict=True))


@pytest.mark.parametrize(
    ("source", "files", "said"),
    [
        (NAMES, ["train/cat.0.jpg", "train/fish.jpg"], r"fish\.jpg has no label.*pattern"),
        (Folders("train"), ["train/cat/0.jpg", "train/lost.jpg"], r"lost\.jpg has no label"),
        (Folders("train"), ["train/cat/0.jpg", "train/dog/readme.txt"], "dog holds no image files"),
        (Folders("train"), ["train/.hidden/0.jpg"], "train holds no class folders.*`folder`"),
        (Folders("train"), ["train/cat/0.jpg", "train/cat/0.png"], r"'cat/0' with the path '.*0\.jpg' and '.*0\.png'"),
        (TestImages("test"), ["test/a.jpg", "test/a.png"], "the first 'a'"),
        (TestImages("test", ".png"), ["test/a.jpg"], r"test holds no \.png files.*need `suffix` '\.jpg'"),
        (TestImages("test"), ["test/1.nii", "test/2.nii"], r"2 files \.nii"),
        (Folders("train"), ["train/cat/1.heic", "train/dog/1.jpg"], r"1 file \.heic"),
        (Folders("train"), [], r"train doesn't exist"),
        (Folders("train", layout="{label}/images"), ["train/cat/0.jpg"], r"0\.jpg has no label"),
        (Folders("train", layout="{label}/images"), ["train/cat/masks/0.jpg"], r"cat/images doesn't exist"),
        (FileNames("train/{label}.jpg"), [], r"train doesn't exist"),
        (TestImages("train"), [], r"train doesn't exist"),
        (NAMES, [b"train/cat.\xff.jpg".decode(errors="surrogateescape")], r"cat\.\\udcff\.jpg' isn't UTF-8; rename"),
    ],
)
def test_each_mistake_of_files_and_folders_is_named(tmp_path, source, files, said):
    with pytest.raises(DataError, match=said):
        source.read(touch(tmp_path, *files))


@pytest.mark.parametrize(
    ("layout", "label", "group"), [("{group}/{label}", 1, 0), ("{label}/{group}", 0, 1), ("{group}/x/{label}", 2, 0)]
)
def test_folders_lie_in_those_of_groups_or_hold_them(tmp_path, layout, label, group):
    ways = ["a/x/cat", "b/x/cat", "b/x/dog"] if "x" in layout else ["a/cat", "b/cat", "b/dog"]
    touch(tmp_path, *(f"train/{way}/0.jpg" for way in ways), "train/none/lost.txt")
    frame = Folders("train", layout=layout, without=["none"]).read(tmp_path)
    assert list(frame["id"]) == [f"{way}/0" for way in ways]
    assert list(frame["label"]) == [way.split("/")[label] for way in ways]
    assert list(frame["group"]) == [way.split("/")[group] for way in ways]


@pytest.mark.parametrize("layout", ["images", "{label}/{label}", "{label}/../x", "{label}/", "{lable}", "x{label}"])
def test_a_layout_has_one_folder_of_the_class(layout):
    with pytest.raises(DeclarationError, match="`layout`"):
        Folders("train", layout=layout)


def test_file_names_may_have_spaces_line_ends_and_markup(tmp_path):
    names = ["a b", "a\nb", "[red]a", "ü犬", "%s {x}", "'\"", "-rf"]
    touch(tmp_path, *(f"train/cat.{name}.jpg" for name in names), *(f"folders/{name}/{name}.jpg" for name in names))
    assert sorted(NAMES.read(tmp_path)["id"]) == sorted(f"cat.{name}" for name in names)
    assert sorted(Folders("folders").read(tmp_path)["label"]) == sorted(names)


@pytest.mark.parametrize(("with_suffix", "ids"), [(False, ["1", "10", "2"]), (True, ["1.jpg", "10.jpg", "2.jpg"])])
def test_test_images_have_the_ids_of_the_sample_submission(tmp_path, with_suffix, ids):
    touch(tmp_path, "test/10.jpg", "test/2.jpg", "test/1.jpg", "test/labels.csv")
    frame = TestImages("test", with_suffix=with_suffix).read(tmp_path)
    assert list(frame.columns) == ["id", "path"]
    assert list(frame["id"]) == ids
    assert [Path(path).name for path in frame["path"]] == ["1.jpg", "10.jpg", "2.jpg"]


def test_a_suffix_of_two_parts_is_no_part_of_the_id(tmp_path):
    touch(tmp_path, "test/a.full.jpg", "test/a.half.jpg", "test/b.FULL.JPG")
    frame = TestImages("test", suffix=".full.jpg").read(tmp_path)
    assert list(frame["id"]) == ["a", "b"]
    assert "a.half.jpg" in frame.attrs["notes"][0]


@settings(max_examples=30)
@given(folder=st.sampled_from(["/a/b", "/", ".", "a"]), names=st.lists(st.text("ab./", max_size=4), max_size=4))
def test_many_names_are_placed_as_each_path_is_written(folder, names):
    assert placed(Path(folder), names) == [str(Path(folder, name)) for name in names]


def test_hidden_images_that_are_asked_for_have_rows_and_no_files(tmp_path):
    touch(tmp_path, "test/1.png")
    source = TestImages("test", suffix=".png", hidden=True)
    found = source.with_missing(source.read(tmp_path), ["1", "2"], tmp_path)
    assert rows_of(found) == [("1", tmp_path / "test/1.png"), ("2", tmp_path / "test/2.png")]
    assert "1 of 2" in found.attrs["notes"][0]
    assert TestImages("nowhere", hidden=True).read(tmp_path).empty


def test_more_than_a_few_ids_without_an_image_are_an_error_unless_they_are_hidden(tmp_path):
    touch(tmp_path, *(f"test/{number}.png" for number in range(9)))
    source = TestImages("test", incomplete=True)
    found = source.read(tmp_path)
    assert len(source.with_missing(found, list("0123456789"), tmp_path)) == 10
    for asked in (list("0123456789a"), list("abc")):
        with pytest.raises(DataError, match=r"'(9|a)'"):
            source.with_missing(found, asked, tmp_path)
        assert TestImages("test", hidden=True).with_missing(found, asked, tmp_path)["id"].isin(asked).sum() == len(
            asked
        )


def test_a_given_validation_set_is_marked_and_has_no_class_of_its_own(tmp_path):
    touch(tmp_path, "train/cat/0.jpg", "train/dog/1.jpg", "valid/cat/0.jpg")
    source = GivenSplit(Folders("train"), Folders("valid"))
    read = source.read(tmp_path)
    assert by_id(read, "validates") == {"cat/0": None, "dog/1": None, "valid/cat/0": True}
    touch(tmp_path, "valid/cow/0.jpg")
    with pytest.raises(DataError, match="'cow'"):
        source.read(tmp_path)


def test_extra_images_only_train_also_within_a_given_split(tmp_path):
    touch(tmp_path, "train/cat/0.jpg", "train/dog/1.jpg", "extra/cat/0.jpg", "valid/dog/2.jpg")
    extra = WithExtra(Folders("train"), Folders("extra"))
    others = {"cat/0": None, "dog/1": None}
    assert by_id(extra.read(tmp_path), "validates") == {**others, "extra/cat/0": False}
    split = GivenSplit(extra, Folders("valid"))
    assert by_id(split.read(tmp_path), "validates") == {**others, "extra/cat/0": False, "dog/2": True}
    split = WithExtra(GivenSplit(Folders("train"), Folders("valid")), Folders("extra"))
    assert by_id(split.read(tmp_path), "validates") == {**others, "extra/cat/0": False, "dog/2": True}
    touch(tmp_path, "extra/cats/1.jpg")
    with pytest.raises(DataError, match="`extra` has the class 'cats'"):
        split.read(tmp_path)


@pytest.mark.parametrize(
    ("train", "valid", "answers", "groups"),
    [
        ({"answer": "who"}, {"answer": "who"}, ["a", "a", "valid/a", "valid/b"], None),
        ({"answer": "who"}, {}, ["a", "a", "valid/1", "valid/2"], None),
        ({}, {"answer": "who", "group": "site"}, ["1", "2", "a", "b"], ["1", "2", "s", "s"]),
        ({"group": "who"}, {"answer": "who"}, ["1", "2", "a", "b"], ["a", "a", "a", "b"]),
        ({"group": "who"}, {}, None, ["a", "a", "valid/1", "valid/2"]),
    ],
)
def test_answers_and_groups_of_one_source_alone_leave_the_validation_set_apart(tmp_path, train, valid, answers, groups):
    touch(tmp_path, *(f"{part}/{number}.png" for part in ("train", "valid") for number in (1, 2)))
    (tmp_path / "train.csv").write_text("id,y,who\n1,cat,a\n2,cat,a\n")
    (tmp_path / "valid.csv").write_text("id,y,who,site\n1,cat,a,s\n2,cat,b,s\n")
    place = {"image": "id", "label": "y", "suffix": ".png"}
    read = GivenSplit(
        CsvLabels("train.csv", folder="train", **place, **train),
        CsvLabels("valid.csv", folder="valid", **place, **valid),
    ).read(tmp_path)
    assert list(read["validates"]) == [None, None, True, True]
    assert answers is None or list(read["answer"]) == answers
    assert groups is None or list(read["group"]) == groups
