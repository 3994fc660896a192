"""The parts that the suites of every layer are made of."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import great_expectations.expectations as gxe
from great_expectations.expectations.metadata_types import FailureSeverity

STOP = FailureSeverity.CRITICAL
WARN = FailureSeverity.WARNING


@dataclass(frozen=True)
class Suite:
    """What is expected of one table.

    Attributes:
        schema, table: where it is, in the database that the gate opens.
        expectations: at least one; a suite without any does not pass.
        source: the source system that the table is about, if it is about one.
    """

    schema: str
    table: str
    expectations: Sequence[gxe.Expectation] = field(default_factory=list)
    source: str | None = None


def no_rows(
    description: str, keys: str, where: str, *, severity: FailureSeverity = STOP
) -> gxe.UnexpectedRowsExpectation:
    """No row of the table meets ``where``; ``keys`` are selected of those that do.

    Keys are names of key columns, never personal columns: they stand in reports.
    """
    # The query is a template: braces of a pattern such as [0-9]{24} must stand for themselves.
    bare = where.replace("{", "{{").replace("}", "}}").replace("{{batch}}", "{batch}")
    return no_result(description, f"select {keys} from {{batch}} where {bare}", severity=severity)


def no_result(
    description: str, query: str, *, severity: FailureSeverity = STOP, kind: str = "rule"
) -> gxe.UnexpectedRowsExpectation:
    """``query`` (``{batch}`` is the table) returns nothing; what it returns stands in reports.

    ``kind`` says what a person is told that it is: rule, volume or freshness.
    """
    return gxe.UnexpectedRowsExpectation(
        unexpected_rows_query=query,
        description=description,
        severity=severity,
        meta={"kind": kind},
    )


def at_least(rows: int, description: str) -> gxe.ExpectTableRowCountToBeBetween:
    """The table has so many rows."""
    return gxe.ExpectTableRowCountToBeBetween(
        min_value=rows, description=description, severity=STOP, meta={"kind": "volume"}
    )


def unique(key: str) -> gxe.UnexpectedRowsExpectation:
    """The key column, or columns with commas, stands once."""
    return no_result(
        f"{key} stands once",
        f"select {key} from {{batch}} group by {key} having count(*) > 1",
    )
