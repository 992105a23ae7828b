"""A real browser to look at pages with: Debian's Chromium, driven by Playwright."""

import multiprocessing
import re
import shutil
import signal
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

SHOTS = Path(__file__).parents[3] / "screenshots"
LOOKS = {
    "desktop": {"viewport": {"width": 1200, "height": 900}, "color_scheme": "light"},
    "phone": {"viewport": {"width": 390, "height": 844}, "color_scheme": "light", "has_touch": True},
    "dark": {"viewport": {"width": 1200, "height": 900}, "color_scheme": "dark"},
}
# Turn off everything that Chromium does beside showing a page.
QUIET = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
)


@contextmanager
def launched():
    """A headless browser for as long as the block lasts; skips the test without Chromium."""
    path = shutil.which("chromium") or pytest.skip("there is no Chromium here; `apt-get install chromium` brings it")
    with pytest.importorskip("playwright.sync_api").sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=list(QUIET))
        yield browser
        browser.close()
        # The driver ends when its input is closed, but processes forked meanwhile keep that open, so they are killed.
        # The default handler keeps torch from raising for killed workers in the next test.
        told = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for left in multiprocessing.active_children():
            left.kill()
            left.join()
        signal.signal(signal.SIGCHLD, told or signal.SIG_DFL)


@dataclass
class Watched:
    """A page with its complaints on the console and its requests."""

    page: object
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def is_whole(self, *, served_at=None):
        """Assert no complaint, no request elsewhere, no missing picture and nothing wider than the screen."""
        own = ("file:", "data:") if served_at is None else (served_at, "data:")
        assert self.complaints == []
        assert [url for url in self.requests if not url.startswith(own)] == []
        broken = self.page.evaluate("[...document.images].filter(image => !image.naturalWidth).map(image => image.alt)")
        assert broken == []
        width = self.page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
        assert width[0] <= width[1], "the page scrolls sideways"

    def keep(self, name):
        """A screenshot of the whole page."""
        SHOTS.mkdir(exist_ok=True)
        self.page.screenshot(path=str(SHOTS / f"{re.sub(r'[^a-z0-9]+', '-', name)}.png"), full_page=True)


@contextmanager
def watching(browser, url, look="desktop", **options):
    """The page at ``url`` in a context of its own."""
    context = browser.new_context(**LOOKS[look], **options)
    watched = Watched(context.new_page())
    watched.page.set_default_timeout(10_000)
    watched.page.on("console", lambda message: watched.complaints.append(f"{message.type}: {message.text}"))
    watched.page.on("pageerror", lambda error: watched.complaints.append(str(error)))
    watched.page.on("request", lambda request: watched.requests.append(request.url))
    # An open dialog would wait for an answer.
    watched.page.on("dialog", lambda dialog: (watched.complaints.append(dialog.message), dialog.dismiss()))
    watched.page.goto(url)
    yield watched
    context.close()


def looked_at(browser, path, name=None, looks=tuple(LOOKS), **options):
    """Open the page in each look, check that it is whole, and keep a screenshot if it has a name."""
    for look in looks:
        with watching(browser, f"file://{path}" if isinstance(path, Path) else path, look) as watched:
            watched.is_whole(**options)
            if name is not None:
                watched.keep(f"{name}-{look}")
