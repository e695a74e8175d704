"""SQLAlchemy's dialect suite and its tests of the PostgreSQL dialect, from its source distribution, on psycopg and pg8000."""

import fetch
import pytests

PACKAGES = ["sqlalchemy==2.0.*", "psycopg[binary]==3.*", "pg8000==1.31.*", "pytest", "pytest-xdist"]


def prepare():
    python = fetch.python("sqlalchemy", *PACKAGES)
    return python, fetch.python_source("sqlalchemy==" + fetch.version(python, "sqlalchemy"), "sqlalchemy")


def run_on(driver, pair, options):
    python, directory = prepare()
    for server in pair:
        # What its README asks for.
        for command in ("CREATE EXTENSION IF NOT EXISTS hstore", "CREATE EXTENSION IF NOT EXISTS citext",
                        "CREATE SCHEMA test_schema", "CREATE SCHEMA test_schema_2"):
            server.psql(command)

    def arguments(server):
        tests = options.only or ["test/dialect/test_suite.py", "test/dialect/postgresql"]
        return [*tests, "--dburi", f"postgresql+{driver}://postgres@127.0.0.1:{server.port}/postgres", "-p", "no:warnings"]

    suite = pytests.compare(pair, options, f"SQLAlchemy's dialect suite on {driver}", python, directory, arguments,
                            lambda server: server.environment(), 3000, f"sqlalchemy-{driver}")
    return suite


def run(pair, options):
    return run_on("psycopg", pair, options)
