"""The baseline: a linear model on frozen features."""

from dataclasses import replace

import pytest
from torch.nn import Linear
from torch.nn.functional import cross_entropy

from comp.declare.recipe import Stage
from comp.training.learner import Learner

HEAD = Stage(size=16, train="head", cached=True, cycle_length=2, learning_rate=0.05)
SOLVED = replace(HEAD, schedule="lbfgs", cycle_length=1)
ALL = Stage(size=16, train="all", learning_rate=1e-2)


@pytest.fixture
def trained(begin):
    def run(*stages, **fields):
        training = begin(*stages, **fields)
        training.train_stages()
        return training.run

    return run


def test_it_has_the_score_and_loss_of_a_head_that_is_solved_whatever_head_is_trained(trained, capsys):
    (solved,) = trained(SOLVED).history.epochs().to_dict("records")
    capsys.readouterr()
    for head in ("linear", "mlp"):
        baseline = trained(HEAD, ALL, head=head).record("trained")["baseline"]
        assert baseline == pytest.approx({"score": solved["score"], "loss": solved["valid_loss"]}, rel=0.01)
        assert (
            f"baseline, a linear model on the frozen features: accuracy {solved['score']:.5f}"
            in capsys.readouterr().out
        )


def test_a_head_that_is_solved_is_itself_the_baseline_of_what_trains_after_it(trained):
    run = trained(SOLVED, ALL)
    solved, last = run.history.epochs().to_dict("records")
    assert run.record("trained")["baseline"] == {"score": solved["score"], "loss": pytest.approx(solved["valid_loss"])}
    assert last["valid_loss"] != solved["valid_loss"]


def spread(logits, targets):
    """A custom loss that is NaN where all logits are equal, as those of a new linear model are."""
    apart = logits - logits.mean()
    return cross_entropy(apart / apart.std(), targets)


def test_without_cached_and_pooled_features_or_with_a_loss_of_one_s_own_there_is_none(trained):
    assert trained(ALL).record("trained")["baseline"] is None
    own = {"loss": spread, "head": lambda features, outputs: Linear(features, outputs)}
    record = trained(HEAD, **own).record("trained")
    assert record["baseline"] is None
    assert record["guessing"] is None
    assert trained(HEAD, head="attention").record("trained")["baseline"] is None


def test_the_training_is_the_same_as_without_it(trained, monkeypatch):
    beside = trained(HEAD, ALL, dropout=0.3)
    monkeypatch.setattr(Learner, "baseline", lambda *_: (None, None))
    alone = trained(HEAD, ALL, dropout=0.3)
    assert alone.record("trained")["baseline"] is None
    assert alone.weights.read_bytes() == beside.weights.read_bytes()
