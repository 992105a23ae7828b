import shutil
import socket
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from comp import ProbabilityOf, ProbabilityPerRow, runner, weighted_log_loss
from comp.console import Console
from comp.data.tables import Tables, read_tables
from comp.declare.competition import REPOSITORY_COMPETITIONS, competition_named
from comp.declare.labels.csv import read_csv
from comp.declare.labels.given import GivenSplit, WithExtra
from comp.errors import DataError, OverrideError
from comp.files import lock_at
from comp.runs import create_run
from comp.runs.choices import Choices
from comp.tools.rehearsal import judge, rehearsed, which_hide

DIGITS = competition_named("digits", REPOSITORY_COMPETITIONS)
NOTED = set()


def noted(predictions):
    """A `postprocess` rule that records the ids."""
    NOTED.update(predictions.index)
    return predictions


def beside_rehearsals_and_cache(workspace):
    """The contents of all files outside rehearsals and cache."""
    apart = {workspace.rehearsals, workspace.cache}
    files = [path for path in workspace.folder.rglob("*") if path.is_file() and not apart & {*path.parents}]
    return {path: path.read_bytes() for path in files}


def table(targets, groups=None):
    targets = np.array(targets)
    train = pd.DataFrame({"id": [str(row) for row in range(len(targets))]})
    if groups is not None:
        train["group"] = groups
    count = targets.shape[1] if targets.ndim == 2 else targets.max() + 1
    names = tuple(f"c{number}" for number in range(count))
    return Tables(train, train, train, names, targets, 0)


def test_a_rehearsal_goes_the_whole_way_here_alone_without_credentials_and_predicts_the_same_with_the_same_seed(
    shades, workspace, tmp_path, monkeypatch, capsys
):
    def rehearse():
        choices = Choices(settings=("stages.cycle_length=1",))
        competition = replace(shades.competition, postprocess=noted)
        return runner.rehearse(competition, choices, workspace, Console(), share=0.25)

    with pytest.raises(DataError, match="comp download shades"):
        rehearse()
    assert not workspace.rehearsals.exists()

    shutil.copytree(shades.files, workspace.data("shades"))
    before, spoken_to, person = beside_rehearsals_and_cache(workspace), [], tmp_path / "person"
    (person / ".kaggle").mkdir(parents=True)
    (person / ".kaggle" / "kaggle.json").write_text("{")  # reading it would raise
    monkeypatch.setenv("HOME", str(person))
    monkeypatch.setattr(socket.socket, "connect", lambda _, address: spoken_to.append(address))
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *_: spoken_to.append(host))
    monkeypatch.setenv("COMP_KAGGLE_URL", "https://api.kaggle.com")
    run = rehearse()
    assert not spoken_to
    found, said = run.record("rehearsal"), capsys.readouterr().out
    assert (found["hidden"], found["known"], run.has("submitted")) == (9, 27, False)
    assert "rehearsal of shades: 9 of 36 labelled images are hidden" in said
    assert f"expect accuracy {found['score']:.5f}" in said
    assert f"expect accuracy {found['score']:.5f}" in run.log.read_text()
    assert "the validation score was" in said
    place = workspace.rehearsals / "shades" / "1"
    assert run.folder == place / "runs" / "shades" / "standard-1"
    assert [path.name for path in place.iterdir()] == ["runs"]
    assert set() < NOTED <= set(read_csv(workspace.data("shades") / "train.csv")["id"])
    assert beside_rehearsals_and_cache(workspace) == before

    again = rehearse()
    assert again.folder.parents[2].name == "2"
    assert again.submission.read_bytes() == run.submission.read_bytes()


def test_a_rehearsal_that_was_killed_is_resumed_where_it_was_unless_somebody_is_at_it(downloaded, workspace):
    def rehearse(stop=None):
        def run(competition, inside):
            if stop is not None:
                raise stop
            made = runner.train(competition, Choices(settings=("stages.cycle_length=1",)), inside, Console())
            runner.predict(competition, made, inside, Console())
            return made

        return rehearsed(downloaded.competition, workspace, 0.25, 0, Console(), run)

    place = workspace.rehearsals / "shades"
    (place / "1" / "runs").mkdir(parents=True)
    (place / "1" / "hidden").mkdir()  # as left by a killed process
    with lock_at(place / "1" / ".lock"), pytest.raises(KeyboardInterrupt):
        rehearse(KeyboardInterrupt())
    assert [path.name for path in place.iterdir()] == ["1"]
    run = rehearse()
    assert run.folder == place / "1" / "runs" / "shades" / "standard-1"
    assert [path.name for path in (place / "1").iterdir()] == ["runs"]
    assert rehearse().folder.parents[2].name == "2"


def test_a_teacher_that_may_know_what_is_hidden_is_refused(downloaded, workspace):
    teacher = Choices(teacher=create_run(workspace, "shades", "standard"))
    with pytest.raises(OverrideError, match="may have learned from the images that are hidden"):
        runner.rehearse(downloaded.competition, teacher, workspace, Console(), share=0.25)


@pytest.mark.parametrize(("mistakes", "error"), [(0, None), (20, (0.8 * 0.2 / 100) ** 0.5)])
def test_what_to_expect_is_said_with_its_uncertainty_unless_no_hidden_image_is_a_mistake(
    workspace, tmp_path, capsys, mistakes, error
):
    run, answers = create_run(workspace, "digits", "quick"), tmp_path / "answers.csv"
    run.write_record("scores", {})
    for path, wrong in ((answers, 0), (run.submission, mistakes)):
        path.write_text("id,label\n" + "".join(f"{row},{(row + (row < wrong)) % 10}\n" for row in range(100)))
    judge(DIGITS, run, read_csv(answers), None, np.arange(220) < 100, Console())
    found, said = run.record("rehearsal"), capsys.readouterr().out
    assert (found["score"], found["hidden"], found["known"]) == (1 - mistakes / 100, 100, 120)
    if error is None:
        assert found["standard_error"] is None
        assert "expect accuracy 1.00000 on the leaderboard, but 100 hidden images can't tell" in said
    else:
        assert found["standard_error"] == pytest.approx(error, rel=0.05)
        assert f"± {found['standard_error']:.5f} on the leaderboard, by 100 hidden images" in said


def hidden_of(competition, workspace):
    """The tables and the answers of a rehearsal, which leaves no files."""
    found = []

    def run(meanwhile, inside):
        data = inside.data(competition.name)
        found.append(
            (read_tables(meanwhile, data), read_csv(Path(meanwhile.sample_submission).with_name("answers.csv")))
        )
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        rehearsed(competition, workspace, 0.25, 0, Console(), run)
    assert not list((workspace.rehearsals / competition.name).iterdir())
    return found[0]


def test_the_rehearsed_competition_has_the_images_that_are_not_hidden_and_leaves_nothing(downloaded, workspace):
    labels = read_tables(downloaded.competition, workspace.data("shades")).train.set_index("id")["label"].to_dict()
    found, answers = hidden_of(downloaded.competition, workspace)
    known, hidden = found.train.set_index("id")["label"], answers.set_index("id")["colour"]
    assert {**known, **hidden} == labels
    assert len(known) + len(hidden) == len(labels)
    assert [Path(path).stem for path in found.test["path"]] == list(found.test["id"]) == list(hidden.index)
    assert list(found.sample_submission.columns) == ["id", "colour"]


def test_both_classes_are_known_by_name_where_a_submission_shows_one(downloaded, workspace):
    def run(competition, inside):
        made = create_run(inside, competition.name, "standard")
        shutil.copy(Path(competition.sample_submission).with_name("answers.csv"), made.submission)
        made.write_record("scores", {})
        return made

    table = workspace.data("shades") / "train.csv"
    table.write_text(table.read_text().replace("blue", "green"))
    metric = weighted_log_loss({"green": 2})
    competition = replace(downloaded.competition, submission=ProbabilityOf("red"), metric=metric)
    made = rehearsed(competition, workspace, 0.25, 0, Console(), run)
    assert made.record("rehearsal")["score"] == pytest.approx(0, abs=1e-9)


def test_of_one_class_an_image_all_are_asked_for_though_the_sample_submission_asks_for_some(downloaded, workspace):
    form = ProbabilityPerRow(["blue", "green", "red"])
    competition = replace(downloaded.competition, submission=form, metric="log_loss")
    path = workspace.data("shades") / "sample_submission.csv"
    path.write_text("\n".join(["id,chance", *(f"{name}_red,0" for name in read_csv(path)["id"])]))
    found, answers = hidden_of(competition, workspace)
    assert list(found.sample_submission.columns) == list(answers) == ["id", "blue", "green", "red"]


def test_no_class_and_no_tag_is_hidden_whole():
    tags = np.random.default_rng(0).random((60, 3)) < 0.4
    for row in range(0, 60, 2):
        tags[:, 2] = np.arange(60) == row
        hidden = which_hide(table(tags.astype(int)), 0.3, seed=0)
        assert hidden.any()
        assert tags[~hidden].any(axis=0).all()


def test_images_of_one_group_are_hidden_together_or_not_at_all():
    groups = np.arange(60) % 12
    hidden = which_hide(table(np.arange(60) % 3, groups), 0.25, seed=1)
    assert hidden.any()
    assert not set(groups[hidden]) & set(groups[~hidden])


@pytest.mark.parametrize("word", [WithExtra, GivenSplit])
def test_what_images_are_for_stays_in_a_rehearsal_and_those_that_only_train_are_not_hidden(downloaded, workspace, word):
    data = workspace.data("shades")
    head, *rows = (data / "train.csv").read_text().splitlines()
    for name, some in (("train", rows[:20]), ("more", rows[20:])):
        (data / f"{name}.csv").write_text("\n".join([head, *some, ""]))
    labels = replace(downloaded.competition.labels, shared=True)
    found, answers = hidden_of(
        replace(downloaded.competition, labels=word(labels, replace(labels, csv="more.csv"))), workspace
    )
    more = {row.split(",")[0] for row in rows[20:]}
    assert set(found.train["validates"][found.train["id"].isin(more)]) == {word is GivenSplit}
    assert bool(more & set(answers["id"])) is (word is GivenSplit)


def test_where_no_row_may_validate_nothing_is_hidden_and_that_is_why():
    none = table(np.linspace(0, 1, 12)[:, None])
    none.train["validates"] = False
    with pytest.raises(DataError, match="`validates`"):
        which_hide(none, 0.25, seed=0)


def test_where_hiding_would_lose_a_class_nothing_is_hidden():
    with pytest.raises(DataError, match="add images"):
        which_hide(table(np.eye(4, dtype=int)), 0.25, seed=0)
