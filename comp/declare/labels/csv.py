"""Reading a CSV as the text it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from comp.errors import DataError

if TYPE_CHECKING:
    import pandas as pd
    from pandas.io.parsers import TextFileReader


def read_csv(path: Path, columns: Sequence[str] = (), *, spaced: bool = False) -> pd.DataFrame:
    """A CSV with every value as the text it is (no NaN, no lost zeros); raises DataError for a missing column.

    spaced: spaces before values and around the columns' names are no part of them.
    """
    with _wrong_said(path), _reader(path, spaced=spaced) as reader:
        frame = reader.read()
    return _named(frame.iloc[1:], _names(path, frame, columns, spaced=spaced))


def read_csv_in_blocks(path: Path, cells: int) -> Iterator[pd.DataFrame]:
    """As `read_csv`, about so many values at a time, each row at its place in the index; at least one block."""
    with _wrong_said(path), _reader(path) as reader:
        head = reader.get_chunk(1)
        names = _names(path, head)
        yield _named(head.iloc[1:], names)
        while True:
            try:
                frame = reader.get_chunk(max(1, cells // len(names)))
            except StopIteration:
                return
            yield _named(frame, names)


def read_ids(path: Path) -> tuple[tuple[str, ...], pd.Series[str]]:
    """The names of a CSV's columns, and the values of the first; what else is in its rows isn't looked at."""
    with _wrong_said(path), _reader(path) as reader:
        names = _names(path, reader.get_chunk(1))
    with _wrong_said(path), _reader(path, first_only=True) as reader:
        ids = _named(reader.read().iloc[1:], names[:1])[names[0]]
    return tuple(names), ids


def _reader(path: Path, *, spaced: bool = False, first_only: bool = False) -> TextFileReader:
    import pandas as pd

    # With its names as a first row: pandas would rename a second column of a name, and take a first one without for the
    # names of rows.
    return pd.read_csv(
        path,
        header=None,
        dtype=str,
        keep_default_na=False,
        encoding="utf-8-sig",
        skipinitialspace=spaced,
        usecols=[0] if first_only else None,
        iterator=True,
    )


@contextmanager
def _wrong_said(path: Path) -> Iterator[None]:
    import pandas as pd

    try:
        yield
    except FileNotFoundError:
        raise DataError(
            f"{path} doesn't exist; check its name in competition.py, or download the data again."
        ) from None
    except UnicodeDecodeError:
        raise DataError(f"{path} can't be read as a CSV: it is no UTF-8 text; save it as UTF-8.") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, ValueError) as error:
        raise DataError(f"{path} can't be read as a CSV: {' '.join(str(error).split())}.") from None


def _names(path: Path, frame: pd.DataFrame, columns: Sequence[str] = (), *, spaced: bool = False) -> pd.Index[str]:
    """Those in a first row; raises DataError for one that is missing or there twice."""
    import pandas as pd

    first = frame.iloc[0].fillna("")
    names = pd.Index((first.str.strip() if spaced else first).to_list())
    missing = [column for column in columns if column not in names]
    if missing:
        raise DataError(f"{path} has no column {missing[0]!r}; its columns are {', '.join(map(str, names[:10]))}.")
    doubled = names[names.duplicated()]
    if len(doubled):
        raise DataError(f"{path} has the column {doubled[0]!r} twice; remove one or rename it.")
    return names


def _named(frame: pd.DataFrame, names: pd.Index[str]) -> pd.DataFrame:
    """Rows after the first, which has the names, counted from 0."""
    return frame.fillna("").set_axis(frame.index - 1, axis=0).set_axis(names, axis=1)
