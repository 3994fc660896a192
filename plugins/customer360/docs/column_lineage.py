"""The table ``column_lineage`` of a snapshot: where each column of the wide row begins.

What belongs here: reading the compiled SQL that the run's dbt invocations left, once for each state
of the project, and filling the table. What does not: following columns (``lineage``).
"""

import json
from pathlib import Path
from typing import Any

import duckdb

from customer360.atomic import write_atomically
from customer360.docs.lineage import trace
from customer360.settings import Settings
from customer360.transform import parsed_rules

TABLE = "column_lineage"
KEPT = "lineage.json"
"""In dbt's folder: the ways, and the rules of the project that they are of."""

Way = tuple[str, ...]
"""table_name, column_name, source, source_table, source_column, through"""


def tell(settings: Settings, connection: duckdb.DuckDBPyConnection) -> int:
    """Fill ``column_lineage`` of a marts file; returns its rows."""
    told = _ways(settings)
    # A publish that is tried again must leave the file as it was, byte by byte.
    if {*connection.execute(f"select * from main.{TABLE}").fetchall()} != {*told}:
        connection.execute(f"delete from main.{TABLE}")
        columns = [list(column) for column in zip(*told, strict=True)]
        cells = ", ".join("unnest(?::varchar[])" for _ in columns)
        connection.execute(f"insert into main.{TABLE} select {cells}", columns)
    return len(told)


def _ways(settings: Settings) -> list[Way]:
    folder = settings.data_dir / "dbt"
    kept = folder / KEPT
    rules = parsed_rules(settings)
    held = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {}
    if held.get("rules") != rules:
        held = {"rules": rules, "ways": _read(folder)}
        write_atomically(kept, json.dumps(held))
    return [tuple(way) for way in held["ways"]]


def _read(folder: Path) -> list[Way]:
    manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    for node in manifest["nodes"].values():
        compiled = folder / "compiled" / "customer360" / node["original_file_path"]
        if node["resource_type"] == "model" and compiled.exists():
            node["compiled_code"] = compiled.read_text(encoding="utf-8")
    return [
        (
            way.table,
            way.column,
            way.source,
            way.source_table,
            way.source_column,
            " < ".join(way.through),
        )
        for way in trace(manifest)
    ]
