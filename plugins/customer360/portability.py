"""Whether the project's SQL would run on Spark, the next engine: rendered as for Spark, and read.

``make check`` runs it (``python -m customer360.portability``). dbt renders every model once more,
with the macros ``spark__...`` in front; that text is parsed as Spark SQL and may
use only functions that Spark has with the same meaning, none of DuckDB's own syntax. What is not
portable yet stands in ``dbt_project/spark_exceptions.yml``, and must be there for as long as it is
not, and no longer.

What belongs here: rendering and judging text. What does not: running anything on Spark.
"""

import contextlib
import datetime as dt
import itertools
import json
import re
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import sqlglot
import yaml
from sqlglot import expressions as exp
from sqlglot.tokens import TokenType

from customer360.config import companies, load_config
from customer360.exceptions import Customer360Error
from customer360.settings import Settings, load_settings
from customer360.transform import DBT_PROJECT, assemble, dbt_vars

EXCEPTIONS = DBT_PROJECT / "spark_exceptions.yml"

# fmt: off
PORTABLE = frozenset({
    "abs", "add_months", "any_value", "array", "array_agg", "avg", "bit_count", "bit_or",
    "bool_and", "bool_or", "cast", "coalesce", "concat", "contains", "count", "date_add",
    "date_sub", "date_trunc", "datediff", "dense_rank", "exp", "explode", "extract", "floor",
    "from_json", "from_utc_timestamp", "get_json_object", "greatest", "if", "instr", "lag",
    "last_day", "lead", "least", "left", "length", "ln", "lower", "lpad", "make_dt_interval",
    "max", "max_by", "md5", "min", "min_by", "months_between", "ntile", "nullif",
    "percent_rank", "percentile", "power", "rank", "regexp_extract", "regexp_like",
    "regexp_replace", "repeat", "replace", "right", "round", "row_number", "rpad", "sequence",
    "sha2", "shiftleft", "split", "split_part", "sqrt", "startswith", "stddev_samp", "struct",
    "substr", "substring", "sum", "timestampdiff", "to_json", "to_utc_timestamp", "translate",
    "trim", "try_cast", "unix_timestamp", "upper", "var_samp", "weekday",
})
"""Functions that Spark 4.2 has and that mean the same there."""

NOT_FUNCTIONS = frozenset({
    "and", "any", "as", "between", "by", "case", "char", "decimal", "distinct", "else", "except",
    "exists", "filter", "from", "group", "having", "in", "inner", "intersect", "interval", "is",
    "join", "like", "not", "numeric", "on", "or", "order", "over", "partition", "qualify",
    "select", "then", "union", "using", "values", "varchar", "when", "where", "with", "all",
})
"""Words that stand before a bracket without being called."""
# fmt: on

_RELATION = re.compile(r'"(\w+)"\."(\w+)"\."(\w+)"')


def rendered(settings: Settings, engine: str) -> dict[str, str]:
    """Model -> its SQL as dbt renders it for ``engine`` (duckdb or spark); nothing is run."""
    from dbt.adapters.duckdb.connections import DuckDBConnectionManager
    from dbt.cli.main import dbtRunner

    config = load_config(settings)
    with tempfile.TemporaryDirectory(prefix="customer360-render-") as folder:
        project = assemble(replace(settings, data_dir=Path(folder)))
        with _dispatch_for(engine):
            try:
                outcome = dbtRunner().invoke(
                    [
                        "compile",
                        "--target", "lint",
                        "--project-dir", str(project),
                        "--profiles-dir", str(project),
                        "--target-path", str(Path(folder) / "target"),
                        "--log-path", str(Path(folder) / "logs"),
                        "--vars", json.dumps(dbt_vars(config, dt.date(2026, 6, 30))),
                        "--select", "resource_type:model",
                        "--log-level", "error",
                        "--no-use-colors",
                    ]
                )  # fmt: skip
            finally:
                DuckDBConnectionManager.close_all_connections()
    if not outcome.success:
        raise Customer360Error(f"the project cannot be rendered for {engine}: see dbt's message")
    found = {}
    for result in outcome.result.results:  # type: ignore[union-attr]
        sql = str(result.node.compiled_code)
        found[result.node.name] = _RELATION.sub(r"\1.\2.\3", sql) if engine == "spark" else sql
    return found


@contextlib.contextmanager
def _dispatch_for(engine: str) -> Iterator[None]:
    """Let dbt take the macros of ``engine``, whose adapter need not be installed."""
    from dbt.adapters.duckdb.impl import DuckDBAdapter
    from dbt.context.providers import BaseDatabaseWrapper

    if engine == "duckdb":
        yield
        return
    prefixes, quote = BaseDatabaseWrapper._get_adapter_macro_prefixes, DuckDBAdapter.quote
    BaseDatabaseWrapper._get_adapter_macro_prefixes = lambda _: [engine, "duckdb", "default"]  # type: ignore[method-assign]
    DuckDBAdapter.quote = classmethod(lambda _, name: f"`{name}`")  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        BaseDatabaseWrapper._get_adapter_macro_prefixes = prefixes  # type: ignore[method-assign]
        DuckDBAdapter.quote = quote  # type: ignore[method-assign]


def not_portable(sql: str) -> list[str]:
    """What in a text would not run on Spark, each in a word or two; empty if all would."""
    found = set()
    tokens = sqlglot.tokenize(sql, read="spark")
    for token, after in itertools.pairwise(tokens):
        name = token.text.lower()
        is_word = token.token_type not in (TokenType.STRING, TokenType.RAW_STRING)
        if is_word and after.token_type is TokenType.L_PAREN and re.fullmatch(r"[a-z_]\w*", name):
            if name not in PORTABLE and name not in NOT_FUNCTIONS:
                found.add(f"{name}()")
            if name == "regexp_replace" and _arguments(tokens, after) > 3:
                found.add("regexp_replace() with options")
        if token.token_type is TokenType.STRING:
            text = sql[token.start : token.end + 1]
            if text.startswith('"'):
                found.add("double quotes")
            # Spark takes the backslashes out of a literal that is not raw.
            if "\\" in text.replace("\\\\", "").replace("\\'", ""):
                found.add("a backslash in a literal")
    try:
        tree = sqlglot.parse_one(sql, read="spark")
    except sqlglot.errors.SqlglotError as error:
        return sorted({*found, f"does not parse: {str(error).splitlines()[0][:80]}"})
    if any(union.args.get("by_name") for union in tree.find_all(exp.SetOperation)):
        found.add("union by name")
    return sorted(found)


def _arguments(tokens: list[sqlglot.Token], bracket: sqlglot.Token) -> int:
    """How many arguments stand in a bracket."""
    depth = commas = 0
    for token in tokens[tokens.index(bracket) :]:
        if token.token_type is TokenType.L_PAREN:
            depth += 1
        elif token.token_type is TokenType.R_PAREN:
            depth -= 1
            if depth == 0:
                break
        elif token.token_type is TokenType.COMMA and depth == 1:
            commas += 1
    return commas + 1


def judge(models: dict[str, list[str]], exceptions: dict[str, list[str]]) -> list[str]:
    """What breaks the rule: what is no exception, and exceptions that are none any more."""
    unlisted = [
        f"{name}: {what} is not Spark SQL; put it behind adapter.dispatch"
        for name, found in sorted(models.items())
        for what in sorted({*found} - {*exceptions.get(name, [])})
    ]
    outlived = [
        f"{name}: {what} is listed in {EXCEPTIONS.name} and not there any more"
        for name, listed in sorted(exceptions.items())
        for what in sorted({*listed} - {*models.get(name, [])})
    ]
    return unlisted + outlived


def check() -> list[str]:
    """Render the project of every company for Spark and judge it; lines for a person.

    For DuckDB it is rendered by whatever builds or lints it.
    """
    exceptions = yaml.safe_load(EXCEPTIONS.read_text(encoding="utf-8")) or {}
    models: dict[str, list[str]] = {}
    for company in companies(load_settings()):
        for name, sql in rendered(load_settings(company), "spark").items():
            models[name] = sorted({*models.get(name, []), *not_portable(sql)})
    return judge(models, exceptions)


def main() -> None:
    """Say what is not portable; exit with 1 if anything is."""
    lines = check()
    for line in lines:
        sys.stderr.write(f"{line}\n")
    sys.exit(1 if lines else 0)


if __name__ == "__main__":
    main()
