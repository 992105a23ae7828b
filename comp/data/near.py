"""Near-duplicates among images, found once and kept for as long as the images are the same."""

import hashlib
import json
import zipfile
from pathlib import Path

import numpy as np

from comp.data.duplicates import LEAST_CORRELATION, MOST_ASPECT, MOST_BITS, Places, near_pairs
from comp.data.facts_table import Found
from comp.data.file_facts import JUDGED_BY
from comp.files import replacing

# Raised when the same thumbnails make other pairs than before.
COMPARED_BY = [1, MOST_BITS, LEAST_CORRELATION, MOST_ASPECT, JUDGED_BY]


def near_of(found: Found, rows: Places, kept: Path) -> Places:
    """The pairs (P, 2) of near-duplicates among some rows, as places in these.

    Of a million images they take longer to find than to read. kept: the file with the last that were found.
    """
    key = _key(found.table["content"].iloc[rows].to_list())
    pairs = _read(kept, key)
    if pairs is None:
        sides = (found.table[side].to_numpy()[rows] for side in ("width", "height"))
        pairs = near_pairs(found.thumbnails(rows), *sides)
        _write(kept, key, pairs)
    return pairs


def _key(contents: list[str]) -> str:
    digest = hashlib.blake2b(json.dumps(COMPARED_BY).encode(), digest_size=16)
    digest.update("".join(contents).encode())
    return digest.hexdigest()


def _read(kept: Path, key: str) -> Places | None:
    try:
        with np.load(kept, allow_pickle=False) as file:
            pairs: Places = file["pairs"]
            return pairs if str(file["of"]) == key else None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def _write(kept: Path, key: str, pairs: Places) -> None:
    try:
        with replacing(kept) as unfinished, unfinished.open("wb") as file:
            np.savez(file, of=np.array(key), pairs=pairs)
    except OSError:
        # They are found again the next time; where the disk is full, the table of facts said so.
        return
