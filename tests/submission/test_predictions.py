import numpy as np
import pytest

from comp.submission.predictions import read_predictions, write_predictions


@pytest.mark.parametrize("classes", [["cat", "dog"], ["en", "id"], ["_id", "id"]])
def test_predictions_are_read_as_they_were_written_whatever_the_classes_are_called(tmp_path, classes):
    probabilities = np.array([[0.25, 0.75], [0.5, 0.5]])
    write_predictions(tmp_path / "test.parquet", ["b", "a"], probabilities, classes)
    read = read_predictions(tmp_path / "test.parquet")
    assert (read.index.name, list(read.index), list(read)) == ("id", ["b", "a"], classes)
    assert np.array_equal(read.to_numpy(), probabilities)
