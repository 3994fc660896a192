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
            'loyalty_tier': 'varchar',
            'language': 'varchar',
        }),
        'organisations': {
            'record_id': 'varchar',
            'parent_record_id': 'varchar',
            'industry': 'varchar',
            'scale': 'varchar',
            'level': 'varchar',
            'credit_code': 'varchar',
            'sales_id': 'varchar',
        },
        'organisation_contacts': {
            'record_id': 'varchar',
            'organisation_record_id': 'varchar',
            'title': 'varchar',
            'department': 'varchar',
            'is_decision_maker': 'boolean',
            'since_at': 'timestamp',
        },
        'order_lines': dict(identifier, **{
            'order_id': 'varchar',
            'line_id': 'varchar',
            'product_id': 'varchar',
            'catalogue': 'varchar',
            'store_id': 'varchar',
            'channel': 'varchar',
            'is_cancelled': 'boolean',
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
            'name': 'varchar',
            'channel': 'varchar',
            'starts_on': 'date',
            'ends_on': 'date',
        },
        'campaign_sends': dict(identifier, **{
            'campaign_id': 'varchar',
            'sent_at': 'timestamp',
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
        'person_records': {
            'record_id': 'varchar',
            'entity': 'varchar',
            'full_name': 'varchar',
            'given_name': 'varchar',
            'family_name': 'varchar',
            'birthday': 'varchar',
            'birthday_calendar': 'varchar',
            'sex': 'varchar',
            'province': 'varchar',
            'city': 'varchar',
            'district': 'varchar',
            'address': 'varchar',
            'organisation_name': 'varchar',
            'credit_code': 'varchar',
            'domain': 'varchar',
            'created_at': 'timestamp',
            'updated_at': 'timestamp',
            'is_deleted': 'boolean',
        },
        'identifiers': {
            'record_id': 'varchar',
            'kind': 'varchar',
            'value_normalised': 'varchar',
            'is_verified': 'boolean',
            'first_seen_at': 'timestamp',
            'last_seen_at': 'timestamp',
            'valid_to': 'timestamp',
        },
        'stores': {
            'store_id': 'varchar',
            'name': 'varchar',
            'province': 'varchar',
            'city': 'varchar',
            'district': 'varchar',
            'address': 'varchar',
            'latitude': 'double',
            'longitude': 'double',
            'opened_on': 'date',
        },
        'returns': dict(identifier, **{
            'return_id': 'varchar',
            'order_id': 'varchar',
            'product_id': 'varchar',
            'quantity': 'bigint',
            'refund_cents': 'bigint',
            'reason': 'varchar',
            'status': 'varchar',
            'requested_at': 'timestamp',
            'refunded_at': 'timestamp',
        }),
        'campaign_responses': dict(identifier, **{
            'response_id': 'varchar',
            'campaign_id': 'varchar',
            'kind': 'varchar',
            'responded_at': 'timestamp',
        }),
        'service_cases': dict(identifier, **{
            'case_id': 'varchar',
            'channel': 'varchar',
            'topic': 'varchar',
            'priority': 'varchar',
            'status': 'varchar',
            'subject': 'varchar',
            'agent_id': 'varchar',
            'product_serial': 'varchar',
            'order_id': 'varchar',
            'article_id': 'varchar',
            'opened_at': 'timestamp',
            'first_response_at': 'timestamp',
            'resolved_at': 'timestamp',
            'reopened_count': 'integer',
            'satisfaction': 'integer',
            'messages': 'integer',
        }),
        'installed_products': dict(identifier, **{
            'serial_id': 'varchar',
            'product_id': 'varchar',
            'model': 'varchar',
            'batch': 'varchar',
            'partner_id': 'varchar',
            'purchase_channel': 'varchar',
            'order_id': 'varchar',
            'installed_on': 'date',
            'warranty_until': 'date',
        }),
        'repairs': dict(identifier, **{
            'repair_id': 'varchar',
            'serial_id': 'varchar',
            'partner_id': 'varchar',
            'kind': 'varchar',
            'fault_code': 'varchar',
            'fault': 'varchar',
            'result': 'varchar',
            'engineer': 'varchar',
            'is_in_warranty': 'boolean',
            'reported_on': 'date',
            'visited_on': 'date',
            'labour_cents': 'bigint',
            'parts_cents': 'bigint',
            'parts': 'integer',
        }),
        'consents': dict(identifier, **{
            'consent_id': 'varchar',
            'purpose': 'varchar',
            'channel': 'varchar',
            'is_granted': 'boolean',
            'legal_basis': 'varchar',
            'captured_at': 'timestamp',
            'withdrawn_at': 'timestamp',
        }),
        'loyalty_accounts': dict(identifier, **{
            'account_id': 'varchar',
            'tier': 'varchar',
            'points_balance': 'bigint',
            'joined_at': 'timestamp',
        }),
        'loyalty_transactions': dict(identifier, **{
            'transaction_id': 'varchar',
            'account_id': 'varchar',
            'kind': 'varchar',
            'points': 'bigint',
            'occurred_at': 'timestamp',
            'expires_on': 'date',
        }),
        'feedback': dict(identifier, **{
            'feedback_id': 'varchar',
            'kind': 'varchar',
            'platform': 'varchar',
            'product_id': 'varchar',
            'stars': 'integer',
            'nps': 'integer',
            'csat': 'integer',
            'has_text': 'boolean',
            'given_at': 'timestamp',
        }),
        'texts': dict(identifier, **{
            'text_id': 'varchar',
            'kind': 'varchar',
            'said_at': 'timestamp',
            'rating': 'double',
            'body': 'varchar',
        }),
        'leads': dict(identifier, **{
            'lead_id': 'varchar',
            'origin': 'varchar',
            'product_line': 'varchar',
            'budget_cents': 'bigint',
            'status': 'varchar',
            'sales_id': 'varchar',
            'created_at': 'timestamp',
            'assigned_at': 'timestamp',
            'first_contact_at': 'timestamp',
            'converted_at': 'timestamp',
        }),
        'deals': dict(identifier, **{
            'deal_id': 'varchar',
            'product_line': 'varchar',
            'stage': 'varchar',
            'amount_cents': 'bigint',
            'lost_reason': 'varchar',
            'sales_id': 'varchar',
            'opened_at': 'timestamp',
            'expected_close_on': 'date',
            'closed_at': 'timestamp',
        }),
        'touches': dict(identifier, **{
            'touch_id': 'varchar',
            'kind': 'varchar',
            'channel': 'varchar',
            'direction': 'varchar',
            'subject': 'varchar',
            'occurred_at': 'timestamp',
            'agent_id': 'varchar',
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
  name. No source: an empty table of the right types. `piece` is what a row hangs together with in its
  source (macros/increments.sql); null where the source's rows are computed wholly.
-#}
{% macro union_feeds(entity) -%}
    {%- set columns = entity_columns(entity) -%}
    select
        cast(source as varchar) as source,
        {%- for name, type in columns.items() %}
        cast({{ name }} as {{ type }}) as {{ name }},
        {%- endfor %}
        source || '.' || piece as piece
    from (
        select
            cast(null as varchar) as source,
            {%- for name, type in columns.items() %}
            cast(null as {{ type }}) as {{ name }},
            {%- endfor %}
            cast(null as varchar) as piece
        where false
        {%- for feed in var('feeds').get(entity, []) %}
        union all by name
        select '{{ feed.source }}' as source, * from {{ ref(feed.model) }}
        {%- endfor %}
    ) as feeds
{%- endmacro %}
