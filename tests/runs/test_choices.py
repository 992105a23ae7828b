import pytest

from comp.errors import OverrideError
from comp.runs.choices import Choices


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"folds": 1}, "--folds is 1, but it should be at least 2"),
        ({"fold": 1}, "--fold is 1, but it should be given together with --folds"),
        ({"folds": 3, "fold": 4}, "--fold is 4, but it should be from 1 to 3"),
        ({"folds": 3, "fold": 0}, "--fold is 0, but it should be from 1 to 3"),
        ({"folds": 3, "all_data": True}, "give only one"),
        ({"settings": ["folds=3"]}, "--set folds=3: folds is no field; give the option --folds"),
        ({"settings": ["dropout=0", " all_data=1"]}, "the option --all-data"),
    ],
)
def test_choices_that_can_t_be_are_refused_in_one_sentence(fields, said):
    with pytest.raises(OverrideError, match=said):
        Choices(**fields)
