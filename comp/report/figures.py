"""Charts as inline SVG, drawn by matplotlib and coloured by the page's style sheet.

They need no script, so they show where scripts may not run, and their text stays text. Names of classes and images are
never drawn into them: the page shows those itself.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, wraps
from io import StringIO
from pathlib import Path
from threading import Lock
from typing import Any, ParamSpec

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import pandas as pd
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter

from comp.training.curves import without_outliers
from comp.training.finder import RangeTest

Array = npt.NDArray[Any]
Given = ParamSpec("Given")
DRAWING = Lock()
STYLE = mpl.rc_params_from_file(Path(__file__).parent / "templates" / "page.mplstyle", use_default_template=False)
# Placeholder colours, each for a variable of the page's style sheet.
_, QUIET, LINE, *SERIES = COLOURS = [f"#{number:02}{number:02}{number:02}" for number in range(1, 10)]
VARIABLES = dict(zip(COLOURS, ("ink", "quiet", "line", *(f"series-{number}" for number in range(1, 7))), strict=True))
# In points. On a phone a chart is shown at this width in pixels, and nowhere much narrower, to keep its letters large.
WIDTH, HEIGHT = 340, 210
SMALL = (150, 108)
# The most points of a line, about its width in pixels.
POINTS = 400
DASHED = (0, (3, 2))
# Formats a number on an axis.
PLAIN = "{:g}".format
BINS = 30
# A bin with fewer predictions says little.
FEW = 10
SMOOTHING = 0.95


def _styled(draw: Callable[Given, Markup]) -> Callable[Given, Markup]:
    """Draw in the page's style, and cache: a page that is written again, with a new score, has the same charts."""

    @wraps(draw)
    def styled(*given: Given.args, **named: Given.kwargs) -> Markup:
        return _drawn(draw, pickle.dumps((given, named)))

    return styled


@lru_cache(maxsize=128)
def _drawn(draw: Callable[..., Markup], content: bytes) -> Markup:
    given, named = pickle.loads(content)
    with DRAWING, mpl.rc_context(STYLE):  # matplotlib's settings are global, so only one thread draws at a time
        return draw(*given, **named)


@_styled
def histograms(values: Mapping[str, Array], axis: str, *, log: bool = False) -> Markup:
    """Histograms of several named sets of values (N,) in one chart, in % of each set."""
    figure, axes = _blank(axis, "% of images")
    spans = np.geomspace if log else np.linspace
    every = np.concatenate(list(values.values()))
    apart = 0.0 if np.ptp(every) else 0.5
    edges = spans(float(every.min()) - apart, float(every.max()) + apart, BINS + 1).tolist()
    for index, (name, part) in enumerate((name, part) for name, part in values.items() if len(part)):
        looks: Any = {"histtype": "step", "linewidth": 1.6} if index else {"histtype": "stepfilled", "alpha": 0.45}
        axes.hist(part, edges, weights=[100 / len(part)] * len(part), color=SERIES[index], label=name, **looks)
    if log:
        axes.set_xscale("log")
        _logarithmic(axes.xaxis)
    axes.set_ylim(0, None)
    axes.grid(visible=False, axis="x")
    _legend(axes)
    return svg(figure, f"Histogram: {axis}")


@_styled
def range_test(found: RangeTest) -> Markup:
    """The finder's losses against the head's learning rate, with the rate that each rule suggests."""
    figure, axes = _blank("learning rate of the head", "loss")
    axes.plot(found.rates, found.losses, color=LINE, linewidth=1)
    axes.plot(found.rates, found.smoothed, color=SERIES[0])
    for index, (rule, rate) in enumerate(found.suggestions.items(), start=1):
        axes.axvline(rate, color=SERIES[index], linestyle=DASHED, linewidth=1.3, label=f"{rule} {rate:.2g}")
    axes.set(xscale="log", ylim=without_outliers(found.smoothed))
    _logarithmic(axes.xaxis)
    _legend(axes)
    return svg(figure, "Loss against the learning rate")


@_styled
def rates(of_groups: pd.DataFrame) -> Markup:
    """Learning rates of the trained layer groups, from a row per step and a column per group, the head last."""
    figure, axes = _blank("step", "learning rate")
    for index, group in enumerate(reversed(of_groups.columns)):
        # Wide lines below narrow ones, so that all show where they overlap.
        width = 1.6 + 2.6 * (of_groups.shape[1] - 1 - index)
        steps = np.arange(1, len(of_groups) + 1)
        _line(axes, steps, of_groups[group], color=SERIES[index], label=group, linewidth=width)
    axes.set_ylim(0, None)
    axes.yaxis.set_major_formatter(PLAIN)
    if of_groups.shape[1] > 1 and len(of_groups):
        axes.set_yscale("log")
        _logarithmic(axes.yaxis)
        axes.set_ylim(of_groups.max().min() / 30, of_groups.max().max() * 1.5)
        _legend(axes, columns=3)
    return svg(figure, "Learning rates per layer group and step")


@_styled
def losses(steps: pd.DataFrame, epochs: pd.DataFrame) -> Markup:
    """The loss of each step, the smoothed loss, and the validation loss at the steps where epochs end.

    steps, epochs: a stage's rows of history.csv and epochs.csv.
    """
    figure, axes = _blank("step", "loss")
    numbers, valid = np.arange(1, len(steps) + 1), epochs["valid_loss"]
    _line(axes, numbers, steps["loss"], color=SERIES[0], alpha=0.3, linewidth=0.9)
    # pandas' mean is corrected for its start by default.
    smoothed = steps["loss"].ewm(alpha=1 - SMOOTHING).mean()
    _line(axes, numbers, smoothed, color=SERIES[0], label="training, smoothed")
    if np.isfinite(valid).any():
        ends = steps.groupby("epoch", sort=True).size().cumsum().iloc[: len(valid)]
        _line(axes, ends, valid, color=SERIES[1], marker=_marker(ends), label="validation")
    finite = [loss for loss in (*steps["loss"], *valid) if np.isfinite(loss)]
    if finite:
        axes.set_ylim(0, float(np.quantile(finite, 0.995)) * 1.05 or None)
    _legend(axes)
    return svg(figure, "Loss per step")


@_styled
def scores(epochs: pd.DataFrame, metric: str) -> Markup:
    """The validation score after each epoch, from a stage's rows of epochs.csv."""
    figure, axes = _blank("epoch", metric)
    _line(axes, epochs["epoch"], epochs["score"], color=SERIES[1], marker=_marker(epochs))
    return svg(figure, f"{metric} per epoch")


@_styled
def reliability(curves: Mapping[str, tuple[Array, Array, Array]], confidences: Array) -> Markup:
    """A reliability diagram: observed share against predicted probability, and a histogram of confidences below.

    curves: by name, the mean prediction, observed share and count of each bin (B,). Larger points have more
    predictions; points with fewer than FEW are hollow. confidences: (M,).
    """
    figure = Figure(figsize=(WIDTH / 72, 1.35 * HEIGHT / 72))
    axes, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    axes.plot([0, 1], [0, 1], color=QUIET, linestyle=DASHED, linewidth=1)
    for index, (name, (predicted, observed, counts)) in enumerate(curves.items()):
        axes.plot(predicted, observed, color=SERIES[index], alpha=0.45, linewidth=1.2)
        sizes, few = 6 + 50 * np.sqrt(counts / counts.max()), counts < FEW
        looks: Any = {"color": SERIES[index], "alpha": 0.85, "linewidths": 0, "label": name}
        axes.scatter(predicted[~few], observed[~few], sizes[~few], **looks)
        axes.scatter(predicted[few], observed[few], 14, facecolors="none", edgecolors=SERIES[index], linewidths=1)
    axes.set(ylabel="share that is true", ylim=(-0.03, 1.03), xlim=(0, 1))
    if len(curves) > 1:
        _legend(axes)
    counts, edges = np.histogram(confidences, np.linspace(0, 1, 21))
    below.stairs(counts, edges, fill=True, color=SERIES[0], alpha=0.45)
    below.set(xlabel="probability predicted", ylabel="predictions")
    return svg(figure, "Reliability diagram")


@_styled
def scatter(truth: Array, predicted: Array, name: str) -> Markup:
    """Predictions (N,) against labels (N,), with the diagonal."""
    figure, axes = _blank(f"{name}, labelled", "predicted")
    both = [float(truth.min()), float(truth.max())]
    axes.plot(both, both, color=QUIET, linestyle=DASHED, linewidth=1)
    step = 1 + len(truth) // POINTS
    axes.scatter(truth[::step], predicted[::step], s=10, color=SERIES[0], alpha=0.5, linewidths=0)
    return svg(figure, f"{name}: predicted against labelled")


@_styled
def thresholds(candidates: Array, score: Array, taken: float, usual: float) -> Markup:
    """A tag's score (T,) at each threshold (T,), with marks at the tuned threshold and the one before tuning."""
    figure, axes = _blank("", "", *SMALL)
    axes.plot(candidates, score, color=SERIES[0])
    axes.axvline(usual, color=QUIET, linestyle=(0, (2, 2)), linewidth=1)
    axes.axvline(taken, color=SERIES[1], linewidth=1.5)
    axes.set(xlim=(0, 1), ylim=(0, 1), xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PLAIN)
    return svg(figure, "Score against threshold")


@_styled
def over_each_other(curves: Sequence[pd.Series[float]], horizontal: str, vertical: str) -> Markup:
    """Curves of several runs in one chart, in the order of the series' colours; their indices are whole numbers."""
    figure, axes = _blank(horizontal, vertical)
    for index, curve in enumerate(curves):
        dashes = ("-", (0, (4, 2)), (0, (1, 1.5)))[index // len(SERIES) % 3]
        _line(axes, curve.index, curve, color=SERIES[index % len(SERIES)], linestyle=dashes)
    return svg(figure, f"{vertical} against {horizontal}")


@_styled
def progress(epochs: pd.DataFrame) -> Markup:
    """A small chart of train and validation loss per epoch, without text, from rows of epochs.csv."""
    figure = Figure(figsize=(120 / 72, 34 / 72))
    figure.set_layout_engine("none")
    axes = figure.add_axes((0, 0.06, 1, 0.88))
    for name, colour in (("train_loss", SERIES[0]), ("valid_loss", SERIES[1])):
        _line(axes, range(len(epochs)), epochs[name], color=colour, linewidth=1.4)
        axes.plot(len(epochs) - 1, epochs[name].iloc[-1], "o", color=colour, markersize=2.5)
    axes.margins(x=0.03)
    axes.set_axis_off()
    return svg(figure, "Losses per epoch")


def svg(figure: Figure, label: str) -> Markup:
    """The figure as an SVG element of a page, with colours and fonts from the style sheet."""
    text = StringIO()
    with mpl.rc_context({"svg.hashsalt": label}):
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    drawn = text.getvalue()
    drawn = drawn[drawn.index("<svg") :]
    for left_out in (r"<metadata>.*?</metadata>", r"<style.*?</style>", r"font-family: [^;\"]+;? ?"):
        drawn = re.sub(left_out, "", drawn, flags=re.DOTALL)
    drawn = re.sub("|".join(VARIABLES), lambda found: f"var(--{VARIABLES[found[0]]})", drawn)
    # These ids would not be unique in a page of several charts; the ids that are referred to are digests.
    drawn = re.sub(r'<(g|text) id="[^"]*"', r"<\1", drawn)
    shape = re.search(r'viewBox="[^"]*"', drawn)
    assert shape is not None
    # The page sets the width.
    drawn = f'<svg role="img" aria-label="{escape(label)}" {shape[0]}' + drawn[drawn.index(">") :]
    return Markup(re.sub(r"\n\s*", "\n", drawn))


def _legend(axes: Axes, columns: int = 2) -> None:
    """A legend above the chart, where it hides no curve."""
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=columns)


def _blank(horizontal: str, vertical: str, width: int = WIDTH, height: int = HEIGHT) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width / 72, height / 72))
    axes = figure.subplots()
    axes.set(xlabel=horizontal, ylabel=vertical)
    return figure, axes


def _line(axes: Axes, across: Any, up: Any, **looks: Any) -> None:
    """A line over whole numbers, with POINTS points at most."""
    kept = np.unique(np.linspace(0, len(across) - 1, min(len(across), POINTS)).round().astype(int))
    axes.plot(np.asarray(across)[kept], np.asarray(up)[kept], **looks)
    axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))


def _marker(epochs: Any) -> str:
    return "o" if len(epochs) <= 30 else ""


def _logarithmic(axis: Axis) -> None:
    """Write ticks as plain numbers: matplotlib's own are formulas."""
    axis.set_major_formatter(PLAIN)
    axis.set_minor_formatter(NullFormatter())
