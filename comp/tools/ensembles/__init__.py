"""Runs made of other runs: joined folds, and ensembles."""
