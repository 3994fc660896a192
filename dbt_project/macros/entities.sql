{#-
  The one shape of each entity that staging models feed. A staging model
  stg_<source>__<entity> gives any of these columns; what it lacks is null.
-#}
{% macro entity_columns(entity) -%}
    {%- set identifier = {'identifier_type': 'varchar', 'identifier_value': 'varchar'} -%}
    {%- set entities = {
        'customer_profiles': dict(identifier, **{
            'age_band': 'varchar',
            'income_band': 'varchar',
            'home_ownership': 'varchar',
            'marital_status': 'varchar',
            'household_size': 'varchar',
            'household_composition': 'varchar',
            'kids_count': 'varchar',
        }),
        'order_lines': dict(identifier, **{
            'order_id': 'varchar',
            'line_id': 'varchar',
            'product_id': 'varchar',
            'store_id': 'varchar',
            'channel': 'varchar',
            'ordered_at': 'timestamp',
            'quantity': 'bigint',
            'discount_cents': 'bigint',
            'amount_cents': 'bigint',
            'currency': 'varchar',
        }),
        'products': {
            'product_id': 'varchar',
            'department': 'varchar',
            'category': 'varchar',
            'product_type': 'varchar',
            'brand': 'varchar',
            'manufacturer_id': 'varchar',
            'package_size': 'varchar',
        },
        'campaigns': {
            'campaign_id': 'varchar',
            'campaign_type': 'varchar',
            'channel': 'varchar',
            'starts_on': 'date',
            'ends_on': 'date',
        },
        'campaign_sends': dict(identifier, **{
            'campaign_id': 'varchar',
        }),
        'coupons': {
            'campaign_id': 'varchar',
            'coupon_id': 'varchar',
            'product_id': 'varchar',
        },
        'coupon_redemptions': dict(identifier, **{
            'campaign_id': 'varchar',
            'coupon_id': 'varchar',
            'redeemed_on': 'date',
        }),
    } -%}
    {%- if entity not in entities -%}
        {{ exceptions.raise_compiler_error(
            "unknown entity '" ~ entity ~ "'; staging models feed one of " ~ entities.keys() | join(', ')
        ) }}
    {%- endif -%}
    {{ return(entities[entity]) }}
{%- endmacro %}

{#-
  All rows of an entity from every source that feeds it: stg_<source>__<entity> is taken up by its
  name. No source: an empty table of the right types.
-#}
{% macro union_feeds(entity) -%}
    {%- set columns = entity_columns(entity) -%}
    select
        cast(source as varchar) as source,
        {%- for name, type in columns.items() %}
        cast({{ name }} as {{ type }}) as {{ name }}{{ "," if not loop.last }}
        {%- endfor %}
    from (
        select
            cast(null as varchar) as source,
            {%- for name, type in columns.items() %}
            cast(null as {{ type }}) as {{ name }}{{ "," if not loop.last }}
            {%- endfor %}
        where false
        {%- for feed in var('feeds').get(entity, []) %}
        union all by name
        select '{{ feed.source }}' as source, * from {{ ref(feed.model) }}
        {%- endfor %}
    ) as feeds
{%- endmacro %}
