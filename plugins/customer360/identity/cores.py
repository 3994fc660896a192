"""Records that identifiers hold together: the deterministic layer, with its guards.

What belongs here: which identifiers link which records, and what stops them: names and birthdays
that contradict, families on one phone, numbers that changed hands. What does not: the stop-list
(``engine``), records that share no identifier (``remainder``) and stable ids (``ids``).

Records are joined to *cores* in rounds. Strong identifiers come first (openid -> unionid -> member
number -> account), so that a later round sees what all records of a core say together: then
cores that share a phone, an e-mail or a home *and* agree in name; then those with half a name or
none, where the identifier has one fitting owner only; then both once more.

**A change goes no further than its outcome.** Each round is kept: its groups (``core_<round>``) and
the links between the groups of the round before (``link_<round>``). A round's outcome depends,
link by link, on what two groups say and on who holds the identifiers that they share, and,
component by component, on the links in it. So of a round is computed again: the links of *dirty*
groups (a record of theirs changed, came or went, or the round before grouped them otherwise); those
of an identifier that began or ceased to be too common; of half names the choice among owners, if
one of these is dirty; and the components in which a link or a group differs. Where these end as
they ended before, the next round has nothing to do. A full run is the same with every record
changed, so that both give the same by construction.

A record is known here by the number ``n`` (a hash of its id, which depends on nothing else), a
group by its smallest ``n``, an identifier by the number ``key``. Reads ``person``, ``held``,
``stop_value``, ``stop_birthday``, ``record_changed`` and ``decision`` (pairs that people decided);
brings ``core`` (``record_id``, ``core_id``) and the kept rounds up to date, and makes of the cores
that may have changed ``core_now``, ``core_size`` and ``profile``. ``node_linked``: the ends of
links that may differ; ``node_reached``: whatever was joined again.
"""

from collections.abc import Callable

import duckdb
import numpy as np
import pyarrow as pa

from customer360.exceptions import ConfigError
from customer360.identity import cluster
from customer360.identity.config import IdentityConfig

ROUNDS = ("strong", "named", "partial", "named", "partial")
"""What links in each round, from the first."""

LAST = len(ROUNDS)

MOST_CORES = 40
"""An identifier shared by more cores than this links none of them in this round."""

MOST_KINDS = 60
"""Kinds of identifiers that link; each is a bit of a number."""

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


class Cores:
    """The rounds on one store, wholly or where the changes reach.

    Args:
        con: the store.
        config: which kinds link how; the cap on records.
        everything: every record counts as changed.
    """

    def __init__(
        self, con: duckdb.DuckDBPyConnection, config: IdentityConfig, *, everything: bool
    ) -> None:
        self.con, self.config, self.everything = con, config, everything
        self.kinds = kinds_that_link(config)

    def link(self) -> None:
        """Do all rounds."""
        self.con.execute(MACROS)
        self._begin()
        for number, what in enumerate(ROUNDS, start=1):
            if self.everything and number > 3:
                self._go_on_from(number - 2)
            before = f"core_{number - 1}"
            self._find_dirty(number, what)
            if what == "strong":
                self._strong_links(before)
            elif what == "named":
                self._named_links(before)
            else:
                self._partial_links(number, before)
            self._take_links(number, what)
            self._join(number)
        self._end()

    def _bits(self, *links: str) -> str:
        """SQL: the kinds that link so, as bits."""
        rules = self.config.kinds
        return str(
            sum(1 << place for place, kind in enumerate(self.kinds) if rules[kind].link in links)
        )

    def _bit(self, kind: str) -> str:
        return str(1 << self.kinds.index(kind) if kind in self.kinds else 0)

    # --- before and after the rounds --------------------------------------------------------

    def _begin(self) -> None:
        """Bring ``bond`` (who holds what) up to date; make ``moved``: records as of no round."""
        con = self.con
        if self.everything:
            con.execute(
                f"""
                CREATE OR REPLACE TABLE bond AS {self._bonds("held")};
                CREATE OR REPLACE TABLE core_half (
                    round UTINYINT, half UBIGINT, owner UBIGINT, n_l UBIGINT, n_r UBIGINT,
                    kinds UBIGINT, name VARCHAR, birthday VARCHAR, against VARCHAR[],
                    is_whole BOOLEAN, owner_name VARCHAR, uses HUGEINT);
                CREATE OR REPLACE TEMP TABLE node_changed AS
                SELECT hash(record_id) AS n FROM person;
                CREATE OR REPLACE TEMP TABLE bond_before AS FROM bond LIMIT 0;
                """
            )
            for number in range(1, LAST + 1):
                con.execute(
                    f"CREATE OR REPLACE TABLE core_{number} (n UBIGINT, label UBIGINT);"
                    f"CREATE OR REPLACE TABLE link_{number} ({_LINK_COLUMNS})"
                )
        else:
            con.execute(
                f"""
                CREATE OR REPLACE TEMP TABLE node_changed AS
                SELECT hash(record_id) AS n FROM (
                    SELECT record_id FROM record_changed
                    UNION SELECT unnest([record_l, record_r]) FROM decision_changed);
                CREATE OR REPLACE TEMP TABLE bond_before AS
                SELECT * FROM bond SEMI JOIN node_changed USING (n);
                DELETE FROM bond WHERE n IN (SELECT n FROM node_changed);
                INSERT INTO bond {
                    self._bonds(
                        "(SELECT * FROM held WHERE hash(record_id) IN "
                        "(SELECT n FROM node_changed)) AS held"
                    )
                };
                """
            )
        twins = con.execute(
            "SELECT count(*) - count(DISTINCT hash(record_id)) FROM person"
        ).fetchall()[0][0]
        if twins:
            raise ConfigError(f"identity: {twins} record ids have the number of another one")
        con.execute(
            """
            CREATE OR REPLACE TEMP VIEW core_0 AS
            SELECT hash(record_id) AS n, n AS label FROM person;
            CREATE OR REPLACE TEMP TABLE moved AS
            SELECT n, core_1.n AS label_then, core_0.n AS label_now
            FROM node_changed LEFT JOIN core_1 USING (n) LEFT JOIN core_0 USING (n)
            WHERE core_1.n IS DISTINCT FROM core_0.n;
            CREATE OR REPLACE TEMP TABLE label_profile AS
            SELECT NULL::UBIGINT AS label, NULL::BIGINT AS records, * EXCLUDE record_id
            FROM person LIMIT 0;
            CREATE OR REPLACE TEMP TABLE node_reached (n UBIGINT);
            CREATE OR REPLACE TEMP TABLE node_linked (n UBIGINT);
            CREATE OR REPLACE TEMP VIEW known_person AS
            SELECT hash(record_id) AS n, * REPLACE (
                CASE WHEN birthday NOT IN (SELECT birthday FROM stop_birthday)
                    THEN birthday END AS birthday)
            FROM person;
            CREATE OR REPLACE TEMP VIEW scope_held AS
            SELECT * FROM held ANTI JOIN stop_value USING (kind, value) WHERE link <> 'none'
            """
        )

    def _bonds(self, held: str) -> str:
        places = " ".join(f"WHEN '{kind}' THEN {place}" for place, kind in enumerate(self.kinds))
        return (
            "SELECT hash(record_id) AS n, hash(kind, value) AS key, "
            f"(CASE kind {places} END)::UTINYINT AS place, is_verified, "
            "CASE WHEN link = 'unique' THEN hash(told_kind) END AS told "
            f"FROM {held} ANTI JOIN stop_value USING (kind, value) WHERE link <> 'none'"
        )

    def _go_on_from(self, number: int) -> None:
        """In a full run: what the same kind of round found two rounds ago holds where nothing
        moved since."""
        self.con.execute(
            f"""
            CREATE OR REPLACE TABLE core_{number + 2} AS FROM core_{number};
            CREATE OR REPLACE TABLE link_{number + 2} AS FROM link_{number};
            INSERT INTO core_half SELECT * REPLACE (round + 2 AS round) FROM core_half
            WHERE round = {number};
            """
        )
        if number == 2:
            self.con.execute(
                """
                CREATE OR REPLACE TEMP TABLE moved AS
                SELECT n, core_1.label AS label_then, core_3.label AS label_now
                FROM core_1 JOIN core_3 USING (n) WHERE core_1.label <> core_3.label;
                DELETE FROM node_changed
                """
            )

    def _end(self) -> None:
        """Bring ``core`` up to date; make ``core_now``, ``core_size``, ``profile``, ``core_gone``.

        ``core_gone``: numbers of cores that are, or were, and may have changed.
        """
        con = self.con
        con.execute(
            f"CREATE OR REPLACE TEMP TABLE core_gone AS SELECT label FROM core_{LAST} "
            "UNION SELECT hash(core_id) FROM core"
            if self.everything
            else f"CREATE OR REPLACE TEMP TABLE core_gone AS {_dirty(LAST)}"
        )
        con.execute("CREATE OR REPLACE TEMP TABLE label_asked AS FROM core_gone")
        self._profiles(f"core_{LAST}")
        con.execute(
            f"""
            CREATE OR REPLACE TEMP TABLE core_now AS
            SELECT own.record_id, first_record.record_id AS core_id
            FROM (SELECT * FROM core_{LAST} SEMI JOIN core_gone USING (label)) AS grouped
            JOIN person AS own ON hash(own.record_id) = n
            JOIN person AS first_record ON hash(first_record.record_id) = label;
            CREATE OR REPLACE TEMP TABLE core_size AS
            SELECT core_id, count(*) AS records FROM core_now GROUP BY core_id;
            CREATE OR REPLACE TEMP TABLE profile AS
            SELECT core_id, label_profile.* EXCLUDE (label, records) FROM label_profile
            JOIN core_size ON hash(core_id) = label;
            DELETE FROM core WHERE hash(core_id) IN (FROM core_gone);
            INSERT INTO core FROM core_now;
            DROP TABLE label_profile
            """
        )

    # --- one round --------------------------------------------------------------------------

    def _find_dirty(self, number: int, what: str) -> None:
        """Make ``dirty`` (``label``) and ``grouped_bond``: whoever holds what these hold."""
        con, before = self.con, f"core_{number - 1}"
        con.execute(f"CREATE OR REPLACE TEMP TABLE dirty AS {_dirty(number - 1)}")
        con.execute(self._held_by_dirty(before, "UNION SELECT key FROM bond_before"))
        if self.everything and number <= 3:
            return
        if what == "strong":
            # all links of such an identifier go to its best known holder, who may be another now
            changed = (
                "SELECT DISTINCT key FROM grouped_bond "
                f"WHERE (1::UBIGINT << place) & {self._bits('strong')} <> 0"
            )
        else:
            # an identifier that begins or ceases to link its holders
            changed = f"""
                WITH asked AS (
                    SELECT key FROM grouped_bond UNION SELECT key FROM bond_before
                ),
                bond_then AS (
                    SELECT key, place, told, coalesce(label_then, label) AS label
                    FROM (
                        SELECT * FROM bond SEMI JOIN asked USING (key)
                        ANTI JOIN node_changed USING (n)
                        UNION ALL FROM bond_before
                    ) LEFT JOIN moved USING (n) LEFT JOIN {before} USING (n)
                ),
                linking_now AS ({self._linking("grouped_bond")}),
                linking_then AS ({self._linking("bond_then")})
                SELECT coalesce(linking_now.key, linking_then.key) AS key
                FROM linking_now FULL JOIN linking_then USING (key)
                WHERE linking_now.key IS NULL OR linking_then.key IS NULL
            """
        con.execute(
            f"""
            CREATE OR REPLACE TEMP TABLE key_changed AS {changed};
            INSERT INTO dirty SELECT DISTINCT label FROM grouped_bond
            SEMI JOIN key_changed USING (key) ANTI JOIN dirty USING (label)
            """
        )
        con.execute(self._held_by_dirty(before, ""))

    def _held_by_dirty(self, before: str, more: str) -> str:
        return f"""
            CREATE OR REPLACE TEMP TABLE grouped_bond AS
            WITH asked AS (
                SELECT DISTINCT key FROM bond SEMI JOIN (
                    SELECT n FROM {before} SEMI JOIN dirty USING (label)) AS dirty_record USING (n)
                {more}
            )
            SELECT n, label, key, place, is_verified, told
            FROM (SELECT * FROM bond SEMI JOIN asked USING (key)) AS bond JOIN {before} USING (n)
        """

    def _linking(self, bonds: str) -> str:
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

    def _strong_links(self, before: str) -> None:
        """Make ``step_link``: each record with its identifier's best known record."""
        con = self.con
        con.execute(
            f"""
            CREATE OR REPLACE TEMP TABLE strong_pair AS
            WITH held_strongly AS (
                SELECT key, n, place, is_verified FROM grouped_bond
                WHERE (1::UBIGINT << place) & {self._bits("strong")} <> 0
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
        self._profiles(before)
        con.execute(
            f"""
            CREATE OR REPLACE TEMP TABLE step_link AS
            WITH judged AS (
                SELECT strong_pair.*, {_VERDICTS}
                FROM strong_pair
                JOIN label_profile AS one ON one.label = l
                JOIN label_profile AS other ON other.label = r
            )
            SELECT NULL::UBIGINT AS half, l, r, l AS n_l, r AS n_r, 'identifier' AS rule, kinds,
                (name = 'differ')::INTEGER + (birthday = 'differ')::INTEGER
                    + sexes_differ::INTEGER < 2 AS linked,
                name, birthday, {_against("name", "birthday", "sexes")} AS against,
                {_STRENGTH} AS strength
            FROM judged
            UNION ALL
            SELECT NULL, least(one.n, other.n), greatest(one.n, other.n), least(one.n, other.n),
                greatest(one.n, other.n), 'decision', 0, true, 'unknown', 'unknown', [], 1e12
            FROM decision JOIN {before} AS one ON one.n = hash(record_l)
            JOIN {before} AS other ON other.n = hash(record_r)
            WHERE kind = 'must_link' AND (one.n IN (FROM dirty) OR other.n IN (FROM dirty))
            """
        )

    def _share(self, before: str) -> None:
        """Make ``core_pair``: cores that share an identifier, one dirty, and what they say."""
        con = self.con
        con.execute(
            f"""
            CREATE OR REPLACE TEMP TABLE core_value AS
            SELECT key, label, place, count(*) AS records, min(n) AS n,
                label IN (FROM dirty) AS is_dirty
            FROM grouped_bond SEMI JOIN ({self._linking("grouped_bond")}) AS linking USING (key)
            GROUP BY key, label, place;
            CREATE OR REPLACE TEMP TABLE label_asked AS SELECT DISTINCT label FROM core_value
            """
        )
        self._profiles(before)
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
            SELECT pair.*, {_VERDICTS},
                coalesce(one.city <> other.city, false)
                    AND kinds IN ({self._bit("home")}, {self._bit("nickname")}) AS is_elsewhere,
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

    def _named_links(self, before: str) -> None:
        """Make ``step_link``: cores that share an identifier and the whole name."""
        self._share(before)
        self.con.execute(
            f"""
            CREATE OR REPLACE TEMP TABLE step_link AS
            SELECT NULL::UBIGINT AS half, l, r, n_l, n_r, 'identifier and name' AS rule, kinds,
                (name = 'same' OR (name = 'near' AND (birthday = 'same' OR bit_count(kinds) > 1
                    OR kinds & {self._bits("named")} <> 0)))
                AND (birthday <> 'differ' OR bit_count(kinds) > 1) AND NOT is_elsewhere AS linked,
                name, birthday, {_against("name", "birthday", "sexes", "cities")} AS against,
                {_STRENGTH} AS strength
            FROM core_pair WHERE name IN ('same', 'near') OR (left_whole AND right_whole)
            """
        )

    def _partial_links(self, number: int, before: str) -> None:
        """Make ``step_link``: half a name or none goes with the one fitting owner, if there is one.

        Owners of one whole name are one: each shares an identifier with the half. Whom a half may
        go with is kept (``core_half``); ``half_asked``: the halves that choose again.
        """
        self._share(before)
        self.con.execute(
            f"""
            CREATE OR REPLACE TEMP TABLE half_now AS
            WITH fitting AS (
                SELECT *, {_against("name", "birthday", "sexes", "cities")} AS against
                FROM core_pair
                WHERE NOT (left_owns AND right_owns) AND name <> 'differ' AND birthday <> 'differ'
                    AND NOT sexes_differ AND NOT is_elsewhere
                    AND NOT (kinds = {self._bit("home")} AND name = 'unknown')
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
                {_STRENGTH} AS strength
            FROM best
            """
        )

    def _take_links(self, number: int, what: str) -> None:
        """Put ``step_link`` into the kept links; make ``label_seed``: groups to be joined anew."""
        old = (
            "half IN (FROM half_asked)"
            if what == "partial"
            else "l IN (FROM dirty) OR r IN (FROM dirty)"
        )
        self.con.execute(
            f"""
            CREATE OR REPLACE TEMP TABLE link_then AS
            SELECT l, r, strength FROM link_{number} WHERE linked AND ({old});
            INSERT INTO node_linked SELECT unnest([n_l, n_r]) FROM link_{number} WHERE {old};
            INSERT INTO node_linked SELECT unnest([n_l, n_r]) FROM step_link;
            DELETE FROM link_{number} WHERE {old};
            INSERT INTO link_{number} BY NAME FROM step_link;
            CREATE OR REPLACE TEMP TABLE label_seed AS
            WITH link_now AS (SELECT l, r, strength FROM step_link WHERE linked)
            SELECT label FROM dirty
            UNION SELECT unnest([l, r]) FROM (
                (FROM link_then EXCEPT FROM link_now) UNION ALL
                (FROM link_now EXCEPT FROM link_then))
            """
        )

    def _join(self, number: int) -> None:
        """Bring ``core_<number>`` up to date after the links; make ``moved``.

        Where two in a component contradict, it is taken apart.
        """
        con, before = self.con, f"core_{number - 1}"
        self._reach(number)
        found = con.execute(
            f"""
            SELECT l, r, max(strength) AS strength FROM link_{number}
            SEMI JOIN label_reached ON label = l WHERE linked GROUP BY l, r ORDER BY l, r
            """
        ).fetchnumpy()
        ends = [np.asarray(found[side], np.uint64) for side in ("l", "r")]
        labels = np.unique(np.concatenate(ends))
        left, right = (np.searchsorted(labels, end) for end in ends)
        strength = np.asarray(found["strength"], np.float64)
        joined = self._joined(labels, left, right, strength, before)
        # a table first: what a join pushes into a scan of Arrow's overflows at big numbers
        con.register("joined_found", pa.table({"label": labels, "joined": labels[joined]}))
        con.execute("CREATE OR REPLACE TEMP TABLE label_joined AS FROM joined_found")
        con.unregister("joined_found")
        con.execute(
            f"""
            CREATE OR REPLACE TEMP TABLE moved AS
            WITH grouped AS (
                SELECT n, coalesce(joined, label) AS label
                FROM (SELECT * FROM {before} SEMI JOIN label_reached USING (label))
                LEFT JOIN label_joined USING (label)
            )
            SELECT n, core_{number}.label AS label_then, grouped.label AS label_now
            FROM grouped LEFT JOIN core_{number} USING (n)
            WHERE label_then IS DISTINCT FROM label_now
            UNION ALL
            SELECT n, label, NULL FROM core_{number} SEMI JOIN node_changed USING (n)
            ANTI JOIN core_0 USING (n);
            DELETE FROM core_{number} WHERE n IN (SELECT n FROM moved);
            INSERT INTO core_{number}
            SELECT n, label_now FROM moved WHERE label_now IS NOT NULL;
            -- what a core says it says until it grows
            DELETE FROM label_profile WHERE label IN (
                SELECT unnest([before.label, after.label])
                FROM {before} AS before JOIN core_{number} AS after USING (n)
                WHERE before.label <> after.label)
            """
        )

    def _reach(self, number: int) -> None:
        """Make ``label_reached``: the components that hold a seed."""
        con, before = self.con, f"core_{number - 1}"
        seeds = "SEMI JOIN label_seed USING (label)"
        con.execute(
            f"""
            CREATE OR REPLACE TEMP TABLE label_reached AS
            SELECT DISTINCT label FROM {before} {"" if self.everything else seeds};
            CREATE OR REPLACE TEMP TABLE frontier AS FROM label_reached
            """
        )
        while not self.everything:
            con.execute(
                f"""
                CREATE OR REPLACE TEMP TABLE frontier AS
                SELECT DISTINCT label FROM (
                    SELECT l AS label FROM link_{number} SEMI JOIN frontier ON label = r
                    WHERE linked
                    UNION ALL
                    SELECT r FROM link_{number} SEMI JOIN frontier ON label = l WHERE linked
                ) ANTI JOIN label_reached USING (label);
                INSERT INTO label_reached FROM frontier
                """
            )
            if not con.execute("SELECT count(*) FROM frontier").fetchall()[0][0]:
                break
        con.execute(
            f"INSERT INTO node_reached SELECT n FROM {before} SEMI JOIN label_reached USING (label)"
        )

    def _joined(
        self,
        labels: np.ndarray,
        left: np.ndarray,
        right: np.ndarray,
        strength: np.ndarray,
        before: str,
    ) -> np.ndarray:
        """For each of ``labels`` the place of the first one that it is joined with."""
        component = cluster.components(len(labels), left, right)
        first = np.full(component.max(initial=-1) + 1, len(labels), np.int64)
        np.minimum.at(first, component, np.arange(len(labels)))
        joined = first[component]
        records, apart = self._contradictions(labels, joined, before)
        grown = np.bincount(joined, weights=records, minlength=1) > self.config.max_records
        wholes = np.unique(np.concatenate([joined[apart["l"]], np.flatnonzero(grown)]))
        links_of, pairs_of = _members(joined[left]), _members(joined[apart["l"]])
        labels_of = _members(joined)
        for whole in wholes.tolist():
            links, pairs, members = links_of(whole), pairs_of(whole), labels_of(whole)
            split = cluster.join(
                *_summed(
                    np.concatenate([left[links], apart["l"][pairs]]),
                    np.concatenate([right[links], apart["r"][pairs]]),
                    np.concatenate([strength[links], np.full(len(pairs), APART)]),
                ),
                absent=0.0,
                max_records=self.config.max_records,
                sizes=dict(zip(members.tolist(), records[members].tolist(), strict=True)),
            )
            joined[members] = [split.get(member, member) for member in members.tolist()]
        return joined

    def _contradictions(
        self, labels: np.ndarray, joined: np.ndarray, before: str
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Records of each label; places ``l`` < ``r`` of joined labels that say two persons."""
        con = self.con
        sizes = np.bincount(joined, minlength=1)
        con.register("label_found", pa.table({
            "label": labels, "place": np.arange(len(labels)), "joined": joined,
            "size": sizes[joined],
        }))  # fmt: skip
        con.execute(
            """
            CREATE OR REPLACE TEMP TABLE joined_label AS FROM label_found;
            CREATE OR REPLACE TEMP TABLE label_asked AS SELECT label FROM joined_label
            """
        )
        con.unregister("label_found")
        self._profiles(before)
        # strong identifiers outweigh a name or a birthday that differs
        condition = (
            "name = 'differ' AND birthday = 'differ'"
            if before == "core_0"
            else "name = 'differ' OR (birthday = 'differ' AND name <> 'same')"
        )
        records = con.execute(
            "SELECT records FROM joined_label JOIN label_profile USING (label) ORDER BY place"
        ).fetchnumpy()["records"]
        apart = con.execute(
            f"""
            WITH asked AS (SELECT * FROM joined_label JOIN label_profile USING (label)),
            judged AS (
                SELECT one.place AS l, other.place AS r, {_VERDICTS}
                FROM asked AS one JOIN asked AS other
                    ON one.joined = other.joined AND one.place < other.place
                WHERE one.size > 2
            ),
            decided AS (
                SELECT least(one.place, other.place) AS l, greatest(one.place, other.place) AS r
                FROM decision
                JOIN {before} AS one_core ON one_core.n = hash(record_l)
                JOIN {before} AS other_core ON other_core.n = hash(record_r)
                JOIN joined_label AS one ON one.label = one_core.label
                JOIN joined_label AS other ON other.label = other_core.label
                WHERE kind = 'cannot_link' AND one.joined = other.joined
                    AND one.place <> other.place
            )
            SELECT l, r FROM judged WHERE {condition} UNION FROM decided ORDER BY l, r
            """
        ).fetchnumpy()
        return (
            np.asarray(records, np.int64),
            {side: np.asarray(apart[side], np.int64) for side in ("l", "r")},
        )

    def _profiles(self, grouped: str) -> None:
        """Add the cores of ``label_asked`` to ``label_profile``: what most records say, fullest
        first."""
        con = self.con
        missing = "SELECT count(*) FROM label_asked ANTI JOIN label_profile USING (label)"
        if not con.execute(missing).fetchall()[0][0]:
            return
        con.execute(
            f"""
            CREATE OR REPLACE TEMP TABLE label_grouped AS
            SELECT * FROM {grouped} SEMI JOIN label_asked USING (label)
            ANTI JOIN label_profile USING (label);
            CREATE OR REPLACE TEMP TABLE label_record AS
            SELECT label, known_person.* EXCLUDE record_id, records
            FROM label_grouped
            JOIN (SELECT label, count(*) AS records FROM label_grouped GROUP BY label) AS counted
                USING (label)
            JOIN known_person USING (n)
            """
        )
        # a core of one record, as most are, needs no counting
        con.execute(
            """
            INSERT INTO label_profile BY NAME
            WITH several AS (SELECT * FROM label_record WHERE records > 1),
            name AS (
                SELECT label, first(struct_pack(given := given, family := family,
                    given_latin := given_latin, family_latin := family_latin,
                    full_latin := full_latin)
                    ORDER BY wholeness DESC, times DESC, full_latin, family, given) AS name
                FROM (
                    -- spellings of one sound are one name
                    SELECT *,
                        sum(spelt) OVER (PARTITION BY label, full_latin) * 1000 + spelt AS times,
                        (given IS NOT NULL)::INTEGER + (family IS NOT NULL)::INTEGER AS wholeness
                    FROM (SELECT label, given, family, given_latin, family_latin, full_latin,
                            count(*) AS spelt
                        FROM several WHERE given IS NOT NULL OR family IS NOT NULL GROUP BY ALL)
                ) GROUP BY label
            ),
            born AS (
                SELECT label, first(struct_pack(birthday := birthday, lunar := birthday_lunar)
                    ORDER BY times DESC, birthday) AS born
                FROM (SELECT label, birthday, birthday_lunar, count(*) AS times FROM several
                    WHERE birthday IS NOT NULL GROUP BY ALL) GROUP BY label
            ),
            rest AS (
                SELECT label, count(*) AS records, mode(sex ORDER BY sex) AS sex,
                    mode(city ORDER BY city) AS city, mode(region ORDER BY region) AS region,
                    max(address) AS address, max(road_home) AS road_home,
                    max(estate_home) AS estate_home, min(created_at) AS created_at
                FROM several GROUP BY label
            )
            SELECT rest.*, name.given, name.family, name.given_latin, name.family_latin,
                name.full_latin, born.birthday, born.lunar AS birthday_lunar
            FROM rest LEFT JOIN name USING (label) LEFT JOIN born USING (label);
            INSERT INTO label_profile BY NAME
            SELECT * EXCLUDE n FROM label_record WHERE records = 1
            """
        )


def _members(of: np.ndarray) -> Callable[[int], np.ndarray]:
    """A function: group -> the places in ``of`` that hold it."""
    order = np.argsort(of, kind="stable")
    ordered = of[order]

    def places(group: int) -> np.ndarray:
        start, stop = np.searchsorted(ordered, [group, group + 1])
        return order[start:stop]

    return places


def kinds_that_link(config: IdentityConfig) -> list[str]:
    """Kinds in the order of their bits.

    Raises:
        ConfigError: there are more than a number has bits.
    """
    kinds = sorted(kind for kind, rule in config.kinds.items() if rule.link != "none")
    if len(kinds) > MOST_KINDS:
        raise ConfigError(f"identity.yml: {len(kinds)} kinds link; at most {MOST_KINDS} can")
    return kinds


def links_query(config: IdentityConfig, where: str = "true") -> str:
    """SQL over the store: the links of all rounds, each pair as the round said that knew most.

    Columns ``n_l``, ``n_r`` (numbers of records), ``rule``, ``kinds``, ``linked``, ``name``,
    ``birthday``, ``against``; of the pairs of which ``where`` is true.
    """
    rounds = " UNION ALL ".join(
        f"SELECT *, {number} AS round FROM link_{number} WHERE {where}"
        for number in range(1, LAST + 1)
    )
    names = ", ".join(f"'{kind}'" for kind in kinds_that_link(config))
    return f"""
        SELECT n_l, n_r, rule,
            CASE rule WHEN 'decision' THEN ['decision'] ELSE list_filter([{names}],
                lambda kind, place: kinds & (1::UBIGINT << (place - 1)::UBIGINT) <> 0) END
                AS kinds,
            linked, name, birthday, against
        FROM ({rounds})
        QUALIFY row_number() OVER (PARTITION BY least(n_l, n_r), greatest(n_l, n_r)
            ORDER BY linked DESC, round DESC, rule, strength DESC, half) = 1
    """


def _dirty(number: int) -> str:
    """SQL: ``label`` of groups of a round that are, or were, and in which something changed."""
    return f"""
        SELECT label_then AS label FROM moved WHERE label_then IS NOT NULL
        UNION SELECT label_now FROM moved WHERE label_now IS NOT NULL
        UNION SELECT label FROM core_{number} SEMI JOIN node_changed USING (n)
    """


def _summed(
    one: np.ndarray, other: np.ndarray, says: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each pair of groups once, the smaller first."""
    low, high = np.minimum(one, other), np.maximum(one, other)
    pairs, place = np.unique(np.stack([low, high]), axis=1, return_inverse=True)
    return pairs[0], pairs[1], np.bincount(place.ravel(), weights=says)


_LINK_COLUMNS = """half UBIGINT, l UBIGINT, r UBIGINT, n_l UBIGINT, n_r UBIGINT, rule VARCHAR,
    kinds UBIGINT, linked BOOLEAN, name VARCHAR, birthday VARCHAR, against VARCHAR[],
    strength DOUBLE"""

_VERDICTS = """
    name_verdict(one.given_latin, one.family_latin, one.full_latin,
        other.given_latin, other.family_latin, other.full_latin) AS name,
    birthday_verdict(one.birthday, one.birthday_lunar, other.birthday, other.birthday_lunar)
        AS birthday,
    coalesce(one.sex <> other.sex, false) AS sexes_differ
"""

_STRENGTH = """(bit_count(kinds) + (name = 'same')::INTEGER * 2 + (name = 'part')::INTEGER
    + (birthday = 'same')::INTEGER)::DOUBLE"""


def _against(*fields: str) -> str:
    """SQL: list of what speaks against, in words."""
    said = {
        "name": "CASE WHEN name = 'differ' THEN 'names differ' END",
        "birthday": "CASE WHEN birthday = 'differ' THEN 'birthdays differ' END",
        "sexes": "CASE WHEN sexes_differ THEN 'sexes differ' END",
        "cities": "CASE WHEN cities_differ THEN 'cities differ' END",
    }
    return (
        f"list_filter([{', '.join(said[field] for field in fields)}], lambda one: one IS NOT NULL)"
    )
