"""The learning-rate finder: an LR range test that changes nothing (Smith 2015, arXiv:1506.01186)."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from itertools import count, islice
from numbers import Real
from typing import Annotated

import numpy as np
import numpy.typing as npt
import torch

from comp.declare.checks import above, fits
from comp.declare.custom import called, short_name
from comp.declare.recipe import Stage
from comp.errors import DeclarationError, RunError
from comp.training.epochs import Epochs
from comp.training.learner import Learner
from comp.training.state import random_states, restore_random_states

LOWEST, HIGHEST, BATCHES = 1e-6, 10.0, 100
# Fewer steps make no curve: where a recipe accumulates too many mini-batches per step, the test accumulates fewer.
FEWEST_STEPS = 20
SMOOTHING = 0.9
# The loss has diverged when its smoothed value exceeds the best so far by this factor, as in fastai's finder.
DIVERGED = 4.0
# Before this number of steps, the smoothed loss depends too much on chance.
SETTLED = 10

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class RangeTest:
    """Losses against the head's learning rate, each (N,), and the learning rates that they suggest.

    smoothed: the losses' exponential moving average, corrected for its start. rule: the one whose suggestion is taken;
    the default trained best on real competitions: docs/recipes.md has the table.
    """

    rates: Array
    losses: Array
    smoothed: Array
    rule: str | Callable[[Array, Array], float] = "valley"

    @property
    def suggestions(self) -> dict[str, float]:
        """Peak rates by the rule that suggests them.

        ``minimum``: a tenth of the rate where the loss is lowest, fast.ai lesson 2's rule.
        ``steepest``: where the loss falls fastest per factor of the rate, after the first SETTLED steps.
        ``valley``: two thirds along the longest stretch in which the loss falls.
        A custom rule has its own name; raises DeclarationError where it gives no rate.
        """
        lowest = int(self.smoothed.argmin())
        began = SETTLED if lowest > SETTLED else 0
        before = slice(began, max(lowest + 1, 2))
        slopes = np.gradient(self.smoothed[before], np.log(self.rates[before]))
        start, end = _longest_descent(self.smoothed)
        own = {short_name(self.rule): self._by_own(self.rule)} if callable(self.rule) else {}
        return {
            "minimum": float(max(self.rates[lowest] / 10, self.rates[0])),
            "steepest": float(self.rates[before][slopes.argmin()]),
            "valley": float(self.rates[start + round((end - start) * 2 / 3)]),
            **own,
        }

    def _by_own(self, rule: Callable[[Array, Array], float]) -> float:
        rate = called("Recipe: `rate_rule`", rule, self.rates, self.smoothed)
        if not isinstance(rate, Real) or not fits(float(rate), Annotated[float, above(0)]):
            found = f"an array of shape {rate.shape}" if isinstance(rate, np.ndarray) and rate.ndim else repr(rate)
            raise DeclarationError(f"Recipe: `rate_rule` returned {found}, but it should return a rate above 0.")
        return float(rate)

    def __str__(self) -> str:
        words = {"minimum": "minimum/10"}
        named = ", ".join(f"{words.get(rule, rule)} {rate:.2g}" for rule, rate in self.suggestions.items())
        return f"{named}; taken: {self.suggestion:.2g}"

    @property
    def suggestion(self) -> float:
        """The rate that the rule suggests."""
        return self.suggestions[short_name(self.rule)]


def range_test(
    learner: Learner, stage: Stage, training: Epochs, seed: int, advance: Callable[[], None] = lambda: None
) -> RangeTest:
    """Multiply the learning rate after every step, from LOWEST to HIGHEST, until the loss diverges or after BATCHES.

    Steps are those of training: clipped as the recipe says, and with its accumulation as long as FEWEST_STEPS remain.
    Model, statistics and random state are restored bit for bit. Frozen groups stay frozen, layer groups keep their
    ratios: the rates are the head's. Raises RunError where the loss is NaN or infinite already at the lowest rates.
    """
    in_a_step = min(learner.recipe.accumulation, BATCHES // FEWEST_STEPS)
    rates, losses = np.geomspace(LOWEST, HIGHEST, BATCHES // in_a_step), []
    smoothed: list[float] = []
    average = 0.0
    with unchanged(learner):
        torch.manual_seed(seed)
        network, optimizer = learner.ready(stage, LOWEST, training.batch_size)
        batches = (batch for number in count() for batch in training.epoch(number))
        steps = iter(lambda: list(islice(batches, in_a_step)), [])
        for taken, (rate, together) in enumerate(zip(rates, steps, strict=False), start=1):
            for group in optimizer.param_groups:
                group["lr"] *= rate / LOWEST if taken == 1 else rate / rates[taken - 2]
            loss = float(learner.step(network, together, optimizer))
            if not np.isfinite(loss):
                break
            average = SMOOTHING * average + (1 - SMOOTHING) * loss
            losses.append(loss)
            smoothed.append(average / (1 - SMOOTHING**taken))
            advance()
            if taken > SETTLED and smoothed[-1] > DIVERGED * min(smoothed):
                break
    if len(losses) < SETTLED:
        raise RunError(
            f"No learning rate could be found: the loss is NaN or infinite after {len(losses)} mini-batches at rates "
            f"below {rates[len(losses)]:.1g}; check the images, or set the stage's learning_rate."
        )
    return RangeTest(rates[: len(losses)], np.array(losses), np.array(smoothed), learner.recipe.rate_rule)


@contextmanager
def unchanged(learner: Learner) -> Iterator[None]:
    """Let the block train a copy of the model, then restore the model, the gradient scale and the random states."""
    model, scaler = learner.model, learner.accelerator.scaler
    scale = None if scaler is None else scaler.state_dict()
    generators = random_states()
    learner.model = learner.evaluated = deepcopy(model)
    try:
        yield
    finally:
        learner.model = learner.evaluated = model
        if scaler is not None:
            scaler.load_state_dict(scale)
        restore_random_states(generators)


def _longest_descent(losses: Array) -> tuple[int, int]:
    """The start and the end of the longest decreasing subsequence of losses: a bump on the way down doesn't end it."""
    lengths = np.ones(len(losses), int)
    starts = np.arange(len(losses))
    for index in range(1, len(losses)):
        higher = np.flatnonzero(losses[:index] > losses[index])
        if len(higher):
            best = higher[lengths[higher].argmax()]
            lengths[index], starts[index] = lengths[best] + 1, starts[best]
    end = int(lengths.argmax())
    return int(starts[end]), end
