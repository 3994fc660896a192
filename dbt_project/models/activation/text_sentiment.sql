{{ config(post_hook="{{ tell_timeline_the_sentiment(this) }}") }}

select * from {{ source('scores', 'text_sentiment') }}
