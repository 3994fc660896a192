"""Reading marts that may be missing: a company without a system gets no rows, not an error.

What belongs here: one helper. What does not: any rule.
"""

import duckdb

from customer360.warehouse import literal, quote


def columns_of(connection: duckdb.DuckDBPyConnection, name: str, schema: str = "main") -> set[str]:
    """Columns of a table or view of the work file; none where it is not there."""
    rows = connection.execute(
        "select column_name from duckdb_columns() where schema_name = ? and table_name = ? "
        "and database_name = current_database()",
        [schema, name],
    ).fetchall()
    return {row[0] for row in rows}


def rows_of(
    connection: duckdb.DuckDBPyConnection, name: str, *, schema: str = "main", **columns: str
) -> str:
    """SQL for ``columns`` (name -> type) of a mart; null where a column is missing, no row where
    the mart is."""
    there = columns_of(connection, name, schema)
    cells = ", ".join(
        f"cast({quote(column) if column in there else 'null'} as {kind}) as {quote(column)}"
        for column, kind in columns.items()
    )
    if not there:
        return f"(select {cells} where false)"
    return f"(select {cells} from {quote(schema)}.{quote(name)})"


def day(value: object) -> str:
    """SQL for a day."""
    return f"date {literal(str(value))}"
