"""The wheel of this very comp."""

from __future__ import annotations

from pathlib import Path

import comp
from comp.errors import RunError

CHECKOUT = Path(comp.__file__).resolve().parents[1]


def build_wheel(folder: Path) -> Path:
    """A wheel of the checkout that is running, in ``folder``; nothing is downloaded. Raises RunError without one."""
    if not (CHECKOUT / "pyproject.toml").is_file():
        raise RunError(f"comp runs from {CHECKOUT}, which is no checkout that a wheel could be built of; use a clone.")
    from hatchling.builders.wheel import WheelBuilder

    (built,) = WheelBuilder(str(CHECKOUT)).build(directory=str(folder), versions=["standard"])
    return Path(built)
