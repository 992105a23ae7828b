import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

from comp.report.diagnosis import diagnose
from comp.runs import Run
from comp.runs.resolve import recipe_of

HISTORIES = Path(__file__).parent / "histories"


class Page(HTMLParser):
    """A page's ids, number of pictures and text, read without a browser."""

    def __init__(self, path):
        super().__init__()
        self.ids, self.words, self.pictures, self.goes_on = set(), [], 0, False
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.ids.add(found.get("id"))
        self.pictures += tag == "img" and found.get("class") != "map"
        self.goes_on = tag == "wbr"

    def handle_data(self, data):
        if self.goes_on:
            self.words[-1] += data
        else:
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def recorded(name):
    """The tables and the recipe of a recording."""
    folder = HISTORIES / name
    recipe = recipe_of({"recipe": json.loads((folder / "recipe.json").read_text())})
    return Run(folder).history.epochs(), Run(folder).history.steps(), recipe


def only_finding(epochs, steps, recipe):
    (finding,) = diagnose(epochs, steps, recipe)
    return finding


def in_stage(recipe, **changes):
    return replace(recipe, stages=[replace(recipe.stages[0], **changes)])
