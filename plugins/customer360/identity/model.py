"""The link model: what is compared, how much each agreement weighs, trained without labels.

What belongs here: the comparisons of each field, the Splink settings (one factory, for every
backend), and the estimation of their parameters. What does not: which pairs are compared
(``blocking``), and what follows from a score (``links``).

The model is Fellegi and Sunter's (1969) with a third class beside "same person" and
"strangers": *relatives*, who share a family name, a phone and an address, but agree in given
name, birthday and personal identifiers only by chance. Without it a household looks like one
person whose name was mistyped.
"""

from dataclasses import dataclass, field, replace
from typing import Any

import duckdb
import numpy as np
import splink.comparison_level_library as cll
from numpy.typing import NDArray
from splink import ColumnExpression, DuckDBAPI, Linker, SettingsCreator, block_on
from splink.internals.comparison_creator import ComparisonCreator
from splink.internals.comparison_level_creator import ComparisonLevelCreator
from splink.internals.comparison_library import CustomComparison

from customer360.identity.blocking import Blocking

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Level:
    """One degree of agreement.

    Attributes:
        label: in words, for explanations.
        condition: Splink's level, for any SQL dialect.
        m: probability of this degree among records of one person; the prior of training.
        tf: column whose value frequency adjusts the weight, or None.
    """

    label: str
    condition: ComparisonLevelCreator
    m: float
    tf: str | None = None


@dataclass(frozen=True)
class FieldModel:
    """How one field is compared; ``shared`` where relatives in a household agree as well."""

    name: str
    null: ComparisonLevelCreator
    levels: tuple[Level, ...]
    shared: bool = False


def _exact(column: str, m: float) -> Level:
    return Level("same", cll.ExactMatchLevel(column), m, tf=column)


def _other(m: float) -> Level:
    return Level("different", cll.ElseLevel(), m)


def _custom(label: str, sql: str, m: float) -> Level:
    return Level(label, cll.CustomLevel(sql, label_for_charts=label), m)


def _name(part: str, columns: set[str]) -> FieldModel:
    spelt = f"{part}_latin"
    begins = (
        f"left({spelt}_l, length({spelt}_r)) = {spelt}_r "
        f"OR left({spelt}_r, length({spelt}_l)) = {spelt}_l"
    )
    swapped = "given_l = family_r AND family_l = given_r AND given_l <> family_l"
    slipped = " AND ".join(
        f"left({one}, 1) = left({other}, 1) AND levenshtein({one}, {other}) * 4 <= length({one})"
        for one, other in (("given_latin_l", "family_latin_r"), ("family_latin_l", "given_latin_r"))
    )
    swapped = f"({swapped}) OR ({slipped} AND given_latin_l <> family_latin_l)"
    null: ComparisonLevelCreator = cll.NullLevel(part)
    levels = [_exact(part, 0.80)]
    if {"given", "family"} <= columns and part == "given":
        levels.append(_custom("given and family name swapped", swapped, 0.01))
    elif {"given", "family"} <= columns:
        # one event in two fields: it is weighed with the given name and not again here
        null = cll.CustomLevel(
            f"family_l IS NULL OR family_r IS NULL OR ({swapped})", "missing"
        ).configure(is_null_level=True)
    levels.append(_custom("sounds the same", f"{spelt}_l = {spelt}_r", 0.02))
    if f"{part}_root" in columns:
        levels.append(_custom("short form", f"{part}_root_l = {part}_root_r", 0.02))
    levels += [
        Level("a letter or two differ", cll.JaroWinklerLevel(spelt, 0.92), 0.06),
        _custom("one begins the other", begins, 0.03),
        Level("alike", cll.JaroWinklerLevel(spelt, 0.82), 0.03),
        _other(0.05),
    ]
    return FieldModel(part, null, tuple(levels), shared=part == "family")


def _birthday() -> FieldModel:
    year, month, day = (
        (f"substr(birthday_l, {start}, {size})", f"substr(birthday_r, {start}, {size})")
        for start, size in ((1, 4), (6, 2), (9, 2))
    )
    return FieldModel(
        "birthday",
        cll.NullLevel("birthday"),
        (
            _exact("birthday", 0.85),
            Level("one digit differs", cll.DamerauLevenshteinLevel("birthday", 1), 0.06),
            _custom(
                "day and month swapped",
                f"{year[0]} = {year[1]} AND {month[0]} = {day[1]} AND {day[0]} = {month[1]}",
                0.01,
            ),
            _custom(
                "two of year, month, day the same",
                f"({year[0]} = {year[1]} AND {month[0]} = {month[1]}) "
                f"OR ({year[0]} = {year[1]} AND {day[0]} = {day[1]}) "
                f"OR ({month[0]} = {month[1]} AND {day[0]} = {day[1]})",
                0.03,
            ),
            _other(0.05),
        ),
    )


def _typed(column: str, m: float, *, shared: bool = False) -> FieldModel:
    """Digits and letters in which one sign may be mistyped."""
    return FieldModel(
        column,
        cll.NullLevel(column),
        (
            _exact(column, m),
            Level("one sign differs", cll.DamerauLevenshteinLevel(column, 1), (1 - m) * 0.4),
            _other((1 - m) * 0.6),
        ),
        shared=shared,
    )


def _text(column: str) -> FieldModel:
    return FieldModel(
        column,
        cll.NullLevel(column),
        (
            _exact(column, 0.75),
            Level("a letter or two differ", cll.JaroWinklerLevel(column, 0.92), 0.10),
            Level("alike", cll.JaroWinklerLevel(column, 0.80), 0.05),
            _other(0.10),
        ),
        shared=True,
    )


def _place(column: str) -> FieldModel:
    return FieldModel(
        column,
        cll.NullLevel(column),
        (
            _exact(column, 0.80),
            Level("a letter or two differ", cll.JaroWinklerLevel(column, 0.88), 0.10),
            _other(0.10),
        ),
        shared=True,
    )


def _same(column: str, m: float, *, shared: bool = False) -> FieldModel:
    return FieldModel(
        column, cll.NullLevel(column), (_exact(column, m), _other(1 - m)), shared=shared
    )


def _typed_email() -> FieldModel:
    """For tables in which names are known anyway: an address alike is the name once more."""
    user = ColumnExpression("email").regex_extract("^[^@]+")
    return FieldModel(
        "email",
        cll.NullLevel("email"),
        (
            _exact("email", 0.55),
            Level("same before the @", cll.ExactMatchLevel(user), 0.03),
            Level("one sign differs", cll.DamerauLevenshteinLevel("email", 1), 0.02),
            _other(0.40),
        ),
    )


def _email() -> FieldModel:
    user = ColumnExpression("email").regex_extract("^[^@]+")
    return FieldModel(
        "email",
        cll.NullLevel("email"),
        (
            _exact("email", 0.75),
            Level("same before the @", cll.ExactMatchLevel(user), 0.05),
            Level("one or two signs differ", cll.DamerauLevenshteinLevel("email", 2), 0.08),
            Level("alike before the @", cll.JaroWinklerLevel(user, 0.88), 0.04),
            _other(0.08),
        ),
    )


def _home() -> FieldModel:
    """Flats told apart by road or estate, building and room (``normalise.home``)."""
    unknown = " AND ".join(
        f"({name}_l IS NULL OR {name}_r IS NULL)" for name in ("road_home", "estate_home")
    )
    return FieldModel(
        "home",
        cll.CustomLevel(unknown, "missing").configure(is_null_level=True),
        (
            _custom("same flat", "road_home_l = road_home_r OR estate_home_l = estate_home_r", 0.6),
            _other(0.4),
        ),
        shared=True,
    )


def field_models(columns: list[str], *, one_name: bool = False) -> list[FieldModel]:
    """The comparisons for a table with these normalised columns.

    With ``one_name`` rows have whole names, and e-mails only speak where they are (nearly) equal.
    """
    there = set(columns)
    models = {
        "given": lambda: _name("given", there),
        "family": lambda: _name("family", there),
        "birthday": _birthday,
        "sex": lambda: _same("sex", 0.98),
        "email": _typed_email if one_name else _email,
        "phone": lambda: _typed("phone", 0.80, shared=True),
        "road_home": _home,
        "address": lambda: _text("address"),
        "street": lambda: _text("street"),
        "street_number": lambda: _typed("street_number", 0.85, shared=True),
        "city": lambda: _place("city"),
        "region": lambda: _place("region"),
        "postcode": lambda: _typed("postcode", 0.85, shared=True),
        "country": lambda: _same("country", 0.95, shared=True),
        "occupation": lambda: _same("occupation", 0.70),
        "national_id": lambda: _typed("national_id", 0.85),
        "member_no": lambda: _typed("member_no", 0.85),
        "unionid": lambda: _same("unionid", 0.95),
        # a person has an openid in every app, so two of them say little
        "openid": lambda: _same("openid", 0.50),
    }
    return [make() for column, make in models.items() if column in there]


@dataclass
class Parameters:
    """What training finds; with the table's value frequencies it is the whole model.

    Attributes:
        m, u: for each field the probability of each level (in the order of ``FieldModel.levels``)
            among records of one person, and among strangers.
        r: the same among relatives. Given names and personal identifiers agree as often as
            strangers' do; shared fields and the birthday (there are twins) are learnt.
        same, relatives: share of all pairs that are one person; that are relatives.
        pairs: number of all pairs of the table.
    """

    m: dict[str, list[float]]
    u: dict[str, list[float]]
    r: dict[str, list[float]]
    same: float
    relatives: float
    pairs: float
    history: list[float] = field(default_factory=list)


def initial_parameters(models: list[FieldModel], rows: int) -> Parameters:
    """Before any record is seen: the levels' priors, one duplicate for every second record."""
    pairs = max(1.0, rows * (rows - 1) / 2)
    m = {model.name: [level.m for level in model.levels] for model in models}
    u = {
        model.name: [0.01] * (len(model.levels) - 1) + [1 - 0.01 * (len(model.levels) - 1)]
        for model in models
    }
    share = min(0.3, 0.5 * rows / pairs)
    r = {model.name: (m if model.shared else u)[model.name] for model in models}
    return Parameters(m, u, r, share, share * 0.1, pairs)


def splink_settings(
    models: list[FieldModel],
    parameters: Parameters,
    blocking: Blocking,
    *,
    frequencies: bool = True,
) -> SettingsCreator:
    """Splink's settings of the model, the same for DuckDB, Spark and any other backend.

    The predictions keep each field's weight (``mw_<field>``, ``mw_tf_adj_<field>``); with
    ``frequencies`` agreeing on a rare value weighs more than on a common one.
    """
    comparisons: list[ComparisonCreator | dict[str, Any]] = []
    for model in models:
        levels: list[Any] = [model.null]
        for level, m, u in zip(
            model.levels, parameters.m[model.name], parameters.u[model.name], strict=True
        ):
            options: dict[str, Any] = {
                "m_probability": m,
                "u_probability": u,
                "label_for_charts": level.label,
            }
            if frequencies and level.tf is not None:
                options["tf_adjustment_column"] = level.tf
            levels.append(level.condition.configure(**options))
        comparisons.append(CustomComparison(levels, output_column_name=model.name))
    return SettingsCreator(
        link_type="dedupe_only",
        comparisons=comparisons,
        blocking_rules_to_generate_predictions=[block_on(name) for name in blocking.columns],
        probability_two_random_records_match=parameters.same,
        unique_id_column_name="record_id",
        retain_matching_columns=False,
        retain_intermediate_calculation_columns=True,
        linker_uid="customer360",
    )


_SAMPLE = 1_300
"""Records whose pairs, all 0.8 million of them, show how often strangers agree."""

_SMALL_SAMPLE = 700
"""The same for rows in which what agrees by chance is counted over the whole table anyway."""

_TRAINING_PAIRS = 700_000
"""About how many of the candidate pairs training looks at."""

_PRIOR_PAIRS = 20.0
"""Weight of a level's prior m, in pairs: with thousands of duplicates it is nothing, with a
handful it keeps the model sane."""


_MOST_TWINS = 0.02
"""Share of pairs of relatives that may have one birthday: twin births are about 1.5 %."""


_RELATIVES_COST = 10.0
"""Pairs of relatives below which there is no such class: half the number of its parameters."""


def train(
    con: duckdb.DuckDBPyConnection,
    models: list[FieldModel],
    blocking: Blocking,
    rows: int,
) -> Parameters:
    """Estimate the parameters from ``persons_blocked``, without labels.

    Splink makes the comparison vectors; the expectation maximisation over their patterns is
    done here, because it has three classes, a prior, and the pairs that blocking left out
    (strangers, all of them) in one likelihood.
    """
    parameters = initial_parameters(models, rows)
    if rows < 2:
        return parameters
    codes = _level_codes(models, rows)
    patterns, counts, share = _patterns(con, models, codes, blocking)
    every = (patterns, counts) if blocking.complete else _sample_patterns(con, models, codes)
    marginal = _marginals(con, models, *every)
    return _expectation_maximisation(
        models, parameters, marginal, patterns, counts / share, _fewest(models, marginal)
    )


_DESCRIBING = ("given", "family", "birthday", "sex")

_IDENTIFYING = ("national_id", "member_no", "unionid", "openid", "phone", "email")

_OWN = 0.9
"""Share of the pairs with one identifier that are one person, where nothing else is known."""


def _fewest(models: list[FieldModel], marginal: dict[str, Array]) -> float:
    """Share of all pairs that are one person at the least.

    Identifiers without a name or a birthday beside them cannot be told from chance by the way in
    which fields agree together: that they identify is all there is to know.
    """
    if any(model.name in _DESCRIBING for model in models):
        return 0.0
    told = [float(marginal[model.name][0]) for model in models if model.name in _IDENTIFYING]
    return min(0.5, _OWN * max(told, default=0.0))


NO_BLOCKING = Blocking(("block_0",), complete=True)
"""For settings of a linker that is handed its pairs."""


def train_on_pairs(
    con: duckdb.DuckDBPyConnection, models: list[FieldModel], rows: str, pairs: str
) -> Parameters:
    """As ``train``, from the rows of table ``rows`` and their pairs of table ``pairs``.

    ``pairs`` holds ``record_l`` and ``record_r``; when there are many, a part is looked at that is
    picked by hash.
    """
    count, asked = con.execute(
        f"SELECT (SELECT count(*) FROM {rows}), (SELECT count(*) FROM {pairs})"
    ).fetchall()[0]
    parameters = initial_parameters(models, count)
    if count < 2 or not asked:
        return parameters
    codes = _level_codes(models, count)
    chunks = max(1, round(asked / _TRAINING_PAIRS))
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE pair_training AS SELECT '0' AS match_key, "
        f"record_l AS join_key_l, record_r AS join_key_r FROM {pairs} "
        f"WHERE hash(record_l, record_r) % {chunks} = 0"
    )
    con.execute(f"CREATE OR REPLACE TEMP TABLE row_training AS SELECT *, 1 AS block_0 FROM {rows}")
    linker = _linker(
        con, "row_training", splink_settings(models, codes, NO_BLOCKING, frequencies=False)
    )
    linker.table_management.register_blocked_pairs_for_predict(
        DuckDBAPI(connection=con).register("pair_training")
    )
    predicted = linker.inference.predict(warning_mode="never")
    patterns, counts = _pattern_counts(con, models, predicted.physical_name)
    predicted.drop_table_from_database_and_remove_from_cache()
    every = _sample_patterns(con, models, codes, rows, _SMALL_SAMPLE)
    marginal = _marginals(con, models, *every, rows)
    con.execute("DROP TABLE pair_training; DROP TABLE row_training")
    return _expectation_maximisation(models, parameters, marginal, patterns, counts * chunks)


def _linker(con: duckdb.DuckDBPyConnection, table: str, settings: SettingsCreator) -> Linker:
    return Linker(DuckDBAPI(connection=con).register(table), settings, log_level=None)


def _level_codes(models: list[FieldModel], rows: int) -> Parameters:
    """Parameters under which Splink's weight of a field is its level's number, 1 the best.

    Splink's predictions hold weights, not levels; this makes one from the other.
    """
    unit = 2.0**-20
    m = {model.name: [unit * 2.0 ** (i + 1) for i in range(len(model.levels))] for model in models}
    u = {model.name: [unit] * len(model.levels) for model in models}
    return replace(initial_parameters(models, rows), m=m, u=u)


def _pattern_counts(
    con: duckdb.DuckDBPyConnection, models: list[FieldModel], table: str
) -> tuple[NDArray[np.int64], Array]:
    """Distinct comparison vectors of a prediction table and how many pairs have each.

    Level indices count from 0, the best; -1 is a missing value.
    """
    names = ", ".join(f"mw_{model.name}::INTEGER - 1 AS {model.name}" for model in models)
    found = con.execute(
        f"SELECT {names}, count(*) AS pairs FROM {table} GROUP BY ALL ORDER BY ALL"
    ).fetchnumpy()
    patterns = np.stack([np.asarray(found[model.name], np.int64) for model in models], axis=1)
    return patterns, np.asarray(found["pairs"], dtype=np.float64)


def _sample_patterns(
    con: duckdb.DuckDBPyConnection,
    models: list[FieldModel],
    codes: Parameters,
    rows: str = "persons",
    size: int = _SAMPLE,
) -> tuple[NDArray[np.int64], Array]:
    """Comparison vectors of all pairs of a sample of records, which are picked by hash."""
    con.execute(
        f"CREATE OR REPLACE TABLE persons_sample AS SELECT *, 1 AS block_all "
        f"FROM (SELECT * FROM {rows} ORDER BY hash(record_id) LIMIT {size}) ORDER BY record_id"
    )
    every = Blocking(("block_all",), complete=True)
    predicted = _linker(
        con, "persons_sample", splink_settings(models, codes, every, frequencies=False)
    ).inference.predict(warning_mode="never")
    found = _pattern_counts(con, models, predicted.physical_name)
    predicted.drop_table_from_database_and_remove_from_cache()
    con.execute("DROP TABLE persons_sample")
    return found


def _marginals(
    con: duckdb.DuckDBPyConnection,
    models: list[FieldModel],
    patterns: NDArray[np.int64],
    counts: Array,
    rows: str = "persons",
) -> dict[str, Array]:
    """How often each level occurs among all pairs.

    Exact agreement is counted over the whole table, since it is rare and known exactly.
    """
    marginal = {}
    for index, model in enumerate(models):
        known = patterns[:, index] >= 0
        totals = np.bincount(
            patterns[known, index], weights=counts[known], minlength=len(model.levels)
        )
        # half a pair more in each level: what was not seen is rare, not impossible
        share = (totals + 0.5) / (totals.sum() + 0.5 * len(totals))
        marginal[model.name] = share
        if model.levels[0].tf is None:
            continue
        agreeing, known_pairs = con.execute(
            f"SELECT sum(n * (n - 1) / 2), sum(n) * (sum(n) - 1) / 2 FROM "
            f"(SELECT count(*) AS n FROM {rows} WHERE {model.name} IS NOT NULL "
            f"GROUP BY {model.name})"
        ).fetchall()[0]
        exact = (float(agreeing or 0) + 0.5) / (float(known_pairs or 0) + 1)
        share[1:] *= (1 - exact) / share[1:].sum()
        share[0] = exact
    return marginal


def _patterns(
    con: duckdb.DuckDBPyConnection,
    models: list[FieldModel],
    codes: Parameters,
    blocking: Blocking,
) -> tuple[NDArray[np.int64], Array, float]:
    """Comparison vectors of the candidate pairs (or of a share of them), counts, and the share."""
    settings = splink_settings(models, codes, blocking, frequencies=False)
    linker = _linker(con, "persons_blocked", settings)
    expected = con.execute(
        "SELECT "
        + " + ".join(
            f"(SELECT coalesce(sum(n * (n - 1) / 2), 0) FROM (SELECT count(*) AS n FROM "
            f"persons_blocked WHERE {name} IS NOT NULL GROUP BY {name}))"
            for name in blocking.columns
        )
    ).fetchall()[0][0]
    chunks = max(1, round(float(expected) / _TRAINING_PAIRS))
    predicted = linker.inference.predict_chunk(
        left_chunk=(1, chunks), right_chunk=(1, 1), warning_mode="never"
    )
    patterns, counts = _pattern_counts(con, models, predicted.physical_name)
    predicted.drop_table_from_database_and_remove_from_cache()
    return patterns, counts, 1.0 / chunks


def _expectation_maximisation(
    models: list[FieldModel],
    parameters: Parameters,
    marginal: dict[str, Array],
    patterns: NDArray[np.int64],
    counts: Array,
    fewest: float = 0.0,
) -> Parameters:
    same, relatives, pairs = parameters.same, parameters.relatives, parameters.pairs
    prior = {model.name: np.array([level.m for level in model.levels]) for model in models}
    m = {name: values / values.sum() for name, values in prior.items()}
    u = {model.name: marginal[model.name].copy() for model in models}
    r = {model.name: (m if model.shared else u)[model.name] for model in models}
    history: list[float] = []
    for _ in range(200):
        total = np.zeros(len(counts))
        shared = np.zeros(len(counts))
        for index, model in enumerate(models):
            # a weight of 0 for a missing value, which is index -1
            weights = np.append(np.log(m[model.name] / u[model.name]), 0.0)
            term = weights[patterns[:, index]]
            total += term
            chance = np.append(np.log(r[model.name] / u[model.name]), 0.0)
            shared += chance[patterns[:, index]]
        of_same = np.log(same) + total
        of_relatives = np.log(relatives) + shared
        of_strangers = np.full(len(counts), np.log1p(-same - relatives))
        top = np.maximum(np.maximum(of_same, of_relatives), of_strangers)
        evidence = np.exp(of_same - top) + np.exp(of_relatives - top) + np.exp(of_strangers - top)
        is_same = np.exp(of_same - top) / evidence * counts
        is_relative = np.exp(of_relatives - top) / evidence * counts
        before = same
        same = float(min(0.5, max(is_same.sum() / pairs, 0.5 / pairs, fewest)))
        # a class of its own must earn its parameters (Figueiredo & Jain 2002): where there are
        # hardly any relatives, they are one person's records with a strange given name
        households = is_relative.sum() - _RELATIVES_COST - 0.01 * is_same.sum()
        relatives = float(min(0.3, max(households, 1e-3) / pairs))
        for index, model in enumerate(models):
            known = patterns[:, index] >= 0
            seen = np.bincount(
                patterns[known, index], weights=is_same[known], minlength=len(model.levels)
            )
            m[model.name] = (seen + _PRIOR_PAIRS * prior[model.name]) / (seen.sum() + _PRIOR_PAIRS)
            # all pairs = same persons + others, so what agrees by chance is the remainder
            rest = (marginal[model.name] - same * m[model.name]) / (1 - same)
            rest = np.maximum(rest, marginal[model.name] * 0.1)
            u[model.name] = rest / rest.sum()
            r[model.name] = (m if model.shared else u)[model.name]
            if "given" in m and (model.shared or model.name == "birthday"):
                seen = np.bincount(
                    patterns[known, index], weights=is_relative[known], minlength=len(model.levels)
                )
                r[model.name] = (seen + _PRIOR_PAIRS * r[model.name]) / (seen.sum() + _PRIOR_PAIRS)
            if model.name == "birthday":
                # bounded, or one person's records with another given name would pass for twins
                twins = float(np.clip(r[model.name][0] - u[model.name][0], 0.0, _MOST_TWINS))
                r[model.name] = (1 - twins) * u[model.name] + twins * m[model.name]
        history.append(same)
        if abs(same - before) < 1e-6 * same:
            break
    return replace(
        parameters,
        m={name: _rounded(values) for name, values in m.items()},
        u={name: _rounded(values) for name, values in u.items()},
        r={name: _rounded(values) for name, values in r.items()},
        same=float(f"{same:.6g}"),
        relatives=float(f"{relatives:.6g}"),
        history=history,
    )


def _rounded(values: Array) -> list[float]:
    """Six digits: sums over threads differ in the last ones, and links must not."""
    return [float(f"{value:.6g}") for value in values]
