"""Every page of the three real competitions in a real browser. Their pictures are kept in ``screenshots/``."""

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
from comp.runs.resolve import Choices
from tests.real.conftest import BACKBONE
from tests.report.in_browser.browsing import launched, looked_at, watching
from tests.report.in_browser.serving import served

SIZES = {"dogs-vs-cats": "stages.size=96", "dog-breeds": "stages.size=128", "planet": "stages.size=64"}
MEGABYTES = 1e6


@pytest.fixture(scope="module")
def browser():
    with launched() as started:
        yield started


@pytest.fixture(scope="module", params=SIZES)
def finished_one(request, finished):
    return finished(request.param, SIZES[request.param])


def test_the_data_of_a_competition(browser, finished_one):
    one = finished_one
    page = explore(one.competition, Choices("quick", f"local-dir:{BACKBONE}"), one.workspace, Console())
    assert page.stat().st_size < 5 * MEGABYTES
    looked_at(browser, page, f"{one.competition.name}-explore")


def test_the_report_of_a_run_written_with_it_and_again_with_activation_maps(browser, finished_one):
    one, page = finished_one, finished_one.run.folder / "report.html"
    with watching(browser, f"file://{page}") as watched:
        watched.is_whole()
        assert watched.page.locator("#gallery .map").count() == 0
    assert explain(one.competition, one.run, one.workspace, Console()) == page
    assert page.stat().st_size < 5 * MEGABYTES
    looked_at(browser, page, f"{one.competition.name}-report")
    with watching(browser, f"file://{page}") as watched:
        pictures = watched.page.locator("#gallery figure").count()
        assert pictures >= 150
        assert watched.page.locator("#gallery .map").count() == pictures


def test_covering_where_a_map_is_hot_costs_the_prediction_more_than_where_it_is_cold(finished_one):
    one = finished_one
    if one.competition.name == "planet":
        pytest.skip("of 64 pixels its last activations are 2 by 2: too coarse to cover a part")
    size, interpolation, maps = maps_of(one.competition, one.run, Console())
    tables = read_tables(one.competition, one.data)
    paths = tables.train["path"].iloc[:: len(tables.train) // 40]
    images = np.stack([centre(read_image(Path(path), size, interpolation), size) for path in paths])

    def logits(pixels):
        with torch.no_grad():
            return maps._parts(torch.from_numpy(pixels).permute(0, 3, 1, 2)).numpy()

    before = logits(images)
    chosen = before.argmax(axis=1)
    found = maps(images, chosen.tolist())
    lost = {}
    for name, sign in (("hot", 1), ("cold", -1)):
        limits = np.quantile(sign * found, 0.75, axis=(1, 2), keepdims=True)
        covered = np.where((sign * found >= limits)[..., None], images.mean((1, 2), keepdims=True), images)
        after = logits(covered.astype(np.uint8))
        lost[name] = (before - after)[np.arange(len(chosen)), chosen].mean()
    assert lost["hot"] > lost["cold"]


def test_two_runs_side_by_side(browser, finished_one):
    one = finished_one
    choices = Choices(
        "quick", f"local-dir:{BACKBONE}", (SIZES[one.competition.name], "stages.cycle_length=2", "tta=none")
    )
    other = runner.train(one.competition, choices, one.workspace, Console())
    runner.predict(one.competition, other, one.workspace, Console())
    looked_at(browser, compare(one.competition, [one.run, other], one.workspace), f"{one.competition.name}-compare")


def test_the_board_of_it_all(browser, finished_one):
    one = finished_one
    with served(one.workspace) as url:
        looked_at(browser, url, f"{one.competition.name}-board", served_at=url)
        links = re.findall(r'href="(/runs/[^"]*)"', requests.get(url, timeout=10).text)
        assert links
        for link in links:
            assert requests.get(url + link, timeout=10).status_code == 200
