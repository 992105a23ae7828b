"""Start a competition: look at its files and write its declaration.

Entry point: `start.start`. To recognise a new layout, extend `matching` (names of images) or `labels`.
"""
