import resource
import sys
from contextlib import contextmanager

import pytest

# The options of a training that takes seconds.
TINY = ("--backbone", "test_resnet", "--set", "stages.cycle_length=1")


@contextmanager
def files_of_at_most(size):
    """Let no file grow beyond ``size`` bytes, as on a nearly full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with pytest.MonkeyPatch.context() as patch:
        # Python 3.11 would leave truncated bytecode, which no later process can read.
        patch.setattr(sys, "dont_write_bytecode", True)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def nothing_half_written(folder):
    """Assert that there is no run and no unfinished file."""
    assert not list(folder.glob("runs/*/*"))
    assert not [path for path in folder.rglob("*") if path.suffix == ".part" or ".part." in path.name]
