"""The command line in tests: its result, in this process or in a forked one."""

import multiprocessing
import os
import signal
import sys
import time
from dataclasses import dataclass
from hashlib import sha256

from accelerate.state import AcceleratorState

from comp.training import features, training


@dataclass(frozen=True)
class Ended:
    """The result of a command."""

    status: int
    out: str
    err: str

    @property
    def last_line(self):
        return self.out.splitlines()[-1]

    @property
    def sentence(self):
        """The one sentence that says why the command failed."""
        (line,) = self.err.splitlines()
        assert (self.status, line[:7], line[-1]) == (1, "Error: ", "."), line
        assert "unexpected" not in line
        assert "Traceback" not in self.out
        return line[7:]


class Forked:
    """Work in a fork of this process, where everything is imported already; its streams go to files."""

    def __init__(self, folder, work):
        folder.mkdir(parents=True, exist_ok=True)
        self._streams = [folder / "out.txt", folder / "err.txt"]
        for stream in self._streams:
            stream.touch()
        self._process = multiprocessing.get_context("fork").Process(target=self._alone, args=(work,))
        self._process.start()
        self.pid = self._process.pid

    def _alone(self, work):
        for number, stream in enumerate(self._streams, start=1):
            os.dup2(os.open(stream, os.O_WRONLY | os.O_APPEND), number)
        # Streams like those of a new process.
        sys.stdout, sys.stderr = (os.fdopen(number, "w", closefd=False) for number in (1, 2))
        # Tests in the background of a shell ignore interrupts, and a fork would inherit that.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        AcceleratorState._reset_state(reset_partial_state=True)
        work()

    def says(self, beginning, seconds=60):
        """Wait for a line with this beginning; return the rest of it."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for line in self._streams[0].read_text().splitlines(keepends=True):
                if line.startswith(beginning) and line.endswith("\n"):
                    return line.removeprefix(beginning).rstrip()
            time.sleep(0.01)
        raise AssertionError(f"it doesn't say {beginning!r}: {self._streams[1].read_text()}")

    def ends(self, seconds=120):
        assert self.ends_within(seconds), "it doesn't end"
        return Ended(self._process.exitcode, *(stream.read_text() for stream in self._streams))

    def ends_within(self, seconds):
        """Whether the process ends by itself in this time."""
        self._process.join(seconds)
        return self._process.exitcode is not None

    def kill(self):
        self._process.kill()


def killed_after(saves, folder, work):
    """Call ``work`` in a process that is killed after ``saves`` saves of a training's state."""

    def until_then():
        training.SAVE_SECONDS, training.MOST_COST, features.MARK_SECONDS = -1.0, float("inf"), 0.0
        save, left = training.Training.save, [saves]

        def counted(*arguments):
            save(*arguments)
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)

        training.Training.save = counted
        work()

    assert Forked(folder, until_then).ends().status == -signal.SIGKILL


def results(run):
    """Digests of a run's weights, submission and records, by file: the same for the same bytes."""
    names = ("submission.csv", "history.csv", "split.csv", "trained.json", "scores.json")
    files = (*sorted((run.folder / "checkpoints").glob("*.safetensors")), *(run.folder / name for name in names))
    assert len(files) > len(names)
    return {path.name: sha256(path.read_bytes()).hexdigest() for path in files}


def left_over(run):
    """The files of a run that a killed process left unfinished."""
    return [path.name for path in run.folder.rglob("*") if path.name.endswith(".part") or path == run.last]
