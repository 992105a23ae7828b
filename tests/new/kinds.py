"""What a kind of files is, and how it is held against what is meant by it; `docs/starting.md` has a row for each."""

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path

from comp.data.preparing import prepare_files
from comp.data.tables import read_tables
from comp.new.inference import infer
from comp.new.look import look_at_folder
from comp.new.writing import assignment

TWELVE = range(12)
ASKED = range(100, 104)
TRAIN = [f"train/{number}.jpg" for number in TWELVE]
TEST = [f"test/{number}.jpg" for number in ASKED]
AUC = "Area Under Receiver Operating Characteristic Curve"
COLOURS = ("blue", "green", "red", "yellow")
PETS = ("cat", "dog", "owl")


@dataclass(frozen=True)
class Kind:
    """Files and tables, and what is to come out.

    files: images, all empty. tables: CSVs as text, with the sample submission among them. metric: Kaggle's name.
    label: of the image that is named first. form, ours: the submission form and the metric; a ``?`` before the metric
    says that it is a guess. asked: how many images are to be predicted.
    """

    files: list[str]
    tables: dict[str, str]
    metric: str = "Categorization Accuracy"
    image: str = "0"
    label: object = "cat"
    form: str = "ClassName"
    ours: str = "accuracy"
    asked: int = 4
    trained: int = 12
    says: str = ""


def rows(header, lines, separator=","):
    return "\n".join([header, *(separator.join(map(str, line)) for line in lines)]) + "\n"


def sample(header="id,label", value="cat", ids=ASKED):
    return rows(header, [(one, value) for one in ids])


def pets(ids=TWELVE, header="id,label", more=lambda _: ()):
    return rows(header, [(one, PETS[number % 3], *more(number)) for number, one in enumerate(ids)])


def grades(ids=TWELVE, header="id,grade"):
    return rows(header, [(one, number % 4) for number, one in enumerate(ids)])


def yes(ids=TWELVE, header="id,target", more=lambda _: ()):
    return rows(header, [(one, number % 2, *more(number)) for number, one in enumerate(ids)])


def numbers(ids=TWELVE, header="id,age"):
    return rows(header, [(one, 20 + 3.5 * number) for number, one in enumerate(ids)])


def coco(first="id", files=TRAIN):
    images = [{first: number, "file_name": name.removeprefix("train/")} for number, name in enumerate(files)]
    labels = [{"image_id": number, "category_id": number % 3} for number in range(len(files))]
    return json.dumps(
        {"images": images, "annotations": labels, "categories": [{"id": n, "name": p} for n, p in enumerate(PETS)]}
    )


DOCS = (Path(__file__).parents[2] / "docs" / "starting.md").read_text(encoding="utf-8")
ACCURACY, NAMED = "Categorization Accuracy", "sample_submission.csv"
PER_CLASS = {NAMED: sample(f"id,{','.join(PETS)}", "0.3,0.3,0.4")}


def row_of(name, inferred):
    """What is inferred, as the docs have it."""
    competition = inferred.competition
    (metric,) = (finding for finding in inferred.findings if finding.about == "metric")
    parts = [
        re.sub(r"\n\s*", " ", assignment("_", part, {})[4:])
        .replace("( ", "(")
        .replace(", )", ")")
        .replace(" )", ")")
        .replace("|", "\\|")
        for part in (competition.labels, competition.test, competition.submission)
    ]
    return f"| {name} | `{'` | `'.join(parts)}` | {'' if metric.sure else '? '}{competition.scoring.name} |"


def must_be_read_as_meant(name, kind, folder):
    """Lay the files out in a folder; what is inferred of them reads them as it should, without an edit."""
    for file, text in {**dict.fromkeys(kind.files, ""), **kind.tables}.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(text, encoding="utf-8")
    look = replace(look_at_folder(folder), metric=kind.metric)
    inferred = infer(look, "mine", "mine")
    competition = inferred.competition
    prepare_files(competition, folder)
    tables = read_tables(competition, folder)
    labels = dict(zip(tables.train["id"], tables.train["label"], strict=True))
    found = dict(labels[kind.image]) if isinstance(kind.label, dict) else labels[kind.image]
    assert found == kind.label
    assert (len(tables.train), len(tables.test)) == (kind.trained, kind.asked)
    assert type(competition.submission).__name__ == kind.form
    assert competition.scoring.name == kind.ours.removeprefix("?")
    (metric,) = (finding for finding in inferred.findings if finding.about == "metric")
    assert metric.sure is not kind.ours.startswith("?")
    assert any(kind.says in finding.text for finding in inferred.findings)
    assert row_of(name, inferred) in DOCS
