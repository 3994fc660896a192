-- People's own words. A view, never a table: the scoring step reads them, no file keeps them.
{{ union_feeds('texts') }}
