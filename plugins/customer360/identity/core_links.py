"""Which identifiers link which groups of records in one round, and what stops them.

What belongs here: the links of each kind of round, made as ``step_link`` of what the dirty groups
hold (``grouped_bond``). What does not: what is dirty, and joining (``cores``); what groups say of
each other (``profiles``).
"""

import duckdb

from customer360.exceptions import ConfigError
from customer360.identity.config import IdentityConfig
from customer360.identity.profiles import STRENGTH, VERDICTS, add_profiles, against

MOST_CORES = 40
"""An identifier shared by more cores than this links none of them in this round."""

MOST_KINDS = 60
"""Kinds of identifiers that link; each is a bit of a number."""

MAIN_USE = 4
"""Of several fitting owners one is taken who has so many times the records with the identifier."""


class Kinds:
    """Kinds of identifiers that link; each is a bit of a number.

    Raises:
        ConfigError: there are more than a number has bits.
    """

    def __init__(self, config: IdentityConfig) -> None:
        self._rules = config.kinds
        self.names = sorted(kind for kind, rule in config.kinds.items() if rule.link != "none")
        if len(self.names) > MOST_KINDS:
            raise ConfigError(
                f"identity.yml: {len(self.names)} kinds link; at most {MOST_KINDS} can"
            )

    def bits(self, *links: str) -> str:
        """SQL: the kinds that link so."""
        return str(
            sum(
                1 << place
                for place, kind in enumerate(self.names)
                if self._rules[kind].link in links
            )
        )

    def bit(self, kind: str) -> str:
        """SQL: one kind; 0 where it links nobody."""
        return str(1 << self.names.index(kind) if kind in self.names else 0)


def linking(bonds: str) -> str:
    """SQL: ``key`` of identifiers that 2 to MOST_CORES cores share.

    A nickname that two persons of one source have tells nobody apart.
    """
    return f"""
        SELECT key FROM (SELECT DISTINCT key, label FROM {bonds})
        ANTI JOIN (
            SELECT key FROM (SELECT DISTINCT key, told, label FROM {bonds}
                WHERE told IS NOT NULL)
            GROUP BY key, told HAVING count(*) > 1
        ) AS repeated USING (key)
        GROUP BY key HAVING count(*) BETWEEN 2 AND {MOST_CORES}
    """


def strong_links(con: duckdb.DuckDBPyConnection, kinds: Kinds, before: str) -> None:
    """Make ``step_link``: each record with its identifier's best known record."""
    con.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE strong_pair AS
        WITH held_strongly AS (
            SELECT key, n, place, is_verified FROM grouped_bond
            WHERE (1::UBIGINT << place) & {kinds.bits("strong")} <> 0
        ),
        shared AS (
            SELECT * FROM held_strongly SEMI JOIN (
                SELECT key FROM held_strongly GROUP BY key HAVING count(*) > 1) AS several
            USING (key)
        ),
        owner AS (
            SELECT key, first(n ORDER BY is_verified DESC,
                (given IS NOT NULL AND family IS NOT NULL) DESC, n) AS owner
            FROM shared JOIN known_person USING (n) GROUP BY key
        )
        SELECT least(owner, n) AS l, greatest(owner, n) AS r,
            bit_or(1::UBIGINT << place) AS kinds
        FROM owner JOIN shared USING (key)
        WHERE owner <> n AND (owner IN (FROM dirty) OR n IN (FROM dirty)) GROUP BY ALL;
        CREATE OR REPLACE TEMP TABLE label_asked AS
        SELECT DISTINCT unnest([l, r]) AS label FROM strong_pair
        """
    )
    add_profiles(con, before)
    con.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE step_link AS
        WITH judged AS (
            SELECT strong_pair.*, {VERDICTS}
            FROM strong_pair
            JOIN label_profile AS one ON one.label = l
            JOIN label_profile AS other ON other.label = r
        )
        SELECT NULL::UBIGINT AS half, l, r, l AS n_l, r AS n_r, 'identifier' AS rule, kinds,
            (name = 'differ')::INTEGER + (birthday = 'differ')::INTEGER
                + sexes_differ::INTEGER < 2 AS linked,
            name, birthday, {against("name", "birthday", "sexes")} AS against,
            {STRENGTH} AS strength
        FROM judged
        UNION ALL
        SELECT NULL, least(one.n, other.n), greatest(one.n, other.n), least(one.n, other.n),
            greatest(one.n, other.n), 'decision', 0, true, 'unknown', 'unknown', [], 1e12
        FROM decision JOIN {before} AS one ON one.n = hash(record_l)
        JOIN {before} AS other ON other.n = hash(record_r)
        WHERE kind = 'must_link' AND (one.n IN (FROM dirty) OR other.n IN (FROM dirty))
        """
    )


def _share(con: duckdb.DuckDBPyConnection, kinds: Kinds, before: str) -> None:
    """Make ``core_pair``: cores that share an identifier, one dirty, and what they say."""
    con.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE core_value AS
        SELECT key, label, place, count(*) AS records, min(n) AS n,
            label IN (FROM dirty) AS is_dirty
        FROM grouped_bond SEMI JOIN ({linking("grouped_bond")}) AS linking USING (key)
        GROUP BY key, label, place;
        CREATE OR REPLACE TEMP TABLE label_asked AS SELECT DISTINCT label FROM core_value
        """
    )
    add_profiles(con, before)
    con.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE core_pair AS
        WITH pair AS (
            SELECT one.label AS l, other.label AS r, bit_or(1::UBIGINT << one.place) AS kinds,
                sum(one.records) AS uses_l, sum(other.records) AS uses_r,
                min(one.n) AS n_l, min(other.n) AS n_r
            FROM core_value AS one JOIN core_value AS other USING (key)
            WHERE one.label < other.label AND (one.is_dirty OR other.is_dirty)
            GROUP BY one.label, other.label
        )
        SELECT pair.*, {VERDICTS},
            coalesce(one.city <> other.city, false)
                AND kinds IN ({kinds.bit("home")}, {kinds.bit("nickname")}) AS is_elsewhere,
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
        JOIN label_profile AS one ON one.label = l
        JOIN label_profile AS other ON other.label = r
        """
    )


def named_links(con: duckdb.DuckDBPyConnection, kinds: Kinds, before: str) -> None:
    """Make ``step_link``: cores that share an identifier and the whole name."""
    _share(con, kinds, before)
    con.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE step_link AS
        SELECT NULL::UBIGINT AS half, l, r, n_l, n_r, 'identifier and name' AS rule, kinds,
            (name = 'same' OR (name = 'near' AND (birthday = 'same' OR bit_count(kinds) > 1
                OR kinds & {kinds.bits("named")} <> 0)))
            AND (birthday <> 'differ' OR bit_count(kinds) > 1) AND NOT is_elsewhere AS linked,
            name, birthday, {against("name", "birthday", "sexes", "cities")} AS against,
            {STRENGTH} AS strength
        FROM core_pair WHERE name IN ('same', 'near') OR (left_whole AND right_whole)
        """
    )


def partial_links(con: duckdb.DuckDBPyConnection, kinds: Kinds, number: int, before: str) -> None:
    """Make ``step_link``: half a name or none goes with the one fitting owner, if there is one.

    Owners of one whole name are one: each shares an identifier with the half. Whom a half may
    go with is kept (``core_half``); ``half_asked``: the halves that choose again.
    """
    _share(con, kinds, before)
    con.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE half_now AS
        WITH fitting AS (
            SELECT *, {against("name", "birthday", "sexes", "cities")} AS against
            FROM core_pair
            WHERE NOT (left_owns AND right_owns) AND name <> 'differ' AND birthday <> 'differ'
                AND NOT sexes_differ AND NOT is_elsewhere
                AND NOT (kinds = {kinds.bit("home")} AND name = 'unknown')
        )
        SELECT {number} AS round, l AS half, r AS owner, n_l, n_r, kinds, name, birthday,
            against, right_owns AS is_whole, name_r AS owner_name, uses_r AS uses
        FROM fitting WHERE NOT left_owns
        UNION ALL
        SELECT {number}, r, l, n_l, n_r, kinds, name, birthday, against, left_owns, name_l,
            uses_l
        FROM fitting WHERE NOT right_owns;
        CREATE OR REPLACE TEMP TABLE half_asked AS
        SELECT half FROM core_half WHERE round = {number}
            AND (half IN (FROM dirty) OR owner IN (FROM dirty))
        UNION SELECT half FROM half_now;
        DELETE FROM core_half WHERE round = {number}
            AND (half IN (FROM dirty) OR owner IN (FROM dirty));
        INSERT INTO core_half FROM half_now;
        CREATE OR REPLACE TEMP TABLE step_link AS
        WITH ranked AS (
            -- whole names before halves, then those that share more kinds
            SELECT *, rank() OVER (PARTITION BY half ORDER BY is_whole DESC,
                bit_count(kinds) DESC, (name = 'part') DESC) AS place
            FROM core_half SEMI JOIN half_asked USING (half) WHERE round = {number}
        ),
        named AS (
            SELECT half, owner_name, sum(uses) AS uses FROM ranked
            WHERE place = 1 AND is_whole GROUP BY ALL
        ),
        -- of several persons the one who uses it by far the most
        main AS (
            SELECT half, owner_name FROM named
            WINDOW uses_first AS (PARTITION BY half ORDER BY uses DESC, owner_name)
            QUALIFY uses >= {MAIN_USE} * coalesce(lead(uses) OVER uses_first, 0)
                AND row_number() OVER uses_first = 1
        ),
        best AS (
            SELECT ranked.*, NOT is_whole OR main.owner_name IS NOT NULL AS linked
            FROM ranked LEFT JOIN main USING (half, owner_name) WHERE place = 1
        )
        SELECT half, least(half, owner) AS l, greatest(half, owner) AS r, n_l, n_r,
            'identifier and fitting name' AS rule, kinds, linked, name, birthday,
            CASE WHEN linked THEN against ELSE list_append(against, 'fits several') END
                AS against,
            {STRENGTH} AS strength
        FROM best
        """
    )
