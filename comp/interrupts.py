"""SIGINT and SIGTERM: end a process cleanly, but let a block that must not be cut end first."""

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
# The exit statuses of processes that these signals ended, as a shell reports them.
STATUSES = tuple(128 + number for number in SIGNALS)
# Seconds that a deferring block may still take after a signal.
GRACE = 5.0


@contextmanager
def ending_on_sigterm() -> Iterator[None]:
    """Let SIGTERM end the process as `sys.exit` does, with clean-up, and with status 143."""
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
    """A signal that waits. number: the signal that came, None if none did."""

    number: int | None = None

    @property
    def asked(self) -> bool:
        return self.number is not None


@contextmanager
def deferred(grace: float = GRACE) -> Iterator[Deferred]:
    """Defer SIGINT and SIGTERM to the end of the block, to a second signal, or for ``grace`` seconds at most.

    The block looks at ``asked`` and ends soon. Outside the main thread signals are left as they are.
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
        # Torch's error, as the signal also ended the workers that read images; or a diverged loss, which the resumed
        # training meets again.
        if not waiting.asked:
            raise
    finally:
        give_back()
    if waiting.number is not None:
        signal.raise_signal(waiting.number)
        # A custom handler returned.
        raise KeyboardInterrupt


@contextmanager
def own_handlers() -> Iterator[None]:
    """Restore the handlers of SIGINT and SIGTERM after the block: Ray sets its own, which exits with status 15."""
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        yield
    finally:
        if _in_main_thread():
            for number, handler in handlers.items():
                signal.signal(number, handler)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
