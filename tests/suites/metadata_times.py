"""How long questions about a schema of 1,000 tables take, beside PostgreSQL: psql's commands, pgjdbc's metadata, the information
schema. A question passes that takes at most twice as long and has the same number of lines. Use an optimised build.
"""

import os
import subprocess
import time

import fetch
from report import Suite

HERE = os.path.dirname(os.path.abspath(__file__))
TABLES = 1000
# Name, what psql runs, and how often in one session.
PSQL = [
    ("\\d", "\\d big.t0500", 20),
    ("\\d+", "\\d+ big.t0501", 20),
    ("\\d of 100", "\\d big.t00*", 1),
    ("\\dt", "\\dt big.*", 5),
    ("\\dt+", "\\dt+ big.*", 5),
    ("\\di+", "\\di+ big.*", 5),
    ("\\dv", "\\dv big.*", 5),
    ("\\ds", "\\ds big.*", 5),
    ("\\dp", "\\dp big.*", 3),
    ("\\df", "\\df", 3),
    ("\\dn+", "\\dn+", 50),
    ("tables", "SELECT count(*), max(table_name) FROM information_schema.tables;", 5),
    ("columns", "SELECT count(*), max(column_name), max(data_type) FROM information_schema.columns;", 3),
    ("columns of one", "SELECT * FROM information_schema.columns WHERE table_schema = 'big' AND table_name = 't0500';", 10),
    ("constraints", "SELECT count(*) FROM information_schema.table_constraints WHERE table_schema = 'big';", 3),
    ("keys of one", "SELECT * FROM information_schema.key_column_usage WHERE table_schema = 'big' AND table_name = 't0500';", 5),
    ("foreign keys", "SELECT count(*), max(unique_constraint_name) FROM information_schema.referential_constraints;", 3),
    ("pg_indexes", "SELECT count(*), max(indexdef) FROM pg_indexes;", 5),
    ("pg_tables", "SELECT count(*), max(tablename) FROM pg_tables;", 25),
    ("constraint definitions", "SELECT count(pg_get_constraintdef(oid)) FROM pg_constraint WHERE connamespace = 'big'::regnamespace;", 3),
    ("privileges", "SELECT count(*) FROM pg_class WHERE has_table_privilege(oid, 'SELECT') AND relnamespace = 'big'::regnamespace;", 5),
]


def schema():
    """The statements that make the schema."""
    lines = ["BEGIN;", "CREATE SCHEMA big;"]
    for number in range(TABLES):
        table = f"big.t{number:04}"
        parent = f", parent int REFERENCES big.t{number - 1:04}" if number % 3 == 1 else ""
        lines.append(f"CREATE TABLE {table} (id serial PRIMARY KEY, name varchar(40) NOT NULL, amount numeric(10, 2) DEFAULT 0 "
                     f"CHECK (amount >= 0), at timestamptz DEFAULT now(), note text{parent});")
        lines.append(f"CREATE INDEX ON {table} (name);")
        if number % 10 == 0:
            lines.append(f"CREATE VIEW big.v{number:04} AS SELECT id, name FROM {table};")
        if number % 5 == 0:
            lines.append(f"COMMENT ON TABLE {table} IS 'table {number}'; COMMENT ON COLUMN {table}.name IS 'the name';")
    return "\n".join(lines + ["COMMIT;", "ANALYZE;"])


def psql(server, text):
    """Seconds of a session of psql, and its lines of output."""
    begun = time.monotonic()
    done = subprocess.run(["psql", "-Xq"], env=server.environment(), input=text, capture_output=True, text=True, timeout=600)
    return time.monotonic() - begun, len(done.stdout.splitlines())


def ask_psql(server, command, times):
    """Milliseconds of one command, without those of the session, and lines."""
    session, _ = min(psql(server, "SELECT 1;\n") for _ in range(3))
    psql(server, f"{command}\n")
    seconds, lines = min(psql(server, f"{command}\n" * times) for _ in range(2))
    return max((seconds - session) / times * 1000, 0.01), lines // times


def run(pair, options):
    fetch.debian(default_jdk_headless="/usr/bin/javac", libpostgresql_jdbc_java="/usr/share/java/postgresql.jar")
    suite = Suite(f"metadata of {TABLES} tables, at most twice PostgreSQL's time", unit="questions")
    fetch.run("javac", "-cp", "/usr/share/java/postgresql.jar", "-d", pair.directory, f"{HERE}/jdbc/MetadataTimes.java")
    found = {}
    for server in pair:
        psql(server, schema())
        for name, command, times in PSQL:
            found.setdefault(name, {})[server.name] = ask_psql(server, command, times)
        classes = f"{pair.directory}:/usr/share/java/postgresql.jar"
        for line in fetch.run("java", "-cp", classes, "MetadataTimes", "127.0.0.1", str(server.port)).splitlines():
            name, milliseconds, rows = line.split("\t")
            found.setdefault(name, {})[server.name] = (float(milliseconds), int(rows))
    for name, times in found.items():
        (expected, lines), (got, own) = times["postgres"], times.get("lockstep", (float("inf"), 0))
        said = f"{name}: {got:.1f} ms, PostgreSQL {expected:.1f}, {got / expected:.2f} times as long"
        if own != lines:
            suite.failed(name, f"{said}; {own} lines, PostgreSQL {lines}")
        elif got <= 2 * expected:
            suite.passed(name)
        else:
            suite.failed(name, said)
        suite.details[name] = (said, "", "")
    return suite
