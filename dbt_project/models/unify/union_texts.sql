-- People's own words. A view, never a table: the scoring step reads them, no file keeps them. Its staging
-- reads its sources whole, so that it says all in an increment as well.
{{ config(materialized='view') }}
{{ union_feeds('texts') }}
