"""Trainings that are stopped and resumed, in one process: they leave what a killed process leaves."""

import fcntl
import json
import os
import shutil
import signal
import time
from dataclasses import replace
from operator import attrgetter
from types import SimpleNamespace

import pandas as pd
import pytest
import torch

from comp import runner
from comp.console import Console
from comp.declare.recipe import Stage
from comp.errors import DataError, KaggleError, RunError
from comp.kaggle.client import Kaggle
from comp.runs import History, Run, Workspace, list_runs
from comp.runs.resolve import Choices, Experiment
from comp.training import config, prepared
from comp.training import training as module
from comp.training.prepared import prepare
from comp.training.resuming import start, under_way
from comp.training.state import load_state, save_state
from comp.training.training import Training

FINDS = Stage(size=16, train="head", cached=True, cycle_length=2)
HEAD = replace(FINDS, learning_rate=0.01)
ALL = Stage(size=16, train="all", cycles=2, learning_rate=1e-3)
FILES = ("checkpoints/model.safetensors", "submission.csv", "history.csv", "split.csv", "trained.json", "scores.json")


class KilledError(BaseException):
    """Stands for SIGKILL: nothing handles it, and nothing is done after it but by ``finally``."""


@pytest.fixture
def at_home(shades, serving, workspace):
    """The competition of colours, downloaded."""
    with serving(shades):
        runner.download(shades.competition, workspace, Console())
    return shades.competition


@pytest.fixture
def with_stages(at_home):
    def declared(*stages, **fields):
        recipe = replace(at_home.recipes["standard"], stages=stages, **fields)
        return replace(at_home, recipes={"standard": recipe})

    return declared


@pytest.fixture
def saving_always(monkeypatch):
    monkeypatch.setattr(module, "SAVE_SECONDS", -1.0)
    monkeypatch.setattr(module, "MOST_COST", float("inf"))


@pytest.fixture
def killed(monkeypatch, saving_always):
    """Trains until the n-th time that the state was saved."""

    def until(competition, workspace, number, choices=None, step=runner.train):
        saves, save = [], Training.save

        def counted(training, *arguments):
            save(training, *arguments)
            saves.append(training)
            if len(saves) == number:
                raise KilledError

        with monkeypatch.context() as patch:
            patch.setattr(Training, "save", counted)
            with pytest.raises(KilledError):
                step(competition, choices or Choices(), workspace, Console())

    return until


@pytest.fixture
def stopped(with_stages, workspace, killed):
    """A training of a head that was killed after its first epoch: the competition and its run."""
    competition = with_stages(HEAD)
    killed(competition, workspace, 2)
    (run,) = list_runs(workspace)
    return competition, run


def all_steps(competition, choices, workspace, console):
    run = runner.train(competition, choices, workspace, console)
    if not run.submission.is_file():
        runner.predict(competition, run, workspace, console)
    return run


def undisturbed(competition, workspace, choices=None):
    """The same, never stopped, in a workspace of its own."""
    other = Workspace(workspace.folder.parent / "undisturbed")
    shutil.copytree(workspace.folder / "data", other.folder / "data")
    return all_steps(competition, choices or Choices(), other, Console())


def same(run, other):
    for name in FILES:
        assert (run.folder / name).read_bytes() == (other.folder / name).read_bytes(), name
    columns = ["stage", "cycle", "epoch", "train_loss", "valid_loss", "score"]
    assert run.history.epochs()[columns].equals(other.history.epochs()[columns])
    assert [p.name for p in run.folder.rglob("*.part")] == []
    assert not run.last.exists()


def slower(step, steps):
    return 1 / (1 + step)


RECIPES = {
    "cached head, then all": ((FINDS, ALL), {"dropout": 0.3}),
    "a solved head, then all with their average": ((replace(FINDS, schedule="lbfgs", cycles=1), ALL), {"ema": 0.9}),
    "average, mixing, gathered, snapshots": (
        (replace(ALL, train=2),),
        {"ema": 0.9, "mixup": 0.4, "cutmix": 0.4, "accumulation": 2, "snapshots": 2, "batch_size": 4, "drop_path": 0.0},
    ),
    "one cycle, plain SGD, balanced": (
        (replace(ALL, cycles=1, cycle_length=2, schedule="one_cycle"),),
        {"optimizer": "sgd", "balance": "oversample", "clip_norm": 1.0, "random_erasing": 0.5},
    ),
    "flat, then down; other sizes": (
        (replace(HEAD, schedule="flat_cosine"), replace(HEAD, size=24)),
        {"ema": 0.9},
    ),
    "attention on cached maps, Muon, a schedule of one's own": (
        (replace(HEAD, schedule=slower, learning_rate=0.01), replace(HEAD, schedule=slower)),
        {"head": "attention", "optimizer": "muon", "mixup": 0.4, "rate_rule": "steepest"},
    ),
    "means of powers, an optimizer of one's own": (
        (replace(ALL, schedule=slower, cycles=1, cycle_length=2),),
        {"head": "gem", "optimizer": torch.optim.RAdam},
    ),
}


@pytest.mark.parametrize("name", RECIPES)
def test_a_training_that_is_killed_anywhere_ends_as_one_that_never_was(with_stages, workspace, killed, name):
    stages, fields = RECIPES[name]
    competition = with_stages(*stages, **fields)
    expected = undisturbed(competition, workspace)
    steps = len(expected.history.steps())
    # Killed, taken up and killed again: in the first epoch, at its end, and later on.
    for number in (1, 2, steps // 2):
        killed(competition, workspace, number)
    run = all_steps(competition, Choices(), workspace, Console())
    assert [found.name for found in list_runs(workspace)] == [run.name] == ["shades/standard-1"]
    same(run, expected)


def test_what_was_not_saved_is_trained_again(with_stages, workspace, monkeypatch):
    competition = with_stages(HEAD, ALL)
    expected = undisturbed(competition, workspace)
    append, epochs = History.append_epoch, []

    def die_in_the_fourth(run, *arguments):
        append(run, *arguments)
        epochs.append(arguments)
        if len(epochs) == 4:
            raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(History, "append_epoch", die_in_the_fourth)
        with pytest.raises(KilledError):
            runner.train(competition, Choices(), workspace, Console())
    (run,) = list_runs(workspace)
    assert len(run.history.epochs()) == 4
    # A killed process may leave half a line as well.
    with (run.folder / "history.csv").open("a") as file:
        file.write("2,1,2,1,0.5")
    same(all_steps(competition, Choices(), workspace, Console()), expected)


def test_a_run_that_is_killed_before_anything_is_saved_starts_again_in_its_folder(with_stages, workspace, monkeypatch):
    competition = with_stages(HEAD)
    expected = undisturbed(competition, workspace)
    with monkeypatch.context() as patch:
        patch.setattr(Training, "rate_of", lambda *_: (_ for _ in ()).throw(KilledError))
        with pytest.raises(KilledError):
            runner.train(competition, Choices(), workspace, Console())
    run = all_steps(competition, Choices(), workspace, Console())
    assert run.name == "shades/standard-1"
    same(run, expected)


def test_a_signal_at_whatever_moment_leaves_what_the_training_goes_on_from(with_stages, workspace, monkeypatch):
    competition, looks = with_stages(replace(HEAD, cycle_length=5)), []

    def interrupting():
        # Between the look at whether it was asked to end and the next one.
        looks.append(None)
        if len(looks) == 8:
            os.kill(os.getpid(), signal.SIGINT)
        return monotonic()

    monotonic = time.monotonic
    with monkeypatch.context() as patch:
        patch.setattr(module, "time", SimpleNamespace(monotonic=interrupting, perf_counter=time.perf_counter))
        with pytest.raises(KeyboardInterrupt):
            runner.train(competition, Choices(), workspace, Console())
    [run] = list_runs(workspace)
    assert load_state(run.last)["stage"]["state"]["taken"] > 0


def test_a_run_that_was_trained_goes_on_with_its_predictions(
    with_stages, workspace, shades, serving, monkeypatch, capsys
):
    competition = with_stages(HEAD)
    trained = runner.train(competition, Choices(), workspace, Console())
    weights = trained.weights.stat().st_mtime_ns
    with serving(shades):
        run = runner.run(competition, Choices(), workspace, Console())
    assert (run, run.weights.stat().st_mtime_ns) == (trained, weights)
    assert "resuming shades/standard-1, which is the same and was trained before" in capsys.readouterr().out
    assert run.submission.is_file()


def test_what_was_predicted_and_not_submitted_is_submitted_and_then_left_alone(with_stages, workspace, shades, serving):
    competition = with_stages(HEAD)
    with serving(shades):
        first = runner.run(competition, Choices(), workspace, Console())
        assert runner.run(competition, Choices(), workspace, Console(), submitting=True) == first
        assert first.record("submitted")["status"] == "complete"
        again = runner.run(competition, Choices(), workspace, Console(), submitting=True)
    assert again.name == "shades/standard-2"


def test_another_training_or_one_on_other_data_is_not_gone_on_with(stopped, workspace):
    competition, _ = stopped
    others = (Choices(seed=1), Choices(settings=("dropout=0.1",)), Choices(all_data=True), Choices(backbone="test_vit"))
    for number, other in enumerate(others, start=2):
        assert runner.train(competition, other, workspace, Console()).name == f"shades/standard-{number}"
    table = workspace.data("shades") / "train.csv"
    table.write_text(table.read_text().replace("t00,red", "t00,blue"))
    assert runner.train(competition, Choices(), workspace, Console()).name == "shades/standard-6"


def test_the_latest_of_several_is_gone_on_with_whatever_the_clock_says(stopped, workspace, monkeypatch):
    competition, _ = stopped
    shutil.copytree(workspace.runs / "shades" / "standard-1", workspace.runs / "shades" / "standard-2")
    second = Run(workspace.runs / "shades" / "standard-2")
    second.write_config(second.record("config"))
    os.utime(second.folder / "config.json", (1, 1))
    assert [run.folder.name for run in list_runs(workspace)] == ["standard-1", "standard-2"]
    assert runner.train(competition, Choices(), workspace, Console()) == second


def test_a_run_that_is_being_trained_is_left_alone_and_another_is_begun(stopped, workspace):
    competition, first = stopped
    before = first.last.read_bytes()
    with first.log.open("ab") as elsewhere:
        fcntl.flock(elsewhere, fcntl.LOCK_EX)
        with pytest.raises(RunError, match="is being trained by another process"):
            runner.resume(competition, first, workspace, Console())
        second = runner.train(competition, Choices(), workspace, Console())
    assert second.name == "shades/standard-2"
    assert first.last.read_bytes() == before
    assert runner.train(competition, Choices(), workspace, Console()) == first


def test_nobody_else_takes_up_a_run_while_it_is_trained_and_predicted(with_stages, workspace):
    competition = with_stages(HEAD)
    prepared = prepare(Experiment.of(competition, Choices(), workspace), Console())
    with (
        under_way(prepared, Console(), attrgetter("predicted")) as mine,
        under_way(prepared, Console(), attrgetter("predicted")) as other,
    ):
        assert mine.run != other.run


def test_a_run_is_gone_on_with_by_its_name(with_stages, workspace, killed, capsys):
    competition = with_stages(FINDS, ALL, dropout=0.3)
    expected = undisturbed(competition, workspace, Choices(settings=("batch_size=6",), seed=3))
    killed(competition, workspace, 9, Choices(settings=("batch_size=6",), seed=3))
    (run,) = list_runs(workspace)
    capsys.readouterr()
    assert runner.resume(competition, run, workspace, Console()) == run
    assert "resuming shades/standard-1, which was stopped: stage 2, epoch 1, step" in capsys.readouterr().out
    runner.predict(competition, run, workspace, Console())
    same(run, expected)
    with pytest.raises(RunError, match=r"has ended; predict with it by `comp predict shades/standard-1`"):
        runner.resume(competition, run, workspace, Console())


def test_the_time_of_a_stage_is_counted_on_when_it_goes_on(with_stages, workspace, killed, monkeypatch):
    competition, record = with_stages(HEAD), Training._record
    seconds = [0.0]

    def in_a_hundred_seconds(training, *arguments):
        seconds.append(seconds[-1] + 100)
        record(training, *arguments)

    monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: seconds[-1], monotonic=time.monotonic))
    monkeypatch.setattr(Training, "_record", in_a_hundred_seconds)
    killed(competition, workspace, 3)
    (run,) = list_runs(workspace)
    seconds.append(1e6)
    runner.resume(competition, run, workspace, Console())
    assert pd.read_csv(run.folder / "stages.csv")["seconds"].tolist() == [200]


def test_a_run_whose_declaration_has_changed_is_not_gone_on_with(with_stages, workspace, killed):
    killed(with_stages(HEAD), workspace, 2)
    (run,) = list_runs(workspace)
    before = run.last.read_bytes()
    with pytest.raises(RunError, match=r"another recipe\.stages\.1\.cycle_length \(2, and now 3\)"):
        runner.resume(with_stages(replace(HEAD, cycle_length=3)), run, workspace, Console())
    assert run.last.read_bytes() == before


def test_a_run_of_other_versions_goes_on_when_it_is_named_and_that_is_said(stopped, workspace, capsys):
    competition, run = stopped
    config = run.record("config")
    run.write_record("config", {**config, "versions": {**config["versions"], "torch": "1.0"}})
    assert runner.train(competition, Choices(), workspace, Console()) != run
    capsys.readouterr()
    runner.resume(competition, run, workspace, Console())
    assert "was begun with another versions.torch: 1.0, and now" in capsys.readouterr().out


@pytest.fixture
def edited(monkeypatch):
    """Stands for an edit of the source of a package."""

    def edit(package):
        digest = config.source_digest
        monkeypatch.setattr(config, "source_digest", lambda name: "e" * 16 if name == package else digest(name))

    return edit


def test_an_edited_field_begins_a_new_run_and_is_named(stopped, workspace, capsys):
    competition, _ = stopped
    new = runner.train(replace(competition, layer_lr_ratio=7), Choices(), workspace, Console())
    assert new.name == "shades/standard-2"
    (line,) = (line for line in capsys.readouterr().out.splitlines() if "so this is a new run" in line)
    assert "layer_lr_ratio" in line
    assert "`comp train --resume shades/standard-1`" in line
    # Another choice of a person's own is no surprise.
    runner.train(competition, Choices(settings=["batch_size=4"]), workspace, Console())
    assert "so this is a new run" not in capsys.readouterr().out


def test_edited_code_begins_a_new_run_and_says_what_changed(stopped, workspace, edited, capsys):
    competition, _ = stopped
    edited("comp.training")
    new = runner.train(competition, Choices(), workspace, Console())
    assert new.name == "shades/standard-2"
    line = (
        "comp/training changed since shades/standard-1, so this is a new run; `comp train --resume shades/standard-1`"
    )
    assert line in capsys.readouterr().out
    assert line in new.log.read_text()
    # From here on, the new one is the same.
    assert runner._run(Experiment.of(competition, Choices(), workspace), Console(), attrgetter("reported")) == new
    assert "changed since" not in capsys.readouterr().out


def test_edited_code_after_the_training_predicts_no_run_of_the_old_code(with_stages, workspace, edited, capsys):
    competition = with_stages(HEAD)
    first = runner.train(competition, Choices(), workspace, Console())
    edited("comp.data")
    assert runner._run(Experiment.of(competition, Choices(), workspace), Console(), attrgetter("reported")) != first
    assert "comp/data changed since shades/standard-1, so this is a new run\n" in capsys.readouterr().out


def test_an_edited_declaration_begins_a_new_run_where_only_a_function_of_its_own_changed(stopped, workspace, capsys):
    competition, _ = stopped
    other = replace(competition, source="e" * 16)
    assert runner.train(other, Choices(), workspace, Console()).name == "shades/standard-2"
    assert "competition.py changed since shades/standard-1" in capsys.readouterr().out


def test_a_run_of_the_code_before_an_edit_is_resumed_when_it_is_named(stopped, workspace, edited, capsys):
    competition, run = stopped
    edited("comp.training")
    edited("comp.data")
    assert runner.resume(competition, run, workspace, Console()) == run
    said = "comp/training, comp/data changed since shades/standard-1 was begun: it is resumed with the code as it is"
    assert said in capsys.readouterr().out


def test_a_backbone_with_other_weights_is_not_gone_on_with(stopped, workspace, monkeypatch):
    competition, run = stopped
    run.write_record("config", {**run.record("config"), "weights": "f00d"})
    with pytest.raises(RunError, match=r"another weights \(f00d, and now"):
        runner.resume(competition, run, workspace, Console())


@pytest.mark.parametrize("state", ["broken", "of another model"])
def test_a_state_that_can_t_be_gone_on_from_is_one_sentence_and_changes_nothing(with_stages, workspace, killed, state):
    competition = with_stages(HEAD)
    killed(competition, workspace, 4)
    (run,) = list_runs(workspace)
    epochs = (run.folder / "epochs.csv").read_bytes()
    if state == "broken":
        run.last.write_bytes(b"state")
    else:
        found = load_state(run.last)
        save_state({**found, "weights": {"head.2.weight": found["weights"]["head.2.weight"][:1]}}, run.last)
    with pytest.raises(RunError, match=r"last\.pt is .*remove"):
        runner.train(competition, Choices(), workspace, Console())
    assert (run.folder / "epochs.csv").read_bytes() == epochs
    run.last.unlink()
    assert runner.train(competition, Choices(), workspace, Console()) == run


def test_folds_that_are_there_are_not_trained_again(with_stages, workspace, killed):
    competition, choices = with_stages(HEAD), Choices(folds=3)
    expected = undisturbed(competition, workspace, Choices(folds=3, fold=2))
    killed(competition, workspace, 6, choices)
    before = {run.name: run.submission.is_file() for run in list_runs(workspace)}
    assert before == {"shades/standard-1": True, "shades/standard-2": False}
    joined = runner.train(competition, choices, workspace, Console())
    assert list(joined.members) == ["shades/standard-1", "shades/standard-2", "shades/standard-3"]
    same(list_runs(workspace)[1], expected)
    # Those are joined now, so the same again is another training.
    other = runner.train(competition, choices, workspace, Console())
    assert not set(joined.members) & set(other.members)


def test_an_error_before_the_first_epoch_leaves_no_run(with_stages, workspace, monkeypatch):
    build = prepared.build_classifier

    def breaking(*arguments, **options):
        # After it was screened: one that was broken before is left out.
        (workspace.data("shades") / "train" / "t05.png").write_bytes(b"no image")
        return build(*arguments, **options)

    monkeypatch.setattr(prepared, "build_classifier", breaking)
    competition = with_stages(ALL)
    with pytest.raises(DataError):
        runner.train(competition, Choices(), workspace, Console())
    assert list_runs(workspace) == []
    assert list((workspace.runs / "shades").iterdir()) == []


def test_a_frozen_backbone_is_not_written_each_time(with_stages, workspace, killed):
    killed(with_stages(HEAD), workspace, 2)
    (frozen,) = list_runs(workspace)
    small = frozen.last.stat().st_size
    shutil.rmtree(frozen.folder)
    killed(with_stages(ALL), workspace, 2)
    (trained,) = list_runs(workspace)
    assert trained.last.stat().st_size > 5 * small


def test_a_training_by_hand_is_not_gone_on_with(with_stages, workspace):
    competition = with_stages(HEAD)
    by_hand = start(prepare(Experiment.of(competition, Choices(), workspace), Console()), Console(), by_hand=True)
    with pytest.raises(RunError, match="was trained by hand"):
        runner.resume(competition, by_hand.run, workspace, Console())
    assert runner.train(competition, Choices(), workspace, Console()) != by_hand.run


def test_rows_of_the_tables_belong_to_the_place_that_was_saved(with_stages, workspace, killed):
    competition = with_stages(replace(HEAD, cycle_length=3))
    killed(competition, workspace, 3)
    (run,) = list_runs(workspace)
    sizes = {name: (run.folder / name).stat().st_size for name in ("epochs.csv", "history.csv")}
    shorter = pd.read_csv(run.folder / "history.csv")
    assert len(shorter) >= 1
    assert json.loads((run.folder / "config.json").read_text())["order"] == 1
    (run.folder / "history.csv").write_bytes((run.folder / "history.csv").read_bytes()[: sizes["history.csv"] - 3])
    with pytest.raises(RunError, match=r"history\.csv is shorter than when the training was stopped"):
        runner.train(competition, Choices(), workspace, Console())


def test_folds_that_are_joined_and_not_submitted_are_submitted_and_not_trained_again(
    with_stages, workspace, shades, serving, monkeypatch
):
    competition, choices = with_stages(HEAD), Choices(folds=2)
    with serving(shades):
        with monkeypatch.context() as patched:
            patched.setattr("comp.kaggle.submitting.submit", refusing("No submission is left today."))
            with pytest.raises(KaggleError):
                runner.run(competition, choices, workspace, Console(), submitting=True)
        before = list_runs(workspace)
        joined = runner.run(competition, choices, workspace, Console(), submitting=True)
        assert list_runs(workspace) == before
        assert joined.members
        assert joined.record("submitted")["status"] == "complete"
        runner.run(competition, choices, workspace, Console(), submitting=True)
        assert len(list_runs(workspace)) == 2 * len(before)


def test_a_leaderboard_that_is_away_is_said_and_the_submission_stands(
    with_stages, workspace, shades, serving, monkeypatch, capsys
):
    monkeypatch.setattr(Kaggle, "leaderboard", refusing("It is hidden."))
    with serving(shades):
        run = runner.run(with_stages(HEAD), Choices(), workspace, Console(), submitting=True)
    assert run.record("submitted")["status"] == "complete"
    assert "its place is not known: It is hidden." in capsys.readouterr().out


@pytest.mark.parametrize("folds", [None, 3])
def test_a_run_is_not_gone_on_with_by_another_split(with_stages, workspace, killed, monkeypatch, folds):
    competition, choices = with_stages(HEAD), Choices(folds=folds, fold=folds)
    killed(competition, workspace, 2, choices)
    (stopped,) = list_runs(workspace)
    for name in ("draw_split", "draw_folds"):
        draw = getattr(prepared, name)
        monkeypatch.setattr(prepared, name, lambda *arguments, draw=draw: draw(*arguments[:2], 77, *arguments[3:]))
    with pytest.raises(RunError, match="was begun with other images to validate"):
        runner.resume(competition, stopped, workspace, Console())
    assert runner.train(competition, choices, workspace, Console()) != stopped


def test_a_page_that_can_t_be_written_is_said_and_holds_nothing_up(
    with_stages, workspace, shades, serving, monkeypatch, capsys
):
    monkeypatch.setattr("comp.report.report.explain", refusing("no page"))
    competition = with_stages(HEAD)
    with serving(shades):
        one, other = (runner.run(competition, Choices(), workspace, Console()) for _ in range(2))
    assert one != other
    assert "no report was written: no page" in capsys.readouterr().out


def refusing(reason):
    def refuse(*_, **__):
        raise KaggleError(reason)

    return refuse
