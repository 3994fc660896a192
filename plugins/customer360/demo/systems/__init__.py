"""The ten systems of the demo company, really there, and how a pipeline reaches them.

A pipeline needs one thing from here: :func:`read_connections`. It reads the same systems that
people reach with psql, curl or a spreadsheet, and nothing of the world they were made from.
"""

import json
from dataclasses import dataclass
from typing import Any

from customer360.demo.systems.layout import Layout, default_layout
from customer360.exceptions import DemoError


@dataclass(frozen=True)
class Connection:
    """How to reach one system.

    Attributes:
        system: name of the system, for example ``crm``.
        kind: ``postgres``, ``http`` or ``files``.
        url: libpq URL with its password; base URL of the service; path of the folder.
        token: bearer token of a service, else empty.
        airflow: the same as an Airflow connection URI, secrets included.
    """

    system: str
    kind: str
    url: str
    token: str
    airflow: str


def read_connections(layout: Layout | None = None) -> dict[str, Connection]:
    """Connections of a demo that was started, by name of the system.

    ``hooks`` is the receiver of webhooks. The file they come from is ``connections.json``,
    readable by its owner alone.

    Raises:
        DemoError: there is no demo.
    """
    path = (layout or default_layout()).connections
    try:
        content: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DemoError("there is no demo company yet: `customer360 demo start` makes it") from None
    return {name: Connection(**values) for name, values in content.items()}
