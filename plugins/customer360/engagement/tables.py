"""Reading marts that may be missing: a company without a system gets no rows, not an error.

What belongs here: one helper. What does not: any rule.
"""

import duckdb

from customer360.warehouse import literal, quote


def find(
    connection: duckdb.DuckDBPyConnection, name: str, schema: str = "main"
) -> tuple[str, set[str]]:
    """SQL name and columns of a table or view of the work file or the run's workspace.

    Where there is none, the columns are empty.
    """
    rows = connection.execute(
        "select database_name, column_name from duckdb_columns() where schema_name = ? "
        "and table_name = ? and database_name in (current_database(), 'workspace')",
        [schema, name],
    ).fetchall()
    columns = {row[1] for row in rows}
    database = quote(rows[0][0]) if rows else "?"
    return f"{database}.{quote(schema)}.{quote(name)}", columns


def rows_of(
    connection: duckdb.DuckDBPyConnection, name: str, *, schema: str = "main", **columns: str
) -> str:
    """SQL for ``columns`` (name -> type) of a mart; null where a column is missing, no row where
    the mart is."""
    table, there = find(connection, name, schema)
    cells = ", ".join(
        f"cast({quote(column) if column in there else 'null'} as {kind}) as {quote(column)}"
        for column, kind in columns.items()
    )
    return f"(select {cells} from {table})" if there else f"(select {cells} where false)"


def day(value: object) -> str:
    """SQL for a day."""
    return f"date {literal(str(value))}"
