"""The routes of the local Kaggle: its API and its files."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import unquote

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from comp.errors import DataError
from comp.local_kaggle import LOCAL_TOKEN_PREFIX, LOCAL_USER
from comp.local_kaggle.kernels import Kernels
from comp.local_kaggle.protocol import Asker, LocalKaggle

HOSTS = ("127.0.0.1", "localhost")
# Shown to a user who opens the server's address in a browser.
INDEX = """\
A Kaggle on this machine. `comp board` shows its leaderboards; submissions, and notebooks' logs, are in
COMP_HOME/cache/local-kaggle.
"""


def create_app(kaggle: LocalKaggle, kernels: Kernels) -> Starlette:
    """The ASGI application; it only answers to this machine's names, so that no web page reaches it by another."""
    catalog = kaggle.catalog

    async def api(request: Request) -> Response:
        if "origin" in request.headers:
            raise HTTPException(403, "Web pages may not use this API.")
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
        # Kaggle's files are in Google's storage, which sends the digest in this header.
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
        return PlainTextResponse(INDEX)

    return Starlette(
        routes=[
            Route("/v1/{service}/{name}", api, methods=["POST"]),
            Route("/archives/{slug}.zip", archive),
            Route("/files/{slug}/{name:path}", file),
            Route("/outputs/{owner}/{name}/{path:path}", output),
            Route("/uploads/{token}", upload, methods=["PUT"]),
            Route("/", index),
        ],
        exception_handlers={HTTPException: _refused, DataError: _refused},
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=list(HOSTS))],
    )


def team_of(authorization: str | None) -> str:
    """The user name in the header; `LOCAL_USER` where there is none, as in a real token, which is never read."""
    scheme, _, token = (authorization or "").partition(" ")
    is_ours = scheme.lower() == "bearer" and token.startswith(LOCAL_TOKEN_PREFIX)
    return (unquote(token.removeprefix(LOCAL_TOKEN_PREFIX)).strip() if is_ours else "") or LOCAL_USER


def _refused(_: Request, error: Exception) -> Response:
    """An error response in Kaggle's form."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    message = error.detail if isinstance(error, HTTPException) else str(error)
    return JSONResponse({"code": status, "message": message}, status_code=status)
