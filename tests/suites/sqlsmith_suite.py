"""sqlsmith (Debian) throws random valid queries at Lockstep: no XX000, no dropped connection, no crash, no more memory than allowed.

`--count` queries (20,000 by default). The regression files' first tables give it something to select from.
"""

import re
import subprocess

import fetch
import regress
from report import Suite
from servers import MEMORY


def run(pair, options):
    fetch.debian(sqlsmith="/usr/bin/sqlsmith")
    server, suite = pair.lockstep, Suite("sqlsmith", unit="queries")
    source = regress.prepare()
    for name in ("test_setup", "create_index"):
        with open(f"{source}/sql/{name}.sql", encoding="utf-8", errors="surrogateescape") as file:
            regress.run_file(server, source, name, regress.split(file.read()), "postgres")
    count = options.count or 20_000
    command = ["sqlsmith", f"--target=host=127.0.0.1 port={server.port} user=postgres dbname=postgres", f"--max-queries={count}",
               f"--seed={options.seed or 1}", "--verbose", "--exclude-catalog"]
    log = f"{server.directory}/sqlsmith.log"
    with open(log, "w") as file:
        try:
            done = subprocess.run(command, env=server.environment(), stdout=file, stderr=file, timeout=options.seconds or 3600)
            suite.note(f"sqlsmith ended with {done.returncode}")
        except subprocess.TimeoutExpired:
            suite.note(f"sqlsmith was ended after {options.seconds or 3600} s")
    with open(log, errors="replace") as file:
        text = file.read()
    queries = [int(n) for n in re.findall(r"queries: (\d+)", text)]
    asked = max(queries, default=0)
    suite.note(f"{asked} queries asked")
    # The server's log has its own account of our bugs.
    with open(server.log.name, errors="replace") as file:
        internal = re.findall(r".*(?:XX000|panicked|overflowed its stack).*", file.read())
    for number, line in enumerate(internal):
        suite.failed(f"log {number}", regress.template(line.strip())[-160:], text=(line, "", ""))
    for number, line in enumerate(re.findall(r"(?:ERROR|error|Broken|broken connection|server closed).*", text)):
        if re.search(r"XX000|internal|broken|server closed", line):
            suite.failed(f"answer {number}", regress.template(line))
    if not server.alive("sqlsmith"):
        suite.failed("server", "the server died")
    else:
        with open(f"/proc/{server.process.pid}/status") as file:
            peak = int(re.search(r"VmHWM:\s+(\d+) kB", file.read())[1]) << 10
        suite.note(f"at most {peak / 2**30:.1f} GiB of memory, of which {MEMORY / 2**30:.0f} are allowed to rows, indexes and queries")
        if peak > MEMORY * 1.5:
            suite.failed("memory", "the server took half as much again as it may")
    errors = re.findall(r"^\s+(\d+)\s+(.*)$", text[text.rfind("queries:"):], re.M)
    for n, message in errors[:20]:
        suite.note(f"{n} times: {message}")
    for number in range(asked):
        suite.passed(f"query {number}")
    return suite
