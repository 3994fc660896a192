"""Airflow's Connections as the library takes them.

What belongs here: the lookup in Airflow. What does not: where the library looks by itself
(``customer360.connections``).
"""

from typing import TYPE_CHECKING

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException

if TYPE_CHECKING:
    from customer360.connections import Connection


def airflow_connection(name: str) -> "Connection":
    """The Airflow Connection called ``name``, as the library takes it.

    Raises:
        LookupError: Airflow does not know it.
    """
    from customer360.connections import Connection

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
