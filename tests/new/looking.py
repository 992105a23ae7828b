"""What `comp new` looks at, in words, and what it found."""

from dataclasses import replace

import pandas as pd

from comp.new.inference import infer
from comp.new.look import Look


def table(header, *rows):
    return pd.DataFrame([row.split(",") for row in rows], columns=header.split(","))


def look(files, **tables):
    """Files in words, and the CSVs by name."""
    named = {f"{name}.csv": frame for name, frame in tables.items()}
    return Look([*files.split(), *named], named)


def of_numbered(count, *files, metric="", **tables):
    """What is inferred of images to train on, called by their numbers, one to predict, other files and tables."""
    images = [f"train/{number}.png" for number in range(count)]
    found = look(" ".join([*images, "test/90.png", *files]), **tables)
    return infer(replace(found, metric=metric), "mine", "mine")


def about(inferred, what):
    (finding,) = (finding for finding in inferred.findings if finding.about == what)
    return finding


def doubted(inferred):
    """What a person is asked of the labels."""
    return [one.text for one in inferred.findings if one.about == "labels" and not one.sure]
