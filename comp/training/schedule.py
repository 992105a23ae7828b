"""Learning-rate schedules of a stage, per mini-batch, by torch's own schedulers."""

from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingWarmRestarts, LRScheduler, OneCycleLR

from comp.recipe import Stage

WARM_UP = 0.25


def group_rates(peak: float, ratio: float, groups: int) -> list[float]:
    """The peak rates of the last ``groups`` of early, late, head: ``[peak / ratio², peak / ratio, peak]``."""
    return [peak / ratio**place for place in reversed(range(groups))]


def scheduler(optimizer: Optimizer, stage: Stage, steps_per_epoch: int) -> LRScheduler:
    """The stage's schedule over an optimizer whose groups are at their peak rates; step it after every mini-batch.

    ``sgdr``: cosine descents from the peak to near zero with warm restarts (arXiv:1608.03983).
    ``one_cycle``: up over the first quarter and down to near zero (arXiv:1708.07120).
    """
    if stage.schedule == "one_cycle":
        peaks = [group["lr"] for group in optimizer.param_groups]
        # torch's own needs a step to start at, one for the peak and one to end at, and divides by zero without.
        steps = max(stage.epochs * steps_per_epoch, 3)
        warm_up = max(WARM_UP, 2 / steps)
        return OneCycleLR(optimizer, peaks, total_steps=steps, pct_start=warm_up, cycle_momentum=False)
    return CosineAnnealingWarmRestarts(
        optimizer, T_0=stage.cycle_length * steps_per_epoch, T_mult=stage.cycle_multiplier
    )
