import io
import os
import tarfile
import threading
import zipfile
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from comp.errors import SubmissionError
from comp.kaggle.client import connect
from comp.local_kaggle.grading import Grader
from comp.local_kaggle.server import running

SLUG = "two-digits"


@pytest.fixture(autouse=True)
def waits(monkeypatch):
    """The seconds of all waits, which tests skip."""
    seconds = []
    monkeypatch.setattr("comp.kaggle.failures.wait", seconds.append)
    return seconds


def zipped(files):
    """A zip of files by their paths; a dictionary as content becomes an inner zip."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, zipped(content) if isinstance(content, dict) else content)
    return buffer.getvalue()


def tarred(files, mode="w"):
    """A tar of (path, content) pairs."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for name, content in files:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def contents(folder):
    """The files' contents by path, links followed; without paths that begin with a dot."""
    paths = [Path(base, name) for base, _, names in os.walk(folder, followlinks=True) for name in names]
    found = {path.relative_to(folder).as_posix(): path for path in paths}
    return {name: path.read_bytes() for name, path in found.items() if not name.startswith(".")}


def never():
    raise AssertionError("nobody should be connected to")


@pytest.fixture
def served(tmp_path) -> Path:
    """A directory for `comp serve`: one competition, one data set, hidden answers."""
    root = tmp_path / "served"
    competition, dataset = root / SLUG, root / "more-digits"
    (competition / "notes").mkdir(parents=True)
    (competition / "train.zip").write_bytes(zipped({"train/0.a.png": b"zero", "train/1.b.png": b"one"}))
    (competition / "sample_submission.csv").write_text("id,label\n1,0\n2,0\n")
    (competition / "notes" / "read me.txt").write_text("hello")
    (competition / ".secret.csv").write_text("hidden")
    dataset.mkdir()
    (dataset / "more-digits.zip").write_bytes(zipped({"more/2.png": b"two", "labels.csv": "id,label\n2,c\n"}))
    (root / ".answers").mkdir()
    (root / ".answers" / f"{SLUG}.csv").write_text("id,label\n1,7\n2,NA\n")
    return root


def share_right(answers, submission):
    if list(submission.columns) != ["id", "label"]:
        raise SubmissionError(f"The columns are {list(submission.columns)}; they must be id and label.")
    if set(submission["id"]) != set(answers["id"]):
        raise SubmissionError("The ids are not those of the test set.")
    both = answers.merge(submission, on="id")
    return float((both["label_x"] == both["label_y"]).mean())


@pytest.fixture
def graders():
    return {SLUG: Grader("accuracy", higher_is_better=True, score=share_right)}


@pytest.fixture
def url(served, graders, tmp_path, monkeypatch):
    with running(served, graders, tmp_path / "state") as url:
        monkeypatch.setenv("COMP_KAGGLE_URL", url)
        yield url


@pytest.fixture
def kaggle(url):
    return connect()


def official(url, user):
    """Kaggle's official client for the Kaggle at this address, signed in as this user."""
    from kaggle.api.kaggle_api_extended import KaggleApi  # signs in when imported

    class Elsewhere(KaggleApi):
        def build_kaggle_client(self):
            client = super().build_kaggle_client()
            client.http_client()._endpoint = url
            return client

    api = Elsewhere()
    api.config_values = {api.CONFIG_NAME_USER: user, api.CONFIG_NAME_TOKEN: f"local:{user}"}
    return api


@pytest.fixture
def answering(monkeypatch):
    """A server on this machine that answers requests by a function, and records them."""

    @contextmanager
    def start(answer):
        seen = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                seen.append((self.path, dict(self.headers)))
                answer(self)

            do_GET = do_PUT = do_POST  # noqa: N815 - http.server's names

            def send(self, status, body=b"", headers=()):
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **dict(headers)}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        monkeypatch.setenv("COMP_KAGGLE_URL", f"http://127.0.0.1:{server.server_port}")
        try:
            yield seen
        finally:
            server.shutdown()
            server.server_close()
            thread.join(5)

    return start
