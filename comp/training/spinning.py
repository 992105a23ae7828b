"""How long a thread of torch looks for work before it sleeps."""

import os

# With the hundreds of thousands of looks that are usual, one other busy process on the cores makes a training five
# times slower; with these few an idle machine loses about 5 %.
SPINS = "1000"


def spin_little() -> None:
    """Let threads sleep soon, unless the environment says otherwise; it is read once, when torch is imported."""
    os.environ.setdefault("GOMP_SPINCOUNT", SPINS)
