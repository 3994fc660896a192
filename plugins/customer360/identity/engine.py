"""The nightly resolution of a company: what changed, what that touches, who is who now.

What belongs here: the store between runs, what a run recomputes, the order of the layers, the
tables that the marts read. What does not: the layers (``cores``, ``remainder``,
``organisations``), the ids (``ids``), people's decisions (``decisions``).

The store (``identity.duckdb``) holds normalised records, cores, rows, scored pairs and groups of
the last run, and the frozen *version*: model, value frequencies, stop-list, too common keys. It can
be rebuilt from the inputs and the decision state at any time, and holds personal data: restricted.

An increment recomputes, layer by layer, what the change can reach: in ``cores``, round by round,
what those share an identifier with whose group changed; in ``remainder`` the pairs of changed rows
and the components they touch. Under one version the groups equal those of a full run.
"""

import contextlib
import datetime as dt
import hashlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from sqlalchemy import Engine

from customer360 import state
from customer360.identity import cores, decisions, ids, inputs, organisations, outputs, remainder
from customer360.identity.config import IdentityConfig, load_identity_config
from customer360.identity.model import Parameters
from customer360.settings import Settings
from customer360.warehouse import connect

STORE_FORMAT = "5"
"""Changed with the meaning of the store's tables: an older store is made anew."""

OVERGROWN = 3
"""An identifier with this many times the persons allowed, not yet on the stop-list: learn anew."""

Say = Callable[[str], None]


def _silent(_: str) -> None:
    return None


def store_path(settings: Settings) -> Path:
    """The company's identity store."""
    return settings.data_dir / "identity.duckdb"


def resolve_company(
    con: duckdb.DuckDBPyConnection,
    settings: Settings,
    engine: Engine,
    *,
    run_id: str,
    as_of: dt.date,
    records: str = "records",
    identifiers: str = "identifiers",
    learn: bool | None = None,
    config: IdentityConfig | None = None,
    say: Say = _silent,
) -> dict[str, Any]:
    """Resolve the company's records and give stable ids.

    Args:
        con: holds ``records`` and ``identifiers`` (shapes: ``inputs``); gets schema ``identity``
            (shapes: ``outputs``).
        settings: the company, its store and limits.
        engine: the decision state.
        run_id: the same one again ends in the same ids and tables.
        as_of: the day until which the inputs reach; what is learned is learned on it.
        records, identifiers: names of relations in ``con``.
        learn: True learns model, frequencies and stop-list anew; False works on with the frozen
            version; None does as the configuration says.
        config: rules, where they are not those of ``config/identity.yml``.
        say: told how far it is.

    Returns:
        Counts for reports: mode, version, records, customers, merged, split, ... and seconds.

    Raises:
        ConfigError: an input has not the shape it must have.
    """
    config = config or load_identity_config(settings)
    state.ensure(engine)
    path = store_path(settings)
    with open_store(settings, path) as own:
        own.execute("BEGIN")
        try:
            work = Work(own, settings, engine, config, say)
            work.take(con, records, identifiers)
            work.regroup(as_of, learn)
            run = ids.begin(engine, run_id, as_of)
            found = work.identify(run)
            if run.writes:
                ids.write(engine, run, run_id, as_of, work.version, found)
                work.remember(run, found)
            work.clock("ids")
            work.reached(found)
            outputs.write(own, con, engine, config, run, changes_only=work.changes_only)
            work.clock("tables")
            own.execute("COMMIT" if run.writes else "ROLLBACK")
        except BaseException:
            with contextlib.suppress(duckdb.Error):
                own.execute("ROLLBACK")
            raise
    return work.summary(found)


@contextlib.contextmanager
def open_store(settings: Settings, path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """The store, empty where it is missing, of another format, or damaged."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        try:
            with connect(settings, path) as own:
                whole = _meta(own).get("format") == STORE_FORMAT
        except Exception:  # noqa: BLE001, it is rebuilt from the inputs whatever is wrong with it
            whole = False
        if not whole:
            path.unlink()
            path.with_suffix(".duckdb.wal").unlink(missing_ok=True)
    with connect(settings, path) as own:
        own.execute("SET preserve_insertion_order = false")
        own.execute(
            "CREATE TABLE IF NOT EXISTS meta (key VARCHAR PRIMARY KEY, value VARCHAR);"
            f"INSERT OR IGNORE INTO meta VALUES ('format', '{STORE_FORMAT}')"
        )
        yield own


def _meta(own: duckdb.DuckDBPyConnection) -> dict[str, str]:
    return dict(own.execute("SELECT key, value FROM meta").fetchall())


class Work:
    """One resolution on the store: the steps share what the earlier ones found out."""

    def __init__(
        self,
        own: duckdb.DuckDBPyConnection,
        settings: Settings,
        engine: Engine,
        config: IdentityConfig,
        say: Say,
    ) -> None:
        self.own, self.settings, self.engine, self.config, self.say = (
            own, settings, engine, config, say,
        )  # fmt: skip
        self.meta = _meta(own)
        self.mode = "increment"
        self.version = self.meta.get("version", "")
        self.rules = hashlib.sha256(
            json.dumps(config.model_dump(mode="json", exclude={"preview", "refresh"}),
                       sort_keys=True).encode()
        ).hexdigest()[:16]  # fmt: skip
        self.seconds: dict[str, float] = {}
        self.counts: dict[str, int] = {}
        self._since = time.monotonic()

    def clock(self, step: str) -> None:
        """Note the seconds since the last step."""
        now = time.monotonic()
        self.seconds[step] = round(now - self._since, 2)
        self._since = now
        self.say(f"identity: {step} ({self.seconds[step]} s)")

    # --- what changed -----------------------------------------------------------------------

    def take(self, con: duckdb.DuckDBPyConnection, records: str, identifiers: str) -> None:
        """Read the inputs; normalise what differs from the last run and put it into the store."""
        own = self.own
        inputs.look(con, own, records, identifiers)
        decisions.load(self.engine, own)
        self.is_new = self.meta.get("rules") != self.rules
        if self.is_new:
            inputs.empty(own)
        inputs.take_changed(con, own)
        own.execute(
            "CREATE OR REPLACE TEMP TABLE value_touched AS SELECT DISTINCT value FROM held "
            "SEMI JOIN record_changed USING (record_id)"
        )
        self.counts["changed_records"] = _count(own, "record_changed")
        own.execute(
            "DELETE FROM person WHERE record_id IN (SELECT record_id FROM record_changed);"
            "DELETE FROM held WHERE record_id IN (SELECT record_id FROM record_changed)"
        )
        inputs.normalise_persons(own, self.config)
        own.execute(
            "INSERT INTO person BY NAME SELECT * FROM person_now;"
            "INSERT INTO held BY NAME SELECT * FROM held_now"
        )
        self.clock("input")

    # --- who is one -------------------------------------------------------------------------

    def regroup(self, as_of: dt.date, learn: bool | None) -> None:
        """Bring ``group_of`` (``record_id``, ``group_id``) up to date."""
        why = "asked" if learn else None
        if self.is_new:
            why = "there is no version under these rules"
        elif learn is None:
            why = self._why_learn(as_of)
        if why:
            self.mode = "full"
            self.say(f"identity: everything is learned anew ({why})")
            self.learn_stops()
        self.compute(everything=bool(why), learn_on=as_of if why else None)

    def compute(self, *, everything: bool, learn_on: dt.date | None) -> None:
        """Compute ``group_of``: wholly, or where the change reaches; with a new model or the old.

        ``record_regrouped``: records whose group was computed.
        """
        own = self.own
        own.execute(
            """
            CREATE OR REPLACE TEMP TABLE decision_changed AS
            (SELECT * FROM decision EXCEPT SELECT * FROM decision_then)
            UNION ALL (SELECT * FROM decision_then EXCEPT SELECT * FROM decision)
            """
        )
        cores.Cores(own, self.config, everything=everything).link()
        self.counts["recomputed_records"] = int(
            own.execute("SELECT count(DISTINCT n) FROM node_reached").fetchall()[0][0]
        )
        self.clock("cores")
        parameters = self._rows(learn_on)
        self.clock("pairs")
        self._join(parameters, everything=everything)
        organisations.group(own)
        own.execute(
            """
            CREATE OR REPLACE TEMP VIEW group_of AS
            SELECT core.record_id, coalesce(first_id, core_id) AS group_id
            FROM core LEFT JOIN row_group ON row_group.record_id = core_id
            UNION ALL SELECT record_id, group_id FROM organisation_group;
            CREATE OR REPLACE TEMP TABLE record_regrouped AS
            SELECT record_id FROM core_now
            UNION SELECT record_id FROM core WHERE core_id IN (FROM row_regrouped)
            UNION SELECT record_id FROM organisation_group
            UNION SELECT record_id FROM record_changed
            """
        )
        self.clock("groups")

    def _why_learn(self, as_of: dt.date) -> str | None:
        own, refresh = self.own, self.config.refresh
        if (as_of - dt.date.fromisoformat(self.meta["learned_on"])).days >= refresh.after_days:
            return f"the version is {refresh.after_days} days old"
        there = _count(own, "person")
        if there > int(self.meta["learned_records"]) * (1 + refresh.growth):
            return f"the records grew by more than {refresh.growth:.0%}"
        crowded = _persons_by_value(
            self.config, OVERGROWN, "held SEMI JOIN held_now USING (kind, value)"
        )
        overgrown = own.execute(
            f"SELECT count(*) FROM ({crowded}) ANTI JOIN stop_value USING (kind, value)"
        ).fetchall()[0][0]
        return (
            f"{overgrown} identifiers belong to too many persons all at once" if overgrown else None
        )

    def learn_stops(self) -> None:
        """Make ``stop_value`` and ``stop_birthday`` from how many persons use a value."""
        own = self.own
        own.execute(
            f"CREATE OR REPLACE TABLE stop_value AS {_persons_by_value(self.config, 1, 'held')} "
            f"UNION ALL {_repeated(self.config)}"
        )
        # placeholders: far more often than the birthdays of a lifetime spread evenly
        own.execute(
            """
            CREATE OR REPLACE TABLE stop_birthday AS
            WITH born AS (
                SELECT birthday, count(DISTINCT coalesce(full_latin, record_id)) AS persons
                FROM person WHERE birthday IS NOT NULL GROUP BY birthday
            )
            SELECT birthday, persons FROM born
            WHERE persons > 5 + 8 * (SELECT sum(persons) FROM born) / 20000
            """
        )

    def _rows(self, learn_on: dt.date | None) -> Parameters:
        """Bring ``row`` and ``scored`` up to date; make ``row_touched``.

        ``pair_weighed``: pairs of rows of which ``scored`` may say something else.
        """
        own = self.own
        remainder.make_rows(own)
        # a core that only grew says what it said: it is joined anew, its pairs keep their scores
        for table, columns in (("row_differs", "*"), ("row_changed_ids", "* EXCLUDE records")):
            own.execute(
                f"""
                CREATE OR REPLACE TEMP TABLE {table} AS
                WITH before AS (
                    SELECT {columns} FROM row WHERE hash(record_id) IN (FROM core_gone)
                ),
                now AS (SELECT {columns} FROM row_now)
                SELECT DISTINCT record_id FROM (
                    (FROM before EXCEPT FROM now) UNION ALL (FROM now EXCEPT FROM before))
                """
            )
        pairs_of = (
            "SELECT record_l, record_r FROM scored "
            "WHERE record_l IN (FROM {rows}) OR record_r IN (FROM {rows})"
        )
        own.execute(
            f"""
            CREATE OR REPLACE TEMP TABLE row_touched AS
            FROM row_differs UNION
            SELECT unnest([record_l, record_r]) FROM ({pairs_of.format(rows="row_differs")});
            CREATE OR REPLACE TEMP TABLE pair_weighed AS
            {pairs_of.format(rows="row_changed_ids")};
            DELETE FROM row WHERE record_id IN (FROM row_differs);
            INSERT INTO row FROM row_now WHERE record_id IN (FROM row_differs);
            DELETE FROM scored WHERE (record_l, record_r) IN (FROM pair_weighed)
            """
        )
        if learn_on:
            remainder.empty_scores(own)
            parameters = remainder.learn(own)
            text = json.dumps(asdict(parameters), sort_keys=True)
            self.version = "v-" + hashlib.sha256(f"{text}{self.rules}".encode()).hexdigest()[:12]
            self._set(version=self.version, parameters=text, rules=self.rules,
                      learned_on=learn_on.isoformat(),
                      learned_records=str(_count(own, "person")))  # fmt: skip
        else:
            parameters = Parameters(**json.loads(self.meta["parameters"]))
            remainder.make_pairs(own, "row_changed_ids")
        remainder.score(own, parameters, "pair_asked", candidates=True)
        remainder.number_persons(own, self.config)
        if learn_on:
            self._set(alone_bits=json.dumps(remainder.learn_alone(own)))
        remainder.make_lone_pairs(own, parameters, self.config, json.loads(self.meta["alone_bits"]))
        own.execute(
            """
            CREATE OR REPLACE TEMP TABLE lone_differs AS
            (FROM lone_pair EXCEPT FROM lone_pair_now)
            UNION ALL (FROM lone_pair_now EXCEPT FROM lone_pair);
            INSERT INTO pair_weighed SELECT record_l, record_r FROM lone_differs;
            INSERT INTO row_touched SELECT unnest([record_l, record_r]) FROM lone_differs;
            CREATE OR REPLACE TABLE lone_pair AS SELECT * FROM lone_pair_now
            """
        )
        return parameters

    def _join(self, parameters: Parameters, *, everything: bool) -> None:
        """Bring ``row_group`` up to date."""
        own = self.own
        own.execute(
            """
            CREATE OR REPLACE TEMP TABLE core_decision AS
            SELECT least(one.core_id, other.core_id) AS record_l,
                greatest(one.core_id, other.core_id) AS record_r, max(kind) AS kind
            FROM decision JOIN core AS one ON one.record_id = decision.record_l
            JOIN core AS other ON other.record_id = decision.record_r
            WHERE one.core_id <> other.core_id AND kind = 'cannot_link' GROUP BY ALL
            """
        )
        if not everything:
            own.execute(
                """
                INSERT INTO row_touched
                SELECT core_id FROM core JOIN decision_changed
                    ON record_id IN (record_l, record_r)
                    SEMI JOIN row ON row.record_id = core_id
                """
            )
        remainder.join_rows(own, parameters, self.config, None if everything else "row_touched")
        own.execute(
            "DELETE FROM row_group WHERE record_id IN (FROM row_regrouped);"
            "INSERT INTO row_group FROM row_group_now"
        )

    def _set(self, **values: str) -> None:
        self.meta |= values
        self.own.executemany(
            "INSERT OR REPLACE INTO meta VALUES (?, ?)", [list(pair) for pair in values.items()]
        )

    # --- ids --------------------------------------------------------------------------------

    def identify(self, run: ids.Run) -> ids.Assignment:
        """Give the groups their ids; only of what moved, where the store knows the memory."""
        own = self.own
        fresh = not self.is_new and self.meta.get("number") == str(run.before)
        self.changes_only = fresh and self.mode == "increment"
        if not fresh:
            ids.load_members(self.engine, own, "member")
        own.execute(
            "CREATE OR REPLACE TEMP VIEW member_now AS "
            "SELECT record_id, customer_id, opened FROM member WHERE closed IS NULL"
        )
        if fresh:
            own.execute(
                """
                CREATE OR REPLACE TEMP TABLE customer_asked AS
                SELECT DISTINCT customer_id FROM member_now
                SEMI JOIN record_regrouped USING (record_id);
                CREATE OR REPLACE TEMP TABLE group_asked_for AS
                SELECT DISTINCT group_id FROM group_of WHERE record_id IN (
                    FROM record_regrouped UNION ALL
                    SELECT record_id FROM member_now SEMI JOIN customer_asked USING (customer_id));
                CREATE OR REPLACE TEMP TABLE group_assigned AS
                SELECT * FROM group_of SEMI JOIN group_asked_for USING (group_id);
                CREATE OR REPLACE TEMP TABLE member_before AS
                SELECT * FROM member_now WHERE record_id IN (SELECT record_id FROM group_assigned)
                    OR customer_id IN (SELECT customer_id FROM customer_asked);
                """
            )
        else:
            own.execute(
                """
                CREATE OR REPLACE TEMP TABLE group_assigned AS SELECT * FROM group_of;
                CREATE OR REPLACE TEMP TABLE member_before AS SELECT * FROM member_now;
                """
            )
        return ids.assign(own, self.engine, "member_before", "group_assigned")

    def remember(self, run: ids.Run, found: ids.Assignment) -> None:
        """Bring the store's copy of the memory up to date."""
        ids.apply(self.own, "member", run, found)
        self.own.execute("CREATE OR REPLACE TABLE decision_then AS SELECT * FROM decision")
        self._set(number=str(run.number))

    def reached(self, found: ids.Assignment) -> None:
        """Make ``record_told`` and ``pair_told``: numbers of the records, and of the pairs, of
        which this run may say something else than the last one."""
        own = self.own
        if not self.changes_only:
            return
        moved = sorted({*found.close, *(record for record, _ in found.open)})
        own.register("moved_found", pa.table({"record_id": pa.array(moved, pa.string())}))
        own.execute(
            """
            CREATE OR REPLACE TEMP TABLE record_told AS
            SELECT hash(record_id) AS n FROM record_changed
            UNION SELECT hash(record_id) FROM moved_found;
            CREATE OR REPLACE TEMP TABLE pair_told AS
            WITH ends AS (
                FROM pair_linked
                UNION ALL SELECT hash(record_l), hash(record_r) FROM pair_weighed
                UNION ALL SELECT hash(record_l) AS n_l, hash(record_r) AS n_r FROM link_told
                WHERE n_l IN (FROM record_told) OR n_r IN (FROM record_told)
            )
            SELECT DISTINCT n_l, n_r, xor(n_l, n_r) AS pair FROM ends
            """
        )
        own.unregister("moved_found")

    def summary(self, found: ids.Assignment) -> dict[str, Any]:
        """Counts for reports."""
        reasons = [reason for _, _, reason in found.changes]
        return {
            "mode": self.mode,
            "version": self.version,
            **self.counts,
            "merged": reasons.count("merge"),
            "split": reasons.count("split"),
            "undone": reasons.count("undo"),
            "new": len(found.begun) + len(found.revived),
            "ended": len(found.ended),
            "seconds": self.seconds,
        }


def _persons_by_value(config: IdentityConfig, times: int, held: str) -> str:
    """SQL: ``kind``, ``value``, ``persons`` of identifiers with more persons than allowed.

    Persons are told apart by the family name and the first letter of the given name, so that a
    busy person with many spellings is no crowd.
    """
    limits = " ".join(
        f"WHEN '{kind}' THEN {rule.max_persons * times}" for kind, rule in config.kinds.items()
    )
    return (
        "SELECT kind, value, "
        "count(DISTINCT family_latin || '|' || left(given_latin, 1)) AS persons "
        f"FROM (SELECT held.* FROM {held}) JOIN person USING (record_id) "
        f"WHERE link NOT IN ('none', 'unique') GROUP BY kind, value "
        f"HAVING persons > CASE kind {limits} END"
    )


def _repeated(config: IdentityConfig) -> str:
    """SQL: ``kind``, ``value``, ``persons`` of what should be unique in a source and is not."""
    limits = " ".join(
        f"WHEN '{kind}' THEN {rule.max_persons}" for kind, rule in config.kinds.items()
    )
    return (
        "SELECT kind, value, max(records) AS persons FROM (SELECT kind, value, count(*) AS records "
        "FROM held WHERE link = 'unique' GROUP BY kind, value, told_kind) "
        f"GROUP BY kind, value HAVING persons > CASE kind {limits} END"
    )


def _count(own: duckdb.DuckDBPyConnection, table: str) -> int:
    return int(own.execute(f"SELECT count(*) FROM {table}").fetchall()[0][0])
