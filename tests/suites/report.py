"""What a suite found: counts by file and by cause, and the printed page."""

import collections


class Suite:
    """Passed and failed cases of one suite on Lockstep, with PostgreSQL's own count beside them where it ran too."""

    def __init__(self, name, unit="tests"):
        self.name, self.unit = name, unit
        self.ok, self.bad = [], []
        self.files = collections.defaultdict(lambda: [0, 0])
        self.notes, self.reference = [], None
        self.details = {}

    def note(self, text):
        self.notes.append(text)

    def passed(self, case, file=None):
        self.ok.append(str(case))
        self.files[file][0] += 1

    def failed(self, case, why, file=None, follows=False, text=None):
        self.bad.append((str(case), why, follows))
        self.files[file][1] += 1
        if text:
            self.details[str(case)] = text

    @property
    def total(self):
        return len(self.ok) + len(self.bad)

    @property
    def share(self):
        return 100 * len(self.ok) / self.total if self.total else 0

    def causes(self):
        """(count, of which follow from an earlier failure, cause, first cases), largest first."""
        groups = collections.defaultdict(list)
        for case, why, follows in self.bad:
            groups[why].append((case, follows))
        rows = [(len(cases), sum(f for _, f in cases), why, [c for c, _ in cases][:4]) for why, cases in groups.items()]
        return sorted(rows, key=lambda row: -row[0])

    def head(self):
        against = f"; PostgreSQL 15: {self.reference[0]} of {sum(self.reference)}" if self.reference else ""
        return f"{self.name}: {len(self.ok)} of {self.total} {self.unit} passed, {self.share:.1f} %{against}"

    def page(self, most=None):
        """The report as text."""
        lines = [self.head(), ""] + [f"note: {note}" for note in self.notes]
        if len(self.files) > 1:
            lines += ["", "by file:"]
            lines += [f"  {file:28} {good:5} of {good + bad:5}" for file, (good, bad) in self.files.items()]
        lines += ["", f"by cause ({self.unit}, of which follow from another failure of that cause):"]
        lines += [f"  {count:5} {follow:5}  {why}   [{', '.join(cases)}]" for count, follow, why, cases in self.causes()[:most]]
        return "\n".join(lines) + "\n"
