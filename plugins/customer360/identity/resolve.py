"""The whole way from a table of person records to customers.

What belongs here: the order of the steps, and what is written. What does not: the steps.
"""

import json
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from splink import DuckDBAPI, Linker

from customer360.exceptions import ConfigError
from customer360.identity import cluster, links
from customer360.identity.blocking import Blocking, block
from customer360.identity.mapping import PersonMapping, literal, read_records, reader
from customer360.identity.model import (
    FieldModel,
    Parameters,
    field_models,
    splink_settings,
    train,
)
from customer360.identity.prepare import prepare, stop_list

REVIEW = (0.1, 0.9)
"""Pairs whose probability lies between are put before a person."""

WHOLE_COMPONENT = 60
"""Components up to this size are compared wholly before they are joined."""

COPIES = 3
"""From so many records on that are equal in all they say, the further ones are not compared."""

TELLING = ("birthday", "phone", "email", "address", "street", "national_id", "member_no",
           "unionid", "openid")  # fmt: skip
"""With a whole name and one of these a record says who it is, so that its copies are one person."""

MUST_LINK = 1000.0
"""Weight of a reviewer's word: above every sum of evidence."""


@dataclass
class Summary:
    """What a resolution did, in counts."""

    records: int
    customers: int
    links: int
    review: int
    stop_listed: int
    largest: int


def _silent(_: str) -> None:
    return None


def resolve(
    con: duckdb.DuckDBPyConnection,
    records: Path,
    mapping: PersonMapping,
    *,
    constraints: Path | None = None,
    say: Callable[[str], None] = _silent,
) -> Summary:
    """Resolve the table at ``records``.

    Leaves in ``con``: ``customers`` (``record_id``, ``customer_id``), ``links`` (pairs with
    probability, rule, verdict and reasons), ``stop_list`` and ``model`` (JSON).
    The order of the input rows changes nothing.
    """
    logging.getLogger("splink").setLevel(logging.ERROR)
    con.execute("SET preserve_insertion_order = false")
    rows = read_records(con, records, mapping)
    say(f"{rows:,} records read")
    columns = prepare(con, mapping)
    _say_unread(con, mapping, say)
    stop_list(con, columns)
    models = field_models(columns)
    if constraints is not None:
        _read_constraints(con, constraints)
    # what people decided may be about any of them
    rows -= _set_copies_apart(con, columns if constraints is None else [])
    blocking = block(con, columns, rows)
    if not models or rows < 2 or not blocking.columns:
        _nobody_linked(con)
    else:
        say(f"compared by {', '.join(model.name for model in models)}")
        _link(con, models, blocking, rows, constraints is not None, say)
    _add_copies(con)
    return _summary(con)


def _set_copies_apart(con: duckdb.DuckDBPyConnection, columns: list[str]) -> int:
    """Move copies of a record from ``persons`` to ``copies`` (``record_id``, ``first_id``).

    A record that stands in a table hundreds of times makes all that it says look common, and takes
    hundreds of thousands of comparisons to be found equal to itself. Returns how many were moved.
    """
    telling = [name for name in TELLING if name in columns]
    if not telling or not {"given", "family"} <= set(columns):
        con.execute("CREATE OR REPLACE TEMP TABLE copies (record_id VARCHAR, first_id VARCHAR)")
        return 0
    con.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE copies AS
        SELECT record_id, first_id FROM (
            SELECT record_id, min(record_id) OVER alike AS first_id, count(*) OVER alike AS records
            FROM persons
            WHERE given IS NOT NULL AND family IS NOT NULL AND coalesce({", ".join(telling)}) <> ''
            WINDOW alike AS (PARTITION BY {", ".join(columns)})
        ) WHERE records >= {COPIES} AND record_id <> first_id
        """
    )
    con.execute("DELETE FROM persons WHERE record_id IN (SELECT record_id FROM copies)")
    return int(con.execute("SELECT count(*) FROM copies").fetchall()[0][0])


def _add_copies(con: duckdb.DuckDBPyConnection) -> None:
    """Give copies the customer of their first record, and a link to it."""
    con.execute(
        """
        CREATE OR REPLACE TABLE customers AS
        FROM customers
        UNION ALL
        SELECT copies.record_id, customer_id FROM copies
        JOIN customers ON customers.record_id = first_id
        ORDER BY record_id;
        INSERT INTO links BY NAME
        SELECT first_id AS record_l, record_id AS record_r, 1.0 AS probability, 60.0 AS weight,
            'copy' AS rule, false AS contradicted, 'linked' AS verdict, true AS together,
            [] AS reasons
        FROM copies
        """
    )


def _say_unread(
    con: duckdb.DuckDBPyConnection, mapping: PersonMapping, say: Callable[[str], None]
) -> None:
    """Say of how many records a birthday, phone or e-mail was not understood.

    Raises:
        ConfigError: no birthday has the date_format that the mapping names.
    """
    for field in ("birthday", "phone", "email"):
        if field not in mapping.fields:
            continue
        given, read = con.execute(
            f"SELECT count(records_in.{field}), count(persons_all.{field}) "
            "FROM records_in JOIN persons_all USING (record_id)"
        ).fetchall()[0]
        if field == "birthday" and given and not read and mapping.date_format:
            raise ConfigError(
                f"none of {given:,} birthdays is written as date_format "
                f"'{mapping.date_format}' says: correct it in the mapping file, or take it out"
            )
        if given > read:
            say(f"{field}: {given - read:,} of {given:,} values are not understood and left out")


def _link(
    con: duckdb.DuckDBPyConnection,
    models: list[FieldModel],
    blocking: Blocking,
    rows: int,
    constrained: bool,
    say: Callable[[str], None],
) -> None:
    parameters = train(con, models, blocking, rows)
    say(f"model trained: about {parameters.same * parameters.pairs:,.0f} pairs are one person")
    con.execute(
        "CREATE OR REPLACE TABLE model AS SELECT ? AS parameters", [json.dumps(asdict(parameters))]
    )
    linker = Linker(
        DuckDBAPI(connection=con).register("persons_blocked"),
        splink_settings(models, parameters, blocking),
        log_level=None,
    )
    links.score_candidates(con, linker, models, parameters)
    if constrained:
        _constrain(con, linker, models, parameters)
    say("candidate pairs scored")
    _join(con, linker, models, parameters)
    _keep_links(con, models)
    con.execute("DROP TABLE scored")


def _read_constraints(con: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Make ``constraints``: the pairs that people decided (CSV record_a, record_b, kind).

    Rows without a kind are decided by nobody yet.

    Raises:
        ConfigError: a line that could not be obeyed; names it.
    """
    relation, columns = reader(con, path)
    missing = sorted({"record_a", "record_b", "kind"} - set(columns))
    if missing:
        raise ConfigError(f"{path} lacks {', '.join(missing)}; it needs record_a, record_b, kind")
    con.execute(
        f"""
        CREATE OR REPLACE TABLE constraints AS
        WITH told AS (
            SELECT trim(record_a::VARCHAR) AS record_a, trim(record_b::VARCHAR) AS record_b,
                lower(trim(kind::VARCHAR)) AS kind, row_number() OVER () + 1 AS line
            FROM {relation}
        )
        SELECT least(record_a, record_b) AS record_l, greatest(record_a, record_b) AS record_r,
            max(kind) AS kind, count(DISTINCT kind) AS kinds, min(line) AS line
        FROM told WHERE kind <> '' GROUP BY ALL
        """
    )
    wrong = con.execute(
        """
        SELECT line, CASE
            WHEN kind NOT IN ('must_link', 'cannot_link') THEN 'kind is neither must_link nor '
                || 'cannot_link'
            WHEN kinds > 1 THEN 'the pair is both must_link and cannot_link'
            WHEN record_l = record_r THEN 'a record is paired with itself'
            ELSE 'one of its records is not in the table'
        END AS why
        FROM constraints
        WHERE kinds > 1 OR kind NOT IN ('must_link', 'cannot_link') OR record_l = record_r
            OR record_l NOT IN (SELECT record_id FROM records_in)
            OR record_r NOT IN (SELECT record_id FROM records_in)
        ORDER BY line LIMIT 5
        """
    ).fetchall()
    if wrong:
        raise ConfigError(
            f"{path} cannot be obeyed: " + "; ".join(f"line {line}: {why}" for line, why in wrong)
        )
    told = con.execute("SELECT record_l, record_r, kind, line FROM constraints").fetchnumpy()
    records, ends = np.unique([*told["record_l"], *told["record_r"]], return_inverse=True)
    left, right = np.split(ends, 2)
    must = told["kind"] == "must_link"
    persons = cluster.components(len(records), left[must], right[must])
    torn = told["line"][~must & (persons[left] == persons[right])]
    if len(torn):
        raise ConfigError(
            f"{path} cannot be obeyed: line {min(torn)} keeps two records apart that its lines of "
            "must_link make one"
        )


def _constrain(
    con: duckdb.DuckDBPyConnection,
    linker: Linker,
    models: list[FieldModel],
    parameters: Parameters,
) -> None:
    """Overrule the weights of pairs that people decided."""
    links.score_more(con, linker, models, parameters, "constraints")
    con.execute(
        f"""
        UPDATE scored SET constraint_kind = constraints.kind,
            weight = CASE constraints.kind WHEN 'must_link' THEN {MUST_LINK} ELSE -1e9 END
        FROM constraints WHERE scored.record_l = constraints.record_l
            AND scored.record_r = constraints.record_r
        """
    )


def _pairs(con: duckdb.DuckDBPyConnection, where: str) -> dict[str, Any]:
    return con.execute(
        f"""
        SELECT left_record.number AS left_number, right_record.number AS right_number,
            weight, contradicted
        FROM scored
        JOIN record_numbers AS left_record ON left_record.record_id = record_l
        JOIN record_numbers AS right_record ON right_record.record_id = record_r
        WHERE {where} ORDER BY ALL
        """
    ).fetchnumpy()


def _join(
    con: duckdb.DuckDBPyConnection,
    linker: Linker,
    models: list[FieldModel],
    parameters: Parameters,
) -> None:
    """Make ``customers`` from ``scored``."""
    con.execute(
        "CREATE OR REPLACE TABLE record_numbers AS SELECT record_id, "
        "row_number() OVER (ORDER BY record_id) - 1 AS number FROM persons"
    )
    rows = con.execute("SELECT count(*) FROM record_numbers").fetchall()[0][0]
    found = _pairs(con, "weight > 0")
    labels = cluster.components(rows, found["left_number"], found["right_number"])
    sizes = np.bincount(labels)
    groups = np.arange(rows)
    for one, other in zip(found["left_number"], found["right_number"], strict=True):
        if sizes[labels[one]] == 2:
            groups[other] = one
    large = np.flatnonzero(sizes[labels] > 2)
    if len(large):
        con.register(
            "component_members",
            pa.table({"number": large, "component": labels[large], "size": sizes[labels[large]]}),
        )
        con.execute(
            "CREATE OR REPLACE TABLE components AS SELECT record_id, component, size "
            "FROM component_members JOIN record_numbers USING (number)"
        )
        con.unregister("component_members")
        con.execute(
            f"""
            CREATE OR REPLACE TABLE component_pairs AS
            SELECT one.record_id AS record_l, other.record_id AS record_r
            FROM components AS one JOIN components AS other USING (component)
            WHERE one.record_id < other.record_id AND one.size <= {WHOLE_COMPONENT}
            """
        )
        links.score_more(con, linker, models, parameters, "component_pairs")
        _join_components(con, labels, groups, sizes)
    con.register("groups_found", pa.table({"number": np.arange(rows), "first": groups}))
    con.execute(
        """
        CREATE OR REPLACE TABLE customers AS
        SELECT record_numbers.record_id,
            'c-' || left(sha256(first_record.record_id), 16) AS customer_id
        FROM groups_found JOIN record_numbers USING (number)
        JOIN record_numbers AS first_record ON first_record.number = groups_found.first
        ORDER BY record_numbers.record_id
        """
    )
    con.unregister("groups_found")


def _join_components(
    con: duckdb.DuckDBPyConnection, labels: np.ndarray, groups: np.ndarray, sizes: np.ndarray
) -> None:
    found = _pairs(con, "true")
    left, right = found["left_number"], found["right_number"]
    inside = (labels[left] == labels[right]) & (sizes[labels[left]] > 2)
    left, right = left[inside], right[inside]
    says = cluster.say(found["weight"][inside], np.asarray(found["contradicted"][inside], bool))
    order = np.argsort(labels[left], kind="stable")
    left, right, says = left[order], right[order], says[order]
    bounds = np.flatnonzero(np.diff(labels[left])) + 1
    for part in zip(
        np.split(left, bounds), np.split(right, bounds), np.split(says, bounds), strict=True
    ):
        for record, first in cluster.join(*part).items():
            groups[record] = first


def _keep_links(con: duckdb.DuckDBPyConnection, models: list[FieldModel]) -> None:
    """Make ``links``: what was decided about every pair that was worth a thought."""
    low, high = REVIEW
    con.execute(
        f"""
        CREATE OR REPLACE TABLE links AS
        WITH decided AS (
            SELECT scored.*, 1 / (1 + power(2.0, -greatest(-60, least(60, weight)))) AS probability,
                one.customer_id = other.customer_id AS together
            FROM scored
            JOIN customers AS one ON one.record_id = record_l
            JOIN customers AS other ON other.record_id = record_r
        )
        SELECT record_l, record_r, probability, weight, rule, contradicted,
            constraint_kind AS decided_by_people,
            CASE
                WHEN constraint_kind IS NOT NULL THEN
                    CASE WHEN together THEN 'linked' ELSE 'refused' END
                WHEN rule IS NULL AND probability BETWEEN {low} AND {high} THEN 'review'
                WHEN together AND weight > 0 THEN 'linked'
                WHEN together THEN 'linked through others'
                WHEN weight > 0 THEN 'review'
                ELSE 'refused'
            END AS verdict,
            together,
            {links.reasons(models)} AS reasons
        FROM decided WHERE together OR probability >= {low / 2} OR contradicted
            OR constraint_kind IS NOT NULL
        ORDER BY record_l, record_r
        """
    )


def _nobody_linked(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(
        "CREATE OR REPLACE TABLE customers AS SELECT record_id, "
        "'c-' || left(sha256(record_id), 16) AS customer_id FROM persons ORDER BY record_id"
    )
    con.execute(
        "CREATE OR REPLACE TABLE links AS SELECT '' AS record_l, '' AS record_r, "
        "0.0::DOUBLE AS probability, 0.0::DOUBLE AS weight, '' AS rule, false AS contradicted, "
        "'' AS decided_by_people, '' AS verdict, false AS together, "
        "[{'field': '', 'degree': '', 'weight': 0.0}] AS reasons WHERE false"
    )
    con.execute("CREATE OR REPLACE TABLE model AS SELECT '{}' AS parameters")


def _summary(con: duckdb.DuckDBPyConnection) -> Summary:
    found = con.execute(
        """
        SELECT count(*), count(DISTINCT customer_id),
            (SELECT count(*) FROM links WHERE verdict LIKE 'linked%'),
            (SELECT count(*) FROM links WHERE verdict = 'review'),
            (SELECT count(*) FROM stop_list),
            (SELECT max(size) FROM (SELECT count(*) AS size FROM customers GROUP BY customer_id))
        FROM customers
        """
    ).fetchall()[0]
    return Summary(*(int(value) for value in found))


def write(con: duckdb.DuckDBPyConnection, out: Path) -> dict[str, Path]:
    """Write ``record_id, customer_id`` to ``out``, and beside it links, review list and model.

    CSV or Parquet by the suffix of ``out``. Returns what was written: name -> path.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    files = companions(out)
    form = "(FORMAT parquet)" if out.suffix.lower() in {".parquet", ".pq"} else "(HEADER)"
    con.execute(f"COPY (FROM customers ORDER BY record_id) TO {literal(out)} {form}")
    con.execute(
        f"COPY (FROM links ORDER BY record_l, record_r) TO {literal(files['links'])} "
        "(FORMAT parquet)"
    )
    con.execute(
        "COPY (SELECT record_l AS record_a, record_r AS record_b, round(probability, 4) AS "
        "probability, together AS together_now, '' AS kind FROM links WHERE verdict = 'review' "
        "ORDER BY abs(probability - 0.5), record_l, record_r) "
        f"TO {literal(files['review'])} (HEADER)"
    )
    parameters = con.execute("SELECT parameters FROM model").fetchall()[0][0]
    files["model"].write_text(
        json.dumps(json.loads(parameters), indent=1, sort_keys=True) + "\n", encoding="utf-8"
    )
    return {"customers": out, **files}


def companions(out: Path) -> dict[str, Path]:
    """Paths of what stands beside a result: links, review list, model."""
    return {
        "links": out.with_suffix(".links.parquet"),
        "review": out.with_suffix(".review.csv"),
        "model": out.with_suffix(".model.json"),
    }
