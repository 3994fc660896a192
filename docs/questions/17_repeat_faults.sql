-- Which batches of which model come back with the same fault?
select
    installed.model,
    installed.batch,
    count(*) as repairs,
    count(*) filter (where repairs.is_repeat_fault) as same_fault_again
from repairs
inner join installed_products as installed
    on repairs.source = installed.source and repairs.serial_id = installed.serial_id
group by installed.model, installed.batch
order by repairs desc, installed.model, installed.batch
limit 20;
