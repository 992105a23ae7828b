import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pandas as pd
import pytest

from comp.report import figures
from comp.training.finder import RangeTest

FALLING = np.linspace(2, 0.5, 100)
HEAD = np.linspace(1e-2, 1e-5, 100)


def steps(losses):
    """Rows of history.csv, ten epochs of them."""
    return pd.DataFrame({"epoch": np.arange(len(losses)) * 10 // len(losses), "loss": losses})


def epochs(train, valid=None, score=0.5):
    losses = {"train_loss": train, "valid_loss": np.nan if valid is None else valid}
    return pd.DataFrame({"epoch": np.arange(1, len(train) + 1), **losses, "score": score})


CHARTS = {
    "histograms": lambda: figures.histograms({"labelled": FALLING, "to predict": FALLING[:50]}, "width"),
    "one value": lambda: figures.histograms(
        {"labelled": np.full(5, 3.0), "to predict": np.empty(0)}, "width", log=True
    ),
    "range test": lambda: figures.range_test(RangeTest(np.geomspace(1e-6, 10, 100), FALLING, FALLING)),
    "a rate": lambda: figures.rates(pd.DataFrame({"head": HEAD})),
    "rates": lambda: figures.rates(pd.DataFrame({"late": HEAD / 10, "head": HEAD})),
    "losses": lambda: figures.losses(steps(FALLING), epochs(FALLING[::10], FALLING[::10])),
    "no validation": lambda: figures.losses(steps(FALLING), epochs(FALLING[::10])),
    "an epoch's row is gone": lambda: figures.losses(steps(FALLING), epochs(FALLING[:9], FALLING[:9])),
    "all steps' rows are gone": lambda: figures.losses(steps([]), epochs(FALLING[::10], FALLING[::10])),
    "rates of no step": lambda: figures.rates(pd.DataFrame({"late": [], "head": []})),
    "one step": lambda: figures.losses(steps([0.0]), epochs([0.0], [0.0])),
    "a score": lambda: figures.scores(epochs([1.0]), "accuracy a $x^2$ <b>"),
    "reliability": lambda: figures.reliability({"": (FALLING[:3], FALLING[:3], np.array([1, 2, 3]))}, FALLING / 2),
    "thresholds": lambda: figures.thresholds(np.linspace(0, 1, 99), np.linspace(0, 1, 99), 0.3, 0.2),
    "eight runs": lambda: figures.over_each_other([pd.Series(FALLING)] * 8, "epoch", "loss"),
    "one epoch": lambda: figures.progress(epochs(FALLING[:1])),
    "progress": lambda: figures.progress(epochs(FALLING, FALLING)),
}


@pytest.fixture(scope="module")
def charts():
    return {name: draw() for name, draw in CHARTS.items()}


def test_a_chart_is_an_element_with_a_name_and_colours_of_the_page(charts):
    for chart in charts.values():
        root = ElementTree.fromstring(chart.replace("xlink:href", "href"))
        assert (root.tag, root.get("role"), root.get("width")) == ("svg", "img", None)
        assert root.get("aria-label")
        assert root.get("viewBox")
        coloured = re.sub(r'(href|id)="[^"]*"|url\([^)]*\)', "", chart)
        assert set(re.findall(r"#[0-9a-f]{6}\b(?!\))", coloured)) <= {"#ffffff"}
        assert "font-family" not in chart
        assert "<style" not in chart
    # Charts in one page share ids only for identical shapes.
    shapes = {pair for chart in charts.values() for pair in re.findall(r'id="(\w+)"[^>]*? d="([^"]*)"', chart)}
    assert len(dict(shapes)) == len(shapes)


def test_the_same_is_drawn_once(monkeypatch):
    first = figures.scatter(FALLING, FALLING + 1, "age")
    monkeypatch.setattr(figures, "svg", None)
    assert figures.scatter(FALLING.copy(), FALLING + 1, "age") is first
    with pytest.raises(TypeError):
        figures.scatter(FALLING, FALLING + 2, "age")


def test_text_is_text_and_no_formula_and_logarithmic_ticks_are_numbers(charts):
    assert "a $x^2$ &lt;b&gt;" in charts["a score"]
    ticks = re.findall(r"<text[^>]*>([^<]*)</text>", charts["range test"])
    assert {"1e-05", "0.001", "1"} <= set(ticks)
    assert not any("mathdefault" in tick for tick in ticks)


def test_a_long_training_s_chart_is_small():
    noise = np.random.default_rng(0).random(200_000)
    assert len(figures.losses(steps(noise), epochs(noise[:10], noise[:10]))) < 60_000


def test_rates_that_are_the_same_are_told_apart_by_their_width():
    drawn = str(figures.rates(pd.DataFrame({"early": HEAD, "late": HEAD, "head": HEAD})))
    width = r"stroke: var\(--series-{}\); stroke-width: ([0-9.]+)"
    assert len({re.search(width.format(number), drawn)[1] for number in (1, 2, 3)}) == 3


def test_a_bin_of_few_images_is_hollow():
    few, many = (
        str(figures.reliability({"": (FALLING[:3], FALLING[:3], np.array([500, 400, count]))}, FALLING / 2))
        for count in (figures.FEW - 1, figures.FEW)
    )
    hollow = re.compile(r"fill: none; stroke: var\(--series-1\)(?!.*stroke-linecap)")
    assert len(hollow.findall(few)) > len(hollow.findall(many))
