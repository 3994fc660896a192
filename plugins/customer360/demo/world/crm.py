"""The CRM: persons, organisations with contacts, sales people, leads, activities, deals, consents.

Local time, yuan.
"""

from customer360.demo.world.engine import START_DAY, Engine
from customer360.demo.world.spelling import Rates, note_mess, note_records, spell

PERSON_RATES = Rates(
    name={
        "homophone": 0.08,
        "traditional": 0.035,
        "pinyin": 0.03,
        "polite": 0.07,
        "latin": 0.02,
        "spaced": 0.02,
        "given_only": 0.01,
    },
    phone={"missing": 0.10, "dummy": 0.025, "slip": 0.03, "format": 0.2},
)

SOURCE = """pick(['门店', '门店', '官网', '小程序', '小程序', '活动', '转介绍', '展会', '电话'],
                    u(crm.rec, 'crmsource'))"""
"""Where a person of the CRM came from, by its record."""


def make_staff(engine: Engine) -> None:
    """Sales people; they are persons too, some of whom buy for customers."""
    count = max(8, engine.persons // 800)
    engine.run(
        f"""
        create table latent.staff as
        select pid, row_number() over (order by u(pid, 'staff')) as place,
               2000 + row_number() over (order by u(pid, 'staff_no')) as sales_id
        from latent.people where age between 22 and 55
        qualify place <= {count};
        set variable staff = (select count(*) from latent.staff);

        create table world.crm.sales_people as
        select sales_id::int as sales_id, names.plain as full_name, phone.mobile,
               lower(replace(names.pinyin, ' ', '.')) || sales_id || '@qinglan.example' as email,
               pick(['零售一部', '零售二部', '大客户部', '线上运营部'], u(staff.pid, 'team'))
                   as team,
               substr(city.code, 1, 2) || '0000' as province_code, city.province,
               pick(['大家电', '小家电', '厨电', '全品类'], u(staff.pid, 'line')) as product_line,
               u(staff.pid, 'active') < .93 as is_active,
               date '2016-01-04' + below(u(staff.pid, 'hired'), 3000)::integer as hired_on,
               local_at(-1 - spread(staff.pid, 90), 33000 + spread(staff.sales_id, 30000))
                   as updated_at, 0 as _from_day, null::int as _to_day
        from latent.staff as staff join latent.names as names using (pid)
        join latent.phones as phone on phone.pid = staff.pid and phone.seq = 0
        join latent.people as person on person.pid = staff.pid
        join latent.homes as home on home.hid = person.hid and home.seq = 0
        join latent.cities as city on city.idx = home.city_idx
        order by sales_id;
        """
    )


def make_staff_cards(engine: Engine) -> None:
    """Accounts and memberships of staff, which customers' purchases sometimes go through."""
    engine.run(
        """
        create table latent.staff_accounts as
        select account_id, row_number() over (order by u(staff.pid, 'saccount')) - 1 as place
        from latent.staff join latent.account_recs as account using (pid)
        where rec % 2 = 0 and day < 60 and close_day is null;
        create table latent.staff_members as
        select member_no, row_number() over (order by u(staff.pid, 'smember')) - 1 as place
        from latent.staff join latent.member_recs as member using (pid)
        where rec % 2 = 0 and day < 60;
        set variable staff_accounts = (select count(*) from latent.staff_accounts);
        set variable staff_members = (select count(*) from latent.staff_members);
        """
    )


def make_crm(engine: Engine) -> None:
    """All tables of the schema ``crm`` but the sales people."""
    engine.progress("crm")
    make_crm_persons(engine)
    make_organisations(engine)
    make_leads(engine)


def make_crm_persons(engine: Engine) -> None:
    """Persons, some of them twice or merged away later, and their consents."""
    engine.run(
        """
        create table latent.crm_recs as
        with dated as (
            select pid * 4 as rec, pid, join_day + below(u(pid, 'crmday')^2, 120) as day
            from latent.people where u(pid, 'crm') < .52
            union all
            select pid * 4 + 1, pid, greatest(join_day, 0) + 30 + below(u(pid, 'crm2'), 780)
            from latent.people where u(pid, 'crm') < .052
            union all
            select pid * 4 + 2, pid, greatest(join_day, 0) + 10 + below(u(pid, 'crm3'), 800)
            from latent.people where u(pid, 'crmx') < .03)
        select *, 32400 + below(u(rec, 'crmsec'), 30000) as second,
               'C' || digits(100000 + row_number() over (order by day, u(rec, 'crmorder')) * 2
                   + below(u(rec, 'crmgap'), 2), 8) as person_no,
               -- doubles are cleaned away by hand, and some ask to be forgotten
               case when rec % 4 > 0 and u(rec, 'cleaned') < .25
                    then day + 30 + below(u(rec, 'cleanday'), 500)
                    when u(rec, 'forget') < .01 then 400 + below(u(rec, 'forgetday'), 470)
                    end as end_day
        from dated where day <= 869;
        update latent.crm_recs set end_day = null where end_day <= day;
        """
    )
    spelled = spell(
        engine, "crm", "persons", "select rec, pid, day from latent.crm_recs", PERSON_RATES
    )
    engine.run(
        f"""
        create table latent.crm_persons as
        with changes as (
            select crm.rec, phone.from_day + below(u(crm.rec, 'crmtells'), 90) as new_day,
                   phone.mobile as new_mobile
            from latent.crm_recs as crm
            join latent.phones as phone on phone.pid = crm.pid and phone.seq = 1
            where u(crm.rec, 'crmtell') < .35 and phone.from_day > crm.day
              and phone.from_day + 90 < coalesce(crm.end_day, 870))
        select crm.*, new_day, new_mobile
        from latent.crm_recs as crm left join changes using (rec);

        create table world.crm.persons as
        with versions as (
            select *, null::varchar as shown, day as changed, seen(day) as from_day,
                   coalesce(new_day, end_day) as to_day from latent.crm_persons
            union all
            select *, new_mobile, new_day, seen(new_day), end_day from latent.crm_persons
            where new_day is not null),
        tests as (
            select 'C' || digits(99000000 + number * 13, 8) as person_no,
                   below(u(number, 'crmtest'), 800) as day, number
            from range({max(2, engine.persons // 1000)}) as numbers(number))
        select person_no, full_name,
               case below(u(versions.rec, 'crmsex'), 5) when 0 then null
                    when 1 then case versions_sex.sex when '男' then 'M' else 'F' end
                    else versions_sex.sex end as gender,
               birthday, coalesce(shown, mobile) as mobile,
               case when u(versions.rec, 'landline') < .12
                    then landline(home.area_code, perm8(home.hid, 'land')) end as phone,
               email, spelled.province, spelled.city, spelled.district, spelled.address,
               {SOURCE.replace("crm.rec", "versions.rec")} as source_channel,
               case when u(versions.rec, 'crmmember') < .26 then member.member_no end as member_no,
               staff.sales_id::int as sales_id,
               case when u(versions.rec, 'remark') < .06 then pick(['老客户', '帮家人买',
                   '注意：投诉过',
                    '企业采购意向', '只接微信', '勿电'], u(versions.rec, 'remark2')) end as remark,
               local_at(versions.day, second) as created_at,
               local_at(changed, case when changed = versions.day then second
                        else 34000 + spread(versions.rec, 28000) end) as updated_at,
               versions.from_day as _from_day, versions.to_day as _to_day
        from versions join {spelled} as spelled on spelled.rec = versions.rec
        join latent.people as versions_sex on versions_sex.pid = versions.pid
        join latent.homes as home on home.hid = versions_sex.hid and home.seq = 0
        join latent.staff as staff
            on staff.place = 1 + bits(versions.rec, 'seller') % getvariable('staff')
        left join (select pid, max(member_no) as member_no from latent.member_recs
                   where rec % 2 = 0 group by 1) as member on member.pid = versions.pid
        where versions.from_day <= 869 and coalesce(versions.to_day, 100000) > {START_DAY}
          and coalesce(versions.to_day, 100000) > versions.from_day
        union all
        select person_no, pick(['测试', '测试客户', 'test', '张三测试', 'asdf'], u(number,
            'tname')),
               null, '1990-01-01', '13800000000', null, 'test@test.com', '广东省', '广州市', null,
               '测试地址', '官网', null, null, '测试数据请忽略',
               local_at(day, 33000 + spread(number, 30000)),
               local_at(day, 33000 + spread(number, 30000)), day, null
        from tests
        order by person_no, _from_day;

        insert into truths.truth.mess
        select 'test_account', 'crm', 'persons', person_no, null from world.crm.persons
        where remark = '测试数据请忽略' order by 4;
        insert into latent.rates
        select 'test_account', 'crm', 'persons', .001, {engine.persons},
               count(*) filter (remark = '测试数据请忽略') from world.crm.persons;
        insert into truths.truth.mess
        select 'duplicate', 'crm', 'persons', person_no, null from latent.crm_recs
        where rec % 4 > 0 order by 4;
        insert into truths.truth.mess
        select 'deleted', 'crm', 'persons', person_no, 'day ' || end_day from latent.crm_recs
        where end_day between {START_DAY + 1} and 869 order by 4;
        insert into truths.truth.mess
        select 'phone_changed', 'crm', 'persons', person_no, 'day ' || new_day
        from latent.crm_persons where new_day is not null order by 4;

        create table latent.consents as
        with purposes as (
            select crm.rec, crm.person_no, crm.pid, crm.day, crm.second, crm.end_day,
                   purpose.place, purpose.purpose, purpose.channel, purpose.share
            from latent.crm_recs as crm
            cross join (values (0, '营销', 'sms', .7), (1, '营销', 'email', .45),
                               (2, '营销', 'call', .35), (3, '服务通知', 'sms', .97),
                               (4, '个性化推荐', 'all', .55))
                as purpose(place, purpose, channel, share))
        select *, rec * 8 + place as source,
               case when u(rec * 8 + place, 'withdraws') < .09 and place <> 3
                    then greatest(day, 0) + 20 + below(u(rec * 8 + place, 'withdrawn'), 880) end
                   as out_day
        from purposes where u(rec * 8 + place, 'consents') < share;
        create table world.crm.consents as
        with numbered as (
            select *, row_number() over (order by day, second, u(source, 'consentno')) + 70000
                       as consent_id
            from latent.consents),
        stages as (
            select *, 'granted' as status, seen(day) as from_day, out_day as to_day from numbered
            union all
            select *, 'withdrawn', out_day, null from numbered where out_day is not null)
        select consent_id, person_no, purpose, channel, status,
               case place when 3 then '合同履行' else '同意' end as legal_basis,
               pick(['注册页', '门店纸质', '小程序弹窗', '电话录音'], u(source, 'consentvia'))
                   as source,
               local_at(day, second) as captured_at,
               case when status = 'withdrawn' then local_at(out_day, 40000 + spread(rec, 30000)) end
                   as withdrawn_at,
               case when status = 'withdrawn' then local_at(out_day, 40000 + spread(rec, 30000))
                    else local_at(day, second) end as updated_at,
               from_day as _from_day,
               case when to_day is null then end_day else least(to_day, end_day) end as _to_day
        from stages
        where from_day <= 869
          and coalesce(least(to_day, end_day), to_day, end_day, 100000) > {START_DAY}
          and from_day < coalesce(end_day, 100000) and from_day < coalesce(to_day, 100000)
        order by consent_id, from_day;

        create table world.crm.acquisition_costs as
        -- what the persons written down in a month say of where they came from
        with won as (
            select date_trunc('month', on_day(crm.day))::date as month, {SOURCE} as channel,
                   spelled.province, count(*)::int as new_customers
            from latent.crm_recs as crm join {spelled} as spelled using (rec)
            where crm.day >= 0 group by all),
        told as (
            select *, (month + to_months(1))::date - date '2024-07-01' as month_end,
                   (case channel when '门店' then 135 when '官网' then 88 when '小程序' then 64
                         when '活动' then 158 when '转介绍' then 42 when '展会' then 236
                         else 175 end
                    -- dearer in the months of the festivals, and by channel, month and place
                    * case when month(month) in (6, 11) then 1.25 else 1 end
                    * exp(.22 * z(month - date '2024-01-01', 'cost' || channel)
                          + .18 * z(month - date '2024-01-01', 'cost' || channel || province))
                    * (new_customers + .6) * 100)::bigint as fen
            from won)
        select row_number() over (order by month, channel, province)::int as cost_id, month,
               channel, province, (fen / 100)::decimal(12,2) as cost_yuan, new_customers,
               (month_end + 3)::int as _from_day, null::int as _to_day
        from told where month_end + 3 <= 869 order by 1;
        """
    )
    note_records(
        engine, "crm", "persons",
        "select person_no as key, pid from latent.crm_recs union all select person_no, null "
        "from world.crm.persons where remark = '测试数据请忽略'",
    )  # fmt: skip
    note_mess(
        engine, "crm", "persons", spelled, "select rec, person_no as key from latent.crm_recs"
    )


def make_organisations(engine: Engine) -> None:
    """Key accounts, written twice at times, with persons as contacts and their deals."""
    count = max(12, engine.persons // 120)
    engine.run(
        f"""
        create table latent.orgs as
        select org::bigint as org, below(u(org, 'oday'), 1500) - 700 as day,
               city.idx as city_idx, city.province, city.city, district.district, city.area_code,
               pick(['华', '中', '鑫', '金', '宏', '瑞', '嘉', '恒', '博', '安', '天', '盛',
                   '远', '德'],
                    u(org, 'o1')) || pick(['达', '业', '通', '泰', '源', '景', '信', '凯',
                        '悦', '邦',
                    '晟', '途', '禾', '颐'], u(org, 'o2')) || pick(['', '', '', '联', '世', '新'],
                    u(org, 'o3')) as core,
               pick(['酒店管理', '置业', '物业服务', '装饰工程', '教育科技', '餐饮管理', '公寓管理',
                     '医疗科技', '商贸', '电子'], u(org, 'industry')) as industry,
               pick(district.roads, u(org, 'oroad')) || (1 + below(u(org, 'ohouse'), 600)) || '号'
                   || pick(['', '科技园A座', '商务中心12层', '大厦8楼', '广场3栋'], u(org,
                       'obuild'))
                   as address,
               '91' || city.code || upper(substr(md5(concat('org', org::varchar, seed())), 1,
                   10)) as code
        from range({count}) as numbers(org)
        join latent.city_slots as slot on slot.slot = slot_of(u(org, 'ocity'))
        join latent.cities as city on city.idx = slot.item
        join latent.district_slots as dslot on dslot.city_idx = city.idx
            and dslot.slot = slot_of(u(org, 'odistrict'))
        join latent.districts as district on district.idx = dslot.item;

        create table latent.org_recs as
        select org, org * 2 as rec, day from latent.orgs
        union all select org, org * 2 + 1, day + 40 + below(u(org, 'odupday'), 500)
        from latent.orgs where u(org, 'odup') < .12;
        alter table latent.org_recs add column org_no varchar;
        update latent.org_recs set org_no = numbered.org_no from (
            select rec, 'K' || digits(1000 + row_number() over (order by day, u(rec, 'oorder')), 6)
                as org_no from latent.org_recs) as numbered
        where numbered.rec = org_recs.rec;

        create table world.crm.organisations as
        select org_no,
               replace(city, '市', '') || core || industry
                   || case when rec % 2 = 1 and u(rec, 'oform') < .6 then '有限责任公司'
                           when rec % 2 = 1 then '' else '有限公司' end as name,
               core || left(industry, 2) as short_name,
               case when rec % 2 = 0 and u(rec, 'ocode') < .85 or u(rec, 'ocode') < .35
                    then code end as credit_code,
               industry, pick(['50人以下', '50-200人', '200-1000人', '1000人以上'], u(org, 'scale'))
                   as scale,
               province, city, nullif(district, '') as district,
               case when rec % 2 = 1 then city || address else address end as address,
               landline(area_code, perm8(org, 'ophone')) as phone,
               pick(['A', 'B', 'B', 'C', 'C'], u(org, 'olevel')) as level,
               null::varchar as parent_org_no, staff.sales_id::int as sales_id,
               local_at(rec.day, 32400 + spread(rec.rec, 26000)) as created_at,
               local_at(rec.day, 32400 + spread(rec.rec, 26000)) as updated_at,
               seen(rec.day) as _from_day, null::int as _to_day
        from latent.org_recs as rec join latent.orgs using (org)
        join latent.staff as staff
            on staff.place = 1 + bits(org, 'oseller') % getvariable('staff')
        where rec.day <= 869 order by org_no;
        update world.crm.organisations set parent_org_no = (
            select min(other.org_no) from world.crm.organisations as other
            where other.city = organisations.city and other.org_no < organisations.org_no
              and other.industry = organisations.industry)
        where level = 'A';

        create table latent.contact_links as
        select rec.org, rec.rec * 8 + k as rec, rec.org_no, person.pid, rec.day + k * 20 as day, k,
               row_number() over (order by rec.day + k * 20, u(rec.rec * 8 + k, 'ctorder')) + 3000
                   as contact_id,
               -- the first one right after the organisation, the others when they are met
               case when k = 0 then local_at(rec.day, 32460 + spread(rec.rec, 26000)
                                             + spread(rec.rec + 7, 1800))
                    else local_at(rec.day + k * 20, 32400 + spread(rec.rec * 8 + k, 30000)) end
                   as created_at
        from latent.org_recs as rec
        cross join range(1 + below(u(rec.org, 'contacts')^1.5, 4)) as numbers(k)
        join latent.people as person
            on person.pid = bits2(rec.org, k, 'orgperson') % {engine.persons}
        where rec.rec % 2 = 0 or k = 0;
        """
    )
    spelled = spell(
        engine, "crm", "contacts", "select rec, pid, day from latent.contact_links",
        Rates(
            name={"homophone": 0.04, "polite": 0.15, "latin": 0.08},
            phone={"missing": 0.06, "slip": 0.01, "format": 0.15},
            email={"missing": 0.4, "other": 0.4},
            birthday={},
            family=0.0,
        ),
    )  # fmt: skip
    engine.run(
        f"""
        create table world.crm.contacts as
        select contact_id, org_no, full_name,
               pick(['总经理', '采购经理', '行政主管', '工程部经理', '财务', '店长'],
                    u(link.rec, 'title')) as title,
               pick(['采购部', '行政部', '工程部', '财务部', '运营部'], u(link.rec, 'dept'))
                   as department,
               mobile, email, k = 0 as is_decision_maker, link.created_at,
               link.created_at as updated_at, seen(link.day) as _from_day,
               null::int as _to_day
        from latent.contact_links as link join {spelled} as spelled using (rec)
        where link.day <= 869 order by contact_id;

        insert into truths.truth.organisations
        select org_no, 'O' || substr(md5(concat('o', org::varchar, seed())), 1, 10)
        from latent.org_recs where day <= 869 order by 1;
        insert into truths.truth.organisation_members
        select distinct 'O' || substr(md5(concat('o', org::varchar, seed())), 1, 10), 'P' || code
        from latent.contact_links join latent.codes using (pid) order by 1, 2;

        create table latent.deals as
        with org_deals as (
            select org * 16 + k as source, org_no, null::varchar as person_no,
                   greatest(0, org_recs.day) + below(u2(org, k, 'dday'), 800) as day,
                   (8000 + 90000 * u2(org, k, 'damount')^3)::int as yuan, org as seller
            from latent.org_recs cross join range(4) as numbers(k)
            where rec % 2 = 0 and u2(org, k, 'deal') < .55),
        person_deals as (
            select -rec as source, null, person_no,
                   greatest(0, day) + 1 + below(u(rec, 'pdday'), 300),
                   (2000 + 26000 * u(rec, 'pdamount')^2)::int, rec
            from latent.crm_recs where u(rec, 'pdeal') < .07 and rec % 4 = 0
              and end_day is null)
        select *, case when u(source, 'wins') < .42 then 'won' when u(source, 'wins') < .82
                       then 'lost' else 'stalled' end as outcome,
               15 + below(u(source, 'cycle')^2, 150) as length,
               row_number() over (order by day, u(source, 'dorder')) + 60000 as deal_id
        from (select * from org_deals union all select * from person_deals)
        where day <= 869;
        create table world.crm.deals as
        with stages as (
            select *, 'qualify' as stage, day as from_day, day + length // 3 as to_day from
                latent.deals
            union all
            select *, 'proposal', day + length // 3,
                   case when outcome <> 'stalled' then day + length end from latent.deals
            union all
            select *, outcome, day + length, null from latent.deals where outcome <> 'stalled')
        select deal_id, org_no, person_no, staff.sales_id::int as sales_id,
               case when org_no is null
                    then pick(['全屋家电', '婚房套装', '厨房改造', '旧家电换新'],
                              u(source, 'dtitle'))
                    else pick(['年度采购', '样板间配套', '宿舍改造', '新风净水工程', '员工福利'],
                              u(source, 'dtitle')) end as title,
               pick(['大家电', '小家电', '厨电', '全品类'], u(source, 'dline')) as product_line,
               stage, yuan::decimal(14,2) as amount_yuan,
               case when stage = 'lost' then pick(['价格', '竞品', '预算取消', '交期', '无回应'],
                    u(source, 'dlost')) end as lost_reason,
               local_at(day, 33000 + spread(source, 26000)) as opened_at, on_day(day + length +
                   10) as expected_close_on,
               case when stage in ('won', 'lost') then local_at(day + length,
                    34000 + spread(-source, 28000)) end as
                   closed_at,
               local_at(from_day, case when from_day = day then 33000 + spread(source, 26000)
                        else 34000 + spread(-source, 28000) end)
                   as updated_at,
               from_day as _from_day, to_day as _to_day
        from stages join latent.staff as staff
            on staff.place = 1 + bits(seller, 'seller') % getvariable('staff')
        where from_day <= 869 and coalesce(to_day, 100000) > {START_DAY}
          and coalesce(to_day, 100000) > from_day
        order by deal_id, from_day;
        """
    )
    note_records(
        engine, "crm", "contacts",
        "select contact_id as key, pid from latent.contact_links where day <= 869",
    )  # fmt: skip
    note_mess(
        engine, "crm", "contacts", spelled,
        "select rec, contact_id as key from latent.contact_links where day <= 869",
    )  # fmt: skip


def make_leads(engine: Engine) -> None:
    """Leads, of newcomers and of customers who ask for more, and what sales people did.

    A purchase soon after the first talk converts a lead; without one it is lost in the end.
    """
    engine.run(
        """
        create table latent.lead_recs as
        with firsts as (select pid, min(day) as first_day from latent.buys group by 1)
        select pid * 2 as rec, pid, 60 as patience,
               greatest(0, first_day - 6 - below(u(pid, 'leadday'), 45)) as day
        from latent.people join firsts using (pid)
        where join_day >= 0 and u(pid, 'lead') < .05
        union all
        select pid * 2 + 1, pid, 30, greatest(0, join_day) + below(u(pid, 'askday'), 840)
        from latent.people where u(pid, 'asksmore') < .24;
        """
    )
    spelled = spell(
        engine, "crm", "leads", "select rec, pid, day from latent.lead_recs",
        Rates(
            name={"polite": 0.3, "homophone": 0.08, "given_only": 0.04, "pinyin": 0.02},
            phone={"missing": 0.04, "dummy": 0.02, "slip": 0.03, "format": 0.08},
            email={"missing": 0.8},
            birthday={},
        ),
    )  # fmt: skip
    engine.run(
        f"""
        create table latent.leads as
        with sourced as (
            select *, pick(['抖音表单', '展会', '官网咨询', '门店留资', '老客转介', '小程序'],
                           u(rec, 'leadsource')) as source
            from latent.lead_recs where day <= 869),
        written as (
            -- stores and fairs write by day, forms come until late
            select *, case when source in ('展会', '门店留资', '老客转介')
                           then 34200 + below(u(rec, 'leadsec'), 32000)
                           else 28800 + below(u(rec, 'leadsec')^.7, 54000) end as second
            from sourced),
        assigned as (
            -- in working hours within the hour or two, else the next morning
            select *, case when second between 32400 and 61200 then day else day
                        + (second > 61200)::int end as assign_day,
                   case when second between 32400 and 61200
                        then second + 180 + below(u(rec, 'assigns')^2, 6000)
                        else 32400 + below(u(rec, 'assigns'), 5400) end as assign_second
            from written),
        reached as (
            select *, case when assign_second < 57600 and u(rec, 'soon') < .5 then assign_day
                        else assign_day + 1 + below(u(rec, 'leadreply')^2, 4) end as contact_day
            from assigned),
        answered as (
            select *, case when contact_day = assign_day
                           then assign_second + 600 + below(u(rec, 'answers'), 7000)
                           else 33600 + below(u(rec, 'answers'), 30000) end as contact_second
            from reached),
        closed as (
            select lead.rec, min(buys.day) as won_day,
                   min(buys.day * 86400 + buys.second) % 86400 as won_second
            from answered as lead join latent.buys as buys on buys.pid = lead.pid
                and buys.day > lead.contact_day and buys.day <= lead.contact_day + lead.patience
            group by 1)
        select lead.*, won_day, least(86399, won_second + 240 + spread(lead.rec, 900))
                   as won_second,
               case when won_day is null
                    then contact_day + 7 + below(u(lead.rec, 'givesup')^1.3, 80) end as lost_day,
               row_number() over (order by lead.day, lead.second, u(lead.rec, 'leadno')) + 20000
                   as lead_id,
               crm.person_no
        from answered as lead left join closed using (rec)
        left join latent.crm_recs as crm on crm.pid = lead.pid and crm.rec % 4 = 0
            and crm.end_day is null and crm.day < won_day;
        create table world.crm.leads as
        with stages as (
            select *, 'new' as status, day as from_day, contact_day as to_day,
                   local_at(assign_day, assign_second) as changed_at from latent.leads
            union all
            select *, 'contacted', contact_day, coalesce(won_day, lost_day),
                   local_at(contact_day, contact_second) from latent.leads
            union all
            select *, 'converted', won_day, null, local_at(won_day, won_second) from latent.leads
            where won_day is not null
            union all
            select *, 'lost', lost_day, null,
                   local_at(lost_day, 33000 + below(u(rec, 'lostsec'), 31000)) from latent.leads
            where lost_day is not null)
        select lead_id, full_name, mobile, email, province, city, source,
               pick(['大家电', '小家电', '厨电', '全品类'], u(stages.rec, 'leadline'))
                   as product_line,
               (500 * (1 + below(u(stages.rec, 'budget')^2, 40)))::decimal(12,2) as budget_yuan,
               status,
               case when status = 'lost' then pick(['价格超预算', '选了别的品牌', '暂不装修',
                    '联系不上', '只是咨询', '无安装条件', '等大促'], u(stages.rec, 'leadlost')) end
                   as lost_reason,
               staff.sales_id::int as sales_id,
               case when status = 'converted' and u(stages.rec, 'linked') < .6 then person_no end
                   as person_no,
               local_at(stages.day, second) as created_at,
               case when assign_day <= from_day then local_at(assign_day, assign_second) end
                   as assigned_at,
               case when status <> 'new' then local_at(contact_day, contact_second) end
                   as first_contact_at,
               case when status = 'converted' then changed_at end as converted_at,
               -- the evening's lead waits for the morning
               case when status = 'new' and assign_day > from_day then local_at(stages.day, second)
                    else changed_at end as updated_at,
               case when stages.day > {START_DAY + 24} then pick(['douyin', 'baidu', 'wechat',
                    'xiaohongshu', 'offline'], u(stages.rec, 'utm')) end as utm_source,
               from_day as _from_day, to_day as _to_day
        from stages join {spelled} as spelled on spelled.rec = stages.rec
        join latent.staff as staff
            on staff.place = 1 + bits(stages.rec, 'lseller') % getvariable('staff')
        where from_day <= 869 and coalesce(to_day, 100000) > {START_DAY}
          and coalesce(to_day, 100000) > from_day
        order by lead_id, from_day;

        create table world.crm.activities as
        with of_leads as (
            select lead.rec * 4 as source, lead.rec as seller, 'lseller' as seat, null::varchar
                as person_no,
                   null::varchar as org_no, lead_id, null::bigint as deal_id,
                   lead.contact_day as day, lead.contact_second as second
            from latent.leads as lead),
        of_deals as (
            select deal_id * 8 + k, seller, 'seller', person_no, org_no, null, deal_id,
                   day + 1 + k * length // 4, 34000 + below(u2(deal_id, k, 'actsec'), 28000)
            from latent.deals, range(1 + below(u(deal_id, 'acts'), 4)) as numbers(k)),
        of_persons as (
            select -(rec * 4 + k), rec, 'seller', person_no, null, null, null,
                   greatest(0, day) + 1 + below(u2(rec, k, 'visits'), 760), 34000 + below(u2(rec,
                       k, 'actsec'), 28000)
            from latent.crm_recs, range(3) as numbers(k)
            where u2(rec, k, 'cared') < .12 and end_day is null),
        everything as (
            select * from of_leads union all select * from of_deals
            union all select * from of_persons)
        select row_number() over (order by day, second, u(source, 'actno')) + 400000 as activity_id,
               staff.sales_id::int as sales_id, person_no, org_no, lead_id, deal_id,
               kind, kind || '：' || topic as subject,
               case when kind = '电话' and u(source, 'actno2') < .15 then '无人接听'
                    else pick(case topic
                        when '跟进需求' then ['客户表示再考虑', '家里装修中，下月再联系',
                                              '意向较强', '已发资料', '想先看实物']
                        when '报价沟通' then ['对价格敏感', '已发报价单', '要求再优惠一点',
                                              '意向较强，下周签', '等内部审批']
                        when '邀约到店' then ['约周末到店', '已加微信，时间再定', '路远，想线上看']
                        when '样品确认' then ['确认收到样品', '样品已安装试用', '要求换一个型号']
                        when '使用回访' then ['使用正常', '问了滤芯怎么换', '对服务不满，已转售后',
                                              '挺满意，愿意推荐']
                        else ['祝福已送到', '已加微信', '问了近期活动'] end,
                        u(source, 'actnote')) end as note,
               local_at(day, second) as happened_at, day as _from_day, null::int as _to_day
        from (select *,
                     pick(case when org_no is not null then ['电话', '微信', '拜访', '拜访', '邮件']
                               when lead_id is not null then ['电话', '电话', '微信', '到店接待']
                               else ['电话', '微信', '微信', '到店接待'] end,
                          u(source, 'actkind')) as kind,
                     pick(case when org_no is not null
                               then ['跟进需求', '报价沟通', '报价沟通', '样品确认']
                               when deal_id is not null then ['跟进需求', '报价沟通', '邀约到店']
                               when lead_id is not null then ['跟进需求', '跟进需求', '邀约到店']
                               else ['使用回访', '使用回访', '节日问候'] end,
                          u(source, 'actsub')) as topic
              from everything) as activity
        join latent.staff as staff on staff.place = 1 + case seat when 'lseller'
            then bits(seller, 'lseller') else bits(seller, 'seller') end
            % getvariable('staff')
        where day <= 869 order by 1;
        """
    )
    note_records(engine, "crm", "leads", "select lead_id as key, pid from latent.leads")
    note_mess(engine, "crm", "leads", spelled, "select rec, lead_id as key from latent.leads")
