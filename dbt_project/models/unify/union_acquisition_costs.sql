{{ union_feeds('acquisition_costs') }}
