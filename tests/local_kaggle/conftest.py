"""The local Kaggle is tested through the client, with the fixtures of the client's own tests."""

from tests.kaggle.conftest import answering, graders, kaggle, served, url, waits

__all__ = ["answering", "graders", "kaggle", "served", "url", "waits"]
