import os

import pytest

from comp.runs import create_run


@pytest.fixture
def started(workspace):
    """A run that got as far as its config, at a time of one's choice."""

    def start(competition, name, at=None):
        run = create_run(workspace, competition, name)
        run.write_record("config", {"of": run.name, "competition": run.folder.parent.name})
        if at is not None:
            os.utime(run.folder / "config.json", (at, at))
        return run

    return start
