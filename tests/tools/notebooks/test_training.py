"""With the real client: a training is pushed to the local Kaggle, executed, and its run downloaded."""

import time
import zipfile
from functools import partial

import nbformat
import pandas as pd
import pytest

from comp.console import Console
from comp.errors import KaggleError
from comp.kaggle import failures
from comp.kaggle.archives import DamagedError
from comp.kaggle.client import connect
from comp.kaggle.notebooks import Execution, Notebook, execution, push
from comp.local_kaggle.grading import graders
from comp.local_kaggle.server import running
from comp.runs import Run, Workspace, list_runs
from comp.runs.choices import Choices
from comp.runs.resolve import resolve
from comp.tools.ensembles import ensemble, join
from comp.tools.notebooks import training
from comp.tools.notebooks.training import arguments_of, bring

pytestmark = pytest.mark.long


@pytest.fixture
def kaggle(shades, tmp_path, monkeypatch):
    """A local Kaggle with the shades that executes notebooks; yields the folder of its state."""
    with running(shades.served, graders([shades.competition]), tmp_path / "state", kernels=True) as url:
        monkeypatch.setenv("COMP_KAGGLE_URL", url)
        monkeypatch.setattr(failures, "wait", lambda seconds: time.sleep(min(seconds, 0.3)))
        yield tmp_path / "state"


@pytest.fixture
def train(on_shades):
    return partial(on_shades, "run", "shades", "--on", "kaggle")


def pushed(state):
    return [path.name for path in (state / "kernels").glob("*/*")]


def test_a_training_at_kaggle_that_was_left_is_followed_by_the_same_command_and_ends_as_a_run_here(
    shades, kaggle, train, workspace, monkeypatch
):
    def interrupt(seconds):
        raise KeyboardInterrupt

    shades.declaration.write_text(shades.declaration.read_text().replace("size=16", "size=(16, 24)"))
    workspace.runs.joinpath("shades", "standard-1").mkdir(parents=True)
    with monkeypatch.context() as patch:
        patch.setattr(failures, "wait", interrupt)
        left = train("--seed", 3)
    assert left.status == 130, left.err
    (name,) = pushed(kaggle)
    assert f"pushed the notebook you/{name}" in left.out

    def refuse(*_):
        raise KaggleError("No submission is left today.")

    with monkeypatch.context() as patch:
        patch.setattr("comp.kaggle.submitting.submit", refuse)
        refused = train("--seed", 3, "--submit")
    assert (refused.status, refused.err) == (1, "Error: No submission is left today.\n")
    assert f"following the notebook you/{name}" in refused.out

    ended = train("--seed", 3, "--submit")
    assert ended.status == 0, ended.err
    assert "shades/standard-2 was downloaded from Kaggle before" in ended.out
    assert pushed(kaggle) == [name]
    run = Run(workspace.runs / "shades" / "standard-2")
    assert ended.last_line == str(run.folder)
    assert list_runs(workspace) == [run]
    config = run.record("config")
    assert (config["seed"], config["order"], config["notebook"]) == (3, 1, f"you/{name}")
    assert config["recipe"]["stages"][0]["size"] == [16, 24]
    assert config["command"].endswith("run shades --on kaggle --seed 3 --submit")
    assert run.record("submitted")["status"] == "complete"
    assert run.report.is_file()
    assert run.weights.is_file()
    probabilities = pd.read_parquet(run.predictions("test")).set_index("id")
    submission = pd.read_csv(run.submission, dtype=str).set_index("id")["colour"]
    assert (submission == probabilities.idxmax(axis=1)[submission.index]).all()
    assert len(submission) == 12
    assert not list(workspace.notebooks.glob("*.json"))
    assert not list(workspace.runs.glob(".arriving-*"))


def test_a_notebook_of_a_declaration_from_before_an_edit_is_not_followed(shades, kaggle, train, monkeypatch):
    def interrupt(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(failures, "wait", interrupt)
    source = shades.declaration.read_text()
    for edited, notebooks in ((source, 1), (source.replace("side_on()", "side_on(max_zoom=1.2)"), 2), (source, 2)):
        shades.declaration.write_text(edited)
        left = train()
        assert left.status == 130, left.err
        assert len(pushed(kaggle)) == notebooks
        assert ("competition.py was edited" in left.out) == (edited != source)


@pytest.fixture
def brought(kaggle, tmp_path):
    """Calls `bring` for a notebook whose archive has these files, by name."""
    archive = tmp_path / "runs.zip"

    def start(workspace, backbone, contents, spoil=lambda content: content):
        with zipfile.ZipFile(archive, "w") as out:
            for name, content in contents.items():
                out.writestr(str(name), content)
        archive.write_bytes(spoil(archive.read_bytes()))
        copy = nbformat.v4.new_code_cell(f"import shutil; shutil.copy({str(archive)!r}, 'runs.zip')")
        source = nbformat.writes(nbformat.v4.new_notebook(cells=[copy]))
        client = connect()
        handle = push(client, Notebook("comp-shades-folds", source, [], [], internet=False))
        while execution(client, handle).status in ("queued", "running"):
            time.sleep(0.1)
        return bring(client, handle, backbone, workspace, Console())

    return start


def test_folds_and_the_run_they_are_joined_in_are_called_as_they_are_here(
    shades, brought, predicting, tmp_path, workspace
):
    there = predicting(shades)
    joined = join(there.competition, there.folds(recipe={"backbone": "local-dir:/there"}), there.workspace, Console())
    files = [path for path in workspace.runs.rglob("*") if path.is_file()]
    here = Workspace(tmp_path / "here")
    (here.runs / "shades" / "standard-2").mkdir(parents=True)
    left = {path.relative_to(workspace.runs): path.read_bytes() for path in files}
    run = brought(here, "local-dir:/here", {"final.txt": joined.name, **left})
    assert set(run.members) == {"shades/standard-1", "shades/standard-3", "shades/standard-4"}
    assert [Run(here.runs / name).record("config")["fold"] for name in run.members] == [1, 2, 3]
    assert [one["run"] for one in run.record("scores")["folds"]] == list(run.members)
    assert list_runs(here)[-1] == run
    assert Run(here.runs / run.members[2]).joined_in() == [run]
    assert Run(here.runs / run.members[2]).record("config")["recipe"]["backbone"] == "local-dir:/here"
    assert run.submission.read_bytes() == joined.submission.read_bytes()
    assert list(here.notebooks.iterdir()) == []


def test_a_training_that_was_stopped_by_its_time_there_does_not_hold_back_the_others(
    shades, brought, predicting, tmp_path, workspace
):
    there = predicting(shades)
    members = [there.run(seed=seed) for seed in (1, 2)]
    there.run(seed=3).submission.unlink()
    blend = ensemble(there.competition, members, there.workspace, Console(), "mean")
    left = {path.relative_to(workspace.runs): path.read_bytes() for path in workspace.runs.rglob("*.*")}
    here = Workspace(tmp_path / "here")
    run = brought(here, "test_resnet", {"final.txt": blend.name, **left})
    assert {made.name for made in list_runs(here)} == {*run.members, run.name}
    assert len(run.members) == 2


def test_runs_that_came_damaged_are_not_taken_in(brought, workspace):
    left = {"final.txt": "shades/standard-1", "shades/standard-1/config.json": '{"order": 1}'}
    with pytest.raises(DamagedError):
        brought(workspace, "test_resnet", left, lambda content: content.replace(b'"order": 1', b'"order": 2'))
    assert list(workspace.runs.rglob("*")) == []
    assert list(workspace.notebooks.iterdir()) == []  # else the same bytes would be unpacked again


def test_a_notebook_that_fails_is_one_sentence_with_the_place_of_its_log(shades, kaggle, train, workspace):
    shades.declaration.write_text(
        "import os\nif 'KAGGLE_KERNEL_RUN_TYPE' in os.environ: raise ValueError('not on this machine')\n"
        + shades.declaration.read_text()
    )
    failed = train().sentence
    (log,) = workspace.notebooks.glob("*.log")
    assert "not on this machine" in log.read_text()
    assert failed.startswith(f"The notebook you/{log.stem} failed: comp.errors.DeclarationError: ")
    assert failed.endswith(f"its log is kept in {log}.")
    # No record is left, so the next call pushes a new notebook.
    assert not list(workspace.notebooks.glob("*.json"))
    assert list_runs(workspace) == []


def test_a_notebook_is_gone_only_where_it_stays_away(kaggle, train, workspace, monkeypatch):
    refused = KaggleError("It broke off.")

    def answered(*answers):
        left = iter(answers)

        def ask(*_):
            if (answer := next(left)) is refused:
                raise refused
            return answer and Execution(answer)

        with monkeypatch.context() as patch:
            patch.setattr(training, "push", lambda *_: None)
            patch.setattr(training, "execution", ask)
            patch.setattr(failures, "wait", lambda _: None)
            return train()

    # A 403 or 404, which means that the notebook is missing, may pass.
    assert answered(None, "queued", None, None, None, "running", None, refused).err == "Error: It broke off.\n"
    (record,) = workspace.notebooks.glob("*.json")
    again = answered("running", *[None] * failures.ATTEMPTS)
    assert "is gone from Kaggle; run the same command to push it again" in again.err
    assert not record.exists()


def test_data_that_kaggle_does_not_give_to_the_notebook_are_named(shades, kaggle, train):
    shades.declaration.write_text(
        shades.declaration.read_text()
        .replace("import ClassName", "import KaggleDataset, ClassName")
        .replace('kaggle="shades",', 'kaggle="shades", extra_data=[KaggleDataset("someone/more-shades")],')
    )
    assert "Kaggle does not give the data set 'someone/more-shades' to the notebook" in train().sentence


def test_a_local_kaggle_executes_nothing_unless_it_is_told_to(shades, serving, train):
    with serving(shades):
        assert "start it with `comp serve --kernels`" in train().sentence


def test_every_option_of_a_training_is_passed_on(shades, predicting):
    competition = shades.competition

    def words(**chosen):
        choices = Choices(**chosen)
        return " ".join(arguments_of(competition, choices, resolve(competition, choices)[1].backbone))

    assert words() == "shades --recipe standard --seed 0"
    given = words(backbone="test_vit", settings=["batch_size=4", "dropout=0.1"], seed=7, folds=3, fold=2)
    assert given == (
        "shades --recipe standard --backbone test_vit --set batch_size=4 --set dropout=0.1 --seed 7 --folds 3 --fold 2"
    )
    assert words(backbone="local-dir:/weights", all_data=True) == (
        "shades --recipe standard --backbone local-dir:backbone --seed 0 --all-data"
    )
