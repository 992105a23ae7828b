"""What a competition.py says, checked as it is loaded, without torch, numpy or pandas.

Its door: `competition.competition_named` and `load_competition`, and the words that `comp` itself exports; each label
source is defined in `labels`, each submission form in `forms`, each metric in `metrics`.
"""
