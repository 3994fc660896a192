"""PostgreSQL tables, read through DuckDB's scanner."""

import importlib.util
from pathlib import Path

import duckdb

from customer360.config import Source, Table
from customer360.connections import Connection, resolve
from customer360.exceptions import SourceError
from customer360.settings import Settings
from customer360.sources.relation import Reading, Relation
from customer360.warehouse import literal, quote


class DatabaseSession:
    """One database."""

    def __init__(self, name: str, connection: Connection) -> None:
        self.name = name
        self.connection = connection

    def columns(self, table_name: str, table: Table) -> dict[str, str] | None:  # noqa: ARG002, the protocol's
        """Said with the relation."""
        return None

    def relation(self, connection: duckdb.DuckDBPyConnection, reading: Reading) -> Relation:
        """The table, through the scanner."""
        known = self.connection
        parts = {
            "host": known.host,
            "port": known.port,
            "user": known.login,
            "password": known.password,
            "dbname": known.schema,
        }
        address = " ".join(f"{key}={value}" for key, value in parts.items() if value)
        try:
            _load_scanner(connection)
            connection.execute(f"attach {literal(address)} as origin (type postgres, read_only)")
            schema, _, name = (reading.table.relation or reading.table_name).rpartition(".")
            relation = f"origin.{quote(schema or 'public')}.{quote(name)}"
            described = connection.execute(f"describe {relation}").fetchall()
        except duckdb.Error as error:
            raise SourceError(
                f"{reading.name}: {self.name} cannot be read: {type(error).__name__}"
            ) from None
        columns = {row[0]: row[1] for row in described}
        names = ", ".join(quote(column) for column in columns)
        keys = ", ".join(quote(column) for column in reading.table.key)
        return Relation(
            f"select row_number() over () as _position, {names} from {relation}",
            columns,
            keys_sql=f"select {keys} from {relation}" if reading.is_sweep else None,
        )

    def close(self) -> None:
        """Nothing is held open."""


def _load_scanner(connection: duckdb.DuckDBPyConnection) -> None:
    spec = importlib.util.find_spec("duckdb_extension_postgres_scanner")
    assert spec and spec.submodule_search_locations
    folder = Path(next(iter(spec.submodule_search_locations)))
    version = f"v{duckdb.__version__}"
    connection.execute(
        f"load {literal(folder / 'extensions' / version / 'postgres_scanner.duckdb_extension')}"
    )


def open_session(settings: Settings, name: str, source: Source) -> DatabaseSession:
    """Look its connection up."""
    assert source.connection
    return DatabaseSession(name, resolve(settings, source.connection))
