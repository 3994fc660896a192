"""The columns of a destination's table, as they should be and as they are.

What belongs here: what holds for every database. What does not: the types of any one.
"""

import re
from collections.abc import Collection, Mapping

from customer360.exceptions import DeliveryError

Types = Mapping[str, tuple[str, Collection[str]]]
"""DuckDB's type -> the type that we make, and those that hold it."""


def base(kind: str) -> str:
    """A DuckDB type without what follows: DECIMAL(12,2) is DECIMAL, INTEGER[] is INTEGER."""
    return re.split(r"[(\[]", kind)[0]


def see_unchanged(
    name: str, target: str, columns: Mapping[str, str], found: Mapping[str, str], types: Types
) -> None:
    """A table that has changed is written to by nobody until a person has looked.

    Raises:
        DeliveryError: a column is missing, or is of a type that does not hold its values.
    """
    problems = []
    wanted = {**columns, "written_by": "VARCHAR", "written_at": "TIMESTAMP"}
    for column, kind in wanted.items():
        fits = types.get(base(kind), types["VARCHAR"])[1]
        if column not in found:
            problems.append(f"column {column} is not there")
        elif found[column] not in fits:
            problems.append(f"column {column} is {found[column]}, needed is {sorted(fits)[0]}")
    if problems:
        raise DeliveryError(
            f"destination {name}: table {target} has changed: {'; '.join(problems)}. Mend the "
            "table, or `columns` in destinations.yml. Nothing was written; the rows wait."
        )
