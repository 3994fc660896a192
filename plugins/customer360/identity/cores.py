"""Records that identifiers hold together: the deterministic layer, with its guards.

What belongs here: which identifiers link which records, and what stops them: the stop-list, names
and birthdays that contradict, families on one phone, numbers that changed hands. What does not:
records that share no identifier (``remainder``) and stable ids (``ids``).

Records are joined to *cores* in rounds. Strong identifiers come first (openid -> unionid -> member
number -> account), so that a later round sees what all records of a core say together: then
cores that share a phone, an e-mail or a home *and* agree in name; then those with half a name or
none, where the identifier has one fitting owner only. Everything depends on nothing but records
that are connected by identifiers which are not on the stop-list, so a part of the records that is
closed under that may be computed alone and gives the same (increments stand on this).

Reads ``scope_person`` and ``scope_held`` (without the stop-list), and ``decision`` (pairs that
people decided). Makes ``core_now`` (``record_id``, ``core_id``: its smallest record),
``profile`` (a row
a core) and ``core_link_now``.
"""

from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from customer360.identity import cluster

MOST_CORES = 40
"""An identifier shared by more cores than this links none of them in this round."""

MAIN_USE = 4
"""Of several fitting owners one is taken who has so many times the records with the identifier."""

APART = -1e9
MACROS = """
CREATE OR REPLACE TEMP MACRO name_verdict(
    given, family, whole, other_given, other_family, other_whole
) AS CASE
    WHEN coalesce(whole, '') = '' OR coalesce(other_whole, '') = '' THEN
        CASE WHEN family <> other_family THEN 'differ'
             WHEN family = other_family THEN 'part' ELSE 'unknown' END
    WHEN whole = other_whole OR (given = other_family AND family = other_given) THEN
        CASE WHEN given IS NULL OR other_given IS NULL THEN 'part' ELSE 'same' END
    WHEN whole = other_given OR other_whole = given THEN 'part'
    WHEN family = other_family AND (given IS NULL OR other_given IS NULL) THEN 'part'
    WHEN given = other_given AND (family IS NULL OR other_family IS NULL) THEN 'part'
    WHEN given IS NOT NULL AND family IS NOT NULL AND other_given IS NOT NULL
        AND other_family IS NOT NULL AND (jaro_winkler_similarity(whole, other_whole) >= 0.94
            OR (given = other_given AND length(given) > 4))
        THEN 'near'
    ELSE 'differ' END;
CREATE OR REPLACE TEMP MACRO birthday_verdict(one, one_lunar, other, other_lunar) AS CASE
    WHEN one IS NULL OR other IS NULL THEN 'unknown'
    WHEN one = other THEN 'same'
    WHEN one = other_lunar OR other = one_lunar THEN 'alike'
    WHEN levenshtein(one, other) = 1 THEN 'alike'
    WHEN left(one, 4) = left(other, 4) AND substr(one, 6, 2) = substr(other, 9, 2)
        AND substr(one, 9, 2) = substr(other, 6, 2) THEN 'alike'
    ELSE 'differ' END;
"""
"""What two persons' names and birthdays say. ``part``: as far as they go they agree; ``near``: a
letter or two differ, or only the family name does (王丽燕, misheard, for 黄丽燕): relatives share
the family name, not the given one."""


CONTRADICTION = "name = 'differ' OR (birthday = 'differ' AND name <> 'same')"
"""Cores of which this is true are two persons, whatever they share."""


def link_cores(con: duckdb.DuckDBPyConnection, max_records: int) -> None:
    """Make ``core_now``, ``profile`` and ``core_link_now`` of the records in scope."""
    con.execute(MACROS)
    con.execute(
        "CREATE OR REPLACE TEMP TABLE number AS SELECT record_id, "
        "row_number() OVER (ORDER BY record_id) - 1 AS n FROM scope_person"
    )
    con.execute(
        """
        CREATE OR REPLACE TEMP TABLE core_link_now (
            record_l VARCHAR, record_r VARCHAR, rule VARCHAR, kinds VARCHAR[], linked BOOLEAN,
            name VARCHAR, birthday VARCHAR, against VARCHAR[], round INTEGER)
        """
    )
    rows = con.execute("SELECT count(*) FROM number").fetchall()[0][0]
    groups = np.arange(rows, dtype=np.int64)
    _profiles(con, groups)
    _strong_links(con)
    groups = _join(con, groups, max_records, "name = 'differ' AND birthday = 'differ'")
    for names in (True, False, True, False):
        _profiles(con, groups)
        (_named_links if names else _partial_links)(con)
        groups = _join(con, groups, max_records)
    _profiles(con, groups)
    # a pair is judged in several rounds; the last one knew most
    con.execute(
        "CREATE OR REPLACE TEMP TABLE core_link_now AS SELECT * EXCLUDE round FROM core_link_now "
        "QUALIFY row_number() OVER (PARTITION BY record_l, record_r ORDER BY linked DESC, "
        "round DESC, rule) = 1"
    )


def _strong_links(con: duckdb.DuckDBPyConnection) -> None:
    """Make ``step_link``: each record with its identifier's best known record."""
    con.execute(
        """
        CREATE OR REPLACE TEMP TABLE step_link AS
        WITH owner AS (
            SELECT kind, value, first(record_id ORDER BY is_verified DESC,
                (given IS NOT NULL AND family IS NOT NULL) DESC, record_id) AS owner
            FROM scope_held JOIN scope_person USING (record_id)
            WHERE link = 'strong' GROUP BY ALL HAVING count(*) > 1
        ),
        pair AS (
            SELECT least(owner, record_id) AS record_l, greatest(owner, record_id) AS record_r,
                list(DISTINCT kind ORDER BY kind) AS kinds
            FROM owner JOIN scope_held USING (kind, value)
            WHERE owner <> record_id GROUP BY ALL
        ),
        judged AS (
            SELECT pair.*,
                name_verdict(one.given_latin, one.family_latin, one.full_latin,
                    other.given_latin, other.family_latin, other.full_latin) AS name,
                birthday_verdict(one.birthday, one.birthday_lunar, other.birthday,
                    other.birthday_lunar) AS birthday,
                coalesce(one.sex <> other.sex, false) AS sexes_differ
            FROM pair
            JOIN scope_person AS one ON one.record_id = record_l
            JOIN scope_person AS other ON other.record_id = record_r
        )
        SELECT record_l, record_r, 'identifier' AS rule, kinds,
            (name = 'differ')::INTEGER + (birthday = 'differ')::INTEGER + sexes_differ::INTEGER < 2
                AS linked,
            name, birthday,
            list_filter([CASE WHEN name = 'differ' THEN 'names differ' END,
                CASE WHEN birthday = 'differ' THEN 'birthdays differ' END,
                CASE WHEN sexes_differ THEN 'sexes differ' END],
                lambda reason: reason IS NOT NULL) AS against
        FROM judged
        UNION ALL
        SELECT record_l, record_r, 'decision', ['decision'], true, 'unknown', 'unknown', []
        FROM decision SEMI JOIN number AS one ON one.record_id = record_l
        SEMI JOIN number AS other ON other.record_id = record_r WHERE kind = 'must_link'
        """
    )


def _profiles(con: duckdb.DuckDBPyConnection, groups: np.ndarray) -> None:
    """Make ``core_now`` and ``profile``: of each core what most records say, fullest first."""
    con.register("group_found", pa.table({"n": np.arange(len(groups)), "first": groups}))
    con.execute(
        """
        CREATE OR REPLACE TEMP TABLE core_now AS
        SELECT number.record_id, first_number.record_id AS core_id
        FROM group_found JOIN number USING (n)
        JOIN number AS first_number ON first_number.n = first
        """
    )
    con.unregister("group_found")
    # a core of one record, as most are, needs no counting
    con.execute(
        """
        CREATE OR REPLACE TEMP TABLE core_size AS
        SELECT core_id, count(*) AS records FROM core_now GROUP BY core_id
        """
    )
    con.execute(
        """
        CREATE OR REPLACE TEMP TABLE profile AS
        WITH member AS (
            SELECT core_id, scope_person.* FROM core_now JOIN core_size USING (core_id)
            JOIN scope_person USING (record_id) WHERE records > 1
        ),
        name AS (
            SELECT core_id, first(struct_pack(given := given, family := family,
                given_latin := given_latin, family_latin := family_latin, full_latin := full_latin)
                ORDER BY wholeness DESC, times DESC, full_latin, family, given) AS name
            FROM (
                -- spellings of one sound are one name
                SELECT *,
                    sum(spelt) OVER (PARTITION BY core_id, full_latin) * 1000 + spelt AS times,
                    (given IS NOT NULL)::INTEGER + (family IS NOT NULL)::INTEGER AS wholeness
                FROM (SELECT core_id, given, family, given_latin, family_latin, full_latin,
                        count(*) AS spelt
                    FROM member WHERE given IS NOT NULL OR family IS NOT NULL GROUP BY ALL)
            ) GROUP BY core_id
        ),
        born AS (
            SELECT core_id, first(struct_pack(birthday := birthday, lunar := birthday_lunar)
                ORDER BY times DESC, birthday) AS born
            FROM (SELECT core_id, birthday, birthday_lunar, count(*) AS times FROM member
                WHERE birthday IS NOT NULL GROUP BY ALL) GROUP BY core_id
        ),
        rest AS (
            SELECT core_id, mode(sex ORDER BY sex) AS sex, mode(city ORDER BY city) AS city,
                mode(region ORDER BY region) AS region, max(address) AS address,
                max(road_home) AS road_home, max(estate_home) AS estate_home,
                min(created_at) AS created_at
            FROM member GROUP BY core_id
        )
        SELECT core_id, name.given, name.family, name.given_latin, name.family_latin,
            name.full_latin, born.birthday, born.lunar AS birthday_lunar, sex, city, region,
            address, road_home, estate_home, created_at
        FROM rest LEFT JOIN name USING (core_id) LEFT JOIN born USING (core_id)
        UNION ALL
        SELECT core_id, given, family, given_latin, family_latin, full_latin, birthday,
            birthday_lunar, sex, city, region, address, road_home, estate_home, created_at
        FROM core_now JOIN core_size USING (core_id) JOIN scope_person USING (record_id)
        WHERE records = 1
        """
    )


def _shared(con: duckdb.DuckDBPyConnection) -> None:
    """Make ``core_pair``: cores that share an identifier, and what their profiles say."""
    con.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE core_value AS
        SELECT core_id, kind, value, link, min(record_id) AS record_id,
            min(coalesce(first_at, created_at)) AS first_at,
            max(coalesce(last_at, first_at, created_at)) AS last_at, count(*) AS records
        FROM scope_held JOIN core_now USING (record_id) JOIN scope_person USING (record_id)
        WHERE link <> 'none'
            AND (kind, value) IN (
                SELECT (kind, value) FROM scope_held JOIN core_now USING (record_id)
                WHERE link <> 'none' GROUP BY kind, value
                HAVING count(DISTINCT core_id) BETWEEN 2 AND {MOST_CORES})
            -- a nickname that two persons of one source have tells nobody apart
            AND (kind, value) NOT IN (
                SELECT (kind, value) FROM scope_held JOIN core_now USING (record_id)
                WHERE link = 'unique' GROUP BY kind, value, told_kind
                HAVING count(DISTINCT core_id) > 1)
        GROUP BY ALL
        """
    )
    con.execute(
        """
        CREATE OR REPLACE TEMP TABLE core_pair AS
        WITH pair AS (
            SELECT one.core_id AS core_l, other.core_id AS core_r,
                list(DISTINCT one.kind ORDER BY one.kind) AS kinds,
                bool_or(one.link = 'named') AS by_number,
                sum(one.records) AS uses_l, sum(other.records) AS uses_r,
                min(one.record_id) AS record_l, min(other.record_id) AS record_r
            FROM core_value AS one JOIN core_value AS other USING (kind, value)
            WHERE one.core_id < other.core_id GROUP BY ALL
        )
        SELECT pair.*,
            name_verdict(one.given_latin, one.family_latin, one.full_latin,
                other.given_latin, other.family_latin, other.full_latin) AS name,
            birthday_verdict(one.birthday, one.birthday_lunar, other.birthday,
                other.birthday_lunar) AS birthday,
            coalesce(one.sex <> other.sex, false) AS sexes_differ,
            coalesce(one.city <> other.city, false) AS cities_differ,
            one.full_latin AS name_l, other.full_latin AS name_r,
            one.given_latin IS NOT NULL AND one.family_latin IS NOT NULL AS left_whole,
            other.given_latin IS NOT NULL AND other.family_latin IS NOT NULL AS right_whole,
            -- a given name alone may look like a whole one (文丽 of 王文丽)
            left_whole AND NOT (right_whole AND name = 'part'
                AND length(one.full_latin) < length(other.full_latin)) AS left_owns,
            right_whole AND NOT (left_whole AND name = 'part'
                AND length(other.full_latin) < length(one.full_latin)) AS right_owns
        FROM pair
        JOIN profile AS one ON one.core_id = core_l
        JOIN profile AS other ON other.core_id = core_r
        """
    )


_AGAINST = """list_filter([CASE WHEN name = 'differ' THEN 'names differ' END,
    CASE WHEN birthday = 'differ' THEN 'birthdays differ' END,
    CASE WHEN sexes_differ THEN 'sexes differ' END,
    CASE WHEN cities_differ THEN 'cities differ' END], lambda reason: reason IS NOT NULL)"""


def _named_links(con: duckdb.DuckDBPyConnection) -> None:
    """Make ``step_link``: cores that share an identifier and the whole name."""
    _shared(con)
    con.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE step_link AS
        SELECT record_l, record_r, 'identifier and name' AS rule, kinds,
            (name = 'same'
                OR (name = 'near' AND (birthday = 'same' OR len(kinds) > 1 OR by_number)))
            AND (birthday <> 'differ' OR len(kinds) > 1)
            AND NOT (kinds IN (['home'], ['nickname']) AND cities_differ) AS linked,
            name, birthday, {_AGAINST} AS against
        FROM core_pair WHERE name IN ('same', 'near') OR (left_whole AND right_whole)
        """
    )


def _partial_links(con: duckdb.DuckDBPyConnection) -> None:
    """Make ``step_link``: half a name or none goes with the one fitting owner, if there is one.

    Owners of one whole name are one: each shares an identifier with the half.
    """
    _shared(con)
    con.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE step_link AS
        WITH fitting AS (
            SELECT *, {_AGAINST} AS against FROM core_pair
            WHERE NOT (left_owns AND right_owns) AND name <> 'differ' AND birthday <> 'differ'
                AND NOT sexes_differ
                AND NOT (kinds IN (['home'], ['nickname']) AND cities_differ)
                AND NOT (kinds = ['home'] AND name = 'unknown')
        ),
        directed AS (
            SELECT core_l AS half, core_r AS owner, right_owns AS is_whole, name_r AS owner_name,
                uses_r AS uses, * FROM fitting WHERE NOT left_owns
            UNION ALL
            SELECT core_r, core_l, left_owns, name_l, uses_l, * FROM fitting WHERE NOT right_owns
        ),
        -- whole names before halves, then those that share more kinds
        ranked AS (
            SELECT *, rank() OVER (PARTITION BY half ORDER BY is_whole DESC, len(kinds) DESC,
                (name = 'part') DESC) AS place
            FROM directed
        ),
        named AS (
            SELECT half, owner_name, sum(uses) AS uses FROM ranked WHERE place = 1 AND is_whole
            GROUP BY ALL
        ),
        -- of several persons the one who uses it by far the most
        main AS (
            SELECT half, owner_name FROM named
            WINDOW uses_first AS (PARTITION BY half ORDER BY uses DESC, owner_name)
            QUALIFY uses >= {MAIN_USE} * coalesce(lead(uses) OVER uses_first, 0)
                AND row_number() OVER uses_first = 1
        ),
        best AS (
            SELECT ranked.*, NOT is_whole OR main.owner_name IS NOT NULL AS is_clear
            FROM ranked LEFT JOIN main USING (half, owner_name) WHERE place = 1
        )
        SELECT record_l, record_r, 'identifier and fitting name' AS rule, first(kinds) AS kinds,
            bool_or(is_clear) AS linked, first(name) AS name, first(birthday) AS birthday,
            CASE WHEN bool_or(is_clear) THEN first(against)
                ELSE list_append(first(against), 'fits several') END AS against
        FROM best GROUP BY record_l, record_r
        """
    )


def _join(
    con: duckdb.DuckDBPyConnection,
    groups: np.ndarray,
    max_records: int,
    condition: str = CONTRADICTION,
) -> np.ndarray:
    """Groups after the links of ``step_link``; where two in a group contradict, it is taken apart.

    ``step_link`` goes into ``core_link_now``.
    """
    con.execute(
        "INSERT INTO core_link_now SELECT record_l, record_r, rule, kinds, linked, name, birthday, "
        "against, (SELECT coalesce(max(round), 0) + 1 FROM core_link_now) FROM step_link"
    )
    found = con.execute(
        """
        SELECT one.n AS l, other.n AS r, CASE rule WHEN 'decision' THEN 1e12 ELSE 0 END
            + len(kinds) + (name = 'same')::INTEGER * 2
            + (name = 'part')::INTEGER + (birthday = 'same')::INTEGER AS strength
        FROM step_link
        JOIN number AS one ON one.record_id = record_l
        JOIN number AS other ON other.record_id = record_r
        WHERE linked ORDER BY ALL
        """
    ).fetchnumpy()
    left, right = groups[found["l"]], groups[found["r"]]
    labels = cluster.components(len(groups), left, right)
    # smallest member of each component, by way of the groups' first records
    first = np.full(labels.max(initial=-1) + 1, len(groups), np.int64)
    np.minimum.at(first, labels[groups], groups)
    joined = first[labels[groups]]
    apart = {part["first"]: part for part in _contradictory(con, groups, joined, condition)}
    nothing = {"l": np.array([], np.int64), "r": np.array([], np.int64)}
    for grown in np.flatnonzero(np.bincount(joined, minlength=1) > max_records).tolist():
        apart.setdefault(grown, nothing)
    for whole, pairs in apart.items():
        inside = joined[left] == whole
        one = np.concatenate([left[inside], pairs["l"]])
        other = np.concatenate([right[inside], pairs["r"]])
        says = np.concatenate([found["strength"][inside], np.full(len(pairs["l"]), APART)])
        members = np.flatnonzero(joined == whole)
        parts, counts = np.unique(groups[members], return_counts=True)
        sizes = dict(zip(parts.tolist(), counts.tolist(), strict=True))
        split = cluster.join(
            *_summed(one, other, says), absent=0.0, max_records=max_records, sizes=sizes
        )
        joined[members] = [split.get(group, group) for group in groups[members].tolist()]
    return joined


def _summed(
    one: np.ndarray, other: np.ndarray, says: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each pair of groups once, the smaller first; pairs of one group with itself left out."""
    low, high = np.minimum(one, other), np.maximum(one, other)
    apart = low != high
    pairs, place = np.unique(np.stack([low[apart], high[apart]]), axis=1, return_inverse=True)
    return pairs[0], pairs[1], np.bincount(place.ravel(), weights=says[apart])


def _contradictory(
    con: duckdb.DuckDBPyConnection, groups: np.ndarray, joined: np.ndarray, condition: str
) -> list[dict[str, Any]]:
    """Joined groups in which two say different persons: their first record and those pairs."""
    moved = np.flatnonzero(np.arange(len(groups)) == groups)
    sizes = np.bincount(joined[moved], minlength=len(groups))
    asked = moved[sizes[joined[moved]] > 1]
    if not len(asked):
        return []
    con.register("group_asked", pa.table({"n": asked, "joined": joined[asked]}))
    con.execute(
        """
        CREATE OR REPLACE TEMP TABLE group_apart AS
        SELECT DISTINCT one.core_id AS core_l, other.core_id AS core_r
        FROM decision JOIN core_now AS one ON one.record_id = record_l
        JOIN core_now AS other ON other.record_id = record_r WHERE kind = 'cannot_link'
        """
    )
    found = con.execute(
        f"""
        WITH group_size AS (SELECT joined, count(*) AS size FROM group_asked GROUP BY joined),
        asked AS (
            SELECT group_asked.joined, n, part.* FROM group_asked
            JOIN number USING (n) JOIN profile AS part ON core_id = record_id
        ),
        judged AS (
            SELECT one.joined, one.n AS l, other.n AS r,
                name_verdict(one.given_latin, one.family_latin, one.full_latin,
                    other.given_latin, other.family_latin, other.full_latin) AS name,
                birthday_verdict(one.birthday, one.birthday_lunar, other.birthday,
                    other.birthday_lunar) AS birthday
            FROM asked AS one JOIN asked AS other ON one.joined = other.joined AND one.n < other.n
            JOIN group_size ON group_size.joined = one.joined AND size > 2
        )
        SELECT DISTINCT joined, l, r FROM (
            SELECT joined, l, r FROM judged WHERE {condition}
            UNION ALL
            SELECT one.joined, least(one.n, other.n), greatest(one.n, other.n)
            FROM group_apart JOIN asked AS one ON one.core_id = core_l
            JOIN asked AS other ON other.core_id = core_r
            WHERE one.joined = other.joined
        ) ORDER BY ALL
        """
    ).fetchnumpy()
    con.unregister("group_asked")
    if not len(found["l"]):
        return []
    firsts, starts = np.unique(found["joined"], return_index=True)
    return [
        {"first": first, "l": left, "r": right}
        for first, left, right in zip(
            firsts.tolist(), np.split(found["l"], starts[1:]), np.split(found["r"], starts[1:]),
            strict=True,
        )
    ]  # fmt: skip
