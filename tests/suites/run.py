#!/usr/bin/env python3
"""Runs suites that others wrote against a fresh Lockstep and against PostgreSQL 15, and prints what passed, what failed
and why, side by side. `tests/suites/run.py --help` lists the suites and options; README.md beside this file tells of each.
"""

import argparse
import importlib
import json
import os
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

import baseline  # noqa: E402
import fetch  # noqa: E402
from servers import Pair  # noqa: E402

SUITES = ["regress", "sqlalchemy_suite", "sqlalchemy_pg8000", "pg8000_tests", "differential", "misuse", "jdbc_suite", "functions_suite", "programs", "metadata_times", "superset_suite", "sqlsmith_suite"]
# Those with lines in baseline.txt. A suite joins by `--fast --record SUITE`.
FAST = ["regress"]


def binary(options):
    if options.binary:
        return os.path.abspath(options.binary)
    target = os.environ.get("CARGO_TARGET_DIR", os.path.join(fetch.ROOT, "target"))
    profile = ["--release"] if options.release else []
    fetch.run("cargo", "build", "--locked", "--workspace", "--bin", "lockstep", *profile, cwd=fetch.ROOT)
    return os.path.join(target, "release" if options.release else "debug", "lockstep")


def write_page(directory):
    """Puts the last run's figures of each suite between the marks of docs/compatibility.md."""
    path = os.path.join(fetch.ROOT, "docs", "compatibility.md")
    with open(path) as file:
        before, _, rest = file.read().partition("<!-- figures -->\n")
        _, _, after = rest.partition("<!-- end of figures -->\n")
    lines = []
    for name in SUITES:
        if not os.path.exists(f"{directory}/{name}.json"):
            continue
        with open(f"{directory}/{name}.json") as file:
            found = json.load(file)
        lines += [f"### {found['head']}", ""]
        lines += [f"{note}  " for note in found["notes"]] + ([""] if found["notes"] else [])
        if found["causes"]:
            lines += ["| cases | why |", "|---|---|"]
            lines += [f"| {count} | {why.replace('|', '¦').replace('<', '&lt;')} |" for count, why in found["causes"]] + [""]
    with open(path, "w") as file:
        file.write(before + "<!-- figures -->\n" + "\n".join(lines) + "\n<!-- end of figures -->\n" + after)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=f"of {', '.join(SUITES)}; all by default")
    parser.add_argument("--binary", help="a built lockstep; else it is built")
    parser.add_argument("--release", action="store_true", help="build and use the release profile")
    parser.add_argument("--only", action="append", help="one file or test of the suite; may be given several times")
    parser.add_argument("--count", type=int, help="statements of the random suites")
    parser.add_argument("--seconds", type=int, help="time of sqlsmith")
    parser.add_argument("--seed", type=int, help="seed of the random suites")
    parser.add_argument("--report", help="directory for the full reports, by default target/suites/reports")
    parser.add_argument("--keep", action="store_true", help="keep the servers' directories")
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--fast", action="store_true", help="the part that CI runs, judged by baseline.txt")
    parser.add_argument("--record", action="store_true", help="write baseline.txt anew; with --merge, keep what it lists")
    parser.add_argument("--merge", action="store_true")
    parser.add_argument("--cached", action="store_true", help="take what PostgreSQL answered in the last run of a pytest suite")
    parser.add_argument("--docs", action="store_true", help="write the last run's figures into docs/compatibility.md, run nothing")
    options = parser.parse_args()
    if options.docs:
        return write_page(options.report or f"{fetch.STORE}/reports")
    unknown = [name for name in options.suites if name not in SUITES]
    if unknown:
        parser.error(f"no such suite: {', '.join(unknown)}")
    options.binary = binary(options)
    directory = options.report or f"{fetch.STORE}/reports"
    os.makedirs(directory, exist_ok=True)
    fetch.postgres()
    failed, totals = False, [0, 0]
    known = baseline.load()
    for name in options.suites or (FAST if options.fast else SUITES):
        began = time.monotonic()
        with Pair(options.binary, options.keep) as pair:
            suite = importlib.import_module(name).run(pair, options)
            for server in pair:
                server.alive("the end of the suite")
                for death in server.deaths:
                    suite.note(f"{server.name} DIED in {death}")
                    failed = True
        with open(f"{directory}/{name}.txt", "w", errors="surrogateescape") as file:
            file.write(suite.page())
        with open(f"{directory}/{name}.json", "w", errors="surrogateescape") as file:
            json.dump({"head": suite.head(), "notes": [n for n in suite.notes if "fails on PostgreSQL" not in n][:6],
                       "causes": [(count, why) for count, _, why, _ in suite.causes()[:25]]}, file)
        with open(f"{directory}/{name}.details", "w", errors="surrogateescape") as file:
            for case, (text, expected, got) in suite.details.items():
                file.write(f"#### {case}\n{text}\n---- PostgreSQL\n{expected}---- Lockstep\n{got}")
        print(suite.page(most=12) if options.verbose else suite.head(), flush=True)
        if options.record:
            failing = {str(case) for case, _, _ in suite.bad}
            known[name] = failing | known.get(name, set()) if options.merge else failing
            baseline.store(known)
        elif options.fast and not baseline.check(name, suite, known):
            failed = True
        totals[0] += len(suite.ok)
        totals[1] += 0 if options.fast and not failed else len(suite.bad)
        print(f"   {time.monotonic() - began:.0f} s; all of it in {directory}/{name}.txt", flush=True)
    if options.fast and not failed:
        print(f"suites: {totals[0]} passed, 0 failed")
    sys.exit(failed)


if __name__ == "__main__":
    main()
