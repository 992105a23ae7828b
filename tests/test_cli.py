import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from comp.competition import REPOSITORY_COMPETITIONS, find_competitions
from comp.run import create_run
from comp.training import backbone

HEAVY = ("torch", "torchvision", "timm", "numpy", "pandas", "sklearn", "albumentations", "cv2", "PIL", "kaggle", "rich")
TINY = ("--backbone", "test_resnet", "--set", "stages.cycle_length=1")
COMMANDS = (
    *("new", "list", "download", "check", "train", "lr-find", "schedule", "bench", "predict", "notebook", "diagnose"),
    *("submit", "explore", "report", "compare", "board", "join", "ensemble", "run", "rehearse", "runs", "scores"),
    "serve",
)


def in_a_process(*command, **environment):
    return subprocess.run(
        [sys.executable, *map(str, command)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_list_names_every_competition_with_metric_and_recipes(comp):
    ended = comp("list")
    assert ended.status == 0
    rows = {line.split()[0]: line for line in ended.out.splitlines()}
    assert set(rows) == set(find_competitions(REPOSITORY_COMPETITIONS))
    assert "mean_f2" in rows["planet"]
    assert "quick, standard" in rows["planet"]


def test_help_names_every_command(comp):
    ended = comp("--help")
    assert ended.status == 0
    for command in COMMANDS:
        assert f"\n  {command} " in ended.out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_of_its_own(comp, command):
    ended = comp(command, "--help")
    assert ended.status == 0
    assert f"comp {command} " in ended.out


def test_declarations_are_read_without_importing_what_computes():
    code = f"""
import sys
from comp import cli
from comp.competition import REPOSITORY_COMPETITIONS, find_competitions, load_competition
assert [load_competition(path) for path in find_competitions(REPOSITORY_COMPETITIONS).values()]
print(sorted(set({HEAVY!r}) & set(sys.modules)))
"""
    ended = in_a_process("-c", code)
    assert (ended.stdout.strip(), ended.stderr) == ("[]", "")


def test_the_package_runs_as_a_module():
    ended = in_a_process("-m", "comp", "list")
    assert ended.returncode == 0
    assert ended.stdout.startswith("digits")
    assert ended.stderr == ""


def test_an_error_ends_a_process_with_status_1_and_one_sentence():
    ended = in_a_process("-m", "comp", "download", "cats")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith("Error: There is no competition 'cats'")
    assert ended.stderr.count("\n") == 1


@contextmanager
def files_of_at_most(size):
    """No file may grow beyond ``size`` bytes, as on a disk with so little room."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def sentence(comp):
    """Calls a command that must fail, and gives the one sentence that says why."""

    def call(*arguments):
        ended = comp(*arguments)
        assert ended.status == 1
        lines = ended.err.splitlines()
        assert len(lines) == 1, ended.err
        assert lines[0].startswith("Error: ")
        assert lines[0].endswith(".")
        assert "unexpected" not in lines[0]
        assert "Traceback" not in ended.out
        return lines[0].removeprefix("Error: ")

    return call


def test_runs_that_can_t_be_read_are_listed_with_what_to_do(comp, home):
    whole, gone, scoreless = (create_run(home, "digits", "quick") for _ in range(3))
    for run in (whole, scoreless):
        run.write_config({"competition": "digits"})
    gone.log.touch()
    (scoreless.folder / "scores.json").write_text("{")
    rows = {line.split(maxsplit=1)[0]: line.split(maxsplit=1)[1] for line in comp("runs").out.splitlines()}
    assert rows[whole.name] == "stopped"
    assert rows[gone.name] == f"The run {gone.name} has no config.json: put the file back, or delete {gone.folder}."
    assert rows[scoreless.name].endswith(f": delete it, and `comp predict {scoreless.name}` makes it anew.")
    assert comp("report", gone.name).err == f"Error: {rows[gone.name]}\n"


def test_where_there_is_no_run_it_is_said_where_they_were_looked_for(comp, home):
    assert comp("runs").err == f"There is no run in {home.runs}; `comp run NAME` makes one.\n"
    assert comp("runs", "digits").err == f"There is no run of digits in {home.runs}; `comp run digits` makes one.\n"


def nothing_half_written(folder):
    """No run, and no file that was left unfinished."""
    assert not list(folder.glob("runs/*/*"))
    assert not [path for path in folder.rglob("*") if path.suffix == ".part" or ".part." in path.name]


@pytest.fixture
def run_shades(shades, serving, sentence, home):
    """Runs the whole of `shades`, after a test has spoilt something of it, and gives its sentence."""

    def call(*arguments):
        with serving(shades):
            said = sentence("--competitions", shades.plugins, "run", "shades", *arguments)
        nothing_half_written(home.folder)
        return said

    return call


def test_run_ends_with_the_folder_of_the_run_and_the_next_commands_take_it(comp, shades, serving, home):
    plugins = ("--competitions", shades.plugins)
    with serving(shades):
        ended = comp(*plugins, "run", "shades", *TINY, "--submit")
        assert (ended.status, ended.err) == (0, "")
        folder = home.runs / "shades" / "standard-1"
        assert Path(ended.last_line) == folder
        assert (folder / "submission.csv").is_file()
        assert comp(*plugins, "predict", folder).last_line == str(folder / "submission.csv")
        assert comp(*plugins, "predict", "shades").last_line == str(folder / "submission.csv")
        assert comp(*plugins, "submit", "shades/standard-1", "--message", "again").last_line == str(folder)
    (row,) = comp("runs").out.splitlines()
    assert row.split()[:2] == ["shades/standard-1", "accuracy"]
    assert "leaderboard" in row
    assert comp("runs", "planet").out == ""


def test_the_steps_one_by_one_end_as_the_whole_run_does(comp, shades, serving, home):
    plugins = ("--competitions", shades.plugins)
    with serving(shades):
        assert Path(comp(*plugins, "download", "shades").last_line) == home.data("shades")
    for _ in range(2):
        trained = comp(*plugins, "train", "shades", *TINY).last_line
        comp(*plugins, "predict", trained)
    first, second = (
        (home.runs / "shades" / name / "submission.csv").read_bytes() for name in ("standard-1", "standard-2")
    )
    assert first == second


def test_an_unknown_competition_is_told_which_there_are(sentence, home):
    said = sentence("run", "cats-vs-cats")
    assert said == "There is no competition 'cats-vs-cats'; there are digits, dog-breeds, dogs-vs-cats, planet."
    assert not home.folder.exists()


def test_a_folder_of_competitions_that_is_not_there_is_named(sentence, tmp_path):
    assert f"{tmp_path / 'none'} doesn't exist" in sentence("--competitions", tmp_path / "none", "list")


def test_an_unknown_backbone_is_told_what_is_near(run_shades):
    said = run_shades("--backbone", "resnet_35")
    assert said.startswith("timm knows no backbone 'resnet_35'; near it are ")
    assert "resnet" in said.partition("near it are ")[2]


def test_a_backbone_s_folder_without_weights_is_named(run_shades, tmp_path):
    assert f"{tmp_path / 'mine'} has no config.json" in run_shades("--backbone", f"local-dir:{tmp_path / 'mine'}")


def test_without_credentials_it_is_said_how_to_get_them(sentence, home, monkeypatch):
    def no_network(*_, **__):
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket, "create_connection", no_network)
    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    said = sentence("run", "planet", "--recipe", "quick")
    assert "Kaggle wants to know who is asking" in said
    assert "KAGGLE_API_TOKEN" in said
    nothing_half_written(home.folder)


def test_a_server_that_is_not_there_is_named(sentence, home, monkeypatch):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        monkeypatch.setenv("COMP_KAGGLE_URL", url)
        said = sentence("run", "planet", "--recipe", "quick")
    assert url in said
    nothing_half_written(home.folder)


def test_a_csv_without_the_declared_column_is_told_its_columns(shades, run_shades):
    table = shades.files / "train.csv"
    table.write_text(table.read_text().replace("id,colour", "id,color"))
    said = run_shades()
    assert said.endswith("train.csv has no column 'colour'; its columns are id, color.")


def test_a_label_without_its_image_is_named(shades, run_shades):
    (shades.files / "train" / "t07.png").unlink()
    assert run_shades().startswith("1 of 36 rows of train.csv have no image, the first ")


def test_an_image_without_a_label_is_named(shades, run_shades):
    shades.image("train/t99.png", "red")
    said = run_shades()
    assert said.startswith("1 images have no row in train.csv, the first ")
    assert "t99.png" in said


def test_a_test_image_that_the_sample_asks_for_and_that_is_not_there_is_named(shades, run_shades):
    (shades.files / "test" / "q03.png").unlink()
    assert "the first 'q03'" in run_shades()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--set", "batch_size=many"), "`batch_size` is 'many', but it should be a whole number at least 2."),
        (("--set", "stages.1.size=big"), "`size` is 'big', but it should be a whole number at least 8"),
        (("--set", "stages.size"), "--set takes field=value"),
        (("--set", "sizes=3"), "there is no field 'sizes'"),
        (("--recipe", "fast"), "shades has no recipe 'fast'; it has standard"),
    ],
)
def test_an_override_of_the_wrong_kind_is_said_before_anything_is_downloaded(run_shades, home, arguments, says):
    assert says in run_shades(*arguments)
    assert not home.folder.exists()


@pytest.mark.parametrize("arguments", [("run",), ("run", "digits", "--seed", "soon"), ("fly",), ("list", "--loud")])
def test_a_command_that_can_t_be_parsed_ends_without_a_traceback(comp, arguments):
    ended = comp(*arguments)
    assert ended.status == 2
    assert "Usage: " in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.parametrize("command", [("--debug", "run", "cats"), ("run", "cats", "--debug")])
def test_debug_shows_the_traceback_wherever_it_stands(comp, command):
    ended = comp(*command)
    assert ended.status == 1
    assert "Traceback (most recent call last)" in ended.err
    assert ended.err.splitlines()[-1].startswith("Error: There is no competition 'cats'")


def test_an_image_that_breaks_after_it_was_screened_is_named_and_leaves_no_features(
    shades, serving, sentence, home, monkeypatch
):
    build = backbone.build_classifier

    def breaking(*arguments, **options):
        (home.data("shades") / "train" / "t05.png").write_bytes(b"not an image")
        return build(*arguments, **options)

    monkeypatch.setattr(backbone, "build_classifier", breaking)
    with serving(shades):
        said = sentence("--competitions", shades.plugins, "run", "shades", *TINY)
    assert "t05.png can't be read as an image" in said
    assert not list((home.cache / "features").iterdir())


def test_a_file_where_the_home_should_be_is_named(shades, serving, sentence, monkeypatch, tmp_path):
    place = tmp_path / "taken"
    place.write_text("mine")
    monkeypatch.setenv("COMP_HOME", str(place))
    with serving(shades):
        said = sentence("--competitions", shades.plugins, "run", "shades", *TINY)
    assert str(place) in said
    assert "COMP_HOME" in said
    assert place.read_text() == "mine"


@pytest.mark.parametrize("place", ["/proc/comp", "/sys/comp"])
def test_a_home_that_can_t_be_written_is_named(sentence, monkeypatch, place):
    monkeypatch.setenv("COMP_HOME", place)
    said = sentence("run", "digits", *TINY)
    assert place in said
    assert "COMP_HOME" in said


def test_a_file_where_the_runs_should_be_is_named(shades, serving, sentence, home):
    home.folder.mkdir()
    home.runs.write_text("mine")
    with serving(shades):
        said = sentence("--competitions", shades.plugins, "run", "shades", *TINY)
    assert str(home.runs) in said
    assert home.runs.read_text() == "mine"


@pytest.fixture
def downloaded(shades, serving, comp):
    with serving(shades):
        assert comp("--competitions", shades.plugins, "download", "shades").status == 0
    return shades


@pytest.mark.parametrize("room", [0, 300])
def test_a_disk_too_full_for_the_config_and_the_split_leaves_no_run(downloaded, sentence, home, room):
    with files_of_at_most(room):
        said = sentence("--competitions", downloaded.plugins, "train", "shades", *TINY)
    assert "make room" in said
    nothing_half_written(home.folder)


def test_a_disk_too_full_for_the_features_leaves_none(downloaded, sentence, home):
    with files_of_at_most(6_000):
        said = sentence("--competitions", downloaded.plugins, "train", "shades", *TINY)
    assert "make room" in said
    assert not list((home.cache / "features").iterdir())


def test_a_disk_too_full_for_the_weights_leaves_none_and_the_next_training_goes_on(downloaded, sentence, comp, home):
    with files_of_at_most(40_000):
        sentence("--competitions", downloaded.plugins, "train", "shades", *TINY)
    assert list((home.cache / "features").iterdir())
    assert not list(home.runs.rglob("*.part")) + list(home.runs.rglob("model.safetensors"))
    assert "training did not end; go on with" in sentence("--competitions", downloaded.plugins, "predict", "shades")
    ended = comp("--competitions", downloaded.plugins, "train", "shades", *TINY)
    assert ended.status == 0
    assert "going on with shades/standard-1, which was stopped" in ended.out


def test_a_disk_too_full_for_the_download_says_so_and_the_next_goes_on(shades, sentence, comp, home, monkeypatch):
    # Served by another process, which has all the room it needs.
    command = [sys.executable, "-m", "comp", "serve", str(shades.served), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        monkeypatch.setenv("COMP_KAGGLE_URL", server.stdout.readline().partition("=")[2].strip())
        try:
            with files_of_at_most(2_000):
                said = sentence("--competitions", shades.plugins, "run", "shades", *TINY)
            assert "room" in said
            assert not home.runs.exists()
            assert comp("--competitions", shades.plugins, "run", "shades", *TINY).status == 0
        finally:
            server.terminate()


def test_a_disk_too_full_for_the_predictions_leaves_those_there_were(downloaded, sentence, comp, home):
    plugins = ("--competitions", downloaded.plugins)
    run = Path(comp(*plugins, "train", "shades", *TINY).last_line)
    with files_of_at_most(700):
        sentence(*plugins, "predict", "shades")
    assert not [
        path for path in run.rglob("*") if path.name in {"valid.parquet", "submission.csv"} or ".part" in path.name
    ]
    assert comp(*plugins, "predict", "shades").status == 0


def test_serving_a_folder_that_is_not_there_is_an_error(sentence, tmp_path):
    assert str(tmp_path / "none") in sentence("serve", tmp_path / "none", "--port", "0")


def test_serving_with_a_plan_of_faults_that_can_t_be_is_an_error(sentence, tmp_path):
    (tmp_path / "plan.json").write_text('[{"at": "archives", "what": "explode"}]')
    told = sentence("serve", tmp_path, "--faults", tmp_path / "plan.json")
    assert told.startswith("Fault: `what` is 'explode', but it should be one of refuse, page,")


def test_archives_are_deleted_on_request_by_a_later_command_too(comp, shades, serving, home):
    command = ("--competitions", shades.plugins, "download", "shades")
    with serving(shades):
        assert "the archives are kept" in comp(*command).out
    assert list(home.data("shades").rglob("shades.zip"))
    assert comp(*command, "--delete-archives").status == 0
    assert not list(home.data("shades").rglob("shades.zip"))


def test_predicting_a_run_whose_data_is_gone_is_an_error(downloaded, sentence, comp, home):
    comp("--competitions", downloaded.plugins, "train", "shades", *TINY)
    shutil.rmtree(home.data("shades"))
    assert "run `comp download shades` first" in sentence("--competitions", downloaded.plugins, "predict", "shades")


def test_a_run_that_is_not_there_is_named(sentence):
    assert "There is no run '/no/such/run'" in sentence("predict", "/no/such/run")


def test_a_disk_too_full_for_the_state_stops_in_one_sentence_and_goes_on_later(
    downloaded, sentence, comp, home, monkeypatch
):
    monkeypatch.setattr("comp.steps.training.SAVE_SECONDS", -1.0)
    plugins = ("--competitions", downloaded.plugins)
    whole = ("train", "shades", "--backbone", "test_resnet", "--set", "stages.cycle_length=3")
    with files_of_at_most(8_000):
        said = sentence(*plugins, *whole)
    assert "make room" in said
    assert "the same command again goes on" in said
    (run,) = (home.runs / "shades").iterdir()
    assert [path.name for path in run.rglob("*") if ".part" in path.name] == []
    ended = comp(*plugins, *whole)
    assert ended.status == 0
    assert "going on with shades/standard-1" in ended.out
    assert [path.name for path in (home.runs / "shades").iterdir()] == ["standard-1"]


def test_a_cache_that_is_removed_is_made_again(downloaded, comp, home):
    plugins = ("--competitions", downloaded.plugins)
    run = Path(comp(*plugins, "train", "shades", *TINY).last_line)
    assert comp(*plugins, "predict", run).status == 0
    before = (run / "submission.csv").read_bytes()
    shutil.rmtree(home.cache)
    assert comp(*plugins, "predict", run).status == 0
    assert (run / "submission.csv").read_bytes() == before


def test_a_cache_that_is_removed_while_it_is_used_harms_nothing(downloaded, comp, home, monkeypatch):
    from comp.steps.training import Training

    begin = Training._begin

    def without_cache(training, stage):
        shutil.rmtree(home.cache)
        begin(training, stage)

    plugins = ("--competitions", downloaded.plugins)
    expected = Path(comp(*plugins, "train", "shades", *TINY).last_line)
    monkeypatch.setattr(Training, "_begin", without_cache)
    run = Path(comp(*plugins, "train", "shades", *TINY).last_line)
    assert run != expected
    weights = "checkpoints/model.safetensors"
    assert (run / weights).read_bytes() == (expected / weights).read_bytes()


def test_two_runs_at_once_on_the_same_data_end_alike(downloaded, home):
    command = [sys.executable, "-m", "comp", "--competitions", str(downloaded.plugins), "train", "shades", *TINY]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for process in both:
        _, errors = process.communicate(timeout=240)
        assert (process.returncode, errors) == (0, "")
    weights = [path.read_bytes() for path in home.runs.rglob("model.safetensors")]
    assert len(weights) == 2
    assert weights[0] == weights[1]
    assert [path.suffix for path in (home.cache / "features").iterdir()] == [".npy"]


def test_features_that_were_being_computed_when_it_was_asked_to_end_are_gone_on_with(
    downloaded, comp, home, monkeypatch
):
    from comp.training.learner import Learner

    pooled, batches = Learner._pooled, []

    def asked_to_end(learner, images):
        batches.append(len(images))
        if len(batches) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return pooled(learner, images)

    monkeypatch.setattr(Learner, "_pooled", asked_to_end)
    plugins = ("--competitions", downloaded.plugins)
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        ended = comp(*plugins, "train", "shades", *TINY)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert ended.status == 143
    assert ended.err.splitlines() == ["Error: stopped; the same command again goes on from here."]
    again = comp(*plugins, "train", "shades", *TINY)
    assert "features of 16 of 36 images at 16 px: found in the cache" in again.out
    assert sum(batches) == 36 + 16


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("train",), "There is nothing to train; name a competition"),
        (("train", "digits", "--resume", "digits/quick-1"), "leave NAME and other options out"),
        (("train", "--resume", "digits/quick-1", "--seed", "3"), "leave NAME and other options out"),
        (("train", "--resume", "digits/quick-1"), "There is no run 'digits/quick-1'"),
    ],
)
def test_what_is_to_be_gone_on_with_is_named_alone(sentence, arguments, says):
    assert says in sentence(*arguments)


def test_a_run_is_gone_on_with_by_its_name(downloaded, comp, sentence, home, monkeypatch):
    monkeypatch.setattr("comp.steps.training.SAVE_SECONDS", -1.0)
    plugins = ("--competitions", downloaded.plugins)
    whole = ("train", "shades", "--backbone", "test_resnet", "--set", "stages.cycle_length=3")
    with files_of_at_most(8_000):
        sentence(*plugins, *whole)
    ended = comp(*plugins, "train", "--resume", "shades/standard-1")
    assert Path(ended.last_line) == home.runs / "shades" / "standard-1"
    assert "has ended" in sentence(*plugins, "train", "--resume", "shades/standard-1")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_training_that_is_asked_to_end_saves_and_the_same_command_goes_on(downloaded, home, number):
    command = [sys.executable, "-m", "comp", "--competitions", str(downloaded.plugins), "train", "shades", *TINY]
    # Longer than it takes to send the signal, on a busy machine as well.
    long = (*command, "--set", "stages.cycle_length=200")
    with subprocess.Popen(
        long,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Tests started in the background of a shell would hand on that they ignore interrupts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as run:
        for line in run.stdout:
            if line.startswith("     1 "):
                break
        run.send_signal(number)
        began = time.monotonic()
        printed, errors = run.communicate(timeout=60)
        # Seconds on a machine of one's own.
        assert time.monotonic() - began < 30
    assert run.returncode == 128 + number
    assert "stopped in stage 1; `comp train --resume shades/standard-1` goes on from there" in printed
    assert errors.splitlines() == ["Error: stopped; the same command again goes on from here."]
    assert list(home.folder.rglob(".*.part")) == []
    again = subprocess.run(long, capture_output=True, text=True, check=True)
    assert "going on with shades/standard-1, which was stopped: stage 1, epoch " in again.stdout
    assert [path.name for path in (home.runs / "shades").glob("*/")] == ["standard-1"]
    epochs = (home.runs / "shades" / "standard-1" / "epochs.csv").read_text().splitlines()
    assert len(epochs) == 1 + 200
