"""The committed list of what fails in the fast part: `baseline.txt`. A case that fails and is not listed is a regression.

One line a file or suite: `suite file: cases`, cases as numbers and ranges where they are numbers. `--record` writes it;
recorded again with `--merge` it keeps what failed before too (what PostgreSQL itself prints differently each time).
"""

import os

FILE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "baseline.txt")


def split(case):
    """A case as (group, name)."""
    text = str(case)
    group, colon, name = text.partition(":")
    return (group, name) if colon and name.isdigit() else ("", text)


def ranges(numbers):
    out, numbers = [], sorted(numbers)
    for number in numbers:
        if out and out[-1][1] == number - 1:
            out[-1][1] = number
        else:
            out.append([number, number])
    return " ".join(str(a) if a == b else f"{a}-{b}" for a, b in out)


def load():
    """suite → set of cases"""
    known = {}
    if not os.path.exists(FILE):
        return known
    with open(FILE) as file:
        for line in file:
            if line.startswith("#") or not line.strip():
                continue
            head, _, body = line.rstrip("\n").partition(": ")
            suite, _, group = head.partition(" ")
            cases = known.setdefault(suite, set())
            if group == "=":
                cases.add(body)
                continue
            for part in body.split():
                first, _, last = part.partition("-")
                cases.update(f"{group}:{n}" if group else str(n) for n in range(int(first), int(last or first) + 1))
    return known


def store(known):
    with open(FILE, "w") as file:
        file.write("# What fails in `tests/suites/run.py --fast`, written by `--fast --record`: see baseline.py.\n")
        for suite in sorted(known):
            groups, names = {}, []
            for case in known[suite]:
                group, name = split(case)
                if name.isdigit():
                    groups.setdefault(group, set()).add(int(name))
                else:
                    names.append(case)
            for group in sorted(groups):
                file.write(f"{suite} {group}: {ranges(groups[group])}\n" if group else f"{suite}: {ranges(groups[group])}\n")
            for name in sorted(names):
                file.write(f"{suite} =: {name}\n")


def check(name, suite, known):
    """Prints what is new on either side; whether nothing regressed."""
    listed = known.get(name, set())
    failing = {str(case): why for case, why, _ in suite.bad}
    regressed = [case for case in failing if case not in listed]
    mended = [str(case) for case in suite.ok if str(case) in listed]
    if mended:
        print(f"   {len(mended)} cases pass that the baseline lists: record it again (first: {', '.join(mended[:5])})")
    for case in regressed[:40]:
        print(f"   REGRESSION {case}: {failing[case]}")
        if case in suite.details or (case.isdigit() and int(case) in suite.details):
            text, expected, got = suite.details.get(case) or suite.details[int(case)]
            print(f"      {text.strip()[:300]}\n      PostgreSQL: {expected.strip()[:300]}\n      Lockstep:   {str(got).strip()[:300]}")
    if regressed:
        print(f"   {len(regressed)} cases of {name} fail that did not")
    return not regressed
