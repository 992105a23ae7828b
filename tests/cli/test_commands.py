import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from comp.declare.competition import REPOSITORY_COMPETITIONS, find_competitions
from comp.runs import create_run
from tests.cli.conftest import TINY

HEAVY = ("torch", "torchvision", "timm", "numpy", "pandas", "sklearn", "albumentations", "cv2", "PIL", "kaggle", "rich")
COMMANDS = [
    *("list", "new", "download", "check", "explore", "schedule", "lr-find", "bench", "run", "train", "predict"),
    *("submit", "runs", "scores", "report", "diagnose", "compare", "board", "join", "ensemble", "import", "export"),
    *("sweep", "rehearse", "serve", "notebook"),
]


def in_a_process(*command):
    return subprocess.run([sys.executable, *command], capture_output=True, text=True, timeout=120, check=False)


def test_list_names_every_competition_with_metric_and_recipes(comp):
    ended = comp("list")
    assert ended.status == 0
    rows = {line.split()[0]: line for line in ended.out.splitlines()}
    assert set(rows) == set(find_competitions(REPOSITORY_COMPETITIONS))
    assert "mean_f2" in rows["planet"]
    assert "quick, standard" in rows["planet"]


@pytest.mark.parametrize(
    ("what", "named"),
    [
        ("metrics", "quadratic_kappa"),
        ("heads", "attention"),
        ("optimizers", "muon"),
        ("labels", "CsvColumns"),
        ("forms", "TagNames"),
        ("readers", "dicom"),
    ],
)
def test_list_names_what_a_declaration_may_name(comp, what, named):
    names = [line.split()[0] for line in comp("list", "--what", what).out.splitlines()]
    assert named in names
    assert not {"Competition", "Recipe"} & set(names)


def test_help_lists_every_command_in_the_order_of_work_each_in_one_whole_line(comp, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    ended = comp("--help")
    assert ended.status == 0
    listed = ended.out[ended.out.index("Start:") :]
    assert re.findall(r"^  (\S+)  +\S.*\.$", listed, re.MULTILINE) == COMMANDS
    assert "..." not in listed
    assert max(map(len, listed.splitlines())) <= 80


def test_the_help_of_each_command_names_no_option_that_it_lacks(comp):
    for command in COMMANDS:
        ended = comp(command, "--help")
        assert ended.status == 0
        assert f"comp {command} " in ended.out
        options = set(re.findall(r"^  (--[\w-]+)", ended.out, re.MULTILINE))
        assert set(re.findall(r"--[a-z][\w-]*", ended.out)) == options


def test_the_version_is_that_of_the_package(comp):
    assert comp("--version").out == f"comp {version('comp-starter')}\n"


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("run shades --on moon --folds 2", "--on is 'moon', but it should be kaggle, ray, or ray://HOST:PORT."),
        ("run shades --on ray", "--on ray trains side by side, but there is one training; give --folds, or several"),
        ("run shades --on ray --folds 2 --fold 1", "--on ray trains side by side, but there is one training; give"),
        ("run shades --on ray --folds 2 --processes 2", "--processes is for this machine, and --on names another"),
        ("run shades --seed 1 --seed 2 --submit", "--submit is for one training, but there are 2; name one recipe"),
        ("run shades --seed 1 --seed 2 --on kaggle", "--on kaggle is for one training, but there are 2; name one"),
        ("sweep shades --space dropout=0..0.5 --on kaggle", "--on is 'kaggle', but it should be ray, or ray://"),
        ("sweep shades --space dropout=0..0.5 --on ray --processes 2", "--processes is for this machine, and --on"),
    ],
)
def test_what_can_not_be_side_by_side_is_refused(on_shades, workspace, command, sentence):
    assert on_shades(*command.split()).sentence.startswith(sentence)
    assert not workspace.runs.exists()


def test_a_declaration_that_can_t_be_loaded_hides_no_other(comp, tmp_path):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "competition.py").write_text("competition = (")
    ended = comp("--competitions", tmp_path, "list")
    assert ended.status == 1
    assert [line.split()[0] for line in ended.out.splitlines()] == ["digits", "dog-breeds", "dogs-vs-cats", "planet"]
    assert ended.err.startswith(f"Error: {tmp_path / 'broken' / 'competition.py'} can't be loaded: SyntaxError")


def test_declarations_are_read_without_importing_what_computes():
    code = f"""
import sys
from comp import cli
from comp.declare.competition import REPOSITORY_COMPETITIONS, find_competitions, load_competition
assert [load_competition(path) for path in find_competitions(REPOSITORY_COMPETITIONS).values()]
print(sorted(set({HEAVY!r}) & set(sys.modules)))
"""
    ended = in_a_process("-c", code)
    assert (ended.stdout.strip(), ended.stderr) == ("[]", "")


def test_the_package_runs_as_a_module_and_an_error_ends_it_with_status_1_and_one_sentence(workspace):
    ended = in_a_process("-m", "comp", "download", "cats")
    said = "Error: There is no competition 'cats'; there are digits, dog-breeds, dogs-vs-cats, planet.\n"
    assert (ended.returncode, ended.stdout, ended.stderr) == (1, "", said)
    assert not workspace.folder.exists()


def test_runs_that_can_t_be_read_are_listed_with_what_to_do(comp, workspace):
    whole, gone, scoreless, trained = (create_run(workspace, "digits", "quick") for _ in range(4))
    for run in (whole, scoreless, trained):
        run.write_config({"competition": "digits"})
    gone.log.touch()
    (trained.folder / "epochs.csv").write_text("stage,metric,score\n1,accuracy,0.5\n1,accuracy,0.875\n")
    trained.weights.parent.mkdir()
    trained.weights.touch()
    (scoreless.folder / "scores.json").write_text("{")
    rows = {line.split(maxsplit=1)[0]: line.split(maxsplit=1)[1] for line in comp("runs").out.splitlines()}
    assert rows[whole.name] == "stopped"
    assert rows[trained.name].split() == ["accuracy", "0.87500", "not", "predicted"]
    assert rows[gone.name] == f"The run {gone.name} has no config.json: put the file back, or delete {gone.folder}."
    assert rows[scoreless.name].endswith(f": delete it, and `comp predict {scoreless.name}` makes it anew.")
    assert comp("report", gone.name).err == f"Error: {rows[gone.name]}\n"


@pytest.mark.parametrize(("arguments", "of_it", "name"), [((), "", "NAME"), (("digits",), " of digits", "digits")])
def test_where_there_is_no_run_it_is_said_where_they_were_looked_for(comp, workspace, arguments, of_it, name):
    said = f"There is no run{of_it} in {workspace.runs}; `comp run {name}` makes one.\n"
    assert comp("runs", *arguments).err == said


def test_run_ends_with_the_folder_of_the_run_and_the_next_commands_take_it(on_shades, shades, serving, workspace):
    with serving(shades):
        ended = on_shades("run", "shades", *TINY, "--submit")
        assert (ended.status, ended.err) == (0, "")
        folder = workspace.runs / "shades" / "standard-1"
        assert Path(ended.last_line) == folder
        assert on_shades("download", "shades").last_line == str(workspace.data("shades"))
        assert on_shades("predict", "shades").last_line == str(folder / "submission.csv")
        assert on_shades("submit", "shades/standard-1", "--message", "again").last_line == str(folder)
    header, row = on_shades("runs").out.splitlines()
    # The single steps give the same as the whole run.
    trained = on_shades("train", "shades", *TINY).last_line
    assert Path(trained) == workspace.runs / "shades" / "standard-2"
    submission = Path(on_shades("predict", trained).last_line)
    assert submission.read_bytes() == (folder / "submission.csv").read_bytes()
    assert row.split()[:2] == ["shades/standard-1", "accuracy"]
    place = header.index("leaderboard")
    assert re.fullmatch(r"[01]\.\d{5}", row[place:].split()[0])
    assert on_shades("runs", "planet").out == ""


@pytest.mark.parametrize(
    ("command", "says"),
    [
        *(("run", "Usage: "), ("run digits --seed soon", "'soon'"), ("fly", "'fly'"), ("list --loud", "--loud")),
        *(("join", "Missing argument"), ("ensemble", "Missing argument")),
    ],
)
def test_a_command_that_can_t_be_parsed_ends_without_a_traceback(comp, command, says):
    ended = comp(*command.split())
    assert ended.status == 2
    assert says in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.parametrize("command", [("--debug", "run", "cats"), ("run", "cats", "--debug")])
def test_debug_shows_the_traceback_wherever_it_stands(comp, command):
    ended = comp(*command)
    assert ended.status == 1
    assert "Traceback (most recent call last)" in ended.err
    assert ended.err.splitlines()[-1].startswith("Error: There is no competition 'cats'")


def test_folders_of_competitions_are_found_wherever_they_are_named(comp, downloaded):
    first = comp("--competitions", downloaded.plugins, "check", "shades")
    last = comp("check", "shades", f"--competitions={downloaded.plugins}")
    assert (first.status, last.status) == (0, 0)
    lacking = comp("check", "shades", "--competitions")
    assert lacking.status == 2
    assert "'--competitions' requires an argument" in lacking.err
    assert comp("check", "shades", "--competitions", downloaded.plugins).last_line == first.last_line == last.last_line


def test_archives_are_deleted_on_request_by_a_later_command_too(on_shades, shades, serving, workspace):
    with serving(shades):
        assert "the archives are kept" in on_shades("download", "shades").out
    assert list(workspace.data("shades").rglob("shades.zip"))
    assert on_shades("download", "shades", "--delete-archives").status == 0
    assert not list(workspace.data("shades").rglob("shades.zip"))


def test_a_folder_that_is_not_there_is_named(comp, tmp_path):
    none = tmp_path / "none"
    assert f"{none} doesn't exist" in comp("--competitions", none, "list").sentence
    assert f"There is no folder {none} to serve" in comp("serve", none, "--port", 0).sentence


def test_folds_are_joined_ensembles_made_of_them_and_both_submitted_and_listed(on_shades, made, shades, serving):
    for seed in (1, 2):
        ended = on_shades("join", *(run.name for run in made.folds(3, seed=seed)))
        assert (ended.status, ended.err) == (0, "")
        assert Path(ended.last_line) == made.workspace.runs / "shades" / f"standard-3folds-{seed}"
    ended = on_shades("ensemble", "shades/standard-3folds-1", "shades/standard-3folds-2", "--how", "ranks")
    assert (ended.status, ended.err) == (0, "")
    assert Path(ended.last_line) == made.workspace.runs / "shades" / "ensemble-1"
    assert (Path(ended.last_line) / "report.html").is_file()
    with serving(shades):
        for name in ("shades/standard-3folds-1", "shades"):
            assert on_shades("submit", name).status == 0
    rows = {line.split()[0]: " ".join(line.split()[1:]) for line in on_shades("runs", "shades").out.splitlines()}
    assert re.search(r"3 folds joined [01]\.\d{5}", rows["shades/standard-3folds-1"])
    assert "ranks of 2 runs" in rows["shades/ensemble-1"]
    assert rows["shades/standard-1"].split(maxsplit=2)[2] == "test_resnet, fold 1 of 3, seed 1"
    assert rows["shades/standard-4"].endswith("test_resnet, fold 1 of 3, seed 2")
    told = on_shades("predict", "shades/ensemble-1").sentence
    assert "predict shades/standard-3folds-1, shades/standard-3folds-2" in told
