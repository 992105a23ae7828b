"""The moving average of a model's weights over the steps of its training."""

from typing import Generic, TypeVar

from timm.utils.model_ema import ModelEmaV3
from torch import Tensor, nn

Module = TypeVar("Module", bound=nn.Module)

# Of timm's two, the power for trainings of fewer than a million steps.
WARM_UP_POWER = 3 / 4


class Average(Generic[Module]):
    """An exponential moving average of a model's weights and statistics (timm's; Polyak and Juditsky 1992).

    module: a model of its own, in evaluation, with the average; the model's weights as they are until the first update.
    decay: what the average keeps of itself at a step. It is warmed up, ``1 - n ** -0.75`` at step n where that is less:
        a training of few steps would else keep the weights that it started from.

    Batch norm's statistics are averaged as the weights are, because they belong to them; its counters are copied.
    """

    module: Module

    def __init__(self, model: Module, decay: float) -> None:
        self._model = model
        self._average = ModelEmaV3(model, decay=decay, use_warmup=True, warmup_power=WARM_UP_POWER)
        self.module = self._average.module

    def update(self, step: int) -> None:
        """Take in the model as it is after its optimizer step ``step``, counted from 1."""
        self._average.update(self._model, step=step)

    def into(self, model: Module) -> None:
        """Give the model the averaged weights and statistics."""
        model.load_state_dict(self.module.state_dict())

    def state_dict(self) -> dict[str, Tensor]:
        """The averaged weights and statistics, by the model's names; the step is the caller's to keep."""
        return self.module.state_dict()

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take these; what isn't among them stays as it is."""
        self.module.load_state_dict({**self.module.state_dict(), **state})
