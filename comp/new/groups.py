"""Find which images belong together, of one patient, place or body: they never train and validate in one split."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence

import pandas as pd

from comp.declare.labels.placing import whole_names
from comp.new.look import WORD, Look
from comp.new.sample import SampleTable, is_sample

GROUP_NAMES = (
    rf"{WORD}(?i:patient|subject|lesion|study|series|seq|individual|person|driver|slide|session|scene|location|site"
    r"|video|(?<!age)(?<!age[_ -])group"
    # Followed by any other word, it is a property of a group: batch_size, specimen_type.
    r"|(?:experiment|specimen|donor|batch)(?:[_ -]?(?:id|uid|no|nr|num|number|name|code|key|index))?$)"
)
# Where groups are parts of larger groups, the larger ones are taken if there are this many: enough for five folds.
ENOUGH_GROUPS = 10
# Names of two images of one body: 10_left and 10_right.
SIDES = r"(.+?)[_-](?:left|right|l|r)"
FEWEST_GROUPS = 4
# More images of one name are hardly those of one patient, place or object.
IMAGES_OF_ONE = 50


def group_of(table: pd.DataFrame, taken: Collection[str | None], classes: Sequence[str]) -> str | None:
    """The column that says which images belong together: the patient's rather than the series', if both are there.

    classes: the columns with an image's only class. Groups of whole classes are none: such classes couldn't both train
    and validate.
    """
    counts: dict[str, int] = {}
    several = table[table.duplicated(list(classes), keep=False)] if classes else table[:0]
    for column in table.columns:
        values = table[column]
        named = column not in taken and re.search(GROUP_NAMES, column)
        if not named or (values == "").any() or not FEWEST_GROUPS <= values.nunique() < len(values):
            continue
        if several.empty or (several.groupby(list(classes))[column].nunique() > 1).any():
            counts[column] = values.nunique()
    first = next(iter(counts), None)
    around = (
        column
        for column, count in counts.items()
        if count >= ENOUGH_GROUPS and (table.groupby(first)[column].nunique() == 1).all()
    )
    return min(around, key=counts.__getitem__, default=first)


def body_of(called: pd.Series[str]) -> str | None:
    """The pattern of left and right in the images' names, where most bodies have both."""
    bodies = called.str.extract(whole_names(SIDES), expand=False) if len(called) else called
    paired = bodies.dropna()
    return SIDES if len(paired) == len(called) > 0 and paired.duplicated(keep=False).mean() > 0.5 else None


def perhaps_groups(table: pd.DataFrame, taken: Collection[str], label: str) -> Iterator[str]:
    """Lines on columns of names that some images share, as of a patient or a place, whatever the columns are called.

    taken: the columns that the declaration reads. label: the column of the classes; columns that only repeat it, and
    names of more than IMAGES_OF_ONE images, like a kind or a region, are left out.
    """
    for column in table.columns.difference([*taken, ""], sort=False):
        values, count = table[column], table[column].nunique()
        # Of thousands of columns, few come as far as the slower checks.
        if count < ENOUGH_GROUPS or not 2 <= len(values) / count <= IMAGES_OF_ONE:
            continue
        named = re.search(r"(?i)(?:id|no|nr|num|code)$", column) or pd.to_numeric(values, errors="coerce").isna().all()
        repeats = label in table and (table.groupby(label)[column].nunique() == 1).all()
        if named and not repeats:
            yield f"{column!r} has {count} names for {len(values)} images; as `group` it keeps those of one together"


def groups_elsewhere(look: Look, told: str, sample: SampleTable) -> Iterator[str]:
    """Lines on other tables that group images, not those to predict. told: the path of the labels' table."""
    for path, table in look.tables.items():
        if path == told or is_sample(path) or (table.isin([*sample.ids]).mean() > 0.5).any():
            continue
        for name in map(str, table):
            names_images = table[name].is_unique and table[name].isin(look.image_names).mean() > 0.5
            if names_images and (group := group_of(table, {name}, ())) is not None:
                yield (
                    f"images are not grouped, though {path} has {group!r} for those in {name!r}: give both tables to "
                    "CsvLabels or the like, one as `join`, and this `group`"
                )
