"""Stand-ins of well-known competitions: tiny images, but files, columns and values just as Kaggle serves them."""

import json
import zipfile
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

BREEDS = ["affenpinscher", "afghan_hound", "african_hunting_dog", *(f"breed_{number:03}" for number in range(117))]
SEEDLINGS = [
    "Black-grass",
    "Charlock",
    "Cleavers",
    "Common Chickweed",
    "Common wheat",
    "Fat Hen",
    "Loose Silky-bent",
    "Maize",
    "Scentless Mayweed",
    "Shepherds Purse",
    "Small-flowered Cranesbill",
    "Sugar beet",
]
TAGS = [
    "agriculture",
    "artisinal_mine",
    "bare_ground",
    "blooming",
    "blow_down",
    "clear",
    "cloudy",
    "conventional_mine",
    "cultivation",
    "habitation",
    "haze",
    "partly_cloudy",
    "primary",
    "road",
    "selective_logging",
    "slash_burn",
    "water",
]
LINES = [
    "ETT - Abnormal",
    "ETT - Borderline",
    "ETT - Normal",
    "NGT - Abnormal",
    "NGT - Borderline",
    "NGT - Incompletely Imaged",
    "NGT - Normal",
    "CVC - Abnormal",
    "CVC - Borderline",
    "CVC - Normal",
    "Swan Ganz Catheter Present",
]
DISEASES = {
    "0": "Cassava Bacterial Blight (CBB)",
    "1": "Cassava Brown Streak Disease (CBSD)",
    "2": "Cassava Green Mottle (CGM)",
    "3": "Cassava Mosaic Disease (CMD)",
    "4": "Healthy",
}


@dataclass(frozen=True)
class Layout:
    """A competition as Kaggle serves it.

    metric: what Kaggle calls it. expects: parts of the declaration that anyone who knows the competition would write.
    """

    slug: str
    folder: Path
    metric: str
    expects: tuple[str, ...]

    def image(self, path, shade, size=32):
        """A square of one shade with noise, in which that of one class differs from that of another."""
        place = self.folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(list(path.encode())).integers(-20, 20, (size, size, 3))
        colour = np.array([40 + 37 * shade % 180, 40 + 71 * shade % 180, 40 + 113 * shade % 180])
        Image.fromarray((colour + noise).clip(0, 255).astype(np.uint8)).save(place)

    def csv(self, name, header, rows):
        (self.folder / name).write_text("\n".join([header, *rows]) + "\n")

    def answers(self, header, rows):
        place = self.folder.parent / ".answers" / f"{self.slug}.csv"
        place.parent.mkdir(exist_ok=True)
        place.write_text("\n".join([header, *rows]) + "\n")

    def zip(self, name, folder):
        """The folder in an archive, in its place."""
        with zipfile.ZipFile(self.folder / name, "w") as archive:
            for path in sorted((self.folder / folder).rglob("*")):
                archive.write(path, path.relative_to(self.folder))
                path.unlink()
        (self.folder / folder).rmdir()


def hexadecimal(number, digits):
    return f"{number * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 16**digits:0{digits}x}"


def dogs_vs_cats_redux(made):
    for number in range(24):
        made.image(f"train/{'cat' if number % 2 else 'dog'}.{number // 2}.jpg", number % 2)
    for number in range(1, 9):
        made.image(f"test/{number}.jpg", number % 2)
    made.zip("train.zip", "train")
    made.zip("test.zip", "test")
    made.csv("sample_submission.csv", "id,label", [f"{number},0.5" for number in range(1, 9)])
    made.answers("id,label", [f"{number},{1 - number % 2}" for number in range(1, 9)])


def dogs_vs_cats(made):
    for number in range(24):
        made.image(f"train/{'cat' if number % 2 else 'dog'}.{number // 2}.jpg", number % 2)
    for number in range(1, 9):
        made.image(f"test1/{number}.jpg", number % 2)
    made.zip("train.zip", "train")
    made.zip("test1.zip", "test1")
    made.csv("sampleSubmission.csv", "id,label", [f"{number},0" for number in range(1, 9)])
    made.answers("id,label", [f"{number},{1 - number % 2}" for number in range(1, 9)])


def dog_breed_identification(made):
    ids = [hexadecimal(number, 32) for number in range(160)]
    breeds = [BREEDS[number % 120] for number in range(160)]
    for number, id_ in enumerate(ids):
        made.image(f"train/{id_}.jpg", number % 120, size=24)
    made.csv("labels.csv", "id,breed", map(",".join, zip(ids, breeds, strict=True)))
    asked = [hexadecimal(number, 32) for number in range(500, 506)]
    for number, id_ in enumerate(asked):
        made.image(f"test/{id_}.jpg", number, size=24)
    header = ",".join(["id", *BREEDS])
    made.csv("sample_submission.csv", header, [",".join([id_, *["0.00833333333333333"] * 120]) for id_ in asked])
    truth = [",".join([id_, *(str(int(place == number)) for place in range(120))]) for number, id_ in enumerate(asked)]
    made.answers(header, truth)


def cassava(made):
    ids = [f"{1000015157 + 7919 * number}.jpg" for number in range(40)]
    for number, id_ in enumerate(ids):
        made.image(f"train_images/{id_}", number % 5, size=48)
    made.csv("train.csv", "image_id,label", [f"{id_},{number % 5}" for number, id_ in enumerate(ids)])
    made.image("test_images/2216849948.jpg", 4, size=48)
    made.csv("sample_submission.csv", "image_id,label", ["2216849948.jpg,4"])
    made.answers("image_id,label", ["2216849948.jpg,4"])
    (made.folder / "label_num_to_disease_map.json").write_text(json.dumps(DISEASES))
    for folder, file in (("train_tfrecords", "ld_train00-1338.tfrec"), ("test_tfrecords", "ld_test00-1.tfrec")):
        (made.folder / folder).mkdir()
        (made.folder / folder / file).write_bytes(b"\0" * 64)


def aptos(made):
    ids = [hexadecimal(number, 12) for number in range(40)]
    grades = [(0, 0, 0, 1, 2, 2, 3, 4)[number % 8] for number in range(40)]
    for id_, grade in zip(ids, grades, strict=True):
        made.image(f"train_images/{id_}.png", grade)
    made.csv("train.csv", "id_code,diagnosis", [f"{id_},{grade}" for id_, grade in zip(ids, grades, strict=True)])
    asked = [hexadecimal(number, 12) for number in range(100, 110)]
    for number, id_ in enumerate(asked):
        made.image(f"test_images/{id_}.png", number % 5)
    made.csv("test.csv", "id_code", asked)
    made.csv("sample_submission.csv", "id_code,diagnosis", [f"{id_},0" for id_ in asked])
    made.answers("id_code,diagnosis", [f"{id_},{number % 5}" for number, id_ in enumerate(asked)])


def planet(made):
    rows = [f"{TAGS[5 + number % 2]} primary {TAGS[number % 17]}".split() for number in range(51)]
    for number, tags in enumerate(rows):
        made.image(f"train-jpg/train_{number}.jpg", TAGS.index(tags[-1]))
    made.csv(
        "train_v2.csv", "image_name,tags", [f"train_{n},{' '.join(dict.fromkeys(tags))}" for n, tags in enumerate(rows)]
    )
    asked = [*(f"test_{number}" for number in range(6)), *(f"file_{number}" for number in range(4))]
    for number, id_ in enumerate(asked):
        made.image(f"test-jpg/{id_}.jpg", number)
    sample = [f"{id_},primary clear agriculture road water" for id_ in asked]
    made.csv("sample_submission_v2.csv", "image_name,tags", sample)
    made.csv("test_v2_file_mapping.csv", "old,new", ["file_4.tif,test_0.tif"])
    made.answers("image_name,tags", [f"{id_},clear primary {TAGS[number]}" for number, id_ in enumerate(asked)])


def plant_pathology(made):
    header = "image_id,healthy,multiple_diseases,rust,scab"
    one_hot = [",".join(str(int(place == number % 4)) for place in range(4)) for number in range(40)]
    for number in range(40):
        made.image(f"images/Train_{number}.jpg", number % 4, size=40)
    for number in range(10):
        made.image(f"images/Test_{number}.jpg", number % 4, size=40)
    made.csv("train.csv", header, [f"Train_{number},{row}" for number, row in enumerate(one_hot)])
    made.csv("test.csv", "image_id", [f"Test_{number}" for number in range(10)])
    made.csv("sample_submission.csv", header, [f"Test_{number},0.25,0.25,0.25,0.25" for number in range(10)])
    made.answers(header, [f"Test_{number},{one_hot[number]}" for number in range(10)])


def aerial_cactus(made):
    ids = [f"{hexadecimal(number, 32)}.jpg" for number in range(32)]
    for number, id_ in enumerate(ids):
        made.image(f"{'train' if number < 24 else 'test'}/{id_}", number % 2)
    made.zip("train.zip", "train")
    made.zip("test.zip", "test")
    made.csv("train.csv", "id,has_cactus", [f"{id_},{number % 2}" for number, id_ in enumerate(ids[:24])])
    made.csv("sample_submission.csv", "id,has_cactus", [f"{id_},0.5" for id_ in ids[24:]])
    made.answers("id,has_cactus", [f"{id_},{number % 2}" for number, id_ in enumerate(ids[24:])])


def histopathologic(made):
    ids = [hexadecimal(number, 40) for number in range(32)]
    for number, id_ in enumerate(ids):
        made.image(f"{'train' if number < 24 else 'test'}/{id_}.tif", number % 2)
    made.csv("train_labels.csv", "id,label", [f"{id_},{number % 2}" for number, id_ in enumerate(ids[:24])])
    made.csv("sample_submission.csv", "id,label", [f"{id_},0" for id_ in ids[24:]])
    made.answers("id,label", [f"{id_},{number % 2}" for number, id_ in enumerate(ids[24:])])


def plant_seedlings(made):
    for number in range(48):
        made.image(f"train/{SEEDLINGS[number % 12]}/{hexadecimal(number, 9)}.png", number % 12)
    asked = [f"{hexadecimal(number, 9)}.png" for number in range(100, 112)]
    for number, id_ in enumerate(asked):
        made.image(f"test/{id_}", number)
    made.csv("sample_submission.csv", "file,species", [f"{id_},Sugar beet" for id_ in asked])
    made.answers("file,species", [f"{id_},{SEEDLINGS[number]}" for number, id_ in enumerate(asked)])


def state_farm(made):
    rows = []
    for number in range(60):
        subject, name, file = f"p{2 + number % 6:03}", f"c{number // 6}", f"img_{44733 + 331 * number}.jpg"
        made.image(f"imgs/train/{name}/{file}", number // 6, size=40)
        rows.append(f"{subject},{name},{file}")
    made.csv("driver_imgs_list.csv", "subject,classname,img", rows)
    asked = [f"img_{number}.jpg" for number in (1, 10, 100, 1000, 100000, 100001, 100002, 100003, 100004, 100005)]
    for number, id_ in enumerate(asked):
        made.image(f"imgs/test/{id_}", number, size=40)
    header = ",".join(["img", *(f"c{number}" for number in range(10))])
    made.csv("sample_submission.csv", header, [f"{id_}{',0.1' * 10}" for id_ in asked])
    truth = [",".join([id_, *(str(int(place == number)) for place in range(10))]) for number, id_ in enumerate(asked)]
    made.answers(header, truth)


def ranzcr(made):
    pairs = list(combinations(range(11), 2))
    names = [f"1.2.826.0.1.3680043.8.498.{10**37 + 7919 * number}" for number in range(54)]
    marks = [",".join(str(int(line in pairs[number])) for line in range(11)) for number in range(54)]
    header = ",".join(["StudyInstanceUID", *LINES])
    for number, name in enumerate(names):
        made.image(f"{'train' if number < 44 else 'test'}/{name}.jpg", number)
    rows = [f"{name},{mark},{hexadecimal(n % 16, 9)}" for n, (name, mark) in enumerate(zip(names, marks, strict=True))]
    made.csv("train.csv", f"{header},PatientID", rows[:44])
    annotated = [f'{name},CVC - Normal,"[[1487, 1279], [1477, 1168]]"' for name in names[:20] for _ in range(2)]
    made.csv("train_annotations.csv", "StudyInstanceUID,label,data", annotated)
    made.csv("sample_submission.csv", header, [f"{name}{',0' * 11}" for name in names[44:]])
    made.answers(header, [f"{name},{mark}" for name, mark in zip(names[44:], marks[44:], strict=True)])
    for folder in ("train_tfrecords", "test_tfrecords"):
        (made.folder / folder).mkdir()
        (made.folder / folder / "00-1881.tfrec").write_bytes(b"\0" * 64)


LAYOUTS = {
    "dogs-vs-cats-redux-kernels-edition": (
        dogs_vs_cats_redux,
        "Log Loss",
        ('FileNames("train/{label}.*.jpg")', 'ProbabilityOf("dog")', 'TestImages("test", suffix=".jpg")', "log_loss"),
    ),
    "dogs-vs-cats": (
        dogs_vs_cats,
        "Categorization Accuracy",
        ('ClassNumber(["cat", "dog"])', 'sample_submission="sampleSubmission.csv"', 'metric="accuracy"'),
    ),
    "dog-breed-identification": (
        dog_breed_identification,
        "Multi Class Log Loss",
        (
            'CsvLabels("labels.csv", image="id", label="breed", folder="train", suffix=".jpg")',
            "ProbabilityPerClass()",
            'metric="log_loss"',
        ),
    ),
    "cassava-leaf-disease-classification": (
        cassava,
        "Categorization Accuracy",
        (
            'CsvLabels("train.csv", image="image_id", label="label", folder="train_images")',
            'TestImages("test_images", with_suffix=True)',
            "submission=ClassName()",
        ),
    ),
    "aptos2019-blindness-detection": (
        aptos,
        "Quadratic Weighted Kappa",
        (
            'CsvLabels("train.csv", image="id_code", label="diagnosis", folder="train_images", suffix=".png")',
            'metric="quadratic_kappa"',
            "submission=ClassName()",
        ),
    ),
    "planet-understanding-the-amazon-from-space": (
        planet,
        "Mean F Score Beta",
        ('separator=" "', 'TagNames(" ")', 'sample_submission="sample_submission_v2.csv"', "top_down()", "mean_f2"),
    ),
    "plant-pathology-2020-fgvc7": (
        plant_pathology,
        "Mean Columnwise Area Under Receiver Operating Characteristic Curve",
        (
            'labels=["healthy", "multiple_diseases", "rust", "scab"]',
            'folder="images"',
            "shared=True",
            'TestImages("images", suffix=".jpg")',
            'metric="roc_auc"',
        ),
    ),
    "aerial-cactus-identification": (
        aerial_cactus,
        "Area Under Receiver Operating Characteristic Curve",
        (
            'CsvLabels("train.csv", image="id", label="has_cactus", folder="train")',
            'ProbabilityOf("1")',
            "top_down()",
            'metric="roc_auc"',
        ),
    ),
    "histopathologic-cancer-detection": (
        histopathologic,
        "Area Under Receiver Operating Characteristic Curve",
        ('folder="train", suffix=".tif"', 'ProbabilityOf("1")', 'TestImages("test", suffix=".tif")', "top_down()"),
    ),
    "plant-seedlings-classification": (
        plant_seedlings,
        "Mean F Score",
        ('Folders("train")', 'TestImages("test", with_suffix=True)', "submission=ClassName()", 'metric="accuracy"'),
    ),
    "state-farm-distracted-driver-detection": (
        state_farm,
        "Multi Class Log Loss",
        (
            '"driver_imgs_list.csv"',
            'folder="imgs/train/{classname}"',
            'group="subject"',
            'TestImages("imgs/test", with_suffix=True)',
            "ProbabilityPerClass()",
        ),
    ),
    "ranzcr-clip-catheter-line-classification": (
        ranzcr,
        "Mean Columnwise Area Under Receiver Operating Characteristic Curve",
        ("CsvColumns(", 'target="multi"', 'group="PatientID"', 'metric="mean_columnwise_roc_auc"'),
    ),
}


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
