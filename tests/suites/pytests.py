"""Runs a suite of pytest against both servers and compares test by test.

A test that fails on PostgreSQL too (it wants a pg_hba.conf, say) is told apart and not counted; one that is skipped on
PostgreSQL is not counted either. What Lockstep skips and PostgreSQL runs is a failure.
"""

import json
import os
import re
import subprocess
import xml.etree.ElementTree as xml

import fetch
from regress import template
from report import Suite


def outcomes(server, python, directory, arguments, environment, seconds, name):
    """Test → (outcome, cause) of one run."""
    report = os.path.join(server.directory, f"{name}.xml")
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", "--maxfail=1000000", *arguments]
    with open(os.path.join(server.directory, f"{name}.log"), "w") as log:
        try:
            subprocess.run(command, cwd=directory, env=environment, stdout=log, stderr=log, timeout=seconds)
        except subprocess.TimeoutExpired:
            raise SystemExit(f"{name} did not end within {seconds} s on {server.name}: {log.name}") from None
    if not os.path.exists(report):
        raise SystemExit(f"{name} printed no report on {server.name}: {log.name}\n" + open(log.name).read()[-3000:])
    return read(report)


# SQLAlchemy puts the server's version into the names of its tests' classes.
VERSION = re.compile(r"(_postgresql\+\w+?)_\d+(?:_\d+)+(?=::)")


def read(report):
    found = {}
    for case in xml.parse(report).getroot().iter("testcase"):
        test = VERSION.sub(r"\1", f"{case.get('classname')}::{case.get('name')}")
        trouble = case.find("failure")
        trouble = case.find("error") if trouble is None else trouble
        if trouble is not None:
            found[test] = ("failed", cause((trouble.get("message") or "") + "\n" + (trouble.text or "")))
        elif case.find("skipped") is not None:
            found.setdefault(test, ("skipped", (case.find("skipped").get("message") or "skipped")[:120]))
        else:
            found.setdefault(test, ("passed", ""))
    return found


SERVER = re.compile(r"(?:psycopg\.errors\.\w+\)?:? *|\(psycopg\.errors\.\w+\) |psycopg\.\w+: )(.*)")
PG8000 = re.compile(r"'C': '(\w+)', 'M': ['\"](.*?)['\"](?:, '[A-Z]'|})")


def cause(text):
    """The server's words if it had any, else the assertion's."""
    if found := PG8000.search(text):
        return f"{found[1]} {template(found[2])}"
    if found := SERVER.search(text):
        return template(found[1])
    lines = [line[1:].strip() for line in text.splitlines() if line.startswith("E ")] or text.strip().splitlines() or ["?"]
    return template(lines[0])[:140]


def reference(pair, options, name, run):
    """What PostgreSQL does, of this run, or with --cached of the last one."""
    kept = os.path.join(fetch.STORE, f"{name}.reference.json")
    if options.cached and os.path.exists(kept):
        with open(kept) as file:
            return json.load(file)
    found = run(pair.postgres)
    with open(kept, "w") as file:
        json.dump(found, file)
    return found


def compare(pair, options, title, python, directory, arguments, environments, seconds, name):
    """The suite's result: `environments` of (postgres, lockstep) with `arguments(server)`."""
    suite = Suite(title)

    def run(server):
        return outcomes(server, python, directory, arguments(server), environments(server), seconds, name)

    expected, got = reference(pair, options, name, run), run(pair.lockstep)
    both = [test for test, (outcome, _) in expected.items() if outcome == "failed"]
    wanted = [test for test, (outcome, _) in expected.items() if outcome == "passed"]
    for test in wanted:
        outcome, why = got.get(test, ("failed", "not run: its module or class failed before"))
        file = test.split("::")[0]
        if outcome == "passed":
            suite.passed(test, file=file)
        else:
            suite.failed(test, why if outcome == "failed" else f"skipped: {why}", file=file, text=(test, "passed\n", f"{outcome} {why}\n"))
    suite.reference = (len(wanted), len(both))
    for test in both:
        suite.note(f"fails on PostgreSQL too: {test}: {expected[test][1]}")
    return suite
