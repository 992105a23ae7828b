"""A competition's data in the workspace: downloaded from its Kaggle, mounted in a notebook, or there already."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from comp.console import Console
from comp.declare.competition import Competition
from comp.errors import CredentialsError
from comp.files import holds_files
from comp.kaggle.downloads import amount
from comp.kaggle.failures import MissingError
from comp.kaggle.fetch import fetch
from comp.kaggle.sources import kaggle_of, mount_of
from comp.runs import Workspace


def download(
    competition: Competition, workspace: Workspace, console: Console, *, delete_archives: bool = False
) -> Path:
    """The competition's files and its data sets', unpacked in one folder; does nothing where they already are.

    Raises KaggleError.
    """
    handles, folder = [dataset.handle for dataset in competition.extra_data], workspace.data(competition.name)
    with (
        kaggle_of(competition, workspace, console.say) as connect,
        _or_linked(competition, folder),
        console.downloads() as progress,
    ):
        fetched = fetch(
            connect,
            competition.kaggle,
            handles,
            folder,
            progress,
            console.say,
            # A workspace that knows one Kaggle only has that one's data.
            mount_of=mount_of if workspace.kaggle is None else lambda _: None,
            delete_archives=delete_archives,
        )
    if not fetched.was_there:
        for mounted in (archive for archive in fetched.archives if archive.mount):
            console.say(f"{mounted.source} is mounted at {mounted.mount}; nothing is downloaded for it")
        if fetched.downloaded:
            console.say(f"downloaded {', '.join(archive.name for archive in fetched.downloaded)} to {folder}")
        if fetched.downloaded and not delete_archives:
            size = amount(sum(archive.size for archive in fetched.archives))
            console.say(f"the archives are kept, {size}; --delete-archives deletes them")
    return folder


@contextmanager
def _or_linked(competition: Competition, folder: Path) -> Iterator[None]:
    """Name the other way to its data where Kaggle doesn't know a competition whose slug may only stand for one."""
    try:
        yield
    except (CredentialsError, MissingError) as error:
        if competition.kaggle != competition.name or holds_files(folder):
            raise
        linking = f"where the files are on this machine, `comp new {competition.name} --data DIR` links them instead"
        error.args = (f"{str(error).removesuffix('.')}; {linking}.",)
        raise
