{#- What is done with orders that cannot be taken as they are; README, "Odd orders". -#}

{#- Why a line or an order is not taken into the marts; null where it is taken. -#}
{% macro refusal_of(order=none) -%}
    {%- set prefix = order ~ '.' if order else '' -%}
    case
        when {{ prefix }}ordered_at is null then 'orphan_line'
        when {{ prefix }}ordered_at >= {{ day_start(add_days(prefix ~ 'read_on', 1)) }} then 'from_the_future'
    end
{%- endmacro %}

{#- An amount in the company's currency; null where no rate is declared (policies.yml, money.rates). -#}
{% macro company_cents(amount, currency) -%}
    case coalesce({{ currency }}, '{{ var("currency") }}')
        when '{{ var("currency") }}' then {{ amount }}
        {%- for code, rate in var('currency_rates').items() %}
        when '{{ code }}' then cast(round(({{ amount }}) * cast({{ rate }} as decimal(18, 8))) as bigint)
        {%- endfor %}
    end
{%- endmacro %}
