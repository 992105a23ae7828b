"""A run's backbone as a timm folder, from which another training can start: ``--backbone local-dir:FOLDER``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from timm.models import save_for_hf

from comp.console import Console
from comp.declare.competition import Competition
from comp.errors import RunError, first_line
from comp.files import replacing_folder, write_text
from comp.runs import Run
from comp.runs.pretraining import ORIGIN, origin_of
from comp.training.heads import GeM
from comp.training.predicting import Trained, kept_learners


def export_backbone(competition: Competition, run: Run, folder: Path, console: Console) -> None:
    """Write the backbone with its last weights, without the head, as ``config.json`` and ``model.safetensors``.

    Raises RunError for a run without weights, or where the folder is there already or can't be written.
    """
    run.must_have_weights("name one of {members}")
    if folder.exists():
        raise RunError(f"{folder} is there already; name another folder.")
    trained = Trained.of(run, competition)
    backbone = next(kept_learners(trained, console)).model.backbone
    for name, module in list(backbone.named_modules()):
        if isinstance(module, GeM):  # timm can't build it
            backbone.set_submodule(name, module.average)
    # safetensors saves contiguous tensors only.
    backbone.to(memory_format=torch.contiguous_format)
    unfinished = folder.with_name(f".{folder.name}.partial")
    try:
        with replacing_folder(folder, unfinished):
            save_for_hf(backbone, str(unfinished), safe_serialization=True)
            config = unfinished / "config.json"
            described = {**json.loads(config.read_text(encoding="utf-8")), ORIGIN: _origin(trained)}
            write_text(config, json.dumps(described, indent=1))
    except (OSError, SafetensorError) as error:
        why = getattr(error, "strerror", None) or first_line(error)
        raise RunError(f"{folder} can't be written ({why}); make room there or name another folder.") from None


def _origin(trained: Trained) -> dict[str, Any] | None:
    """The run that trained the backbone, and the images that neither this run nor an earlier one learned from."""
    run, recipe, before = trained.run, trained.recipe, origin_of(trained.recipe.backbone)
    if all(stage.groups == 1 for stage in recipe.stages):
        return before
    left_out = run.validating()
    if before and before["competition"] == run.competition:
        left_out &= {*before["left_out"]}
    return {"competition": run.competition, "run": run.name, "left_out": sorted(left_out)}
