from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest

from comp.console import Console
from comp.declare.forms import ProbabilityPerClass
from comp.runs import find_run
from comp.tools import ensembles
from tests.tools.ensembles.conftest import HALF, predictions, refusal, refused_where_they_differ


def join(made, runs):
    return ensembles.join(made.competition, runs, made.workspace, Console())


@pytest.fixture
def joined(made):
    """Three folds of `shades`, passed out of order, and their joined run."""
    members = made.folds(3)
    return members, join(made, [members[index] for index in (2, 0, 1)])


def test_labelled_images_are_predicted_by_the_fold_they_validated_in_and_test_images_by_the_mean_of_all(made, joined):
    members, run = joined
    whole, parts = predictions(run, "valid"), dict(run.split())
    assert list(whole.index) == list(parts) == list(made.tables.train["id"])
    assert run.validating() == set(parts)
    for fold, member in enumerate(members, start=1):
        of_fold = predictions(member, "valid")
        assert whole.loc[of_fold.index].equals(of_fold)
        assert {id_ for id_, part in parts.items() if part == str(fold)} == member.validating()
    mean = sum(predictions(member, "test") for member in members) / 3
    assert list(predictions(run, "test").index) == list(made.tables.test["id"])
    assert np.allclose(predictions(run, "test"), mean)
    submission = pd.read_csv(run.submission, dtype=str)
    assert list(submission["id"]) == list(made.tables.sample_submission.ids)
    assert list(submission["colour"]) == list(mean.loc[submission["id"]].idxmax(axis=1))


def test_scores_are_of_each_fold_their_mean_and_spread_and_of_all_images(made, capsys):
    members = made.folds(3)
    run = join(made, members)
    scores = run.record("scores")
    of_folds = [member.record("scores")["untuned"] for member in members]
    assert [fold["run"] for fold in scores["folds"]] == [member.name for member in members]
    assert [fold["untuned"] for fold in scores["folds"]] == of_folds
    assert scores["mean"]["untuned"] == pytest.approx(np.mean(of_folds))
    assert scores["standard_deviation"]["untuned"] == pytest.approx(np.std(of_folds))
    right = predictions(run, "valid").idxmax(axis=1).to_numpy() == made.tables.train["label"].to_numpy()
    assert (scores["rows"], scores["tuned"]) == (36, pytest.approx(right.mean()))
    log = run.log.read_text()
    assert log == capsys.readouterr().out
    assert f"{scores['mean']['tuned']:.5f} ± {scores['standard_deviation']['tuned']:.5f}" in log
    assert [line.split()[0] for line in log.splitlines()[2:5]] == ["1", "2", "3"]


def test_a_joined_run_is_whole_without_weights_names_its_members_and_is_the_newest_finished(made, joined):
    members, run = joined
    assert run.name == "shades/standard-3folds-1"
    found = {str(path.relative_to(run.folder)) for path in run.folder.rglob("*") if path.is_file()}
    files = {"config.json", "split.csv", "scores.json", "submission.csv", "log.txt"}
    assert found == files | {"predictions/valid.parquet", "predictions/test.parquet"}
    assert find_run(made.workspace, "shades") == run
    config, of_member = run.record("config"), members[0].record("config")
    assert run.members == tuple(member.name for member in members)
    assert (config["kind"], config["folds"], config["seed"]) == ("folds", 3, 0)
    for field in ("competition", "classes", "recipe_name", "data"):
        assert config[field] == of_member[field]


def test_post_processing_is_tuned_on_the_out_of_fold_images_of_all_folds(made):
    competition = replace(made.competition, metric="log_loss", submission=ProbabilityPerClass())
    columns = ",".join(made.tables.classes)
    sample = made.workspace.data("shades") / "sample_submission.csv"
    sample.write_text(f"id,{columns}\n" + "".join(f"{id_},0,0,1\n" for id_ in made.tables.test["id"]))
    scores = join(replace(made, competition=competition), made.folds(3, knows=0.1)).record("scores")
    assert scores["tuned"] <= scores["untuned"]
    assert scores["tuned"] == pytest.approx(np.mean([fold["tuned"] for fold in scores["folds"]]))


def test_missing_and_doubled_folds_are_named(made):
    members, again = made.folds(5), made.folds(2)
    said = refusal(ensembles.join, made, members[:2] + members[3:])
    assert "3 of 5" in said
    assert "--fold 3" in said
    assert "4, 5 of 5" in refusal(ensembles.join, made, members[:3])
    said = refusal(ensembles.join, made, [*again, made.folds(2)[1]])
    assert "shades/standard-7 and shades/standard-9 are both fold 2" in said
    assert "shades/standard-1 is named twice" in refusal(ensembles.join, made, [*members, members[0]])
    assert "no runs" in refusal(ensembles.join, made, [])
    assert "shades/standard-10 is not one fold" in refusal(ensembles.join, made, [made.run(HALF), *again])


def test_folds_of_another_training_are_told_in_what_they_differ(made):
    differ_in = partial(refused_where_they_differ, ensembles.join, made, made.folds(2))
    differ_in({"seed": 4}, "seed (4 and 0)")
    differ_in({"folds": 4}, "folds (4 and 2)")
    differ_in({"recipe_name": "quick"}, "recipe_name (quick and standard)")
    larger = {"backbone": "test_resnet", "stages": [{"size": 32, "train": "head"}]}
    differ_in({"recipe": larger}, "recipe.stages.1.size (32 and 16)")
    differ_in({"data": {"train": 36, "test": 12, "fingerprint": "beef"}}, "data.fingerprint (beef and f00d)")
    differ_in({"teacher": {"run": "shades/blend", "predictions": "f00d"}}, "teacher.run (shades/blend and None)")


def test_a_fold_without_readable_predictions_is_named_with_the_command_that_makes_them(made):
    first, second = made.folds(2)
    second.predictions("test").unlink()
    assert "`comp predict shades/standard-2`" in refusal(ensembles.join, made, [first, second])
    second.predictions("test").write_bytes(b"PAR1")
    assert "test.parquet can't be read" in refusal(ensembles.join, made, [first, second])


def test_folds_that_overlap_or_leave_images_out_are_refused(made):
    first, second = made.folds(2, dealt=np.arange(36) % 3)
    assert "'t02' did in 0 of them" in refusal(ensembles.join, made, [first, second])
    overlapping = made.run(["valid"] * 36, folds=2, fold=2)
    assert "'t00' did in 2 of them" in refusal(ensembles.join, made, [first, overlapping])


@pytest.fixture
def extra(predicting, shades):
    """`shades`, in which every fourth image only trains."""
    head, *rows = (shades.files / "train.csv").read_text().splitlines()
    shades.text("train.csv", [f"{head},part", *(f"{row},{number % 4 and 1}" for number, row in enumerate(rows))])
    text = shades.declaration.read_text().replace("import ", "import WithExtra, ", 1)
    source = text[text.index('CsvLabels("') : text.index(",\n    test=")]
    parts = (f'{source[:-1]}, shared=True, where=["part", "{part}"])' for part in (1, 0))
    shades.declaration.write_text(text.replace(source, f"WithExtra({', '.join(parts)})"))
    return predicting(shades)


def test_images_that_only_train_are_in_no_fold_and_what_is_joined_and_combined_is_of_the_others(extra, capsys):
    rows = np.arange(36)
    dealt = np.where(rows % 4, rows % 3, -1)
    first, second = (join(extra, extra.folds(3, dealt=dealt, seed=seed, knows=0.4)) for seed in (1, 2))
    assert "but the 9 that only train" in capsys.readouterr().out
    parts = np.array([part for _, part in first.split()])
    assert np.array_equal(parts, np.where(dealt < 0, "train", (dealt + 1).astype(str)))
    assert first.validating() == set(predictions(first, "valid").index) == set(extra.tables.train["id"][dealt >= 0])
    assert [fold["rows"] for fold in first.record("scores")["folds"]] == [9, 9, 9]
    assert first.record("scores")["rows"] == 27
    both = ensembles.ensemble(extra.competition, [first, second], extra.workspace, Console(), "weights")
    assert dict(both.split()) == dict(first.split())
    assert both.record("scores")["rows"] == 27
    fewer = join(
        extra, extra.folds(3, dealt=dealt, seed=3, knows=0.4, data={**first.record("config")["data"], "train": 27})
    )
    fewer.write_split(*zip(*(row for row in fewer.split() if row[1] != "train"), strict=True))
    for some in ([first, fewer], [fewer, first]):
        both = ensembles.ensemble(extra.competition, some, extra.workspace, Console(), "mean")
        assert dict(both.split()) == dict(first.split())
    left_out = np.where(rows == 1, -1, dealt)
    assert "'t01' did in 0 of them" in refusal(ensembles.join, extra, extra.folds(3, dealt=left_out))


def test_data_that_changed_since_are_refused(made):
    members = made.folds(2)
    sample = made.workspace.data("shades") / "sample_submission.csv"
    sample.write_text("\n".join(sample.read_text().splitlines()[:6]) + "\n")
    said = refusal(ensembles.join, made, members)
    assert "12 test images" in said
    assert "5 that the sample submission" in said
    table = made.workspace.data("shades") / "train.csv"
    table.write_text(table.read_text().replace("blue", "red"))
    assert "other classes" in refusal(ensembles.join, made, members)
