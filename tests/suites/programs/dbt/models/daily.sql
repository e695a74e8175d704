select placed, count(*) as orders, sum(amount) as amount, max(id) as last
from {{ ref('raw_orders') }}
group by placed
