"""WeChat: followers with openid per app and unionid, mini-program events, groups, referrals.

Events have the shape of Sensors Analytics; times are epoch, ms in events and s elsewhere.
"""

from customer360.demo.world.engine import START_DAY, Engine
from customer360.demo.world.spelling import note_records

ACCOUNT_APP, MINI_APP = "wx7a3c5e1b90d24f68", "wx1f08b2d67c9e4a35"


def make_followers(engine: Engine) -> None:
    """Who follows the account or uses the mini-program; needed early by others."""
    engine.run(
        """
        create table latent.followers as
        with mini as (
            select pid, min(day) as first_day from latent.buys where channel = 'mini' group by 1)
        select person.pid, greatest(person.join_day,
                   coalesce(mini.first_day, person.join_day) - below(u(person.pid, 'fday'), 60))
                   as day,
               20000 + below(u(person.pid, 'fsec'), 66000) as second,
               mini.first_day is not null or u(person.pid, 'has_mini') < .55 as has_mini,
               u(person.pid, 'has_account') < .7 or mini.first_day is null as has_account,
               u(person.pid, 'bound_union') < .78 as has_union,
               u(person.pid, 'bound_phone') < .34 as has_phone,
               u(person.pid, 'bound_member') < .22 as has_member,
               case when u(person.pid, 'unfollows') < .2
                    then greatest(person.join_day, 0) + 10 + below(u(person.pid, 'unf'), 900)
                    end as quit_day
        from latent.people as person left join mini using (pid)
        where mini.first_day is not null
           or u(person.pid, 'wechat') < case when age < 60 then .58 else .38 end;
        """
    )


def make_wechat(engine: Engine) -> None:
    """All tables of the schema ``wechat`` but the events."""
    engine.progress("wechat")
    engine.run(
        f"""
        create table latent.follower_rows as
        select pid, '{ACCOUNT_APP}' as app_id, openid_account as openid, unionid, has_union, day,
               second, quit_day, has_phone and u(pid, 'h5') < .3 as has_phone, has_member
        from latent.followers join latent.wechat_ids using (pid) where has_account
        union all
        select pid, '{MINI_APP}', openid_mini, unionid, has_union, day + below(u(pid, 'mp'), 40),
               second + 300, null, has_phone, has_member
        from latent.followers join latent.wechat_ids using (pid) where has_mini;
        delete from latent.follower_rows where day > 869;

        create table world.wechat.followers as
        with stages as (
            select *, true as subscribe, day as from_day,
                   case when quit_day > day then quit_day end as to_day from latent.follower_rows
            union all
            select *, false, quit_day, null from latent.follower_rows where quit_day > day)
        select app_id, openid, case when has_union then unionid end as unionid, nick as nickname,
               case when u(stages.pid, 'wsex') < .3 then case sex when '男' then 1 else 2 end
                    else 0 end as sex,
               case when u(stages.pid, 'wcity') < .5 then replace(province, '省', '') end
                   as province,
               case when u(stages.pid, 'wcity') < .5 then replace(city, '市', '') end as city,
               subscribe, epoch_s_at(day, second) as subscribe_time,
               case when not subscribe then epoch_s_at(quit_day, 60000 + spread(stages.pid,
                   20000)) end
                   as unsubscribe_time,
               pick(['ADD_SCENE_SEARCH', 'ADD_SCENE_QR_CODE', 'ADD_SCENE_PROFILE_CARD',
                     'ADD_SCENE_PAID', 'ADD_SCENE_OTHERS'], u(stages.pid, 'scene'))
                   as subscribe_scene,
               case when has_phone then phone.mobile end as bound_mobile,
               case when has_member then member.member_no end as bound_member_no,
               seen(stages.from_day) as _from_day, stages.to_day as _to_day
        from stages join latent.names using (pid)
        join latent.people as person on person.pid = stages.pid
        join latent.homes as home on home.hid = person.hid and home.seq = 0
        join latent.phones as phone on phone.pid = stages.pid and phone.seq = 0
        left join (select pid, max(member_no) as member_no from latent.member_recs
                   where rec % 2 = 0 group by 1) as member on member.pid = stages.pid
        where stages.from_day <= 869 and coalesce(stages.to_day, 100000) > {START_DAY}
        order by subscribe_time, openid, stages.from_day;

        create table latent.groups as
        select store.idx as store_idx, number, store.idx * 4 + number as chat,
               'wrOg' || token(store.idx * 4 + number, 'chat', 20) as chat_id,
               (30 + below(u(store.idx * 4 + number, 'chatday')^2, 500)) as day
        from latent.stores as store, range(1 + (store.idx % 3)) as numbers(number);
        create table world.wechat.groups as
        select chat_id, '清岚' || replace(store.city, '市', '')
                   || pick(['老友群', '福利群', '焕新交流群', '家电养护群'], u(chat, 'chatname'))
                   || (number + 1) as name,
               'staff_' || digits(below(u(chat, 'owner'), 9000), 4) as owner_userid,
               store.store_code, epoch_s_at(day, 34000 + spread(chat, 30000)) as create_time,
               day as _from_day, null::int as _to_day
        from latent.groups join latent.stores as store on store.idx = store_idx
        order by create_time, chat_id;

        create table latent.group_joins as
        select follower.pid, groups.chat_id,
               greatest(groups.day + 1, follower.day + 1) + below(u(follower.pid, 'gday'), 200)
                   as day,
               case when u(follower.pid, 'gquit') < .18 then 1 + below(u(follower.pid, 'gq'), 200)
                    end as stays
        from latent.followers as follower
        join latent.people as person on person.pid = follower.pid
        join latent.homes as home on home.hid = person.hid and home.seq = 0
        join latent.groups as groups on groups.store_idx = home.store_idx
            and groups.number = spread(follower.pid, 1 + (home.store_idx % 3))
        where u(follower.pid, 'group') < .26;
        create table world.wechat.group_members as
        with stages as (
            select *, day as from_day, day + stays as to_day from latent.group_joins
            union all select *, day + stays, null from latent.group_joins where stays is not null)
        select chat_id, case when has_union then unionid end as unionid,
               openid_account as openid,
               nick as nickname, epoch_s_at(stages.day, 30000 + below(u(stages.pid, 'gsec'), 50000))
                   as join_time,
               pick(['扫码进群', '店员邀请', '好友邀请'], u(stages.pid, 'gscene')) as join_scene,
               case when stages.to_day is null and stays is not null
                    then epoch_s_at(stages.from_day, 30000 + spread(stages.pid, 52000)) end
                   as quit_time,
               seen(stages.from_day) as _from_day, stages.to_day as _to_day
        from stages join latent.wechat_ids using (pid) join latent.names using (pid)
        join latent.followers as follower on follower.pid = stages.pid
        where stages.from_day <= 869 and coalesce(stages.to_day, 100000) > {START_DAY}
        order by join_time, openid, stages.from_day;

        create table latent.referral_pairs as
        with invited as (
            select follower.pid, follower.day, person.hid,
                   row_number() over (order by follower.day, u(follower.pid, 'rorder')) as place
            from latent.followers as follower join latent.people as person using (pid)
            where follower.day >= 0 and follower.day <= 869 and u(follower.pid, 'invited') < .12),
        inviters as (
            select pid, row_number() over (order by u(pid, 'inviter')) - 1 as place
            from latent.followers where day < 200 and has_union),
        keyed as (
            select invited.*, (bits(pid, 'by') % total)::bigint as wanted
            from invited cross join (select count(*) as total from inviters))
        select keyed.* exclude (wanted), inviters.pid as inviter
        from keyed join inviters on inviters.place = keyed.wanted
        where inviters.pid <> keyed.pid;
        create table world.wechat.referrals as
        with firsts as (
            select pid, min(day) as first_day, min(day * 86400 + second) % 86400 as first_second
            from latent.buys group by 1),
        made as (
            -- the gift counts for a purchase from the day after the invitation on
            select pair.*, case when first_day > day then first_day end as buys_day, first_second
            from latent.referral_pairs as pair left join firsts using (pid)),
        stages as (
            select *, false as converted, day as from_day, buys_day as to_day from made
            union all select *, true, buys_day, null from made where buys_day is not null)
        select 600000 + place as referral_id, inviter_ids.unionid as inviter_unionid,
               invitee_ids.unionid as invitee_unionid,
               pick(['老带新有礼', '拼团', '好友助力'], u(stages.pid, 'programme')) as programme,
               epoch_s_at(day, 30000 + below(u(stages.pid, 'rsec'), 50000)) as invite_time,
               case when converted then epoch_s_at(buys_day, first_second) end as converted_time,
               case when converted then 500 else 0 end as reward_points,
               from_day as _from_day, to_day as _to_day
        from stages join latent.wechat_ids as inviter_ids on inviter_ids.pid = inviter
        join (select pid as invitee, unionid from latent.wechat_ids) as invitee_ids
            on invitee_ids.invitee = stages.pid
        where from_day <= 869 and coalesce(to_day, 100000) > {START_DAY}
          and coalesce(to_day, 100000) > from_day
        order by 1, from_day;
        """
    )
    note_records(
        engine, "wechat", "followers", "select openid as key, pid from latent.follower_rows"
    )
