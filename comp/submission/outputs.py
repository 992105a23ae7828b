"""Between a network's logits and predictions: the targets of a loss, and logits turned into predictions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.special import expit, log_softmax, softmax

from comp.declare.losses import OF_NUMBERS
from comp.declare.metrics import Target, grades_of
from comp.errors import DeclarationError

Array = npt.NDArray[Any]
Kind = Literal["softmax", "sigmoid", "numbers", "bounded", "grades", "ordinal"]


@dataclass(frozen=True)
class Outputs:
    """How logits (N, V, width) stand for predictions (N, C): probabilities, or numbers in their own unit.

    kind: ``softmax`` of classes; ``sigmoid`` of each; ``numbers``, standardised; ``bounded``, the sigmoid of a number
        between its bounds; ``grades``, one standardised number for classes that are numbers; or ``ordinal``, for each
        class but the last the logit that the true class is higher (Frank & Hall 2001, 10.1007/3-540-44795-4_13).
    classes: C. sums_to_one: the sigmoids of a row are divided by their sum.
    offset, scale: of each number (K,); the loss compares with ``(number - offset) / scale``.
    grades: the numbers that the classes (C,) stand for. bounds: the least and the greatest possible number.
    """

    kind: Kind
    classes: int
    sums_to_one: bool = False
    offset: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()
    grades: tuple[float, ...] = ()
    bounds: tuple[float, ...] = ()

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Outputs:
        """Make it from a config's record: the fields as JSON."""
        fields: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in record.items()
        }
        return cls(**fields)

    @property
    def width(self) -> int:
        """The number of logits of an image."""
        return {"grades": 1, "ordinal": self.classes - 1}.get(self.kind, self.classes)

    def compared(self, targets: Array) -> Array:
        """Turn targets, as tables have them, into those that a loss compares the logits (N, width) with."""
        if self.kind == "ordinal":
            return (targets[:, None] > np.arange(self.width)).astype(np.int64)
        if self.kind == "sigmoid" and targets.ndim == 1:
            return np.eye(self.classes, dtype=np.int64)[targets]
        if self.offset:
            numbers = np.array(self.grades)[targets][:, None] if self.kind == "grades" else targets
            scaled = (numbers - self.offset) / self.scale
            return (scaled.clip(0, 1) if self.kind == "bounded" else scaled).astype(np.float32)
        return targets if targets.dtype.kind == "i" else targets.astype(np.float32)

    def prior(self, targets: Array) -> npt.NDArray[np.float64]:
        """The constant logits (width,) that fit these rows best, finite by half a row more for each outcome."""
        found, rows = self.compared(targets), len(targets)
        if self.kind in ("numbers", "grades"):
            return np.zeros(self.width)
        counts = np.bincount(found, minlength=self.width) if found.ndim == 1 else found.sum(axis=0, dtype=np.float64)
        if self.kind == "softmax":
            return np.log((counts + 0.5) / (rows + 0.5 * self.width))
        share = (counts + 0.5) / (rows + 1)
        return np.log(share / (1 - share))

    def predictions(self, logits: Array) -> npt.NDArray[np.float64]:
        """Turn logits (N, V, width) into predictions (N, C), from the mean logits of an image's views.

        An uninformative view has little influence on mean logits, but would dilute a mean of probabilities.
        """
        predictions = self._of(logits.mean(axis=1, dtype=np.float64))
        return predictions.clip(self.bounds[0], self.bounds[1]) if self.bounds else predictions

    def _of(self, logits: Array) -> Array:
        if self.kind == "softmax":
            return np.asarray(softmax(logits, axis=-1))
        if self.kind == "numbers":
            return logits * self.scale + self.offset
        if self.kind == "bounded":
            return np.asarray(expit(logits) * self.scale + self.offset)
        if self.kind == "grades":
            return _between_grades(logits[..., 0] * self.scale[0] + self.offset[0], np.array(self.grades))
        if self.kind == "ordinal":
            # The probability of exceeding a class never grows with the class.
            higher = np.minimum.accumulate(expit(logits), axis=-1)
            return -np.diff(higher, axis=-1, prepend=1, append=0)
        if self.sums_to_one:
            # In logarithms, so that no row is all zeros.
            return np.asarray(np.exp(log_softmax(-np.logaddexp(0, -logits), axis=-1)))
        return np.asarray(expit(logits))


def _between_grades(numbers: Array, grades: Array) -> Array:
    """Probabilities (…, C) of the two grades around each number (…), whose expected grade is the number."""
    numbers = numbers.clip(grades[0], grades[-1])[..., None]
    gaps = np.diff(grades)
    above = ((numbers - grades[:-1]) / gaps).clip(0, 1)
    return -np.diff(above, axis=-1, prepend=1, append=0)


def outputs_for(
    target: Target,
    loss: str | Callable[..., Any],
    classes: Sequence[str],
    targets: Array,
    bounds: tuple[float, float] | None = None,
) -> Outputs:
    """The outputs for a training with this loss; ``targets`` (N, …) are the training rows'.

    bounds: of numbers; without them ``bce`` takes the range of the targets, and other losses have none. Raises
    DeclarationError where a loss for numbers or ordered grades meets classes whose names aren't ascending numbers.
    """
    count = len(classes)
    if target == "number":
        if loss != "bce":
            return replace(_standardised("numbers", count, targets), bounds=tuple(bounds or ()))
        low, high = targets.min(axis=0), targets.max(axis=0)
        if bounds is not None:
            low, high = (np.full(count, bound) for bound in bounds)
        return Outputs("bounded", count, offset=_floats(low), scale=_floats(np.where(high > low, high - low, 1)))
    if loss == "ordinal" or (target == "single" and loss in OF_NUMBERS):
        grades = grades_of(classes)
        if grades is None or any(one >= other for one, other in pairwise(grades)):
            raise DeclarationError(
                f"Recipe: `loss` is {loss!r}, which is for ordered grades, but the classes are "
                f"{', '.join(classes[:5])}; their names should be distinct numbers."
            )
        if loss == "ordinal":
            return Outputs("ordinal", count)
        return _standardised("grades", count, np.array(grades)[targets][:, None], grades)
    if target in ("single", "shares") and loss != "bce":
        return Outputs("softmax", count)
    return Outputs("sigmoid", count, sums_to_one=target in ("single", "shares"))


def _standardised(kind: Kind, classes: int, numbers: Array, grades: tuple[float, ...] = ()) -> Outputs:
    # Rounding may give equal numbers a deviation above zero.
    scale = _floats(np.where(np.ptp(numbers, axis=0) > 0, numbers.std(axis=0), 1))
    return Outputs(kind, classes, offset=_floats(numbers.mean(axis=0)), scale=scale, grades=grades)


def _floats(values: Array) -> tuple[float, ...]:
    return tuple(map(float, values))
