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
        select store_code, replace('清岚' || replace(city, '市', '') || district || '店',
            '区店', '店')
                   as name, province, city, nullif(district, '') as district,
               road || (1 + below(u(idx, 'door'), 300)) || '号' as address,
               round(latitude, 5) as latitude, round(longitude, 5) as longitude,
               '400-' || digits(820 + idx % 8, 3) || '-' || digits(1000 + idx, 4) as phone,
               date '2015-03-01' + below(u(idx, 'opened'), 3200)::integer as opened_on,
               0 as _from_day, null::int as _to_day
        from latent.stores order by store_code;

        create table latent.receipts as
        with numbered as (
            select buys.*, store.store_code,
                   row_number() over (partition by store.store_code, buys.day
                                      order by buys.second, u(buys.buy, 'receipt')) as turn
            from latent.buys as buys
            join latent.stores as store on store.idx = buys.store_idx
            where buys.channel = 'store')
        select numbered.*, store_code || strftime(on_day(numbered.day), '%y%m%d')
                   || digits(turn, 4) as receipt_no,
               total.goods_fen, coalesce(redeemed.coupon_fen, 0) as discount_fen,
               redeemed.campaign as used, credit.member_no,
               u(numbered.buy, 'tells_phone') < .34 as gives_phone,
               u(numbered.buy, 'staff_card') < .012 as staff_card
        from numbered join latent.totals as total using (buy)
        left join latent.redeemed as redeemed on redeemed.buy = numbered.buy
        left join latent.member_buys as credit on credit.buy = numbered.buy;

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
        from latent.receipts;

        create table world.till.receipts as
        select store_code, on_day(receipt.day) as business_day, receipt.receipt_no,
               1 + below(u(receipt.buy, 'till_no'), 4) as till_no,
               'K' || digits(below(u(receipt.buy, 'cashier'), 9) + receipt.store_idx * 10, 4)
                   as cashier_no,
               strftime(local_at(receipt.day, receipt.second), '%Y/%m/%d %H:%M:%S') as sold_at,
               case when staff_card then staff.member_no else receipt.member_no end as member_no,
               phone.phone, pick(['微信', '微信', '支付宝', '支付宝', '银行卡', '现金'],
                                 u(receipt.buy, 'pays')) as payment,
               (goods_fen / 100)::decimal(12,2) as total_yuan,
               (discount_fen / 100)::decimal(12,2) as discount_yuan,
               ((goods_fen - discount_fen) / 100)::decimal(12,2) as paid_yuan,
               receipt.day as _from_day, null::int as _to_day
        from latent.receipts as receipt
        left join latent.receipt_phones as phone on phone.buy = receipt.buy
        left join latent.staff_members as staff
            on staff.place = spread(receipt.buy, getvariable('staff_members'))
        order by receipt.day, store_code, receipt.receipt_no;

        create table world.till.receipt_lines as
        with returned as (
            select buy, line, day + 3 + below(u2(buy, line, 'back_day'), 10) as day
            from latent.receipts join latent.items using (buy)
            where u2(buy, line, 'till_back') < .018),
        lines as (
            select buy, line, receipt.day, store_code, receipt_no, item.product, item.quantity,
                   item.fen
            from latent.receipts as receipt join latent.items as item using (buy))
        select store_code, on_day(day) as business_day, receipt_no, line::int as line_no, sku,
               name as product_name, quantity, (fen / 100)::decimal(12,2) as unit_price_yuan,
               (fen * quantity / 100)::decimal(12,2) as amount_yuan,
               day as _from_day, null::int as _to_day
        from lines join latent.products on products.idx = product
        order by day, store_code, receipt_no, line;
        """
    )
    note_records(engine, "till", "receipts", "select receipt_no as key, pid from latent.receipts")
