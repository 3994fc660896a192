"""From ``records_in`` (text) to ``persons`` (normalised columns that can be compared).

What belongs here: which normaliser serves which field, applied to distinct values only, and the
stop-list of identifiers. What does not: how a value is normalised (``normalise``) or compared
(``model``).
"""

from dataclasses import dataclass
from functools import partial

import duckdb
import pyarrow as pa

from customer360.identity import normalise
from customer360.identity.mapping import PersonMapping, literal

IDENTIFIERS = ("national_id", "member_no", "unionid", "openid", "phone", "email")
"""Fields that by themselves may say who somebody is, strongest first."""

PERSONAL_IDENTIFIERS = ("national_id", "member_no", "unionid", "openid")
"""Identifiers that are given to one person; phones and e-mails are shared in families."""

MAX_PERSONS = 4
"""A phone or e-mail of more persons (different names or birthdays) than this is a shop's, a
call centre's or a dummy: a large household shares one among parents and two children."""

MAX_RECORDS = 20
"""The same where a table holds nothing that tells persons apart: records with one identifier."""


@dataclass(frozen=True)
class _Step:
    """One normalised column: from which field, by what; ``skip`` is SQL that is true for values
    that are already normal, or gives them directly (``direct``), so that Python sees few."""

    column: str
    field: str
    function: normalise.Normaliser
    skip: str | None = None
    direct: str = "value"


_NORMAL_EMAIL = (
    "regexp_full_match(value, '[a-z0-9._-]+@[a-z0-9-]+\\.[a-z0-9.-]+') "
    "AND NOT contains(value, '@g')"
)


def _steps(con: duckdb.DuckDBPyConnection, mapping: PersonMapping) -> list[_Step]:
    order = "dmy"
    if "birthday" in mapping.fields and mapping.date_format is None:
        sample = con.execute(
            "SELECT DISTINCT birthday FROM records_in WHERE birthday IS NOT NULL "
            "ORDER BY hash(birthday) LIMIT 5000"
        ).fetchall()
        order = normalise.date_order(value for (value,) in sample)
    family_latin = partial(_latin_of, normalise.name_part, surname=True)
    return [
        _Step("given", "given_name", normalise.name_part),
        _Step("given_latin", "given_name", partial(_latin_of, normalise.name_part)),
        _Step("given_root", "given_name", partial(_root_of, normalise.name_part)),
        _Step("family", "family_name", normalise.name_part),
        _Step("family_latin", "family_name", family_latin),
        _Step("full_given", "full_name", partial(_part_of_full, 0)),
        _Step("full_given_latin", "full_name", partial(_latin_part_of_full, 0)),
        _Step("full_given_root", "full_name", partial(_root_of, partial(_part_of_full, 0))),
        _Step("full_family", "full_name", partial(_part_of_full, 1)),
        _Step("full_family_latin", "full_name", partial(_latin_part_of_full, 1)),
        _Step(
            "birthday",
            "birthday",
            partial(normalise.birthday, form=mapping.date_format, order=order),
        ),
        _Step("sex", "sex", normalise.sex),
        _Step(
            "phone",
            "phone",
            partial(normalise.phone, region=mapping.phone_region),
            skip="regexp_full_match(value, '1[3-9][0-9]{9}')"
            if mapping.phone_region == "CN"
            else None,
            direct="'+86' || value",
        ),
        _Step("email", "email", normalise.email, skip=_NORMAL_EMAIL),
        _Step("address", "address", normalise.address),
        _Step("street", "street", normalise.address),
        _Step("street_number", "street_number", normalise.identifier_or_digit),
        _Step("city", "city", normalise.place),
        _Step("region", "region", normalise.place),
        _Step("postcode", "postcode", normalise.identifier_or_digit),
        _Step("country", "country", normalise.place),
        _Step("occupation", "occupation", normalise.address),
        *(_Step(name, name, normalise.identifier) for name in PERSONAL_IDENTIFIERS),
    ]


def _latin_of(part: normalise.Normaliser, value: str, *, surname: bool = False) -> str | None:
    return normalise.latin(part(value), surname=surname)


def _root_of(part: normalise.Normaliser, value: str) -> str | None:
    return normalise.formal_name(normalise.latin(part(value)))


def _part_of_full(index: int, value: str) -> str | None:
    return normalise.split_name(value)[index]


def _latin_part_of_full(index: int, value: str) -> str | None:
    return normalise.latin(normalise.split_name(value)[index], surname=index == 1)


def prepare(
    con: duckdb.DuckDBPyConnection, mapping: PersonMapping, into: str = "persons_all"
) -> list[str]:
    """Make ``into`` from ``records_in``; return the columns that hold any value.

    It has ``record_id`` and those columns, in the order of ``record_id``, so that the
    order of the input rows leaves no trace.
    """
    fields = set(mapping.fields)
    steps = [step for step in _steps(con, mapping) if step.field in fields]
    joins, found = [], {}
    by_field: dict[str, list[_Step]] = {}
    for step in steps:
        by_field.setdefault(step.field, []).append(step)
    for field, group in by_field.items():
        table = f"normal_{field}"
        _normalise_distinct(con, table, field, group)
        joins.append(f"LEFT JOIN {table} ON {table}.value = records_in.{field}")
        found.update({step.column: f"{table}.{step.column}" for step in group})
    columns = _assemble(found, fields)
    select = ", ".join(f"{expression} AS {name}" for name, expression in columns.items())
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE {into} AS "
        f"SELECT records_in.record_id, {select} FROM records_in {' '.join(joins)} "
        f"ORDER BY records_in.record_id"
    )
    for field in by_field:
        con.execute(f"DROP TABLE normal_{field}")
    counts = con.execute(
        "SELECT " + ", ".join(f"count({name})" for name in columns) + f" FROM {into}"
    ).fetchall()[0]
    return [name for name, filled in zip(columns, counts, strict=True) if filled]


def _assemble(found: dict[str, str], fields: set[str]) -> dict[str, str]:
    """Name of each column of ``persons`` -> its SQL expression over the joined tables."""
    columns: dict[str, str] = {}
    for part in ("given", "family", "given_latin", "family_latin", "given_root"):
        choices = [found[name] for name in (part, f"full_{part}") if name in found]
        if choices:
            columns[part] = f"coalesce({', '.join(choices)})"
    parts = [name for name in ("birth_year", "birth_month", "birth_day") if name in fields]
    if "birthday" in found:
        columns["birthday"] = found["birthday"]
    elif parts:
        digits = [f"regexp_extract(records_in.{name}, '\\d+')" for name in parts]
        padded = [
            f"lpad({text}, {4 if name == 'birth_year' else 2}, '0')"
            for name, text in zip(parts, digits, strict=True)
        ]
        known = " AND ".join(f"{text} != ''" for text in digits)
        columns["birthday"] = f"CASE WHEN {known} THEN concat_ws('-', {', '.join(padded)}) END"
    taken = {"given", "family", "given_latin", "family_latin", "given_root", "birthday"}
    return columns | {
        name: expression
        for name, expression in found.items()
        if name not in taken and not name.startswith("full_")
    }


def _normalise_distinct(
    con: duckdb.DuckDBPyConnection, table: str, field: str, steps: list[_Step]
) -> None:
    """Make ``table``: ``value`` of ``field`` and one column a step, for every distinct value."""
    skip = steps[0].skip or "false"
    con.execute(
        f"CREATE TEMP TABLE distinct_values AS "
        f"SELECT DISTINCT {field} AS value FROM records_in WHERE {field} IS NOT NULL"
    )
    values = [
        value
        for (value,) in con.execute(
            f"SELECT value FROM distinct_values WHERE NOT ({skip})"
        ).fetchall()
    ]
    functions = [step.function for step in steps]
    normal = [[function(value) for function in functions] for value in values]
    data = {"value": pa.array(values, pa.string())}
    for step, column in zip(steps, zip(*normal, strict=True), strict=False):
        data[step.column] = pa.array(column, pa.string())
    for step in steps[len(data) - 1 :]:  # no values at all
        data[step.column] = pa.array([], pa.string())
    con.register("normalised_values", pa.table(data))
    con.execute(f"CREATE OR REPLACE TEMP TABLE {table} AS SELECT * FROM normalised_values")
    con.unregister("normalised_values")
    if steps[0].skip:
        con.execute(
            f"INSERT INTO {table} SELECT value, {steps[0].direct} FROM distinct_values WHERE {skip}"
        )
    con.execute("DROP TABLE distinct_values")


def stop_list(con: duckdb.DuckDBPyConnection, columns: list[str]) -> None:
    """Learn from frequency which identifiers say nothing; make ``persons`` without them.

    Table ``stop_list`` gets ``kind``, ``value``, ``records``, ``persons``: identifiers that more
    than MAX_PERSONS persons (told apart by name and birthday) use. A person may use one any
    number of times; without names and birthdays every record counts, up to MAX_RECORDS. What is on
    it neither links nor counts as evidence.
    """
    present = [name for name in IDENTIFIERS if name in columns]
    who = [name for name in ("given_latin", "family_latin", "birthday") if name in columns]
    # a misspelt name must not make a busy person a crowd: initials and year of birth tell apart
    keys = [f"left({name}, {4 if name == 'birthday' else 1})" for name in who]
    person = f"concat_ws('|', {', '.join(keys)})" if who else "record_id"
    most = MAX_PERSONS if who else MAX_RECORDS
    counted = [
        f"SELECT '{name}' AS kind, {name} AS value, count(*) AS records, "
        f"count(DISTINCT {person}) AS persons FROM persons_all WHERE {name} IS NOT NULL "
        f"GROUP BY {name} HAVING count(DISTINCT {person}) > {most} "
        for name in present
    ]
    empty = (
        "SELECT ''::VARCHAR AS kind, ''::VARCHAR AS value, 0::BIGINT AS records, "
        "0::BIGINT AS persons WHERE false"
    )
    con.execute(
        f"CREATE OR REPLACE TABLE stop_list AS {' UNION ALL '.join([*counted, empty])} "
        "ORDER BY kind, value"
    )
    replaced = [
        f"CASE WHEN {name} NOT IN (SELECT value FROM stop_list WHERE kind = {literal(name)}) "
        f"THEN {name} END AS {name}"
        for name in present
    ]
    kept = [name for name in columns if name not in present]
    con.execute(
        f"CREATE OR REPLACE TABLE persons AS SELECT {', '.join(['record_id', *kept, *replaced])} "
        "FROM persons_all ORDER BY record_id"
    )
    con.execute("DROP TABLE persons_all")
