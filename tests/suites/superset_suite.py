"""Apache Superset on both servers: a database added, datasets made from a table and a view, charts and a dashboard drawn from live
data in headless Chromium, SQL Lab. What Superset answers and what its charts draw is compared with what it does on PostgreSQL;
screenshots go beside the report (`superset-dashboard.png`, `superset-chart.png`).
"""

import json
import os
import signal
import subprocess
import time
import urllib.request

import fetch
from report import Suite
from servers import free_port

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "superset")
# The last three are wanted by Superset's package, and not named by it (or not the version).
PACKAGES = ["apache-superset==6.1.0", "psycopg2-binary", "requests", "Flask-Caching==2.3.1", "rich", "cachetools"]
CONFIG = """SECRET_KEY = "for a test on loopback, and nothing else at all"
SQLALCHEMY_DATABASE_URI = "sqlite:///{directory}/superset.db"
TALISMAN_ENABLED = False
WTF_CSRF_ENABLED = False
RATELIMIT_ENABLED = False
"""


def browser():
    """Chromium and what drives it; the environment in which node finds that."""
    fetch.debian(chromium="/usr/bin/chromium", nodejs="/usr/bin/node" if not _has_node() else "/")
    home = os.path.join(fetch.STORE, "browser")
    if not os.path.exists(f"{home}/node_modules/playwright-core"):
        os.makedirs(home, exist_ok=True)
        fetch.run("npm", "install", "--no-audit", "--no-fund", "--prefix", home, "playwright-core@1")
    return os.environ | {"NODE_PATH": f"{home}/node_modules"}


def _has_node():
    return subprocess.run(["sh", "-c", "node --version && npm --version"], capture_output=True).returncode == 0


# Steps whose answer is known, lest both fail alike.
KNOWN = {"the connection is tested": '[\n 200,\n {\n  "message": "OK"\n }\n]', "charts of the dashboard": "5", "charts that show an error": "0",
         "drive.py ends": "exit 0: ", "browse.js ends": "exit 0: "}
DRAWN = 5


class Superset:
    """A Superset with its own catalog in SQLite, on loopback."""

    def __init__(self, server, interpreter):
        self.directory = os.path.join(server.directory, "superset")
        self.tool = os.path.join(os.path.dirname(interpreter), "superset")
        os.makedirs(self.directory)
        config = os.path.join(self.directory, "superset_config.py")
        with open(config, "w") as file:
            file.write(CONFIG.format(directory=self.directory))
        self.environment = os.environ | {"SUPERSET_CONFIG_PATH": config, "FLASK_APP": "superset", "SQLALCHEMY_SILENCE_UBER_WARNING": "1"}
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"

    def __enter__(self):
        admin = ["fab", "create-admin", "--username", "admin", "--firstname", "a", "--lastname", "b", "--email", "a@example.com",
                 "--password", "admin"]
        for command in (["db", "upgrade"], admin, ["init"]):
            fetch.run(self.tool, *command, env=self.environment, cwd=self.directory)
        log = open(os.path.join(self.directory, "log"), "ab")
        self.process = subprocess.Popen([self.tool, "run", "-h", "127.0.0.1", "-p", str(self.port)], env=self.environment,
                                        cwd=self.directory, stdout=log, stderr=log)
        for _ in range(240):
            try:
                urllib.request.urlopen(f"{self.address}/health", timeout=5)
                return self
            except OSError:
                time.sleep(0.5)
        raise SystemExit(f"Superset does not answer: see {log.name}")

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)


def job(server, interpreter, node, reports):
    """What Superset says at each step."""
    done = subprocess.run(["psql", "-Xq", "-v", "ON_ERROR_STOP=1", "-f", f"{HERE}/schema.sql"], env=server.environment(),
                          capture_output=True, text=True, timeout=300)
    if done.returncode:
        return {"the schema": done.stderr}
    pictures = reports if server.name == "lockstep" else server.directory
    said = {}
    with Superset(server, interpreter) as superset:
        uri = f"postgresql+psycopg2://postgres@127.0.0.1:{server.port}/postgres"
        for command in ([interpreter, f"{HERE}/drive.py", superset.address, uri], ["node", f"{HERE}/browse.js", superset.address, pictures]):
            done = subprocess.run(command, env=node, capture_output=True, text=True, timeout=600)
            for line in done.stdout.splitlines():
                step, answer = json.loads(line)
                said[step] = json.dumps(answer, indent=1, sort_keys=True).replace(str(server.port), "PORT")
            said[f"{os.path.basename(command[1])} ends"] = f"exit {done.returncode}: {done.stderr[-2000:]}"
    return said


def run(pair, options):
    suite = Suite("Apache Superset", "steps")
    reports = options.report or f"{fetch.STORE}/reports"
    interpreter, node = fetch.python("superset", *PACKAGES), browser()
    expected, got = (job(server, interpreter, node, reports) for server in (pair.postgres, pair.lockstep))
    drawn = sum(step.endswith(" draws") for step in expected)
    if drawn != DRAWN:
        suite.failed("charts drawn on PostgreSQL", f"{drawn}, not {DRAWN}")
    for step in expected | got | KNOWN:
        wanted, found = KNOWN.get(step, expected.get(step, "not reached")), got.get(step, "not reached")
        if wanted == found:
            suite.passed(step)
        else:
            suite.failed(step, "another answer than on PostgreSQL")
            suite.details[step] = ("", f"{wanted}\n", f"{found}\n")
    return suite
