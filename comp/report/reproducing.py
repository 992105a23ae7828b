"""The command that makes a run again, and what it was made with."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


def command_of(config: Mapping[str, Any], stages: Mapping[str, Any] | None = None) -> str | None:
    """What to type for a run with this config.json, with nothing left to what is usual; None for one trained by hand.

    stages: the record of what was trained.
    """
    if config.get("members"):
        words = ["join"] if config.get("kind") == "folds" else ["ensemble", "--how", str(config["how"])]
        return shlex.join(["comp", words[0], *config["members"], *words[1:]])
    declared = config["recipe"]["stages"]
    if stages is not None and not _as_declared(declared, stages["stages"]):
        return None
    words = ["comp", "run", str(config["competition"])]
    if config.get("like"):
        words += ["--like", config["like"]]
    else:
        words += ["--recipe", config["recipe_name"], "--backbone", config["recipe"]["backbone"]]
    words += ["--seed", str(config["seed"])]
    for setting in config.get("settings", ()):
        words += ["--set", setting]
    if config.get("all_data"):
        words.append("--all-data")
    if config.get("fold"):
        words += ["--folds", str(config["folds"]), "--fold", str(config["fold"])]
    return shlex.join(words)


def _as_declared(declared: list[dict[str, Any]], trained: list[dict[str, Any]]) -> bool:
    """Whether the stages are the recipe's, but for rates that were to be found."""
    if len(declared) != len(trained):
        return False
    pairs = zip(declared, trained, strict=True)
    return all(
        {**one, "learning_rate": None} == {**other, "learning_rate": None}
        and one["learning_rate"] in ("find", other["learning_rate"])
        for one, other in pairs
    )
