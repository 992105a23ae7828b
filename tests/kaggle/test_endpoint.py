import pytest

from comp.errors import KaggleError
from comp.kaggle.connection import KAGGLE_URL, endpoint_from_environment


def test_without_a_setting_it_is_kaggle_itself():
    endpoint = endpoint_from_environment()
    assert (endpoint.url, endpoint.is_local) == (KAGGLE_URL, False)
    assert endpoint.competition("planet").page == "https://www.kaggle.com/competitions/planet"


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000/", "http://localhost:1", "http://[::1]:9"])
def test_loopback_is_local(monkeypatch, url):
    monkeypatch.setenv("COMP_KAGGLE_URL", url)
    endpoint = endpoint_from_environment()
    assert endpoint.is_local
    assert endpoint.url == url.rstrip("/")


def test_kaggles_own_hosts_over_https_are_kaggle(monkeypatch):
    monkeypatch.setenv("COMP_KAGGLE_URL", "https://staging.kaggle.com/api")
    assert not endpoint_from_environment().is_local


@pytest.mark.parametrize(
    "url",
    [
        "http://api.kaggle.com",
        "https://kaggle.com.example.org",
        "https://notkaggle.com",
        "https://example.org",
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
    with pytest.raises(KaggleError, match="COMP_KAGGLE_URL"):
        endpoint_from_environment()


def test_a_password_in_the_address_is_not_repeated(monkeypatch):
    monkeypatch.setenv("COMP_KAGGLE_URL", "https://me:hunter2@example.org/x")
    with pytest.raises(KaggleError) as caught:
        endpoint_from_environment()
    assert "hunter2" not in str(caught.value)
