"""The tables that marts and people read: schema ``identity`` in the file of the run.

What belongs here: their shapes, and filling them from the store and the decision state. What does
not: deciding anything. A full run makes all anew, an increment replaces the rows that it reached;
typed where they are empty; their rows have no order:

- ``customer_records``: ``record_id`` -> ``customer_id``, with ``source``, ``entity``; one row a
  record
  that is there.
- ``customer_identifiers``: ``customer_id``, ``kind``, ``value``, ``record_id``, ``is_verified``;
  bitemporal: it held from ``held_from`` until before ``held_to`` (NULL: it holds; a number that
  passed to somebody else ends where that one's use begins), and we knew so from ``learned_from``
  until before ``learned_to`` (NULL: we still do). The present is ``learned_to IS NULL``. What the
  first run learned counts as known since the record was made.
- ``identity_links``: pairs of records that were compared: ``rule`` (what linked or refused them),
  ``kinds`` they share, ``probability`` and ``weight`` (bits) of the model where it judged,
  ``verdict``
  (linked, refused, review), ``reasons`` (field, degree, weight), ``against``.
- ``identity_changes``: ``old_id`` (NULL for new), ``new_id``, ``reason`` (new, merge, split, undo),
  ``run_id``, ``changed_on``.
- ``customer_id_map``: ``old_id``, ``new_id``, ``reason``. ``merge``: the old id is gone, and this
  one new id takes its place. ``split``: the new id has a part of the old, and does not replace it:
  the old id keeps its part, or has a merge row of its own.
- ``identity_reviews``: undecided pairs, the likeliest errors first: ``record_a``, ``record_b``,
  their
  customers, ``probability``, ``together`` (now), ``why``.
- ``identity_stop_list``: ``kind``, ``value``, ``persons``: what links nobody. Restricted.
- ``record_memberships``: ``record_id``, ``customer_id``, ``learned_from``, ``learned_to``: who we
  believed a record to be, from when and until before when (NULL: always; still).
- ``record_persons``: ``record_id``, ``family`` (name), ``birthday`` (solar, also of lunar ones),
  ``road_home``, ``estate_home`` (the flat, two ways): what was read in a record. Restricted.
- ``told_run``: ``run_id`` of the run whose tables these are; none while they are being written.
"""

import duckdb
import pyarrow as pa
from sqlalchemy import Engine, select

from customer360.identity import cores, ids, links, remainder
from customer360.identity.config import IdentityConfig
from customer360.identity.inputs import copy

MOST_REVIEWS = 5_000
"""Nobody looks at more; the most doubtful are kept."""

PAIR = "xor(hash(record_l), hash(record_r))"
"""SQL: the number of a pair of records, made of theirs."""


def write(
    own: duckdb.DuckDBPyConnection,
    con: duckdb.DuckDBPyConnection,
    engine: Engine,
    config: IdentityConfig,
    run: ids.Run,
    *,
    changes_only: bool,
) -> None:
    """Bring the tables of schema ``identity`` in ``con`` to what the store ``own`` says now.

    With ``changes_only``, and if ``con`` holds the tables of the run before this one, rows of what
    this run reached are replaced: of records in ``record_told``, of pairs in ``pair_told``, of
    values in ``value_told``. Else all tables are made anew.
    """
    con.execute(
        "CREATE SCHEMA IF NOT EXISTS identity;"
        "CREATE TABLE IF NOT EXISTS identity.told_run (run_id VARCHAR)"
    )
    told = [row[0] for row in con.execute("SELECT run_id FROM identity.told_run").fetchall()]
    runs = ids.run_ids(engine)
    changes_only = changes_only and run.writes and told == [runs.get(run.before)]
    # who dies here leaves tables that name no run: they are made anew
    con.execute("DELETE FROM identity.told_run")
    _memory(own, engine, run, changes_only=changes_only)
    if changes_only:
        _write_changes(own, con, config, run)
    else:
        _write_all(own, con, config)
    own.execute(f"CREATE OR REPLACE TABLE review_told AS {_reviews(config)}")
    copy(own, con, "SELECT * FROM review_told", "TABLE identity.identity_reviews")
    copy(own, con, _ID_MAP, "TABLE identity.customer_id_map")
    if run.writes:
        con.execute("INSERT INTO identity.told_run VALUES (?)", [runs[run.number]])


def _write_all(
    own: duckdb.DuckDBPyConnection, con: duckdb.DuckDBPyConnection, config: IdentityConfig
) -> None:
    # kept: reviews and explanations are asked from the store
    own.execute(
        f"CREATE OR REPLACE TABLE link_told AS {links_query(config)};"
        "CREATE OR REPLACE TABLE link_doubtful AS FROM link_told WHERE verdict = 'review'"
    )
    for name, query in (
        ("customer_records", _CUSTOMER_RECORDS.format(where="true")),
        ("customer_identifiers", _CUSTOMER_IDENTIFIERS.format(where="true")),
        ("record_memberships", _RECORD_MEMBERSHIPS.format(where="true")),
        ("record_persons", _RECORD_PERSONS.format(where="true")),
        ("identity_links", "SELECT * FROM link_told"),
        ("identity_changes", _CHANGES.format(where="true")),
        ("identity_stop_list", "SELECT kind, value, persons FROM stop_value ORDER BY ALL"),
    ):
        copy(own, con, query, f"TABLE identity.{name}")


def _write_changes(
    own: duckdb.DuckDBPyConnection,
    con: duckdb.DuckDBPyConnection,
    config: IdentityConfig,
    run: ids.Run,
) -> None:
    own.execute(
        """
        CREATE OR REPLACE TEMP TABLE value_told AS
        SELECT value FROM value_touched
        UNION SELECT value FROM held WHERE hash(record_id) IN (FROM record_told)
        """
    )
    for table in ("record_told", "pair_told", "value_told"):
        copy(own, con, f"FROM {table}", f"TEMP TABLE {table}")
    of_record = "hash(record_id) IN (FROM record_told)"
    of_value = "value IN (FROM value_told)"
    of_pair = f"{PAIR} IN (SELECT pair FROM pair_told)"
    own.execute(
        "CREATE OR REPLACE TEMP TABLE customer_told AS SELECT * FROM record_customer "
        "WHERE hash(record_id) IN (SELECT unnest([n_l, n_r]) FROM pair_told);"
        f"CREATE OR REPLACE TEMP TABLE link_now AS {links_query(config, changes_only=True)};"
        f"DELETE FROM link_told WHERE {of_pair}; INSERT INTO link_told FROM link_now;"
        f"DELETE FROM link_doubtful WHERE {of_pair};"
        "INSERT INTO link_doubtful FROM link_now WHERE verdict = 'review'"
    )
    for name, where, query in (
        ("customer_records", of_record, _CUSTOMER_RECORDS.format(where=of_record)),
        ("customer_identifiers", of_value, _CUSTOMER_IDENTIFIERS.format(where=of_value)),
        ("record_memberships", of_record, _RECORD_MEMBERSHIPS.format(where=of_record)),
        ("record_persons", of_record, _RECORD_PERSONS.format(where=of_record)),
        ("identity_links", of_pair, "SELECT * FROM link_now"),
        ("identity_changes", "false", _CHANGES.format(where=f"number = {run.number}")),
    ):
        con.execute(f"DELETE FROM identity.{name} WHERE {where}")
        copy(own, con, query, f"identity.{name}", add=True)


def _memory(
    own: duckdb.DuckDBPyConnection, engine: Engine, run: ids.Run, *, changes_only: bool
) -> None:
    """Temporary copies of the memory's small tables; ``record_customer`` of this run, and
    ``membership``: which record was known to be which customer, and when.

    With ``changes_only``, of the customers those that began in this run.
    """
    with engine.begin() as connection:
        runs = connection.execute(
            select(ids.identity_runs.c.number, ids.identity_runs.c.run_id,
                   ids.identity_runs.c.as_of)
        ).all()  # fmt: skip
        changes = connection.execute(select(ids.identity_changes)).all()
        begun = select(
            ids.identity_customers.c.customer_id,
            ids.identity_customers.c.opened,
            ids.identity_customers.c.closed,
        )
        if changes_only:
            begun = begun.where(ids.identity_customers.c.opened == run.number)
        customers = connection.execute(begun).all()
    for name, columns, rows in (
        ("memory_run", (("number", pa.int32()), ("run_id", pa.string()), ("as_of", pa.date32())),
         runs),
        ("memory_change", (("number", pa.int32()), ("old_id", pa.string()),
                           ("new_id", pa.string()), ("reason", pa.string())), changes),
        ("memory_customer", (("customer_id", pa.string()), ("opened", pa.int32()),
                             ("closed", pa.int32())), customers),
    ):  # fmt: skip
        table = pa.table({
            column: pa.array([row[place] for row in rows], kind)
            for place, (column, kind) in enumerate(columns)
        })  # fmt: skip
        own.register("memory_read", table)
        own.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS SELECT * FROM memory_read")
        own.unregister("memory_read")
    remembered = """
        SELECT member.record_id, customer_id,
            CASE WHEN opened.number > 1 THEN opened.as_of::TIMESTAMP END AS learned_from,
            closed.as_of::TIMESTAMP AS learned_to
        FROM member
        JOIN memory_run AS opened ON opened.number = member.opened
        LEFT JOIN memory_run AS closed ON closed.number = member.closed
    """
    customers_of = "SELECT record_id, customer_id FROM member_now"
    if not run.writes:  # nothing is kept: what this run would say stands in its own tables only
        customers_of = """
            SELECT record_id, customer_id
            FROM group_assigned JOIN group_customer USING (group_id) UNION ALL
            SELECT record_id, customer_id FROM member_now
            WHERE record_id IN (SELECT record_id FROM group_of)
                AND record_id NOT IN (SELECT record_id FROM group_assigned)
        """
        remembered += """
            UNION ALL SELECT record_id, customer_id, NULL, NULL FROM record_customer
            ANTI JOIN member USING (record_id)
        """
    own.execute(
        f"CREATE OR REPLACE TEMP VIEW record_customer AS {customers_of};"
        f"CREATE OR REPLACE TEMP VIEW membership AS {remembered}"
    )


_CUSTOMER_RECORDS = """
SELECT record_id, customer_id, source, entity FROM seen JOIN record_customer USING (record_id)
WHERE {where}
"""

_RECORD_PERSONS = """
SELECT record_id, family, birthday, road_home, estate_home FROM person WHERE {where}
"""

_RECORD_MEMBERSHIPS = """
SELECT record_id, customer_id, coalesce(learned_from, created_at) AS learned_from, learned_to
FROM membership JOIN person USING (record_id) WHERE {where}
"""

_CUSTOMER_IDENTIFIERS = """
WITH known AS (
    SELECT customer_id, told_kind AS kind, value, held.record_id, is_verified, first_at, last_at,
        valid_to, link, created_at, learned_from, learned_to
    FROM (SELECT * FROM held WHERE kind <> 'home' AND {where}) AS held
    JOIN membership USING (record_id) JOIN person USING (record_id)
),
-- a number whose use by one customer ends before another's begins has changed hands
span AS (
    SELECT kind, value, customer_id, min(first_at) AS first_at, max(last_at) AS last_at FROM known
    WHERE learned_to IS NULL AND link = 'shared' AND first_at IS NOT NULL GROUP BY ALL
),
passed AS (
    SELECT kind, value, customer_id, CASE WHEN next_at > last_at THEN next_at END AS passed_at
    FROM (SELECT *, lead(first_at) OVER (PARTITION BY kind, value ORDER BY first_at, customer_id)
        AS next_at FROM span)
)
SELECT customer_id, kind, value, record_id, is_verified, first_at AS held_from,
    coalesce(valid_to, passed_at) AS held_to,
    greatest(coalesce(learned_from, created_at, first_at), first_at) AS learned_from, learned_to
FROM known LEFT JOIN passed USING (kind, value, customer_id)
"""

_CHANGES = """
SELECT old_id, new_id, reason, run_id, as_of AS changed_on
FROM memory_change JOIN memory_run USING (number)
WHERE {where}
UNION ALL
SELECT NULL, customer_id, 'new', run_id, as_of FROM memory_customer
JOIN memory_run ON number = opened
WHERE (customer_id, opened) NOT IN (SELECT (new_id, number) FROM memory_change)
ORDER BY changed_on, new_id, old_id
"""

_ID_MAP = """
WITH RECURSIVE
-- a merge that was undone leads nowhere: its old id is a customer again, or went elsewhere later
last_merge AS (
    SELECT old_id, max(number) AS number FROM memory_change WHERE reason = 'merge'
        AND old_id NOT IN (SELECT customer_id FROM member_now) GROUP BY old_id
),
led AS (
    SELECT old_id, new_id, reason = 'merge' AS is_whole
    FROM memory_change LEFT JOIN last_merge USING (old_id, number)
    WHERE reason <> 'merge' OR last_merge.old_id IS NOT NULL
),
reached AS (
    SELECT old_id, new_id, is_whole FROM led
    UNION
    SELECT reached.old_id, led.new_id, reached.is_whole AND led.is_whole
    FROM reached JOIN led ON led.old_id = reached.new_id
)
SELECT old_id, new_id, CASE WHEN bool_or(is_whole) THEN 'merge' ELSE 'split' END AS reason
FROM reached SEMI JOIN member_now ON member_now.customer_id = new_id
WHERE old_id <> new_id GROUP BY old_id, new_id ORDER BY old_id, new_id
"""


def links_query(config: IdentityConfig, *, changes_only: bool = False) -> str:
    """SQL over the store: ``identity_links``; needs ``record_customer``.

    With ``changes_only`` of ``pair_told``; ``customer_told``: the customers of these.
    """
    low, high = config.review
    customer = "customer_told" if changes_only else "record_customer"
    of_core, of_row = (
        f"{pair} IN (SELECT pair FROM pair_told)" if changes_only else "true"
        for pair in ("xor(n_l, n_r)", PAIR)
    )
    return f"""
    WITH told AS (
        SELECT least(one.record_id, other.record_id) AS record_l,
            greatest(one.record_id, other.record_id) AS record_r, rule, kinds,
            NULL::DOUBLE AS probability, NULL::DOUBLE AS weight, linked,
            list_contains(against, 'fits several') OR (name = 'same' AND NOT linked) AS is_doubtful,
            [{{'field': 'name', 'degree': name, 'weight': NULL::FLOAT}},
             {{'field': 'birthday', 'degree': birthday, 'weight': NULL::FLOAT}}] AS reasons, against
        FROM ({cores.links_query(config, of_core)})
        JOIN {customer} AS one ON hash(one.record_id) = n_l
        JOIN {customer} AS other ON hash(other.record_id) = n_r
        UNION ALL
        SELECT record_l, record_r, CASE WHEN is_lone THEN 'only one of the name'
                ELSE coalesce(rule, 'model') END, [],
            1 / (1 + power(2.0, -greatest(-60, least(60, weight)))), weight,
            weight > 0, NULL, {links.reasons(remainder.models())},
            CASE WHEN contradicted THEN ['names, birthday or sex contradict'] ELSE [] END
        FROM {remainder.SCORED} WHERE {of_row}
    )
    SELECT told.* EXCLUDE (linked, is_doubtful),
        one.customer_id = other.customer_id AS together,
        CASE WHEN coalesce(is_doubtful, probability BETWEEN {low} AND {high})
                OR (linked AND one.customer_id <> other.customer_id) THEN 'review'
            WHEN one.customer_id = other.customer_id THEN 'linked' ELSE 'refused' END AS verdict
    FROM told
    JOIN {customer} AS one ON one.record_id = record_l
    JOIN {customer} AS other ON other.record_id = record_r
    """


def _reviews(config: IdentityConfig) -> str:
    """SQL: the pairs of ``link_doubtful`` that nobody decided yet, one a pair of customers."""
    return f"""
    SELECT record_l AS record_a, record_r AS record_b, one.customer_id AS customer_a,
        other.customer_id AS customer_b, coalesce(probability, 0.5) AS probability, together,
        rule AS why, kinds, reasons, against
    FROM link_doubtful
    JOIN record_customer AS one ON one.record_id = record_l
    JOIN record_customer AS other ON other.record_id = record_r
    ANTI JOIN decision USING (record_l, record_r)
    QUALIFY row_number() OVER (
        PARTITION BY least(one.customer_id, other.customer_id),
            greatest(one.customer_id, other.customer_id), together
        ORDER BY abs(coalesce(probability, 0.5) - 0.5), record_l, record_r) = 1
    ORDER BY abs(probability - {config.threshold}), record_a, record_b LIMIT {MOST_REVIEWS}
    """
