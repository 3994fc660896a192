{{ config(materialized='view', database='workspace', schema='unify') }}

-- Which record is which customer, as identity resolution says. This is the one place where records
-- become customers.
select
    record_id,
    customer_id,
    source,
    entity
from {{ source('identity', 'customer_records') }}
