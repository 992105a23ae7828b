import json
import re
import shutil
from pathlib import Path

import pytest

from comp.report.diagnosing import diagnosis_of
from comp.runs import create_run

HISTORIES = Path(__file__).parent.parent / "report" / "histories"


@pytest.fixture
def run_of(workspace):
    """A run folder with the tables and the recipe of a recording."""

    def make(name):
        run = create_run(workspace, "digits", name)
        recipe = json.loads((HISTORIES / name / "recipe.json").read_text())
        run.write_record("config", {"competition": "digits", "recipe": recipe})
        for table in ("epochs.csv", "history.csv"):
            shutil.copy(HISTORIES / name / table, run.folder / table)
        return run

    return make


def test_diagnose_prints_what_went_wrong_and_the_change_to_try(run_of, comp):
    run_of("rate_too_high")
    ended = comp("diagnose", "digits/rate_too_high-1")
    assert (ended.status, ended.err) == (0, "")
    (line,) = ended.out.splitlines()
    assert line.startswith("stage 1: learning rate too high: the loss rose from 2.3 to ")
    assert line.endswith("; try --set stages.1.learning_rate=0.1")


def test_diagnose_says_that_nothing_looks_wrong(run_of, comp):
    ended = comp("diagnose", run_of("healthy_sgdr").folder)
    assert ended.status == 0
    assert re.fullmatch(r"nothing looks wrong: train loss .*, accuracy 0\.98513 after 7 epochs\n", ended.out)


def test_a_run_that_broke_off_in_its_first_epoch_is_diagnosed(run_of, comp):
    run = run_of("rate_too_high")
    for table in ("epochs.csv", "history.csv"):
        (run.folder / table).unlink()
    ended = comp("diagnose", run.folder)
    assert ended.status == 0
    assert ended.out.startswith("stage 1: unfinished: 0 of 4 epochs recorded, at a learning rate of 1;")


def test_an_unknown_run_is_one_sentence(comp, workspace):
    ended = comp("diagnose", "digits/none-1")
    assert (ended.status, ended.out) == (1, "")
    assert ended.err == f"Error: There is no run 'digits/none-1' in {workspace.runs}.\n"


def test_a_training_ends_with_its_diagnosis(shades, serving, comp):
    plugins = ("--competitions", shades.plugins)
    with serving(shades):
        comp(*plugins, "download", "shades")
        *_, said, folder = comp(*plugins, "train", "shades", "--set", "stages.1.learning_rate=1e4").out.splitlines()
    assert said.startswith("stage 1: learning rate too high: ")
    assert said in (Path(folder) / "log.txt").read_text()


def test_a_history_of_another_version_is_one_sentence(run_of, comp):
    run = run_of("healthy_sgdr")
    (run.folder / "history.csv").write_text("stage,loss\n1,2.3\n")
    ended = comp("diagnose", run.folder)
    assert ended.status == 1
    assert "history.csv has no column cycle, epoch, step, lr_early, lr_late, lr_head" in ended.err


def test_a_config_of_another_version_is_one_sentence(run_of, comp):
    run = run_of("healthy_sgdr")
    run.write_record("config", {"competition": "digits"})
    ended = comp("diagnose", run.folder)
    assert ended.status == 1
    assert "config.json is of another version of comp" in ended.err


def test_lines_come_in_the_order_of_the_stages(run_of):
    run = run_of("head_not_converged")
    lines = diagnosis_of(run)
    assert [line.partition(":")[0] for line in lines] == ["stage 1"]
