"""Misuse: what no well-behaved client sends. Each case gets PostgreSQL's SQLSTATE, and server and data live on.

A client of the bare protocol, since drivers keep such input from the wire.
"""

import socket
import struct

from report import Suite

MEGABYTE = 1 << 20


class Wire:
    """One connection that speaks protocol 3.0 byte by byte."""

    def __init__(self, port, startup=None, seconds=120):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=seconds)
        if startup is None:
            self.start()

    def start(self):
        body = struct.pack("!i", 196608) + b"user\0postgres\0database\0postgres\0\0"
        self.socket.sendall(struct.pack("!i", len(body) + 4) + body)
        self.until_ready()

    def send(self, kind, body=b""):
        self.socket.sendall(kind + struct.pack("!i", len(body) + 4) + body)

    def exactly(self, count):
        parts = []
        while count:
            part = self.socket.recv(min(count, MEGABYTE))
            if not part:
                raise EOFError
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    def message(self):
        head = self.exactly(5)
        return head[:1], self.exactly(struct.unpack("!i", head[1:])[0] - 4)

    def until_ready(self):
        """What came up to ReadyForQuery, as one line: SQLSTATEs, tags, sizes of rows; "closed" if the server closed."""
        said = []
        try:
            while True:
                kind, body = self.message()
                if kind == b"Z":
                    return " ".join(said)
                if kind == b"E":
                    fields = dict((f[:1], f[1:]) for f in body.split(b"\0") if f)
                    said.append(f"{fields[b'S'].decode()} {fields[b'C'].decode()}")
                elif kind == b"C":
                    said.append(body.rstrip(b"\0").decode())
                elif kind == b"D":
                    said.append(f"row {body[2:40].hex()} {len(body)}" if len(said) < 20 else "row")
                elif kind in (b"G", b"H", b"I", b"s", b"n"):
                    said.append(kind.decode())
                    if kind == b"G":
                        return " ".join(said)
        except (EOFError, ConnectionError):
            return " ".join([*said, "closed"])
        except socket.timeout:
            return " ".join([*said, "no answer"])

    def query(self, sql):
        self.send(b"Q", (sql if isinstance(sql, bytes) else sql.encode()) + b"\0")
        return self.until_ready()

    def parse(self, sql, name=b"", types=()):
        self.send(b"P", name + b"\0" + sql.encode() + b"\0" + struct.pack(f"!h{len(types)}i", len(types), *types))

    def bind(self, values, portal=b"", statement=b"", formats=()):
        body = portal + b"\0" + statement + b"\0" + struct.pack(f"!H{len(formats)}h", len(formats), *formats)
        body += struct.pack("!H", len(values))
        body += b"".join(struct.pack("!i", -1) if v is None else struct.pack("!i", len(v)) + v for v in values)
        self.send(b"B", body + struct.pack("!h", 0))

    def execute(self, portal=b"", rows=0):
        self.send(b"E", portal + b"\0" + struct.pack("!i", rows))

    def sync(self):
        self.send(b"S")
        return self.until_ready()

    def extended(self, sql, values=(), formats=(), types=()):
        self.parse(sql, types=types)
        self.bind(list(values), formats=formats)
        self.execute()
        return self.sync()


def nested(opening, inner, closing, depth):
    return opening * depth + inner + closing * depth


def statements():
    """Name → a statement of the simple protocol."""
    yield "100,000 parentheses", "SELECT " + nested("(", "1", ")", 100_000)
    yield "50,000 calls", "SELECT " + nested("abs(", "1", ")", 50_000)
    yield "20,000 subqueries", "SELECT " + nested("(SELECT ", "1", ")", 20_000)
    yield "50,000 NOT", "SELECT " + "NOT " * 50_000 + "true"
    yield "50,000 signs", "SELECT " + "- " * 50_000 + "1"
    yield "20,000 CASE", "SELECT " + nested("CASE WHEN true THEN ", "1", " END", 20_000)
    yield "100,000 brackets of json", f"SELECT '{nested('[', '', ']', 100_000)}'::jsonb"
    yield "100,000 braces of an array", f"SELECT '{nested('{', '', '}', 100_000)}'::int[]"
    yield "100,000 brackets of a pattern", f"SELECT 'a' ~ '{nested('(', 'a', ')', 100_000)}'"
    yield "a sum of 20,000", "SELECT " + " + ".join(["1"] * 20_000)
    yield "an OR of 20,000", "SELECT count(*) FROM kept WHERE " + " OR ".join(f"id = {n}" for n in range(20_000))
    yield "2,000 columns", "SELECT " + ",".join(["1"] * 2_000)
    yield "a table of 2,000 columns", "CREATE TABLE wide (" + ",".join(f"c{n} int" for n in range(2_000)) + ")"
    yield "IN of 100,000", "SELECT count(*) FROM kept WHERE id IN (" + ",".join(map(str, range(100_000))) + ")"
    yield "10 MB of text", "SELECT length('" + "x" * (10 * MEGABYTE) + "')"
    yield "10 MB of rows", "SELECT count(*) FROM (VALUES " + ",".join(["(1, 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa')"] * 200_000) + ") AS v"
    yield "10 MB of comment", "SELECT 1 /*" + "x" * (10 * MEGABYTE) + "*/"
    yield "a name of 1 MB", 'SELECT 1 AS "' + "n" * MEGABYTE + '"'
    yield "10,000 statements", "SELECT 1;" * 10_000
    yield "256 MB value", "SELECT length(repeat('x', 268435456))"
    yield "256 MB value sent", "SELECT repeat('x', 268435456)"
    yield "1 GB value", "SELECT length(repeat('x', 1073741824))"
    yield "2 GB value", "SELECT length(repeat('xxxxxxxx', 268435456))"
    yield "an array of 1 GB", "SELECT array_length(array_fill(1, ARRAY[400000000]), 1)"
    yield "lpad of 2 GB", "SELECT length(lpad('x', 2147483647))"
    yield "factorial of a million", "SELECT factorial(1000000)"
    yield "10 ^ 200,000", "SELECT 10::numeric ^ 200000"
    yield "numeric of 200,000 digits", "SELECT '" + "9" * 200_000 + "'::numeric"
    yield "broken UTF-8", b"SELECT '\xff'"
    yield "a cut character", b"SELECT 'abc\xc3'"
    yield "an overlong character", b"SELECT '\xc0\x80'"
    yield "a surrogate", b"SELECT '\xed\xa0\x80'"
    yield "broken UTF-8 in a name", b'SELECT 1 AS "\xff"'
    yield "broken UTF-8 in a comment", b"SELECT 1 -- \xff"
    yield "chr(0)", "SELECT chr(0)"
    yield "a NUL escape", "SELECT E'\\000'"
    yield "a NUL in jsonb", "SELECT '\"\\u0000\"'::jsonb"
    yield "convert_from of broken bytes", "SELECT convert_from('\\xff', 'UTF8')"
    yield "an open quote", "SELECT 'abc"
    yield "an open comment", "SELECT 1 /* abc"
    yield "an open dollar quote", "SELECT $a$ abc"
    yield "an open name", 'SELECT "abc'
    yield "nothing", ""
    yield "semicolons alone", ";;;"
    yield "an unknown command", "FROBNICATE"
    yield "parameters in a simple query", "SELECT $1"
    yield "a parameter $70000", "SELECT $70000::int"
    yield "LIMIT -1", "SELECT 1 LIMIT -1"
    yield "division by zero", "SELECT 1/0"
    yield "generate_series by zero", "SELECT * FROM generate_series(1, 2, 0)"
    yield "a bad pattern", "SELECT 'a' ~ '('"
    yield "two rows for one", "SELECT (SELECT id FROM kept)"
    yield "COMMIT outside", "COMMIT"
    yield "SAVEPOINT outside", "SAVEPOINT a"
    yield "an infinite recursion", "WITH RECURSIVE r AS (SELECT 1 UNION ALL SELECT x FROM r) SELECT 1"
    yield "an ambiguous column", "SELECT id FROM kept a JOIN kept b ON a.id = b.id"
    yield "an unknown time zone", "SET TimeZone = 'Nowhere/None'"
    yield "DROP of the database", "DROP DATABASE postgres"
    yield "DROP of a system table", "DROP TABLE pg_class"
    yield "DELETE of a system table", "DELETE FROM pg_class WHERE false"


def protocol():
    """Name → a function of a fresh connection that answers what it heard."""
    def case(name):
        def keep(function):
            cases.append((name, function))
            return function
        return keep
    cases = []

    @case("65,535 parameters")
    def _(w):
        return w.extended("SELECT 7 IN (" + ",".join(f"${n}::int" for n in range(1, 65536)) + ")", [b"7"] * 65535)

    @case("a 256 MB parameter")
    def _(w):
        return w.extended("SELECT length($1::text)", [b"x" * (256 * MEGABYTE)])

    @case("a 256 MB row put, read and dropped")
    def _(w):
        w.query("CREATE TABLE big (v text)")
        first = w.extended("INSERT INTO big VALUES ($1)", [b"y" * (256 * MEGABYTE)])
        return f"{first} {w.query('SELECT length(v), v FROM big')[:40]} {w.query('DROP TABLE big')}"

    @case("a message of 1.5 GB announced")
    def _(w):
        w.socket.sendall(b"Q" + struct.pack("!i", 1_600_000_000) + b"SELECT")
        return w.until_ready()

    @case("NUL in a text parameter")
    def _(w):
        return w.extended("SELECT $1::text", [b"a\0b"])

    @case("broken UTF-8 in a text parameter")
    def _(w):
        return w.extended("SELECT $1::text", [b"\xc3\x28"])

    @case("broken UTF-8 in a binary parameter")
    def _(w):
        return w.extended("SELECT $1::text", [b"\xff"], formats=[1])

    @case("a binary int4 of three bytes")
    def _(w):
        return w.extended("SELECT $1::int4", [b"abc"], formats=[1])

    @case("a binary int4 of five bytes")
    def _(w):
        return w.extended("SELECT $1::int4", [b"abcde"], formats=[1])

    @case("a binary numeric of nonsense")
    def _(w):
        return w.extended("SELECT $1::numeric", [b"\xff" * 8], formats=[1])

    @case("a binary array of nonsense")
    def _(w):
        return w.extended("SELECT $1::int4[]", [b"\x7f\xff\xff\xff" * 5], formats=[1])

    @case("binary jsonb of an unknown version")
    def _(w):
        return w.extended("SELECT $1::jsonb", [b"\x09{}"], formats=[1])

    @case("an unknown format code")
    def _(w):
        return w.extended("SELECT $1::int4", [b"1"], formats=[7])

    @case("two formats for one parameter")
    def _(w):
        return w.extended("SELECT $1::int4", [b"1"], formats=[0, 0])

    @case("too few parameters")
    def _(w):
        return w.extended("SELECT $1::int4, $2::int4", [b"1"])

    @case("a type that is not there")
    def _(w):
        return w.extended("SELECT $1", [b"1"], types=[999999])

    @case("a parameter without a type")
    def _(w):
        return w.extended("SELECT $1 IS NULL", [b"1"])

    @case("two statements in Parse")
    def _(w):
        return w.extended("SELECT 1; SELECT 2")

    @case("an unknown statement")
    def _(w):
        w.bind([], statement=b"gone")
        return w.sync()

    @case("an unknown portal")
    def _(w):
        w.execute(b"gone")
        return w.sync()

    @case("Describe of nothing")
    def _(w):
        w.send(b"D", b"Sgone\0")
        return w.sync()

    @case("Describe of an unknown kind")
    def _(w):
        w.send(b"D", b"Xgone\0")
        return w.sync()

    @case("a statement name twice")
    def _(w):
        w.parse("SELECT 1", b"s")
        w.parse("SELECT 2", b"s")
        return w.sync()

    @case("all is skipped after an error up to Sync")
    def _(w):
        w.parse("SELECT 1/0")
        w.bind([])
        w.execute()
        for n in range(5):
            w.parse(f"CREATE TABLE never{n} (x int)")
            w.bind([])
            w.execute()
        first = w.sync()
        return f"{first} {w.query('SELECT count(*) FROM pg_class WHERE relname ~ $$^never$$')}"

    @case("an unknown message")
    def _(w):
        w.send(b"y", b"abc")
        return w.until_ready()

    @case("a message without its string's end")
    def _(w):
        w.send(b"P", b"name")
        return w.sync()

    @case("a Bind that says more than it has")
    def _(w):
        w.parse("SELECT $1::int4")
        w.send(b"B", b"\0\0" + struct.pack("!hhi", 0, 1, 1000) + b"1")
        return w.sync()

    @case("a length of two")
    def _(w):
        w.socket.sendall(b"Q" + struct.pack("!i", 2))
        return w.until_ready()

    @case("a negative length")
    def _(w):
        w.socket.sendall(b"Q" + struct.pack("!i", -5))
        return w.until_ready()

    @case("CopyData without COPY")
    def _(w):
        w.send(b"d", b"1\n")
        w.send(b"c")
        return w.query("SELECT 1")

    @case("CopyFail")
    def _(w):
        w.query("COPY kept FROM STDIN")
        w.send(b"d", b"77\tx\n")
        w.send(b"f", b"no\0")
        return w.until_ready()

    @case("a query in the middle of COPY")
    def _(w):
        w.query("COPY kept FROM STDIN")
        w.send(b"d", b"78\tx\n")
        return w.query("SELECT 1")

    @case("broken rows of COPY")
    def _(w):
        w.query("COPY kept FROM STDIN")
        w.send(b"d", b"79\t\xff\xfe\n80")
        w.send(b"c")
        return w.until_ready()

    @case("a client that vanishes in mid-COPY")
    def _(w):
        w.query("COPY kept FROM STDIN")
        w.send(b"d", b"81\tx\n82\ty\n8")
        w.socket.close()
        return "vanished"

    @case("a client that vanishes in a block")
    def _(w):
        w.query("BEGIN")
        w.query("INSERT INTO kept VALUES (83, 'x')")
        w.socket.close()
        return "vanished"

    @case("a client that vanishes while rows come")
    def _(w):
        w.send(b"Q", b"SELECT repeat('x', 1000) FROM generate_series(1, 1000000)\0")
        w.exactly(1000)
        w.socket.close()
        return "vanished"

    @case("a FunctionCall of nothing")
    def _(w):
        w.send(b"F", struct.pack("!ihhh", 999999, 0, 0, 0))
        return w.until_ready()
    return cases


def starts():
    """Name → the first bytes of a connection."""
    def packet(body):
        return struct.pack("!i", len(body) + 4) + body
    yield "HTTP", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    yield "zeros", b"\0" * 64
    yield "protocol 9", packet(struct.pack("!i", 9 << 16) + b"user\0postgres\0\0")
    yield "protocol 2", packet(struct.pack("!i", 2 << 16) + b"\0" * 290)
    yield "no user", packet(struct.pack("!i", 196608) + b"database\0postgres\0\0")
    yield "an unknown parameter", packet(struct.pack("!i", 196608) + b"user\0postgres\0nosuchthing\0x\0\0")
    yield "an unknown database", packet(struct.pack("!i", 196608) + b"user\0postgres\0database\0nowhere\0\0")
    yield "an unknown role", packet(struct.pack("!i", 196608) + b"user\0nobody_at_all\0database\0postgres\0\0")
    yield "no end", packet(struct.pack("!i", 196608) + b"user\0postgres")
    yield "a start of 1 GB", struct.pack("!i", 1 << 30)


# Left out of the fast part: what takes long or much memory.
HEAVY = ("256 MB", "1.5 GB", "10 MB of rows", "OR of", "IN of", "10,000 statements", "65,535")
# Other answers than PostgreSQL's that are as good. Its parser's stack ends with 42601 "memory exhausted"; it closes without
# a word where we say why; an unknown type in Parse is its XX000.
AS_GOOD = {"ERROR 42601": ("ERROR 54001",), "ERROR XX000": ("ERROR 0A000", "ERROR 42704")}


def as_good(expected, got):
    if expected == got or got in AS_GOOD.get(expected, ()):
        return True
    return expected == "closed" and got.endswith(" closed") and "DIED" not in got


def unharmed(server):
    done = server.psql("SELECT count(*), sum(id), string_agg(v, ',' ORDER BY id) FROM kept")
    return done.stdout.strip() + done.stderr.strip()


def run(pair, options):
    suite = Suite("misuse", unit="cases")
    for server in pair:
        done = server.psql("CREATE TABLE kept (id int PRIMARY KEY, v text)", "INSERT INTO kept VALUES (1, 'one'), (2, 'two'), (3, 'three')")
        if done.returncode:
            raise SystemExit(f"{server.name}: {done.stderr}")
    before = unharmed(pair.postgres)

    def begin(first):
        def go(wire):
            wire.socket.sendall(first)
            wire.socket.settimeout(5)
            return wire.until_ready()
        return go
    cases = [(name, lambda w, sql=sql: w.query(sql), None) for name, sql in statements()]
    cases += [(name, function, None) for name, function in protocol()]
    cases += [(f"start with {name}", begin(first), first) for name, first in starts()]
    for name, function, first in cases:
        if options.only and name not in options.only or options.fast and any(word in name for word in HEAVY):
            continue
        answers = {}
        for server in pair:
            try:
                wire = Wire(server.port, first)
                answers[server.name] = function(wire)
                wire.socket.close()
            except (OSError, EOFError) as error:
                answers[server.name] = f"closed ({type(error).__name__})"
            lived = server.alive(name)
            if not lived:
                answers[server.name] += " AND THE SERVER DIED"
            elif (after := unharmed(server)) != before:
                answers[server.name] += f" AND THE DATA IS {after}"
        expected, got = answers["postgres"], answers["lockstep"]
        if as_good(expected, got):
            suite.passed(name)
        else:
            suite.failed(name, f"{name}: {got[:100]} ⟵ {expected[:100]}", text=(name, f"{expected[:400]}\n", f"{got[:400]}\n"))
    return suite
