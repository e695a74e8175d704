"""Every function of PostgreSQL 15's pg_proc that SQL can call: whether Lockstep has it, and has it in its pg_proc alike.

Asked of the running servers: PostgreSQL's pg_proc says what there is, Lockstep's binder, which goes by its registry, whether
it can be called. `--record` writes docs/functions.md. A function that the page lists as there and is not there any more is a
failure, and so is a row of Lockstep's pg_proc that differs from PostgreSQL's.
"""

import collections
import os
import re

import fetch
from report import Suite

PAGE = os.path.join(fetch.ROOT, "docs", "functions.md")
# Callable by SQL: no internal arguments, no I/O and support functions.
WANTED = """
SELECT p.oid, p.proname, p.prokind, p.proretset, pg_get_function_identity_arguments(p.oid), p.provariadic <> 0,
       ARRAY(SELECT format_type(t, NULL) FROM unnest(p.proargtypes) AS t)::text[], format_type(p.prorettype, NULL)
FROM pg_proc p WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.oid < 16384
  AND NOT (p.proargtypes::oid[] && ARRAY['internal', 'cstring', 'trigger', 'event_trigger', 'language_handler', 'fdw_handler', 'index_am_handler',
           'tsm_handler', 'table_am_handler', 'pg_ddl_command', 'pg_brin_bloom_summary', 'pg_brin_minmax_multi_summary', 'pg_ndistinct',
           'pg_dependencies', 'pg_mcv_list']::regtype[]::oid[])
  AND p.prorettype <> ALL (ARRAY['internal', 'cstring', 'trigger', 'event_trigger', 'language_handler', 'fdw_handler', 'index_am_handler', 'tsm_handler',
           'table_am_handler']::regtype[])
  AND NOT EXISTS (SELECT 1 FROM pg_type t WHERE p.oid IN (t.typinput, t.typoutput, t.typreceive, t.typsend, t.typmodin, t.typmodout, t.typsubscript, t.typanalyze))
  AND NOT EXISTS (SELECT 1 FROM pg_amproc a WHERE a.amproc = p.oid AND p.proname ~ '(support|sortsupport|equalimage|cmp|hash|consistent|union|compress|extract|picksplit|penalty|options)')
  AND p.proname !~ '^(binary_upgrade_|pg_stop_making_pinned|RI_|pg_nextoid|brin_|gin|gist|spg)'
ORDER BY p.proname, p.oid"""
# Functions that are an operator's or a cast's code are called by those names.
OPERATORS = "SELECT oprcode::oid FROM pg_operator UNION SELECT castfunc FROM pg_cast"
ROWS = """SELECT oid::int, proname, prokind, proretset, provolatile, proisstrict, pronargs, prorettype::int, proargtypes::text, provariadic::int
          FROM pg_proc WHERE oid < 16384 AND pronamespace = 11 ORDER BY oid"""
ANY = {"anyelement": "int4", "anyarray": "int4[]", "anynonarray": "int4", "anyenum": None, "anyrange": "int4range", "anymultirange": "int4multirange",
       "anycompatible": "int4", "anycompatiblearray": "int4[]", "anycompatiblenonarray": "int4", "anycompatiblerange": "int4range",
       "anycompatiblemultirange": "int4multirange", '"any"': "int4", "record": None, "record[]": None}


def probe(name, kind, types, variadic):
    """A statement that calls a function with typed NULLs; None where no such can be written."""
    arguments = []
    for type_ in types:
        type_ = ANY.get(type_, type_)
        if type_ is None:
            return None
        arguments.append(f"NULL::{type_}")
    if variadic and arguments:
        arguments[-1] = "VARIADIC " + arguments[-1] if types[-1] != '"any"' else arguments[-1]
    quoted = name if re.fullmatch(r"[a-z_][a-z0-9_]*", name) else f'"{name}"'
    call = f"pg_catalog.{quoted}({', '.join(arguments)})"
    if kind == "w":
        call += " OVER (ORDER BY 1)"
    return f"SELECT {call}"


def run(pair, options):
    psycopg = fetch.load(fetch.python("psycopg", "psycopg[binary]==3.*"), "psycopg")
    connect = {server.name: psycopg.connect(f"host=127.0.0.1 port={server.port} user=postgres dbname=postgres", autocommit=True) for server in pair}
    suite = Suite("functions of pg_proc", unit="functions")
    by_operator = {row[0] for row in connect["postgres"].execute(OPERATORS)}
    state, total = collections.defaultdict(list), 0
    before = listed()
    for oid, name, kind, _, arguments, variadic, types, result in connect["postgres"].execute(WANTED).fetchall():
        sql = probe(name, kind, types, variadic)
        if sql is None or kind == "p":
            continue
        signature = f"{name}({arguments})"
        # Plans the call, runs nothing.
        answer = connect["lockstep"].pgconn.exec_(b"EXPLAIN " + sql.encode())
        if answer.status == psycopg.pq.ExecStatus.TUPLES_OK:
            have = "yes" if kind in "aw" or connect["lockstep"].execute("SELECT lockstep_has_function(%s::oid)", [oid]).fetchone()[0] else "no"
        else:
            message = (answer.error_field(psycopg.pq.DiagnosticField.MESSAGE_PRIMARY) or b"").decode()
            code = (answer.error_field(psycopg.pq.DiagnosticField.SQLSTATE) or b"").decode()
            # PostgreSQL refuses some of these calls for other reasons: then nothing can be said.
            theirs = connect["postgres"].pgconn.exec_(b"EXPLAIN " + sql.encode())
            if theirs.status != psycopg.pq.ExecStatus.TUPLES_OK and not re.search("not supported|does not exist", message):
                continue
            have = "type" if re.search(r"^(the )?type .* (is not supported|does not exist)", message) else "no"
            if code == "XX000":
                suite.note(f"XX000: {sql}: {message}")
        total += 1
        state[name].append((have, arguments, oid in by_operator))
        if have == "yes":
            suite.passed(signature)
        elif signature in before:
            suite.failed(signature, "was there before and is not any more")
        else:
            suite.failed(signature, {"type": "a type that it takes is not supported", "no": "not supported"}[have])
    mine = {row[0]: row for row in connect["lockstep"].execute(ROWS)}
    theirs = {row[0]: row for row in connect["postgres"].execute(ROWS)}
    for oid, row in mine.items():
        if oid not in theirs:
            if not row[1].startswith("lockstep_"):
                suite.failed(f"pg_proc {oid}", f"a row of pg_proc that PostgreSQL has not: {row[1]}")
        elif row != theirs[oid]:
            suite.failed(f"pg_proc {oid}", f"pg_proc row differs: {row} ⟵ {theirs[oid]}")
    suite.note(f"pg_proc: {len(mine)} rows of {len(theirs)}")
    if options.record:
        write(state, suite)
    return suite


def listed():
    """Signatures that the page says are there."""
    if not os.path.exists(PAGE):
        return set()
    found = set()
    with open(PAGE) as file:
        for line in file:
            if match := re.match(r"\| `(\w+)` \| (.*) \|.*\|$", line):
                found.update(f"{match[1]}({arguments})" for arguments in re.findall(r"`\((.*?)\)`", match[2]))
    return found


def write(state, suite):
    good = len(suite.ok)
    with open(PAGE, "w") as file:
        file.write(f"""# Functions

Every function of PostgreSQL 15's pg_proc that SQL can call by name, and whether Lockstep has it. Written by
`tests/suites/run.py functions_suite --record`, which asks PostgreSQL what there is and a running Lockstep what it takes; the
same command without `--record` checks this page. I/O, support and index functions are left out. {good} of {suite.total} signatures are there.

| function | there | not there |
|---|---|---|
""")
        for name in sorted(state):
            have = ", ".join(f"`({a})`" for h, a, _ in state[name] if h == "yes")
            lacks = ", ".join(f"({a})" + (" †" if h == "type" else "") for h, a, _ in state[name] if h != "yes")
            file.write(f"| `{name}` | {have.replace('|', chr(92) + '|')} | {lacks} |\n")
        file.write("\n† one of its types is not supported.\n")
