"""Bad days on demand: what the local Kaggle does wrong, as a plan.

A plan is a list of faults. Each says which requests it strikes, how often, and what happens to them; a request meets
the first fault that strikes it. What is not struck is answered as ever.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, Any, Literal

from comp.declare.checks import between, check
from comp.errors import DeclarationError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
    from pathlib import Path

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from comp.local_kaggle.protocol import LocalKaggle

log = logging.getLogger(__name__)

What = Literal["refuse", "page", "drop", "stall", "short", "garble", "change", "expire", "lose", "pending", "late"]
PAGE = b"<!DOCTYPE html><html><body><h1>Sign in to use this network</h1></body></html>"


@dataclass(frozen=True)
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
        pending: the submissions in the answer are not scored yet.
        late: the latest submission is not in the answer yet.
    times: how many requests are struck, after the first ``skip`` of those at ``at``; None for all.
    """

    at: str
    what: What
    times: Annotated[int, between(1)] | None = 1
    skip: Annotated[int, between(0)] = 0
    after_bytes: Annotated[int, between(0)] = 0
    seconds: Annotated[float, between(0)] = 3600.0
    status: Annotated[int, between(0)] = 0
    message: str = "That went wrong."
    retry_after: int | None = None

    def __post_init__(self) -> None:
        check(self)


def read_plan(file: Path) -> list[Fault]:
    """The faults in a JSON file, a list of objects with the fields of Fault. Raises DeclarationError."""
    known = {field.name for field in fields(Fault)}
    try:
        plan = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DeclarationError(f"The plan of faults {file} can't be read as JSON: {error}.") from error
    if not isinstance(plan, list) or not all(isinstance(fault, dict) for fault in plan):
        raise DeclarationError(
            f'The plan of faults {file} should be a list, like [{{"at": "archives", "what": "drop"}}].'
        )
    for fault in plan:
        if unknown := sorted(set(fault) - known):
            raise DeclarationError(
                f"The plan of faults {file} has {unknown[0]!r}; a fault has {', '.join(sorted(known))}."
            )
        if missing := {"at", "what"} - set(fault):
            raise DeclarationError(f"The plan of faults {file} has a fault without {sorted(missing)[0]!r}.")
    return [Fault(**fault) for fault in plan]


class Faulty:
    """An ASGI application before another one, which goes wrong as planned."""

    def __init__(
        self,
        app: ASGIApp,
        plan: Sequence[Fault],
        kaggle: LocalKaggle,
        connections: Mapping[Any, asyncio.BaseTransport],
    ) -> None:
        self._app = app
        self._plan = plan
        self._seen = [0] * len(plan)
        self._counting = threading.Lock()
        self._kaggle = kaggle
        self._connections = connections

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        fault = self._strikes(scope["path"]) if scope["type"] == "http" else None
        if fault is None:
            await self._app(scope, receive, send)
            return
        log.warning("fault: %s at %s", fault.what, scope["path"])
        struck = _Struck(fault, self._app, self._kaggle, self._connections, scope, receive, send)
        await getattr(struck, fault.what)()

    def _strikes(self, path: str) -> Fault | None:
        """The first fault of the plan for this request; each counts all the requests it is for."""
        found = None
        with self._counting:
            for number, fault in enumerate(self._plan):
                if not (path.startswith(f"/{fault.at}") or path.endswith(f"/{fault.at}")):
                    continue
                self._seen[number] += 1
                struck = self._seen[number] - fault.skip
                if struck >= 1 and (fault.times is None or struck <= fault.times):
                    found = found or fault
        return found


@dataclass(frozen=True)
class _Struck:
    """A request that a fault strikes; the method of the fault's name answers it, or doesn't."""

    fault: Fault
    app: ASGIApp
    kaggle: LocalKaggle
    connections: Mapping[Any, asyncio.BaseTransport]
    scope: Scope
    receive: Receive
    send: Send

    async def refuse(self) -> None:
        body = json.dumps({"code": self.fault.status, "message": self.fault.message}).encode()
        headers = [(b"content-type", b"application/json")]
        if self.fault.retry_after is not None:
            headers.append((b"retry-after", str(self.fault.retry_after).encode()))
        await _read(self.receive)
        await _answer(self.send, self.fault.status, body, headers)

    async def page(self) -> None:
        await _read(self.receive)
        await _answer(self.send, 200, PAGE, [(b"content-type", b"text/html; charset=utf-8")])

    async def drop(self) -> None:
        if self.fault.after_bytes:
            await self.app(self.scope, self.receive, _Cut(self.send, self.fault.after_bytes, self._end))
        else:
            await self._end()

    async def stall(self) -> None:
        async def wait_and_end() -> None:
            try:
                await asyncio.wait_for(_until_left(self.receive), self.fault.seconds)
            except TimeoutError:
                await self._end()

        if self.fault.after_bytes:
            await self.app(self.scope, self.receive, _Cut(self.send, self.fault.after_bytes, wait_and_end))
        else:
            await wait_and_end()

    async def short(self) -> None:
        status, headers, body = await self._done()
        kept = [(name, value) for name, value in headers if name != b"content-length"]
        await _answer(self.send, status, body[: self.fault.after_bytes], kept)

    async def garble(self) -> None:
        status, headers, body = await self._done()
        body[self.fault.after_bytes] ^= 1
        await _answer(self.send, status, body, [(name, value) for name, value in headers if name != b"content-length"])

    async def change(self) -> None:
        slug = self.scope["path"].rpartition("/")[2].removesuffix(".zip")
        await asyncio.to_thread(self.kaggle.catalog.revise, slug)
        await self.app(self.scope, self.receive, self.send)

    async def expire(self) -> None:
        await asyncio.to_thread(self.kaggle.store.forget, self.scope["path"].rpartition("/")[2])
        await self.app(self.scope, self.receive, self.send)

    async def lose(self) -> None:
        await self._done()
        if self.fault.status:
            await _answer(self.send, self.fault.status, b"", [])
        else:
            await self._end()

    async def pending(self) -> None:
        def not_scored(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
            unknown = {"publicScore", "privateScore"}
            return [{name: row[name] for name in row if name not in unknown} | {"status": "PENDING"} for row in rows]

        await self._list(not_scored)

    async def late(self) -> None:
        await self._list(lambda rows: rows[1:])

    async def _list(self, changed: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> None:
        status, _, body = await self._done()
        content = json.loads(bytes(body))
        content["submissions"] = changed(content.get("submissions", []))
        await _answer(self.send, status, json.dumps(content).encode(), [(b"content-type", b"application/json")])

    async def _done(self) -> tuple[int, list[tuple[bytes, bytes]], bytearray]:
        """What the application answers, kept back."""
        start: Message = {}
        body = bytearray()

        async def keep(message: Message) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
            else:
                body.extend(message.get("body", b""))

        await self.app(self.scope, self.receive, keep)
        return start["status"], list(start["headers"]), body

    async def _end(self) -> None:
        self.connections[tuple(self.scope["client"])].close()
        await _until_left(self.receive)


class _Cut:
    """Sends a response up to a byte of its body, then calls ``then`` and sends no more."""

    def __init__(self, send: Send, after_bytes: int, then: Callable[[], Awaitable[None]]) -> None:
        self._send = send
        self._left = after_bytes
        self._then = then

    async def __call__(self, message: MutableMapping[str, Any]) -> None:
        if self._left < 0:
            return
        body = message.get("body", b"")
        if message["type"] != "http.response.body" or len(body) < self._left:
            self._left -= len(body)
            await self._send(message)
            return
        await self._send({**message, "body": body[: self._left], "more_body": True})
        self._left = -1
        await self._then()


async def _answer(send: Send, status: int, body: bytes | bytearray, headers: list[tuple[bytes, bytes]]) -> None:
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": bytes(body)})


async def _read(receive: Receive) -> None:
    """The whole request, without which a client is still sending when it is answered."""
    while (await receive()).get("more_body"):
        pass


async def _until_left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
