import io
from dataclasses import replace

import pytest
from rich.console import Console as Terminal

from comp.console import EPOCH, Console
from comp.declare.recipe import Stage
from comp.training.learner import Epoch

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


@pytest.mark.parametrize(
    "text",
    [
        "the class [red] and [/red]",
        "[bold]loud[/bold]",
        "a breed called :dog: :smile:",
        "/data/[draft]/1.jpg",
        r"\[escaped]",
        "x" * 300,
        "https://kaggle.com/c/planet 42 True None",
    ],
)
def test_a_line_is_printed_and_logged_as_it_is(text, capsys, tmp_path):
    console = Console(log=tmp_path / "log.txt")
    console.say(text)
    assert capsys.readouterr().out == text + "\n"
    assert (tmp_path / "log.txt").read_text() == text + "\n"


def test_a_name_stays_text_on_a_terminal_too(tmp_path):
    screen = io.StringIO()
    console = Console(terminal=Terminal(file=screen, force_terminal=True, width=80))
    with console.downloads() as progress:
        moved = progress("[red]planet[/red].zip")
        moved(10, 100)
        moved(100, 100)
    assert "[red]planet[/red].zip" in screen.getvalue()


def test_the_log_grows_line_by_line_and_only_once_there_is_one(tmp_path):
    console = Console()
    console.say("before the run")
    console.log = tmp_path / "log.txt"
    console.say("one")
    console.say("né")
    assert (tmp_path / "log.txt").read_text(encoding="utf-8") == "one\nné\n"


def test_an_epoch_is_a_row_under_the_heading_of_its_stage(capsys):
    console = Console()
    console.stage(2, 3, Stage(size=96, train="all", cycles=2, cycle_length=3), 0.001, "mean_f2")
    console.epoch(EPOCH_ENDED, 0.875)
    first, heading, row = capsys.readouterr().out.splitlines()
    assert first == "stage 2 of 3: all layers, 96 px, 6 epochs of sgdr, learning rate 0.001"
    assert heading == EPOCH.format("epoch", "train loss", "valid loss", "mean_f2", "seconds", "images/s")
    assert row.split() == ["5", "0.50000", "0.25000", "0.87500", "1.2", "100"]
    assert len(row) == len(heading)


def test_an_epoch_without_validation_leaves_its_places_empty(capsys):
    Console().epoch(replace(EPOCH_ENDED, number=0, valid_loss=None, seconds=1.0, images_per_second=10.0), None)
    assert capsys.readouterr().out.split() == ["1", "0.50000", "1.0", "10"]


def test_a_cached_stage_names_its_views(capsys):
    Console().stage(1, 1, Stage(size=64, train="head", cached=True, views=4), 0.01, "accuracy")
    assert "head on cached features of 4 views, 64 px" in capsys.readouterr().out


def test_a_stage_that_trains_part_of_the_backbone_says_which(capsys):
    Console().stage(1, 1, Stage(size=64, train=2), 0.01, "accuracy")
    assert "late layers and head, 64 px" in capsys.readouterr().out


def test_bars_are_shown_on_a_terminal_only(capsys):
    with Console().bar("training", 10, "steps") as bar:
        bar.advance(5)
    assert capsys.readouterr().out == ""


def test_a_bar_on_a_terminal_tells_amount_and_unit():
    screen = io.StringIO()
    console = Console(terminal=Terminal(file=screen, force_terminal=True, width=120))
    with console.bar("training", 10, "steps") as bar:
        for _ in range(10):
            bar.advance(1)
        bar.progress.refresh()
    assert "10/10" in screen.getvalue()
    with console.downloads() as progress:
        progress("planet.zip")(1_500_000, 3_000_000)
    assert "1.5/3.0 MB" in screen.getvalue()
