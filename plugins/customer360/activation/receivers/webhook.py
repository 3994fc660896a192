"""POST requests to a web service: keys, signatures, pace, patience, and what its answers mean.

What belongs here: one request to its end. What does not: which rows are in it (``sending``).

**What an answer means.** 2xx: taken, unless the answer itself says otherwise (``answer`` of the
destination). 408, 425, 429: not taken, later perhaps. 5xx and everything that breaks after the
request has left: nobody knows. At a receiver that honours ``Idempotency-Key`` the same request is
sent again with the same key, also in later runs; at any other it is not, and its rows are
``unknown``. Any other answer is a refusal, which another attempt would not change.
"""

import hashlib
import hmac
import json
import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import urllib3

from customer360.activation.destinations import WebhookDestination
from customer360.connections import Connection
from customer360.exceptions import ConfigError
from customer360.sources.web_service import authorisation, base_address, is_loopback

log = logging.getLogger(__name__)

NOT_TAKEN = frozenset({408, 425, 429})
MAX_ANSWER_BYTES = 4 * 2**20
CONNECT_SECONDS = 10

Status = Literal["acknowledged", "failed", "refused", "unknown"]


@dataclass(frozen=True)
class Parcel:
    """One request: its key stays the same however often it is tried."""

    sending_id: int
    key: str
    body: bytes


@dataclass(frozen=True)
class Reply:
    """What became of a parcel.

    Attributes:
        status: ``refused`` is for good, ``failed`` may pass.
        answer: in words, without data.
        rejected: what the receiver names of a row that it has not taken -> its reason.
        is_unreachable: nobody answered at all.
        in_doubt: failed, but one of its attempts may have arrived: only the same key may go again.
    """

    status: Status
    attempts: int
    answer: str
    rejected: dict[str, str] = field(default_factory=dict)
    is_unreachable: bool = False
    in_doubt: bool = False


class Webhook:
    """A receiver at one address."""

    def __init__(
        self,
        name: str,
        destination: WebhookDestination,
        connection: Connection,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Prepare to send; nothing is sent yet.

        Raises:
            ConfigError: the connection has no address, or its secret cannot be sent.
        """
        logging.getLogger("urllib3").setLevel(logging.ERROR)  # it writes whole addresses
        self.name = name
        self._declared = destination
        self._sleep = sleep
        address = base_address(connection)
        path = f"{address.path.rstrip('/')}/{destination.path.lstrip('/')}".rstrip("/")
        self._url = str(address.copy_with(path=path or "/"))
        secret = connection.extra.get("signing_secret")
        self._secret = str(secret).encode() if secret else None
        self._headers = {
            "Content-Type": "application/json",
            "Accept": "application/json",
            "User-Agent": "customer360",
            **authorisation(connection),
        }
        if not destination.honours_key:
            # A connection that idled may break under a request; here nobody could tell.
            self._headers["Connection"] = "close"
        timeout = urllib3.Timeout(connect=CONNECT_SECONDS, read=destination.timeout_seconds)
        options: dict[str, Any] = {
            "maxsize": destination.parallel,
            "block": True,
            "timeout": timeout,
            "retries": False,
        }
        self._pool: urllib3.PoolManager = _pool(address.host, address.scheme, options)
        self._lock = threading.Lock()
        rate = destination.requests_per_second
        self._gap = 1 / rate if rate else 0.0
        self._next_at = 0.0
        self._workers = ThreadPoolExecutor(destination.parallel, thread_name_prefix=name)

    def close(self) -> None:
        """Let go of connections and threads."""
        self._workers.shutdown(cancel_futures=True)
        self._pool.clear()

    def send(self, parcels: Sequence[Parcel]) -> list[Reply]:
        """Send them, some at the same time; a reply for each, in their order."""
        if len(parcels) == 1 or self._declared.parallel == 1:
            return [self._send(parcel) for parcel in parcels]
        return list(self._workers.map(self._send, parcels))

    def _send(self, parcel: Parcel) -> Reply:
        retry = self._declared.retry
        reply = Reply("failed", 0, "not tried")
        in_doubt = False
        for attempt in range(1, retry.attempts + 1):
            self._pace()
            reply, after = self._attempt(parcel, attempt)
            in_doubt = in_doubt or reply.in_doubt
            if reply.status != "failed" or attempt == retry.attempts:
                break
            wait = min(retry.first_wait * 2 ** (attempt - 1), retry.longest_wait)
            wait *= 0.5 + random.random()  # noqa: S311, jitter keeps no secret
            if after is not None:
                if after > retry.longest_asked:
                    break
                # Nobody else asks before that either.
                with self._lock:
                    self._next_at = max(self._next_at, time.monotonic() + after)
                wait = after
            self._sleep(wait)
        return replace(reply, in_doubt=in_doubt and reply.status == "failed")

    def _pace(self) -> None:
        """Wait until the next request is due."""
        with self._lock:
            now = time.monotonic()
            due = max(self._next_at, now)
            self._next_at = max(self._next_at, now) + self._gap if self._gap else self._next_at
        if due > now:
            self._sleep(due - now)

    def _attempt(self, parcel: Parcel, attempt: int) -> tuple[Reply, float | None]:
        headers = {**self._headers, "Idempotency-Key": parcel.key}
        if self._secret:
            headers["X-Customer360-Signature"] = signature(self._secret, parcel.body)
        try:
            answer = self._pool.urlopen(
                "POST", self._url, body=parcel.body, headers=headers, redirect=False,
                preload_content=False,
            )  # fmt: skip
            try:
                body = answer.read(MAX_ANSWER_BYTES)
            finally:
                answer.release_conn()
        except (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError):
            said = "the receiver cannot be reached"
            return Reply("failed", attempt, said, is_unreachable=True), None
        except urllib3.exceptions.HTTPError as error:
            return self._unsure(attempt, f"no answer ({type(error).__name__})"), None
        status = answer.status
        after = _retry_after(answer.headers.get("Retry-After"))
        if status in NOT_TAKEN or (status == 503 and after is not None):
            return Reply("failed", attempt, f"{status}"), after
        if status >= 500:
            return self._unsure(attempt, f"{status}"), after
        if status in (401, 403, 404, 405):
            # Not about these rows: address or token are wrong, so nothing else would be taken.
            said = f"{status}: address or token is wrong"
            return Reply("failed", self._declared.retry.attempts, said, is_unreachable=True), 1e9
        if not 200 <= status < 300:
            return Reply("refused", attempt, f"{status}"), None
        return self._understand(body, attempt, status), None

    def _unsure(self, attempt: int, said: str) -> Reply:
        """It may have arrived: again with the same key, or never."""
        if self._declared.honours_key:
            return Reply("failed", attempt, said, in_doubt=True)
        return Reply("unknown", attempt, f"{said}; the receiver would take it twice")

    def _understand(self, body: bytes, attempt: int, status: int) -> Reply:
        """A 2xx answer may say no inside."""
        declared = self._declared.answer
        if declared.path is None and declared.rejected is None:
            return Reply("acknowledged", attempt, f"{status}")
        try:
            document = json.loads(body)
        except (ValueError, RecursionError):
            return self._unsure(attempt, f"{status}, and the answer is not JSON")
        rejected = {}
        if declared.rejected is not None:
            listed = _at(document, declared.rejected)
            for row in listed if isinstance(listed, list) else []:
                if isinstance(row, dict) and declared.key in row:
                    rejected[str(row[declared.key])] = str(row.get(declared.reason, ""))[:200]
        if declared.path is not None and _at(document, declared.path) != declared.equals:
            if rejected:
                return Reply("acknowledged", attempt, f"{status}, some refused", rejected)
            return Reply("refused", attempt, f"{status}, and the answer says no")
        said = f"{status}, some refused" if rejected else f"{status}"
        return Reply("acknowledged", attempt, said, rejected)


def signature(secret: bytes, body: bytes, moment: int | None = None) -> str:
    """``t=<seconds>,v1=<HMAC-SHA256 of "t.body">``: the receiver can tell who sent it, and when."""
    stamp = str(moment if moment is not None else int(time.time()))
    digest = hmac.new(secret, f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={stamp},v1={digest}"


def _pool(host: str, scheme: str, options: dict[str, Any]) -> urllib3.PoolManager:
    """Through the environment's proxy where there is one; never for this machine."""
    import urllib.request

    proxy = urllib.request.getproxies().get(scheme)
    if proxy and not is_loopback(host) and not urllib.request.proxy_bypass(host):
        try:
            return urllib3.ProxyManager(proxy, **options)
        except (ValueError, urllib3.exceptions.HTTPError):
            raise ConfigError("the proxy of the environment has no usable address") from None
    return urllib3.PoolManager(**options)


def _retry_after(value: str | None) -> float | None:
    import httpx

    from customer360.sources.web_service import retry_after

    return retry_after(httpx.Headers({"retry-after": value})) if value else None


def _at(document: Any, path: str) -> Any:
    for part in path.split("."):
        if not isinstance(document, dict):
            return None
        document = document.get(part)
    return document
