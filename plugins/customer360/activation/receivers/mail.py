"""Mail for people, one message a row, through an SMTP connection as Airflow keeps them.

What belongs here: a message to its end. What does not: which rows are written about (``sending``).
A mail server honours no key: what breaks after the message has left is ``unknown``. The key goes as
``Message-ID`` all the same, by which most mail programs show a message once.
"""

import smtplib
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from email.message import EmailMessage

from customer360.activation.receivers.webhook import Reply
from customer360.connections import Connection
from customer360.exceptions import ConfigError

TIMEOUT_SECONDS = 30


@dataclass(frozen=True)
class Letter:
    """One message."""

    key: str
    to: str
    subject: str
    text: str


class Mailer:
    """An SMTP server."""

    def __init__(self, connection: Connection) -> None:
        """Prepare; nothing is sent yet.

        Raises:
            ConfigError: the connection names no server or no sender.
        """
        self._connection = connection
        self._sender = str(connection.extra.get("from_email") or connection.login or "")
        if not connection.host or "@" not in self._sender:
            raise ConfigError(
                f"connection '{connection.name}': an SMTP host and extra.from_email are needed"
            )

    def send(self, letters: Sequence[Letter]) -> list[Reply]:
        """Send them over one connection; a reply for each, in their order."""
        try:
            server = self._open()
        except (OSError, smtplib.SMTPException) as error:
            said = f"the mail server cannot be reached ({type(error).__name__})"
            return [Reply("failed", 1, said, is_unreachable=True) for _ in letters]
        replies = []
        with server:
            for letter in letters:
                replies.append(self._send(server, letter))  # noqa: PERF401, each has an effect
        return replies

    def _open(self) -> smtplib.SMTP:
        extra, host = self._connection.extra, str(self._connection.host)
        if extra.get("disable_ssl") in (False, "false", "False"):
            server: smtplib.SMTP = smtplib.SMTP_SSL(
                host, self._connection.port or 465, timeout=TIMEOUT_SECONDS,
                context=ssl.create_default_context(),
            )  # fmt: skip
        else:
            server = smtplib.SMTP(host, self._connection.port or 587, timeout=TIMEOUT_SECONDS)
            if extra.get("disable_tls") not in (True, "true", "True"):
                server.starttls(context=ssl.create_default_context())
        if self._connection.login and self._connection.password:
            server.login(self._connection.login, self._connection.password)
        return server

    def _send(self, server: smtplib.SMTP, letter: Letter) -> Reply:
        message = EmailMessage()
        message["From"], message["To"] = self._sender, letter.to
        message["Subject"] = " ".join(letter.subject.split())
        message["Message-ID"] = f"<{letter.key}@customer360>"
        message.set_content(letter.text)
        try:
            server.send_message(message)
        except smtplib.SMTPRecipientsRefused:
            return Reply("refused", 1, "the mail server refuses the address")
        except smtplib.SMTPResponseException as error:
            passing = 400 <= error.smtp_code < 500
            return Reply("failed" if passing else "refused", 1, f"SMTP {error.smtp_code}")
        except (OSError, smtplib.SMTPException) as error:
            return Reply("unknown", 1, f"the connection broke ({type(error).__name__})")
        return Reply("acknowledged", 1, "250")
