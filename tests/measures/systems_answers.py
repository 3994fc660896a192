"""The questions of ``docs/questions``, answered by the demo's systems themselves, and by its truth.

Not from the warehouse, nor by its SQL: each table of the world as its system shows it at the end of
a day (``world`` has a view of the same name for each).
"""

from pathlib import Path
from typing import Any

import duckdb

LOCAL = "interval 8 hour"
"""The company's clock is ahead of UTC by so much."""

SALES = f"""
    select 'shop' as source, order_no as number, channel,
        (ordered_at + {LOCAL})::date as sold_on, goods_fen - discount_fen as fen
    from world.shop.orders where status <> 'cancelled'
    union all
    select 'tills', receipt_no, 'store', strptime(sold_at, '%Y/%m/%d %H:%M:%S')::date,
        round(paid_yuan * 100)::bigint
    from world.till.receipts
"""

REPAIRS = "select * from world.aftersales.visits where kind <> '安装'"

EXACT = {
    "03_spend_by_month_and_channel": (
        "select date_trunc('month', sold_on)::date, channel, count(*), sum(fen)::bigint "
        f"from ({SALES}) group by all order by all"
    ),
    "04_spend_by_source": (
        f"select source, count(*), sum(fen)::bigint from ({SALES}) group by source order by source"
    ),
    "13_open_cases": (
        "select topic, count(*), min(opened_at)::date from world.callcentre.tickets "
        "where status = 'open' group by topic order by 2 desc, 1"
    ),
    "14_first_response_by_channel": (
        "select channel, count(*), count(minutes), sum(minutes)::bigint, round(avg(minutes), 1) "
        "from (select channel, floor((epoch(first_response_at) - epoch(opened_at)) / 60) "
        "as minutes from world.callcentre.tickets) group by channel order by channel"
    ),
    "15_satisfaction_by_topic": (
        "select topic, count(satisfaction), sum(satisfaction)::bigint, round(avg(satisfaction), 2) "
        "from world.callcentre.tickets group by topic order by topic"
    ),
    "16_knowledge_base": (
        "with said as (select ticket_id, min_by(article_id, sent_at) as article_id "
        "from world.callcentre.messages group by ticket_id) "
        "select coalesce(tickets.article_id, said.article_id)::varchar, articles.title, count(*), "
        "count(*) filter (where reopened_count > 0) from world.callcentre.tickets as tickets "
        "left join said using (ticket_id) left join world.callcentre.articles as articles "
        "on coalesce(tickets.article_id, said.article_id) = articles.article_id "
        "where tickets.status = 'closed' group by all order by 3 desc, 1"
    ),
    "18_repairs_by_partner": (
        "select partner_code, count(*), sum(labour_yuan * 100)::bigint, "
        f"sum(parts_yuan * 100)::bigint from ({REPAIRS}) group by partner_code order by 2 desc, 1"
    ),
    "22_loyalty": (
        "select tier, count(*), sum(points_balance)::bigint from world.loyalty.members "
        "group by tier order by 2 desc, 1"
    ),
    "23_points_by_kind": (
        "select kind, count(*), sum(points)::bigint from world.loyalty.points "
        "group by kind order by kind"
    ),
    "24_leads_by_origin": (
        "select source, count(*), count(converted_at), round(count(converted_at) / count(*), 3) "
        "from world.crm.leads group by source order by 2 desc, 1"
    ),
    "25_deals_by_product_line": (
        "select product_line, count(*) filter (where stage = 'won'), "
        "count(*) filter (where stage = 'lost'), "
        "sum(amount_yuan * 100) filter (where stage = 'won')::bigint "
        "from world.crm.deals group by product_line order by product_line"
    ),
    "27_recommendation": (
        "select date_trunc('month', submitted_at::timestamp)::date, count(nps), "
        "count(*) filter (where nps >= 9), count(*) filter (where nps <= 6) "
        "from world.voice.responses where nps is not null group by 1 order by 1"
    ),
}
"""Question -> its answer by the systems, row for row."""

RECORDS = {
    "after_sales": "(select serial_no from world.aftersales.installed union all "
    "select visit_no from world.aftersales.visits)",
    "call_centre": "world.callcentre.tickets",
    "campaigns": "world.campaign.contacts",
    "loyalty": "world.loyalty.members",
}
"""Source -> the records of people that it shows."""

BOUGHT = f"""
    select records.person_id, sales.sold_on
    from ({SALES}) as sales
    join truth.truth.records as records on records.record_key = sales.number
        and records.system || '.' || records.table_name in ('shop.orders', 'till.receipts')
    where records.person_id is not null and sales.fen >= 0
"""

RETENTION = f"""
    with bought as ({BOUGHT}),
    months as (
        select unnest(generate_series(date '2025-07-01', date '2026-06-01', interval 1 month))::date
            as month)
    select month, avg(case when again then 1.0 else 0 end)
    from (
        select month, person_id, bool_or(sold_on >= month - interval 11 month) as again
        from bought join months on sold_on < month + interval 1 month
            and sold_on >= month - interval 23 month
        group by month, person_id
        having min(sold_on) < month - interval 11 month
    ) group by month order by month
"""
"""Month -> share of the persons who bought in the year before last that bought in the last."""


def open_systems(root: Path) -> duckdb.DuckDBPyConnection:
    """The world as its systems show it on the demo's day, and the truth."""
    connection = duckdb.connect()
    connection.execute("set TimeZone = 'UTC'")
    folder = root / "world"
    connection.execute(f"attach '{folder / 'world.duckdb'}' as whole (read_only)")
    connection.execute(f"attach '{folder / 'truth.duckdb'}' as truth (read_only)")
    connection.execute("attach ':memory:' as world")
    day = connection.execute(
        "select value::int from whole.meta.info where key = 'start_day'"
    ).fetchall()[0][0]
    tables = connection.execute(
        "select schema_name, table_name from duckdb_columns() where database_name = 'whole' "
        "and column_name = '_to_day'"
    ).fetchall()
    for schema, table in tables:
        connection.execute(f"create schema if not exists world.{schema}")
        connection.execute(
            f'create view world.{schema}."{table}" as select * from whole.{schema}."{table}" '
            f"where _from_day <= {day} and (_to_day is null or {day} < _to_day)"
        )
    return connection


def ask(connection: duckdb.DuckDBPyConnection, query: str) -> list[tuple[Any, ...]]:
    """All rows."""
    return connection.execute(query).fetchall()
