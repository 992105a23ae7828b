"""Tools that make or combine runs: ensembles, sweeps, rehearsals, notebooks at Kaggle, trainings side by side."""
