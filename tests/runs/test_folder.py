import pytest

from comp.errors import RunError
from comp.runs import broken_runs, create_run, find_run


def test_a_record_is_read_as_it_was_written_and_one_that_is_not_there_or_broken_an_error(workspace):
    run = create_run(workspace, "planet", "quick")
    record = {"score": 0.1 + 0.2, "classes": ["blow_down", "été"], "postprocessing": None}
    assert not run.has("scores")
    with pytest.raises(RunError, match=r"planet/quick-1 has no scores\.json: that step is not done yet"):
        run.record("scores")
    run.write_record("scores", record)
    assert run.has("scores")
    assert run.record("scores") == record
    assert [path.name for path in run.folder.iterdir()] == ["scores.json"]
    (run.folder / "scores.json").write_text('{"score": ')
    with pytest.raises(RunError, match=r"scores\.json can't be read"):
        run.record("scores")


def test_the_split_is_read_back_as_it_was_written(workspace):
    run = create_run(workspace, "planet", "quick")
    with pytest.raises(RunError, match=r"has no split\.csv, which says what validates; train anew"):
        dict(run.split())
    with pytest.raises(ValueError, match=r"shorter|longer"):
        run.write_split(["a", "b"], ["train"])
    assert list(run.folder.iterdir()) == []
    run.write_split(["007", "a,b", 'say "x"', "né"], ["valid", "train", "valid", "valid"])
    assert run.validating() == {"007", 'say "x"', "né"}
    assert [part for _, part in run.split()] == ["valid", "train", "valid", "valid"]
    # The parts of joined folds are the numbers of the folds.
    run.write_split(["007", "a,b"], ["2", "1"])
    assert dict(run.split()) == {"007": "2", "a,b": "1"}
    assert run.validating() == {"007", "a,b"}


@pytest.mark.parametrize("config", [None, "", "{", "[]", "\x00"])
def test_a_run_without_a_config_that_can_be_read_says_what_to_do(workspace, started, config):
    run = started("planet", "quick")
    run.log.touch()
    place = run.folder / "config.json"
    place.unlink() if config is None else place.write_text(config)
    (broken,) = broken_runs(workspace, "planet")
    assert broken.name == "planet/quick-1"
    assert broken.problem.endswith(f": put the file back, or delete {run.folder}.")
    assert ("has no config.json" if config is None else "config.json can't be read (") in broken.problem
    run.report.touch()
    assert "put the file back (report.html shows it), or" in broken.problem
    with pytest.raises(RunError, match="put the file back"):
        find_run(workspace, "planet/quick-1").record("config")
    assert broken_runs(workspace, "dogs") == []


def test_how_far_a_run_got(started):
    run = started("planet", "quick")
    assert [run.trained, run.predicted, run.reported] == [False, False, False]
    run.weights.parent.mkdir()
    run.weights.touch()
    assert [run.trained, run.predicted, run.reported] == [True, False, False]
    run.submission.touch()
    run.write_record("no-report", {"error": "no room"})
    assert run.predicted
    assert run.reported


def test_a_leaderboard_score_is_that_of_the_submission_that_was_written_last(started):
    run = started("planet", "quick")
    assert run.leaderboard_score is None
    run.write_record("submitted", {"score": 0.7, "file": "#one"})
    scores = {}
    for written in ("#one", "#two"):
        run.write_record("scores", {"submission": written})
        scores[written] = run.leaderboard_score
    assert scores == {"#one": 0.7, "#two": None}
