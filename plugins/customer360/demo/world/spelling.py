"""How a person's name, phone, e-mail, birthday and address get into a system.

One place makes all the mess of writing, for every system, at the rates asked for that system,
and remembers what it did, so that the truth can tell planted from asked.
"""

from dataclasses import dataclass, field

from customer360.demo.world.engine import Engine

NAME = {
    "homophone": 0.06,
    "traditional": 0.03,
    "pinyin": 0.035,
    "polite": 0.045,
    "latin": 0.025,
    "spaced": 0.02,
    "given_only": 0.02,
}
PHONE = {"missing": 0.08, "dummy": 0.012, "slip": 0.02, "format": 0.16}
EMAIL = {"missing": 0.5, "dummy": 0.012, "slip": 0.015, "other": 0.12, "capitals": 0.04}
BIRTHDAY = {"missing": 0.35, "placeholder": 0.03, "swapped": 0.02}
ADDRESS = {"loose": 0.28, "no_district": 0.08, "full_width": 0.04}


OPEN_TO_SOME = ("homophone", "traditional", "latin")
"""Ways of writing that only some names have; rates are among those."""


@dataclass(frozen=True)
class Rates:
    """Shares of records asked for, by kind of mess; ``family`` is among those it can befall."""

    name: dict[str, float] = field(default_factory=lambda: dict(NAME))
    phone: dict[str, float] = field(default_factory=lambda: dict(PHONE))
    email: dict[str, float] = field(default_factory=lambda: dict(EMAIL))
    birthday: dict[str, float] = field(default_factory=lambda: dict(BIRTHDAY))
    address: dict[str, float] = field(default_factory=lambda: dict(ADDRESS))
    family: float = 0.8


def choose(draw: str, rates: dict[str, float]) -> str:
    """SQL that names the kind that ``draw`` falls on, or NULL for a clean value."""
    bound, branches = 0.0, []
    for kind, rate in rates.items():
        bound += rate
        branches.append(f"when {draw} < {bound:.4f} then '{kind}'")
    return f"case {' '.join(branches)} end" if branches else "null::varchar"


def spell(
    engine: Engine, system: str, table: str, source: str, rates: Rates, *, name: str | None = None
) -> str:
    """Write down the persons of ``source`` as ``system`` got them.

    Args:
        engine: the generation.
        system: system whose records these are.
        table: its table.
        source: SQL that yields ``rec`` (unique BIGINT), ``pid`` and ``day`` of the writing.
        rates: mess asked for.
        name: name of the result where the table's own is taken.

    Returns:
        Name of a latent table with ``rec, whose, written_day, full_name, mobile, email, birthday,
        birthday_calendar, gender, province, city, district, address`` and ``*_mess`` columns.
    """
    result = f"latent.{name or f'{system}_{table}'}_spelled"
    purpose = f"{system}.{name or table}."
    engine.run(
        f"""
        create table {result} as
        with drawn as (
            select rec, source.pid, source.day,
                   {choose(f"u(rec, '{purpose}name')", rates.name)} as name_mess,
                   {choose(f"u(rec, '{purpose}phone')", rates.phone)} as phone_mess,
                   {choose(f"u(rec, '{purpose}email')", rates.email)} as email_mess,
                   {choose(f"u(rec, '{purpose}birthday')", rates.birthday)} as birthday_mess,
                   {choose(f"u(rec, '{purpose}address')", rates.address)} as address_mess,
                   person.uses_family_phone and u(rec, '{purpose}family') < {rates.family}
                       as is_family, person.uses_family_phone as may_family,
                   person.keeps_lunar and u(rec, '{purpose}lunar') < .75 as is_lunar,
                   person.hid, person.sex, person.birth
            from ({source}) as source join latent.people as person on person.pid = source.pid),
        joined as (
            select drawn.*, names.*exclude (pid), home.province, home.city, home.district as area,
                   home.detail, home.loose, email.email as own_email, email.other_email,
                   phone.mobile as own_mobile, head_phone.mobile as head_mobile,
                   lunar.text as lunar_text, lunar.month as lunar_month, lunar.day as lunar_day
            from drawn
            join latent.names as names on names.pid = drawn.pid
            join latent.emails as email on email.pid = drawn.pid
            join latent.homes as home on home.hid = drawn.hid and drawn.day >= home.from_day
                and drawn.day < coalesce(home.to_day, 100000)
            join latent.phones as phone on phone.pid = drawn.pid and drawn.day >= phone.from_day
                and drawn.day < coalesce(phone.to_day, 100000)
            join latent.heads as head on head.hid = drawn.hid
            join latent.phones as head_phone on head_phone.pid = head.pid
                and drawn.day >= head_phone.from_day
                and drawn.day < coalesce(head_phone.to_day, 100000)
            left join latent.lunar as lunar on lunar.on_date = drawn.birth)
        select rec, pid as whose, day as written_day,
               case name_mess
                   when 'homophone' then homophone when 'traditional' then traditional
                   when 'pinyin' then case below(u(rec, '{purpose}case'), 3)
                        when 0 then pinyin when 1 then upper(pinyin)
                        else lower(replace(pinyin, ' ', '')) end
                   when 'polite' then polite when 'latin' then latin
                   when 'spaced' then surname || '　' || given
                   when 'given_only' then given else plain end as full_name,
               case when name_mess = 'homophone' and homophone = plain
                      or name_mess = 'traditional' and traditional = plain
                      or name_mess = 'latin' and latin = plain then null else name_mess end
                   as name_mess,
               homophone <> plain as may_homophone, traditional <> plain as may_traditional,
               latin <> plain as may_latin, surname, nick, sex,
               case when phone_mess = 'missing' then null
                    when phone_mess = 'dummy' then pick(['13800000000', '13800138000',
                        '13888888888', '13000000000', '11111111111', '12345678901'],
                        u(rec, '{purpose}dummy')^1.7)
                    when phone_mess = 'slip'
                        then slip(case when is_family then head_mobile else own_mobile end,
                                  u(rec, '{purpose}slip'))
                    when phone_mess = 'format'
                        then typed(case when is_family then head_mobile else own_mobile end,
                                   below(u(rec, '{purpose}typed'), 5))
                    when is_family then head_mobile else own_mobile end as mobile,
               case when is_family and phone_mess is null then 'family'
                    else phone_mess end as phone_mess,
               may_family, is_family,
               case email_mess when 'missing' then null
                   when 'dummy' then pick(['test@test.com', '123@qq.com', 'a@a.com', 'no@no.com'],
                                          u(rec, '{purpose}mail'))
                   when 'slip' then replace(replace(own_email, '@', '＠'), '.com', '.con')
                   when 'other' then other_email when 'capitals' then upper(own_email)
                   else own_email end as email,
               email_mess,
               case when birthday_mess = 'missing' then null
                    when birthday_mess = 'placeholder'
                        then pick(['1900-01-01', '1970-01-01', '1990-01-01'],
                                  u(rec, '{purpose}placeholder'))
                    when birthday_mess = 'swapped' and day(birth) <= 12
                        then strftime(birth, '%Y-%d-%m')
                    when is_lunar and lunar_text is not null
                        then case when u(rec, '{purpose}lunar_text') < .5
                             then year(birth) || '年' || lunar_text
                             else year(birth) || '-' || digits(lunar_month, 2) || '-'
                                  || digits(lunar_day, 2) end
                    else strftime(birth, '%Y-%m-%d') end as birthday,
               case when is_lunar and lunar_text is not null and birthday_mess is null
                    then 'lunar' else 'solar' end as birthday_calendar,
               case when is_lunar and lunar_text is not null and birthday_mess is null
                    then 'lunar' else birthday_mess end as birthday_mess,
               province, city,
               case when address_mess in ('no_district', 'loose') then null else area end
                   as district,
               case address_mess when 'loose' then loose
                   when 'full_width' then translate(detail, '0123456789', '０１２３４５６７８９')
                   else detail end as address,
               address_mess
        from joined
        """
    )
    note_rates(engine, system, table, result, rates)
    return result


def note_rates(engine: Engine, system: str, table: str, result: str, rates: Rates) -> None:
    """Keep asked and planted shares; a phone counts as eligible for 'family' where it can be."""
    parts = []
    for scale in ("name", "phone", "email", "birthday", "address"):
        for kind, rate in getattr(rates, scale).items():
            eligible = f"may_{kind}" if kind in OPEN_TO_SOME else "true"
            parts.append(
                f"select '{scale}_{kind}' as kind, '{system}' as system, '{table}' as table_name,"
                f" {rate} as asked, count(*) as records,"
                f" count(*) filter ({scale}_mess = '{kind}') as planted"
                f" from {result} where {eligible}"
            )
    parts.append(
        f"select 'phone_family', '{system}', '{table}', {rates.family}, count(*),"
        f" count(*) filter (phone_mess = 'family') from {result}"
        " where may_family and (phone_mess is null or phone_mess = 'family')"
    )
    engine.run("insert into latent.rates " + " union all ".join(parts))


def note_mess(engine: Engine, system: str, table: str, spelled: str, keys: str) -> None:
    """Tell the truth what was done to each record; ``keys`` is SQL of ``rec`` and ``key``."""
    for scale in ("name", "phone", "email", "birthday", "address"):
        engine.run(
            f"""
            insert into truths.truth.mess
            select '{scale}_' || {scale}_mess, '{system}', '{table}', key::varchar,
                   case when '{scale}' = 'phone' and is_family then 'a phone of the family' end
            from {spelled} join ({keys}) as keys using (rec)
            where {scale}_mess is not null and {scale}_mess <> 'missing'
            order by 1, 4
            """
        )


def note_records(engine: Engine, system: str, table: str, source: str) -> None:
    """Tell the truth whose record it is; ``source`` is SQL of ``key`` and ``pid``."""
    engine.run(
        f"""
        insert into truths.truth.records
        select '{system}', '{table}', key::varchar, 'P' || person.code
        from ({source}) as source left join latent.codes as person using (pid) order by 3
        """
    )
