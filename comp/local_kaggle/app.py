"""The routes of the local Kaggle."""

from __future__ import annotations

import base64
import binascii
import json
from typing import TYPE_CHECKING
from urllib.parse import unquote

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from comp.errors import DataError
from comp.local_kaggle import LOCAL_TOKEN_PREFIX, LOCAL_USER, pages
from comp.local_kaggle.protocol import Asker, LocalKaggle, Redirect, RefusedError

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.requests import Request

    from comp.local_kaggle.kernels import Kernels

HOSTS = ("127.0.0.1", "localhost")


def create_app(kaggle: LocalKaggle, kernels: Kernels) -> Starlette:
    """The ASGI application; it answers to the names of this machine only, lest a web page reach it by another."""

    async def api(request: Request) -> Response:
        service, name = request.path_params["service"], request.path_params["name"]
        if "origin" in request.headers:
            return refused(RefusedError(403, "A web page has no business here."))
        asker = Asker(team_of(request.headers.get("authorization")), str(request.base_url).rstrip("/"))
        try:
            body = json.loads(await request.body() or b"{}")
        except ValueError:
            return refused(RefusedError(400, "The request is not JSON."))
        try:
            answer = await run_in_threadpool(kaggle.answer, service, name, body, asker)
        except RefusedError as error:
            return refused(error)
        except DataError as error:
            return refused(RefusedError(500, str(error)))
        if isinstance(answer, Redirect):
            return RedirectResponse(asker.base_url + answer.path, status_code=302)
        return JSONResponse(answer)

    def archive(request: Request) -> Response:
        slug = request.path_params["slug"]
        if not kaggle.catalog.has(slug):
            return refused(RefusedError(404, "Not found"))
        return stored(kaggle.catalog.archive(slug), "application/zip")

    def file(request: Request) -> Response:
        slug, name = request.path_params["slug"], request.path_params["name"]
        path = kaggle.catalog.file(slug, name) if kaggle.catalog.has(slug) else None
        if path is None:
            return refused(RefusedError(404, "Not found"))
        return stored(path, "application/octet-stream")

    def output(request: Request) -> Response:
        path = kernels.file(*(request.path_params[part] for part in ("owner", "name", "path")))
        if path is None:
            return refused(RefusedError(404, "Not found"))
        return stored(path, "application/octet-stream")

    def stored(path: Path, media_type: str) -> Response:
        # Kaggle's files lie in Google's storage, which says their digest this way.
        md5 = kaggle.catalog.md5(path)
        return FileResponse(path, media_type=media_type, headers={"x-goog-hash": f"md5={md5}"} if md5 else None)

    async def upload(request: Request) -> Response:
        announced = await run_in_threadpool(kaggle.store.upload, request.path_params["token"])
        if announced is None:
            return refused(RefusedError(404, "This upload was not announced."))
        beside = kaggle.uploads / f"{announced.token}.part"
        size = 0
        with beside.open("wb") as out:
            async for chunk in request.stream():
                size += len(chunk)
                if size > announced.size:
                    break
                out.write(chunk)
        if size != announced.size:
            beside.unlink()
            return refused(RefusedError(400, f"The upload is not the {announced.size} bytes that were announced."))
        beside.replace(kaggle.uploads / announced.token)
        return Response(status_code=200)

    def index(_: Request) -> Response:
        return HTMLResponse(pages.index(kaggle.catalog.slugs()))

    def leaderboard(request: Request) -> Response:
        slug = request.path_params["slug"]
        if not kaggle.catalog.has(slug):
            return HTMLResponse(pages.index(kaggle.catalog.slugs()), status_code=404)
        grader = kaggle.graders.get(slug)
        standings = kaggle.store.leaderboard(slug, higher_is_better=kaggle.higher_is_better(slug))
        return HTMLResponse(pages.leaderboard(slug, grader.metric if grader else None, standings))

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
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=list(HOSTS))],
    )


def refused(error: RefusedError) -> Response:
    return JSONResponse({"code": error.status, "message": error.message}, status_code=error.status)


def team_of(authorization: str | None) -> str:
    """The user name in the header; a real token has none to show and is never looked at."""
    scheme, _, value = (authorization or "").partition(" ")
    name = ""
    if scheme.lower() == "bearer" and value.startswith(LOCAL_TOKEN_PREFIX):
        name = unquote(value.removeprefix(LOCAL_TOKEN_PREFIX))
    elif scheme.lower() == "basic":
        try:
            name = base64.b64decode(value).decode().partition(":")[0]
        except (binascii.Error, ValueError):
            name = ""
    return name.strip() or LOCAL_USER
