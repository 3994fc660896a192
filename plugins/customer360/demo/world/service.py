"""Call centre and after-sales: tickets with messages, installed products, visits, parts.

Both start from the same troubles, so that a ticket, the visit that follows it and the product
that it is about fit together. Call centre: local time. After-sales: dates as partners type them.
"""

from customer360.demo.world.engine import START_DAY, Engine
from customer360.demo.world.spelling import Rates, note_mess, note_records, spell
from customer360.demo.world.vocabulary import phrases, products

# pieces are chosen apart from each other; the slots are filled after
COMPOSE = """
    replace(replace(replace(
        pick(text.openings, u({key}, 'opening')) ||
        case when u({key}, 'middle') < .78
             then pick(text.joins, u({key}, 'join')) || pick(text.middles, u({key}, 'middle2'))
             else '' end ||
        case when u({key}, 'ending') < .72
             then pick(text.joins, u({key}, 'join2')) || pick(text.endings, u({key}, 'ending2'))
             else '' end ||
        pick(text.tails, u({key}, 'tail')),
        '{{p}}', {product}), '{{c}}', {city}),
        '{{n}}', (2 + below(u({key}, 'n')^2, 9))::varchar)
"""


def make_texts(engine: Engine) -> None:
    """Phrases, articles, parts and faults as tables."""
    engine.table(
        "latent.texts",
        "place varchar, aspect varchar, mood varchar, kind varchar, openings varchar[],"
        " middles varchar[], endings varchar[], joins varchar[], tails varchar[],"
        " answers varchar[][], articles int[], second_asks varchar[], second_answers varchar[],"
        " last_words varchar[]",
        list(phrases.text_rows()),
    )
    engine.run(
        f"""
        create table latent.product_words as
        -- what texts call a product, and which kind of it they tell apart
        select idx, case when not is_consumable then category
                         when name like '%清洁剂%' then '清洁剂'
                         when name like '%盐%' then '专用盐'
                         when name like '%刷%' or name like '%尘袋%' then '清扫耗材'
                         else '滤芯' end as kind,
               case when is_consumable
                    then regexp_replace(replace(name, '{products.BRAND}', ''),
                                        '[0-9]+(包|只装|kg)$', '')
                    else category end as word,
               case when is_consumable or idx % 2 = 0 then word else series || category end
                   as long_word
        from latent.products
        """
    )
    engine.table(
        "latent.parts",
        "category varchar, part varchar, price int",
        [
            (category, *(int(x) if x.isdigit() else x for x in item.split(":")))
            for category, line in products.PARTS.items()
            for item in line.split()
        ],
    )
    engine.table(
        "latent.faults",
        "category varchar, codes varchar[], words varchar[]",
        [
            (
                category,
                [_split(item)[0] for item in line.split()],
                [_split(item)[1] for item in line.split()],
            )
            for category, line in products.FAULTS.items()
        ],
    )
    engine.table(
        "latent.articles",
        "article_id int, title varchar, topic varchar, body varchar",
        [(101 + i, *row) for i, row in enumerate(phrases.ARTICLES)],
    )


def _split(item: str) -> tuple[str, str]:
    end = next(i for i, character in enumerate(item) if ord(character) > 127)
    return item[:end], item[end:]


def make_callcentre(engine: Engine) -> None:
    """All tables of the schema ``callcentre``."""
    engine.progress("call centre")
    agents = max(6, engine.persons // 4000)
    engine.run(
        f"""
        create table world.callcentre.agents as
        select 1000 + number as agent_id, surname.plain || given.plain as full_name,
               pick(['售前', '售后', '售后', '投诉'], u(number, 'team')) as team,
               pick(['电话', '在线', '全渠道'], u(number, 'skill')) as skill, true as is_active,
               date '2018-01-01' + below(u(number, 'agent_hired'), 2300)::integer as hired_on,
               0 as _from_day, null::int as _to_day
        from range({agents}) as numbers(number)
        join latent.surname_slots as surname_slot on surname_slot.slot = slot_of(u(number, 'asn'))
        join latent.surnames as surname on surname.idx = surname_slot.item
        join latent.given_slots as given_slot on given_slot.era = 'new'
            and given_slot.sex = '女' and given_slot.slot = slot_of(u(number, 'agn'))
        join latent.given as given on given.idx = given_slot.item
        order by 1;

        create table world.callcentre.articles as
        select article_id, title, topic, body, 'published' as status,
               local_at(-410 + below(u(article_id, 'art'), 300),
                        34000 + below(u(article_id, 'arts'), 28000)) as published_at,
               local_at(-54 + below(u(article_id, 'art2'), 40),
                        34000 + below(u(article_id, 'arts2'), 28000)) as updated_at,
               0 as _from_day, null::int as _to_day
        from latent.articles order by 1;

        create table latent.calls as
        -- a trouble is reported by half; one that is badly handled comes back and gets worse
        with reported as (
            select trouble.*, 0 as again, trouble.day + below(u2(buy, line, 'calls_on')^2, 8)
                       as call_day,
                   case when aspect = 'praise' then 'good' else 'bad' end as mood
            from latent.troubles as trouble
            where u2(buy, line, 'reports' || aspect) < case aspect when 'praise' then .05
                  when 'quality' then .74 else .58 end),
        grown as (
            select * from reported
            union all
            select * replace (1 as again,
                              call_day + 3 + below(u2(buy, line, 'again_on'), 9) as call_day)
            from reported where mood = 'bad' and u2(buy, line, 'comes_back') < .22),
        asked as (
            select -(person.pid * 32 + k) as source, person.pid, 'question' as aspect,
                   below(u2(person.pid, k, 'ask_day'), 870) as day, 'plain' as mood, 0 as again,
                   person.channel, null::bigint as buy, null::int as line, null::int as product
            from latent.people as person left join latent.leaving as leave using (pid),
                 range(4) as numbers(k)
            where u2(person.pid, k, 'asks') < .16
              and below(u2(person.pid, k, 'ask_day'), 870)
                  between greatest(0, person.join_day) and coalesce(leave.leave_day, 100000)),
        calls as (
            select buy * 64 + line * 16 + again * 8 + case aspect when 'delivery' then 0
                       when 'quality' then 1 when 'price' then 2 when 'service' then 3 else 4 end
                       as source,
                   pid, case aspect when 'praise' then 'service' else aspect end as aspect,
                   call_day as day, mood, again, channel, buy, line::int as line, product
            from grown
            union all
            select source, pid, aspect, day, mood, again, channel, buy, line, product from asked)
        select calls.*, 28800 + below(u(source, 'callsec'), 46000) as second,
               coalesce(product, below(u(source, 'about'), 60)) as about,
               800000 + row_number() over (order by day, 28800 + below(u(source, 'callsec'), 46000),
                                           u(source, 'callorder')) as ticket_id
        from calls where day between 0 and 869;
        """
    )
    spelled = spell(
        engine,
        "callcentre",
        "tickets",
        "select source as rec, pid, day from latent.calls",
        Rates(
            name={"homophone": 0.14, "polite": 0.3, "given_only": 0.02, "spaced": 0.01},
            phone={"missing": 0.1, "dummy": 0.004, "slip": 0.015, "format": 0.04},
            email={"missing": 0.93},
            birthday={},
        ),
    )
    engine.run(
        f"""
        create table latent.tickets as
        with drawn as (
            select calls.*, epoch(local_at(calls.day, second))::bigint as opened,
                   -- a call is taken soon; in writing thirty per cent wait long, at night more
                   case when u(source, 'via') < .5 then 5 + below(u(source, 'wait')^3, 900)
                        when u(source, 'slow') < .3 + (second > 64800)::int * .2
                        then 3600 + below(u(source, 'wait'), 40000)
                        else 20 + below(u(source, 'wait')^3, 3000) end as wait,
                   case mood when 'bad' then 1 + below(u(source, 'takes')^2, 9) else
                        below(u(source, 'takes')^3, 3) end as takes_days,
                   person.base_satisfaction
            from latent.calls as calls join latent.people as person using (pid)),
        timed as (
            -- who is not answered by ten in the evening is answered the next morning
            select *, wait + case when (second + wait) % 86400 < 28800
                                  then 28800 - (second + wait) % 86400 + spread(source, 3600)
                                  when (second + wait) % 86400 > 79200
                                  then 115200 - (second + wait) % 86400 + spread(source, 3600)
                                  else 0 end as waits
            from drawn)
        select timed.*, day + takes_days as solved_day,
               waits + takes_days * 86400 + 600 + below(u(source, 'solve'), 5400) as solves,
               case when u(source, 'rates') < .42 then greatest(1, least(5, round(
                   (case timed.mood when 'bad' then 2.3 when 'good' then 4.7 else 4.1 end)
                   + .7 * base_satisfaction - (waits > 3600)::int * .6
                   + z(source, 'rating') * .6)))::int end as rating,
               (case timed.mood when 'bad' then -700 when 'good' then 700 else 0 end
                + 250 * base_satisfaction)::int as sentiment,
               word.kind, word.word,
               -- the article that fits the first question, if the agent looked for one
               case when u(source, 'article') < .7
                    then nullif(pick(text.articles, u(source * 8, 'opening')), 0) end as article_id
        from timed
        join latent.product_words as word on word.idx = about
        join latent.texts as text on text.place = 'call' and text.aspect = timed.aspect
            and text.mood = timed.mood and text.kind = word.kind;

        create table world.callcentre.tickets as
        with stages as (
            select source, 'open' as status, day as from_day,
                   greatest(solved_day, (day * 86400 + second + solves) // 86400) as to_day
            from latent.tickets
            union all
            select source, 'closed', greatest(solved_day, (day * 86400 + second + solves) // 86400),
                   null from latent.tickets)
        select ticket.ticket_id,
               pick(['phone', 'phone', 'online', 'mini_program'], u(ticket.source, 'via'))
                   as channel,
               spelled.mobile as caller_phone, spelled.full_name as customer_name,
               case when u(ticket.source, 'quotes_member') < .18 then member.member_no end
                   as member_no,
               case when u(ticket.source, 'quotes_order') < .45
                    then coalesce(orders.order_no, receipt.receipt_no) end as order_no,
               case when ticket.aspect = 'quality' and u(ticket.source, 'quotes_serial') < .5
                    then installed.serial_no end as serial_no,
               case when u(ticket.source, 'via') >= .75 then wechat.openid_mini end as openid,
               spelled.email,
               ticket.aspect as topic,
               case when ticket.again = 1 then 'urgent' when ticket.mood = 'bad'
                    then pick(['high', 'normal'], u(ticket.source, 'prio')) else 'normal' end
                   as priority,
               status, 1000 + below(u(ticket.source, 'agent'), {agents}) as agent_id,
               case ticket.aspect when 'delivery' then '物流配送' when 'quality' then '产品质量'
                    when 'price' then '价格优惠' when 'service' then '服务' else '咨询' end
                    || case when ticket.again = 1 then '（再次来电）' else '' end as subject,
               make_timestamp(opened * 1000000) as opened_at,
               case when status = 'closed' or ticket.day * 86400 + ticket.second + waits
                         < (ticket.day + 1) * 86400
                    then make_timestamp((opened + waits) * 1000000) end as first_response_at,
               case when status = 'closed' then make_timestamp((opened + solves) * 1000000) end
                    as resolved_at,
               ticket.again as reopened_count,
               case when status = 'closed' then rating end as satisfaction,
               case when status = 'closed' then ticket.article_id end as article_id,
               case when status = 'closed' then make_timestamp((opened + solves) * 1000000)
                    else make_timestamp((opened + least(waits, 86399 - ticket.second)) *
                        1000000) end
                    as updated_at,
               from_day as _from_day, to_day as _to_day
        from latent.tickets as ticket join stages using (source)
        join {spelled} as spelled on spelled.rec = ticket.source
        join latent.wechat_ids as wechat on wechat.pid = ticket.pid
        left join (select pid, max(member_no) as member_no from latent.member_recs
                   where rec % 2 = 0 group by 1) as member on member.pid = ticket.pid
        left join latent.orders as orders on orders.buy = ticket.buy
        left join latent.receipts as receipt on receipt.buy = ticket.buy
        left join latent.installed as installed on installed.buy = ticket.buy
            and installed.line = ticket.line
        where from_day <= 869 and coalesce(to_day, 100000) > {START_DAY}
          and (to_day is null or to_day > from_day)
        order by ticket.ticket_id, from_day;

        create table latent.messages as
        with said as (
            select ticket.ticket_id, seq, ticket.source * 8 + seq as source, ticket.mood,
                   ticket.aspect, ticket.kind, ticket.word, ticket.article_id, spelled.city,
                   case when seq = 0 then 0
                        when seq = 1 then waits
                        else waits + (solves - waits) * (seq - 1) // 4 end as after,
                   ticket.day * 86400 + ticket.second as began, ticket.opened,
                   ticket.source as call, waits, solves
            from latent.tickets as ticket
            join {spelled} as spelled on spelled.rec = ticket.source
            cross join range(2 + below(u(ticket.source, 'talks'), 4)) as numbers(seq))
        select ticket_id, seq, source, mood, aspect, kind, word, article_id, city,
               opened + spoken as said_at, (began + spoken) // 86400 as day, call
        from (
            -- talks that go on for days go on between eight and ten in the evening
            select *, case when seq < 2 or solves - waits < 86400 then after
                           else least(solves - 60 * (6 - seq), greatest(waits + 60 * seq,
                                (began + after) // 86400 * 86400 + 28800
                                + (began + after) % 86400 * 50400 // 86400 - began)) end as spoken
            from said);

        create table world.callcentre.messages as
        select message_id, ticket_id,
               seq::int as seq, case when seq % 2 = 0 then 'customer' else 'agent' end as sender,
               case when seq = 0 then {
            COMPOSE.format(key="source", product="word", city="replace(city, '市', '')")
        }
                    -- the answer to the very opening of the call
                    when seq = 1 then pick(pick(text.answers, u(call * 8, 'opening')),
                                           u(source, 'reply'))
                    when seq = 2 then pick(text.second_asks, u(source, 'follow'))
                    when seq = 3 then pick(text.second_answers, u(source - 1, 'follow'))
                    else pick(text.last_words, u(source, 'follow')) end as body,
               case when seq = 1 then message.article_id end as article_id,
               make_timestamp(said_at * 1000000) as sent_at,
               day as _from_day, null::int as _to_day
        -- numbered before the phrases are joined: a window keeps all that its rows carry
        from (select *, row_number() over (order by said_at, u(source, 'msg')) + 9000000
                  as message_id from latent.messages where day <= 869) as message
        join latent.texts as text on text.place = 'call' and text.aspect = message.aspect
            and text.mood = message.mood and text.kind = message.kind
        order by said_at, message_id;

        insert into truths.truth.texts
        select 'callcentre', 'tickets', ticket_id::varchar, aspect, mood, sentiment
        from latent.tickets order by 3;
        """
    )
    note_records(engine, "callcentre", "tickets", "select ticket_id as key, pid from latent.calls")
    note_mess(
        engine,
        "callcentre",
        "tickets",
        spelled,
        "select source as rec, ticket_id as key from latent.calls",
    )


def make_aftersales(engine: Engine) -> None:
    """All tables of the schema ``aftersales``; a partner's drop is weekly."""
    engine.progress("after-sales")
    spelled = spell(
        engine,
        "aftersales",
        "installed",
        "select buy * 4 + line as rec, pid, day from latent.installed",
        Rates(
            name={"homophone": 0.1, "polite": 0.18, "traditional": 0.02, "spaced": 0.02},
            phone={"missing": 0.06, "dummy": 0.008, "slip": 0.035, "format": 0.2},
            email={},
            birthday={},
            address={"loose": 0.5, "no_district": 0.1, "full_width": 0.06},
        ),
    )
    typed_date = """
        case below(u({key}, 'datestyle'), 4) when 0 then strftime({date}, '%Y-%m-%d')
             when 1 then strftime({date}, '%Y/%-m/%-d')
             when 2 then strftime({date}, '%Y年%-m月%-d日') else strftime({date}, '%Y.%m.%d') end"""
    engine.run(
        f"""
        create table latent.partners as
        -- one a province, at the place of its first store
        select store_idx, 'F' || digits(1 + (store_idx * 7) % 97, 3) as partner_code
        from (select min(idx) as store_idx from latent.stores group by province);
        create table latent.partner_of as
        select city.city, arg_min(partner.partner_code,
               (city.province <> store.province)::int * 1000 + (city.latitude -
                   store.latitude)^2 + (city.longitude - store.longitude)^2
               + store.idx * 1e-9) as partner_code
        from latent.cities as city, latent.partners as partner
        join latent.stores as store on store.idx = partner.store_idx group by 1;
        create table world.aftersales.partners as
        select partner_code, replace(city, '市', '') || pick(['恒信', '速达', '安家', '鸿运',
            '佳诚'],
                   u(store_idx, 'partner')) || '家电服务有限公司' as name, province, city,
               landline(area_code, perm8(store_idx, 'pphone')) as phone,
               0 as _from_day, null::int as _to_day
        from latent.partners join latent.stores on stores.idx = store_idx
        join (select idx as city_idx, area_code from latent.cities) using (city_idx) order by 1;

        create table world.aftersales.installed as
        select serial_no, partner_code, product.sku, product.model, batch_no,
               full_name as owner_name, mobile as phone, spelled.province, spelled.city,
               spelled.district, spelled.address,
               {typed_date.format(key="rec", date="on_day(installed.day)")} as installed_on,
               case installed.channel when 'store' then '门店' when 'mini' then '小程序'
                    when 'app' then 'APP' else '官网' end as purchase_channel,
               case when u(rec, 'order_known') < .3
                    then coalesce(orders.order_no, receipt.receipt_no) end as order_reference,
               {
            typed_date.format(
                key="rec", date="on_day(installed.bought_day + 30 * installed.warranty_months)"
            )
        } as warranty_until,
               (installed.day // 7 + 1) * 7 as _from_day, null::int as _to_day
        from latent.installed as installed
        join {spelled} as spelled on spelled.rec = installed.buy * 4 + installed.line
        join latent.products as product on product.idx = installed.product
        join latent.partner_of as partner on partner.city = spelled.city
        left join latent.orders as orders on orders.buy = installed.buy
        left join latent.receipts as receipt on receipt.buy = installed.buy
        where (installed.day // 7 + 1) * 7 <= 869
        order by _from_day, partner_code, serial_no;

        create table latent.visits_made as
        with broken as (
            select installed.*, trouble.day as fault_day, trouble.day as told_day, 0 as again
            from latent.installed as installed
            join (select buy, line, min(day) as day from latent.troubles
                  where aspect = 'quality' group by all) as trouble using (buy, line)
            where trouble.day >= installed.day
              and u2(installed.buy, installed.line, 'visited') < .85),
        repeated as (
            select * from broken union all
            select * replace (fault_day + 12 + below(u2(buy, line, 'again'), 40) as told_day,
                              1 as again)
            from broken where u2(buy, line, 'repeats') < .2
            union all
            -- the installation itself, of what a fitter brings
            select installed.*, null, installed.day, 2 from latent.installed as installed
            join latent.products as product on product.idx = installed.product
            where product.category in ('空调', '冰箱', '洗衣机', '洗碗机', '油烟机', '热水器',
                                       '净水器')
              and u2(buy, line, 'install_visit') < .5)
        select *, (buy * 4 + line) * 4 + again as source,
               told_day + case when again = 2 then 0
                   else 1 + below(u2(buy, line * 4 + again, 'waits')^1.5, 7) end as visit_day,
               pick(['王', '李', '张', '刘', '陈', '赵', '周'], u2(buy, line, 'eng'))
                   || pick(['师傅', '工', '师傅'], u2(buy, line, 'eng2')) as engineer
        from repeated;
        create table latent.visit_parts as
        select source, 1 as line_no, part.part, part.price, product.category
        from latent.visits_made
        join latent.products as product on product.idx = product
        join (select *, row_number() over (partition by category order by part) - 1 as place,
                     count(*) over (partition by category) as total from latent.parts) as part
            on part.category = product.category
            and part.place = bits(source, 'part') % part.total
        where again < 2 and u(source, 'needs_part') < .68;
        """
    )
    visit_spelled = spell(
        engine,
        "aftersales",
        "visits",
        "select source as rec, pid, visit_day as day from latent.visits_made",
        Rates(
            name={"homophone": 0.12, "polite": 0.25, "spaced": 0.01},
            phone={"missing": 0.08, "dummy": 0.005, "slip": 0.03, "format": 0.12},
            email={},
            birthday={},
        ),
    )
    engine.run(
        f"""
        create table latent.visit_rows as
        select visit.* exclude (number), spelled.full_name, spelled.mobile, spelled.address,
               partner.partner_code,
               product.category, fault.codes, fault.words, coalesce(part.price, 0) as part_price,
               visit_day <= bought_day + 30 * visit.warranty_months as in_warranty,
               'W' || strftime(on_day(visit_day), '%y%m%d') || digits(number, 7) as visit_no
        from (select *, (visit_day // 7 + 1) * 7 as drop_day,
                     row_number() over (order by visit_day, u(source, 'visitno')) as number
              from latent.visits_made where (visit_day // 7 + 1) * 7 <= 869) as visit
        join {visit_spelled} as spelled on spelled.rec = visit.source
        join latent.products as product on product.idx = visit.product
        join latent.partner_of as partner on partner.city = spelled.city
        left join latent.faults as fault on fault.category = product.category
        left join latent.visit_parts as part on part.source = visit.source;

        create table world.aftersales.visits as
        select visit_no, partner_code, serial_no,
               case again when 2 then '安装' when 1 then '返修' else '维修' end as kind,
               full_name as customer_name, mobile as phone, address,
               {typed_date.format(key="source", date="on_day(told_day)")} as reported_on,
               {typed_date.format(key="source", date="on_day(visit_day)")} as visited_on, engineer,
               case when again < 2 then pick(codes, u2(buy, line, 'fault')) end as fault_code,
               case when again < 2 then pick(words, u2(buy, line, 'fault')) end as fault_text,
               case when in_warranty then '保内' else '保外' end as in_warranty,
               (case when again = 2 or in_warranty then 0
                     else 50 + 10 * below(u(source, 'labour'), 12) end)::decimal(10,2)
                   as labour_yuan,
               (case when in_warranty then 0 else part_price end)::decimal(10,2) as parts_yuan,
               case when again = 2 then '安装完成' when u(source, 'fixed') < .82 then '已修复'
                    else pick(['待配件', '建议换机', '用户拒修'], u(source, 'unfixed')) end as
                        result,
               drop_day as _from_day, null::int as _to_day
        from latent.visit_rows order by drop_day, partner_code, visit_no;

        create table world.aftersales.parts as
        select visit_no, partner_code, line_no, 'P' || upper(substr(md5(part.category || part.part),
                   1, 6)) as part_no,
               part.part as part_name, 1 as quantity, part.price::decimal(10,2) as price_yuan,
               drop_day as _from_day, null::int as _to_day
        from latent.visit_parts as part join latent.visit_rows using (source)
        order by drop_day, partner_code, visit_no;
        """
    )
    note_records(
        engine, "aftersales", "installed",
        "select serial_no as key, pid from latent.installed where (day // 7 + 1) * 7 <= 869",
    )  # fmt: skip
    note_records(
        engine, "aftersales", "visits", "select visit_no as key, pid from latent.visit_rows"
    )
    note_mess(
        engine, "aftersales", "installed", spelled,
        "select buy * 4 + line as rec, serial_no as key from latent.installed",
    )  # fmt: skip
    note_mess(
        engine, "aftersales", "visits", visit_spelled,
        "select source as rec, visit_no as key from latent.visit_rows",
    )  # fmt: skip
