"""The local Kaggle is tested through the client, with what the client's own tests stand on."""

from tests.kaggle.conftest import _nobody_is_signed_in, answering, graders, kaggle, served, url, waits

__all__ = ["_nobody_is_signed_in", "answering", "graders", "kaggle", "served", "url", "waits"]
