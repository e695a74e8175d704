"""pgjdbc as BI tools and applications use it: `jdbc/Metadata.java`, check by check beside PostgreSQL."""

import os
import re
import subprocess

import fetch
from report import Suite

HERE = os.path.dirname(os.path.abspath(__file__))


def sections(text):
    """Name → what was printed under it."""
    parts = re.split(r"^#### (.*)\n", text, flags=re.M)
    return dict(zip(parts[1::2], parts[2::2]))


def run(pair, options):
    fetch.debian(default_jdk_headless="/usr/bin/javac", libpostgresql_jdbc_java="/usr/share/java/postgresql.jar")
    suite = Suite("pgjdbc", unit="checks")
    fetch.run("javac", "-cp", "/usr/share/java/postgresql.jar", "-d", pair.directory, f"{HERE}/jdbc/Metadata.java")
    printed = {}
    for server in pair:
        done = subprocess.run(["java", "-cp", f"{pair.directory}:/usr/share/java/postgresql.jar", "Metadata", "127.0.0.1", str(server.port)],
                              capture_output=True, text=True, timeout=600)
        printed[server.name] = sections(done.stdout)
        if done.returncode:
            suite.note(f"{server.name}: ended early: {done.stderr.strip().splitlines()[:3]}")
    for name, expected in printed["postgres"].items():
        got = printed["lockstep"].get(name)
        if got == expected:
            suite.passed(name)
            continue
        mine, theirs = (got or "not reached").splitlines(), expected.splitlines()
        first = next((a for a in mine if a not in theirs), next((f"missing: {b}" for b in theirs if b not in mine), "order of lines"))
        suite.failed(name, f"{name}: {first[:160]}", text=(name, expected, got or "not reached\n"))
    return suite
