import os

import pytest

from comp.runs import create_run


@pytest.fixture
def started(workspace):
    """Makes a run with only a config, whose time may be given."""

    def start(competition, name, at=None):
        run = create_run(workspace, competition, name)
        run.write_record("config", {"of": run.name, "competition": run.folder.parent.name})
        if at is not None:
            os.utime(run.folder / "config.json", (at, at))
        return run

    return start
