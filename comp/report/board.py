"""The board: a live page of all runs, their scores and the local Kaggle's leaderboards, served on this machine."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.routing import Route

from comp.declare.competition import Competition, find_competitions, load_competition
from comp.declare.recipe import Stage
from comp.errors import CompError, DeclarationError, RunError
from comp.local_kaggle.app import HOSTS
from comp.local_kaggle.server import bound
from comp.local_kaggle.store import Store
from comp.report import COMPARISON, EXPLORATION, figures
from comp.report.compare import comparison
from comp.report.rendering import render
from comp.runs import Run, Workspace, broken_runs, list_runs
from comp.runs.history import seconds_left
from comp.runs.resolve import stage_of

REFRESH_SECONDS = 2
# A training by hand counts as stopped when it wrote nothing for this long.
SILENT_SECONDS = 30 * 60
OF_COMPETITIONS = (EXPLORATION, COMPARISON)


def serve(workspace: Workspace, folders: Sequence[Path], port: int, announce: Callable[[str], None]) -> None:
    """Serve the board on 127.0.0.1 until the process is interrupted.

    folders: the competitions' folders. announce: called with the address once the board accepts connections.
    Raises KaggleError where the port is taken.
    """
    with contextlib.closing(bound(port)) as listening:
        options: Any = {"log_level": "warning", "access_log": False, "lifespan": "off", "timeout_graceful_shutdown": 1}
        config = uvicorn.Config(create_board(workspace, folders), **options)
        announce(f"http://{HOSTS[0]}:{listening.getsockname()[1]}")
        with contextlib.suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listening])


def create_board(workspace: Workspace, folders: Sequence[Path]) -> Starlette:
    """The ASGI application; it answers to this machine's own names only, and serves known pages, not paths."""

    def board(_: Request) -> Response:
        return HTMLResponse(render("board", **board_facts(workspace, folders)))

    def report(request: Request) -> Response:
        name = f"{request.path_params['competition']}/{request.path_params['run']}"
        pages = [run.report for run in (*list_runs(workspace), *broken_runs(workspace)) if run.name == name]
        return _page(pages[0] if pages else None)

    def of_competition(request: Request) -> Response:
        name, page = request.path_params["competition"], request.path_params["page"]
        known = {run.folder.parent.name for run in list_runs(workspace)} | _declared(folders).keys()
        return _page(workspace.runs / name / page if name in known and page in OF_COMPETITIONS else None)

    def compared(request: Request) -> Response:
        name, asked = request.path_params["competition"], request.query_params.getlist("run")
        runs = {run.folder.name: run for run in list_runs(workspace) if run.folder.parent.name == name}
        try:
            chosen = [runs[run] for run in asked]
            return HTMLResponse(render("compare", **comparison(_declared(folders)[name], chosen, workspace)))
        except KeyError:
            return _page(None)
        except CompError as error:
            return HTMLResponse(render("missing", why=str(error)), status_code=409)

    return Starlette(
        routes=[
            Route("/", board),
            Route("/runs/{competition}/compared", compared),
            Route("/runs/{competition}/{run}/report.html", report),
            Route("/runs/{competition}/{page}", of_competition),
        ],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=list(HOSTS))],
    )


def _page(path: Path | None) -> Response:
    if path is None or not path.is_file():
        return HTMLResponse(render("missing"), status_code=404)
    return FileResponse(path, media_type="text/html")


def board_facts(workspace: Workspace, folders: Sequence[Path]) -> dict[str, Any]:
    """The board's current content: each competition with runs or submissions, the one that changed last first."""
    declared = _declared(folders)
    runs: dict[str, list[Run]] = {}
    for run in [*reversed(list_runs(workspace)), *broken_runs(workspace)]:
        runs.setdefault(run.folder.parent.name, []).append(run)
    shown = []
    for name in [*runs, *(name for name in declared if name not in runs)]:
        rows = [_row(run) for run in runs.get(name, ())]
        competition = declared.get(name)
        standings = _standings(workspace, competition)
        if rows or standings:
            pages = [page for page in OF_COMPETITIONS if (workspace.runs / name / page).is_file()]
            metric = competition.scoring.name if competition else "score"
            shown.append({"name": name, "metric": metric, "rows": rows, "standings": standings, "pages": pages})
    return {"competitions": shown, "refresh": REFRESH_SECONDS}


def _declared(folders: Sequence[Path]) -> dict[str, Competition]:
    """The competitions by name, without those that can't be loaded."""
    found = {}
    for name, declaration in find_competitions(*folders).items():
        with contextlib.suppress(CompError):
            found[name] = _loaded(declaration, declaration.stat().st_mtime_ns)
    return found


@lru_cache
def _loaded(declaration: Path, _changed: int) -> Competition:
    return load_competition(declaration)


def _standings(workspace: Workspace, competition: Competition | None) -> list[Any]:
    state = workspace.cache / "local-kaggle" / "state" / "submissions.sqlite"
    if competition is None or not state.is_file():
        return []
    return Store(state).leaderboard(competition.kaggle, higher_is_better=competition.scoring.higher_is_better)


def _row(run: Run) -> dict[str, Any]:
    """A run as the board shows it.

    ``state``: training, stopped, trained, predicted or submitted; broken for a run that can't be read, and ``problem``
    says why and what to do. ``score``: the validation score, with all views and post-processing if ``tuned``, else of
    the plain view in the last epoch; ``metric``: its name. ``epochs``: finished and in total. ``seconds``: the finished
    epochs' time; ``left``: about how much more, while it trains.
    """
    row = {"folder": run.folder.name, "has_report": run.report.is_file(), "problem": None}
    try:
        config = run.record("config")
        scores, submitted = (run.known(name) for name in ("scores", "submitted"))
        path = run.folder / "epochs.csv"
        written = path.stat().st_mtime_ns if path.is_file() else 0
        done, last, chart, seconds, of_stage = _epochs(run, written)
        ended = run.known("trained") if run.finished else {}
        of_kept = run.history.last_score(run.lost) if ended.get("diverged") else None
        score = of_kept[1] if of_kept else last.get("score")
        # Stages that weren't needed have no epochs.
        recorded = ended if ended and not ended.get("diverged") else config.get("recipe", {})
        stages: list[Stage] = []
        with contextlib.suppress(DeclarationError, TypeError):  # stages of another version
            stages = [stage_of(stage) for stage in recorded.get("stages", ())]
        total = sum(stage.epochs for stage in stages)
        newest = max(written, (run.folder / "config.json").stat().st_mtime_ns)
        # A notebook's session holds no run between two cells.
        under_way = time.time() - newest / 1e9 < SILENT_SECONDS if config.get("by_hand") else run.is_held
        reached = {"submitted": submitted, "predicted": scores, "trained": run.finished, "training": under_way}
        state = next((state for state, is_so in reached.items() if is_so), "stopped")
        left = None
        if state == "training" and last and int(last["stage"]) <= len(stages) and not config.get("by_hand"):
            left = seconds_left(stages, int(last["stage"]), of_stage, last["seconds"])
        return row | {
            "state": state,
            "backbone": config.get("recipe", {}).get("backbone", "").split("/")[-1],
            "size": stages[-1].pixels_in_words if stages else None,
            "seconds": seconds,
            "left": left,
            "score": scores.get("tuned", score),
            "tuned": "tuned" in scores,
            "metric": scores["metric"] if "tuned" in scores else of_kept[0] if of_kept else last.get("metric"),
            "leaderboard": run.leaderboard_score,
            "epochs": (done, max(total, done)) if stages else None,
            "last": last,
            "chart": chart,
        }
    except RunError as error:
        problem = str(error)
    except (OSError, KeyError, TypeError, AttributeError) as error:
        # It is being removed right now, or a version with other files wrote it.
        problem = f"{run.name} can't be read ({type(error).__name__}: {error}): if it stays so, delete {run.folder}."
    return row | {"state": "broken", "problem": problem}


@lru_cache(maxsize=1024)
def _epochs(run: Run, _written: int) -> tuple[int, dict[Any, Any], Any, float | None, int]:
    """The number of epochs, the last one, a small chart of losses, the time, and the last stage's number of epochs."""
    epochs = run.history.epochs()
    if epochs.empty:  # a training that was killed in its first epoch and resumed has an empty file
        return 0, {}, None, None, 0
    last = epochs.iloc[-1].to_dict()
    of_stage = int((epochs["stage"] == last["stage"]).sum())
    return len(epochs), last, figures.progress(epochs), float(epochs["seconds"].sum()), of_stage
