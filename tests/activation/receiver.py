"""A web service for tests: it honours keys or not, and fails as it is told to."""

import json
import socket
import struct
import threading
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Receiver:
    """What came in, and what it did.

    Attributes:
        honours_key: whether the same key has one effect only.
        faults: what the next requests suffer, in order: ``429``, ``500``, ``400`` ..., ``reset``
            (before it is taken), ``late`` (it is taken, then the connection breaks), ``no`` (200
            with an error inside), ``poison:<customer_id>`` (refused while that row is in it),
            ``partly:<customer_id>`` (all but that row); the empty text is none.
        effects: every row that took effect, in order.
        requests: (key, body, headers) of every request.
    """

    def __init__(self, *, honours_key: bool = True) -> None:
        self.honours_key = honours_key
        self.faults: deque[str] = deque()
        self.always: str | None = None
        self.effects: list[dict[str, Any]] = []
        self.requests: list[tuple[str, dict[str, Any], dict[str, str]]] = []
        self._keys: set[str] = set()
        self._lock = threading.Lock()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                receiver._receive(self, body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def connection(self) -> dict[str, Any]:
        port = self._server.server_address[1]
        return {"conn_type": "http", "host": f"http://127.0.0.1:{port}", "password": "token",
                "extra": {"signing_secret": "s3cret"}}  # fmt: skip

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def held(self) -> dict[tuple[str, str], Any]:
        """What a tool would hold after every effect: delivery_id -> row."""
        state: dict[Any, Any] = {}
        for row in self.effects:
            if row["change"] == "removed":
                state.pop(row["delivery_id"], None)
            else:
                state[row["delivery_id"]] = {k: v for k, v in row.items() if k != "change"}
        return state

    def _receive(self, handler: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
        key = str(handler.headers["Idempotency-Key"])
        with self._lock:
            self.requests.append((key, body, dict(handler.headers)))
            fault = self.always or (self.faults.popleft() if self.faults else "")
            if fault == "reset":
                self._cut(handler)
                return
            if fault.isdigit():
                handler.send_response(int(fault))
                if fault == "429":
                    handler.send_header("Retry-After", "0")
                handler.send_header("Content-Length", "0")
                handler.end_headers()
                return
            kind, _, customer = fault.partition(":")
            rows = body.get("rows", [body])
            poisoned = [row for row in rows if row.get("customer_id") == customer]
            if kind == "poison" and poisoned:
                handler.send_response(422)
                handler.send_header("Content-Length", "0")
                handler.end_headers()
                return
            answer: dict[str, Any] = {"status": "ok"}
            if fault == "no":
                answer = {"status": "error"}
                rows = []
            if kind == "partly" and poisoned:
                rows = [row for row in rows if row.get("customer_id") != customer]
                answer = {"status": "ok", "rejected": [
                    {"delivery_id": row["delivery_id"], "reason": "no such contact"}
                    for row in poisoned]}  # fmt: skip
            if not (self.honours_key and key in self._keys):
                self.effects += rows
            if rows:
                self._keys.add(key)
            if fault == "late":
                self._cut(handler)
                return
            text = json.dumps(answer).encode()
            handler.send_response(200)
            handler.send_header("Content-Length", str(len(text)))
            handler.end_headers()
            handler.wfile.write(text)

    @staticmethod
    def _cut(handler: BaseHTTPRequestHandler) -> None:
        linger = struct.pack("ii", 1, 0)
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        handler.close_connection = True
        handler.connection.close()
