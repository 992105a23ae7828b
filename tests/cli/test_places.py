import shutil
import socket
from pathlib import Path

from comp.training.training import Training
from tests.cli.conftest import TINY, files_of_at_most, nothing_half_written


def test_a_file_where_a_folder_should_be_is_named(downloaded, on_shades, workspace):
    workspace.runs.write_text("mine")
    said = on_shades("train", "shades", *TINY).sentence
    assert str(workspace.runs) in said
    assert "COMP_HOME" in said
    assert workspace.runs.read_text() == "mine"


def test_a_home_that_can_t_be_written_is_named(comp, monkeypatch):
    monkeypatch.setenv("COMP_HOME", "/proc/comp")
    said = comp("run", "digits", *TINY).sentence
    assert "/proc/comp" in said
    assert "COMP_HOME" in said


def test_a_place_outside_of_the_workspace_that_can_t_be_written_is_named_without_its_remedy(
    downloaded, on_shades, tmp_path
):
    (tmp_path / "file").touch()
    said = on_shades("bench", "shades", "--json", tmp_path / "file" / "numbers.json").sentence
    assert f"{tmp_path}/file" in said
    assert "COMP_HOME" not in said


def test_a_disk_too_full_for_each_file_of_a_training_leaves_no_half_of_it_and_the_next_training_goes_on(
    downloaded, on_shades, workspace, monkeypatch
):
    monkeypatch.setattr("comp.training.training.SAVE_SECONDS", -1.0)
    training = ("train", "shades", "--backbone", "test_resnet", "--set", "stages.cycle_length=3")
    for room in (0, 300):  # too little for the config, and for the split
        with files_of_at_most(room):
            assert "make room" in on_shades(*training).sentence
        nothing_half_written(workspace.folder)
    with files_of_at_most(6_000):  # for the features
        assert "make room" in on_shades(*training).sentence
    assert not list((workspace.cache / "features").iterdir())
    with files_of_at_most(8_000):  # for the state
        said = on_shades(*training).sentence
    assert "make room" in said
    assert "the same command again resumes" in said
    with files_of_at_most(40_000):  # for the weights
        assert on_shades(*training).sentence
    assert list((workspace.cache / "features").iterdir())
    assert not list(workspace.runs.rglob("*.part*")) + list(workspace.runs.rglob("model.safetensors"))
    told = on_shades("predict", "shades").sentence
    assert "`comp train --resume shades/standard-1` goes on from what is there" in told
    ended = on_shades(*training)
    assert ended.status == 0
    assert "resuming shades/standard-1, which was stopped" in ended.out
    assert [path.name for path in (workspace.runs / "shades").iterdir()] == ["standard-1"]


def test_a_disk_too_full_for_the_download_says_so_and_the_next_goes_on(
    shades, on_shades, forked, workspace, monkeypatch
):
    # The serving process has all the room it needs.
    address = forked("serve", shades.served, "--port", 0).says("export COMP_KAGGLE_URL=")
    monkeypatch.setenv("COMP_KAGGLE_URL", address)
    with files_of_at_most(2_000):
        assert "room" in on_shades("download", "shades").sentence
    assert on_shades("download", "shades").status == 0


def test_a_disk_too_full_for_the_predictions_leaves_those_there_were(downloaded, on_shades):
    run = Path(on_shades("train", "shades", *TINY).last_line)
    with files_of_at_most(700):
        assert on_shades("predict", "shades").sentence
    assert not [
        path for path in run.rglob("*") if path.name in {"valid.parquet", "submission.csv"} or ".part" in path.name
    ]
    assert on_shades("predict", "shades").status == 0


def test_a_cache_that_is_removed_is_made_again_and_while_it_is_used_that_harms_nothing(
    downloaded, on_shades, workspace, monkeypatch
):
    expected = Path(on_shades("train", "shades", *TINY).last_line)
    assert on_shades("predict", expected).status == 0
    before = (expected / "submission.csv").read_bytes()
    shutil.rmtree(workspace.cache)
    assert on_shades("predict", expected).status == 0
    assert (expected / "submission.csv").read_bytes() == before
    begin = Training._begin

    def without_cache(training, stage):
        shutil.rmtree(workspace.cache)
        begin(training, stage)

    monkeypatch.setattr(Training, "_begin", without_cache)
    run = Path(on_shades("train", "shades", *TINY).last_line)
    assert run != expected
    weights = "checkpoints/model.safetensors"
    assert (run / weights).read_bytes() == (expected / weights).read_bytes()


def test_two_runs_at_once_on_the_same_data_end_alike(downloaded, forked, workspace):
    both = [forked("--competitions", downloaded.plugins, "train", "shades", *TINY) for _ in range(2)]
    assert [(run.status, run.err) for run in (process.ends(240) for process in both)] == [(0, "")] * 2
    weights = [path.read_bytes() for path in workspace.runs.rglob("model.safetensors")]
    assert len(weights) == 2
    assert weights[0] == weights[1]
    assert [path.suffix for path in (workspace.cache / "features").iterdir()] == [".npy"]


def test_without_credentials_nothing_is_connected_to_or_half_written(comp, workspace, monkeypatch):
    def no_network(*_, **__):
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket, "create_connection", no_network)
    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    said = comp("run", "planet", "--recipe", "quick").sentence
    assert "Kaggle wants to know who is asking" in said
    nothing_half_written(workspace.folder)
