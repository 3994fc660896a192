"""From compared pairs to links: one weight, one probability, one verdict, and the reasons.

What belongs here: scoring candidate pairs with the trained model, rules on strong identifiers,
contradictions, reviewers' constraints. What does not: joining links to customers (``cluster``).

Tables made here: ``scored`` (``record_l`` < ``record_r``, ``weight`` in bits, ``probability``,
``rule``, ``contradicted``, one ``degree_<field>`` and ``weight_<field>`` for each field).
"""

import math

import duckdb
from splink import DuckDBAPI, Linker

from customer360.identity.model import FieldModel, Parameters
from customer360.identity.prepare import PERSONAL_IDENTIFIERS

LOWEST_WEIGHT = -8.0
"""Pairs below 1 : 256 are not kept."""

RULE_WEIGHT = 10.0
"""A link by rule counts at least 1000 : 1."""

CONTRADICTION_WEIGHT = -16.0
"""A contradicted pair counts at most 1 : 65,000, however much of its address agrees."""


def _degree(model: FieldModel, parameters: Parameters) -> str:
    """SQL: number of the level, 0 the best, NULL where a value is missing."""
    cases = [
        f"WHEN abs(mw_{model.name} - ({math.log2(m / u)!r})) < 1e-6 THEN {number}"
        for number, (m, u) in enumerate(
            zip(parameters.m[model.name], parameters.u[model.name], strict=True)
        )
    ]
    return f"CASE WHEN mw_{model.name} = 0 THEN NULL {' '.join(cases)} END"


def _frequency(model: FieldModel) -> str:
    """SQL: what the value's rareness adds to the weight."""
    return f"mw_tf_adj_{model.name}" if any(level.tf for level in model.levels) else "0"


def _relatives(model: FieldModel, parameters: Parameters) -> str | None:
    """SQL: the field's weight for relatives against strangers; None where it is always 0."""
    pairs = list(zip(parameters.r[model.name], parameters.u[model.name], strict=True))
    if all(r == u for r, u in pairs):
        return None
    cases = [f"WHEN {number} THEN {math.log2(r / u)!r}" for number, (r, u) in enumerate(pairs)]
    return f"coalesce(CASE degree_{model.name} {' '.join(cases)} END, 0) + {_frequency(model)}"


RARE_CONTRADICTION = 0.002
"""Two fields contradict together if fewer of one person's pairs differ wholly in both. How
reliable a table's names and birthdays are is its own affair, and training has found it out."""


def _contradicted(models: list[FieldModel], parameters: Parameters, *, strict: bool) -> str:
    """SQL: two of given name, family name, birthday are wholly different, or name and sex are.

    With ``strict`` (rows with whole names, which no identifier joined) so do two names that differ
    in both parts, two birthdays, and two cities where nothing but the name agrees. One personal
    identifier in common outweighs it: the record may hold another's data.
    """
    last = {model.name: len(model.levels) - 1 for model in models}
    different = {
        name: f"coalesce(degree_{name} = {last[name]}, false)"
        for name in ("given", "family", "birthday", "sex")
        if name in last
    }
    pairs = [("given", "birthday"), ("given", "family"), ("given", "sex"), ("family", "birthday")]
    conditions = [
        f"({different[one]} AND {different[other]})"
        for one, other in pairs
        if one in different
        and other in different
        and (
            parameters.m[one][-1] * parameters.m[other][-1] < RARE_CONTRADICTION
            or (strict and (one, other) == ("given", "family"))
        )
    ]
    if strict:
        conditions.append(different["birthday"])
        speaks = [
            f"degree_{name} < {last[name]}" for name in ("birthday", "phone", "email", "home")
        ]
        conditions.append(
            f"(coalesce(degree_city = {last['city']}, false) "
            f"AND NOT coalesce({' OR '.join(speaks)}, false))"
        )
    if not conditions:
        return "false"
    shared = [f"degree_{name} = 0" for name in PERSONAL_IDENTIFIERS if name in last]
    unless = f" AND NOT coalesce({' OR '.join(shared)}, false)" if shared else ""
    return f"({' OR '.join(conditions)}){unless}"


def _rule(models: list[FieldModel]) -> str:
    """SQL: the identifier that links the pair by rule, or NULL.

    A personal identifier links unless given name and birthday (or family name) are different. A
    phone or e-mail, which families share, links only if the names agree at least in part and
    nothing is different. Stop-listed identifiers are not there any more.
    """
    last = {model.name: len(model.levels) - 1 for model in models}
    names = [name for name in ("given", "family") if name in last]
    checked = [name for name in ("given", "family", "birthday", "sex") if name in last]
    nothing_different = " AND ".join(
        f"coalesce(degree_{name} < {last[name]}, true)" for name in checked
    )
    agreeing = " OR ".join(f"coalesce(degree_{name} < {last[name]}, false)" for name in names)
    two_different = " + ".join(
        f"coalesce((degree_{name} = {last[name]})::INTEGER, 0)" for name in checked
    )
    cases = []
    for name in PERSONAL_IDENTIFIERS:
        if name in last:
            unless = f" AND ({two_different}) < 2" if checked else ""
            cases.append(f"WHEN degree_{name} = 0{unless} THEN '{name}'")
    for name in ("email", "phone"):
        if name in last and names:
            cases.append(
                f"WHEN degree_{name} = 0 AND ({agreeing}) AND {nothing_different} THEN '{name}'"
            )
        elif name in last and not checked:
            cases.append(f"WHEN degree_{name} = 0 THEN '{name}'")
    return f"CASE {' '.join(cases)} END" if cases else "NULL::VARCHAR"


def store(
    con: duckdb.DuckDBPyConnection,
    models: list[FieldModel],
    parameters: Parameters,
    predicted: str,
    *,
    replace: bool = False,
    strict: bool = False,
    more: dict[str, str] | None = None,
) -> None:
    """Add Splink's predictions of table ``predicted`` to ``scored``, with rules and verdicts.

    With ``replace`` the table is made anew; ``strict`` as in ``_contradicted``; ``more`` are
    further columns: name -> SQL.
    """
    further = "".join(f", {value} AS {name}" for name, value in (more or {}).items())
    degrees = ", ".join(f"{_degree(model, parameters)} AS degree_{model.name}" for model in models)
    weights = ", ".join(
        f"round(mw_{model.name} + {_frequency(model)}, 4)::FLOAT AS weight_{model.name}"
        for model in models
    )
    frequencies = ", ".join(
        f"mw_tf_adj_{model.name}" for model in models if any(level.tf for level in model.levels)
    )
    relatives = [
        term for model in models if (term := _relatives(model, parameters)) is not None
    ] or ["0"]
    strangers = math.log2(max(1e-12, 1 - parameters.same - parameters.relatives))
    # odds of one person against relatives and strangers together, all in bits; Splink's weight
    # already holds the prior odds same : not same
    prior = math.log2(1 - parameters.same)
    con.execute(
        f"""
        {"CREATE OR REPLACE TABLE scored AS" if replace else "INSERT INTO scored BY NAME"}
        WITH compared AS (
            SELECT record_id_l AS record_l, record_id_r AS record_r, match_weight,
                {degrees}, {weights} {"," if frequencies else ""} {frequencies}
            FROM {predicted}
        ),
        against AS (
            SELECT *,
                match_weight + ({prior!r}) AS for_same,
                {math.log2(parameters.relatives)!r} + {" + ".join(relatives)} AS for_relatives
            FROM compared
        ),
        judged AS (
            SELECT * EXCLUDE (match_weight, for_same, for_relatives {"," if frequencies else ""}
                {frequencies}),
                for_same - greatest(for_relatives, {strangers!r})
                    - log2(1 + power(2.0, -abs(for_relatives - ({strangers!r})))) AS model_weight,
                {_rule(models)} AS rule,
                {_contradicted(models, parameters, strict=strict)} AS contradicted
            FROM against
        )
        SELECT * EXCLUDE model_weight,
            round(CASE
                WHEN rule IS NOT NULL THEN greatest(model_weight, {RULE_WEIGHT})
                WHEN contradicted THEN least(model_weight, {CONTRADICTION_WEIGHT})
                ELSE model_weight
            END, 6) AS weight,
            NULL::VARCHAR AS constraint_kind{further}
        FROM judged
        """
    )


def score_candidates(
    con: duckdb.DuckDBPyConnection,
    linker: Linker,
    models: list[FieldModel],
    parameters: Parameters,
) -> None:
    """Score all candidate pairs of the blocking; make ``scored``."""
    predicted = linker.inference.predict(threshold_match_weight=LOWEST_WEIGHT, warning_mode="never")
    store(con, models, parameters, predicted.physical_name, replace=True)
    predicted.drop_table_from_database_and_remove_from_cache()


def score_more(
    con: duckdb.DuckDBPyConnection,
    linker: Linker,
    models: list[FieldModel],
    parameters: Parameters,
    pairs: str,
) -> None:
    """Score the pairs of table ``pairs`` (``record_l`` < ``record_r``) that ``scored`` lacks."""
    con.execute(
        f"CREATE OR REPLACE TABLE pairs_to_score AS "
        f"SELECT '0' AS match_key, record_l AS join_key_l, record_r AS join_key_r FROM {pairs} "
        "ANTI JOIN scored USING (record_l, record_r)"
    )
    registered = DuckDBAPI(connection=con).register("pairs_to_score")
    linker.table_management.register_blocked_pairs_for_predict(registered)
    predicted = linker.inference.predict(warning_mode="never")
    store(con, models, parameters, predicted.physical_name, replace=False)
    predicted.drop_table_from_database_and_remove_from_cache()
    con.execute("DROP TABLE pairs_to_score")


def columns_of_scored(models: list[FieldModel]) -> str:
    """SQL: the columns of ``scored`` with their types, for a table without rows."""
    degrees = ", ".join(f"degree_{model.name} INTEGER" for model in models)
    weights = ", ".join(f"weight_{model.name} FLOAT" for model in models)
    return (
        f"record_l VARCHAR, record_r VARCHAR, {degrees}, {weights}, rule VARCHAR, "
        "contradicted BOOLEAN, weight DOUBLE, constraint_kind VARCHAR"
    )


def reasons(models: list[FieldModel]) -> str:
    """SQL: list of (field, degree in words, weight in bits) of a row of ``scored``."""
    parts = []
    for model in models:
        words = " ".join(
            f"WHEN {number} THEN '{level.label}'" for number, level in enumerate(model.levels)
        )
        parts.append(
            f"{{'field': '{model.name}', 'degree': CASE degree_{model.name} {words} END, "
            f"'weight': weight_{model.name}}}"
        )
    return f"list_filter([{', '.join(parts)}], lambda reason: reason.degree IS NOT NULL)"
