import os
import socket
import time
from urllib.parse import quote

import pytest
import requests

from comp.errors import KaggleError
from comp.local_kaggle.grading import Scores
from comp.local_kaggle.store import Store
from comp.report.board import SILENT_SECONDS, board_facts, serve
from comp.report.rendering import render
from tests.report.in_browser.serving import FOLDERS, served, started, trained_an_epoch


def rows(workspace):
    return {row["folder"]: row for one in board_facts(workspace, FOLDERS)["competitions"] for row in one["rows"]}


def shown(workspace, *names):
    """The board's row of the only run."""
    (row,) = rows(workspace).values()
    return tuple(row[name] for name in names)


def test_a_run_is_shown_as_far_as_it_is(workspace):
    run = started(workspace)
    with run.held():
        for _ in ("not there", "empty"):
            assert shown(workspace, "state", "score", "epochs", "chart") == ("training", None, (0, 3), None)
            (run.folder / "epochs.csv").touch()
        trained_an_epoch(run, 0)
        assert shown(workspace, "state", "score", "epochs") == ("training", 0.5, (1, 3))
        assert shown(workspace, "last")[0]["train_loss"] == 1.25
        assert shown(workspace, "seconds", "left") == (2.0, 4.0)
    assert shown(workspace, "state") == ("stopped",)
    run.weights.parent.mkdir()
    run.weights.touch()
    assert shown(workspace, "state") == ("trained",)
    assert "<small>last epoch</small>" in render("board", **board_facts(workspace, FOLDERS))
    run.write_record("scores", {"metric": "accuracy", "tuned": 0.75})
    assert shown(workspace, "state", "score") == ("predicted", 0.75)
    assert "last epoch" not in (page := render("board", **board_facts(workspace, FOLDERS)))
    assert "<small>" not in page
    run.write_record("scores", {"metric": "log_loss", "tuned": 0.75})
    assert "<small>log_loss</small>" in render("board", **board_facts(workspace, FOLDERS))
    run.write_record("submitted", {"score": 0.7})
    assert shown(workspace, "state", "leaderboard") == ("submitted", 0.7)
    run.write_record("scores", {"metric": "accuracy", "tuned": 0.75, "submission": "#new"})
    run.write_record("submitted", {"score": 0.7, "file": "#old"})
    assert shown(workspace, "state", "leaderboard") == ("submitted", None)


def test_a_training_by_hand_is_called_stopped_when_it_wrote_nothing_for_long(workspace):
    run = started(workspace)
    run.write_record("config", {**run.record("config"), "by_hand": True})
    trained_an_epoch(run, 0)
    assert shown(workspace, "state") == ("training",)
    long_ago = time.time() - SILENT_SECONDS - 5
    for path in run.folder.iterdir():
        os.utime(path, (long_ago, long_ago))
    assert shown(workspace, "state") == ("stopped",)


def test_a_run_that_can_t_be_read_is_shown_with_what_to_do(workspace):
    started(workspace)
    (started(workspace).folder / "epochs.csv").write_text("no table")
    (started(workspace).folder / "config.json").write_text("{")
    gone = started(workspace, "<b>")
    gone.log.touch()
    (gone.folder / "config.json").unlink()
    broken = dict.fromkeys(("quick-2", "quick-3", "<b>-1"), "broken")
    assert {name: row["state"] for name, row in rows(workspace).items()} == {"quick-1": "stopped", **broken}
    page = render("board", **board_facts(workspace, FOLDERS))
    assert "The run digits/&lt;b&gt;-1 has no config.json: put the file back, or delete " in page


def test_leaderboards_are_the_local_kaggle_s(workspace):
    store = Store(workspace.cache / "local-kaggle" / "state" / "submissions.sqlite")
    for team, score in (("me", 0.9), ("<b>you</b>", 0.95)):
        upload = store.announce("digits", team, "submission.csv", 10)
        store.score(store.submit(upload, "first"), Scores(score, None))
    (digits,) = board_facts(workspace, FOLDERS)["competitions"]
    assert [(standing.team, standing.score) for standing in digits["standings"]] == [("<b>you</b>", 0.95), ("me", 0.9)]
    assert "&lt;b&gt;you&lt;/b&gt;" in render("board", **board_facts(workspace, FOLDERS))


def test_ticked_runs_are_compared_and_what_can_t_be_is_said(made, shades):
    first, second = (made.run(seed=seed) for seed in (1, 2))
    folders = [*FOLDERS, shades.plugins]
    with served(made.workspace, folders) as url:
        compared = f"{url}/runs/shades/compared?run="
        page = requests.get(f"{compared}{first.folder.name}&run={second.folder.name}", timeout=30)
        assert page.status_code == 200
        assert "Gains over standard-1" in page.text
        assert requests.get(f"{compared}{first.folder.name}", timeout=30).status_code == 409
        assert requests.get(f"{compared}standard-1&run=../x", timeout=30).status_code == 404
    assert not (made.workspace.runs / "shades" / "compare.html").exists()


def test_the_board_serves_pages_that_it_knows_to_this_machine_s_own_names_and_nothing_else_by_any_path(workspace):
    run = started(workspace)
    (run.folder / "report.html").write_text("the report")
    (workspace.runs / "digits" / "explore.html").write_text("the data")
    for place in (workspace.folder, workspace.runs):
        (place / "explore.html").write_text("a secret")
    names = ["quick-1/config.json", "quick-1/../../../explore.html", "../explore.html", "../../explore.html", ".."]
    names += ["quick-1", ".../explore.html", "/etc/passwd", "quick-1/report.html/../config.json", "compare.html"]
    spelt = [spelling for name in names for spelling in (name, quote(name, safe=""), quote(quote(name, safe="")))]
    with served(workspace) as url, requests.Session() as session:
        assert 'href="/runs/digits/quick-1/report.html"' in session.get(url, timeout=10).text
        assert session.get(f"{url}/runs/digits/quick-1/report.html", timeout=10).text == "the report"
        assert session.get(f"{url}/runs/digits/explore.html", timeout=10).text == "the data"
        for path in (prefix + name for name in spelt for prefix in ("/runs/digits/", "/")):
            request = requests.Request("GET", url).prepare()
            request.url = url + path
            answer = session.send(request, timeout=10)
            assert answer.status_code in {404, 405}, path
            assert "secret" not in answer.text
        for host, status in (("evil.example", 400), ("127.0.0.1.evil.example", 400), ("localhost", 200)):
            assert session.get(url, headers={"Host": host}, timeout=10).status_code == status


def test_a_competition_that_can_t_be_loaded_keeps_no_board_down(workspace, tmp_path):
    (tmp_path / "more" / "broken").mkdir(parents=True)
    (tmp_path / "more" / "broken" / "competition.py").write_text("raise ValueError")
    started(workspace, competition="broken")
    found = board_facts(workspace, [*FOLDERS, tmp_path / "more"])["competitions"]
    assert [one["name"] for one in found] == ["broken"]


def test_a_port_in_use_is_one_sentence(workspace):
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(KaggleError, match="choose another with --port"),
    ):
        serve(workspace, FOLDERS, taken.getsockname()[1], announce=lambda url: None)


def test_the_score_of_a_stage_that_was_undone_is_not_shown(workspace, comp):
    run = started(workspace)
    trained_an_epoch(run, 0, score=0.75)
    trained_an_epoch(run, 0, score=0.25, stage=2)
    run.weights.parent.mkdir()
    run.weights.touch()
    run.write_record("trained", {"stages": [], "diverged": [{"number": 2, "stage": {}, "epoch": 1, "cycles_kept": 0}]})
    assert shown(workspace, "score") == (0.75,)
    assert "accuracy 0.75000" in comp("runs").out
