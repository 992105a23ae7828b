"""Runs made of other runs, their members.

Its door: `join` for the folds of one training, `ensemble` for any runs, `blending` for several trainings as they end.
"""

from comp.tools.ensembles.combining import blending, ensemble, join

__all__ = ["blending", "ensemble", "join"]
