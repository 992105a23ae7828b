"""Planned faults of the local Kaggle, by an application in front of its own.

A plan is a list of faults. Each says which requests it strikes, how often, and what happens to them; a request meets
the first fault that strikes it. Every other request is answered normally.
"""

import asyncio
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from starlette.responses import HTMLResponse, JSONResponse, Response

from comp.local_kaggle.app import create_app

PAGE = "<!DOCTYPE html><html><body><h1>Sign in to use this network</h1></body></html>"


@dataclass(frozen=True)
class Fault:
    """A planned fault.

    at: the requests that it strikes: a call by its name in Kaggle's protocol, like ``CreateSubmission``, or the start
        of a path: ``archives`` (of competitions and data sets), ``archives/planets-dataset.zip``, ``uploads``.
    what: what happens:
        refuse: ``status`` and, if it is not None, ``retry_after`` seconds; nothing is done.
        page: a web page with status 200, as of a proxy; nothing is done.
        drop: the connection ends after ``after_bytes`` of the body; at 0, before the answer begins.
        stall: nothing comes for ``seconds`` after ``after_bytes`` of the body, then the connection ends.
        short: the body has only ``after_bytes`` bytes, and its length says so.
        garble: bit 0 of the body's byte ``after_bytes`` is flipped.
        change: the archive gets one more file at its beginning, which shifts every byte after it.
        expire: the upload's address has expired.
        lose: the request is done, but its answer doesn't arrive: the connection ends or, with a ``status``, a gateway
            answers with that status.
        set: the answer has ``fields``, by their names in Kaggle's protocol.
        pending: the submissions in the answer are not scored yet.
        late: the latest submission is not in the answer yet.
    times: the number of requests struck, after the first ``skip`` requests at ``at``; None for all.
    """

    at: str
    what: str
    times: int | None = 1
    skip: int = 0
    after_bytes: int = 0
    seconds: float = 3600.0
    status: int = 0
    retry_after: int | None = None
    fields: Mapping[str, object] = field(default_factory=dict)

    def is_at(self, path):
        return path.startswith(f"/{self.at}") or path.endswith(f"/{self.at}")


def misbehaving(*plan):
    """A replacement of `create_app`, which makes the local Kaggle's application with the planned faults."""
    return lambda kaggle, kernels: Faulty(create_app(kaggle, kernels), plan, kaggle)


class Faulty:
    def __init__(self, app, plan, kaggle):
        self._app, self._plan, self._kaggle = app, plan, kaggle
        self._seen = [0] * len(plan)

    async def __call__(self, scope, receive, send):
        fault, name = self._strikes(scope["path"]), scope["path"].rpartition("/")[2]
        answer = self._app
        match fault and fault.what:
            case "refuse" | "page":
                while (await receive()).get("more_body"):  # else the client is still sending when it is answered
                    pass
                answer = HTMLResponse(PAGE)
                if fault.what == "refuse":
                    headers = {} if fault.retry_after is None else {"retry-after": str(fault.retry_after)}
                    message = {"code": fault.status, "message": "That went wrong."}
                    answer = JSONResponse(message, fault.status, headers)
            case "drop" | "stall":
                answer = self._cut(fault)
            case "change":
                (self._kaggle.catalog.root / name.removesuffix(".zip") / "VERSION").write_text("another\n")
            case "expire":
                self._kaggle.store.announced.pop(name, None)
            case "lose":
                await self._answer(scope, receive)
                answer = Response(status_code=fault.status) if fault.status else _end
            case "short" | "garble" | "set" | "pending" | "late":
                status, kept, body = await self._answer(scope, receive)
                answer = Response(_changed(fault, body), status)
                answer.raw_headers += [header for header in kept if header[0] != b"content-length"]
        await answer(scope, receive, send)

    def _strikes(self, path):
        """The first fault that strikes this request; each fault counts all requests at its place."""
        found = None
        for number, fault in enumerate(self._plan):
            if fault.is_at(path):
                self._seen[number] += 1
                struck = self._seen[number] - fault.skip
                if struck >= 1 and (fault.times is None or struck <= fault.times):
                    found = found or fault
        return found

    def _cut(self, fault):
        """An application that answers up to a byte of the body, may stall, and ends the connection."""

        async def end(scope, receive, send):
            with suppress(TimeoutError):
                await asyncio.wait_for(_until_left(receive), fault.seconds if fault.what == "stall" else 0)
            await _end(scope, receive, send)

        async def some(scope, receive, send):
            left = fault.after_bytes

            async def send_some(message):
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
                await end(scope, receive, send)

            await self._app(scope, receive, send_some)

        return some if fault.after_bytes else end

    async def _answer(self, scope, receive):
        """Status, headers and body of the application's answer, which is not sent."""
        start, body = {}, bytearray()

        async def keep(message):
            start.update(message)
            body.extend(message.get("body", b""))

        await self._app(scope, receive, keep)
        return start["status"], list(start["headers"]), bytes(body)


def _changed(fault, body):
    at = fault.after_bytes
    if fault.what == "short":
        return body[:at]
    if fault.what == "garble":
        return body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]
    content = json.loads(body)
    rows = content.get("submissions", [])
    if fault.what == "late":
        content["submissions"] = rows[1:]
    for row in rows if fault.what == "pending" else []:
        row |= {"status": "PENDING", "publicScore": None, "privateScore": None}
    return json.dumps(content | fault.fields).encode()


async def _end(scope, receive, send):
    """End the connection, which uvicorn's ``send`` is bound to."""
    send.__self__.transport.close()
    await _until_left(receive)


async def _until_left(receive):
    while (await receive())["type"] != "http.disconnect":
        pass
