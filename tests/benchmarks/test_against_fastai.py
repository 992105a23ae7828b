"""The parts of the comparison with fastai that can be tested without fastai."""

from importlib.util import find_spec

import pytest

from benchmarks.against_fastai import as_table, main, task_for
from benchmarks.by_comp import measure
from benchmarks.task import Measured
from comp.errors import OverrideError


@pytest.mark.skipif(find_spec("fastai") is not None, reason="fastai is installed")
def test_without_fastai_one_sentence_says_how_to_install_it():
    with pytest.raises(SystemExit, match=r"^Error: fastai is not installed.*`\.venv/bin/uv pip install .*\.$"):
        main()


@pytest.mark.full
def test_comp_does_a_task_on_the_rows_of_its_own_split(digits_home):
    task = task_for("digits", "resnet10t", size=32, batch_size=16, images=64, epochs=2, views=[1, 3])
    assert (task.validates.count(False), task.validates.count(True)) == (64, 32)
    assert len(set(task.paths)) == 96
    measured = measure(task)
    assert len(measured.epochs) == 2
    assert 0 < sum(measured.epochs) < measured.training
    assert set(measured.predicting) == set(measured.log_loss) == {1, 3}


def test_tags_are_refused_before_anything_is_read():
    with pytest.raises(OverrideError, match="planet has tags"):
        task_for("planet", "resnet10t", size=32, batch_size=16, images=64, epochs=1, views=[1])


def test_the_table_has_the_median_of_the_rounds_and_what_share_of_the_others_time_comp_takes():
    def took(*epochs, loss):
        return Measured({}, list(epochs), 10 * sum(epochs), {2: epochs[0] / 2}, {2: loss})

    lines = as_table({"fastai": [took(8, 9, loss=0.2), took(10, 30, loss=0.4)], "comp": [took(4, 5, loss=0.25)]})
    assert lines[0] == "| | an epoch | training | predicting, 2 views | log loss |"
    assert lines[2] == "| fastai | 9.5 (8.0 – 30.0) | 285.0 (170.0 – 400.0) | 4.5 (4.0 – 5.0) | 0.300 |"
    assert lines[4] == "| comp / fastai | 0.47 | 0.32 | 0.44 | |"
