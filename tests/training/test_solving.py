"""The head that L-BFGS solves on cached features."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import entropy
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, PredefinedSplit, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from comp.declare.recipe import Stage
from comp.training import solving
from comp.training.heads import build_head
from comp.training.losses import Objective
from comp.training.solving import solve

ROWS, WIDTH, CLASSES = 150, 12, 3
FOLDS = np.arange(ROWS) % 3


def data(noise: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    targets = torch.randint(CLASSES, (ROWS,), generator=rng)
    means = 2 * torch.randn(CLASSES, WIDTH, generator=rng)
    return means[targets][:, None] + noise * torch.randn(ROWS, 2, WIDTH, generator=rng), targets


def head(outputs: int = CLASSES) -> nn.Sequential:
    built = build_head(WIDTH, np.zeros(outputs), 0.5).eval()
    assert isinstance(built, nn.Sequential)
    return built


def test_it_is_scikit_learns_logistic_regression_of_the_chosen_strength() -> None:
    inputs, targets = data(noise=3)
    solved = head()
    strength = solve(solved, inputs, targets, FOLDS, Objective("cross_entropy", one_of=True)).strength
    flat = inputs.flatten(0, 1).double().numpy()
    standardised = (flat - flat.mean(axis=0)) / flat.std(axis=0)
    theirs = LogisticRegression(C=1 / (strength * len(flat)), tol=1e-8, max_iter=2000)
    theirs.fit(standardised, targets.repeat_interleave(2).numpy())
    with torch.no_grad():
        ours = solved(inputs.flatten(0, 1)).numpy()
    logits = theirs.decision_function(standardised)
    factor = (ours * logits).sum() / (logits**2).sum()
    np.testing.assert_allclose(ours, factor * logits, atol=0.03)


def test_what_it_leaves_unexplained_is_scikit_learns_loss_on_left_out_folds_over_that_of_guessing():
    inputs, targets = data(noise=3)
    found = solve(head(), inputs, targets, FOLDS, Objective("cross_entropy", one_of=True)).unexplained
    strengths = {"C": np.logspace(-3, 0, 5)}
    model = make_pipeline(StandardScaler(), GridSearchCV(LogisticRegression(), strengths, scoring="neg_log_loss", cv=3))
    flat, truth = inputs.mean(dim=1).numpy(), targets.numpy()
    theirs = cross_val_predict(model, flat, truth, cv=PredefinedSplit(FOLDS), method="predict_proba")
    assert found == pytest.approx(log_loss(truth, theirs) / entropy(np.bincount(truth)), rel=0.1)


def test_the_strength_is_chosen_by_all_rows_that_folds_leave_out_however_many_others_there_are(monkeypatch):
    monkeypatch.setattr(solving, "MOST_ROWS", 20)
    scaled, seen = solving._scaled, []
    monkeypatch.setattr(solving, "_scaled", lambda logits, *others: seen.append(len(logits)) or scaled(logits, *others))
    guessing = solving._guessing
    monkeypatch.setattr(solving, "_guessing", lambda rows, *others: seen.append(len(rows)) or guessing(rows, *others))
    folds = np.full(ROWS, -1)
    folds[-9:] = np.arange(9) % 3
    solve(head(), *data(), folds, Objective("cross_entropy", one_of=True))
    assert set(seen) == {9}


def test_inputs_that_say_nothing_make_a_head_that_says_nothing() -> None:
    inputs = torch.randn(ROWS, 1, WIDTH, generator=torch.Generator().manual_seed(1))
    targets, solved = torch.arange(ROWS) % CLASSES, head()
    solve(solved, inputs, targets, np.arange(ROWS) // 3 % 3, Objective("cross_entropy", one_of=True))
    with torch.no_grad():
        assert solved(inputs[:, 0]).softmax(dim=1).max() < 0.5


@pytest.mark.parametrize(
    ("loss", "one_of", "targets"),
    [
        ("bce", False, torch.randint(2, (ROWS, CLASSES))),
        ("mse", False, torch.randn(ROWS, CLASSES)),
        ("focal", True, torch.arange(ROWS) % CLASSES),
    ],
)
def test_it_lowers_any_loss(loss: str, one_of: bool, targets: torch.Tensor) -> None:
    inputs = torch.randn(ROWS, 2, WIDTH, generator=torch.Generator().manual_seed(1))
    inputs[..., :CLASSES] += targets[:, None] if targets.ndim == 2 else nn.functional.one_hot(targets)[:, None]
    objective, solved = Objective(loss, one_of=one_of), head()
    with torch.no_grad():
        before = objective(solved(inputs[:, 0]), targets)
    loss_found = solve(solved, inputs, targets, FOLDS, objective).loss
    assert loss_found < before
    with torch.no_grad():
        assert objective(solved(inputs.flatten(0, 1)), targets.repeat_interleave(2, dim=0)) == pytest.approx(loss_found)


def test_a_head_with_a_start_stays_near_it_where_the_images_say_little() -> None:
    inputs, targets = data()
    started = head()
    with torch.no_grad():
        rows = torch.randn(CLASSES, WIDTH, generator=torch.Generator().manual_seed(2))
        started[-1].get_parameter("weight").copy_(rows)
    shuffled = targets[torch.randperm(ROWS, generator=torch.Generator().manual_seed(3))]
    solve(started, inputs, shuffled, FOLDS, Objective("cross_entropy", one_of=True))
    found = started[-1].get_parameter("weight").detach()
    scale = (found * rows).sum() / rows.square().sum()
    assert (found - scale * rows).norm() < 0.2


def test_a_loss_of_one_s_own_may_be_negative_and_of_it_nothing_is_said_to_be_unexplained() -> None:
    def negative(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(logits, targets) - 10

    inputs, targets = data(noise=3)
    shifted, expected = (
        solve(head(), inputs, targets, FOLDS, Objective(loss, one_of=True)) for loss in (negative, "cross_entropy")
    )
    assert shifted.strength == expected.strength
    assert shifted.unexplained is None


def test_a_head_is_solved_of_images_that_are_all_of_one_group(with_stages, workspace, train):
    competition = with_stages(Stage(size=16, train="head", cached=True, schedule="lbfgs"))
    table = workspace.data("shades") / "train.csv"
    header, *rows = table.read_text().split()
    table.write_text("\n".join([f"{header},who", *(f"{row},{number % 2}" for number, row in enumerate(rows))]))
    competition = replace(competition, labels=replace(competition.labels, group="who"))
    assert train(competition).trained
