"""What people do: purchases, bad experiences, satisfaction, leaving, answers to campaigns.

Satisfaction fades back to a person's own level, so it is a sum over past experiences and needs no
simulation day by day. The monthly hazard of leaving follows from it, from frailty (which no
system shows) and from tenure. Purchases stop at leaving and thin out as satisfaction falls.
"""

import datetime as dt

from customer360.demo.world.engine import DAY0, DAYS, START_DAY, Engine

MONTHS = 29
FADES_DAYS = 200
"""Days before leaving over which a person buys and looks in less and less."""
FAULTY_SKU_IDX = 34  # a 扫地机器人 of the third series
HAZARD = """least(.6, exp(-4.3 + .85 * frailty - 1.25 * satisfaction
    + case when tenure_months < 4 then .35 else 0 end))"""


def fading(share: str, day: str = "day") -> str:
    """SQL of the share of usual doings that is left on ``day``, before ``leave_day``."""
    return (
        f"case when leave_day - {day} < {FADES_DAYS}"
        f" then {share} + (1 - {share}) * (leave_day - {day}) / {FADES_DAYS}.0 else 1 end"
    )


def make_life(engine: Engine) -> None:
    """Everything latent that has a day."""
    engine.progress("purchases")
    make_wishes(engine)
    make_experiences(engine)
    engine.progress("leaving")
    make_leaving(engine)
    engine.progress("campaigns")
    make_campaigns(engine)
    make_purchases(engine)
    make_installed(engine)


def make_wishes(engine: Engine) -> None:
    """Purchases that would happen if nobody left and nothing went wrong."""
    engine.run(
        """
        create table latent.wishes as
        with counted as (
            select pid, channel, premium, join_day, touch_hour, hid,
                   least(120, pois(u(pid, 'wishes'), yearly_rate * 2.6)) as wanted
            from latent.people),
        drawn as (
            select pid, hid, channel, premium, touch_hour, join_day, k,
                   case when k = 0 and join_day >= 0 and u(pid, 'first') < .8 then join_day
                        else drawn_day.item end as day,
                   u2(pid, k, 'which') as which
            from (select *, unnest(range(wanted + 1)) as k from counted)
            join latent.day_slots as drawn_day on drawn_day.slot = slot_of(u2(pid, k, 'wish')))
        select pid * 1024 + k as buy, pid, hid, premium, day, touch_hour,
               case when which < .68 then channel
                    when day > 400 and which < .80 then 'mini'
                    else pick(['store', 'web', 'app', 'mini'], u2(pid, k, 'other')) end as channel,
               0 as origin
        from drawn
        where day >= join_day and not (k = 0 and join_day < 0);

        create table latent.wish_items as
        with counted as (
            select *, 1 + (u(buy, 'two') < .24)::int + (u(buy, 'three') < .06)::int as wanted,
                   case when (day + 182) % 365 between 0 and 62
                             or (day + 182) % 365 between 302 and 364 then 1
                        when (day + 182) % 365 between 120 and 230 then 0 else 2 end as phase
            from latent.wishes)
        select buy, line + 1 as line, pid, day,
               slots.item as product
        from (select *, unnest(range(wanted)) as line from counted) as drawn
        join latent.sku_slots as slots on slots.phase = drawn.phase
            and slots.premium = drawn.premium and slots.slot = slot_of(u2(buy, line, 'sku'));

        -- what is used up is bought again, at an interval that a person keeps
        create table latent.refills as
        with owned as (
            select item.buy, item.pid, item.day, refill.idx as product, refill.cycle_days,
                   row_number() over (partition by item.pid, refill.idx order by item.buy,
                                      item.line) as again
            from latent.wish_items as item
            join latent.products as product on product.idx = item.product
            join latent.products as refill on refill.fits = product.category
            where u2(item.buy, refill.idx, 'refills') < .5),
        kept as (
            select owned.*, least(9, 1 + floor(ln(u2(buy, product, 'chain') + 1e-9) / ln(.72)))
                       ::int as times
            from owned where again = 1)
        select kept.pid * 1024 + 400 + (product % 10) * 10 + turn as buy, kept.pid,
               (kept.day + turn * cycle_days * (.85 + .35 * u(kept.pid, 'habit'))
                + (u2(buy, turn, 'jitter') - .5) * .16 * cycle_days)::int as day, product
        from kept, range(1, times + 1) as numbers(turn);

        insert into latent.wishes
        select refill.buy, refill.pid, hid, premium, refill.day, touch_hour,
               case when u(refill.buy, 'where') < .55 then 'mini'
                    when channel = 'store' and u(refill.buy, 'where2') < .6 then 'store'
                    else pick(['web', 'app', 'mini'], u(refill.buy, 'where3')) end, 1
        from latent.refills as refill join latent.people using (pid)
        where refill.day <= 869 and refill.day >= 0;
        insert into latent.wish_items
        select buy, 1, pid, day, product from latent.refills where day between 0 and 869;
        """
    )


def make_experiences(engine: Engine) -> None:
    """What went well or wrong with each purchase, and when; the faulty batch fails here."""
    engine.run(
        f"""
        create table latent.experiences as
        select item.buy, item.line, item.pid, item.day + 2 + below(u(item.buy, 'late'), 6) as day,
               'delivery' as aspect, -800 as shock
        from latent.wish_items as item join latent.wishes as wish using (buy)
        join latent.season as season on season.day = item.day
        where item.line = 1 and wish.channel <> 'store'
          and u(item.buy, 'delayed') < .05 + (season.weight > 18)::int * .07
        union all
        select item.buy, item.line, item.pid,
               item.day + 4 + (case when is_faulty then 45 + 130 * u2(item.buy, item.line, 'when')
                   else 700 * u2(item.buy, item.line, 'when') end)::int,
               'quality', case when is_faulty then -1500 else -1000 end
        from (select *, product = {FAULTY_SKU_IDX} and day between 560 and 660 as is_faulty
              from latent.wish_items) as item
        join latent.products as product on product.idx = item.product
        where not product.is_consumable
          and u2(item.buy, item.line, 'breaks') <
              case when is_faulty then .6 else product.fault_share / 1000.0 * 1.9 end
        union all
        select buy, line, pid, day + 5 + below(u2(buy, line, 'found'), 12), 'price', -600
        from latent.wish_items where u2(buy, line, 'regret') < .02
        union all
        select buy, line, pid, day + below(u2(buy, line, 'met'), 5), 'service', -1100
        from latent.wish_items where line = 1 and u2(buy, line, 'rude') < .015
        union all
        select buy, line, pid, day + below(u2(buy, line, 'glad'), 9), 'praise', 500
        from latent.wish_items where line = 1 and u2(buy, line, 'delight') < .10;
        delete from latent.experiences where day > 869;
        """
    )


def make_leaving(engine: Engine) -> None:
    """Satisfaction and hazard by month; the day on which each person leaves, if they do."""
    engine.run(
        f"""
        create table latent.moods as
        -- thousandths, integers: a sum in any order is the same
        select pid, month, sum((shock * exp(-(month * 30 - day) / 110.0))::bigint) as mood
        from latent.experiences, range({MONTHS}) as months(month)
        where month * 30 >= day and month * 30 < day + 400
        group by all;

        create table latent.leaving as
        with monthly as (
            select person.pid, month,
                   greatest(-3, least(3, base_satisfaction + coalesce(mood, 0) / 1000.0))
                       as satisfaction,
                   frailty, (month * 30 - join_day) // 30 as tenure_months
            from latent.people as person
            cross join range({MONTHS}) as months(month)
            left join latent.moods using (pid, month)
            where month * 30 >= join_day),
        risky as (select *, {HAZARD} as hazard from monthly)
        select pid, min(case when u2(pid, month, 'leave') < hazard
                    then month * 30 + below(u2(pid, month, 'leaves'), 30) end) as leave_day
        from risky group by 1;

        create table latent.states as
        -- at the start day and the two quarters before: what evaluations may ask for
        with moments as (
            select person.pid, moment.day,
                   greatest(-3, least(3, base_satisfaction + coalesce(sum(
                       (shock * exp(-(moment.day - experience.day) / 110.0))::bigint), 0)
                       / 1000.0)) as satisfaction,
                   any_value(frailty) as frailty,
                   (moment.day - any_value(join_day)) // 30 as tenure_months
            from latent.people as person
            cross join (values ({START_DAY}), ({START_DAY - 90}), ({START_DAY - 180}))
                as moment(day)
            left join latent.experiences as experience
                on experience.pid = person.pid
                and experience.day between moment.day - 400 and moment.day
            where person.join_day <= moment.day
            group by person.pid, moment.day, base_satisfaction)
        select pid, day, satisfaction, 1 - (1 - {HAZARD})^3 as hazard_90_days from moments;

        create table latent.lived as
        select wish.*, leave.leave_day
        from latent.wishes as wish
        left join latent.leaving as leave using (pid)
        left join latent.moods as mood on mood.pid = wish.pid and mood.month = wish.day // 30
        join latent.season as season on season.day = wish.day
        where (season.weight > 6 or u(wish.buy, 'holiday') < .5) and wish.day <
            coalesce(leave.leave_day, 100000)
          and u(wish.buy, 'mood') < exp(least(0, .55 * coalesce(mood.mood, 0) / 1000.0))
          and u(wish.buy, 'fades') < {fading(".35", "wish.day")};
        """
    )


CAMPAIGNS = (
    # name, channel, kind, objective, coupon in yuan, minimum in yuan
    ("618年中大促", "sms", "promotion", "sales", 100, 999),
    ("双11狂欢", "wechat", "promotion", "sales", 150, 1299),
    ("老客户焕新", "email", "retention", "repurchase", 80, 799),
    ("沉睡唤醒", "sms", "winback", "reactivation", 60, 299),
    ("会员日", "wechat", "loyalty", "engagement", 30, 199),
    ("耗材补货提醒", "push", "reminder", "repurchase", 15, 59),
    ("以旧换新", "call", "promotion", "sales", 300, 2999),
    ("新品尝鲜", "email", "launch", "sales", 120, 1499),
)


def campaign_rows() -> list[tuple[object, ...]]:
    """One campaign every twenty days or so, in the same order for every seed."""
    rows: list[tuple[object, ...]] = []
    day, number = 24, 0
    while day < DAYS - 20:
        date = DAY0 + dt.timedelta(days=day)
        place = number % len(CAMPAIGNS)
        if date.month == 6:
            place = 0
        elif date.month == 10 and date.day > 10:
            place = 1
        elif place < 2:
            place += 2
        name, channel, kind, objective, coupon, minimum = CAMPAIGNS[place]
        design = "random" if number % 5 in (0, 2, 3) else "rule"
        rule = {
            "random": "全部可触达客户随机抽取",
            "rule": ("近180天消费满2000元", "近90天无消费")[number % 2],
        }[design]
        if kind == "winback":
            rule = "近90天无消费" if design == "rule" else rule
        holdout = 0.2 if design == "random" else (0.0, 0.1)[number % 2]
        rows.append(
            (number + 1, f"{date.year}年{date.month}月{name}", channel, kind, objective, design,
             rule, holdout, coupon * 100, minimum * 100, day, 14,
             300000 + 50000 * (number % 7), {"sms": 5, "wechat": 1, "email": 1, "push": 0,
                                             "call": 180}[channel])
        )  # fmt: skip
        day += 18 + number * 7 % 11
        number += 1
    return rows


def make_campaigns(engine: Engine) -> None:
    """Who was picked for each campaign, in which arm, and what it did to them."""
    engine.table(
        "latent.campaigns",
        "campaign int, name varchar, channel varchar, kind varchar, objective varchar,"
        " design varchar, rule varchar, holdout double, coupon_fen bigint, minimum_fen bigint,"
        " day int, length int, fixed_cost_fen bigint, send_cost_fen int",
        campaign_rows(),
    )
    engine.run(
        """
        create table latent.effects as
        -- the change in the chance of a purchase within the campaign's 14 days
        select campaign, kinds.kind, matched,
               (case kinds.kind when 'persuadable' then .085 when 'sure thing' then .012
                     when 'lost cause' then .002 else -.035 end)
               * (case when matched then 1.5 else .75 end)
               * (case when coupon_fen >= 10000 then 1.25 else .9 end) as effect
        from latent.campaigns,
             (values ('persuadable'), ('sure thing'), ('lost cause'), ('sleeping dog'))
                 as kinds(kind),
             (values (true), (false)) as matches(matched);

        create table latent.reachable as
        -- whom the campaign tool knows, and from which day
        select person.pid, greatest(-30, join_day + below(u(person.pid, 'reach'), 20)) as from_day,
               case when u(person.pid, 'optout') < .12
                    then greatest(join_day, 0) + below(u(person.pid, 'out'), 900) end as out_day
        from latent.people as person where u(person.pid, 'reachable') < .72;

        create table latent.looks_back as
        -- the days that a rule looks at, each on its own: days can be matched, ranges not
        select campaign, (day - back)::int as day, back <= 90 as is_recent
        from latent.campaigns, range(1, 181) as backs(back) where design = 'rule';
        """
    )
    engine.table_by_persons(
        "latent.audience",
        """
        with spent as (
            select looked.campaign, lived.pid,
                   sum(case when looked.is_recent then 1 else 0 end) as recent,
                   sum(price.fen) as fen
            from latent.lived as lived
            join latent.looks_back as looked on looked.day = lived.day
            join latent.wish_items as item on item.buy = lived.buy and item.pid {these}
            join latent.price_days as price on price.product = item.product
                and price.day = item.day
            where lived.pid {these}
            group by all)
        select campaign.campaign, reach.pid, campaign.day, campaign.channel,
               case when u2(reach.pid, campaign.campaign, 'arm') < campaign.holdout
                    then 'control' else 'treat' end as arm,
               kinds.kind, person.touch_channel = campaign.channel as matched, person.touch_hour,
               leave.leave_day
        from (select * from latent.reachable where pid {these}) as reach
        cross join latent.campaigns as campaign
        join (select * from latent.people where pid {these}) as person on person.pid = reach.pid
        join (select * from latent.kinds where pid {these}) as kinds on kinds.pid = reach.pid
        left join (select * from latent.leaving where pid {these}) as leave
            on leave.pid = reach.pid
        left join spent on spent.pid = reach.pid and spent.campaign = campaign.campaign
        where reach.from_day < campaign.day
          and coalesce(reach.out_day, 100000) > campaign.day
          and case when campaign.design = 'random'
                   then u2(reach.pid, campaign.campaign, 'picked') < .55
                   when campaign.rule like '近180%' then coalesce(spent.fen, 0) >= 200000
                   else coalesce(spent.recent, 0) = 0
                        and u2(reach.pid, campaign.campaign, 'picked') < .7 end
        """,
    )
    engine.run(
        """
        create table latent.swayed as
        select audience.campaign, audience.pid, effect.effect,
               audience.day + below(u2(audience.pid, audience.campaign, 'sway')^1.6, 14) as day
        from latent.audience as audience
        join latent.effects as effect using (campaign, kind, matched)
        where arm = 'treat' and audience.day < coalesce(leave_day, 100000)
          and u2(audience.pid, audience.campaign, 'swayed') < abs(effect.effect)
          ;
        """
    )


def make_purchases(engine: Engine) -> None:
    """The purchases that did happen, with time, place, price and coupon."""
    engine.run(
        """
        create table latent.extra as
        select pid * 1024 + 600 + campaign as buy, pid, day, campaign
        from latent.swayed join latent.people using (pid)
        where effect > 0 and day <= 869;

        create table latent.buys as
        with blocked as (
            -- each loss needs a purchase to lose: the next one within 40 days
            select distinct on (swayed.pid, swayed.campaign) lived.buy
            from latent.swayed as swayed
            join latent.lived as lived on lived.pid = swayed.pid
                and lived.day between swayed.day and swayed.day + 40
            where swayed.effect < 0
            order by swayed.pid, swayed.campaign, lived.day, lived.buy),
        kept as (
            select buy, pid, day, channel, null::int as campaign, leave_day from latent.lived
            where buy not in (select buy from blocked)
            union all
            select extra.buy, extra.pid, extra.day,
                   case when u(extra.buy, 'where') < .6 then person.channel
                        else pick(['mini', 'app', 'store'], u(extra.buy, 'where2')) end,
                   extra.campaign, leave.leave_day
            from latent.extra as extra join latent.people as person using (pid)
            left join latent.leaving as leave using (pid)),
        timed as (
            select kept.*,
                   case when kept.channel = 'store'
                        then pick([10, 11, 11, 12, 13, 14, 14, 15, 15, 16, 16, 17, 18, 19, 19, 20],
                                  u(buy, 'hour'))
                        when u(buy, 'habitual') < .5 then person.touch_hour
                        else pick([0, 1, 8, 9, 10, 10, 11, 12, 12, 13, 14, 15, 16, 17, 18, 19, 20,
                                   20, 20, 21, 21, 21, 22, 22, 23], u(buy, 'hour')) end as hour,
                   person.hid
            from kept join latent.people as person using (pid))
        select timed.buy, timed.pid, timed.hid, timed.day, timed.channel, timed.campaign,
               hour * 3600 + below(u(timed.buy, 'second'), 3600) as second,
               home.seq as home_seq,
               case when u(timed.buy, 'away') < .06
                    then below(u(timed.buy, 'away2'), (select count(*) from latent.stores))
                    else home.store_idx end as store_idx
        from timed join latent.homes as home on home.hid = timed.hid
             and timed.day >= home.from_day and timed.day < coalesce(home.to_day, 100000);

        create table latent.items as
        with chosen as (
            select item.buy, item.line, item.product from latent.wish_items as item
            join latent.buys using (buy)
            union all
            select buy, 1, slots.item
            from latent.extra join latent.people using (pid)
            join latent.sku_slots as slots on slots.phase = 2
                and slots.premium = people.premium and slots.slot = slot_of(u(buy, 'sku')))
        select chosen.buy, chosen.line, chosen.product,
               case when product.is_consumable then 1 + below(u2(chosen.buy, chosen.line, 'q')^2, 3)
                    when product.list_yuan < 700 and u2(chosen.buy, chosen.line, 'q') < .07 then 2
                    else 1 end as quantity,
               price.fen
        from chosen
        join latent.buys as buys using (buy)
        join latent.products as product on product.idx = chosen.product
        join latent.price_days as price on price.product = chosen.product
            and price.day = buys.day;

        create table latent.totals as
        select buy, sum(quantity * fen)::bigint as goods_fen, count(*)::int as lines
        from latent.items group by 1;
        """
    )


def make_installed(engine: Engine) -> None:
    """Durable goods in homes with serial and batch, and what breaks."""
    engine.run(
        f"""
        create table latent.installed as
        select item.buy, item.line, buys.pid, buys.hid, item.product, buys.day as bought_day,
               buys.day + 1 + below(u2(item.buy, item.line, 'install'), 9) as day,
               buys.home_seq, buys.channel, buys.store_idx,
               product.sku || strftime(on_day(greatest(buys.day - 40, 0) // 30 * 30), '%y%m')
               || case when item.product = {FAULTY_SKU_IDX} and buys.day between 560 and 660
                       then 'B7' else 'A' || (1 + below(u2(item.buy, item.line, 'batch'), 3)) end
                   as batch_no,
               substr(product.sku, 3, 3) || digits(bits2(item.buy, item.line, 'sn') % 100000000, 8)
               || upper(substr(md5(concat(item.buy::varchar, '/', item.line::varchar, seed())),
                               1, 4)) as serial_no,
               product.warranty_months
        from latent.items as item join latent.buys as buys using (buy)
        join latent.products as product on product.idx = item.product
        where not product.is_consumable
          and (product.list_yuan > 900 or u2(item.buy, item.line, 'registered') < .15)
          and u2(item.buy, item.line, 'reported') < .8;

        create table latent.troubles as
        select experience.buy, experience.line, experience.pid, experience.day, experience.aspect,
               buys.channel, item.product
        from latent.experiences as experience
        join latent.buys as buys using (buy)
        join latent.items as item on item.buy = experience.buy and item.line = experience.line
        left join latent.leaving as leave on leave.pid = experience.pid
        where experience.day <= coalesce(leave.leave_day, 100000) + 20 and experience.day >= 0;
        """
    )
