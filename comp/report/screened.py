"""What the data check found, as a page shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from comp.data.file_facts import ODDITIES
from comp.data.findings import OF_DUPLICATES, DataCheck, lines_for_training
from comp.data.reading import read_image
from comp.report.advice import Advice
from comp.report.pictures import SIDE, thumbnail

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pandas as pd


LISTED = 20
PAIRS = 12
# The worst first.
OF_PAIRS = {"conflict": "conflicting labels", "leak": "leak", "duplicate": "duplicate"}


def screened_facts(check: DataCheck, notes: Sequence[str], root: Path) -> dict[str, Any]:
    """Counts of all findings, the files that can't be read, and pairs of duplicates as pictures.

    notes: what was put up with in files of labels and images, a line each.
    """
    images, of_images = check.images, lines_for_training(check)
    unreadable = images[images["problem"] != ""]
    return {
        "kinds": _kinds(images),
        "notes": [note for note in notes if note not in of_images],
        "torn": check.torn,
        "unreadable": unreadable[["path", "problem", "detail"]].head(LISTED).to_numpy().tolist(),
        "unreadable_left_out": max(0, len(unreadable) - LISTED),
        "pairs": _pairs(images, root),
    }


def advice_on(check: DataCheck) -> list[Advice]:
    """What is worth mending before a training."""
    counts = check.counts()
    found = []
    if counts["conflicts"]:
        evidence = f"{_counted(counts['conflicts'], 'labelled image has', 'labelled images have')} a duplicate"
        found.append(Advice("conflicting labels", f"{evidence} with another label, so one of the two is wrong"))
    if counts["leaks"]:
        evidence = f"{_counted(counts['leaks'], 'image to predict has', 'images to predict have')} a labelled duplicate"
        found.append(Advice("leaks", f"{evidence}, so a score on them says less"))
    if counts["unreadable_train"] + counts["unreadable_test"]:
        evidence = _counted(counts["unreadable_train"], "labelled image", "labelled images")
        found.append(Advice("unreadable", f"{evidence} and {counts['unreadable_test']} to predict can't be read"))
    return found


def _counted(number: int, one: str, several: str) -> str:
    return f"{number:,} {one if number == 1 else several}"


def _kinds(images: pd.DataFrame) -> list[tuple[str, int, int, str]]:
    """Each kind of finding that there is: its name, how many images of each part have it, and what is done."""
    train = images["part"] == "train"
    masks = [("unreadable", images["problem"] != "", "left out; predicted by the classes' shares")]
    masks += [
        (name, images["odd"].map(lambda names, name=name: name in names), follows) for name, follows in ODDITIES.items()
    ]
    masks += [
        (f"{how} {name}", images[column] == how, follows)
        for column, (name, follows) in OF_DUPLICATES.items()
        for how in ("exact", "near")
    ]
    return [
        (name, int((mask & train).sum()), int((mask & ~train).sum()), text) for name, mask, text in masks if mask.any()
    ]


def _pairs(images: pd.DataFrame, root: Path) -> list[dict[str, Any]]:
    """Images beside those they are like, each pair once, conflicts first."""
    by_path = images.set_index("path")
    pairs: dict[frozenset[str], dict[str, Any]] = {}
    for column, kind in OF_PAIRS.items():
        for path, like, how in images.loc[images[column] != "", ["path", "like", column]].itertuples(index=False):
            if len(pairs) >= PAIRS:
                break
            sides = [_side(by_path.loc[name], name, root) for name in (path, like)]
            pairs.setdefault(frozenset((path, like)), {"kind": f"{how} {kind}", "sides": sides})
    return list(pairs.values())


def _side(row: pd.Series[Any], name: str, root: Path) -> dict[str, Any]:
    label = row["label"]
    return {
        "path": name,
        "part": row["part"],
        "label": label if isinstance(label, str) else ", ".join(label),
        "picture": thumbnail(read_image(root / name, SIDE)),
    }
