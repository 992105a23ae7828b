"""A run's backbone as a folder of timm's, from which another training starts: ``--backbone local-dir:FOLDER``."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from timm.models import save_for_hf

from comp.console import Console
from comp.declare.competition import Competition
from comp.errors import RunError
from comp.files import write_text
from comp.runs import Run
from comp.runs.pretraining import ORIGIN
from comp.training.heads import GeM
from comp.training.predicting import Trained, kept_learners


def export_backbone(competition: Competition, run: Run, folder: Path, console: Console) -> None:
    """Write the backbone with its last weights, without the head, as ``config.json`` and ``model.safetensors``.

    Raises RunError for a run without weights, or where something is at the folder's place.
    """
    if run.members:
        raise RunError(f"{run.name} is made of other runs and has no weights; name one of {', '.join(run.members)}.")
    if folder.exists():
        raise RunError(f"{folder} is there already; name another folder.")
    backbone = next(kept_learners(Trained.of(run, competition), console)).model.backbone
    for name, module in list(backbone.named_modules()):
        if isinstance(module, GeM):  # which timm doesn't build
            backbone.set_submodule(name, module.average)
    # A file takes no other order of dimensions.
    backbone.to(memory_format=torch.contiguous_format)
    unfinished = folder.with_name(f".{folder.name}.partial")
    try:
        shutil.rmtree(unfinished, ignore_errors=True)
        save_for_hf(backbone, str(unfinished), safe_serialization=True)
        config = unfinished / "config.json"
        origin = {"competition": run.competition, "run": run.name, "left_out": sorted(run.validating())}
        write_text(config, json.dumps({**json.loads(config.read_text(encoding="utf-8")), ORIGIN: origin}, indent=1))
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
