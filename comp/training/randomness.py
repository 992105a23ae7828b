"""The states of all generators that a training may draw from, kept and given back."""

import random
from typing import Any

import numpy as np
import torch


def random_states() -> dict[str, Any]:
    """Of Python's generator, numpy's, torch's and each GPU's; plain numbers and tensors, fit for a file."""
    version, internal, gauss = random.getstate()
    name, keys, *rest = np.random.get_state()
    return {
        "python": [version, list(internal), gauss],
        "numpy": [name, torch.from_numpy(np.asarray(keys, np.int64)), *rest],
        "torch": torch.get_rng_state(),
        "gpus": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore_random_states(states: dict[str, Any]) -> None:
    """Give back what `random_states` gave; of GPUs that are no longer there, nothing."""
    version, internal, gauss = states["python"]
    random.setstate((version, tuple(internal), gauss))
    name, keys, *rest = states["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
    torch.set_rng_state(states["torch"])
    for gpu, state in zip(range(torch.cuda.device_count()), states["gpus"], strict=False):
        torch.cuda.set_rng_state(state, gpu)
