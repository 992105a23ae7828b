"""Pages as a browser shows them. Their pictures are kept in ``screenshots/``."""

import html
import re
from contextlib import ExitStack

import pytest

from tests.report.in_browser.browsing import watching
from tests.report.in_browser.conftest import CLASSES

VISIBLE = "#gallery figure:not([hidden])"
VALIDATING = 13
PAGES = ("report.html", "explore.html", "compare.html")
# The size of a chart's letters on the screen.
LETTERS = """[...document.querySelectorAll('svg text')].map(text => {
    const {a, b} = text.getScreenCTM();
    return Math.hypot(a, b) * parseFloat(getComputedStyle(text).fontSize);
})"""


@pytest.fixture
def opened(browser):
    """Open pages, which must still be whole at the end."""
    with ExitStack() as pages:

        def start(path, look="desktop"):
            watched = pages.enter_context(watching(browser, f"file://{path}", look))
            pages.callback(watched.is_whole)
            return watched.page

        yield start


@pytest.fixture
def report(opened, single):
    """The first run's report."""
    return opened(single.page("report.html"))


def numbers(cards, name):
    return [int(value) for value in cards.evaluate_all(f"cards => cards.map(card => card.dataset.{name} ?? -1)")]


@pytest.mark.parametrize("look", ["desktop", "phone"])
@pytest.mark.parametrize("name", PAGES)
def test_hostile_names_stay_text_and_all_can_be_read(opened, single, name, look):
    page = opened(single.page(name), look)
    sizes = page.evaluate(LETTERS)
    assert 11 <= min(sizes) <= max(sizes) <= 17
    lines = page.locator("figure:not([hidden]) figcaption > div")
    assert lines.evaluate_all("lines => lines.filter(line => line.scrollWidth > line.clientWidth)") == []
    assert "" not in [text.strip() for text in page.locator("th, td:not(.matrix td):not(.bar)").all_inner_texts()]
    assert page.evaluate("window.owned") is None
    assert page.locator("script").count() == (2 if name == "report.html" else 1)
    assert page.locator("img[onerror], img[src=x]").count() == 0
    # A line separator shows as the end of a line.
    shown = " ".join(page.locator("main").inner_text().split())
    assert [hostile for hostile in CLASSES if " ".join(hostile.split()) not in shown] == []
    if name != "compare.html":
        assert lines.count() > 20
        assert "<img src=x onerror=window.owned=3>&amp;" in page.locator(".id").first.inner_text()
    if name == "report.html":
        # A wide screen has two columns; a phone leaves out minor columns.
        scores, diagnosis = (page.locator(f"#{part}").bounding_box()["y"] for part in ("scores", "diagnosis"))
        assert (scores == diagnosis, page.locator("#classes thead th:visible").count()) == {
            "desktop": (True, 8),
            "phone": (False, 6),
        }[look]


def test_pictures_are_ordered_and_filtered_by_class_and_by_right_and_wrong(report):
    cards = report.locator(VISIBLE)
    assert len(numbers(cards, "loss")) == VALIDATING
    for order in ("loss", "sure", "uncertain"):
        report.select_option("#gallery [name=order]", order)
        ranks = numbers(cards, order)
        assert ranks == sorted(ranks)
        assert order != "sure" or set(numbers(cards, "right")) <= {1}
    report.select_option("#gallery [name=order]", "loss")
    for name in ("actual", "predicted", "right"):
        everything = numbers(cards, name)
        for value in sorted(set(everything)):
            report.select_option(f"#gallery [name={name}]", str(value))
            assert numbers(cards, name) == [value] * everything.count(value)
            assert report.locator("#gallery .count").inner_text().startswith(f"{everything.count(value)} of")
        report.select_option(f"#gallery [name={name}]", "")


def test_pictures_and_rows_are_filtered_by_fold(opened, single):
    page = opened(single.page("report.html", run=1))
    assert page.locator("#gallery .count").inner_text() == "28 of 64 pictures"
    page.select_option("#gallery [name=fold]", "2")
    page.click("#gallery button.more")
    assert numbers(page.locator(VISIBLE), "fold") == [2] * 32
    assert not page.locator("#gallery button.more").is_visible()
    page.select_option(".rows [name=fold]", "1")
    assert page.locator(".rows .count").inner_text() == "32 rows"
    assert page.locator(".rows tbody tr td:last-child").all_inner_texts() == ["1"] * 25


def leads_to_its_pictures(page, link, count):
    """Click the first of the links to a pair of classes; return the pictures that are shown then."""
    button = page.locator(link).first
    actual, predicted = map(int, button.get_attribute("data-pair").split())
    count = int(count(button).inner_text())
    button.click()
    cards = page.locator(VISIBLE)
    assert numbers(cards, "actual") == [actual] * count
    assert numbers(cards, "predicted") == [predicted] * count
    return cards


def in_its_row(button):
    return button.locator("xpath=ancestor::tr").locator("td").nth(1)


def test_a_label_that_is_contradicted_leads_to_its_picture_and_its_path(opened, single):
    page = opened(single.page("labels.html", run=1), "phone")
    leads_to_its_pictures(page, "#pairs button[data-pair]", in_its_row).first.locator("button.view").click()
    assert page.locator("dialog.large code").inner_text().startswith("data/hostile/train/<img src=x")
    assert page.evaluate("window.owned") is None


def test_a_pair_leads_to_its_pictures_and_a_picture_opens_large_where_arrow_keys_lead_on(report):
    leads_to_its_pictures(report, "#confused button[data-pair]", in_its_row)
    leads_to_its_pictures(report, "#confusion td.w button", lambda button: button)
    for name in ("actual", "predicted"):
        report.select_option(f"#gallery [name={name}]", "")
    cards, large = report.locator(VISIBLE), report.locator("dialog.large")
    cards.nth(0).locator("button.view").click()
    assert large.locator(".view").count() == 2
    assert large.locator(".map").count() == 1
    shares = [float(text) for text in large.locator("li span:last-child").all_inner_texts()]
    assert len(shares) <= len(CLASSES)
    assert sum(shares) == pytest.approx(1, abs=0.003)
    assert large.locator("li.actual").count() == 1
    paths = [card.get_attribute("data-path") for card in cards.all()[:2]]
    assert all(path.startswith("data/hostile/train/") for path in paths)
    assert large.locator("code").inner_text() == paths[0]
    assert large.locator("[name=previous]").is_disabled()
    report.keyboard.press("ArrowRight")
    assert large.locator("code").inner_text() == paths[1]
    report.keyboard.press("ArrowLeft")
    assert large.locator("code").inner_text() == paths[0]
    report.keyboard.press("Escape")
    assert not large.is_visible()


def test_a_table_is_sorted_by_the_column_whose_head_is_pressed_and_searched(report):
    for table, column in ((".rows", 5), ("#classes", 8)):
        head = report.locator(f"{table} th:nth-child({column})").first
        if head.get_attribute("aria-sort") != "descending":
            head.locator("button").click()
        cells = report.locator(f"{table} tbody tr > :nth-child({column})")
        falling = [float(text) for text in cells.all_inner_texts()]
        assert falling == sorted(falling, reverse=True)
        head.locator("button").click()
        assert [float(text) for text in cells.all_inner_texts()] == falling[::-1]
        assert head.get_attribute("aria-sort") == "ascending"
    rows = report.locator(".rows tbody tr")
    report.fill(".rows [name=id]", "TRAIN1")
    assert all("train1" in text for text in rows.locator("td:first-child").all_inner_texts())
    report.fill(".rows [name=id]", "nothing is called so")
    assert rows.count() == 0


def test_all_is_reached_by_keys_alone(report):
    names = "[...document.querySelectorAll('*')].filter(one => one.tabIndex >= 0 && one.checkVisibility())"
    reached = report.evaluate(f"{names}.map(one => one.name || one.className)")
    assert {"order", "actual", "predicted", "right", "maps", "scroll matrix", "id"} <= set(reached)
    report.keyboard.press("Tab")
    assert report.evaluate("document.activeElement.tagName") == "A"
    report.focus("#gallery [name=order]")
    report.keyboard.press("ArrowDown")
    assert numbers(report.locator(VISIBLE), "uncertain") == list(range(VALIDATING))
    activation_map = report.locator(VISIBLE).first.locator(".map")
    assert activation_map.is_visible()
    report.focus("#gallery [name=maps]")
    report.keyboard.press("Space")
    assert not activation_map.is_visible()


def test_without_scripts_every_picture_and_table_but_one_shows(browser, single):
    with watching(browser, f"file://{single.page('report.html')}", java_script_enabled=False) as watched:
        cards = watched.page.locator("#gallery figure")
        assert [card.is_visible() for card in cards.all()] == [True] * VALIDATING
        assert not watched.page.locator(".controls").first.is_visible()
        assert watched.page.locator("noscript p").is_visible()
        assert watched.complaints == []


def test_a_report_works_in_the_frames_that_a_notebook_and_kaggle_put_it_in(browser, single, tmp_path):
    page = single.page("report.html")
    insides = {"src": f"file://{page}", "srcdoc": html.escape(page.read_text(encoding="utf-8"))}
    frames = [f'<iframe sandbox="allow-scripts" width="900" height="700" {how}="{it}">' for how, it in insides.items()]
    notebook = f'<!doctype html><meta charset="utf-8">{"</iframe>".join(frames)}'
    (tmp_path / "notebook.html").write_text(notebook, encoding="utf-8")
    with watching(browser, f"file://{tmp_path}/notebook.html") as watched:
        for number in range(2):
            frame = watched.page.frame_locator("iframe").nth(number)
            frame.locator("#gallery [name=order]").select_option("uncertain")
            assert numbers(frame.locator(VISIBLE), "uncertain") == list(range(VALIDATING))
        assert watched.complaints == []


def test_a_report_has_its_charts_and_they_take_the_colours_of_the_dark(report):
    charts = report.locator("#training svg")
    # A range test, rates, losses and scores of stage 1; of stage 2, at a rate that was given, no range test.
    assert charts.count() == 7
    assert "learning rate of the head" in charts.first.inner_html()
    line = charts.first.locator("path[style*='var(--series-1)']").first
    colours = []
    for scheme in ("light", "dark"):
        report.emulate_media(color_scheme=scheme)
        colours.append(line.evaluate("path => getComputedStyle(path).stroke"))
    assert len(set(colours)) == 2


def test_tags_have_a_curve_each_and_their_mistakes_are_marked(opened, tagged):
    page = opened(tagged.page("report.html"), "dark")
    assert page.locator("#thresholds svg").count() == 4
    assert page.locator("#gallery figure.wrong").first.locator(".missed, .invented").count() >= 1
    assert page.locator("#confusion").count() == 0
    page.select_option("#gallery [name=actual]", "1")
    tags = page.locator(VISIBLE).evaluate_all("cards => cards.map(card => card.dataset.actual.split(' '))")
    assert tags
    assert all("1" in of_card for of_card in tags)
    page = opened(tagged.page("explore.html"), "phone")
    assert page.locator("#together td").count() == 16
    assert page.locator("#classes thead th").all_inner_texts()[3:] == ["fold 1", "fold 2", "fold 3"]


def test_an_exploration_shows_each_class_the_augmentations_and_the_views(opened, single):
    page = opened(single.page("explore.html"))
    assert page.locator("#classes tbody td:nth-child(2)").all_inner_texts() == ["16"] * 4
    assert page.locator("#unlabelled figure").count() == 16
    assert page.locator("#nearby circle").count() == 64
    assert page.locator("#nearby text").count() == 4
    assert [page.locator("#augmented .views").nth(row).locator("img").count() for row in range(2)] == [7, 2]
    assert re.search(r"few images: 64 ", page.locator("#advice").inner_text())
    page.select_option("#gallery [name=actual]", "3")
    page.select_option("#gallery [name=fold]", "valid")
    cards = page.locator(VISIBLE)
    assert set(numbers(cards, "actual")) == {3}
    assert set(cards.evaluate_all("cards => cards.map(card => card.dataset.fold)")) == {"valid"}


def test_a_comparison_names_what_differs_and_what_is_gained(opened, single):
    page = opened(single.page("compare.html"))
    fields = page.locator("#differences tbody th").all_inner_texts()
    assert {"recipe_name", "folds"} <= set(fields)
    assert page.locator("#curves svg").count() == 3
    gains = page.locator("#gains table").first.locator("tbody tr").inner_text().split("\t")
    assert gains[:2] == ["quick-2folds-1", str(VALIDATING)]
