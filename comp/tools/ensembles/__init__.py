"""Runs made of other runs, their members. Its door: `join` for the folds of one training, `ensemble` for any runs."""

from comp.tools.ensembles.combining import ensemble, join

__all__ = ["ensemble", "join"]
