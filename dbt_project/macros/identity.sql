{#- The id of the customer who is known by this identifier and by nothing stronger. A number is not to be
    found by trying all of them. -#}
{% macro customer_of(type, value) -%}
    'c' || substr(
        case
            when {{ is_personal_identifier(type) }} then substr({{ personal_token(type, value) }}, 2)
            else md5({{ type }} || ':' || {{ value }})
        end,
        1,
        16
    )
{%- endmacro %}

{#- A nickname with the town, which is rarer than either. -#}
{% macro placed_nickname(nickname, city) -%}
    {{ nickname }} || '@' || regexp_replace({{ city }}, '市$', '')
{%- endmacro %}

{#- Kinds of identifier at which a person is reached, is called, or is known to the law. -#}
{% macro is_personal_identifier(type) -%}
    ({{ type }} in ('phone', 'email', 'national_id', 'card') or {{ type }} like 'nickname:%')
{%- endmacro %}

{#- An identifier as it is published: its token where it is a person's. -#}
{% macro published_identifier(type, value) -%}
    case
        when {{ is_personal_identifier(type) }}
            then {{ personal_token(type, value) }}
        else {{ value }}
    end
{%- endmacro %}

{#-
  The token of a personal value: a keyed digest, made by a function that a run puts into the workspace
  (customer360.vault), so that the key stands in no model and in no log. Null for null.

  kind  SQL of the kind: phone, email, name, address, birthday or text
-#}
{% macro personal_token(kind, value) -%}
    {{ return(adapter.dispatch('personal_token')(kind, value)) }}
{%- endmacro %}

{% macro default__personal_token(kind, value) -%}
    workspace.main.personal_token({{ kind }}, {{ value }})
{%- endmacro %}

{% macro spark__personal_token(kind, value) -%}
    personal_token({{ kind }}, {{ value }})
{%- endmacro %}

{#-
  A row for each identifier that the rows of a source table hold; empty ones are left out.

  rows         source_rows(...) or a subquery
  record       the record that is known by them (record_id(...))
  identifiers  [kind, SQL of the value, whether the source has verified it], each
  first_seen, last_seen  SQL of the moments
  cut_by       the column by which source_rows reads the rows in pieces, where it does
-#}
{% macro identifiers_of(rows, record, identifiers, first_seen, last_seen, cut_by=none) -%}
    select
        piece,
        record_id,
        known.kind as kind,
        known.value_normalised as value_normalised,
        known.is_verified as is_verified,
        first_seen_at,
        last_seen_at
    from (
        select
            {{ piece(cut_by) if cut_by else 'cast(null as varchar)' }} as piece,
            {{ record }} as record_id,
            {{ each_of(identifiers) }} as known,
            {{ first_seen }} as first_seen_at,
            {{ last_seen }} as last_seen_at
        from {{ rows }} as held
    ) as listed
    where known.value_normalised is not null
{%- endmacro %}

{#- A row for each of the identifiers, as a struct. -#}
{% macro each_of(identifiers) -%}
    {{ return(adapter.dispatch('each_of')(identifiers)) }}
{%- endmacro %}

{% macro default__each_of(identifiers) -%}
    unnest([
                {%- for kind, value, is_verified in identifiers %}
                struct_pack(
                    kind := '{{ kind }}', value_normalised := {{ value }}, is_verified := {{ is_verified }}
                ){{ "," if not loop.last }}
                {%- endfor %}
            ])
{%- endmacro %}

{% macro spark__each_of(identifiers) -%}
    explode(array(
                {%- for kind, value, is_verified in identifiers %}
                struct('{{ kind }}' as kind, {{ value }} as value_normalised, {{ is_verified }} as is_verified)
                {{- "," if not loop.last }}
                {%- endfor %}
            ))
{%- endmacro %}
