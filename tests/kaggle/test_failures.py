"""What goes wrong is said in one sentence with its remedy, and asked again where that may help."""

import socket

import pytest
import requests

from comp.errors import CredentialsError, KaggleError
from comp.kaggle.client import connect
from comp.kaggle.connection import endpoint_at
from comp.kaggle.failures import PassingError, in_one_sentence, patiently

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


@pytest.mark.parametrize(("listens", "remedy"), [(False, "start it with `comp serve`"), (True, "in time")])
def test_a_server_that_is_not_there_or_never_answers_is_given_up(monkeypatch, listens, remedy):
    monkeypatch.setattr("comp.kaggle.connection.TIMEOUT_SECONDS", (1.0, 0.1))
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        if listens:
            silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(KaggleError, match=f"{url}.*{remedy}"):
            connect(url).competition_files(SLUG)


def failing(*errors):
    left = list(errors)

    def call():
        if left:
            raise left.pop(0)
        return "done"

    return call


def test_what_passes_is_asked_again_and_every_wait_is_said(waits):
    said = []
    call = failing(PassingError("It rains", "wait"), PassingError("It pours", "wait", 60))
    assert patiently(call, said.append) == "done"
    assert waits == [1, 60]
    assert said == ["It rains; trying again in 1 s", "It pours; trying again in 60 s"]


@pytest.mark.parametrize(
    ("error", "waited"),
    [
        (PassingError("It rains", "stay in"), [1, 2, 4]),
        (PassingError("Closed", "come back", 61), []),
        (KaggleError("No."), []),
    ],
)
def test_what_stays_is_raised_after_the_fourth_try_and_what_takes_longer_or_doesn_t_pass_at_once(waits, error, waited):
    with pytest.raises(KaggleError, match=str(error)):
        patiently(failing(*[error] * 4), print)
    assert waits == waited


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        ("REQUESTS_CA_BUNDLE", "/nowhere/bundle.pem", "unset"),
        ("https_proxy", "http://me:secret@127.0.0.1:abc", "unset"),
        ("https_proxy", "socks5://127.0.0.1:1", "unset|PySocks"),
    ],
)
def test_a_wrong_setting_of_this_machine_is_named_and_not_retried(monkeypatch, name, value, remedy):
    for variable in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "CURL_CA_BUNDLE", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv(name, value)
    subject = endpoint_at("https://api.kaggle.com").competition(SLUG)
    with pytest.raises(KaggleError, match=f"{name}.*{remedy}") as caught, in_one_sentence(subject):
        requests.get("https://kaggle.invalid", timeout=1)
    assert not isinstance(caught.value, PassingError)
    assert "secret" not in str(caught.value)


def test_a_proxy_that_is_away_is_named_and_tried_again(monkeypatch):
    for variable in ("HTTPS_PROXY", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("https_proxy", "http://me:secret@127.0.0.1:1")
    subject = endpoint_at("https://api.kaggle.com").competition(SLUG)
    with pytest.raises(PassingError, match=r"https_proxy=.*127\.0\.0\.1:1") as caught, in_one_sentence(subject):
        requests.get("https://kaggle.invalid", timeout=1)
    assert "secret" not in str(caught.value)
