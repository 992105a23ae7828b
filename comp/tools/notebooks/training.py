"""Train in a notebook at Kaggle: push it once, follow it, and download its runs."""

from __future__ import annotations

import json
import secrets
import shlex
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from textwrap import shorten
from typing import Any

from comp.console import Console
from comp.declare.competition import Competition, load_competition
from comp.errors import KaggleError, RunError
from comp.files import held, write_text
from comp.kaggle import failures
from comp.kaggle.archives import DamagedError, unpack
from comp.kaggle.client import Kaggle, connect
from comp.kaggle.downloads import forget
from comp.kaggle.failures import PassingError
from comp.kaggle.notebooks import Notebook, create_dataset, download_output, execution, output, push
from comp.kaggle.record import read_record
from comp.runs import Run, Workspace, list_runs, take_in
from comp.runs.choices import Choices
from comp.runs.resolve import resolve
from comp.tools.notebooks.package import (
    ARCHIVE,
    BACKBONE,
    FINAL,
    LOCAL,
    backbone_files,
    name_at_kaggle,
    notebook_of,
    pack,
    plugin_files,
    records_of,
)

POLL_SECONDS = (1.0, 20.0)  # at first, at most


@contextmanager
def trained_at_kaggle(declaration: Path, choices: Choices, workspace: Workspace, console: Console) -> Iterator[Run]:
    """The run that `comp run` with these choices makes at Kaggle, downloaded into this workspace.

    The notebook's name is kept in the workspace until the block ends without an error: the next call follows the same
    notebook, or takes the run downloaded from it; an edited declaration has another notebook.

    Raises:
        OverrideError: the choices don't fit the competition.
        RunError: another process follows the same notebook.
        KaggleError: Kaggle doesn't take the notebook, or it failed; its log is kept then.
    """
    competition = load_competition(declaration)
    backbone = resolve(competition, choices)[1].backbone
    arguments = arguments_of(competition, choices, backbone)
    kaggle = connect(say=console.say)
    asked = json.dumps([kaggle.endpoint.url, kaggle.user, str(declaration), backbone, *arguments])
    command, edition = (sha256(text.encode()).hexdigest()[:8] for text in (asked, competition.source))
    record = workspace.notebooks / f"{competition.name}-{command}-{edition}.json"
    record.parent.mkdir(parents=True, exist_ok=True)
    if not record.exists() and any(record.parent.glob(f"{competition.name}-{command}-*.json")):
        console.say("competition.py was edited since this command's notebook was pushed, so another one is pushed")
    with held(record.with_suffix(".lock")) as alone:
        if not alone:
            raise RunError(f"Another process follows this training of {competition.name} at Kaggle; let it end.")
        known = read_record(record.parent, record.name)
        run = Run(workspace.runs / known.get("run", "none"))
        if run.has("config"):
            console.say(f"{run.name} was downloaded from Kaggle before")
        else:
            name = known.get("name") or name_at_kaggle(competition.name, secrets.token_hex(4))
            write_text(record, json.dumps({"name": name}) + "\n")
            handle = f"{kaggle.user}/{name}"
            if execution(kaggle, handle) is None:
                given = {"command": _command(), "arguments": arguments}
                # With internet, for the backbone's weights.
                notebook = notebook_of("train", name, competition, kaggle.user, internet=True, **given)
                try:
                    _push(kaggle, notebook, dict(_files(declaration, backbone, choices)), console)
                except KaggleError as error:
                    if not isinstance(error, PassingError):
                        record.unlink()
                    raise
                console.say(f"pushed the notebook {handle}; Ctrl-C leaves it running, and the same command follows it")
            else:
                console.say(f"following the notebook {handle}, which was pushed before")
            _follow(kaggle, handle, record, console)
            run = bring(kaggle, handle, backbone, workspace, console)
            write_text(record, json.dumps({"name": name, "run": run.name}) + "\n")
        yield run
        record.unlink()


def arguments_of(competition: Competition, choices: Choices, backbone: str) -> list[str]:
    """The arguments of `comp run` at Kaggle, in a workspace with the packed files."""
    if backbone.startswith(LOCAL) and choices.like is None:
        choices = replace(choices, backbone=f"{LOCAL}{BACKBONE}")
    return [competition.name, *choices.options()]


def _files(declaration: Path, backbone: str, choices: Choices) -> Iterator[tuple[str, Path]]:
    yield from plugin_files(declaration)
    yield from backbone_files(backbone, weights=True)
    for named in filter(None, (choices.like, choices.teacher)):
        for run in (named, *map(named.beside, named.members)):
            yield from records_of(run)
            if named is choices.teacher:
                for path in (run.folder / "split.csv", run.predictions("valid"), run.predictions("test")):
                    if path.is_file():
                        yield f"runs/{run.name}/{path.relative_to(run.folder)}", path


def _push(kaggle: Kaggle, notebook: Notebook, files: Mapping[str, Path], console: Console) -> None:
    with tempfile.TemporaryDirectory() as folder:
        packed = pack(files, Path(folder))
        with console.bar("uploading what the training needs", len(packed), "files") as bar:
            create_dataset(kaggle, notebook.name, packed, lambda _: bar.advance(1))
    push(kaggle, notebook)


def _follow(kaggle: Kaggle, handle: str, record: Path, console: Console) -> None:
    """Wait until the notebook is complete; raises KaggleError if it fails, and keeps its log."""
    pause, longest = POLL_SECONDS
    known, away = "", 0
    with console.waiting(f"the notebook {handle}") as show:
        while True:
            now = execution(kaggle, handle)
            away = away + 1 if now is None else 0
            if away == failures.ATTEMPTS:
                record.unlink()
                raise KaggleError(f"The notebook {handle} is gone from Kaggle; run the same command to push it again.")
            if now and now.status != known:
                known = now.status
                show(f"the notebook {handle} is {known}")
                console.say(f"the notebook is {known}" if known in ("queued", "running") else f"it ended: {known}")
            if now and known in ("complete", "error", "cancelled"):
                break
            failures.wait(pause)
            pause = min(1.5 * pause, longest)
    left = output(kaggle, handle)
    if known == "complete" and ARCHIVE in left.files:
        return
    log = record.with_name(f"{handle.partition('/')[2]}.log")
    write_text(log, left.log)
    record.unlink()
    lines = [line.strip() for line in left.log.splitlines() if line.strip()]
    reason = shorten((lines or [now.failure or "it gave no reason"])[-1].rstrip("."), 300)
    how = {"error": "failed", "cancelled": "was cancelled"}.get(known, f"ended without {ARCHIVE}")
    raise KaggleError(f"The notebook {handle} {how}: {reason}; its log is kept in {log}.")


def bring(kaggle: Kaggle, handle: str, backbone: str, workspace: Workspace, console: Console) -> Run:
    """Download the runs that a notebook made, members before the run made of them; return the requested run.

    backbone: its name on this machine, for one from a local folder. A run that was stopped there is left out.
    """
    archive = workspace.notebooks / f"{handle.partition('/')[2]}.zip"
    with console.downloads() as progress:
        download_output(kaggle, handle, ARCHIVE, archive, progress(ARCHIVE))
    workspace.runs.mkdir(parents=True, exist_ok=True)
    names: dict[str, str] = {}
    with tempfile.TemporaryDirectory(dir=workspace.runs, prefix=".arriving-") as folder:
        arrived = Workspace(Path(folder))
        arrived.runs.mkdir()
        try:
            unpack(archive, "zip", arrived.runs)
        except DamagedError:
            forget(archive)
            raise
        final = (arrived.runs / FINAL).read_text(encoding="utf-8").strip()
        # One without predictions was stopped by --time and is no member.
        made = sorted((run for run in list_runs(arrived) if run.predicted), key=lambda run: run.name == final)
        if not made or made[-1].name != final:
            raise KaggleError(f"The notebook {handle} made no complete run {final!r}; its files are in {archive}.")
        for run in made:
            config = run.record("config")
            taken = {**config, "command": _command(), "notebook": handle}
            if config.get("recipe", {}).get("backbone", "").startswith(LOCAL):
                taken["recipe"] = {**config["recipe"], "backbone": backbone}
            run.write_record("config", _renamed(taken, names))
            if run.has("scores"):
                run.write_record("scores", _renamed(run.record("scores"), names))
            number = run.folder.name.rpartition("-")
            names[run.name] = take_in(workspace, run.folder, run.folder.parent.name, number[0]).name
    forget(archive)
    console.say(f"downloaded {names[final]} from {handle}")
    return Run(workspace.runs / names[final])


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    """``value`` with the runs' names replaced by those on this machine."""
    if isinstance(value, dict):
        return {key: _renamed(part, names) for key, part in value.items()}
    if isinstance(value, list):
        return [_renamed(part, names) for part in value]
    return names.get(value, value) if isinstance(value, str) else value


def _command() -> str:
    return shlex.join(["comp", *sys.argv[1:]])
