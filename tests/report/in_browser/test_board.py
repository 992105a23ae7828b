"""The board while a training is under way."""

import re

import pytest

from comp.report import board
from tests.report.in_browser.browsing import watching
from tests.report.in_browser.serving import served, started, trained_an_epoch

expect = pytest.importorskip("playwright.sync_api").expect


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    monkeypatch.setattr(board, "REFRESH_SECONDS", 0.2)


def test_the_board_follows_a_training_and_stays_where_the_reader_is(browser, workspace):
    run = started(workspace)
    with run.held(), served(workspace) as url, watching(browser, url) as watched:
        page = watched.page
        assert page.locator("tbody tr").inner_text().split("\t")[:2] == ["quick-1", "training"]
        page.evaluate("document.body.dataset.seen = 'before'")
        trained_an_epoch(run, 0, score=0.625)
        expect(page.locator("tbody")).to_contain_text("1 of 3", timeout=20_000)
        assert "0.62500" in page.locator("tbody").inner_text()
        assert page.locator("tbody svg").count() == 1
        run.write_record("scores", {"metric": "accuracy", "tuned": 0.75})
        expect(page.locator("tbody")).to_contain_text("predicted", timeout=20_000)
        assert page.evaluate("document.body.dataset.seen") == "before"
        watched.is_whole(served_at=url)


def test_runs_are_sorted_filtered_and_ticked_while_the_board_refreshes(browser, workspace):
    fast, slow = started(workspace), started(workspace, "slow")
    for run, score in ((fast, 0.25), (slow, 0.75)):
        trained_an_epoch(run, 0, score=score)
    with served(workspace) as url, watching(browser, url) as watched:
        page = watched.page
        names = page.locator("tbody tr:visible th a, tbody tr:visible th")
        page.get_by_role("button", name="accuracy").click()
        for box in page.locator("[name=run]").all():
            box.check()
        assert page.locator("[name=compare]").is_enabled()
        trained_an_epoch(fast, 1, score=0.5)
        expect(page.locator("tbody")).to_contain_text("2 of 3", timeout=20_000)
        assert [text.strip() for text in names.all_inner_texts()] == ["slow-1", "quick-1"]
        assert page.locator("[name=run]:checked").count() == 2
        page.fill("[name=filter]", "slow")
        assert [text.strip() for text in names.all_inner_texts()] == ["slow-1"]
        watched.is_whole(served_at=url)


def test_the_board_says_when_it_is_no_longer_answered(browser, workspace):
    started(workspace)
    with served(workspace) as url, watching(browser, url) as watched:
        page = watched.page
        page.route(re.compile(".*"), lambda route: route.abort())
        expect(page.locator(".state")).to_contain_text("does not answer", timeout=20_000)
        assert page.locator("tbody tr").count() == 1
