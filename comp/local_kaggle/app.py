"""The routes of the local Kaggle: its API, its files, and its leaderboards as plain pages."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from pathlib import Path
from urllib.parse import unquote

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from comp.errors import DataError
from comp.local_kaggle import LOCAL_TOKEN_PREFIX, LOCAL_USER
from comp.local_kaggle.kernels import Kernels
from comp.local_kaggle.protocol import Asker, LocalKaggle
from comp.local_kaggle.store import Standing

HOSTS = ("127.0.0.1", "localhost")


def create_app(kaggle: LocalKaggle, kernels: Kernels) -> Starlette:
    """The ASGI application; it answers to the names of this machine only, lest a web page reach it by another."""
    catalog = kaggle.catalog

    async def api(request: Request) -> Response:
        if "origin" in request.headers:
            raise HTTPException(403, "A web page has no business here.")
        asker = Asker(team_of(request.headers.get("authorization")), str(request.base_url).rstrip("/"))
        service, name = request.path_params["service"], request.path_params["name"]
        try:
            body = json.loads(await request.body() or b"{}")
        except ValueError:
            raise HTTPException(400, "The request is not JSON.") from None
        return await run_in_threadpool(kaggle.answer, service, name, body, asker)

    def archive(request: Request) -> Response:
        slug = request.path_params["slug"]
        return stored(catalog.archive(slug) if catalog.has(slug) else None, "application/zip")

    def file(request: Request) -> Response:
        slug = request.path_params["slug"]
        return stored(catalog.file(slug, request.path_params["name"]) if catalog.has(slug) else None)

    def output(request: Request) -> Response:
        return stored(kernels.file(*(request.path_params[part] for part in ("owner", "name", "path"))))

    def stored(path: Path | None, media_type: str = "application/octet-stream") -> Response:
        if path is None:
            raise HTTPException(404, "Not found")
        # Kaggle's files lie in Google's storage, which says their digest this way.
        md5 = catalog.md5(path)
        return FileResponse(path, media_type=media_type, headers={"x-goog-hash": f"md5={md5}"} if md5 else None)

    async def upload(request: Request) -> Response:
        announced = kaggle.store.announced.get(request.path_params["token"])
        if announced is None:
            raise HTTPException(404, "This upload was not announced.")
        beside = kaggle.store.uploads / f"{announced.token}.part"
        size = 0
        with beside.open("wb") as out:
            async for chunk in request.stream():
                size += len(chunk)
                if size > announced.size:
                    break
                out.write(chunk)
        if size != announced.size:
            beside.unlink()
            raise HTTPException(400, f"The upload is not the {announced.size} bytes that were announced.")
        beside.replace(kaggle.store.uploads / announced.token)
        return Response()

    def index(_: Request) -> Response:
        return HTMLResponse(_index(catalog.slugs()))

    def leaderboard(request: Request) -> Response:
        slug = request.path_params["slug"]
        if not catalog.has(slug):
            return HTMLResponse(_index(catalog.slugs()), status_code=404)
        metric = kaggle.graders[slug].metric if slug in kaggle.graders else "score"
        standings = kaggle.store.leaderboard(slug, higher_is_better=kaggle.higher_is_better(slug))
        return HTMLResponse(_leaderboard(slug, metric, standings))

    return Starlette(
        routes=[
            Route("/v1/{service}/{name}", api, methods=["POST"]),
            Route("/archives/{slug}.zip", archive),
            Route("/files/{slug}/{name:path}", file),
            Route("/outputs/{owner}/{name}/{path:path}", output),
            Route("/uploads/{token}", upload, methods=["PUT"]),
            Route("/c/{slug}", leaderboard),
            Route("/", index),
        ],
        exception_handlers={HTTPException: _refused, DataError: _refused},
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=list(HOSTS))],
    )


def team_of(authorization: str | None) -> str:
    """The user name in the header; a real token has none to show and is never looked at."""
    scheme, _, token = (authorization or "").partition(" ")
    is_ours = scheme.lower() == "bearer" and token.startswith(LOCAL_TOKEN_PREFIX)
    return (unquote(token.removeprefix(LOCAL_TOKEN_PREFIX)).strip() if is_ours else "") or LOCAL_USER


def _refused(_: Request, error: Exception) -> Response:
    """An error in the form in which Kaggle sends them."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    message = error.detail if isinstance(error, HTTPException) else str(error)
    return JSONResponse({"code": status, "message": message}, status_code=status)


def _index(slugs: Sequence[str]) -> str:
    items = "".join(f'<li><a href="/c/{escape(slug)}">{escape(slug)}</a></li>' for slug in slugs)
    return _page("Local Kaggle", f"<ul>{items}</ul>" if items else "<p>Nothing is served here.</p>")


def _leaderboard(slug: str, metric: str, standings: Sequence[Standing]) -> str:
    heads = "".join(f"<th>{escape(head)}</th>" for head in ("#", "team", metric, "scored", "best on"))
    rows = "".join(
        f"<tr><td>{rank}</td><td>{escape(standing.team)}</td><td>{standing.score:.5f}</td>"
        f"<td>{standing.entries}</td><td>{standing.date:%Y-%m-%d %H:%M} UTC</td></tr>"
        for rank, standing in enumerate(standings, start=1)
    )
    return _page(slug, f"<table><tr>{heads}</tr>{rows}</table>" if rows else "<p>No scored submissions yet.</p>")


def _page(title: str, body: str) -> str:
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>'
        "<style>body{font:16px sans-serif;margin:2em}td,th{padding:.2em 1em;text-align:left}</style>"
        f'<h1>{escape(title)}</h1>{body}<p><a href="/">all competitions</a></p></html>'
    )
