"""Pages to look at, each one file: their names, where a run or a competition keeps them."""

EXPLORATION = "explore.html"
COMPARISON = "compare.html"
