"""Labels in one column of a CSV, in many kinds of files."""

import csv
import json
import re
from dataclasses import replace

import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from comp.declare.labels import csv as reading
from comp.declare.labels.columns import CsvLabels
from comp.declare.labels.csv import parts_of_rows, read_csv, read_ids, records_in
from comp.errors import DataError
from tests.declare.labels.conftest import ODD, by_id, rows_of, touch

CLASS_NAMES = st.text(ODD, min_size=1, max_size=12)
CSV = CsvLabels("train.csv", image="id", label="label", folder="train", suffix=".png")
BARE = replace(CSV, suffix="")
FOLDED = replace(CSV, suffix="/*.png")
TAGS = CsvLabels("train.csv", image="id", label="tags", folder="train", suffix=".png", separator=" ")


def write_csv(folder, rows, label="label"):
    pd.DataFrame(rows, columns=["id", label]).to_csv(folder / "train.csv", index=False)
    return folder


def from_text(folder, text, source=CSV, encoding="utf-8", images=("train/0.png", "train/1.png")):
    """The table of a train.csv with these bytes, with its images beside it."""
    touch(folder, *images)
    (folder / "train.csv").write_bytes(text.encode(encoding))
    return source.read(folder)


@settings(max_examples=15, deadline=None)
@given(labels=st.lists(CLASS_NAMES | st.sampled_from(["NA", "nan", "None", "007", "1e3", "True"]), min_size=1))
def test_a_csv_round_trips_classes_as_the_text_they_are(fresh, labels):
    labels = [label for label in labels if label.strip()]
    assume(labels)
    folder = write_csv(fresh(), [(f"{number:03}", label) for number, label in enumerate(labels)])
    touch(folder, *(f"train/{number:03}.png" for number in range(len(labels))))
    assert rows_of(CSV.read(folder)) == [
        (f"{number:03}", folder / f"train/{number:03}.png", label.strip()) for number, label in enumerate(labels)
    ]


@settings(max_examples=15, deadline=None)
@given(
    separator=st.sampled_from([" ", ",", ";", "|", ", ", "::"]),
    rows=st.lists(st.sets(CLASS_NAMES, max_size=4), min_size=1, max_size=6),
)
def test_a_csv_round_trips_tags_with_any_separator(fresh, separator, rows):
    rows = [{tag.strip() for tag in tags} - {""} for tags in rows]
    assume(not any(set(separator) & set(tag) for tags in rows for tag in tags))
    folder = write_csv(fresh(), [(f"{n}", separator.join(tags)) for n, tags in enumerate(rows)], label="tags")
    touch(folder, *(f"train/{number}.png" for number in range(len(rows))))
    source = replace(TAGS, separator=separator)
    assert source.target == "multi"
    frame = source.read(folder)
    assert by_id(frame) == {f"{number}": tuple(sorted(tags)) for number, tags in enumerate(rows)}


@pytest.mark.parametrize(
    ("source", "text", "images", "labels"),
    [
        # Tags count once, in any order and spacing; names with a suffix need none, and may lead to folders below; a
        # file's name may begin and end with spaces, and a class may be called like a missing value.
        (TAGS, "id,tags\n0, haze  clear haze \n", ["0.png"], {"0": ("clear", "haze")}),
        (TAGS, "id,tags\n0,a b\n1,c\n0,b a\n", ["0.png", "1.png"], {"0": ("a", "b"), "1": ("c",)}),
        (BARE, "id,label\na.jpg,cat\nb.png,dog\n", ["a.jpg", "b.png"], {"a.jpg": "cat", "b.png": "dog"}),
        (CSV, "id,label\nx/0,cat\ny/0,dog\n", ["x/0.png", "y/0.png"], {"x/0": "cat", "y/0": "dog"}),
        (CSV, 'id,label\n" 0 ",cat\n1 ,dog\n', [" 0 .png", "1.png"], {" 0 ": "cat", "1": "dog"}),
        *(
            (CSV, f"id,label\n0,cat\nNA,{name}\n", ["0.png", "NA.png"], {"0": "cat", "NA": name})
            for name in ("NA", "N/A", "null", "NULL", "None", "nan", "NaN", "#N/A")
        ),
        # Byte order marks, all line ends and quotes leave no trace.
        (CSV, "\ufeffid,label\n007,cat\n", ["007.png"], {"007": "cat"}),
        (CSV, "id,label\r\n007,cat\r\n", ["007.png"], {"007": "cat"}),
        (CSV, '"id","label"\r"007","cat"\r', ["007.png"], {"007": "cat"}),
    ],
)
def test_a_label_file_is_read_as_it_is_meant(tmp_path, source, text, images, labels):
    frame = from_text(tmp_path, text, source, images=[f"train/{image}" for image in images])
    assert by_id(frame) == labels
    assert list(frame["path"]) == [str(tmp_path / "train" / image) for image in images]


EYES = r"(.+)_(?:l|r)"


@pytest.mark.parametrize(
    ("source", "group", "names", "images", "found"),
    [
        (CSV, "patient", ["a_l", "a_r", "b_l"], ["a_l.png", "a_r.png", "b_l.png"], ["07", "7", "7"]),
        (CSV, "eye (one)", ["a_l", "a_r", "b_l"], ["a_l.png", "a_r.png", "b_l.png"], ["x", "y", "x"]),
        (CSV, EYES, ["a_l", "a_r", "b_l"], ["a_l.png", "a_r.png", "b_l.png"], ["a", "a", "b"]),
        (CSV, r"(.)_l", ["a_l", "a_r", "b_l"], ["a_l.png", "a_r.png", "b_l.png"], ["a", "a_r", "b"]),
        # Names with their suffix and in any case; or a name for several images.
        (BARE, EYES, ["a_L.png", "a_r.png", "b.x_l.png"], ["a_L.png", "a_r.png", "b.x_l.png"], ["a", "a", "b.x"]),
        (FOLDED, EYES, ["a_l", "a_r"], ["a_l/0.png", "a_l/1.png", "a_r/0.png"], ["a", "a", "a"]),
    ],
)
def test_a_group_is_a_column_or_a_pattern_of_names_however_they_are_written(
    tmp_path, source, group, names, images, found
):
    others = ["07,x", "7, y", "7,x"][: len(names)]
    rows = [f"{name},cat,{other}\n" for name, other in zip(names, others, strict=True)]
    images = [f"train/{image}" for image in images]
    text = "".join(["id,label,patient,eye (one)\n", *rows])
    assert list(from_text(tmp_path, text, replace(source, group=group), images=images)["group"]) == found


def test_spaces_around_values_and_names_of_columns_are_left_out_and_said(tmp_path):
    images = [f"train/{number}.png" for number in range(3)]
    frame = from_text(tmp_path, 'id , label\n0, "cat, tame" \n1 ,cat\n2,\tdog\n', images=images)
    assert list(frame["id"]) == ["0", "1", "2"]
    assert list(frame["label"]) == ["cat, tame", "cat", "dog"]
    of_ids, of_labels = frame.attrs["notes"]
    assert all(text in of_ids for text in ("train.csv", "1 values of id", "'1 '"))
    assert all(text in of_labels for text in ("train.csv", "2 values of label", "'cat, tame '"))


def test_a_doubled_row_counts_once_and_is_said(tmp_path):
    frame = from_text(tmp_path, "id,label\n0,cat\n1,dog\n0,cat\n0 ,cat\n")
    assert list(frame["id"]) == ["0", "1"]
    assert "2 rows are doubled" in frame.attrs["notes"][-1]
    assert "'0'" in frame.attrs["notes"][-1]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("id,label\n0,cat\n1,dog\n0,dog\n", "gives 1 image .* 'label', the first '0' 'cat' and 'dog'; .* separator"),
        ("id,label\n0,cat\n ,dog\n", "empty 'id'"),
        ("id,label\n0,cat\n1\n", "image '1' an empty 'label'"),
        ("id,label\n0,cat\n1,dog,tame\n", "can't be read as a CSV: line 3 has 3 values, .* 2"),
        ("id,label\n0,cat,tame\n1,dog,tame\n", "can't be read as a CSV"),
        ("id,label,label\n0,cat,cat\n", "column 'label' twice"),
        ("id,label\n0,cat\n", "1 image has no row .*1.png; add their labels or move them .* shared=True"),
        ("id,label\n0,cat\n1,dog\n2,dog\n", "1 of 3 rows .* no image, the first .*2.png.*; check `folder`"),
        (f"id,label\n0,cat\n1,dog\n{'x' * 300}/1,dog\n", "1 of 3 rows"),
        ("id,label\n0,cat\n1,dog\nno/1,dog\n", "1 of 3 rows .*no/1.png"),
        ('id,label\n0,cat\n1,"dog\n', "can't be read as a CSV: .*EOF inside string"),
        ("id,label\n", "has no rows"),
        ("", "can't be read as a CSV"),
    ],
)
def test_each_mistake_of_a_label_file_is_one_sentence(tmp_path, text, said):
    with pytest.raises(DataError, match=rf"train\.csv.*{said}|{said}") as raised:
        from_text(tmp_path, text)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig", "cp1252"])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_a_label_file_is_read_in_any_usual_encoding_and_separator(tmp_path, encoding, separator):
    text = f"id{separator}label\n0{separator}Löwe klein\n"
    frame = from_text(tmp_path, text, encoding=encoding, images=["train/0.png"])
    assert list(frame["label"]) == ["Löwe klein"]
    assert [note for note in frame.attrs["notes"] if "cp1252" in note] == frame.attrs["notes"]
    assert len(frame.attrs["notes"]) == (encoding == "cp1252")


@pytest.mark.parametrize("name", ["train.csv.gz", "train.tsv.gz", "train.parquet"])
def test_a_label_file_may_be_zipped_or_parquet(tmp_path, name):
    table = pd.DataFrame({"id": ["007", "1"], "label": ["NA", "é"]})
    if name.endswith(".parquet"):
        table.to_parquet(tmp_path / name)
    else:
        table.to_csv(tmp_path / name, index=False, sep="\t" if "tsv" in name else ",")
    assert read_csv(tmp_path / name, ["id"]).to_numpy().tolist() == [["007", "NA"], ["1", "é"]]
    with pytest.raises(DataError, match="no column 'x'"):
        read_csv(tmp_path / name, ["x"])
    with pytest.raises(DataError, match=r"other\.csv doesn't exist"):
        read_csv(tmp_path / "other.csv")


def test_columns_of_parquet_that_are_no_text_are_left_out_and_text_in_bytes_is_text(tmp_path):
    png = b"\x89PNG"
    columns = {"id": [b"007", b"1"], "raw": [None, png], "image": [{"bytes": png, "path": "a"}] * 2, "label": [1, None]}
    pd.DataFrame(columns).to_parquet(tmp_path / "train.parquet")
    assert read_csv(tmp_path / "train.parquet").to_dict("list") == {"id": ["007", "1"], "label": ["1.0", ""]}


def test_damaged_parquet_is_one_sentence(tmp_path):
    (tmp_path / "train.parquet").write_bytes(b"PAR1 cut short")
    with pytest.raises(DataError, match="can't be read as Parquet"):
        read_csv(tmp_path / "train.parquet")


@pytest.mark.parametrize("source", [CSV, TAGS], ids=["single", "multi"])
@pytest.mark.parametrize(
    ("group", "said"),
    [
        ("patient", "image '1' an empty 'patient'"),
        ("who", "no column 'who'; its columns are id, LABEL, patient"),
        ("(.+)_left", "'(.+)_left' matches no image's name, like '0'"),
        ("(", "no column '('"),
        ("(.)_(.)", "no column '(.)_(.)'"),
    ],
)
def test_a_group_that_an_image_lacks_or_that_is_neither_a_column_nor_fits_a_name_is_refused(
    tmp_path, source, group, said
):
    with pytest.raises(DataError, match=re.escape(said.replace("LABEL", source.label))):
        from_text(tmp_path, f"id,{source.label},patient\n0,cat,7\n1,dog,\n", replace(source, group=group))


@settings(max_examples=60, deadline=None)
@given(
    text=st.text(',"\n\r; \t\ufeff\0abé0123.', max_size=60) | st.binary(max_size=60).map(lambda b: b.decode("latin-1")),
    head=st.sampled_from(["", "id,label\n", "id,tags\n", "\ufeffid , label\r\n"]),
    source=st.sampled_from([CSV, TAGS, replace(CSV, group="label")]),
    encoding=st.sampled_from(["utf-8", "utf-16", "latin-1"]),
)
def test_any_label_file_is_a_table_of_all_images_or_one_sentence(fresh, text, head, source, encoding):
    folder = touch(fresh(), "train/0.png", "train/1.png")
    (folder / "train.csv").write_bytes((head + text).encode(encoding, errors="replace"))
    try:
        frame = source.read(folder)
    except DataError:
        return
    assert list(frame["id"]) == ["0", "1"]
    assert all(frame["label"].map(bool)) or source is TAGS


@settings(max_examples=30, deadline=None)
@given(
    ids=st.lists(st.text("ab.0", min_size=1, max_size=3), min_size=1, max_size=4),
    classes=st.lists(st.text("ab_", min_size=1, max_size=5), min_size=1, max_size=4, unique=True),
    pattern=st.sampled_from(["{id}_{class}", "{class}_{id}", "x_{id}_{class}"]),
)
def test_a_row_is_named_after_its_class_also_where_this_has_another_class_at_its_end(ids, classes, pattern):
    meant = [(one, name) for one in ids for name in classes]
    rows = pd.Series([pattern.replace("{id}", one).replace("{class}", name) for one, name in meant])
    assert list(parts_of_rows(rows, pattern, classes).itertuples(index=False, name=None)) == meant


@settings(max_examples=20, deadline=None)
@given(
    rows=st.lists(st.lists(st.text('ab0 "\n,é', max_size=3), min_size=1, max_size=4), max_size=6),
    names=st.lists(st.sampled_from("abcd"), min_size=1, max_size=3, unique=True),
)
def test_only_the_ids_are_looked_at_where_only_they_are_wanted(rows, names, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "ids.csv"
    # A line with only spaces is no row.
    rows = [row for row in rows if "".join(row).strip() or len(row) > 1]
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([names, *rows])
    columns, ids = read_ids(path)
    assert columns == tuple(names)
    assert ids.to_list() == [row[0] for row in rows]
    assert ids.name == names[0]
    assert list(ids.index) == list(range(len(rows)))


@pytest.mark.parametrize("at_once", [1, 3, 1000])
def test_records_of_a_json_are_read_one_after_the_other_and_another_json_is_named(tmp_path, monkeypatch, at_once):
    monkeypatch.setattr(reading, "SCANNED", at_once)
    path = tmp_path / "a.json"
    for records in ([], [{"a": [1, 2], "b": "x,]["}, {"a": []}]):
        path.write_text(json.dumps(records, indent=1) + "\n")
        assert list(records_in(path)) == records
    for text in ('{"a": 1}', "[1]", '[{"a": 1}'):
        path.write_text(text)
        with pytest.raises(DataError, match="a list of records"):
            list(records_in(path))
