"""Training in a notebook at Kaggle: pushed once, followed, and its runs brought here."""

from __future__ import annotations

import json
import secrets
import shlex
import sys
import tempfile
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any

from comp.declare.competition import load_competition
from comp.errors import KaggleError, RunError
from comp.files import held, write_text
from comp.kaggle import failures
from comp.kaggle.archives import unpack
from comp.kaggle.client import connect
from comp.kaggle.downloads import forget
from comp.kaggle.failures import PassingError
from comp.kaggle.notebooks import Notebook, create_dataset, download_output, execution, output, push
from comp.runs import Run, Workspace, list_runs, take_in
from comp.runs.resolve import resolve
from comp.tools.notebooks.packages import (
    ARCHIVE,
    BACKBONE,
    FINAL,
    LOCAL,
    backbone_files,
    pack,
    plugin_files,
    records_of,
)
from comp.tools.notebooks.wheels import build_wheel
from comp.tools.notebooks.writing import name_at_kaggle, notebook_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from comp.console import Console
    from comp.declare.competition import Competition
    from comp.declare.recipe import Recipe
    from comp.kaggle.client import Kaggle
    from comp.runs.resolve import Choices

POLL_SECONDS = (1.0, 20.0)  # at first, at most


@contextmanager
def trained_at_kaggle(declaration: Path, choices: Choices, workspace: Workspace, console: Console) -> Iterator[Run]:
    """The run that `comp run` with these choices makes at Kaggle, as a run of this workspace.

    The notebook's name is kept in the workspace until the block ends well: called again, the same notebook is
    followed, or the run that it brought is gone on with.

    Raises:
        OverrideError: what was chosen doesn't fit the competition.
        RunError: another process follows the same notebook.
        KaggleError: Kaggle doesn't take the notebook, or it failed; its log is kept then.
    """
    competition = load_competition(declaration)
    _, recipe = resolve(competition, choices)
    arguments = arguments_of(competition, choices, recipe)
    kaggle = connect(workspace.kaggle, console.say)
    asked = [kaggle.endpoint.url, kaggle.user, str(declaration), recipe.backbone, *arguments]
    record = workspace.notebooks / f"{competition.name}-{sha256(json.dumps(asked).encode()).hexdigest()[:8]}.json"
    record.parent.mkdir(parents=True, exist_ok=True)
    with held(record.with_suffix(".lock")) as alone:
        if not alone:
            raise RunError(f"Another process follows this training of {competition.name} at Kaggle; let it end.")
        brought = _brought(record, workspace)
        if brought is not None:
            console.say(f"{brought.name} was brought from Kaggle before: going on with it")
            yield brought
            record.unlink()
            return
        name = _name(record, competition)
        handle = f"{kaggle.user}/{name}"
        if execution(kaggle, handle) is None:
            try:
                _push(kaggle, name, declaration, competition, recipe, choices, arguments, console)
            except PassingError:
                raise
            except KaggleError:
                record.unlink()
                raise
            console.say(f"pushed the notebook {handle}; Ctrl-C leaves it running, and the same command follows it")
        else:
            console.say(f"following the notebook {handle}, which was pushed before")
        _follow(kaggle, handle, record, console)
        run = bring(kaggle, handle, recipe.backbone, workspace, console)
        write_text(record, json.dumps({"name": name, "run": run.name}) + "\n")
        yield run
        record.unlink()


def _brought(record: Path, workspace: Workspace) -> Run | None:
    """The run that a notebook brought which is not done with."""
    try:
        run = Run(workspace.runs / json.loads(record.read_text(encoding="utf-8"))["run"])
    except (OSError, ValueError, KeyError):
        return None
    return run if run.has("config") else None


def arguments_of(competition: Competition, choices: Choices, recipe: Recipe) -> list[str]:
    """What `comp run` is called with at Kaggle, in a workspace with the packed files."""
    words = [competition.name]
    if choices.like is not None:
        words += ["--like", choices.like.name]
    else:
        words += ["--recipe", choices.recipe]
        if recipe.backbone.startswith(LOCAL):
            words += ["--backbone", f"{LOCAL}{BACKBONE}"]
        elif choices.backbone is not None:
            words += ["--backbone", choices.backbone]
    for setting in choices.settings:
        words += ["--set", setting]
    words += ["--seed", str(choices.seed)]
    if choices.all_data:
        words.append("--all-data")
    for option, number in (("--folds", choices.folds), ("--fold", choices.fold)):
        if number is not None:
            words += [option, str(number)]
    return words


def _name(record: Path, competition: Competition) -> str:
    """The notebook's, which is new unless one was begun."""
    try:
        return str(json.loads(record.read_text(encoding="utf-8"))["name"])
    except (OSError, ValueError, KeyError):
        name = name_at_kaggle(competition.name, secrets.token_hex(4))
        write_text(record, json.dumps({"name": name}) + "\n")
        return name


def _push(
    kaggle: Kaggle,
    name: str,
    declaration: Path,
    competition: Competition,
    recipe: Recipe,
    choices: Choices,
    arguments: list[str],
    console: Console,
) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        files = pack(dict(_files(declaration, recipe, choices)), folder)
        files.append(build_wheel(folder))
        with console.bar("uploading what the training needs", len(files), "files") as bar:
            package = create_dataset(kaggle, name, files, lambda _: bar.advance(1))
    source = notebook_text(
        "train",
        title=name.replace("-", " "),
        competition=competition.kaggle,
        command=_command(),
        arguments=arguments,
        owner=kaggle.user,
        package=name,
        internet=True,
    )
    datasets = [package, *(dataset.handle for dataset in competition.extra_data)]
    # With internet for the backbone's weights.
    push(kaggle, Notebook(name, source, [competition.kaggle], datasets, internet=True))


def _files(declaration: Path, recipe: Recipe, choices: Choices) -> Iterator[tuple[str, Path]]:
    yield from plugin_files(declaration)
    yield from backbone_files(recipe.backbone, weights=True)
    if choices.like is not None:
        folds = [Run(choices.like.folder.parent.parent / member) for member in choices.like.members]
        for run in (choices.like, *folds):
            yield from records_of(run, "config", "trained", "scores")


def _follow(kaggle: Kaggle, handle: str, record: Path, console: Console) -> None:
    """Until it ended well; raises KaggleError where it didn't, with its log kept."""
    pause, longest = POLL_SECONDS
    known = ""
    with console.waiting(f"the notebook {handle}") as show:
        while True:
            now = execution(kaggle, handle)
            if now is None:
                record.unlink()
                raise KaggleError(f"The notebook {handle} is gone from Kaggle; run the same command to push it again.")
            if now.status != known:
                known = now.status
                show(f"the notebook {handle} is {known}")
                console.say(f"the notebook is {known}" if known in ("queued", "running") else f"it ended: {known}")
            if known in ("complete", "error", "cancelled"):
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
    """Take in the runs that a notebook made, members before their blend; gives the one that was asked for.

    backbone: as it is called here, if it is a folder's. Each run is there whole or not at all.
    """
    archive = workspace.notebooks / f"{handle.partition('/')[2]}.zip"
    with console.downloads() as progress:
        download_output(kaggle, handle, ARCHIVE, archive, progress(ARCHIVE))
    workspace.runs.mkdir(parents=True, exist_ok=True)
    names: dict[str, str] = {}
    with tempfile.TemporaryDirectory(dir=workspace.runs, prefix=".arriving-") as place:
        arrived = Workspace(Path(place))
        arrived.runs.mkdir()
        unpack(archive, "zip", arrived.runs)
        final = (arrived.runs / FINAL).read_text(encoding="utf-8").strip()
        made = sorted(list_runs(arrived), key=lambda run: run.name == final)
        if not made or made[-1].name != final or not all(run.submission.is_file() for run in made):
            raise KaggleError(f"The notebook {handle} brought no whole run {final!r}; its files are in {archive}.")
        for run in made:
            config = run.record("config")
            brought = {**config, "command": _command(), "notebook": handle}
            if config.get("recipe", {}).get("backbone", "").startswith(LOCAL):
                brought["recipe"] = {**config["recipe"], "backbone": backbone}
            run.write_record("config", _renamed(brought, names))
            if run.has("scores"):
                run.write_record("scores", _renamed(run.record("scores"), names))
            old = run.name
            names[old] = take_in(workspace, run.folder, run.folder.parent.name, _without_number(run.folder.name)).name
    forget(archive)
    console.say(f"brought {names[final]} from {handle}")
    return Run(workspace.runs / names[final])


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    """With the runs in it called as they are here."""
    if isinstance(value, dict):
        return {key: _renamed(part, names) for key, part in value.items()}
    if isinstance(value, list):
        return [_renamed(part, names) for part in value]
    return names.get(value, value) if isinstance(value, str) else value


def _without_number(name: str) -> str:
    return name.rpartition("-")[0]


def _command() -> str:
    return shlex.join(["comp", *sys.argv[1:]])
