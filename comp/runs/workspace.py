"""Where everything lies."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Workspace:
    """Where data, caches and runs are: the folder ``COMP_HOME``, or the working folder.

    kaggle: the address of the only Kaggle that what happens here may speak to; a rehearsal's is on this machine.
    """

    folder: Path
    kaggle: str | None = None

    @classmethod
    def from_environment(cls) -> Workspace:
        return cls(Path(os.environ.get("COMP_HOME") or ".").expanduser().resolve())

    @property
    def runs(self) -> Path:
        return self.folder / "runs"

    @property
    def cache(self) -> Path:
        return self.folder / "cache"

    @property
    def rehearsals(self) -> Path:
        return self.folder / "rehearsals"

    @property
    def notebooks(self) -> Path:
        """What is known of the notebooks at Kaggle that are under way, and the logs of those that failed."""
        return self.cache / "notebooks"

    def data(self, competition: str) -> Path:
        """The folder of a competition's files and of its extra data sets'."""
        return self.folder / "data" / competition
