"""The demo company as the identity engine wants it: tables ``records`` and ``identifiers``.

What belongs here: what staging does in the product, in short, straight from the world database, so
that resolution can be measured against the truth. What does not: anything that the product reads.
"""

from pathlib import Path

import duckdb

START_DAY = 729

# system.table, key, record columns, identifier kind -> column
TABLES: dict[str, tuple[str, dict[str, str], list[tuple[str, str]]]] = {
    "crm.persons": (
        "person_no",
        {"full_name": "full_name", "sex": "gender", "birthday": "birthday", "province": "province",
         "city": "city", "district": "district", "address": "address",
         "created_at": "created_at", "updated_at": "updated_at"},
        [("person_no", "person_no"), ("phone", "mobile"), ("phone", "phone"), ("email", "email"),
         ("member_no", "member_no")],
    ),
    "crm.contacts": (
        "contact_id",
        {"full_name": "full_name", "created_at": "created_at", "updated_at": "updated_at"},
        [("phone", "mobile"), ("email", "email")],
    ),
    "crm.leads": (
        "lead_id",
        {"full_name": "full_name", "province": "province", "city": "city",
         "created_at": "created_at", "updated_at": "updated_at"},
        [("phone", "mobile"), ("email", "email"), ("person_no", "person_no")],
    ),
    "shop.accounts": (
        "account_id",
        {"full_name": "real_name", "sex": "gender", "birthday": "birthday",
         "created_at": "registered_at", "updated_at": "updated_at"},
        [("account", "account_id"), ("delivery_of", "account_id"), ("phone", "mobile"),
         ("email", "email"),
         ("unionid", "unionid")],
    ),
    "shop.addresses": (
        "address_id",
        {"full_name": "consignee", "province": "province", "city": "city", "district": "district",
         "address": "detail", "created_at": "created_at", "updated_at": "updated_at"},
        [("delivery_of", "account_id"), ("phone", "mobile")],
    ),
    "loyalty.members": (
        "member_no",
        {"full_name": "full_name", "sex": "gender", "birthday": "birthday",
         "birthday_calendar": "birthday_calendar",
         "created_at": "joined_at", "updated_at": "updated_at"},
        [("member_no", "member_no"), ("phone", "mobile")],
    ),
    "wechat.followers": (
        "openid",
        {"sex": "sex", "province": "province", "city": "city",
         "created_at": "to_timestamp(subscribe_time)"},
        [("openid", "openid"), ("unionid", "unionid"), ("phone", "bound_mobile"),
         ("member_no", "bound_member_no")],
    ),
    "campaign.contacts": (
        "contact_id",
        {"full_name": "full_name", "city": "city",
         "created_at": "created_at", "updated_at": "updated_at"},
        [("phone", "mobile"), ("email", "email"), ("openid", "openid"),
         ("member_no", "member_no")],
    ),
    "callcentre.tickets": (
        "ticket_id",
        {"full_name": "customer_name", "created_at": "opened_at", "updated_at": "updated_at"},
        [("phone", "caller_phone"), ("email", "email"), ("openid", "openid"),
         ("member_no", "member_no"), ("order_no", "order_no"), ("serial_no", "serial_no")],
    ),
    "aftersales.installed": (
        "serial_no",
        {"full_name": "owner_name", "province": "province", "city": "city",
         "district": "district", "address": "address", "created_at": "installed_on"},
        [("serial_no", "serial_no"), ("phone", "phone"), ("order_no", "order_reference")],
    ),
    "aftersales.visits": (
        "visit_no",
        {"full_name": "customer_name", "address": "address", "created_at": "reported_on"},
        [("serial_no", "serial_no"), ("phone", "phone")],
    ),
    "voice.responses": (
        "response_id",
        {"full_name": "respondent_name", "created_at": "submitted_at"},
        [("phone", "phone"), ("email", "email"), ("openid", "openid"),
         ("member_no", "member_no")],
    ),
    "voice.interviews": (
        "interview_id",
        {"full_name": "full_name", "city": "city", "created_at": "held_at"},
        [("phone", "phone"), ("member_no", "member_no")],
    ),
}  # fmt: skip

# what links records without being in them: record, kind, value, moment, from where
CHAINS = (
    ("'shop.accounts:' || account_id", "order_no", "order_no", "ordered_at",
     "world.shop.orders where true"),
    ("'shop.accounts:' || account_id", "phone", "mobile", "ordered_at",
     "world.shop.orders where true"),
    ("'loyalty.members:' || member_no", "order_no", "reference", "occurred_at",
     "world.loyalty.points where kind = 'earn'"),
    ("'campaign.contacts:' || contact_id", "order_no", "coalesce(order_no, receipt_no)",
     "redeemed_at",
     "world.campaign.redemptions join (select coupon_code, contact_id from world.campaign.coupons) "
     "using (coupon_code) where true"),
    ("'loyalty.members:' || member_no", "phone", "phone",
     "strptime(sold_at, '%Y/%m/%d %H:%M:%S')", "world.till.receipts where member_no is not null"),
    ("'shop.accounts:' || account_id", "nickname:shop", "nickname", "registered_at",
     "world.shop.accounts where true"),
    ("'wechat.followers:' || openid", "'nickname:' || app_id", "nickname",
     "to_timestamp(subscribe_time)", "world.wechat.followers where true"),
    ("'wechat.followers:' || openid", "'nickname:' || app_id", "nickname || '@' || city",
     "to_timestamp(subscribe_time)", "world.wechat.followers where true"),
    ("'shop.accounts:' || account_id", "nickname:shop",
     "nickname || '@' || regexp_replace(city, '市$', '')", "created_at",
     "(select nickname, addresses.* from world.shop.addresses join "
     "(select distinct account_id, nickname from world.shop.accounts) using (account_id)) "
     "where true"),
    # one nickname in one town in two apps within two months, each the only one of the other
    ("'wechat.followers:' || openid", "'nickname:' || app_id",
     "nickname || '@' || city || '@' || met", "to_timestamp(subscribe_time)", """(
        with follower as (select distinct on (openid) * from world.wechat.followers
            where city is not null and nickname is not null),
        met as (select one.openid as met, other.openid as other
            from follower as one join follower as other
                on one.nickname = other.nickname and one.city = other.city
                and one.app_id < other.app_id
                and abs(one.subscribe_time - other.subscribe_time) < 60 * 86400
                and coalesce(one.unionid = other.unionid, true)
            qualify count(*) over (partition by one.openid, other.app_id) = 1
                and count(*) over (partition by other.openid, one.app_id) = 1)
        select follower.*, met from met join follower on openid in (met, other)) where true"""),
    # who has a number for a name in China has it from QQ, and its mailbox
    ("'shop.accounts:' || account_id", "email", "username || '@qq.com'", "registered_at",
     "world.shop.accounts where regexp_full_match(username, '[1-9][0-9]{4,10}')"),
    ("'wechat.followers:' || openid", "unionid", "unionid", "epoch_ms(time)",
     "world.wechat.events where true"),
    ("'wechat.followers:' || openid", "unionid", "unionid", "to_timestamp(join_time)",
     "world.wechat.group_members where true"),
    # the payment that the mini program reports and the order that the shop books: the product is
    # in it, the value of goods or of all is the same, and within ten minutes there is no other
    ("'wechat.followers:' || openid", "order_no", "order_no", "ordered_at", """(
        select openid, order_no, ordered_at, payment._from_day, booked._to_day
        from world.wechat.events as payment join world.shop.orders as booked
            on epoch_ms(time) between ordered_at - interval 10 minute
                and ordered_at + interval 10 minute
            and round(100 * (properties ->> 'order_amount')::double) in (paid_fen, goods_fen)
        join (select distinct order_no, sku from world.shop.order_lines) as line
            using (order_no)
        where event = 'PayOrder' and booked.channel = 'mini_program'
            and sku = (properties ->> 'sku')
        qualify count(distinct order_no) over (partition by track_id) = 1
            and count(distinct track_id) over (partition by order_no) = 1) where true"""),
    ("'wechat.followers:' || openid", "member_no", "(properties ->> 'member_no')", "epoch_ms(time)",
     "world.wechat.events where type = 'profile_set'"),
    ("'shop.accounts:' || substr(user_id, 2)", "member_no", "(traits ->> 'member_no')", "timestamp",
     "world.events.events where type = 'identify'"),
)  # fmt: skip

FIELDS = (
    "full_name", "given_name", "family_name", "birthday", "birthday_calendar", "sex", "province",
    "city", "district", "address", "organisation_name", "credit_code", "domain",
)  # fmt: skip

_MOMENT = (
    "coalesce(try_cast({0} as timestamp), try_strptime(replace(replace(replace(replace(replace("
    "{0}::varchar, '年', '-'), '月', '-'), '日', ''), '.', '-'), '/', '-'), "
    "['%Y-%m-%d', '%Y-%m-%d %H:%M', '%Y-%m-%d %H:%M:%S']))"
)


def load_demo(
    con: duckdb.DuckDBPyConnection, world: Path, truth: Path, *, day: int = START_DAY
) -> None:
    """Make ``records``, ``identifiers`` and ``truth`` (record_id, person_id) as of ``day``."""
    con.execute(f"attach '{world}' as world (read_only)")
    con.execute(f"attach '{truth}' as truths (read_only)")
    con.execute(
        f"create or replace table records (record_id varchar, source varchar, entity varchar, "
        f"{', '.join(f'{name} varchar' for name in FIELDS)}, "
        "created_at timestamp, updated_at timestamp, is_deleted boolean)"
    )
    con.execute(
        "create or replace table identifiers (record_id varchar, kind varchar, "
        "value_normalised varchar, is_verified boolean, first_seen_at timestamp, "
        "last_seen_at timestamp, valid_to timestamp)"
    )
    visible = f"_from_day <= {day} and (_to_day is null or _to_day > {day})"
    for table, (key, fields, kinds) in TABLES.items():
        values = {name: f"{column}::varchar" for name, column in fields.items()}
        created = _MOMENT.format(values.pop("created_at"))
        updated = _MOMENT.format(values.pop("updated_at", "null"))
        record = f"'{table}:' || {key}::varchar"
        con.execute(
            f"insert into records by name select {record} as record_id, "
            f"'{table.split('.')[0]}' as source, 'person' as entity, "
            f"{', '.join(f'{column} as {name}' for name, column in values.items())}, "
            f"{created} as created_at, {updated} as updated_at, false as is_deleted "
            f"from world.{table} where {visible}"
        )
        for kind, column in kinds:
            con.execute(
                f"insert into identifiers select {record}, '{kind}', {column}::varchar, "
                f"{'true' if column == key else 'false'}, {created}, "
                f"coalesce({updated}, {created}), null "
                f"from world.{table} where {visible} and {column} is not null"
            )
    for record, kind, value, at, rest in CHAINS:
        con.execute(
            f"insert into identifiers select {record}, "
            f"{kind if kind.startswith(chr(39)) else repr(kind)}, {value}, false, min({at}), "
            f"max({at}), null from {rest} and {value} is not null and {visible} group by all"
        )
    con.execute(
        f"insert into records by name select 'crm.organisations:' || org_no as record_id, 'crm' as "
        "source, 'organisation' as entity, name as organisation_name, credit_code, province, city,"
        " district, address, created_at, updated_at, false as is_deleted "
        f"from world.crm.organisations where {visible}"
    )
    con.execute(
        "create or replace table truth as select record_id, person_id from records "
        "join truths.truth.records as known on record_id = "
        "known.system || '.' || known.table_name || ':' || known.record_key "
        "where person_id is not null"
    )
    con.execute("detach world")
    con.execute("detach truths")
