from dataclasses import replace

import numpy as np
import pytest

from comp.declare.competition import REPOSITORY_COMPETITIONS, competition_named
from comp.errors import DeclarationError
from comp.runs import create_run
from comp.submission import predictions as module
from comp.submission.predictions import (
    BEFORE,
    keep_predictions,
    postprocessed,
    read_predictions,
    write_predictions,
)

DIGITS, PLANET = (competition_named(name, REPOSITORY_COMPETITIONS) for name in ("digits", "planet"))
IDS, CLASSES = ["b1", "a1", "b2"], ["x", "y"]
PREDICTIONS = np.array([[0.25, 0.75], [0.5, 0.5], [0.5, 0.5]])


@pytest.mark.parametrize("classes", [["cat", "dog"], ["en", "id"], ["_id", "id"]])
def test_predictions_are_read_as_they_were_written_whatever_the_classes_are_called(tmp_path, classes):
    probabilities = np.array([[0.25, 0.75], [0.5, 0.5]])
    write_predictions(tmp_path / "test.parquet", ["b", "a"], probabilities, classes)
    read = read_predictions(tmp_path / "test.parquet")
    assert (read.index.name, list(read.index), list(read)) == ("id", ["b", "a"], classes)
    assert np.array_equal(read.to_numpy(), probabilities)


def test_predictions_are_postprocessed_as_a_table_by_id_and_class_in_any_order():
    def highest_of_patient(table):
        return table.groupby(table.index.str[0]).transform("max").sort_index()[["y", "x"]]

    tags = postprocessed(replace(PLANET, postprocess=highest_of_patient), IDS, CLASSES, PREDICTIONS)
    assert np.array_equal(tags, [[0.5, 0.75], [0.5, 0.5], [0.5, 0.75]])
    # With one class per image, probabilities sum to one again.
    classes = postprocessed(replace(DIGITS, postprocess=highest_of_patient), IDS, CLASSES, PREDICTIONS)
    assert np.allclose(classes, [[0.4, 0.6], [0.5, 0.5], [0.4, 0.6]])


def test_a_postprocess_that_changes_its_table_in_place_changes_nothing_else():
    def in_place(table):
        table["x"] = 0.0
        return table

    made = postprocessed(replace(PLANET, postprocess=in_place), IDS, CLASSES, PREDICTIONS)
    assert (made[:, 0] == 0).all()
    assert (PREDICTIONS[:, 0] > 0).all()


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        (lambda _: None, "NoneType"),
        (lambda table: table.to_numpy(), "ndarray"),
        (lambda table: table.iloc[:2], "lacks the id 'b2'"),
        (lambda table: table.set_axis([*IDS[:2], IDS[0]]), "lacks the id 'b2'"),
        (lambda table: table.iloc[[0, 1, 2, 0]], "the id 'b1' twice"),
        (lambda table: table.set_axis([list("bab"), IDS]), "lacks the id 'b1'"),
        (lambda table: table.set_axis([list("ab"), CLASSES], axis=1), "lacks the column 'x'"),
        (lambda table: table.assign(z=0.5), "new column 'z'"),
        (lambda table: table[["x"]], "lacks the column 'y'"),
        (lambda table: table * np.nan, "nan"),
        (lambda table: table * 0, "b1"),
        (lambda table: table - 0.5, "-0.25"),
        (lambda table: table.astype(str) + "%", "0.25%"),
        (lambda table: table["no such column"], "KeyError"),
    ],
)
def test_a_table_that_postprocess_spoils_is_refused_with_what_is_wrong(wrong, named):
    with pytest.raises(DeclarationError, match="`postprocess`") as refused:
        postprocessed(replace(DIGITS, postprocess=wrong), IDS, CLASSES, PREDICTIONS)
    assert named in str(refused.value)


def test_a_tag_is_no_more_likely_than_certain():
    with pytest.raises(DeclarationError, match=r"`postprocess`.*1\.5"):
        postprocessed(replace(PLANET, postprocess=lambda table: table * 2), IDS, CLASSES, PREDICTIONS)


@pytest.mark.parametrize("ruled", [True, False])
def test_what_postprocess_made_is_never_kept_without_what_it_was_made_of(workspace, monkeypatch, ruled):
    run = create_run(workspace, "planet", "quick")
    run.predictions("test").parent.mkdir(parents=True, exist_ok=True)
    keep_predictions(run, "test", IDS, CLASSES, PREDICTIONS / 2, PREDICTIONS)

    def killed(path, *_):
        if path == run.predictions("test"):
            raise KeyboardInterrupt

    monkeypatch.setattr(module, "write_predictions", killed)
    with pytest.raises(KeyboardInterrupt):
        keep_predictions(run, "test", IDS, CLASSES, PREDICTIONS / 4 if ruled else PREDICTIONS, PREDICTIONS)
    assert run.predictions(BEFORE.format("test")).is_file()
    monkeypatch.undo()
    keep_predictions(run, "test", IDS, CLASSES, PREDICTIONS, PREDICTIONS)
    assert not run.predictions(BEFORE.format("test")).is_file()
