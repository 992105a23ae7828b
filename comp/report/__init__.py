"""Self-contained HTML pages on data and runs, and the diagnosis of a run's curves.

Entry points: `report.explain`, `explore.explore`, `labels.check_labels`, `compare.compare`, `board.serve` and
`diagnosis.diagnosis_of`.
"""

# A competition's pages, beside its runs.
EXPLORATION = "explore.html"
COMPARISON = "compare.html"
# A run's page, beside its report.
LABELS = "labels.html"
