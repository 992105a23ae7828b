"""What `comp new` looks at, in words, and what it found."""

import pandas as pd

from comp.new.look import Look


def table(header, *rows):
    return pd.DataFrame([row.split(",") for row in rows], columns=header.split(","))


def look(files, **tables):
    """Files in words, and the CSVs by name."""
    named = {f"{name}.csv": frame for name, frame in tables.items()}
    return Look([*files.split(), *named], named)


def about(inferred, what):
    (finding,) = (finding for finding in inferred.findings if finding.about == what)
    return finding
