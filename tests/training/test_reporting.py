from dataclasses import replace

import pytest

from comp.console import Console
from comp.declare.recipe import Stage
from comp.training.learner import Epoch
from comp.training.reporting import EPOCH, say_epoch, say_stage

EPOCH_ENDED = Epoch(
    number=4,
    cycle=1,
    ends_cycle=True,
    train_loss=0.5,
    valid_loss=0.25,
    seconds=1.25,
    images_per_second=99.7,
    steps=[],
    logits=None,
)


def test_an_epoch_is_a_row_under_the_heading_of_its_stage(capsys):
    say_stage(Console(), 2, 3, Stage(size=96, train="all", cycles=2, cycle_length=3), 0.001, "mean_f2")
    say_epoch(Console(), EPOCH_ENDED, 0.875)
    first, heading, row = capsys.readouterr().out.splitlines()
    assert first == "stage 2 of 3: all layers, 96 px, 6 epochs of sgdr, learning rate 0.001"
    assert heading == EPOCH.format("epoch", "train loss", "valid loss", "mean_f2", "seconds", "images/s")
    assert row.split() == ["5", "0.50000", "0.25000", "0.87500", "1.2", "100"]
    assert len(row) == len(heading)


def test_an_epoch_without_validation_leaves_its_columns_empty(capsys):
    say_epoch(Console(), replace(EPOCH_ENDED, number=0, valid_loss=None, seconds=1.0, images_per_second=10.0), None)
    assert capsys.readouterr().out.split() == ["1", "0.50000", "1.0", "10"]


@pytest.mark.parametrize(
    ("stage", "words"),
    [
        (Stage(size=64, train="head", cached=True, views=4), "head on cached features of 4 views, 64 px"),
        (Stage(size=64, train=2), "late layers and head, 64 px"),
    ],
)
def test_a_stage_s_heading_says_what_it_trains(stage, words, capsys):
    say_stage(Console(), 1, 1, stage, 0.01, "accuracy")
    assert words in capsys.readouterr().out
