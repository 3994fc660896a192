"""Who there is: households, persons, names as written, homes, phones, e-mails, stores, staff.

Everything here is latent: systems show only what a person gave them, as the person gave it.
"""

import datetime as dt

from lunardate import LunarDate

from customer360.demo.world.engine import DAY0, DAYS, Engine
from customer360.demo.world.vocabulary import names, places, products

STORES = {"tiny": 25, "small": 51, "medium": 170, "large": 340}

# position in a block of ten persons -> household, place in the household
PATTERNS = """[[[0,0],[1,0],[2,0],[2,1],[3,0],[3,1],[3,2],[4,0],[4,1],[4,2]],
 [[0,0],[0,1],[1,0],[1,1],[1,2],[1,3],[2,0],[3,0],[3,1],[3,2]],
 [[0,0],[0,1],[0,2],[0,3],[0,4],[1,0],[1,1],[2,0],[2,1],[3,0]],
 [[0,0],[1,0],[2,0],[3,0],[4,0],[5,0],[6,0],[6,1],[7,0],[8,0]]]"""
PREFIXES = [
    "134",
    "135",
    "136",
    "137",
    "138",
    "139",
    "147",
    "150",
    "151",
    "152",
    "157",
    "158",
    "159",
    "178",
    "182",
    "183",
    "184",
    "187",
    "188",
    "198",
    "130",
    "131",
    "132",
    "155",
    "156",
    "166",
    "176",
    "185",
    "186",
    "133",
    "153",
    "177",
    "180",
    "181",
    "189",
    "199",
    "173",
    "191",
]


SLOTS = 8192
SKU_WEIGHTS = """
    select phase.phase, premium.premium, idx as item,
           (case phase.phase when 0 then summer when 1 then winter else other end)
           * (case when is_consumable then 12
                   when premium.premium and list_yuan > 2500 then 12
                   when premium.premium then 5 when list_yuan > 2500 then 3 else 9 end) as weight
    from latent.products, range(3) as phase(phase), (values (true), (false)) as premium(premium)"""


def make_vocabulary(engine: Engine) -> None:
    """Load names, places, products and the calendar's weights."""
    surnames = names.surnames()
    engine.table(
        "latent.surnames",
        "idx int, weight int, plain varchar, traditional varchar, homophone varchar,"
        " pinyin varchar",
        [
            (i, weight, form.plain, form.traditional, form.homophone, form.pinyin)
            for i, (weight, form) in enumerate(surnames)
        ],
    )
    engine.table(
        "latent.given",
        "idx int, era varchar, sex varchar, plain varchar, traditional varchar,"
        " homophone varchar, pinyin varchar",
        [
            (i, era, sex, form.plain, form.traditional, form.homophone, form.pinyin)
            for i, (era, sex, form) in enumerate(names.given_names())
        ],
    )
    for variable, words in {
        "latin": names.LATIN.split(),
        "foreign_names": names.FOREIGN.split(","),
        "nick_heads": names.NICK_HEADS.split(),
        "nick_tails": names.NICK_TAILS.split(),
        "prefixes": PREFIXES,
        "communities": places.COMMUNITIES.split(),
        "common_roads": places.COMMON_ROADS.split(),
        "short_area_codes": places.SHORT_AREA_CODES.split(),
        "domains": ["qq.com"] * 6
        + [
            "163.com",
            "163.com",
            "163.com",
            "126.com",
            "sina.com",
            "foxmail.com",
            "139.com",
            "outlook.com",
        ],
    }.items():
        engine.con.execute(f"set variable {variable} = $1::varchar[]", [words])
    engine.table(
        "latent.cities",
        "idx int, code varchar, province varchar, city varchar, latitude double,"
        " longitude double, weight int, area_code varchar",
        places.cities(),
    )
    engine.table(
        "latent.districts",
        "idx int, city_idx int, code varchar, district varchar, latitude double,"
        " longitude double, roads varchar[]",
        places.districts(),
    )
    engine.table(
        "latent.products",
        "idx int, sku varchar, category varchar, series varchar, model varchar, name varchar,"
        " is_consumable boolean, fits varchar, list_yuan int, warranty_months int,"
        " launched_on date, summer int, winter int, other int, fault_share int, cycle_days int",
        products.catalogue(),
    )
    engine.table("latent.season", "day int, weight int, festival varchar", season())
    engine.run(
        """
        create table latent.price_days as
        select product.idx as product, season.day,
               case when product.is_consumable then product.list_yuan * 100
                    else ((product.list_yuan
                           * (case when season.festival in ('618', '双11') then .86
                                   when season.festival is not null then .92 else 1 end)
                           * (case when season.day > 300 + below(u(product.idx, 'drop'), 400)
                                   then .90 else 1 end))::int // 10 * 10 + 9) * 100 end
                   ::bigint as fen
        from latent.products as product, latent.season as season;
        """
    )
    # the index of each drawn thing by slot: a join on a slot is far cheaper than a long list
    for name, keys, source in (
        ("surname_slots", "", "select idx as item, weight from latent.surnames"),
        ("given_slots", "era, sex,", "select era, sex, idx as item, 1 as weight from latent.given"),
        ("city_slots", "", "select idx as item, weight from latent.cities"),
        ("day_slots", "", "select day as item, weight from latent.season"),
        (
            "district_slots",
            "city_idx,",
            "select city_idx, idx as item, 1 as weight from latent.districts",
        ),
        ("sku_slots", "phase, premium,", SKU_WEIGHTS),
    ):
        engine.run(
            f"""
            create table latent.{name} as
            with spread as (
                select {keys} list(item order by item, copy) as items
                from ({source}), range(weight) as copies(copy) group by all)
            select {keys} slot::int as slot, items[1 + slot * len(items) // {SLOTS}] as item
            from spread, range({SLOTS}) as slots(slot)
            """
        )


def season() -> list[tuple[int, int, str | None]]:
    """Weight of each day's demand, in tenths of per mille or so, and the festival it lies in."""
    springs = [dt.date(2025, 1, 29), dt.date(2026, 2, 17)]
    rows = []
    for day in range(DAYS):
        date = DAY0 + dt.timedelta(days=day)
        weight, festival = 10.0, None
        if date.month == 6 and date.day <= 20:
            weight, festival = (40.0 if date.day == 18 else 20.0), "618"
        if (date.month, date.day) >= (10, 24) and (date.month, date.day) <= (11, 13):
            weight, festival = (46.0 if (date.month, date.day) == (11, 11) else 21.0), "双11"
        for spring in springs:
            distance = (date - spring).days
            if -18 <= distance < -2:
                weight, festival = 15.0, "年货节"
            elif -2 <= distance < 6:
                weight = 4.0
        weight *= 1.25 if date.weekday() >= 5 else 1.0
        weight *= 1 + 0.18 * day / DAYS
        rows.append((day, round(weight), festival))
    return rows


def make_people(engine: Engine) -> None:
    """Households, persons with their traits, homes, names, phones and e-mails."""
    engine.progress("people")
    engine.run(
        f"""
        create table latent.stores as
        with placed as (
            select number, number % 51 as city_rank
            from range({STORES[engine.size]}) as numbers(number)),
        ranked as (
            select *, row_number() over (order by weight desc, idx) - 1 as city_rank
            from latent.cities),
        located as (
            select placed.number, city.idx as city_idx, district.item as district_idx
            from placed
            join ranked as city on city.city_rank = case when placed.number < 51 then
                placed.city_rank else below(u(placed.number, 'big')^2, 30) end
            join latent.district_slots as district on district.city_idx = city.idx
                and district.slot = slot_of(u(placed.number, 'store')))
        select number as idx,
               'S' || substr(city.code, 1, 4)
               || digits(row_number() over (partition by city.code order by number), 2)
                   as store_code,
               located.city_idx, located.district_idx, city.province, city.city,
               district.district, district.latitude + (u(number, 'lat') - .5) * .03 as latitude,
               district.longitude + (u(number, 'lon') - .5) * .03 as longitude,
               pick(district.roads, u(number, 'storeroad')) as road
        from located
        join latent.cities as city on city.idx = located.city_idx
        join latent.districts as district on district.idx = located.district_idx;

        create table latent.near_store as
        select district.idx as district_idx,
               arg_min(store.idx, (store.city_idx <> district.city_idx)::int * 1000
                   + (store.latitude - district.latitude)^2
                   + (store.longitude - district.longitude)^2 + store.idx * 1e-9) as store_idx
        from latent.districts as district, latent.stores as store group by 1;

        create table latent.people as
        with placed as (
            select person as pid, person // 10 as block,
                   ({PATTERNS})[1 + below(u(person // 10, 'pattern'), 4)][1 + (person % 10)::int]
                       as place
            from range({engine.persons}) as persons(person)),
        housed as (
            select pid, block * 10 + place[1] as hid, place[2] as role,
                   26 + below(u(block * 10 + place[1], 'age')^1.3, 40) as head_age,
                   u(block * 10 + place[1], 'head') < .52 as head_male
            from placed),
        aged as (
            select *,
                   case role when 0 then head_age
                        when 1 then head_age - 4 + below(u(pid, 'age'), 8)
                        when 2 then case when head_age >= 46
                            then greatest(18, head_age - 30 + below(u(pid, 'age'), 6))
                            else head_age + 22 + below(u(pid, 'age'), 8) end
                        when 3 then case when head_age >= 46 and head_age < 60
                            then head_age + 22 + below(u(pid, 'age'), 6)
                            else greatest(18, head_age - 24 + below(u(pid, 'age'), 4)) end
                        else greatest(18, least(82, head_age + 24 + below(u(pid, 'age'), 6)))
                   end as age
            from housed),
        sexed as (
            select *,
                   case when role = 0 then head_male when role = 1 then not head_male
                        else u(pid, 'sex') < .5 end as male
            from aged),
        detailed as (
            select *,
                   date '2026-06-30' - to_days(age * 365 + below(u(pid, 'birth'), 365))
                       as birth_at,
                   case when age >= 58 then 'old' when age >= 36 then 'mid' else 'new' end as era,
                   case when male then '男' else '女' end as sex,
                   u(pid, 'join') as join_draw
            from sexed)
        select pid, hid, role, detailed.sex, birth_at::date as birth, age,
               surname.item as surname_idx, given.item as given_idx,
               case when age < 48 and u(pid, 'english') < .22
                    then pick(getvariable('latin'), u(pid, 'latin')) end as english,
               case when u(pid, 'foreign') < .004
                    then pick(getvariable('foreign_names'), u(pid, 'foreigner')) end as foreigner,
               age > 45 and u(pid, 'lunar') < .45 as keeps_lunar,
               case when join_draw < .5 then -1 - below((join_draw * 2)^1.4, 1500)
                    else joined.item end as join_day,
               least(14, exp(.5 + .6 * z(pid, 'rate') - .4 * z(pid, 'frailty')
                        + .2 * z(pid, 'satisfaction')
                    + case when age between 28 and 50 then .25 else 0 end)) as yearly_rate,
               z(pid, 'satisfaction') * .8 as base_satisfaction,
               z(pid, 'frailty') as frailty,
               u(pid, 'income') + (age between 30 and 52)::int * .15 > .72 as premium,
               u(pid, 'price') as price_sensitivity,
               case when age >= 55
                    then pick(['store','store','store','store','store','mini','mini','web'],
                              u(pid, 'channel'))
                    when age >= 36
                    then pick(['store','store','store','mini','mini','web','web','app'],
                              u(pid, 'channel'))
                    else pick(['store','mini','mini','mini','app','app','app','web'],
                              u(pid, 'channel')) end as channel,
               case when age >= 55 then pick(['call','call','sms','sms','wechat'],
                                             u(pid, 'touch'))
                    else pick(['wechat','wechat','sms','email','push'], u(pid, 'touch'))
                    end as touch_channel,
               pick([8, 9, 10, 11, 12, 12, 13, 15, 17, 18, 19, 20, 20, 21, 21, 21, 22, 22],
                    u(pid, 'hour')) as touch_hour,
               case when age >= 70 and u(pid, 'phone') < .45 then true
                    else role > 0 and u(pid, 'phone') < .16 end as uses_family_phone
        from detailed
        join latent.given_slots as given
            on given.era = detailed.era and given.sex = detailed.sex
            and given.slot = slot_of(u(pid, 'given'))
        join latent.surname_slots as surname on surname.slot = slot_of(
            u(case when role in (0, 2) and (role = 0 or male or age < head_age)
                   then hid else pid + 1000000007 end, 'surname'))
        join latent.day_slots as joined
            on joined.slot = slot_of(greatest(0, join_draw - .5) * 2);

        create table latent.heads as
        select hid, pid from latent.people where role = 0;

        create table latent.codes as
        select pid, substr(md5(concat('person', pid::varchar, seed())), 1, 12) as code
        from latent.people;

        create table latent.kinds as
        -- what a campaign does to a person; tied to traits that systems show in part
        select pid,
               case when score < .22 then 'sleeping dog' when score < .50 then 'sure thing'
                    when score < .78 then 'lost cause' else 'persuadable' end as kind
        from (select pid, (.55 * u(pid, 'kind') + .45 * price_sensitivity
                           + .12 * (age < 40)::int - .06) as score from latent.people);

        create table latent.names as
        select pid, surname.plain as surname,
               coalesce(foreigner, surname.plain || given.plain) as plain,
               coalesce(foreigner, surname.traditional || given.traditional) as traditional,
               coalesce(foreigner,
                   case when u(pid, 'homophone') < .3 and surname.homophone <> surname.plain
                        then surname.homophone || given.plain
                        else surname.plain || given.homophone end) as homophone,
               coalesce(foreigner, surname.pinyin || ' ' || given.pinyin) as pinyin,
               lower(coalesce(replace(foreigner, ' ', ''), given.pinyin || surname.pinyin))
                   as tight,
               coalesce(foreigner, surname.plain || case person.sex when '男' then '先生' else
                   '女士' end)
                   as polite,
               coalesce(english || ' ' || surname.pinyin, foreigner,
                        surname.plain || given.plain) as latin,
               pick(getvariable('nick_heads'), u(pid, 'nick1'))
               || pick(getvariable('nick_tails'), u(pid, 'nick2'))
               || case when u(pid, 'nick3') < .4
                       then below(u(pid, 'nick4'), 1000)::varchar else '' end as nick,
               given.plain as given
        from latent.people as person
        join latent.surnames as surname on surname.idx = person.surname_idx
        join latent.given as given on given.idx = person.given_idx;
        """
    )
    make_homes(engine)
    make_phones(engine)
    lunar = lunar_days()
    engine.table("latent.lunar", "on_date date, month int, day int, text varchar", [])
    engine.con.register("lunar_frame", lunar)
    engine.run("insert into latent.lunar select * from lunar_frame")
    engine.con.unregister("lunar_frame")


def make_homes(engine: Engine) -> None:
    """Where households live, and where those who move go."""
    engine.run(
        """
        create table latent.homes as
        with households as (select distinct hid from latent.people),
        lived as (
            select hid, 0 as seq, hid * 2 as home,
                   city.item as city_idx, -100000 as from_day,
                   case when u(hid, 'moves') < .11 then below(u(hid, 'move'), 1000) - 130
                        end as to_day
            from households
            join latent.city_slots as city on city.slot = slot_of(u(hid, 'city'))),
        moved as (
            select * from lived union all
            select hid, 1, hid * 2 + 1,
                   case when u(hid, 'far') < .3 then city.item else city_idx end, to_day, null
            from lived join latent.city_slots as city on city.slot = slot_of(u(hid, 'to'))
            where to_day is not null),
        placed as (
            select moved.*, district.item as district_idx
            from moved join latent.district_slots as district
                on district.city_idx = moved.city_idx
                and district.slot = slot_of(u(moved.home, 'district')))
        select hid, seq, from_day, to_day, placed.city_idx, district_idx, city.province, city.city,
               district.district, city.area_code,
               case when u(home, 'road') < .45 then pick(district.roads, u(home, 'road3'))
                    else pick(getvariable('common_roads'), u(home, 'road2')) end as road,
               below(u(home, 'number')^2, 480) + 1 as house,
               pick(getvariable('communities'), u(home, 'community')) as community,
               below(u(home, 'building'), 28) + 1 as building,
               below(u(home, 'unit'), 4) + 1 as unit,
               (below(u(home, 'floor'), 26) + 1) * 100 + below(u(home, 'room'), 4) + 1 as room,
               near.store_idx
        from placed
        join latent.cities as city on city.idx = placed.city_idx
        join latent.districts as district on district.idx = district_idx
        join latent.near_store as near using (district_idx);
        alter table latent.homes add column detail varchar;
        alter table latent.homes add column loose varchar;
        update latent.homes set
            detail = road || house || '号' || community || building || '号楼' || unit || '单元'
                     || room || '室',
            loose = case hid % 4
                when 0 then city || district || community || building || '-' || unit || '-' || room
                when 1 then replace(province, '省', '') || replace(city, '市', '') || ' '
                     || road || house || '号 ' || community || building || '幢' || room
                when 2 then community || building || '栋' || unit || '单元' || room
                     || '（' || road || '）'
                else province || city || district || road || house || '弄' || building || '号'
                     || room || '室' end;
        """
    )


def make_phones(engine: Engine) -> None:
    """Mobile numbers over time: changed ones, and ones that another person gets later."""
    engine.run(
        """
        create table latent.phones as
        with firsts as (
            select pid, case when u(pid, 'changes') < .17
                             then below(u(pid, 'change'), 1270) - 400 end as change_day,
                   pick(getvariable('prefixes'), u(pid, 'prefix'))
                   || digits(perm8(pid, 'mobile'), 8) as mobile
            from latent.people),
        changed as (
            select pid, change_day, mobile, row_number() over (order by change_day, pid) as place
            from firsts where change_day is not null),
        seconds as (
            select changed.pid, changed.change_day,
                   case when u(changed.pid, 'recycled') < .3
                             and donor.change_day < changed.change_day - 45 then donor.mobile
                        else pick(getvariable('prefixes'), u(changed.pid, 'prefix2'))
                             || digits(perm8(changed.pid + 40000000, 'mobile'), 8) end as mobile,
                   u(changed.pid, 'recycled') < .3
                             and donor.change_day < changed.change_day - 45 as is_recycled
            from changed
            left join changed as donor on donor.place = changed.place
                - (select greatest(1, count(*) * 120 // 1270) from changed))
        select pid, 0 as seq, mobile, -100000 as from_day, change_day as to_day,
               false as is_recycled
        from firsts
        union all
        select pid, 1, mobile, change_day, null, coalesce(is_recycled, false) from seconds;

        create table latent.emails as
        select pid,
               case when domain = 'qq.com' then (100000000 + perm8(pid, 'qq') * 9)::varchar
                    else tight || case when u(pid, 'e') < .5 then strftime(birth, '%y') else '' end
                         || digits(perm8(pid, 'mail') % 100000, below(u(pid, 'w'), 2) + 4)
                    end || '@' || domain as email,
               tight || '_' || digits(perm8(pid, 'mail2') % 1000000, 6) || '@'
                   || pick(['gmail.com', 'hotmail.com', 'company.cn', '163.com'], u(pid, 'd2'))
                   as other_email
        from (select pid, pick(getvariable('domains'), u(pid, 'domain')) as domain
              from latent.people)
        join latent.names using (pid) join latent.people using (pid);

        create table latent.wechat_ids as
        select pid, 'oU6' || token(pid, 'union', 22) || 'Qx' as unionid,
               'o1A' || token(pid, 'open1', 22) || 'gh' as openid_account,
               'o2M' || token(pid, 'open2', 22) || 'mp' as openid_mini,
               'anon-' || lower(substr(md5(concat(pid::varchar, 'anon', seed())), 1, 20)) as
                   anonymous_id,
               'anon-' || lower(substr(md5(concat(pid::varchar, 'anonb', seed())), 1, 20)) as
                   anonymous_b
        from latent.people;
        """
    )


def lunar_days() -> "object":
    """Each date from 1940 to 2009 in the lunar calendar."""
    import pandas as pd

    months = ["正", "二", "三", "四", "五", "六", "七", "八", "九", "十", "冬", "腊"]
    tens = ["初", "十", "廿", "三十"]
    ones = ["十", "一", "二", "三", "四", "五", "六", "七", "八", "九"]
    rows = []
    date = dt.date(1940, 2, 8)
    last = dt.date(2009, 1, 1)
    while date < last:
        # conversions are slow: convert the first of each month, count on until the next first
        start = LunarDate.from_solar_date(date.year, date.month, date.day)
        length = 29 if _is_first(date + dt.timedelta(days=29)) else 30
        for offset in range(length):
            number = offset + 1
            text = {10: "初十", 20: "二十", 30: "三十"}.get(
                number, tens[number // 10] + ones[number % 10]
            )
            rows.append(
                (date + dt.timedelta(days=offset), start.month, number,
                 f"农历{months[start.month - 1]}月{text}")
            )  # fmt: skip
        date += dt.timedelta(days=length)
    return pd.DataFrame(rows, columns=["on_date", "month", "day", "text"])


def _is_first(date: dt.date) -> bool:
    return bool(LunarDate.from_solar_date(date.year, date.month, date.day).day == 1)
