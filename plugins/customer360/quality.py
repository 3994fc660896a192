"""Quality gates: run a layer's expectations, leave a report, stop the run when one must hold.

What belongs here: running Great Expectations on a DuckDB file without letting values out. What
does not: which expectations there are (``expectations``).
"""

import datetime as dt
import logging
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.engine.cursor import FullyBufferedCursorFetchStrategy

from customer360.exceptions import GateError
from customer360.gate_report import Check, Section, write_page
from customer360.settings import Settings
from customer360.warehouse import literal
from expectations.suites import WARN, Suite

SHOWN_KEYS = 5
TOLD = ("volume", "freshness")
"""Kinds of which a person is told when they only warn: a source may have gone quiet."""


def run_gate(
    settings: Settings,
    layer: str,
    suites: list[Suite],
    database: Path,
    run_id: str,
    attach: dict[str, Path] | None = None,
    section: Section | None = None,
    record: Callable[[list[Check]], None] = lambda _: None,
) -> dict[str, Any]:
    """Validate ``database``; leave ``reports/<run_id>/<layer>.html`` and, beside it, data docs.

    Args:
        attach: name -> DuckDB file that expectations may compare with, opened read-only.
        section: stands on the page below the checks.
        record: is told of every check, also when the gate then refuses.

    Returns:
        checks passed, warned and failed (counts), and the warnings in words.

    Raises:
        GateError: a critical expectation failed, or there was nothing to check.
    """
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    os.environ["TQDM_DISABLE"] = "1"
    import great_expectations as gx
    from great_expectations.data_context.types.base import (
        DataContextConfig,
        InMemoryStoreBackendDefaults,
        ProgressBarsConfig,
    )

    logging.getLogger("great_expectations").setLevel(logging.ERROR)
    empty = [f"{suite.schema}.{suite.table}" for suite in suites if not suite.expectations]
    if empty or not suites:
        raise GateError(f"{layer}: nothing is expected of {', '.join(empty) or 'any table'}")
    sources = {f"{suite.schema}.{suite.table}": suite.source for suite in suites}
    expected: dict[tuple[str, str], list[Any]] = {}
    for suite in suites:
        expected.setdefault((suite.schema, suite.table), []).extend(suite.expectations)
    report = settings.reports_dir / run_id / layer
    shutil.rmtree(report, ignore_errors=True)
    with _Listeners(attach or {}):
        context = gx.get_context(
            mode="ephemeral",
            project_config=DataContextConfig(
                # Said in full: by itself GX makes a site in the system's temporary folder, which
                # a killed task would leave there.
                store_backend_defaults=InMemoryStoreBackendDefaults(),
                data_docs_sites={
                    "report": {
                        "class_name": "SiteBuilder",
                        "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
                        "store_backend": {
                            "class_name": "TupleFilesystemStoreBackend",
                            "base_directory": str(report),
                        },
                    }
                },
                progress_bars=ProgressBarsConfig(globally=False),
                analytics_enabled=False,
            ),
        )
        source = context.data_sources.add_sql(
            layer, connection_string=f"duckdb:///{database}", create_temp_table=False
        )
        definitions = []
        for (schema, table), expectations in expected.items():
            name = f"{schema}.{table}"
            try:
                asset = source.add_table_asset(name, table_name=table, schema_name=schema)
            except Exception as error:  # noqa: BLE001, GX raises its own and the driver's errors
                raise GateError(f"{layer}: {name} is not there ({type(error).__name__})") from None
            definitions.append(
                context.validation_definitions.add(
                    gx.ValidationDefinition(
                        name=name,
                        data=asset.add_batch_definition_whole_table("all"),
                        suite=context.suites.add(
                            gx.ExpectationSuite(name=name, expectations=expectations)
                        ),
                    )
                )
            )
        checkpoint = context.checkpoints.add(
            gx.Checkpoint(
                name=layer,
                validation_definitions=definitions,
                # Samples of unexpected values would be personal data in a report.
                result_format={"result_format": "COMPLETE", "exclude_unexpected_values": True},
            )
        )
        # The time stands in the paths of the docs; a gate that is run again ends in the same files.
        # When the run was, its name says.
        outcome = checkpoint.run(
            run_id=gx.RunIdentifier(
                run_name=run_id, run_time=dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
            )
        )
        context.build_data_docs(site_names=["report"])
    checks = [
        _check(str(result.asset_name), check, sources.get(str(result.asset_name)))
        for result in outcome.run_results.values()
        for check in result.results
    ]
    page = report.with_suffix(".html")
    write_page(page, layer, run_id, checks, section)
    record(checks)
    return _judge(layer, page, checks)


def _judge(layer: str, page: Path, checks: list[Check]) -> dict[str, Any]:
    found = {
        status: [str(check) for check in checks if check.status == status]
        for status in ("passed", "warned", "failed")
    }
    if found["failed"]:
        lines = "\n".join(f"  - {text}" for text in found["failed"])
        raise GateError(
            f"gate '{layer}': {len(found['failed'])} of {len(checks)} checks failed; nothing "
            f"is published.\n{lines}\nReport: {page}",
            [check.finding() for check in checks if check.status == "failed"],
        )
    if not checks:
        raise GateError(f"gate '{layer}': no check ran")
    return {
        **{status: len(texts) for status, texts in found.items()},
        "warnings": found["warned"],
        "findings": [
            asdict(check.finding())
            for check in checks
            if check.status == "warned" and check.kind in TOLD
        ],
        "report": str(page),
    }


def _check(table: str, check: Any, source: str | None) -> Check:
    """Rule, rows and keys, in words."""
    config = check.expectation_config
    rule = config.description or config.type
    kind = (config.meta or {}).get("kind", "rule")
    warns = config.severity == WARN
    status = "passed" if check.success else "warned" if warns else "failed"
    observed = check.result.get("observed_value")
    rows = (check.result.get("details") or {}).get("unexpected_rows")
    if observed is None:
        found = count = "the check itself could not run"
    elif rows is None:
        found = count = f"{observed:,} rows in all"
    elif not rows:
        found = count = "0 rows"
    else:
        keys = ["/".join(str(value) for value in row.values()) for row in rows[:SHOWN_KEYS]]
        more = " ..." if len(rows) > SHOWN_KEYS else ""
        count = f"{observed:,} rows"
        found = f"{count}, keys {', '.join(keys)}{more}"
    severity = "warn" if warns else "stop"
    return Check(
        table,
        rule,
        status,
        found,
        count,
        kind,
        source,
        # Rules of volume and freshness name numbers and moments of their run.
        rule if kind == "rule" else f"{kind} ({severity})",
        severity,
        None if observed is None else int(observed),
    )


class _Listeners:
    """SQLAlchemy listeners that hold while a gate runs."""

    def __init__(self, attach: dict[str, Path]) -> None:
        self.attach = attach
        self.opened: list[Any] = []

    def __enter__(self) -> "_Listeners":
        event.listen(Engine, "after_cursor_execute", _buffer)
        event.listen(Engine, "connect", self._connect)
        return self

    def __exit__(self, *_: object) -> None:
        event.remove(Engine, "after_cursor_execute", _buffer)
        event.remove(Engine, "connect", self._connect)
        # GX keeps its engines; the file must be free for the next step of this process.
        for connection in self.opened:
            connection.close()

    def _connect(self, connection: Any, _record: object) -> None:
        if not type(connection).__module__.startswith("duckdb_engine"):
            return
        self.opened.append(connection)
        cursor = connection.cursor()
        cursor.execute("set TimeZone = 'UTC'")
        for name, path in self.attach.items():
            cursor.execute(f"attach if not exists {literal(path)} as {name} (read_only)")


def _buffer(
    connection: Any, cursor: Any, _statement: str, _parameters: Any, context: Any, _many: bool
) -> None:
    """Fetch at once: GX reads DuckDB's result after it has closed the connection."""
    if connection.dialect.name == "duckdb" and cursor.description:
        context.cursor_fetch_strategy = FullyBufferedCursorFetchStrategy(
            cursor, initial_buffer=cursor.fetchall()
        )
