"""When a request is worth another try, and how long to wait before it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

from comp.kaggle.refusals import PassingError

if TYPE_CHECKING:
    from collections.abc import Callable

    from comp.kaggle.progress import Say

    Answer = TypeVar("Answer")

ATTEMPTS = 4  # that bring nothing, in a row
LONGEST_WAIT_SECONDS = 60.0


def patiently(call: Callable[[], Answer], say: Say) -> Answer:
    """What ``call`` gives, asked again after each `PassingError` that waiting may mend; it must be safe to repeat."""
    failures = 0
    while True:
        try:
            return call()
        except PassingError as error:
            failures += 1
            wait_after(error, failures, say)


def wait_after(error: PassingError, failures: int, say: Say) -> None:
    """Wait before the next try, or raise ``error`` where none is worth it: the last ``failures`` tries all failed.

    As long as Kaggle asked for, if that is at most a minute; where it didn't say, 1, 2 and 4 seconds.
    """
    seconds = 2.0 ** (failures - 1) if error.wait_seconds is None else error.wait_seconds
    if failures >= ATTEMPTS or seconds > LONGEST_WAIT_SECONDS:
        raise error
    say(f"{error.cause}; trying again in {seconds:.0f} s")
    wait(seconds)


def wait(seconds: float) -> None:
    time.sleep(seconds)
