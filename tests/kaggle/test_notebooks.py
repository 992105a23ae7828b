"""Notebooks pushed to the local Kaggle by the real client, and data sets that they read."""

import json
import os
import time
from contextlib import contextmanager

import nbformat
import pytest
import requests

from comp.errors import KaggleError
from comp.kaggle.client import connect
from comp.kaggle.notebooks import Notebook, create_dataset, download_output, execution, output, push
from comp.local_kaggle.server import running
from tests.faults import Fault, misbehaving

SLUG = "two-digits"


def notebook(*cells, name="a-notebook", competitions=(), datasets=(), internet=False):
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    return Notebook(name, nbformat.writes(made), competitions, datasets, internet)


@pytest.fixture
def serving(served, tmp_path, monkeypatch):
    """A local Kaggle that executes notebooks, with planned faults, for the duration of the block."""

    @contextmanager
    def start(*faults):
        monkeypatch.setattr("comp.local_kaggle.server.create_app", misbehaving(*faults))
        with running(served, {}, tmp_path / "state", kernels=True) as url:
            monkeypatch.setenv("COMP_KAGGLE_URL", url)
            yield connect(url)

    return start


def ended(kaggle, pushed):
    handle = push(kaggle, pushed)
    while (now := execution(kaggle, handle)).status in ("queued", "running"):
        time.sleep(0.05)
    return handle, now


def test_its_cells_are_executed_with_inputs_mounted_and_nobody_s_credentials(serving, tmp_path, monkeypatch):
    for name in ("KAGGLE_KEY", "KAGGLE_API_TOKEN", "COMP_HOME", "PYTHONPATH"):
        monkeypatch.setenv(name, "secret")
    (tmp_path / "labels--a.csv").write_text("id")
    with serving() as kaggle:
        handle = create_dataset(kaggle, "my-labels", [tmp_path / "labels--a.csv"], lambda _: None)
        assert handle == "you/my-labels"
        cells = (
            "import os, pathlib; inputs = pathlib.Path(os.environ['KAGGLE_CACHE_MOUNT_FOLDER'])",
            "print(sorted(str(p.relative_to(inputs)) for p in inputs.glob('*/*/*')))",
            "print([name for name, value in os.environ.items() if value == 'secret'])",
            "os.mkdir('in'); pathlib.Path('in/it.txt').write_text('written'); os.symlink('/etc/passwd', 'passwd')",
        )
        pushed = notebook(*cells, competitions=[SLUG], datasets=["you/my-labels", "someone/more-digits"])
        handle, now = ended(kaggle, pushed)
        left = output(kaggle, handle)
        assert now.status == "complete", left.log
        found, secrets = left.log.splitlines()
        assert json.loads(found.replace("'", '"')) == [
            f"competitions/{SLUG}/notes",
            f"competitions/{SLUG}/sample_submission.csv",
            f"competitions/{SLUG}/train.zip",
            "datasets/someone/more-digits",
            "datasets/you/my-labels",
        ]
        assert secrets == "[]"
        assert set(left.files) == {"in/it.txt"}
        download_output(kaggle, handle, "in/it.txt", tmp_path / "it.txt")
        assert (tmp_path / "it.txt").read_text() == "written"
        with pytest.raises(KaggleError, match=r"without writing other\.txt"):
            download_output(kaggle, handle, "other.txt", tmp_path / "other.txt")
        for path in ("passwd", "../version.json", "%2e%2e/version.json", "..%2fversion.json"):
            assert requests.get(f"{kaggle.endpoint.url}/outputs/{handle}/{path}", timeout=5).status_code == 404


def test_without_internet_it_reaches_no_other_machine_and_comp_is_not_there_before_it_is_installed(serving):
    tries = """
import socket
for call in (lambda: socket.socket().connect(("192.0.2.1", 9)), lambda: socket.getaddrinfo("example.org", 80)):
    try:
        call()
    except OSError as error:
        print(type(error).__name__, error)
listening = socket.create_server(("127.0.0.1", 0))
print(socket.create_connection(listening.getsockname()) is not None)
import kagglesdk, comp
"""
    with serving() as kaggle:
        handle, now = ended(kaggle, notebook(tries))
        *reached, _, _, _, missing = output(kaggle, handle).log.splitlines()
    assert reached == [
        "OSError [Errno 101] Network is unreachable",
        "gaierror [Errno -3] the notebook has no internet",
        "True",
    ]
    assert (now.status, now.failure) == ("error", "The notebook ended with status 1.")
    assert missing == "ModuleNotFoundError: No module named 'comp'"


def test_whatever_answer_is_lost_it_is_pushed_once_and_its_data_set_made_once_and_nobody_else_sees_it(
    serving, tmp_path, monkeypatch
):
    (tmp_path / "a.txt").write_text("a")
    faults = [Fault(at, "lose") for at in ("SaveKernel", "CreateDataset", "StartBlobUpload", "uploads")]
    with serving(*faults) as kaggle:
        create_dataset(kaggle, "my-labels", [tmp_path / "a.txt"], lambda _: None)
        create_dataset(kaggle, "my-labels", [], lambda _: None)
        handle, _ = ended(kaggle, notebook("print('once')", datasets=["you/my-labels"]))
        assert push(kaggle, notebook("print('twice')")) == handle
        assert output(kaggle, handle).log == "once\n"
        monkeypatch.setenv("KAGGLE_USERNAME", "another")
        other = connect()
        assert execution(other, handle) is execution(other, "another/a-notebook") is None
        with pytest.raises(KaggleError, match="403"):
            output(other, handle)
    state = tmp_path / "state"
    assert json.loads((state / "kernels" / handle / "version.json").read_text())["number"] == 1
    assert [path.name for path in (state / "datasets" / "you" / "my-labels").iterdir()] == ["a.txt"]


def test_what_the_server_executes_when_it_ends_is_stopped_and_said_to_be_when_it_is_back(serving, tmp_path):
    waits = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
    with serving() as kaggle:
        handle = push(kaggle, notebook(waits))
        while not (log := output(kaggle, handle).log):
            time.sleep(0.05)
        assert execution(kaggle, handle).status == "running"
    with pytest.raises(ProcessLookupError):
        os.kill(int(log), 0)
    with serving() as kaggle:
        assert execution(kaggle, handle).status == "error"
        assert execution(kaggle, handle).failure == "The server was stopped."


def test_names_that_kaggle_would_not_take_are_refused(serving, tmp_path):
    (tmp_path / "a.txt").write_text("a")
    with serving() as kaggle:
        with pytest.raises(KaggleError, match="slug is its title"):
            push(kaggle, notebook("print(1)", name="Not-This"))
        with pytest.raises(KaggleError, match="title 6 to 50"):
            create_dataset(kaggle, "x" * 51, [tmp_path / "a.txt"], lambda _: None)
        with pytest.raises(KaggleError, match="join that competition"):
            push(kaggle, notebook("print(1)", competitions=["no-such"]))
