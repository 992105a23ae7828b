"""Label sources: from the raw files of a competition to its table.

The table has one row per image: ``id`` (text), ``path`` (text) and ``label``: the class name for a ``single`` target, a
tuple of tag names for ``multi``, and a tuple of pairs of name and number, (("age", 7.0),), for numbers, shares and
fractions. Further columns, where the source knows them:

group: images with the same text belong together (one patient's, one scene's), and stay on one side of a split.
answer: images with the same text are one answer; their predictions are combined.
validates: True for the validation set of a single split; False for images that only train, with folds as well; None for
    images that train where some are True, and else may validate.

An image without a label, or a label without an image, raises a DataError. Notes of what a source tolerated are in
``table.attrs["notes"]``, one line each.
"""

from comp.declare.labels.csv import read_csv

__all__ = ["read_csv"]
