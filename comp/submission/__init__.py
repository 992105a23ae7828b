"""Predictions turned into a submission: post-processing tuned, the CSV built and checked."""
