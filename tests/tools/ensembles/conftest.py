import numpy as np
import pandas as pd
import pytest

from comp.console import Console
from comp.errors import RunError
from comp.runs import list_runs

HALF = np.where(np.arange(36) % 2, "valid", "train")


def predictions(run, part):
    return pd.read_parquet(run.predictions(part)).set_index("id")


def refusal(combine, made, runs, *options):
    """The error with which the runs are refused; asserts that nothing is written."""
    before = list_runs(made.workspace)
    with pytest.raises(RunError) as raised:
        combine(made.competition, runs, made.workspace, Console(), *options)
    assert list_runs(made.workspace) == before
    assert len(list((made.workspace.runs / "shades").iterdir())) == len(before)
    said = str(raised.value)
    assert said.endswith(".")
    return said


def refused_where_they_differ(combine, made, runs, changed, says):
    """Assert that the runs are refused while the last one's config has the ``changed`` fields."""
    config = runs[-1].record("config")
    runs[-1].write_record("config", {**config, **changed})
    said = refusal(combine, made, runs)
    assert said.startswith(f"{runs[-1].name} and {runs[0].name} differ in {says}")
    runs[-1].write_record("config", config)
