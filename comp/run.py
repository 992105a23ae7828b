"""A run is a folder with everything a training produced; this page knows what lies where in it."""

from __future__ import annotations

import csv
import json
import os
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comp.errors import RunError
from comp.files import held, is_held, replacing, write_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import pandas as pd

    from comp.training.finder import Sweep
    from comp.training.learner import Epoch


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
SWEEP_COLUMNS = ("rate", "loss", "smoothed")
STEP_COLUMNS = ("stage", "cycle", "epoch", "step", "loss", "lr_early", "lr_late", "lr_head")
# The commands that write what a run may lack.
MAKES = {"trained": "train --resume", "scores": "predict", "submitted": "submit"}
TABLES = ("stages.csv", "epochs.csv", "history.csv")
NOT_FLOATS: dict[str, type] = {"stage": int, "cycle": int, "epoch": int, "step": int, "metric": str}


@dataclass(frozen=True)
class Home:
    """Where data, caches and runs are: the folder ``COMP_HOME``, or the working folder.

    kaggle: the address of the only Kaggle that what happens here may speak to; a rehearsal's is on this machine.
    """

    folder: Path
    kaggle: str | None = None

    @classmethod
    def from_environment(cls) -> Home:
        return cls(Path(os.environ.get("COMP_HOME") or ".").expanduser().resolve())

    @property
    def runs(self) -> Path:
        return self.folder / "runs"

    @property
    def cache(self) -> Path:
        return self.folder / "cache"

    @property
    def rehearsals(self) -> Path:
        return self.folder / "rehearsals"

    @property
    def notebooks(self) -> Path:
        """What is known of the notebooks at Kaggle that are under way, and the logs of those that failed."""
        return self.cache / "notebooks"

    def data(self, competition: str) -> Path:
        """The folder of a competition's files and of its extra data sets'."""
        return self.folder / "data" / competition


@dataclass(frozen=True)
class Run:
    """One run folder, ``runs/<competition>/<name>``.

    config.json: everything resolved before the first step, and the run's place in the order of all. split.csv: which
    rows validate. history.csv: a row per step; epochs.csv: per epoch; stages.csv: per stage; learning-rate-<stage>.csv:
    a sweep of the finder. checkpoints/model.safetensors: the weights. trained.json: the stages that were trained, at
    the learning rates they had, and what other weights are averaged with the last ones. predictions/: probabilities
    with ids, as Parquet. scores.json: validation scores and the decision. submission.csv, sending.json while it
    is uploaded and submitted.json once it was. report.html: all of it to look at.
    While it trains, checkpoints/last.pt is what a training that is stopped goes on from.
    A blend of other runs, its members, has what they predict together, and neither history nor weights.
    """

    folder: Path

    @property
    def name(self) -> str:
        return f"{self.folder.parent.name}/{self.folder.name}"

    @property
    def competition(self) -> str:
        return str(self.record("config")["competition"])

    @property
    def members(self) -> tuple[str, ...]:
        """The names of the runs that this one is a blend of; of a training there are none."""
        return tuple(self.record("config").get("members", ()))

    @property
    def finished(self) -> bool:
        """Whether it has weights to predict with, or is a blend, which is there whole or not at all."""
        return self.weights.is_file() or self.predictions("test").is_file()

    @property
    def weights(self) -> Path:
        return self.checkpoint("model")

    @property
    def last(self) -> Path:
        """Where a training that was stopped goes on from."""
        return self.folder / "checkpoints" / "last.pt"

    def joined_in(self) -> list[Run]:
        """The joined folds that this run is one of."""
        others = ((path, _config(path)) for path in sorted(self.folder.parent.glob("*/config.json")))
        return [
            Run(path.parent) for path, other in others if other.get("kind") == "folds" and self.name in other["members"]
        ]

    @contextmanager
    def held(self) -> Iterator[bool]:
        """Whether nobody else works on this run; if so, nobody else can for the block, or until this process dies."""
        with held(self.log) as alone:
            yield alone

    @property
    def is_held(self) -> bool:
        """Whether a process works on it."""
        return is_held(self.log)

    def checkpoint(self, name: str) -> Path:
        """Weights by the name they are kept under."""
        return self.folder / "checkpoints" / f"{name}.safetensors"

    @property
    def submission(self) -> Path:
        return self.folder / "submission.csv"

    @property
    def report(self) -> Path:
        return self.folder / "report.html"

    @property
    def log(self) -> Path:
        return self.folder / "log.txt"

    def predictions(self, part: str) -> Path:
        """The probabilities of ``valid`` or ``test``."""
        return self.folder / "predictions" / f"{part}.parquet"

    def write_record(self, name: str, record: Mapping[str, Any]) -> None:
        """Write ``name``.json."""
        write_text(self.folder / f"{name}.json", json.dumps(record, indent=2) + "\n")

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Write config.json; the run is one of the home's from then on, and its latest, whatever the clock says."""
        self.write_record("config", {**config, "order": _latest(self.folder.parent.parent) + 1})

    def record(self, name: str) -> dict[str, Any]:
        """Read ``name``.json; raises RunError where the run didn't get that far."""
        path = self.folder / f"{name}.json"
        try:
            return _object(path)
        except FileNotFoundError:
            if name == "config":
                raise RunError(f"The run {self.name} has no config.json: {self._remedy(name)}.") from None
            step = f"; `comp {MAKES[name]} {self.name}` does it" if name in MAKES else ""
            raise RunError(f"The run {self.name} has no {path.name}: that step is not done yet{step}.") from None
        except (ValueError, OSError) as error:
            raise RunError(f"{path} can't be read ({error}): {self._remedy(name)}.") from None

    @property
    def problem(self) -> str | None:
        """Why nothing can be done with this run, in a sentence; None where its config can be read."""
        try:
            self.record("config")
        except RunError as error:
            return str(error)
        return None

    def _remedy(self, name: str) -> str:
        if name in MAKES:
            return f"delete it, and `comp {MAKES[name]} {self.name}` makes it anew"
        shown = " (report.html shows it)" if name == "config" and self.report.is_file() else ""
        return f"put the file back{shown}, or delete {self.folder}"

    def remove_record(self, name: str) -> None:
        (self.folder / f"{name}.json").unlink(missing_ok=True)

    def has(self, name: str) -> bool:
        return (self.folder / f"{name}.json").is_file()

    def write_split(self, ids: Iterable[str], validates: Iterable[bool]) -> None:
        """split.csv: ``id`` and ``part``, which is train or valid."""
        self.write_parts(ids, ("valid" if valid else "train" for valid in validates))

    def write_parts(self, ids: Iterable[str], parts: Iterable[str]) -> None:
        """split.csv: ``id`` and ``part``: train, valid or, where folds are joined, the number of the row's fold."""
        with (
            replacing(self.folder / "split.csv") as unfinished,
            unfinished.open("w", encoding="utf-8", newline="") as file,
        ):
            writer = csv.writer(file)
            writer.writerow(("id", "part"))
            writer.writerows(zip(ids, parts, strict=True))

    def parts(self) -> dict[str, str]:
        """The part of each row by its id, by split.csv; raises RunError where there is none."""
        return dict(self.split())

    def split(self) -> Iterator[tuple[str, str]]:
        """The id and the part of each row of split.csv, in its order; raises RunError where there is none."""
        path = self.folder / "split.csv"
        try:
            with path.open(encoding="utf-8", newline="") as file:
                rows = csv.reader(file)
                columns = next(rows, [])
                id_, part = columns.index("id"), columns.index("part")
                yield from ((row[id_], row[part]) for row in rows if row)
        except (OSError, LookupError, ValueError) as error:
            raise RunError(f"{path} can't be read: {error}; train again.") from None

    def validating(self) -> set[str]:
        """The ids of the rows that validate, by split.csv."""
        return {id_ for id_, part in self.parts().items() if part != "train"}

    def append_epoch(self, stage: int, epoch: Epoch, metric: str, score: float | None) -> None:
        """One row for the epoch in epochs.csv, and one per step in history.csv."""
        place = {"stage": stage, "cycle": epoch.cycle + 1, "epoch": epoch.number + 1}
        steps = [{**place, "step": number, **step} for number, step in enumerate(epoch.steps, start=1)]
        _append(self.folder / "history.csv", STEP_COLUMNS, steps)
        row = {
            **place,
            "train_loss": epoch.train_loss,
            "valid_loss": epoch.valid_loss,
            "metric": metric,
            "score": score,
            "seconds": epoch.seconds,
            "images_per_second": epoch.images_per_second,
        }
        _append(self.folder / "epochs.csv", EPOCH_COLUMNS, [row])

    def table_sizes(self) -> dict[str, int]:
        """The bytes of each of TABLES, which are on disk when this returns."""
        sizes = dict.fromkeys(TABLES, 0)
        for name in TABLES:
            path = self.folder / name
            if path.is_file():
                with path.open("ab") as file:
                    os.fsync(file.fileno())
                    sizes[name] = file.tell()
        return sizes

    def cut_tables(self, sizes: Mapping[str, int]) -> None:
        """Take away what was written after `table_sizes`; raises RunError where something else was taken away."""
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

    def write_sweep(self, stage: int, sweep: Sweep) -> None:
        """learning-rate-<stage>.csv: what a sweep's picture shows."""
        columns = zip(sweep.rates, sweep.losses, sweep.smoothed, strict=True)
        rows = [dict(zip(SWEEP_COLUMNS, map(float, values), strict=True)) for values in columns]
        with replacing(self.folder / f"learning-rate-{stage}.csv") as unfinished:
            _append(unfinished, SWEEP_COLUMNS, rows)

    @property
    def began(self) -> bool:
        """Whether an epoch was recorded."""
        path = self.folder / "epochs.csv"
        return path.is_file() and path.stat().st_size > 0

    def epochs(self) -> pd.DataFrame:
        """epochs.csv, a row per epoch; losses and score are NaN where no row validated. Raises RunError without it."""
        return self._table("epochs.csv", EPOCH_COLUMNS)

    def steps(self) -> pd.DataFrame:
        """history.csv, a row per step; the rates of groups that were frozen are NaN. Raises RunError without it."""
        return self._table("history.csv", STEP_COLUMNS)

    def stages(self) -> pd.DataFrame:
        """stages.csv, a row per stage that ended. Raises RunError without it."""
        return self._table("stages.csv", STAGE_COLUMNS)

    def sweep(self, stage: int) -> pd.DataFrame | None:
        """The finder's sweep before a stage, a row per rate; None where there was none. Raises RunError."""
        file = f"learning-rate-{stage}.csv"
        return self._table(file, SWEEP_COLUMNS) if (self.folder / file).is_file() else None

    def _table(self, file: str, columns: Sequence[str]) -> pd.DataFrame:
        import pandas as pd

        path = self.folder / file
        try:
            table = pd.read_csv(path, dtype={**dict.fromkeys(columns, float), **NOT_FLOATS})
        except FileNotFoundError:
            raise RunError(f"The run {self.name} has no {file}: no epoch of it was trained to its end.") from None
        except (ValueError, OSError) as error:
            raise RunError(f"{path} can't be read: {error}.") from None
        if missing := [column for column in columns if column not in table]:
            raise RunError(f"{path} has no column {', '.join(missing)}; it is of another version of comp.")
        return table


def _append(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    with path.open("a", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="")
        if file.tell() == 0:
            writer.writeheader()
        writer.writerows(rows)


def create_run(home: Home, competition: str, name: str) -> Run:
    """A new run folder; ``name`` gets the next free number behind it."""
    place = home.runs / competition
    place.mkdir(parents=True, exist_ok=True)
    number = 1
    while True:
        folder = place / f"{name}-{number}"
        try:
            folder.mkdir()
        except FileExistsError:
            number += 1
        else:
            return Run(folder)


def take_in(home: Home, made: Path, competition: str, name: str) -> Run:
    """A run folder that was made elsewhere as a new run, there whole or not at all; ``name`` gets a number behind it.

    ``made`` is on the same disk, and is moved. Its place in the order of runs is the latest.
    """
    run = create_run(home, competition, name)
    arrived = Run(made)
    arrived.write_record("config", {**arrived.record("config"), "order": _latest(home.runs) + 1})
    made.rename(run.folder)  # over the empty folder
    return run


def find_run(home: Home, text: str) -> Run:
    """A run by its folder, by ``competition/name``, or the newest finished of a competition by its name."""
    for folder in (Path(text), home.runs / text):
        if (folder / "config.json").is_file():
            return Run(folder.resolve())
    for broken in broken_runs(home):
        if broken.name == text:
            raise RunError(broken.problem)
    runs = list_runs(home, text)
    if runs:
        return next((run for run in reversed(runs) if run.finished), runs[-1])
    every = list_runs(home)
    # Its own name without its competition's, or another number of the same competition's.
    near = [run for run in every if text in (run.folder.name, run.name) or run.folder.parent.name == text.split("/")[0]]
    known = ", ".join(run.name for run in (near or every)[-5:])
    raise RunError(f"There is no run {text!r} in {home.runs}" + (f"; there are {known}." if known else "."))


def list_runs(home: Home, competition: str | None = None) -> list[Run]:
    """The runs that got as far as a config, oldest first; without those whose config can't be read."""
    configs = sorted(home.runs.glob("*/*/config.json"), key=lambda path: (_order(path), path.stat().st_mtime_ns, path))
    runs = [Run(config.parent) for config in configs]
    return [run for run in runs if competition in (None, run.folder.parent.name) and run.problem is None]


def broken_runs(home: Home, competition: str | None = None) -> list[Run]:
    """The folders of runs whose config is gone or can't be read, in the order of their names.

    A folder that is empty, or that a process works in, is one whose config is not written yet.
    """
    runs = [Run(folder) for folder in sorted(home.runs.glob("*/*-[0-9]*")) if folder.is_dir()]
    return [
        run
        for run in runs
        if competition in (None, run.folder.parent.name)
        and run.problem is not None
        and any(run.folder.iterdir())
        and not run.is_held
    ]


def _latest(runs: Path) -> int:
    return max((_order(path) for path in runs.glob("*/*/config.json")), default=0)


def _order(path: Path) -> int:
    """The run's place in the order of all; 0 where its config has none."""
    order = _config(path).get("order", 0)
    return order if isinstance(order, int) else 0


def _config(path: Path) -> dict[str, Any]:
    """A config.json, empty where it can't be read: one broken run is no reason not to list the others."""
    try:
        return _object(path)
    except (OSError, ValueError):
        return {}


def _object(path: Path) -> dict[str, Any]:
    """The object in a JSON file; raises OSError or ValueError where there is none."""
    found = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(found, dict):
        raise ValueError("it holds no object")  # noqa: TRY004 - as for text that is no JSON
    return found
