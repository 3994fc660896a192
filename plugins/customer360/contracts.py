"""Contracts: what a declared table promises, as SQL that types its rows and names what is wrong.

What belongs here: turning ``config.Table`` into checks. What does not: reading sources, or storing
what passed and what did not (``customer360.raw``).
"""

from dataclasses import dataclass

from customer360.config import Column, CompanySources, Drift, Table
from customer360.exceptions import SchemaDriftError
from customer360.warehouse import literal, quote

SQL_TYPES = {"text": "varchar"}

# Families between which a cast can lose nothing; any other change of type is drift.
FAMILIES = {
    "text": {"VARCHAR"},
    "boolean": {"BOOLEAN", "VARCHAR"},
    "integer": {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER"},
    "number": {"FLOAT", "DOUBLE", "HUGEINT", "UBIGINT"},
    "moment": {"DATE", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE", "TIMESTAMP_S", "TIMESTAMP_MS",
               "TIMESTAMP_NS"},
}  # fmt: skip


@dataclass(frozen=True)
class Rule:
    """One check of one column: ``ok`` is an SQL condition that is never null."""

    name: str
    column: str
    ok: str
    message: str


def sql_type(column: Column) -> str:
    """The DuckDB type of a contract's column."""
    return SQL_TYPES.get(column.type, column.type)


def check_schema(name: str, contract: Table, found: dict[str, str], policy: Drift) -> list[str]:
    """Compare a source's columns with its contract before anything is read.

    Returns:
        Differences that policy accepts, in words.

    Raises:
        SchemaDriftError: differences that it does not accept.
    """
    problems: list[str] = []
    notes: list[str] = []
    added = [column for column in found if column not in contract.columns]
    missing = [column for column in contract.columns if column not in found]
    if missing:
        renamed = f" (new there: {', '.join(added)}; renamed?)" if added else ""
        problems.append(f"column {', '.join(missing)} is gone{renamed}")
    if added and not missing:
        text = f"column {', '.join(added)} is new"
        (problems if policy.added == "stop" else notes).append(text)
    for column, declared in contract.columns.items():
        if column in found and not _fits(declared, found[column]):
            text = f"column {column} is {found[column]} where the contract says {declared.type}"
            (problems if policy.retyped == "stop" else notes).append(text)
    if problems:
        raise SchemaDriftError(
            f"{name}: the source has changed: {'; '.join(problems)}. Correct the source, or its "
            "columns in sources.yml (and `drift` in policies.yml says what is accepted)."
        )
    return notes


def _fits(declared: Column, found: str) -> bool:
    base = found.split("(")[0]
    if base == "VARCHAR":
        return True  # text sources carry every type; each row is cast and checked
    if declared.type == "text":
        return base in FAMILIES["text"] | FAMILIES["integer"]
    if declared.type in ("bigint", "integer"):
        return base in FAMILIES["integer"]
    if declared.type == "double" or declared.type.startswith("decimal"):
        return base == "DECIMAL" or base in FAMILIES["integer"] | FAMILIES["number"]
    if declared.type in ("date", "timestamp"):
        return base in FAMILIES["moment"]
    return base in FAMILIES["boolean"]


def typed_select(
    contract: Table, company: CompanySources, relation: str, found: dict[str, str]
) -> str:
    """A select of ``relation`` (as landed) with contract types and timestamps in UTC.

    ``relation`` has ``_file`` and ``_position``, which say where a row came from. Text is trimmed
    and empty text is null. A value that does not cast becomes null, and ``_uncast`` lists the
    columns in which that happened.
    """
    expressions, uncast = [], []
    for name, column in contract.columns.items():
        source = quote(name)
        if found[name] == "VARCHAR":
            source = f"nullif(trim({source}), '')"
        value = f"try_cast({source} as {sql_type(column)})"
        if column.type == "timestamp":
            value = _in_utc(source, value, found[name], str(company.zone_of(column)))
        expressions.append(f"{value} as {quote(name)}")
        if found[name].split("(")[0].lower() != sql_type(column):
            uncast.append((f"({source} is not null and {value} is null)", literal(name)))
    failed = "null::varchar[]"
    if uncast:
        # The list is made only for rows that need one.
        names = ", ".join(f"case when {condition} then {name} end" for condition, name in uncast)
        any_failed = " or ".join(condition for condition, _ in uncast)
        failed = f"case when {any_failed} then list_filter([{names}], item -> item is not null) end"
    cells = ", ".join(expressions)
    return f"select _file, _position, {cells}, {failed} as _uncast from {relation}"


def _in_utc(source: str, value: str, found: str, zone: str) -> str:
    if found == "TIMESTAMP WITH TIME ZONE":
        return f"timezone('UTC', {source})"
    if found == "VARCHAR":
        # Text with an offset says its own zone; text without one is in the declared zone.
        has_offset = f"regexp_matches({source}, '([+-]\\d\\d:?\\d\\d|Z)$')"
        with_offset = f"timezone('UTC', try_cast({source} as timestamptz))"
        plain = value if zone == "UTC" else f"timezone('UTC', timezone({literal(zone)}, {value}))"
        return f"case when {has_offset} then {with_offset} else {plain} end"
    return value if zone == "UTC" else f"timezone('UTC', timezone({literal(zone)}, {value}))"


def rules(contract: Table) -> list[Rule]:
    """Every rule of a contract, over the columns of ``typed_select``."""
    found = []
    for name, column in contract.columns.items():
        cell = quote(name)
        found.append(
            Rule(
                "type",
                name,
                f"(_uncast is null or not list_contains(_uncast, {literal(name)}))",
                f"{name} is not a {column.type}",
            )
        )
        if column.required:
            # An uncast value is reported as that, not as missing as well.
            ok = f"({cell} is not null or coalesce(list_contains(_uncast, {literal(name)}), false))"
            found.append(Rule("required", name, ok, f"{name} is empty and is required"))
        if column.min is not None:
            ok = f"coalesce({cell} >= {column.min}, true)"
            found.append(Rule("min", name, ok, f"{name} is below {column.min:g}"))
        if column.max is not None:
            ok = f"coalesce({cell} <= {column.max}, true)"
            found.append(Rule("max", name, ok, f"{name} is above {column.max:g}"))
        if column.allowed is not None:
            values = ", ".join(literal(value) for value in column.allowed)
            ok = f"coalesce({cell}::varchar in ({values}), true)"
            found.append(Rule("allowed", name, ok, f"{name} is not one of the allowed values"))
        if column.matches is not None:
            ok = f"coalesce(regexp_full_match({cell}::varchar, {literal(column.matches)}), true)"
            found.append(Rule("matches", name, ok, f"{name} does not match its pattern"))
    return found
