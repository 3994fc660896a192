"""Tills: stores, receipts and lines as the nightly files show them. Local time, yuan."""

from customer360.demo.world.engine import Engine
from customer360.demo.world.spelling import choose, note_records

PHONE = {"dummy": 0.03, "slip": 0.03, "format": 0.05}


def make_till(engine: Engine) -> None:
    """All tables of the schema ``till``."""
    engine.progress("tills")
    engine.run(
        f"""
        create table world.till.stores as
        select store_code, regexp_replace('清岚' || replace(city, '市', '') || district || '店',
                   '[区市]店$', '店') as name, province, city, nullif(district, '') as district,
               road || (1 + below(u(idx, 'door'), 300)) || '号' as address,
               round(latitude, 5) as latitude, round(longitude, 5) as longitude,
               '400-' || digits(820 + idx % 8, 3) || '-' || digits(1000 + idx, 4) as phone,
               date '2015-03-01' + below(u(idx, 'opened'), 3200)::integer as opened_on,
               0 as _from_day, null::int as _to_day
        from latent.stores order by store_code;

        create table latent.till_backs as
        -- lines brought back to the store, for their price less their share of a coupon
        select buys.buy, item.line, buys.pid, buys.store_idx, buys.day as sold_day,
               buys.day + 2 + below(u2(buys.buy, item.line, 'back_day'), 12) as day,
               36000 + below(u2(buys.buy, item.line, 'back_second'), 34000) as second,
               item.product, item.quantity, item.fen
        from latent.buys as buys join latent.items as item using (buy)
        left join (select distinct buy, line from latent.troubles where aspect = 'quality')
            as broken on broken.buy = item.buy and broken.line = item.line
        where buys.channel = 'store'
          and u2(buys.buy, item.line, 'till_back') <
              case when broken.buy is not null then .2 else .022 end;

        create table latent.till_numbers as
        with everything as (
            select buy, 0 as line, store_idx, day, second from latent.buys where channel = 'store'
            union all select buy, line, store_idx, day, second from latent.till_backs),
        numbered as (
            select everything.*, store.store_code,
                   row_number() over (partition by store.store_code, day
                                      order by second, u(buy, 'receipt'), line) as turn
            from everything join latent.stores as store on store.idx = store_idx)
        select buy, line, store_code,
               store_code || strftime(on_day(day), '%y%m%d') || digits(turn, 4) as receipt_no
        from numbered;

        create table latent.receipts as
        select buys.*, number.store_code, number.receipt_no,
               total.goods_fen, coalesce(redeemed.coupon_fen, 0) as discount_fen,
               redeemed.campaign as used, credit.member_no,
               u(buys.buy, 'tells_phone') < .34 as gives_phone,
               u(buys.buy, 'staff_card') < .012 and buys.day >= 60
                   and getvariable('staff_members') > 0 as staff_card
        from latent.buys as buys
        join latent.till_numbers as number on number.buy = buys.buy and number.line = 0
        join latent.totals as total on total.buy = buys.buy
        left join latent.redeemed as redeemed on redeemed.buy = buys.buy
        left join latent.member_buys as credit on credit.buy = buys.buy;

        create table latent.receipt_phones as
        with given as (
            select buy, receipt.pid, receipt_no,
                   {choose("u(buy, 'till.phone')", PHONE)} as phone_mess,
                   person.uses_family_phone and u(buy, 'till.family') < .8 as is_family,
                   phone.mobile as own, head_phone.mobile as theirs
            from latent.receipts as receipt
            join latent.people as person on person.pid = receipt.pid
            join latent.phones as phone on phone.pid = receipt.pid
                and receipt.day >= phone.from_day and receipt.day < coalesce(phone.to_day, 100000)
            join latent.heads as head on head.hid = receipt.hid
            join latent.phones as head_phone on head_phone.pid = head.pid
                and receipt.day >= head_phone.from_day
                and receipt.day < coalesce(head_phone.to_day, 100000)
            where gives_phone)
        select buy, receipt_no, is_family,
               case phone_mess when 'dummy' then pick(['13800000000', '13800138000',
                        '11111111111', '0'], u(buy, 'till.dummy')^1.6)
                   when 'slip' then slip(case when is_family then theirs else own end,
                                         u(buy, 'till.slip'))
                   when 'format' then typed(case when is_family then theirs else own end,
                                            below(u(buy, 'till.typed'), 5))
                   else case when is_family then theirs else own end end as phone,
               coalesce(phone_mess, case when is_family then 'family' end) as phone_mess
        from given;

        insert into truths.truth.mess
        select 'phone_' || phone_mess, 'till', 'receipts', receipt_no, null
        from latent.receipt_phones where phone_mess is not null order by 1, 4;
        insert into truths.truth.mess
        select 'staff_purchase', 'till', 'receipts', receipt_no, null
        from latent.receipts where staff_card order by 4;
        insert into latent.rates
        select 'staff_purchase', 'till', 'receipts', .012, count(*), count(*) filter (staff_card)
        from latent.receipts where day >= 60;

        create table latent.returned as
        select back.*, sale.store_code, number.receipt_no, sale.receipt_no as sold_no,
               back.quantity * back.fen as gross,
               sale.discount_fen * back.quantity * back.fen // sale.goods_fen as share
        from latent.till_backs as back
        join latent.receipts as sale on sale.buy = back.buy
        join latent.till_numbers as number on number.buy = back.buy and number.line = back.line
        where back.day <= 869;

        create table world.till.receipts as
        with sales as (
            select receipt.buy, receipt.day, store_code, receipt.receipt_no, receipt.store_idx,
                   receipt.second,
                   case when staff_card then staff.member_no else receipt.member_no end
                       as member_no,
                   phone.phone, goods_fen, discount_fen, null::varchar as sold_no
            from latent.receipts as receipt
            left join latent.receipt_phones as phone on phone.buy = receipt.buy
            left join latent.staff_members as staff
                on staff.place = spread(receipt.buy, greatest(1, getvariable('staff_members')))),
        told as (
            select * from sales union all
            select back.buy, back.day, back.store_code, back.receipt_no, back.store_idx,
                   back.second, sales.member_no, null, -back.gross, -back.share, back.sold_no
            from latent.returned as back join sales using (buy))
        select store_code, on_day(day) as business_day, receipt_no,
               1 + below(u(buy, 'till_no'), 4) as till_no,
               'K' || digits(below(u(buy, 'cashier'), 9) + store_idx * 10, 4) as cashier_no,
               strftime(local_at(day, second), '%Y/%m/%d %H:%M:%S') as sold_at, member_no, phone,
               pick(['微信', '微信', '支付宝', '支付宝', '银行卡', '现金'], u(buy, 'pays'))
                   as payment,
               (goods_fen / 100)::decimal(12,2) as total_yuan,
               (discount_fen / 100)::decimal(12,2) as discount_yuan,
               ((goods_fen - discount_fen) / 100)::decimal(12,2) as paid_yuan,
               sold_no as returns_receipt_no, day as _from_day, null::int as _to_day
        from told order by day, store_code, receipt_no;

        create table world.till.receipt_lines as
        with lines as (
            select item.line, receipt.day, store_code, receipt_no, item.product, item.quantity,
                   item.fen
            from latent.receipts as receipt join latent.items as item using (buy)
            union all
            select 1, day, store_code, receipt_no, product, -quantity, fen from latent.returned)
        select store_code, on_day(day) as business_day, receipt_no, line::int as line_no, sku,
               name as product_name, quantity, (fen / 100)::decimal(12,2) as unit_price_yuan,
               (fen * quantity / 100)::decimal(12,2) as amount_yuan,
               day as _from_day, null::int as _to_day
        from lines join latent.products on products.idx = product
        order by day, store_code, receipt_no, line;
        """
    )
    note_records(
        engine, "till", "receipts",
        "select receipt_no as key, pid from latent.receipts"
        " union all select receipt_no, pid from latent.returned",
    )  # fmt: skip
