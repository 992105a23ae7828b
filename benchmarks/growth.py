"""The growth of time and memory with rows and classes, for each step of a training on synthetic competitions.

python -m benchmarks.growth --json growth.json --plot docs/growth.svg

The images are 40 x 32 JPEGs, links to 256 files. Each step runs in a process of its own. The data check is measured
three times: with no file known; with all known except the near-duplicates, after each file was given its own bytes and
looks; and with everything known, as when a training starts. A start lasts from before its process until the first
optimizer step. Predictions and the submission are written for as many images as are labelled. Memory is the process's
peak, and the part of it on top of imports and the step's input; for reading images, the larger private memory of two
processes.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from benchmarks.growth_steps import MOST_VALUES, Measured
from benchmarks.synthetic import Synthetic

ROW = "{:<24}{:>9}{:>9}{:>10}{:>10}{:>10}"
# Names in the table, and the steps they measure; each step finds what the previous ones left.
STEPS = {
    "importing": "importing",
    "labels": "labels",
    "data check, all new": "data_check",
    "data check, pairs new": "data_check",
    "data check, known": "data_check",
    "splitting": "splitting",
    "start": "start",
    "shuffling": "shuffling",
    "a reading process": "workers",
    "predictions": "predictions",
    "submission": "submission",
}


@dataclass(frozen=True)
class Point:
    """The cost of a step for its rows and classes: seconds, peak MB of memory, and MB on top of its input."""

    step: str
    rows: int
    classes: int
    seconds: float
    peak: float
    added: float


def main(
    rows: Annotated[list[int], typer.Option(min=1, help="Labelled images; repeatable.")] = [  # noqa: B006
        10_000,
        100_000,
        1_000_000,
    ],
    classes: Annotated[list[int], typer.Option(min=2, help="Classes; repeatable.")] = [120, 5000],  # noqa: B006
    place: Annotated[Path | None, typer.Option(help="Folder for the files: 1 GB and more for a million rows.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the measurements to this file.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Plot time and memory against rows to this file.")] = None,
) -> None:
    """Print a row for each step, number of rows and number of classes."""
    print(ROW.format("step", "rows", "classes", "seconds", "peak MB", "added MB"))
    points = []
    for point in measure(rows, classes, place):
        print(
            ROW.format(point.step, point.rows, point.classes, *_rounded(point.seconds, point.peak, point.added)),
            flush=True,
        )
        points.append(point)
        if json_file is not None:
            json_file.write_text(json.dumps([asdict(point) for point in points], indent=1) + "\n")
    if plot is not None:
        draw(points, plot)


def draw(points: Sequence[Point], picture: Path) -> None:
    """Seconds and memory against rows, both logarithmic, with the first number of classes."""
    from matplotlib import pyplot as plt

    frame = pd.DataFrame([asdict(point) for point in points])
    # For other numbers of classes the images are not checked again.
    frame = frame[(frame["classes"] == points[0].classes) & (frame["step"] != "importing")]
    plt.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "growth", "font.size": 9})
    figure, panels = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for panel, value, unit in zip(panels, ("seconds", "added"), ("seconds", "MB beside the input"), strict=True):
        for number, (step, of_step) in enumerate(frame.groupby("step", sort=False)):
            if step == "a reading process" and value == "seconds":
                continue  # the number of images read is the same for all rows
            panel.loglog(of_step["rows"], of_step[value].clip(lower=1e-3), marker=".", color=f"C{number}", label=step)
        edges = frame["rows"].agg(["min", "max"]).to_numpy()
        least = frame[value].quantile(0.25) or 1.0
        panel.loglog(edges, least * edges / edges[0], "--", color="black", label="in proportion to the rows")
        panel.set(xlabel="rows", ylabel=unit)
        panel.grid(alpha=0.3)
        panel.minorticks_off()
    figure.legend(*panels[1].get_legend_handles_labels(), loc="outside right center", frameon=False)
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture, metadata={"Date": None})
    plt.close(figure)


def measure(rows: Iterable[int], classes: Iterable[int], place: Path | None = None) -> Iterator[Point]:
    """Measure each step with each number of rows and classes, on files that are removed afterwards."""
    for count in rows:
        with tempfile.TemporaryDirectory(dir=place) as folder:
            for number in classes:
                made = Synthetic(Path(folder), count, number)
                made.make()
                yield from _steps(made)


def _steps(made: Synthetic) -> Iterator[Point]:
    """Measure each step; the images are checked only for the first number of classes, as all share them."""
    imported, screened = 0.0, made.screened.exists()
    for name, step in STEPS.items():
        if screened and name.startswith("data check"):
            continue
        if name == "data check, pairs new":
            made.tell_apart()
        if step == "predictions" and made.rows * made.classes > MOST_VALUES:
            continue
        found = _in_a_process(step, made)
        imported = found.most if step == "importing" else imported
        # Memory on top of the input; for a start on top of imports; all of a reading process's private memory.
        before = {"start": imported, "workers": 0.0}.get(step, found.before)
        yield Point(name, made.rows, made.classes, found.seconds, found.most, found.most - before)


def _in_a_process(step: str, made: Synthetic) -> Measured:
    command = [sys.executable, "-m", "benchmarks.growth_steps", step, str(made.folder), str(made.rows)]
    command += [str(made.classes), str(time.monotonic())]
    ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return Measured(**json.loads(ended.stdout.splitlines()[-1]))


def _rounded(*values: float) -> list[str]:
    return [f"{value:.2f}" if value < 100 else f"{value:.0f}" for value in values]


if __name__ == "__main__":
    typer.run(main)
