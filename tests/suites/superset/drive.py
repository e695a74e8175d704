"""Adds a database, datasets, charts and a dashboard to a running Superset by its REST API, and prints what it answers, a line
of JSON a step: [step, answer]. Arguments: Superset's address, the database's URI.
"""

import json
import sys

import requests

BASE, URI = sys.argv[1:]
http = requests.Session()


def call(method, path, body=None):
    answer = http.request(method, BASE + path, json=body, timeout=120)
    try:
        return answer.status_code, answer.json()
    except ValueError:
        return answer.status_code, answer.text[:500]


def made(method, path, body):
    """The id of what a request that has to work made."""
    status, answer = call(method, path, body)
    if status >= 300:
        sys.exit(f"{method} {path}: {status} {json.dumps(answer)[:2000]}")
    return answer.get("id")


def say(step, answer):
    print(json.dumps([step, answer]), flush=True)


login = {"username": "admin", "password": "admin", "provider": "db", "refresh": True}
http.headers["Authorization"] = "Bearer " + call("POST", "/api/v1/security/login", login)[1]["access_token"]

say("the connection is tested", call("POST", "/api/v1/database/test_connection", {"sqlalchemy_uri": URI, "database_name": "it"}))
database = made("POST", "/api/v1/database/", {"database_name": "it", "sqlalchemy_uri": URI, "expose_in_sqllab": True, "allow_dml": True})
say("schemas", sorted(call("GET", f"/api/v1/database/{database}/schemas/")[1]["result"]))
tables = call("GET", f"/api/v1/database/{database}/tables/?q=(schema_name:sales)")[1]["result"]
say("tables and views", sorted((table["type"], table["value"]) for table in tables))
for table in ("orders", "regions", "by_day"):
    status, found = call("GET", f"/api/v1/database/{database}/table_metadata/?name={table}&schema=sales")
    for key in ("selectStar", "name"):
        found.pop(key, None)
    say(f"columns, keys and indexes of {table}", (status, found))

orders = made("POST", "/api/v1/dataset/", {"database": database, "schema": "sales", "table_name": "orders"})
by_day = made("POST", "/api/v1/dataset/", {"database": database, "schema": "sales", "table_name": "by_day"})
for name, dataset in (("orders", orders), ("by_day", by_day)):
    columns = call("GET", f"/api/v1/dataset/{dataset}")[1]["result"]["columns"]
    say(f"dataset of {name}", sorted((c["column_name"], c["type"], c["is_dttm"]) for c in columns))


def total(column):
    return {"expressionType": "SIMPLE", "column": {"column_name": column}, "aggregate": "SUM", "label": f"SUM({column})"}


count = {"expressionType": "SQL", "sqlExpression": "COUNT(*)", "label": "orders"}
paid = {"expressionType": "SIMPLE", "subject": "paid", "operator": "IS TRUE", "operatorId": "IS_TRUE", "clause": "WHERE"}
CHARTS = [
    ("Amount by week", "echarts_timeseries_line", orders,
     {"x_axis": "placed", "time_grain_sqla": "P1W", "metrics": [total("amount")], "groupby": ["product"], "truncate_metric": True}),
    ("Orders by product", "pie", orders, {"groupby": ["product"], "metric": count, "donut": True, "innerRadius": 30, "outerRadius": 70}),
    ("Regions by month", "echarts_timeseries_bar", by_day,
     {"x_axis": "day", "time_grain_sqla": "P1M", "metrics": [total("amount")], "groupby": ["region"], "stack": "Stack"}),
    ("The largest paid orders", "table", orders,
     {"query_mode": "raw", "all_columns": ["id", "placed", "product", "quantity", "amount", "paid", "tags", "details"],
      "order_by_cols": ['["amount", false]', '["id", true]'], "adhoc_filters": [paid], "row_limit": 50}),
    ("All orders", "big_number_total", orders, {"metric": count}),
]
WIDTHS = [[(0, 8), (4, 4)], [(2, 5), (1, 3), (3, 4)]]

charts = []
for name, kind, dataset, what in CHARTS:
    parameters = {"adhoc_filters": [], "row_limit": 10000, "show_legend": True} | what
    parameters |= {"viz_type": kind, "datasource": f"{dataset}__table"}
    body = {"slice_name": name, "viz_type": kind, "datasource_id": dataset, "datasource_type": "table"}
    charts.append(made("POST", "/api/v1/chart/", body | {"params": json.dumps(parameters)}))

dashboard = made("POST", "/api/v1/dashboard/", {"dashboard_title": "Sales", "published": True})
places = {
    "DASHBOARD_VERSION_KEY": "v2",
    "ROOT_ID": {"type": "ROOT", "id": "ROOT_ID", "children": ["GRID_ID"]},
    "GRID_ID": {"type": "GRID", "id": "GRID_ID", "children": ["ROW-0", "ROW-1"], "parents": ["ROOT_ID"]},
    "HEADER_ID": {"type": "HEADER", "id": "HEADER_ID", "meta": {"text": "Sales"}},
}
for number, row in enumerate(WIDTHS):
    parents = ["ROOT_ID", "GRID_ID"]
    places[f"ROW-{number}"] = {"type": "ROW", "id": f"ROW-{number}", "children": [f"CHART-{at}" for at, _ in row],
                               "parents": parents, "meta": {"background": "BACKGROUND_TRANSPARENT"}}
    for at, width in row:
        places[f"CHART-{at}"] = {"type": "CHART", "id": f"CHART-{at}", "children": [], "parents": [*parents, f"ROW-{number}"],
                                 "meta": {"width": width, "height": 50, "chartId": charts[at], "sliceName": CHARTS[at][0]}}
made("PUT", f"/api/v1/dashboard/{dashboard}", {"position_json": json.dumps(places), "json_metadata": json.dumps({"positions": places})})
for chart in charts:
    made("PUT", f"/api/v1/chart/{chart}", {"dashboards": [dashboard]})
say("a dashboard of five charts", [dashboard, charts])

for number, sql in enumerate((
    "SELECT r.name, count(*), sum(o.amount) FROM sales.orders AS o JOIN sales.regions AS r ON r.id = o.region GROUP BY 1 ORDER BY 1",
    "WITH m AS (SELECT date_trunc('month', placed) AS month, sum(amount) AS amount FROM sales.orders GROUP BY 1) "
    "SELECT month, amount, sum(amount) OVER (ORDER BY month) AS running FROM m ORDER BY month",
    "SELECT id, tags, details, details->>'n' AS n FROM sales.orders ORDER BY id LIMIT 5",
    "SELECT nothing FROM sales.orders",
    "CREATE TABLE sales.copy AS SELECT * FROM sales.regions",
    "SELECT * FROM sales.copy ORDER BY id",
    "DROP TABLE sales.copy",
)):
    body = {"database_id": database, "schema": "sales", "sql": sql, "runAsync": False, "client_id": f"c{number}", "tab": "t",
            "sql_editor_id": "1", "queryLimit": 100}
    status, found = call("POST", "/api/v1/sqllab/execute/", body)
    kept = {key: found[key] for key in ("status", "data", "columns", "errors") if key in found}
    say(f"SQL Lab: {sql}", (status, kept))
