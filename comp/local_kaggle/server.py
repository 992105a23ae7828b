"""Run the local Kaggle for the duration of a block."""

from __future__ import annotations

import contextlib
import errno
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import uvicorn

from comp.errors import KaggleError, first_few
from comp.local_kaggle.app import HOSTS, create_app
from comp.local_kaggle.catalog import ANSWERS, Catalog
from comp.local_kaggle.datasets import Datasets
from comp.local_kaggle.grading import Grader
from comp.local_kaggle.kernels import Kernels
from comp.local_kaggle.protocol import LocalKaggle
from comp.local_kaggle.store import Store

START_SECONDS = 20.0


def without_answers(folder: Path) -> str | None:
    """A line that names the competitions without answers, so without scores; None if all have answers."""
    with Catalog(folder) as catalog:
        slugs = [
            slug
            for slug in catalog.slugs()
            if catalog.answers(slug) is None and any("sample_submission" in file.name for file in catalog.files(slug))
        ]
    return f"without {ANSWERS}/<slug>.csv, submissions get no score: {first_few(slugs)}" if slugs else None


@contextlib.contextmanager
def running(
    folder: Path,
    graders: Mapping[str, Grader],
    state: Path,
    *,
    kernels: bool = False,
    port: int = 0,
) -> Iterator[str]:
    """Run the local Kaggle in a thread for the duration of the block; yield its address.

    Args:
        folder: holds a folder for each competition or data set, and ``.answers/<slug>.csv`` for those to be graded;
            ``.answers/teams/<slug>/<team>.csv`` are submissions of other teams, on the leaderboard from the start.
        graders: by slug.
        state: folder for submissions and the leaderboard; made if missing.
        kernels: whether to execute pushed notebooks, on this machine.
        port: 0 for any free one.

    Raises:
        KaggleError: the port is taken.
        DataError: ``folder`` isn't there, or ``state`` can't be written.
        SubmissionError: another team's submission can't be scored.
    """
    with Catalog(folder) as catalog, contextlib.closing(bound(port)) as listening:
        store = Store(state / "submissions.sqlite")
        datasets = Datasets(state / "datasets", store, catalog)
        with Kernels(state / "kernels", catalog, datasets, executing=kernels) as pushed:
            more = {**datasets.calls(), **pushed.calls()}
            kaggle = LocalKaggle(catalog, store, graders, more)
            kaggle.enter_teams()
            config = uvicorn.Config(
                create_app(kaggle, pushed),
                http="h11",
                log_level="warning",
                access_log=False,
                lifespan="off",
                timeout_graceful_shutdown=3,
            )
            with _in_a_thread(uvicorn.Server(config), listening):
                yield f"http://{HOSTS[0]}:{listening.getsockname()[1]}"


@contextlib.contextmanager
def _in_a_thread(server: uvicorn.Server, listening: socket.socket) -> Iterator[None]:
    thread = threading.Thread(target=server.run, args=([listening],), name="local Kaggle", daemon=True)
    thread.start()
    try:
        deadline = time.monotonic() + START_SECONDS
        while not server.started:
            if not thread.is_alive() or time.monotonic() > deadline:
                raise KaggleError("The local Kaggle did not start; run `comp serve` to see why.")
            time.sleep(0.01)
        yield
    finally:
        server.should_exit = True
        thread.join(START_SECONDS)


def bound(port: int) -> socket.socket:
    """A socket that listens on this machine only. Raises KaggleError where the port is taken."""
    # asyncio sends without delay only if the protocol is given; otherwise answers on a used connection take 40 ms more
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((HOSTS[0], port))
        listening.listen(128)
    except (OSError, OverflowError) as error:
        listening.close()
        taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
        reason = "is taken by another program" if taken else f"can't be listened on ({error})"
        raise KaggleError(f"Port {port} of {HOSTS[0]} {reason}; choose another with --port.") from error
    return listening
