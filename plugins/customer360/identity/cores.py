"""Records that identifiers hold together: the deterministic layer, with its guards.

What belongs here: the rounds, what a change reaches in each, and joining what is linked. What does
not: the links of a round (``core_links``), the stop-list (``engine``), records that share no
identifier (``remainder``) and stable ids (``ids``).

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
that may have changed ``core_now``, ``core_size`` and ``profile``. ``pair_linked`` (``n_l``,
``n_r``): the links that differ from the last run's; ``node_reached``: whatever was joined again.
"""

from collections.abc import Callable

import duckdb
import numpy as np
import pyarrow as pa

from customer360.identity import cluster
from customer360.identity.config import IdentityConfig
from customer360.identity.core_links import (
    Kinds,
    linking,
    named_links,
    partial_links,
    strong_links,
)
from customer360.identity.profiles import MACROS, VERDICTS, add_profiles

ROUNDS = ("strong", "named", "partial", "named", "partial")
"""What links in each round, from the first."""

LAST = len(ROUNDS)

APART = -1e9


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
        self.kinds = Kinds(config)

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
                strong_links(self.con, self.kinds, before)
            elif what == "named":
                named_links(self.con, self.kinds, before)
            else:
                partial_links(self.con, self.kinds, number, before)
            self._take_links(number, what)
            self._join(number)
        self._end()

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
            CREATE OR REPLACE TEMP TABLE pair_linked (n_l UBIGINT, n_r UBIGINT);
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
        places = " ".join(
            f"WHEN '{kind}' THEN {place}" for place, kind in enumerate(self.kinds.names)
        )
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
        add_profiles(con, f"core_{LAST}")
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
        if not (self.everything and number <= 3):
            self._find_changed_keys(what, before)
            con.execute(
                """
                INSERT INTO dirty SELECT DISTINCT label FROM grouped_bond
                SEMI JOIN key_changed USING (key) ANTI JOIN dirty USING (label)
                """
            )
        self._find_holders(f"SELECT n FROM {before} WHERE label IN (FROM dirty)", before)

    def _find_changed_keys(self, what: str, before: str) -> None:
        """Make ``key_changed``: identifiers that link otherwise because of who holds them now."""
        con = self.con
        self._find_holders(
            "SELECT n FROM node_changed UNION SELECT n FROM moved",
            before,
            more="UNION SELECT key FROM bond_before",
        )
        if what == "strong":
            # all links of such an identifier go to its best known holder, who may be another now
            changed = (
                "SELECT DISTINCT key FROM grouped_bond "
                f"WHERE (1::UBIGINT << place) & {self.kinds.bits('strong')} <> 0"
            )
        else:
            # an identifier that begins or ceases to link its holders
            changed = f"""
                WITH bond_then AS (
                    SELECT key, place, told, coalesce(label_then, label) AS label
                    FROM (
                        SELECT * FROM grouped_bond ANTI JOIN node_changed USING (n)
                        UNION ALL BY NAME SELECT * FROM bond_before LEFT JOIN {before} USING (n)
                    ) LEFT JOIN moved USING (n)
                ),
                linking_now AS ({linking("grouped_bond")}),
                linking_then AS ({linking("bond_then")})
                SELECT coalesce(linking_now.key, linking_then.key) AS key
                FROM linking_now FULL JOIN linking_then USING (key)
                WHERE linking_now.key IS NULL OR linking_then.key IS NULL
            """
        con.execute(f"CREATE OR REPLACE TEMP TABLE key_changed AS {changed}")

    def _find_holders(self, records: str, before: str, more: str = "") -> None:
        """Make ``grouped_bond``: whoever holds an identifier that one of ``records`` (``n``) holds.

        ``more``: SQL of further identifiers.
        """
        self.con.execute(
            f"""
            CREATE OR REPLACE TEMP TABLE grouped_bond AS
            WITH asked AS (SELECT key FROM bond WHERE n IN ({records}) {more})
            SELECT n, label, key, place, is_verified, told
            FROM (SELECT * FROM bond WHERE key IN (FROM asked)) AS bond JOIN {before} USING (n)
            """
        )

    def _take_links(self, number: int, what: str) -> None:
        """Put ``step_link`` into the kept links; make ``label_seed``: groups to be joined anew."""
        old = (
            "half IN (FROM half_asked)"
            if what == "partial"
            else "l IN (FROM dirty) OR r IN (FROM dirty)"
        )
        if not self.everything:
            self.con.execute(
                f"""
                CREATE OR REPLACE TEMP TABLE link_then AS FROM link_{number} WHERE {old};
                CREATE OR REPLACE TEMP TABLE link_differs AS
                (FROM link_then EXCEPT FROM step_link) UNION ALL
                (FROM step_link EXCEPT FROM link_then);
                INSERT INTO pair_linked SELECT n_l, n_r FROM link_differs;
                CREATE OR REPLACE TEMP TABLE label_seed AS
                SELECT label FROM dirty
                UNION SELECT unnest([l, r]) FROM link_differs WHERE linked
                """
            )
        self.con.execute(
            f"DELETE FROM link_{number} WHERE {old}; INSERT INTO link_{number} FROM step_link"
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
                SELECT after.label FROM {before} AS before JOIN core_{number} AS after USING (n)
                WHERE before.label <> after.label
                    AND after.label IN (SELECT label FROM label_profile))
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
        while not self.everything and con.execute("FROM frontier LIMIT 1").fetchall():
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
            CREATE OR REPLACE TEMP TABLE label_asked AS
            SELECT label FROM joined_label WHERE size > 2
            """
        )
        con.unregister("label_found")
        add_profiles(con, before)
        # strong identifiers outweigh a name or a birthday that differs
        condition = (
            "name = 'differ' AND birthday = 'differ'"
            if before == "core_0"
            else "name = 'differ' OR (birthday = 'differ' AND name <> 'same')"
        )
        records = con.execute(
            f"SELECT count(*) AS records FROM {before} JOIN joined_label USING (label) "
            "GROUP BY place ORDER BY place"
        ).fetchnumpy()["records"]
        apart = con.execute(
            f"""
            WITH asked AS (SELECT * FROM joined_label JOIN label_profile USING (label)),
            judged AS (
                SELECT one.place AS l, other.place AS r, {VERDICTS}
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


def _members(of: np.ndarray) -> Callable[[int], np.ndarray]:
    """A function: group -> the places in ``of`` that hold it."""
    order = np.argsort(of, kind="stable")
    ordered = of[order]

    def places(group: int) -> np.ndarray:
        start, stop = np.searchsorted(ordered, [group, group + 1])
        return order[start:stop]

    return places


def links_query(config: IdentityConfig, where: str = "true") -> str:
    """SQL over the store: the links of all rounds, each pair as the round said that knew most.

    Columns ``n_l``, ``n_r`` (numbers of records), ``rule``, ``kinds``, ``linked``, ``name``,
    ``birthday``, ``against``; of the pairs of which ``where`` is true.
    """
    rounds = " UNION ALL ".join(
        f"SELECT *, {number} AS round FROM link_{number} WHERE {where}"
        for number in range(1, LAST + 1)
    )
    names = ", ".join(f"'{kind}'" for kind in Kinds(config).names)
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
