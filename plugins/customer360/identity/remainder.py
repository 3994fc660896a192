"""Cores that share no identifier: the probabilistic layer, Splink's, on one row a core.

What belongs here: which cores are compared, scoring them with a frozen model, joining them, and
doing so for a part. What does not: the model itself (``model``), what a score means (``links``),
how groups are joined (``cluster``).

The layer's rows are profiles that hold a name (``row``: ``record_id`` is the core's id). Its pairs
(``scored``) depend on two rows, the model, frozen value frequencies (``tf_<column>``) and frozen
too common keys (``common_key``) and on nothing else. So when rows change, the pairs of those rows
are scored anew, and the components that they touch are joined anew; the rest stays.
"""

import logging
import math
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from splink import DuckDBAPI, Linker

from customer360.identity import cluster, links
from customer360.identity.blocking import FEWEST_PAIRS, KEYS, PAIRS_PER_RECORD, parts_of
from customer360.identity.config import IdentityConfig
from customer360.identity.model import (
    NO_BLOCKING,
    FieldModel,
    Parameters,
    field_models,
    splink_settings,
    train_on_pairs,
)

SIZE_BITS = 3.0
"""Bits that a pair must bring more for each doubling of the smaller core: two persons' many records
that share no identifier at all are hardly one person, and a wrong merge of them costs more."""

_WEIGHED = f"weight - {SIZE_BITS} * log2(least(one.records, other.records))"

COLUMNS = ("given", "family", "given_latin", "family_latin", "birthday", "sex", "phone", "email",
           "address", "road_home", "estate_home", "city")  # fmt: skip
"""Columns of ``row`` beside ``record_id`` and ``records``, the size of the core."""

FEWEST_ALONE = 30
"""Lone and other rows below which their namesakes say nothing."""

MOST_COUNTED = 5
"""Namesakes that are told apart by their number; more are weighed as so many."""

MOST_NAMESAKES = 100
"""Persons of one name between whom a lone record is not weighed any more."""

WHOLE_COMPONENT = 60
"""Components up to this size are compared wholly before they are joined."""


def _bits(probability: float) -> float:
    return math.log2(probability / (1 - probability))


def models() -> list[FieldModel]:
    """How rows are compared; the same for every company, whatever it fills."""
    return field_models(list(COLUMNS), one_name=True)


def make_rows(con: duckdb.DuckDBPyConnection) -> None:
    """Make ``row_now`` of the profiles in scope: those with a name, and a phone and an e-mail."""
    con.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE row_now AS
        WITH reached AS (
            SELECT core_id, kind, first(value ORDER BY last_at DESC NULLS LAST, value) AS value
            FROM scope_held JOIN core_now USING (record_id)
            WHERE kind IN ('phone', 'email') GROUP BY ALL
        )
        SELECT profile.core_id AS record_id, given, family, given_latin, family_latin, birthday,
            sex, phone.value AS phone, email.value AS email, address, road_home, estate_home,
            coalesce(city, region) AS city, records
        FROM profile JOIN core_size USING (core_id)
        LEFT JOIN reached AS phone ON phone.core_id = profile.core_id AND phone.kind = 'phone'
        LEFT JOIN reached AS email ON email.core_id = profile.core_id AND email.kind = 'email'
        WHERE given_latin IS NOT NULL
            AND ({" OR ".join(f"{name} IS NOT NULL" for name in COLUMNS[3:])})
        ORDER BY profile.core_id
        """
    )


def _keyed(relation: str) -> str:
    """SQL: ``record_id``, ``key`` for each blocking key that a row of ``relation`` has."""
    parts = parts_of(list(COLUMNS))
    selects = []
    for number, key in enumerate(key for key in KEYS if set(key) <= set(parts)):
        known = " AND ".join(f"({parts[part]}) IS NOT NULL" for part in key)
        values = ", ".join(parts[part] for part in key)
        selects.append(
            f"SELECT record_id, hash({number}, {values}) AS key, {number} AS number "
            f"FROM {relation} WHERE {known}"
        )
    return " UNION ALL ".join(selects)


def learn_keys(con: duckdb.DuckDBPyConnection) -> None:
    """Make ``common_key``: values that too many rows of ``row`` share for the key's budget."""
    rows = con.execute("SELECT count(*) FROM row").fetchall()[0][0]
    budget = max(FEWEST_PAIRS, int(PAIRS_PER_RECORD * rows))
    con.execute(
        f"""
        CREATE OR REPLACE TABLE common_key AS
        WITH sizes AS (
            SELECT number, key, count(*) AS size FROM ({_keyed("row")}) GROUP BY ALL
            HAVING count(*) > 1
        ),
        summed AS (
            SELECT number, size, sum(sum(size * (size - 1) / 2))
                OVER (PARTITION BY number ORDER BY size) AS total
            FROM sizes GROUP BY number, size
        )
        SELECT key FROM sizes JOIN summed USING (number, size) WHERE total > {budget}
        """
    )


def learn_frequencies(con: duckdb.DuckDBPyConnection) -> None:
    """Make ``tf_<column>``: how common each value is among the rows; frozen with the model."""
    for column in _frequency_columns(models()):
        con.execute(
            f"CREATE OR REPLACE TABLE tf_{column} AS SELECT {column}, "
            f"count(*) / sum(count(*)) OVER () AS tf_{column} FROM row "
            f"WHERE {column} IS NOT NULL GROUP BY {column}"
        )


def _frequency_columns(fields: list[FieldModel]) -> list[str]:
    return sorted({level.tf for model in fields for level in model.levels if level.tf})


def learn(con: duckdb.DuckDBPyConnection) -> Parameters:
    """Learn keys, frequencies and parameters from ``row``; the latter are returned."""
    logging.getLogger("splink").setLevel(logging.ERROR)
    learn_keys(con)
    learn_frequencies(con)
    make_pairs(con, None)
    return train_on_pairs(con, models(), "row", "pair_asked")


_NAMESAKES = """
    SELECT row.*, family_latin || '|' || given_latin AS name,
        records = 1 AND birthday IS NULL AND coalesce(address, road_home, estate_home) IS NULL
            AS is_alone
    FROM row WHERE family_latin IS NOT NULL
"""
"""SQL: rows with a whole name; ``is_alone``: one record that says little else."""


_CLASS = "split_part(record_id, ':', 1) || CASE WHEN phone IS NOT NULL THEN '+phone' ELSE '' END"
"""SQL: the table a lone row comes from, and whether it has a phone."""


def number_persons(con: duckdb.DuckDBPyConnection, config: IdentityConfig) -> None:
    """Make ``row_person`` (``record_id``, ``person``): rows that the model holds for one person.

    Two rows of one person are not two namesakes between whom a lone record could choose.
    """
    threshold_bits = _bits(config.threshold)
    con.execute(
        "CREATE OR REPLACE TEMP TABLE row_number AS SELECT record_id, records, "
        "row_number() OVER (ORDER BY record_id) - 1 AS n FROM row"
    )
    rows = con.execute("SELECT count(*) FROM row_number").fetchall()[0][0]
    found = con.execute(
        f"""
        SELECT one.n AS l, other.n AS r FROM scored
        JOIN row_number AS one ON one.record_id = record_l
        JOIN row_number AS other ON other.record_id = record_r
        WHERE is_candidate AND NOT contradicted AND {_WEIGHED} > {threshold_bits}
        """
    ).fetchnumpy()
    left, right = np.asarray(found["l"], np.int64), np.asarray(found["r"], np.int64)
    labels = cluster.components(rows, left, right)
    # a chain is not yet a person: it is joined as rows are
    sizes = np.bincount(labels, minlength=1)
    is_chain = np.bincount(labels[left], minlength=len(sizes)) < sizes * (sizes - 1) // 2
    chained = np.flatnonzero(is_chain[labels])
    con.register("chain_found", pa.table({"n": chained, "component": labels[chained]}))
    inside = con.execute(
        f"""
        WITH chain AS (SELECT * FROM chain_found JOIN row_number USING (n))
        SELECT one.component, one.n AS l, other.n AS r,
            {_WEIGHED} - {threshold_bits} AS weight, contradicted
        FROM scored JOIN chain AS one ON one.record_id = record_l
        JOIN chain AS other ON other.record_id = record_r
        WHERE is_candidate AND one.component = other.component ORDER BY ALL
        """
    ).fetchnumpy()
    con.unregister("chain_found")
    persons = np.arange(rows)
    first = np.full(len(sizes), rows, np.int64)
    np.minimum.at(first, labels, persons)
    persons = np.where(is_chain[labels], persons, first[labels])
    for one, group in _joined(inside, _said(inside)).items():
        persons[one] = group
    con.register("person_found", pa.table({"n": np.arange(rows), "person": persons}))
    con.execute(
        "CREATE OR REPLACE TEMP TABLE row_person AS SELECT record_id, person "
        "FROM person_found JOIN row_number USING (n)"
    )
    con.unregister("person_found")


def learn_alone(con: duckdb.DuckDBPyConnection) -> dict[str, Any] | None:
    """What lone records are: ``known`` (class -> bits), ``named`` (bits), ``rate``; None where
    nobody can say. Needs :func:`number_persons`.

    A lone record has whatever made it: mostly it is somebody whom other records know well. How
    mostly, the hits tell: of a class of lone records a share ``hit`` has a namesake among the
    known; of the known themselves, whose namesakes are others, ``1 - share[0]``, where
    ``share[k]`` have k of them. Were ``known`` of the lone ones known persons, ``hit = known +
    (1 - known) * (1 - share[0])``. Classes are the tables the records come from, with and without
    a phone: whoever leaves a number that nobody knows is more often somebody new.

    A lone record whose name k persons have is one of them with odds ``known * share[k - 1] :
    (1 - known) * share[k]``: the estimate of Good and Turing. ``named`` holds log2 of
    ``share[k - 1] / share[k]`` for k from 1, ``rate`` the lone records a known person has.
    """
    classes = con.execute(
        f"""
        WITH namesakes AS ({_NAMESAKES}),
        alone AS (
            SELECT {_CLASS} AS class, phone IS NOT NULL AS has_phone,
                name IN (SELECT name FROM namesakes WHERE NOT is_alone) AS is_hit
            FROM namesakes WHERE is_alone
        )
        SELECT CASE WHEN grouping(class) = 0 THEN class WHEN has_phone THEN '+phone' ELSE '' END,
            count(*), count(*) FILTER (is_hit)
        FROM alone GROUP BY GROUPING SETS ((class), (has_phone)) ORDER BY ALL
        """
    ).fetchall()
    persons = dict(
        con.execute(
            f"""
            WITH namesakes AS ({_NAMESAKES}),
            known AS (
                SELECT name, count(DISTINCT person) AS persons
                FROM namesakes JOIN row_person USING (record_id) WHERE NOT is_alone GROUP BY name
            )
            SELECT persons, sum(persons) FROM known GROUP BY persons
            """
        ).fetchall()
    )
    others = float(sum(persons.values()))
    if others < FEWEST_ALONE:
        return None
    share = [(float(persons.get(k + 1, 0)) + 1) / (others + 2) for k in range(MOST_COUNTED + 1)]
    found = {}
    for name, rows, hits in classes:
        known = ((hits + 1) / (rows + 2) - (1 - share[0])) / share[0]
        if rows >= FEWEST_ALONE and known > 0:
            found[name] = round(_bits(min(known, 1 - 1 / (rows + 2))), 4)
    if not found:
        return None
    alone = sum(rows for name, rows, _ in classes if name in ("", "+phone"))
    return {
        "known": found,
        "named": [round(math.log2(share[k - 1] / share[k]), 4) for k in range(1, MOST_COUNTED + 1)],
        "rate": round(alone / others, 4),
    }


def _says(parameters: Parameters, name: str, frequency: str) -> str:
    """SQL: bits of a field of ``lone`` and ``known``, the same value being as rare as told."""
    m, u = parameters.m[name], parameters.u[name]
    return (
        f"CASE WHEN lone.{name} = known.{name} THEN log2({m[0]!r} / {frequency.format(u=u[0])}) "
        f"WHEN lone.{name} <> known.{name} THEN {math.log2(m[-1] / u[-1])!r} ELSE 0 END"
    )


def _spelt(parameters: Parameters) -> str:
    """SQL: bits of the spelling of two given names of one sound; none where one is in letters."""
    labels = [level.label for model in models() if model.name == "given" for level in model.levels]
    sounds = labels.index("sounds the same")
    (same_m, other_m), (same_u, other_u) = (
        (values["given"][0], values["given"][sounds]) for values in (parameters.m, parameters.u)
    )
    scale = (same_u + other_u) / (same_m + other_m)
    return (
        "CASE WHEN regexp_matches(lone.given || known.given, '[a-z]') THEN 0 "
        f"WHEN lone.given = known.given THEN {math.log2(same_m / same_u * scale)!r} "
        f"ELSE {math.log2(other_m / other_u * scale)!r} END"
    )


def make_lone_pairs(
    con: duckdb.DuckDBPyConnection,
    parameters: Parameters,
    config: IdentityConfig,
    learned: dict[str, Any] | None,
) -> None:
    """Make ``lone_pair_now`` (``record_l``, ``record_r``, ``weight``): lone rows and namesakes.

    ``learned`` is what ``learn_alone`` found; beside it speaks what else the two say (city, sex,
    phone, e-mail, spelling). A lone record can be one of its namesakes only: each is weighed
    against all the others, and against its being nobody known, which is the likelier the more lone
    records of the name there are than its known persons would have. Pairs that blocking left out
    are added to ``scored`` where they link. Needs :func:`number_persons`.
    """
    con.execute("CREATE OR REPLACE TEMP TABLE lone_pair_now AS SELECT * FROM lone_pair WHERE false")
    if learned is None:
        return
    con.register("class_found", pa.table({
        "class": pa.array(list(learned["known"]), pa.string()),
        "bits": pa.array(list(learned["known"].values()), pa.float64())}))  # fmt: skip
    threshold_bits = _bits(config.threshold)
    weights = " + ".join(
        f"coalesce(weight_{name}, 0)" for name in ("city", "sex", "phone", "email")
    )
    told = " + ".join(
        (
            _says(parameters, "city", "coalesce(tf_city, {u!r})"),
            _says(parameters, "sex", "{u!r}"),
            _says(parameters, "phone", "{u!r}"),
            _says(parameters, "email", "{u!r}"),
        )
    )
    con.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE lone_pair_now AS
        WITH namesakes AS ({_NAMESAKES}),
        named AS (
            SELECT name, count(DISTINCT person) AS persons
            FROM namesakes JOIN row_person USING (record_id) WHERE NOT is_alone GROUP BY name
            HAVING persons <= {MOST_NAMESAKES}
        ),
        lone AS (
            SELECT namesakes.*, coalesce(own.bits, shared.bits) AS known_bits,
                count(*) OVER (PARTITION BY name) AS lone_rows
            FROM namesakes LEFT JOIN class_found AS own ON own.class = {_CLASS}
            LEFT JOIN class_found AS shared
                ON shared.class = CASE WHEN phone IS NOT NULL THEN '+phone' ELSE '' END
            WHERE is_alone
        ),
        pair AS (
            SELECT lone.record_id AS lone, person, persons, known_bits
                    - log2(1 + greatest(0, lone_rows - 1 - persons * {learned["rate"]})) AS bits,
                least(lone.record_id, known.record_id) AS record_l,
                greatest(lone.record_id, known.record_id) AS record_r,
                coalesce(lone.city <> known.city, false) AS is_elsewhere,
                {told} AS told, {_spelt(parameters)} AS spelt
            FROM named JOIN lone USING (name) JOIN namesakes AS known USING (name)
            JOIN row_person ON row_person.record_id = known.record_id
            LEFT JOIN tf_city ON tf_city.city = lone.city
            WHERE known_bits IS NOT NULL AND NOT known.is_alone
        ),
        compared AS (
            SELECT pair.*, scored.record_l IS NOT NULL AS is_compared,
                scored.rule IS NOT NULL AS by_rule,
                coalesce(contradicted, is_elsewhere) AS is_apart,
                power(2.0, least(60, coalesce({weights}, told) + spelt)) AS odds
            FROM pair LEFT JOIN (FROM scored WHERE is_candidate) AS scored
                USING (record_l, record_r)
        ),
        by_person AS (
            SELECT lone, person, max(odds) AS odds FROM compared GROUP BY ALL
        ),
        summed AS (SELECT lone, sum(odds) AS odds FROM by_person GROUP BY lone),
        weighed AS (
            SELECT record_l, record_r, is_compared, is_apart, by_rule,
                power(2.0, bits + {learned["named"]!r}[least(persons, {MOST_COUNTED})]) / persons
                    AS prior,
                compared.odds, summed.odds - by_person.odds AS others
            FROM compared JOIN by_person USING (lone, person) JOIN summed USING (lone)
        ),
        judged AS (
            SELECT *, round(log2(prior * odds / (1 + prior * greatest(others, 0))), 4) AS weight
            FROM weighed WHERE NOT is_apart AND NOT by_rule
        )
        SELECT record_l, record_r, weight FROM judged
        WHERE is_compared OR weight > {threshold_bits}
        """
    )
    con.unregister("class_found")
    score(con, parameters, "lone_pair_now", candidates=False)


SCORED = (
    "(SELECT scored.* REPLACE (coalesce(lone_pair.weight, scored.weight) AS weight), "
    "lone_pair.weight IS NOT NULL AS is_lone "
    "FROM scored LEFT JOIN lone_pair USING (record_l, record_r)) AS scored"
)
"""SQL: ``scored`` with the weights of ``lone_pair``."""


def make_pairs(con: duckdb.DuckDBPyConnection, changed: str | None) -> None:
    """Make ``pair_asked`` (``record_l`` < ``record_r``): rows that share a key that is not common.

    With ``changed``, a table of ``record_id``, only pairs with one of those.
    """
    if changed is None:
        con.execute(
            f"CREATE OR REPLACE TEMP TABLE key_asked AS SELECT record_id, key FROM "
            f"({_keyed('row')}) ANTI JOIN common_key USING (key)"
        )
        other = "key_asked"
    else:
        con.execute(
            f"CREATE OR REPLACE TEMP TABLE row_changed AS SELECT row.* FROM row "
            f"SEMI JOIN {changed} USING (record_id)"
        )
        con.execute(
            f"CREATE OR REPLACE TEMP TABLE key_asked AS SELECT record_id, key FROM "
            f"({_keyed('row_changed')}) ANTI JOIN common_key USING (key)"
        )
        con.execute(
            f"CREATE OR REPLACE TEMP TABLE key_met AS SELECT record_id, key FROM "
            f"({_keyed('row')}) SEMI JOIN key_asked USING (key)"
        )
        other = "key_met"
    con.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE pair_asked AS
        SELECT DISTINCT least(one.record_id, other.record_id) AS record_l,
            greatest(one.record_id, other.record_id) AS record_r
        FROM key_asked AS one JOIN {other} AS other USING (key)
        WHERE one.record_id {"<" if changed is None else "<>"} other.record_id
        """
    )
    con.execute("DROP TABLE IF EXISTS key_met; DROP TABLE key_asked")


def score(
    con: duckdb.DuckDBPyConnection, parameters: Parameters, pairs: str, *, candidates: bool
) -> None:
    """Add the pairs of table ``pairs`` that ``scored`` lacks to it, without the hopeless ones.

    They are added to ``pair_weighed``, too.
    """
    logging.getLogger("splink").setLevel(logging.ERROR)
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE pair_scoring AS "
        f"SELECT '0' AS match_key, record_l AS join_key_l, record_r AS join_key_r FROM {pairs} "
        "ANTI JOIN scored USING (record_l, record_r)"
    )
    if not con.execute("SELECT count(*) FROM pair_scoring").fetchall()[0][0]:
        return
    fields = models()
    api = DuckDBAPI(connection=con)
    con.execute(
        "CREATE OR REPLACE TEMP TABLE row_scoring AS SELECT *, 1 AS block_0 FROM row "
        "WHERE record_id IN (SELECT join_key_l FROM pair_scoring UNION ALL "
        "SELECT join_key_r FROM pair_scoring)"
    )
    # the settings are those that training has checked
    linker = Linker(
        api.register("row_scoring"), splink_settings(fields, parameters, NO_BLOCKING),
        log_level=None, validate_settings=False,
    )  # fmt: skip
    for column in _frequency_columns(fields):
        linker.table_management.register_term_frequency_lookup(api.register(f"tf_{column}"), column)
    linker.table_management.register_blocked_pairs_for_predict(api.register("pair_scoring"))
    lowest = links.LOWEST_WEIGHT if candidates else None
    predicted = linker.inference.predict(threshold_match_weight=lowest, warning_mode="never")
    links.store(con, fields, parameters, predicted.physical_name, strict=True, more={
        "is_candidate": "true" if candidates else "false"})  # fmt: skip
    predicted.drop_table_from_database_and_remove_from_cache()
    con.execute(
        "INSERT INTO pair_weighed SELECT join_key_l, join_key_r FROM pair_scoring;"
        "DROP TABLE pair_scoring; DROP TABLE row_scoring"
    )


def empty_scores(con: duckdb.DuckDBPyConnection) -> None:
    """Make ``scored`` without rows."""
    con.execute(f"CREATE OR REPLACE TABLE scored ({links.columns_of_scored(models())}, "
                "is_candidate BOOLEAN)")  # fmt: skip


def join_rows(
    con: duckdb.DuckDBPyConnection,
    parameters: Parameters,
    config: IdentityConfig,
    touched: str | None,
) -> None:
    """Make ``row_group_now`` (``record_id``, ``first_id``): rows that are one customer, of >= 2.

    With ``touched``, a table of ``record_id``, only the components that hold one of those are
    joined; ``row_regrouped`` are their rows, and those touched that are in none.
    """
    threshold_bits = _bits(config.threshold)
    con.execute(
        "CREATE OR REPLACE TEMP TABLE row_number AS SELECT record_id, records, "
        "row_number() OVER (ORDER BY record_id) - 1 AS n FROM row"
    )
    rows = con.execute("SELECT count(*) FROM row_number").fetchall()[0][0]
    found = _pairs(con, f"(is_candidate OR is_lone) AND {_WEIGHED} > {threshold_bits}")
    labels = cluster.components(rows, found["l"], found["r"])
    sizes = np.bincount(labels, minlength=1)
    asked = sizes[labels] > 1
    if touched is not None:
        hit = con.execute(f"SELECT n FROM row_number SEMI JOIN {touched} USING (record_id)")
        components = np.zeros(len(sizes), bool)
        components[labels[hit.fetchnumpy()["n"]]] = True
        asked &= components[labels]
    numbers = np.flatnonzero(asked)
    con.register("component_found", pa.table(
        {"n": numbers, "component": labels[numbers], "size": sizes[labels[numbers]]}))  # fmt: skip
    con.execute(
        "CREATE OR REPLACE TEMP TABLE component AS SELECT record_id, records, n, component, size "
        "FROM component_found JOIN row_number USING (n)"
    )
    con.unregister("component_found")
    regrouped = (
        "SELECT record_id FROM row UNION SELECT record_id FROM row_group"
        if touched is None
        else f"FROM {touched} UNION SELECT record_id FROM component"
    )
    con.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE row_regrouped AS {regrouped};
        CREATE OR REPLACE TEMP TABLE component_pair AS
        SELECT one.record_id AS record_l, other.record_id AS record_r
        FROM component AS one JOIN component AS other USING (component)
        WHERE one.record_id < other.record_id AND one.size BETWEEN 3 AND {WHOLE_COMPONENT};
        -- compared for a component that is no more
        CREATE OR REPLACE TEMP TABLE pair_stale AS
        SELECT record_l, record_r FROM scored ANTI JOIN component_pair USING (record_l, record_r)
        ANTI JOIN lone_pair USING (record_l, record_r)
        WHERE NOT is_candidate AND record_l IN (FROM row_regrouped);
        DELETE FROM scored WHERE (record_l, record_r) IN (FROM pair_stale);
        INSERT INTO pair_weighed FROM pair_stale
        """
    )
    score(con, parameters, "component_pair", candidates=False)
    inside = con.execute(
        f"""
        SELECT one.component, one.n AS l, other.n AS r, {_WEIGHED} - {threshold_bits} AS weight,
            contradicted OR decided.kind IS NOT NULL AS contradicted,
            coalesce(decided.kind = 'cannot_link', false) AS apart
        FROM {SCORED}
        JOIN component AS one ON one.record_id = record_l
        JOIN component AS other ON other.record_id = record_r
        LEFT JOIN core_decision AS decided USING (record_l, record_r)
        WHERE one.component = other.component
            AND (is_candidate OR is_lone OR one.size <= {WHOLE_COMPONENT})
        ORDER BY ALL
        """
    ).fetchnumpy()
    says = _said(inside)
    says[np.asarray(inside["apart"], bool)] = -1e9
    groups = dict(zip(numbers.tolist(), numbers.tolist(), strict=True))
    behind = dict(
        con.execute(
            "SELECT n, count(*) FROM component JOIN core ON core_id = component.record_id "
            "GROUP BY n HAVING count(*) > 1"
        ).fetchall()
    )
    groups |= _joined(inside, says, max_records=config.max_records, sizes=behind)
    con.register("group_found", pa.table(
        {"n": np.array(list(groups), np.int64), "first": np.array(list(groups.values()), np.int64)}
    ))  # fmt: skip
    con.execute(
        """
        CREATE OR REPLACE TEMP TABLE row_group_now AS
        SELECT own.record_id, first_row.record_id AS first_id
        FROM group_found JOIN row_number AS own ON own.n = group_found.n
        JOIN row_number AS first_row ON first_row.n = first
        WHERE own.n <> first OR first IN (SELECT first FROM group_found GROUP BY 1
            HAVING count(*) > 1)
        """
    )
    con.unregister("group_found")


def _said(inside: dict[str, Any]) -> np.ndarray:
    """What the pairs say in the mean of two groups: from their weight over the threshold."""
    return cluster.say(
        np.asarray(inside["weight"], np.float64), np.asarray(inside["contradicted"], bool)
    )


def _joined(inside: dict[str, Any], says: np.ndarray, **options: Any) -> dict[int, int]:
    """Row -> first row of its group, for pairs in the order of their component."""
    groups: dict[int, int] = {}
    bounds = np.flatnonzero(np.diff(inside["component"])) + 1
    for left, right, values in zip(
        np.split(inside["l"], bounds), np.split(inside["r"], bounds), np.split(says, bounds),
        strict=True,
    ):  # fmt: skip
        if len(left):
            groups |= cluster.join(left, right, values, **options)
    return groups


def _pairs(con: duckdb.DuckDBPyConnection, where: str) -> dict[str, Any]:
    return con.execute(
        f"""
        SELECT one.n AS l, other.n AS r FROM {SCORED}
        JOIN row_number AS one ON one.record_id = record_l
        JOIN row_number AS other ON other.record_id = record_r
        WHERE {where} ORDER BY ALL
        """
    ).fetchnumpy()
