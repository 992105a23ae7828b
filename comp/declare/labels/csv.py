"""Reading tables as plain text: a CSV in any usual encoding and separator, gzipped or not, or Parquet."""

from __future__ import annotations

import codecs
import gzip
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

from comp.declare.checks import Rule
from comp.declare.metrics import ROUNDING
from comp.errors import DataError

if TYPE_CHECKING:
    import pandas as pd
    from pandas.io.parsers import TextFileReader


TABLE_SUFFIXES = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".parquet")
SEPARATORS = ",;\t|"
SCANNED = 1 << 20  # bytes at a time
WINDOWS = "cp1252"
RowName = Annotated[
    str,
    Rule(lambda text: text.count("{id}") == text.count("{class}") == 1),
    "text with {id} and {class} in it, like '{id}_{class}'",
]
# The texts before a record of a JSON list, and at the list's end.
NEXT, END = re.compile(r"\s*[\[,]\s*"), re.compile(r"\s*\[?\s*\]\s*\Z")
Where = Annotated[
    Sequence[str], Rule(lambda value: len(value) != 1), "a column and its values, like ['split', 'train']"
]
# UTF-16's mark begins UTF-32's.
UNICODE = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def read_csv(path: Path, columns: Sequence[str] = (), *, spaced: bool = False) -> pd.DataFrame:
    """Read a table with every value as plain text (no NaN, no lost zeros); raises DataError for a missing column.

    spaced: strip spaces before values and around the columns' names.
    """
    if path.suffix == ".parquet":
        return _read_parquet(path, columns)
    with wrong_said(path):
        dialect = _dialect(path)
        with _reader(path, dialect, spaced=spaced) as reader:
            frame = reader.read()
    table = _named(frame.iloc[1:], _names(path, frame, columns, spaced=spaced))
    table.attrs["notes"] = (
        [f"{path.name} isn't UTF-8, so it is read as Windows text (cp1252)"] if dialect[0] == WINDOWS else []
    )
    return table


def read_csv_in_blocks(path: Path, cells: int) -> Iterator[pd.DataFrame]:
    """Read as `read_csv` in blocks of about this many values, indexed by row number; yields at least one block."""
    with wrong_said(path), _reader(path, _dialect(path)) as reader:
        head = reader.get_chunk(1)
        names = _names(path, head)
        yield _named(head.iloc[1:], names)
        while True:
            try:
                frame = reader.get_chunk(max(1, cells // len(names)))
            except StopIteration:
                return
            yield _named(frame, names)


def trimmed(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.apply(lambda column: column.str.strip())


def chosen(rows: pd.DataFrame, where: Sequence[str], path: Path) -> pd.DataFrame:
    """The rows with one of the values in the column of ``where``; raises DataError where there are none."""
    found = rows[rows[where[0]].str.strip().isin(where[1:])] if where else rows
    if found.empty:
        which = f" with {' or '.join(map(repr, where[1:]))} in {where[0]!r}" if where else ""
        raise DataError(f"{path} has no rows{which}; check it, or download the data again.")
    return found


def records_in(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the records of a JSON list of any length; raises DataError for other JSON."""
    decoder, place = json.JSONDecoder(), 0
    with wrong_said(path), path.open(encoding="utf-8-sig") as file:
        text = file.read(SCANNED)
        is_list = text.lstrip().startswith("[")
        while is_list and not END.match(text, place):
            begins = NEXT.match(text, place)
            try:
                record, place = decoder.raw_decode(text, begins.end() if begins else len(text))
            except ValueError:
                more = file.read(len(text) + SCANNED)
                is_list = bool(more)
                text, place = text[place:] + more, 0
                continue
            is_list = isinstance(record, dict)
            if is_list:
                yield record
        if not is_list:
            raise DataError(f"{path} isn't a list of records; write it as a CSV.")


def parts_of_rows(rows: pd.Series[str], pattern: str, classes: Sequence[str]) -> pd.DataFrame:
    """Split names of rows into image and the longest class that fits, columns 0 and 1.

    Raises DataError for a name that doesn't fit.
    """
    before, after = pattern.split("{id}")
    either = "|".join(map(re.escape, sorted(classes, key=len, reverse=True)))
    named = "(.+?)".join(re.escape(part).replace(r"\{class\}", f"({either})") for part in (before, after))
    parts = rows.str.extract(f"^{named}$")[[0, 1] if "{class}" in after else [1, 0]].set_axis([0, 1], axis=1)
    if (odd := parts[0].isna()).any():
        raise DataError(
            f"{rows.name!s} has {rows[odd].iloc[0]!r}, which is not named after an image and a class, {pattern}; the "
            f"classes are {', '.join(classes[:10])}."
        )
    return parts


def widened(
    rows: pd.DataFrame, column: str, pattern: str, classes: Sequence[str], value: str, beside: Iterable[str] = ()
) -> pd.DataFrame:
    """Pivot rows for each image and class into a row per image with a column per class.

    beside: further columns, with one value for all rows of an image. Raises DataError where an image has several.
    """
    parts = parts_of_rows(rows[column].str.strip(), pattern, classes)
    wide = pivoted(rows, parts, classes, column, value)
    for name in beside:
        wide[name] = only_values(rows[name], parts[0]).loc[wide[column]].to_list()
    return wide


def only_values(values: pd.Series[str], images: pd.Series[str]) -> pd.Series[str]:
    """The value that all rows of an image have, by image; raises DataError where they differ."""
    found = values.str.strip().groupby(images).agg(["nunique", "first"])
    if (several := found["nunique"] > 1).any():
        raise DataError(
            f"{values.name!s} differs between the rows of {several.idxmax()!r}, but an image has one; make them agree."
        )
    return found["first"]


def pivoted(rows: pd.DataFrame, parts: pd.DataFrame, classes: Sequence[str], column: str, value: str) -> pd.DataFrame:
    """Pivot rows whose image and class are in columns 0 and 1 of ``parts``; see `widened`."""
    parts = parts.assign(value=rows[value].str.strip()).drop_duplicates()
    if (doubled := parts.duplicated([0, 1])).any():
        first = rows.loc[parts.index[doubled][0], column]
        raise DataError(f"{column} has {first!r} twice, with different values in {value}; remove one of these rows.")
    wide = parts.pivot(index=0, columns=1, values="value").fillna("")
    wide = wide.reindex(columns=list(classes), fill_value="")
    return wide.rename_axis(index=column, columns=None).reset_index()


def read_ids(path: Path, column: str = "") -> tuple[tuple[str, ...], pd.Series[str]]:
    """The names of a CSV's columns, and the values of one column; the values of the others aren't kept.

    column: the column's name; if empty, the first. Raises DataError where there is no such column.
    """
    with wrong_said(path):
        dialect = _dialect(path)
        with _reader(path, dialect) as reader:
            names = _names(path, reader.get_chunk(1), [column] if column else ())
        place = list(names).index(column) if column else 0
        with _reader(path, dialect, only=place) as reader:
            ids: pd.Series[str] = _named(reader.read().iloc[1:], names[[place]])[names[place]]
    return tuple(names), ids


def numbers_in(
    csv: str, rows: pd.DataFrame, columns: Sequence[str], bounds: Sequence[float] | None
) -> list[tuple[tuple[str, float], ...]]:
    """The numbers of each row by column name. Raises DataError for a value that is no number or out of bounds."""
    import numpy as np
    import pandas as pd

    least, most = bounds or (-np.inf, np.inf)
    found = rows[list(columns)].apply(pd.to_numeric, errors="coerce").to_numpy(np.float64)
    wrong = np.argwhere(~np.isfinite(found) | (found < least) | (found > most))
    if len(wrong):
        row, column = wrong[0]
        wanted = "a number" if bounds is None else f"a number from {least:g} to {most:g}"
        raise DataError(
            f"{csv} gives image {rows.index[row]!r} {rows[columns[column]].iloc[row]!r} in column {columns[column]!r}, "
            f"but it should be {wanted}."
        )
    return [tuple(zip(columns, values, strict=True)) for values in found.tolist()]


def as_shares(source: str, image: str, label: tuple[tuple[str, float], ...]) -> tuple[tuple[str, float], ...]:
    """Normalise shares that sum to one up to rounding. Raises DataError for another sum."""
    total = sum(value for _, value in label)
    if abs(total - 1) > ROUNDING:
        raise DataError(
            f"{source} gives image {image!r} shares that sum to {total:g}, but they should sum to one; "
            "say target='fractions' where each stands alone."
        )
    return tuple((name, value / total) for name, value in label)


def _reader(path: Path, dialect: tuple[str, str], *, spaced: bool = False, only: int | None = None) -> TextFileReader:
    import pandas as pd

    # The header is read as a row: pandas would rename repeated columns, and make an unnamed first one the index.
    return pd.read_csv(
        path,
        header=None,
        dtype=str,
        keep_default_na=False,
        encoding=dialect[0],
        sep=dialect[1],
        skipinitialspace=spaced,
        usecols=None if only is None else [only],
        iterator=True,
    )


def _dialect(path: Path) -> tuple[str, str]:
    """The encoding, cp1252 where it isn't Unicode, and the separator: the comma, unless the first row has none."""
    with _opened(path) as file:
        start = file.read(4)
    encoding = next((name for mark, name in UNICODE if start.startswith(mark)), "utf-8-sig")
    try:
        with TextIOWrapper(_opened(path), encoding, newline="") as text:
            first = text.readline()
            while text.read(SCANNED):
                pass
    except UnicodeDecodeError:
        encoding = WINDOWS
        with TextIOWrapper(_opened(path), encoding, errors="replace") as text:
            first = text.readline()
    if "," in first or (plain := max(SEPARATORS, key=first.count)) not in first:
        return encoding, ","
    return encoding, plain


def _opened(path: Path) -> BinaryIO | gzip.GzipFile:
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")


def _read_parquet(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    import pandas as pd

    with wrong_said(path):
        frame = pd.read_parquet(path)
        texts = frame[[name for name in frame if _is_text(frame[name])]].astype("string")
    missing = [column for column in columns if column not in texts]
    if missing:
        raise DataError(_no_column(path, missing[0], texts.columns))
    return texts.fillna("").astype(object).reset_index(drop=True)


def _is_text(values: pd.Series[Any]) -> bool:
    """Whether values, or the parts of records, aren't bytes of images, judged by the first one."""
    first = next(iter(values.dropna()), "")
    parts = first.values() if isinstance(first, dict) else [first]
    try:
        b"".join(part for part in parts if isinstance(part, bytes)).decode()
    except UnicodeDecodeError:
        return False
    return True


@contextmanager
def wrong_said(path: Path) -> Iterator[None]:
    """Turn an error in reading a table into a DataError that names the table."""
    import pandas as pd

    kind = "Parquet" if path.suffix == ".parquet" else "a CSV"
    try:
        yield
    except FileNotFoundError:
        raise DataError(
            f"{path} doesn't exist; check its name in competition.py, or download the data again."
        ) from None
    except UnicodeDecodeError:
        raise DataError(
            f"{path} can't be read as {kind}: it is neither UTF-8 nor Windows' text; save it as UTF-8."
        ) from None
    except pd.errors.ParserError as error:
        # The message of pandas' C parser.
        odd = re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", str(error))
        why = " ".join(str(error).split())
        if odd:
            why = f"line {odd[2]} has {odd[3]} values, the lines before it {odd[1]}; quote values that have a separator"
        raise DataError(f"{path} can't be read as {kind}: {why}.") from None
    except (pd.errors.EmptyDataError, OSError, EOFError, ValueError) as error:
        raise DataError(f"{path} can't be read as {kind}: {' '.join(str(error).split())}.") from None


def _names(path: Path, frame: pd.DataFrame, columns: Sequence[str] = (), *, spaced: bool = False) -> pd.Index[str]:
    """The column names in a first row; raises DataError for one that is missing or repeated."""
    import pandas as pd

    first = frame.iloc[0].fillna("")
    names = pd.Index((first.str.strip() if spaced else first).to_list())
    missing = [column for column in columns if column not in names]
    if missing:
        raise DataError(_no_column(path, missing[0], names))
    doubled = names[names.duplicated()]
    if len(doubled):
        raise DataError(f"{path} has the column {doubled[0]!r} twice; remove one or rename it.")
    return names


def _no_column(path: Path, column: str, names: pd.Index[str]) -> str:
    return f"{path} has no column {column!r}; its columns are {', '.join(map(str, names[:10]))}."


def _named(frame: pd.DataFrame, names: pd.Index[str]) -> pd.DataFrame:
    """Rows with column names and an index from 0; the row before them held the names."""
    return frame.fillna("").set_axis(frame.index - 1, axis=0).set_axis(names, axis=1)
