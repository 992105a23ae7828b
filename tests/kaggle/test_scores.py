import csv
from dataclasses import replace

import pytest

from comp.console import Console
from comp.kaggle.client import connect
from comp.kaggle.scores import scores_of
from comp.kaggle.submitting import send, submit
from tests.faults import Fault


@pytest.fixture
def runs(shades, predicting):
    """Two runs of `shades`, the second with better predictions."""
    made = predicting(shades)
    return [made.run(knows=knows, seed=seed) for seed, knows in ((0, 0.2), (2, 5.0))]


@pytest.fixture
def shown(on_shades):
    """Calls `comp scores`; returns its header, its rows by run, and the other lines."""

    def call():
        ended = on_shades("scores", "shades")
        assert ended.status == 0, ended.err
        header, *lines = [line.rstrip() for line in ended.out.splitlines()]
        rows = {line.split()[0]: line.split(maxsplit=5)[1:] for line in lines if line.startswith("shades/")}
        return header, rows, [line for line in lines if not line.startswith("shades/")]

    return call


@pytest.fixture
def others(shades, tmp_path, monkeypatch):
    """Submits for teams with these numbers of the 12 answers right."""

    def call(*shares):
        lines = (shades.served / ".answers" / "shades.csv").read_text().splitlines()
        header, *answers = (line.split(",")[:2] for line in lines)
        for number, right in enumerate(shares):
            given = [(id_, label if place < right else "none") for place, (id_, label) in enumerate(answers)]
            path = tmp_path / f"{number}.csv"
            path.write_text("".join(f"{','.join(row)}\n" for row in (header, *given)))
            with monkeypatch.context() as patch:
                patch.setenv("KAGGLE_USERNAME", f"team {number}")
                submit(connect(), "shades", path, "")

    return call


def test_every_run_has_its_scores_their_gap_and_its_place(shades, serving, workspace, runs, shown, others):
    with serving(shades):
        others(12, 11, 1, 0)
        send(shades.competition, runs[0], workspace, Console(), None)
        header, rows, below = shown()
    assert header.split() == ["run", "validation", "public", "gap", "private", "place"]
    assert list(rows) == [run.name for run in runs]
    first, second = runs[0].record("scores"), runs[1].record("scores")
    public = runs[0].record("submitted")["score"]
    validation, shown_public, gap, private, place = rows[runs[0].name]
    assert (validation, shown_public) == (f"{first['tuned']:.5f}", f"{public:.5f}")
    assert (gap, private) == (f"{public - first['tuned']:+.5f}", "-")
    assert place == f"{1 + (public < 1) + (public < 11 / 12)} of 5"
    assert rows[runs[1].name][:4] == [f"{second['tuned']:.5f}", "-", "-", "-"]
    expected = second["tuned"]
    assert rows[runs[1].name][4] == f"~{1 + (expected < 1) + (expected < 11 / 12)} of 5"
    assert below == ["accuracy; gap: public minus validation; ~ by validation"]


def test_a_score_of_a_metric_that_is_no_longer_declared_is_named_and_has_no_gap_or_place_by_validation(
    shades, serving, workspace, runs, shown, others
):
    with serving(shades):
        others(0)
        send(shades.competition, runs[0], workspace, Console(), None)
        source = shades.declaration.read_text()
        assert '"accuracy"' in source
        shades.declaration.write_text(source.replace('"accuracy"', '"macro_f1"'))
        _, rows, below = shown()
    validation, public = runs[0].record("scores")["tuned"], runs[0].record("submitted")["score"]
    shown_rows = [" ".join(rows[run.name]).split() for run in runs]
    assert shown_rows[0] == [f"{validation:.5f}", "accuracy", f"{public:.5f}", "-", "-", "1", "of", "2"]
    assert shown_rows[1][1:] == ["accuracy", "-", "-", "-", "-"]
    assert below == ["macro_f1; gap: public minus validation"]


def test_the_score_of_a_submission_that_was_edited_is_not_compared_with_the_run_s_validation(
    shades, serving, workspace, runs, shown, capsys
):
    run = runs[0]
    written = run.submission.read_text()
    run.submission.write_text(written.replace("q00,red", "q00,blue").replace("q01,green", "q01,red"))
    with serving(shades):
        send(shades.competition, run, workspace, Console(), None)
        (said,) = (line for line in capsys.readouterr().out.splitlines() if "was edited" in line)
        _, rows, below = shown()
        assert str(run.submission) in said
        assert run.record("submitted")["edited"]
        assert run.leaderboard_score is None
        assert rows[run.name][1:3] == [f"{run.record('submitted')['score']:.5f}*", "-"]
        assert "*" in below[0]
        run.submission.write_text(written)
        send(shades.competition, run, workspace, Console(), None)
        assert "was edited" not in capsys.readouterr().out
        assert shown()[1][run.name][2] != "-"
        assert run.leaderboard_score == run.record("submitted")["score"]


@pytest.mark.parametrize("kind", ["ensemble", "folds", None])
def test_a_run_that_another_rule_was_applied_to_is_said_with_the_command_that_applies_it(
    shades, serving, workspace, predicting, capsys, kind
):
    command, members = "comp ensemble standard-1 standard-2 --how mean", ["shades/standard-1", "shades/standard-2"]
    run = predicting(shades).run(command=command, **({"kind": kind, "members": members} if kind else {}))
    ruled = replace(shades.competition, postprocess=lambda table: table)
    with serving(shades):
        send(ruled, run, workspace, Console(), None)
    (said,) = (line for line in capsys.readouterr().out.splitlines() if "`postprocess`" in line)
    applies = {"ensemble": command, "folds": f"comp join {' '.join(members)}", None: f"comp predict {run.name}"}
    assert f"`{applies[kind]}` applies it" in said


@pytest.mark.parametrize("other", ["file", "kaggle"])
def test_a_score_of_another_file_or_from_another_kaggle_is_not_the_run_s(
    shades, serving, workspace, runs, shown, monkeypatch, other
):
    with serving(shades):
        send(shades.competition, runs[0], workspace, Console(), None)
        assert shown()[1][runs[0].name][1:] != ["-", "-", "-", "-"]
    if other == "file":  # predicted anew, by an edited rule
        runs[0].submission.write_bytes(runs[1].submission.read_bytes())
    else:
        runs[0].write_record("submitted", runs[0].record("submitted") | {"kaggle": "https://api.kaggle.com"})
    monkeypatch.setenv("COMP_KAGGLE_URL", "http://127.0.0.1:9")
    validation, *others = shown()[1][runs[0].name]
    assert validation == f"{runs[0].record('scores')['tuned']:.5f}"
    assert others[:3] == ["-", "-", "-"]
    assert not others[3][:1].isdecimal()


def test_a_score_that_is_no_number_is_none(shades, serving, workspace, runs, monkeypatch, capsys):
    monkeypatch.setattr("comp.local_kaggle.protocol._score_text", lambda score: "NaN")
    with serving(shades):
        row = send(shades.competition, runs[0], workspace, Console(), None)
    assert (row.status, row.public_score, row.private_score) == ("complete", None, None)
    assert capsys.readouterr().out.splitlines()[-1] == "leaderboard: Kaggle gives no score"


def test_no_run_stands_behind_another_of_one_s_own(shades, serving, workspace, runs, shown, others):
    with serving(shades):
        others(0)
        for run in (runs[1], runs[0]):
            send(shades.competition, run, workspace, Console(), None)
        _, rows, _ = shown()
    assert runs[0].record("submitted")["score"] != runs[1].record("submitted")["score"]
    assert [rows[run.name][4] for run in runs] == ["1 of 2", "1 of 2"]


def test_private_scores_stand_on_the_private_leaderboard(shades, serving, workspace, runs, shown, others):
    place = shades.served / ".answers" / "shades.csv"
    header, *answers = place.read_text().splitlines()
    usage = [f"{line},{'Public' if number % 2 else 'Private'}" for number, line in enumerate(answers)]
    place.write_text("\n".join([f"{header},Usage", *usage]) + "\n")
    with serving(shades):
        others(1)  # the only right answer is private
        send(shades.competition, runs[1], workspace, Console(), None)
        _, rows, _ = shown()
    record = runs[1].record("submitted")
    assert rows[runs[1].name][1] == f"{record['score']:.5f}"
    assert rows[runs[1].name][3] == f"{record['private_score']:.5f}"
    with (workspace.runs / "shades" / "leaderboard-private.csv").open(newline="") as file:
        board = {row["team"]: float(row["score"]) for row in csv.DictReader(file)}
    assert board["team 0"] == pytest.approx(1 / 6, abs=1e-5)
    assert board["you"] == record["private_score"]


def test_without_kaggle_scores_and_leaderboard_are_as_they_were_seen_last(
    shades, serving, workspace, runs, shown, monkeypatch
):
    address = "http://127.0.0.1:9"
    with monkeypatch.context() as patch:
        patch.setenv("COMP_KAGGLE_URL", address)
        _, rows, _ = shown()
    assert [row[1:] for row in rows.values()] == [["-", "-", "-", "-"]] * 2
    with serving(shades):
        send(shades.competition, runs[0], workspace, Console(), None)
        seen = shown()
    monkeypatch.setenv("COMP_KAGGLE_URL", address)
    first_line, rows, _ = shown()
    assert first_line.startswith(f"showing the last known scores: Nothing answers at {address}")
    assert rows == seen[1]


def test_a_score_that_came_after_the_wait_is_kept_in_the_run(shades, serving, workspace, runs, monkeypatch):
    monkeypatch.setattr("comp.kaggle.submitting.POLL_SECONDS", (601.0, 601.0))
    with serving(shades, Fault("ListSubmissions", "pending", skip=2)), pytest.raises(Exception, match="no score after"):
        send(shades.competition, runs[0], workspace, Console(), None)
    assert runs[0].record("submitted")["score"] is None
    with serving(shades):
        rows = scores_of(shades.competition, workspace, Console())
    assert runs[0].record("submitted")["score"] == rows[0].public is not None
    assert [row.validation for row in rows] == [run.record("scores")["tuned"] for run in runs]
    assert [row.public is None for row in rows] == [False, True]
    assert [row.gap for row in rows] == [rows[0].public - rows[0].validation, None]


def test_without_runs_there_is_one_sentence(on_shades):
    said = "There is no run of shades yet; make one with `comp run shades`."
    assert on_shades("scores", "shades").sentence == said
