"""The command line as tests call it: how it ended, in this process or in one of its own."""

import multiprocessing
import os
import signal
import sys
import time
from dataclasses import dataclass

from accelerate.state import AcceleratorState

from comp import cli


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    status: int
    out: str
    err: str

    @property
    def last_line(self):
        return self.out.splitlines()[-1]


class Forked:
    """The command line in a process of its own, forked from this one, where everything is imported already."""

    def __init__(self, folder, arguments, before, environment):
        self._streams = [folder / "out.txt", folder / "err.txt"]
        for stream in self._streams:
            stream.touch()
        self._process = multiprocessing.get_context("fork").Process(
            target=self._work, args=(arguments, before, environment)
        )
        self._process.start()
        self.pid = self._process.pid

    def _work(self, arguments, before, environment):
        for number, stream in enumerate(self._streams, start=1):
            os.dup2(os.open(stream, os.O_WRONLY), number)
        # As a new process has them.
        sys.stdout, sys.stderr = (os.fdopen(number, "w", closefd=False) for number in (1, 2))
        # Tests started in the background of a shell would hand on that they ignore interrupts.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        AcceleratorState._reset_state(reset_partial_state=True)
        os.environ.update(environment)
        sys.argv = ["comp", *map(str, arguments)]
        before()
        cli.main()

    def says(self, beginning, seconds=60):
        """Waits for a line that begins so; gives the rest of it."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for line in self._streams[0].read_text().splitlines(keepends=True):
                if line.startswith(beginning) and line.endswith("\n"):
                    return line.removeprefix(beginning).rstrip()
            time.sleep(0.01)
        raise AssertionError(f"it doesn't say {beginning!r}: {self._streams[1].read_text()}")

    def ends(self, seconds=120):
        self._process.join(seconds)
        assert self._process.exitcode is not None, "it doesn't end"
        return Ended(self._process.exitcode, *(stream.read_text() for stream in self._streams))

    def kill(self):
        self._process.kill()
