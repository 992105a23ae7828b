"""The tables that a training appends to, epoch by epoch."""

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

if TYPE_CHECKING:  # `comp --help` imports this module, and should not import pandas
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
    """The CSVs of a training's epochs, steps and stages in a run's folder.

    history.csv: a row per step; epochs.csv: per epoch; stages.csv: per stage; learning-rate-<stage>.csv: a range test.
    """

    folder: Path

    def append_epoch(self, epoch: Mapping[str, Any], steps: Iterable[Mapping[str, float]]) -> None:
        """Append a row of EPOCH_COLUMNS to epochs.csv, and a row per step, with loss and rates, to history.csv."""
        same = {column: epoch[column] for column in ("stage", "cycle", "epoch")}
        rows = [{**same, "step": number, **step} for number, step in enumerate(steps, start=1)]
        _append(self.folder / "history.csv", STEP_COLUMNS, rows)
        _append(self.folder / "epochs.csv", EPOCH_COLUMNS, [epoch])

    def steps_taken(self) -> int:
        """The number of rows of history.csv."""
        with (self.folder / "history.csv").open("rb") as file:
            return sum(1 for _ in file) - 1

    def sizes(self) -> dict[str, int]:
        """The size in bytes of each of TABLES, flushed to disk."""
        sizes = dict.fromkeys(TABLES, 0)
        for name in TABLES:
            path = self.folder / name
            if path.is_file():
                with path.open("ab") as file:
                    os.fsync(file.fileno())
                    sizes[name] = file.tell()
        return sizes

    def cut(self, sizes: Mapping[str, int]) -> None:
        """Cut off what was written after `sizes`; raises RunError where a table is shorter than it was then."""
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
        """Append a row to stages.csv: the time of the whole stage, and the most bytes of memory so far."""
        row = {"stage": stage, "seconds": seconds, "memory_mb": round(memory / 1e6)}
        _append(self.folder / "stages.csv", STAGE_COLUMNS, [row])

    def write_range_test(self, stage: int, *columns: Iterable[float]) -> None:
        """Write learning-rate-<stage>.csv: the columns of an LR range test, in the order of RANGE_TEST_COLUMNS."""
        rows = [dict(zip(RANGE_TEST_COLUMNS, map(float, row), strict=True)) for row in zip(*columns, strict=True)]
        with replacing(self.folder / f"learning-rate-{stage}.csv") as unfinished:
            _append(unfinished, RANGE_TEST_COLUMNS, rows)

    @property
    def began(self) -> bool:
        """Whether an epoch was recorded."""
        path = self.folder / "epochs.csv"
        return path.is_file() and path.stat().st_size > 0

    def epochs(self) -> pd.DataFrame:
        """Read epochs.csv, a row per epoch; validation loss and score are NaN without validation. Raises RunError."""
        return self._read("epochs.csv", EPOCH_COLUMNS)

    def last_score(self, lost: Mapping[int, int] = NONE_LOST) -> tuple[str, float] | None:
        """The metric and its value after the last epoch, read without pandas; None where there is none.

        lost: the stages whose later epochs don't count, see `Run.lost`.
        """
        try:
            last = self._last_epoch(lost)
            return last["metric"], float(last["score"])
        except (OSError, LookupError, ValueError):
            return None

    @property
    def diverged(self) -> bool:
        """Whether the loss became NaN or infinite in the first stage's first cycle, as it would again if resumed."""
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
        """Read history.csv, a row per step; the learning rates of frozen groups are NaN. Raises RunError."""
        return self._read("history.csv", STEP_COLUMNS)

    def stages(self) -> pd.DataFrame:
        """Read stages.csv, a row per finished stage. Raises RunError."""
        return self._read("stages.csv", STAGE_COLUMNS)

    def range_test(self, stage: int) -> pd.DataFrame | None:
        """Read the range test before a stage, a row per rate; None where there was none. Raises RunError."""
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
    """The rows of epochs.csv that led to the weights: without the cycles that a run has `lost`."""
    return epochs[epochs["cycle"] <= epochs["stage"].map(lost).fillna(epochs["cycle"])]


def seconds_left(stages: Sequence[Stage], number: int, ended: int, seconds: float) -> float | None:
    """The estimated seconds left in a training: stage ``number``, from 1, has ``ended`` epochs of ``seconds`` each.

    A later stage's epoch takes longer in proportion to its pixels. None where this stage and a later one don't both
    train on images, or both on cached maps, as their speeds are unrelated.
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
