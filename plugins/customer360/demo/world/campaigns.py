"""The campaign tool: contacts, audiences, sends, responses, coupons, unsubscribes. UTC."""

from customer360.demo.world.engine import START_DAY, Engine
from customer360.demo.world.spelling import Rates, note_mess, note_records, spell


def make_campaign_tool(engine: Engine) -> None:
    """All tables of the schema ``campaign``."""
    engine.progress("campaign tool")
    engine.run(
        """
        create table latent.contact_recs as
        with dated as (
            select pid * 2 as rec, pid, from_day as day, out_day from latent.reachable
            union all
            select pid * 2 + 1, pid, greatest(from_day, 0) + 50 + below(u(pid, 'cday'), 700), null
            from latent.reachable where u(pid, 'ctwice') < .06)
        select *, 30000 + below(u(rec, 'csec'), 50000) as second,
               3000000 + row_number() over (order by day, u(rec, 'corder')) as contact_id
        from dated where day <= 869;
        """
    )
    spelled = spell(
        engine,
        "campaign",
        "contacts",
        "select rec, pid, day from latent.contact_recs",
        Rates(
            name={"homophone": 0.03, "polite": 0.12, "pinyin": 0.05, "latin": 0.05},
            phone={"missing": 0.28, "dummy": 0.008, "slip": 0.01, "format": 0.1},
            email={"missing": 0.45, "dummy": 0.01, "slip": 0.02, "other": 0.15, "capitals": 0.05},
            birthday={},
        ),
    )
    engine.run(
        f"""
        create table world.campaign.campaigns as
        with stages as (
            select campaign, 'running' as status, day as from_day, day + length as to_day
            from latent.campaigns
            union all select campaign, 'finished', day + length, null from latent.campaigns)
        select campaign as campaign_id, name, channel, kind, objective, design,
               rule as audience_rule, holdout as holdout_share, coupon_fen as coupon_value_fen,
               minimum_fen as coupon_min_fen, utc_at(day, 32400) as starts_at,
               utc_at(day + length, 86399) as ends_at, fixed_cost_fen,
               send_cost_fen as cost_per_send_fen, status,
               utc_at(from_day, 30000 + spread(campaign * 2 + length(status), 9000)) as
                   updated_at, from_day as _from_day, to_day as _to_day
        from latent.campaigns join stages using (campaign)
        where coalesce(to_day, 100000) > {START_DAY} order by campaign, from_day;

        create table world.campaign.contacts as
        select contact_id, full_name, mobile, email,
               case when u(rec, 'has_open') < .3 and follower.pid is not null
                    then wechat.openid_account end as openid,
               case when u(rec, 'has_member') < .2 then member.member_no end as member_no,
               case when u(rec, 'has_city') < .7 then city end as city,
               utc_at(contact.day, contact.second) as created_at, utc_at(contact.day,
                   contact.second) as updated_at,
               seen(contact.day) as _from_day, null::int as _to_day
        from latent.contact_recs as contact
        join {spelled} as spelled using (rec)
        join latent.wechat_ids as wechat on wechat.pid = contact.pid
        left join (select pid, max(member_no) as member_no from latent.member_recs
                   where rec % 2 = 0 group by 1) as member on member.pid = contact.pid
        left join latent.followers as follower on follower.pid = contact.pid
        order by contact_id;

        create table latent.sent as
        -- the tool treats two contacts of one person as two: the second gets it too, at times
        select audience.*, contact.contact_id, contact.rec,
               contact.contact_id * 64 + audience.campaign as send,
               case when channel = 'call' then 36000 + below(u2(audience.pid, campaign, 'calls'),
                                                            28000)
                    else 32400 + below(u2(contact.contact_id, campaign, 'batch'), 9000) end
                   as second,
               u2(contact.contact_id, campaign, 'arrives') as arrives
        from latent.audience as audience
        join latent.contact_recs as contact on contact.pid = audience.pid
            and contact.day < audience.day
        where contact.rec % 2 = 0 or u2(contact.contact_id, campaign, 'too') < .5;

        create table world.campaign.audience as
        select campaign as campaign_id, contact_id, arm, utc_at(day, 28800) as assigned_at,
               day as _from_day, null::int as _to_day
        from latent.sent order by day, contact_id;

        create table latent.answers as
        with delivered as (
            select sent.*, leave_day is null or leave_day > day as is_alive,
                   least(9, greatest(0, case when matched then .9 else .25 end)) as interest
            from latent.sent as sent where arm = 'treat' and arrives < .955),
        opened as (
            select *, day + case when later then 1 else 0 end as open_day,
                   greatest(second + 120, case when later then 0 else touch_hour * 3600
                            + below(u(send, 'opened_sec'), 3500) end) as open_second
            from (select *, u(send, 'later') < .2 as later from delivered)
            where is_alive and channel <> 'call' and u(send, 'opens') < .10 + .38 * interest)
        select send, campaign, contact_id, pid, 'open' as kind, open_day as day,
               open_second as second from opened
        union all
        select send, campaign, contact_id, pid, 'click', open_day,
               open_second + 15 + below(u(send, 'clicked'), 200)
        from opened where u(send, 'clicks') < .12 + .18 * (kind in ('persuadable',
            'sure thing'))::int
        union all
        select send, campaign, contact_id, pid, 'complaint', day, least(86000, second + 3000)
        from delivered where u(send, 'complains') <
            case when kind = 'sleeping dog' then .006 else .0008 end
        union all
        select send, campaign, contact_id, pid, 'unsubscribe', day, least(86100, second + 4000)
        from delivered where u(send, 'unsubs') <
            case when kind = 'sleeping dog' then .012 else .002 end;

        create table world.campaign.sends as
        select 50000000 + row_number() over (order by sent.day, sent.second, u(send, 'sendno'))
                   as send_id,
               campaign as campaign_id, contact_id, channel,
               case channel when 'email' then email when 'wechat'
                        then '****' || right(ids.openid_account, 4)
                    when 'push' then 'dev-' || substr(md5(concat(sent.pid::varchar, 'device',
                         seed())), 1, 12) else mobile end as address,
               case when channel in ('sms', 'call') and mobile is null
                      or channel = 'email' and email is null then 'failed'
                    when arrives < .955 then 'delivered' when arrives < .985 then 'bounced'
                    else 'failed' end as status,
               utc_at(sent.day, second) as sent_at, campaign.send_cost_fen as cost_fen,
               sent.day as _from_day, null::int as _to_day, send as _send
        from latent.sent as sent join {spelled} as spelled using (rec)
        join latent.wechat_ids as ids on ids.pid = sent.pid
        join latent.campaigns as campaign using (campaign, channel)
        where arm = 'treat' order by 1;

        create table world.campaign.responses as
        select row_number() over (order by answer.day, second, u(answer.send, 'answer'),
            answer.kind)
                   as response_id,
               sends.send_id, answer.campaign as campaign_id, answer.contact_id, answer.kind,
               case when answer.kind = 'click' then 'https://m.qinglan.example/c/'
                    || answer.campaign || '?s=' || substr(md5(answer.send::varchar || seed()), 1, 8)
                    end as url,
               utc_at(answer.day, second) as at, seen(answer.day) as _from_day,
               null::int as _to_day
        from latent.answers as answer
        join world.campaign.sends as sends on sends._send = answer.send
        where sends.status = 'delivered' and answer.day <= 869 order by 1;
        alter table world.campaign.sends drop column _send;

        create table world.campaign.unsubscribes as
        with gone as (
            select contact_id, day, second, pick(['短信太多', '不再需要', '内容不相关', ''],
                       u(send, 'why_out')) as reason, 'campaign_link' as via, send as source
            from latent.answers where kind = 'unsubscribe'
            union all
            select contact_id, out_day, 50000 + below(u(rec, 'outsec'), 30000),
                   '主动退订', 'preference_page', -rec
            from latent.contact_recs where out_day between 0 and 869)
        select row_number() over (order by day, second, hash(source)) as unsubscribe_id,
               contact_id, via as channel, reason, utc_at(day, second) as at,
               day as _from_day, null::int as _to_day
        from gone where day <= 869 order by 1;

        create table world.campaign.coupons as
        with issued as (
            select audience.pid, audience.campaign, min(contact_id) as contact_id,
                   any_value(audience.day) as day
            from latent.sent as audience where arm = 'treat' group by 1, 2),
        used as (
            select redeemed.campaign, buys.pid, min(buys.day) as used_day
            from latent.redeemed as redeemed join latent.buys as buys using (buy) group by 1, 2),
        stages as (
            select issued.*, used_day, 'issued' as status, day as from_day,
                   coalesce(used_day, day + 15) as to_day
            from issued left join used using (campaign, pid)
            union all
            select issued.*, used_day, case when used_day is null then 'expired' else 'used' end,
                   coalesce(used_day, day + 15), null
            from issued left join used using (campaign, pid))
        select coupon_code(pid, campaign) as coupon_code, campaign as campaign_id, contact_id,
               coupon_fen as value_fen, minimum_fen as min_spend_fen, status,
               utc_at(stages.day, 28800) as issued_at, utc_at(stages.day + 14, 86399) as
                   valid_until,
               utc_at(from_day, case when status = 'issued' then 28800
                      else 70000 + spread(pid * 64 + campaign, 16000) end)
                   as updated_at, seen(from_day) as _from_day, to_day as _to_day
        from stages join latent.campaigns as campaign using (campaign)
        where from_day <= 869 and coalesce(to_day, 100000) > {START_DAY}
          and coalesce(to_day, 100000) > from_day
        order by stages.day, 1, from_day;

        create table world.campaign.redemptions as
        select row_number() over (order by buys.day, buys.second, u(buys.buy, 'redemption'))
                   as redemption_id,
               coupon_code(buys.pid, redeemed.campaign) as coupon_code, orders.order_no,
               receipt.receipt_no, redeemed.coupon_fen as discount_fen,
               utc_at(buys.day, buys.second) as redeemed_at, buys.day as _from_day,
               null::int as _to_day
        from latent.redeemed as redeemed join latent.buys as buys using (buy)
        left join latent.orders as orders using (buy)
        left join latent.receipts as receipt using (buy) order by 1;
        """
    )
    note_records(
        engine, "campaign", "contacts", "select contact_id as key, pid from latent.contact_recs"
    )
    note_mess(
        engine, "campaign", "contacts", spelled,
        "select rec, contact_id as key from latent.contact_recs",
    )  # fmt: skip
