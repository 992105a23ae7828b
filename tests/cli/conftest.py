import resource
import sys
from contextlib import contextmanager

import pytest

# A training of seconds.
TINY = ("--backbone", "test_resnet", "--set", "stages.cycle_length=1")


@contextmanager
def files_of_at_most(size):
    """No file may grow beyond ``size`` bytes, as on a disk with so little room."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with pytest.MonkeyPatch.context() as patch:
        # Python 3.11 keeps what it could write of a module's bytecode, which no later process can read.
        patch.setattr(sys, "dont_write_bytecode", True)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def nothing_half_written(folder):
    """No run, and no file that was left unfinished."""
    assert not list(folder.glob("runs/*/*"))
    assert not [path for path in folder.rglob("*") if path.suffix == ".part" or ".part." in path.name]
