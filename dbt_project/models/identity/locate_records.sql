{{ config(materialized='table', database='workspace', schema='unify') }}

-- The region that the address of a record says, as codes of GB/T 2260. A name counts as a city only
-- with its 市, or at the head of the address: most towns have a 中山路.
with places as (
    select
        record_id,
        {{ plain_text("concat(province, city, district, address)") }} as place
    from {{ ref('union_person_records') }}
),

texts as (
    select distinct place from places
    where place is not null
),

provinces as (
    select
        texts.place,
        provinces.code as province_code,
        regexp_replace(
            substr(texts.place, length(provinces.short_name) + 1),
            '^(省|市|壮族自治区|回族自治区|维吾尔自治区|自治区|特别行政区)',
            ''
        ) as remainder
    from texts
    left join {{ ref('regions') }} as provinces
        on
            provinces.level = 'province'
            and left(texts.place, 2) = left(provinces.short_name, 2)
            and {{ begins('texts.place', 'provinces.short_name') }}
),

-- Within a province by its code; without one, by the full name of the city.
cities as (
    select
        provinces.place,
        cities.code as city_code,
        cities.parent_code as province_code
    from provinces
    inner join {{ ref('regions') }} as cities
        on provinces.province_code = cities.parent_code
    where
        cities.level = 'city'
        and (
            cities.code = cities.parent_code
            or contains(provinces.remainder, cities.name)
            or (
                {{ begins('provinces.remainder', 'cities.short_name') }}
                and not {{ matches(
                    'substr(provinces.remainder, length(cities.short_name) + 1)', '^[东西南北中]?[一二三四]?[路街大]'
                ) }}
            )
        )
    union all
    select
        provinces.place,
        cities.code as city_code,
        cities.parent_code as province_code
    from provinces
    inner join {{ ref('regions') }} as cities
        on left(provinces.place, 2) = left(cities.name, 2) and {{ begins('provinces.place', 'cities.name') }}
    where provinces.province_code is null and cities.level = 'city'
),

one_city as (
    select * from cities
    qualify row_number() over (partition by place order by city_code) = 1
),

counties as (
    select
        one_city.place,
        min(counties.code) as county_code
    from one_city
    inner join {{ ref('regions') }} as counties
        on one_city.city_code = counties.parent_code and contains(one_city.place, counties.name)
    where counties.level = 'county'
    group by one_city.place
)

select
    places.record_id,
    coalesce(one_city.province_code, provinces.province_code) as province_code,
    one_city.city_code,
    counties.county_code
from places
inner join provinces on places.place = provinces.place
left join one_city on places.place = one_city.place
left join counties on places.place = counties.place
where one_city.city_code is not null or provinces.province_code is not null
