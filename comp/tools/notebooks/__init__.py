"""Runs on Kaggle's own machines: what is packed for them, the notebooks that unpack it there, and the way back."""
