select * from {{ source('scores', 'channels') }}
