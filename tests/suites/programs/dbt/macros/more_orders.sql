{% macro more_orders() %}
  {% do run_query("insert into analytics.raw_orders select id + 1000, customer, amount, placed, 'open' from analytics.raw_orders where id <= 10") %}
{% endmacro %}
