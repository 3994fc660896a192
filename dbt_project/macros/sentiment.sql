{#-
  Write what texts were scored beside their touches in the timeline, which is built before they are.
  A touch whose text has no score any more loses it.
-#}
{% macro tell_timeline_the_sentiment(scored) -%}
    update {{ ref('customer_touchpoints') }} as touches
    set sentiment = told.sentiment
    from (
        select
            held.touchpoint_id,
            scored.sentiment
        from {{ ref('customer_touchpoints') }} as held
        left join {{ scored }} as scored on held.text_key = scored.text_key
        where held.text_key is not null and held.sentiment is distinct from scored.sentiment
    ) as told
    where touches.touchpoint_id = told.touchpoint_id
{%- endmacro %}
