"""The time that `comp` takes to start: until `comp --help` has ended, and until a training's first step.

python -m benchmarks.starting digits --recipe quick

Each command runs in a fresh process with its own terminal. Seconds count from before the process starts: for --help
until it has ended; for a training until its progress bar shows a step of the first stage, at most a tenth of a second
later, when it is killed. Its data and caches are those of COMP_HOME, and its runs go to a temporary folder. Processor
seconds are those of the whole process; on a shared machine they say more than the clock does.
"""

import os
import pty
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Annotated

import typer

from comp.errors import CompError
from comp.runs import Workspace

STEP = re.compile(r"training[^\n]*?\s[1-9]\d*/\d+")
# Colours and cursor movements.
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
ROW = "{:>9}{:>19}  {}"


@dataclass(frozen=True)
class Start:
    """The seconds of one start: by the clock, and of the processors."""

    seconds: float
    processor: float


def main(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A downloaded competition.")],
    recipe: str = "standard",
    backbone: str | None = None,
    rounds: Annotated[int, typer.Option(min=1, help="Starts of each command, after one to fill caches.")] = 5,
) -> None:
    """Print the median of each command's starts, taken by turns."""
    chosen = [] if backbone is None else ["--backbone", backbone]
    commands = [("--help",), ("train", name, "--recipe", recipe, *chosen)]
    starts = [[start(*command) for command in commands] for _ in range(rounds + 1)][1:]
    print(ROW.format("seconds", "processor seconds", ""))
    for command, of_command in zip(commands, zip(*starts, strict=True), strict=True):
        seconds, processor = (median(getattr(one, field) for one in of_command) for field in ("seconds", "processor"))
        print(ROW.format(f"{seconds:.2f}", f"{processor:.2f}", " ".join(["comp", *command])))


def start(*arguments: str) -> Start:
    """Run a command until a step shows or it ends. Raises CompError where a training ends without a step."""
    workspace = Workspace.from_environment().folder
    with tempfile.TemporaryDirectory() as folder:
        for name in ("data", "cache"):
            (Path(folder) / name).symlink_to(workspace / name)
        return _timed([sys.executable, "-m", "comp", *arguments], {**os.environ, "COMP_HOME": folder})


def _timed(command: Sequence[str], environment: Mapping[str, str]) -> Start:
    reader, terminal = pty.openpty()
    began = time.perf_counter()
    process = subprocess.Popen(command, env={**environment, "COLUMNS": "160"}, stdout=terminal, stderr=terminal)
    os.close(terminal)
    shown = ""
    with os.fdopen(reader, "rb", buffering=0) as output:
        while not (stepped := STEP.search(CONTROL.sub("", shown))) and (read := _read(output.fileno())):
            shown += read
    if stepped:
        process.kill()
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    if not stepped and (status or "train" in command):
        said = " ".join(CONTROL.sub("", shown).split())
        raise CompError(f"{' '.join(command)} ended without a step: {said[-500:]}")
    return Start(seconds, used.ru_utime + used.ru_stime)


def _read(descriptor: int) -> str:
    """The next output; "" once the process has ended, which a terminal reports as an error."""
    try:
        return os.read(descriptor, 65536).decode(errors="replace")
    except OSError:
        return ""


if __name__ == "__main__":
    typer.run(main)
