"""Telling a person: findings of gates, stale sources and failed tasks, posted to a webhook.

What belongs here: one small JSON a finding, to the Connection that policies.yml names. What does
not: finding anything (gates, ``pipeline``), or any row: a finding names tables, rules and counts.
"""

import logging
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from customer360.config import load_config
from customer360.connections import resolve
from customer360.exceptions import Customer360Error
from customer360.settings import Settings

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Finding:
    """One line for a person.

    Attributes:
        kind: volume, freshness, rule, trust, stale, delivery, drift (of a model) or task_failed.
        source: the source system, if it is about one.
        text: in words, without personal data.
    """

    kind: str
    source: str | None
    text: str


def send(settings: Settings, findings: Iterable[Finding], run: str, day: str | None) -> int:
    """Post each finding as ``{company, run, day, kind, source, text}``; never raises for it.

    A receiver that is down costs one time-out: what is left then is not sent, and the log says so.

    Returns:
        How many findings were taken.
    """
    waiting = list(findings)
    sent = 0
    try:
        policy = load_config(settings).policies.notify
        if policy.webhook_connection is None or not waiting:
            return 0
        sent = _post(settings, policy.webhook_connection, policy.timeout_seconds, waiting, run, day)
    except Customer360Error as error:
        log.warning("nobody could be notified: %s", error)
        return 0
    if sent < len(waiting):
        log.warning("%d of %d findings reached the webhook", sent, len(waiting))
    return sent


def _post(
    settings: Settings,
    name: str,
    timeout_seconds: float,
    findings: list[Finding],
    run: str,
    day: str | None,
) -> int:
    # Imported late: callbacks are loaded with every DAG file.
    import httpx

    from customer360.sources.web_service import authorisation, base_address, is_loopback

    connection = resolve(settings, name)
    address = base_address(connection)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it writes whole addresses at INFO
    sent = 0
    with httpx.Client(
        headers=authorisation(connection),
        timeout=timeout_seconds,
        trust_env=not is_loopback(address.host),
    ) as client:
        for finding in findings:
            body = {"company": settings.company, "run": run, "day": day, **asdict(finding)}
            try:
                # The answer's head is enough; its text is not waited for.
                with client.stream("POST", address, json=body) as answer:
                    is_taken = answer.is_success
                    status = answer.status_code
            except httpx.HTTPError as error:
                # Its text may hold the address, which is a secret of many webhooks.
                log.warning("webhook '%s' cannot be reached: %s", name, type(error).__name__)
                break
            if not is_taken:
                log.warning("webhook '%s' answered %d", name, status)
                break
            sent += 1
    return sent
