"""One step of a training, measured in this process: its time, and the memory before and during it.

python -m benchmarks.growth_steps STEP FOLDER ROWS CLASSES BEGAN
"""

import gc
import json
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from rich.console import Console as Terminal

from benchmarks.synthetic import MOST_COLUMNS, Synthetic, named
from comp.cli import OBJECTS
from comp.console import Console
from comp.training.launching import spin_little

# Most values in an array of probabilities here: 4 bytes each, and as many again for its copies.
MOST_VALUES = 250_000_000
BATCHES, WORKERS = 200, 2


@dataclass(frozen=True)
class Measured:
    """The cost of a step: seconds, and MB of memory before it and at most during it, or as the step itself reports."""

    seconds: float
    before: float
    most: float


class Stepped(BaseException):
    """An optimizer step was taken."""


Step = Callable[[], object]


def labels(made: Synthetic) -> Step:
    from comp.data.tables import read_tables

    return lambda: read_tables(made.competition, made.workspace.data(made.competition.name))


def data_check(made: Synthetic) -> Step:
    from comp.data.data_check import check_images
    from comp.data.tables import read_tables

    root = made.workspace.data(made.competition.name)
    return partial(check_images, read_tables(made.competition, root), made.competition, made.workspace, quiet())


def splitting(made: Synthetic) -> Step:
    from comp.data.data_check import checked_tables
    from comp.data.splitting import draw_split

    tables = checked_tables(made.competition, made.workspace, quiet())
    return partial(draw_split, tables.targets, 0.2, 0, None, tables.duplicate_groups)


def importing(_: Synthetic) -> Step:
    def imported() -> None:
        from comp import runner  # noqa: F401
        from comp.training import prepared, resuming  # noqa: F401

    return imported


def start(made: Synthetic) -> Step:
    """`comp train` until the first optimizer step."""
    from comp import runner
    from comp.data import data_check
    from comp.runs.choices import Choices

    read = data_check.checked_tables

    def begin() -> None:
        with suppress(Stepped), ExitStack() as patches:

            def read_and_end_after_a_step(*arguments: Any) -> Any:
                tables = read(*arguments)
                # Imported only now, because the data are read before torch is imported.
                from comp.training.learner import Learner

                take = Learner.step

                def step(*arguments: Any) -> None:
                    take(*arguments)
                    raise Stepped

                patches.enter_context(patch.object(Learner, "step", step))
                return tables

            patches.enter_context(patch.object(data_check, "checked_tables", read_and_end_after_a_step))
            runner.train(made.competition, Choices(), made.workspace, quiet())

    return begin


def shuffling(made: Synthetic) -> Step:
    from comp.data.loading import Shuffled

    order = Shuffled(np.arange(made.rows), 0, 64, range(64))
    return lambda: sum(1 for _ in order)


def workers(made: Synthetic) -> Step:
    """Reading images in processes; returns the largest private memory of one in MB."""
    from comp.data.data_check import checked_tables
    from comp.data.loading import ImageEpochs
    from comp.runs.choices import Choices
    from comp.runs.resolve import Experiment

    experiment = Experiment.of(made.competition, Choices(), made.workspace)
    tables = checked_tables(experiment.competition, experiment.workspace, quiet())
    from comp.training.prepared import prepare

    ready = prepare(experiment, quiet(), tables)
    dataset = ready.images.dataset(32, 0)

    def read() -> float:
        import multiprocessing

        epochs = ImageEpochs(dataset, ready.training, torch_of(ready.tables.targets), 32, workers=WORKERS)
        batches = epochs.epoch(0)
        for _ in range(min(BATCHES, len(epochs))):
            next(batches)
        return max(private(child.pid) for child in multiprocessing.active_children())

    return read


def predictions(made: Synthetic) -> Step:
    from comp.submission.predictions import write_predictions

    return partial(
        write_predictions, made.folder / "predictions.parquet", named(made.rows), probabilities(made), made.names
    )


def submission(made: Synthetic) -> Step:
    """For as many images as are labelled, of their probabilities."""
    from comp.submission.postprocessing import untuned
    from comp.submission.submission import build_submission, read_sample_submission, write_submission

    competition, sample = made.competition, made.folder / "sample.csv"
    made.make_sample(sample, made.rows)
    if made.classes > MOST_COLUMNS:
        processed = np.random.default_rng(0).integers(made.classes, size=made.rows)
    else:
        processed = untuned(competition, made.names)(probabilities(made))

    def write() -> None:
        built = build_submission(competition, made.names, read_sample_submission(sample), named(made.rows), processed)
        write_submission(built, made.folder / "submission.csv")

    return write


STEPS = {
    step.__name__: step
    for step in (importing, labels, data_check, splitting, start, shuffling, workers, predictions, submission)
}


def probabilities(made: Synthetic) -> Any:
    """Probabilities (rows, classes) in single precision, as from a network."""
    rng = np.random.default_rng(0)
    drawn = rng.random((made.rows, made.classes), np.float32)
    drawn /= drawn.sum(axis=1, keepdims=True)
    return drawn


def torch_of(targets: Any) -> Any:
    import torch

    return torch.from_numpy(targets)


def quiet() -> Console:
    return Console(Terminal(file=Path("/dev/null").open("w")))


def memory(field: str) -> float:
    """The MB of this process: current (VmRSS) or peak (VmHWM)."""
    return _of(Path("/proc/self/status"), field)


def private(process: int | None) -> float:
    """The MB of a process that it shares with no other."""
    rollup = Path(f"/proc/{process}/smaps_rollup")
    return _of(rollup, "Private_Clean") + _of(rollup, "Private_Dirty")


def _of(file: Path, field: str) -> float:
    lines = (line.split() for line in file.read_text().splitlines())
    return next(int(words[1]) for words in lines if words[0] == f"{field}:") / 1e3


def measured(name: str, made: Synthetic, began: float) -> Measured:
    step = STEPS[name](made)
    # Reset the peak.
    Path("/proc/self/clear_refs").write_text("5")
    before, ready = memory("VmRSS"), time.monotonic()
    found = step()
    # A start counts from before its process.
    seconds = time.monotonic() - (began if name == "start" else ready)
    return Measured(seconds, before, found if isinstance(found, float) else memory("VmHWM"))


if __name__ == "__main__":
    # As the command line does.
    gc.set_threshold(OBJECTS)
    spin_little()
    step, folder, rows, classes, began = sys.argv[1:]
    made = Synthetic(Path(folder), int(rows), int(classes))
    print(json.dumps(asdict(measured(step, made, float(began)))))
