{{ union_feeds('survey_responses') }}
