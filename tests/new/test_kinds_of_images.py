"""Where images lie, how they are called and what they are: each kind is read as who knows it would declare it."""

import pytest

from tests.new.kinds import (
    ASKED,
    AUC,
    NAMED,
    PETS,
    TEST,
    TRAIN,
    TWELVE,
    Kind,
    must_be_read_as_meant,
    pets,
    rows,
    sample,
    yes,
)

SETS = (("train", TWELVE), ("test", ASKED))
KINDS = {
    "a folder for each class": Kind(
        [f"train/{PETS[n % 3]}/{n}.jpg" for n in TWELVE] + TEST, {NAMED: sample()}, image="cat/0"
    ),
    "class folders beside the test images": Kind(
        [f"{PETS[n % 3]}/{n}.jpg" for n in TWELVE] + TEST, {NAMED: sample()}, image="cat/0"
    ),
    "class folders in another folder as well": Kind(
        [f"train/{PETS[n % 3]}/{n}.jpg" for n in TWELVE] + [f"extra/{PETS[n % 2]}/{n}.jpg" for n in range(4)] + TEST,
        {NAMED: sample()},
        image="cat/0",
    ),
    "class folders with letters of their own": Kind(
        [f"train/{name}/{n}.jpg" for n in TWELVE for name in (("Löwe", "Bär")[n % 2],)] + TEST,
        {NAMED: sample(value="Löwe")},
        image="Löwe/0",
        label="Löwe",
    ),
    "folders that are not the label": Kind(
        [f"train/{n % 4}/{n}.jpg" for n in TWELVE] + TEST,
        {
            "train.csv": rows("image,chain,hotel_id", [(f"{n}.jpg", n % 4, n % 6) for n in TWELVE]),
            NAMED: sample("image,hotel_id", 3, [f"{n}.jpg" for n in ASKED]),
        },
        image="7.jpg",
        label="1",
    ),
    "classes in file names": Kind(
        [f"train/{PETS[n % 3]}.{n}.jpg" for n in TWELVE] + TEST, {NAMED: sample()}, image="cat.0"
    ),
    "digits in file names": Kind(
        [f"training/{n}_{n % 3}.jpg" for n in TWELVE] + TEST, {NAMED: sample(value=1)}, image="1_1", label="1"
    ),
    "test images in folders of folders": Kind(
        TRAIN + [f"test/{n % 2}/{n % 3}/{n}.jpg" for n in ASKED], {"train.csv": pets(), NAMED: sample()}
    ),
    "test images in two folders": Kind(
        TRAIN + [f"test{n % 2}/{n}.jpg" for n in ASKED], {"train.csv": pets(), NAMED: sample()}
    ),
    "ids that are paths": Kind(TRAIN + TEST, {"train.csv": pets(TRAIN), NAMED: sample(ids=TEST)}, image="train/0.jpg"),
    "a table of the test images": Kind(
        TRAIN + [f"test/image{n}.jpg" for n in ASKED],
        {"train.csv": pets(), "test.csv": rows("id,file", [(n, f"image{n}.jpg") for n in ASKED]), NAMED: sample()},
    ),
    "training images in folders of folders": Kind(
        [f"train/{n % 2}/{n}.jpg" for n in TWELVE] + TEST, {"train.csv": pets(), NAMED: sample()}
    ),
    "a suffix in capitals": Kind(
        [f"train/{n}.JPG" for n in TWELVE] + TEST,
        {"train.csv": pets([f"{n}.jpg" for n in TWELVE]), NAMED: sample()},
        image="0.jpg",
    ),
    "two suffixes": Kind(
        [f"train/{n}.{'png' if n % 2 else 'jpg'}" for n in TWELVE] + TEST, {"train.csv": pets(), NAMED: sample()}
    ),
    "numbers that lost their zeros": Kind(
        [f"train/{n:04}.jpg" for n in TWELVE] + [f"test/{n:05}.jpg" for n in ASKED],
        {"train.csv": pets(), NAMED: sample()},
    ),
    "all images in one folder": Kind(
        [f"images/{n}.jpg" for n in (*TWELVE, *ASKED)], {"train.csv": pets(), NAMED: sample()}
    ),
    "names with their suffix": Kind(
        TRAIN + TEST,
        {"train.csv": pets([f"{n}.jpg" for n in TWELVE]), NAMED: sample(ids=[f"{n}.jpg" for n in ASKED])},
        image="0.jpg",
    ),
    "a pixel in each column": Kind(
        [],
        {
            "train.csv": rows(
                "label,p0,p1,p2,p3,p4,p5,p6,p7,p8,p9,p10,p11,p12,p13,p14,p15", [(n % 2, *[n] * 16) for n in TWELVE]
            ),
            "test.csv": rows("p0,p1,p2,p3,p4,p5,p6,p7,p8,p9,p10,p11,p12,p13,p14,p15", [[n] * 16 for n in ASKED]),
            NAMED: sample("ImageId,Label", 0, range(1, 5)),
        },
        image="1/2",
        label="1",
    ),
    "DICOM": Kind(
        [f"train/{n}.dcm" for n in TWELVE] + [f"test/{n}.dcm" for n in ASKED],
        {"train.csv": yes(), NAMED: sample("id,target", 0.5)},
        metric=AUC,
        image="1",
        label="1",
        form="ProbabilityOf",
        ours="roc_auc",
    ),
    "numpy's arrays": Kind(
        [f"train/{n}.npy" for n in TWELVE] + [f"test/{n}.npy" for n in ASKED], {"train.csv": pets(), NAMED: sample()}
    ),
    "a folder of images for each row": Kind(
        [f"train/{n}/{k}.png" for n in TWELVE for k in range(3)]
        + [f"test/{n}/{k}.png" for n in ASKED for k in range(2)],
        {"train.csv": yes(), NAMED: sample("id,target", 0.5)},
        metric=AUC,
        image="1/0",
        label="1",
        form="ProbabilityOf",
        ours="roc_auc",
        asked=8,
        trained=36,
    ),
    "several images for each row, counted in their names": Kind(
        [f"train/{n}-{k}.jpg" for n in TWELVE for k in range(1, 4)] + [f"test/{n}-1.jpg" for n in ASKED],
        {"train.csv": yes(header="id,speed"), NAMED: sample("id,speed", 0)},
        image="1-2",
        label="1",
        trained=36,
    ),
    "folders of folders of images for each row": Kind(
        [f"{part}/{n}/{side}/{k}.png" for part, of in SETS for n in of for side in "ab" for k in range(2)],
        {"train.csv": yes(), NAMED: sample("id,target", 0.5)},
        metric=AUC,
        image="1/a/0",
        label="1",
        form="ProbabilityOf",
        ours="roc_auc",
        asked=16,
        trained=48,
    ),
    "arrays in folders of folders": Kind(
        [f"{part}/{n % 3}/{n}.npy" for part, of in SETS for n in of], {"train.csv": pets(), NAMED: sample()}
    ),
    "hidden images, which only a notebook will see": Kind(
        [f"train_images/{n}.png" for n in TWELVE],
        {"train.csv": pets(), "test.csv": rows("id,age", [(n, n - 97) for n in ASKED]), NAMED: sample()},
        says="no image that sample_submission.csv asks for is here",
    ),
    "a folder for each class and images to predict, with no sample submission": Kind(
        [f"train/{PETS[n % 3]}/{n}.jpg" for n in TWELVE] + TEST,
        {},
        metric="Log Loss",
        image="cat/0",
        form="ProbabilityPerClass",
        ours="log_loss",
        says="prepared/sample_submission.csv",
    ),
    "a folder for each class to train on and to validate on": Kind(
        [f"{part}/{PETS[n % 3]}/{n}.jpg" for n in TWELVE for part in ("train", "valid")] + TEST,
        {NAMED: sample()},
        image="valid/cat/0",
        trained=24,
        says="those in valid validate",
    ),
    "a folder for each class and nothing else": Kind(
        [f"{PETS[n % 3]}/{n}.jpg" for n in TWELVE],
        {},
        image="cat/00",
        trained=9,
        asked=3,
        says="20% of the labelled are hidden",
    ),
    "a file for each channel": Kind(
        [
            f"{part}/{n}_{colour}.png"
            for part, ids in (("train", TWELVE), ("test", ASKED))
            for n in ids
            for colour in ("blue", "green", "red", "yellow")
        ],
        {"train.csv": rows("Id,Target", [(n, f"{n % 3} 9") for n in TWELVE]), NAMED: sample("Id,Predicted", "0 9")},
        metric="Macro F1",
        image="1",
        label=("1", "9"),
        form="TagNames",
        ours="?mean_f1",
    ),
}


@pytest.mark.parametrize("name", KINDS)
def test_it_is_read_as_it_is_meant_without_an_edit(name, tmp_path):
    must_be_read_as_meant(name, KINDS[name], tmp_path)
