"""Runs that combine other runs, their members.

Public: `join` for the folds of one training, `ensemble` for any runs, `blending` for several trainings as they end,
`import_predictions` for another program's predictions.
"""

from comp.tools.ensembles.combining import blending, ensemble, join
from comp.tools.ensembles.importing import import_predictions

__all__ = ["blending", "ensemble", "import_predictions", "join"]
