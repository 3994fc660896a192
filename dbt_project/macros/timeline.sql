{#-
  What the timeline is made of: one entry a mart whose rows are touches. customer_touchpoints and
  timeline_coverage are both rendered from it.

  mart, key        the mart and its key
  prefix           what touchpoint ids begin with
  at, on           SQL of the moment, and of the calendar day where it is not the moment's
  channel, direction, kind, subject  SQL
  customer         column of the customer (customer_id)
  amount, agent, text  SQL, where there is one
  is_touch         SQL; rows of which it is not true are no touches of the customer
-#}
{% macro timeline_parts() -%}
    {{ return([
        {
            'mart': 'orders', 'key': 'order_id', 'prefix': 'order', 'at': 'ordered_at', 'on': 'ordered_on',
            'channel': 'channel', 'direction': "'inbound'",
            'kind': "case when is_refund then 'return' else 'purchase' end",
            'subject': "case when store_id is null then 'order' else 'store ' || store_id end",
            'amount': 'amount_cents',
        },
        {
            'mart': 'returns', 'key': 'return_key', 'prefix': 'return', 'at': 'requested_at',
            'channel': "'service'", 'direction': "'inbound'", 'kind': "'return'", 'subject': 'reason',
            'amount': '-refund_cents',
        },
        {
            'mart': 'carts', 'key': 'cart_key', 'prefix': 'cart', 'at': 'updated_at', 'on': 'updated_on',
            'channel': 'channel', 'direction': "'inbound'", 'kind': "'cart'",
            'subject': "status || ' cart of ' || cast(lines as varchar)", 'amount': 'amount_cents',
        },
        {
            'mart': 'sessions', 'key': 'session_id', 'prefix': 'session', 'at': 'started_at', 'on': 'started_on',
            'channel': 'channel', 'direction': "'inbound'", 'kind': "'session'",
            'subject': "outcome || ', ' || cast(products_seen as varchar) || ' products seen'",
        },
        {
            'mart': 'lead_activities', 'key': 'activity_key', 'prefix': 'sales', 'at': 'occurred_at',
            'on': 'occurred_on', 'channel': 'channel', 'direction': 'direction', 'kind': "'sales'",
            'subject': 'subject', 'agent': 'sales_id', 'text': 'text_key',
        },
        {
            'mart': 'leads', 'key': 'lead_key', 'prefix': 'lead', 'at': 'created_at', 'on': 'created_on',
            'channel': "'lead'", 'direction': "'inbound'", 'kind': "'lead'", 'subject': 'origin', 'agent': 'sales_id',
        },
        {
            'mart': 'deals', 'key': 'deal_key', 'prefix': 'deal', 'at': 'opened_at', 'on': 'opened_on',
            'channel': "'deal'", 'direction': "'inbound'", 'kind': "'deal'",
            'subject': "product_line || ', ' || stage", 'amount': 'amount_cents', 'agent': 'sales_id',
        },
        {
            'mart': 'campaign_messages', 'key': 'message_key', 'prefix': 'campaign', 'at': 'sent_at', 'on': 'sent_on',
            'channel': 'channel', 'direction': "'outbound'", 'kind': "'campaign'",
            'subject': "'campaign ' || campaign_key", 'is_touch': 'is_delivered',
        },
        {
            'mart': 'campaign_responses', 'key': 'response_key', 'prefix': 'response', 'at': 'responded_at',
            'on': 'responded_on', 'channel': "'campaign'", 'direction': "'inbound'", 'kind': 'kind',
            'subject': "'campaign ' || campaign_key",
        },
        {
            'mart': 'coupon_redemptions', 'key': 'redemption_id', 'prefix': 'coupon', 'at': 'redeemed_at',
            'on': 'redeemed_on', 'channel': "'store'", 'direction': "'inbound'", 'kind': "'coupon'",
            'subject': "'coupon of campaign ' || campaign_id",
        },
        {
            'mart': 'consents', 'key': 'consent_key', 'prefix': 'consent', 'at': 'coalesce(withdrawn_at, captured_at)',
            'channel': 'channel', 'direction': "'inbound'", 'kind': "'consent'",
            'subject': "purpose || case when withdrawn_at is null then ' agreed to' else ' taken back' end",
        },
        {
            'mart': 'community_memberships', 'key': 'membership_key', 'prefix': 'community', 'at': 'joined_at',
            'on': 'joined_on', 'channel': "'wechat'", 'direction': "'inbound'", 'kind': "'community'",
            'subject': "case when kind = 'group' then 'joined a group' else 'followed an account' end",
        },
        {
            'mart': 'referrals', 'key': 'referral_key', 'prefix': 'referral', 'at': 'invited_at', 'on': 'invited_on',
            'channel': "'wechat'", 'direction': "'inbound'", 'kind': "'referral'", 'subject': 'programme',
            'customer': 'inviter_customer_id',
        },
        {
            'mart': 'service_cases', 'key': 'case_key', 'prefix': 'case', 'at': 'opened_at', 'on': 'opened_on',
            'channel': 'channel', 'direction': "'inbound'", 'kind': "'service'",
            'subject': 'coalesce(subject, topic)', 'agent': 'agent_id', 'text': 'text_key',
        },
        {
            'mart': 'case_messages', 'key': 'message_key', 'prefix': 'message', 'at': 'sent_at', 'on': 'sent_on',
            'channel': "'service'", 'direction': "case when sender = 'customer' then 'inbound' else 'outbound' end",
            'kind': "'service_message'", 'subject': "'case ' || case_key", 'text': 'text_key',
        },
        {
            'mart': 'repairs', 'key': 'repair_key', 'prefix': 'repair',
            'at': day_start('coalesce(visited_on, reported_on)'), 'on': 'coalesce(visited_on, reported_on)',
            'channel': "'visit'", 'direction': "'outbound'", 'kind': "'repair'", 'subject': 'coalesce(fault, kind)',
            'amount': 'labour_cents + parts_cents', 'agent': 'partner_id',
        },
        {
            'mart': 'installed_products', 'key': 'product_key', 'prefix': 'install',
            'at': day_start('installed_on'), 'on': 'installed_on', 'channel': "'visit'", 'direction': "'outbound'",
            'kind': "'installation'", 'subject': 'model', 'agent': 'partner_id',
        },
        {
            'mart': 'loyalty_transactions', 'key': 'transaction_key', 'prefix': 'points', 'at': 'occurred_at',
            'on': 'occurred_on', 'channel': "'loyalty'",
            'direction': "case when kind in ('earn', 'redeem') then 'inbound' else 'outbound' end",
            'kind': "'points'", 'subject': "kind || ' ' || cast(points as varchar)",
        },
        {
            'mart': 'loyalty_tier_changes', 'key': 'tier_change_key', 'prefix': 'tier', 'at': 'changed_at',
            'on': 'changed_on', 'channel': "'loyalty'", 'direction': "'outbound'", 'kind': "'tier'",
            'subject': "from_tier || ' to ' || to_tier",
        },
        {
            'mart': 'survey_responses', 'key': 'response_key', 'prefix': 'survey', 'at': 'given_at', 'on': 'given_on',
            'channel': 'channel', 'direction': "'inbound'", 'kind': 'kind',
            'subject': "coalesce('recommends ' || cast(nps as varchar) || ' of 10', survey_name, topics)",
            'text': 'text_key',
        },
        {
            'mart': 'feedback', 'key': 'feedback_key', 'prefix': 'feedback', 'at': 'given_at', 'on': 'given_on',
            'channel': 'platform', 'direction': "'inbound'", 'kind': 'kind',
            'subject': "coalesce(cast(stars as varchar) || ' stars', kind)", 'text': 'text_key',
        },
        {
            'mart': 'other_touches', 'key': 'touch_key', 'prefix': 'touch', 'at': 'occurred_at', 'on': 'occurred_on',
            'channel': 'channel', 'direction': 'direction', 'kind': 'kind', 'subject': 'subject',
            'agent': 'agent_id',
        },
    ]) }}
{%- endmacro %}

{#- SQL that is true of a mart's rows that are touches of somebody. -#}
{% macro is_touch(part) -%}
    {{ part.get('is_touch', 'true') }} and {{ part['at'] }} is not null
{%- endmacro %}

{#- Which touch a row of each of those marts is. -#}
{% macro timeline_pieces() -%}
    {%- set pieces = {} -%}
    {%- for part in timeline_parts() -%}
        {%- do pieces.update({part.mart: "'" ~ part.prefix ~ "-' || " ~ part.key}) -%}
    {%- endfor -%}
    {{ return(pieces) }}
{%- endmacro %}
