import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from comp.interrupts import deferred, ending_on_sigterm, own_handlers


def send(number):
    os.kill(os.getpid(), number)


@pytest.fixture(autouse=True)
def _handlers():
    """The handlers of a process started at a terminal, restored afterwards."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_a_signal_waits_for_the_block_to_end(number, error):
    done = []
    with pytest.raises(error), deferred() as interrupt:  # noqa: PT012
        assert not interrupt.asked
        send(number)
        assert interrupt.asked
        done.append("what was under way")
    assert done == ["what was under way"]


def test_a_second_signal_does_not_wait():
    done = []
    with pytest.raises(KeyboardInterrupt), deferred():  # noqa: PT012
        send(signal.SIGINT)
        send(signal.SIGINT)
        done.append("more")
    assert done == []


def test_what_takes_too_long_is_not_waited_for():
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt), deferred(grace=0.05):  # noqa: PT012
        send(signal.SIGINT)
        while time.monotonic() - began < 10:
            time.sleep(0.01)
    assert time.monotonic() - began < 5


def test_without_a_signal_nothing_happens_and_handlers_are_as_before():
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with deferred() as interrupt:
        assert signal.getsignal(signal.SIGINT) is not before[0]
    assert not interrupt.asked
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    with pytest.raises(ValueError, match="its own"), deferred():
        raise ValueError("its own")
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


@pytest.mark.parametrize(
    ("error", "seen"),
    [
        (RuntimeError("DataLoader worker (pid 7) exited unexpectedly"), KeyboardInterrupt),
        (OSError(28, "No space left on device"), OSError),
    ],
)
def test_readers_that_ended_with_the_terminal_don_t_hide_that_it_was_asked_to_end_and_a_full_disk_is_not_hidden(
    error, seen
):
    with pytest.raises(seen), deferred():  # noqa: PT012
        send(signal.SIGINT)
        raise error


def test_a_signal_that_is_ignored_stays_so():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with deferred() as interrupt:
        send(signal.SIGINT)
    assert not interrupt.asked


def test_another_thread_than_the_main_one_is_left_alone():
    def work():
        with deferred() as interrupt:
            return interrupt.asked

    with ThreadPoolExecutor() as threads:
        assert threads.submit(work).result() is False


def test_sigterm_ends_a_process_with_everything_closed_and_status_143():
    code = """
import os, signal
from comp.interrupts import ending_on_sigterm
with ending_on_sigterm():
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    finally:
        print("closed")
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (143, "closed\n", "")


def test_a_handler_of_one_s_own_is_kept_and_what_a_library_sets_undone():
    mine = signal.getsignal(signal.SIGTERM)
    with ending_on_sigterm(), own_handlers():
        assert signal.getsignal(signal.SIGTERM) is mine
        signal.signal(signal.SIGTERM, lambda number, _: sys.exit(number))
    assert signal.getsignal(signal.SIGTERM) is mine
