"""Stand-ins for well-known competitions: tiny images, with files, columns and values as Kaggle serves them."""

import shutil
from dataclasses import dataclass

import numpy as np
import pytest
from PIL import Image

from tests.new.templates import ASKED, AUC, BREEDS, BYTES, PIXELS, Kind, kind, table

MANY, FEW = {"train": range(40), "images": (*range(40), *ASKED)}, {"train": range(24), "{Part}": range(24)}
TAGS = "primary clear agriculture road water"


@dataclass(frozen=True)
class Layout:
    """A competition as Kaggle serves it.

    expects: parts of the right declaration. answers: a template of the truth, where a submission is graded. zipped:
    folders that are in archives. sample: the sample submission.
    """

    kind: Kind
    expects: tuple[str, ...]
    answers: str = ""
    zipped: tuple[str, ...] = ()
    sample: str = "sample_submission.csv"

    def lay_out(self, slug, place):
        """Write it into the folder that the local Kaggle serves; return the competition's folder."""
        folder = place / slug
        for path in self.kind.files:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shade, noise = np.random.default_rng(list(path.encode())), np.random.default_rng(0)
            colour = shade.integers(40, 220, 3) + noise.integers(-20, 20, (32, 32, 3))
            Image.fromarray(colour.astype(np.uint8)).save(folder / path)
        for name, text in self.kind.tables.items():
            file = folder / (self.sample if name.startswith("sample") else name)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        for name in self.zipped:
            shutil.make_archive(str(folder / name), "zip", folder, name)
            shutil.rmtree(folder / name)
        (place / ".answers").mkdir(exist_ok=True)
        (place / ".answers" / f"{slug}.csv").write_text(table(self.answers, ASKED))
        return folder


CATS_AND_DOGS = "train/{animal}.{pair}.jpg"
LAYOUTS = {
    "dogs-vs-cats-redux-kernels-edition": Layout(
        kind(f"{CATS_AND_DOGS} test/{{n}}.jpg", metric="Log Loss", numbers=FEW, sample="id,label: {n},0.5"),
        ('FileNames("train/{label}.*.jpg")', 'ProbabilityOf("dog")', 'TestImages("test", suffix=".jpg")', "log_loss"),
        zipped=("train", "test"),
    ),
    "dogs-vs-cats": Layout(
        kind(f"{CATS_AND_DOGS} test1/{{n}}.jpg", numbers=FEW, sample="id,label: {n},0"),
        ('ClassNumber(["cat", "dog"])', 'sample_submission="sampleSubmission.csv"', 'metric="accuracy"'),
        zipped=("train", "test1"),
        sample="sampleSubmission.csv",
    ),
    "dog-breed-identification": Layout(
        kind(
            "train/{hex}.jpg test/{hex}.jpg",
            metric="Multi Class Log Loss",
            numbers=FEW | {"labels": range(24)},
            labels="id,breed: {hex},{breed}",
            sample=f"id,{','.join(BREEDS)}: {{hex}}" + ",0.0833333333333333" * len(BREEDS),
        ),
        (
            'CsvLabels("labels.csv", image="id", label="breed", folder="train", suffix=".jpg")',
            "ProbabilityPerClass()",
            'metric="log_loss"',
        ),
    ),
    "cassava-leaf-disease-classification": Layout(
        kind(
            "train_images/{n}57.jpg test_images/{n}57.jpg",
            numbers=MANY,
            train="image_id,label: {n}57.jpg,{grade}",
            sample="image_id,label: {n}57.jpg,4",
            **{"train_tfrecords/ld_train00-1338.tfrec": "\0" * 64},
            **{"label_num_to_disease_map.json": '{"0": "Bacterial Blight", "3": "Mosaic Disease", "4": "Healthy"}'},
        ),
        (
            'CsvLabels("train.csv", image="image_id", label="label", folder="train_images")',
            'TestImages("test_images", with_suffix=True)',
            "submission=ClassName()",
        ),
    ),
    "aptos2019-blindness-detection": Layout(
        kind(
            "train_images/{hex}.png test_images/{hex}.png",
            metric="Quadratic Weighted Kappa",
            numbers=MANY,
            train="id_code,diagnosis: {hex},{grade}",
            test="id_code: {hex}",
            sample="id_code,diagnosis: {hex},0",
        ),
        (
            'CsvLabels("train.csv", image="id_code", label="diagnosis", folder="train_images", suffix=".png")',
            'metric="quadratic_kappa"',
            "submission=ClassName()",
        ),
    ),
    "planet-understanding-the-amazon-from-space": Layout(
        kind(
            "train-jpg/train_{n}.jpg test-jpg/{origin}_{n}.jpg",
            metric="Mean F Score Beta",
            numbers=MANY,
            train_v2="image_name,tags: train_{n},clear primary {tag_of_land}",
            test_v2_file_mapping="old,new: file_4.tif,test_0.tif",
            sample=f"image_name,tags: {{origin}}_{{n}},{TAGS}",
        ),
        ('separator=" "', 'TagNames(" ")', 'sample_submission="sample_submission_v2.csv"', "top_down()", "mean_f2"),
        answers="image_name,tags: {origin}_{n},clear primary {tag_of_land}",
        sample="sample_submission_v2.csv",
    ),
    "plant-pathology-2020-fgvc7": Layout(
        kind(
            "images/{Part}_{n}.jpg",
            metric=f"Mean Columnwise {AUC}",
            numbers=MANY,
            train="image_id,healthy,rust,scab: Train_{n},{one_hot}",
            test="image_id: Test_{n}",
            sample="image_id,healthy,rust,scab: Test_{n},0.25,0.25,0.25",
        ),
        (
            'labels=["healthy", "rust", "scab"]',
            'folder="images"',
            "shared=True",
            'TestImages("images", suffix=".jpg")',
            'metric="roc_auc"',
        ),
    ),
    "aerial-cactus-identification": Layout(
        kind(
            "train/{hex}.jpg test/{hex}.jpg",
            metric=AUC,
            numbers=FEW,
            train="id,has_cactus: {hex}.jpg,{half}",
            sample="id,has_cactus: {hex}.jpg,0.5",
        ),
        (
            'CsvLabels("train.csv", image="id", label="has_cactus", folder="train")',
            'ProbabilityOf("1")',
            "top_down()",
            'metric="roc_auc"',
        ),
        zipped=("train", "test"),
    ),
    "digit-recognizer": Layout(
        kind(
            "",
            numbers=MANY,
            train=f"label,{PIXELS}: {{quarter}},{BYTES}",
            test=f"{PIXELS}: {BYTES}",
            sample="ImageId,Label: {place},0",
        ),
        ("PixelTable(", 'Folders("prepared/train")', "upright()"),
    ),
}


@pytest.fixture
def lay_out(tmp_path):
    """``lay_out(slug)`` writes a stand-in for the local Kaggle and returns its folder."""
    return lambda slug="aptos2019-blindness-detection": LAYOUTS[slug].lay_out(slug, tmp_path / "served")
