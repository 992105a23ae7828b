import builtins
import io
import shutil
import socket
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from comp import runner
from comp.console import Console
from comp.data.tables import Tables, read_tables
from comp.declare.competition import REPOSITORY_COMPETITIONS, competition_named
from comp.declare.labels.given import WithExtra
from comp.errors import DataError
from comp.runs import Workspace, create_run
from comp.runs.resolve import Choices
from comp.tools.rehearsal import Rehearsal, rehearsal, which_hide

DIGITS = competition_named("digits", REPOSITORY_COMPETITIONS)
TINY = Choices("quick", "test_resnet", ("stages.size=16", "stages.cycles=1", "stages.cycle_length=1", "tta=none"))


@contextmanager
def watched():
    """The hosts that were connected to or looked up, and the files that were opened, while the block lasts."""
    hosts, files = set(), set()

    def noting(notes, part, function):
        def call(*given, **named):
            notes.add(part(*given))
            return function(*given, **named)

        return call

    with pytest.MonkeyPatch.context() as patch:
        connecting = noting(hosts, lambda _, address: address[0], socket.socket.connect)
        patch.setattr(socket.socket, "connect", connecting)
        patch.setattr(socket, "getaddrinfo", noting(hosts, lambda host, *_: host, socket.getaddrinfo))
        for module in (builtins, io):
            patch.setattr(module, "open", noting(files, lambda file, *_: str(file), open))
        yield SimpleNamespace(hosts=hosts, files=files)


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def table(targets, groups=None):
    targets = np.array(targets)
    train = pd.DataFrame({"id": [str(row) for row in range(len(targets))]})
    if groups is not None:
        train["group"] = groups
    count = targets.shape[1] if targets.ndim == 2 else targets.max() + 1
    names = tuple(f"c{number}" for number in range(count))
    return Tables(train, train, train, names, targets, 0)


@pytest.fixture(scope="module")
def rehearsed(few_digits, tmp_path_factory):
    """The digits rehearsed by someone with credentials for the real Kaggle: its run, its workspace and what it did."""
    place = tmp_path_factory.mktemp("rehearsed")
    workspace, person = few_digits(Workspace(place / "home")), place / "person"
    (person / ".kaggle").mkdir(parents=True)
    (person / ".kaggle" / "kaggle.json").write_text('{"username": "me", "key": "0123456789abcdef"}')
    (person / ".kaggle" / "access_token").write_text("a-real-token")
    before = contents(workspace.folder)
    with pytest.MonkeyPatch.context() as patch, watched() as seen, redirect_stdout(io.StringIO()) as out:
        patch.setenv("HOME", str(person))
        patch.setenv("KAGGLE_API_TOKEN", "a-real-token")
        patch.setenv("COMP_KAGGLE_URL", "https://api.kaggle.com")
        run = runner.rehearse(DIGITS, TINY, workspace, Console(), share=0.25)
    return run, workspace, before, seen, person, out.getvalue()


def test_a_rehearsal_goes_the_whole_way_and_says_what_to_expect_with_its_uncertainty(rehearsed):
    run, *_, out = rehearsed
    found, submitted = run.record("rehearsal"), run.record("submitted")
    assert found["hidden"] == 100
    assert found["known"] == 300
    assert submitted["status"] == "complete"
    assert submitted["score"] == pytest.approx(found["score"], abs=1e-5)
    low, high = found["interval"]
    assert 0.05 < low < found["score"] < high <= 1
    # Of an accuracy a, the interval is about four times the square root of a (1 - a) / n wide.
    width = 3.92 * np.sqrt(found["score"] * (1 - found["score"]) / found["hidden"])
    assert high - low == pytest.approx(width, rel=0.25)
    assert f"expect accuracy {found['score']:.5f}" in out
    assert "validation had said" in out


def test_hidden_images_without_a_mistake_are_said_to_give_no_bounds(workspace, tmp_path, capsys):
    run = create_run(workspace, "digits", "quick")
    run.write_record("scores", {})
    run.submission.write_text("id,label\n" + "".join(f"{row},{row % 10}\n" for row in range(30)))
    Rehearsal(DIGITS, workspace, run.submission, None, 30, 120).judge(run, 0, Console())
    assert run.record("rehearsal") == {"score": 1.0, "interval": None, "hidden": 30, "known": 120}
    said = capsys.readouterr().out
    assert "expect accuracy 1.00000 on the leaderboard, but 30 hidden images don't tell how far off that may be" in said


def test_a_rehearsal_speaks_to_this_machine_only_reads_no_credentials_and_leaves_its_run_below_rehearsals(rehearsed):
    run, workspace, before, seen, person, _ = rehearsed
    assert seen.hosts == {"127.0.0.1"}
    assert any(path.endswith("train.csv") for path in seen.files)
    # Matplotlib keeps a list of fonts there, and nothing else of it is read.
    assert not [path for path in seen.files if str(person) in path and "matplotlib" not in path]
    place = workspace.rehearsals / "digits" / "1"
    assert run.folder == place / "runs" / "digits" / "quick-1"
    assert [path.name for path in place.iterdir()] == ["runs"]
    after = contents(workspace.folder)
    assert {path: after[path] for path in after if not {place, workspace.cache} & {*path.parents}} == before


def test_a_second_rehearsal_with_the_same_seed_submits_the_same(shades, workspace):
    choices = Choices(settings=("stages.cycle_length=1",))
    with pytest.raises(DataError, match="comp download shades"):
        runner.rehearse(shades.competition, choices, workspace, Console(), share=0.25)
    assert not workspace.rehearsals.exists()
    shutil.copytree(shades.files, workspace.data("shades"))
    one, two = (runner.rehearse(shades.competition, choices, workspace, Console(), share=0.25) for _ in range(2))
    assert [run.folder.parents[2].name for run in (one, two)] == ["1", "2"]
    assert one.submission.read_bytes() == two.submission.read_bytes()


def test_the_rehearsed_competition_has_the_images_that_are_not_hidden_and_leaves_nothing(shades, workspace):
    shutil.copytree(shades.files, workspace.data("shades"))
    real = read_tables(shades.competition, workspace.data("shades"))
    with rehearsal(shades.competition, workspace, 0.25, 0, Console()) as started:
        runner.download(started.competition, started.workspace, Console())
        found = read_tables(started.competition, started.workspace.data("shades"))
        pixels = {
            Path(path).read_bytes(): label for path, label in zip(real.train["path"], real.train["label"], strict=True)
        }
        for path, label in zip(found.train["path"], found.train["label"], strict=True):
            assert pixels.pop(Path(path).read_bytes()) == label
        truth = pd.read_csv(started.answers, dtype=str).set_index("id")["colour"]
        for id_, path in zip(found.test["id"], found.test["path"], strict=True):
            assert pixels.pop(Path(path).read_bytes()) == truth[id_]
        assert not pixels
        assert list(found.sample_submission.columns) == ["id", "colour"]
    with pytest.raises(ZeroDivisionError), rehearsal(shades.competition, workspace, 0.25, 0, Console()):
        raise ZeroDivisionError
    assert not list((workspace.rehearsals / "shades").iterdir())


def test_no_class_and_no_tag_is_hidden_whole():
    rng = np.random.default_rng(0)
    tags = rng.random((60, 3)) < 0.4
    tags[:, 2] = False
    for row in range(60):
        tags[:, 2] = np.arange(60) == row
        hidden = which_hide(table(tags.astype(int)), 0.3, seed=0)
        assert hidden.any()
        assert tags[~hidden].any(axis=0).all()


def test_images_of_one_group_are_hidden_together_or_not_at_all():
    groups = np.arange(60) % 12
    hidden = which_hide(table(np.arange(60) % 3, groups), 0.25, seed=1)
    assert hidden.any()
    assert not set(groups[hidden]) & set(groups[~hidden])


def test_rows_that_only_train_are_not_hidden_and_only_train_in_the_rehearsal(shades, workspace):
    shutil.copytree(shades.files, workspace.data("shades"))
    head, *rows = (shades.files / "train.csv").read_text().splitlines()
    for name, some in (("train", rows[:24]), ("extra", rows[24:])):
        (workspace.data("shades") / f"{name}.csv").write_text("\n".join([head, *some, ""]))
    labels = replace(shades.competition.labels, shared=True)
    competition = replace(shades.competition, labels=WithExtra(labels, replace(labels, csv="extra.csv")))
    extra = {(workspace.data("shades") / f"train/{row.split(',')[0]}.png").read_bytes() for row in rows[24:]}
    with rehearsal(competition, workspace, 0.25, 0, Console()) as started:
        runner.download(started.competition, started.workspace, Console())
        found = read_tables(started.competition, started.workspace.data("shades"))
        only_train = {Path(path).read_bytes() for path in found.train["path"][~found.may_validate]}
    assert only_train == extra
    assert len(found.train) == 30


def test_where_hiding_would_lose_a_class_nothing_is_hidden():
    with pytest.raises(DataError, match="add images"):
        which_hide(table(np.eye(4, dtype=int)), 0.25, seed=0)
