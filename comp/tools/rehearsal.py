"""A rehearsal: part of a competition's labelled images are hidden, predicted and scored, without Kaggle."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from filelock import Timeout

from comp.console import Console
from comp.data.data_check import checked_tables
from comp.data.preparing import ask_for
from comp.data.splitting import draw_hidden
from comp.data.tables import Tables
from comp.declare.competition import Competition
from comp.declare.labels.csv import read_csv
from comp.declare.labels.table import answers_of
from comp.declare.own_images import ANSWERS, SAMPLE, HiddenImages, KnownLabels
from comp.files import lock_at, numbered_folder
from comp.runs import Run, Workspace
from comp.submission.grading import compared
from comp.submission.jackknife import error_of
from comp.submission.uncertainty import FINE

Rows = npt.NDArray[np.bool_]

# Added to the seed, so that the hidden images are drawn independently of the split of the others.
HIDING = 7919
OF_A_FORM = ("takes", "targets", "encode", "decode", "classes_in")


def rehearsed(
    competition: Competition,
    workspace: Workspace,
    share: float,
    seed: int,
    console: Console,
    run: Callable[[Competition, Workspace], Run],
) -> Run:
    """The run of a competition with a share of its labelled images hidden; prints and records the expected score.

    The data must have been downloaded; they and their runs aren't changed. The rehearsal works in a separate workspace
    below ``rehearsals/``, where only its runs are kept; a stopped rehearsal is resumed there.

    run: trains and predicts the changed competition in that workspace. Raises RunError where the data aren't here,
    DataError where they can't be split.
    """
    tables = checked_tables(competition, workspace, console)
    hidden = which_hide(tables, share, seed)
    with _folder(workspace.rehearsals / competition.name) as folder:
        inside, place = Workspace(folder), folder / "hidden"
        data = inside.data(competition.name)
        header, columns = list(tables.sample_submission.columns), competition.columns
        for new in (place, data.parent):
            new.mkdir()
        data.symlink_to(workspace.data(competition.name).resolve())
        asks = str((place / SAMPLE).absolute())
        meanwhile = replace(
            competition,
            labels=KnownLabels(competition.labels, asks),
            test=HiddenImages(competition.labels, asks),
            sample_submission=asks,
            columns=None if columns is None else replace(columns, test=columns.train),
            prepare=(),
        )
        if tables.sample_submission.parts is not None:
            written = tables.sample_submission.written(tables.classes)
            # Probabilities and shares are scored over all classes, even if the submission has only some.
            some = competition.target in ("single", "shares") and set(written) < set(tables.classes)
            header = [header[0], *(tables.classes if some else written)]
            # The same form without `parts`: an id names just an image, and the file has the columns.
            wide = SimpleNamespace(**{name: getattr(competition.submission, name) for name in OF_A_FORM})
            meanwhile = replace(meanwhile, submission=wide)
        rows = tables.train[hidden]
        asked, first = np.unique(answers_of(rows).to_list(), return_index=True)
        ask_for(meanwhile, tables.classes, asked.tolist(), place, tables.targets[hidden][first], header)
        groups = rows["group"].to_numpy()[first] if "group" in rows else None
        console.say(f"rehearsal of {competition.name}: {hidden.sum()} of {len(hidden)} labelled images are hidden")
        made = run(meanwhile, inside)
        # Where ids name an image and a column, the submission may not ask for all columns.
        known = tables.classes if tables.sample_submission.parts is None else ()
        judge(meanwhile, made, read_csv(place / ANSWERS), groups, hidden, console, known)
    return made


@contextmanager
def _folder(rehearsals: Path) -> Iterator[Path]:
    """A rehearsal's folder: that of a stopped rehearsal which no process uses, or a new one. Its runs are kept."""
    numbers = sorted((int(path.name) for path in rehearsals.glob("[0-9]*") if path.name.isdigit()), reverse=True)
    there = (rehearsals / str(number) for number in numbers)
    stopped = (folder for folder in there if not any(folder.glob("runs/*/*/rehearsal.json")))
    for folder in chain(stopped, iter(lambda: numbered_folder(rehearsals), None)):
        lock = lock_at(folder / ".lock")
        with suppress(Timeout):
            lock.acquire(blocking=False)
        if lock.is_locked:
            break
    try:
        _clear(folder)  # of what a killed process left
        yield folder
    finally:
        _clear(folder)
        lock.release()
        (folder / ".lock").unlink(missing_ok=True)
        if not (folder / "runs").is_dir():
            shutil.rmtree(folder, ignore_errors=True)


def _clear(folder: Path) -> None:
    for name in ("hidden", "data", "cache"):
        shutil.rmtree(folder / name, ignore_errors=True)


def which_hide(tables: Tables, share: float, seed: int) -> Rows:
    """True for the hidden rows (N,): drawn like validation rows, and never all rows of a class."""
    return draw_hidden(tables.targets, share, seed + HIDING, tables.may_validate, *tables.kept_together)


def judge(
    competition: Competition,
    run: Run,
    answers: pd.DataFrame,
    groups: npt.NDArray[Any] | None,
    hides: Rows,
    console: Console,
    classes: Sequence[str] = (),
) -> None:
    """Score a run's submission; print and record the expected score.

    answers: as text. groups: of the answers (A,), if there are any. hides: True for the hidden labelled images (N,).
    classes: see `compared`.
    """
    console.log = run.log
    targets, predictions, classes = compared(competition, answers, read_csv(run.submission), classes)
    hidden, known = int(hides.sum()), int((~hides).sum())
    those = f"{len(answers)} hidden {'images' if len(answers) == hidden else 'answers'}"
    score = competition.scoring(targets, predictions, classes)

    def scored(some: Rows) -> float:
        return competition.scoring(targets[some], predictions[some], classes)

    error = float(error_of(scored, len(answers), groups, FINE))
    # If all answers score alike, or some can't be scored, the error can't be estimated.
    tells = 0 < error < float("inf")
    found = {"score": score, "standard_error": error if tells else None}
    run.write_record("rehearsal", {**found, "hidden": hidden, "known": known})
    how_sure = (
        f"± {error:.5f} on the leaderboard, by {those}"
        if tells
        else f"on the leaderboard, but {those} can't tell the error of that score; hide more (--share)"
    )
    console.say(f"expect {competition.scoring.name} {score:.5f} {how_sure}")
    if (validation := run.record("scores").get("tuned")) is not None:
        console.say(f"the validation score was {validation:.5f}")
    console.say(
        f"the rehearsal had {known} images to learn from, a real run has {known + hidden}; the real test images may "
        "be of another kind"
    )
