"""How tasks reach source systems: Airflow's Connections and filesystems, lent to the library.

What belongs here: turning what Airflow knows into what the library takes. What does not: reading
any system (``customer360.sources``).
"""

from typing import Any

from airflow.sdk import BaseHook, ObjectStoragePath
from airflow.sdk.exceptions import AirflowNotFoundException

from customer360.connections import Connection


def lend() -> None:
    """Let the library of this process reach systems as Airflow does."""
    from customer360 import connections
    from customer360.sources import storage

    connections.use(airflow_connection)
    storage.use(airflow_filesystem)


def airflow_connection(name: str) -> Connection:
    """The Airflow Connection called ``name``, as the library takes it.

    Raises:
        LookupError: Airflow does not know it.
    """
    try:
        found = BaseHook.get_connection(name)
    except AirflowNotFoundException:
        raise LookupError(name) from None
    return Connection(
        name=name,
        kind=found.conn_type or "",
        host=found.host or None,
        port=found.port,
        login=found.login or None,
        password=found.password or None,
        schema=found.schema or None,
        extra=found.extra_dejson,
    )


def airflow_filesystem(url: str, connection: str | None) -> Any:
    """The filesystem of an object storage as Airflow's providers open it: with roles, keys that
    are renewed, and whatever else a Connection's fields alone do not say.

    Raises:
        LookupError: no installed provider knows the URL's scheme, or Airflow not the connection.
    """
    try:
        return ObjectStoragePath(url, conn_id=connection).fs
    except (ValueError, AirflowNotFoundException):
        raise LookupError(url) from None
