"""A linear head's optimum on cached features by L-BFGS, regularised as strongly as cross-validation says."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor, nn

from comp.training.losses import Objective

# Strengths of L2 regularisation, strongest first: each fit starts from the previous one.
STRENGTHS = (10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
FOLDS = 3
# A larger sample would hardly choose better.
MOST_ROWS = 6_000
ITERATIONS = 60
# Below this share of the loss of guessing, weaker regularisation has nothing left to gain.
PERFECT = 1e-3
# Logits are multiplied by a factor between exp(-2) and exp(2).
FACTOR = 2.0


class Solved(NamedTuple):
    """How a head was solved.

    loss: the mean loss on its inputs. strength: of the regularisation.
    unexplained: the loss on left-out folds, as a share of the loss of guessing the same for all samples: 1 minus
        McFadden's R², cross-validated. None for a custom loss, which may be negative.
    """

    loss: float
    strength: float
    unexplained: float | None


@dataclass
class Weights:
    """The weights of a linear head on standardised inputs: ``inputs @ (scale * start + change) + bias``.

    start: (C, F), the weights before: zeros, or the pretrained classifier's rows. Only ``change`` is regularised, so
    that with few images the head stays near its start.
    """

    start: Tensor
    scale: Tensor
    change: Tensor
    bias: Tensor

    @property
    def matrix(self) -> Tensor:
        return self.scale * self.start + self.change

    def logits(self, inputs: Tensor) -> Tensor:
        return inputs @ self.matrix.T + self.bias

    def times(self, factor: float) -> "Weights":
        """The weights that give ``factor`` times the logits."""
        return Weights(self.start, factor * self.scale, factor * self.change, factor * self.bias)

    def copy(self) -> "Weights":
        return Weights(self.start, *(values.detach().clone() for values in (self.scale, self.change, self.bias)))


def solve(
    head: nn.Module, inputs: Tensor, targets: Tensor, folds: npt.NDArray[np.int64], objective: Objective
) -> Solved:
    """Give a head of batch norm, dropout and linear layer the weights with the least regularised loss.

    inputs: (N, V, F), of the training samples in their views. targets: (N,) or (N, C), as the objective takes them.
    folds: (N,), from 0, or -1 for rows that no fold leaves out. The loss on left-out rows chooses the strength of
        regularisation, one of `STRENGTHS`, and a factor for the logits after it: strong regularisation gives better
        heads that are too unsure, which the factor corrects.
    """
    assert isinstance(head, nn.Sequential)
    norm, linear = head[0], head[-1]
    assert isinstance(norm, nn.BatchNorm1d)
    assert isinstance(linear, nn.Linear)
    mean, variance = norm.get_buffer("running_mean"), norm.get_buffer("running_var")
    start = linear.weight.detach().clone()
    inputs, targets = inputs.to(start.device), targets.to(start.device)
    flat = inputs.flatten(0, 1)
    # The batch norm before a pretrained start has its statistics already.
    if not bool(start.any()):
        mean.copy_(flat.mean(dim=0))
        variance.copy_(flat.var(dim=0, correction=0))
    standardised = (inputs - mean) / (variance + norm.eps).sqrt()
    first = Weights(start, torch.tensor(1.0, device=start.device), torch.zeros_like(start), linear.bias.detach())
    strength, factor, unexplained = _chosen(standardised, targets, folds, objective, first)
    found = _fit(standardised, targets, objective, first, strength).times(factor)
    with torch.no_grad():
        linear.weight.copy_(found.matrix)
        linear.bias.copy_(found.bias)
        of_views = targets.repeat_interleave(inputs.shape[1], dim=0)
        loss = objective(found.logits(standardised.flatten(0, 1)), of_views)
    return Solved(float(loss), strength, unexplained)


def _chosen(
    inputs: Tensor, targets: Tensor, folds: npt.NDArray[np.int64], objective: Objective, first: Weights
) -> tuple[float, float, float | None]:
    """Strength and logit factor with the least loss on left-out folds, of at most `MOST_ROWS`, and `unexplained`."""
    count = len(folds)
    drawn = np.random.default_rng(0).permutation(count)
    # Rows that a fold leaves out come first.
    sampled = drawn[np.argsort(folds[drawn] < 0, kind="stable")][:MOST_ROWS]
    inputs, targets, folds = inputs[sampled], targets[sampled], folds[sampled]
    left_out = [torch.from_numpy(folds == fold) for fold in np.unique(folds[folds >= 0])]
    fits = [first] * len(left_out)
    tried: list[tuple[float, float, float]] = []
    truth = torch.cat([targets[out] for out in left_out])
    guessing = _guessing(truth, objective.plain(), first)
    for strength in STRENGTHS:
        fits = [
            _fit(inputs[~out], targets[~out], objective, fit, strength) for out, fit in zip(left_out, fits, strict=True)
        ]
        # Predictions are means over views.
        logits = torch.cat([fit.logits(inputs[out]).mean(dim=1) for out, fit in zip(left_out, fits, strict=True)])
        tried.append((*_scaled(logits, truth, objective.plain()), strength))
        if 0 <= tried[-1][0] < PERFECT * guessing or (len(tried) > 2 and tried[-1][0] > tried[-2][0] > tried[-3][0]):
            break
    least, factor, strength = min(tried)
    unexplained = None if callable(objective.loss) or guessing <= 0 else least / guessing
    # The penalty is relative to the number of samples, of which the final fit has more.
    return strength * len(sampled) / count, factor, unexplained


def _guessing(targets: Tensor, objective: Objective, first: Weights) -> float:
    """The least loss of the same logits for all samples."""
    nothing = Weights(first.change[:, :1], first.scale, first.change[:, :1], first.bias)
    inputs = torch.zeros((len(targets), 1, 1), device=targets.device)
    return float(objective(_fit(inputs, targets, objective, nothing, 1.0).logits(inputs[:, 0]), targets))


def _scaled(logits: Tensor, targets: Tensor, objective: Objective) -> tuple[float, float]:
    """The least loss of the logits times a factor, and the factor."""
    found = minimize_scalar(
        lambda exponent: float(objective(math.exp(exponent) * logits, targets)),
        bounds=(-FACTOR, FACTOR),
        method="bounded",
    )
    return float(found.fun), math.exp(float(found.x))


def _fit(inputs: Tensor, targets: Tensor, objective: Objective, first: Weights, strength: float) -> Weights:
    found, views = first.copy(), inputs.shape[1]
    flat, of_views = inputs.flatten(0, 1), targets.repeat_interleave(views, dim=0)
    free = [found.change, found.bias] + ([found.scale] if bool(found.start.any()) else [])
    for values in free:
        values.requires_grad_()
    optimizer = torch.optim.LBFGS(free, max_iter=ITERATIONS, history_size=10, line_search_fn="strong_wolfe")

    def closure() -> float:
        optimizer.zero_grad()
        loss = objective(found.logits(flat), of_views) + strength / 2 * found.change.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.detach())

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    return found.copy()
