import shutil
from pathlib import Path

import pytest

from tests.cli.spoiling import TINY, files_of_at_most, nothing_half_written


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


def test_a_file_where_the_runs_should_be_is_named(shades, serving, sentence, workspace):
    workspace.folder.mkdir()
    workspace.runs.write_text("mine")
    with serving(shades):
        said = sentence("--competitions", shades.plugins, "run", "shades", *TINY)
    assert str(workspace.runs) in said
    assert workspace.runs.read_text() == "mine"


def test_a_disk_too_full_for_each_file_of_a_training_leaves_no_half_of_it_and_the_next_training_goes_on(
    downloaded, sentence, comp, workspace
):
    for room in (0, 300):  # of the config, of the split
        with files_of_at_most(room):
            assert "make room" in sentence("--competitions", downloaded.plugins, "train", "shades", *TINY)
        nothing_half_written(workspace.folder)
    with files_of_at_most(6_000):
        assert "make room" in sentence("--competitions", downloaded.plugins, "train", "shades", *TINY)
    assert not list((workspace.cache / "features").iterdir())
    with files_of_at_most(40_000):
        sentence("--competitions", downloaded.plugins, "train", "shades", *TINY)
    assert list((workspace.cache / "features").iterdir())
    assert not list(workspace.runs.rglob("*.part")) + list(workspace.runs.rglob("model.safetensors"))
    assert "`comp train --resume shades/standard-1` goes on from what is there" in sentence(
        "--competitions", downloaded.plugins, "predict", "shades"
    )
    ended = comp("--competitions", downloaded.plugins, "train", "shades", *TINY)
    assert ended.status == 0
    assert "resuming shades/standard-1, which was stopped" in ended.out


def test_a_disk_too_full_for_the_download_says_so_and_the_next_goes_on(
    shades, sentence, comp, forked, workspace, monkeypatch
):
    # Served by another process, which has all the room it needs.
    address = forked("serve", shades.served, "--port", 0).says("export COMP_KAGGLE_URL=")
    monkeypatch.setenv("COMP_KAGGLE_URL", address)
    with files_of_at_most(2_000):
        said = sentence("--competitions", shades.plugins, "run", "shades", *TINY)
    assert "room" in said
    assert not workspace.runs.exists()
    assert comp("--competitions", shades.plugins, "run", "shades", *TINY).status == 0


def test_a_disk_too_full_for_the_predictions_leaves_those_there_were(downloaded, sentence, comp, workspace):
    plugins = ("--competitions", downloaded.plugins)
    run = Path(comp(*plugins, "train", "shades", *TINY).last_line)
    with files_of_at_most(700):
        sentence(*plugins, "predict", "shades")
    assert not [
        path for path in run.rglob("*") if path.name in {"valid.parquet", "submission.csv"} or ".part" in path.name
    ]
    assert comp(*plugins, "predict", "shades").status == 0


def test_a_disk_too_full_for_the_state_stops_in_one_sentence_and_goes_on_later(
    downloaded, sentence, comp, workspace, monkeypatch
):
    monkeypatch.setattr("comp.training.training.SAVE_SECONDS", -1.0)
    plugins = ("--competitions", downloaded.plugins)
    whole = ("train", "shades", "--backbone", "test_resnet", "--set", "stages.cycle_length=3")
    with files_of_at_most(8_000):
        said = sentence(*plugins, *whole)
    assert "make room" in said
    assert "the same command again resumes" in said
    (run,) = (workspace.runs / "shades").iterdir()
    assert [path.name for path in run.rglob("*") if ".part" in path.name] == []
    ended = comp(*plugins, *whole)
    assert ended.status == 0
    assert "resuming shades/standard-1" in ended.out
    assert [path.name for path in (workspace.runs / "shades").iterdir()] == ["standard-1"]


def test_a_cache_that_is_removed_is_made_again(downloaded, comp, workspace):
    plugins = ("--competitions", downloaded.plugins)
    run = Path(comp(*plugins, "train", "shades", *TINY).last_line)
    assert comp(*plugins, "predict", run).status == 0
    before = (run / "submission.csv").read_bytes()
    shutil.rmtree(workspace.cache)
    assert comp(*plugins, "predict", run).status == 0
    assert (run / "submission.csv").read_bytes() == before


def test_a_cache_that_is_removed_while_it_is_used_harms_nothing(downloaded, comp, workspace, monkeypatch):
    from comp.training.training import Training

    begin = Training._begin

    def without_cache(training, stage):
        shutil.rmtree(workspace.cache)
        begin(training, stage)

    plugins = ("--competitions", downloaded.plugins)
    expected = Path(comp(*plugins, "train", "shades", *TINY).last_line)
    monkeypatch.setattr(Training, "_begin", without_cache)
    run = Path(comp(*plugins, "train", "shades", *TINY).last_line)
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
