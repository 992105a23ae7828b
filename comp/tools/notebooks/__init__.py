"""Runs on Kaggle's machines. Public: `trained_at_kaggle` trains there, `write_predicting` predicts there."""
