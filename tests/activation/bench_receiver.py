"""A fast web service in a process of its own, for benchmarks and kill tests.

    python -m tests.activation.bench_receiver FOLDER [share of faults] [seed]

It honours ``Idempotency-Key``, writes its port to FOLDER/port, and every effect as a line to
FOLDER/effects.jsonl before it answers. ``GET /`` tells counts. Faults: 429, 500, reset, and
time-out after accept (the connection breaks after the effect).
"""

import asyncio
import json
import random
import sys
from pathlib import Path


class Service:
    """One receiver: raw HTTP over asyncio, so that it costs little beside what is measured."""

    def __init__(self, folder: Path, share: float, seed: int) -> None:
        self._share = share
        self._random = random.Random(seed)
        self._effects = (folder / "effects.jsonl").open("ab", buffering=0)
        self._keys: set[str] = set()
        self.counts = {"requests": 0, "rows": 0, "duplicates": 0, "faults": 0}
        for line in (folder / "effects.jsonl").open():
            self._keys.add(json.loads(line)["key"])

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Requests of one connection, one after another."""
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                lines = head.decode("latin-1").split("\r\n")
                headers = {
                    name.strip().lower(): value.strip()
                    for name, _, value in (line.partition(":") for line in lines[1:] if line)
                }
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                if lines[0].startswith("GET"):
                    self._answer(writer, 200, json.dumps(self.counts).encode())
                elif not self._take(writer, lines[0].split(" ")[1], headers, body):
                    writer.transport.abort()
                    return
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def _take(
        self, writer: asyncio.StreamWriter, path: str, headers: dict[str, str], body: bytes
    ) -> bool:
        self.counts["requests"] += 1
        fault = ""
        if self._share and self._random.random() < self._share:
            fault = self._random.choice(("429", "500", "reset", "late"))
            self.counts["faults"] += 1
        if fault == "reset":
            return False
        if fault in ("429", "500"):
            self._answer(writer, int(fault), b"{}")
            return True
        key = headers.get("idempotency-key", "")
        if key and key in self._keys:
            self.counts["duplicates"] += 1
        else:
            self._keys.add(key)
            self._effects.write(
                b'{"path": "%b", "key": "%b", "body": %b}\n' % (path.encode(), key.encode(), body)
            )
            self.counts["rows"] += 1
        if fault == "late":
            return False
        self._answer(writer, 200, b'{"status": "ok"}')
        return True

    @staticmethod
    def _answer(writer: asyncio.StreamWriter, status: int, body: bytes) -> None:
        retry = b"Retry-After: 0\r\n" if status == 429 else b""
        writer.write(
            b"HTTP/1.1 %d X\r\nContent-Type: application/json\r\n%bContent-Length: %d\r\n\r\n%b"
            % (status, retry, len(body), body)
        )


async def main() -> None:
    """Serve until killed."""
    folder = Path(sys.argv[1])
    share = float(sys.argv[2]) if len(sys.argv) > 2 else 0.0
    (folder / "effects.jsonl").touch()
    service = Service(folder, share, int(sys.argv[3]) if len(sys.argv) > 3 else 0)
    server = await asyncio.start_server(service.serve, "127.0.0.1", 0, limit=2**26)
    port = folder / "port.new"
    port.write_text(str(server.sockets[0].getsockname()[1]))
    port.rename(folder / "port")
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
