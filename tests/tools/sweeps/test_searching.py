import os
import pickle
import shlex
import shutil
import signal
from functools import partial
from multiprocessing import get_context

import optuna
import pytest

from comp.console import Console
from comp.runs import History, list_runs
from comp.runs.choices import Choices
from comp.tools.sweeps import searching
from comp.tools.sweeps.searching import _Lock, study_at
from comp.training import training

SPACE = ("--space", "dropout=0..0.5", "--space", "stages.learning_rate=1e-4..1e-1:log")


@pytest.fixture
def sweep(on_shades, downloaded):
    """``comp sweep shades`` on downloaded data."""
    return partial(on_shades, "sweep", "shades")


def settings(workspace):
    return [run.record("config")["settings"] for run in list_runs(workspace)]


def test_a_sweep_trains_the_recipe_itself_first_says_which_trial_was_best_and_goes_on_where_it_was_stopped(
    sweep, on_shades, shades, workspace, serving, monkeypatch
):
    ended = sweep(*SPACE, "--trials", 3)
    assert (ended.status, ended.err) == (0, "")
    runs, whole = list_runs(workspace), settings(workspace)
    assert len(runs) == 3
    assert whole[0] == ["dropout=0", "stages.learning_rate=0.01"]
    scores = [run.history.epochs()["score"].iloc[-1] for run in runs]
    table = ended.out.split("settings\n")[1].splitlines()[:-1]
    assert next(line.split()[1] for line in table) == runs[scores.index(max(scores))].name
    assert [float(line.split()[2]) for line in table] == pytest.approx(sorted(scores, reverse=True), abs=1e-5)

    best = shlex.split(ended.last_line)
    assert best[:3] == ["comp", "run", "shades"]
    with serving(shades):
        went_on = on_shades(*best[1:])
    assert (went_on.status, len(list_runs(workspace))) == (0, 3)
    assert f"resuming {runs[scores.index(max(scores))].name}, the same training, already trained" in went_on.out

    shutil.rmtree(workspace.runs)
    with monkeypatch.context() as patch:
        record, recorded = training.Training._record, []

        def record_or_stop(self, *arguments):
            recorded.append(record(self, *arguments))
            if len(recorded) == 12:
                raise KeyboardInterrupt

        patch.setattr(training.Training, "_record", record_or_stop)
        assert sweep(*SPACE, "--trials", 2).status == 130
    assert settings(workspace) == whole[:2]
    assert sweep(*SPACE, "--trials", 2).status == 0
    assert settings(workspace) == whole[:2]
    for _ in range(2):
        again = sweep(*SPACE, "--trials", 3)
        assert settings(workspace) == whole
        assert again.last_line == ended.last_line


def test_a_trial_that_ends_without_a_score_counts_and_the_next_is_another(sweep, workspace, monkeypatch):
    epochs = History.epochs

    def without_the_last_score(run):
        table = epochs(run)
        if run.folder.name == "standard-2":
            table.loc[table.index[-1], "score"] = float("nan")
        return table

    monkeypatch.setattr(History, "epochs", without_the_last_score)
    ended = sweep(*SPACE, "--trials", 3)
    assert (ended.status, ended.err) == (0, "")
    assert len({tuple(drawn) for drawn in settings(workspace)}) == 3
    assert "standard-2" in ended.out.split("settings\n")[1].splitlines()[2]


def test_values_that_are_impossible_together_are_left_out_and_the_sweep_goes_on(sweep, workspace):
    space = ("--space", "stages.schedule=sgdr,one_cycle", "--space", "stages.cycles=1,2")
    ended = sweep(*space, "--set", "stages.cycle_length=1", "--trials", 5)
    assert ended.status == 0, ended.err
    left_out = [line for line in ended.out.splitlines() if line.startswith("left out: ")]
    assert left_out
    assert "`cycles` is 2, but it should be 1 with schedule 'one_cycle'" in left_out[0]
    table = ended.out.split("settings\n")[1].splitlines()[:-1]
    assert [line.split()[1:3] for line in table[5 - len(left_out) :]] == [["-", "impossible"]] * len(left_out)
    assert ["stages.schedule=one_cycle", "stages.cycles=2"] not in [names[1:] for names in settings(workspace)]


def test_a_trial_that_is_worse_than_most_is_stopped_and_keeps_no_weights(sweep, workspace, monkeypatch):
    monkeypatch.setattr(searching, "AT_RANDOM", 1)
    ended = sweep("--space", "stages.learning_rate=0.01,1e-9", "--trials", 5)
    assert (ended.status, ended.err) == (0, "")
    stopped = [run for run in list_runs(workspace) if not run.weights.exists()]
    assert stopped
    for run in stopped:
        assert run.record("config")["settings"] == ["stages.learning_rate=1e-9"]
        assert len(run.history.epochs()) < 8
        assert not run.last.exists()
        assert f"{run.name}  " in ended.out.split("settings\n")[1]
    assert "worse than most at this epoch" in ended.out
    assert shlex.split(ended.last_line)[-3:-2] == ["stages.learning_rate=0.01"]


def test_other_data_are_not_compared(sweep, shades, workspace):
    assert sweep(*SPACE, "--trials", 1).status == 0
    shades.image("train/t00.png", "blue", size=30)
    shutil.copy(shades.files / "train/t00.png", workspace.data("shades") / "train/t00.png")
    told = sweep(*SPACE, "--trials", 2).sentence
    assert "The data of shades have changed since this sweep began" in told
    assert len(list_runs(workspace)) == 1


def test_trials_of_an_edited_declaration_are_not_compared_with_earlier_ones(sweep, shades, workspace):
    space = ("--space", "stages.learning_rate=1e-5,1e-1", "--trials", 2)
    assert sweep(*space).status == 0
    declaration = shades.plugins / "shades" / "competition.py"
    declaration.write_text(declaration.read_text().replace('"accuracy"', '"macro_f1"'))
    ended = sweep(*space)
    assert "competition.py was edited since this sweep's last trial, so another sweep begins" in ended.out
    scores = [run.history.epochs()["score"].iloc[-1] for run in list_runs(workspace)[2:]]
    table = ended.out.split("macro_f1  settings\n")[1].splitlines()[:-1]
    assert [float(line.split()[2]) for line in table] == pytest.approx(sorted(scores, reverse=True), abs=1e-5)


def test_two_processes_are_not_at_one_sweep(sweep, shades, workspace):
    competition = shades.competition
    with searching.search(competition, Choices(), SPACE[1::2], workspace, Console()):
        assert "Another process" in sweep(*SPACE).sentence
    assert list_runs(workspace) == []


def test_a_journal_that_was_cut_in_the_middle_of_a_line_goes_on_with_the_lines_before(tmp_path):
    journal = tmp_path / "study.log"
    study = optuna.create_study(storage=study_at(journal), study_name="study")
    study.tell(study.ask(), 0.5)
    whole = journal.read_bytes()
    journal.write_bytes(whole + b'{"op_code": 4, "wor')
    study = optuna.load_study(storage=study_at(journal), study_name="study")
    assert journal.read_bytes() == whole
    study.tell(study.ask(), 0.25)
    again = optuna.load_study(storage=study_at(journal), study_name="study")
    assert [trial.value for trial in again.trials] == [0.5, 0.25]


def acquire_and_die(place):
    _Lock(place).acquire()
    os.kill(os.getpid(), signal.SIGKILL)


def test_who_was_killed_while_writing_holds_nobody_up(tmp_path):
    killed = get_context("fork").Process(target=acquire_and_die, args=(tmp_path / "study.log",))
    killed.start()
    killed.join()
    assert killed.exitcode == -signal.SIGKILL
    lock = _Lock(tmp_path / "study.log")
    assert lock.acquire()
    lock.release()


def test_a_trial_can_be_sent_to_another_machine(tmp_path):
    trial = optuna.create_study(storage=study_at(tmp_path / "study.log")).ask()
    assert pickle.loads(pickle.dumps(trial)).number == trial.number


def test_a_trial_whose_last_stage_was_undone_has_the_score_of_the_weights_that_are_kept(sweep, shades, workspace):
    source = shades.declaration.read_text()
    stage = 'Stage(size=16, train="head", cached=True, cycle_length=8, learning_rate=1e-2)'
    assert stage in source
    spoils = 'Stage(size=16, train="head", cached=True, cycle_length=1, learning_rate=1e4)'
    shades.declaration.write_text(source.replace(stage, f"{stage.replace('1e-2', '1e-1')}, {spoils}"))
    ended = sweep("--space", "dropout=0,0.1", "--trials", 1)
    assert (ended.status, ended.err) == (0, "")
    (run,) = list_runs(workspace)
    first, last = run.history.epochs()["score"].iloc[[-2, -1]]
    assert [one["number"] for one in run.record("trained")["diverged"]] == [2]
    assert first != last
    assert float(ended.out.split("settings\n")[1].split()[2]) == pytest.approx(first, abs=1e-5)
