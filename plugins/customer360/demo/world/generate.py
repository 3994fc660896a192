"""Make a world and its truth: the order of the parts, what is told about them, and the files."""

import json
import shutil
from pathlib import Path

from customer360.demo import GENERATOR_VERSION
from customer360.demo.world import (
    campaigns,
    crm,
    life,
    loyalty,
    people,
    service,
    shop,
    till,
    voice,
    web,
    wechat,
)
from customer360.demo.world.engine import (
    DAY0,
    LAST_DAY,
    START_DAY,
    Engine,
    Progress,
    open_engine,
)
from customer360.exceptions import ConfigError

SIZES = {"tiny": 300, "small": 2_000, "medium": 100_000, "large": 1_000_000}
SYSTEMS = (
    "crm", "shop", "loyalty", "till", "wechat", "events", "callcentre", "campaign", "aftersales",
    "voice",
)  # fmt: skip
# natural keys; tables whose rows change or vanish end with "*"
KEYS = """
crm.sales_people sales_id
crm.persons* person_no
crm.organisations org_no
crm.contacts contact_id
crm.leads* lead_id
crm.activities activity_id
crm.deals* deal_id
crm.consents* consent_id
crm.acquisition_costs cost_id
shop.accounts* account_id
shop.addresses* address_id
shop.products sku
shop.prices price_id
shop.carts* cart_id
shop.cart_lines* cart_id,line_no
shop.orders* order_no
shop.order_lines order_no,line_no
shop.returns* return_no
loyalty.tiers tier
loyalty.members* member_no
loyalty.tier_changes change_id
loyalty.points entry_id
till.stores store_code
till.receipts receipt_no
till.receipt_lines receipt_no,line_no
wechat.events track_id
wechat.followers* openid
wechat.groups chat_id
wechat.group_members* chat_id,openid
wechat.referrals* referral_id
events.events message_id
callcentre.agents agent_id
callcentre.articles article_id
callcentre.tickets* ticket_id
callcentre.messages message_id
campaign.campaigns* campaign_id
campaign.contacts contact_id
campaign.audience campaign_id,contact_id
campaign.sends send_id
campaign.responses response_id
campaign.coupons* coupon_code
campaign.redemptions redemption_id
campaign.unsubscribes unsubscribe_id
aftersales.partners partner_code
aftersales.installed serial_no
aftersales.visits visit_no
aftersales.parts visit_no,line_no
voice.surveys survey_id
voice.responses response_id
voice.interviews interview_id
voice.reviews review_id
voice.posts post_id
"""
FOREIGN_KEYS = (
    ("shop", "orders", ["account_id"], "accounts", ["account_id"]),
    ("shop", "order_lines", ["order_no"], "orders", ["order_no"]),
    ("shop", "order_lines", ["sku"], "products", ["sku"]),
    ("shop", "prices", ["sku"], "products", ["sku"]),
    ("loyalty", "points", ["member_no"], "members", ["member_no"]),
    ("callcentre", "messages", ["ticket_id"], "tickets", ["ticket_id"]),
)


def generate(
    path: Path, truth_path: Path, size: str, seed: int, *, progress: Progress | None = None
) -> None:
    """Make ``path`` (what the systems show, over the whole life) and ``truth_path``.

    Both appear whole or not at all: they are made beside their places and renamed at the end.
    The same size and seed give the same content.

    Raises:
        ConfigError: the size is unknown.
    """
    if size not in SIZES:
        raise ConfigError(f"demo: size {size!r} is unknown; use one of {', '.join(SIZES)}")
    made, told, work = (
        file.with_name(file.name + suffix)
        for file, suffix in ((path, ".part"), (truth_path, ".part"), (path, ".latent"))
    )
    clear(made, told, work)
    try:
        engine = open_engine(
            made,
            told,
            work,
            size=size,
            seed=seed,
            persons=SIZES[size],
            progress=progress or (lambda _: None),
        )
        try:
            make_world(engine)
        finally:
            engine.con.close()
        made.replace(path)
        told.replace(truth_path)
    finally:
        clear(made, told, work)


def clear(*files: Path) -> None:
    """Remove unfinished files with what DuckDB keeps beside them."""
    for file in files:
        file.unlink(missing_ok=True)
        file.with_name(file.name + ".wal").unlink(missing_ok=True)
        shutil.rmtree(file.with_name(file.name + ".spill"), ignore_errors=True)


def make_world(engine: Engine) -> None:
    """All parts in the order in which they need each other."""
    for system in SYSTEMS:
        engine.run(f"create schema world.{system}")
    engine.run(
        """
        create schema world.meta;
        create table truths.truth.records(system varchar, table_name varchar, record_key varchar,
            person_id varchar);
        create table truths.truth.mess(kind varchar, system varchar, table_name varchar,
            record_key varchar, detail varchar);
        create table truths.truth.texts(system varchar, table_name varchar, record_key varchar,
            aspect varchar, mood varchar, sentiment_thousandths int);
        create table truths.truth.organisations(org_no varchar, organisation_id varchar);
        create table truths.truth.organisation_members(organisation_id varchar,
            person_id varchar);
        create table latent.rates(kind varchar, system varchar, table_name varchar, asked double,
            records bigint, planted bigint);
        create macro coupon_code(pid, campaign) as
            'QL' || upper(substr(md5(concat(pid::varchar, '/', campaign::varchar, 'coupon',
                seed())),
                                 1, 10));
        """
    )
    people.make_vocabulary(engine)
    people.make_people(engine)
    life.make_life(engine)
    wechat.make_followers(engine)
    service.make_texts(engine)
    crm.make_staff(engine)
    shop.make_account_recs(engine)
    loyalty.make_loyalty(engine)
    crm.make_staff_cards(engine)
    shop.make_shop(engine)
    till.make_till(engine)
    loyalty.make_points(engine)
    wechat.make_wechat(engine)
    campaigns.make_campaign_tool(engine)
    service.make_callcentre(engine)
    service.make_aftersales(engine)
    voice.make_voice(engine)
    crm.make_crm(engine)
    web.make_visits_and_events(engine)
    make_meta(engine)
    make_truth(engine)


def make_meta(engine: Engine) -> None:
    """What the systems' half needs to know of the world."""
    info = {
        "generator_version": str(GENERATOR_VERSION),
        "size": engine.size,
        "seed": str(engine.seed),
        "persons": str(engine.persons),
        "day0": DAY0.isoformat(),
        "start_day": str(START_DAY),
        "start_date": str(engine.rows(f"select on_day({START_DAY})")[0][0]),
        "last_day": str(LAST_DAY),
    }
    engine.table("world.meta.info", "key varchar, value varchar", list(info.items()))
    tables = []
    for line in KEYS.split("\n"):
        if line:
            name, key = line.split()
            system, table = name.rstrip("*").split(".")
            tables.append((system, table, key.split(","), name.endswith("*"), None))
    engine.table(
        "world.meta.tables",
        "system varchar, table_name varchar, primary_key varchar[], mutable boolean,"
        " comment varchar",
        tables,
    )
    engine.table(
        "world.meta.foreign_keys",
        "system varchar, table_name varchar, columns varchar[], parent varchar,"
        " parent_columns varchar[]",
        FOREIGN_KEYS,
    )
    stores = [str(row[0]) for row in engine.rows("select store_code from world.till.stores")]
    engine.table(
        "world.meta.incidents",
        "incident_id int, system varchar, table_name varchar, day int, kind varchar, detail json",
        [
            (number + 1, system, table, day, kind, json.dumps(detail))
            for number, (system, table, day, kind, detail) in enumerate(incidents(stores))
        ],
    )


def incidents(
    stores: list[str],
) -> list[tuple[str, str | None, int, str, dict[str, object]]]:
    """Accidents of files and releases; most lie after the start day, where daily runs meet them."""
    found: list[tuple[str, str | None, int, str, dict[str, object]]] = []
    for offset in (2, 5, 17, 33, 61, 90, 118):
        part = stores[offset * 7 % len(stores)]
        found.append(("till", None, START_DAY + offset, "late_file", {"days": 2, "part": part}))
    for offset in (3, 20, 47, 75, 111):
        part = stores[offset * 5 % len(stores)]
        found.append(("till", None, START_DAY + offset, "double_file", {"part": part}))
    found += [
        ("events", "events", START_DAY + 6, "late_file", {"days": 1, "part": None}),
        ("wechat", "events", START_DAY + 30, "double_file", {"part": None}),
        ("shop", "orders", START_DAY + 4, "column_added",
         {"column": "delivery_slot", "type": "VARCHAR"}),
        ("crm", "leads", START_DAY + 25, "column_added", {"column": "utm_source",
                                                          "type": "VARCHAR"}),
        ("till", "receipts", START_DAY + 12, "column_retyped",
         {"column": "paid_yuan", "type": "VARCHAR", "expression": "paid_yuan::varchar || '元'"}),
        ("callcentre", "tickets", START_DAY + 40, "column_retyped",
         {"column": "satisfaction", "type": "VARCHAR",
          "expression": "case when satisfaction is null then null"
                        " else satisfaction::varchar || '分' end"}),
        ("campaign", None, START_DAY + 7, "system_down", {}),
        ("loyalty", None, START_DAY + 15, "system_down", {}),
        ("wechat", None, START_DAY + 22, "system_down", {}),
        ("callcentre", None, START_DAY + 52, "system_down", {}),
        ("aftersales", "installed", START_DAY + 11, "late_file", {"days": 3, "part": None}),
    ]  # fmt: skip
    return sorted(found, key=lambda row: (row[2], row[0], row[3]))


def make_truth(engine: Engine) -> None:
    """Persons as they are, effects as they were made, and the mess asked and planted."""
    engine.progress("truth")
    engine.run(
        f"""
        create table truths.truth.persons as
        select 'P' || code as person_id, 'H' || substr(md5(concat('h', person.hid::varchar,
            seed())), 1, 10)
                   as household_id,
               names.plain as full_name, person.sex, person.birth, on_day(person.join_day)
                   as joined_on,
               case when leave.leave_day <= {LAST_DAY} then on_day(leave.leave_day) end as left_on,
               round(state.hazard_90_days, 6) as hazard_90_days,
               round(state.satisfaction, 4) as satisfaction,
               person.channel as buying_channel, person.touch_channel as preferred_channel,
               person.touch_hour as preferred_hour, kinds.kind,
               staff.pid is not null as is_staff
        from latent.people as person join latent.codes using (pid)
        join latent.names as names using (pid)
        join latent.kinds as kinds on kinds.pid = person.pid
        left join latent.leaving as leave on leave.pid = person.pid
        left join latent.staff as staff on staff.pid = person.pid
        left join latent.states as state on state.pid = person.pid and state.day = {START_DAY}
        order by 1;

        create table truths.truth.hazards as
        select 'P' || code as person_id, on_day(day) as as_of,
               round(satisfaction, 4) as satisfaction,
               round(hazard_90_days, 6) as hazard_90_days
        from latent.states join latent.codes using (pid) order by 2, 1;

        create table truths.truth.identifiers as
        select 'P' || code as person_id, 'phone' as kind, mobile as identifier,
               case when from_day < 0 then null else on_day(from_day) end as from_on,
               case when to_day is not null then on_day(to_day) end as to_on, is_recycled
        from latent.phones join latent.codes using (pid) order by 1, 3;

        create table truths.truth.campaign_effects as
        select effect.campaign as campaign_id, kind, matched as is_preferred_channel,
               effect as added_purchases_in_14_days
        from latent.effects as effect order by 1, 2, 3;

        create table truths.truth.faulty_batches as
        select distinct batch_no, sku, model, min(on_day(bought_day)) over () as sold_from,
               max(on_day(bought_day)) over () as sold_until
        from latent.installed join latent.products on products.idx = product
        where batch_no like '%B7' order by 1;

        create table truths.truth.anonymous as
        select distinct anonymous_id, 'P' || code as person_id
        from latent.anonymous join latent.codes using (pid) order by 1;

        create table truths.truth.mess_rates as
        select kind, system, table_name, asked, records, planted,
               round(planted / greatest(1, records), 5) as planted_rate
        from latent.rates order by 2, 3, 1;
        """
    )
