select * from {{ source('scores', 'text_sentiment') }}
