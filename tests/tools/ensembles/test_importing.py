import numpy as np
import pandas as pd
import pytest

from comp.console import Console
from comp.errors import CompError
from comp.runs import find_run, list_runs
from comp.tools.ensembles import ensemble, import_predictions, join
from comp.tools.ensembles.importing import read_table
from tests.tools.ensembles.conftest import HALF, predictions


@pytest.fixture
def files(made, tmp_path):
    """The files of another program: a run's predictions, blurred and in another order."""

    def write(run, suffix=".csv", change=lambda table: table):
        paths = [tmp_path / f"{part}{suffix}" for part in ("valid", "test")]
        for part, path in zip(("valid", "test"), paths, strict=True):
            table = change(predictions(run, part) + 0.5).iloc[::-1, ::-1].reset_index()
            table.to_csv(path, index=False) if suffix == ".csv" else table.to_parquet(path, index=False)
        return paths

    return write


def imported(made, like, paths):
    return import_predictions(made.competition, like, *paths, made.workspace, Console())


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_predictions_of_another_program_are_a_run_on_the_split_of_the_one_named(made, files, suffix):
    like = made.run(HALF)
    run = imported(made, like, files(like, suffix))
    assert dict(run.split()) == dict(like.split())
    assert (run.split_of, run.members) == (like.name, ())
    for part in ("valid", "test"):
        expected = predictions(like, part) + 0.5
        pd.testing.assert_frame_equal(
            predictions(run, part), expected.div(expected.sum(axis=1), axis=0), check_index_type=False
        )
    assert run.record("scores")["tuned"] == like.record("scores")["tuned"]
    assert run.submission.read_bytes() == like.submission.read_bytes()


def test_what_was_imported_is_combined_with_joined_folds(made, files):
    joined = join(made.competition, made.folds(3, knows=0.1), made.workspace, Console())
    run = imported(made, joined, files(made.run(["valid"] * 36, seed=5, knows=0.1)))
    both = ensemble(made.competition, [joined, run], made.workspace, Console(), "mean")
    mean = (predictions(joined, "test") + predictions(run, "test").loc[predictions(joined, "test").index]) / 2
    assert np.allclose(predictions(both, "test").loc[mean.index], mean)
    assert dict(both.split()) == dict(joined.split())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda table: table.iloc[1:], "lacks the id"),
        (lambda table: table.drop(columns="red"), "lacks the column 'red'"),
        (lambda table: table.assign(pink=0.1), "has the new column 'pink'"),
        (lambda table: pd.concat([table, table.iloc[:1]]), "twice"),
        (lambda table: table.assign(red=-1.0), "probabilities"),
        (lambda table: table.assign(red="x"), "probabilities"),
    ],
)
def test_files_of_other_images_or_classes_or_without_probabilities_are_refused(made, files, change, says):
    like = made.run(HALF)
    paths = files(like, change=change)
    with pytest.raises(CompError, match=says) as raised:
        imported(made, like, paths)
    assert str(paths[0]) in str(raised.value)
    assert list_runs(made.workspace) == [like]


def test_a_file_that_can_not_be_read_and_a_run_without_validation_are_refused(made, files, tmp_path):
    like = made.run(HALF)
    paths = files(like)
    with pytest.raises(CompError, match="nowhere"):
        imported(made, like, [tmp_path / "nowhere.csv", paths[1]])
    with pytest.raises(CompError, match="No image validates"):
        imported(made, made.run(["train"] * 36), paths)


@pytest.mark.parametrize("earlier", [False, True])
def test_what_needs_weights_says_that_an_import_has_none(made, files, on_shades, earlier):
    run = imported(made, like := made.run(HALF), files(like))
    if earlier:
        config = run.record("config")
        run.write_record("config", {**config, "members": [config.pop("split_of")]})
    assert (run.split_of, run.members) == (like.name, ())
    on_shades("report", run.name)
    page = run.report.read_text()
    assert f"another program's predictions, on the split of {like.name}" in page
    assert "it has no weights of its own" in page
    assert f"name one of {like.name}" in on_shades("train", "shades", "--like", run.name).sentence
    for words in (("predict", run.name), ("diagnose", run.name), ("train", "--resume", run.name)):
        ended = on_shades(*words)
        assert ended.status != 0
        assert "another program" in ended.sentence
        assert like.name not in ended.sentence


def test_ids_may_be_called_as_pandas_calls_what_is_missing_or_be_the_index_of_a_parquet_file(made, tmp_path):
    table = predictions(made.run(HALF), "test")
    for path, ids in ((tmp_path / "na.csv", ["NA", "null"]), (tmp_path / "index.parquet", ["7", "007"])):
        some = table.iloc[:2].set_axis(ids, axis=0)
        some.to_csv(path) if path.suffix == ".csv" else some.to_parquet(path)
        assert list(read_table(path).index) == ids


def test_the_command_prints_the_run_and_its_page_says_whose_predictions_it_has(made, files, on_shades, workspace):
    like = made.run(HALF)
    valid, test = files(like)
    shown = on_shades("import", like.name, "--valid", str(valid), "--test", str(test))
    run = find_run(workspace, "shades/import-1")
    assert shown.out.splitlines()[-1] == str(run.folder)
    assert like.name in run.report.read_text()
    assert "import-1" in on_shades("runs", "shades").out
