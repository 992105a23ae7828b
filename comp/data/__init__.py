"""Images and labels: tables, data check, split, reading, augmentation, loading. `checked_tables` is the door."""

import os

# Keeps albumentations from asking a server for newer versions at each import.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
