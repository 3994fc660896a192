{{ config(materialized='table') }}

{{ union_feeds('person_records') }}
