import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from comp import runner
from comp.console import Console
from comp.declare.competition import REPOSITORY_COMPETITIONS, competition_named
from comp.errors import BackboneError, OverrideError, RunError
from comp.runs import Run, Workspace
from comp.runs.choices import Choices
from comp.training import predicting

TINY = ("stages.size=16", "stages.cycles=1", "stages.cycle_length=4", "tta_views=2")
DIGITS = competition_named("digits", REPOSITORY_COMPETITIONS)


def choices(*settings, **others):
    return Choices(**{"recipe": "quick", "backbone": "test_resnet", "settings": (*TINY, *settings), **others})


def csv(path):
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def predictions(run, part):
    return pd.read_parquet(run.predictions(part)).set_index("id")


@pytest.fixture(scope="module")
def whole(downloaded_digits, few_digits, tmp_path_factory):
    """A run of few digits with every step, and its workspace; both are read-only."""
    workspace = few_digits(Workspace(tmp_path_factory.mktemp("whole")))
    shutil.copytree(downloaded_digits.cache / "local-kaggle", workspace.cache / "local-kaggle")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(workspace.folder))
        return runner.run(DIGITS, choices(), workspace, Console(), submitting=True), workspace


@pytest.fixture
def again(whole, tmp_path):
    """A writable copy of `whole`'s run and workspace."""
    run, workspace = whole
    copied = Workspace(shutil.copytree(workspace.folder, tmp_path / "copy"))
    return Run(copied.runs / run.competition / run.folder.name), copied


def test_a_run_has_everything_that_its_training_produced_and_its_config_what_was_chosen(whole):
    run, _ = whole
    found = {str(path.relative_to(run.folder)) for path in run.folder.rglob("*") if path.is_file()}
    assert found == {
        *("config.json", "split.csv", "trained.json", "history.csv", "epochs.csv", "stages.csv", "log.txt"),
        *("checkpoints/model.safetensors", "predictions/valid.parquet", "predictions/test.parquet"),
        *("scores.json", "submission.csv", "submitted.json", "report.html"),
    }
    config = run.record("config")
    assert (config["recipe_name"], config["seed"], config["settings"]) == ("quick", 0, list(TINY))
    assert (config["recipe"]["backbone"], config["classes"]) == ("test_resnet", list("0123456789"))
    assert [stage["size"] for stage in config["recipe"]["stages"]] == [16, 16]


def test_the_submission_names_the_most_probable_class_of_each_id_in_the_sample_s_order(whole):
    run, workspace = whole
    sample, submission = csv(workspace.data("digits") / "sample_submission.csv"), csv(run.submission)
    assert list(submission.columns) == list(sample.columns)
    assert list(submission["id"]) == list(sample["id"])
    assert list(submission["label"]) == list(predictions(run, "test").idxmax(axis=1)[submission["id"]])
    assert submission["label"].nunique() > 5


def test_the_leaderboard_s_score_is_the_share_of_hidden_answers_that_the_submission_has(whole):
    run, workspace = whole
    answers = csv(workspace.cache / "local-kaggle" / "files" / ".answers" / "digits.csv")
    right = (answers.merge(csv(run.submission), on="id").eval("label_x == label_y")).mean()
    submitted = run.record("submitted")
    assert submitted["status"] == "complete"
    assert submitted["score"] == pytest.approx(right, abs=1e-5)
    assert right > 0.6


def test_predictions_are_probabilities_by_id_and_the_recorded_score_is_theirs(whole):
    run, workspace = whole
    valid, test = predictions(run, "valid"), predictions(run, "test")
    assert set(valid.index) == run.validating()
    assert set(test.index) == set(csv(workspace.data("digits") / "sample_submission.csv")["id"])
    for frame in (valid, test):
        assert frame.index.is_unique
        assert list(frame.columns) == list("0123456789")
        assert np.allclose(frame.sum(axis=1), 1, atol=1e-5)
    labels, chosen = csv(workspace.data("digits") / "train.csv").set_index("id")["label"], valid.idxmax(axis=1)
    scores = run.record("scores")
    assert scores["rows"] == len(chosen)
    assert scores["tuned"] == pytest.approx((chosen == labels[chosen.index]).mean())


def test_the_log_has_the_lines_that_were_printed(whole):
    log = whole[0].log.read_text()
    for beginning in ("digits: ", "stage 1 of 2", "stage 2 of 2", "validation accuracy", "wrote ", "leaderboard: "):
        assert any(line.startswith(beginning) for line in log.splitlines()), beginning
    # The page is written again with the score, but announced once.
    assert log.count("report.html") == 1


def test_predicting_again_gives_each_id_the_same_in_the_order_of_the_sample_and_for_its_rows_alone(again):
    run, workspace = again
    sample = workspace.data("digits") / "sample_submission.csv"
    before, probabilities = csv(run.submission), predictions(run, "test")
    shuffled = csv(sample).sample(frac=1, random_state=1)
    for asked in (shuffled, shuffled[5:15]):
        asked.to_csv(sample, index=False)
        runner.predict(DIGITS, run, workspace, Console())
        after = csv(run.submission)
        assert list(after["id"]) == list(asked["id"]) != sorted(asked["id"])
        if asked is shuffled:
            assert after.sort_values("id", ignore_index=True).equals(before.sort_values("id", ignore_index=True))
            assert predictions(run, "test").loc[probabilities.index].equals(probabilities)


def test_a_run_whose_augmented_views_lose_is_predicted_without_them(again, monkeypatch):
    run, workspace = again
    whole = predicting.predict_logits

    def spoilt(*given):
        found = whole(*given)
        # The opposite in all views but the plain one.
        return [np.concatenate([part[:, :1], -9 * part[:, 1:]], axis=1) for part in found]

    monkeypatch.setattr(predicting, "predict_logits", spoilt)
    runner.predict(DIGITS, run, workspace, Console())
    scores = run.record("scores")
    assert (scores["tta_used"], scores["tuned"]) == (False, scores["plain"])
    assert scores["tta"] < scores["plain"]
    submitted = run.submission.read_bytes()
    # A notebook at Kaggle predicts other test images in the same way.
    predicting.predict_test_images(DIGITS, run, workspace, Console())
    assert run.submission.read_bytes() == submitted


def test_a_run_on_other_classes_or_without_a_submission_is_not_predicted_or_submitted(again):
    run, workspace = again
    run.submission.unlink()
    with pytest.raises(RunError, match=r"no submission\.csv.*comp predict digits/quick-1"):
        runner.submit(DIGITS, run, workspace, Console())
    table = workspace.data("digits") / "train.csv"
    table.write_text(table.read_text().replace(",9\n", ",8\n"))
    with pytest.raises(RunError, match="trained on other classes"):
        runner.predict(DIGITS, run, workspace, Console())


@pytest.mark.long
def test_the_same_command_with_the_same_seed_gives_the_same_bytes_in_another_process(shades, serving, comp, tmp_path):
    """In a process that is not forked, as it has another hash seed."""
    command = ["--competitions", shades.plugins, "run", "shades", "--set", "stages.cycle_length=1"]
    with serving(shades) as url:
        folders = [Path(comp(*command).last_line)]
        environment = {**os.environ, "COMP_HOME": str(tmp_path / "other"), "COMP_KAGGLE_URL": url}
        arguments = [sys.executable, "-m", "comp", *map(str, command)]
        ended = subprocess.run(arguments, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True)
    folders.append(Path(ended.stdout.splitlines()[-1]))
    assert folders[1] == tmp_path / "other" / "runs" / "shades" / "standard-1"
    for name in ("submission.csv", "split.csv", "history.csv", "predictions/test.parquet"):
        one, other = ((folder / name).read_bytes() for folder in folders)
        assert one == other, name


def test_another_seed_draws_another_split_and_other_weights(shades, serving, workspace):
    competition, console = shades.competition, Console()
    with serving(shades):
        runner.download(competition, workspace, console)
    first, other = (
        runner.train(competition, Choices(seed=seed, settings=("stages.cycle_length=1",)), workspace, console)
        for seed in (0, 1)
    )
    assert first.validating() != other.validating()
    assert first.weights.read_bytes() != other.weights.read_bytes()


def test_with_all_data_no_row_validates_and_every_row_trains(shades, serving, workspace):
    with serving(shades):
        run = runner.run(shades.competition, Choices(all_data=True), workspace, Console(), submitting=True)
    assert set(csv(run.folder / "split.csv")["part"]) == {"train"}
    assert set(csv(run.folder / "epochs.csv")["valid_loss"]) == {""}
    scores = run.record("scores")
    assert scores["rows"] == 0
    assert "tuned" not in scores
    assert len(predictions(run, "valid")) == 0
    assert len(csv(run.submission)) == 12
    assert run.record("submitted")["score"] > 0.5


def test_a_head_on_cached_features_predicts_from_the_cache_but_not_an_image_that_changed(
    shades, serving, workspace, capsys
):
    shades.image("test/q99.png", "red")
    with serving(shades):
        run = runner.run(shades.competition, Choices(), workspace, Console())
    assert "as the sample submission lacks them: 1 test image" in capsys.readouterr().out
    assert "q99" not in run.submission.read_text()
    assert "q99" not in predictions(run, "test").index
    cached, before = sorted((workspace.cache / "features").iterdir()), run.submission.read_bytes()
    runner.predict(shades.competition, run, workspace, Console())
    printed = capsys.readouterr().out
    # The stage cached one view and prediction takes two, in which only the validation rows' features were computed.
    assert "features of 7 images at 16 px: found in the cache" in printed
    assert "changed since" not in printed
    assert "features of 12 images at 16 px: found in the cache" in printed
    assert sorted((workspace.cache / "features").iterdir()) == cached
    assert run.submission.read_bytes() == before
    colour = csv(run.submission).set_index("id")["colour"]
    other = workspace.data("shades") / "test" / ("q01.png" if colour["q00"] != colour["q01"] else "q03.png")
    shutil.copy(other, workspace.data("shades") / "test" / "q00.png")
    runner.predict(shades.competition, run, workspace, Console())
    printed = capsys.readouterr().out
    assert "features of 12 images at 16 px: found in the cache" not in printed
    assert "images or labels changed since" in printed
    after = predictions(run, "test")
    assert after.loc["q00"].tolist() == pytest.approx(after.loc[other.stem].tolist(), abs=1e-5)


def test_a_cached_head_and_then_the_whole_network_train_in_one_run(shades, serving, workspace):
    source = shades.declaration.read_text()
    shades.declaration.write_text(
        source.replace(
            "stages=[",
            "tta='random', tta_views=2, stages=[Stage(size=24, train='all', cycles=2, learning_rate=1e-3), "
            "Stage(size=16, train='head', learning_rate=1e-2), ",
        ).replace("cycle_length=8", "views=3, schedule='one_cycle', cycle_length=4")
    )
    with serving(shades):
        run = runner.run(shades.competition, Choices(), workspace, Console())
    history, epochs = csv(run.folder / "history.csv"), csv(run.folder / "epochs.csv")
    assert list(epochs["stage"]) == ["1", "1", "2", "3", "3", "3", "3"]
    assert list(epochs["cycle"]) == ["1", "2", "1", "1", "1", "1", "1"]
    # 29 images in batches of 8; cached features are one batch.
    assert list(history["stage"]) == list(epochs["stage"].repeat([3, 3, 3, 1, 1, 1, 1]))
    assert (history["lr_early"] != "").tolist() == (history["stage"] == "1").tolist()
    assert len(list((workspace.cache / "features").iterdir())) >= 1
    assert run.predicted


def test_what_can_t_be_is_refused_before_anything_is_downloaded(workspace):
    for refused, error, says in (
        (choices("batch_size=many"), OverrideError, "batch_size"),
        (choices("stages.2.size=50", backbone="test_vit"), BackboneError, r"Stage 2.* 50 pixels"),
    ):
        with pytest.raises(error, match=says):
            runner.run(DIGITS, refused, workspace, Console())
    assert not workspace.data("digits").exists()
    assert not workspace.runs.exists()


def test_each_of_several_runs_has_the_time_for_itself(shades, workspace, monkeypatch):
    ended = []

    def in_one(trainings, *_):
        assert trainings.began >= max(ended, default=0)
        ended.append(time.monotonic())
        return SimpleNamespace(reported=True)

    monkeypatch.setattr(runner, "download", lambda *_, **__: None)
    monkeypatch.setattr("comp.tools.several.Trainings.in_one", in_one)
    runner.run_each(
        shades.competition, [Choices(seed=seed, folds=2, time=9.0) for seed in (0, 1)], workspace, Console()
    )
    assert len(ended) == 2


def test_a_seed_for_the_split_that_is_the_seed_says_nothing_more():
    assert choices(seed=3, split_seed=3) == choices(seed=3)
    assert choices(seed=3, split_seed=4).options()[-2:] == ["--split-seed", "4"]
