"""SIGINT and SIGTERM: ending a process, and letting what must not be cut in two end first."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from comp.errors import CompError

SIGNALS = (signal.SIGINT, signal.SIGTERM)
# The exit statuses of processes that they ended, as a shell reports them.
STATUSES = tuple(128 + number for number in SIGNALS)
# The seconds that the block under way may still take when it is asked to end.
GRACE = 5.0


@contextmanager
def ending_on_sigterm() -> Iterator[None]:
    """Let SIGTERM end the process as an exit does, with everything on the way closed, and status 143."""
    if not _in_main_thread() or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@dataclass
class Deferred:
    """A signal that waits. number: which one came, None if none did."""

    number: int | None = None

    @property
    def asked(self) -> bool:
        return self.number is not None


@contextmanager
def deferred(grace: float = GRACE) -> Iterator[Deferred]:
    """Let SIGINT and SIGTERM wait for the end of the block, or for a second one, or for ``grace`` seconds.

    The block looks at ``asked`` and ends soon. In another thread than the main one signals are left as they are.
    """
    waiting = Deferred()
    if not _in_main_thread():
        yield waiting
        return
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    handlers = {number: handler for number, handler in handlers.items() if handler not in (None, signal.SIG_IGN)}
    timers: list[threading.Timer] = []

    def note(number: int, _: FrameType | None) -> None:
        if waiting.asked:
            give_back()
            signal.raise_signal(number)
            return
        waiting.number = number
        timers.append(threading.Timer(grace, os.kill, (os.getpid(), number)))
        timers[0].daemon = True
        timers[0].start()

    def give_back() -> None:
        for timer in timers:
            timer.cancel()
        for number, handler in handlers.items():
            signal.signal(number, handler)

    for number in handlers:
        signal.signal(number, note)
    try:
        yield waiting
    except (RuntimeError, CompError):
        # Torch's, because processes that read images were ended with this one; or a loss that diverged, which the
        # resumed training comes upon again.
        if not waiting.asked:
            raise
    finally:
        give_back()
    if waiting.number is not None:
        signal.raise_signal(waiting.number)
        # Somebody's own handler came back.
        raise KeyboardInterrupt


@contextmanager
def own_handlers() -> Iterator[None]:
    """Keep this process's handlers of SIGINT and SIGTERM, whatever a library sets in the block: Ray exits with 15."""
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        yield
    finally:
        if _in_main_thread():
            for number, handler in handlers.items():
                signal.signal(number, handler)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
