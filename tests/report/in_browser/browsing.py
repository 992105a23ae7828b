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
# What Chromium would otherwise do beside showing a page.
QUIET = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
)


@contextmanager
def launched():
    """A browser without a window, for as long as the block lasts; skips the test where there is none."""
    path = shutil.which("chromium") or pytest.skip("there is no Chromium here; `apt-get install chromium` brings it")
    with pytest.importorskip("playwright.sync_api").sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=list(QUIET))
        yield browser
        browser.close()
        # The driver ends when its input does, which every process that was forked meanwhile holds open too.
        # torch raises for one of its own that is killed, in whatever test comes next.
        told = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for left in multiprocessing.active_children():
            left.kill()
            left.join()
        signal.signal(signal.SIGCHLD, told or signal.SIG_DFL)


@dataclass
class Watched:
    """A page, with what it complained of and whatever it asked for."""

    page: object
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def is_whole(self, *, served_at=None):
        """No complaint, nothing fetched from elsewhere, every picture there, nothing wider than the screen."""
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
    # A page that opened one would wait for an answer.
    watched.page.on("dialog", lambda dialog: (watched.complaints.append(dialog.message), dialog.dismiss()))
    watched.page.goto(url)
    yield watched
    context.close()


def looked_at(browser, path, name=None, looks=tuple(LOOKS), **options):
    """Open the page in each of the looks, see that it is whole, and keep a picture of it by its name, if it has one."""
    for look in looks:
        with watching(browser, f"file://{path}" if isinstance(path, Path) else path, look) as watched:
            watched.is_whole(**options)
            if name is not None:
                watched.keep(f"{name}-{look}")
