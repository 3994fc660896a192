"""What was read of files, set down as Parquet until the batch is written: memory stays bounded.

What belongs here: keeping tables of text aside and naming them in SQL. What does not: reading.
"""

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from customer360.warehouse import literal

FLUSH_BYTES = 8_000_000
REJECTS = pa.schema(
    [
        ("_file", pa.string()),
        ("_position", pa.int64()),
        ("_reason", pa.string()),
        ("_line", pa.large_string()),
    ]
)


class Spool:
    """Tables with columns that may differ, in the order in which they were added."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.columns: dict[str, None] = {}
        self.rows = 0
        self._pending: list[pa.Table] = []
        self._pending_bytes = 0
        self._parts = 0
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)

    def add(self, table: pa.Table) -> None:
        """Keep ``table``."""
        if self._pending and table.column_names != self._pending[-1].column_names:
            self._flush()
        self.columns |= dict.fromkeys(table.column_names)
        self.rows += table.num_rows
        self._pending.append(table)
        self._pending_bytes += table.nbytes
        if self._pending_bytes > FLUSH_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._pending:
            pq.write_table(
                pa.concat_tables(self._pending),
                self.folder / f"{self._parts:06d}.parquet",
                compression="lz4",
                use_dictionary=["_file"],
                write_statistics=False,
            )
            self._parts += 1
        self._pending, self._pending_bytes = [], 0

    def relation(self) -> str:
        """What was added, as a relation of SQL; add something, if only a table without rows."""
        self._flush()
        return f"read_parquet({literal(self.folder / '*.parquet')}, union_by_name=true)"


def rejects(file: str, found: list[tuple[int, str, str]]) -> pa.Table:
    """``_file``, ``_position``, ``_reason``, ``_line`` from position, reason and line."""
    return pa.table(
        {
            "_file": pa.array([file] * len(found), pa.string()),
            "_position": pa.array([each[0] for each in found], pa.int64()),
            "_reason": pa.array([each[1] for each in found], pa.string()),
            "_line": pa.array([each[2] for each in found], pa.large_string()),
        },
        schema=REJECTS,
    )


def labelled(file: str, table: pa.Table) -> pa.Table:
    """``table`` with its file's name in front."""
    return table.add_column(0, "_file", pa.array([file] * table.num_rows, pa.string()))
