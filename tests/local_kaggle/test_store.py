import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from comp.errors import DataError
from comp.local_kaggle.grading import Scores
from comp.local_kaggle.store import Store


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "state" / "submissions.sqlite")


def submitted(store, team, score, slug="s", private=None):
    ref = store.submit(store.announce(slug, team, "a.csv", 1), "")
    store.score(ref, None if score is None else Scores(score, private))
    return ref


def test_the_leaderboard_has_each_teams_best_in_the_metrics_direction(store):
    scores = [("a", 0.3, 0.4), ("b", 0.5, 0.6), ("a", 0.9, 0.1), ("a", 0.1, 0.2), ("c", 0.9, None), ("d", None, None)]
    for team, score, private in scores:
        submitted(store, team, score, private=private)
    submitted(store, "elsewhere", 1.0, slug="other")
    up = store.leaderboard("s", higher_is_better=True)
    assert [(row.team, row.score, row.entries) for row in up] == [("a", 0.9, 3), ("c", 0.9, 1), ("b", 0.5, 1)]
    down = store.leaderboard("s", higher_is_better=False)
    assert [(row.team, row.score) for row in down] == [("a", 0.1), ("b", 0.5), ("c", 0.9)]
    private = store.leaderboard("s", higher_is_better=True, private=True)
    assert [(row.team, row.score) for row in private] == [("b", 0.6), ("a", 0.4)]


def test_an_upload_is_submitted_once_and_outlives_the_store(store, tmp_path):
    upload = store.announce("s", "a", "a.csv", 1)
    store.score(store.submit(upload, "first"), Scores(0.25, None))
    assert store.submit(upload, "again") is None
    (row,) = Store(tmp_path / "state" / "submissions.sqlite").submissions("s", "a")
    assert (row.score, row.status, row.private_score) == (0.25, "complete", None)


def test_many_threads_may_submit_at_once(store):
    with ThreadPoolExecutor(4) as threads:
        refs = list(threads.map(lambda number: submitted(store, f"t{number % 4}", number), range(16)))
    assert len(set(refs)) == 16
    assert len(store.leaderboard("s", higher_is_better=True)) == 4


def test_its_file_keeps_the_person_s_umask(tmp_path):
    before = os.umask(0o002)
    try:
        Store(tmp_path / "state" / "submissions.sqlite")
    finally:
        os.umask(before)
    assert (tmp_path / "state" / "submissions.sqlite").stat().st_mode & 0o777 == 0o664


def test_a_file_that_is_no_database_is_one_sentence(tmp_path):
    (tmp_path / "broken.sqlite").write_bytes(b"not a database" * 100)
    with pytest.raises(DataError, match="empty leaderboard"):
        Store(tmp_path / "broken.sqlite")
