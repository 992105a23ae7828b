"""A study of Optuna's on disk: a journal that processes on several machines may write to, and be killed at it."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING, BinaryIO

from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

if TYPE_CHECKING:
    from pathlib import Path


def study_at(journal: Path) -> JournalStorage:
    """What is written in the journal, which nobody else writes to now; a new one where there is none."""
    _cut_unfinished_line(journal)
    return JournalStorage(JournalFileBackend(str(journal), _Lock(journal)))


class _Lock(JournalFileOpenLock):
    """One that the kernel lets go of when its process dies; Optuna's own then hold everybody up for half a minute."""

    def __init__(self, journal: Path) -> None:
        self.place = journal.with_suffix(".lock")
        self.file: BinaryIO | None = None

    def acquire(self) -> bool:
        self.file = self.place.open("ab")
        fcntl.flock(self.file, fcntl.LOCK_EX)
        return True

    def release(self) -> None:
        assert self.file is not None
        self.file.close()
        self.file = None


def _cut_unfinished_line(journal: Path) -> None:
    """Take away what was being written when a disk was full or a machine went down: Optuna could read no more."""
    written = journal.read_bytes() if journal.is_file() else b""
    whole = written.rfind(b"\n") + 1
    if whole < len(written):
        os.truncate(journal, whole)
