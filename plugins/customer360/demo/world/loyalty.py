"""Loyalty: members, tiers and points that add up. UTC instants."""

from customer360.demo.world.engine import START_DAY, Engine
from customer360.demo.world.spelling import Rates, note_mess, note_records, spell

TIERS = (
    ("silver", "银卡会员", 0, 1.0, "生日礼券"),
    ("gold", "金卡会员", 300_000, 1.0, "生日礼券,免费清洗一次"),
    ("platinum", "白金会员", 800_000, 1.0, "生日礼券,免费清洗两次,专属客服"),
    ("diamond", "钻石会员", 2_000_000, 1.0, "生日礼券,专属管家,优先上门,延保一年"),
)


def make_loyalty(engine: Engine) -> None:
    """All tables of the schema ``loyalty``; needs purchases, before the tills."""
    engine.progress("loyalty")
    engine.run(
        """
        create table latent.member_recs as
        with firsts as (
            select pid, min(day) as first_day, min(day * 86400 + second) % 86400 as first_second
            from latent.buys group by 1),
        dated as (
            select pid * 2 as rec, pid, case when join_day < 0 then join_day
                   else greatest(join_day, coalesce(first_day, join_day)) end as day,
                   first_day, first_second
            from latent.people left join firsts using (pid)
            where u(pid, 'member') < case when channel in ('store', 'mini') then .72 else .45 end
            union all
            select pid * 2 + 1, pid, greatest(join_day, 0) + 60 + below(u(pid, 'mday'), 600),
                   null, null
            from latent.people where u(pid, 'member') < .05)
        select rec, pid, day,
               -- who joins at the first purchase does so some minutes before paying
               case when day = first_day
                    then least(36000 + below(u(rec, 'msec'), 36000),
                               greatest(0, first_second - 90 - below(u(rec, 'joins'), 600)))
                    else 36000 + below(u(rec, 'msec'), 36000) end as second,
               '88' || digits(row_number() over (order by day, u(rec, 'morder')) * 7
                   + below(u(rec, 'mgap'), 7), 8) as member_no
        from dated where day <= 869;
        """
    )
    spelled = spell(
        engine,
        "loyalty",
        "members",
        "select rec, pid, day from latent.member_recs",
        Rates(
            phone={"missing": 0.02, "dummy": 0.01, "slip": 0.015, "format": 0.05},
            birthday={"missing": 0.2, "placeholder": 0.05, "swapped": 0.02},
            email={},
        ),
    )
    engine.table(
        "latent.tier_rows",
        "tier varchar, name varchar, min_yearly_spend_fen bigint, points_per_yuan decimal(4,2),"
        " benefits varchar",
        TIERS,
    )
    engine.run(
        f"""
        create table world.loyalty.tiers as
        select *, 0 as _from_day, null::int as _to_day from latent.tier_rows order by 3;

        create table latent.member_buys as
        -- which membership a purchase was credited to, if the customer said they had one
        with members as (
            select pid, max(member_no) filter (rec % 2 = 0) as first_no,
                   max(day) filter (rec % 2 = 0) as first_day,
                   max(member_no) filter (rec % 2 = 1) as second_no,
                   max(day) filter (rec % 2 = 1) as second_day
            from latent.member_recs group by 1)
        select buys.buy, buys.pid, buys.day, buys.second,
               case when buys.day > second_day and u(buys.buy, 'card') < .6 then second_no
                    when buys.day >= first_day then first_no end as member_no,
               total.goods_fen
        from latent.buys as buys join members using (pid)
        join latent.totals as total using (buy)
        where u(buys.buy, 'shows') < .8
          and (buys.channel = 'store' or u(buys.buy, 'cancel') >= .03)
          and buys.day >= least(first_day, coalesce(second_day, 100000));

        create table latent.entries as
        with opening as (
            select member_no, day, second, 'adjust' as kind,
                   below(u(rec, 'opening')^2, 3000) as points, rec as source,
                   'OPENING' as reference
            from latent.member_recs where day < 0
            union all
            select member_no, day, second + 60, 'adjust', 100, rec, 'WELCOME'
            from latent.member_recs where day >= 0),
        earned as (
            select member_no, day, second + 300 as second, 'earn' as kind,
                   (goods_fen // 100)::int as points, buy as source, buy::varchar as reference
            from latent.member_buys where member_no is not null),
        redeemed as (
            select member_no, day + 1 + below(u(buy, 'spend_day'), 120) as day,
                   40000 + below(u(buy, 'spend'), 30000) as second, 'redeem' as kind,
                   -(goods_fen // 100 * (40 + below(u(buy, 'part'), 50)) // 100)::int as points,
                   buy as source, 'GIFT' || digits(below(u(buy, 'gift'), 40), 3) as reference
            from latent.member_buys where member_no is not null and u(buy, 'redeems') < .22),
        expired as (
            select member_no, day + 365 as day, 0, 'expire' as kind,
                   -(goods_fen // 100 * (5 + below(u(buy, 'lapse'), 20)) // 100)::int as
                       points, buy,
                   'EXPIRE'
            from latent.member_buys where member_no is not null and u(buy, 'redeems') >= .5)
        select *, row_number() over (partition by member_no order by day, second, source, kind)
                   as turn,
               sum(points) over (partition by member_no order by day, second, source, kind)
                   ::int as balance
        from (select * from opening union all select * from earned
              union all select * from redeemed where points < 0
              union all select * from expired where points < 0)
        where day <= 869;

        create table latent.spent as
        -- spend of the last 365 days decides the tier, checked at each purchase
        select member_no, day, source, turn, balance,
               sum(case when kind = 'earn' then points else 0 end) over (
                   partition by member_no order by day range between 364 preceding
                   and current row) as yearly_yuan
        from latent.entries;

        create table latent.tier_steps as
        with leveled as (
            select member_no, day, max(case when yearly_yuan >= 20000 then 3
                       when yearly_yuan >= 8000 then 2 when yearly_yuan >= 3000 then 1 else 0 end)
                       as level
            from latent.spent group by all),
        stepped as (
            select *, lag(level, 1, 0) over (partition by member_no order by day) as before
            from leveled)
        select * from stepped where level <> before;

        create table world.loyalty.tier_changes as
        select row_number() over (order by day, hash(member_no)) as change_id, member_no,
               (['silver', 'gold', 'platinum', 'diamond'])[before + 1] as from_tier,
               (['silver', 'gold', 'platinum', 'diamond'])[level + 1] as to_tier,
               case when level > before then '消费升级' else '保级未达标' end as reason,
               utc_at(day, 82800) as changed_at, seen(day) as _from_day, null::int as _to_day
        from latent.tier_steps order by 1;

        create table latent.member_days as
        with closing as (
            select member_no, seen(day) as day, max_by(balance, turn) as balance
            from latent.entries group by all),
        final as (
            select member_no, day, balance,
                   lead(day) over (partition by member_no order by day) as next_day
            from closing)
        select * from final where next_day is null or next_day > {START_DAY};
        """
    )
    engine.run(
        f"""
        create table world.loyalty.members as
        with changes as (
            select member.rec, phone.from_day + below(u(member.rec, 'mtells'), 70) as new_day,
                   phone.mobile as new_mobile
            from latent.member_recs as member
            join latent.phones as phone on phone.pid = member.pid and phone.seq = 1
            where u(member.rec, 'mtell') < .45 and phone.from_day > member.day),
        tiered as (
            select days.*, coalesce(step.level, 0) as level
            from latent.member_days as days
            asof left join latent.tier_steps as step
                on step.member_no = days.member_no and step.day <= days.day),
        versions as (
            select member.*, tiered.day as v_from, tiered.next_day as v_to, balance, level,
                   case when new_day <= tiered.day then new_mobile end as new_mobile
            from latent.member_recs as member join tiered using (member_no)
            left join changes on changes.rec = member.rec)
        select member_no, full_name, coalesce(new_mobile, mobile) as mobile, birthday,
               birthday_calendar,
               case when u(versions.rec, 'msex') < .9 then spelled.sex end as gender,
               (['silver', 'gold', 'platinum', 'diamond'])[level + 1] as tier,
               balance as points_balance,
               pick(['store', 'store', 'mini_program', 'web'], u(versions.rec, 'mvia'))
                   as join_channel,
               store.store_code, 'active' as status,
               utc_at(versions.day, second) as joined_at,
               utc_at(greatest(v_from, versions.day),
                      case when v_from <= versions.day then second + 120 else 82800 end)
                   as updated_at,
               v_from as _from_day, v_to as _to_day
        from versions join {spelled} as spelled on spelled.rec = versions.rec
        join latent.people as person on person.pid = versions.pid
        join latent.homes as home on home.hid = person.hid and home.seq = 0
        join latent.stores as store on store.idx = home.store_idx
        order by member_no, v_from;
        """
    )
    note_records(
        engine, "loyalty", "members", "select member_no as key, pid from latent.member_recs"
    )
    note_mess(
        engine,
        "loyalty",
        "members",
        spelled,
        "select rec, member_no as key from latent.member_recs",
    )


def make_points(engine: Engine) -> None:
    """Points entries; needs orders and receipts, whose numbers they quote."""
    engine.run(
        """
        create table world.loyalty.points as
        select row_number() over (order by entry.day, entry.second, hash(entry.member_no),
                                  entry.turn) as entry_id,
               entry.member_no, entry.kind, entry.points, entry.balance as balance_after,
               case when entry.kind = 'earn' then coalesce(orders.order_no, receipt.receipt_no)
                    else entry.reference end as reference,
               utc_at(entry.day, entry.second) as occurred_at,
               case when entry.kind = 'earn' then on_day(entry.day + 365) end as expires_on,
               seen(entry.day) as _from_day, null::int as _to_day
        from (select *, case when kind = 'earn' then source end as buy from latent.entries)
            as entry
        left join latent.orders as orders on orders.buy = entry.buy
        left join latent.receipts as receipt on receipt.buy = entry.buy
        order by 1
        """
    )
