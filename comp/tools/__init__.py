"""What makes, moves or joins runs: ensembles, sweeps, rehearsals, notebooks at Kaggle, trainings side by side."""
