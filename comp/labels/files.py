"""Finding the images in a folder, and reading a CSV as the text it is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from comp.declared import wrong
from comp.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import pandas as pd

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp"})


def read_csv(path: Path, columns: Sequence[str] = (), *, spaced: bool = False) -> pd.DataFrame:
    """A CSV with every value as the text it is (no NaN, no lost zeros); raises DataError for a missing column.

    spaced: spaces before values and around the columns' names are no part of them.
    """
    import pandas as pd

    try:
        # With its names as a first row: pandas would rename a second column of a name, and take a first one without
        # for the names of rows.
        frame = pd.read_csv(
            path, header=None, dtype=str, keep_default_na=False, encoding="utf-8-sig", skipinitialspace=spaced
        ).fillna("")
    except FileNotFoundError:
        raise DataError(
            f"{path} doesn't exist; check its name in competition.py, or download the data again."
        ) from None
    except UnicodeDecodeError:
        raise DataError(f"{path} can't be read as a CSV: it is no UTF-8 text; save it as UTF-8.") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, ValueError) as error:
        raise DataError(f"{path} can't be read as a CSV: {' '.join(str(error).split())}.") from None
    names = frame.iloc[0].str.strip() if spaced else frame.iloc[0]
    frame = frame.iloc[1:].reset_index(drop=True).set_axis(pd.Index(names.to_list()), axis=1)
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        found = ", ".join(map(str, frame.columns[:10]))
        raise DataError(f"{path} has no column {missing[0]!r}; its columns are {found}.")
    doubled = frame.columns[frame.columns.duplicated()]
    if len(doubled):
        raise DataError(f"{path} has the column {doubled[0]!r} twice; remove one or rename it.")
    return frame


def check_suffix(declaration: object, suffix: object) -> None:
    if not isinstance(suffix, str) or (suffix and not suffix.startswith(".")):
        raise wrong(declaration, "suffix", suffix, "empty or start with a dot, like '.jpg'")


def of_other_suffixes(folders: Iterable[Path], suffix: str | None) -> list[str]:
    """A line that names the images of these folders that the suffix leaves out, if there are any."""
    if suffix is None:
        return []
    others = []
    for folder in (folder for folder in folders if folder.is_dir()):
        names = (name for name in _ending_in(IMAGE_SUFFIXES, folder) if not name.lower().endswith(suffix.lower()))
        others += [placed(folder, name) for name in sorted(names)]
    if not others:
        return []
    return [f"{len(others)} images do not end in {suffix!r} and are left out, the first {others[0]!r}"]


def images_in(folder: Path, suffix: str | None = None, *, required: bool = True) -> list[str]:
    """The names of the images right in a folder, sorted; hidden files are none.

    suffix: keep only files that end in it; without it, any of IMAGE_SUFFIXES.
    """
    if not folder.is_dir():
        raise DataError(
            f"The image folder {folder} doesn't exist; check its name in competition.py, or download the data."
        )
    found = sorted(_ending_in(IMAGE_SUFFIXES if suffix is None else {suffix}, folder))
    if required and not found:
        raise DataError(f"{folder} holds no {suffix or 'image'} files; check its name in competition.py.")
    return found


def _ending_in(suffixes: Iterable[str], folder: Path) -> Iterator[str]:
    endings = tuple(suffix.lower() for suffix in suffixes)
    with os.scandir(folder) as entries:
        for entry in entries:
            name = entry.name
            if name.lower().endswith(endings) and name[0] != ".":
                yield name


def placed(folder: Path | str, name: str) -> str:
    """``folder / name`` as text: of a million files the paths as objects would take most of a start's time and memory.

    folder: as text, it must be as `Path` writes it.
    """
    text, slashed = str(folder), f"/{name}/"
    # What `Path` would write otherwise.
    if "//" in slashed or "/./" in slashed or text in ("/", "."):
        return str(Path(text, name))
    return f"{text}/{name}"
