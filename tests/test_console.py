import io

from rich.console import Console as Terminal

from comp.console import Console

LINES = [
    "the class [red] and [/red]",
    "[bold]loud[/bold]",
    "a breed called :dog: :smile:, né",
    "/data/[draft]/1.jpg",
    r"\[escaped]",
    "x" * 300,
    "https://kaggle.com/c/planet 42 True None",
]


def on_a_terminal(width):
    screen = io.StringIO()
    return Console(Terminal(file=screen, force_terminal=True, width=width, color_system=None)), screen


def test_lines_are_printed_as_they_are_and_logged_once_there_is_a_log(capsys, tmp_path):
    console = Console()
    console.say("before the run")
    console.log = tmp_path / "log.txt"
    for number, line in enumerate(LINES, start=1):
        console.say(line)
        assert console.log.read_text(encoding="utf-8").split("\n") == [*LINES[:number], ""]
    assert capsys.readouterr().out.split("\n") == ["before the run", *LINES, ""]


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
    console, screen = on_a_terminal(80)
    with console.bar("training", 12_345, "images") as bar:
        bar.say("training, 3 h 05 min left of all stages")
        bar.advance(1_000)
        bar.progress.refresh()
    # Removing the bar moves the cursor up by one line only.
    assert screen.getvalue().count("\x1b[1A") == 1
    lines = screen.getvalue().replace("\r", "\n").splitlines()
    assert any("3 h 05 min left" in line and " 1000/12345 " in line for line in lines)


def test_a_download_on_a_terminal_tells_its_name_as_it_is_and_how_much_is_done():
    console, screen = on_a_terminal(120)
    with console.downloads() as progress:
        progress("[red]planet[/red].zip")(1_500_000, 3_000_000)
    assert "[red]planet[/red].zip" in screen.getvalue()
    assert "1.5/3.0 MB" in screen.getvalue()
