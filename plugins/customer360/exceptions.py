"""Every error that customer360 raises on purpose.

Messages say what is wrong, where, and how to mend it. They never quote a person's data:
name columns, keys of configuration, files and counts, not values of personal columns.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from customer360.notify import Finding


class Customer360Error(Exception):
    """Base of all errors a user can mend; the command line prints its text and exits with 1."""


class ConfigError(Customer360Error):
    """A configuration file, mapping file or option is wrong."""


class SourceError(Customer360Error):
    """A source system cannot be read as declared."""


class SourceUnavailableError(SourceError):
    """A source system does not answer now; reading it again may help."""


class SchemaDriftError(SourceError):
    """A source's columns differ from its contract in a way that policy does not accept."""


class GateError(Customer360Error):
    """A quality gate failed; nothing is published.

    Attributes:
        findings: what a person is told of it, a line each.
    """

    def __init__(self, message: str, findings: "Iterable[Finding]" = ()) -> None:
        super().__init__(message)
        self.findings = tuple(findings)


class BusyError(Customer360Error):
    """Another run holds what this one needs, or has overtaken it."""


class ModelError(Customer360Error):
    """A model cannot be trained, or its file is not what the registry says."""


class DamagedFileError(Customer360Error):
    """A DuckDB file is there but is not whole, as after a kill while it was being created."""


class DiskFullError(Customer360Error):
    """A file could not be written: no space, or a limit on the size of files."""


class PublishError(Customer360Error):
    """A snapshot cannot be published, found, read or taken back."""


class ExportError(Customer360Error):
    """An export cannot be made as declared, or the export before it is gone or altered."""


class DemoError(Customer360Error):
    """The demo company cannot be made, moved on or removed as asked."""


class DeliveryError(Customer360Error):
    """Rows cannot be delivered as declared, or the receiver is not what was declared."""


class ReceiverUnavailableError(DeliveryError):
    """A receiver does not answer now; trying again may help."""


class SendingStoppedError(GateError):
    """Sending waits for a person: the switch is off, or a guard has stopped it."""
