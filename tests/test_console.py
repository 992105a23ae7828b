import io

import pytest
from rich.console import Console as Terminal

from comp.console import Console


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


def test_in_a_notebook_lines_are_text_and_no_bar_or_widget_is_made(monkeypatch, capsys):
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    console = Console()
    with console.bar("training", 10, "steps") as bar:
        bar.advance(5)
        console.say("one")
        console.say("two")
    assert capsys.readouterr().out == "one\ntwo\n"


def test_bars_are_shown_on_a_terminal_only_and_elsewhere_a_line_where_they_take_long(capsys, monkeypatch):
    with Console().bar("training", 10, "steps") as bar:
        bar.advance(5)
        assert capsys.readouterr().out == ""
        monkeypatch.setattr("comp.console.SECONDS_A_LINE", -1)
        bar.advance(2)
    assert capsys.readouterr().out == "training: 7 of 10 steps\n"


def test_a_bar_is_one_line_of_a_terminal_of_eighty_columns_with_the_text_it_was_given_last():
    screen = io.StringIO()
    console = Console(terminal=Terminal(file=screen, force_terminal=True, width=80, color_system=None))
    with console.bar("training", 12_345, "images") as bar:
        bar.say("training, 3 h 05 min left of all stages")
        bar.advance(1_000)
        bar.progress.refresh()
    # When it is taken away, it goes back by no more than the one line.
    assert screen.getvalue().count("\x1b[1A") == 1
    lines = screen.getvalue().replace("\r", "\n").splitlines()
    assert any("3 h 05 min left" in line and " 1000/12345 " in line for line in lines)


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
