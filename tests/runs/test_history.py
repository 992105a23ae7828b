import csv
from dataclasses import replace

import pytest

from comp.declare.recipe import Stage
from comp.errors import RunError
from comp.runs import EPOCH_COLUMNS, STEP_COLUMNS, TABLES, create_run
from comp.runs.history import seconds_left, time_in_words


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def epoch(stage, number, cycle=1, valid_loss=0.5, score=None):
    losses = {"train_loss": 0.25, "valid_loss": valid_loss, "metric": "mean_f2", "score": score}
    return {"stage": stage, "cycle": cycle, "epoch": number, **losses, "seconds": 2.0, "images_per_second": 64.0}


def test_history_has_a_row_per_step_and_epochs_a_row_per_epoch_with_gaps_where_nothing_trained_or_validated(workspace):
    run = create_run(workspace, "planet", "quick")
    assert not run.history.began
    steps = [{"loss": 0.75, "lr_head": 1e-3}, {"loss": 0.5, "lr_head": 5e-4}]
    run.history.append_epoch(epoch(1, 1, score=0.9), steps)
    assert run.history.began
    whole = {"loss": 0.25, "lr_early": 1e-5, "lr_late": 1e-4, "lr_head": 1e-3}
    run.history.append_epoch(epoch(2, 1, score=0.92), [whole])
    run.history.append_epoch(epoch(2, 2, cycle=2, valid_loss=None), [whole])

    history, epochs = rows(run.folder / "history.csv"), rows(run.folder / "epochs.csv")
    assert tuple(history[0]) == STEP_COLUMNS
    counted = ["".join(row[name] for name in ("stage", "cycle", "epoch", "step")) for row in history]
    assert counted == ["1111", "1112", "2111", "2221"]
    assert [row["lr_early"] for row in history] == ["", "", "1e-05", "1e-05"]
    assert [row["lr_head"] for row in history] == ["0.001", "0.0005", "0.001", "0.001"]
    assert tuple(epochs[0]) == EPOCH_COLUMNS
    assert [(row["valid_loss"], row["score"]) for row in epochs] == [("0.5", "0.9"), ("0.5", "0.92"), ("", "")]

    epochs, steps = run.history.epochs(), run.history.steps()
    assert epochs["train_loss"].tolist() == [0.25] * 3
    assert epochs[["valid_loss", "score"]].isna().all(axis=1).tolist() == [False, False, True]
    assert steps["step"].tolist() == [1, 2, 1, 1]
    assert steps["lr_head"].tolist() == [1e-3, 5e-4, 1e-3, 1e-3]
    assert steps[["lr_early", "lr_late"]].isna().all(axis=1).tolist() == [True, True, False, False]


@pytest.mark.parametrize(
    ("ended", "diverged"),
    [
        (epoch(1, 1, valid_loss=float("nan")), True),
        ({**epoch(1, 2, valid_loss=None), "train_loss": float("inf")}, True),
        (epoch(1, 1, valid_loss=None), False),
        # After the first cycle there are weights to go back to.
        (epoch(1, 2, cycle=2, valid_loss=float("nan")), False),
        (epoch(2, 1, valid_loss=float("nan")), False),
    ],
)
def test_a_loss_that_is_no_number_in_the_first_cycle_ends_a_training_for_good(workspace, ended, diverged):
    run = create_run(workspace, "planet", "quick")
    assert not run.history.diverged
    run.history.append_epoch(ended, [])
    assert run.history.diverged is diverged


def test_what_a_stage_took_and_a_sweep_are_read_back(started):
    run = started("planet", "quick")
    run.history.append_stage(1, 12.5, 2_500_000_000)
    run.history.append_stage(2, 40.0, 2_750_000_000)
    assert run.history.stages().to_dict("list") == {
        "stage": [1, 2],
        "seconds": [12.5, 40.0],
        "memory_mb": [2500.0, 2750.0],
    }
    columns = {"rate": [1e-6, 1e-3], "loss": [2.5, 1.0], "smoothed": [2.5, 1.75]}
    run.history.write_range_test(2, *columns.values())
    assert run.history.range_test(1) is None
    assert run.history.range_test(2).to_dict("list") == columns


def test_tables_that_are_not_there_are_empty_and_one_that_can_t_be_read_is_one_sentence(started):
    run = started("planet", "quick")
    for content in (None, ""):
        if content is not None:
            (run.folder / "epochs.csv").write_text(content)
        assert run.history.epochs().empty
        assert tuple(run.history.steps()) == STEP_COLUMNS
    (run.folder / "epochs.csv").write_bytes(b"\xff")
    with pytest.raises(RunError, match=r"epochs\.csv can't be read"):
        run.history.epochs()


def test_tables_are_cut_to_what_was_there(started):
    run = started("planet", "quick")
    assert run.history.sizes() == dict.fromkeys(TABLES, 0)
    step = {"loss": 0.5, "lr_head": 1e-3}
    run.history.append_epoch(epoch(1, 1, score=0.5), [step, step])
    run.history.append_stage(1, 2.0, 1_000_000)
    sizes, before = run.history.sizes(), [rows(run.folder / name) for name in TABLES]
    run.history.append_epoch(epoch(1, 2, score=0.6), [step, step])
    run.history.append_stage(2, 2.0, 1_000_000)
    with (run.folder / "history.csv").open("a") as file:
        file.write("1,1,3")
    run.history.cut(sizes)
    assert [rows(run.folder / name) for name in TABLES] == before
    run.history.cut({})
    assert not run.history.began


def test_the_time_left_counts_all_stages_by_their_epochs_and_pixels():
    stages = [
        Stage(size=16, train="all", cycles=2, cycle_multiplier=2),  # 1 + 2 epochs
        Stage(size=32, train="all", cycle_length=2),
        Stage(size=(16, 32), train="all"),
    ]
    assert seconds_left(stages, 1, 1, 10.0) == 10 * (2 + 2 * 4 + 2)
    assert seconds_left(stages, 3, 1, 10.0) == 0
    on_features, on_maps = (replace(stages[0], cached=True, train=train) for train in ("head", 2))
    assert seconds_left([on_features, stages[1]], 1, 1, 0.1) is None
    assert seconds_left([on_features, on_maps], 1, 1, 0.1) is None
    assert seconds_left([on_maps, stages[1]], 1, 1, 0.1) is None
    assert seconds_left([on_maps, on_features, on_maps], 1, 1, 10.0) == 10 * (2 + 3)


@pytest.mark.parametrize(("seconds", "words"), [(4.25, "4.2 s"), (41.4, "41 s"), (11100, "3 h 05 min")])
def test_times_are_said_in_words(seconds, words):
    assert time_in_words(seconds) == words
