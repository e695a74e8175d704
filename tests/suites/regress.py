"""PostgreSQL 15's own regression files, statement by statement: what Lockstep prints equals what PostgreSQL prints.

Each file of the schedule runs through psql as pg_regress runs it, once on each server, with a marker printed between the
statements; a statement counts where the text between its markers is the same on both. Nothing is normalised: what
differs between two runs of PostgreSQL itself counts as failed.

Failures are grouped by cause. A statement that fails because an earlier one did (its table is missing, its transaction
is aborted, its table's rows were not written) is put to the cause of that one, and counted apart.
"""

import collections
import os
import re
import subprocess
import time

import fetch
from psql_split import split
from report import Suite

MARK = "=-=-= "
# What CI runs: short files of what applications use.
FAST = """test_setup boolean char int2 int4 int8 oid float4 uuid text date time timestamp interval comments copyselect
    select_implicit select_having union case delete advisory_lock""".split()
# A file that takes longer on Lockstep is cut; what it had not printed by then counts as failed.
FILE_SECONDS = 120


def prepare():
    """The directory of the files; builds the C functions that they load into PostgreSQL."""
    fetch.postgres()
    source = fetch.postgres_source() + "/src/test/regress"
    library = f"{source}/lib"
    if not os.path.exists(f"{library}/regress.so"):
        fetch.debian(postgresql_server_dev_15="/usr/include/postgresql/15/server/postgres.h", gcc="/usr/bin/gcc")
        os.makedirs(library, exist_ok=True)
        fetch.run("gcc", "-O1", "-w", "-shared", "-fPIC", "-I/usr/include/postgresql/15/server", "-I/usr/include/postgresql",
                  f"{source}/regress.c", "-o", f"{library}/regress.so")
        for name in ("autoinc", "refint"):
            if not os.path.exists(f"{library}/{name}.so"):
                os.symlink(f"/usr/lib/postgresql/15/lib/{name}.so", f"{library}/{name}.so")
    os.makedirs(f"{source}/results", exist_ok=True)
    os.chmod(f"{source}/results", 0o777)
    # The servers' own user reads and writes here.
    path = source
    while path != "/":
        os.chmod(path, os.stat(path).st_mode | 0o055)
        path = os.path.dirname(path)
    return source


def schedule(source):
    names = []
    with open(f"{source}/parallel_schedule") as file:
        for line in file:
            if line.startswith("test:"):
                names += line.split()[1:]
    return names


def run_file(server, source, name, chunks, database):
    """What each chunk printed; None for those that it did not come to."""
    script = "".join(f"{chunk.text}\n\\echo {MARK}{n}\n" for n, chunk in enumerate(chunks))
    environment = server.environment(
        database, PGAPPNAME="pg_regress", PG_ABS_SRCDIR=source, PG_ABS_BUILDDIR=f"{source}/build-{server.name}",
        PG_LIBDIR=f"{source}/lib", PG_DLSUFFIX=".so", PGTZ="America/Los_Angeles", PGDATESTYLE="Postgres, MDY",
        PGOPTIONS="-c intervalstyle=postgres_verbose", LC_MESSAGES="C")
    environment.pop("LC_ALL")
    os.makedirs(f"{source}/build-{server.name}/results", exist_ok=True)
    os.chmod(f"{source}/build-{server.name}/results", 0o777)
    output = f"{source}/build-{server.name}/{name}.out"
    with open(output, "wb") as file:
        process = subprocess.Popen(["psql", "-X", "-q", "-v", "HIDE_TABLEAM=on", "-v", "HIDE_TOAST_COMPRESSION=on"],
                                   stdin=subprocess.PIPE, stdout=file, stderr=file, env=environment, cwd=source)
        cut = False
        try:
            process.communicate(script.encode("utf-8", "surrogateescape"), timeout=FILE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            cut = True
    parts, printed = {}, []
    with open(output, encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            if line.startswith(MARK):
                # A marker out of its place was printed as part of another statement.
                number = int(line[len(MARK):])
                parts[number] = "".join(printed)
                printed = []
            else:
                printed.append(line)
    return [parts.get(n) for n in range(len(chunks))], cut


ERROR = re.compile(r"^(?:ERROR|FATAL|PANIC):  (.*)$", re.M)
LEVELS = re.compile(r"^(NOTICE|WARNING|INFO|LOG|DEBUG):  (.*)$", re.M)
EXTRA = re.compile(r"^(LINE \d+:.*\n.*\^$|DETAIL:.*|HINT:.*|CONTEXT:.*|QUERY:.*)", re.M)


def template(message):
    """A message with its names and figures taken out; names of types, operators and words of syntax stay."""
    if re.match(r"(type|syntax error|unrecognized|function|operator|cannot|collation|extension|language|schema|role)\b", message) and len(message) < 90:
        return re.sub(r"\d{3,}", "N", message)
    return re.sub(r"\d+", "N", re.sub(r'"[^"]*"', '"…"', message))[:140]


def cause(chunk, expected, got):
    """Why the two texts differ, as one line."""
    if got is None:
        return "nothing printed: swallowed by what failed before it, or cut by the time limit"
    wanted, found = ERROR.search(expected), ERROR.search(got)
    if found and not wanted:
        return f"error: {template(found.group(1))}"
    if wanted and not found:
        return f"no error where PostgreSQL says: {template(wanted.group(1))}"
    if wanted and found:
        if wanted.group(1) != found.group(1):
            return f"other message: {template(found.group(1))} ⟵ {template(wanted.group(1))}"
        for word in ("LINE", "DETAIL", "HINT", "CONTEXT"):
            mine = [e for e in EXTRA.findall(got) if e.startswith(word)]
            theirs = [e for e in EXTRA.findall(expected) if e.startswith(word)]
            if mine != theirs:
                kind = "missing" if not mine else "not in PostgreSQL" if not theirs else "differs"
                return f"{word} {kind}: {template(found.group(1))}"
    if LEVELS.findall(expected) != LEVELS.findall(got):
        theirs, mine = [template(m) for _, m in LEVELS.findall(expected)], [template(m) for _, m in LEVELS.findall(got)]
        lost = [m for m in theirs if m not in mine]
        if lost:
            return f"notice missing: {lost[0]}"
        return f"notice not in PostgreSQL: {next((m for m in mine if m not in theirs), 'order')}"
    if chunk.sql.startswith("explain"):
        return "EXPLAIN prints another plan"
    if (chunk.command or "").startswith("\\d"):
        return f"psql {chunk.command.split()[0]}: " + ("layout" if expected.count("\n") != got.count("\n") else "content")
    theirs, mine = expected.splitlines(), got.splitlines()
    if sorted(theirs) == sorted(mine):
        return "rows in another order"
    if theirs and mine and theirs[0].split() != mine[0].split():
        return "column names differ"
    if len(theirs) != len(mine):
        return "other number of rows"
    return "other values"


MADE = re.compile(r"^create (?:or replace )?(?:(?:global |local )?temp(?:orary)? |unlogged |unique |recursive |materialized |trusted |constraint )*"
                  r"(?:table|view|type|domain|function|procedure|aggregate|index|sequence|schema|operator|cast|role|user|group|database|trigger|rule|"
                  r"statistics|collation|extension|language|policy|server|foreign table|publication)\s+(?:if not exists )?(?:concurrently )?\"?([\w.]+)", re.A)
PUT = re.compile(r"^(?:insert into|update|delete from|copy|alter table|merge into|select .* into(?: temp)?(?: table)?|truncate(?: table)?)\s+(?:only )?(?:if exists )?\"?([\w.]+)", re.A)
MISSING = re.compile(r'(?:relation|type|view|table|index|sequence|schema|role|statement|cursor|"?portal) "([^"]+)"|(?:function|procedure|aggregate) ([\w.]+)')


class Causes:
    """What failed so far, so that what follows from it is put to it."""

    def __init__(self):
        self.objects, self.written, self.aborted = {}, {}, None

    def enter(self, chunk, expected, got):
        """The cause of a failed chunk, and whether it follows from an earlier one."""
        why, follows = cause(chunk, expected, got), False
        found = ERROR.search(got or "")
        if found and "current transaction is aborted" in found.group(1) and self.aborted:
            why, follows = self.aborted, True
        elif found and not ERROR.search(expected) and (name := MISSING.search(found.group(1))) and (name[1] or name[2]).split(".")[-1] in self.objects:
            why, follows = self.objects[(name[1] or name[2]).split(".")[-1]], True
        elif not found and why in ("other number of rows", "other values", "rows in another order"):
            for word in re.findall(r"\w+", chunk.sql):
                if word in self.written:
                    why, follows = self.written[word], True
                    break
        if found and not ERROR.search(expected):
            if not follows or self.aborted is None:
                self.aborted = why
            if made := MADE.match(chunk.sql):
                self.objects[made[1].split(".")[-1]] = why
            elif put := PUT.match(chunk.sql):
                self.written[put[1].split(".")[-1]] = why
        return why, follows


def run(pair, options):
    source = prepare()
    suite = Suite("PostgreSQL's regression files", unit="statements")
    names = schedule(source)
    if options.fast:
        names = [name for name in names if name in FAST]
    if options.only:
        names = [name for name in names if name in options.only or name == "test_setup"]
    database = {server.name: "regression" for server in pair}
    for server in pair:
        made = server.psql("CREATE DATABASE regression TEMPLATE template0")
        if made.returncode:
            suite.note(f"{server.name}: {made.stderr.strip()}; the files run in the database postgres")
            database[server.name] = "postgres"
        for setting in ("lc_messages TO 'C'", "lc_monetary TO 'C'", "lc_numeric TO 'C'", "lc_time TO 'C'", "bytea_output TO 'hex'",
                        "timezone_abbreviations TO 'Default'"):
            made = server.psql(f'ALTER DATABASE "{database[server.name]}" SET {setting}')
            if made.returncode and server.name == "lockstep" and setting.startswith("lc_m"):
                suite.note(f"lockstep: {made.stderr.strip()}")
    causes = Causes()
    for name in names:
        with open(f"{source}/sql/{name}.sql", encoding="utf-8", errors="surrogateescape") as file:
            chunks = split(file.read())
        texts, seconds = {}, {}
        for server in pair:
            began = time.monotonic()
            texts[server.name], cut = run_file(server, source, name, chunks, database[server.name])
            seconds[server.name] = time.monotonic() - began
            if cut:
                suite.note(f"{server.name}: {name} cut after {FILE_SECONDS} s")
            if not server.alive(name):
                suite.note(f"{server.name} died in {name}")
        causes.aborted = None
        for number, chunk in enumerate(chunks):
            expected, got = texts["postgres"][number], texts["lockstep"][number]
            if not chunk.counts or expected is None:
                continue
            if re.match(r"(begin|start transaction|commit|rollback|end|abort)\b", chunk.sql):
                causes.aborted = None
            if expected == got:
                suite.passed(f"{name}:{number}", file=name)
            else:
                why, follows = causes.enter(chunk, expected, got)
                suite.failed(f"{name}:{number}", why, file=name, follows=follows, text=(chunk.text, expected, got))
        if options.verbose:
            done = suite.files[name]
            print(f"{name:28} {done[0]:5} of {done[0] + done[1]:5}   {seconds['lockstep']:6.1f} s, PostgreSQL {seconds['postgres']:5.1f} s", flush=True)
    return suite
