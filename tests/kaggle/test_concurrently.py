import threading
import time

import pytest

from comp.kaggle.downloads import AT_ONCE, StoppedError, at_once


def until_stopped(stop):
    assert stop.wait(10)
    raise StoppedError


def test_every_job_gives_its_result():
    with at_once([lambda stop, number=number: number for number in range(10)]) as jobs:
        assert [jobs[number].result() for number in range(10)] == list(range(10))


def test_jobs_run_at_once_but_not_too_many():
    together, most = threading.Barrier(AT_ONCE), []
    running, lock = [], threading.Lock()

    def job(stop):
        with lock:
            running.append(1)
            most.append(len(running))
        together.wait(10)
        with lock:
            running.pop()

    with at_once([job] * (2 * AT_ONCE)) as jobs:
        for number in range(2 * AT_ONCE):
            jobs[number].result()
    assert max(most) == AT_ONCE


def test_the_first_that_fails_stops_the_others_and_is_what_is_raised():
    def fails(stop):
        raise ValueError("the reason")

    with at_once([until_stopped, fails]) as jobs, pytest.raises(ValueError, match="the reason"):
        jobs[0].result()


def test_when_the_block_ends_early_jobs_are_told_and_no_one_waits_long_for_one_that_doesn_t_listen(monkeypatch):
    monkeypatch.setattr("comp.kaggle.downloads.LEAVING_SECONDS", 0.1)
    ended, deaf = [], threading.Event()

    def listens(stop):
        stop.wait(10)
        ended.append(True)

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt), at_once([listens, lambda stop: deaf.wait(10)]):
        raise KeyboardInterrupt
    assert ended
    assert time.monotonic() - began < 5
    deaf.set()
