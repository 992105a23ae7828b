"""Images and labels: tables, data check, split, reading, augmenting, loading. `checked_tables` is the door."""

import os

# Else albumentations asks a server for newer versions of itself whenever it is imported.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
