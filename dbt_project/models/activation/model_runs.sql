select * from {{ source('scores', 'model_runs') }}
