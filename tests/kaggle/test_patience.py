import pytest

from comp.errors import KaggleError
from comp.kaggle.failures import PassingError, patiently


def failing(*errors):
    left = list(errors)

    def call():
        if left:
            raise left.pop(0)
        return "done"

    return call


def test_what_passes_is_asked_again_and_every_wait_is_said(waits):
    said = []
    assert (
        patiently(failing(PassingError("It rains", "wait"), PassingError("It pours", "wait", 60)), said.append)
        == "done"
    )
    assert waits == [1, 60]
    assert said == ["It rains; trying again in 1 s", "It pours; trying again in 60 s"]


def test_what_stays_is_raised_after_the_fourth_try(waits):
    with pytest.raises(PassingError, match="It rains; stay in"):
        patiently(failing(*[PassingError("It rains", "stay in")] * 4), print)
    assert waits == [1, 2, 4]


@pytest.mark.parametrize("error", [PassingError("Closed", "come back", 61), KaggleError("No.")])
def test_what_takes_longer_or_doesn_t_pass_is_raised_at_once(waits, error):
    with pytest.raises(KaggleError):
        patiently(failing(error), print)
    assert waits == []
