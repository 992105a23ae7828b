from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from comp import runner
from comp.console import Console
from comp.data.splitting import draw_folds
from comp.declare.forms import ProbabilityPerClass
from comp.errors import RunError
from comp.runs import find_run, list_runs
from comp.runs.resolve import Choices
from comp.tools.ensembles.joining import join


def csv(path):
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def predictions(run, part):
    return pd.read_parquet(run.predictions(part)).set_index("id")


@pytest.fixture
def made(predicting, shades):
    return predicting(shades)


@pytest.fixture
def joined(made):
    """Three folds of `shades`, given in any order, and the run that they become."""
    members = made.folds(3)
    return members, join(made.competition, [members[place] for place in (2, 0, 1)], made.workspace, Console())


def refusal(made, runs):
    before = list_runs(made.workspace)
    with pytest.raises(RunError) as raised:
        join(made.competition, runs, made.workspace, Console())
    assert list_runs(made.workspace) == before
    assert len(list((made.workspace.runs / "shades").iterdir())) == len(before)
    said = str(raised.value)
    assert said.endswith(".")
    return said


def test_every_labelled_row_is_predicted_by_the_fold_it_validated_in(made, joined):
    members, run = joined
    whole = predictions(run, "valid")
    assert list(whole.index) == list(made.tables.train["id"])
    for member in members:
        of_fold = predictions(member, "valid")
        assert whole.loc[of_fold.index].equals(of_fold)


def test_test_predictions_are_the_mean_of_the_folds(made, joined):
    members, run = joined
    mean = sum(predictions(member, "test") for member in members) / 3
    assert list(predictions(run, "test").index) == list(made.tables.test["id"])
    assert np.allclose(predictions(run, "test"), mean)
    submission = csv(run.submission)
    assert list(submission["id"]) == list(made.tables.sample_submission.ids)
    assert list(submission["colour"]) == list(mean.loc[submission["id"]].idxmax(axis=1))


def test_the_split_names_the_fold_of_every_row(made, joined):
    members, run = joined
    parts = run.parts()
    assert list(parts) == list(made.tables.train["id"])
    assert set(parts.values()) == {"1", "2", "3"}
    for fold, member in enumerate(members, start=1):
        assert {id_ for id_, part in parts.items() if part == str(fold)} == member.validating()
    assert run.validating() == set(parts)


def test_scores_are_of_each_fold_their_mean_and_spread_and_of_all_rows(made, joined):
    members, run = joined
    scores = run.record("scores")
    of_folds = [member.record("scores") for member in members]
    assert [fold["run"] for fold in scores["folds"]] == [member.name for member in members]
    assert [fold["untuned"] for fold in scores["folds"]] == [fold["untuned"] for fold in of_folds]
    assert scores["mean"]["untuned"] == pytest.approx(np.mean([fold["untuned"] for fold in of_folds]))
    assert scores["standard_deviation"]["untuned"] == pytest.approx(np.std([fold["untuned"] for fold in of_folds]))
    right = predictions(run, "valid").idxmax(axis=1).to_numpy() == made.tables.train["label"].to_numpy()
    assert (scores["rows"], scores["tuned"]) == (36, pytest.approx(right.mean()))


def test_the_table_of_scores_is_printed_and_logged(made, capsys):
    run = join(made.competition, made.folds(3), made.workspace, Console())
    log = run.log.read_text()
    assert log == capsys.readouterr().out
    scores = run.record("scores")
    assert f"{scores['mean']['tuned']:.5f} ± {scores['standard_deviation']['tuned']:.5f}" in log
    assert [line.split()[0] for line in log.splitlines()[2:5]] == ["1", "2", "3"]


def test_the_config_names_the_members_and_what_they_share(joined):
    members, run = joined
    config, of_member = run.record("config"), members[0].record("config")
    assert run.members == tuple(member.name for member in members)
    assert (config["kind"], config["folds"], config["seed"]) == ("folds", 3, 0)
    for field in ("competition", "classes", "recipe_name", "data"):
        assert config[field] == of_member[field]


def test_a_joined_run_is_whole_without_weights_and_is_the_newest_finished(made, joined):
    _, run = joined
    assert run.name == "shades/standard-3folds-1"
    found = {str(path.relative_to(run.folder)) for path in run.folder.rglob("*") if path.is_file()}
    files = {"config.json", "split.csv", "scores.json", "submission.csv", "log.txt"}
    assert found == files | {"predictions/valid.parquet", "predictions/test.parquet"}
    assert find_run(made.workspace, "shades") == run


def test_post_processing_is_tuned_on_the_out_of_fold_rows_of_all_folds(made):
    competition = replace(made.competition, metric="log_loss", submission=ProbabilityPerClass())
    columns = ",".join(made.tables.classes)
    sample = made.workspace.data("shades") / "sample_submission.csv"
    sample.write_text(f"id,{columns}\n" + "".join(f"{id_},0,0,1\n" for id_ in made.tables.test["id"]))
    run = join(competition, made.folds(3, knows=0.1), made.workspace, Console())
    scores = run.record("scores")
    assert scores["tuned"] <= scores["untuned"]
    assert scores["tuned"] == pytest.approx(np.mean([fold["tuned"] for fold in scores["folds"]]))


def test_folds_that_were_trained_go_to_the_leaderboard_together(shades, serving, workspace):
    choices = Choices()
    members = []
    with serving(shades):
        runner.download(shades.competition, workspace, Console())
        for fold in range(3):
            run = runner.train(shades.competition, choices, workspace, Console())
            ids = list(run.parts())
            folds = draw_folds(np.arange(len(ids)) % 3, 3, seed=0)
            run.write_split(ids, folds == fold)
            run.write_record("config", {**run.record("config"), "folds": 3, "fold": fold + 1})
            runner.predict(shades.competition, run, workspace, Console())
            members.append(run)
        joined = join(shades.competition, members, workspace, Console())
        graded = runner.submit(shades.competition, joined, workspace, Console())
    assert joined.record("scores")["tuned"] > 0.8
    assert graded.public_score > 0.8
    with pytest.raises(RunError, match=r"blend of other runs and has no weights.*predict shades/standard-1, "):
        runner.predict(shades.competition, joined, workspace, Console())


def test_a_missing_fold_is_named(made):
    members = made.folds(5)
    assert refusal(made, members[:2] + members[3:]).startswith(
        "Of 5 folds, 3 is missing; train with --folds 5 --fold 3"
    )
    assert refusal(made, members[:3]).startswith("Of 5 folds, 4, 5 are missing")


def test_two_runs_of_one_fold_are_named(made):
    members, again = made.folds(2), made.folds(2)
    assert refusal(made, [*members, again[1]]).startswith("shades/standard-2 and shades/standard-4 are both fold 2")
    assert refusal(made, [*members, members[0]]) == "The run shades/standard-1 is named twice; name each run once."


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"seed": 4}, "differ in seed (4 and 0)"),
        ({"folds": 4}, "differ in folds (4 and 2)"),
        ({"recipe_name": "quick"}, "differ in recipe_name (quick and standard)"),
        ({"recipe": {"backbone": "resnet18"}}, "differ in recipe.backbone (resnet18 and test_resnet)"),
        (
            {"recipe": {"backbone": "test_resnet", "stages": [{"size": 32, "train": "head"}]}},
            "differ in recipe.stages.1.size (32 and 16)",
        ),
        ({"classes": ["blue", "red"]}, "differ in classes"),
        ({"data": {"train": 36, "test": 12, "fingerprint": "beef"}}, "differ in data.fingerprint (beef and f00d)"),
        ({"competition": "planet"}, "differ in competition (planet and shades)"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_folds_of_another_training_are_told_in_what_they_differ(made, changed, says):
    first, second = made.folds(2)
    second.write_record("config", {**second.record("config"), **changed})
    said = refusal(made, [first, second])
    assert said.startswith("shades/standard-2 and shades/standard-1 ")
    assert says in said


def test_a_run_that_is_no_fold_is_named(made):
    whole = made.run(np.where(np.arange(36) < 9, "valid", "train"))
    assert refusal(made, [whole, *made.folds(2)]).startswith("shades/standard-1 is not one fold of a training")


def test_a_fold_without_predictions_is_named(made):
    first, second = made.folds(2)
    second.predictions("test").unlink()
    assert refusal(made, [first, second]) == (
        "The run shades/standard-2 has no predictions; make them with `comp predict shades/standard-2`."
    )
    second.predictions("test").write_bytes(b"PAR1")
    assert "test.parquet can't be read" in refusal(made, [first, second])


def test_folds_that_overlap_or_leave_rows_out_are_refused(made):
    first, second = made.folds(2, dealt=np.arange(36) % 3)
    assert "'t02' did in 0 of them" in refusal(made, [first, second])
    overlapping = made.run(["valid"] * 36, folds=2, fold=2)
    assert "'t00' did in 2 of them" in refusal(made, [first, overlapping])


def test_data_that_changed_since_is_refused(made):
    members = made.folds(2)
    sample = made.workspace.data("shades") / "sample_submission.csv"
    sample.write_text("\n".join(sample.read_text().splitlines()[:6]) + "\n")
    assert "predicted 12 test images, which are not the 5 that the sample submission asks for" in refusal(made, members)
    table = made.workspace.data("shades") / "train.csv"
    table.write_text(table.read_text().replace("blue", "red"))
    assert "trained on other classes" in refusal(made, members)


def test_joining_nothing_is_refused(made):
    (made.workspace.runs / "shades").mkdir(parents=True)
    assert "no runs to join" in refusal(made, [])
