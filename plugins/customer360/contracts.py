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
    "text": {"VARCHAR", "UUID", "ENUM", "TIME", "TIME WITH TIME ZONE", "JSON", "INTERVAL", "BIT"},
    "boolean": {"BOOLEAN", "VARCHAR"},
    "integer": {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER",
                "UBIGINT", "HUGEINT", "UHUGEINT"},
    "number": {"FLOAT", "DOUBLE", "DECIMAL"},
    "moment": {"DATE", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE", "TIMESTAMP_S", "TIMESTAMP_MS",
               "TIMESTAMP_NS"},
    "nested": {"JSON", "STRUCT", "MAP", "UNION"},
}  # fmt: skip

# Numbers as people and spreadsheets write them, and nothing else that a cast would take: DuckDB
# reads 0x1F and 1_000, and rounds 1.7 to 2.
FULL_WIDTH, HALF_WIDTH = "０１２３４５６７８９．－＋：／　", "0123456789.-+:/ "
WHOLE_NUMBER = r"[+-]?\d+(\.0*)?"
NUMBER = r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"

EPOCHS = {"epoch_s": 1_000_000, "epoch_ms": 1_000}
"""Formats of a moment as a number since 1970 in UTC -> microseconds a unit."""


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
    base = "LIST" if found.endswith("]") else found.split("(")[0]
    if base == "VARCHAR":
        return True  # text sources carry every type; each row is cast and checked
    numbers = FAMILIES["integer"] | FAMILIES["number"]
    if declared.type == "text":
        return base in FAMILIES["text"] | FAMILIES["integer"] | {"LIST"}
    if declared.type == "json":
        return base in FAMILIES["nested"] | {"LIST"}
    if declared.type in ("bigint", "integer"):
        return base in FAMILIES["integer"]
    if declared.type == "double" or declared.type.startswith("decimal"):
        return base in numbers
    if declared.type in ("date", "timestamp"):
        written = numbers if declared.format in (*EPOCHS, "excel") else set()
        return base in FAMILIES["moment"] | written
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
        value = typed_value(name, column, found[name], company)
        expressions.append(f"{value} as {quote(name)}")
        if found[name].split("(")[0].lower() != sql_type(column):
            filled = f"{_cell(name, found[name])} is not null"
            uncast.append((f"({filled} and {value} is null)", literal(name)))
    failed = "null::varchar[]"
    if uncast:
        # The list is made only for rows that need one.
        names = ", ".join(f"case when {condition} then {name} end" for condition, name in uncast)
        any_failed = " or ".join(condition for condition, _ in uncast)
        failed = f"case when {any_failed} then list_filter([{names}], item -> item is not null) end"
    cells = ", ".join(expressions)
    return f"select _file, _position, {cells}, {failed} as _uncast from {relation}"


def typed_value(name: str, column: Column, found: str, company: CompanySources) -> str:
    """SQL of a landed column's value in its contract's type (a timestamp in UTC); null where the
    value is not one."""
    cell = _cell(name, found)
    is_text = found == "VARCHAR"
    if column.type in ("date", "timestamp"):
        if is_text:
            cell = _half_width(cell)
        zone = str(company.zone_of(column))
        if column.format in EPOCHS:
            return _of_epoch(column, cell, zone)
        if column.format == "excel" and found not in FAMILIES["moment"]:
            return _of_excel(column, cell, zone)
        if column.format and column.format != "excel" and is_text:
            return _of_text(column, cell, column.format, zone)
        value = f"try_cast({cell} as {column.type})"
        return _in_utc(cell, value, found, zone) if column.type == "timestamp" else value
    if (is_text and column.type in ("bigint", "integer", "double")) or (
        is_text and column.type.startswith("decimal")
    ):
        cell = _half_width(cell)
        form = WHOLE_NUMBER if column.type in ("bigint", "integer") else NUMBER
        cell = f"case when regexp_full_match({cell}, {literal(form)}) then {cell} end"
    if column.type == "json" and found not in ("VARCHAR", "JSON"):
        return f"to_json({cell})"
    return f"try_cast({cell} as {sql_type(column)})"


def _cell(name: str, found: str) -> str:
    return f"nullif(trim({quote(name)}), '')" if found == "VARCHAR" else quote(name)


def _half_width(text: str) -> str:
    """Digits and signs of a Chinese keyboard as the ASCII ones."""
    wide = f"trim(translate({text}, {literal(FULL_WIDTH)}, {literal(HALF_WIDTH)}))"
    return f"case when strlen({text}) = length({text}) then {text} else {wide} end"


def _of_epoch(column: Column, cell: str, zone: str) -> str:
    assert column.format
    units = f"try_cast({cell} as decimal(30,6))"
    moment = f"make_timestamp(try_cast({units} * {EPOCHS[column.format]} as bigint))"
    # Beyond these the calendar of a cast ends, and it would fail for the whole batch.
    moment = f"case when abs({units}) < {10**17 // EPOCHS[column.format]} then {moment} end"
    if column.type == "timestamp":
        return moment
    return f"timezone({literal(zone)}, timezone('UTC', {moment}))::date"


def _of_excel(column: Column, cell: str, zone: str) -> str:
    """A serial day of a spreadsheet (45000.5 is a noon), or text that says the moment itself."""
    serial = f"try_cast({cell} as double)"
    day = "timestamp '1899-12-30'"
    # Seconds: what a spreadsheet can hold; a double's last digits are noise.
    moment = f"{day} + to_seconds(round({serial} * 86400)::bigint)"
    moment = (
        f"case when {serial} between 1 and 2958465 then {moment} "
        f"when {serial} is null then try_cast({cell}::varchar as timestamp) end"
    )
    return f"({moment})::date" if column.type == "date" else _at_zone(moment, zone)


def _of_text(column: Column, cell: str, form: str, zone: str) -> str:
    moment = f"try_strptime({cell}, {literal(form)})"
    if column.type == "date":
        return f"{moment}::date"
    return f"timezone('UTC', {moment})" if "%z" in form else _at_zone(moment, zone)


def _at_zone(moment: str, zone: str) -> str:
    """A wall clock's time in UTC."""
    return moment if zone == "UTC" else f"timezone('UTC', timezone({literal(zone)}, {moment}))"


def _in_utc(source: str, value: str, found: str, zone: str) -> str:
    if found == "TIMESTAMP WITH TIME ZONE":
        return f"timezone('UTC', {source})"
    if found == "VARCHAR":
        # Text with an offset says its own zone; text without one is in the declared zone.
        has_offset = f"regexp_matches({source}, '([+-]\\d\\d:?\\d\\d|Z)$')"
        with_offset = f"timezone('UTC', try_cast({source} as timestamptz))"
        return f"case when {has_offset} then {with_offset} else {_at_zone(value, zone)} end"
    return _at_zone(value, zone)


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
