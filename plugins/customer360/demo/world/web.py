"""Visits to web shop, app and mini-program, and the events they leave, some months at a time.

The months are made for all persons at once, sorted by time, and appended: memory stays bounded
at any size, and files by day come out in order.
"""

from customer360.demo.world.engine import LAST_DAY, Engine
from customer360.demo.world.life import MONTHS, fading
from customer360.demo.world.wechat import MINI_APP

PERSON_MONTHS_AT_ONCE = 1_200_000
"""Bounds the memory of one step; the content does not depend on it."""


def make_visits_and_events(engine: Engine) -> None:
    """``wechat.events`` and ``events.events``."""
    engine.run(
        """
        create table latent.visitors as
        select person.pid, person.join_day, leave.leave_day, person.touch_hour, person.premium,
               case person.channel when 'store' then .34 else 1.1 end
                   * (.5 + person.yearly_rate / 6) * exp(.5 * base_satisfaction - .6 * frailty) * .7
                   as monthly_visits,
               follower.pid is not null and follower.has_mini and follower.day <= 869 as has_mini,
               follower.has_union, ids.openid_mini, ids.unionid,
               ids.anonymous_id, ids.anonymous_b, account.account_id, account.day as account_day,
               coalesce(account.close_day, 100000) as close_day,
               member.member_no, person.channel
        from latent.people as person
        join latent.wechat_ids as ids using (pid)
        left join latent.leaving as leave on leave.pid = person.pid
        left join latent.followers as follower on follower.pid = person.pid
        left join latent.account_recs as account on account.pid = person.pid
            and account.rec % 2 = 0
        left join (select pid, max(member_no) as member_no from latent.member_recs
                   where rec % 2 = 0 group by 1) as member on member.pid = person.pid;
        create table latent.sku_names as
        select idx, sku, category, name, list_yuan from latent.products;
        -- in order of days, so that a month reads its own part
        create table latent.web_buys as
        select buys.pid, buys.buy, buys.day, buys.second, buys.channel, item.product,
               total.goods_fen
        from latent.buys as buys
        left join latent.items as item on item.buy = buys.buy and item.line = 1
        left join latent.totals as total on total.buy = buys.buy
        where buys.channel <> 'store' order by buys.day;
        create table latent.month_moods as
        select pid, month, mood from latent.moods order by month;
        create table latent.anonymous(anonymous_id varchar, pid bigint);
        """
    )
    months = max(1, min(MONTHS, PERSON_MONTHS_AT_ONCE // engine.persons))
    for first in range(0, MONTHS, months):
        last = min(MONTHS, first + months)
        engine.progress(f"visits, months {first + 1} to {last} of {MONTHS}")
        make_months(engine, first, last)


def make_months(engine: Engine, first_month: int, end_month: int) -> None:
    """Visits of some months of 30 days each, with their events."""
    engine.run(
        f"""
        create or replace temp table visits as
        with counted as (
            select visitor.*, month,
                   least(40, pois(u2(visitor.pid, month, 'visits'), monthly_visits
                       * (1 + .004 * month)
                       * exp(least(.2, .5 * coalesce(mood, 0) / 1000.0)))) as wanted
            from latent.visitors as visitor
            cross join range({first_month}, {end_month}) as months(month)
            left join (select * from latent.month_moods
                       where month >= {first_month} and month < {end_month}) as mood
                using (pid, month)
            where join_day < month * 30 + 30 and coalesce(leave_day, 100000) > month * 30),
        stepped as (
            select *, pid * 2048 + month * 64 + unnest(range(wanted)) as visit from counted),
        drawn as (
            select stepped.* exclude (channel, month, wanted, visit, monthly_visits), visit,
                   month * 30 + below(u(visit, 'vday'), 30) as day,
                   case when u(visit, 'vhabit') < .5 then touch_hour
                        else pick([0, 7, 8, 9, 10, 11, 12, 12, 13, 14, 15, 16, 17, 18, 19, 20, 20,
                                   21, 21, 22, 22, 23], u(visit, 'vhour')) end
                       * 3600 + below(u(visit, 'vsec'), 3400) as second,
                   case when has_mini and u(visit, 'vwhere')
                             < case channel when 'mini' then .8 when 'store' then .6 else .3 end
                        then 'mini'
                        when channel = 'app' and u(visit, 'vapp') < .75 then 'app'
                        else 'web' end as place,
                   null::bigint as buy, null::int as product, null::bigint as goods_fen
            from stepped
            -- who is about to leave looks in less often
            where leave_day is null or u(visit, 'looks_in') < {fading(".2")}),
        bought as (
            select visitor.* exclude (channel, monthly_visits), buys.buy + 1000000000000 as visit,
                   buys.day, greatest(0, buys.second - 400) as second,
                   case when buys.channel = 'mini' and has_mini then 'mini'
                        when buys.channel = 'app' then 'app' else 'web' end as place, buys.buy,
                   buys.product, buys.goods_fen
            from latent.web_buys as buys join latent.visitors as visitor using (pid)
            where buys.day >= {first_month * 30} and buys.day < {end_month * 30})
        select pid, visit, day, second, place, buy, product, goods_fen, openid_mini, has_union,
               unionid, member_no, premium,
               case when account_id is not null and account_day <= day and day < close_day
                         and (buy is not null or u(visit, 'login') < .45)
                    then 'u' || account_id end as account,
               -- a browser forgets: after a clean-up the same person is another visitor
               case when u(visit, 'cleared') < .10
                    then 'anon-' || lower(substr(hex(bits(visit, 'fresh'))
                         || hex(bits(visit, 'fresh2')), 1, 20))
                    when place = 'app' then anonymous_b else anonymous_id end as anonymous_id,
               case when buy is not null then 6 else 2 + below(u(visit, 'depth')^1.7, 6) end
                   ::bigint as depth
        from (select * from drawn union all select * from bought)
        where day >= join_day and day < coalesce(leave_day, 100000) and day <= 869;

        insert into latent.anonymous
        select distinct anonymous_id, pid from visits where place <> 'mini';
        """
    )
    hits = """
        walked as (
            -- unnest, not a join: a planner that joins steps with products first never ends
            select *, unnest(range(depth)) as step from visits where {place}),
        stepped as (
            select walked.*, slots.item as seen
            from walked
            join latent.sku_slots as slots on slots.phase = 2 and slots.premium = walked.premium
                and slots.slot = slot_of(u2(visit, step // 3, 'seen'))),
        hits as (
            select stepped.* exclude (product, seen),
                   day * 86400 + second + step * 23 + below(u2(visit, step, 'dwell'), 22) as at_s,
                   below(u2(visit, step, 'ms'), 1000) as ms,
                   coalesce(product, seen) as product,
                   case when buy is not null
                        then (['home', 'product', 'cart', 'checkout', 'order', 'done'])[step + 1]
                        when step = 0 then 'home'
                        else pick(['product', 'product', 'product', 'list', 'search', 'cart',
                                   'service'], u2(visit, step, 'act')) end as act
            from stepped)"""
    first = "insert into" if first_month else "create table"
    verb = "" if first_month else " as"
    engine.run(
        f"""
        {first} world.wechat.events{verb}
        with {hits.format(place="place = 'mini'")}
        select (1000000000000 + bits2(visit, step, 'track') % 9000000000000)::bigint as track_id,
               case when act = 'done' then 'profile_set' else 'track' end as type,
               case act when 'home' then '$MPLaunch' when 'product' then 'ViewProduct'
                   when 'cart' then 'AddToCart' when 'checkout' then 'SubmitCheckout'
                   when 'order' then 'PayOrder' when 'list' then '$MPViewScreen'
                   when 'search' then 'Search' when 'service' then 'ContactService'
                   when 'done' then null end as event,
               openid_mini as distinct_id, null::varchar as original_id,
               (1719763200 + at_s) * 1000 + ms as time, '{MINI_APP}' as app_id,
               openid_mini as openid, case when has_union then unionid end as unionid,
               case when act = 'done' then '{{"member_no":' || coalesce('"' || member_no || '"',
                         'null') || ',"last_order_yuan":' || goods_fen / 100 || '}}'
                    when act in ('product', 'cart', 'order', 'checkout')
                    then '{{"$lib":"MiniProgram","$url_path":"pages/goods/detail","sku":"' || sku
                         || '","category":"' || category || '","price":' || list_yuan
                         || case when act = 'order' then ',"order_amount":' || goods_fen / 100
                                 else '' end || '}}'
                    when act = 'search' then '{{"$lib":"MiniProgram","keyword":"' || category
                         || pick(['', '哪款好', '滤芯', '价格', '安装', '优惠'], u2(visit,
                             step, 'kw'))
                         || '"}}'
                    else '{{"$lib":"MiniProgram","$scene":"' || (1001 + spread(visit, 90))
                         || '","$url_path":"pages/' || act || '/index"}}' end::json as properties,
               day as _from_day, null::int as _to_day
        from hits join latent.sku_names on sku_names.idx = product
        order by at_s, ms, track_id;

        {first} world.events.events{verb}
        with {hits.format(place="place <> 'mini'")},
        told as (
            select hits.*, 'mid-' || lower(hex(bits2(visit, step, 'mid')))
                       || lower(substr(hex(bits2(visit, step, 'mid2')), 1, 8)) as message_id,
                   case when step >= case when buy is null then 1 else 3 end then account end
                        as user_id,
                   -- phones that were offline deliver days later; web never does
                   case when place = 'app' and u2(visit, 0, 'offline') < .03
                        then 1 + below(u2(visit, 0, 'offline2'), 3) else 0 end as late
                from hits)
        select message_id,
               case when user_id is not null and step = case when buy is null then 1 else 3 end
                    then 'identify'
                    when act in ('home', 'list', 'service')
                    then case place when 'app' then 'screen' else 'page' end
                    else 'track' end as type,
               case when user_id is not null and step = case when buy is null then 1 else 3 end
                    then null
                    else case act when 'product' then 'Product Viewed' when 'cart' then
                        'Product Added'
                    when 'checkout' then 'Checkout Started' when 'order' then 'Order Completed'
                    when 'done' then 'Order Tracked' when 'search' then 'Products Searched' end end
                   as event,
               case act when 'home' then 'Home' when 'list' then 'Product List'
                    when 'service' then 'Service Centre' end as name,
               anonymous_id, user_id,
               make_timestamp((1719763200 + at_s) * 1000000 + ms * 1000) as timestamp,
               make_timestamp((1719763200 + at_s + late * 86400 + 2) * 1000000) as sent_at,
               make_timestamp((1719763200 + at_s + late * 86400 + 3) * 1000000) as received_at,
               case place when 'app'
                    then '{{"library":{{"name":"analytics-kotlin"}},"os":{{"name":"'
                         || pick(['Android', 'iOS', 'HarmonyOS'], u(pid, 'os'))
                         || '"}},"device":{{"model":"'
                         || pick(['Mate 60', 'iPhone 15', 'Mi 14', 'Find X7', 'Y200'],
                                 u(pid, 'device')) || '"}}}}'
                    else '{{"library":{{"name":"analytics.js"}},"locale":"zh-CN","page":{{"path":"/'
                         || act || '"}}}}' end::json as context,
               case when user_id is not null and step = case when buy is null then 1 else 3 end
                   then null
                    when act in ('product', 'cart', 'checkout', 'order')
                    then '{{"sku":"' || sku || '","category":"' || category || '","price":'
                         || list_yuan || case when act = 'order'
                         then ',"revenue":' || goods_fen / 100 || ',"currency":"CNY"' else '' end
                         || '}}'
                    when act = 'search' then '{{"query":"' || category
                         || pick(['', '推荐', '怎么选', '滤芯'], u2(visit, step, 'kw')) || '"}}'
                    when act = 'done' then '{{"status":"paid"}}'
                    else '{{"path":"/' || act || '","title":"清岚官方商城"}}' end::json as
                        properties,
               case when user_id is not null and step = case when buy is null then 1 else 3 end
                    then '{{"member_no":' || coalesce('"' || member_no || '"', 'null') || '}}'
                    end::json as traits,
               day + late as _from_day, null::int as _to_day
        from told join latent.sku_names on sku_names.idx = product
        where day + late <= {LAST_DAY} order by timestamp, message_id;
        """
    )
