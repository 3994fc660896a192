"""The web shop: accounts, addresses, products, prices, carts, orders, lines, returns. UTC, fen."""

from customer360.demo.world.engine import START_DAY, Engine
from customer360.demo.world.spelling import Rates, note_mess, note_records, spell

ACCOUNT_RATES = Rates(
    name={"homophone": 0.03, "traditional": 0.02, "pinyin": 0.03, "polite": 0.03, "latin": 0.04},
    phone={"missing": 0.10, "dummy": 0.008, "slip": 0.01, "format": 0.03},
    email={"missing": 0.42, "dummy": 0.01, "slip": 0.01, "other": 0.2, "capitals": 0.03},
)


def make_shop(engine: Engine) -> None:
    """All tables of the schema ``shop``."""
    engine.progress("shop")
    make_accounts(engine)
    make_goods(engine)
    make_orders(engine)
    make_carts(engine)


def make_account_recs(engine: Engine) -> None:
    """Who has which account since when; others quote them, so this comes before the shop."""
    engine.run(
        """
        create table latent.account_recs as
        with online as (
            select pid, min(day) as first_day, max(day) as last_day,
                   min(day * 86400 + second) % 86400 as first_second
            from latent.buys where channel <> 'store' group by 1),
        owners as (
            select person.pid, person.join_day, first_second, coalesce(last_day, 0) as last_day,
                   coalesce(online.first_day, 100000) as first_day
            from latent.people as person left join online using (pid)
            where online.pid is not null or u(person.pid, 'looks') < .12),
        dated as (
            select pid * 2 as rec, pid, greatest(least(first_day, join_day
                   + below(u(pid, 'account')^2, 300)), join_day) as day,
                   first_day, first_second, last_day from owners
            union all
            select pid * 2 + 1, pid, least(first_day, join_day + 300)
                   + 40 + below(u(pid, 'again_day'), 500), null, null, last_day
            from owners where u(pid, 'again') < .09),
        kept as (
            select *, below(u(rec, 'account_second')^.8, 57600) + 25000 as drawn
            from dated where day <= 869)
        select rec, pid, day,
               -- who opens an account in order to buy has it some minutes before
               case when day = first_day
                    then least(drawn, greatest(0, first_second - 90 - below(u(rec, 'opens'), 900)))
                    else drawn end as second,
               120000 + row_number() over (order by day, u(rec, 'account_order')) * 4
                   + below(u(rec, 'account_gap'), 3) as account_id,
               -- only who has bought for the last time closes an account
               case when u(rec, 'closes') < .03
                         and 500 + below(u(rec, 'closed'), 370) > last_day + 30
                    then 500 + below(u(rec, 'closed'), 370) end as close_day
        from kept;
        """
    )


def make_accounts(engine: Engine) -> None:
    """Accounts as the shop shows them, changes and closures, and test accounts."""
    spelled = spell(
        engine, "shop", "accounts", "select rec, pid, day from latent.account_recs", ACCOUNT_RATES
    )
    engine.run(
        f"""
        create table latent.accounts as
        with changes as (
            -- some tell the shop their new number, some weeks after they have it
            select account.rec, phone.from_day + below(u(account.rec, 'tells_day'), 50) as new_day,
                   phone.mobile as new_mobile
            from latent.account_recs as account
            join latent.phones as phone on phone.pid = account.pid and phone.seq = 1
            where u(account.rec, 'tells') < .55 and phone.from_day > account.day
              and phone.from_day + 50 < least(870, coalesce(account.close_day, 100000)))
        select account.*, spelled.* exclude (rec, whose, written_day), new_day, new_mobile,
               case when close_day > account.day then close_day end as end_day
        from latent.account_recs as account
        join {spelled} as spelled using (rec)
        left join changes on changes.rec = account.rec;

        insert into truths.truth.mess
        select 'phone_changed', 'shop', 'accounts', account_id::varchar, 'day ' || new_day
        from latent.accounts where new_day is not null order by 4;

        create table world.shop.accounts as
        with versions as (
            select *, mobile as shown, day as changed, seen(day) as _from_day,
                   coalesce(new_day, end_day) as _to_day, true as is_open
            from latent.accounts where new_day is null or new_day > {START_DAY}
            union all
            select *, new_mobile, new_day, seen(new_day), end_day, true
            from latent.accounts where new_day is not null
            union all
            -- a closed account stays for its orders, without the person
            select * replace (null as full_name, null as email, null as birthday), null, end_day,
                   seen(end_day), null, false
            from latent.accounts where end_day is not null),
        -- of each four numbers the accounts of persons leave one free
        tests as (
            select account_id // 4 * 4 + 3 as account_id,
                   pick(['test', '测试', 'qatest', 'test_user', '压测'], u(account_id, 'test'))
                   || place as username,
                   day
            from (
                select account_id, day,
                       row_number() over (order by u(account_id, 'tested')) as place
                from latent.accounts where day between 0 and 859)
            where place <= {max(4, engine.persons // 400)})
        select account_id,
               case when not is_open then 'closed_' || account_id
                    when u(rec, 'username') < .5 then split_part(own.email, '@', 1)
                    else 'qing_' || lower(substr(md5(rec::varchar || seed()), 1, 8)) end
                   as username,
               case when is_open then nick else '已注销用户' end as nickname,
               case when u(rec, 'real') < .45 then full_name end as real_name, shown as mobile,
               versions.email,
               case when u(rec, 'sexed') < .4 and is_open
                    then case sex when '男' then 'M' else 'F' end else 'U' end as gender,
               try_cast(case when birthday_calendar = 'solar' then birthday end as date)
                   as birthday,
               case when u(pid, 'bound') < .45 and rec % 2 = 0 and is_open
                    then wechat.unionid end as unionid,
               case when is_open then 'active' else 'closed' end as status,
               pick(['web', 'app', 'mini_program', 'mini_program'], u(rec, 'via'))
                   as registered_via,
               utc_at(day, second) as registered_at,
               utc_at(changed, case when changed = day then second else 40000 + spread(rec,
                   30000) end)
                   as updated_at,
               _from_day, _to_day
        from versions
        join latent.emails as own using (pid) join latent.wechat_ids as wechat using (pid)
        where _to_day is null or _to_day > {START_DAY}
        union all
        select account_id, username, username, '测试账号', '13800138000', 'test@test.com', 'U',
               null, null, 'active', 'web', utc_at(day, 33000 + spread(account_id, 30000)),
               utc_at(day, 33000 + spread(account_id, 30000)), day, null
        from tests
        order by account_id, _from_day;

        insert into truths.truth.mess
        select 'test_account', 'shop', 'accounts', account_id::varchar, username
        from world.shop.accounts where real_name = '测试账号' order by 4;
        insert into latent.rates
        select 'test_account', 'shop', 'accounts', .0025, {engine.persons},
               count(*) filter (real_name = '测试账号') from world.shop.accounts;
        """
    )
    note_records(
        engine,
        "shop",
        "accounts",
        "select account_id as key, pid from latent.accounts union all "
        "select account_id, null from world.shop.accounts where real_name = '测试账号'",
    )
    note_mess(
        engine, "shop", "accounts", spelled, "select rec, account_id as key from latent.accounts"
    )


def make_goods(engine: Engine) -> None:
    """Products and their prices over time, with drops."""
    engine.run(
        """
        create table world.shop.products as
        select sku, category, series, model, name, is_consumable, fits as fits_category,
               list_yuan::bigint * 100 as list_price_fen, warranty_months, launched_on,
               'on_sale' as status, launched_on::timestamp as updated_at,
               0 as _from_day, null::int as _to_day
        from latent.products order by sku;

        create table world.shop.prices as
        with marked as (
            select price.*, season.festival,
                   lag(price.fen) over (partition by product order by price.day) as before
            from latent.price_days as price join latent.season as season using (day)),
        starts as (
            select product, day, fen, before, festival,
                   lead(day) over (partition by product order by day) as next_day
            from marked where before is null or before <> fen)
        select row_number() over (order by day, product) as price_id, sku, fen as price_fen,
               case when before is null then '上市价' when festival is not null
                    then festival || '活动价' when fen < before then '调价' else '恢复原价' end
                    as reason,
               utc_at(day, 0) as valid_from, utc_at(next_day, 0) as valid_until,
               day as _from_day, null::int as _to_day
        from starts join latent.products on products.idx = product order by 1;
        """
    )


def make_orders(engine: Engine) -> None:
    """Orders with lines, states that move, and returns; the coupon's worth is spread on lines."""
    engine.table_by_persons(
        "latent.redeemed",
        """
        -- materialised: a planner that joins purchases with every campaign first never ends
        with offered as materialized (
            select audience.pid, audience.kind, audience.day, campaign.campaign,
                   campaign.coupon_fen, campaign.minimum_fen
            from latent.audience as audience
            join latent.campaigns as campaign on campaign.campaign = audience.campaign
            where audience.pid {these} and audience.arm = 'treat'),
        bought as materialized (
            select buys.pid, buys.buy, buys.day, buys.campaign, total.goods_fen
            from latent.buys as buys join latent.totals as total on total.buy = buys.buy
            where buys.pid {these}),
        fitting as (
            select bought.buy, offered.campaign, offered.coupon_fen,
                   row_number() over (partition by bought.buy order by
                       (bought.campaign = offered.campaign) desc nulls last, offered.campaign)
                       as place,
                   row_number() over (partition by offered.pid, offered.campaign
                                      order by bought.day, bought.buy) as turn
            from bought join offered on offered.pid = bought.pid
                and bought.day between offered.day and offered.day + 14
            where bought.goods_fen >= offered.minimum_fen
              and (bought.campaign = offered.campaign
                   or u2(bought.pid, offered.campaign, 'redeems') <
                      case when offered.kind = 'sure thing' then .6 else .3 end))
        select buy, campaign, coupon_fen from fitting where place = 1 and turn = 1
        """,
    )
    engine.run(
        """
        create table latent.orders as
        with accounts as (
            select pid, max(rec) filter (rec % 2 = 0) as first_rec,
                   max(rec) filter (rec % 2 = 1) as second_rec,
                   max(day) filter (rec % 2 = 1) as second_day,
            from latent.account_recs group by 1),
        chosen as (
            select buys.*, case when buys.day > second_day and u(buys.buy, 'second') < .55
                                then second_rec else first_rec end as own_rec
            from latent.buys as buys join accounts using (pid) where buys.channel <> 'store'),
        ordered as (
            select chosen.*, total.goods_fen, total.lines,
                   coalesce(redeemed.coupon_fen, 0) as discount_fen, redeemed.campaign as used,
                   u(chosen.buy, 'staff') < .012 and chosen.day >= 60
                       and getvariable('staff_accounts') > 0 as by_staff,
                   u(chosen.buy, 'cancel') < .03 as is_cancelled,
                   u(chosen.buy, 'gift') < .06 as is_gift,
                   row_number() over (order by chosen.day, chosen.second, u(chosen.buy, 'order'))
                       as place,
                   late.day as late_day
            from chosen join latent.totals as total using (buy)
            left join latent.redeemed as redeemed on redeemed.buy = chosen.buy
            left join (select buy, min(day) as day from latent.troubles
                       where aspect = 'delivery' group by 1) as late on late.buy = chosen.buy)
        select ordered.*, 'QL' || strftime(on_day(ordered.day), '%y%m%d')
                   || digits(ordered.place, 8) as order_no,
               ordered.day + 1 + (u(ordered.buy, 'packs') < .3)::int as ship_day,
               greatest(ordered.day + 2 + (u(ordered.buy, 'packs') < .3)::int
                   + below(u(ordered.buy, 'carries'), 3), coalesce(late_day + 1, 0))
                   as deliver_day,
               case when goods_fen < 9900 then 1000 else 0 end as shipping_fen,
               case when by_staff then staff_account.account_id else account.account_id end
                   as account_id
        from ordered
        join latent.account_recs as account on account.rec = ordered.own_rec
        left join latent.staff_accounts as staff_account
            on staff_account.place
                = spread(ordered.buy, greatest(1, getvariable('staff_accounts')));
        """
    )
    spelled = spell(
        engine,
        "shop",
        "orders",
        "select buy as rec, pid, day from latent.orders",
        Rates(
            name={"homophone": 0.02, "polite": 0.09, "pinyin": 0.01, "given_only": 0.03},
            phone={"slip": 0.006, "format": 0.02},
            email={},
            birthday={},
            family=0.5,
        ),
    )
    engine.run(
        f"""
        create table world.shop.orders as
        with stages as (
            select buy, case when is_cancelled then 'cancelled' else 'paid' end as status,
                   day as from_day, case when is_cancelled then null else ship_day end as to_day
            from latent.orders
            union all
            select buy, 'shipped', ship_day, deliver_day from latent.orders where not is_cancelled
            union all
            select buy, 'completed', deliver_day, null from latent.orders where not is_cancelled)
        select order_no, account_id,
               case channel when 'mini' then 'mini_program' else channel end as channel,
               status, full_name as consignee, mobile, province, city, district, address,
               goods_fen, discount_fen, shipping_fen::bigint as shipping_fen,
               goods_fen - discount_fen + shipping_fen as paid_fen,
               case when discount_fen > 0 then coupon_code(orders.pid, used) end as coupon_code,
               pick(['wechat_pay', 'wechat_pay', 'alipay', 'alipay', 'card', 'huabei'],
                    u(orders.buy, 'pay')) as payment_method,
               case when u(orders.buy, 'remark') < .05 then pick(['请送货前电话联系', '周末送货',
                    '放驿站', '帮我开发票', '送装一体', '家里没电梯', '尽快发货'],
                    u(orders.buy, 'remark2')) end as remark,
               utc_at(orders.day, second) as ordered_at,
               case when not is_cancelled then utc_at(orders.day, second
                    + 20 + below(u(orders.buy, 'paid'), 500)) end as paid_at,
               case when status in ('shipped', 'completed')
                    then utc_at(ship_day, 54000 + below(u(orders.buy, 'ship'), 20000)) end
                    as shipped_at,
               case when status = 'completed'
                    then utc_at(deliver_day, 32400 + below(u(orders.buy, 'bell'), 36000)) end
                    as delivered_at,
               case status when 'completed'
                    then utc_at(deliver_day, 32400 + below(u(orders.buy, 'bell'), 36000))
                    when 'shipped' then utc_at(ship_day, 54000 + below(u(orders.buy, 'ship'),
                        20000))
                    else utc_at(orders.day, second + 20 + below(u(orders.buy, 'paid'), 500)) end
                    as updated_at,
               case when orders.day > {START_DAY} and u(orders.buy, 'slot') < .7
                    then pick(['上午', '下午', '晚上', '不限'], u(orders.buy, 'slot2')) end
                    as delivery_slot,
               seen(from_day) as _from_day, to_day as _to_day
        from latent.orders as orders
        join stages using (buy) join {spelled} as spelled on spelled.rec = orders.buy
        where from_day <= 869 and (to_day is null or to_day > {START_DAY})
        order by place, from_day;

        create table world.shop.order_lines as
        with spread as (
            select orders.place, orders.order_no, item.line, item.product, item.quantity,
                   item.fen, orders.day, orders.discount_fen,
                   item.quantity * item.fen as gross,
                   (orders.discount_fen::hugeint * item.quantity * item.fen
                       // orders.goods_fen)::bigint as share
            from latent.orders as orders join latent.items as item using (buy))
        select order_no, line::int as line_no, sku, quantity, fen as unit_price_fen,
               (share + case when line = 1 then discount_fen
                    - sum(share) over (partition by order_no) else 0 end)::bigint as discount_fen,
               (gross - share - case when line = 1 then discount_fen
                    - sum(share) over (partition by order_no) else 0 end)::bigint as amount_fen,
               day as _from_day, null::int as _to_day
        from spread join latent.products on products.idx = product
        order by place, line;

        create table latent.returns as
        select orders.buy, orders.order_no, orders.pid, line.line_no, line.sku, line.quantity,
               line.amount_fen, orders.deliver_day + 1 + below(u2(orders.buy, line_no, 'back'), 9)
                   as day,
               2 + below(u2(orders.buy, line_no, 'refund'), 6) as takes, trouble.aspect
        from latent.orders as orders
        join world.shop.order_lines as line using (order_no)
        left join (select buy, line, min(aspect) as aspect from latent.troubles
                   where aspect in ('delivery', 'quality', 'price') group by all) as trouble
            on trouble.buy = orders.buy and trouble.line = line.line_no
        where not is_cancelled
          and u2(orders.buy, line_no, 'returns') <
              case when trouble.aspect is not null then .22 else .028 end;

        create table world.shop.returns as
        with numbered as (
            select *, 'TH' || strftime(on_day(day), '%y%m%d') || digits(row_number() over (
                       order by day, u2(buy, line_no, 'return')), 7) as return_no
            from latent.returns where day <= 869),
        stages as (
            select return_no, 'requested' as status, day as from_day, day + takes as to_day
            from numbered
            union all
            select return_no, case when u(buy, 'refused') < .06 then 'refused' else 'refunded' end,
                   day + takes, null from numbered)
        select return_no, order_no, line_no, sku, quantity, amount_fen as refund_fen,
               case aspect when 'quality' then pick(['质量问题', '收到有瑕疵', '使用故障'],
                                                     u(buy, 'why'))
                    when 'delivery' then pick(['发货太慢', '运输破损', '错发漏发'], u(buy, 'why'))
                    when 'price' then pick(['降价了', '别处更便宜'], u(buy, 'why'))
                    else pick(['七天无理由', '不喜欢', '尺寸不合适', '拍错了', '多拍'],
                              u(buy, 'why')) end as reason,
               status, utc_at(day, 30000 + below(u(buy, 'asks'), 50000)) as requested_at,
               case when status = 'refunded'
                    then utc_at(day + takes, 36000 + below(u(buy, 'gets'), 30000)) end
                    as refunded_at,
               case when status = 'requested'
                    then utc_at(day, 30000 + below(u(buy, 'asks'), 50000))
                    else utc_at(day + takes, 36000 + below(u(buy, 'gets'), 30000)) end
                    as updated_at,
               seen(from_day) as _from_day, to_day as _to_day
        from numbered join stages using (return_no)
        where from_day <= 869 and (to_day is null or to_day > {START_DAY})
        order by return_no, from_day;

        insert into truths.truth.mess
        select 'staff_purchase', 'shop', 'orders', order_no, null
        from latent.orders where by_staff order by 4;
        insert into latent.rates
        select 'staff_purchase', 'shop', 'orders', .012, count(*), count(*) filter (by_staff)
        from latent.orders where day >= 60;

        create table latent.addresses as
        select orders.account_id, min_by(buy, day * 100000 + second) as buy, min(day) as day,
               row_number() over (partition by account_id order by min(day), min(buy)) as turn
        from latent.orders as orders
        join {spelled} as spelled on spelled.rec = orders.buy
        group by orders.account_id, spelled.city, spelled.whose;

        create table world.shop.addresses as
        select 500000 + row_number() over (order by address.day, u(address.buy, 'address'))
                   as address_id,
               account_id, full_name as consignee, mobile, province, city, district,
               address as detail, turn = 1 as is_default,
               utc_at(address.day, 30000 + below(u(address.buy, 'wrote'), 20000)) as created_at,
               utc_at(address.day, 30000 + below(u(address.buy, 'wrote'), 20000)) as updated_at,
               seen(address.day) as _from_day,
               case when turn > 1 and u(address.buy, 'drops') < .1
                    then least(greatest(address.day + 30, 700
                                        + below(u(address.buy, 'dropday'), 170)), end_day)
                    else end_day end as _to_day
        from latent.addresses as address join {spelled} as spelled on spelled.rec = address.buy
        join (select account_id, end_day from latent.accounts) as account using (account_id)
        order by 1;
        delete from world.shop.addresses where _to_day <= {START_DAY} or _from_day > 869;
        """
    )
    note_records(engine, "shop", "orders", "select order_no as key, pid from latent.orders")
    note_mess(
        engine, "shop", "orders", spelled, "select buy as rec, order_no as key from latent.orders"
    )


def make_carts(engine: Engine) -> None:
    """Carts: those that became orders, and those left behind; cleared away after 90 days."""
    engine.run(
        f"""
        create table latent.carts as
        with bought as (
            select buy as source, account_id, channel, order_no, day,
                   greatest(0, second - 60 - below(u(buy, 'cart'), 2400)) as second,
                   null::int as days
            from latent.orders where day > {START_DAY - 90} and u(buy, 'carted') < .8),
        dropped as (
            select -(account.rec * 64 + turn) as source, account.account_id,
                   pick(['web', 'app', 'mini'], u2(account.rec, turn, 'cartch')) as channel,
                   null as order_no,
                   {START_DAY - 90} + below(u2(account.rec, turn, 'cartday'), 230) as day,
                   30000 + below(u2(account.rec, turn, 'cartsec'), 55000) as second,
                   90 as days
            from latent.account_recs as account left join latent.leaving as leave using (pid),
                 range(3) as numbers(turn)
            where u2(account.rec, turn, 'drops') < .45
              and coalesce(leave.leave_day, 100000)
                  > {START_DAY - 90} + below(u2(account.rec, turn, 'cartday'), 230)
              and {START_DAY - 90} + below(u2(account.rec, turn, 'cartday'), 230)
                  between account.day + 1 and coalesce(account.close_day, 100000) - 1)
        select *, 7000000 + row_number() over (order by day, second, u(source, 'cartno'))
                   as cart_id
        from (select * from bought union all select * from dropped);

        create table world.shop.carts as
        select cart_id, account_id, case channel when 'mini' then 'mini_program' else channel end
                   as channel,
               case when order_no is null then 'open' else 'ordered' end as status, order_no,
               utc_at(day, second) as created_at,
               utc_at(day, second + 60 + below(u(source, 'upd'), 900)) as updated_at,
               seen(day) as _from_day, day + days as _to_day
        from latent.carts where coalesce(day + days, 100000) > {START_DAY} order by cart_id;

        create table world.shop.cart_lines as
        with filled as (
            select cart_id, day, second, days, source, item.line::int as line_no, item.product,
                   item.quantity, item.fen
            from latent.carts join latent.items as item on item.buy = source
            union all
            select cart_id, carts.day, second, days, source, line + 1, slots.item, 1, price.fen
            from latent.carts cross join range(2) as numbers(line)
            join latent.sku_slots as slots on slots.phase = 2
                and slots.premium = (spread(source, 3) = 0)
                and slots.slot = slot_of(u2(source, line, 'cartsku'))
            join latent.price_days as price on price.product = slots.item
                and price.day = carts.day
            where source < 0 and (line = 0 or u(source, 'more') < .35))
        select cart_id, line_no, sku, quantity, fen as price_fen,
               utc_at(day, second + line_no * 17) as added_at,
               seen(day) as _from_day, day + days as _to_day
        from filled join latent.products on products.idx = product
        where coalesce(day + days, 100000) > {START_DAY} order by cart_id, line_no;
        """
    )
