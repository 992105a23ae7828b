"""Weights on disk, as safetensors: loading them never runs code."""

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from comp.errors import RunError
from comp.files import replacing


def save_weights(model: nn.Module, path: Path) -> None:
    weights = save({name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()})
    with replacing(path) as unfinished:
        unfinished.write_bytes(weights)


def load_weights(model: nn.Module, path: Path) -> None:
    """Raises RunError where the file is missing, broken, or of another model."""
    try:
        model.load_state_dict(load_file(path))
    except FileNotFoundError:
        raise RunError(
            f"{path} doesn't exist: the training did not end, or the file was removed; "
            f"`comp train --resume {'/'.join(path.parts[-4:-2])}` goes on from what is there."
        ) from None
    except (SafetensorError, RuntimeError) as error:
        raise RunError(f"{path} can't be loaded ({str(error).splitlines()[0]}); train again.") from None
