"""Stand-ins of well-known competitions: tiny images, but files, columns and values just as Kaggle serves them."""

import json
import zipfile
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

BREEDS = ["affenpinscher", "afghan_hound", "african_hunting_dog", *(f"breed_{number:03}" for number in range(117))]
TAGS = (  # noqa: SIM905
    "agriculture artisinal_mine bare_ground blooming blow_down clear cloudy conventional_mine cultivation habitation "
    "haze partly_cloudy primary road selective_logging slash_burn water"
).split()
DISEASES = {"0": "Cassava Bacterial Blight (CBB)", "3": "Cassava Mosaic Disease (CMD)", "4": "Healthy"}
LAYOUTS = {}


@dataclass(frozen=True)
class Layout:
    """A competition as Kaggle serves it.

    metric: what Kaggle calls it. expects: parts of the declaration that anyone who knows the competition would write.
    """

    slug: str
    folder: Path
    metric: str
    expects: tuple[str, ...]

    def images(self, paths, shades, size=32):
        """Squares of one shade each with noise, in which those of one class differ from those of another."""
        for path, shade in zip(paths, shades, strict=False):
            place = self.folder / path
            place.parent.mkdir(parents=True, exist_ok=True)
            noise = np.random.default_rng(list(path.encode())).integers(-20, 20, (size, size, 3))
            colour = np.array([40 + 37 * shade % 180, 40 + 71 * shade % 180, 40 + 113 * shade % 180])
            Image.fromarray((colour + noise).clip(0, 255).astype(np.uint8)).save(place)

    def csv(self, name, header, *columns):
        """A CSV of columns that end with the shortest."""
        rows = (",".join(map(str, row)) for row in zip(*columns, strict=False))
        (self.folder / name).write_text("\n".join([header, *rows]) + "\n")

    def asks(self, header, ids, sample, truth, name="sample_submission.csv"):
        """The sample submission, and the answers that it doesn't tell."""
        self.csv(name, header, ids, repeat(sample))
        answers = self.folder.parent / ".answers"
        answers.mkdir(exist_ok=True)
        self.csv(answers / f"{self.slug}.csv", header, ids, truth)

    def zip(self, *folders):
        """Folders in archives, in their place."""
        for folder in folders:
            with zipfile.ZipFile(self.folder / f"{folder}.zip", "w") as archive:
                for path in sorted((self.folder / folder).rglob("*")):
                    archive.write(path, path.relative_to(self.folder))
                    path.unlink()
            (self.folder / folder).rmdir()

    def tfrecords(self, *names):
        """Files that are no images."""
        for name in names:
            (self.folder / name).parent.mkdir()
            (self.folder / name).write_bytes(b"\0" * 64)


def at_kaggle(slug, metric, *expects):
    def keep(build):
        LAYOUTS[slug] = build, metric, expects
        return build

    return keep


def hexadecimals(start, end, digits, suffix=""):
    factor = 0x9E3779B97F4A7C15F39CC0605CEDC835
    return [f"{number * factor % 16**digits:0{digits}x}{suffix}" for number in range(start, end)]


def one_hot(index, classes):
    return ",".join(str(int(number == index)) for number in range(classes))


def cats_and_dogs(made, test, sample, name):
    made.images([f"train/{'cat' if number % 2 else 'dog'}.{number // 2}.jpg" for number in range(24)], [0, 1] * 12)
    made.images([f"{test}/{number}.jpg" for number in range(1, 9)], [1, 0] * 4)
    made.zip("train", test)
    made.asks("id,label", range(1, 9), sample, [0, 1] * 4, name)


@at_kaggle(
    "dogs-vs-cats-redux-kernels-edition",
    "Log Loss",
    *('FileNames("train/{label}.*.jpg")', 'ProbabilityOf("dog")', 'TestImages("test", suffix=".jpg")', "log_loss"),
)
def dogs_vs_cats_redux(made):
    cats_and_dogs(made, "test", 0.5, "sample_submission.csv")


@at_kaggle(
    "dogs-vs-cats",
    "Categorization Accuracy",
    *('ClassNumber(["cat", "dog"])', 'sample_submission="sampleSubmission.csv"', 'metric="accuracy"'),
)
def dogs_vs_cats(made):
    cats_and_dogs(made, "test1", 0, "sampleSubmission.csv")


@at_kaggle(
    "dog-breed-identification",
    "Multi Class Log Loss",
    'CsvLabels("labels.csv", image="id", label="breed", folder="train", suffix=".jpg")',
    "ProbabilityPerClass()",
    'metric="log_loss"',
)
def dog_breed_identification(made):
    ids, asked = hexadecimals(0, 160, 32), hexadecimals(500, 506, 32)
    made.images([f"train/{id_}.jpg" for id_ in ids], [number % 120 for number in range(160)], size=24)
    made.csv("labels.csv", "id,breed", ids, BREEDS * 2)
    made.images([f"test/{id_}.jpg" for id_ in asked], range(6), size=24)
    even = ",".join(["0.00833333333333333"] * 120)
    made.asks(",".join(["id", *BREEDS]), asked, even, [one_hot(number, 120) for number in range(6)])


@at_kaggle(
    "cassava-leaf-disease-classification",
    "Categorization Accuracy",
    'CsvLabels("train.csv", image="image_id", label="label", folder="train_images")',
    'TestImages("test_images", with_suffix=True)',
    "submission=ClassName()",
)
def cassava(made):
    ids = [f"{1000015157 + 7919 * number}.jpg" for number in range(40)]
    made.images([f"train_images/{id_}" for id_ in ids], [*range(5)] * 8, size=48)
    made.csv("train.csv", "image_id,label", ids, [*range(5)] * 8)
    made.images(["test_images/2216849948.jpg"], [4], size=48)
    made.asks("image_id,label", ["2216849948.jpg"], 4, [4])
    (made.folder / "label_num_to_disease_map.json").write_text(json.dumps(DISEASES))
    made.tfrecords("train_tfrecords/ld_train00-1338.tfrec", "test_tfrecords/ld_test00-1.tfrec")


@at_kaggle(
    "aptos2019-blindness-detection",
    "Quadratic Weighted Kappa",
    'CsvLabels("train.csv", image="id_code", label="diagnosis", folder="train_images", suffix=".png")',
    'metric="quadratic_kappa"',
    "submission=ClassName()",
)
def aptos(made):
    ids, asked, grades = hexadecimals(0, 40, 12), hexadecimals(100, 110, 12), [0, 0, 0, 1, 2, 2, 3, 4] * 5
    made.images([f"train_images/{id_}.png" for id_ in ids], grades)
    made.csv("train.csv", "id_code,diagnosis", ids, grades)
    made.images([f"test_images/{id_}.png" for id_ in asked], [*range(5)] * 2)
    made.csv("test.csv", "id_code", asked)
    made.asks("id_code,diagnosis", asked, 0, [*range(5)] * 2)


@at_kaggle(
    "planet-understanding-the-amazon-from-space",
    "Mean F Score Beta",
    *('separator=" "', 'TagNames(" ")', 'sample_submission="sample_submission_v2.csv"', "top_down()", "mean_f2"),
)
def planet(made):
    tags = [dict.fromkeys([TAGS[5 + number % 2], "primary", TAGS[number % 17]]) for number in range(51)]
    made.images([f"train-jpg/train_{number}.jpg" for number in range(51)], [*range(17)] * 3)
    made.csv("train_v2.csv", "image_name,tags", [f"train_{number}" for number in range(51)], map(" ".join, tags))
    asked = [*(f"test_{number}" for number in range(6)), *(f"file_{number}" for number in range(4))]
    made.images([f"test-jpg/{id_}.jpg" for id_ in asked], range(10))
    truth = [f"clear primary {tag}" for tag in TAGS[:10]]
    made.asks("image_name,tags", asked, "primary clear agriculture road water", truth, "sample_submission_v2.csv")
    made.csv("test_v2_file_mapping.csv", "old,new", ["file_4.tif"], ["test_0.tif"])


@at_kaggle(
    "plant-pathology-2020-fgvc7",
    "Mean Columnwise Area Under Receiver Operating Characteristic Curve",
    'labels=["healthy", "multiple_diseases", "rust", "scab"]',
    'folder="images"',
    "shared=True",
    'TestImages("images", suffix=".jpg")',
    'metric="roc_auc"',
)
def plant_pathology(made):
    header = "image_id,healthy,multiple_diseases,rust,scab"
    ids, asked = [f"Train_{number}" for number in range(40)], [f"Test_{number}" for number in range(10)]
    truth = [one_hot(number % 4, 4) for number in range(40)]
    made.images([f"images/{id_}.jpg" for id_ in ids], [*range(4)] * 10, size=40)
    made.images([f"images/{id_}.jpg" for id_ in asked], [*range(4)] * 3, size=40)
    made.csv("train.csv", header, ids, truth)
    made.csv("test.csv", "image_id", asked)
    made.asks(header, asked, "0.25,0.25,0.25,0.25", truth)


def cells(made, header, suffix, table, sample):
    """Two classes, a column of 0 and 1."""
    ids = hexadecimals(0, 32, 32, suffix)
    made.images([f"{'train' if number < 24 else 'test'}/{id_}" for number, id_ in enumerate(ids)], [0, 1] * 16)
    named = ids if suffix == ".jpg" else [id_.removesuffix(suffix) for id_ in ids]
    made.csv(table, header, named[:24], [0, 1] * 12)
    made.asks(header, named[24:], sample, [0, 1] * 4)


@at_kaggle(
    "aerial-cactus-identification",
    "Area Under Receiver Operating Characteristic Curve",
    'CsvLabels("train.csv", image="id", label="has_cactus", folder="train")',
    *('ProbabilityOf("1")', "top_down()", 'metric="roc_auc"'),
)
def aerial_cactus(made):
    cells(made, "id,has_cactus", ".jpg", "train.csv", 0.5)
    made.zip("train", "test")


@at_kaggle(
    "histopathologic-cancer-detection",
    "Area Under Receiver Operating Characteristic Curve",
    *('folder="train", suffix=".tif"', 'ProbabilityOf("1")', 'TestImages("test", suffix=".tif")', "top_down()"),
)
def histopathologic(made):
    cells(made, "id,label", ".tif", "train_labels.csv", 0)


@at_kaggle(
    "petfinder-pawpularity-score", "Root Mean Squared Error", 'values=["Pawpularity"]', "Numbers()", 'metric="rmse"'
)
def pawpularity(made):
    ids, asked, scores = hexadecimals(0, 40, 32), hexadecimals(100, 108, 32), [*range(1, 81, 2)]
    made.images([f"train/{id_}.jpg" for id_ in ids], scores)
    made.csv("train.csv", "Id,Eyes,Face,Pawpularity", ids, repeat(1), repeat(0), scores)
    made.images([f"test/{id_}.jpg" for id_ in asked], range(8))
    made.asks("Id,Pawpularity", asked, 43.75, range(10, 18))


@at_kaggle("digit-recognizer", "Categorization Accuracy", "PixelTable(", 'Folders("prepared/train")', "upright()")
def digit_recognizer(made):
    names = [f"pixel{number}" for number in range(64)]
    noise = np.random.default_rng(0).integers(0, 200, (48, 64))
    rows = [",".join(map(str, pixels // (1 + number % 4))) for number, pixels in enumerate(noise)]
    made.csv("train.csv", ",".join(["label", *names]), [*range(4)] * 10, rows[:40])
    made.csv("test.csv", ",".join(names), rows[40:])
    made.asks("ImageId,Label", range(1, 9), 0, [*range(4)] * 2)


@pytest.fixture(params=LAYOUTS)
def slug(request):
    return request.param


@pytest.fixture
def lay_out(tmp_path):
    """Makes a stand-in in the folder that the local Kaggle serves: ``lay_out(slug)``."""

    def make(slug):
        build, metric, expects = LAYOUTS[slug]
        made = Layout(slug, tmp_path / "served" / slug, metric, expects)
        made.folder.mkdir(parents=True)
        build(made)
        return made

    return make


@pytest.fixture
def layout(slug, lay_out):
    return lay_out(slug)
