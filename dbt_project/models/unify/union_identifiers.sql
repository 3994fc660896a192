{{ config(materialized='table') }}

{{ union_feeds('identifiers') }}
