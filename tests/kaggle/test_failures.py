"""Errors are one sentence with a remedy, and requests are repeated where that may help."""

import socket

import pytest
import requests

from comp.errors import KaggleError
from comp.kaggle.client import connect
from comp.kaggle.connection import endpoint_at
from comp.kaggle.failures import PassingError, in_one_sentence

SLUG = "two-digits"


@pytest.mark.parametrize(
    ("status", "body", "remedy"),
    [
        (400, b'{"code": 400, "message": "The deadline\\n has passed"}', "The deadline has passed"),
        (418, b"[]", "no reason"),
        (200, b"<html><p>Sign in to the airport</p>", "web page instead of data"),
        (200, b'{"files": 3}', "update it"),
        (200, b'{"files": [{"creationDate": "yesterday"}]}', "update it"),
    ],
)
def test_every_refusal_is_one_sentence_with_the_remedy(answering, status, body, remedy):
    json = {"Content-Type": "application/json"} if body.startswith(b"{") else {}

    def answer(handler):
        handler.send(status, body, json)

    with answering(answer), pytest.raises(KaggleError, match=remedy) as caught:
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


@pytest.mark.parametrize(
    ("name", "value", "says", "passes"),
    [
        ("REQUESTS_CA_BUNDLE", "/nowhere/bundle.pem", "unset", False),
        ("https_proxy", "http://me:secret@127.0.0.1:abc", "unset", False),
        ("https_proxy", "socks5://127.0.0.1:1", "unset|PySocks", False),
        ("https_proxy", "http://me:secret@127.0.0.1:1", r"127\.0\.0\.1:1' can't be reached", True),
    ],
)
def test_a_wrong_setting_of_this_machine_is_named_and_only_a_proxy_that_is_away_tried_again(
    monkeypatch, name, value, says, passes
):
    monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)
    monkeypatch.setenv(name, value)
    subject = endpoint_at("https://api.kaggle.com").competition(SLUG)
    with pytest.raises(KaggleError, match=f"{name}.*{says}") as caught, in_one_sentence(subject):
        requests.get("https://kaggle.invalid", timeout=1)
    assert isinstance(caught.value, PassingError) is passes
    assert "secret" not in str(caught.value)
