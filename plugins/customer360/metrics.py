"""The measures of ``dbt_project/metrics.yml``: read, checked, and asked of a published snapshot.

What belongs here: definitions and the SQL that comes of them, rendered from the macros
that dbt renders too. What does not: any formula (``metrics.yml``), and printing
(``customer360.metric_commands``).
"""

import datetime as dt
import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from customer360 import publish
from customer360.exceptions import ConfigError, Customer360Error
from customer360.macros import load_macros
from customer360.settings import PROJECT, Settings
from customer360.warehouse import connect, literal, quote

DEFINITIONS = PROJECT / "dbt_project" / "metrics.yml"
MACRO_FILES = ("times.sql", "metrics.sql")
"""The macros that a measure's SQL is made of."""

MONTH = "month"
"""The dimension that every measure has."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Rows(_Strict):
    """Rows that measures count: a published table, when a row counts, and dimensions."""

    table: str
    month: str | None = None
    day: str | None = None
    by: dict[str, str] = {}

    @model_validator(mode="after")
    def _one_time(self) -> "Rows":
        if (self.month is None) == (self.day is None):
            raise ValueError("give one of month (a first day) and day (a date)")
        return self


class Part(_Strict):
    """A numerator or denominator.

    Attributes:
        count: condition of the rows that count; True for all.
        sum: what is added up.
        where: condition of the rows that are added up.
    """

    of: str
    count: str | Literal[True] | None = None
    sum: str | None = None
    where: str | None = None

    @model_validator(mode="after")
    def _one_way(self) -> "Part":
        if (self.count is None) == (self.sum is None):
            raise ValueError("give one of count and sum")
        return self


class Change(_Strict):
    """When a definition changed, and how."""

    on: dt.date
    what: str


class Measure(_Strict):
    """One measure; see the head of ``metrics.yml``."""

    title: str
    says: str
    numerator: Part
    denominator: Part | None = None
    unit: Literal["share", "ratio", "days", "minutes", "points", "cents", "count"]
    better: Literal["higher", "lower", "neither"]
    owner: str
    since: dt.date
    changes: tuple[Change, ...] = ()

    @property
    def parts(self) -> tuple[Part, ...]:
        """Numerator and, if there is one, denominator."""
        return (self.numerator, self.denominator) if self.denominator else (self.numerator,)

    @property
    def changed(self) -> dt.date:
        """The day of its last change."""
        return max([self.since, *(change.on for change in self.changes)])


class Definitions(_Strict):
    """All of ``metrics.yml``."""

    rows: dict[Annotated[str, Field(pattern="^[a-z_]+$")], Rows]
    measures: dict[Annotated[str, Field(pattern="^[a-z_]+$")], Measure]

    @model_validator(mode="after")
    def _rows_known(self) -> "Definitions":
        for name, measure in self.measures.items():
            for part in measure.parts:
                if part.of not in self.rows:
                    raise ValueError(f"measures.{name}: rows '{part.of}' are not declared")
        return self

    def dimensions(self, name: str) -> tuple[str, ...]:
        """By what a measure can be broken down: what all of its rows know."""
        known = [self.rows[part.of].by for part in self.measures[name].parts]
        return (MONTH, *(each for each in known[0] if all(each in by for by in known)))

    def find(self, name: str) -> Measure:
        """The measure of that name.

        Raises:
            Customer360Error: there is none; the message has the names that come near.
        """
        if name in self.measures:
            return self.measures[name]
        near = difflib.get_close_matches(name, self.measures, n=3, cutoff=0.5)
        near += [each for each in self.measures if name in each and each not in near]
        hint = f"did you mean {', '.join(near)}?" if near else "see `customer360 metric list`"
        raise Customer360Error(f"there is no measure '{name}'; {hint}")

    def as_var(self) -> dict[str, Any]:
        """As the macros take it: plain values, what is not given left out."""
        plain = self.model_dump(mode="json", exclude_none=True)
        for name, measure in self.measures.items():
            plain["measures"][name]["changed"] = measure.changed.isoformat()
        return plain


@cache
def load_definitions(path: Path = DEFINITIONS) -> Definitions:
    """Read and check ``metrics.yml``.

    Raises:
        ConfigError: names the place and the mistake.
    """
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
        return Definitions.model_validate(document)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path.name} is no YAML: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(step) for step in first["loc"])
        raise ConfigError(f"{path.name}: {place}: {first['msg']}") from None


@dataclass(frozen=True)
class Answer:
    """What a snapshot says: rows of the dimensions, numerator, denominator and value."""

    name: str
    measure: Measure
    snapshot: str
    as_of: dt.date
    by: tuple[str, ...]
    rows: list[dict[str, Any]]


def ask(
    settings: Settings,
    name: str,
    by: Sequence[str] = (MONTH,),
    *,
    month: dt.date | None = None,
    snapshot: str = "current",
) -> Answer:
    """A measure over a published snapshot.

    Args:
        settings: whose.
        name: of the measure.
        by: dimensions. Without ``month`` among them the answer is of one month.
        month: a day of that month; the last one that is over where None.
        snapshot: which, as :func:`customer360.publish.find_snapshot` takes it.

    Raises:
        Customer360Error: no such measure or dimension; the snapshot does not hold the table.
    """
    definitions = load_definitions()
    measure = definitions.find(name)
    known = definitions.dimensions(name)
    for dimension in by:
        if dimension not in known:
            near = difflib.get_close_matches(dimension, known, n=1)
            meant = f"did you mean {near[0]}?" if near else f"it can be by {', '.join(known)}"
            raise Customer360Error(f"{name} cannot be told by '{dimension}'; {meant}")
    path = publish.find_snapshot(settings, snapshot)
    as_of: dt.date = publish.read_info(settings, path)["as_of"]
    if MONTH in by:
        wanted = f"month <= date {literal(as_of.isoformat())}"
        if month:
            wanted = f"month = date {literal(month.replace(day=1).isoformat())}"
    else:
        wanted = f"month = date {literal((month or last_whole_month(as_of)).strftime('%Y-%m-01'))}"
    split = [dimension for dimension in by if dimension != MONTH]
    columns = ", ".join(f'"{dimension}"' for dimension in by)
    macros = _macros()
    sums = macros["metric_sums"](definitions.as_var(), [name], split)
    value = macros["metric_value"](
        "true" if measure.denominator else "false", "numerator", "denominator"
    )
    query = (
        f"select {columns + ', ' if columns else ''}numerator, denominator, {value} as value "
        f"from ({sums}) where {wanted} order by all"
    )
    with connect(settings, path, read_only=True) as connection:
        _see_tables(connection, definitions, name, path)
        cursor = connection.execute(query)
        names = [column[0] for column in cursor.description]
        rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    return Answer(name, measure, path.name, as_of, tuple(by), rows)


def last_whole_month(as_of: dt.date) -> dt.date:
    """The first day of the last month that is over at the end of ``as_of``."""
    tomorrow = as_of + dt.timedelta(days=1)
    return (tomorrow.replace(day=1) - dt.timedelta(days=1)).replace(day=1)


def _see_tables(connection: Any, definitions: Definitions, name: str, path: Path) -> None:
    tables = {definitions.rows[part.of].table for part in definitions.measures[name].parts}
    present = {
        row[0] for row in connection.execute("select table_name from duckdb_tables()").fetchall()
    }
    missing = sorted(tables - present)
    if missing:
        raise Customer360Error(
            f"{path.name} has no table {', '.join(missing)}: it was published by an older version; "
            "run the chain again (`make run`)"
        )


@cache
def _macros() -> dict[str, Any]:
    """The macros over a snapshot: a reference is the table itself."""
    return load_macros(*MACRO_FILES, ref=lambda table: f"main.{quote(table)}")
