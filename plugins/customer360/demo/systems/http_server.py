"""The web server of the demo: a call centre, a campaign tool, and a receiver of webhooks.

What belongs here: HTTP as such systems speak it, with tokens, pages, cursors, links, rate limits,
and faults that an administrator switches on. What does not: what is served (``api``).

It is a process of its own and listens on the loopback address only::

    python -m customer360.demo.systems.http_server FOLDER PORT
"""

import asyncio
import base64
import contextlib
import datetime as dt
import json
import math
import os
import secrets
import signal
import socket
import sqlite3
import struct
import sys
import threading
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import parse_qs

import uvicorn
from fastapi import Depends, FastAPI, Header, HTTPException, Query, Request, Response
from pydantic import BaseModel, Field

from customer360.demo.systems import api
from customer360.demo.systems.layout import Layout, load_secrets

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

RATE_PER_SECOND = 20
"""Requests a second that the campaign tool takes; as many may come at once."""

MAX_PAGE = 1000

CALLCENTRE_LIST = {"page", "per_page", "cursor", "updated_since"}
CAMPAIGN_LIST = {"limit", "after", "updated_since"}
SAME_MEANING = (
    {"per_page", "limit", "page_size", "size", "count"},
    {"cursor", "after", "page", "offset"},
    {"updated_since", "since", "modified_since", "updated_after"},
)
"""Names that other services give to what one of ours calls otherwise."""

FaultKind = Literal["error", "reset", "slow", "half", "wrong-length", "repeated-cursor"]


@dataclass
class Fault:
    """A fault of a system: after ``after`` good answers it strikes ``times`` times."""

    system: str
    kind: FaultKind
    times: int
    after: int
    seconds: float


class FaultOrder(BaseModel):
    """What an administrator posts; ``times`` 0 means until it is switched off."""

    system: Literal["callcentre", "campaign", "hooks"]
    kind: FaultKind
    times: int = Field(default=1, ge=0)
    after: int = Field(default=0, ge=0)
    seconds: float = Field(default=5.0, ge=0, le=600)


class Faults:
    """The faults that are switched on."""

    def __init__(self) -> None:
        self.on: list[Fault] = []

    def strike(self, system: str, *, has_previous: bool) -> Fault | None:
        """The fault that the next answer of ``system`` suffers, if any.

        A repeated cursor waits for an answer that has a page before it.
        """
        for fault in self.on:
            if fault.system != system:
                continue
            if fault.kind == "repeated-cursor" and not has_previous:
                continue
            if fault.after:
                fault.after -= 1
                return None
            if fault.times == 1:
                self.on.remove(fault)
            elif fault.times:
                fault.times -= 1
            return fault
        return None


class Bucket:
    """A token bucket: ``rate`` requests a second, as many at once."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._level = rate
        self._seen = time.monotonic()
        self._lock = threading.Lock()

    def take(self) -> tuple[int, float]:
        """Requests left, and the seconds to wait where there are none (else 0)."""
        with self._lock:
            now = time.monotonic()
            self._level = min(self.rate, self._level + (now - self._seen) * self.rate)
            self._seen = now
            if self._level >= 1:
                self._level -= 1
                return int(self._level), 0.0
            return 0, (1 - self._level) / self.rate


class Current:
    """The file served now; follows the pointer when the demo moves on."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._served: api.Served | None = None
        self._lock = threading.Lock()

    def get(self) -> api.Served:
        """The current file, opened once."""
        with self._lock:
            path = api.current_path(self._layout)
            if self._served is None or self._served.path != path:
                # The old one stays open for the requests that still read it, and goes with them.
                self._served = api.Served(path)
            return self._served


class FaultyApp:
    """The application with the faults in front of it, where they can break an answer midway."""

    def __init__(self, app: FastAPI, faults: Faults) -> None:
        self._app = app
        self._faults = faults

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or fail as the next fault of the system says."""
        system = scope["path"].split("/")[1] if scope["type"] == "http" else ""
        query = parse_qs(scope.get("query_string", b"").decode("ascii", "replace"))
        asked = {"cursor", "after"} & query.keys() or query.get("page", ["1"]) != ["1"]
        fault = self._faults.strike(system, has_previous=bool(asked))
        if fault is None:
            await self._app(scope, receive, send)
            return
        scope["fault"] = fault.kind
        if fault.kind == "error":
            await Response('{"error":"internal"}', 500, media_type="application/json")(
                scope, receive, send
            )
        elif fault.kind == "reset":
            cut(receive, reset=True)
        elif fault.kind in ("half", "wrong-length"):
            await self._broken(fault.kind, scope, receive, send)
        else:
            if fault.kind == "slow":
                await asyncio.sleep(fault.seconds)
            await self._app(scope, receive, send)

    async def _broken(self, kind: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the first half of the answer: as if it were all, or announcing the whole."""
        answer: list[MutableMapping[str, Any]] = []

        async def keep(message: MutableMapping[str, Any]) -> None:
            answer.append(message)

        await self._app(scope, receive, keep)
        start = answer[0]
        body = b"".join(message.get("body", b"") for message in answer[1:])
        half = body[: len(body) // 2]
        length = len(half) if kind == "half" else len(body)
        start["headers"] = [
            (name, value) for name, value in start["headers"] if name != b"content-length"
        ] + [(b"content-length", str(length).encode())]
        await send(start)
        await send(
            {"type": "http.response.body", "body": half, "more_body": kind == "wrong-length"}
        )
        if kind == "wrong-length":
            cut(receive, reset=False)


def cut(receive: Receive, *, reset: bool) -> None:
    """Close the connection under the answer; with ``reset``, without a farewell (TCP RST)."""
    # ASGI has no word for this: uvicorn's ``receive`` belongs to the object with the transport.
    transport = receive.__self__.transport  # type: ignore[attr-defined]  # a bound method
    if reset:
        transport.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
        transport.abort()
    else:
        transport.close()


def bearer(token: str) -> Callable[[str | None], None]:
    """A dependency that lets only the holder of ``token`` in."""

    def check(authorization: Annotated[str | None, Header()] = None) -> None:
        if not secrets.compare_digest((authorization or "").encode(), f"Bearer {token}".encode()):
            raise HTTPException(401, "a valid token is needed: Authorization: Bearer ...")

    return check


def only(request: Request, known: set[str]) -> None:
    """Refuse a query parameter that would be ignored, and name the one that was meant."""
    for name in request.query_params:
        if name in known:
            continue
        meant = sorted(other for same in SAME_MEANING if name in same for other in same & known)
        hint = f"use {' or '.join(meant)}; " if meant else ""
        there = f"there are {', '.join(sorted(known))}" if known else "there are none here"
        raise HTTPException(400, f"unknown query parameter {name!r}: {hint}{there}")


def encode_cursor(file: str, position: int, changed_at: str, key: str) -> str:
    """An opaque cursor: where it stood in which file, and the last row given out."""
    return base64.urlsafe_b64encode(json.dumps([file, position, changed_at, key]).encode()).decode()


def start_of(served: api.Served, resource: api.Resource, cursor: str | None, since: str) -> int:
    """Position at which a reader goes on, also when the data moved on meanwhile."""
    if cursor is None:
        return served.position_since(resource, since) if since else 0
    try:
        file, position, changed_at, key = json.loads(base64.urlsafe_b64decode(cursor))
    except ValueError:
        raise HTTPException(400, "the cursor is not one of ours") from None
    if file == served.path.name:
        return int(position)
    return served.position_after(resource, changed_at, key)


def local_time(text: str | None, hours: int) -> str:
    """An ISO time as the naive time of a zone ``hours`` ahead of UTC, as the tables keep it."""
    if not text:
        return ""
    try:
        # A plus sign that nobody escaped arrives as a blank.
        moment = dt.datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text)
    except ValueError:
        raise HTTPException(400, "updated_since must be an ISO 8601 time") from None
    if moment.tzinfo:
        zone = dt.timezone(dt.timedelta(hours=hours))
        moment = moment.astimezone(zone).replace(tzinfo=None)
    return moment.isoformat(sep=" ")


def make_app(layout: Layout) -> FaultyApp:
    """The whole application for one demo."""
    app = FastAPI(title="customer360 demo systems", docs_url=None, redoc_url=None, openapi_url=None)
    known = load_secrets(layout)
    current, faults, bucket = Current(layout), Faults(), Bucket(RATE_PER_SECOND)
    callcentre = Depends(bearer(known["callcentre"]))
    campaign = Depends(bearer(known["campaign"]))
    webhook = Depends(bearer(known["webhook"]))
    admin = Depends(bearer(known["admin"]))

    def find(system: str, name: str) -> tuple[api.Served, api.Resource]:
        served = current.get()
        resource = served.resources.get((system, name))
        if resource is None:
            names = ", ".join(known for owner, known in served.resources if owner == system)
            raise HTTPException(404, f"no such resource; there are: {names}")
        if resource.is_down:
            raise HTTPException(503, "maintenance", headers={"Retry-After": "3600"})
        return served, resource

    def limited(response: Response) -> None:
        left, wait = bucket.take()
        headers = {"X-RateLimit-Limit": str(RATE_PER_SECOND), "X-RateLimit-Remaining": str(left)}
        if wait:
            headers["Retry-After"] = str(math.ceil(wait))
            raise HTTPException(429, "too many requests", headers=headers)
        response.headers.update(headers)

    def json_answer(text: str, headers: MutableMapping[str, str] | None = None) -> Response:
        return Response(text, media_type="application/json", headers=dict(headers or {}))

    @app.get("/health")
    def health() -> dict[str, str]:
        """Whose server this is, so that a command knows its own."""
        return {"demo": str(layout.root), "serves": current.get().path.name}

    @app.get("/callcentre/v1/{name}", dependencies=[callcentre])
    def list_callcentre(
        request: Request,
        name: str,
        page: Annotated[int | None, Query(ge=1)] = None,
        per_page: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 100,
        cursor: str | None = None,
        updated_since: str | None = None,
    ) -> Response:
        """Rows by page number, or by cursor when no page is asked for."""
        only(request, CALLCENTRE_LIST)
        if page is not None and cursor is not None:
            raise HTTPException(400, "page and cursor exclude each other: give one of them")
        served, resource = find("callcentre", name)
        repeats = request.scope.get("fault") == "repeated-cursor"
        first = start_of(served, resource, cursor, local_time(updated_since, hours=8))
        if page is not None:
            total = resource.size - first
            # The page before comes once more, under the number that was asked for.
            shown = page - 1 if repeats else page
            rows = served.rows(resource, first + (shown - 1) * per_page, per_page)
            pages = max(1, math.ceil(total / per_page))
            tail = f'"page":{page},"per_page":{per_page},"total":{total},"total_pages":{pages}'
        else:
            rows = served.rows(resource, first, per_page)
            more = first + len(rows) < resource.size
            following = (
                encode_cursor(served.path.name, first + len(rows), rows[-1][0], rows[-1][1])
                if more
                else None
            )
            if repeats:
                following = cursor
            tail = f'"has_more":{json.dumps(more)},"next_cursor":{json.dumps(following)}'
        return json_answer(f'{{"data":[{",".join(row[2] for row in rows)}],{tail}}}')

    @app.get("/callcentre/v1/{name}/{key}", dependencies=[callcentre])
    def one_callcentre(request: Request, name: str, key: str) -> Response:
        """One row by its key."""
        only(request, set())
        served, resource = find("callcentre", name)
        body = served.one(resource, key)
        if body is None:
            raise HTTPException(404, "no such row")
        return json_answer(body)

    @app.get("/campaign/v1/{name}", dependencies=[campaign, Depends(limited)])
    def list_campaign(
        request: Request,
        response: Response,
        name: str,
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 200,
        after: str | None = None,
        updated_since: str | None = None,
    ) -> Response:
        """Rows with the link to the next ones in the ``Link`` header (RFC 8288)."""
        only(request, CAMPAIGN_LIST)
        served, resource = find("campaign", name)
        first = start_of(served, resource, after, local_time(updated_since, hours=0))
        rows = served.rows(resource, first, limit)
        headers = dict(response.headers)
        headers.pop("content-length", None)
        if first + len(rows) < resource.size:
            following = encode_cursor(served.path.name, first + len(rows), rows[-1][0], rows[-1][1])
            if request.scope.get("fault") == "repeated-cursor" and after:
                following = after
            link = request.url.replace_query_params(limit=limit, after=following)
            headers["Link"] = f'<{link}>; rel="next"'
        return json_answer(f'{{"items":[{",".join(row[2] for row in rows)}]}}', headers)

    add_hooks(app, layout, webhook, admin)

    @app.post("/admin/faults", dependencies=[admin])
    def switch_on(order: FaultOrder) -> list[dict[str, Any]]:
        """Switch a fault on."""
        faults.on.append(Fault(**order.model_dump()))
        return [asdict(fault) for fault in faults.on]

    @app.get("/admin/faults", dependencies=[admin])
    def list_faults() -> list[dict[str, Any]]:
        """The faults that are on."""
        return [asdict(fault) for fault in faults.on]

    @app.delete("/admin/faults", dependencies=[admin])
    def switch_off() -> list[dict[str, Any]]:
        """Switch all faults off."""
        faults.on.clear()
        return []

    return FaultyApp(app, faults)


def add_hooks(app: FastAPI, layout: Layout, webhook: Any, admin: Any) -> None:
    """A receiver of webhooks that honours ``Idempotency-Key`` and keeps what came."""
    path = layout.run / "hooks.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "create table if not exists hooks (number integer primary key, name text, "
            "idempotency_key text, body text, unique (name, idempotency_key))"
        )

    @app.post("/hooks/{name}", dependencies=[webhook])
    async def receive_hook(
        request: Request,
        name: str,
        idempotency_key: Annotated[str | None, Header()] = None,
    ) -> dict[str, bool]:
        """Take a message; the same key again has no effect."""
        body = (await request.body()).decode("utf-8")
        with contextlib.closing(sqlite3.connect(path)) as connection, connection:
            done = connection.execute(
                "insert or ignore into hooks (name, idempotency_key, body) values (?, ?, ?)",
                (name, idempotency_key, body),
            )
            return {"accepted": True, "duplicate": done.rowcount == 0}

    @app.get("/hooks/{name}", dependencies=[admin])
    def list_hooks(name: str) -> list[dict[str, str | None]]:
        """What was received, in order."""
        with contextlib.closing(sqlite3.connect(path)) as connection:
            rows = connection.execute(
                "select idempotency_key, body from hooks where name = ? order by number", (name,)
            ).fetchall()
        return [{"idempotency_key": key, "body": body} for key, body in rows]


def leave_with(layout: Layout) -> None:
    """End the server when somebody removes the demo's folder by hand, as PostgreSQL does."""
    while layout.marker.exists():
        time.sleep(2)
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    """Serve a demo until told to stop."""
    layout, port = Layout(Path(sys.argv[1])), int(sys.argv[2])
    threading.Thread(target=leave_with, args=[layout], daemon=True).start()
    # uvicorn's types want its own ASGI protocol classes; ours is a plain ASGI callable.
    app: Any = make_app(layout)
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=port,
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=1,
    )


if __name__ == "__main__":
    main()
