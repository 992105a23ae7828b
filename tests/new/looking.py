"""Build looks for `comp new` from templates, and read its findings."""

from dataclasses import replace
from io import StringIO

import pandas as pd

from comp.new.inference import infer
from comp.new.look import Look
from tests.new.templates import kind


def table(header, *rows):
    return pd.DataFrame([row.split(",") for row in rows], columns=header.split(","))


def look(files="train/{n}.png test/{n}.png", *, numbers=None, metric="", **tables):
    """A look at files and CSVs from templates, as ``kind`` takes them; a table may also be a data frame."""
    templates = {name: one for name, one in tables.items() if isinstance(one, str)}
    made = kind(files, sample=None, numbers=numbers, **templates)
    frames = {name: pd.read_csv(StringIO(text), dtype=str, keep_default_na=False) for name, text in made.tables.items()}
    frames |= {f"{name}.csv": one for name, one in tables.items() if name not in templates}
    return Look([*made.files, *frames], frames, metric=metric)


def inferred(*files, aside=None, **more):
    """aside: why tables were not looked at. Other arguments are those of ``look``."""
    found = look(*files, **more)
    return infer(replace(found, aside=aside) if aside else found, "mine", "mine")


def declared(*files, **more):
    return inferred(*files, **more).competition


def about(inferred, what):
    (finding,) = (finding for finding in inferred.findings if finding.about == what)
    return finding


def doubts(inferred, what):
    """The uncertain findings."""
    return [finding.text for finding in inferred.findings if finding.about == what and not finding.sure]
