-- Which checks did not hold in the last runs?
select
    as_of,
    layer,
    table_name,
    check_name,
    severity,
    observed
from quality_runs
where not is_passed
order by as_of desc, layer, table_name, check_name
limit 50;
