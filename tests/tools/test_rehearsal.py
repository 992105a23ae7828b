import builtins
import io
import shutil
import socket
from contextlib import contextmanager
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
from comp.runs import create_run
from comp.runs.resolve import Choices
from comp.tools.rehearsal import Rehearsal, rehearsal, which_hide

DIGITS = competition_named("digits", REPOSITORY_COMPETITIONS)


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


def beside_rehearsals_and_cache(workspace):
    """What each file holds."""
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


def test_a_rehearsal_goes_the_whole_way_here_alone_without_credentials_and_submits_the_same_with_the_same_seed(
    shades, workspace, tmp_path, monkeypatch, capsys
):
    def rehearse():
        choices = Choices(settings=("stages.cycle_length=1",))
        return runner.rehearse(shades.competition, choices, workspace, Console(), share=0.25)

    with pytest.raises(DataError, match="comp download shades"):
        rehearse()
    assert not workspace.rehearsals.exists()

    shutil.copytree(shades.files, workspace.data("shades"))
    before, person = beside_rehearsals_and_cache(workspace), tmp_path / "person"
    (person / ".kaggle").mkdir(parents=True)
    (person / ".kaggle" / "kaggle.json").write_text('{"username": "me", "key": "0123456789abcdef"}')
    (person / ".kaggle" / "access_token").write_text("a-real-token")
    monkeypatch.setenv("HOME", str(person))
    monkeypatch.setenv("KAGGLE_API_TOKEN", "a-real-token")
    monkeypatch.setenv("COMP_KAGGLE_URL", "https://api.kaggle.com")
    with watched() as seen:
        run = rehearse()
    assert seen.hosts == {"127.0.0.1"}
    assert any(path.endswith("train.csv") for path in seen.files)
    # Matplotlib keeps a list of fonts there, and nothing else of it is read.
    assert not [path for path in seen.files if str(person) in path and "matplotlib" not in path]
    found, submitted = run.record("rehearsal"), run.record("submitted")
    assert (found["hidden"], found["known"], submitted["status"]) == (9, 27, "complete")
    assert submitted["score"] == pytest.approx(found["score"], abs=1e-5)
    said = capsys.readouterr().out
    assert f"expect accuracy {found['score']:.5f}" in said
    assert "validation had said" in said
    place = workspace.rehearsals / "shades" / "1"
    assert run.folder == place / "runs" / "shades" / "standard-1"
    assert [path.name for path in place.iterdir()] == ["runs"]
    assert beside_rehearsals_and_cache(workspace) == before

    again = rehearse()
    assert again.folder.parents[2].name == "2"
    assert again.submission.read_bytes() == run.submission.read_bytes()


@pytest.mark.parametrize(("mistakes", "error"), [(0, None), (20, (0.8 * 0.2 / 100) ** 0.5)])
def test_what_to_expect_is_said_with_its_uncertainty_unless_no_hidden_image_is_a_mistake(
    workspace, tmp_path, capsys, mistakes, error
):
    run, answers = create_run(workspace, "digits", "quick"), tmp_path / "answers.csv"
    run.write_record("scores", {})
    for path, wrong in ((answers, 0), (run.submission, mistakes)):
        path.write_text("id,label\n" + "".join(f"{row},{(row + (row < wrong)) % 10}\n" for row in range(100)))
    Rehearsal(DIGITS, workspace, answers, None, 100, 120).judge(run, Console())
    found, said = run.record("rehearsal"), capsys.readouterr().out
    assert (found["score"], found["hidden"], found["known"]) == (1 - mistakes / 100, 100, 120)
    if error is None:
        assert found["standard_error"] is None
        assert "expect accuracy 1.00000 on the leaderboard, but 100 hidden images don't tell" in said
    else:
        assert found["standard_error"] == pytest.approx(error, rel=0.4)
        assert f"± {found['standard_error']:.5f} on the leaderboard, by 100 hidden images" in said


def test_the_rehearsed_competition_has_the_images_that_are_not_hidden_and_leaves_nothing(downloaded, workspace):
    real = read_tables(downloaded.competition, workspace.data("shades"))
    with rehearsal(downloaded.competition, workspace, 0.25, 0, Console()) as started:
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
    with pytest.raises(ZeroDivisionError), rehearsal(downloaded.competition, workspace, 0.25, 0, Console()):
        raise ZeroDivisionError
    assert not list((workspace.rehearsals / "shades").iterdir())


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


def test_rows_that_only_train_are_not_hidden_and_only_train_in_the_rehearsal(downloaded, workspace):
    data = workspace.data("shades")
    head, *rows = (data / "train.csv").read_text().splitlines()
    for name, some in (("train", rows[:24]), ("extra", rows[24:])):
        (data / f"{name}.csv").write_text("\n".join([head, *some, ""]))
    labels = replace(downloaded.competition.labels, shared=True)
    competition = replace(downloaded.competition, labels=WithExtra(labels, replace(labels, csv="extra.csv")))
    extra = {(data / f"train/{row.split(',')[0]}.png").read_bytes() for row in rows[24:]}
    with rehearsal(competition, workspace, 0.25, 0, Console()) as started:
        runner.download(started.competition, started.workspace, Console())
        found = read_tables(started.competition, started.workspace.data("shades"))
        only_train = {Path(path).read_bytes() for path in found.train["path"][~found.may_validate]}
    assert only_train == extra
    assert len(found.train) == 30


def test_where_no_row_may_validate_nothing_is_hidden_and_that_is_why():
    none = table(np.linspace(0, 1, 12)[:, None])
    none.train["validates"] = False
    with pytest.raises(DataError, match="`validates`"):
        which_hide(none, 0.25, seed=0)


def test_where_hiding_would_lose_a_class_nothing_is_hidden():
    with pytest.raises(DataError, match="add images"):
        which_hide(table(np.eye(4, dtype=int)), 0.25, seed=0)
