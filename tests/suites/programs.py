"""Programs of others that do their real job on both servers: sysbench's oltp, psqlODBC through isql, pgcli, node-postgres,
Alembic up and down, dbt full and incremental, Drizzle's migrations there and back. What each prints (times and speeds aside) is compared with PostgreSQL's.
"""

import os
import re
import shutil
import subprocess

import fetch
from report import Suite

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "programs")


def call(command, environment, directory=None, text=None, seconds=600):
    """(exit code, what was printed)"""
    done = subprocess.run(command, env=environment, cwd=directory, input=text, text=True, timeout=seconds, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    return done.returncode, done.stdout


def sysbench(server):
    fetch.debian(sysbench="/usr/bin/sysbench")
    said = []
    for script in ("oltp_read_write", "oltp_point_select", "oltp_read_only", "oltp_write_only", "oltp_update_index", "oltp_update_non_index", "oltp_delete",
                   "oltp_insert", "select_random_points", "select_random_ranges"):
        common = ["sysbench", script, "--db-driver=pgsql", "--pgsql-host=127.0.0.1", f"--pgsql-port={server.port}", "--pgsql-user=postgres",
                  "--pgsql-db=postgres", f"--tables={1 if script.startswith('select') else 2}", "--table-size=2000", "--threads=4", "--events=400", "--time=120"]
        for step in ("prepare", "run", "cleanup"):
            code, text = call([*common, step], server.environment())
            # Deadlocks and conflicts are tried again; other errors end it.
            fatal = [line for line in text.splitlines() if "FATAL" in line]
            said.append(f"{script} {step}: {code} {fatal[:2]}")
            if step == "run":
                said.append(f"   events {re.findall(r'total number of events: *([0-9]+)', text)} reconnects {re.findall(r'reconnects: *([0-9]+)', text)}")
    return said


def odbc(server):
    fetch.debian(odbc_postgresql="/usr/lib/x86_64-linux-gnu/odbc/psqlodbcw.so", unixodbc="/usr/bin/isql")
    ini = os.path.join(server.directory, "odbc.ini")
    with open(ini, "w") as file:
        file.write(f"[it]\nDriver=/usr/lib/x86_64-linux-gnu/odbc/psqlodbcw.so\nServername=127.0.0.1\nPort={server.port}\nUsername=postgres\n"
                   "Database=postgres\nUseDeclareFetch=1\nFetch=10\nProtocol=7.4-2\n")
    script = """CREATE TABLE odbc (id serial PRIMARY KEY, name varchar(20), n numeric(10,2), at timestamp)
INSERT INTO odbc (name, n, at) SELECT 'name ' || g, g * 1.5, timestamp '2024-02-29' + g * interval '1 hour' FROM generate_series(1, 50) g
SELECT * FROM odbc ORDER BY id
SELECT count(*), sum(n) FROM odbc
UPDATE odbc SET name = 'x' WHERE id = 7
SELECT nothing FROM odbc
SELECT name FROM odbc WHERE id = 7
help odbc
help
DROP TABLE odbc
"""
    code, text = call(["isql", "it", "-b", "-v"], server.environment(ODBCINI=ini), text=script)
    # SQLColumns shows the table's OID.
    return [f"exit {code}", *(re.sub(r"\| 1[6-9][0-9]{3} +\|", "| OID |", line) for line in text.splitlines())]


def pgcli(server):
    fetch.debian(pgcli="/usr/bin/pgcli")
    home = os.path.join(server.directory, "home")
    os.makedirs(home, exist_ok=True)
    script = "CREATE TABLE cli (id int PRIMARY KEY, v text);\nINSERT INTO cli VALUES (1, 'a'), (2, NULL);\nSELECT * FROM cli ORDER BY id;\n\\d cli\n\\dt\n\\dn\nSELECT nothing;\nDROP TABLE cli;\n\\q\n"
    code, text = call(["pgcli", "--less-chatty", "--no-warn", f"postgresql://postgres@127.0.0.1:{server.port}/postgres"],
                      server.environment(HOME=home, TERM="dumb", PAGER="cat", XDG_CONFIG_HOME=home), text=script, seconds=120)
    keep = [line.rstrip() for line in text.splitlines() if not re.search(r"^(Time:|Warning|postgres@|Goodbye|Home|Server|Version)", line)]
    return [f"exit {code}", *keep]


def node_postgres(server):
    home = os.path.join(fetch.STORE, "node")
    if not os.path.exists(f"{home}/node_modules/pg"):
        fetch.debian(nodejs="/usr/bin/node", npm="/usr/bin/npm")
        os.makedirs(home, exist_ok=True)
        fetch.run("npm", "install", "--no-audit", "--no-fund", "--prefix", home, "pg@8")
    shutil.copy(f"{HERE}/node.js", f"{home}/job.js")
    code, text = call(["node", f"{home}/job.js"], server.environment())
    return [f"exit {code}", *text.splitlines()]


def alembic(server):
    python = fetch.python("alembic", "alembic==1.*", "sqlalchemy==2.0.*", "psycopg[binary]==3.*")
    home = os.path.join(server.directory, "alembic")
    shutil.copytree(f"{HERE}/alembic", home)
    environment = server.environment(DATABASE_URL=f"postgresql+psycopg://postgres@127.0.0.1:{server.port}/postgres")
    said = []
    for step in (["upgrade", "head"], ["current"], ["check"], ["downgrade", "-1"], ["upgrade", "head"], ["downgrade", "base"], ["upgrade", "head"], ["history"]):
        code, text = call([python, "-m", "alembic", *step], environment, home)
        said += [f"{' '.join(step)}: {code}", *(line for line in text.splitlines() if code or "Running" in line or "->" in line)]
    said += server.psql("SELECT table_name, column_name, data_type, is_nullable, column_default FROM information_schema.columns "
                        "WHERE table_schema = 'public' ORDER BY 1, ordinal_position").stdout.splitlines()
    return said


def dbt(server):
    python = fetch.python("dbt", "dbt-core==1.9.*", "dbt-postgres==1.9.*")
    home = os.path.join(server.directory, "dbt")
    shutil.copytree(f"{HERE}/dbt", home)
    with open(f"{home}/profiles.yml", "w") as file:
        file.write(f"shop:\n  target: dev\n  outputs:\n    dev: {{type: postgres, host: 127.0.0.1, port: {server.port}, user: postgres, password: x, "
                   "dbname: postgres, schema: analytics, threads: 2}\n")
    environment = server.environment(DBT_PROFILES_DIR=home, DBT_SEND_ANONYMOUS_USAGE_STATS="false", NO_COLOR="1")
    said = []
    for step in (["seed"], ["run", "--full-refresh"], ["test"], ["run"], ["test"], ["docs", "generate"], ["run-operation", "more_orders"], ["run"], ["test"]):
        code, text = call([os.path.join(os.path.dirname(python), "dbt"), "--no-use-colors", *step], environment, home)
        keep = [re.sub(r"^\S+ +| in [0-9.]+s| \[[A-Z0-9 ]+ in .*", "", line) for line in text.splitlines() if re.search(r"Done\. PASS|ERROR|FAIL|Error", line)]
        said += [f"{' '.join(step)}: {code}", *keep]
    said += server.psql("SELECT * FROM analytics.daily ORDER BY 1", "SELECT count(*) FROM analytics.orders_log", "SELECT * FROM analytics.open_orders ORDER BY 1").stdout.splitlines()
    return said


def drizzle(server):
    """Migrations made from schemas, run, read back, and undone by pushing the first schema again."""
    store = os.path.join(fetch.STORE, "drizzle")
    if not os.path.exists(f"{store}/node_modules/drizzle-kit"):
        fetch.debian(nodejs="/usr/bin/node", npm="/usr/bin/npm")
        os.makedirs(store, exist_ok=True)
        fetch.run("npm", "install", "--no-audit", "--no-fund", "--prefix", store, "drizzle-orm@0.44", "drizzle-kit@0.31", "pg@8")
    home = os.path.join(server.directory, "drizzle")
    shutil.copytree(f"{HERE}/drizzle", home)
    os.symlink(f"{store}/node_modules", f"{home}/node_modules")
    server.psql("CREATE DATABASE drizzle")
    said = []

    def kit(schema, *step):
        environment = server.environment(SCHEMA=schema, NO_COLOR="1", DATABASE_URL=f"postgresql://postgres@127.0.0.1:{server.port}/drizzle")
        code, text = call(["node", f"{store}/node_modules/drizzle-kit/bin.cjs", *step, "--config=drizzle.config.js"], environment, home, seconds=180)
        said.append(f"{' '.join(step)}: {code}")
        # A line that turns while one waits ends in what it came to.
        lines = (re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", re.split(r"\x1b\[2K\x1b\[1G", line)[-1]) for line in text.splitlines())
        said.extend(line for line in lines if re.search(r"rror|ALTER|CREATE|DROP|No changes|successfully", line))

    def shape():
        for what in (r"\d", r"\d users", r"\d orders", r"\d lines", r"\d+ totals", r"\dT+ mood"):
            said.extend(server.psql(what, database="drizzle").stdout.splitlines())

    kit("first", "generate", "--name=first")
    kit("first", "migrate")
    said.extend(server.psql("INSERT INTO users (name) VALUES ('a'), ('b')", "INSERT INTO orders (user_id, total) VALUES (1, 5), (2, 7.5)", database="drizzle").stderr.splitlines())
    shape()
    kit("second", "generate", "--name=second")
    kit("second", "migrate")
    shape()
    kit("second", "push", "--force", "--verbose")
    kit("second", "pull")
    if os.path.exists(f"{home}/migrations/schema.ts"):
        with open(f"{home}/migrations/schema.ts") as file:
            said.extend(file.read().splitlines())
    server.psql("DROP VIEW totals", database="drizzle")
    kit("first", "push", "--force", "--verbose")
    shape()
    return said + server.psql("SELECT * FROM orders ORDER BY id", "SELECT id, name, mood FROM users ORDER BY id", database="drizzle").stdout.splitlines()


PROGRAMS = [sysbench, odbc, pgcli, node_postgres, alembic, dbt, drizzle]


def run(pair, options):
    suite = Suite("programs", unit="programs")
    for program in PROGRAMS:
        name = program.__name__
        if options.only and name not in options.only:
            continue
        printed = {}
        for server in pair:
            try:
                printed[server.name] = program(server)
            except subprocess.TimeoutExpired:
                printed[server.name] = ["did not end in time"]
            server.alive(name)
        expected, got = ([line.replace(str(server.port), "PORT") for line in printed[server.name]] for server in (pair.postgres, pair.lockstep))
        if any(line.startswith("exit 1") or ": 1" in line[-4:] for line in expected):
            suite.note(f"{name} on PostgreSQL: {[line for line in expected if 'rror' in line or ': 1' in line][:4]}")
        if expected == got:
            suite.passed(name)
        else:
            first = next((f"{b!r} ⟵ {a!r}" for a, b in zip(expected + [""] * len(got), got + [""] * len(expected)) if a != b), "")
            suite.failed(name, f"{name}: {first[:200]}", text=(name, "\n".join(expected) + "\n", "\n".join(got) + "\n"))
    return suite
