"""Runs on Kaggle's own machines. Its door: `trained_at_kaggle` trains there, `write_predicting` predicts there."""
