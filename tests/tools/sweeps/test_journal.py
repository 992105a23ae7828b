import os
import signal
from multiprocessing import get_context

import optuna

from comp.tools.sweeps.journal import _Lock, study_at


def test_a_journal_that_was_cut_in_the_middle_of_a_line_goes_on_with_the_lines_before(tmp_path):
    journal = tmp_path / "study.log"
    study = optuna.create_study(storage=study_at(journal), study_name="study")
    study.tell(study.ask(), 0.5)
    whole = journal.read_bytes()
    journal.write_bytes(whole + b'{"op_code": 4, "wor')
    study = optuna.load_study(storage=study_at(journal), study_name="study")
    assert journal.read_bytes() == whole
    study.tell(study.ask(), 0.25)
    assert [trial.value for trial in optuna.load_study(storage=study_at(journal), study_name="study").trials] == [
        0.5,
        0.25,
    ]


def acquire_and_die(place):
    _Lock(place).acquire()
    os.kill(os.getpid(), signal.SIGKILL)


def test_who_was_killed_while_writing_holds_nobody_up(tmp_path):
    killed = get_context("fork").Process(target=acquire_and_die, args=(tmp_path / "study.log",))
    killed.start()
    killed.join()
    assert killed.exitcode == -signal.SIGKILL
    lock = _Lock(tmp_path / "study.log")
    assert lock.acquire()
    lock.release()
