import os

# Else albumentations asks a server for newer versions of itself whenever it is imported.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
