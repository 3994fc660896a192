"""What dbt's relationship tests promise, asked in one query."""

import json

import duckdb
import pytest

from customer360 import transform
from customer360.exceptions import GateError


def test_a_row_that_refers_to_nothing_is_found_also_beside_a_parent_without_a_key(
    company, tmp_path
):
    settings, marts = company.settings, tmp_path / "marts.duckdb"
    told = {"model": "orders", "column": "customer_id", "to": "customers", "field": "customer_id"}
    notes = settings.data_dir / "dbt" / transform.PARSED
    notes.parent.mkdir(parents=True)
    notes.write_text(json.dumps({"rules": "", "models": {}, "relations": [told]}))
    with duckdb.connect(str(marts)) as connection:
        connection.execute(
            "create table customers as select unnest(['a', null]) as customer_id;"
            "create table orders as select unnest(['a', null]) as customer_id"
        )
    assert transform._check_relations(settings, marts, {"orders"}) == 1
    assert transform._check_relations(settings, marts, {"customers"}) == 0
    with duckdb.connect(str(marts)) as connection:
        connection.execute("insert into orders values ('b'), ('b')")
    with pytest.raises(GateError, match=r"orders.customer_id: 2 rows refer to nothing"):
        transform._check_relations(settings, marts, {"orders"})
