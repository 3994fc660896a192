"""Columns are followed through models, unions by name, stars and joins to where they begin."""

from customer360.docs.lineage import Lineage, Warehouse


def node(name, sql, *needs, schema="main"):
    return {
        "resource_type": "model",
        "name": name,
        "alias": name,
        "schema": schema,
        "columns": {},
        "compiled_code": sql,
        "depends_on": {"nodes": list(needs)},
    }


def source(name, table, *columns):
    return {"schema": name, "identifier": table, "source_name": name, "name": table,
            "columns": {column: {} for column in columns}}  # fmt: skip


WIDE = """
    with spent as (select customer, sum(cents) as spend from "db"."main"."orders" group by 1)
    select spent.customer, spent.spend, 'x' as constant from spent
"""
ORDERS = """
    select source || id as customer, cents, case when day > date '2026-01-01' then cents end as late
    from (
        select null as source, null as id, null as cents, null as day where false
        union all by name select 'shop' as source, * from "db"."staging"."stg_shop"
        union all by name select 'till' as source, * from "db"."staging"."stg_till"
    ) as fed
"""
SHOP = 'select no as id, fen as cents, day from "raw"."shop"."lines" as lines'
TILL = """
    select cast(yuan * 100 as bigint) as cents, receipt as id
    from (
        select * from "raw"."till"."lines"
        qualify row_number() over (partition by receipt order by yuan) = 1
    ) as lines
"""
MANIFEST = {
    "sources": {
        "shop": source("shop", "lines", "no", "fen", "day"),
        "till": source("till", "lines", "receipt", "yuan"),
    },
    "nodes": {
        "wide": node("wide", WIDE, "orders"),
        "orders": node("orders", ORDERS, "stg_shop", "stg_till"),
        "stg_shop": node("stg_shop", SHOP, schema="staging"),
        "stg_till": node("stg_till", TILL, schema="staging"),
    },
}


def begins(table, column):
    return {
        f"{way.source}.{way.source_table}.{way.source_column}"
        for way in Warehouse(MANIFEST).trace(table, column)
    }


def test_a_column_is_followed_to_every_source_that_feeds_it():
    assert begins("wide", "spend") == {"shop.lines.fen", "till.lines.yuan"}
    assert begins("wide", "customer") == {"shop.lines.no", "till.lines.receipt"}


def test_order_of_columns_does_not_matter_in_a_union_by_name():
    assert begins("orders", "late") == {"shop.lines.fen", "till.lines.yuan", "shop.lines.day"}


def test_the_way_is_told_and_a_constant_begins_nowhere():
    assert begins("wide", "constant") == set()
    assert Warehouse(MANIFEST).trace("wide", "spend")[0] == Lineage(
        "wide", "spend", "shop", "lines", "fen", ("orders", "stg_shop")
    )


def test_a_count_begins_with_the_rows_that_are_counted():
    wide = """
        with bought as (select customer, count(*) as bills from "db"."main"."orders" group by all),
        words as (
            select customer, true as is_yes from "db"."main"."orders" where late is not null
            union all select customer, false as is_yes from "db"."main"."orders"
        )
        select bought.bills, words.is_yes, 1 as one from bought join words using (customer)
    """
    nodes = {**MANIFEST["nodes"], "wide": node("wide", wide, "orders")}
    warehouse = Warehouse({**MANIFEST, "nodes": nodes})
    for column in ("bills", "is_yes"):
        ways = warehouse.trace("wide", column)
        assert {(way.source, way.source_table, way.source_column) for way in ways} == {
            ("shop", "lines", "*"),
            ("till", "lines", "*"),
        }, column
    assert warehouse.trace("wide", "one") == []


def test_a_model_that_cannot_be_read_ends_the_way_and_says_so():
    nodes = {**MANIFEST["nodes"], "stg_till": node("stg_till", "select ) from", schema="staging")}
    nodes["stg_till"]["columns"] = {"cents": {}, "id": {}}
    found = Warehouse({**MANIFEST, "nodes": nodes}).trace("wide", "spend")
    assert {(way.source, way.source_table) for way in found} == {
        ("shop", "lines"),
        ("unread", "stg_till"),
    }
