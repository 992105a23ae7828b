"""Every page of the three real competitions in a real browser. Screenshots are kept in ``screenshots/``."""

import re
from pathlib import Path

import numpy as np
import pytest
import requests
import torch

from comp import runner
from comp.console import Console
from comp.data.reading import centre, read_image
from comp.data.tables import read_tables
from comp.report.compare import compare
from comp.report.explore import explore
from comp.report.gallery import maps_of
from comp.report.report import explain
from comp.runs.choices import Choices
from tests.real.conftest import BACKBONE, QUICKER
from tests.report.in_browser.browsing import launched, looked_at, watching
from tests.report.in_browser.serving import served

MEGABYTES = 1e6
EACH = pytest.mark.parametrize("name", QUICKER)
# One competition is enough where all photographs are treated alike.
DOG_BREEDS = pytest.mark.parametrize("name", ["dog-breeds"])


@pytest.fixture(scope="module")
def browser():
    with launched() as started:
        yield started


@EACH
def test_the_data_of_a_competition(browser, finished, name, monkeypatch):
    monkeypatch.setattr("comp.report.nearby.DOTS", 300)
    page = explore(finished.competition, Choices("quick", BACKBONE), finished.workspace, Console())
    assert page.stat().st_size < 5 * MEGABYTES
    looked_at(browser, page, f"{name}-explore", ["desktop"])


@EACH
def test_the_report_of_a_run_written_with_it_and_again_with_activation_maps(browser, finished, name):
    page = finished.run.report
    assert 'class="map"' not in page.read_text()
    assert explain(finished.competition, finished.run, finished.workspace, Console()) == page
    assert page.stat().st_size < 5 * MEGABYTES
    looked_at(browser, page, f"{name}-report", ["phone"])
    with watching(browser, f"file://{page}") as watched:
        pictures = watched.page.locator("#gallery figure").count()
        assert pictures >= 150
        assert watched.page.locator("#gallery .map").count() == pictures


@EACH
def test_the_board_of_it_all(browser, finished, name):
    with served(finished.workspace) as url:
        looked_at(browser, url, f"{name}-board", ["dark"], served_at=url)
        links = re.findall(r'href="(/runs/[^"]*)"', requests.get(url, timeout=10).text)
        assert links
        for link in links:
            assert requests.get(url + link, timeout=10).status_code == 200


@DOG_BREEDS
def test_two_runs_side_by_side(browser, finished, name):
    choices = Choices("quick", BACKBONE, (*QUICKER[name], "tta=none"))
    other = runner.train(finished.competition, choices, finished.workspace, Console())
    runner.predict(finished.competition, other, finished.workspace, Console())
    page = compare(finished.competition, [finished.run, other], finished.workspace)
    looked_at(browser, page, f"{name}-compare", ["desktop"])


@DOG_BREEDS
def test_covering_where_a_map_is_hot_costs_the_prediction_more_than_where_it_is_cold(finished, name):
    size, interpolation, maps = maps_of(finished.competition, finished.run, Console())
    paths = read_tables(finished.competition, finished.data).train["path"].iloc[::40]
    images = np.stack([centre(read_image(Path(path), size, interpolation), size) for path in paths])

    def logits(pixels):
        with torch.no_grad():
            return maps._parts(torch.from_numpy(pixels).permute(0, 3, 1, 2)).numpy()

    before = logits(images)
    chosen = before.argmax(axis=1)
    found = maps(images, chosen.tolist())
    lost = {}
    for part, sign in (("hot", 1), ("cold", -1)):
        limits = np.quantile(sign * found, 0.75, axis=(1, 2), keepdims=True)
        covered = np.where((sign * found >= limits)[..., None], images.mean((1, 2), keepdims=True), images)
        after = logits(covered.astype(np.uint8))
        lost[part] = (before - after)[np.arange(len(chosen)), chosen].mean()
    assert lost["hot"] > lost["cold"]
