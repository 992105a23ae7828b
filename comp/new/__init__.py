"""Starting a competition: from a look at its files to the declaration, written as a person would.

Its door: `start.start`. A layout that isn't recognised yet belongs into `matching` (names of images) or `labels`.
"""
