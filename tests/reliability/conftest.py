import os
import random
import subprocess
import sys
import time
import zipfile
from contextlib import contextmanager, suppress
from pathlib import Path
from signal import SIGINT

import pytest

BULKY = """
from comp import ClassName, Competition, CsvLabels, KaggleDataset, Recipe, Stage, TestImages, side_on

competition = Competition(
    name="bulky",
    kaggle="bulky",
    extra_data=[KaggleDataset("someone/blobs")],
    labels=CsvLabels("train.csv", image="id", label="colour", folder="train", suffix=".png"),
    test=TestImages("test", suffix=".png"),
    submission=ClassName(),
    augment=side_on(),
    metric="accuracy",
    recipes={"standard": Recipe(backbone="test_resnet", stages=[Stage(size=16, train="head")])},
)
"""
ROWS = "id,colour\n1,red\n2,blue\n"
BLOB = random.Random(0).randbytes(1_000_000)
FILES = {"train.csv": ROWS.encode(), "train/1.png": BLOB[:2000], "blobs/blob.bin": BLOB}


@pytest.fixture(autouse=True)
def waits(monkeypatch):
    """The seconds that were to be waited; nobody waits in a test."""
    seconds = []
    monkeypatch.setattr("comp.kaggle.failures.wait", seconds.append)
    return seconds


@pytest.fixture
def bulky(make):
    """A competition with one data set beside it, an archive of a megabyte; made to be downloaded only."""
    made = make(BULKY, "bulky")
    for name, content in FILES.items():
        base = made.served / "blobs" if name.startswith("blobs/") else made.files
        (base / name).parent.mkdir(parents=True, exist_ok=True)
        (base / name).write_bytes(content)
    return made


def tree(folder):
    """What lies in a data folder, by name, but for what comp keeps for itself."""
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in found.items() if not name.startswith(".")}


@pytest.fixture
def data(workspace):
    return workspace.data("bulky")


@pytest.fixture
def intact(data):
    """Call it to see that everything lies where it should, whole, and nothing else does."""

    def check(**more):
        assert tree(data) == {**FILES, **more}
        assert (data / ".complete.json").is_file()
        nothing_unfinished(data.parent)

    return check


def nothing_unfinished(folder):
    assert not [path for path in folder.rglob("*") if path.name.endswith((".part", ".partial"))]


@pytest.fixture
def nothing_that_looks_whole(data):
    """Call it to see that whatever a failed download left under its name is whole."""

    def check():
        found = tree(data) if data.exists() else {}
        assert found == {name: content for name, content in FILES.items() if name in found}
        assert "blobs/blob.bin" not in found
        assert not (data / ".complete.json").exists()
        for archive in (data / ".archives").rglob("*.zip") if data.exists() else ():
            assert zipfile.ZipFile(archive).testzip() is None

    return check


@pytest.fixture
def fetching(comp, bulky, serving):
    """Calls `comp download` against a local Kaggle that goes wrong as planned."""

    def call(*faults, more=()):
        with serving(bulky, *faults):
            return comp("--competitions", bulky.plugins, "download", "bulky", *more)

    return call


@pytest.fixture
def refused(fetching):
    """The same, where it must fail; gives the one sentence that says why."""

    def call(*faults, **others):
        return only_sentence(fetching(*faults, **others))

    return call


@pytest.fixture
def sentence():
    """The one sentence of a command that must have failed."""
    return only_sentence


def only_sentence(ended):
    lines = ended.err.splitlines()
    assert ended.status == 1
    assert len(lines) == 1, ended.err
    assert lines[0].startswith("Error: ")
    assert lines[0].endswith(".")
    assert "unexpected" not in lines[0]
    return lines[0].removeprefix("Error: ")


class Process:
    """`comp` in a process of its own."""

    def __init__(self, *arguments, **environment):
        self._process = subprocess.Popen(
            [sys.executable, "-m", "comp", *map(str, arguments)],
            env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def says(self):
        """The next line that it prints."""
        return self._process.stdout.readline()

    def ends(self, seconds=60):
        """Status, what was printed, what was said of errors."""
        out, err = self._process.communicate(timeout=seconds)
        return self._process.returncode, out, err

    def send(self, signal):
        """An interrupt is repeated, as by hand: Python loses one that comes while it clears away an object."""
        self._process.send_signal(signal)
        while signal == SIGINT and self.runs():
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=6)
            if self.runs():
                self._process.send_signal(signal)

    def runs(self):
        return self._process.poll() is None


@pytest.fixture
def process():
    """Starts `comp` in a process of its own, which doesn't outlive the test."""
    started = []

    def start(*arguments, **environment):
        started.append(Process(*arguments, **environment))
        return started[-1]

    yield start
    for one in started:
        if one.runs():
            one.send(9)
            one.ends()


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
def disk(tmp_path):
    """Mounts a disk of so many bytes on a folder, or refuses to write on it: `disk(folder, size=...)`."""
    mounted = []

    @contextmanager
    def mount(folder: Path, size: int):
        folder.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True, text=True, check=False
        )
        if done.returncode:
            pytest.skip(f"no disk can be mounted here: {done.stderr.strip()}")
        mounted.append(folder)
        yield Disk(folder)

    yield mount
    for folder in mounted:
        subprocess.run(["umount", folder], check=True)


class Disk:
    def __init__(self, folder):
        self.folder = folder

    def remount(self, mode):
        """``ro`` or ``rw``."""
        subprocess.run(["mount", "-o", f"remount,{mode}", self.folder], check=True)


@pytest.fixture
def jumping_clock(monkeypatch):
    """The wall clock jumps by up to a day each time it is asked, forwards or back."""
    real, jumps = time.time, random.Random(0)
    monkeypatch.setattr(time, "time", lambda: real() + jumps.uniform(-86_400, 86_400))


@pytest.fixture
def submittable(shades, predicting):
    """A run of `shades` with a submission that no model made: `submittable(knows=..., seed=...)`."""
    made = predicting(shades)

    def start(**others):
        parts = ["valid" if number % 3 == 0 else "train" for number in range(len(made.tables.train))]
        return made.run(parts, **others)

    return start


@pytest.fixture
def sending(comp, shades, serving):
    """Calls `comp submit RUN` against a local Kaggle that goes wrong as planned."""

    def call(run, *faults, more=()):
        with serving(shades, *faults):
            return comp("--competitions", shades.plugins, "submit", run.folder, *more)

    return call


@pytest.fixture
def kaggle_has(tmp_path):
    """The submissions that the local Kaggle has of `shades`, the latest first."""
    from comp.local_kaggle.store import Store

    return lambda: Store(tmp_path / "state" / "submissions.sqlite").submissions("shades", "you")
