"""The declarations of a competition.py, checked as it is loaded, without torch, numpy or pandas.

Its door: `competition.competition_named` and `load_competition`, and the names that `comp` itself exports; label
sources are in `labels`, submission forms in `forms`, metrics in `metrics`.
"""
