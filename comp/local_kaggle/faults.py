"""Bad days on demand: what the local Kaggle does wrong, as a plan.

A plan is a list of faults. Each says which requests it strikes, how often, and what happens to them; a request meets
the first fault that strikes it. Every other request is answered as ever.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import ConfigDict, Field, NonNegativeFloat, NonNegativeInt, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from comp.errors import DeclarationError
from comp.local_kaggle.protocol import LocalKaggle

log = logging.getLogger(__name__)

What = Literal[
    "refuse", "page", "drop", "stall", "short", "garble", "change", "expire", "lose", "set", "pending", "late"
]
PAGE = "<!DOCTYPE html><html><body><h1>Sign in to use this network</h1></body></html>"


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Fault:
    """One thing that goes wrong.

    at: the requests it strikes: a call by its name in Kaggle's protocol, like ``CreateSubmission``, or the beginning of
        a path: ``archives`` (of competitions and data sets), ``archives/planets-dataset.zip``, ``uploads``.
    what: what happens:
        refuse: ``status`` with ``message`` and, if it is not None, ``retry_after`` seconds; nothing is done.
        page: a web page with status 200, as of a proxy; nothing is done.
        drop: the connection ends after ``after_bytes`` of the body; at 0, before the answer begins.
        stall: nothing comes for ``seconds`` after ``after_bytes`` of the body, then the connection ends.
        short: the body has ``after_bytes`` bytes only, and its length says so.
        garble: the bit 0 of the body's byte ``after_bytes`` is another.
        change: the archive is replaced by another version, which is what this request gets.
        expire: the upload's address has run out.
        lose: the request is done, but its answer doesn't arrive: the connection ends or, with a ``status``, a gateway
            says that.
        set: the answer says ``fields``, by their names in Kaggle's protocol.
        pending: the submissions in the answer are not scored yet.
        late: the latest submission is not in the answer yet.
    times: how many requests are struck, after the first ``skip`` of those at ``at``; None for all.
    """

    at: str
    what: What
    times: Annotated[int, Field(ge=1)] | None = 1
    skip: NonNegativeInt = 0
    after_bytes: NonNegativeInt = 0
    seconds: NonNegativeFloat = 3600.0
    status: NonNegativeInt = 0
    message: str = "That went wrong."
    retry_after: int | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)

    def is_at(self, path: str) -> bool:
        return path.startswith(f"/{self.at}") or path.endswith(f"/{self.at}")


def read_plan(file: Path) -> list[Fault]:
    """The faults in a JSON file, a list of objects with the fields of Fault. Raises DeclarationError."""
    try:
        return TypeAdapter(list[Fault]).validate_json(file.read_bytes())
    except OSError as error:
        raise DeclarationError(f"The plan of faults {file} can't be read: {error}.") from error
    except ValidationError as error:
        wrong = error.errors()[0]
        found = str(wrong["input"])[:80]
        where = " ".join(str(part) for part in wrong["loc"]) or "its beginning"
        raise DeclarationError(
            f"The plan of faults {file} is wrong at {where}: {wrong['msg']}, and {found!r} was found. "
            'It is a list, like [{"at": "archives", "what": "drop"}].'
        ) from error


class Faulty:
    """An ASGI application before another one, which goes wrong as planned."""

    def __init__(self, app: ASGIApp, plan: Sequence[Fault], kaggle: LocalKaggle) -> None:
        self._app, self._plan, self._kaggle = app, plan, kaggle
        self._seen = [0] * len(plan)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        fault = self._strikes(scope["path"])
        if fault is None:
            await self._app(scope, receive, send)
            return
        log.warning("fault: %s at %s", fault.what, scope["path"])
        name = scope["path"].rpartition("/")[2]
        match fault.what:
            case "refuse" | "page":
                while (await receive()).get("more_body"):  # else the client is still sending when it is answered
                    pass
                answer: Response = HTMLResponse(PAGE)
                if fault.what == "refuse":
                    headers = {} if fault.retry_after is None else {"retry-after": str(fault.retry_after)}
                    answer = JSONResponse({"code": fault.status, "message": fault.message}, fault.status, headers)
                await answer(scope, receive, send)
            case "drop" | "stall":
                await self._cut(fault, scope, receive, send)
            case "change" | "expire":
                if fault.what == "change":
                    await asyncio.to_thread(self._kaggle.catalog.revise, name.removesuffix(".zip"))
                else:
                    await asyncio.to_thread(self._kaggle.store.forget, name)
                await self._app(scope, receive, send)
            case "lose":
                await self._answer(scope, receive)
                if fault.status:
                    await Response(status_code=fault.status)(scope, receive, send)
                else:
                    await _end(receive, send)
            case _:
                status, kept, body = await self._answer(scope, receive)
                answer = Response(_changed(fault, body), status)
                answer.raw_headers += [header for header in kept if header[0] != b"content-length"]
                await answer(scope, receive, send)

    def _strikes(self, path: str) -> Fault | None:
        """The first fault of the plan for this request; each counts all the requests it is for."""
        found = None
        for number, fault in enumerate(self._plan):
            if fault.is_at(path):
                self._seen[number] += 1
                struck = self._seen[number] - fault.skip
                if struck >= 1 and (fault.times is None or struck <= fault.times):
                    found = found or fault
        return found

    async def _cut(self, fault: Fault, scope: Scope, receive: Receive, send: Send) -> None:
        """The answer up to a byte of its body; then the connection is silent or not, and ends."""
        left = fault.after_bytes

        async def end() -> None:
            with suppress(TimeoutError):
                await asyncio.wait_for(_until_left(receive), fault.seconds if fault.what == "stall" else 0)
            await _end(receive, send)

        async def send_some(message: Message) -> None:
            nonlocal left
            body = message.get("body", b"")
            if left < 0:
                return
            if message["type"] != "http.response.body" or len(body) < left:
                left -= len(body)
                await send(message)
                return
            await send({**message, "body": body[:left], "more_body": True})
            left = -1
            await end()

        await (self._app(scope, receive, send_some) if left else end())

    async def _answer(self, scope: Scope, receive: Receive) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        """Status, headers and body of the application's answer, kept back."""
        start: Message = {}
        body = bytearray()

        async def keep(message: Message) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
            else:
                body.extend(message.get("body", b""))

        await self._app(scope, receive, keep)
        return start["status"], list(start["headers"]), bytes(body)


def _changed(fault: Fault, body: bytes) -> bytes:
    at = fault.after_bytes
    if fault.what == "short":
        return body[:at]
    if fault.what == "garble":
        return body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]
    content = json.loads(body)
    if fault.what == "set":
        return json.dumps(content | fault.fields).encode()
    rows = content.get("submissions", [])
    unscored = [
        {name: row[name] for name in row if name not in ("publicScore", "privateScore")} | {"status": "PENDING"}
        for row in rows
    ]
    content["submissions"] = rows[1:] if fault.what == "late" else unscored
    return json.dumps(content).encode()


async def _end(receive: Receive, send: Send) -> None:
    """End the connection, which uvicorn's own ``send`` knows."""
    cast("Any", send).__self__.transport.close()
    await _until_left(receive)


async def _until_left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
