select * from {{ source('scores', 'sentiment') }}
