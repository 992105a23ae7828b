"""Trainings that are stopped and resumed, in one process: they leave what a killed process leaves."""

import fcntl
import os
import re
import shutil
import signal
import time
from dataclasses import replace
from functools import partial
from operator import attrgetter
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from comp import TagNames, runner
from comp.console import Console
from comp.declare.labels.function import LabelFunction
from comp.declare.recipe import Stage
from comp.errors import DataError, KaggleError, RunError
from comp.kaggle.client import Kaggle
from comp.runs import History, Run, Workspace, list_runs
from comp.runs.choices import Choices
from comp.training import prepared, resuming
from comp.training import training as module
from comp.training.resuming import under_way
from comp.training.state import load_state, save_state
from comp.training.training import Training
from tests.training.conftest import HEAD, SAM, KilledError, halves

FINDS = replace(HEAD, learning_rate="find")
ALL = Stage(size=16, train="all", cycles=2, learning_rate=1e-3)
FILES = ("checkpoints/model.safetensors", "submission.csv", "history.csv", "split.csv", "trained.json", "scores.json")


@pytest.fixture
def undisturbed(workspace, train):
    """A training that is never stopped, in a workspace of its own."""

    def call(competition, **choices):
        other = Workspace(workspace.folder.parent / "undisturbed")
        shutil.copytree(workspace.folder / "data", other.folder / "data")
        return train(competition, other, predicting=True, **choices)

    return call


def same(run, other):
    for name in FILES:
        assert (run.folder / name).read_bytes() == (other.folder / name).read_bytes(), name
    columns = ["stage", "cycle", "epoch", "train_loss", "valid_loss", "score"]
    assert run.history.epochs()[columns].equals(other.history.epochs()[columns])
    assert [path.name for path in run.folder.rglob("*.part")] == []
    assert not run.last.exists()


def slower(step, steps):
    return 1 / (1 + step)


further = partial(pytest.param, marks=pytest.mark.long)


@pytest.mark.parametrize(
    ("stages", "fields"),
    [
        pytest.param((FINDS, ALL), {"dropout": 0.3}, id="cached head, then all"),
        pytest.param(
            (replace(ALL, train=2),),
            {"ema": 0.9, "mixup": 0.4, "cutmix": 0.4, "accumulation": 2, "snapshots": 2, "batch_size": 4},
            id="average, mixing, gathered, snapshots",
        ),
        pytest.param(
            (replace(ALL, size=24),),
            {"optimizer": SAM, "mixing": halves, "dropout": 0.3, "batch_size": 8},
            id="an optimizer with another, a mixing of one's own",
        ),
        pytest.param((replace(HEAD, cycles=2),), {"optimizer": "lookahead_adamw"}, id="timm's optimizer with another"),
        further(
            (replace(FINDS, schedule="lbfgs", cycles=1), replace(ALL, train=2, cached=True, views=2)),
            {"dropout": 0.3, "freeze_batch_norm": True, "snapshots": 2, "ema": 0.9, "mixup": 0.2},
            id="a solved head, then the late half on cached maps with its average",
        ),
        further(
            (
                replace(HEAD, schedule="flat_cosine"),
                replace(ALL, size=24, cycles=1, cycle_length=2, schedule="one_cycle"),
            ),
            {"optimizer": "sgd", "balance": "oversample", "clip_norm": 1.0, "random_erasing": 0.5},
            id="other schedules, plain SGD, balanced, another size",
        ),
        further(
            (replace(HEAD, schedule=slower), replace(HEAD, schedule=slower)),
            {"head": "attention", "optimizer": "muon", "mixup": 0.4},
            id="attention on cached maps, Muon, a schedule of one's own",
        ),
    ],
)
def test_a_training_that_is_killed_anywhere_ends_as_one_that_never_was(
    with_stages, workspace, killed, train, undisturbed, monkeypatch, stages, fields
):
    monkeypatch.setattr("comp.training.finder.BATCHES", 30)
    competition = with_stages(*stages, **fields)
    expected = undisturbed(competition)
    # Killed, resumed and killed again: in the first epoch, at its end, and later on.
    for number in (1, 2, len(expected.history.steps()) // 2):
        killed(number, train, competition)
    run = train(competition, predicting=True)
    assert [found.name for found in list_runs(workspace)] == [run.name] == ["shades/standard-1"]
    same(run, expected)


def test_a_late_half_that_had_no_room_for_maps_goes_on_from_images_though_there_is_room_now(
    with_stages, workspace, killed, train, undisturbed, monkeypatch
):
    competition = with_stages(HEAD, replace(ALL, train=2, cached=True, views=2))
    with monkeypatch.context() as patch:
        patch.setattr("comp.training.extraction.lacks_room", lambda *_: "too much")
        expected = undisturbed(competition)
        stopped = killed(7, train, competition)
    assert load_state(stopped.last)["stage"]["on_images"]
    run = train(competition)
    assert [stage["cached"] for stage in run.record("trained")["stages"]] == [True, False]
    assert run.weights.read_bytes() == expected.weights.read_bytes()


def test_what_was_not_saved_is_trained_again(with_stages, workspace, train, undisturbed, monkeypatch):
    competition = with_stages(HEAD, ALL)
    expected = undisturbed(competition)
    append, epochs = History.append_epoch, []

    def die_in_the_fourth(run, *arguments):
        append(run, *arguments)
        epochs.append(arguments)
        if len(epochs) == 4:
            raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(History, "append_epoch", die_in_the_fourth)
        with pytest.raises(KilledError):
            train(competition)
    (run,) = list_runs(workspace)
    assert len(run.history.epochs()) == 4
    # A killed process may leave half a line as well.
    with (run.folder / "history.csv").open("a") as file:
        file.write("2,1,2,1,0.5")
    same(train(competition, predicting=True), expected)


def test_a_run_that_is_killed_before_anything_is_saved_starts_again_in_its_folder(head, train, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(Training, "rate_of", lambda *_: (_ for _ in ()).throw(KilledError))
        with pytest.raises(KilledError):
            train(head)
    run = train(head)
    assert run.name == "shades/standard-1"
    assert run.history.epochs()["epoch"].tolist() == [1, 2]


def test_a_signal_at_whatever_moment_leaves_what_the_training_goes_on_from(with_stages, workspace, train, monkeypatch):
    looks = []

    def interrupting():
        # Between two checks of whether a signal has come.
        looks.append(None)
        if len(looks) == 8:
            os.kill(os.getpid(), signal.SIGINT)
        return time.monotonic()

    with monkeypatch.context() as patch:
        patch.setattr(module, "time", SimpleNamespace(monotonic=interrupting, perf_counter=time.perf_counter))
        with pytest.raises(KeyboardInterrupt):
            train(with_stages(replace(HEAD, cycle_length=5)))
    (run,) = list_runs(workspace)
    assert load_state(run.last)["stage"]["state"]["taken"] > 0


def test_the_next_step_of_a_run_is_taken_and_what_was_done_is_left_alone(
    head, workspace, shades, serving, train, monkeypatch, capsys
):
    trained = train(head)
    weights = trained.weights.stat().st_mtime_ns
    with serving(shades):
        run = runner.run(head, Choices(), workspace, Console())
        assert (run, run.weights.stat().st_mtime_ns) == (trained, weights)
        assert "resuming shades/standard-1, the same training, already trained" in capsys.readouterr().out
        assert run.predicted
        assert runner.run(head, Choices(), workspace, Console(), submitting=True) == run
        assert run.record("submitted")["status"] == "complete"
        # A missing leaderboard or page stops nothing.
        monkeypatch.setattr(Kaggle, "leaderboard", refusing("It is hidden."))
        monkeypatch.setattr("comp.report.report.explain", refusing("no page"))
        again = runner.run(head, Choices(), workspace, Console(), submitting=True)
    assert again.name == "shades/standard-2"
    assert again.record("submitted")["status"] == "complete"
    said = capsys.readouterr().out
    assert "its place is not known: It is hidden." in said
    assert "no report was written: no page" in said


def test_the_latest_of_several_is_gone_on_with_whatever_the_clock_says(head, stopped, workspace, goes_on_with):
    second = Run(stopped.folder.with_name("standard-2"))
    shutil.copytree(stopped.folder, second.folder)
    second.write_config(second.record("config"))
    os.utime(second.folder / "config.json", (1, 1))
    assert list_runs(workspace) == [stopped, second]
    assert goes_on_with(head) == second


def test_a_run_that_is_being_trained_is_left_alone_and_another_is_begun(
    head, stopped, workspace, preparing, goes_on_with
):
    before = stopped.last.read_bytes()
    with stopped.log.open("ab") as elsewhere:
        fcntl.flock(elsewhere, fcntl.LOCK_EX)
        with pytest.raises(RunError, match="is being trained by another process"):
            runner.resume(head, stopped, workspace, Console())
        assert goes_on_with(head).name == "shades/standard-2"
    assert stopped.last.read_bytes() == before
    shutil.rmtree(workspace.runs / "shades" / "standard-2")
    with under_way(preparing(head), Console(), attrgetter("predicted")) as mine:
        assert mine.run == stopped
        assert goes_on_with(head) != stopped


def test_a_run_is_gone_on_with_by_its_name(head, workspace, killed, train, undisturbed, capsys):
    choices = {"settings": ["batch_size=6"], "seed": 3}
    expected = undisturbed(head, **choices)
    run = killed(2, train, head, **choices)
    capsys.readouterr()
    assert runner.resume(head, run, workspace, Console()) == run
    assert "resuming shades/standard-1, which was stopped: stage 1, epoch 2, step" in capsys.readouterr().out
    runner.predict(head, run, workspace, Console())
    same(run, expected)
    with pytest.raises(RunError, match=r"has ended; predict with it by `comp predict shades/standard-1`"):
        runner.resume(head, run, workspace, Console())


def test_the_time_of_a_stage_is_counted_on_when_it_goes_on(head, workspace, killed, train, monkeypatch):
    record, seconds = Training._record, [0.0]

    def in_a_hundred_seconds(training, *arguments):
        seconds.append(seconds[-1] + 100)
        record(training, *arguments)

    monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: seconds[-1], monotonic=time.monotonic))
    monkeypatch.setattr(Training, "_record", in_a_hundred_seconds)
    run = killed(3, train, head)
    seconds.append(1e6)
    runner.resume(head, run, workspace, Console())
    assert pd.read_csv(run.folder / "stages.csv")["seconds"].tolist() == [200]


def test_a_state_that_can_t_be_gone_on_from_is_one_sentence_and_changes_nothing(head, killed, train):
    run = killed(4, train, head)
    steps = run.folder / "history.csv"
    state, epochs, table = load_state(run.last), (run.folder / "epochs.csv").read_bytes(), steps.read_bytes()
    of_another_model = {"weights": {"head.2.weight": state["weights"]["head.2.weight"][:1]}}
    for spoil, said in (
        (lambda: run.last.write_bytes(b"state"), r"last\.pt is .*remove"),
        (lambda: save_state({**state, **of_another_model}, run.last), r"last\.pt is .*remove"),
        (lambda: os.truncate(steps, len(table) - 3), r"history\.csv is shorter than when the training was stopped"),
    ):
        spoil()
        with pytest.raises(RunError, match=said):
            train(head)
        assert (run.folder / "epochs.csv").read_bytes() == epochs
        save_state(state, run.last)
    run.last.unlink()
    assert train(head) == run


def test_folds_that_are_there_are_not_trained_again(head, workspace, killed, train, undisturbed):
    expected = undisturbed(head, folds=2, fold=2)
    killed(6, train, head, folds=2)
    before = {run.name: run.predicted for run in list_runs(workspace)}
    assert before == {"shades/standard-1": True, "shades/standard-2": False}
    joined = train(head, folds=2)
    assert list(joined.members) == ["shades/standard-1", "shades/standard-2"]
    same(list_runs(workspace)[1], expected)
    # The folds are joined now, so the same command starts another training.
    assert not set(joined.members) & set(train(head, folds=2).members)


def test_an_error_before_the_first_epoch_leaves_no_run(with_stages, workspace, train, monkeypatch):
    build = prepared.build_classifier

    def breaking(*arguments, **options):
        # After the data check, which would leave out an image that was broken before.
        (workspace.data("shades") / "train" / "t05.png").write_bytes(b"no image")
        return build(*arguments, **options)

    monkeypatch.setattr(prepared, "build_classifier", breaking)
    with pytest.raises(DataError):
        train(with_stages(ALL))
    assert list((workspace.runs / "shades").iterdir()) == []


def test_a_frozen_backbone_is_not_written_each_time(with_stages, stopped, killed, train):
    assert killed(2, train, with_stages(ALL)).last.stat().st_size > 5 * stopped.last.stat().st_size


def test_a_training_by_hand_is_not_gone_on_with(head, begin, workspace, train):
    by_hand = begin(HEAD, by_hand=True)
    with pytest.raises(RunError, match="was trained by hand"):
        runner.resume(head, by_hand.run, workspace, Console())
    assert train(head) != by_hand.run


def test_what_another_process_says_after_its_training_has_no_log_to_go_to(begin, monkeypatch):
    training, console = begin(HEAD), Console()
    for name, found in (("is_main", False), ("from_main", training.run.folder), ("wait_for_all", None)):
        monkeypatch.setattr(resuming, name, lambda *_, found=found: found)
    with under_way(training.prepared, console, attrgetter("trained")) as followed:
        console.say("one of two is under way")
        assert "one of two is under way" in followed.run.log.read_text()
    console.say("one of two is done")


@pytest.mark.parametrize("folds", [None, 3])
def test_a_run_is_not_gone_on_with_by_another_split(head, workspace, killed, train, goes_on_with, monkeypatch, folds):
    stopped = killed(1, train, head, folds=folds, fold=folds)
    for name in ("split_of", "folds_of"):
        draw = getattr(prepared, name)
        monkeypatch.setattr(prepared, name, lambda *arguments, draw=draw: draw(*arguments[:2], 77))
    with pytest.raises(RunError, match="was begun with other validation images"):
        runner.resume(head, stopped, workspace, Console())
    assert goes_on_with(head, folds=folds, fold=folds) != stopped


def refusing(reason):
    def refuse(*_, **__):
        raise KaggleError(reason)

    return refuse


def test_folds_that_are_joined_and_not_submitted_are_submitted_and_not_trained_again(
    head, workspace, shades, serving, monkeypatch
):
    monkeypatch.setattr("comp.kaggle.failures.wait", lambda _: None)
    with serving(shades):
        run = lambda: runner.run(head, Choices(folds=2), workspace, Console(), submitting=True)  # noqa: E731
        with monkeypatch.context() as patched:
            patched.setattr("comp.kaggle.submitting.submit", refusing("No submission is left today."))
            with pytest.raises(KaggleError):
                run()
        before = list_runs(workspace)
        joined = run()
    assert list_runs(workspace) == before
    assert joined.members
    assert joined.record("submitted")["status"] == "complete"


@pytest.mark.parametrize(
    ("left_out", "said"),
    [
        ((), None),
        (("red",), "among them all of red"),
        (("red", "blue"), "among them all of blue, red"),
    ],
)
@pytest.mark.parametrize("target", ["single", "multi"])
def test_it_is_said_which_training_images_a_balance_leaves_out(begin, head, capsys, target, left_out, said):
    def some(targets):
        shown = np.ones(len(targets), int)
        for place in map(("blue", "green", "red").index, left_out):
            shown[targets == place if targets.ndim == 1 else targets[:, place] == 1] = 0
        return shown

    def tagged(folder):
        table = head.labels.read(folder)
        return table.assign(label=[[label] for label in table["label"]])

    tags = {"labels": LabelFunction(tagged, target="multi"), "submission": TagNames(), "metric": "mean_f1"}
    training = begin(HEAD, balance=some, of=tags if target == "multi" else {})
    out = capsys.readouterr().out
    assert ("`balance` never shows" in out) is bool(left_out)
    if said:
        prepared = training.prepared
        meant = 36 - len(prepared.validating)
        assert f"never shows {meant - len(prepared.training)} of {meant} training images, {said}\n" in out


def test_a_balance_that_leaves_out_some_of_each_class_names_none(begin, capsys):
    begin(HEAD, balance=lambda targets: np.arange(len(targets)) > 1)
    assert re.search(r"`balance` never shows 2 of \d+ training images\n", capsys.readouterr().out)
