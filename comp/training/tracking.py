"""Logging a run to an experiment tracker: its config, losses and rates per step, and metrics per epoch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from accelerate.tracking import LOGGER_TYPE_TO_CLASS, GeneralTracker

from comp.declare.custom import called
from comp.errors import DeclarationError, OverrideError
from comp.runs import Run
from comp.runs.resolve import flat
from comp.training.launching import is_main

LogWith = str | Callable[[Path], Any] | None


def check_installed(log_with: LogWith) -> None:
    """Raise OverrideError where the tracker's package isn't installed."""
    if isinstance(log_with, str) and not find_spec(log_with):
        raise OverrideError(
            f"Competition: `log_with` is {log_with!r}, but {log_with} isn't installed; install it: "
            f"pip install 'comp-starter[{log_with}]'."
        )


class Tracker:
    """Logs a run to one of Accelerate's trackers, which is started at the first epoch; does nothing without one.

    log_with: the tracker's name, or a function of the run's folder that returns Accelerate's `tracking.GeneralTracker`.
    """

    def __init__(self, log_with: LogWith, run: Run) -> None:
        self.log_with, self.run = log_with if is_main() else None, run
        self._started: GeneralTracker | None = None

    def epoch(self, row: Mapping[str, Any], steps: Sequence[Mapping[str, float]]) -> None:
        """Log the steps of an epoch, with their losses and rates, then the epoch; the run's tables have it already."""
        if self.log_with is None:
            return
        taken = self.run.history.steps_taken()
        if self._started is None:
            self._started = self._start(self.log_with)
        for number, step in enumerate(steps, start=taken - len(steps) + 1):
            self._started.log(dict(step), step=number)
        shown = {"train_loss": row["train_loss"], "valid_loss": row["valid_loss"], row["metric"]: row["score"]}
        of_epoch = {f"epoch/{name}": value for name, value in shown.items() if value is not None}
        self._started.log({**of_epoch, "epoch/images_per_second": row["images_per_second"]}, step=taken)

    def finish(self) -> None:
        if self._started is not None:
            self._started.finish()
            self._started = None

    def _start(self, log_with: str | Callable[[Path], Any]) -> GeneralTracker:
        folder, config = self.run.folder, self.run.record("config")
        if isinstance(log_with, str):
            made = LOGGER_TYPE_TO_CLASS[log_with](**_arguments(log_with, folder))
        else:
            made = called("Competition: `log_with`", log_with, folder)
            if not isinstance(made, GeneralTracker):
                raise DeclarationError(
                    f"Competition: `log_with` returned {made!r}, but it should return a GeneralTracker of Accelerate's."
                )
        made.start()
        plain = {name: value if isinstance(value, str | int | float) else str(value) for name, value in flat(config)}
        made.store_init_configuration(plain)
        return made


def _arguments(name: str, folder: Path) -> dict[str, Any]:
    """A tracker's arguments: its project is the competition; a resumed run is continued where the tracker can."""
    project, title = folder.parent.name, folder.name
    if name == "tensorboard":
        return {"run_name": name, "logging_dir": folder}
    if name == "mlflow":
        return {"experiment_name": project, "run_name": title}
    if name == "trackio":
        return {"run_name": project, "name": title, "resume": "allow"}
    config = hashlib.blake2b((folder / "config.json").read_bytes(), digest_size=4).hexdigest()
    return {"run_name": project, "name": title, "id": f"{title}-{config}", "resume": "allow", "dir": folder}
