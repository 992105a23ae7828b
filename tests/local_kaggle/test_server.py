import os
import signal
import socket
import subprocess
import sys
import threading

import pytest
import requests

from comp.errors import DataError, KaggleError
from comp.local_kaggle.server import running, serve, without_answers


@pytest.mark.parametrize("host", ["0.0.0.0", "", "192.168.0.1", "example.org"])
def test_it_listens_on_this_machine_only(served, tmp_path, host):
    with pytest.raises(KaggleError, match="only"):
        serve(served, {}, tmp_path / "state", 0, host=host)


def test_a_port_in_use_is_one_sentence(served, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(KaggleError, match="taken by another program; choose another with --port"):
            serve(served, {}, tmp_path / "state", taken.getsockname()[1])


@pytest.mark.parametrize("port", [-1, 70000])
def test_a_port_that_is_none_is_one_sentence(served, tmp_path, port):
    with pytest.raises(KaggleError, match="choose another"):
        serve(served, {}, tmp_path / "state", port)


def test_a_missing_directory_is_one_sentence(tmp_path):
    with pytest.raises(DataError, match="There is no folder"):
        serve(tmp_path / "nowhere", {}, tmp_path / "state", 0)


def test_a_state_folder_that_cannot_be_made_is_one_sentence(served, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="make it writable"):
        serve(served, {}, tmp_path / "file" / "state", 0)


def test_when_the_block_ends_the_server_is_gone(served, tmp_path):
    with running(served, {}, tmp_path / "state") as url:
        assert requests.get(url, timeout=5).status_code == 200
    with pytest.raises(requests.ConnectionError):
        requests.get(url, timeout=5)
    assert "local Kaggle" not in [thread.name for thread in threading.enumerate()]


def test_serving_says_first_where_it_is_and_then_what_gets_no_score(served, tmp_path):
    program = (
        "import sys; from pathlib import Path; from comp.local_kaggle.server import serve\n"
        "serve(Path(sys.argv[1]), {}, Path(sys.argv[2]), 0, announce=print, say=lambda line: print(line, flush=True))"
    )
    command = [sys.executable, "-c", program, served, tmp_path / "state"]
    (served / "unanswered").mkdir()
    (served / "unanswered" / "sample_submission.csv").touch()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        url, line = process.stdout.readline(), process.stdout.readline()
        process.terminate()
    assert url.startswith("http://")
    assert line == "without .answers/<slug>.csv, submissions get no score: unanswered\n"


def test_of_many_that_get_no_score_some_are_named(served):
    for name in "abcdef":
        (served / name).mkdir()
        (served / name / "sample_submission.csv").touch()
    assert without_answers(served).endswith(": a, b, c, d, e and 1 more")


def test_of_a_data_set_no_score_is_expected(served):
    (served / "a-data-set").mkdir()
    (served / "a-data-set" / "image.jpg").touch()
    assert without_answers(served) is None


def test_serving_ends_quietly_when_interrupted(served, tmp_path):
    program = (
        "import sys; from pathlib import Path; from comp.local_kaggle.server import serve\n"
        "serve(Path(sys.argv[1]), {}, Path(sys.argv[2]), 0, announce=lambda url: print(url, flush=True))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, served, tmp_path / "state"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    try:
        url = process.stdout.readline().strip()
        assert requests.get(url, timeout=5).status_code == 200
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=15)
    finally:
        process.kill()
    assert (process.returncode, errors) == (0, "")
    assert not list(tmp_path.glob("comp-serve-*"))
