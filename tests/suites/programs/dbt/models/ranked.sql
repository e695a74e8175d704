with ranked as (
    select customer, amount, rank() over (partition by customer order by amount desc) as place from {{ ref('orders_log') }}
)
select * from ranked where place <= 3
