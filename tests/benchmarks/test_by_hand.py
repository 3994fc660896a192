"""The benchmark's comparison sees one cell; that both sides are equal it checks in each run."""

import duckdb

from tests.benchmarks import by_hand
from tests.benchmarks.chain_bench import compare
from tests.conftest import LAST_DAY


def test_tables_are_compared_cell_by_cell(company, tmp_path):
    first, second = tmp_path / "first.duckdb", tmp_path / "second.duckdb"
    for target in (first, second):
        by_hand.build(company.files, LAST_DAY.isoformat(), target, threads=2, memory="500MB")
    tables = compare(first, second)
    assert min(one["rows"] for one in tables.values()) > 0
    assert [name for name, one in tables.items() if not one["equal"]] == []
    with duckdb.connect(str(second)) as connection:
        connection.execute("update orders set amount_cents = amount_cents + 1 where rowid = 0")
    assert [name for name, one in compare(first, second).items() if not one["equal"]] == ["orders"]
