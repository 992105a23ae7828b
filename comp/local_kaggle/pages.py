"""The leaderboards as plain HTML."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from comp.local_kaggle.store import Standing


def index(slugs: Sequence[str]) -> str:
    items = "".join(f'<li><a href="/c/{escape(slug)}">{escape(slug)}</a></li>' for slug in slugs)
    return _page("Local Kaggle", f"<ul>{items}</ul>" if items else "<p>Nothing is served here.</p>")


def leaderboard(slug: str, metric: str | None, standings: Sequence[Standing]) -> str:
    rows = "".join(
        f"<tr><td>{rank}</td><td>{escape(standing.team)}</td><td>{standing.score:.5f}</td>"
        f"<td>{standing.entries}</td><td>{standing.date:%Y-%m-%d %H:%M} UTC</td></tr>"
        for rank, standing in enumerate(standings, start=1)
    )
    table = (
        f"<table><tr><th>#</th><th>team</th><th>{escape(metric or 'score')}</th><th>scored</th><th>best on</th></tr>"
        f"{rows}</table>"
    )
    return _page(slug, table if rows else "<p>No scored submissions yet.</p>")


def _page(title: str, body: str) -> str:
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>'
        "<style>body{font:16px sans-serif;margin:2em}td,th{padding:.2em 1em;text-align:left}</style>"
        f'<h1>{escape(title)}</h1>{body}<p><a href="/">all competitions</a></p></html>'
    )
