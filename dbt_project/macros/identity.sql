{#- The id of the customer who is known by `identifier` (kind:value) and by nothing stronger. -#}
{% macro customer_of(identifier) -%}
    'c' || substr(md5({{ identifier }}), 1, 16)
{%- endmacro %}

{#- A nickname with the town, which is rarer than either. -#}
{% macro placed_nickname(nickname, city) -%}
    {{ nickname }} || '@' || regexp_replace({{ city }}, '市$', '')
{%- endmacro %}

{#- An identifier as it is published: a digest of it where a person is reached or called by it. -#}
{% macro published_identifier(type, value) -%}
    case
        when {{ type }} in ('phone', 'email') or {{ type }} like 'nickname:%'
            then 't' || substr(md5({{ type }} || ':' || {{ value }}), 1, 24)
        else {{ value }}
    end
{%- endmacro %}

{#-
  A row for each identifier that the rows of a source table hold; empty ones are left out.

  rows         source_rows(...) or a subquery
  record       the record that is known by them (record_id(...))
  identifiers  [kind, SQL of the value, whether the source has verified it], each
  first_seen, last_seen  SQL of the moments
-#}
{% macro identifiers_of(rows, record, identifiers, first_seen, last_seen) -%}
    select
        record_id,
        known.kind as kind,
        known.value_normalised as value_normalised,
        known.is_verified as is_verified,
        first_seen_at,
        last_seen_at
    from (
        select
            {{ record }} as record_id,
            unnest([
                {%- for kind, value, is_verified in identifiers %}
                struct_pack(
                    kind := '{{ kind }}', value_normalised := {{ value }}, is_verified := {{ is_verified }}
                ){{ "," if not loop.last }}
                {%- endfor %}
            ]) as known,
            {{ first_seen }} as first_seen_at,
            {{ last_seen }} as last_seen_at
        from {{ rows }} as held
    ) as listed
    where known.value_normalised is not null
{%- endmacro %}
