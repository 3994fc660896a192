"""Is the world hard enough? What simple ways reach, measured against the truth.

Only evaluations, tests and ``demo status --truth`` may use this: it reads the truth.
"""

from pathlib import Path
from typing import Any

import duckdb

from customer360.demo.world.engine import START_DAY

DUMMY_PHONES = (
    "'13800000000', '13800138000', '13888888888', '13000000000', '11111111111', '12345678901'"
)
DUMMY_EMAILS = "'test@test.com', '123@qq.com', 'a@a.com', 'no@no.com'"

# system, table, key, phone, e-mail, member number, unionid, openid
RECORDS = (
    ("crm", "persons", "person_no", "mobile", "email", "member_no", None, None),
    ("crm", "contacts", "contact_id", "mobile", "email", None, None, None),
    ("crm", "leads", "lead_id", "mobile", "email", None, None, None),
    ("shop", "accounts", "account_id", "mobile", "email", None, "unionid", None),
    ("loyalty", "members", "member_no", "mobile", None, "member_no", None, None),
    ("wechat", "followers", "openid", "bound_mobile", None, "bound_member_no", "unionid",
     "openid"),
    ("campaign", "contacts", "contact_id", "mobile", "email", "member_no", None, "openid"),
    ("callcentre", "tickets", "ticket_id", "caller_phone", "email", "member_no", None, "openid"),
    ("aftersales", "installed", "serial_no", "phone", None, None, None, None),
    ("voice", "responses", "response_id", "phone", "email", "member_no", None, "openid"),
    ("voice", "interviews", "interview_id", "phone", None, "member_no", None, None),
)  # fmt: skip

RULES = {
    "recency": "recency",
    "few_purchases": "-purchases",
    "little_spent": "-spent",
    "overdue": "recency / greatest(20, span / greatest(1, purchases - 1))",
    "few_visits": "-visits",
    "complaints": "complaints",
    "new": "-tenure",
}


def hardness(world: Path, truth: Path) -> dict[str, Any]:
    """How far simple ways come at the start day.

    Args:
        world: file that :func:`generate` made.
        truth: its truth.

    Returns:
        ``exact_recall`` (asked: at most .75), ``components_precision`` without and
        ``components_precision_with_dummies`` with values like 13800000000 (asked: at most .90),
        ``leaving_auc_hazard``, ``leaving_auc_best_rule``, ``leaving_auc_gap`` (asked: at least
        .05), what they were counted over, and ``mess``: a row a kind, asked and planted.
    """
    con = duckdb.connect(":memory:", config={"threads": 2, "memory_limit": "3000MB"})
    try:
        con.execute(f"attach '{world}' as world (read_only)")
        con.execute(f"attach '{truth}' as truths (read_only)")
        collect_identifiers(con)
        return {**identity(con), **leaving(con), "mess": mess(con)}
    finally:
        con.close()


def collect_identifiers(con: duckdb.DuckDBPyConnection) -> None:
    """Records that show a person, and their normalised strong identifiers."""
    con.execute(
        """
        create table records(record bigint, person_id varchar);
        create table identifiers(record bigint, value varchar);
        create macro phone_of(typed) as
            right(regexp_replace(translate(typed, '０１２３４５６７８９', '0123456789'),
                                 '[^0-9]', '', 'g'), 11);
        create macro email_of(typed) as nullif(lower(trim(replace(typed, '＠', '@'))), '');
        """
    )
    for number, (system, table, key, phone, email, member, union, openid) in enumerate(RECORDS):
        pieces = [
            f"select record, '{kind}' || {value} as value from visible where {column} is not null"
            for kind, column, value in (
                ("p", phone, f"phone_of({phone})"),
                ("e", email, f"email_of({email})"),
                ("m", member, member),
                ("u", union, union),
                ("o", openid, openid),
            )
            if column
        ]
        con.execute(
            f"""
            create or replace temp table visible as
            select {number}::bigint * 1000000000 + row_number() over () as record, shown.*,
                   truth.person_id
            from world.{system}.{table} as shown
            join truths.truth.records as truth on truth.system = '{system}'
                and truth.table_name = '{table}' and truth.record_key = shown.{key}::varchar
            where _from_day <= {START_DAY} and (_to_day is null or _to_day > {START_DAY})
              and truth.person_id is not null;
            insert into records select record, person_id from visible;
            insert into identifiers {" union all ".join(pieces)};
            """
        )


def identity(con: duckdb.DuckDBPyConnection) -> dict[str, float]:
    """Recall of pairs that share an identifier; precision of what hangs together."""
    real = f"value not in ({prefixed('p', DUMMY_PHONES)}, {prefixed('e', DUMMY_EMAILS)})"
    true_pairs = count(
        con,
        "select sum(n * (n - 1) // 2) from (select count(*) as n from records group by person_id)",
    )
    found = count(
        con,
        f"""
        with told as (select distinct identifiers.record, value, person_id
                      from identifiers join records using (record) where {real})
        select count(*) from (
            select distinct one.record, other.record from told as one
            join told as other on one.value = other.value and one.person_id = other.person_id
                and one.record < other.record)
        """,
    )
    result = {
        "records": count(con, "select count(*) from records"),
        "persons": count(con, "select count(distinct person_id) from records"),
        "true_pairs": true_pairs,
        "exact_recall": round(found / max(1, true_pairs), 4),
    }
    for name, condition in (("", real), ("_with_dummies", "true")):
        joined, right = components(con, condition)
        result[f"components_precision{name}"] = round(right / max(1, joined), 4)
        result[f"components_recall{name}"] = round(right / max(1, true_pairs), 4)
    return result


def components(con: duckdb.DuckDBPyConnection, condition: str) -> tuple[int, int]:
    """Pairs within plain connected components, and how many of them are of one person."""
    con.execute(
        f"""
        create or replace temp table edges as
        select distinct record, value from identifiers where {condition};
        create or replace temp table labels as select record, record as label from records;
        """
    )
    while True:
        con.execute(
            """
            create or replace temp table moved as
            with by_value as (
                select value, min(label) as label from edges join labels using (record) group by 1),
            by_record as (
                select record, min(by_value.label) as label
                from edges join by_value using (value) group by 1),
            stepped as (
                select labels.record, least(labels.label, by_record.label) as label
                from labels left join by_record using (record))
            -- the label is itself a record: take that record's label too, which halves the way
            select stepped.record, least(stepped.label, other.label) as label
            from stepped join stepped as other on other.record = stepped.label
            """
        )
        changed = count(
            con,
            "select count(*) from moved join labels using (record)"
            " where moved.label <> labels.label",
        )
        con.execute("create or replace temp table labels as select * from moved")
        if not changed:
            break
    pairs = "select sum(n::hugeint * (n - 1) // 2)::bigint from (select count(*) as n from {})"
    joined = count(con, pairs.format("labels group by label"))
    right = count(con, pairs.format("labels join records using (record) group by label, person_id"))
    return joined, right


def leaving(con: duckdb.DuckDBPyConnection) -> dict[str, float]:
    """AUC for leaving within 90 days among those who bought in the last year and are there."""
    con.execute(
        f"""
        create temp table bought as
        select truth.person_id, day, fen
        from (select order_no, date_diff('day', date '2024-07-01',
                         (ordered_at + interval 8 hour)::date) as day, paid_fen as fen
              from world.shop.orders
              where status <> 'cancelled' and _from_day <= {START_DAY}
                and (_to_day is null or _to_day > {START_DAY})) as shown
        join truths.truth.records as truth on truth.system = 'shop'
            and truth.table_name = 'orders' and truth.record_key = shown.order_no
        union all
        select truth.person_id, _from_day, (paid_yuan * 100)::bigint
        from world.till.receipts as shown
        join truths.truth.records as truth on truth.system = 'till'
            and truth.table_name = 'receipts' and truth.record_key = shown.receipt_no
        where paid_yuan > 0 and _from_day <= {START_DAY};

        create temp table people as
        with habits as (
            select person_id, {START_DAY} - max(day) as recency, count(*) as purchases,
                   sum(fen) as spent, max(day) - min(day) as span
            from bought group by 1),
        seen as (
            select truth.person_id, count(*) as visits
            from world.events.events as event
            join truths.truth.anonymous as truth using (anonymous_id)
            where _from_day between {START_DAY - 59} and {START_DAY} group by 1),
        told as (
            select truth.person_id, count(*) as complaints
            from world.callcentre.tickets as ticket
            join truths.truth.records as truth on truth.system = 'callcentre'
                and truth.record_key = ticket.ticket_id::varchar
            where opened_at between timestamp '2026-01-01' and timestamp '2026-07-01'
              and topic <> 'question' group by 1)
        select person.person_id, recency, purchases, spent, span, hazard.hazard_90_days as hazard,
               coalesce(visits, 0) as visits, coalesce(complaints, 0) as complaints,
               date '2026-06-30' - joined_on as tenure,
               coalesce(left_on <= date '2026-06-30' + 90, false) as leaves
        from habits
        join truths.truth.persons as person using (person_id)
        join truths.truth.hazards as hazard on hazard.person_id = person.person_id
            and hazard.as_of = date '2026-06-30'
        left join seen on seen.person_id = person.person_id
        left join told on told.person_id = person.person_id
        where recency <= 365 and (left_on is null or left_on > date '2026-06-30')
        """
    )
    rules = {name: auc(con, rule) for name, rule in RULES.items()}
    best = max(rules, key=lambda name: rules[name])
    hazard = auc(con, "hazard")
    return {
        "leaving_people": count(con, "select count(*) from people"),
        "leaving_leavers": count(con, "select count(*) from people where leaves"),
        "leaving_auc_hazard": round(hazard, 4),
        "leaving_auc_best_rule": round(rules[best], 4),
        "leaving_auc_gap": round(hazard - rules[best], 4),
        **{f"leaving_auc_{name}": round(value, 4) for name, value in rules.items()},
    }


def mess(con: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    """How many of each kind of mess, over all systems, beside the share asked for.

    The truth lists the records of each kind but for empty values, which any reader can see.
    """
    rows = con.execute(
        """
        with told as (
            select kind, sum(asked * records) / sum(records) as asked,
                   sum(planted) / sum(records) as planted, sum(records)::bigint as eligible,
                   sum(planted)::bigint as planted_records
            from truths.truth.mess_rates group by 1),
        counted as (select kind, count(*) as records from truths.truth.mess group by 1)
        select kind, coalesce(counted.records, planted_records) as records, eligible,
               round(told.asked, 4) as asked, round(told.planted, 4) as planted
        from counted full join told using (kind) order by kind
        """
    ).fetchall()
    names = ("kind", "records", "eligible", "asked", "planted")
    return [dict(zip(names, row, strict=True)) for row in rows]


def auc(con: duckdb.DuckDBPyConnection, score: str) -> float:
    """Area under the ROC curve of ``score`` for ``people.leaves``; .5 where one class is empty."""
    row = con.execute(
        f"""
        with ranked as (
            select leaves, rank() over (order by {score})
                   + (count(*) over (partition by {score}) - 1) / 2.0 as place
            from people)
        select sum(place) filter (leaves), count(*) filter (leaves), count(*) filter (not leaves)
        from ranked
        """
    ).fetchone()
    assert row is not None
    places, positive, negative = row
    if not positive or not negative:
        return 0.5
    return float((places - positive * (positive + 1) / 2) / (positive * negative))


def prefixed(kind: str, values: str) -> str:
    """The quoted ``values`` as they stand among the identifiers of ``kind``."""
    return values.replace("'1", f"'{kind}1") if kind == "p" else ", ".join(
        f"'{kind}{value.strip()[1:]}" for value in values.split(",")
    )  # fmt: skip


def count(con: duckdb.DuckDBPyConnection, sql: str) -> int:
    """One number."""
    row = con.execute(sql).fetchone()
    return int((row and row[0]) or 0)
