"""Running dbt: what it is told about this company and run, and what came of it.

What belongs here: the generated dbt sources, the run's variables, one invocation. What does not:
any SQL of the warehouse (``dbt_project/``).
"""

import datetime as dt
import difflib
import hashlib
import json
import os
import re
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from customer360 import vault
from customer360.atomic import write_atomically
from customer360.conditions import columns_of
from customer360.config import Config, Source, companies
from customer360.contracts import sql_type
from customer360.engagement.config import Engagement
from customer360.exceptions import ConfigError, Customer360Error, GateError
from customer360.metrics import load_definitions
from customer360.settings import PROJECT, Settings
from customer360.warehouse import connect, disk_full, is_disk_full, literal, quote

DBT_PROJECT = PROJECT / "dbt_project"
GENERATED = "generated_sources.yml"
WORKSPACES = ("scores", "changes", "engagement")
"""Schemas of the work file that are not published."""

WORKSPACE_FILE = "workspace.duckdb"
"""Beside the work file: staging, unions and identities, with the values themselves."""

VAULT_FILE = "vault.duckdb"
"""Beside the work file: personal values by token; it is published with the snapshot."""

RUN_VARS = ("as_of", "cutoff", "increment")
"""What dbt is told that may differ from night to night."""

PARSED = "parsed.json"
"""Beside dbt's parsed project: the rules that it is of, and what a night asks of its models."""

NIGHTLY = ("--log-level", "none", "--no-write-json")
"""How dbt runs a project that it has parsed before: without what nobody reads of such a run."""

LAST = ("kpi_scorecard",)
"""The marts that look at everything before them, at what was decided in this run too."""

PEOPLE = ("+union_person_records", "+union_identifiers")
"""The models that identity resolution reads, with what they are built from; nothing else is."""


def assemble(settings: Settings) -> Path:
    """The dbt project as this company runs it: a copy of ours with the generated sources.

    The project's own folder stays untouched: it may be read-only, or shared by companies.
    """
    project = settings.data_dir / "dbt" / "project"
    shutil.rmtree(project, ignore_errors=True)
    # dbt does not follow links to folders.
    shutil.copytree(
        DBT_PROJECT, project, ignore=shutil.ignore_patterns("target", "logs", GENERATED)
    )
    generated = project / "models" / "staging" / GENERATED
    generated.write_text(dbt_sources(settings), encoding="utf-8")
    return project


def dbt_sources(settings: Settings) -> str:
    """The dbt sources and each staging model's switch as YAML, from ``config/sources.yml``.

    They hold for every company, so that a change of COMPANY does not change the text.
    """
    declared: dict[str, Source] = {}
    for company in companies(settings).values():
        for name, source in company.sources.items():
            if name in declared and declared[name] != source:
                raise Customer360Error(
                    f"sources.yml: source '{name}' is declared by two companies in two ways; "
                    "give one of them another name, since its staging models are found by it"
                )
            declared[name] = source
    sources: list[dict[str, Any]] = []
    for name, source in declared.items():
        tables = []
        for table_name, table in source.tables.items():
            columns = [
                {
                    "name": column_name,
                    "data_type": sql_type(column),
                    "description": column.description,
                    "meta": {"personal": column.personal},
                }
                for column_name, column in table.columns.items()
            ]
            tables.append(
                {
                    "name": table_name,
                    "description": table.description,
                    "meta": {"key": list(table.key), "owner": source.owner, "stage": source.stage},
                    "columns": columns,
                }
            )
        sources.append(
            {
                "name": name,
                "description": source.title,
                "database": "raw",
                "schema": name,
                "tables": tables,
            }
        )
    switches = [
        {"name": path.stem, "config": {"enabled": _switch(path)}} for path in staging_models()
    ]
    header = "# Written by `customer360` from config/sources.yml before each dbt run; not edited.\n"
    document = {"version": 2, "sources": sources, "models": switches}
    # JSON is YAML, and is written thirty times as fast.
    return header + json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _switch(path: Path) -> str:
    """On where the company has what the model reads, and where nobody says (linters)."""
    source, keys = path.parent.name, "var('source_keys')"
    has = [f"'{source}' in {keys}"]
    has += [f"'{table}' in {keys}['{source}']" for table in tables_read(path)]
    return f"{{{{ not {keys} or ({' and '.join(has)}) }}}}"


def tables_read(path: Path) -> list[str]:
    """The tables of its own source that a staging model reads."""
    text = path.read_text(encoding="utf-8")
    return sorted(set(re.findall(rf"source_rows\('{path.parent.name}', *'(\w+)'", text)))


def staging_models() -> list[Path]:
    """Every staging model; its folder names its source, its file ``stg_<source>__<entity>.sql``."""
    found = sorted((DBT_PROJECT / "models" / "staging").glob("*/*.sql"))
    for path in found:
        if not path.stem.startswith(f"stg_{path.parent.name}__"):
            raise Customer360Error(
                f"{path.relative_to(DBT_PROJECT)}: a staging model of source {path.parent.name} is "
                f"named stg_{path.parent.name}__<entity>.sql"
            )
    return found


def check_rules(config: Config) -> None:
    """See that segments' rules and questions name columns that their marts have.

    Raises:
        ConfigError: names the place, the column and what was perhaps meant.
    """
    known = _columns("activation/activation.yml", "customer_360")
    for part in ("segments", "next_best_actions"):
        for name, segment in getattr(config.audiences, part).items():
            for column in sorted(segment.columns - set(known)):
                place = f"audiences.yml: {config.company}.{part}.{name}.rule"
                raise _unknown_column(place, "customer_360", column, known)
    known = _columns("marts/customer/customer.yml", "customers")
    for number, question in enumerate(config.policies.ask):
        if question.field not in known:
            place = f"policies.yml: {config.company}.ask.{number}.field"
            raise _unknown_column(place, "customers", question.field, known)


def check_touching(rules: Engagement, config: Config) -> None:
    """See that the rules of campaigns and care name columns that customer_360 has.

    Raises:
        ConfigError: names the place, the column and what was perhaps meant.
    """
    known = _columns("activation/activation.yml", "customer_360")
    for section in ("campaigns", "care"):
        for name, touching in getattr(rules, section).items():
            for column in sorted(columns_of(touching.rule) if touching.rule else ()):
                if column not in known:
                    place = f"engagement.yml: {config.company}.{section}.{name}.rule"
                    raise _unknown_column(place, "customer_360", column, known)


def _columns(file: str, model: str) -> list[str]:
    text = (DBT_PROJECT / "models" / file).read_text(encoding="utf-8")
    models = yaml.load(text, Loader=yaml.CSafeLoader)["models"]
    found = next(declared for declared in models if declared["name"] == model)
    return [column["name"] for column in found["columns"]]


def _unknown_column(place: str, model: str, column: str, known: list[str]) -> ConfigError:
    near = difflib.get_close_matches(column, known, n=1)
    meant = f"; did you mean {near[0]}?" if near else ""
    return ConfigError(f"{place}: {model} has no column '{column}'{meant}")


def dbt_vars(config: Config, as_of: dt.date) -> dict[str, Any]:
    """What a run tells dbt: days, currency, feeds, rules. No personal data: they land in logs."""
    feeds: dict[str, list[dict[str, str]]] = {}
    for path in staging_models():
        source = config.sources.sources.get(path.parent.name)
        if source is not None and source.tables.keys() >= set(tables_read(path)):
            entity = path.stem.partition("__")[2]
            feeds.setdefault(entity, []).append({"source": path.parent.name, "model": path.stem})
    audiences = config.audiences
    policies = config.policies
    calendar = policies.service.calendar
    return {
        "as_of": as_of.isoformat(),
        "cutoff": config.sources.day_end(as_of).isoformat(sep=" "),
        "time_zone": config.sources.time_zone,
        "currency": config.sources.currency,
        "company_sources": list(config.sources.sources),
        "source_stages": {name: source.stage for name, source in config.sources.sources.items()},
        "survivorship": config.policies.survivorship.model_dump(mode="json"),
        "currency_rates": {code: str(rate) for code, rate in policies.money.rates.items()},
        "huge_order_cents": round(policies.money.huge_order * 100),
        **policies.behaviour.model_dump(),
        "complaint_topics": list(policies.service.complaint_topics),
        "repeat_question_days": policies.service.repeat_question_days,
        "repeat_fault_days": policies.service.repeat_fault_days,
        "working_hours": {day: list(hours) for day, hours in calendar.minutes().items()},
        "holidays": [day.isoformat() for day in calendar.holidays],
        "extra_days": [day.isoformat() for day in calendar.extra_days],
        "ask": [question.model_dump() for question in policies.ask],
        "source_keys": {
            name: {table_name: list(table.key) for table_name, table in source.tables.items()}
            for name, source in config.sources.sources.items()
        },
        "feeds": feeds,
        "segments": [
            {"name": name, "rule": segment.rule} for name, segment in audiences.segments.items()
        ],
        "next_best_actions": [
            {
                "name": name,
                "rule": one.rule,
                "action": one.action,
                "reason": one.description,
                "owner": one.owner,
                "channel": one.channel,
                "measured_by": one.measured_by,
            }
            for name, one in audiences.next_best_actions.items()
        ],
        "effect_days": audiences.effect_days,
        "value_tiers": [
            {"name": name, "from_cents": round(amount * 100)}
            for name, amount in audiences.value_tiers.items()
        ],
        "active_months": audiences.active_months,
        "metrics": load_definitions().as_var(),
        "churn_horizon_days": audiences.churn.horizon_days,
    }


def run_dbt(
    settings: Settings,
    config: Config,
    as_of: dt.date,
    marts: Path,
    arguments: list[str],
    *,
    increment: bool = False,
) -> dict[str, int]:
    """One dbt invocation in this process on the marts file ``marts``.

    With ``increment``, the tables there and in the workspace are those of an earlier run
    (``customer360.increments``), and are brought up to date.

    Returns:
        How many nodes ended in each status.

    Raises:
        GateError: dbt tests failed. Customer360Error: a model failed, or dbt could not start.
    """
    from dbt.adapters.duckdb.connections import DuckDBConnectionManager
    from dbt.cli.main import dbtRunner

    rules = project_rules(settings, config)
    # The pages of the docs are made of what parsing leaves.
    manifest = _parsed(settings, rules) if arguments[0] != "docs" else None
    _listen(only_to_warnings=manifest is not None)
    project = assemble(settings)
    told = dbt_vars(config, as_of)
    if increment:
        done, has_views = _brought_up_to_date(settings, marts.with_name(WORKSPACE_FILE), rules)
        told["increment"] = done
        arguments = [*arguments, "--exclude-resource-type", "seed"]
        arguments += ["--exclude", "path:models/staging"] if has_views else []
    if arguments[0] == "build":
        arguments = [*arguments, "--exclude", "test_name:relationships"]
    os.environ.update(
        {
            "CUSTOMER360_MARTS": str(marts),
            "CUSTOMER360_RAW": str(settings.raw_path),
            "CUSTOMER360_WORKSPACE": str(marts.with_name(WORKSPACE_FILE)),
            "CUSTOMER360_VAULT": str(marts.with_name(VAULT_FILE)),
            "CUSTOMER360_THREADS": str(settings.threads),
            "CUSTOMER360_MEMORY": settings.memory_limit,
            "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        }
    )
    try:
        outcome = dbtRunner(manifest).invoke(
            [
                *arguments,
                "--project-dir", str(project),
                "--profiles-dir", str(project),
                "--target-path", str(settings.data_dir / "dbt"),
                "--log-path", str(settings.data_dir / "dbt" / "logs"),
                "--vars", json.dumps(told),
                "--log-level-file", "warn",
                "--no-use-colors",
                *(NIGHTLY if manifest else ("--log-level", "warn")),
            ]
        )  # fmt: skip
    finally:
        DuckDBConnectionManager.close_all_connections()
    unwritten = outcome.exception or "; ".join(
        str(result.message)
        for result in getattr(outcome.result, "results", None) or []
        if str(result.status) == "error"
    )
    if unwritten and is_disk_full(unwritten):
        raise disk_full(settings, "dbt", unwritten)
    if outcome.exception is not None:
        raise Customer360Error(f"dbt could not run: {_short(outcome.exception)}")
    if manifest is None:
        _note_parsed(settings, rules)
    results = list(getattr(outcome.result, "results", []) or [])
    counts: dict[str, int] = {}
    for result in results:
        status = str(result.status)
        counts[status] = counts.get(status, 0) + 1
    failed = [result for result in results if str(result.status) in ("fail", "error")]
    if failed:
        _refuse(failed)
    if not outcome.success:
        raise Customer360Error("dbt did not succeed; see its log")
    if arguments[0] == "build":
        related = _check_relations(settings, marts, {result.node.name for result in results})
        counts["pass"] = counts.get("pass", 0) + related
    return counts


def _listen(*, only_to_warnings: bool) -> None:
    """Say whether dbt makes messages of all that it does, or of what is logged of a night.

    It makes some twenty a node, whatever its log level; they took a seventh of its time.
    """
    from dbt_common.events.base_types import BaseEvent, EventLevel
    from dbt_common.events.event_manager import EventManager
    from dbt_common.events.event_manager_client import ctx_set_event_manager

    class Warnings(EventManager):
        def fire_event(
            self, e: BaseEvent, level: EventLevel | None = None, *told: Any, **options: Any
        ) -> None:
            if (level or e.level_tag()) in (EventLevel.WARN, EventLevel.ERROR):
                super().fire_event(e, level, *told, **options)

    ctx_set_event_manager(Warnings() if only_to_warnings else EventManager())


def _check_relations(settings: Settings, marts: Path, built: set[str]) -> int:
    """dbt's relationship tests of the marts that were ``built``, in one query; how many passed.

    Each of them as a node of dbt costs more than most marts take to build.

    Raises:
        GateError: names the columns that refer to rows that are not there.
    """
    relations = [one for one in _parsed_notes(settings)["relations"] if one["model"] in built]
    if not relations:
        return 0
    lost = " union all ".join(
        f"select {literal('{model}.{column}'.format(**one))} as place, count(*) as failing "
        f"from main.{quote(one['model'])} as told anti join main.{quote(one['to'])} as known "
        f"on told.{quote(one['column'])} = known.{quote(one['field'])} "
        f"where told.{quote(one['column'])} is not null"
        for one in relations
    )
    with connect(settings, marts, read_only=True) as connection:
        failed = connection.execute(f"select * from ({lost}) where failing > 0").fetchall()
    if failed:
        told = "; ".join(f"{place}: {rows} rows refer to nothing" for place, rows in failed)
        raise GateError(f"dbt tests: {told}. Nothing is published.")
    return len(relations)


def _brought_up_to_date(settings: Settings, workspace: Path, rules: str) -> tuple[list[str], bool]:
    """What an increment need not make again.

    Returns:
        Kept tables that an earlier step or attempt of this run has brought up to date; whether
        each view of staging is one of an increment by ``rules``, the same from night to night.
    """
    with connect(settings, workspace, read_only=True) as connection:
        rows = connection.execute(
            "select 'workspace.' || table_name from duckdb_tables() where schema_name = 'changes'"
        ).fetchall()
        views = connection.execute(
            "select coalesce(bool_and(contains(sql, '''cutoff''')), false) "
            "and (select value = ? from increment.state where name = 'rules') "
            "from duckdb_views() where schema_name = 'staging'",
            [rules],
        ).fetchall()
    return sorted(name for (name,) in rows), bool(views[0][0])


def whole_tables(settings: Settings) -> list[str]:
    """Names of the marts that are computed anew each time, from the last dbt run."""
    return [name for name, told in _models(settings).items() if told["is_whole"]]


def project_rules(settings: Settings, config: Config) -> str:
    """Changes when dbt could make another table than before of the same rows and day."""
    told = {
        name: value
        for name, value in dbt_vars(config, dt.date(2000, 1, 1)).items()
        if name not in RUN_VARS
    }
    versions = [version(package) for package in ("dbt-core", "dbt-duckdb", "duckdb")]
    digest = hashlib.sha256(json.dumps([versions, told]).encode())
    digest.update(dbt_sources(settings).encode())
    digest.update(vault.token(vault.token_key(settings), "rules", "").encode())
    for path in sorted(DBT_PROJECT.rglob("*")):
        if path.suffix in (".sql", ".yml", ".csv") and path.name != GENERATED:
            digest.update(str(path.relative_to(DBT_PROJECT)).encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _parsed(settings: Settings, rules: str) -> Any | None:
    """The project as dbt parsed it last; None where it has to be parsed anew.

    dbt's own partial parsing begins anew whenever a variable changes, and the day does each night.
    """
    from dbt.contracts.graph.manifest import Manifest
    from dbt.parser.manifest import extended_mashumuro_decoder

    folder = settings.data_dir / "dbt"
    mark, packed = folder / PARSED, folder / "partial_parse.msgpack"
    known = json.loads(mark.read_text(encoding="utf-8")) if mark.exists() else {}
    if known.get("rules") != rules or not packed.exists():
        mark.unlink(missing_ok=True)
        return None
    manifest = Manifest.from_msgpack(packed.read_bytes(), decoder=extended_mashumuro_decoder)
    manifest.build_flat_graph()
    return manifest


def published_tables(settings: Settings) -> dict[str, dict[str, Any]]:
    """name -> kind, key and volatile columns of each mart by its YAML, from the last dbt run."""
    return {name: told["mart"] for name, told in _models(settings).items() if told["mart"]}


def _models(settings: Settings) -> dict[str, dict[str, Any]]:
    """Each model -> whether it is a mart that is computed anew each time, and what a mart says."""
    models: dict[str, dict[str, Any]] = _parsed_notes(settings)["models"]
    return models


def parsed_rules(settings: Settings) -> str:
    """The rules (:func:`project_rules`) of the project as dbt parsed it last."""
    return str(_parsed_notes(settings)["rules"])


def _parsed_notes(settings: Settings) -> dict[str, Any]:
    path = settings.data_dir / "dbt" / PARSED
    notes: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return notes


def _note_parsed(settings: Settings, rules: str) -> None:
    """Keep of dbt's manifest what each night asks it: reading it whole costs more than a model."""
    folder = settings.data_dir / "dbt"
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    models = {
        node["name"]: {
            "is_whole": node["schema"] == "main" and node["config"]["materialized"] == "table",
            "mart": {
                "kind": node["meta"]["kind"],
                "key": node["meta"]["key"],
                "volatile": node["meta"].get("volatile", []),
            }
            if "kind" in node["meta"]
            else None,
        }
        for node in manifest["nodes"].values()
        if node["resource_type"] == "model"
    }
    relations = [
        {
            "model": node["attached_node"].rpartition(".")[2],
            "column": node["column_name"],
            "to": node["test_metadata"]["kwargs"]["to"].split("'")[1],
            "field": node["test_metadata"]["kwargs"]["field"],
        }
        for node in manifest["nodes"].values()
        if node["resource_type"] == "test"
        and (node.get("test_metadata") or {}).get("name") == "relationships"
    ]
    text = json.dumps({"rules": rules, "models": models, "relations": relations})
    write_atomically(folder / PARSED, text)


def _refuse(failed: list[Any]) -> None:
    tests = [result for result in failed if str(result.status) == "fail"]
    models = [result for result in failed if str(result.status) == "error"]
    lines = [
        f"{result.node.name}: {result.failures} rows fail ({result.node.original_file_path})"
        for result in tests
    ]
    lines += [
        f"{result.node.name}: {_short(result.message)} ({result.node.original_file_path})"
        for result in models
    ]
    text = "; ".join(lines)
    if models:
        raise Customer360Error(f"dbt: {text}")
    raise GateError(f"dbt tests: {text}. Nothing is published.")


def _short(error: object) -> str:
    """An error's first lines without quoted values, which may be a person's data."""
    text = " ".join(str(error).split())
    return text.split("LINE 1")[0][:400]
