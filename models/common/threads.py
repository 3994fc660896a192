"""Threads where they pay: on small tables a second one only waits for the first."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from threadpoolctl import threadpool_limits

SMALL = 30_000


def threads_for(rows: int) -> AbstractContextManager[Any]:
    """One thread for small tables, the environment's cap for large ones.

    On 10,000 rows boosting takes as long with one thread as with two; and beside other work two
    spin in wait for each other (measured: 40 times slower on busy cores).
    """
    return threadpool_limits(1) if rows <= SMALL else nullcontext()
