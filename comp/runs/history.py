"""The tables that a training appends to, epoch by epoch, and that others read."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf, isfinite
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from comp.declare.recipe import Stage
from comp.errors import RunError
from comp.files import replacing

if TYPE_CHECKING:  # `comp --help` passes here
    import pandas as pd

EPOCH_COLUMNS = (
    "stage",
    "cycle",
    "epoch",
    "train_loss",
    "valid_loss",
    "metric",
    "score",
    "seconds",
    "images_per_second",
)
STAGE_COLUMNS = ("stage", "seconds", "memory_mb")
RANGE_TEST_COLUMNS = ("rate", "loss", "smoothed")
STEP_COLUMNS = ("stage", "cycle", "epoch", "step", "loss", "lr_early", "lr_late", "lr_head")
TABLES = ("stages.csv", "epochs.csv", "history.csv")
NONE_LOST: Mapping[int, int] = MappingProxyType({})
NOT_FLOATS: dict[str, type] = {"stage": int, "cycle": int, "epoch": int, "step": int, "metric": str}


@dataclass(frozen=True)
class History:
    """What is known of a training's epochs, steps and stages: CSVs in a run's folder.

    history.csv: a row per step; epochs.csv: per epoch; stages.csv: per stage; learning-rate-<stage>.csv: a sweep of the
    finder.
    """

    folder: Path

    def append_epoch(self, epoch: Mapping[str, Any], steps: Iterable[Mapping[str, float]]) -> None:
        """One row in epochs.csv, of EPOCH_COLUMNS, and one per step in history.csv, of its loss and learning rates."""
        same = {column: epoch[column] for column in ("stage", "cycle", "epoch")}
        rows = [{**same, "step": number, **step} for number, step in enumerate(steps, start=1)]
        _append(self.folder / "history.csv", STEP_COLUMNS, rows)
        _append(self.folder / "epochs.csv", EPOCH_COLUMNS, [epoch])

    def steps_taken(self) -> int:
        """The rows of history.csv."""
        with (self.folder / "history.csv").open("rb") as file:
            return sum(1 for _ in file) - 1

    def sizes(self) -> dict[str, int]:
        """The bytes of each of TABLES, which are on disk when this returns."""
        sizes = dict.fromkeys(TABLES, 0)
        for name in TABLES:
            path = self.folder / name
            if path.is_file():
                with path.open("ab") as file:
                    os.fsync(file.fileno())
                    sizes[name] = file.tell()
        return sizes

    def cut(self, sizes: Mapping[str, int]) -> None:
        """Take away what was written after `sizes`; raises RunError where something else was taken away."""
        for name in TABLES:
            path = self.folder / name
            size = sizes.get(name, 0)
            if size == 0:
                path.unlink(missing_ok=True)
                continue
            if not path.is_file() or path.stat().st_size < size:
                raise RunError(f"{path} is shorter than when the training was stopped, so it can't go on; train anew.")
            os.truncate(path, size)

    def append_stage(self, stage: int, seconds: float, memory: int) -> None:
        """One row in stages.csv: all the time that the stage took, and the most bytes of memory so far."""
        row = {"stage": stage, "seconds": seconds, "memory_mb": round(memory / 1e6)}
        _append(self.folder / "stages.csv", STAGE_COLUMNS, [row])

    def write_range_test(self, stage: int, *columns: Iterable[float]) -> None:
        """learning-rate-<stage>.csv: the columns of an LR range test, in the order of RANGE_TEST_COLUMNS."""
        rows = [dict(zip(RANGE_TEST_COLUMNS, map(float, row), strict=True)) for row in zip(*columns, strict=True)]
        with replacing(self.folder / f"learning-rate-{stage}.csv") as unfinished:
            _append(unfinished, RANGE_TEST_COLUMNS, rows)

    @property
    def began(self) -> bool:
        """Whether an epoch was recorded."""
        path = self.folder / "epochs.csv"
        return path.is_file() and path.stat().st_size > 0

    def epochs(self) -> pd.DataFrame:
        """epochs.csv, a row per epoch, if any; losses and score are NaN where no row validated. Raises RunError."""
        return self._read("epochs.csv", EPOCH_COLUMNS)

    def last_score(self, lost: Mapping[int, int] = NONE_LOST) -> tuple[str, float] | None:
        """The metric and its value after the last epoch, read without pandas; None where there is none.

        lost: the stages whose epochs don't count, as `Run.lost` has them.
        """
        try:
            last = self._last_epoch(lost)
            return last["metric"], float(last["score"])
        except (OSError, LookupError, ValueError):
            return None

    @property
    def diverged(self) -> bool:
        """Whether the loss became NaN or infinite before any cycle ended: so it would again, were it resumed."""
        try:
            last = self._last_epoch()
            losses = [float(last[name] or 0) for name in ("train_loss", "valid_loss")]
            return last["stage"] == last["cycle"] == "1" and not all(map(isfinite, losses))
        except (OSError, LookupError, ValueError):
            return False

    def _last_epoch(self, lost: Mapping[int, int] = NONE_LOST) -> dict[str, str]:
        with (self.folder / "epochs.csv").open(encoding="utf-8", newline="") as file:
            rows = csv.DictReader(file)
            *_, last = (row for row in rows if not lost or int(row["cycle"]) <= lost.get(int(row["stage"]), inf))
        return last

    def steps(self) -> pd.DataFrame:
        """history.csv, a row per step, if any; the rates of groups that were frozen are NaN. Raises RunError."""
        return self._read("history.csv", STEP_COLUMNS)

    def stages(self) -> pd.DataFrame:
        """stages.csv, a row per stage that ended, if any. Raises RunError."""
        return self._read("stages.csv", STAGE_COLUMNS)

    def range_test(self, stage: int) -> pd.DataFrame | None:
        """The finder's sweep before a stage, a row per rate; None where there was none. Raises RunError."""
        file = f"learning-rate-{stage}.csv"
        return self._read(file, RANGE_TEST_COLUMNS) if (self.folder / file).is_file() else None

    def _read(self, file: str, columns: Sequence[str]) -> pd.DataFrame:
        import pandas as pd

        path = self.folder / file
        try:
            table = pd.read_csv(path, dtype={**dict.fromkeys(columns, float), **NOT_FLOATS})
        except (FileNotFoundError, pd.errors.EmptyDataError):
            return pd.DataFrame(columns=list(columns))
        except (ValueError, OSError) as error:
            raise RunError(f"{path} can't be read: {error}.") from None
        if missing := [column for column in columns if column not in table]:
            raise RunError(f"{path} has no column {', '.join(missing)}; it is of another version of comp.")
        return table


def kept(epochs: pd.DataFrame, lost: Mapping[int, int]) -> pd.DataFrame:
    """The rows of epochs.csv that the weights went through: without those of stages that a run has `lost`."""
    return epochs[epochs["cycle"] <= epochs["stage"].map(lost).fillna(epochs["cycle"])]


def seconds_left(stages: Sequence[Stage], number: int, ended: int, seconds: float) -> float | None:
    """About how long a training goes on whose stage ``number``, from 1, has ended so many epochs, each in ``seconds``.

    A later stage's epoch takes as much longer as its images have more pixels. None where the stage and a later one
    don't both train on images, or both on cached maps: its pace says nothing about the other's.
    """
    under_way, *later = stages[number - 1 :]
    slower = [stage for stage in later if not stage.on_features]
    if slower and (under_way.on_features or any(stage.cached != under_way.cached for stage in slower)):
        return None
    whole = sum(stage.epochs * stage.area / under_way.area for stage in slower)
    return seconds * (max(0, under_way.epochs - ended) + whole)


def time_in_words(seconds: float) -> str:
    """41 s, 12 min, 3 h 05 min."""
    if seconds < 120:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02} min"


def _append(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    with path.open("a", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="")
        if file.tell() == 0:
            writer.writeheader()
        writer.writerows(rows)
