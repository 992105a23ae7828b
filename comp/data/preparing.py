"""Running a competition's ``prepare``, which makes images or the sample submission of your own images, once."""

from __future__ import annotations

import hashlib
import json
import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from math import isqrt
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow.parquet as pq
from PIL import Image

from comp.data.reading import in_threads
from comp.data.splitting import draw_hidden
from comp.data.targets import targets_of
from comp.declare.competition import Competition
from comp.declare.custom import key_of
from comp.declare.forms import Numbers, ProbabilityPerClass
from comp.declare.labels.csv import records_in
from comp.declare.labels.files import walked
from comp.declare.labels.table import LabelSource, answers_of, classes_of
from comp.declare.own_images import ANSWERS, PREPARED, SAMPLE, AskForAll, HideShare, KnownLabels
from comp.declare.reading import PixelTable
from comp.errors import CompError, DataError, counted
from comp.files import alone, digest_of, replacing_folder
from comp.submission.postprocessing import untuned
from comp.submission.predictions import name_of_ids
from comp.submission.submission import exact_predictions

Array = npt.NDArray[Any]

# The file in the prepared folder that records what the folder was made from.
MARK = ".made-from.json"
# Rows of a table to read at once.
AT_ONCE = 256


def prepare_files(competition: Competition, folder: Path, say: Callable[[str], None] = lambda _: None) -> None:
    """Make ``prepared/`` in a competition's folder by its ``prepare``, from the folder's other files.

    Does nothing where the same source made it from files with the same names, sizes and dates. The folder appears whole
    or not at all. Raises DataError where it can't be made.
    """
    if not competition.prepare:
        return
    place, unfinished = folder / PREPARED, folder / f".{PREPARED}.part"
    made_from = json.dumps([key_of(competition.prepare), key_of(competition.read), _there(competition, folder)])
    if _made_from(place) == made_from:
        return
    with alone(folder / f".{PREPARED}.lock", lambda: say("another process prepares the same files; waiting for it")):
        if _made_from(place) == made_from:
            return
        say(f"preparing {place}")
        began = monotonic()
        try:
            with replacing_folder(place, unfinished):
                _make(competition, folder, unfinished)
                count = sum(path.is_file() for path in unfinished.rglob("*"))
                (unfinished / MARK).write_text(made_from, encoding="utf-8")
        except CompError:
            raise
        except Exception as error:  # a custom function may raise anything
            raise DataError(f"Competition: `prepare` failed with {type(error).__name__}: {error}.") from error
        say(f"prepared {counted(count, 'file')} in {place} in {monotonic() - began:.0f} s")


def _there(competition: Competition, folder: Path) -> str:
    """A digest of what is prepared: names, sizes and dates of files; for your own images, their table."""
    prepare = competition.prepare
    if isinstance(prepare, (HideShare, AskForAll)):
        if isinstance(prepare, HideShare):
            table = all_labels(competition).read(folder).to_csv()
        else:
            classes = classes_of(competition.labels.read(folder), competition.target)
            table = competition.test.read(folder).to_csv() + repr(classes)
        return f"{competition.submission!r} {hashlib.blake2b(table.encode(), digest_size=16).hexdigest()}"
    if callable(prepare):
        paths = _files_below(folder)
    else:
        paths = (path for table in _tables_of(prepare) for path in folder.glob(table.table))
    return digest_of({path.relative_to(folder).as_posix(): path for path in paths}, most_bytes=-1)


def _files_below(folder: Path) -> Iterator[Path]:
    """All files that a custom function may read."""
    for place, inside, names in walked(folder):
        if place == str(folder):
            inside[:] = [name for name in inside if name != PREPARED]
        yield from (Path(place, name) for name in names)


def _tables_of(prepare: PixelTable | Sequence[PixelTable]) -> Sequence[PixelTable]:
    return (prepare,) if isinstance(prepare, PixelTable) else prepare


def _made_from(place: Path) -> str | None:
    try:
        return (place / MARK).read_text(encoding="utf-8")
    except OSError:
        return None


def _make(competition: Competition, folder: Path, new: Path) -> None:
    prepare = competition.prepare
    if isinstance(prepare, HideShare):
        _hide(prepare, competition, folder, new)
    elif isinstance(prepare, AskForAll):
        classes = classes_of(competition.labels.read(folder), competition.target)
        ask_for(competition, classes, competition.test.read(folder)["id"].to_list(), new)
    elif callable(prepare):
        prepare(folder, new)
    else:
        write = _write_array if competition.read == "npy" else _write_png
        for table in _tables_of(prepare):
            deque(in_threads(write, _images_in(table, folder, new)), maxlen=0)


def all_labels(competition: Competition) -> LabelSource:
    """The labels of all images, including those that are, or will be, hidden."""
    labels = competition.labels
    return labels.labels if isinstance(labels, KnownLabels) else labels


def _hide(hiding: HideShare, competition: Competition, folder: Path, new: Path) -> None:
    """Write a sample submission that asks for a share of the labelled images, and its answers."""
    images = all_labels(competition).read(folder)
    classes = classes_of(images, competition.target)
    targets = targets_of(images, classes, competition.target)
    able = images["validates"].isna().to_numpy() if "validates" in images else np.ones(len(images), bool)
    together = next((images[name].to_numpy(object) for name in ("group", "answer") if name in images), None)
    hidden = draw_hidden(targets, hiding.share, 0, able, together)
    asked, first = np.unique(answers_of(images)[hidden].to_list(), return_index=True)
    ask_for(competition, classes, asked.tolist(), new, targets[hidden][first])


def ask_for(
    competition: Competition,
    classes: Sequence[str],
    ids: Sequence[str],
    new: Path,
    targets: Array | None = None,
    header: Sequence[str] = (),
) -> None:
    """Write a sample submission of the ids (A,) with even predictions, and the answers from the targets (A, …), if any.

    header: the id column and the others; by default those that the form needs.
    """
    if not header:
        each = isinstance(competition.submission, (ProbabilityPerClass, Numbers))
        columns = list(classes) if each else ["label"]
        header = (name_of_ids(columns), *columns)
    written = {SAMPLE: untuned(competition, classes)(np.full((len(ids), len(classes)), 1 / len(classes)))}
    if targets is not None:
        written[ANSWERS] = exact_predictions(competition, classes, targets)
    for name, predictions in written.items():
        values = competition.submission.encode(predictions, classes, header[1:])
        values.insert(0, header[0], ids)
        values.to_csv(new / name, index=False)


def _images_in(table: PixelTable, folder: Path, new: Path) -> Iterator[tuple[Path, Array]]:
    """The path of each image, without suffix, and its pixels (H, W) or (H, W, C)."""
    paths = sorted(folder.glob(table.table))
    if not paths:
        raise DataError(f"PixelTable: `table` is {table.table!r}, but {folder} has no such file.")
    others, number = [name for name in (table.image, table.label, *table.where[:1]) if name], table.first
    for path in paths:
        for frame in _frames(path, others):
            frame.columns = frame.columns.astype(str).str.strip()
            there = list(frame.columns)
            for name in (*others, *table.pixels):
                if name not in there:
                    raise DataError(
                        f"{path} has no column {name!r}; its columns are {', '.join(map(str, there[:10]))}."
                    )
            if table.where:
                frame = frame[frame[table.where[0]].isin(table.where[1:])]
            if table.pixels:
                cells = zip(*(frame[name] for name in table.pixels), strict=True)
                images = [np.stack([_numbers(cell) for cell in row], axis=-1) for row in cells]
            else:
                images = list(frame.drop(columns=others).to_numpy())
            numbers = pd.Series(range(number, number + len(frame)), frame.index)
            number += len(frame)
            names = (frame[table.image] if table.image else numbers).astype(str)
            places = frame[table.label].astype(str) + "/" if table.label else pd.Series("", frame.index)
            for name, values in zip(places + names, images, strict=True):
                if name.count("/") != (table.label is not None) or ".." in name:
                    raise DataError(f"{path} has an image called {name!r}, which can't be a file's name.")
                target = new / table.into / name
                target.parent.mkdir(parents=True, exist_ok=True)
                yield target, _shaped(values, table, path)


def _frames(path: Path, texts: list[str]) -> Iterator[pd.DataFrame]:
    """The table's rows in chunks. texts: columns to read as text."""
    if path.suffix == ".csv":
        with pd.read_csv(path, chunksize=AT_ONCE, dtype=dict.fromkeys(texts, str), keep_default_na=False) as chunks:
            yield from chunks
    elif path.suffix == ".parquet":
        with pq.ParquetFile(path) as file:
            yield from (batch.to_pandas() for batch in file.iter_batches(AT_ONCE))
    else:
        records = records_in(path)
        while some := list(islice(records, AT_ONCE)):
            yield pd.DataFrame(some)


def _numbers(cell: Any) -> Array:
    """One channel's values from an array, a list, or text with spaces or commas between."""
    values = re.sub(r"[\[\],]", " ", cell).split() if isinstance(cell, str) else np.asarray(cell).ravel()
    return np.array(values, np.float64)


def _shaped(values: Array, table: PixelTable, path: Path) -> Array:
    side = isqrt(len(values))
    height, width = table.size or (side, side)
    if height * width != len(values):
        raise DataError(
            f"{path} has {len(values)} values per image, which are not {height} x {width}; give `size` of PixelTable, "
            "(height, width)."
        )
    image = values.reshape(height, width, -1)
    return image[:, :, 0] if image.shape[2] == 1 else image


def _write_array(placed: tuple[Path, Array]) -> None:
    place, image = placed
    np.save(place.with_name(f"{place.name}.npy"), image.astype(np.float32))


def _write_png(placed: tuple[Path, Array]) -> None:
    place, image = placed
    pixels = image.astype(np.uint8)
    if not np.array_equal(pixels, image) or image.shape[2:] not in ((), (3,)):
        raise DataError(
            f"PixelTable: the image {place.name!r} should be bytes of one or three channels, but is {image.dtype} from "
            f'{image.min():g} to {image.max():g} of shape {image.shape}; say read="npy", which takes any numbers.'
        )
    Image.fromarray(pixels).save(place.with_name(f"{place.name}.png"), compress_level=1)
