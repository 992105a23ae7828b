"""The address of Kaggle, and that credentials are sent to Kaggle only."""

import json
import os
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from comp.errors import CredentialsError, KaggleError
from comp.kaggle.client import connect
from comp.kaggle.connection import KAGGLE_URL, endpoint_at
from comp.kaggle.submitting import submit
from tests.kaggle.conftest import official

SLUG = "two-digits"
DATASET = "someone/more-digits"
SECRET = "KGAT_0123456789abcdef"


@pytest.fixture
def secrets(monkeypatch):
    """A secret in every place where Kaggle's client looks for credentials."""
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
    assert page == (f"{url}/" if local else "https://www.kaggle.com/competitions/planet")


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


@pytest.fixture
def at_kaggle(answering, monkeypatch):
    """A stand-in for Kaggle that answers ``about_token`` and refuses all else; yields its requests."""

    @contextmanager
    def start(about_token):
        def answer(handler):
            if handler.path.endswith("IntrospectToken"):
                handler.send(*about_token, {"Content-Type": "application/json"})
            else:
                handler.send(401, b"{}")

        with answering(answer) as seen:
            endpoint = replace(endpoint_at(), is_local=False)
            monkeypatch.setattr("comp.kaggle.client.endpoint_at", lambda _: endpoint)
            yield seen

    return start


REFUSED = (403, b'{"code": 403, "message": "no"}')


@pytest.mark.parametrize(
    ("variables", "file", "about_token", "user", "sent"),
    [
        ({"KAGGLE_API_TOKEN": "KGAT_1"}, "", (200, b'{"active": true, "username": "me"}'), "me", "Bearer KGAT_1"),
        ({"KAGGLE_USERNAME": "me", "KAGGLE_KEY": "01"}, "", REFUSED, "me", "Basic bWU6MDE="),
        ({}, '\ufeff{"username": "me", "key": "01"}', REFUSED, "me", "Basic bWU6MDE="),
        ({"KAGGLE_KEY": "01"}, '{"username": "me", "key": "02"}', REFUSED, "me", "Basic bWU6MDE="),
    ],
)
def test_kaggle_gets_the_credentials_that_its_own_client_would_send(
    at_kaggle, monkeypatch, tmp_path, variables, file, about_token, user, sent
):
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path))
    (tmp_path / "kaggle.json").write_text(file)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with at_kaggle(about_token) as seen:
        kaggle = connect()
        assert kaggle.user == user
        with pytest.raises(CredentialsError, match="401"):
            kaggle.submissions(SLUG)
    assert seen[-1][1]["Authorization"] == sent


def test_a_token_that_kaggle_refuses_is_followed_by_a_login_and_one_sentence_where_that_is_refused_too(at_kaggle):
    folder = Path(os.environ["HOME"]) / ".kaggle"
    folder.mkdir()
    (folder / "access_token").write_text(SECRET)
    login = {"refresh_token": SECRET, "username": "me", "access_token": "KGAT_2"}
    for expires, user in (("2100-01-01T00:00:00+00:00", "me"), ("2000-01-01T00:00:00+00:00", None)):
        (folder / "credentials.json").write_text(json.dumps({**login, "access_token_expiration": expires}))
        with at_kaggle(REFUSED) as seen:
            if user:
                assert connect().user == user
            else:
                with pytest.raises(CredentialsError, match="does not accept the credentials"):
                    connect()
                assert len(seen) == 2


def test_the_official_functions_work_with_only_the_endpoint_changed(url, tmp_path, capfd):
    api = official(url, "ada")
    names = [file.name for file in api.competition_list_files(SLUG).files]
    assert names == ["notes/read me.txt", "sample_submission.csv", "train.zip"]

    api.competition_download_files(SLUG, path=str(tmp_path))
    assert (tmp_path / f"{SLUG}.zip").stat().st_size > 0
    api.competition_download_file(SLUG, "sample_submission.csv", path=str(tmp_path))
    assert (tmp_path / "sample_submission.csv").read_text().startswith("id,label")
    api.dataset_download_files(DATASET, path=str(tmp_path / "set"), unzip=True)
    assert (tmp_path / "set" / "more" / "2.png").read_bytes() == b"two"

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
        ("kaggle.json", b'{"username": "me", "key": "01', "cut off"),
        ("kaggle.json", '{"username": "me", "key": "01\u20132"}'.encode(), "'\u2013'"),
        ("kaggle.json", b'{"username": "me"}', "has no 'key'"),
        ("kaggle.json", b"\xff\xfe{", "utf-8"),
        ("access_token", "KGAT_0\u2014".encode(), "'\u2014'"),
        ("access_token", b"\xff\xfe{", "utf-8"),
    ],
)
def test_credentials_that_are_spoilt_are_named_and_good_ones_beside_them_are_enough(monkeypatch, name, content, says):
    folder = Path(os.environ["HOME"]) / ".kaggle"
    folder.mkdir()
    (folder / name).write_bytes(content)
    with pytest.raises(CredentialsError) as caught:
        connect()
    assert name.partition("_")[2] in str(caught.value)
    assert says in str(caught.value)
    monkeypatch.setenv("KAGGLE_USERNAME", "me")
    monkeypatch.setenv("KAGGLE_KEY", "01")
    assert connect().user == "me"
    monkeypatch.setenv("KAGGLE_KEY", "0123\u2013")
    with pytest.raises(CredentialsError, match="'\u2013'" if name == "kaggle.json" else name.partition("_")[2]):
        connect()
