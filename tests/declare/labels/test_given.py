import pytest

from comp import CsvLabels, CsvNumbers, FileNames, GivenSplit, Renamed
from comp.errors import DataError
from tests.declare.labels.conftest import by_id, table_of, touch

NAMES = {"uerd": "altered", "juniward": "altered"}


def test_classes_of_the_same_new_name_become_one_and_others_keep_theirs(tmp_path):
    touch(tmp_path, "cover.1.png", "uerd.2.png", "juniward.3.png")
    source = Renamed(FileNames("{label}.*.png"), NAMES)
    assert by_id(source.read(tmp_path)) == {"cover.1": "cover", "uerd.2": "altered", "juniward.3": "altered"}
    assert source.target == "single"


def test_tags_of_the_same_new_name_count_once(tmp_path):
    tags = CsvLabels("train.csv", "id", "tags", separator=" ", folder="train", suffix=".png")
    found = table_of(Renamed(tags, NAMES), tmp_path, "id,tags", "1,uerd juniward", "2,juniward old")
    assert by_id(found) == {"1": ("altered",), "2": ("altered", "old")}


def numbers(names):
    columns = ["x_mean", "y_mean"]
    return Renamed(CsvNumbers("train.csv", "id", columns, folder="train", suffix=".png", bounds=(0, 9)), names)


ROWS = ("id,x_mean,y_mean", "1,1,2", "2,3,4")


def test_numbers_get_the_names_that_a_sample_submission_has_for_them(tmp_path):
    source = numbers({"x_mean": "X", "y_mean": "Y"})
    found = by_id(table_of(source, tmp_path, *ROWS))
    assert found == {"1": (("X", 1.0), ("Y", 2.0)), "2": (("X", 3.0), ("Y", 4.0))}
    assert (source.target, source.bounds) == ("number", (0, 9))


@pytest.mark.parametrize(
    ("names", "named"), [({"z_mean": "Z"}, "'z_mean'.* x_mean, y_mean"), ({"x_mean": "y_mean"}, "2 numbers.*'y_mean'")]
)
def test_a_name_that_no_label_has_and_two_numbers_of_one_name_are_refused(tmp_path, names, named):
    with pytest.raises(DataError, match=named):
        table_of(numbers(names), tmp_path, *ROWS)


def test_a_given_validation_set_is_renamed_with_its_notes(tmp_path):
    touch(tmp_path, "train/uerd.1.png", "train/cover.2.png", "valid/uerd.3.png", "valid/cover.4.jpg")
    source = GivenSplit(FileNames("train/{label}.*.png"), FileNames("valid/{label}.*.png"))
    before, after = source.read(tmp_path), Renamed(source, {"uerd": "altered"}).read(tmp_path)
    assert after["label"].to_list() == ["altered" if label == "uerd" else label for label in before["label"]]
    assert after.drop(columns="label").equals(before.drop(columns="label"))
    assert after.attrs["notes"] == before.attrs["notes"] != []
