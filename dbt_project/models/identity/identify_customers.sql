{{ config(materialized='view', schema='unify') }}

select distinct
    identifier_type,
    identifier_value,
    customer_id
from {{ ref('customer_identifiers') }}
