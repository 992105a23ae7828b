"""Import another program's predictions as a run: scored, shown, combined and submitted like any other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from comp.console import Console
from comp.declare.competition import Competition
from comp.errors import DataError, RunError
from comp.runs import Run, Workspace
from comp.submission.predictions import predictions_in, read_members
from comp.submission.scoring import with_error
from comp.tools.ensembles.combining import as_they_are_now, write
from comp.tools.ensembles.members import Together, same_parts


def import_predictions(
    competition: Competition, like: Run, valid: Path, test: Path, workspace: Workspace, console: Console
) -> Run:
    """A run of predictions that were made elsewhere, on the split of the run ``like``.

    valid, test: CSV or Parquet files for the validation images of ``like``, each predicted by a model that did not see
        it, and for the test images: a column of ids, then one per class, tag or number, as in a run's `predictions`.
    Raises DataError for other ids or columns, or for invalid predictions; RunError where no image validates.
    """
    (member,) = members = read_members([like], to_combine=True)
    tables = as_they_are_now(competition, members, workspace, console, None)
    together = Together(competition, members, tables, same_parts(members, tables))
    if not len(together.rows):
        raise RunError(f"No image validates in {like.name}, so nothing can be scored; name a run in which some do.")
    whose = f"{like.name}'s predictions"
    predictions = [
        predictions_in(read_table(path), asked, competition.target, f"{path} is a table that", whose)
        for path, asked in ((valid, member.valid.loc[together.ids]), (test, member.test.loc[tables.test["id"]]))
    ]
    combined = together.combined(predictions[0], predictions[1], np.ones(1))
    scores = {**combined.record, "standard_errors": together.errors_of(combined)}
    folds = member.config.get("folds") if together.of_folds else None
    config = {"kind": "import", "split_of": like.name, "recipe_name": "import", "folds": folds}
    said = f"{competition.scoring.name} {with_error(scores)} on {len(together.rows)} validation images"
    return write(together, workspace, console, "import", config, combined, scores, [said])


def read_table(path: Path) -> pd.DataFrame:
    """A file's rows, indexed by its first column, or a Parquet file's own index, as text. Raises DataError."""
    try:
        if path.suffix == ".parquet":
            table = pd.read_parquet(path)
            table = table if isinstance(table.index, pd.RangeIndex) else table.reset_index()
        else:
            table = pd.read_csv(path, dtype=str, keep_default_na=False)  # an id may be NA
        return table.set_index(table.columns[0]).rename(index=str)
    except (OSError, ValueError, IndexError) as error:
        raise DataError(f"{path} can't be read: {error}; it should be a CSV or a Parquet file.") from None
