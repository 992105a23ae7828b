import re
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest

from comp.console import Console
from comp.errors import OverrideError
from comp.runs import find_run, list_runs
from comp.tools import ensembles
from comp.tools.ensembles import join
from comp.tools.ensembles.methods import METHODS
from comp.tools.ensembles.weights import mean_of_logits
from tests.conftest import declaring
from tests.tools.ensembles.conftest import HALF, predictions, refusal, refused_where_they_differ


def ensemble(made, runs, how=None):
    return ensembles.ensemble(made.competition, runs, made.workspace, Console(), how)


@pytest.mark.parametrize(("how", "parts"), [("mean", ("valid", "test")), ("weights", ("test",))])
def test_predictions_are_combined_by_the_weights_that_are_recorded(made, how, parts):
    members = [made.run(HALF, seed=seed, knows=knows) for seed, knows in ((1, 0.1), (2, 0.15))]
    run = ensemble(made, members, how)
    weights = np.array(run.record("scores")["methods"][how]["weights"])
    assert weights.sum() == pytest.approx(1)
    assert weights[1] > weights[0] >= 0 or how == "mean"
    for part in parts:
        found = predictions(run, part)
        of_members = np.stack([predictions(member, part).loc[found.index].to_numpy() for member in members])
        expected = of_members.mean(axis=0) if how == "mean" else mean_of_logits(of_members, "single", weights)
        assert np.allclose(found, expected)
    assert dict(run.split()) == dict(members[0].split())
    assert set(predictions(run, "valid").index) == members[0].validating()


@pytest.mark.parametrize("parts", [HALF, ["train"] * 36], ids=["scored", "with no image that validates"])
def test_runs_are_combined_by_weights_of_ones_own(made, parts):
    members = [made.run(parts, seed=seed, postprocessing={"kind": "MostProbable"}) for seed in (1, 2)]
    run = ensemble(made, members, "3,1")
    first, second = (predictions(member, "test") for member in members)
    assert np.allclose(predictions(run, "test"), 0.75 * first + 0.25 * second)
    assert (run.record("config")["how"], run.record("scores")["how"]) == ("3,1", "3,1")


@pytest.mark.parametrize("how", ["median", "1", "1,1,1", "1,-1", "0,0", "1,nan", "1,inf", "1,"])
def test_weights_that_are_none_of_the_runs_are_refused(made, how):
    members = [made.run(HALF, seed=seed) for seed in (1, 2)]
    with pytest.raises(OverrideError, match=f"{re.escape(repr(how))}.*2 runs, like 2,1"):
        ensemble(made, members, how)


def test_weights_that_leave_one_run_alone_make_no_copy_of_it(made, capsys):
    members = [made.run(HALF, seed=1, knows=0), made.run(HALF, seed=2, knows=50)]
    before = len(list_runs(made.workspace))
    assert ensemble(made, members, "weights").name == members[1].name
    assert len(list_runs(made.workspace)) == before
    assert f"{members[1].name} all the weight" in capsys.readouterr().out


def test_every_run_and_every_method_is_scored_and_the_gain_is_over_the_best_run(made, capsys):
    members = [made.run(HALF, seed=seed, knows=knows) for seed, knows in ((1, 0.1), (2, 0.12), (3, 0.1))]
    run = ensemble(made, members)
    scores = run.record("scores")
    assert [one["run"] for one in scores["members"]] == [member.name for member in members]
    assert [one["tuned"] for one in scores["members"]] == [member.record("scores")["tuned"] for member in members]
    assert list(scores["methods"]) == [*METHODS]
    assert scores["tuned"] == max(method["tuned"] for method in scores["methods"].values())
    best = max(one["tuned"] for one in scores["members"])
    assert scores["gain"] == pytest.approx(scores["tuned"] - best)
    assert next(one for one in scores["members"] if one["run"] == scores["best_run"])["tuned"] == best
    log = run.log.read_text()
    assert log == capsys.readouterr().out
    assert [line.split()[0] for line in log.splitlines()[2:11]] == [*(member.name for member in members), *METHODS]
    assert re.search(rf"{abs(scores['gain']):.5f} (better|worse) \(± {scores['gain_error']:.5f}", log.splitlines()[-2])
    assert 0.02 < scores["gain_error"] < 0.3


TAGS = """
    labels=CsvLabels("t.csv", image="id", label="tags", separator=" ", folder="train", suffix=".png", group="place"),
    test=TestImages("test", suffix=".png"), submission=TagNames(" "), metric="mean_f2\""""


def test_tags_are_combined_by_every_method_and_their_thresholds_tuned(make, predicting):
    made = make(declaring(TAGS, 'stages=[Stage(size=16, train="head")]'))
    tags = ["bright", "bright red", "red", "dark"]
    for number in range(48):
        made.image(f"{'train' if number < 40 else 'test'}/x{number:02}.png", "red", size=4)
    rows = [f"x{number:02},{tags[number * 7 % 4]},{number // 4}" for number in range(40)]
    made.text("t.csv", ["id,tags,place", *rows])
    made.text("sample_submission.csv", ["id,tags", *(f"x{number},dark" for number in range(40, 48))])
    world = predicting(made)
    parts = np.where(np.arange(40) % 8 < 4, "valid", "train")
    members = [world.run(parts, seed=seed, knows=knows) for seed, knows in ((1, 0.3), (2, 0.6))]
    run = ensemble(world, members, "ranks")
    scores = run.record("scores")
    assert scores["postprocessing"]["kind"] == "Thresholds"
    assert list(scores["methods"]) == [*METHODS]
    assert run.submission.is_file()
    assert predictions(run, "valid").to_numpy().max() <= 1


def test_joined_runs_and_ensembles_are_combined_again_and_joined_folds_cross_fit_the_weights(made):
    joined = [join(made.competition, made.folds(3, seed=seed, knows=0.4), made.workspace, Console()) for seed in (1, 2)]
    first = ensemble(made, joined)
    assert dict(first.split()) == dict(joined[0].split())
    assert first.record("config")["folds"] == 3
    second = ensemble(made, [first, joined[0]], "mean")
    assert second.members == ("shades/ensemble-1", "shades/standard-3folds-1")
    assert second.record("scores")["rows"] == 36
    assert find_run(made.workspace, "shades") == second


def test_of_methods_that_score_the_same_the_simplest_is_taken_and_a_shared_seed_is_recorded(made):
    members = [made.run(HALF, seed=seed, knows=9) for seed in (1, 1, 2)]
    run = ensemble(made, members[:2])
    assert run.record("config")["seed"] == 1
    scores = run.record("scores")
    assert [method["tuned"] for method in scores["methods"].values()] == [1] * 6
    assert (scores["how"], scores["gain"]) == ("mean", 0)
    assert ensemble(made, members[1:]).record("config")["seed"] is None


def test_runs_on_all_data_are_combined_as_said_with_the_post_processing_that_they_share_but_not_compared(made, capsys):
    shared = {"kind": "MostProbable"}
    members = [made.run(["train"] * 36, seed=seed, postprocessing=shared) for seed in (1, 2)]
    for how in (None, "ranks", "weights"):
        assert "--how mean" in refusal(ensembles.ensemble, made, members, how)
    run = ensemble(made, members, "mean")
    scores = run.record("scores")
    assert ("tuned" in scores, scores["postprocessing"]) == (False, shared)
    assert "there is no score" in capsys.readouterr().out
    assert len(pd.read_csv(run.submission)) == 12
    again = ensemble(made, [run, members[0]], "mean")
    assert ensemble(made, [again, run], "mean").record("scores")["postprocessing"] == shared
    other = made.run(["train"] * 36, postprocessing=None)
    assert "--like" in refusal(ensembles.ensemble, made, [*members, other], "mean")


def test_runs_whose_validation_images_or_folds_differ_are_refused(made):
    first, other = made.run(HALF), made.run(HALF[::-1])
    said = refusal(ensembles.ensemble, made, [first, other])
    assert "shades/standard-2 has other validation images or folds than shades/standard-1: 36 images" in said
    assert "'t00', which validates in the one and trains in the other" in said
    joined = join(made.competition, made.folds(3), made.workspace, Console())
    dealt = np.arange(36) % 3
    dealt[[4, 5]] = dealt[[5, 4]]
    again = join(made.competition, made.folds(3, dealt=dealt), made.workspace, Console())
    said = refusal(ensembles.ensemble, made, [joined, again])
    assert "2 images differ, the first 't04', which validates in fold 3 in the one and validates in fold 2" in said
    assert "other validation images or folds" in refusal(ensembles.ensemble, made, [joined, first])


def test_runs_on_other_data_are_told_in_what_they_differ(made):
    differ_in = partial(refused_where_they_differ, ensembles.ensemble, made, [made.run(HALF), made.run(HALF)])
    differ_in({"classes": ["blue", "green", "pink"]}, "classes")
    differ_in({"predicted_data": "beef"}, "predicted_data (beef and cafe)")
    differ_in({"competition": "planet"}, "competition (planet and shades)")


def test_runs_of_earlier_versions_are_combined_where_all_their_data_are_the_same(made):
    first, second, other = (
        made.run(HALF),
        made.run(HALF),
        made.run(HALF, data={"train": 36, "test": 12, "fingerprint": "beef"}),
    )
    for run in (first, other):
        run.write_record("config", {k: v for k, v in run.record("config").items() if k != "predicted_data"})
    assert ensemble(made, [first, second], "mean").record("config")["data"]["fingerprint"] == "f00d"
    for some in ([first, other], [second, other]):
        assert "data.fingerprint" in refusal(ensembles.ensemble, made, some)


def test_one_run_and_runs_that_predicted_other_images_are_refused(made):
    first, second = made.run(HALF), made.run(HALF)
    assert "two runs or more" in refusal(ensembles.ensemble, made, [first])
    assert "shades/standard-1 is named twice" in refusal(ensembles.ensemble, made, [first, first])
    for part, says in (("valid", "predicted 17 validation images"), ("test", "predicted 11 test images")):
        whole = pd.read_parquet(second.predictions(part))
        whole.iloc[1:].to_parquet(second.predictions(part), index=False)
        assert refusal(ensembles.ensemble, made, [first, second]).startswith(f"shades/standard-2 {says}")
        whole.to_parquet(second.predictions(part), index=False)


def test_an_image_that_came_since_is_named(made):
    members = [made.run(HALF, seed=seed) for seed in (1, 2)]
    folder = made.workspace.data("shades")
    (folder / "train" / "t99.png").write_bytes((folder / "train" / "t00.png").read_bytes())
    with (folder / "train.csv").open("a") as file:
        file.write("t99,red\n")
    assert "split of shades/standard-1 lacks 1 labelled image, the first 't99'" in refusal(
        ensembles.ensemble, made, members
    )


@pytest.mark.parametrize(
    ("failing", "failure"),
    [("keep_predictions", OSError(28, "No space left on device")), ("keep_submission", KeyboardInterrupt())],
)
def test_an_ensemble_that_can_t_be_completed_leaves_nothing(made, monkeypatch, failing, failure):
    members = [made.run(HALF, seed=seed) for seed in (1, 2)]

    def fail(*_):
        raise failure

    monkeypatch.setattr(f"comp.tools.ensembles.combining.{failing}", fail)
    with pytest.raises(type(failure)):
        ensemble(made, members)
    assert sorted(path.name for path in (made.workspace.runs / "shades").iterdir()) == ["standard-1", "standard-2"]


def test_postprocess_is_applied_once_to_what_is_blended(made):
    def doubted(table):
        return (table + 1) / 4

    ruled = replace(made.competition, postprocess=doubted)
    members = [made.run(HALF, seed=seed) for seed in (1, 2)]
    blended = ensembles.ensemble(ruled, members, made.workspace, Console(), "mean")
    raw = sum(predictions(member, "test") for member in members) / 2
    assert np.allclose(predictions(blended, "test"), (raw + 1) / 4)
    again = ensembles.ensemble(ruled, [blended, members[0]], made.workspace, Console(), "mean")
    raw = (raw + predictions(members[0], "test")) / 2
    assert np.allclose(predictions(again, "test"), (raw + 1) / 4)
    (rule, _) = again.record("scores")["postprocess"]
    assert "doubted" in rule["function"]
