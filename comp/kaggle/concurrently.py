"""Jobs that wait for the network, each in a thread of its own; the first that fails stops the others."""

from __future__ import annotations

from concurrent.futures import Future
from threading import Event, Semaphore, Thread
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType
    from typing import Self

Result = TypeVar("Result")

AT_ONCE = 4
LEAVING_SECONDS = 2.0  # what a stalled connection may delay an interrupt


class StoppedError(Exception):
    """A job was told to stop before it was done."""


class Jobs(Generic[Result]):
    """A context manager that runs jobs, at most `AT_ONCE` at once.

    Each job is called with an event that says when it should stop, and raises StoppedError then. They are told to
    when one of them fails and when the block ends, for example by an interrupt. The threads are daemons: one that
    waits for a server that has fallen silent doesn't keep the process from ending.
    """

    def __init__(self, jobs: Sequence[Callable[[Event], Result]]) -> None:
        self._jobs = jobs
        self._stop = Event()
        self._slots = Semaphore(AT_ONCE)
        self._futures: list[Future[Result]] = [Future() for _ in jobs]
        self._threads = [
            Thread(target=self._work, args=pair, daemon=True) for pair in zip(jobs, self._futures, strict=True)
        ]
        self._failed: BaseException | None = None

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(LEAVING_SECONDS)

    def result(self, number: int) -> Result:
        """What the job of this number, from 0, gives, once it is done; raises what the first that failed raised."""
        try:
            return self._futures[number].result()
        except StoppedError:
            if self._failed is None:
                raise
            raise self._failed from None

    def _work(self, job: Callable[[Event], Result], future: Future[Result]) -> None:
        with self._slots:
            if self._stop.is_set():
                future.set_exception(StoppedError())
                return
            try:
                future.set_result(job(self._stop))
            except BaseException as error:
                if not isinstance(error, StoppedError) and self._failed is None:
                    self._failed = error
                    self._stop.set()
                future.set_exception(error)
