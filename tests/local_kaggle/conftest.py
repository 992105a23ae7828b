"""The local Kaggle is tested through the client, with the fixtures of the client's own tests."""

import pytest

from tests.kaggle.conftest import answering, graders, kaggle, served, url, waits

__all__ = ["answering", "graders", "kaggle", "served", "url", "waits"]


@pytest.fixture(scope="session")
def digits_served(downloaded_digits):
    """The folder that the digits were served from; don't write to it."""
    return downloaded_digits.cache / "local-kaggle" / "files"
