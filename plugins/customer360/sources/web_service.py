"""Asking a web service: one whole JSON answer, or an error that says why there is none.

What belongs here: HTTP, authorisation, limits on speed and size, retries. What does not: what a
page is and which one comes next (``customer360.sources.rest``).

A query string may hold tokens and personal data, so neither logs nor errors ever name more of a
request than its table and page; httpx's own log of addresses is kept silent.
"""

import datetime as dt
import email.utils
import ipaddress
import json
import logging
import re
import time
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import httpx
import tenacity

from customer360.connections import Connection
from customer360.exceptions import ConfigError, SourceError

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 32 * 2**20
"""An answer is held in memory as a whole, so that half of one is never taken for all of it."""

MAX_REDIRECTS = 5

PASSING = frozenset({408, 425, 429, *range(500, 600)})
"""Answers that another attempt may cure."""

Parameters = Mapping[str, str | int | bool]


@dataclass(frozen=True)
class Patience:
    """How long a service is given.

    Attributes:
        attempts: requests for one page before the reading stops.
        first_wait, longest_wait: seconds between attempts, doubled each time, with jitter.
        longest_asked: seconds of a ``Retry-After`` that are waited for; more ends the attempt.
        read_seconds: silence on an open connection.
        answer_seconds: one answer from its first to its last byte.
    """

    attempts: int = 6
    first_wait: float = 1.0
    longest_wait: float = 30.0
    longest_asked: float = 120.0
    read_seconds: float = 30.0
    answer_seconds: float = 300.0
    sleep: Callable[[float], None] = time.sleep


PATIENCE = Patience()


@dataclass(frozen=True)
class Answer:
    """A whole answer.

    Attributes:
        url: where it came from, after redirects.
        text: its body.
        document: the body as JSON; None for an answer without content (204).
        link: target of its ``Link`` header with rel="next", as written.
    """

    url: httpx.URL
    text: str
    document: Any
    link: str | None


class RefusedError(SourceError):
    """The service does not accept the request; asking again is of no use."""


class _PassingError(Exception):
    """This attempt failed and another one may not.

    Attributes:
        reason: in words, without anything of the answer.
        after: seconds that the service asks to wait, if it does.
    """

    def __init__(self, reason: str, after: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.after = after


class WebService:
    """A service at one address, asked politely."""

    def __init__(
        self,
        connection: Connection,
        requests_per_second: float | None = None,
    ) -> None:
        """Prepare to ask; nothing is sent yet.

        Raises:
            ConfigError: the connection has no address, or its secret cannot be sent.
        """
        # It writes whole addresses at INFO, httpcore whole headers at DEBUG.
        for name in ("httpx", "httpcore"):
            logging.getLogger(name).setLevel(logging.WARNING)
        self.name = connection.name
        self.address = base_address(connection)
        self.patience = PATIENCE
        self._gap = 1 / requests_per_second if requests_per_second else 0.0
        self._next_at = 0.0
        self._client = httpx.Client(
            headers={"Accept": "application/json", "Accept-Encoding": "gzip"}
            | authorisation(connection),
            timeout=self.patience.read_seconds,
            follow_redirects=False,
            # Proxies and own certificate authorities of the environment; none for this machine.
            trust_env=not is_loopback(self.address.host),
        )

    def close(self) -> None:
        """Let go of open connections."""
        self._client.close()

    def url(self, path: str, parameters: Parameters) -> httpx.URL:
        """The address of ``path`` below the connection's."""
        whole = self.address.copy_with(path=f"{self.address.path.rstrip('/')}/{path.lstrip('/')}")
        return whole.copy_merge_params(dict(parameters))

    def follow(self, what: str, base: httpx.URL, target: str) -> httpx.URL:
        """``target`` as written in an answer from ``base``, if it stays with this service.

        Raises:
            SourceError: it leads to another host, port or scheme: the token must not go there.
        """
        try:
            url = base.join(target)
        except (httpx.InvalidURL, ValueError):
            raise SourceError(f"{what}: the service names an address that is none") from None
        if _origin(url) != _origin(self.address) or url.userinfo:
            raise SourceError(
                f"{what}: the service leads to another address ({url.scheme}://{url.host}), where "
                f"the token of connection '{self.name}' must not go. If that is where the service "
                "lives now, correct the connection's host."
            )
        return url

    def ask(self, what: str, url: httpx.URL, encoding: str = "utf-8") -> Answer:
        """One whole answer.

        Args:
            what: table and page, for messages.
            url: where to ask.
            encoding: of the body.

        Raises:
            RefusedError: the service does not accept the request.
            SourceError: no whole answer after all attempts, or one that is too large.
        """
        patience = self.patience
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(_PassingError),
            stop=tenacity.stop_after_attempt(patience.attempts),
            wait=self._wait,
            sleep=patience.sleep,
            before_sleep=lambda state: self._tell(what, state),
            reraise=True,
        )
        try:
            return retrying(self._attempt, what, url, encoding)
        except _PassingError as error:
            raise SourceError(
                f"{what}: {error.reason}, {patience.attempts} times in a row. The pages read so "
                "far are kept; run it again and it goes on from there."
            ) from None

    def _wait(self, state: tenacity.RetryCallState) -> float:
        error = _failure(state)
        patience = self.patience
        backing_off = tenacity.wait_exponential_jitter(
            initial=patience.first_wait, max=patience.longest_wait, jitter=patience.first_wait
        )(state)
        return error.after or backing_off

    def _tell(self, what: str, state: tenacity.RetryCallState) -> None:
        wait = state.next_action.sleep if state.next_action else 0
        log.warning(
            "%s: %s; attempt %d of %d follows in %.1f s",
            what,
            _failure(state).reason,
            state.attempt_number + 1,
            self.patience.attempts,
            wait,
        )

    def _attempt(self, what: str, url: httpx.URL, encoding: str) -> Answer:
        for _ in range(MAX_REDIRECTS + 1):
            self._pace()
            try:
                with self._client.stream("GET", url) as response:
                    if response.has_redirect_location:
                        url = self.follow(what, url, response.headers["location"])
                        continue
                    self._check_status(what, response)
                    body = self._body(what, response)
                    return _answer(url, response, body, encoding)
            except httpx.HTTPError as error:
                self._explain(what, error)
        raise SourceError(f"{what}: the service redirects in a circle")

    def _pace(self) -> None:
        """Wait until the next request is due."""
        if self._gap:
            wait = self._next_at - time.monotonic()
            if wait > 0:
                self.patience.sleep(wait)
            self._next_at = time.monotonic() + self._gap

    def _check_status(self, what: str, response: httpx.Response) -> None:
        status = response.status_code
        if status in PASSING:
            after = retry_after(response.headers)
            if after is not None and after > self.patience.longest_asked:
                raise SourceError(
                    f"{what}: the service answers {status} and asks to come back in {after:.0f} s. "
                    "The pages read so far are kept; run it again then."
                )
            raise _PassingError(f"the service answers {status}", after)
        if status in (401, 403):
            raise SourceError(
                f"{what}: the service answers {status}: it does not accept the password (token) of "
                f"connection '{self.name}', or grants it too little"
            )
        if not response.is_success:
            raise RefusedError(
                f"{what}: the service answers {status}; compare `request` in sources.yml with its "
                "documentation"
            )

    def _body(self, what: str, response: httpx.Response) -> bytes:
        deadline = time.monotonic() + self.patience.answer_seconds
        body = bytearray()
        for chunk in response.iter_bytes():
            body += chunk
            if len(body) > MAX_BODY_BYTES:
                raise SourceError(
                    f"{what}: the answer is larger than {MAX_BODY_BYTES >> 20} MB; ask for smaller "
                    "pages (pagination.size)"
                )
            if time.monotonic() > deadline:
                raise _PassingError(
                    f"the answer takes longer than {self.patience.answer_seconds:g} s"
                )
        return bytes(body)

    def _explain(self, what: str, error: httpx.HTTPError) -> NoReturn:
        """Say in words what httpx met; its own text may quote the request."""
        if isinstance(error, httpx.TimeoutException):
            raise _PassingError(f"no answer within {self.patience.read_seconds:g} s") from None
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            raise SourceError(
                f"{what}: the certificate of {self.address.host} is not trusted. Let SSL_CERT_FILE "
                "name your own certificate authority; it is never ignored."
            ) from None
        if isinstance(error, httpx.ConnectError):
            raise _PassingError(
                f"{self.address.host} cannot be reached (connection '{self.name}')"
            ) from None
        if isinstance(error, httpx.UnsupportedProtocol | httpx.LocalProtocolError):
            raise ConfigError(f"connection '{self.name}': the request cannot be sent") from None
        if isinstance(error, httpx.DecodingError):
            raise _PassingError("the answer's compression is broken") from None
        raise _PassingError("the connection broke before the answer was whole") from None


def base_address(connection: Connection) -> httpx.URL:
    """The address under which a connection's paths lie, as Airflow's HTTP hook understands it.

    ``host`` may be a whole address; otherwise ``schema`` is http or https. ``base_path`` in extra
    lies before every path.

    Raises:
        ConfigError: there is no host, or it is not an address.
    """
    host = connection.host or ""
    if "://" not in host:
        scheme = connection.schema or ("https" if connection.kind == "https" else "http")
        name = f"[{host}]" if ":" in host else host
        host = f"{scheme}://{name}" + (f":{connection.port}" if connection.port else "")
    try:
        url = httpx.URL(host)
    except httpx.InvalidURL:
        url = httpx.URL("")
    if url.scheme not in ("http", "https") or not url.host or url.userinfo or url.query:
        raise ConfigError(
            f"connection '{connection.name}': host must be a name or an address such as "
            "https://api.example.com/v1, without a login and without a query"
        )
    extra = str(connection.extra.get("base_path") or "").strip("/")
    return url.copy_with(path="/".join([url.path.rstrip("/"), *([extra] if extra else [])]) or "/")


def authorisation(connection: Connection) -> dict[str, str]:
    """The header that carries the connection's secret.

    Login and password: basic. Password alone: a bearer token, or the value of the header that
    ``header`` in extra names.

    Raises:
        ConfigError: the secret cannot be part of a header; it is not quoted.
    """
    secret = connection.password
    if not secret:
        return {}
    if not secret.isascii() or not secret.isprintable() or secret != secret.strip():
        raise ConfigError(
            f"connection '{connection.name}': the password holds characters that no header can"
        )
    header = connection.extra.get("header")
    if header:
        if not re.fullmatch(r"[A-Za-z0-9-]+", str(header)):
            raise ConfigError(f"connection '{connection.name}': extra.header is not a header")
        return {str(header): secret}
    if connection.login:
        pair = b64encode(f"{connection.login}:{secret}".encode()).decode()
        return {"Authorization": f"Basic {pair}"}
    return {"Authorization": f"Bearer {secret}"}


def retry_after(headers: httpx.Headers) -> float | None:
    """Seconds that ``Retry-After`` asks for, given as a number or a date; None without one.

    A date is compared with the answer's own ``Date``, so that a skewed clock does no harm.
    """
    value = headers.get("retry-after", "").strip()
    if not value:
        return None
    if value.isdecimal():
        return float(value)
    try:
        until = email.utils.parsedate_to_datetime(value)
        now = (
            email.utils.parsedate_to_datetime(headers["date"])
            if "date" in headers
            else dt.datetime.now(dt.UTC)
        )
        return max(0.0, (until - now).total_seconds())
    except (ValueError, TypeError):
        return None


def _answer(url: httpx.URL, response: httpx.Response, body: bytes, encoding: str) -> Answer:
    link = next(
        (
            found["url"]
            for found in response.links.values()
            if "url" in found and "next" in found.get("rel", "").lower().split()
        ),
        None,
    )
    if response.status_code == httpx.codes.NO_CONTENT:
        return Answer(url, "", None, link)
    codec = "utf-8-sig" if encoding.lower() in ("utf-8", "utf8") else encoding
    try:
        text = body.decode(codec)
        document = json.loads(text, parse_constant=_refuse_constant)
    except LookupError:
        raise ConfigError(f"unknown encoding '{encoding}'") from None
    except (ValueError, RecursionError):
        raise _PassingError("the answer is not JSON") from None
    return Answer(url, text, document, link)


def _refuse_constant(_: str) -> NoReturn:
    raise ValueError("NaN and Infinity are not JSON")


def _failure(state: tenacity.RetryCallState) -> _PassingError:
    error = state.outcome.exception() if state.outcome else None
    assert isinstance(error, _PassingError)
    return error


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port or {"http": 80, "https": 443}.get(url.scheme)


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, to which no proxy leads."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
