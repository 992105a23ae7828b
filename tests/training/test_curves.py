import re
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from comp.training.curves import (
    HEIGHT,
    WIDTH,
    draw_range_test,
    draw_rates,
    range_test_as_png,
    range_test_in_characters,
    rates_in_characters,
)
from comp.training.finder import RangeTest

GROUPS = ("early", "late", "head")
PIXELS = (960, 540)


def swept(losses, highest=10.0):
    losses = np.asarray(losses, dtype=float)
    return RangeTest(np.geomspace(1e-6, highest, len(losses)), losses, losses)


def bowl(points=100):
    """Flat, down slowly from 1e-5, fast at 1e-1 to its lowest, and away."""
    places = np.linspace(-6, 1, points)
    return swept(np.interp(places, [-6, -5, -1, -0.5, 0, 1], [2.3, 2.3, 1.5, 0.5, 1.0, 30]))


FALLS, RISES, FLAT = np.linspace(2, 1, 40), np.linspace(1, 2, 40), np.ones(40)
EDGES = {"falls": FALLS, "rises": RISES, "flat": FLAT, "ten points": np.linspace(2, 1, 10)}


def picture(data):
    with Image.open(data) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"))


def colours(pixels):
    return {tuple(pixel) for pixel in pixels.reshape(-1, 3).tolist()}


def assert_is_a_page_with_a_curve(data):
    pixels = picture(data)
    assert (pixels.shape[1], pixels.shape[0]) == PIXELS
    paper = (pixels == 255).all(axis=2).mean()
    assert 0.5 < paper < 0.99
    assert (31, 119, 180) in colours(pixels), "the curve has matplotlib's first colour"


def assert_fits_a_terminal(text):
    lines = text.splitlines()
    assert len(lines) <= HEIGHT
    assert all(len(line) <= WIDTH < 80 for line in lines)
    assert all(character.isprintable() for line in lines for character in line), "no escape codes"


def inside(text):
    """What stands in the frame, line by line, without what stands at its left."""
    return "\n".join(re.split("[│┤]", line, maxsplit=1)[1] for line in text.splitlines() if line.endswith("│"))


def test_a_sweep_is_drawn_as_a_picture(tmp_path):
    draw_range_test(bowl(), tmp_path / "new" / "sweep.png")
    assert_is_a_page_with_a_curve(tmp_path / "new" / "sweep.png")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["sweep.png"]
    assert_is_a_page_with_a_curve(BytesIO(range_test_as_png(bowl())))


def test_other_losses_are_another_picture():
    assert range_test_as_png(bowl()) != range_test_as_png(swept(FALLS))
    assert range_test_as_png(bowl()) == range_test_as_png(bowl())


def test_a_sweep_in_characters_has_a_mark_for_each_suggestion():
    text = range_test_in_characters(bowl())
    assert_fits_a_terminal(text)
    assert "loss against the learning rate" in text
    for mark in "MSV":
        assert inside(text).count(mark) == 1
    for decade in ("1e-6", "1e-3", "1e0"):
        assert decade in text.splitlines()[-1]


def test_the_marks_stand_from_left_to_right_as_the_rates_grow():
    sweep = bowl()
    columns = {
        mark: max(line.find(mark) for line in inside(range_test_in_characters(sweep)).splitlines()) for mark in "MSV"
    }
    by_rate = sorted(sweep.suggestions, key=sweep.suggestions.__getitem__)
    places = [columns[rule[0].upper()] for rule in by_rate]
    assert places == sorted(places)


def test_a_loss_that_shoots_up_at_the_end_doesn_t_flatten_the_curve():
    heights = [float(line.split("┤")[0]) for line in range_test_in_characters(bowl()).splitlines() if "┤" in line]
    assert max(heights) < 4


@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("highest", [10.0, 1e-5])
def test_suggestions_at_the_edges_are_drawn(edge, highest):
    sweep = swept(EDGES[edge], highest)
    assert all(np.isfinite(rate) and rate > 0 for rate in sweep.suggestions.values())
    text = range_test_in_characters(sweep)
    assert_fits_a_terminal(text)
    assert set("MSV") & set(inside(text)), "one mark may cover another, not all"
    if highest < 1:
        assert_is_a_page_with_a_curve(BytesIO(range_test_as_png(sweep)))


def test_a_curve_is_not_drawn_over_the_one_before():
    first = range_test_in_characters(bowl())
    range_test_in_characters(swept(RISES))
    assert range_test_in_characters(bowl()) == first


def planned():
    """A stage of the head alone, then one of all groups."""
    epochs = np.arange(0, 3, 0.02)
    head = np.where(epochs < 1, 1e-2, 1e-3) * (1 + np.cos(np.pi * (epochs % 1))) / 2
    rates = np.stack([head / 100, head / 10, head], axis=1)
    rates[epochs < 1, :2] = np.nan
    return epochs, rates


def test_rates_are_drawn_as_a_picture_with_a_line_for_each_group(tmp_path):
    draw_rates(*planned(), GROUPS, tmp_path / "rates.png")
    assert_is_a_page_with_a_curve(tmp_path / "rates.png")
    found = colours(picture(tmp_path / "rates.png"))
    assert {(31, 119, 180), (255, 127, 14), (44, 160, 44)} <= found


def test_rates_in_characters_have_the_groups_first_letters():
    text = rates_in_characters(*planned(), GROUPS, "learning rates")
    assert_fits_a_terminal(text)
    assert "learning rates" in text
    assert "epoch" in text
    for group in GROUPS:
        assert group[0] in inside(text)


def test_a_group_that_never_trains_has_no_mark():
    epochs, rates = planned()
    rates[:, :2] = np.nan
    text = inside(rates_in_characters(epochs, rates, GROUPS, ""))
    assert "h" in text
    assert "e" not in text
    assert "l" not in text
