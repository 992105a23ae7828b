"""Which Kaggle is meant, and what is sent to it: credentials go to Kaggle alone."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from comp.errors import CredentialsError, KaggleError
from comp.kaggle.client import connect
from comp.kaggle.connection import KAGGLE_URL, _imported_without_signing_in, endpoint_at
from comp.kaggle.credentials import VARIABLES, must_be_whole
from comp.kaggle.submitting import submit

SLUG = "two-digits"
DATASET = "someone/more-digits"
SECRET = "KGAT_0123456789abcdef"


@pytest.fixture
def secrets(monkeypatch):
    """Every place Kaggle's client looks for credentials has one."""
    folder = Path(os.environ["HOME"]) / ".kaggle"
    folder.mkdir()
    (folder / "access_token").write_text(SECRET)
    (folder / "kaggle.json").write_text(json.dumps({"username": "me", "key": SECRET}))
    (folder / "credentials.json").write_text(json.dumps({"refresh_token": SECRET, "username": "me"}))
    (Path(os.environ["HOME"]) / ".netrc").write_text(f"machine 127.0.0.1 login me password {SECRET}\n")
    monkeypatch.setenv("KAGGLE_API_TOKEN", SECRET)
    monkeypatch.setenv("KAGGLE_KEY", SECRET)
    monkeypatch.setenv("VERBOSE", "1")


@pytest.mark.parametrize(
    ("given", "url", "local"),
    [
        ("", KAGGLE_URL, False),
        ("http://127.0.0.1:8000/", "http://127.0.0.1:8000", True),
        ("http://localhost:1", "http://localhost:1", True),
        ("http://[::1]:9", "http://[::1]:9", True),
        ("https://staging.kaggle.com/api", "https://staging.kaggle.com/api", False),
    ],
)
def test_kaggle_over_https_and_this_machine_are_spoken_to(monkeypatch, given, url, local):
    monkeypatch.setenv("COMP_KAGGLE_URL", given)
    endpoint = endpoint_at()
    assert (endpoint.url, endpoint.is_local) == (url, local)
    page = endpoint.competition("planet").page
    assert page == (f"{url}/c/planet" if local else "https://www.kaggle.com/competitions/planet")


@pytest.mark.parametrize(
    "url",
    [
        "http://api.kaggle.com",
        "https://kaggle.com.example.org",
        "https://notkaggle.com",
        "https://me:hunter2@example.org/x",
        "https://kaggle.com@example.org",
        "http://127.0.0.1.example.org",
        "localhost:8000",
        "http://[::1",
        "http://127.0.0.1:port",
        "ftp://localhost",
    ],
)
def test_any_other_host_is_refused_because_credentials_go_nowhere_else(monkeypatch, url):
    monkeypatch.setenv("COMP_KAGGLE_URL", url)
    with pytest.raises(KaggleError, match="COMP_KAGGLE_URL") as caught:
        endpoint_at()
    assert "hunter2" not in str(caught.value)


def test_without_credentials_one_sentence_says_where_to_put_the_token(capfd):
    with pytest.raises(CredentialsError, match=r"~/\.kaggle/access_token") as caught:
        connect()
    assert str(caught.value).count(". ") == 0
    assert capfd.readouterr() == ("", "")


OFFICIAL = """
import os, sys
from comp.errors import KaggleError
from comp.kaggle.connection import _imported_without_signing_in
try:
    _imported_without_signing_in()
except KaggleError as error:
    print(error)
del os.environ["KAGGLE_CONFIG_DIR"]
_imported_without_signing_in()
assert "kaggle" not in sys.modules
print("quiet")
import kaggle
assert type(kaggle.api) is kaggle.KaggleApi
"""


def test_importing_the_official_client_neither_prints_nor_signs_in_nor_spoils_a_later_import(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path / "file" / "kaggle"))
    done = subprocess.run([sys.executable, "-c", OFFICIAL], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    failed, *others = done.stdout.splitlines()
    assert "set KAGGLE_CONFIG_DIR to a folder that can be written" in failed
    assert others[0] == "quiet"
    assert others[1].startswith("Authentication required")


def test_a_server_on_this_machine_is_never_sent_the_users_credentials(answering, secrets, tmp_path):
    csv = tmp_path / "s.csv"
    csv.write_text("id\n1\n")

    def answer(handler):
        here = f"http://{handler.headers['Host']}"
        if handler.path.endswith("StartSubmissionUpload"):
            handler.send(200, json.dumps({"token": "t", "createUrl": f"{here}/put"}).encode())
        elif handler.path.endswith("DownloadDataFiles"):
            handler.send(302, headers={"Location": f"{here}/file.zip"})
        else:
            handler.send(200, b"{}", {"Accept-Ranges": "bytes", "ETag": '"1"'})

    with answering(answer) as seen:
        kaggle = connect()
        kaggle.competition_files(SLUG)
        submit(kaggle, SLUG, csv, "")
        kaggle.download_competition(SLUG, tmp_path)
        (tmp_path / f"{SLUG}.zip").rename(tmp_path / f"{SLUG}.zip.part")
        (tmp_path / f"{SLUG}.zip.part").write_bytes(b"{")
        kaggle.download_competition(SLUG, tmp_path)
    assert any("Range" in headers for _, headers in seen)
    assert len(seen) >= 8
    assert SECRET not in repr(seen)


def test_credentials_are_in_no_message_and_no_output(answering, secrets, capfd):
    with answering(lambda handler: handler.send(403, b'{"code": 403, "message": "no"}')):
        with pytest.raises(KaggleError) as caught:
            connect().submissions(SLUG)
        assert SECRET not in repr(caught.value) + repr(caught.value.__cause__)
    assert SECRET not in "".join(capfd.readouterr())


def test_kaggle_itself_gets_the_legacy_key_as_its_own_client_sends_it(monkeypatch):
    monkeypatch.setenv("KAGGLE_USERNAME", "me")
    monkeypatch.setenv("KAGGLE_KEY", SECRET)
    client = connect()._api.build_kaggle_client()
    assert client.http_client()._endpoint == KAGGLE_URL
    assert client.http_client()._session.auth == ("me", SECRET)


def test_the_official_functions_work_with_only_the_endpoint_changed(url, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("KAGGLE_USERNAME", "ada")
    monkeypatch.setenv("KAGGLE_KEY", "none")
    _imported_without_signing_in()
    from kaggle.api.kaggle_api_extended import KaggleApi

    class Elsewhere(KaggleApi):
        def build_kaggle_client(self):
            client = super().build_kaggle_client()
            client.http_client()._endpoint = url
            return client

    api = Elsewhere()
    api.authenticate()
    names = [file.name for file in api.competition_list_files(SLUG).files]
    assert names == ["notes/read me.txt", "sample_submission.csv", "train.zip"]
    assert [file.name for file in api.dataset_list_files(DATASET).files] == ["labels.csv", "more/2.png"]

    api.competition_download_files(SLUG, path=str(tmp_path))
    assert (tmp_path / f"{SLUG}.zip").stat().st_size > 0
    api.competition_download_file(SLUG, "sample_submission.csv", path=str(tmp_path))
    assert (tmp_path / "sample_submission.csv").read_text().startswith("id,label")
    api.dataset_download_files(DATASET, path=str(tmp_path / "set"), unzip=True)
    assert (tmp_path / "set" / "more" / "2.png").read_bytes() == b"two"
    api.dataset_download_file(DATASET, "labels.csv", path=str(tmp_path / "one"))
    assert (tmp_path / "one" / "labels.csv").read_text() == "id,label\n2,c\n"

    csv = tmp_path / "mine.csv"
    csv.write_text("id,label\n1,7\n2,3\n")
    sent = api.competition_submit(str(csv), "first", SLUG, quiet=True)
    assert sent.message == f"Successfully submitted to {SLUG}"
    (row,) = api.competition_submissions(SLUG)
    assert (row.ref, row.file_name, row.description, row.public_score) == (sent.ref, "mine.csv", "first", "0.50000")
    (standing,) = api.competition_leaderboard_view(SLUG)
    assert (standing.team_name, standing.score) == ("ada", "0.50000")

    capfd.readouterr()
    api.competition_submissions_cli(SLUG)
    api.competition_leaderboard_cli(SLUG, view=True)
    api.competition_list_files_cli(SLUG)
    printed = capfd.readouterr().out
    assert all(words in printed for words in ("COMPLETE", "ada", "train.zip"))


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("kaggle.json", b"", "is empty"),
        ("kaggle.json", b'{"username": "me", "key": "01', "no JSON"),
        ("kaggle.json", b'\xef\xbb\xbf{"username": "me", "key": "01"}', "byte order mark"),
        ("kaggle.json", '{"username": "me", "key": "01\u20132"}'.encode(), "in 'key' '\u2013'"),
        ("kaggle.json", b'{"username": "me"}', "has no 'key'"),
        ("kaggle.json", b"\xff\xfe{", "no UTF-8"),
        ("access_token", "KGAT_0\u2014".encode(), "'\u2014'"),
    ],
)
def test_credentials_that_are_spoilt_are_named_with_what_is_wrong(tmp_path, monkeypatch, name, content, says):
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path))
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CredentialsError) as caught:
        must_be_whole("get another")
    assert str(tmp_path / name) in str(caught.value)
    assert says in str(caught.value)


def test_a_variable_that_is_spoilt_is_named_and_good_credentials_beside_a_spoilt_file_are_enough(tmp_path, monkeypatch):
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path))
    (tmp_path / "kaggle.json").write_bytes(b"")
    (tmp_path / "access_token").write_text(SECRET)
    must_be_whole("get another")
    monkeypatch.setenv("KAGGLE_KEY", "0123\u2013")
    with pytest.raises(CredentialsError, match="KAGGLE_KEY"):
        must_be_whole("get another")
