"""Searches of a recipe's fields for their best values, trial by trial. Its door: `sweep`."""

from comp.tools.sweeps.searching import sweep

__all__ = ["sweep"]
