import os
import random
import subprocess
import time
import zipfile
from contextlib import suppress
from functools import partial
from signal import SIGINT

import pytest

from comp.local_kaggle.store import Store
from tests.conftest import declaring
from tests.kaggle.conftest import contents, waits

BULKY = """extra_data=[KaggleDataset("someone/blobs")], augment=side_on(), metric="accuracy", submission=ClassName(),
    labels=CsvLabels("train.csv", image="id", label="colour", folder="train", suffix=".png"),
    test=TestImages("test", suffix=".png")"""
ROWS = "id,colour\n1,red\n2,blue\n"
BLOB = random.Random(0).randbytes(1_000_000)
FILES = {"train.csv": ROWS.encode(), "train/1.png": BLOB[:2000], "blobs/blob.bin": BLOB}


__all__ = ["waits"]


@pytest.fixture
def bulky(make):
    """A competition with a data set, an archive of a megabyte; only for downloading."""
    source = declaring(BULKY, 'stages=[Stage(size=16, train="head")]', name="bulky")
    made = make(source, "bulky")
    for name, content in FILES.items():
        base = made.served / "blobs" if name.startswith("blobs/") else made.files
        (base / name).parent.mkdir(parents=True, exist_ok=True)
        (base / name).write_bytes(content)
    return made


@pytest.fixture
def data(workspace):
    return workspace.data("bulky")


@pytest.fixture
def intact(data):
    """Asserts that all files are in place and complete, and nothing else is there."""

    def check(**more):
        assert contents(data) == {**FILES, **more}
        assert (data / ".complete.json").is_file()
        assert not [path for path in data.parent.rglob("*") if path.name.endswith((".part", ".partial"))]

    return check


@pytest.fixture
def nothing_that_looks_whole(data):
    """Asserts that any file that a failed download left under its final name is complete."""

    def check():
        found = contents(data)
        assert found == {name: content for name, content in FILES.items() if name in found}
        assert "blobs/blob.bin" not in found
        assert not (data / ".complete.json").exists()
        for archive in (data / ".archives").rglob("*.zip"):
            assert zipfile.ZipFile(archive).testzip() is None

    return check


@pytest.fixture
def fetching(comp, bulky, serving):
    """Calls `comp download` against a local Kaggle with planned faults."""

    def call(*faults):
        with serving(bulky, *faults):
            return comp("--competitions", bulky.plugins, "download", "bulky")

    return call


@pytest.fixture
def refused(fetching):
    """As `fetching`, where it must fail; returns the error's one sentence."""
    return lambda *faults: fetching(*faults).sentence


def leave_the_server():
    """Close the sockets inherited from the parent's server: its clients wait until all copies are closed."""
    for number in os.listdir("/proc/self/fd"):  # noqa: PTH208 - the listing itself opens a file
        with suppress(OSError):
            if os.readlink(f"/proc/self/fd/{number}").startswith("socket:"):  # noqa: PTH115 - a link to no file
                os.close(int(number))


@pytest.fixture
def process(forked):
    """Starts `comp` in another process, with the local Kaggle in this one."""
    return partial(forked, before=leave_the_server)


@pytest.fixture
def interrupted():
    """Interrupts a process, repeatedly: Python loses an interrupt that comes while it finalises an object."""

    def call(process):
        for _ in range(5):
            os.kill(process.pid, SIGINT)
            with suppress(AssertionError):
                return process.ends(6)
        raise AssertionError("it can't be interrupted")

    return call


@pytest.fixture
def until():
    """Waits until something is true."""

    def wait(true, seconds=30):
        deadline = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < deadline, "it never came true"
            time.sleep(0.005)

    return wait


@pytest.fixture
def disk():
    """Mounts a disk of ``size`` bytes on a folder; returns a function that remounts it with other options."""
    mounted = []

    def mount(folder, size):
        folder.mkdir(parents=True, exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"no disk can be mounted here: {done.stderr.strip()}")
        mounted.append(folder)
        return lambda options: subprocess.run(["mount", "-o", f"remount,{options}", folder], check=True)

    yield mount
    for folder in mounted:
        subprocess.run(["umount", folder], check=True)


@pytest.fixture
def impatient(monkeypatch):
    """The timeout is a third of a second."""
    monkeypatch.setattr("comp.kaggle.connection.TIMEOUT_SECONDS", (5.0, 0.3))


@pytest.fixture
def jumping_clock(monkeypatch):
    """The wall clock jumps by up to a day at each reading, forwards or back."""
    real, jumps = time.time, random.Random(0)
    monkeypatch.setattr(time, "time", lambda: real() + jumps.uniform(-86_400, 86_400))


@pytest.fixture
def submittable(shades, predicting):
    """A run of `shades` with a submission that no model made: `submittable(knows=..., seed=...)`."""
    return predicting(shades).run


@pytest.fixture
def sending(on_shades, shades, serving):
    """Calls `comp submit RUN` against a local Kaggle with planned faults."""

    def call(run, *faults):
        with serving(shades, *faults):
            return on_shades("submit", run.folder)

    return call


@pytest.fixture
def kaggle_has(tmp_path):
    """The local Kaggle's submissions to `shades`, the latest first."""
    return lambda: Store(tmp_path / "state" / "submissions.sqlite").submissions("shades", "you")
