"""Pages as a browser shows them. Their pictures are kept in ``screenshots/``."""

import html
import re

import pytest

from tests.report.in_browser.browsing import LOOKS, looked_at, watching
from tests.report.in_browser.conftest import CLASSES

VISIBLE = "#gallery figure:not([hidden])"
VALIDATING = 13


@pytest.fixture
def report(browser, single):
    """The first run's report, opened, and whole."""
    with watching(browser, f"file://{single.report()}") as watched:
        yield watched.page
        watched.is_whole()


def test_pages_are_whole_on_a_phone_and_in_the_dark(browser, single, tagged):
    looked_at(browser, single.report(), "hostile-report", looks=["phone"])
    looked_at(browser, tagged.report(), looks=["dark"])
    for path in (tagged.page("explore.html"), single.page("compare.html")):
        looked_at(browser, path, looks=["phone"])


LETTERS = """[...document.querySelectorAll('svg text')].map(text => {
    const {a, b} = text.getScreenCTM();
    return Math.hypot(a, b) * parseFloat(getComputedStyle(text).fontSize);
})"""


@pytest.mark.parametrize("look", LOOKS)
def test_letters_in_charts_are_as_large_as_those_around_them(browser, single, tagged, look):
    for path in (single.report(), tagged.report(), single.page("explore.html"), single.page("compare.html")):
        with watching(browser, f"file://{path}", look) as watched:
            sizes = watched.page.evaluate(LETTERS)
            assert min(sizes) >= 11
            assert max(sizes) <= 17


@pytest.mark.parametrize("look", ["desktop", "phone"])
@pytest.mark.parametrize("page", ["report", "explore.html"])
def test_every_name_under_a_picture_is_there_whole(browser, single, page, look):
    path = single.report() if page == "report" else single.page(page)
    with watching(browser, f"file://{path}", look) as watched:
        lines = watched.page.locator("figure:not([hidden]) figcaption > div")
        assert lines.count() > 20
        assert lines.evaluate_all("lines => lines.filter(line => line.scrollWidth > line.clientWidth)") == []
        assert re.search(r"train\d\d", watched.page.locator(".id").first.inner_text())


@pytest.mark.parametrize("page", ["report", "explore.html", "compare.html"])
def test_no_cell_of_a_table_is_empty_but_where_nothing_was_counted(browser, single, page):
    path = single.report() if page == "report" else single.page(page)
    with watching(browser, f"file://{path}") as watched:
        cells = watched.page.locator("th, td:not(.matrix td):not(.bar)")
        assert "" not in [text.strip() for text in cells.all_inner_texts()]


@pytest.mark.parametrize("page", ["report", "explore.html", "compare.html"])
def test_hostile_names_stay_text(browser, single, page):
    path = single.report() if page == "report" else single.page(page)
    with watching(browser, f"file://{path}") as watched:
        watched.is_whole()
        assert watched.page.evaluate("window.owned") is None
        assert watched.page.locator("script").count() == (2 if page == "report" else 1)
        assert watched.page.locator("img[onerror], img[src=x]").count() == 0
        shown = watched.page.locator("main").inner_text()
        for name in CLASSES:
            # A separator of lines shows as the end of one.
            assert " ".join(name.split()) in " ".join(shown.split())
        assert page == "compare.html" or "<img src=x onerror=window.owned=3>&amp;" in shown
        if page == "report":
            assert "<img src=x onerror=window.owned=3>&amp;" in watched.page.locator(".rows tbody").inner_text()


def numbers(cards, name):
    return [int(value) for value in cards.evaluate_all(f"cards => cards.map(card => card.dataset.{name} ?? -1)")]


def test_pictures_are_shown_in_the_order_that_was_chosen(report):
    cards = report.locator(VISIBLE)
    dearest = numbers(cards, "loss")
    assert len(dearest) == VALIDATING
    assert dearest == sorted(dearest)
    report.select_option("#gallery [name=order]", "sure")
    surest = numbers(cards, "sure")
    assert surest == sorted(surest)
    assert set(numbers(cards, "right")) <= {1}
    report.select_option("#gallery [name=order]", "uncertain")
    assert sorted(numbers(cards, "uncertain")) == numbers(cards, "uncertain")


def test_pictures_are_filtered_by_class_and_by_right_and_wrong(report):
    cards = report.locator(VISIBLE)
    for name in ("actual", "predicted", "right"):
        everything = numbers(cards, name)
        for place in sorted(set(everything)):
            report.select_option(f"#gallery [name={name}]", str(place))
            assert numbers(cards, name) == [place] * everything.count(place)
            assert report.locator("#gallery .count").inner_text().startswith(f"{everything.count(place)} of")
        report.select_option(f"#gallery [name={name}]", "")


def test_pictures_and_rows_are_filtered_by_fold(browser, single):
    with watching(browser, f"file://{single.report(1)}") as watched:
        page = watched.page
        assert page.locator("#gallery .count").inner_text() == "28 of 64 pictures"
        page.select_option("#gallery [name=fold]", "2")
        cards = page.locator(VISIBLE)
        assert set(numbers(cards, "fold")) == {2}
        page.click("#gallery button.more")
        assert len(numbers(cards, "fold")) == 32
        assert not page.locator("#gallery button.more").is_visible()
        page.select_option(".rows [name=fold]", "1")
        assert page.locator(".rows .count").inner_text() == "32 rows"
        folds = page.locator(".rows tbody tr td:last-child").all_inner_texts()
        assert folds == ["1"] * 25


def test_activation_maps_are_laid_over_the_pictures_until_they_are_switched_off(report):
    first = report.locator(VISIBLE).first.locator(".map")
    assert first.is_visible()
    report.uncheck("#gallery [name=maps]")
    assert not first.is_visible()


def test_a_pair_that_is_confused_leads_to_its_pictures(report):
    button = report.locator("button[data-pair]").first
    actual, predicted = map(int, button.get_attribute("data-pair").split())
    count = int(button.locator("xpath=ancestor::tr").locator("td").nth(1).inner_text())
    button.click()
    cards = report.locator(VISIBLE)
    assert numbers(cards, "actual") == [actual] * count
    assert numbers(cards, "predicted") == [predicted] * count


def test_rows_are_searched_sorted_and_turned_over(report):
    rows = report.locator(".rows tbody tr")
    losses = [float(text) for text in report.locator(".rows tbody tr td:nth-child(5)").all_inner_texts()]
    assert losses == sorted(losses, reverse=True)
    report.click(".rows th:nth-child(5) button")
    turned = [float(text) for text in report.locator(".rows tbody tr td:nth-child(5)").all_inner_texts()]
    assert turned == sorted(losses)
    assert report.locator(".rows th[aria-sort]").get_attribute("aria-sort") == "ascending"
    report.fill(".rows [name=id]", "TRAIN1")
    assert all("train1" in text for text in rows.locator("td:first-child").all_inner_texts())
    report.fill(".rows [name=id]", "nothing is called so")
    assert rows.count() == 0


def test_a_table_is_sorted_by_the_column_whose_head_is_pressed(report):
    def column(number):
        return report.locator(f"#classes tbody tr > :nth-child({number})").all_inner_texts()

    report.click("#classes th:nth-child(8) button")
    falling = [float(text) for text in column(8)]
    assert falling == sorted(falling, reverse=True)
    report.click("#classes th:nth-child(8) button")
    assert [float(text) for text in column(8)] == sorted(falling)


def test_all_is_reached_by_keys_alone(report):
    reached = set()
    for _ in range(80):
        report.keyboard.press("Tab")
        reached.add(report.evaluate("document.activeElement.name || document.activeElement.className"))
    assert {"order", "actual", "predicted", "right", "maps", "scroll matrix", "id"} <= reached
    report.focus("#gallery [name=order]")
    report.keyboard.press("ArrowDown")
    assert report.locator("#gallery [name=order]").input_value() == "uncertain"
    assert numbers(report.locator(VISIBLE), "uncertain") == list(range(VALIDATING))
    report.focus("#gallery [name=maps]")
    report.keyboard.press("Space")
    assert not report.locator(VISIBLE).first.locator(".map").is_visible()


def test_without_scripts_every_picture_and_table_but_one_shows(browser, single):
    with watching(browser, f"file://{single.report()}", java_script_enabled=False) as watched:
        page = watched.page
        assert page.locator("#gallery figure").count() == VALIDATING
        assert all(page.locator("#gallery figure").nth(number).is_visible() for number in range(VALIDATING))
        assert not page.locator(".controls").first.is_visible()
        assert page.locator("noscript p").is_visible()
        assert watched.complaints == []


def test_a_report_works_in_the_frames_that_a_notebook_and_kaggle_put_it_in(browser, single, tmp_path):
    page = single.report()
    insides = {"src": f"file://{page}", "srcdoc": html.escape(page.read_text(encoding="utf-8"))}
    frames = [f'<iframe sandbox="allow-scripts" width="900" height="700" {how}="{it}">' for how, it in insides.items()]
    (tmp_path / "notebook.html").write_text(
        f'<!doctype html><meta charset="utf-8">{"</iframe>".join(frames)}', encoding="utf-8"
    )
    with watching(browser, f"file://{tmp_path}/notebook.html") as watched:
        for number in range(2):
            frame = watched.page.frame_locator("iframe").nth(number)
            frame.locator("#gallery [name=order]").select_option("uncertain")
            assert numbers(frame.locator(VISIBLE), "uncertain") == list(range(VALIDATING))
        assert watched.complaints == []


def test_a_report_has_its_charts_and_they_take_the_colours_of_the_dark(report):
    charts = report.locator("#training svg")
    # A sweep, rates, losses and scores of stage 1; of stage 2, at a rate that was given, no sweep.
    assert charts.count() == 7
    assert "learning rate of the head" in charts.first.inner_html()
    line = charts.first.locator("path[style*='var(--series-1)']").first
    colours = []
    for scheme in ("light", "dark"):
        report.emulate_media(color_scheme=scheme)
        colours.append(line.evaluate("path => getComputedStyle(path).stroke"))
    assert len(set(colours)) == 2


def test_tags_have_a_curve_each_and_their_mistakes_are_marked(browser, tagged):
    with watching(browser, f"file://{tagged.report()}") as watched:
        page = watched.page
        assert page.locator("#thresholds svg").count() == 4
        wrong = page.locator("#gallery figure.wrong").first
        assert wrong.locator(".missed, .invented").count() >= 1
        assert page.locator("#confusion").count() == 0
        page.select_option("#gallery [name=actual]", "1")
        places = page.locator(VISIBLE).evaluate_all("cards => cards.map(card => card.dataset.actual.split(' '))")
        assert places
        assert all("1" in of_card for of_card in places)


def test_an_exploration_shows_each_class_the_augmentations_and_the_views(browser, single, tagged):
    with watching(browser, f"file://{single.page('explore.html')}") as watched:
        page = watched.page
        counts = [int(text) for text in page.locator("#classes tbody td:nth-child(2)").all_inner_texts()]
        assert counts == [16, 16, 16, 16]
        assert page.locator("#augmented .views").first.locator("img").count() == 7
        assert page.locator("#augmented .views").last.locator("img").count() == 2
        assert re.search(r"few images: 64 images are labelled", page.locator("#advice").inner_text())
        page.select_option("#gallery [name=actual]", "3")
        assert set(numbers(page.locator(VISIBLE), "actual")) == {3}
        page.select_option("#gallery [name=fold]", "valid")
        parts = page.locator(VISIBLE).evaluate_all("cards => cards.map(card => card.dataset.fold)")
        assert set(parts) == {"valid"}
    with watching(browser, f"file://{tagged.page('explore.html')}") as watched:
        assert watched.page.locator("#together td").count() == 16
        assert watched.page.locator("#classes thead th").all_inner_texts()[3:] == ["fold 1", "fold 2", "fold 3"]


def test_a_comparison_names_what_differs_and_what_is_gained(browser, single):
    with watching(browser, f"file://{single.page('compare.html')}") as watched:
        fields = watched.page.locator("#differences tbody th").all_inner_texts()
        assert {"recipe_name", "folds"} <= set(fields)
        assert watched.page.locator("#curves svg").count() == 3
        gains = watched.page.locator("#gains table").first.locator("tbody tr").inner_text().split("\t")
        assert gains[:2] == ["quick-2folds-1", str(VALIDATING)]
