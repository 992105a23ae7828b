"""Submission forms: how predictions are written in a competition's CSV, and read back to grade or check them.

Each form names its kind of predictions (`takes`), turns predictions into the columns after the id (`encode`) and back
(`decode`). ``decode(encode(x))`` gives x, for probabilities to the digits written.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Protocol, runtime_checkable

from comp.declare.checks import Declared, between, matching
from comp.declare.labels.csv import RowName, parts_of_rows
from comp.declare.labels.table import in_order
from comp.declare.metrics import TARGETS_OF, Kind, Target
from comp.errors import SubmissionError

if TYPE_CHECKING:
    import pandas as pd

    from comp.declare.metrics import Predictions


@runtime_checkable
class SubmissionForm(Protocol):
    """How predictions are written; a custom form needs no more than this.

    Where ids name an image and a column, the form also has a method `parts`, which splits ids (N,) into both, a
    DataFrame (N, 2); `encode` and `decode` then have a row for each image, with these columns side by side."""

    @property
    def takes(self) -> Kind:
        """The kind of predictions, the same as the metric's."""

    @property
    def targets(self) -> Sequence[Target]:
        """The targets that the form is for."""

    def encode(self, predictions: Predictions, classes: Sequence[str], columns: Sequence[str], /) -> pd.DataFrame:
        """Return a row per prediction with the sample submission's columns after the id; raises SubmissionError."""

    def decode(self, frame: pd.DataFrame, classes: Sequence[str], /) -> Predictions:
        """Return the predictions that `encode` wrote in these columns, numbers or text; raises SubmissionError."""

    def classes_in(self, *frames: pd.DataFrame) -> tuple[str, ...]:
        """Return the classes found in the columns of answers, then submission, as text: a grader knows nothing else."""


@dataclass(frozen=True)
class ProbabilityOf(Declared):
    """One column: the probability of one of two classes (dogs-vs-cats: ``id,label``)."""

    label: str
    takes: ClassVar[Kind] = "probabilities"
    targets: ClassVar[tuple[Target, ...]] = ("single",)

    def encode(self, predictions: Predictions, classes: Sequence[str], columns: Sequence[str]) -> pd.DataFrame:
        return _one_column(columns, predictions[:, self._index(classes)])

    def decode(self, frame: pd.DataFrame, classes: Sequence[str]) -> Predictions:
        index = self._index(classes)
        probabilities = _probabilities(_only(frame).to_frame())[:, [0, 0]]
        probabilities[:, 1 - index] = 1 - probabilities[:, index]
        return probabilities

    def classes_in(self, *_frames: pd.DataFrame) -> tuple[str, ...]:
        return (f"not {self.label}", self.label)

    def _index(self, classes: Sequence[str]) -> int:
        if len(classes) != 2 or self.label not in classes:
            raise SubmissionError(
                f"ProbabilityOf: `label` is {self.label!r}, but the data have {len(classes)} classes, "
                f"{', '.join(in_order(classes)[:10])}; it should be one of exactly two: Renamed can join several."
            )
        return list(classes).index(self.label)


@dataclass(frozen=True)
class ProbabilityPerClass(Declared):
    """A column per class in the sample submission's order.

    column: a column's name with ``{class}`` in it, like ``class_{class}``; by default the class name itself.

    For one class per image the probabilities of a row sum to one; for tags each column stands alone.
    """

    column: Annotated[str, matching(r".*\{class\}.*"), "text with {class} in it, like 'class_{class}'"] = "{class}"
    takes: ClassVar[Kind] = "probabilities"
    targets: ClassVar[tuple[Target, ...]] = TARGETS_OF["probabilities"]

    def encode(self, predictions: Predictions, classes: Sequence[str], columns: Sequence[str]) -> pd.DataFrame:
        _require_columns(columns, self._columns(classes))
        return _a_column_each(predictions, self._columns(classes), columns)

    def decode(self, frame: pd.DataFrame, classes: Sequence[str]) -> Predictions:
        _require_columns(list(frame.columns), self._columns(classes))
        return _probabilities(frame[self._columns(classes)])

    def classes_in(self, *frames: pd.DataFrame) -> tuple[str, ...]:
        before, _, after = self.column.partition("{class}")
        return tuple(column.removeprefix(before).removesuffix(after) for column in frames[0].columns)

    def _columns(self, classes: Sequence[str]) -> list[str]:
        return [self.column.replace("{class}", name) for name in classes]


@dataclass(frozen=True)
class ProbabilityPerRow(Declared):
    """One column, with a row for each image and class (rsna-intracranial-hemorrhage: ``ID_0a3_epidural,0.5``).

    labels: the names of the classes. row: the pattern of an id that names image and class.
    """

    labels: Annotated[Sequence[str], between(2), "a list of at least two names"]
    row: RowName = "{id}_{class}"
    takes: ClassVar[Kind] = "probabilities"
    targets: ClassVar[tuple[Target, ...]] = TARGETS_OF["probabilities"]

    def parts(self, ids: pd.Series[str]) -> pd.DataFrame:
        return parts_of_rows(ids, self.row, self.labels)

    def encode(self, predictions: Predictions, classes: Sequence[str], columns: Sequence[str]) -> pd.DataFrame:
        _require_columns(self.labels, classes)
        return _a_column_each(predictions, classes, columns)

    def decode(self, frame: pd.DataFrame, _classes: Sequence[str]) -> Predictions:
        return _probabilities(frame)

    def classes_in(self, *frames: pd.DataFrame) -> tuple[str, ...]:
        return tuple(label for label in self.labels if label in frames[0])


@dataclass(frozen=True)
class NumberPerRow(ProbabilityPerRow):
    """One column, with a row for each image and number (csiro-biomass: ``ID1011__Dry_Green_g,16.2``)."""

    takes: ClassVar[Kind] = "numbers"
    targets: ClassVar[tuple[Target, ...]] = TARGETS_OF["numbers"]

    def decode(self, frame: pd.DataFrame, _classes: Sequence[str]) -> Predictions:
        return _numbers(frame)


@dataclass(frozen=True)
class ClassName:
    """One column: the name of the predicted class."""

    takes: ClassVar[Kind] = "classes"
    targets: ClassVar[tuple[Target, ...]] = ("single",)

    def encode(self, predictions: Predictions, classes: Sequence[str], columns: Sequence[str]) -> pd.DataFrame:
        return _one_column(columns, [classes[index] for index in predictions])

    def decode(self, frame: pd.DataFrame, classes: Sequence[str]) -> Predictions:
        return _indices(_only(frame), classes)

    def classes_in(self, *frames: pd.DataFrame) -> tuple[str, ...]:
        return in_order({name for frame in frames for name in _only(frame)})


@dataclass(frozen=True)
class ClassNumber(Declared):
    """One column: the number of the predicted class, counted from 0 in this order (dogs-vs-cats: a dog is 1)."""

    labels: Annotated[Sequence[str], between(2), "the names of at least two classes, in the order of their numbers"]
    takes: ClassVar[Kind] = "classes"
    targets: ClassVar[tuple[Target, ...]] = ("single",)

    def encode(self, predictions: Predictions, classes: Sequence[str], columns: Sequence[str]) -> pd.DataFrame:
        self._require_all(classes)
        number = {name: number for number, name in enumerate(self.labels)}
        return _one_column(columns, [number[classes[index]] for index in predictions])

    def decode(self, frame: pd.DataFrame, classes: Sequence[str]) -> Predictions:
        import numpy as np

        self._require_all(classes)
        numbers = _indices(_only(frame).astype(str), [str(number) for number in range(len(self.labels))])
        return np.array([classes.index(name) for name in self.labels])[numbers]

    def classes_in(self, *_frames: pd.DataFrame) -> tuple[str, ...]:
        return tuple(self.labels)

    def _require_all(self, classes: Sequence[str]) -> None:
        if set(classes) != set(self.labels):
            raise SubmissionError(
                f"ClassNumber: `labels` are {', '.join(self.labels[:20])}, but the data's classes are "
                f"{', '.join(classes[:20])}; they should be the same, in the order of their numbers."
            )


class _Separated(Declared):
    """One column of words with a separator between them: class names, or a class name and its confidence."""

    separator: str
    names: ClassVar[int | None] = None  # the number of a row's first words that are classes; None: all

    def encode(self, predictions: Predictions, classes: Sequence[str], columns: Sequence[str]) -> pd.DataFrame:
        unfit = [name for name in classes if self.separator in name]
        if unfit:
            raise SubmissionError(
                f"{type(self).__name__}: `separator` is {self.separator!r}, but the class {unfit[0]!r} contains it; "
                "set it to what stands between names in the sample submission, and check the label source's separator."
            )
        return _one_column(columns, [self.separator.join(self._words(row, classes)) for row in predictions])

    def classes_in(self, *frames: pd.DataFrame) -> tuple[str, ...]:
        return in_order({name for frame in frames for row in self._rows(frame) for name in row[: self.names]})

    def _words(self, row: Predictions, classes: Sequence[str]) -> list[str]:
        raise NotImplementedError

    def _rows(self, frame: pd.DataFrame) -> list[list[str]]:
        return [[part for part in text.split(self.separator) if part] for text in _only(frame)]


@dataclass(frozen=True)
class TagNames(_Separated):
    """One column: the names of the predicted tags with a separator between them (planet: ``primary clear``)."""

    separator: str = " "
    takes: ClassVar[Kind] = "tags"
    targets: ClassVar[tuple[Target, ...]] = ("multi",)

    def _words(self, row: Predictions, classes: Sequence[str]) -> list[str]:
        return [name for name, present in zip(classes, row, strict=True) if present]

    def decode(self, frame: pd.DataFrame, classes: Sequence[str]) -> Predictions:
        import numpy as np

        tags = np.zeros((len(frame), len(classes)), dtype=np.int64)
        for number, row in enumerate(_numbered(self._rows(frame), classes)):
            tags[number, row] = 1
        return tags


@dataclass(frozen=True)
class TopClasses(_Separated):
    """One column: the names of the most probable classes, the best first (whales: ``TopClasses(5)`` for MAP@5)."""

    count: Annotated[int, between(1)]
    separator: str = " "
    takes: ClassVar[Kind] = "ranking"
    targets: ClassVar[tuple[Target, ...]] = ("single",)

    def _words(self, row: Predictions, classes: Sequence[str]) -> list[str]:
        return [classes[index] for index in row if index >= 0]

    def decode(self, frame: pd.DataFrame, classes: Sequence[str]) -> Predictions:
        import numpy as np

        ranking = np.full((len(frame), self.count), -1)
        for number, row in enumerate(_numbered(self._rows(frame), classes)):
            if len(row) > self.count:
                odd = _only(frame).iloc[number]
                raise SubmissionError(f"A row should have {self.count} classes at most, but {odd!r} was found.")
            ranking[number, : len(row)] = row
        return ranking


@dataclass(frozen=True)
class ClassWithConfidence(_Separated):
    """One column: the predicted class's name and its confidence (landmarks: ``8815 0.03``); empty for no class."""

    separator: str = " "
    takes: ClassVar[Kind] = "confidence"
    targets: ClassVar[tuple[Target, ...]] = ("single",)
    names: ClassVar[int | None] = 1

    def _words(self, row: Predictions, classes: Sequence[str]) -> list[str]:
        index, confidence = row
        return [classes[int(index)], f"{confidence:.9g}"] if index >= 0 else []

    def decode(self, frame: pd.DataFrame, classes: Sequence[str]) -> Predictions:
        import numpy as np
        import pandas as pd

        rows = self._rows(frame)
        if odd := next((self.separator.join(row) for row in rows if len(row) > 2), None):
            raise SubmissionError(f"A row should have a class and its confidence, but {odd!r} was found.")
        known = [row[0] if row else -1 for row in _numbered((row[:1] for row in rows), classes)]
        # Answers have no confidence: a class counts as 1, none as 0.
        confidences = [row[1] if len(row) > 1 else str(len(row)) for row in rows]
        return np.stack([known, _probabilities(pd.DataFrame({"confidence": confidences}, frame.index))[:, 0]], axis=1)


@dataclass(frozen=True)
class Numbers:
    """A column per number, of the same name, in the sample submission's order; a single column may have any name."""

    takes: ClassVar[Kind] = "numbers"
    targets: ClassVar[tuple[Target, ...]] = TARGETS_OF["numbers"]

    def encode(self, predictions: Predictions, classes: Sequence[str], columns: Sequence[str]) -> pd.DataFrame:
        if len(classes) == len(columns) == 1:
            return _one_column(columns, predictions[:, 0])
        _require_columns(columns, classes, numbers=True)
        return _a_column_each(predictions, classes, columns)

    def decode(self, frame: pd.DataFrame, classes: Sequence[str]) -> Predictions:
        if len(classes) == len(frame.columns) == 1:
            return _numbers(frame)
        _require_columns(list(frame.columns), classes, numbers=True)
        return _numbers(frame[list(classes)])

    def classes_in(self, *frames: pd.DataFrame) -> tuple[str, ...]:
        return tuple(frames[0].columns)


OF_PROBABILITIES = (ProbabilityOf, ProbabilityPerClass, ProbabilityPerRow, ClassWithConfidence)
OF_NAMES = (ClassName, ClassNumber, TagNames, TopClasses, Numbers, NumberPerRow)
FORMS = {form.__name__: form for form in (*OF_PROBABILITIES, *OF_NAMES)}


def _one_column(columns: Sequence[str], values: Any) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame({_only_one(columns): values})


def _a_column_each(predictions: Predictions, names: Sequence[str], columns: Sequence[str]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(predictions, columns=list(names))[list(columns)]


def _only(frame: pd.DataFrame) -> pd.Series[Any]:
    return frame[_only_one(list(frame.columns))]


def _only_one(columns: Sequence[str]) -> str:
    if len(columns) != 1:
        raise SubmissionError(
            f"The sample submission has {len(columns)} columns after the id ({', '.join(columns[:5])}), "
            "but the declared submission form writes one; declare ProbabilityPerClass() for a column per class."
        )
    return columns[0]


def _indices(names: Sequence[str] | pd.Series[str], classes: Sequence[str]) -> Predictions:
    import numpy as np

    return np.array([row[0] for row in _numbered(([name] for name in names), classes)], dtype=np.intp)


def _numbered(rows: Iterable[Sequence[str]], classes: Sequence[str]) -> list[list[int]]:
    """The class indices of the names in each row."""
    index, rows = {name: number for number, name in enumerate(classes)}, list(rows)
    unknown = sorted({name for row in rows for name in row} - index.keys())
    if unknown:
        raise SubmissionError(
            f"{unknown[0]!r} is not a class of the training data, whose classes are {', '.join(classes[:20])}; the "
            "answers should use these names: check the label source and `submission` in competition.py."
        )
    return [[index[name] for name in row] for row in rows]


def _require_columns(columns: Sequence[str], classes: Sequence[str], *, numbers: bool = False) -> None:
    missing, extra = sorted(set(classes) - set(columns)), sorted(set(columns) - set(classes))
    if len(columns) == 1 and extra and not numbers:
        raise SubmissionError(
            f"The sample submission has one column after the id, {columns[0]!r}, but the declared form writes one for "
            f"each of {len(classes)}; declare ProbabilityOf(class) where it holds the probability of one class."
        )
    if missing or extra:
        what, no = ("labels' numbers", "not in `values`") if numbers else ("classes of the training data", "no class")
        both = ((missing, "missing"), (extra, no))
        odd = [f"{', '.join(some[:5])} {'is' if len(some) == 1 else 'are'} {why}" for some, why in both if some]
        raise SubmissionError(
            f"The columns after the id should be the {what}, but {' and '.join(odd)}; check the label source and "
            "`submission` in competition.py."
        )


def _numbers(frame: pd.DataFrame) -> Predictions:
    """The numbers (N, C), all finite; raises SubmissionError for others."""
    import numpy as np
    import pandas as pd

    numbers: Predictions = frame.apply(pd.to_numeric, errors="coerce").to_numpy(dtype=np.float64)
    bad = np.argwhere(~np.isfinite(numbers))
    if len(bad):
        (row, column), name = bad[0], frame.index[bad[0][0]]
        where = f"the row of {name!r}" if isinstance(name, str) else f"data row {name + 1}"
        held = f"Column {frame.columns[column]!r} holds {frame.iloc[row, column]!r} in {where}"
        raise SubmissionError(f"{held}, but it should hold a number.")
    return numbers


def _probabilities(frame: pd.DataFrame) -> Predictions:
    numbers = _numbers(frame)
    outside = numbers[(numbers < 0) | (numbers > 1)]
    if outside.size:
        raise SubmissionError(f"Probabilities should be from 0 to 1, but {outside.flat[0]:g} was found.")
    return numbers
