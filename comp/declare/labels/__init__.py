"""Label sources: from the raw files of a competition to its table.

The table has one row per image: ``id`` (text), ``path`` (text) and ``label``: the name of the class for a ``single``
target, a tuple of tag names for a ``multi`` one, of pairs of a name and a number, (("age", 7.0),), for numbers, shares
and fractions. A source that knows which images belong together (one patient's, one scene's) adds ``group`` (text); one
that knows which are one answer, whose predictions are combined, ``answer`` (text); one that knows what an image is for,
``validates``: True for the validation set of a single split, False for what only trains, with folds as well, and None
for what trains beside a validation set and may validate else. Every image has its label and every label its image, or
there is a DataError that names them. What a source put up with is in ``table.attrs["notes"]``, a line each.
"""

from comp.declare.labels.csv import read_csv

__all__ = ["read_csv"]
