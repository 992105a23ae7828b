import socket

import pytest

from comp.errors import CredentialsError, KaggleError
from comp.kaggle.client import connect

SLUG = "two-digits"


@pytest.mark.parametrize(
    ("status", "body", "kind", "remedy"),
    [
        (401, b'{"code": 401, "message": "Unauthenticated"}', CredentialsError, "access_token"),
        (403, b'{"code": 403, "message": "rules"}', KaggleError, f"accept its rules at .*/c/{SLUG}"),
        (404, b'{"code": 404, "message": "Not found"}', KaggleError, "check its name"),
        (429, b"", KaggleError, "wait 7 seconds"),
        (500, b"oops", KaggleError, "in a few minutes"),
        (503, b"", KaggleError, "in a few minutes"),
        (400, b'{"code": 400, "message": "The deadline\\n has passed"}', KaggleError, "The deadline has passed"),
        (418, b"[]", KaggleError, "no reason"),
        (200, b"<html><p>Sign in to the airport</p>", KaggleError, "web page instead of data"),
        (200, b'{"files": 3}', KaggleError, "update it"),
        (200, b'{"files": [{"creationDate": "yesterday"}]}', KaggleError, "update it"),
    ],
)
def test_every_refusal_is_one_sentence_with_the_remedy(answering, status, body, kind, remedy):
    json = {"Content-Type": "application/json"} if body.startswith(b"{") else {}

    def answer(handler):
        handler.send(status, body, {"Retry-After": "7", **json})

    with answering(answer), pytest.raises(kind, match=remedy) as caught:
        connect().competition_files(SLUG)
    assert "\n" not in str(caught.value)


def test_a_web_page_is_never_saved_as_an_archive(answering, tmp_path):
    page = {"Content-Type": "text/html; charset=utf-8"}
    with answering(lambda handler: handler.send(200, b"<html>", page)), pytest.raises(KaggleError, match="web page"):
        connect().download_competition(SLUG, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_is_not_there_is_named(monkeypatch):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        monkeypatch.setenv("COMP_KAGGLE_URL", url)
        with pytest.raises(KaggleError, match=f"Nothing answers at {url}; start it with `comp serve`"):
            connect().competition_files(SLUG)


def test_a_server_that_never_answers_is_given_up(monkeypatch):
    monkeypatch.setattr("comp.kaggle.connection.TIMEOUT_SECONDS", (1.0, 0.1))
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        monkeypatch.setenv("COMP_KAGGLE_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(KaggleError, match="did not answer in time"):
            connect().competition_files(SLUG)


def test_a_data_set_without_owner_and_name_is_refused(kaggle, tmp_path):
    for handle in ["digits", "a/b/c", "/b", "a/", ""]:
        with pytest.raises(KaggleError, match="owner/name"):
            kaggle.download_dataset(handle, tmp_path)
