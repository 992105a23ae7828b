"""Synthetic competitions with any number of rows: tiny images, few files under many names."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from PIL import Image

from comp import (
    ClassName,
    Competition,
    CsvLabels,
    ProbabilityPerClass,
    Recipe,
    Stage,
    TestImages,
    side_on,
)
from comp.data.file_facts import THUMBNAIL
from comp.runs import Workspace

# Images are hard links to these files; ext4 allows 65,000 links to a file.
FILES = 256
WIDTH, HEIGHT = 40, 32
# With more classes the submission has the class, not a column for each.
MOST_COLUMNS = 1000
AT_ONCE = 1 << 14


@dataclass(frozen=True)
class Synthetic:
    """A competition of ``rows`` labelled images, and a tenth as many test images, below ``folder``."""

    folder: Path
    rows: int
    classes: int

    @property
    def workspace(self) -> Workspace:
        return Workspace(self.folder)

    @property
    def tests(self) -> int:
        return max(1, self.rows // 10)

    @property
    def names(self) -> list[str]:
        """The names of the classes, in order."""
        return [f"class {number:05d}" for number in range(self.classes)]

    @property
    def labels(self) -> str:
        return f"train-{self.classes}.csv"

    @property
    def screened(self) -> Path:
        return self.workspace.cache / "data-check" / f"{self.competition.name}.arrow"

    @property
    def competition(self) -> Competition:
        columns = self.classes <= MOST_COLUMNS
        stage = Stage(size=HEIGHT, train="all", learning_rate=1e-3)
        return Competition(
            name="synthetic",
            kaggle="synthetic",
            labels=CsvLabels(self.labels, image="image", label="label", folder="train", suffix=".jpg"),
            test=TestImages("test", suffix=".jpg"),
            submission=ProbabilityPerClass() if columns else ClassName(),
            metric="log_loss" if columns else "accuracy",
            augment=side_on(),
            sample_submission=f"sample-{self.classes}.csv",
            recipes={"standard": Recipe(stages=[stage], backbone="test_resnet", pretrained=False)},
        )

    def make(self) -> None:
        """Write labels and sample submission; and the images once, which are the same for all numbers of classes."""
        data = self.workspace.data(self.competition.name)
        if not data.is_dir():
            make_images(data, {"train": self.rows, "test": self.tests})
        rng = np.random.default_rng(self.classes)
        labels = np.array(self.names)[rng.permutation(self.rows) % self.classes]
        pd.DataFrame({"image": named(self.rows), "label": labels}).to_csv(data / self.labels, index=False)
        self.make_sample(data / self.competition.sample_submission, self.tests)

    def make_sample(self, path: Path, rows: int) -> None:
        if self.classes > MOST_COLUMNS:
            head, value = "image,label", self.names[0]
        else:
            head, value = ",".join(["image", *self.names]), ",".join(["0.00833333"] * self.classes)
        with path.open("w") as file:
            file.write(f"{head}\n")
            file.writelines(f"{name},{value}\n" for name in named(rows))

    def tell_apart(self) -> None:
        """Give each row of the table of facts its own bytes and looks, as if the files were different.

        One row in a hundred stays a copy of another, and as many look nearly like another.
        """
        known = pa.ipc.open_file(str(self.screened)).read_all()
        rng = np.random.default_rng(0)
        contents = [row.tobytes().hex() for row in rng.integers(256, size=(len(known), 16), dtype=np.uint8)]
        looks = rng.integers(256, size=(len(known), THUMBNAIL**2), dtype=np.uint8)
        looks[:, 0], looks[:, 1] = 0, 255
        copies = rng.permutation(len(known))[: 4 * (len(known) // 100)].reshape(4, -1)
        for copy, original in zip(*copies[:2], strict=True):
            contents[copy] = contents[original]
        looks[copies[0]], looks[copies[2]] = looks[copies[1]], looks[copies[3]]
        looks[copies[2], 2] ^= 1
        columns = {
            "content": pa.array(contents),
            "thumbnail": pa.array(list(map(bytes, looks)), pa.binary(THUMBNAIL**2)),
        }
        for name, column in columns.items():
            known = known.set_column(known.schema.get_field_index(name), name, column)
        with pa.ipc.new_file(str(self.screened), known.schema) as file:
            file.write_table(known)


def named(rows: int) -> list[str]:
    return [f"{row:07d}" for row in range(rows)]


def make_images(folder: Path, parts: dict[str, int]) -> None:
    """Make a folder for each part with its number of JPEGs, links to a few files."""
    rng = np.random.default_rng(0)
    files = folder / "files"
    files.mkdir(parents=True)
    for number in range(FILES):
        coarse = Image.fromarray(rng.integers(256, size=(4, 5, 3), dtype=np.uint8))
        coarse.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC).save(files / f"{number}.jpg")
    for part, rows in parts.items():
        (folder / part).mkdir()
        for row, name in enumerate(named(rows)):
            os.link(files / f"{row % FILES}.jpg", folder / part / f"{name}.jpg")
