"""The board, served, and runs for it to show."""

import socket
import threading
from contextlib import closing, contextmanager

import uvicorn

from comp.declare.competition import REPOSITORY_COMPETITIONS
from comp.report.board import create_board
from comp.runs import create_run

FOLDERS = [REPOSITORY_COMPETITIONS]


@contextmanager
def served(workspace, folders=FOLDERS):
    """Serve the board on a free port for as long as the block lasts; yield its address."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        server = uvicorn.Server(uvicorn.Config(create_board(workspace, folders), log_level="warning", lifespan="off"))
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(10)


def started(workspace, name="quick", competition="digits"):
    run = create_run(workspace, competition, name)
    stage = {"size": 16, "train": "all", "cycles": 2, "cycle_length": 1, "cycle_multiplier": 2}
    run.write_record("config", {"competition": competition, "recipe": {"stages": [stage]}})
    return run


def trained_an_epoch(run, number, score=0.5, stage=1):
    measured = {"train_loss": 1.25, "valid_loss": 1.5, "metric": "accuracy", "score": score}
    where = {"stage": stage, "cycle": 1, "epoch": number + 1}
    epoch = {**where, **measured, "seconds": 2.0, "images_per_second": 10.0}
    run.history.append_epoch(epoch, [{"loss": 1.25, "lr_head": 1e-3}])
