"""Bounded time for reading from a server that has stopped answering.

What belongs here: noticing that nothing comes any more, and cutting the connection. A database
client waits for ever on a server that is there but stands still (a paused process, a path that
swallows packets): the kernel on the other side still says that all is well, and DuckDB cannot
interrupt a client that waits. What does not: what a cut connection means (each connector's).
"""

import contextlib
import os
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator

Identity = tuple[int, int]


def open_sockets() -> dict[Identity, int]:
    """This process's sockets: device and inode -> descriptor."""
    found = {}
    for name in os.listdir("/dev/fd"):  # noqa: PTH208, descriptors, not paths
        with contextlib.suppress(OSError):
            status = os.fstat(int(name))
            if stat.S_ISSOCK(status.st_mode):
                found[status.st_dev, status.st_ino] = int(name)
    return found


def cut(spared: set[Identity], is_ours: Callable[[object], bool]) -> None:
    """Shut down every socket but the ``spared`` whose peer's address ``is_ours``.

    Whoever waits for data from it is told at once that the server has closed the connection.
    """
    for identity, descriptor in open_sockets().items():
        if identity in spared:
            continue
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as each:
            if is_ours(each.getpeername()):
                each.shutdown(socket.SHUT_RDWR)


class Watch:
    """Cuts a session's connections when its ``progress`` stands still for too long.

    Attributes:
        has_cut: whether that has happened.
    """

    def __init__(
        self,
        progress: Callable[[], object],
        is_ours: Callable[[object], bool],
        spared: set[Identity],
    ) -> None:
        self._progress = progress
        self._asking = threading.Lock()
        self._is_ours = is_ours
        self._spared = spared
        self.has_cut = False

    @contextlib.contextmanager
    def limit(self, seconds: float) -> Iterator[None]:
        """Let the block run as long as no ``seconds`` pass without progress."""
        done = threading.Event()
        thread = threading.Thread(target=self._watch, args=(done, seconds), daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def _ask(self) -> object:
        """The progress; limits may stand in each other, and one connection answers them all."""
        with self._asking:
            return self._progress()

    def _watch(self, done: threading.Event, seconds: float) -> None:
        last, since = self._ask(), time.monotonic()
        while not done.wait(min(0.5, seconds / 4)):
            now = self._ask()
            if now != last:
                last, since = now, time.monotonic()
            elif time.monotonic() - since > seconds:
                # Again each time: a client may try another connection.
                self.has_cut = True
                cut(self._spared, self._is_ours)
