"""The tree of errors. Each message is one sentence: what was wrong, what was found, what to do.

CompError
├── DeclarationError      a competition.py declares something impossible
├── OverrideError         a value given on the command line doesn't fit the field it names
├── DataError             the files on disk are not what the declaration says
├── BackboneError         timm doesn't know the backbone, or its weights can't be loaded
├── RunError              a run folder is missing, incomplete or can't be written
│   └── DivergedError     the loss of a training became NaN or infinite
├── SubmissionError       a submission doesn't fit its sample submission
└── KaggleError           Kaggle refused, or could not be reached
    └── CredentialsError  Kaggle's credentials are missing or wrong
"""

from collections.abc import Iterable
from itertools import islice


def counted(number: int, one: str, several: str = "") -> str:
    """A number with its noun: ``1 row`` or ``2 rows``. several: the plural, unless an s makes it."""
    return f"{number} {one if number == 1 else several or one + 's'}"


def first_few(names: Iterable[str]) -> str:
    """The first three names: ``a, b, c, …``."""
    first = list(islice(names, 4))
    return ", ".join(first[:3]) + (", …" if len(first) > 3 else "")


def first_line(error: Exception) -> str:
    """The first line of an error's message, without its full stop; the class's name where there is no message."""
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")


class CompError(Exception):
    """Base of all errors that a user can mend; the command line prints them without a traceback."""


class DeclarationError(CompError):
    pass


class OverrideError(CompError):
    pass


class DataError(CompError):
    pass


class BackboneError(CompError):
    pass


class RunError(CompError):
    pass


class DivergedError(RunError):
    """epoch: the epoch in which it happened, from 1. learning_rate: the stage's peak."""

    def __init__(self, epoch: int, learning_rate: float) -> None:
        super().__init__(
            f"The loss became NaN or infinite in epoch {epoch}; "
            f"lower the stage's learning rate, which is {learning_rate:g}."
        )
        self.epoch, self.learning_rate = epoch, learning_rate


class SubmissionError(CompError):
    pass


class KaggleError(CompError):
    pass


class CredentialsError(KaggleError):
    pass
