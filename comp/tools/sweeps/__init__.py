"""Hyperparameter searches over a recipe's fields. Public: `sweep`."""

from comp.tools.sweeps.searching import sweep

__all__ = ["sweep"]
