{{ config(materialized='incremental', unique_key='id') }}
select id, customer, amount, state, row_number() over (partition by customer order by id) as nth
from {{ ref('raw_orders') }}
{% if is_incremental() %}
where id > (select coalesce(max(id), 0) from {{ this }}) - 5
{% endif %}
