"""The tables that marts and people read: schema ``identity`` in the file of the run.

What belongs here: their shapes, and filling them from the store and the decision state. What does
not: deciding anything. All are made anew on each run, typed where they are empty, and their rows
have no order:

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
"""

import duckdb
import pyarrow as pa
from sqlalchemy import Engine, select

from customer360.identity import cores, ids, links, remainder
from customer360.identity.config import IdentityConfig
from customer360.identity.inputs import copy

MOST_REVIEWS = 5_000
"""Nobody looks at more; the most doubtful are kept."""


def write(
    own: duckdb.DuckDBPyConnection,
    con: duckdb.DuckDBPyConnection,
    engine: Engine,
    config: IdentityConfig,
    run: ids.Run,
) -> None:
    """Make all tables of schema ``identity`` in ``con`` from the store ``own``."""
    con.execute("CREATE SCHEMA IF NOT EXISTS identity")
    _memory(own, engine, run)
    for name, query in (
        ("customer_records", _CUSTOMER_RECORDS),
        ("customer_identifiers", _CUSTOMER_IDENTIFIERS),
        ("record_memberships", _RECORD_MEMBERSHIPS),
        (
            "record_persons",
            "SELECT record_id, family, birthday, road_home, estate_home FROM person",
        ),
        ("identity_links", links_query(config)),
        ("identity_changes", _CHANGES),
        ("customer_id_map", _ID_MAP),
        ("identity_stop_list", "SELECT kind, value, persons FROM stop_value ORDER BY ALL"),
    ):
        if name == "identity_links":  # kept: reviews and explanations are asked from the store
            own.execute(f"CREATE OR REPLACE TABLE link_told AS {query}")
            query = "SELECT * FROM link_told"
        copy(own, con, query, f"TABLE identity.{name}")
    own.execute(f"CREATE OR REPLACE TABLE review_told AS {_reviews(config)}")
    copy(own, con, "SELECT * FROM review_told", "TABLE identity.identity_reviews")


def _memory(own: duckdb.DuckDBPyConnection, engine: Engine, run: ids.Run) -> None:
    """Temporary copies of the memory's small tables, and ``record_customer`` of this run."""
    with engine.begin() as connection:
        runs = connection.execute(
            select(ids.identity_runs.c.number, ids.identity_runs.c.run_id,
                   ids.identity_runs.c.as_of)
        ).all()  # fmt: skip
        changes = connection.execute(select(ids.identity_changes)).all()
        customers = connection.execute(
            select(ids.identity_customers.c.customer_id, ids.identity_customers.c.opened,
                   ids.identity_customers.c.closed)
        ).all()  # fmt: skip
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
    own.execute(
        "CREATE OR REPLACE TEMP TABLE record_customer AS SELECT record_id, customer_id FROM member "
        "WHERE closed IS NULL"
    )
    if not run.writes:  # nothing is kept: what this run would say stands in its own tables only
        own.execute(
            "CREATE OR REPLACE TEMP TABLE record_customer AS SELECT record_id, customer_id "
            "FROM group_assigned JOIN group_customer USING (group_id) UNION ALL "
            "SELECT record_id, customer_id FROM member_now "
            "WHERE record_id IN (SELECT record_id FROM group_of) "
            "AND record_id NOT IN (SELECT record_id FROM group_assigned)"
        )


_CUSTOMER_RECORDS = """
SELECT record_id, customer_id, source, entity FROM seen JOIN record_customer USING (record_id)
"""

_MEMBERSHIP = """
    SELECT member.record_id, customer_id,
        CASE WHEN opened.number > 1 THEN opened.as_of::TIMESTAMP END AS learned_from,
        closed.as_of::TIMESTAMP AS learned_to
    FROM member
    JOIN memory_run AS opened ON opened.number = member.opened
    LEFT JOIN memory_run AS closed ON closed.number = member.closed
    UNION ALL
    SELECT record_id, customer_id, NULL, NULL FROM record_customer
    ANTI JOIN member USING (record_id)
"""

_RECORD_MEMBERSHIPS = f"""
SELECT record_id, customer_id, coalesce(learned_from, created_at) AS learned_from, learned_to
FROM ({_MEMBERSHIP}) JOIN person USING (record_id)
"""

_CUSTOMER_IDENTIFIERS = f"""
WITH membership AS ({_MEMBERSHIP}),
known AS (
    SELECT customer_id, told_kind AS kind, value, held.record_id, is_verified, first_at, last_at,
        valid_to, link, created_at, learned_from, learned_to
    FROM held JOIN membership USING (record_id) JOIN person USING (record_id) WHERE kind <> 'home'
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
UNION ALL
SELECT NULL, customer_id, 'new', run_id, as_of FROM memory_customer
JOIN memory_run ON number = opened
WHERE (customer_id, opened) NOT IN (SELECT (new_id, number) FROM memory_change)
ORDER BY changed_on, new_id, old_id
"""

_ID_MAP = """
WITH RECURSIVE present AS (SELECT customer_id FROM memory_customer WHERE closed IS NULL),
-- a merge that was undone leads nowhere: its old id is a customer again, or went elsewhere later
last_merge AS (
    SELECT old_id, max(number) AS number FROM memory_change WHERE reason = 'merge'
        AND old_id NOT IN (SELECT customer_id FROM present) GROUP BY old_id
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
FROM reached SEMI JOIN present ON present.customer_id = new_id
WHERE old_id <> new_id GROUP BY old_id, new_id ORDER BY old_id, new_id
"""


def links_query(config: IdentityConfig) -> str:
    """SQL over the store: ``identity_links``; needs ``record_customer``."""
    low, high = config.review
    return f"""
    WITH told AS (
        SELECT least(one.record_id, other.record_id) AS record_l,
            greatest(one.record_id, other.record_id) AS record_r, rule, kinds,
            NULL::DOUBLE AS probability, NULL::DOUBLE AS weight, linked,
            list_contains(against, 'fits several') OR (name = 'same' AND NOT linked) AS is_doubtful,
            [{{'field': 'name', 'degree': name, 'weight': NULL::FLOAT}},
             {{'field': 'birthday', 'degree': birthday, 'weight': NULL::FLOAT}}] AS reasons, against
        FROM ({cores.links_query(config)})
        JOIN record_customer AS one ON hash(one.record_id) = n_l
        JOIN record_customer AS other ON hash(other.record_id) = n_r
        UNION ALL
        SELECT record_l, record_r, CASE WHEN is_lone THEN 'only one of the name'
                ELSE coalesce(rule, 'model') END, [],
            1 / (1 + power(2.0, -greatest(-60, least(60, weight)))), weight,
            weight > 0, NULL, {links.reasons(remainder.models())},
            CASE WHEN contradicted THEN ['names, birthday or sex contradict'] ELSE [] END
        FROM {remainder.SCORED}
    )
    SELECT told.* EXCLUDE (linked, is_doubtful),
        one.customer_id = other.customer_id AS together,
        CASE WHEN coalesce(is_doubtful, probability BETWEEN {low} AND {high})
                OR (linked AND one.customer_id <> other.customer_id) THEN 'review'
            WHEN one.customer_id = other.customer_id THEN 'linked' ELSE 'refused' END AS verdict
    FROM told
    JOIN record_customer AS one ON one.record_id = record_l
    JOIN record_customer AS other ON other.record_id = record_r
    """


def _reviews(config: IdentityConfig) -> str:
    """SQL: the doubtful pairs of ``link_told`` that nobody decided yet, one a pair of customers."""
    return f"""
    SELECT record_l AS record_a, record_r AS record_b, one.customer_id AS customer_a,
        other.customer_id AS customer_b, coalesce(probability, 0.5) AS probability, together,
        rule AS why, kinds, reasons, against
    FROM link_told
    JOIN record_customer AS one ON one.record_id = record_l
    JOIN record_customer AS other ON other.record_id = record_r
    ANTI JOIN decision USING (record_l, record_r)
    WHERE verdict = 'review'
    QUALIFY row_number() OVER (
        PARTITION BY least(one.customer_id, other.customer_id),
            greatest(one.customer_id, other.customer_id), together
        ORDER BY abs(coalesce(probability, 0.5) - 0.5), record_l, record_r) = 1
    ORDER BY abs(probability - {config.threshold}), record_a, record_b LIMIT {MOST_REVIEWS}
    """
