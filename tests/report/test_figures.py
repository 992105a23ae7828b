import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from comp.report import figures
from comp.training.finder import RangeTest

STEPS = np.arange(1, 101)
FALLING = np.linspace(2, 0.5, 100)
NAN = np.full(10, np.nan)


HEAD = {"head": np.linspace(1e-2, 1e-5, 100)}
ENDS = np.arange(10, 101, 10)
CHARTS = {
    "histograms": lambda: figures.histograms({"labelled": FALLING, "to predict": FALLING[:50]}, "width"),
    "one value": lambda: figures.histograms(
        {"labelled": np.full(5, 3.0), "to predict": np.empty(0)}, "width", log=True
    ),
    "range test": lambda: figures.range_test(RangeTest(np.geomspace(1e-6, 10, 100), FALLING, FALLING)),
    "a rate": lambda: figures.rates(STEPS, HEAD),
    "rates": lambda: figures.rates(STEPS, {"late": HEAD["head"] / 10, **HEAD}),
    "losses": lambda: figures.losses(STEPS, FALLING, ENDS, FALLING[::10]),
    "no validation": lambda: figures.losses(STEPS, FALLING, ENDS, NAN),
    "one step": lambda: figures.losses(np.array([1]), np.array([0.0]), np.array([1]), np.array([0.0])),
    "a score": lambda: figures.scores(np.array([1]), np.array([0.5]), "accuracy"),
    "reliability": lambda: figures.reliability({"": (FALLING[:3], FALLING[:3], np.array([1, 2, 3]))}, FALLING / 2),
    "thresholds": lambda: figures.thresholds(np.linspace(0, 1, 99), np.linspace(0, 1, 99), 0.3, 0.2),
    "eight runs": lambda: figures.over_each_other([(STEPS, FALLING)] * 8, "epoch", "loss"),
    "one epoch": lambda: figures.progress(FALLING[:1], NAN[:1]),
    "progress": lambda: figures.progress(FALLING, FALLING),
}


@pytest.fixture(scope="module")
def charts():
    return {name: draw() for name, draw in CHARTS.items()}


@pytest.mark.parametrize("name", CHARTS)
def test_a_chart_is_an_element_with_a_name_and_colours_of_the_page(charts, name):
    chart = charts[name]
    root = ElementTree.fromstring(chart.replace("xlink:href", "href"))
    assert root.tag == "svg"
    assert root.get("role") == "img"
    assert root.get("aria-label")
    assert root.get("viewBox")
    assert root.get("width") is None
    assert set(re.findall(r"#[0-9a-f]{6}\b(?!\))", re.sub(r'(href|id)="[^"]*"|url\([^)]*\)', "", chart))) <= {"#ffffff"}
    assert "font-family" not in chart
    assert "<style" not in chart


def test_charts_in_one_page_share_no_names_but_for_the_same_shapes(charts):
    both = [dict(re.findall(r'id="(\w+)"[^>]*? d="([^"]*)"', chart)) for chart in charts.values()]
    for one in both:
        for other in both:
            assert all(one[name] == other[name] for name in one.keys() & other.keys())


def test_text_is_text_and_no_formula():
    chart = figures.scores(np.array([1, 2]), np.array([0.5, 0.6]), "a $x^2$ <b>")
    assert "a $x^2$ &lt;b&gt;" in chart


def test_logarithmic_ticks_are_numbers():
    ticks = re.findall(r"<text[^>]*>([^<]*)</text>", CHARTS["range test"]())
    assert {"1e-05", "0.001", "1"} <= set(ticks)
    assert not any("mathdefault" in tick for tick in ticks)


def test_a_long_training_s_chart_is_small():
    steps = np.arange(1, 200_001)
    noise = np.random.default_rng(0).random(len(steps))
    assert len(figures.losses(steps, noise, steps[::2000], noise[::2000])) < 60_000
