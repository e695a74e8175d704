"""pg8000's own tests, from its source distribution."""

import fetch
import pytests


def run(pair, options):
    python = fetch.python("pg8000", "pg8000==1.31.*", "pytest", "pytest-mock", "pytest-benchmark", "pytz")
    directory = fetch.python_source("pg8000==" + fetch.version(python, "pg8000"), "pg8000")
    for server in pair:
        server.psql("CREATE EXTENSION IF NOT EXISTS hstore")

    def arguments(_):
        return [*(options.only or ["test"]), "--benchmark-disable"]

    def environment(server):
        clean = server.environment()
        for name in ("PGDATABASE", "PGUSER"):
            del clean[name]
        return clean

    return pytests.compare(pair, options, "pg8000's own tests", python, directory, arguments, environment, 1200, "pg8000")
