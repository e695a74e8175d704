"""Typed random statements over the same data on PostgreSQL and Lockstep: equal rows, types and SQLSTATEs.

`--count` statements (2,000 by default) from `--seed`. An expression whose result differs is cut down to its smallest part
that still differs, and differences are grouped by that part's function or operator. Rows are compared as sets where the
statement has no total order; floating point to 12 digits, since the last ones are the C library's.
"""

import random
import re
import time

import fetch
from regress import template
from report import Suite

TYPES = ["int2", "int4", "int8", "numeric", "float8", "text", "bool", "date", "timestamp", "timestamptz", "interval", "bytea",
         "uuid", "int4[]", "text[]", "jsonb"]
LITERALS = {
    "int2": ["0", "1", "-1", "7", "32767", "-32768", "100"],
    "int4": ["0", "1", "-1", "42", "2147483647", "-2147483648", "1000"],
    "int8": ["0", "1", "-3", "9223372036854775807", "-9223372036854775808", "4567890123456789"],
    "numeric": ["0", "1.50", "-2.25", "1e20", "0.000001", "12345678901234567890.123456789", "NaN", "-7"],
    "float8": ["0", "1.5", "-2.25", "1e100", "NaN", "Infinity", "3"],
    "text": ["", "abc", "ABC", "a b c", "naïve", "  pad ", "%_", "123", "-4.5", "2024-02-29", "straße", "日本", "it''s"],
    "bool": ["t", "f"],
    "date": ["2024-02-29", "1999-12-31", "2000-01-01", "infinity", "0044-03-15 BC"],
    "timestamp": ["2024-02-29 12:34:56.789", "1999-12-31 23:59:59.999999", "2000-01-01", "-infinity"],
    "timestamptz": ["2024-02-29 12:34:56+00", "2024-07-01 00:00:00+02", "1970-01-01 00:00:00+00"],
    "interval": ["1 day", "-1 mon", "02:03:04.5", "1 year 2 mons -3 days 04:05:06", "0"],
    "bytea": ["\\x", "\\x00ff", "\\x616263"],
    "uuid": ["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "00000000-0000-0000-0000-000000000000"],
    "int4[]": ["{}", "{1,2,3}", "{NULL,5}", "{{1,2},{3,4}}", "[0:1]={8,9}"],
    "text[]": ["{}", "{a,b}", '{"x y",NULL,""}'],
    "jsonb": ["{}", "[1, 2, {\"a\": null}]", "{\"a\": {\"b\": [1, \"x\"]}, \"c\": true}", "\"s\"", "12.50", "null"],
}
NUMBERS = ["int2", "int4", "int8", "numeric", "float8"]
# result, text with {} for arguments, types of the arguments
FORMS = []


def form(result, text, *arguments):
    FORMS.append((result, text, arguments))


for _t in NUMBERS:
    for _op in ("+", "-", "*", "/"):
        form(_t, f"({{}} {_op} {{}})", _t, _t)
    form(_t, "(- {})", _t)
    form(_t, "abs({})", _t)
for _t in ("int2", "int4", "int8"):
    for _op in ("%", "&", "|", "#"):
        form(_t, f"({{}} {_op} {{}})", _t, _t)
    form(_t, "(~ {})", _t)
for _a, _b in (("int2", "int4"), ("int4", "int8"), ("int8", "numeric"), ("int4", "numeric"), ("numeric", "float8"), ("int4", "float8")):
    for _op in ("+", "-", "*", "/"):
        form(_b, f"({{}} {_op} {{}})", _a, _b)
    form("bool", "({} < {})", _a, _b)
for _t in TYPES:
    for _op in ("=", "<>", "<", ">", "<=", ">="):
        form("bool", f"({{}} {_op} {{}})", _t, _t)
    form("bool", "({} IS NULL)", _t)
    form("bool", "({} IS DISTINCT FROM {})", _t, _t)
    form("bool", "({} IN ({}, {}))", _t, _t, _t)
    form("bool", "({} BETWEEN {} AND {})", _t, _t, _t)
    form("text", "({})::text", _t)
    for _name in ("coalesce", "nullif"):
        form(_t, f"{_name}({{}}, {{}})", _t, _t)
    form(_t, "CASE WHEN {} THEN {} ELSE {} END", "bool", _t, _t)
    form(_t, "greatest({}, {})", _t, _t)
    form(_t, "least({}, {})", _t, _t)
    form("text", "concat({}, {}, {})", _t, "text", _t)
    form("text", "pg_typeof({})::text", _t)
    form("jsonb", "to_jsonb({})", _t)
    form("text", "quote_nullable({})", _t)
    form("text", "format('%s|%L', {}, {})", _t, "text")
for _a in ("int2", "int4", "int8", "numeric", "float8"):
    for _b in ("int2", "int4", "int8", "numeric", "float8", "text"):
        form(_b, f"({{}})::{_b}", _a)
    form("int4", "sign({})::int4", _a) if _a in ("numeric", "float8") else None
for _name in ("ceil", "floor", "round", "trunc"):
    form("numeric", f"{_name}({{}})", "numeric")
    form("float8", f"{_name}({{}})", "float8")
form("numeric", "round({}, 2)", "numeric"); form("numeric", "trunc({}, -1)", "numeric"); form("numeric", "mod({}, {})", "numeric", "numeric")
form("numeric", "div({}, {})", "numeric", "numeric"); form("int4", "scale({})", "numeric"); form("numeric", "trim_scale({})", "numeric")
form("int4", "min_scale({})", "numeric"); form("int8", "gcd({}, {})", "int8", "int8"); form("int4", "lcm({}, {})", "int4", "int4")
form("float8", "sqrt({})", "float8"); form("float8", "ln({})", "float8"); form("float8", "power({}, 2)", "float8"); form("float8", "atan2({}, {})", "float8", "float8")
form("int4", "width_bucket({}, 0, 100, 10)", "float8"); form("float8", "degrees({})", "float8"); form("float8", "cbrt({})", "float8")
form("text", "to_char({}, 'FM999G999D99')", "numeric"); form("text", "to_char({}, '0000S')", "int4"); form("text", "to_hex({})", "int4")
for _name in ("upper", "lower", "initcap", "reverse", "md5", "trim", "ltrim", "rtrim", "quote_literal", "quote_ident"):
    form("text", f"{_name}({{}})", "text")
for _name in ("length", "octet_length", "char_length", "bit_length", "ascii"):
    form("int4", f"{_name}({{}})", "text")
form("text", "({} || {})", "text", "text"); form("text", "substr({}, {}, 3)", "text", "int4"); form("text", "substring({} FROM 2 FOR 2)", "text")
form("text", "left({}, {})", "text", "int2"); form("text", "right({}, {})", "text", "int2"); form("text", "lpad({}, 8, {})", "text", "text")
form("text", "rpad({}, 8, {})", "text", "text"); form("text", "replace({}, {}, {})", "text", "text", "text"); form("text", "translate({}, 'abc', 'xy')", "text")
form("text", "split_part({}, ' ', 2)", "text"); form("int4", "strpos({}, {})", "text", "text"); form("int4", "position({} IN {})", "text", "text")
form("text", "overlay({} PLACING 'zz' FROM 2)", "text"); form("text", "regexp_replace({}, '[aeiou]', '<\\&>', 'g')", "text"); form("bool", "({} LIKE {})", "text", "text")
form("bool", "({} ILIKE 'a%')", "text"); form("bool", "({} ~ '^[a-c]+')", "text"); form("bool", "({} !~* 'B')", "text"); form("bool", "({} SIMILAR TO '%(b|d)%')", "text")
form("bool", "starts_with({}, {})", "text", "text"); form("text[]", "string_to_array({}, ' ')", "text"); form("text[]", "regexp_split_to_array({}, '\\s+')", "text")
form("text", "array_to_string({}, ',', '*')", "text[]"); form("text[]", "regexp_match({}, '(a)(.)')", "text"); form("text", "repeat({}, 3)", "text")
form("int4", "({})::int4", "text"); form("numeric", "({})::numeric", "text"); form("date", "({})::date", "text"); form("float8", "({})::float8", "text")
form("bytea", "convert_to({}, 'UTF8')", "text"); form("text", "encode({}, 'hex')", "bytea"); form("text", "encode({}, 'base64')", "bytea"); form("int4", "length({})", "bytea")
form("bytea", "({} || {})", "bytea", "bytea"); form("bytea", "substring({} FROM 1 FOR 2)", "bytea"); form("bytea", "sha256({})", "bytea")
form("bool", "({} AND {})", "bool", "bool"); form("bool", "({} OR {})", "bool", "bool"); form("bool", "(NOT {})", "bool"); form("bool", "({} IS TRUE)", "bool")
form("bool", "({} IS NOT UNKNOWN)", "bool"); form("int4", "({})::int4", "bool"); form("bool", "({})::bool", "int4")
form("date", "({} + {})", "date", "int4"); form("int4", "({} - {})", "date", "date"); form("timestamp", "({} + {})", "date", "interval")
form("timestamp", "({} + {})", "timestamp", "interval"); form("timestamptz", "({} - {})", "timestamptz", "interval"); form("interval", "({} - {})", "timestamp", "timestamp")
form("interval", "({} + {})", "interval", "interval"); form("interval", "({} * {})", "interval", "int4"); form("interval", "(- {})", "interval")
form("interval", "justify_interval({})", "interval"); form("interval", "justify_hours({})", "interval"); form("interval", "age({}, {})", "timestamp", "timestamp")
for _field in ("year", "month", "day", "hour", "second", "dow", "doy", "week", "isoyear", "quarter", "epoch", "century"):
    form("numeric", f"extract({_field} FROM {{}})", "timestamp")
    form("timestamp", f"date_trunc('{_field}', {{}})", "timestamp") if _field not in ("dow", "doy", "isoyear", "epoch") else None
    form("numeric", f"extract({_field} FROM {{}})", "date") if _field not in ("hour", "second") else None
    form("float8", f"date_part('{_field}', {{}})", "interval") if _field not in ("dow", "doy", "week", "isoyear") else None
form("date", "({})::date", "timestamp"); form("timestamp", "({})::timestamp", "date"); form("timestamptz", "({} AT TIME ZONE 'Europe/Berlin')", "timestamp")
form("timestamp", "({} AT TIME ZONE 'America/New_York')", "timestamptz"); form("timestamp", "({})::timestamp", "timestamptz"); form("text", "to_char({}, 'YYYY-MM-DD HH24:MI:SS.US Day Mon')", "timestamp")
form("text", "to_char({}, 'IYYY IW ID Q J RM')", "date"); form("bool", "isfinite({})", "timestamp"); form("date", "make_date({}, 2, 28)", "int4")
form("timestamp", "date_bin('15 minutes', {}, timestamp '2001-01-01')", "timestamp")
form("int4", "({})[1]", "int4[]"); form("int4[]", "({})[1:2]", "int4[]"); form("int4", "array_length({}, 1)", "int4[]"); form("int4", "cardinality({})", "int4[]")
form("int4[]", "array_append({}, {})", "int4[]", "int4"); form("int4[]", "({} || {})", "int4[]", "int4[]"); form("bool", "({} @> {})", "int4[]", "int4[]")
form("bool", "({} && {})", "text[]", "text[]"); form("bool", "({} = ANY ({}))", "int4", "int4[]"); form("bool", "({} > ALL ({}))", "text", "text[]")
form("int4", "array_position({}, {})", "int4[]", "int4"); form("int4[]", "array_remove({}, {})", "int4[]", "int4"); form("text", "array_dims({})", "int4[]")
form("int4[]", "ARRAY[{}, {}]", "int4", "int4"); form("text[]", "ARRAY[{}, {}]", "text", "text"); form("text[]", "({})::text[]", "int4[]")
form("jsonb", "({} -> 'a')", "jsonb"); form("text", "({} ->> 'a')", "jsonb"); form("jsonb", "({} -> 0)", "jsonb"); form("jsonb", "({} #> '{{a,b}}')", "jsonb")
form("text", "({} #>> '{{a,b,1}}')", "jsonb"); form("bool", "({} @> {})", "jsonb", "jsonb"); form("bool", "({} ? 'a')", "jsonb"); form("jsonb", "({} || {})", "jsonb", "jsonb")
form("jsonb", "({} - 'a')", "jsonb"); form("text", "jsonb_typeof({})", "jsonb"); form("jsonb", "jsonb_build_object('k', {}, 'l', {})", "int4", "text")
form("jsonb", "jsonb_build_array({}, {})", "numeric", "bool"); form("jsonb", "jsonb_set({}, '{{a}}', {})", "jsonb", "jsonb"); form("jsonb", "jsonb_strip_nulls({})", "jsonb")
form("text", "jsonb_pretty({})", "jsonb"); form("int4", "jsonb_array_length({})", "jsonb"); form("text", "({})::text", "uuid"); form("uuid", "({})::uuid", "text")
AGGREGATES = [("int8", "count({})", t) for t in TYPES] + [
    ("int8", "sum({})", "int4"), ("numeric", "sum({})", "int8"), ("numeric", "sum({})", "numeric"), ("numeric", "avg({})", "int4"), ("numeric", "avg({})", "numeric"),
    ("interval", "sum({})", "interval"), ("bool", "bool_and({})", "bool"), ("bool", "bool_or({})", "bool"), ("int4", "bit_or({})", "int4"),
    ("int8", "count(DISTINCT {})", "text"), ("numeric", "sum(DISTINCT {})", "numeric"), ("float8", "max({})", "float8"),
    ("numeric", "variance({})", "int4"), ("numeric", "stddev_pop({})", "numeric"), ("int8", "count(*) FILTER (WHERE {})", "bool"),
] + [(t, f"{name}({{}})", t) for t in TYPES if t not in ("bool", "bytea", "uuid", "jsonb") for name in ("min", "max")]
BY_TYPE = {t: [f for f in FORMS if f[0] == t] for t in TYPES}


class Node:
    def __init__(self, sql, name, parts=()):
        self.sql, self.name, self.parts = sql, name, parts


class Generator:
    def __init__(self, seed):
        self.random = random.Random(seed)

    def literal(self, type_):
        if self.random.random() < 0.07:
            return Node(f"NULL::{type_}", "NULL")
        return Node(f"'{self.random.choice(LITERALS[type_])}'::{type_}", "literal")

    def expression(self, type_, depth, tables):
        roll = self.random.random()
        if depth <= 0 or roll < 0.2:
            if self.random.random() < 0.6 and tables:
                return Node(f"{self.random.choice(tables)}.{column(type_)}", "column")
            return self.literal(type_)
        result, text, arguments = self.random.choice(BY_TYPE[type_])
        parts = [self.expression(a, depth - 1, tables) for a in arguments]
        return Node(text.format(*(p.sql for p in parts)), f"{text} {', '.join(arguments)}", parts)

    def statement(self):
        """(sql, whether it has a total order, expressions, FROM clause)"""
        pick = self.random.random()
        kinds = self.random.sample(TYPES, self.random.randint(1, 3))
        if pick < 0.45:
            tables, source = ["a"], "t AS a"
        elif pick < 0.6:
            tables, source = ["a", "b"], f"t AS a {self.random.choice(['JOIN', 'LEFT JOIN', 'FULL JOIN'])} t AS b ON a.id = b.id + 1"
        elif pick < 0.8:
            return self.grouped()
        elif pick < 0.9:
            return self.windowed()
        else:
            return self.nested()
        wanted = [self.expression(kind, 3, tables) for kind in kinds]
        where = self.expression("bool", 2, tables)
        sql = f"SELECT {', '.join(w.sql for w in wanted)} FROM {source}"
        if self.random.random() < 0.5:
            sql += f" WHERE {where.sql}"
        if self.random.random() < 0.15:
            sql = sql.replace("SELECT", "SELECT DISTINCT", 1)
        return sql, wanted + [where], source

    def grouped(self):
        key = self.expression(self.random.choice(TYPES[:10]), 1, ["a"])
        chosen = self.random.sample(AGGREGATES, 2)
        parts = [self.expression(type_, 1, ["a"]) for _, _, type_ in chosen]
        calls = ", ".join(text.format(part.sql) for (_, text, _), part in zip(chosen, parts))
        sql = f"SELECT {key.sql} AS k, {calls} FROM t AS a GROUP BY 1"
        if self.random.random() < 0.3:
            sql += " HAVING count(*) > 1"
        if self.random.random() < 0.2:
            sql = sql.replace("GROUP BY 1", f"GROUP BY ROLLUP ({key.sql})")
        return sql, [key, *parts], "t AS a"

    def windowed(self):
        type_ = self.random.choice(["int4", "numeric", "text", "date"])
        part = self.expression(type_, 1, ["a"])
        call = self.random.choice(["row_number()", "rank()", "dense_rank()", "ntile(3)", f"lag({part.sql})", f"lead({part.sql}, 2)",
                                   f"first_value({part.sql})", f"last_value({part.sql})", f"nth_value({part.sql}, 2)", f"count({part.sql})",
                                   f"max({part.sql})", "cume_dist()", "percent_rank()"])
        frame = self.random.choice(["", "", " ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING", " RANGE UNBOUNDED PRECEDING", " ROWS UNBOUNDED PRECEDING",
                                    " GROUPS BETWEEN 1 PRECEDING AND CURRENT ROW"])
        sql = f"SELECT a.id, {call} OVER (PARTITION BY a.{column('bool')} ORDER BY a.{column('int2')}, a.id{frame}) FROM t AS a"
        return sql, [part], "t AS a"

    def nested(self):
        inner = self.expression("int4", 2, ["b"])
        where = self.expression("bool", 2, ["a"])
        sql = self.random.choice([
            "SELECT a.id, (SELECT max({0}) FROM t AS b WHERE b.id < a.id) FROM t AS a WHERE {1}",
            "SELECT a.id FROM t AS a WHERE a.c_int4 IN (SELECT {0} FROM t AS b) OR {1}",
            "SELECT a.id FROM t AS a WHERE EXISTS (SELECT 1 FROM t AS b WHERE b.id = a.id AND {0} > 0) AND {1}",
            "WITH c AS (SELECT {0} AS v FROM t AS b) SELECT v, count(*) FROM c GROUP BY v",
            "SELECT {0} FROM t AS b UNION SELECT a.c_int4 FROM t AS a WHERE {1}",
            "SELECT {0} FROM t AS b EXCEPT ALL SELECT a.c_int4 FROM t AS a WHERE {1}",
            "SELECT a.id, x.v FROM t AS a, LATERAL (SELECT {0} AS v FROM t AS b WHERE b.id <= a.id ORDER BY b.id LIMIT 2) AS x WHERE {1}",
            "SELECT a.id, x.v FROM t AS a CROSS JOIN unnest(a.c_int4_a) AS x(v) WHERE {1}",
        ]).replace("{0}", inner.sql).replace("{1}", where.sql)
        return sql, [inner, where], "t AS a JOIN t AS b USING (id)"


def column(type_):
    return "c_" + type_.replace("[]", "_a")


def usable(left, right, suite):
    """The literals that both servers take; of those that Lockstep refuses a note is made."""
    for type_, texts in LITERALS.items():
        for text in list(texts):
            expected, got = (side.ask(f"SELECT '{text}'::{type_}") for side in (left, right))
            if expected != got:
                suite.failed(f"'{text}'::{type_}", explain(expected, got, type_), text=(text, f"{expected}\n", f"{got}\n"))
                texts.remove(text)


def setup(seed):
    chooser = random.Random(seed)
    yield "CREATE TABLE t (id int PRIMARY KEY, " + ", ".join(f"{column(t)} {t}" for t in TYPES) + ")"
    for number in range(1, 13):
        values = ["NULL" if chooser.random() < 0.12 else f"'{chooser.choice(LITERALS[t])}'::{t}" for t in TYPES]
        yield f"INSERT INTO t VALUES ({number}, {', '.join(values)})"


class Side:
    """A connection whose answers are comparable; opened again when it breaks."""

    def __init__(self, server, psycopg):
        self.server, self.psycopg, self.broken = server, psycopg, 0
        self.open()

    def open(self):
        self.connection = self.psycopg.connect(f"host=127.0.0.1 port={self.server.port} user=postgres dbname=postgres", autocommit=True)
        self.connection.execute("SET TimeZone = 'UTC'")
        self.connection.execute("SET statement_timeout = '20s'")

    def ask(self, sql):
        """("rows", types, sorted rows) or ("error", SQLSTATE, message)"""
        try:
            # Results as the server's own text.
            result = self.connection.pgconn.exec_(sql.encode())
            if result.status == self.psycopg.pq.ExecStatus.TUPLES_OK:
                types = [result.ftype(i) for i in range(result.nfields)]
                rows = [tuple(plain(result.get_value(r, c), types[c]) for c in range(result.nfields)) for r in range(result.ntuples)]
                return ("rows", types, sorted(rows, key=repr))
            if result.status == self.psycopg.pq.ExecStatus.COMMAND_OK:
                return ("done", result.command_status, None)
            state = (result.error_field(self.psycopg.pq.DiagnosticField.SQLSTATE) or b"-----").decode()
            message = (result.error_field(self.psycopg.pq.DiagnosticField.MESSAGE_PRIMARY) or result.error_message).decode(errors="replace")
            if self.connection.pgconn.status != self.psycopg.pq.ConnStatus.OK:
                raise self.psycopg.OperationalError(message)
            return ("error", state, message)
        except self.psycopg.OperationalError as error:
            self.broken += 1
            self.server.alive(sql)
            self.open()
            return ("error", "broken", f"the connection broke: {error}")


def plain(value, oid):
    if value is None:
        return None
    if oid in (700, 701):
        try:
            return f"{float(value):.12g}"
        except ValueError:
            pass
    return value.decode("utf-8", "replace")


def of_values(answer):
    """Whether an answer is an error that depends on values, not on the statement; those of 0A000 are PostgreSQL's own."""
    return answer[0] == "error" and (answer[1][:2] == "22" or "cannot convert" in answer[2] or "multidimensional arrays is not" in answer[2])


def same(one, two):
    if one[0] != two[0]:
        return False
    if one[0] == "error":
        # Which of two errors of values comes first is up to the order of evaluation.
        return one[1] == two[1] or (of_values(one) and of_values(two))
    return one[1:] == two[1:]


UNITS = {"year": (12, 0), "mon": (1, 0), "day": (0, 86_400_000_000)}


def canonical(text, oid):
    """A value such that equal ones are the same: 1.0 is 1, -0 is 0, 1 day is 24 hours."""
    if text is None or oid not in (700, 701, 1700, 1186):
        return text
    if oid in (700, 701):
        return "0" if text == "-0" else text
    if oid == 1700:
        return text.rstrip("0").rstrip(".") if "." in text else text
    months = microseconds = 0
    for number, unit in re.findall(r"([-+]?\d+) (year|mon|day)s?", text):
        months += int(number) * UNITS[unit][0]
        microseconds += int(number) * UNITS[unit][1]
    if time_ := re.search(r"([-+]?)(\d+):(\d+):(\d+)(?:\.(\d+))?", text):
        sign, hours, minutes, seconds, fraction = time_.groups()
        part = ((int(hours) * 60 + int(minutes)) * 60 + int(seconds)) * 1_000_000 + int((fraction or "0").ljust(6, "0"))
        microseconds += -part if sign == "-" else part
    return months * 30 * 86_400_000_000 + microseconds


def equal_values(expected, got):
    """Whether the rows of two answers are equal although they look different: min, max, DISTINCT and GROUP BY show one of
    several equal values, and SQL leaves open which."""
    if expected[0] != "rows" or got[0] != "rows" or expected[1] != got[1]:
        return False

    def rows(answer):
        return sorted(repr([canonical(value, oid) for value, oid in zip(row, answer[1])]) for row in answer[2])
    return rows(expected) == rows(got)


def order_alone(expected, got):
    """Whether two answers differ only because an expression was evaluated on one side: SQL leaves open which operands are, so
    AND, CASE and strict functions of a NULL may or may not come to the part that fails."""
    if expected[0] == got[0] == "error":
        return of_values(expected) and of_values(got)
    failed, rows = (expected, got) if expected[0] == "error" else (got, expected)
    return of_values(failed) and rows[0] == "rows"


def fails_alone(node, source, side):
    """Whether a part of an expression fails by itself on a side."""
    return any(side.ask(f"SELECT {part.sql} FROM {source}")[0] == "error" or fails_alone(part, source, side) for part in node.parts)


def explain(expected, got, node):
    if got[0] == "error" and expected[0] == "error":
        what = f"{got[1]} {template(got[2])} ⟵ {expected[1]} {template(expected[2])}"
    elif got[0] == "error":
        what = f"error {got[1]} {template(got[2])}"
    elif expected[0] == "error":
        what = f"no error where PostgreSQL says {expected[1]} {template(expected[2])}"
    elif expected[1] != got[1]:
        what = f"result types {got[1]} ⟵ {expected[1]}"
    else:
        what = "other rows"
    return f"{node}: {what}"


def smallest(nodes, source, left, right):
    """The smallest expression of a differing statement that differs alone, or None."""
    for node in nodes:
        sql = f"SELECT {node.sql} FROM {source}"
        expected, got = left.ask(sql), right.ask(sql)
        if not same(expected, got):
            return smallest(node.parts, source, left, right) or (node, sql, expected, got)
    return None


def run(pair, options):
    count, seed = options.count or 2000, options.seed if options.seed is not None else 1
    python = fetch.python("psycopg", "psycopg[binary]==3.*")
    psycopg = fetch.load(python, "psycopg")
    suite = Suite(f"random statements (seed {seed})", unit="statements")
    left, right = Side(pair.postgres, psycopg), Side(pair.lockstep, psycopg)
    usable(left, right, suite)
    for sql in setup(seed):
        for side in (left, right):
            answer = side.ask(sql)
            if answer[0] == "error":
                raise SystemExit(f"{side.server.name}: {sql}: {answer}")
    generator, began = Generator(seed), time.monotonic()
    errors = explained = alike = 0
    for number in range(count):
        sql, nodes, source = generator.statement()
        expected, got = left.ask(sql), right.ask(sql)
        errors += expected[0] == "error"
        if same(expected, got):
            suite.passed(number)
            continue
        if equal_values(expected, got):
            alike += 1
            suite.passed(number)
            continue
        found = smallest(nodes, source, left, right)
        if order_alone(expected, got):
            node = found and found[0]
            both = expected[0] == got[0] == "error"
            if not found or both or fails_alone(node, source, left) and fails_alone(node, source, right):
                explained += 1
                suite.passed(number)
                continue
        node, shown, expected, got = found or (Node(sql, "statement " + sql.split(" FROM ")[-1][:60]), sql, expected, got)
        suite.failed(number, explain(expected, got, node.name), text=(shown, f"{expected}\n", f"{got}\n"))
    suite.note(f"{explained} differ by the order of evaluation alone: the same part fails on both when it is asked by itself")
    suite.note(f"{alike} show another one of several equal values (1.0 and 1, 0 and -0, 24 hours and 1 day)")
    suite.note(f"{errors} of {count} statements end with an error on PostgreSQL; {time.monotonic() - began:.0f} s")
    for side in (left, right):
        if side.broken:
            suite.note(f"{side.server.name}: the connection broke {side.broken} times")
    bad = [case for case, (_, _, got) in suite.details.items() if "'XX000'" in got]
    if bad:
        suite.note(f"XX000 in {len(bad)} statements: {bad[:10]}")
    return suite
