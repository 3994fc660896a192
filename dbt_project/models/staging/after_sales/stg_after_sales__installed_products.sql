select
    {{ piece('serial_no') }} as piece,
    'record' as identifier_type,
    {{ record_id('after_sales.installed', 'serial_no') }} as identifier_value,
    serial_no as serial_id,
    sku as product_id,
    'shop' as catalogue,
    model,
    batch_no as batch,
    partner_code as partner_id,
    case purchase_channel
        when '门店' then 'store' when '小程序' then 'mini_program' when 'APP' then 'app' else 'web'
    end as purchase_channel,
    order_reference,
    {{ typed_day('installed_on') }} as installed_on,
    {{ typed_day('warranty_until') }} as warranty_until
from {{ source_rows('after_sales', 'installed', piece='serial_no') }} as installed
