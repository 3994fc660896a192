-- Words that are kept for people who may read them, but say nothing of how a customer feels: agents wrote
-- them, or they are part of a text that is judged whole. A view, as union_texts is.
{{ config(materialized='view') }}
{{ union_feeds('notes') }}
