"""The submission: exactly the ids, order and columns of the sample submission, checked before it is written.

Rows as numbers and text take many times the memory of their predictions, so a submission is made, checked, written and
read back in blocks of rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from comp.declare.competition import Competition
from comp.declare.forms import FORMS, SubmissionForm
from comp.declare.labels.csv import read_csv_in_blocks, read_ids
from comp.errors import CompError, DeclarationError, SubmissionError
from comp.files import replacing
from comp.runs import Run, tag_of

ROUNDING = 1e-3
# The approximate number of values in a block of rows.
CELLS = 1 << 21
# The number of labels, or of rows of the sample submission, that a form is tried on.
LABELS_TRIED = 200


@dataclass(frozen=True)
class SampleSubmission:
    """The columns of a sample submission, the ids' first, and its ids (N,) as text.

    parts: where ids name an image and a column, both (N, 2), in columns 0 and 1: the file has a row for each image and
        column, but the form writes a row for each image.
    order: the columns in the file's order, where the ids' is not the first.
    """

    columns: Sequence[str]
    ids: pd.Series[str]
    order: Sequence[str] = ()
    parts: pd.DataFrame | None = None

    @property
    def asked(self) -> pd.Series[str]:
        """The id of the image or answer to predict for each row (N,)."""
        return self.ids if self.parts is None else self.parts[0]

    def written(self, classes: Sequence[str]) -> list[str]:
        """The columns after the id that a form writes, the classes among them in the classes' order."""
        return list(self.columns[1:]) if self.parts is None else in_class_order(self.parts[1], classes)

    @property
    def header(self) -> list[str]:
        return list(self.order or self.columns)


@dataclass(frozen=True)
class Submission:
    """Predictions in the sample submission's rows and columns.

    predictions: (R, …), as the competition's form takes them. indices: for each row, that of its prediction (N,).
    """

    competition: Competition
    classes: Sequence[str]
    sample_submission: SampleSubmission
    predictions: npt.NDArray[Any]
    indices: npt.NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.indices)

    def blocks(self, cells: int = CELLS) -> Iterator[pd.DataFrame]:
        """Yield the rows in blocks of about this many values, indexed by row number."""
        sample, form = self.sample_submission, self.competition.submission
        columns = sample.written(self.classes)
        # The predictions in memory count too: a form may write one class of many.
        rows = max(1, cells // max(len(columns), self.predictions[:1].size))
        for start in range(0, len(self), rows):
            chosen = slice(start, start + rows)
            images, of_rows = np.unique(self.indices[chosen], return_inverse=True)
            block = _encoded(form, self.predictions[images], self.classes, columns).iloc[of_rows]
            if sample.parts is not None:
                places = block.columns.get_indexer(pd.Index(sample.parts[1].iloc[chosen]))
                block = pd.DataFrame({sample.columns[1]: block.to_numpy()[np.arange(len(block)), places]})
            block.insert(0, sample.columns[0], sample.ids.iloc[chosen].to_list())
            yield block[sample.header].set_axis(range(start, start + len(block)), axis=0)


def read_sample_submission(path: Path, id_column: str = "", form: SubmissionForm | None = None) -> SampleSubmission:
    """Read the ids and columns of the sample submission. Raises SubmissionError if it can't be one.

    id_column: the column of ids; if empty, the first. form: the submission form, whose `parts`, if any, splits the ids.
    """
    columns, ids = read_ids(path, id_column)
    if len(columns) < 2 or ids.empty:
        raise SubmissionError(f"{path} has {len(columns)} columns and {len(ids)} rows; it isn't a sample submission.")
    doubled = ids[ids.duplicated()]
    if len(doubled):
        raise SubmissionError(f"{path} has the id {doubled.iloc[0]!r} more than once.")
    others = tuple(column for column in columns if column != ids.name)
    order = () if columns[0] == ids.name else columns
    parts = parts_of(form, ids) if form is not None and hasattr(form, "parts") else None
    if parts is not None and len(others) > 1:
        raise SubmissionError(
            f"{path} has {len(others)} columns beside the id ({', '.join(others[:5])}), but the ids of "
            f"{type(form).__name__} name the columns, so there should be one; check `submission` in competition.py."
        )
    return SampleSubmission((str(ids.name), *others), ids, order, parts)


def parts_of(form: SubmissionForm, ids: pd.Series[str]) -> pd.DataFrame:
    """The image and the column (N, 2) that each id names, indexed as the ids; raises DeclarationError for bad ones."""
    parts = of_form(form, "parts", ids)
    asked = f"Competition: `submission` is {type(form).__name__}: `parts` of the form should return a DataFrame (N, 2)"
    if not isinstance(parts, pd.DataFrame) or parts.shape != (len(ids), 2):
        found = f"{type(parts).__name__} {getattr(parts, 'shape', '')}".strip()
        raise DeclarationError(f"{asked} of the image and the column of {len(ids)} ids, but it returns a {found}.")
    wrong = (parts.isna().any(axis=1) | parts.duplicated()).to_numpy()
    if wrong.any():
        raise DeclarationError(
            f"{asked} with an image and a column for each id, no two rows the same, but for {ids[wrong].iloc[0]!r} it "
            f"has {tuple(parts[wrong].iloc[0])}."
        )
    return parts.set_axis([0, 1], axis=1).set_axis(ids.index)


def in_class_order(names: pd.Series[str], classes: Sequence[str]) -> list[str]:
    """The distinct names: classes in their order, then others as they come."""
    places = {name: place for place, name in enumerate(classes)}
    return sorted(names.unique().tolist(), key=lambda name: places.get(name, len(places)))


def _encoded(
    form: SubmissionForm, predictions: npt.NDArray[Any], classes: Sequence[str], columns: Sequence[str]
) -> pd.DataFrame:
    """The form's rows, one for each prediction; raises SubmissionError where a column is missing."""
    block, name = of_form(form, "encode", predictions, classes, columns), type(form).__name__
    if not isinstance(block, pd.DataFrame) or len(block) != len(predictions):
        found = f"{type(block).__name__} {getattr(block, 'shape', '')}".strip()
        raise DeclarationError(
            f"Competition: `submission` is {name}, whose `encode` returns a {found}, but it should return a DataFrame "
            f"with {len(predictions)} rows, one for each prediction."
        )
    if missing := [column for column in columns if column not in block]:
        raise SubmissionError(
            f"The sample submission asks for {missing[0]!r}, but {name} writes "
            f"{', '.join(map(str, block.columns[:10]))}; check `submission` and the classes' names."
        )
    return block


def build_submission(
    competition: Competition,
    classes: Sequence[str],
    sample_submission: SampleSubmission,
    ids: Sequence[str],
    predictions: npt.NDArray[Any],
) -> Submission:
    """Put predictions by id into the sample submission's rows and columns; raises SubmissionError if they don't fit."""
    indices = _indices(sample_submission, ids)
    submission = Submission(competition, classes, sample_submission, predictions, indices)
    _check(submission.blocks(), competition, classes, sample_submission)
    return submission


def must_fit(
    competition: Competition,
    classes: Sequence[str],
    sample_submission: SampleSubmission,
    ids: Sequence[str],
    prediction: npt.NDArray[Any],
) -> None:
    """Raise SubmissionError where no submission could be built for these ids, each with the same prediction (1, …)."""
    _encoded(competition.submission, prediction, classes, sample_submission.written(classes))
    _indices(sample_submission, ids, "image")
    all_ids, parts = sample_submission.ids, sample_submission.parts
    first = all_ids.index[:1] if parts is None else parts.index[~parts[1].duplicated()]  # one row for each column
    some = replace(sample_submission, ids=all_ids[first], parts=None if parts is None else parts.loc[first])
    images = some.asked.unique().tolist()
    build_submission(competition, classes, some, images, np.repeat(prediction, len(images), axis=0))


def _indices(
    sample_submission: SampleSubmission, ids: Sequence[str], lacking: str = "prediction"
) -> npt.NDArray[np.intp]:
    """The index in ``ids`` of each id of the sample submission; raises SubmissionError for missing or repeated ids."""
    asked, known = sample_submission.asked, pd.Index(ids)
    if len(missing := asked[~asked.isin(known)]):
        raise SubmissionError(
            f"{len(missing)} of the sample submission's {len(asked)} ids have no {lacking}, "
            f"the first {missing.iloc[0]!r}" + (f"; there are ids like {known[0]!r}." if len(known) else ".")
        )
    if not known.is_unique:
        raise SubmissionError(f"The id {known[known.duplicated()][0]!r} was predicted more than once.")
    return known.get_indexer(pd.Index(asked))


def misread(
    competition: Competition, classes: Sequence[str], sample_submission: SampleSubmission, targets: npt.NDArray[Any]
) -> str:
    """A warning where a custom form reads back other labels than it wrote; empty where it reads the same.

    This finds a form that confuses the order of the classes, which no validation score shows.
    """
    form, some = competition.submission, targets[:LABELS_TRIED]
    if type(form) in FORMS.values() or not len(some):
        return ""
    given = exact_predictions(competition, classes, some)
    columns = sample_submission.written(classes)
    found = np.asarray(of_form(form, "decode", _encoded(form, given, classes, columns)[columns], classes))
    if form.takes == "ranking" and found.ndim == 2:
        found = found[:, :1]
    wrong = len(given)
    if found.shape == given.shape and found.dtype.kind in "biuf":
        differ = ~np.isclose(found, given, rtol=1e-3, atol=0.49)
        wrong = int(differ.reshape(len(given), -1).any(axis=1).sum())
    if not wrong:
        return ""
    return (
        f"{type(form).__name__} reads {wrong} of {len(given)} labels back as others than it wrote; check that its "
        f"`encode` and `decode` take the classes in their order: {', '.join(classes[:10])}"
    )


def unlike_form(competition: Competition, classes: Sequence[str], sample: SampleSubmission, path: Path) -> str:
    """A warning where the form can't read the sample submission's first values; empty where it can.

    This finds another separator, or numbers where the form writes names, before a leaderboard does.
    """
    blocks = read_csv_in_blocks(path, LABELS_TRIED * len(sample.columns))
    values = next(block for block in blocks if len(block))[list(sample.columns[1:])]
    if sample.parts is not None or (values == "").any(axis=None):  # empty values show nothing
        return ""
    try:
        of_form(competition.submission, "decode", values, classes)
    except CompError as error:
        form = type(competition.submission).__name__
        return f"the sample submission has values that {form} doesn't write, so `submission` may be wrong: {error}"
    return ""


def keep_submission(submission: Submission, run: Run) -> None:
    """Write a run's submission.csv, and its fingerprint into the run's scores, so that a later edit shows."""
    with replacing(run.submission) as unfinished:
        write_submission(submission, unfinished)
        # Before the file gets its name: else a kill in between would look like an edit.
        run.write_record("scores", {**run.record("scores"), "submission": tag_of(unfinished)})


def write_submission(submission: Submission, path: Path, cells: int = CELLS) -> None:
    """Write the CSV in blocks. cells: the approximate number of values in a block."""
    with replacing(path) as unfinished, unfinished.open("w", encoding="utf-8", newline="") as file:
        for number, block in enumerate(submission.blocks(cells)):
            block.to_csv(file, index=False, header=number == 0, float_format="%.9g", lineterminator="\n")


def check_submission(
    competition: Competition, classes: Sequence[str], sample_submission: SampleSubmission, path: Path
) -> None:
    """Raise SubmissionError unless a CSV has the sample submission's columns and ids, and values that the form allows.

    Raises DataError for a file that can't be read.
    """
    try:
        _check(read_csv_in_blocks(path, CELLS), competition, classes, sample_submission)
    except SubmissionError as error:
        raise SubmissionError(f"{path} can't be submitted; `comp predict` writes it anew: {error}") from None


def _check(
    blocks: Iterable[pd.DataFrame],
    competition: Competition,
    classes: Sequence[str],
    sample_submission: SampleSubmission,
) -> None:
    columns, asked, checked = sample_submission.columns, sample_submission.ids, 0
    values: list[Any] = []  # where ids name an image and a column: all values of the file
    for block in blocks:
        if list(block.columns) != sample_submission.header:
            raise SubmissionError(
                f"The columns are {', '.join(block.columns[:5])}, but the sample submission's are "
                f"{', '.join(sample_submission.header[:5])}."
            )
        ids, expected = block[columns[0]].astype(str), asked[checked : checked + len(block)]
        if not np.array_equal(ids.to_numpy(object), expected.to_numpy(object)):
            other = next((found for found, wanted in zip_longest(ids, expected) if found != wanted), None)
            raise SubmissionError(
                "The ids are not the sample submission's, each once and in its order; the first wrong one is "
                f"{other!r}."
            )
        if sample_submission.parts is not None:
            values += block[columns[1]].to_list()
        elif len(block):
            _check_values(block.drop(columns=columns[0]), ids, competition, classes)
        checked += len(block)
    if checked != len(asked):
        raise SubmissionError(f"There are {checked} rows, but the sample submission has {len(asked)}.")
    if sample_submission.parts is not None:
        rows = sample_submission.parts.assign(row=np.arange(checked)).pivot(index=0, columns=1, values="row")
        whole = rows.notna().all(axis=1)
        rows = pd.concat([rows[whole], rows[~whole]])[sample_submission.written(classes)]
        # A form reads all columns of an image: a column that isn't asked for gets the value of another image.
        filled = rows.ffill().bfill().astype(int)
        wide = filled.apply(lambda places: pd.Series(values).iloc[places].array)
        _check_values(wide, rows.index.to_series(), competition, classes, int(whole.sum()))


def _check_values(
    block: pd.DataFrame,
    ids: pd.Series[str],
    competition: Competition,
    classes: Sequence[str],
    whole: int | None = None,
) -> None:
    """Check what a form wrote, without the ids. whole: the number of first rows that have all of an image's columns."""
    decoded = of_form(competition.submission, "decode", block, classes)
    are_shares = competition.submission.takes == "probabilities" and competition.target in ("single", "shares")
    if are_shares and decoded.shape[1] == len(classes) and whole != 0:
        sums = decoded[:whole].sum(axis=1)
        worst = np.abs(sums - 1).argmax()
        if abs(sums[worst] - 1) > ROUNDING:
            raise SubmissionError(
                f"The probabilities of a row should sum to one, but those of {ids.iloc[worst]!r} "
                f"sum to {sums[worst]:.4f}."
            )


def of_form(form: SubmissionForm, method: str, *given: Any) -> Any:
    """Call a method of a competition's form; an unexpected error in it becomes a DeclarationError."""
    try:
        return getattr(form, method)(*given)
    except CompError:
        raise
    except Exception as error:
        raise DeclarationError(
            f"Competition: `submission` is {type(form).__name__}, whose `{method}` raises {type(error).__name__}: "
            f"{error}; it should raise nothing, or SubmissionError for what doesn't fit."
        ) from error


def exact_predictions(competition: Competition, classes: Sequence[str], targets: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The targets as predictions for the competition's form; `grading.compared` reads them back."""
    takes = competition.submission.takes
    if takes == "probabilities" and competition.target == "single":
        return np.eye(len(classes))[targets]
    if takes == "ranking":
        return targets[:, None]
    return np.stack([targets, np.ones(len(targets))], axis=1) if takes == "confidence" else targets
