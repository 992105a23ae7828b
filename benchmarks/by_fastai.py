"""The task done as in fastai's documentation: ImageDataLoaders, vision_learner, fit_one_cycle or fine_tune, tta."""

import sys
from time import perf_counter
from typing import Any

import pandas as pd
import torch
from fastai.vision.all import Callback, ImageDataLoaders, Resize, aug_transforms, set_seed, vision_learner
from sklearn.metrics import log_loss

from benchmarks.task import Measured, Task, answer
from comp.declare.viewpoint import Viewpoint
from comp.training.memory import keep_freed_memory


def measure(task: Task) -> Measured:
    set_seed(0)
    table = task.table()
    loaders = loaders_of(table, task, task.size, task.batch_size, task.workers)
    learner = vision_learner(loaders, task.backbone, pretrained=task.pretrained)
    if task.settings_of_comp:
        keep_freed_memory()
        learner.to_channelslast(use_amp=False)
    epochs = _timed_epochs(learner)
    labels = table["label"][table["validates"]]
    predicting, losses = {}, {}
    with learner.no_bar(), learner.no_logging():
        began = perf_counter()
        if task.epochs is None:
            learner.fine_tune(1)
        else:
            learner.unfreeze()
            learner.fit_one_cycle(task.epochs, slice(task.learning_rate / 100, task.learning_rate))
        trained = perf_counter() - began
        for views in task.views:
            began = perf_counter()
            probabilities, _ = learner.tta(n=views - 1) if views > 1 else learner.get_preds()
            predicting[views] = perf_counter() - began
            losses[views] = float(log_loss(labels, probabilities.numpy(), labels=list(loaders.vocab)))
    setting = {"torch": torch.__version__, "threads": str(torch.get_num_threads())}
    return Measured(setting, epochs, trained, predicting, losses)


def loaders_of(
    table: pd.DataFrame, augment: Task | Viewpoint, size: int, batch_size: int, workers: int = 0, tags: bool = False
) -> Any:
    """The loaders of a table with ``path``, ``label`` and ``validates``; tags are separated by semicolons.

    Images are augmented as by comp, without fastai's default change of perspective, which costs time.
    """
    return ImageDataLoaders.from_df(
        table.assign(path=[path.lstrip("/") for path in table["path"]]),
        path="/",
        fn_col="path",
        label_col="label",
        label_delim=";" if tags else None,
        valid_col="validates",
        item_tfms=Resize(size),
        batch_tfms=aug_transforms(
            do_flip=augment.flips != "none",
            flip_vert=augment.flips == "dihedral",
            max_rotate=augment.max_rotation,
            max_zoom=augment.max_zoom,
            max_lighting=augment.max_light,
            max_warp=0,
        ),
        bs=batch_size,
        num_workers=workers,
    )


def _timed_epochs(learner: Any) -> list[float]:
    """The seconds of each epoch, without validation; filled while the learner trains."""
    seconds: list[float] = []
    learner.add_cb(
        Callback(
            before_train=lambda _: seconds.append(-perf_counter()),
            after_train=lambda _: seconds.append(seconds.pop() + perf_counter()),
        )
    )
    return seconds


if __name__ == "__main__":
    answer(measure, sys.argv[1:])
