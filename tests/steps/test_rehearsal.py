import os
import shutil
import sys
from contextlib import contextmanager

import numpy as np
import pandas as pd
import pytest

from comp import runner
from comp.competition import REPOSITORY_COMPETITIONS, competition_named
from comp.console import Console
from comp.errors import DataError, RunError
from comp.steps.rehearsal import rehearsal, which_hide
from comp.steps.resolve import Choices
from comp.steps.tables import Tables, read_tables

DIGITS = competition_named("digits", REPOSITORY_COMPETITIONS)
TINY = Choices("quick", "test_resnet", ("stages.size=16", "stages.cycles=1", "stages.cycle_length=1"))


@contextmanager
def audited():
    """The addresses that were connected to, and the files that were opened."""
    seen = {"socket.connect": [], "socket.getaddrinfo": [], "open": []}
    watching = [True]

    def hook(event, arguments):
        if watching[0] and event in seen:
            seen[event].append(arguments)

    sys.addaudithook(hook)
    try:
        yield seen
    finally:
        watching[0] = False


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def table(targets, groups=None, classes=None):
    targets = np.array(targets)
    train = pd.DataFrame({"id": [str(row) for row in range(len(targets))]})
    if groups is not None:
        train["group"] = groups
    count = targets.shape[1] if targets.ndim == 2 else targets.max() + 1
    names = tuple(f"c{number}" for number in range(count))
    return Tables(train, train, train, names, targets, 0)


def test_a_rehearsal_goes_the_whole_way_and_says_what_to_expect_with_its_uncertainty(digits_home, capsys):
    before = contents(digits_home.folder)
    run = runner.rehearse(DIGITS, TINY, digits_home, Console(), share=0.25)
    assert contents(digits_home.folder).items() >= before.items()
    found, submitted = run.record("rehearsal"), run.record("submitted")
    labels = pd.read_csv(digits_home.data("digits") / "train.csv")
    assert found["hidden"] == pytest.approx(len(labels) / 4, abs=10)
    assert found["known"] == len(labels) - found["hidden"]
    assert submitted["status"] == "complete"
    assert submitted["score"] == pytest.approx(found["score"], abs=1e-5)
    low, high = found["interval"]
    assert 0.3 < low < found["score"] < high <= 1
    # Of an accuracy a, the interval is about four times the square root of a (1 - a) / n wide.
    width = 3.92 * np.sqrt(found["score"] * (1 - found["score"]) / found["hidden"])
    assert high - low == pytest.approx(width, rel=0.25)
    out = capsys.readouterr().out
    assert f"expect accuracy {found['score']:.5f}" in out
    assert "validation had said" in out


def test_what_a_rehearsal_leaves_is_its_run_below_rehearsals(digits_home):
    run = runner.rehearse(DIGITS, TINY, digits_home, Console(), share=0.2)
    assert run.folder == digits_home.folder / "rehearsals" / "digits" / "1" / "runs" / "digits" / "quick-1"
    assert [path.name for path in (digits_home.rehearsals / "digits" / "1").iterdir()] == ["runs"]
    assert not digits_home.runs.exists()
    again = runner.rehearse(DIGITS, TINY, digits_home, Console(), share=0.2)
    assert again.folder.parents[2].name == "2"
    assert again.submission.read_bytes() == run.submission.read_bytes()


def test_a_rehearsal_speaks_to_this_machine_only_and_reads_no_credentials(digits_home, monkeypatch, tmp_path):
    home = tmp_path / "person"
    (home / ".kaggle").mkdir(parents=True)
    (home / ".kaggle" / "kaggle.json").write_text('{"username": "me", "key": "0123456789abcdef"}')
    (home / ".kaggle" / "access_token").write_text("a-real-token")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("KAGGLE_API_TOKEN", "a-real-token")
    monkeypatch.setenv("COMP_KAGGLE_URL", "https://api.kaggle.com")
    with audited() as seen:
        runner.rehearse(DIGITS, TINY, digits_home, Console(), share=0.2)
    hosts = {address[0] for _, address in seen["socket.connect"] if isinstance(address, tuple)}
    assert hosts == {"127.0.0.1"}
    assert {arguments[0] for arguments in seen["socket.getaddrinfo"]} <= {"127.0.0.1", b"127.0.0.1", None}
    opened = [os.fspath(path) for path, *_ in seen["open"] if isinstance(path, (str, os.PathLike))]
    assert opened
    assert not [path for path in opened if str(home) in path]


def test_the_rehearsed_competition_has_the_images_that_are_not_hidden_and_their_labels(shades, serving, home):
    with serving(shades):
        runner.download(shades.competition, home, Console())
    real = read_tables(shades.competition, home.data("shades"))
    with rehearsal(shades.competition, home, 0.25, 0, Console()) as started:
        runner.download(started.competition, started.home, Console())
        found = read_tables(started.competition, started.home.data("shades"))
        pixels = {path.read_bytes(): label for path, label in zip(real.train["path"], real.train["label"], strict=True)}
        for path, label in zip(found.train["path"], found.train["label"], strict=True):
            assert pixels.pop(path.read_bytes()) == label
        truth = pd.read_csv(started.answers, dtype=str).set_index("id")["colour"]
        for id_, path in zip(found.test["id"], found.test["path"], strict=True):
            assert pixels.pop(path.read_bytes()) == truth[id_]
        assert not pixels
        assert list(found.sample.columns) == ["id", "colour"]
    assert not (home.rehearsals / "shades" / "1").exists()


def test_a_rehearsal_that_fails_leaves_nothing(shades, home, serving):
    with serving(shades):
        runner.download(shades.competition, home, Console())
    with pytest.raises(ZeroDivisionError), rehearsal(shades.competition, home, 0.25, 0, Console()):
        raise ZeroDivisionError
    assert not list((home.rehearsals / "shades").iterdir())


def test_without_its_data_a_competition_is_not_rehearsed(shades, home):
    with pytest.raises(RunError, match="comp download shades"):
        runner.rehearse(shades.competition, Choices(), home, Console(), share=0.2)
    assert not home.folder.exists()


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


def test_where_hiding_would_lose_a_class_nothing_is_hidden():
    with pytest.raises(DataError, match="add images"):
        which_hide(table(np.eye(4, dtype=int)), 0.25, seed=0)
