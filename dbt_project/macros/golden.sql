{#-
  The golden record: which of the values that records claim of a customer stands for it.

  What is decided stands in policies.yml (survivorship); here is how it becomes SQL. Each rule is a
  number of a value, the smaller the better, so that any order of rules is one ORDER BY.
-#}

{#- Attributes whose values are a person's: published as tokens, kept in the vault. -#}
{% macro is_personal_attribute(attribute) -%}
    {{ attribute }} in ('name', 'phone', 'email', 'address', 'birthday')
{%- endmacro %}

{#- "when true", not "else": a company may declare nothing, and a CASE needs a WHEN. -#}

{#- The place of ``source`` in a list; one that is not in it comes after all that are. -#}
{% macro place_in(names, source) -%}
    case
        {%- for name in names %}
        when {{ source }} = '{{ name }}' then {{ loop.index0 }}
        {%- endfor %}
        when true then {{ names | length }}
    end
{%- endmacro %}

{#- The place of ``source`` among the masters of an attribute; the same for all where it has none. -#}
{% macro master_place(attribute, source) -%}
    case
        {%- for name, policy in var('survivorship').attributes.items() if policy.masters %}
        when {{ attribute }} = '{{ name }}' then {{ place_in(policy.masters, source) }}
        {%- endfor %}
        when true then 0
    end
{%- endmacro %}

{% macro rule_number(rule) -%}
    {%- set numbers = {
        'verified': 'case when is_verified then 0 else 1 end',
        'most_complete': 'case when is_whole then 0 else 1 end',
        'most_trusted': 'trust_place',
        'most_recent': '-coalesce(' ~ epoch_seconds('observed_at') ~ ', -1e12)',
        'most_frequent': '-records',
    } -%}
    cast({{ numbers[rule] }} as double)
{%- endmacro %}

{#- The rule that stands at ``place`` (from 0) for each attribute: its number, or its name. -#}
{% macro rule_at(place, part) -%}
    {%- set policy = var('survivorship') -%}
    case
        {%- for name, own in policy.attributes.items() if own.rules %}
        when attribute = '{{ name }}'
            then {{ _rule_part(own.rules, place, part) }}
        {%- endfor %}
        when true then {{ _rule_part(policy.rules, place, part) }}
    end
{%- endmacro %}

{% macro _rule_part(rules, place, part) -%}
    {%- if place >= rules | length -%}
        {{ "cast(0 as double)" if part == 'number' else "cast(null as varchar)" }}
    {%- else -%}
        {{ rule_number(rules[place]) if part == 'number' else "'" ~ rules[place] ~ "'" }}
    {%- endif -%}
{%- endmacro %}

{#- Seconds since 1970 of a moment in UTC. -#}
{% macro epoch_seconds(moment) %}{{ adapter.dispatch('epoch_seconds')(moment) }}{% endmacro %}
{% macro default__epoch_seconds(moment) %}epoch({{ moment }}){% endmacro %}
{% macro spark__epoch_seconds(moment) %}unix_timestamp({{ moment }}){% endmacro %}

{#- A person's name as it may be written on a letter: letters, digits and what joins them. What is
    left of a name of nothing but pictures is null. -#}
{% macro written_name(value) -%}
    nullif(trim({{ letters_of(person_name(value)) }}), '')
{%- endmacro %}

{% macro letters_of(value) %}{{ adapter.dispatch('letters_of')(value) }}{% endmacro %}
{% macro default__letters_of(value) %}regexp_replace({{ value }}, '[^\p{L}\p{M}\p{N} .·''-]', '', 'g'){% endmacro %}
{% macro spark__letters_of(value) %}regexp_replace({{ value }}, '[^\\p{L}\\p{M}\\p{N} .·\'-]', ''){% endmacro %}

{#- Attributes that customers tell of themselves: every column of the entity but the identifier's. -#}
{% macro profile_attributes() -%}
    {%- set names = [] -%}
    {%- for name in entity_columns('customer_profiles') if not name.startswith('identifier_') -%}
        {%- do names.append(name) -%}
    {%- endfor -%}
    {{ return(names) }}
{%- endmacro %}

{#- How many rules the longest list of policies.yml has. -#}
{% macro survivorship_places() -%}
    {%- set lengths = [var('survivorship').rules | length] -%}
    {%- for policy in var('survivorship').attributes.values() -%}
        {%- do lengths.append(policy.rules | length) -%}
    {%- endfor -%}
    {{ return(lengths | max) }}
{%- endmacro %}
