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
        'orders': dict(identifier, **{
            'order_id': 'varchar',
            'store_id': 'varchar',
            'channel': 'varchar',
            'status': 'varchar',
            'is_cancelled': 'boolean',
            'ordered_at': 'timestamp',
            'paid_at': 'timestamp',
            'shipped_at': 'timestamp',
            'delivered_at': 'timestamp',
            'goods_cents': 'bigint',
            'discount_cents': 'bigint',
            'shipping_cents': 'bigint',
            'paid_cents': 'bigint',
            'currency': 'varchar',
            'payment_method': 'varchar',
            'coupon_id': 'varchar',
            'text_key': 'varchar',
            'read_on': 'date',
        }),
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
            'read_on': 'date',
        }),
        'products': {
            'product_id': 'varchar',
            'name': 'varchar',
            'model': 'varchar',
            'department': 'varchar',
            'category': 'varchar',
            'product_type': 'varchar',
            'brand': 'varchar',
            'manufacturer_id': 'varchar',
            'package_size': 'varchar',
            'is_consumable': 'boolean',
            'fits_category': 'varchar',
            'list_price_cents': 'bigint',
            'warranty_months': 'integer',
            'launched_on': 'date',
            'status': 'varchar',
        },
        'product_prices': {
            'price_id': 'varchar',
            'product_id': 'varchar',
            'price_cents': 'bigint',
            'reason': 'varchar',
            'valid_from': 'timestamp',
            'valid_until': 'timestamp',
        },
        'carts': dict(identifier, **{
            'cart_id': 'varchar',
            'channel': 'varchar',
            'status': 'varchar',
            'order_id': 'varchar',
            'created_at': 'timestamp',
            'updated_at': 'timestamp',
        }),
        'cart_lines': {
            'cart_id': 'varchar',
            'line_id': 'varchar',
            'product_id': 'varchar',
            'catalogue': 'varchar',
            'quantity': 'bigint',
            'price_cents': 'bigint',
            'added_at': 'timestamp',
        },
        'events': dict(identifier, **{
            'event_id': 'varchar',
            'device_id': 'varchar',
            'channel': 'varchar',
            'kind': 'varchar',
            'name': 'varchar',
            'product_id': 'varchar',
            'category': 'varchar',
            'amount_cents': 'bigint',
            'occurred_at': 'timestamp',
        }),
        'campaigns': {
            'campaign_id': 'varchar',
            'campaign_type': 'varchar',
            'name': 'varchar',
            'channel': 'varchar',
            'objective': 'varchar',
            'design': 'varchar',
            'holdout_share': 'double',
            'coupon_value_cents': 'bigint',
            'coupon_min_spend_cents': 'bigint',
            'fixed_cost_cents': 'bigint',
            'send_cost_cents': 'bigint',
            'status': 'varchar',
            'starts_on': 'date',
            'ends_on': 'date',
            'starts_at': 'timestamp',
            'ends_at': 'timestamp',
        },
        'campaign_audiences': dict(identifier, **{
            'campaign_id': 'varchar',
            'arm': 'varchar',
            'assigned_at': 'timestamp',
        }),
        'acquisition_costs': {
            'cost_id': 'varchar',
            'month': 'date',
            'channel': 'varchar',
            'province': 'varchar',
            'cost_cents': 'bigint',
            'new_customers': 'integer',
        },
        'campaign_sends': dict(identifier, **{
            'send_id': 'varchar',
            'campaign_id': 'varchar',
            'channel': 'varchar',
            'status': 'varchar',
            'cost_cents': 'bigint',
            'sent_at': 'timestamp',
        }),
        'coupons': dict(identifier, **{
            'campaign_id': 'varchar',
            'coupon_id': 'varchar',
            'value_cents': 'bigint',
            'min_spend_cents': 'bigint',
            'status': 'varchar',
            'issued_at': 'timestamp',
            'valid_until': 'timestamp',
        }),
        'coupon_redemptions': dict(identifier, **{
            'redemption_id': 'varchar',
            'campaign_id': 'varchar',
            'coupon_id': 'varchar',
            'order_reference': 'varchar',
            'discount_cents': 'bigint',
            'redeemed_on': 'date',
            'redeemed_at': 'timestamp',
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
            'send_id': 'varchar',
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
            'order_reference': 'varchar',
            'article_id': 'varchar',
            'opened_at': 'timestamp',
            'first_response_at': 'timestamp',
            'resolved_at': 'timestamp',
            'reopened_count': 'integer',
            'satisfaction': 'integer',
            'text_key': 'varchar',
        }),
        'case_messages': dict(identifier, **{
            'message_id': 'varchar',
            'case_id': 'varchar',
            'seq': 'integer',
            'sender': 'varchar',
            'article_id': 'varchar',
            'text_key': 'varchar',
            'sent_at': 'timestamp',
        }),
        'knowledge_articles': {
            'article_id': 'varchar',
            'title': 'varchar',
            'topic': 'varchar',
            'body': 'varchar',
            'status': 'varchar',
            'published_at': 'timestamp',
            'updated_at': 'timestamp',
        },
        'service_agents': {
            'agent_id': 'varchar',
            'team': 'varchar',
            'skill': 'varchar',
            'is_active': 'boolean',
            'hired_on': 'date',
        },
        'installed_products': dict(identifier, **{
            'serial_id': 'varchar',
            'product_id': 'varchar',
            'catalogue': 'varchar',
            'model': 'varchar',
            'batch': 'varchar',
            'partner_id': 'varchar',
            'purchase_channel': 'varchar',
            'order_reference': 'varchar',
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
        }),
        'repair_parts': {
            'repair_id': 'varchar',
            'line_id': 'varchar',
            'part_id': 'varchar',
            'name': 'varchar',
            'quantity': 'bigint',
            'price_cents': 'bigint',
        },
        'consents': dict(identifier, **{
            'consent_id': 'varchar',
            'purpose': 'varchar',
            'channel': 'varchar',
            'is_granted': 'boolean',
            'legal_basis': 'varchar',
            'captured_in': 'varchar',
            'captured_at': 'timestamp',
            'withdrawn_at': 'timestamp',
        }),
        'loyalty_accounts': dict(identifier, **{
            'account_id': 'varchar',
            'tier': 'varchar',
            'points_balance': 'bigint',
            'status': 'varchar',
            'join_channel': 'varchar',
            'store_id': 'varchar',
            'joined_at': 'timestamp',
        }),
        'loyalty_tiers': {
            'tier': 'varchar',
            'name': 'varchar',
            'from_spend_cents': 'bigint',
            'points_per_unit': 'double',
            'benefits': 'varchar',
        },
        'loyalty_tier_changes': dict(identifier, **{
            'change_id': 'varchar',
            'account_id': 'varchar',
            'from_tier': 'varchar',
            'to_tier': 'varchar',
            'reason': 'varchar',
            'changed_at': 'timestamp',
        }),
        'loyalty_transactions': dict(identifier, **{
            'transaction_id': 'varchar',
            'account_id': 'varchar',
            'kind': 'varchar',
            'points': 'bigint',
            'balance_after': 'bigint',
            'order_reference': 'varchar',
            'occurred_at': 'timestamp',
            'expires_on': 'date',
        }),
        'survey_responses': dict(identifier, **{
            'response_id': 'varchar',
            'kind': 'varchar',
            'survey_id': 'varchar',
            'survey_name': 'varchar',
            'tier': 'varchar',
            'channel': 'varchar',
            'nps': 'integer',
            'csat': 'integer',
            'topics': 'varchar',
            'text_key': 'varchar',
            'given_at': 'timestamp',
        }),
        'feedback': dict(identifier, **{
            'feedback_id': 'varchar',
            'kind': 'varchar',
            'platform': 'varchar',
            'product_id': 'varchar',
            'catalogue': 'varchar',
            'order_reference': 'varchar',
            'stars': 'integer',
            'likes': 'integer',
            'comments': 'integer',
            'has_reply': 'boolean',
            'text_key': 'varchar',
            'given_at': 'timestamp',
        }),
        'texts': dict(identifier, **{
            'text_id': 'varchar',
            'kind': 'varchar',
            'said_at': 'timestamp',
            'rating': 'double',
            'body': 'varchar',
        }),
        'notes': dict(identifier, **{
            'text_id': 'varchar',
            'kind': 'varchar',
            'said_at': 'timestamp',
            'body': 'varchar',
        }),
        'leads': dict(identifier, **{
            'lead_id': 'varchar',
            'record_id': 'varchar',
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
        'lead_activities': dict(identifier, **{
            'activity_id': 'varchar',
            'lead_id': 'varchar',
            'deal_id': 'varchar',
            'sales_id': 'varchar',
            'channel': 'varchar',
            'direction': 'varchar',
            'subject': 'varchar',
            'text_key': 'varchar',
            'occurred_at': 'timestamp',
        }),
        'sales_people': {
            'sales_id': 'varchar',
            'team': 'varchar',
            'province_code': 'varchar',
            'product_line': 'varchar',
            'is_active': 'boolean',
            'hired_on': 'date',
        },
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
        'communities': {
            'community_id': 'varchar',
            'kind': 'varchar',
            'name': 'varchar',
            'store_id': 'varchar',
            'owner_id': 'varchar',
            'opened_at': 'timestamp',
        },
        'community_memberships': dict(identifier, **{
            'membership_id': 'varchar',
            'community_id': 'varchar',
            'joined_by': 'varchar',
            'joined_at': 'timestamp',
            'left_at': 'timestamp',
        }),
        'referrals': dict(identifier, **{
            'referral_id': 'varchar',
            'invitee_type': 'varchar',
            'invitee_value': 'varchar',
            'programme': 'varchar',
            'reward_points': 'bigint',
            'invited_at': 'timestamp',
            'converted_at': 'timestamp',
        }),
        'alert_answers': {
            'alert_id': 'varchar',
            'answer': 'varchar',
            'answered_at': 'timestamp',
            'answered_by': 'varchar',
        },
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
        {{ union_feed(feed, columns) }}
        {%- endfor %}
    ) as feeds
{%- endmacro %}

{#- The rows of one staging model, which may lack columns and have them in any order. -#}
{% macro union_feed(feed, columns) -%}
    {{ return(adapter.dispatch('union_feed')(feed, columns)) }}
{%- endmacro %}

{% macro default__union_feed(feed, columns) -%}
    union all by name
        select '{{ feed.source }}' as source, * from {{ ref(feed.model) }}
{%- endmacro %}

{#- Spark has no union by name; a struct goes by name through JSON, and what it lacks is null. -#}
{% macro spark__union_feed(feed, columns) -%}
    union all
        select
            source,
            held.*
        from (
            select
                '{{ feed.source }}' as source,
                from_json(
                    to_json(struct(*)),
                    '{% for name, type in columns.items() %}{{ name }} {{ 'string' if type == 'varchar' else type }}
                    {{- ", " if not loop.last }}{% endfor %}'
                ) as held
            from {{ ref(feed.model) }}
        ) as fed
{%- endmacro %}
