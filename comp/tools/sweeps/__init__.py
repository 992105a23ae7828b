"""Searches of a recipe's fields for their best values, trial by trial."""
