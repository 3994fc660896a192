"""Connectors: how the rows of a declared table are read, one module a family of systems.

What belongs here: turning a declaration into a relation of text and types as the source has them.
What does not: the contract (``customer360.contracts``) or where rows go (``customer360.landing``).
"""

import importlib

from customer360.config import Source
from customer360.settings import Settings
from customer360.sources.relation import Session

MODULES = {
    "parquet": "files",
    "csv": "files",
    "json_lines": "files",
    "excel": "files",
    "postgres": "databases",
    "mysql": "databases",
    "rest": "rest",
}
"""Format -> module of this package with ``open_session(settings, name, source)``."""


def open_session(settings: Settings, name: str, source: Source) -> Session:
    """Reach the source system called ``name``.

    Raises:
        SourceError: it cannot be reached. ConfigError: its connection is not known.
    """
    module = importlib.import_module(f"customer360.sources.{MODULES[source.format]}")
    session: Session = module.open_session(settings, name, source)
    return session
