import re
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from comp.console import Console
from comp.declare.recipe import Stage
from comp.runs.choices import Choices
from comp.training import curves
from comp.training.curves import (
    HEIGHT,
    WIDTH,
    draw_rates,
    range_test_as_png,
    range_test_in_characters,
    rates_in_characters,
    show_range_test,
)
from comp.training.finder import RangeTest

GROUPS = ("early", "late", "head")
FIRST_COLOURS = [(31, 119, 180), (255, 127, 14), (44, 160, 44)]  # matplotlib's


def swept(losses, highest=10.0):
    losses = np.asarray(losses, dtype=float)
    return RangeTest(np.geomspace(1e-6, highest, len(losses)), losses, losses)


# Flat, down slowly from 1e-5, fast at 1e-1 to its lowest, and away.
BOWL = swept(np.interp(np.linspace(-6, 1, 100), [-6, -5, -1, -0.5, 0, 1], [2.3, 2.3, 1.5, 0.5, 1.0, 30]))
EDGES = {
    "falls": np.linspace(2, 1, 40),
    "rises": np.linspace(1, 2, 40),
    "flat": np.ones(40),
    "ten points": np.linspace(2, 1, 10),
}


def assert_is_a_page_with_curves(data, curves=1):
    with Image.open(data) as image:
        assert (image.format, image.size) == ("PNG", (960, 540))
        pixels = np.asarray(image.convert("RGB"))
    assert 0.5 < (pixels == 255).all(axis=2).mean() < 0.99
    assert {tuple(pixel) for pixel in pixels.reshape(-1, 3).tolist()} >= set(FIRST_COLOURS[:curves])


def inside(text):
    """The text inside the frame of a curve that fits a terminal, without the labels at its left."""
    lines = text.splitlines()
    assert len(lines) <= HEIGHT
    assert all(len(line) <= WIDTH < 80 for line in lines)
    assert all(character.isprintable() for line in lines for character in line), "no escape codes"
    return "\n".join(re.split("[│┤]", line, maxsplit=1)[1] for line in lines if line.endswith("│"))


@pytest.mark.parametrize(("first", "knows"), [("lbfgs", True), ("one_cycle", False)])
def test_a_range_test_starts_from_the_heads_that_are_solved_before_it(
    with_stages, downloaded, workspace, monkeypatch, capsys, first, knows
):
    shown = []
    monkeypatch.setattr(curves, "show_range_test", lambda *given: shown.append(given[1]))
    stages = [Stage(size=16, train="head", cached=True, schedule=first), Stage(size=16, train="all")]
    curves.find_rate(with_stages(*stages), Choices(), workspace, Console(), 2)
    guessing = np.log(3)
    assert bool(shown[0].losses[:5].mean() < 0.7 * guessing) is knows
    assert ("stage 1 isn't trained" in capsys.readouterr().out) is not knows


def test_a_sweep_is_drawn_as_a_picture_and_said(tmp_path, capsys):
    show_range_test(Console(), BOWL, tmp_path / "new" / "sweep.png")
    assert_is_a_page_with_curves(tmp_path / "new" / "sweep.png")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["sweep.png"]
    said = capsys.readouterr().out
    assert range_test_in_characters(BOWL) in said
    assert f"suggestions: minimum/10 {BOWL.suggestions['minimum']:.2g}" in said


def test_a_sweep_in_characters_has_a_mark_for_each_suggestion_from_left_to_right():
    text = range_test_in_characters(BOWL)
    framed = inside(text)
    assert "loss against the learning rate" in text
    assert all(decade in text.splitlines()[-1] for decade in ("1e-6", "1e-3", "1e0"))
    assert all(framed.count(mark) == 1 for mark in "MSV")
    places = [
        max(line.find(rule[0].upper()) for line in framed.splitlines())
        for rule in sorted(BOWL.suggestions, key=BOWL.suggestions.__getitem__)
    ]
    assert places == sorted(places)
    # A loss that shoots up at the end doesn't flatten the curve, and no curve is drawn over the previous one.
    assert max(float(line.split("┤")[0]) for line in text.splitlines() if "┤" in line) < 4
    range_test_in_characters(swept(EDGES["rises"]))
    assert range_test_in_characters(BOWL) == text


@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("highest", [10.0, 1e-5])
def test_suggestions_at_the_edges_are_drawn(edge, highest):
    sweep = swept(EDGES[edge], highest)
    assert all(np.isfinite(rate) and rate > 0 for rate in sweep.suggestions.values())
    assert set("MSV") & set(inside(range_test_in_characters(sweep))), "one mark may cover another, not all"
    if highest < 1 and edge == "flat":
        assert_is_a_page_with_curves(BytesIO(range_test_as_png(sweep)))


def test_rates_are_drawn_with_a_line_for_each_group_that_trains(tmp_path):
    epochs = np.arange(0, 3, 0.02)
    head = np.where(epochs < 1, 1e-2, 1e-3) * (1 + np.cos(np.pi * (epochs % 1))) / 2
    rates = np.stack([head / 100, head / 10, head], axis=1)
    rates[epochs < 1, :2] = np.nan  # a stage of the head alone, then one of all groups
    draw_rates(epochs, rates, GROUPS, tmp_path / "rates.png")
    assert_is_a_page_with_curves(tmp_path / "rates.png", 3)
    text = rates_in_characters(epochs, rates, GROUPS, "learning rates")
    assert "learning rates" in text
    assert "epoch" in text
    assert all(group[0] in inside(text) for group in GROUPS)
    rates[:, :2] = np.nan
    assert set("elh") & set(inside(rates_in_characters(epochs, rates, GROUPS, ""))) == {"h"}
