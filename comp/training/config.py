"""The config of a training: everything that its results depend on, as config.json has it."""

from __future__ import annotations

import hashlib
import platform
import shlex
import sys
from dataclasses import asdict
from typing import Any

from comp.data.readers import DECODERS, versions_of
from comp.data.tables import Tables
from comp.declare.columns import in_table
from comp.declare.custom import recorded
from comp.files import source_digest
from comp.training.prepared import Prepared

# The number of rows whose values are Python objects at the same time.
AT_ONCE = 1 << 14
# The code that a training's results depend on, besides its declaration's.
CODE = ("comp.training", "comp.data", "comp.submission.outputs")
PACKAGES = ("accelerate", "albumentations", "numpy", *DECODERS, "openvino", "scikit-learn", "timm", "torch")


def config_of(prepared: Prepared, *, by_hand: bool = False) -> dict[str, Any]:
    """Everything that the training's results depend on, as JSON can hold it."""
    experiment, tables = prepared.experiment, prepared.tables
    competition, recipe, choices = experiment.competition, experiment.recipe, experiment.choices
    encoding = None if prepared.encoding is None else asdict(prepared.encoding)
    # Without validation rows, post-processing is taken from the run that this one is like.
    tuned = choices.like.record("scores") if choices.like and choices.all_data else {}
    return {
        "command": shlex.join(["comp", *sys.argv[1:]]),
        "competition": competition.name,
        "kaggle": competition.kaggle,
        "metric": competition.scoring.name,
        # To tell two metrics of the same name apart.
        "scoring": recorded(competition.metric),
        "higher_is_better": competition.scoring.higher_is_better,
        "classes": list(tables.classes),
        "recipe_name": choices.recipe,
        "settings": list(choices.settings),
        "recipe": recorded(recipe),
        "augment": recorded(competition.augment),
        "layer_lr_ratio": competition.layer_lr_ratio,
        "read": recorded(competition.read),
        "seed": choices.seed,
        "all_data": choices.all_data,
        "folds": choices.folds,
        "fold": choices.fold,
        "like": None if choices.like is None else choices.like.name,
        "postprocessing": tuned.get("postprocessing"),
        "data": {"train": len(tables.train), "test": len(tables.test), "fingerprint": fingerprint(tables)},
        "predicted_data": fingerprint(tables, predicted=True),
        "depth": recorded(tables.depth),
        "data_check": None if tables.data_check is None else tables.data_check.counts(),
        "device": prepared.learner.device,
        "precision": prepared.learner.accelerator.mixed_precision,
        "versions": {"python": platform.python_version(), **versions_of(PACKAGES)},
        "source": {
            **{name.replace(".", "/"): source_digest(name) for name in CODE},
            "competition.py or what it uses": competition.source,
            **({"files in the data folder": tables.beside} if tables.beside else {}),
        },
        "weights": prepared.weights,
        "outputs": asdict(prepared.outputs),
        "by_hand": by_hand,
        **({"tta_used": False} if tuned.get("tta_used") is False else {}),
        **({} if prepared.pseudo_labels is None else {"teacher": prepared.pseudo_labels.record()}),
        **({} if choices.split_seed is None else {"split_seed": choices.split_seed}),
        **({"relative_sizes": dict(experiment.relative)} if experiment.relative else {}),
        **({} if tables.answers is tables else {"combine": recorded(competition.combine)}),
        **({} if encoding is None else {"columns": {"declared": recorded(competition.columns), "encoding": encoding}}),
    }


def fingerprint(tables: Tables, *, predicted: bool = False) -> str:
    """A digest of the ids, labels and files of `checked_tables`, which shows whether data changed since a run.

    predicted: only of the images that are predicted, for validation or submission, without their columns. Runs with
        the same images to predict can be combined, whatever each was trained on.
    """
    digest = hashlib.blake2b(digest_size=16)
    train = tables.train[tables.may_validate] if predicted else tables.train
    for table, label in ((train, "label"), (tables.test, "id")):
        for start in range(0, len(table), AT_ONCE):
            rows = table[start : start + AT_ONCE]
            columns = [] if predicted else [name for name in rows if str(name).startswith(in_table(""))]
            others = [rows[name].to_list() for name in rows if name == "answer" or name in columns]
            values = zip(*(rows[name].to_list() for name in ("id", label, "content")), *others, strict=True)
            digest.update("".join(map(repr, values)).encode())
    return digest.hexdigest()
