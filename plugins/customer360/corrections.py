"""Rows out of quarantine: written out for a person, and taken in again corrected.

A corrected batch holds all rows of the one it supersedes, with corrected cells, so that raw ends in
the state that it would have if the rows had been good from the start. What does not belong here:
judging rows (``contracts``), or loading them: the next run of the day does that.
"""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from customer360 import landing
from customer360.config import Config, Table
from customer360.contracts import rules, typed_select
from customer360.exceptions import Customer360Error, SourceError
from customer360.landing import Batch
from customer360.settings import Settings
from customer360.sources.relation import Relation
from customer360.warehouse import connect, literal, quote

PLACE = ("_batch", "_file", "_position")
"""Columns of a correction file that say which row is meant."""


def write_out(settings: Settings, config: Config, source: str, table: str, out: Path) -> int:
    """Write the quarantined rows of a table as CSV that can be corrected and replayed.

    The file holds personal data as the source gave them, readable by its owner alone. Beside the
    table's columns stand where the row came from, the reasons, and for what was not even a row the
    line as it stood.

    Returns:
        How many rows were written.
    """
    columns = list(config.sources.sources[source].tables[table].columns)
    cells = ", ".join(
        f"json_extract_string(row_json, {literal(json_path(column))}) as {quote(column)}"
        for column in columns
    )
    with connect(settings, settings.raw_path, read_only=True) as connection:
        found = connection.execute(
            "select batch as _batch, file as _file, position as _position, reason as _reason, "
            f"case when rule = 'format' then json_extract_string(row_json, '$.line') end as _line, "
            f"{cells} from meta.quarantine where source = ? and table_name = ? "
            "order by batch, file, position",
            [source, table],
        )
        names = [column[0] for column in found.description or []]
        out.touch(0o600)
        count = 0
        with out.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(names)
            while rows := found.fetchmany(10_000):
                writer.writerows(rows)
                count += len(rows)
    return count


def json_path(column: str) -> str:
    """The JSON path of a top-level key, whatever it is made of."""
    return '$."' + column.replace('"', '\\"') + '"'


def rejudge(settings: Settings, config: Config, source: str, table: str) -> dict[str, int]:
    """How many quarantined rows the contract would accept as it stands now.

    Returns:
        ``quarantined``, and ``passes``: rows that the next run will load.
    """
    contract = config.sources.sources[source].tables[table]
    all_ok = " and ".join(rule.ok for rule in rules(contract)) or "true"
    total, passes = 0, 0
    with connect(settings, settings.raw_path, read_only=True) as connection:
        held = connection.execute(
            "select batch, list({file: file, position: position}), count(*) from meta.quarantine "
            "where source = ? and table_name = ? group by batch",
            [source, table],
        ).fetchall()
    with connect(settings) as connection:
        for batch in landing.batches(settings, source, table):
            for name, places, count in held:
                if name != f"{batch.as_of}/{batch.batch}":
                    continue
                total += count
                chosen = _rows_at(connection, settings, batch, places)
                typed = typed_select(contract, config.sources, chosen, batch.columns)
                (accepted,) = connection.execute(
                    f"select count(*) from ({typed}) where {all_ok}"
                ).fetchall()[0]
                passes += accepted
    return {"quarantined": total, "passes": passes}


def _rows_at(
    connection: duckdb.DuckDBPyConnection,
    settings: Settings,
    batch: Batch,
    places: list[dict[str, Any]],
) -> str:
    """A relation of the batch's rows at ``places``, with ``_file``."""
    shape = pa.schema({"file": pa.string(), "position": pa.int64()})
    connection.register("places", pa.Table.from_pylist(places, schema=shape))
    rows = landing.with_file(connection, landing.verify(settings, batch)["rows.parquet"])
    return (
        f"(select landed.* from {rows} as landed semi join places "
        "on landed._position = places.position and landed._file is not distinct from places.file)"
    )


def replay(
    settings: Settings, config: Config, source: str, table: str, corrections: Path
) -> Iterator[tuple[Batch, int]]:
    """Land every batch again whose rows ``corrections`` corrects.

    Args:
        corrections: CSV as :func:`write_out` makes it; rows that are left out stay as they are.

    Yields:
        The new batch and how many of its rows were corrected.

    Raises:
        Customer360Error: a row that is not in quarantine, a missing column, or a value that the
            source's own type cannot hold; nothing is landed of that batch.
    """
    name = f"{source}.{table}"
    contract = config.sources.sources[source].tables[table]
    batches = {
        f"{batch.as_of}/{batch.batch}": batch for batch in landing.batches(settings, source, table)
    }
    with connect(settings) as connection:
        _read_corrections(connection, name, list(contract.columns), corrections)
        for batch_id, count in connection.execute(
            "select _batch, count(*) from corrections group by _batch order by _batch"
        ).fetchall():
            if batch_id not in batches:
                raise Customer360Error(
                    f"{corrections.name}: landing has no batch {batch_id} of {name}. Leave _batch, "
                    "_file and _position as `quarantine show --out` wrote them."
                )
            yield _land_again(connection, settings, name, contract, batches[batch_id]), count


def _read_corrections(
    connection: duckdb.DuckDBPyConnection, name: str, columns: list[str], file: Path
) -> None:
    """Table ``corrections`` of text."""
    try:
        connection.execute(
            "create or replace temp table corrections as from read_csv(?, all_varchar=true, "
            "header=true, delim=',', quote='\"', escape='\"', strict_mode=true)",
            [str(file)],
        )
    except (duckdb.Error, OSError):
        raise Customer360Error(
            f"{file.name} cannot be read as CSV with a header, as `quarantine show --out` writes it"
        ) from None
    there = [row[0] for row in connection.execute("describe corrections").fetchall()]
    missing = [column for column in (*PLACE, *columns) if column not in there]
    if missing:
        raise Customer360Error(f"{file.name}: column {', '.join(missing)} of {name} is missing")
    (doubles,) = connection.execute(
        "select count(*) from (select 1 from corrections group by _batch, _file, _position "
        "having count(*) > 1)"
    ).fetchall()[0]
    if doubles:
        raise Customer360Error(f"{file.name}: {doubles} rows are corrected twice")


def _land_again(
    connection: duckdb.DuckDBPyConnection,
    settings: Settings,
    name: str,
    contract: Table,
    batch: Batch,
) -> Batch:
    """Land the batch that supersedes ``batch``."""
    batch_id = f"{batch.as_of}/{batch.batch}"
    files = landing.verify(settings, batch)
    rows = landing.with_file(connection, files["rows.parquet"])
    rejects = (
        landing.with_file(connection, files["rejects.parquet"])
        if "rejects.parquet" in files
        else ""
    )
    chosen = f"(from corrections where _batch = {literal(batch_id)})"
    same = "held._position = new._position::bigint and held._file is not distinct from new._file"
    places = f"select _file, _position from {rows}"
    if rejects:
        places += f" union all select _file, _position from {rejects}"
    (unknown,) = connection.execute(
        f"select count(*) from {chosen} as new anti join ({places}) as held on {same}"
    ).fetchall()[0]
    if unknown:
        raise Customer360Error(
            f"{name} {batch_id}: {unknown} corrected rows are not in the batch. Leave _batch, "
            "_file and _position as `quarantine show --out` wrote them."
        )
    cells = ", ".join(
        f"{quote(column)}::{kind} as {quote(column)}" for column, kind in batch.columns.items()
    )
    relation = Relation(
        sql=f"select * from (select * from {rows} as held anti join {chosen} as new on {same} "
        f"union all by name select _file, _position::bigint as _position, {cells} from {chosen}) "
        "as corrected",
        columns=batch.columns,
        rejects_sql=rejects
        and f"select * from {rejects} as held anti join {chosen} as new on {same}",
        keys_sql=f"from read_parquet({literal(files['keys.parquet'])})" if batch.is_sweep else None,
    )
    try:
        return landing.supersede(settings, connection, contract, batch, relation)
    except SourceError:
        raise Customer360Error(
            f"{name} {batch_id}: a corrected value does not fit the type that the source gives it"
        ) from None
