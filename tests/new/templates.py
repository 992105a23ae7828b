"""A competition's files from templates: a path or a row for each image, with placeholders for what differs."""

import json
from dataclasses import dataclass

TRAINED, ASKED = range(12), range(100, 104)
PETS = ("cat", "dog", "owl")
BREEDS = ("affenpinscher", "afghan_hound", *(f"breed_{number:02}" for number in range(10)))
LAND = ("agriculture", "artisinal_mine", "bare_ground", "blooming", "blow_down", "haze", "road", "slash_burn", "water")
AUC = "Area Under Receiver Operating Characteristic Curve"
PIXELS = ",".join(f"p{number}" for number in range(16))
BYTES = ",".join(["{n}"] * 16)


def each(template, numbers):
    """The template filled for each number, and for each of three ``k`` where it names them, without duplicates."""
    said = {}
    for n in numbers:
        pet, bits = PETS[n % 3], [n >> k & 1 for k in range(3)]
        of_n = {
            "n": n,
            "part": "train" if n < ASKED[0] else "test",
            "split": "test" if n >= ASKED[0] else "valid" if n > 8 else "train",
            "usage": ("PublicTest", "PrivateTest")[n % 2] if n >= ASKED[0] else "Training",
            "pet": pet,
            "pet_of_pair": PETS[n // 2 % 3],
            "other_pet": PETS[n // 3 % 3],
            "half": n % 2,
            "half_of_pair": n // 2 % 2,
            "four": n // 4,
            "truth": n % 2 > 0,
            "other_half": 1 - n % 2,
            "third": n % 3,
            "quarter": n % 4,
            "sixth": n % 6,
            "pair": n // 2,
            "place": n % 4 + 1,
            "suffix": ("jpg", "png")[n % 2],
            "grade": (0, 0, 0, 1, 2, 2, 3, 4)[n % 8],
            "animal": ("dog", "cat")[n % 2],
            "Part": "Train" if n < ASKED[0] else "Test",
            "origin": ("test", "file")[n % 2],
            "breed": BREEDS[n % len(BREEDS)],
            "tag_of_land": LAND[n % len(LAND)],
            "hex": f"{(n + 1) * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 16**32:032x}",
            "side": ("left", "right")[n % 2],
            "bits": ",".join(map(str, bits)),
            "one_hot": ",".join(str(int(n % 3 == place)) for place in range(3)),
        }
        for k in range(3):
            of_k = {"k": k, "name": ("any", "epi", "sub")[k], "bit": bits[k], "tag": "red" if k else pet}
            said[template.format(**of_n, **of_k)] = None
    return list(said)


def numbers_of(name):
    """The numbers of the test images, the training images, or both, by the name of a path or table."""
    if "{part}" in name or name.startswith(("images", "all")):
        return (*TRAINED, *ASKED)
    return ASKED if name.startswith(("test", "sample", "mean", "example")) else TRAINED


def table(template, numbers):
    """The text of a table from ``header: row``, with a row per number; further lines stay as they are."""
    header, _, row = template.partition(": ")
    row, *more = row.split("\n")
    return "\n".join([header, *each(row, numbers), *more]) + "\n"


@dataclass(frozen=True)
class Kind:
    """Files without content and tables as text, with the expected label of one image and the expected counts."""

    files: list[str]
    tables: dict[str, str]
    metric: str
    truth: tuple[str, object]
    asked: int
    trained: int
    says: str


def lay_out(kind, folder):
    for file, text in {**dict.fromkeys(kind.files, "x"), **kind.tables}.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(text, encoding="utf-8")


def kind(
    files="train/{n}.jpg test/{n}.jpg",
    *,
    metric="Categorization Accuracy",
    truth=("0", "cat"),
    asked=4,
    trained=12,
    says="",
    sample="id,label: {n},cat",
    numbers=None,
    **tables,
):
    """files, tables: templates, tables by name; JSONs as they are. sample: the sample submission's template, if any.

    numbers: unusual numbers of the training images, by the start of the path's or table's name.
    """

    def numbers_in(name):
        return next((some for start, some in (numbers or {}).items() if name.startswith(start)), numbers_of(name))

    named = {} if sample is None else {"sample_submission.csv": table(sample, ASKED)}
    for name, text in tables.items():
        if name.endswith((".json", ".tfrec")):
            named[name] = text
        else:
            named[name if "." in name else f"{name}.csv"] = table(text, numbers_in(name))
    paths = [path for pattern in files.split() for path in each(pattern, numbers_in(pattern))]
    return Kind(paths, named, metric, truth, asked, trained, says)


def pets(files="train/{n}.jpg test/{n}.jpg", **others):
    """Classes in a table."""
    return kind(files, **{"train": "id,label: {n},{pet}", **others})


def yes(files="train/{n}.jpg test/{n}.jpg", **others):
    """Two classes, 0 and 1."""
    told = {"train": "id,target: {n},{half}", "sample": "id,target: {n},0.5", "metric": AUC, "truth": ("1", "1")}
    return kind(files, **{**told, **others})


def pixels(sample="ImageId,Label: {place},0", **others):
    """Images that are rows of tables; the test images have no names."""
    return kind("", truth=("1/2", "1"), sample=sample, **others)


def per_class(train, metric, truth=("0", "cat")):
    return kind(metric=metric, truth=truth, train=train, sample="id,cat,dog,owl: {n},0.3,0.3,0.4")


def images(name, numbers, key="id"):
    return [{key: n, "file_name": each(name, [n])[0]} for n in numbers]


def coco(name="{n}.jpg", key="id", **beside):
    """beside: templates of more fields in the images' records."""
    labels = [{"image_id": n, "category_id": n % 3} for n in TRAINED]
    categories = [{"id": number, "name": pet} for number, pet in enumerate(PETS)]
    of_images = [
        {**one, **{name: each(said, [n])[0] for name, said in beside.items()}}
        for n, one in zip(TRAINED, images(name, TRAINED, key), strict=True)
    ]
    return json.dumps({"images": of_images, "annotations": labels, "categories": categories})


def bands(numbers, *labels):
    pixels = {"band_1": [-20.5] * 16, "band_2": [-30.25] * 16, "inc_angle": "na"}
    return json.dumps([{"id": f"x{n}", **pixels, **dict.fromkeys(labels, n % 2)} for n in numbers])
