"""Running the local Kaggle: until it is interrupted, or for as long as a block lasts."""

from __future__ import annotations

import contextlib
import errno
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from comp.errors import DataError, KaggleError
from comp.local_kaggle.app import HOSTS, create_app
from comp.local_kaggle.catalog import ANSWERS, Catalog
from comp.local_kaggle.datasets import Datasets
from comp.local_kaggle.faults import Faulty
from comp.local_kaggle.kernels import Kernels
from comp.local_kaggle.protocol import LocalKaggle
from comp.local_kaggle.rivals import enter_rivals
from comp.local_kaggle.store import Store

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from comp.local_kaggle.faults import Fault
    from comp.local_kaggle.grading import Grader
    from comp.local_kaggle.protocol import Terms

START_SECONDS = 20.0
MOST_NAMED = 5


def serve(
    folder: Path,
    graders: Mapping[str, Grader],
    state: Path,
    port: int,
    host: str = "127.0.0.1",
    announce: Callable[[str], None] = lambda _: None,
    faults: Sequence[Fault] = (),
    *,
    kernels: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> None:
    """Serve the folders of ``folder`` until the process is interrupted.

    Args:
        folder: holds a folder for each competition or data set, and ``.answers/<slug>.csv`` for those to be graded;
            ``.answers/rivals/<slug>/<team>.csv`` are submissions of other teams, who are on the leaderboard at once.
        graders: by slug.
        state: folder for submissions and the leaderboard; made if missing.
        port: 0 for any that is free.
        host: 127.0.0.1 or localhost.
        announce: called with the address once it can be connected to.
        faults: what is to go wrong.
        kernels: whether to execute, on this machine, the notebooks that are pushed.
        say: called, after ``announce``, with a line about what can't be graded.

    Raises:
        KaggleError: the port is taken, or the host is not this machine.
        DataError: ``folder`` isn't there, or ``state`` can't be written.
        SubmissionError: a rival's submission can't be scored.
    """
    with _server(folder, graders, state, host, port, faults, {}, kernels) as (server, listening, url):
        announce(url)
        if line := without_answers(folder):
            say(line)
        with contextlib.suppress(KeyboardInterrupt):
            server.run(sockets=[listening])


def without_answers(folder: Path) -> str | None:
    """A line that names what nothing is graded of, or None where everything is."""
    with Catalog(folder) as catalog:
        slugs = catalog.unanswered()
    if not slugs:
        return None
    more = f" and {len(slugs) - MOST_NAMED} more" if len(slugs) > MOST_NAMED else ""
    return f"without {ANSWERS}/<slug>.csv, submissions get no score: {', '.join(slugs[:MOST_NAMED])}{more}"


@contextlib.contextmanager
def running(
    folder: Path,
    graders: Mapping[str, Grader],
    state: Path,
    faults: Sequence[Fault] = (),
    terms: Mapping[str, Terms] | None = None,
    *,
    kernels: bool = False,
) -> Iterator[str]:
    """The local Kaggle in a thread, on a free port, for as long as the block lasts; gives its address.

    Args:
        folder, graders, state, faults, kernels: as for `serve`.
        terms: what competitions allow, by slug; else many submissions a day.

    Raises:
        DataError, SubmissionError: as `serve`.
    """
    with _server(folder, graders, state, "127.0.0.1", 0, faults, terms or {}, kernels) as (server, listening, url):
        thread = threading.Thread(target=server.run, args=([listening],), name="local Kaggle", daemon=True)
        thread.start()
        try:
            deadline = time.monotonic() + START_SECONDS
            while not server.started:
                if not thread.is_alive() or time.monotonic() > deadline:
                    raise KaggleError("The local Kaggle did not start; run `comp serve` to see why.")
                time.sleep(0.01)
            yield url
        finally:
            server.should_exit = True
            thread.join(START_SECONDS)


@contextlib.contextmanager
def _server(
    folder: Path,
    graders: Mapping[str, Grader],
    state: Path,
    host: str,
    port: int,
    faults: Sequence[Fault],
    terms: Mapping[str, Terms],
    kernels: bool,
) -> Iterator[tuple[uvicorn.Server, socket.socket, str]]:
    if host not in HOSTS:
        raise KaggleError(f"The local Kaggle listens on {' or '.join(HOSTS)} only, and {host!r} was asked for.")
    with Catalog(folder) as catalog, contextlib.closing(bound(host, port)) as listening:
        uploads = state / "uploads"
        try:
            uploads.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(
                f"The local Kaggle can't keep submissions in {state}: {error.strerror or error}; make it writable."
            ) from error
        store = Store(state / "submissions.sqlite")
        enter_rivals(catalog, store, graders)
        datasets = Datasets(state / "datasets", uploads, store, catalog)
        with Kernels(state / "kernels", catalog, datasets, executing=kernels) as pushed:
            kaggle = LocalKaggle(catalog, store, graders, uploads, terms, {**datasets.calls(), **pushed.calls()})
            connections: dict[Any, asyncio.Transport] = {}
            app = create_app(kaggle, pushed)
            config = uvicorn.Config(
                Faulty(app, faults, kaggle, connections) if faults else app,
                http=_remembering(connections),
                log_level="warning",
                access_log=False,
                lifespan="off",
                timeout_graceful_shutdown=3,
            )
            yield uvicorn.Server(config), listening, f"http://{host}:{listening.getsockname()[1]}"


def _remembering(connections: dict[Any, asyncio.Transport]) -> type[H11Protocol]:
    """HTTP that keeps the connections by who is at their other end, so that a fault can end one."""

    class Remembering(H11Protocol):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            connections[transport.get_extra_info("peername")] = transport

        def connection_lost(self, exc: Exception | None) -> None:
            connections.pop(self.transport.get_extra_info("peername"), None)
            super().connection_lost(exc)

    return Remembering


def bound(host: str, port: int) -> socket.socket:
    """A socket that listens there. Raises KaggleError where the port is taken."""
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(128)
    except (OSError, OverflowError) as error:
        listening.close()
        taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
        reason = "is taken by another program" if taken else f"can't be listened on ({error})"
        raise KaggleError(f"Port {port} of {host} {reason}; choose another with --port.") from error
    return listening
