"""Pages to look at, each one file, and what a run's curves say.

The doors: `report.explain`, `explore.explore`, `labels.check_labels`, `compare.compare`, `board.serve` and
`diagnosis.diagnosis_of`.
"""

# Where a competition's pages lie, beside its runs.
EXPLORATION = "explore.html"
COMPARISON = "compare.html"
# And a run's, beside its report.
LABELS = "labels.html"
