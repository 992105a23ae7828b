import numpy as np
import pandas as pd
import pytest

from comp.console import Console
from comp.errors import RunError
from comp.runs import find_run, list_runs
from comp.tools.ensembles.ensembles import ensemble
from comp.tools.ensembles.joining import join


def predictions(run, part):
    return pd.read_parquet(run.predictions(part)).set_index("id")


@pytest.fixture
def made(predicting, shades):
    return predicting(shades)


HALF = np.where(np.arange(36) % 2, "valid", "train")


def blend(made, runs, how=None):
    return ensemble(made.competition, runs, made.workspace, Console(), how)


def refusal(made, runs, how=None):
    before = list_runs(made.workspace)
    with pytest.raises(RunError) as raised:
        blend(made, runs, how)
    assert list_runs(made.workspace) == before
    said = str(raised.value)
    assert said.endswith(".")
    return said


def test_the_plain_mean_is_that_of_both_parts(made):
    members = [made.run(HALF, seed=seed) for seed in (1, 2)]
    run = blend(made, members, "mean")
    for part in ("valid", "test"):
        mean = sum(predictions(member, part) for member in members) / 2
        assert np.allclose(predictions(run, part), mean.loc[predictions(run, part).index])
    assert run.parts() == members[0].parts()
    assert set(predictions(run, "valid").index) == members[0].validating()


def test_ranks_sum_to_one_by_row(made):
    run = blend(made, [made.run(HALF, seed=seed) for seed in (1, 2, 3)], "ranks")
    for part in ("valid", "test"):
        assert np.allclose(predictions(run, part).sum(axis=1), 1)


def test_fitted_weights_are_recorded_and_are_those_of_the_test_predictions(made):
    members = [made.run(HALF, seed=1, knows=0.1), made.run(HALF, seed=2, knows=0.6)]
    run = blend(made, members, "weights")
    weights = run.record("scores")["ways"]["weights"]["weights"]
    assert sum(weights) == pytest.approx(1)
    assert weights[1] > weights[0] >= 0
    weighted = sum(weight * predictions(member, "test") for weight, member in zip(weights, members, strict=True))
    assert np.allclose(predictions(run, "test"), weighted.loc[predictions(run, "test").index])


def test_every_run_and_every_way_is_scored_and_the_gain_is_over_the_best_run(made):
    members = [made.run(HALF, seed=seed, knows=knows) for seed, knows in ((1, 0.3), (2, 0.5), (3, 0.4))]
    scores = blend(made, members).record("scores")
    assert [one["run"] for one in scores["members"]] == [member.name for member in members]
    assert [one["tuned"] for one in scores["members"]] == [member.record("scores")["tuned"] for member in members]
    assert set(scores["ways"]) == {"mean", "ranks", "weights"}
    assert scores["tuned"] == max(way["tuned"] for way in scores["ways"].values())
    best = max(one["tuned"] for one in scores["members"])
    assert scores["gain"] == pytest.approx(scores["tuned"] - best)
    assert next(one for one in scores["members"] if one["run"] == scores["best_run"])["tuned"] == best


def test_of_ways_that_score_the_same_the_simplest_is_taken(made):
    members = [made.run(HALF, seed=seed, knows=9) for seed in (1, 2)]
    scores = blend(made, members).record("scores")
    assert [way["tuned"] for way in scores["ways"].values()] == [1, 1, 1]
    assert (scores["how"], scores["gain"]) == ("mean", 0)


def test_the_table_and_the_gain_are_printed_and_logged(made, capsys):
    members = [made.run(HALF, seed=seed, knows=0.4) for seed in (1, 2)]
    run = blend(made, members)
    log = run.log.read_text()
    assert log == capsys.readouterr().out
    assert [line.split()[0] for line in log.splitlines()[2:7]] == [
        "shades/standard-1", "shades/standard-2", "mean", "ranks", "weights"
    ]  # fmt: skip
    assert " alone, " in log
    assert log.splitlines()[-2].endswith((" better", " worse"))


TAGS = """
from comp import Competition, CsvLabels, Recipe, Stage, TagNames, TestImages

competition = Competition(
    name="shades",
    kaggle="shades",
    labels=CsvLabels("t.csv", image="id", label="tags", separator=" ", folder="train", suffix=".png", group="place"),
    test=TestImages("test", suffix=".png"),
    submission=TagNames(" "),
    metric="mean_f2",
    recipes={"standard": Recipe(stages=[Stage(size=16, train="head")])},
)
"""


def test_tags_are_blended_in_every_way_and_their_thresholds_tuned(make, predicting):
    made = make(TAGS)
    tags = ["bright", "bright red", "red", "dark"]
    for number in range(48):
        made.image(f"{'train' if number < 40 else 'test'}/x{number:02}.png", "red", size=4)
    rows = [f"x{number:02},{tags[number * 7 % 4]},{number // 4}" for number in range(40)]
    made.text("t.csv", ["id,tags,place", *rows])
    made.text("sample_submission.csv", ["id,tags", *(f"x{number},dark" for number in range(40, 48))])
    world = predicting(made)
    parts = np.where(np.arange(40) % 8 < 4, "valid", "train")
    members = [world.run(parts, seed=seed, knows=knows) for seed, knows in ((1, 0.3), (2, 0.6))]
    for how in ("mean", "ranks", "weights"):
        run = blend(world, members, how)
        assert run.record("scores")["postprocessing"]["kind"] == "Thresholds"
        assert run.submission.is_file()
        assert predictions(run, "valid").to_numpy().max() <= 1


def test_ensembles_and_joined_runs_are_blended_again_and_joined_folds_cross_fit_the_weights(made):
    joined = [join(made.competition, made.folds(3, seed=seed, knows=0.4), made.workspace, Console()) for seed in (1, 2)]
    first = blend(made, joined)
    assert first.parts() == joined[0].parts()
    assert first.record("config")["folds"] == 3
    third = join(made.competition, made.folds(3, seed=3, knows=0.4), made.workspace, Console())
    second = blend(made, [first, third])
    assert second.members == ("shades/ensemble-1", "shades/standard-3folds-3")
    assert second.record("scores")["rows"] == 36
    assert find_run(made.workspace, "shades") == second


def test_a_seed_is_recorded_where_all_members_share_it(made):
    same = [made.run(HALF, seed=1), made.run(HALF, seed=1, name="quick")]
    assert blend(made, same).record("config")["seed"] == 1
    assert blend(made, [same[0], made.run(HALF, seed=2)]).record("config")["seed"] is None


def test_runs_on_all_data_are_blended_as_said_but_not_compared(made, capsys):
    members = [made.run(["train"] * 36, seed=seed) for seed in (1, 2)]
    assert "no row validates" in refusal(made, members).lower()
    assert "0 rows validate, too few to fit weights" in refusal(made, members, "weights")
    run = blend(made, members, "mean")
    assert "tuned" not in run.record("scores")
    assert "no row validates, so there is no score" in capsys.readouterr().out
    assert len(pd.read_csv(run.submission)) == 12


def test_runs_whose_rows_differ_are_refused(made):
    first, other = made.run(HALF), made.run(HALF[::-1])
    assert refusal(made, [first, other]) == (
        "shades/standard-2 has other validation rows or folds than shades/standard-1: "
        "36 images differ, the first 't00', which validates in the one and trains in the other; "
        "train both with the same seed and folds."
    )


def test_runs_whose_folds_differ_are_refused(made):
    first = join(made.competition, made.folds(3), made.workspace, Console())
    dealt = np.arange(36) % 3
    dealt[[4, 5]] = dealt[[5, 4]]
    other = join(made.competition, made.folds(3, dealt=dealt), made.workspace, Console())
    said = refusal(made, [first, other])
    assert "2 images differ, the first 't04', which validates in fold 3 in the one and validates in fold 2" in said
    assert "other validation rows or folds" in refusal(made, [first, made.run(HALF)])


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"classes": ["blue", "green", "pink"]}, "differ in classes"),
        ({"data": {"train": 36, "test": 12, "fingerprint": "beef"}}, "differ in data.fingerprint (beef and f00d)"),
        ({"competition": "planet"}, "differ in competition (planet and shades)"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_runs_on_other_data_are_told_in_what_they_differ(made, changed, says):
    assert says in refusal(made, [made.run(HALF), made.run(HALF, **changed)])


def test_runs_that_predicted_other_images_are_named(made):
    first, second = made.run(HALF), made.run(HALF)
    for part, says in (("valid", "predicted 17 validation rows"), ("test", "predicted 11 test images")):
        whole = pd.read_parquet(second.predictions(part))
        whole.iloc[1:].to_parquet(second.predictions(part), index=False)
        said = refusal(made, [first, second])
        assert said.startswith(f"shades/standard-2 {says}")
        whole.to_parquet(second.predictions(part), index=False)


def test_an_image_that_came_since_is_named(made, shades):
    members = [made.run(HALF, seed=seed) for seed in (1, 2)]
    folder = made.workspace.data("shades")
    (folder / "train" / "t99.png").write_bytes((folder / "train" / "t00.png").read_bytes())
    with (folder / "train.csv").open("a") as file:
        file.write("t99,red\n")
    assert "1 labelled images are not in the split of shades/standard-1, the first 't99'" in refusal(made, members)


def test_one_run_or_one_run_twice_is_no_ensemble(made):
    run = made.run(HALF)
    assert "two runs or more" in refusal(made, [run])
    assert "shades/standard-1 is named twice" in refusal(made, [run, run])


@pytest.mark.parametrize("failing", ["write_predictions", "write_submission"])
@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_blend_that_can_t_be_completed_leaves_nothing(made, monkeypatch, failing, failure):
    members = [made.run(HALF, seed=seed) for seed in (1, 2)]

    def fail(*_):
        raise failure

    monkeypatch.setattr(f"comp.tools.ensembles.blends.{failing}", fail)
    with pytest.raises(type(failure)):
        blend(made, members)
    assert sorted(path.name for path in (made.workspace.runs / "shades").iterdir()) == ["standard-1", "standard-2"]
