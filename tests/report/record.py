"""Record the histories that the diagnosis is tested on, by training digits in all the ways that go wrong.

python tests/report/record.py            # all of them, into tests/report/histories/
python tests/report/record.py NAME ...   # only these

Run it by hand after a change to training, then run tests/report/test_diagnosis.py and adapt its numbers: other machines
round differently. It takes some minutes on two cores. Only the recipe is tuned to get a fault; the tables are what the
training wrote, rounded to six digits.
"""

import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

# Before torch is imported: the number of threads changes the order of sums.
os.environ["OMP_NUM_THREADS"] = "1"

import pandas as pd

from comp import runner
from comp.console import Console
from comp.declare.competition import REPOSITORY_COMPETITIONS, competition_named
from comp.declare.recipe import Recipe, Stage
from comp.errors import RunError
from comp.runs import Workspace, list_runs
from comp.runs.choices import Choices

HISTORIES = Path(__file__).parent / "histories"


def head(**settings):
    return Stage(**{"size": 16, "train": "head", "cached": True, **settings})


def everything(**settings):
    return Stage(**{"size": 16, "train": "all", **settings})


def recipe(*stages, **settings):
    return Recipe(**{"backbone": "resnet10t", "pretrained": False, "stages": stages, **settings})


SGDR = everything(cycles=3, cycle_multiplier=2, learning_rate=4e-3)

RECORDINGS = {
    "healthy_sgdr": recipe(SGDR),
    "healthy_one_cycle": recipe(everything(schedule="one_cycle", cycle_length=8, learning_rate=4e-3)),
    "healthy_head_first": recipe(
        head(cycle_length=30, learning_rate=1e-2), everything(cycles=3, cycle_multiplier=2, learning_rate=2e-3)
    ),
    # Train loss stays above validation loss, as it does with dropout, but neither falls any more.
    "healthy_with_dropout": recipe(everything(cycle_length=10, learning_rate=4e-3), dropout=0.5),
    "healthy_all_data": recipe(SGDR),
    # As few epochs as those of too_few_epochs, but with targets that put train loss above validation loss anyway.
    "smoothed": recipe(everything(cycle_length=2, learning_rate=1e-3), label_smoothing=0.2),
    # The first stage is healthy; the second multiplies the weights until they overflow.
    "no_number": recipe(SGDR, everything(cycle_length=2, learning_rate=1e9), optimizer="sgd"),
    "rate_too_high": recipe(everything(cycle_length=4, learning_rate=1.0)),
    "rate_too_high_later": recipe(SGDR, everything(cycle_length=2, learning_rate=0.3)),
    "rate_too_low": recipe(everything(cycle_length=4, learning_rate=3e-6)),
    "head_rate_too_low": recipe(head(cycle_length=8, learning_rate=1e-4)),
    "head_not_converged": recipe(
        head(cycle_length=2, learning_rate=1e-2), everything(cycle_length=8, learning_rate=4e-3)
    ),
    "cycle_too_short": recipe(everything(cycles=8, learning_rate=0.05), backbone="test_resnet", batch_size=16),
    "too_few_epochs": recipe(everything(cycle_length=2, learning_rate=1e-3)),
    "too_few_epochs_one": recipe(everything(learning_rate=1e-3), batch_size=16),
    # Half of the rows, and a head that can tell all of them apart.
    "too_many_epochs": recipe(
        head(size=8, cycle_length=100, learning_rate=1e-2), validation=0.5, batch_size=16, weight_decay=0.0
    ),
}
CHOICES = {"healthy_sgdr": Choices(seed=1), "healthy_all_data": Choices(all_data=True)}


def record(names: list[str]) -> None:
    digits = competition_named("digits", REPOSITORY_COMPETITIONS)
    with TemporaryDirectory() as folder:
        workspace, console = Workspace(Path(folder)), Console()
        runner.download(digits, workspace, console)
        for name in names:
            competition = replace(digits, recipes={"standard": RECORDINGS[name]})
            try:
                runner.train(competition, CHOICES.get(name, Choices()), workspace, console)
            except RunError as error:
                console.say(str(error))
            run, target = list_runs(workspace)[-1], HISTORIES / name
            target.mkdir(parents=True, exist_ok=True)
            (target / "recipe.json").write_text(json.dumps(run.record("config")["recipe"], indent=2) + "\n")
            for table in ("epochs.csv", "history.csv"):
                pd.read_csv(run.folder / table).to_csv(target / table, index=False, float_format="%.6g")


if __name__ == "__main__":
    # Use the local Kaggle, whatever credentials this machine has.
    for variable in [name for name in os.environ if name.startswith(("KAGGLE_", "COMP_"))]:
        del os.environ[variable]
    record(sys.argv[1:] or list(RECORDINGS))
