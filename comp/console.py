"""Lines, tables and progress bars in the terminal; lines go to the run's log as well."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from time import monotonic

from rich.console import Console as Terminal
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Column, Table
from rich.text import Text

# Characters beside a bar, for its text, amount, speed and time.
BESIDE_A_BAR = 72
# Seconds between two lines of progress where there is no terminal: a silent log looks like a hang.
SECONDS_A_LINE = 60


class Speed(ProgressColumn):
    """Units per second: ``142 images/s``."""

    def render(self, task: Task) -> Text:
        speed = task.speed or task.finished_speed
        return Text(f"{speed:.0f} {task.fields['unit']}/s" if speed else "")


# Prints plain text in a notebook too: a cell then has one growing output, and needs no widgets.
plain_terminal = partial(Terminal, highlight=False, emoji=False, soft_wrap=True, force_jupyter=False)


@dataclass
class Bar:
    """A progress bar under way."""

    progress: Progress
    task: TaskID
    told: float = field(default_factory=monotonic)

    def advance(self, amount: float) -> None:
        self.progress.advance(self.task, amount)
        if self.progress.disable and monotonic() - self.told > SECONDS_A_LINE:
            self.told, task = monotonic(), self.progress.tasks[0]
            of_all = "" if task.total is None else f" of {task.total:.0f}"
            self.progress.console.print(
                f"{task.description}: {task.completed:.0f}{of_all} {task.fields['unit']}", markup=False
            )

    def say(self, text: str) -> None:
        """Change the text before the bar."""
        self.progress.update(self.task, description=text)


def in_minutes(seconds: float) -> str:
    """``4:05``, or ``1:04:05`` from an hour on."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes}:{rest:02}"


def expected_to_end(seconds: float) -> str:
    """``expected to end at 22:45:10, in 4:05``."""
    return f"expected to end at {datetime.now() + timedelta(seconds=seconds):%H:%M:%S}, in {in_minutes(seconds)}"


@dataclass
class Console:
    """The terminal, and the log file of the run under way."""

    terminal: Terminal = field(default_factory=plain_terminal)
    log: Path | None = None
    # The lines that `once` printed since `of_several` began; None outside of it.
    said: set[str] | None = None

    def say(self, text: str = "") -> None:
        """Print a line literally: names from the data are never taken for markup or emoji."""
        self.terminal.print(text, markup=False)
        self._to_log(text)

    @contextmanager
    def of_several(self) -> Iterator[None]:
        """Several trainings are under way in the block."""
        self.said = set()
        try:
            yield
        finally:
            self.said = None

    def detail(self, text: str) -> None:
        """Print a line of one training; while several are under way, it goes to the log only."""
        if self.said is None:
            self.say(text)
        else:
            self._to_log(text)

    def once(self, text: str) -> None:
        """Print a line that may hold for several trainings: the first prints it, the others only log it."""
        if self.said is None or text not in self.said:
            self.say(text)
        else:
            self._to_log(text)
        if self.said is not None:
            self.said.add(text)

    def _to_log(self, text: str) -> None:
        if self.log is not None:
            with self.log.open("a", encoding="utf-8") as file:
                file.write(text + "\n")

    def table(self, table: Table) -> None:
        """Print a table at its full width, a line per row; a narrower terminal wraps the lines."""
        width = self.terminal.width
        self.terminal.width = 1000
        self.terminal.print(table)
        self.terminal.width = width

    @contextmanager
    def downloads(self) -> Iterator[Callable[[str], Callable[[int, int | None], None]]]:
        """Yield a function that takes a file's name, starts a bar, and returns the function that moves the bar."""
        with self._bars(DownloadColumn(), TransferSpeedColumn()) as progress:

            def start(name: str) -> Callable[[int, int | None], None]:
                task = progress.add_task(f"downloading {name}", total=None)
                return lambda done, total: progress.update(task, completed=done, total=total)

            yield start

    @contextmanager
    def bar(self, text: str, total: float | None, unit: str) -> Iterator[Bar]:
        """A bar with amount, speed and time left, removed when done; without a terminal, a line per minute."""
        with self._bars(MofNCompleteColumn(), Speed()) as progress:
            yield Bar(progress, progress.add_task(text, total=total, unit=unit))

    @contextmanager
    def waiting(self, text: str) -> Iterator[Callable[[str], None]]:
        """A line with the elapsed time, on a terminal only; yields a function that changes its text."""
        columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
        with self._progress(*columns) as progress:
            yield Bar(progress, progress.add_task(text, total=None)).say

    def _bars(self, *columns: ProgressColumn) -> Progress:
        return self._progress(
            # The bar stays on one line in a narrow terminal, too: it takes the width that the text leaves.
            TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis")),
            BarColumn(bar_width=min(40, max(8, self.terminal.width - BESIDE_A_BAR))),
            *columns,
            TimeRemainingColumn(),
        )

    def _progress(self, *columns: ProgressColumn) -> Progress:
        return Progress(*columns, console=self.terminal, transient=True, disable=not self.terminal.is_terminal)
