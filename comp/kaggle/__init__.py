"""Talking to Kaggle: the client, archives, and in ``local`` a Kaggle on this machine."""
