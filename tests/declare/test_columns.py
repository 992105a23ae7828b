"""Columns of a CSV, joined to their images."""

import pandas as pd
import pytest

from comp import Columns
from comp.errors import DataError

AGES = Columns("train.csv", "test.csv", image="image", numbers=["age"], categories=["sex"])


def table(ids, **columns):
    return pd.DataFrame({"id": ids, "path": [f"/data/{id_}.png" for id_ in ids], **columns})


def joined(folder, lines, images):
    (folder / "train.csv").write_text("\n".join(lines) + "\n")
    frame = AGES.joined(images, folder / "train.csv")
    return list(zip(frame["column age"], frame["column sex"], strict=True))


@pytest.mark.parametrize(
    ("names", "images"),
    [
        (["a", "b"], table(["b", "a"])),
        (["a.png", "b.png"], table(["b", "a"])),
        (["a", "b"], table(["0", "1"], answer=["b", "a"])),
    ],
    ids=["by id", "by file", "by answer"],
)
def test_a_row_is_found_by_its_image_s_id_file_or_answer(tmp_path, names, images):
    lines = ["image,sex,age", f"{names[0]}, f ,7", f"{names[1]},m,", f"{names[0]},f,7"]
    assert joined(tmp_path, lines, images) == [("", "m"), ("7", "f")]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["image,sex,age", "a,f,7"], "1 image has no row in .*train.csv, the first 'b'.*'a'"),
        (["image,sex,age", "a,f,7", "a,m,7", "b,f,7"], "several rows of 'a'"),
        (["image,age", "a,7", "b,8"], "no column 'sex'"),
        (["image,sex,age"], "the first 'a', but it has none"),
    ],
)
def test_an_image_without_a_row_of_its_own_is_named(tmp_path, lines, said):
    with pytest.raises(DataError, match=said):
        joined(tmp_path, lines, table(["a", "b"]))


def test_a_row_of_several_images_is_refused_unless_they_are_of_one_answer_or_one_file(tmp_path):
    paths = ["/data/train/0.png", "/data/valid/0.png"]
    images = pd.DataFrame({"id": ["0", "valid/0"], "path": paths})
    lines = ["image,sex,age", "0.png,f,7"]
    with pytest.raises(DataError, match=r"one row of '0\.png' for the images '0' and 'valid/0'; .*'image'"):
        joined(tmp_path, lines, images)
    assert joined(tmp_path, [*lines, "valid/0,m,8"], images) == [("7", "f"), ("8", "m")]
    assert joined(tmp_path, lines, images.assign(answer="0")) == [("7", "f")] * 2
    assert joined(tmp_path, lines, images.assign(path=paths[0], answer=["p", "q"])) == [("7", "f")] * 2
