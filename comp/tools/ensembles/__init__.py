"""Runs made of other runs, their members.

Its door: `join` for the folds of one training, `ensemble` for any runs, `blend` for several trainings as they end.
"""

from comp.tools.ensembles.combining import blend, blend_under_way, ensemble, join

__all__ = ["blend", "blend_under_way", "ensemble", "join"]
