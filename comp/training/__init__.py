"""Training a network: backbone and layer groups, schedules, cached features, the learner, weights on disk."""

import atexit
import gc

import accelerate  # noqa: F401
import timm  # noqa: F401

# What these consist of stays for as long as the process: looking through it for garbage, as every stage does before it
# begins, took a third of a second each time. At the end it goes, or what is written in C++ speaks of leaks.
gc.freeze()
atexit.register(gc.unfreeze)
