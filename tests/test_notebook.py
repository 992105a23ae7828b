import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from comp.declare.competition import Competition
from comp.declare.recipe import Recipe, Stage
from comp.errors import CompError, DeclarationError, OverrideError, RunError
from comp.notebook import Session
from comp.runs import Run, Workspace
from comp.training.backbone import digest, layer_groups
from tests.conftest import shades_in


@pytest.fixture
def open_session(downloaded):
    """Opens sessions on `shades`, whose data are downloaded."""
    return partial(Session, "shades", competitions=[downloaded.plugins])


@pytest.fixture(scope="module")
def predicted(tmp_path_factory):
    """A session that has trained a little and predicted; tests must not train it further."""
    folder = tmp_path_factory.mktemp("predicted")
    made, workspace = shades_in(folder), Workspace(folder)
    shutil.copytree(made.files, workspace.data("shades"))
    session = Session("shades", competitions=[made.plugins], workspace=folder)
    session.fit(learning_rate=1e-4)
    session.predict()
    return session


@pytest.fixture
def session(open_session):
    return open_session()


def weights(session):
    return digest(session.prepared.learner.model)


def changed_groups(session, **fields):
    """The layer groups that a fit with these fields changes."""
    groups = layer_groups(session.prepared.learner.model)
    before = {name: [parameter.detach().clone() for parameter in group] for name, group in groups.items()}
    session.fit(learning_rate=1e-2, **fields)
    return [
        name
        for name, group in groups.items()
        if not all(torch.equal(old, new) for old, new in zip(before[name], group, strict=True))
    ]


def png(plot):
    return plot._repr_png_().startswith(b"\x89PNG")


def test_a_session_shows_a_batch_its_top_losses_and_its_confusion_as_pictures(predicted):
    session, shown = predicted, predicted.show_batch(6)
    rows = np.random.default_rng(0).permutation(session.prepared.training)[:6]
    labels = session.prepared.tables.train["label"].iloc[rows].tolist()
    assert [axes.get_title() for axes in shown.figure.axes if axes.images] == labels
    worst = session.top_losses()
    titles = [axes.get_title() for axes in session.plot_top_losses(3).figure.axes if axes.images]
    assert [title.split(" / ")[:2] for title in titles] == worst[["label", "predicted"]].head(3).to_numpy().tolist()
    matrix = session.plot_confusion()
    assert sum(int(text.get_text()) for text in matrix.figure.axes[0].texts) == len(worst)
    assert png(matrix)
    assert png(shown)


@pytest.mark.long
def test_a_run_from_python_and_the_same_from_the_command_line_give_the_same_submission(
    open_session, shades, on_shades, workspace, tmp_path
):
    stage = 'Stage(size=16, train="head", cached=True, cycle_length=8, learning_rate=1e-2)'
    source = shades.declaration.read_text()
    assert stage in source
    shades.declaration.write_text(source.replace(stage, f'{stage}, Stage(size=32, train="all")'))
    other = tmp_path / "other"
    shutil.copytree(workspace.folder / "data", other / "data")
    session = open_session(backbone="test_vit", settings=("tta=random",), seed=3, workspace=str(other))
    for stage in session.stages:
        session.fit(stage)
    session.predict()
    ended = on_shades("train", "shades", "--backbone", "test_vit", "--set", "tta=random", "--seed", 3)
    by_command, by_hand = Run(Path(ended.last_line)), session.run
    on_shades("predict", by_command.folder)
    assert by_hand.folder == other / "runs" / "shades" / "standard-1"
    assert by_command.submission.read_bytes() == session.submission.read_bytes()
    assert by_command.weights.read_bytes() == by_hand.weights.read_bytes()
    for table in ("split.csv", "history.csv", "trained.json", "scores.json"):
        assert (by_command.folder / table).read_bytes() == (by_hand.folder / table).read_bytes()
    configs = [{**run.record("config"), "command": None, "by_hand": None} for run in (by_command, by_hand)]
    assert configs[0] == configs[1]


def test_a_rate_that_is_found_in_between_changes_nothing_that_is_trained(open_session):
    find = ("stages.learning_rate=find", "stages.cycle_length=2")
    ends = []
    for looks_first in (False, True):
        session = open_session(settings=find)
        if looks_first:
            session.lr_find(session.stages[0])
        session.fit(session.stages[0])
        ends.append((weights(session), session.fitted))
    assert ends[0] == ends[1]


def test_a_curve_is_a_picture_or_characters_and_fit_takes_its_rate_for_as_many_groups(session, capsys):
    session.unfreeze()
    curve = session.lr_find(size=16)
    assert not session.workspace.runs.exists(), "a sweep needs no run"
    assert "loss against the learning rate" in repr(curve)
    assert str(curve).startswith("minimum/10 ")
    assert str(curve).endswith(f"; taken: {curve.suggestion:.2g}")
    assert png(curve)
    session.fit()
    assert session.fitted[0].learning_rate == curve.suggestion
    assert "as found before" in capsys.readouterr().out


def test_a_stage_that_makes_validation_far_worse_is_kept_and_said(open_session, capsys):
    session = open_session(settings=["optimizer=sgd"])
    session.fit(size=16, cached=True, cycle_length=30, learning_rate=0.1)
    assert "would restore" not in capsys.readouterr().out
    session.unfreeze()
    session.fit(cycle_length=2, learning_rate=30.0)
    assert "would restore" in capsys.readouterr().out
    assert len(session.fitted) == 2
    assert session.model is session.prepared.learner.model


def test_lr_find_leaves_the_model_as_it_is_at_any_size(open_session):
    session = open_session(backbone="test_vit")
    session.fit(size=32, train="all", learning_rate=1e-3)
    before = weights(session)
    session.lr_find(size=48, cached=True, train="head")
    assert weights(session) == before


def test_freeze_unfreeze_and_freeze_to_decide_which_groups_change(session):
    every = ["early", "late", "head"]
    for step, changed in (
        (lambda: None, ["head"]),
        (session.unfreeze, every),
        (lambda: session.freeze_to(1), ["late", "head"]),
        (session.freeze, ["head"]),
        (lambda: session.freeze_to(-3), every),
        (lambda: session.freeze_to(-1), ["head"]),
    ):
        step()
        assert changed_groups(session) == changed
    assert changed_groups(session, train="all") == changed_groups(session) == every
    for group in (3, -4):
        with pytest.raises(OverrideError, match="0 early, 1 late and 2 head"):
            session.freeze_to(group)


def test_fit_goes_on_at_the_size_of_the_stage_before_and_a_session_says_how_many_were_fitted(session):
    assert repr(session) == "<Session: shades, standard, 0 stages fitted>"
    session.fit(learning_rate=1e-2)
    assert repr(session) == "<Session: shades, standard, 1 stage fitted in shades/standard-1>"
    session.fit(size=24, learning_rate=1e-2, cycles=2)
    session.fit(Stage(size=32, train=2, learning_rate=1e-3), cycle_length=2)
    session.fit(learning_rate=1e-2)
    assert [(stage.size, stage.train, stage.epochs) for stage in session.fitted] == [
        (16, "head", 1),
        (24, "head", 2),
        (32, 2, 2),
        (32, 2, 1),
    ]


@pytest.mark.parametrize(
    ("arguments", "fields", "says"),
    [
        ((), {"lr": 1e-2}, "no field 'lr'; did you mean learning_rate"),
        ((), {"cycles": 0}, "`cycles` is 0"),
        ((1e-2,), {}, r"0.01 is no Stage; .*fit\(learning_rate=0.01\)"),
        ((), {"cached": True, "train": "all"}, "`cached` is True"),
    ],
)
def test_a_stage_that_can_t_be_is_one_sentence_and_makes_no_run(session, arguments, fields, says):
    for step in (session.fit, session.lr_find):
        with pytest.raises(CompError, match=says):
            step(*arguments, **fields)
    assert not session.workspace.runs.exists()


def test_a_fit_whose_loss_is_no_number_leaves_all_as_it_was_and_can_be_tried_again(open_session):
    straight, retried = open_session(), open_session()
    for session in (straight, retried):
        session.fit(learning_rate=1e-2)
    before = weights(retried)
    with pytest.raises(RunError, match="lower the stage's learning rate"):
        retried.fit(learning_rate=1e30, train="all", cycle_length=4)
    assert weights(retried) == before
    assert len(retried.fitted) == 1
    for session in (straight, retried):
        session.fit(learning_rate=1e-2, train="all")
    assert weights(straight) == weights(retried)
    assert (straight.run.folder / "history.csv").read_bytes() == (retried.run.folder / "history.csv").read_bytes()


@pytest.mark.parametrize("where", ["training.training.say_epoch", "runs.history.History.append_stage"])
def test_an_interrupted_fit_leaves_all_as_it_was(open_session, monkeypatch, capsys, where):
    session = open_session(settings=("ema=0.9",))

    def interrupt(*_):
        raise KeyboardInterrupt

    before = weights(session)
    with monkeypatch.context() as patch:
        patch.setattr(f"comp.{where}", interrupt)
        with pytest.raises(KeyboardInterrupt):
            session.fit(learning_rate=1e-2)
    assert "the weights are as they were before it" in capsys.readouterr().out
    assert weights(session) == before
    assert session.prepared.learner.evaluated is session.prepared.learner.model
    assert not session.fitted
    assert session.training.latest is None
    assert not session.run.history.began
    session.fit(learning_rate=1e-2)
    assert session.run.history.epochs()["epoch"].tolist() == [1]


def test_load_brings_back_weights_predictions_and_history_as_they_were_saved_last(session):
    session.fit(session.stages[0])
    session.save("head")
    session.fit(session.stages[0])
    place, after = session.save("head"), weights(session)
    assert [path.name for path in place.parent.iterdir()] == ["head"]
    first = session.predict()
    written, history = session.submission.read_bytes(), (session.run.folder / "history.csv").read_bytes()
    session.fit(size=32, train="all", learning_rate=1e-2, cycle_length=3)
    assert not session.predict().equals(first)
    session.load("head")
    assert weights(session) == after
    assert session.training.latest is None, "the scores of the weights that it replaced"
    assert [stage.size for stage in session.fitted] == [16, 16]
    assert session.predict().equals(first)
    assert session.submission.read_bytes() == written
    assert (session.run.folder / "history.csv").read_bytes() == history


def test_a_stage_after_load_is_the_stage_after_what_was_saved(open_session):
    straight, loaded = open_session(backbone="test_vit"), open_session(backbone="test_vit")
    for session in (straight, loaded):
        session.fit(size=32, learning_rate=1e-2)
    loaded.save("a")
    loaded.fit(size=48, learning_rate=1e-2, train="all")
    loaded.load("a")
    for session in (straight, loaded):
        session.fit(size=32, learning_rate=1e-3, train="all")
    assert weights(straight) == weights(loaded)


def test_snapshots_are_kept_with_what_is_saved(open_session):
    session = open_session(settings=("stages.cached=False", "stages.cycles=2", "stages.cycle_length=1", "snapshots=2"))
    session.fit(session.stages[0], train="all")
    assert len(session.training.snapshots) == 1
    session.save("two")
    first = session.predict()
    session.fit(cycles=2, learning_rate=1e-2)
    session.load("two")
    assert session.predict().equals(first)
    session.fit(learning_rate=1e-2)
    assert len(session.predict()) == 12, "fewer cycles than snapshots: there is only the last"


def test_another_session_takes_up_what_one_saved_unless_its_split_or_its_model_is_another(open_session):
    first, stage = open_session(), Stage(size=16, train="head", learning_rate=1e-2)
    first.fit(stage)
    first.save("head")
    again = open_session()
    again.load("head", run="shades/standard-1")
    assert again.run.name == "shades/standard-2"
    assert again.fitted == (stage,)
    assert weights(first) == weights(again)
    assert again.predict().equals(first.predict())
    with pytest.raises(RunError, match=r"shades/standard-1 validated on other images.*use its seed"):
        open_session(seed=1).load("head", run="shades/standard-1")
    assert len(list((first.workspace.runs / "shades").iterdir())) == 2
    other = open_session(backbone="test_vit")
    before = weights(other)
    with pytest.raises(RunError, match="can't be loaded"):
        other.load("head", run="shades/standard-1")
    assert weights(other) == before


def test_a_name_that_was_not_saved_or_that_no_file_can_have_is_refused(session):
    with pytest.raises(RunError, match="Nothing was saved in this session"):
        session.load("a")
    session.fit(learning_rate=1e-2)
    session.save("a")
    session.save("b")
    with pytest.raises(RunError, match="no weights saved as 'c'; it has a, b"):
        session.load("c")
    for name in ("", "a/b", "..", ".a"):
        with pytest.raises(OverrideError, match="The name is"):
            session.save(name)


def test_before_a_training_and_of_weights_that_have_changed_since_their_predictions_each_step_says_so(session):
    of_predictions = ("validated", "most_confused", "top_losses", "plot_top_losses", "submit")
    for step in ("predict", *of_predictions, "diagnose"):
        with pytest.raises(RunError, match="Nothing was trained yet"):
            getattr(session, step)()
    with pytest.raises(RunError, match="Nothing was trained yet"):
        session.save("a")
    assert not session.workspace.runs.exists()
    for _ in range(2):
        session.fit(learning_rate=1e-2)
        for step in of_predictions:
            with pytest.raises(RunError, match="call predict"):
                getattr(session, step)()
        with pytest.raises(RunError, match="call predict"):
            _ = session.submission
        session.predict()
        session.most_confused()


def test_the_tables_agree_with_the_predictions_by_hand(predicted):
    session, written = predicted, predicted.submission.read_bytes()
    test = session.predict()
    assert session.submission.read_bytes() == written
    assert list(test.columns) == ["blue", "green", "red"]
    assert np.allclose(test.sum(axis=1), 1, atol=1e-5)
    assert list(test.index) == list(pd.read_csv(session.submission)["id"])
    valid = session.validated()
    labels = pd.read_csv(session.workspace.data("shades") / "train.csv").set_index("id")["colour"][valid.index]
    assert session.most_confused()["count"].sum() == (labels != valid.idxmax(axis=1)).sum() > 0
    table = session.top_losses().set_index("id")
    chances = pd.Series({id_: valid.loc[id_, labels[id_]] for id_ in valid.index})
    assert table["probability"].to_dict() == pytest.approx(chances.to_dict())
    assert table["label"].to_dict() == labels.to_dict()
    assert all(path.stem == id_ and path.is_file() for id_, path in table["path"].items())


def test_a_session_is_diagnosed_by_the_stages_that_it_trained(predicted, comp, capsys):
    predicted.diagnose()
    said = capsys.readouterr().out
    assert "recorded" not in said, "nothing is missing of the one epoch that was wanted"
    assert comp("diagnose", predicted.run.folder).out == said


@pytest.mark.parametrize(
    ("choices", "kind", "says"),
    [
        ({"name": "shade"}, DeclarationError, "There is no competition 'shade'"),
        ({"name": Competition}, OverrideError, "competition.py"),
        ({"recipe": "fast"}, OverrideError, "has no recipe 'fast'"),
        ({"settings": ["batch_size=many"]}, OverrideError, "`batch_size` is 'many'"),
        ({"settings": "batch_size=32"}, OverrideError, r"a list, like \['batch_size=32'\]"),
        ({"folds": 3}, OverrideError, "give fold=1 to 3"),
        ({"folds": 3, "fold": 4}, OverrideError, "--fold is 4"),
        ({"like": "shades/none"}, RunError, "There is no run 'shades/none'"),
        ({"recipe": ["standard"]}, OverrideError, "`recipe` is"),
    ],
)
def test_a_choice_that_can_t_be_is_said_when_the_session_is_made(shades, choices, kind, says):
    with pytest.raises(kind, match=says):
        Session(**{"name": "shades", "competitions": [str(shades.plugins)], **choices})


def test_a_recipe_of_one_s_own_is_trained_and_its_run_is_predicted_by_the_command(open_session, on_shades):
    session = open_session(
        recipe=Recipe(backbone="test_resnet", pretrained=False, stages=[Stage(size=16, train="head")])
    )
    session.fit(size=16, learning_rate=1e-2)
    session.predict()
    assert session.run.record("config")["recipe_name"] == "own"
    assert on_shades("predict", session.run.folder).status == 0


def test_a_fold_and_what_a_run_before_found_are_taken(open_session):
    first = open_session(folds=3, fold=2)
    assert len(first.prepared.validating) == 12
    first.fit(Stage(size=16, train="head", learning_rate=3e-3))
    first.predict()
    like = open_session(like="shades/standard-1", all_data=True)
    assert [stage.learning_rate for stage in like.stages] == [3e-3]
    like.fit(like.stages[0])
    assert len(like.predict()) == 12
    assert like.most_confused().empty
    assert like.top_losses().empty
