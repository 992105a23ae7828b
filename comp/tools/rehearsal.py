"""A rehearsal: a competition of one's own labelled images, part of them hidden, from download to leaderboard.

It is served by a Kaggle on this machine, which is the only one that it can speak to.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from comp.console import Console
from comp.data.data_check import checked_tables
from comp.data.own_images import as_columns, numbered
from comp.data.readers import files_of
from comp.data.splitting import draw_hidden
from comp.data.tables import Tables, first_rows
from comp.declare.columns import in_table
from comp.declare.competition import Competition
from comp.declare.forms import Numbers, ProbabilityPerClass
from comp.declare.labels.columns import CsvColumns, CsvImages, CsvLabels, CsvNumbers
from comp.declare.labels.csv import read_csv
from comp.declare.labels.files import TestImages
from comp.declare.labels.given import WithExtra
from comp.declare.labels.table import LabelSource
from comp.declare.reading import Channels
from comp.errors import DataError
from comp.files import numbered_folder
from comp.local_kaggle.grading import graders
from comp.local_kaggle.server import running
from comp.runs import Run, Workspace
from comp.submission.postprocessing import error_of, untuned
from comp.submission.submission import compared, exact_predictions

Rows = npt.NDArray[np.bool_]

# The column of a rehearsal's labels that says which rows only train, where some do.
EXTRA = "only trains"
SEPARATORS = (" ", ",", ";", "|", "\t", "\x1f")
# Not the number that the split of those that are left is drawn from.
HIDING = 7919


@dataclass(frozen=True)
class Rehearsal:
    """A rehearsal under way.

    competition: as it is served meanwhile. workspace: its own, which speaks to that Kaggle only. groups: of the hidden
    images (N,), where there are any. hidden, known: how many images are hidden, and how many there are to learn from.
    """

    competition: Competition
    workspace: Workspace
    answers: Path
    groups: npt.NDArray[Any] | None
    hidden: int
    known: int

    def judge(self, run: Run, console: Console) -> None:
        """Say and record what the run's submission lets one expect."""
        competition = self.competition
        judged = compared(competition, read_csv(self.answers), read_csv(run.submission))
        answers = len(judged[0])
        hidden = f"{answers} hidden {'images' if answers == self.hidden else 'answers'}"
        targets, predictions, classes = judged
        score = competition.scoring(*judged)
        error = float(
            error_of(lambda some: competition.scoring(targets[some], predictions[some], classes), answers, self.groups)
        )
        # Where all of them score alike, or some can't be scored, they say nothing of how far off that is.
        tells = 0 < error < float("inf")
        found = {"score": score, "standard_error": error if tells else None}
        run.write_record("rehearsal", {**found, "hidden": self.hidden, "known": self.known})
        how_sure = (
            f"± {error:.5f} on the leaderboard, by {hidden}"
            if tells
            else f"on the leaderboard, but {hidden} don't tell how far off that may be; hide more (--share)"
        )
        console.say(f"expect {competition.scoring.name} {score:.5f} {how_sure}")
        if (validation := run.record("scores").get("tuned")) is not None:
            console.say(f"validation had said {validation:.5f}")
        console.say(
            f"{self.known} images were there to learn from, and will be {self.known + self.hidden}; the real test "
            "images may be of another kind"
        )


@contextmanager
def rehearsal(
    competition: Competition, workspace: Workspace, share: float, seed: int, console: Console
) -> Iterator[Rehearsal]:
    """The competition with a share of its labelled images hidden, on a Kaggle that is there as long as the block lasts.

    The data must have been downloaded; they and the runs on them stay as they are. All of it lies in a folder of its
    own below ``rehearsals/``, of which the runs are kept.

    Raises RunError where the data aren't here, DataError where they can't be split.
    """
    tables = checked_tables(competition, workspace, console)
    hidden = which_hide(tables, share, seed)
    count, known = int(hidden.sum()), int((~hidden).sum())
    folder = numbered_folder(workspace.rehearsals / competition.name)
    served = folder / "served"
    try:
        rehearsed = serve_rest(competition, tables, hidden, served)
        console.say(f"rehearsal of {competition.name}: {count} of {len(hidden)} labelled images are hidden")
        if competition.postprocess is not None:
            console.say("`postprocess` is left out: in a rehearsal ids are others")
        with running(served, graders([rehearsed]), folder / "state") as url:
            of_answers = tables.answers.groups
            groups = None if of_answers is None else of_answers[hidden[first_rows(tables.train)]]
            answers = served / ".answers" / f"{competition.kaggle}.csv"
            yield Rehearsal(rehearsed, Workspace(folder, kaggle=url), answers, groups, count, known)
    finally:
        for place in ("served", "state", "data", "cache"):
            shutil.rmtree(folder / place, ignore_errors=True)
        if not (folder / "runs").is_dir():
            shutil.rmtree(folder, ignore_errors=True)


def which_hide(tables: Tables, share: float, seed: int) -> Rows:
    """True for the rows (N,) that are hidden: drawn as those that validate are, and no class is hidden whole."""
    return draw_hidden(tables.targets, share, seed + HIDING, tables.may_validate, *tables.kept_together)


def serve_rest(competition: Competition, tables: Tables, hidden: Rows, served: Path) -> Competition:
    """Lay out the files of the rehearsed competition, images as links, and give its declaration.

    Only where labels and images are differs from the real one: they lie as simply as can be, whatever the real layout.
    """
    place = served / competition.kaggle
    id_column, *columns = tables.sample_submission.columns
    if tables.sample_submission.parts is not None:
        wide = Numbers() if competition.submission.takes == "numbers" else ProbabilityPerClass()
        competition, columns = replace(competition, submission=wide), list(tables.classes)
    ids = [f"{number:0{len(str(len(hidden)))}}" for number in range(len(hidden))]
    files, read = [], competition.read
    for id_, path, hides in zip(ids, map(Path, tables.train["path"]), hidden, strict=True):
        endings = read.suffixes if isinstance(read, Channels) else [path.suffix.lower()]
        files.append(id_ + endings[0])
        for file, ending in zip(files_of(path, read), endings, strict=True):
            target = place / ("test" if hides else "train") / (id_ + ending)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(file.resolve())
    # Only ordinary images are found in a folder without it.
    suffix = "" if read == "images" else files[0][len(ids[0]) :]
    files = [file.removesuffix(suffix) for file in files]
    numbers = numbered(tables.train["answer"]) if "answer" in tables.train else None
    labels = _write_labels(competition, tables, files, numbers, hidden, place, suffix)
    names = np.unique(np.array(numbers or ids)[hidden])
    test: TestImages | CsvImages = TestImages("test", suffix=suffix)
    if numbers is not None:
        test = CsvImages("test.csv", image="image", folder="test", suffix=suffix, answer="answer")
        pd.DataFrame({"image": files, "answer": numbers})[hidden].to_csv(place / "test.csv", index=False)
    truth = exact_predictions(competition, tables.classes, tables.answered(hidden.nonzero()[0])[0])
    even = untuned(competition, tables.classes)(np.full((len(names), len(tables.classes)), 1 / len(tables.classes)))
    answers = served / ".answers" / f"{competition.kaggle}.csv"
    answers.parent.mkdir()
    for predictions, path in ((truth, answers), (even, place / competition.sample_submission)):
        path.parent.mkdir(parents=True, exist_ok=True)
        values = competition.submission.encode(predictions, tables.classes, columns)
        values.insert(0, id_column, names)
        values.to_csv(path, index=False)
    given = competition.columns
    if given is not None:
        written = pd.DataFrame({"image": files, **{name: tables.train[in_table(name)] for name in given.names}})
        written.to_csv(place / "columns.csv", index=False)
        given = replace(given, train="columns.csv", test="columns.csv", image="image")
    return replace(competition, labels=labels, test=test, columns=given, extra_data=(), prepare=(), postprocess=None)


def _write_labels(
    competition: Competition,
    tables: Tables,
    files: Sequence[str],
    answers: Sequence[str] | None,
    hidden: Rows,
    place: Path,
    suffix: str,
) -> LabelSource:
    """The labels of the rows that aren't hidden, as a CSV that is read back alike."""
    target, separator = competition.target, None
    if target == "multi":
        separator = next((mark for mark in SEPARATORS if not any(mark in name for name in tables.classes)), None)
        if separator is None:
            raise DataError("The names of the tags have every separator in them; rename one to rehearse.")
    known = as_columns(tables.train["label"][~hidden].to_list(), target, separator)
    given = {"group": tables.groups, "answer": answers}
    given = {name: np.array(values)[~hidden] for name, values in given.items() if values is not None}
    able = tables.may_validate[~hidden]
    only_train = {} if able.all() else {EXTRA: ~able}
    written = pd.DataFrame({"image": np.array(files)[~hidden], **known, **given, **only_train})
    written.to_csv(place / "train.csv", index=False)
    where: dict[str, Any] = {"csv": "train.csv", "image": "image", "folder": "train", "suffix": suffix}
    where |= {name: name for name in given}
    labels: CsvNumbers | CsvColumns | CsvLabels
    if target == "number":
        labels = CsvNumbers(values=tables.classes, bounds=getattr(competition.labels, "bounds", None), **where)
    elif target in ("shares", "fractions"):
        labels = CsvColumns(labels=tables.classes, target=target, **where)
    else:
        labels = CsvLabels(label="label", separator=separator, **where)
    if not only_train:
        return labels
    return WithExtra(*(replace(labels, shared=True, where=(EXTRA, extra)) for extra in ("False", "True")))
